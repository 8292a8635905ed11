"""Sums and weighted means over a window, of readings that each sum up a span of time, such as an hour of ECG.

Such a reading has the time at which its span ended: it belongs to the part of the day in which its last instant lies.
So the reading of 07:00 is of the night that ends at 07:00, and that of 22:00 is not of the one that begins then.

**Readings of one moment count once, by their mean**: two leads that heard the same hour are not two hours. A value is
paired with the weight of the same moment; one without the other is left out.

Series, windows and zones are as in `kernels.windows`. NaN: nothing to sum up. Nothing is not zero.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import I32, I64, Flag
from kernels.localtime import local_minute_of_day
from kernels.windows import window_start

__all__ = ["total", "weighted_mean"]


@jit
def _in_part(t: int, begins: float, ends: float, zone_t: I64, zone_off: I64) -> bool:
    """Say whether the span that ended at `t` is of the part of the day, which may go over midnight."""
    minute = local_minute_of_day(t - 1, zone_t, zone_off)
    if begins <= ends:
        return bool(begins <= minute < ends)
    return bool(minute >= begins or minute < ends)


@jit
def _moment(t: I64, v: I32, a: int, b: int) -> tuple[int, float]:
    """Give the first row of those with the time of row ``b - 1``, none before `a`, and the mean of their values."""
    row = b - 1
    value = float(v[row])
    while row > a and t[row - 1] == t[b - 1]:
        row -= 1
        value += v[row]
    return row, value / (b - row)


@jit
def _total(
    t: I64, v: I32, a: int, b: int, start: int, begins: float, ends: float, zone_t: I64, zone_off: I64
) -> float:
    summed = 0.0
    n = 0
    while b > a and t[b - 1] >= start:
        time = t[b - 1]
        b, value = _moment(t, v, a, b)
        if _in_part(time, begins, ends, zone_t, zone_off):
            summed += value
            n += 1
    return summed / 1000.0 if n > 0 else np.nan


@jit
def _weighted_mean(
    t: I64, v: I32, a: int, b: int, c: int, d: int, start: int, begins: float, ends: float, least: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    summed = weights = 0.0
    while b > a and d > c and t[b - 1] >= start and t[d - 1] >= start:
        if t[b - 1] > t[d - 1]:
            b -= 1
        elif t[b - 1] < t[d - 1]:
            d -= 1
        else:
            time = t[b - 1]
            b, value = _moment(t, v, a, b)
            d, weight = _moment(t, v, c, d)
            if weight > 0.0 and _in_part(time, begins, ends, zone_t, zone_off):
                summed += value * weight
                weights += weight
    enough = weights > 0.0 and weights / 1000.0 >= least
    return summed / (1000.0 * weights) if enough else np.nan


@jit
def total(
    t: I64,
    v: I32,
    now: int,
    window: int,
    in_days: Flag,
    begins: float,
    ends: float,
    zone_t: I64,
    zone_off: I64,
) -> float:
    """Give the sum of the window's readings.

    Parameters
    ----------
    t, v, now, window, in_days, zone_t, zone_off
        As of `kernels.windows.last`.
    begins, ends : float
        Part of the day, minutes since midnight on the patient's clock; 0 to 1440 is all of it. `begins` after `ends` is
        over midnight.

    Returns
    -------
    float64
        In the signal's unit. NaN: no reading.
    """
    start = window_start(now, window, in_days, zone_t, zone_off)
    return _total(t, v, 0, len(t), start, begins, ends, zone_t, zone_off)


@jit
def weighted_mean(
    t: I64,
    v: I32,
    lo: I32,
    hi: I32,
    start: int,
    begins: float,
    ends: float,
    least: float,
    zone_t: I64,
    zone_off: I64,
) -> float:
    """Give the mean of one series, weighted by another.

    Parameters
    ----------
    t, v : int64[n], int32[n]
        Readings of both, as of `kernels.windows.last`.
    lo, hi : int32[2]
        Rows of the values and of their weights.
    start : int64
        Earliest time that belongs to the window.
    begins, ends, zone_t, zone_off
        As of `total`.
    least : float
        Least sum of the weights, in their unit. NaN: nobody said.

    Returns
    -------
    float64
        In the first signal's unit. NaN: no moment has both, or their weights come to less than `least`, or to 0.
    """
    return _weighted_mean(
        t, v, int(lo[0]), int(hi[0]), int(lo[1]), int(hi[1]), start, begins, ends, least, zone_t, zone_off
    )
