"""What the readings of a window say: last, age, count, least, greatest, mean, median, standard deviation.

A series is ``t : int64[n]`` (milliseconds UTC, ascending) with ``v : int32[n]`` (thousandths of the signal's
unit); no reading is later than `now`. A window ends at `now`:

- of a length in milliseconds: readings with ``now - window < t <= now``, so that a daily reading at one
  hour is counted three times in 72 hours;
- of k local days: readings on the local dates from k - 1 days before today to today;
- 0: all readings.

Results are float64 in the signal's unit. NaN: too few readings to say. Sums are of whole thousandths, and
there is one division, at the end: the mean of 82.4 and 82.6 is 82.5, not its neighbour.

Each public function is ``name(t, v, now, window, in_days, zone_t, zone_off)``; the kernel behind it,
``_name(t, v, a, b, ...)``, works on rows a to b - 1 of longer arrays, backwards from the newest.
"""

import numpy as np

from kernels._jit import jit, jit_allocating, jit_inline
from kernels._types import F64, I32, I64, Flag
from kernels.localtime import DAY_MS, HOUR_MS, day_start, local_minute_of_day, zone_index
from kernels.order import SCRATCH, median_of

__all__ = ["age_h", "count", "hour", "last", "maximum", "mean", "median", "minimum", "sd", "window_start"]

_EVER = -(2**62)
"""Start of a window without bound, milliseconds."""


@jit_inline
def window_start(now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> int:
    """Give the earliest time that belongs to the window ending at `now`.

    Parameters
    ----------
    now : int64
        Milliseconds UTC.
    window : int64
        Milliseconds, or local days where `in_days`; 0 for no bound.
    in_days : bool
        Whether `window` counts local days.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    int64
        Milliseconds UTC.
    """
    if window <= 0:
        return _EVER
    if not in_days:
        return now - window + 1
    z = zone_index(now, zone_t)
    return day_start((now + zone_off[z]) // DAY_MS - window + 1, z, zone_t, zone_off)


@jit_inline
def _row_from(t: I64, a: int, b: int, start: int) -> int:
    """Give the first row of a to b - 1 at or after `start`; b when there is none."""
    while b > a and t[b - 1] >= start:
        b -= 1
    return b


@jit_inline
def _last(t: I64, v: I32, a: int, b: int, start: int) -> float:
    if b > a and t[b - 1] >= start:
        return float(v[b - 1] / 1000.0)
    return np.nan


@jit_inline
def _count(t: I64, a: int, b: int, start: int) -> float:
    return float(b - _row_from(t, a, b, start))


@jit_inline
def _minimum(t: I64, v: I32, a: int, b: int, start: int) -> float:
    i = b - 1
    if i < a or t[i] < start:
        return np.nan
    least = v[i]
    i -= 1
    while i >= a and t[i] >= start:
        least = min(least, v[i])
        i -= 1
    return float(least / 1000.0)


@jit_inline
def _maximum(t: I64, v: I32, a: int, b: int, start: int) -> float:
    i = b - 1
    if i < a or t[i] < start:
        return np.nan
    greatest = v[i]
    i -= 1
    while i >= a and t[i] >= start:
        greatest = max(greatest, v[i])
        i -= 1
    return float(greatest / 1000.0)


@jit_inline
def _mean(t: I64, v: I32, a: int, b: int, start: int) -> float:
    total = 0
    i = b - 1
    while i >= a and t[i] >= start:
        total += v[i]
        i -= 1
    n = b - 1 - i
    if n == 0:
        return np.nan
    return total / (1000.0 * n)


@jit
def _median(t: I64, v: I32, a: int, b: int, start: int, scratch: F64) -> float:
    row = _row_from(t, a, b, start)
    n = b - row
    if n == 0 or 3 * n > len(scratch):
        return np.nan
    for i in range(n):
        scratch[i] = v[row + i]
    return median_of(scratch, n, scratch[n:]) / 1000.0


@jit
def _sd(t: I64, v: I32, a: int, b: int, start: int) -> float:
    # Sums of whole thousandths about the newest reading: they are exact, so the one-pass formula
    # (sum of squares minus squared sum) loses nothing here.
    origin = v[b - 1] if b > a else 0
    total = 0.0
    squares = 0.0
    i = b - 1
    while i >= a and t[i] >= start:
        d = float(v[i] - origin)
        total += d
        squares += d * d
        i -= 1
    n = b - 1 - i
    if n < 2:
        return np.nan
    return float(np.sqrt(max(0.0, squares - total * total / n) / (n - 1)) / 1000.0)


@jit
def last(t: I64, v: I32, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the newest reading of the window.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending.
    v : int32[n]
        Thousandths of the unit.
    now : int64
        Milliseconds UTC, end of the window; no reading is later.
    window : int64
        Milliseconds, or local days where `in_days`; 0 for all readings.
    in_days : bool
        Whether `window` counts local days.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    float64
        In the signal's unit. NaN: none.
    """
    return _last(t, v, 0, len(t), window_start(now, window, in_days, zone_t, zone_off))


@jit
def age_h(t: I64, now: int) -> float:
    """Give the time since the newest reading.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending.
    now : int64
        Milliseconds UTC.

    Returns
    -------
    float64
        Hours. NaN: no reading.
    """
    return (now - t[len(t) - 1]) / HOUR_MS if len(t) > 0 else np.nan


@jit
def hour(t: I64, lo: int, hi: int, zone_t: I64, zone_off: I64) -> float:
    """Give the local time of the newest reading, for rules that differ by day and night.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending from `lo` to `hi` (not included).
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    float64
        Hours since midnight on the patient's clock, in whole minutes: 7.5 is 07:30. NaN: no reading.
    """
    return local_minute_of_day(t[hi - 1], zone_t, zone_off) / 60.0 if hi > lo else np.nan


@jit
def count(t: I64, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Count the readings of the window; 0 is a count, not an absence. Parameters as of `last`.

    Returns
    -------
    float64
        Readings.
    """
    return _count(t, 0, len(t), window_start(now, window, in_days, zone_t, zone_off))


@jit
def minimum(t: I64, v: I32, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the least reading of the window. Parameters as of `last`.

    Returns
    -------
    float64
        In the signal's unit. NaN: none.
    """
    return _minimum(t, v, 0, len(t), window_start(now, window, in_days, zone_t, zone_off))


@jit
def maximum(t: I64, v: I32, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the greatest reading of the window. Parameters as of `last`.

    Returns
    -------
    float64
        In the signal's unit. NaN: none.
    """
    return _maximum(t, v, 0, len(t), window_start(now, window, in_days, zone_t, zone_off))


@jit
def mean(t: I64, v: I32, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the arithmetic mean of the window's readings. Parameters as of `last`.

    Returns
    -------
    float64
        In the signal's unit. NaN: no reading.
    """
    return _mean(t, v, 0, len(t), window_start(now, window, in_days, zone_t, zone_off))


@jit_allocating
def median(t: I64, v: I32, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the median of the window's readings, the mean of the middle two where they are even in number.

    Parameters as of `last`.

    Returns
    -------
    float64
        In the signal's unit. NaN: no reading, or more than a third of `SCRATCH`.
    """
    start = window_start(now, window, in_days, zone_t, zone_off)
    return _median(t, v, 0, len(t), start, np.empty(SCRATCH))


@jit
def sd(t: I64, v: I32, now: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the standard deviation of the window's readings, with n - 1. Parameters as of `last`.

    Returns
    -------
    float64
        In the signal's unit. NaN: fewer than two readings.
    """
    return _sd(t, v, 0, len(t), window_start(now, window, in_days, zone_t, zone_off))
