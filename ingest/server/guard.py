"""Connections that take too long, say too much before they begin, or are too many: ended before they cost anything.

The server's own time limits begin when a request is whole. What comes before that (a head sent byte by byte, a head
without end, thousands of connections that say nothing) is watched here.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["MAX_HEAD", "Guarded", "guarded"]

MAX_HEAD = 32_768
"""Bytes of a request's head."""


class Guarded(HttpToolsProtocol):
    """A connection that is watched; see `guarded`."""

    header_s: ClassVar[float]
    most: ClassVar[int]
    ended: ClassVar[Callable[[str], None]]
    _timer: TimerHandle | None = None
    """Runs while a head is awaited, and only then."""
    _head = 0
    _ended_one = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as the base has it
        """Begin to watch, unless there are too many already."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            type(self).ended("many")
            transport.abort()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then see whether a head is still open, and how long it is."""
        awaited = self._timer is not None
        self._ended_one = False
        super().data_received(data)
        if self._timer is None or not awaited or self._ended_one:
            self._head = 0  # where in `data` an open head began is not known; it has one more piece to come
            return
        self._head += len(data)
        if self._head > MAX_HEAD:
            type(self).ended("head")
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Count what is no HTTP, and end it."""
        type(self).ended("invalid")
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Begin to wait for the end of a head."""
        super().on_message_begin()
        if self._timer is None:
            self._watch()

    def on_headers_complete(self) -> None:
        """Stop waiting: the head is whole."""
        self._rest()
        self._ended_one = True
        super().on_headers_complete()

    def _watch(self) -> None:
        self._timer = self.loop.call_later(self.header_s, self._too_slow)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        type(self).ended("slow")
        self.transport.abort()


def guarded(header_s: float, most: int, ended: Callable[[str], None]) -> type[Guarded]:
    """Make the protocol class of a server.

    Parameters
    ----------
    header_s : float
        Seconds from the beginning of a connection, or of a request on it, until the head is whole.
    most : int
        Connections at once.
    ended : callable
        Told why a connection was ended: ``slow``, ``head``, ``many`` or ``invalid``.
    """
    return type("Guarded", (Guarded,), {"header_s": header_s, "most": most, "ended": staticmethod(ended)})
