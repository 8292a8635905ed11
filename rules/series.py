"""Series of a protocol's own tests: ``80 80.2 _ 80.1x3 82.4``, one value a step, ``_`` for none."""

import re
from dataclasses import dataclass

__all__ = ["MAX_STEPS", "Series", "parse"]

MAX_STEPS = 1000

_VALUE = re.compile(r"(?P<value>_|-?[0-9]+(?:\.[0-9]{1,3})?)(?:x(?P<times>[1-9][0-9]{0,3}))?")


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one signal.

    Attributes
    ----------
    length : int
        Steps, those without a reading included.
    points : tuple of (int, float)
        Step, from 0, and value in the signal's unit.
    """

    length: int
    points: tuple[tuple[int, float], ...]


def parse(text: str) -> Series:
    """Read a series.

    Parameters
    ----------
    text : str
        Values parted by spaces: a number with at most three decimals, or ``_`` for no reading; either may be
        repeated, ``80.1x3`` being three steps.

    Raises
    ------
    ValueError
        For anything else, naming the word.
    """
    step = 0
    points: list[tuple[int, float]] = []
    for word in text.split():
        match = _VALUE.fullmatch(word)
        if match is None:
            msg = f"{word!r} is not a value; legal: numbers with at most 3 decimals, '_' for none, 'x3' to repeat"
            raise ValueError(msg)
        times = int(match["times"] or 1)
        if match["value"] != "_":
            points += ((step + k, float(match["value"])) for k in range(times))
        step += times
        if step > MAX_STEPS:
            msg = f"the series is longer than {MAX_STEPS} steps"
            raise ValueError(msg)
    if step == 0:
        msg = "the series is empty; legal: values parted by spaces, '_' for none"
        raise ValueError(msg)
    return Series(step, tuple(points))
