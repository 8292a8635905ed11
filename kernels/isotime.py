"""ISO 8601 times as text to milliseconds, a column at a time."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit, jit_inline

__all__ = ["AWARE", "CLOCK", "DAY", "UNREADABLE", "parse_iso"]

UNREADABLE = 0
AWARE = 1  # with an offset: ms UTC
CLOCK = 2  # a moment of some clock: ms as if it were UTC
DAY = 3  # a date alone: its midnight, likewise

_DAY_MS = 86_400_000
_LAST_OFFSET_HOUR = 18

Bytes = npt.NDArray[np.uint8]


@jit_inline
def _digits(data: Bytes, at: int, stop: int, count: int) -> int:
    """Read `count` digits; -1 when they are not all there before `stop`."""
    if at + count > stop:
        return -1
    number = 0
    for k in range(count):
        digit = np.int64(data[at + k]) - 48
        if digit < 0 or digit > 9:
            return -1
        number = number * 10 + digit
    return number


@jit_inline
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; the year is counted from March."""
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469


@jit_inline
def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@jit
def _parse(data: Bytes, at: int, stop: int) -> tuple[int, int]:
    """Read the text ``data[at : stop]``: (kind, ms)."""
    year = _digits(data, at, stop, 4)
    month = _digits(data, at + 5, stop, 2)
    day = _digits(data, at + 8, stop, 2)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > _month_days(year, month):
        return UNREADABLE, 0
    if data[at + 4] != 45 or data[at + 7] != 45:  # -
        return UNREADABLE, 0
    ms = _days(year, month, day) * _DAY_MS
    at += 10
    if at == stop:
        return DAY, ms
    if data[at] != 84 and data[at] != 116 and data[at] != 32:  # T, t, space
        return UNREADABLE, 0
    hour = _digits(data, at + 1, stop, 2)
    minute = _digits(data, at + 4, stop, 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or data[at + 3] != 58:  # :
        return UNREADABLE, 0
    ms += (hour * 60 + minute) * 60_000
    at += 6
    if at < stop and data[at] == 58:
        second = _digits(data, at + 1, stop, 2)
        if second < 0 or second > 59:
            return UNREADABLE, 0
        ms += second * 1000
        at += 3
        if at < stop and (data[at] == 46 or data[at] == 44):  # . or ,
            at += 1
            first = at
            scale = 100
            while at < stop and 48 <= data[at] <= 57:
                ms += (np.int64(data[at]) - 48) * scale
                scale //= 10
                at += 1
            if at == first:
                return UNREADABLE, 0
    if at < stop and data[at] == 32 and at + 1 < stop:
        at += 1
        if data[at] != 90 and data[at] != 122 and data[at] != 43 and data[at] != 45:
            return UNREADABLE, 0
    if at == stop:
        return CLOCK, ms
    if data[at] == 90 or data[at] == 122:  # Z, z
        return (AWARE, ms) if at + 1 == stop else (UNREADABLE, 0)
    sign = data[at]
    if sign != 43 and sign != 45:
        return UNREADABLE, 0
    hour = _digits(data, at + 1, stop, 2)
    at += 3
    minute = 0
    if at < stop:
        if data[at] == 58:
            at += 1
        minute = _digits(data, at, stop, 2)
        at += 2
    if hour < 0 or hour > _LAST_OFFSET_HOUR or minute < 0 or minute > 59 or at != stop:
        return UNREADABLE, 0
    shift = (hour * 60 + minute) * 60_000
    return AWARE, (ms - shift if sign == 43 else ms + shift)


@jit
def parse_iso(data: Bytes, at: npt.NDArray[np.int64], kind: Bytes, t_ms: npt.NDArray[np.int64]) -> None:
    """Read a column of texts ``data[at[i] : at[i + 1]]``.

    Parameters
    ----------
    data : uint8[m]
    at : int64[n + 1]
        Ascending, within `data`.
    kind : uint8[n]
        Written: AWARE for ``2026-01-05T08:00Z`` and ``2026-01-05 08:00:00.5+01:00``, CLOCK for the same without
        offset, DAY for ``2026-01-05``, UNREADABLE for all else.
    t_ms : int64[n]
        Written: milliseconds, parts of them dropped; 0 where unreadable.
    """
    for i in range(len(kind)):
        kind[i], t_ms[i] = _parse(data, at[i], at[i + 1])
