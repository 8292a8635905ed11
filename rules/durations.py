"""Durations as a protocol writes them: ``3d``, ``72h``, ``30m``."""

import re
from dataclasses import dataclass

__all__ = ["Duration", "parse"]

_FORM = re.compile(r"([1-9][0-9]{0,5})(d|h|m)")
_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000}
_WORDS = {"d": "jour", "h": "heure", "m": "minute"}


@dataclass(frozen=True, slots=True)
class Duration:
    """A count of days, hours or minutes.

    In a feature's window ``3d`` means local calendar days of the patient; in a delay it means three times 24 hours.
    """

    count: int
    unit: str  # "d", "h" or "m"

    @property
    def ms(self) -> int:
        """Milliseconds, a day being 24 hours."""
        return self.count * _MS[self.unit]

    @property
    def in_days(self) -> bool:
        """Whether a window of this duration counts local days."""
        return self.unit == "d"

    @property
    def window(self) -> int:
        """What a feature kernel takes: local days where `in_days`, milliseconds otherwise."""
        return self.count if self.in_days else self.ms

    @property
    def french(self) -> str:
        """Words for a nurse, with a no-break space: ``3 jours``."""
        return f"{self.count}\N{NO-BREAK SPACE}{_WORDS[self.unit]}{'s' if self.count > 1 else ''}"

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


def parse(text: object) -> Duration:
    """Read a duration.

    Raises
    ------
    ValueError
        When `text` is not a count from 1 to 999999 followed by d, h or m.
    """
    if isinstance(text, Duration):
        return text
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = f"{text!r} is not a duration; legal: a count and d, h or m, such as '3d', '72h' or '30m'"
        raise ValueError(msg)
    return Duration(int(match[1]), match[2])
