"""What can go wrong with a file as a whole; a row that cannot be read is quarantined instead."""

__all__ = ["FormatError"]


class FormatError(ValueError):
    """A file, a mapping or an option that cannot be used: the message names it and says what was legal."""
