"""One clean value for each local date: what trends and baselines are made of."""

from kernels._jit import jit
from kernels._types import F64, I32, I64
from kernels.localtime import DAY_MS, day_start, zone_index

__all__ = ["FIRST", "LAST", "MAX", "MEAN", "MIN", "ROOM", "daily_values"]

FIRST = 0
LAST = 1
MIN = 2
MAX = 3
MEAN = 4

ROOM = 256
"""Most dates that are looked at, the newest."""


@jit
def daily_values(
    t: I64, v: I32, a: int, b: int, start: int, end: int, how: float, zone_t: I64, zone_off: I64, scratch: F64
) -> int:
    """Reduce the readings from `start` to before `end` to one value a local date, newest date first.

    Parameters
    ----------
    t : int64[r]
        Milliseconds UTC; the series is rows a to b - 1, ascending.
    v : int32[r]
        Thousandths of the unit.
    a, b : int
        Rows of the series.
    start, end : int64
        Milliseconds UTC, both at the start of a local date.
    how : float64
        FIRST, LAST, MIN, MAX or MEAN (any other) of a date's readings.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.
    scratch : float64[m]
        Filled from 0 with values (thousandths) and from ROOM with dates (days since 1970-01-01); m at
        least ``2 * ROOM``.

    Returns
    -------
    int64
        Number of dates, at most ROOM.
    """
    i = b - 1
    while i >= a and t[i] >= end:
        i -= 1
    if i < a or t[i] < start:
        return 0
    z = zone_index(t[i], zone_t)
    n = 0
    while i >= a and t[i] >= start and n < ROOM:
        while z > 0 and t[i] < zone_t[z]:
            z -= 1
        day = (t[i] + zone_off[z]) // DAY_MS
        begin = day_start(day, z, zone_t, zone_off)
        final = v[i]
        first = final
        least = final
        greatest = final
        total = 0
        top = i
        while i >= a and t[i] >= begin:
            first = v[i]
            least = min(least, first)
            greatest = max(greatest, first)
            total += first
            i -= 1
        if how == FIRST:
            value = float(first)
        elif how == LAST:
            value = float(final)
        elif how == MIN:
            value = float(least)
        elif how == MAX:
            value = float(greatest)
        else:
            value = total / (top - i)
        scratch[n] = value
        scratch[ROOM + n] = day
        n += 1
    return n
