"""What ends a bridge, or a body's way through it."""

__all__ = ["BridgeError", "KeyRefusedError", "RefusedError"]


class BridgeError(Exception):
    """The bridge cannot go on; the message says why. What was not acknowledged stays at the broker."""


class KeyRefusedError(BridgeError):
    """The service does not take the bridge's key."""


class RefusedError(Exception):
    """The service will never take this body; the message says why, and holds nothing of the body."""
