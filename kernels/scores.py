"""Adherence and questionnaire scores."""

import numpy as np

from kernels._jit import jit
from kernels._types import I32, I64
from kernels.localtime import DAY_MS, day_start, zone_index

__all__ = ["adherence", "score"]


@jit
def _adherence(
    t: I64, a: int, b: int, now: int, window: int, per_day: float, zone_t: I64, zone_off: I64
) -> float:
    z = zone_index(now, zone_t)
    today = (now + zone_off[z]) // DAY_MS
    i = b - 1
    begin = day_start(today, z, zone_t, zone_off)
    while i >= a and t[i] >= begin:
        i -= 1
    received = 0.0
    for day in range(today - 1, today - window - 1, -1):
        if i < a:
            break
        begin = day_start(day, z, zone_t, zone_off)
        n = i
        while i >= a and t[i] >= begin:
            i -= 1
        received += min(float(n - i), per_day)
    return received / (per_day * window)


@jit
def adherence(t: I64, now: int, window: int, per_day: float, zone_t: I64, zone_off: I64) -> float:
    """Give the share of the expected readings that came.

    Of the `window` local dates before today's (which is not over), each counts its readings up to `per_day`:
    more on one date does not make up for none on another. 0 without readings: that is known, not missing.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending.
    now : int64
        Milliseconds UTC; no reading is later.
    window : int64
        Local days, at least 1.
    per_day : float64
        Readings expected a day, above 0.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    float64
        0 to 1.
    """
    return _adherence(t, 0, len(t), now, window, per_day, zone_t, zone_off)


@jit
def _score_sum(t: I64, v: I32, series: I32, lo: I32, hi: I32, start: int) -> float:
    total = 0
    for k in range(len(series)):
        s = series[k]
        if s < 0:
            break
        row = hi[s] - 1
        if row < lo[s] or t[row] < start:
            return np.nan
        total += v[row]
    return total / 1000.0


@jit
def score(t: I64, v: I32, series: I32, lo: I32, hi: I32, start: int) -> float:
    """Give a questionnaire's score: the sum of the newest answers to its items.

    Parameters
    ----------
    t : int64[r]
        Milliseconds UTC; the answers to item s are rows lo[s] to hi[s] - 1, ascending.
    v : int32[r]
        Thousandths.
    series : int32[m]
        Items of the score; the first negative one ends them.
    lo, hi : int32[s]
        Where each item's answers begin and end (not included).
    start : int64
        Milliseconds UTC, earliest time that counts.

    Returns
    -------
    float64
        Sum. NaN: an item has no answer that counts.
    """
    return _score_sum(t, v, series, lo, hi, start)
