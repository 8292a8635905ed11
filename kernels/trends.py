"""How a series moves: rise, change, averages of two lengths, CUSUM, slope, drift.

Where a rule speaks of days it means the patient's local dates, never "k samples ago", and a date without a
reading is a gap: nothing is put in its place. Averages, CUSUM and slope take one value a date (`daily`, one
of `kernels.daily`) and end at `now`, so that they become undetermined when readings cease; rise, change and
drift are about the newest reading, whenever it was (`kernels.windows.age_h` tells).

The rule of a moving average plus a multiple of the standard deviation is left out on purpose: it is patented
(US 2012/0330683 A1).
"""

import numpy as np

from kernels._jit import jit, jit_allocating, jit_inline
from kernels._types import F64, I32, I64, Flag
from kernels.daily import ROOM, daily_values
from kernels.localtime import DAY_MS, day_start, zone_index
from kernels.order import SCRATCH, median_of

__all__ = ["change", "cusum", "drift", "ema", "macd_exponential", "macd_simple", "rise", "slope"]


@jit_inline
def _rise(t: I64, v: I32, a: int, b: int, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    i = b - 1
    if i < a:
        return np.nan
    newest = v[i]
    end = t[i]
    if in_days:
        z = zone_index(end, zone_t)
        day = (end + zone_off[z]) // DAY_MS
        end = day_start(day, z, zone_t, zone_off)
        start = day_start(day - window, z, zone_t, zone_off)
    else:
        start = end - window
    while i >= a and t[i] >= end:
        i -= 1
    if i < a or t[i] < start:
        return np.nan
    least = v[i]
    i -= 1
    while i >= a and t[i] >= start:
        least = min(least, v[i])
        i -= 1
    return float((newest - least) / 1000.0)


@jit
def _change(
    t: I64, v: I32, a: int, b: int, days: int, how: float, zone_t: I64, zone_off: I64, scratch: F64
) -> float:
    if b <= a:
        return np.nan
    z = zone_index(t[b - 1], zone_t)
    day = (t[b - 1] + zone_off[z]) // DAY_MS - days
    start = day_start(day, z, zone_t, zone_off)
    end = day_start(day + 1, z, zone_t, zone_off)
    if daily_values(t, v, a, b, start, end, how, zone_t, zone_off, scratch) == 0:
        return np.nan
    return float((v[b - 1] - scratch[0]) / 1000.0)


@jit_inline
def _drift(v: I32, a: int, b: int, limit: float) -> float:
    if b <= a:
        return np.nan
    return float((v[b - 1] - np.floor(limit * 1000.0 + 0.5)) / 1000.0)  # NaN where there is no limit


@jit
def _until_now(
    t: I64, v: I32, a: int, b: int, now: int, days: int, how: float, zone_t: I64, zone_off: I64, scratch: F64
) -> int:
    """Fill `scratch` with the daily values of the last `days` local dates, today's included."""
    z = zone_index(now, zone_t)
    today = (now + zone_off[z]) // DAY_MS
    start = day_start(today - days + 1, z, zone_t, zone_off)
    return daily_values(t, v, a, b, start, now + 1, how, zone_t, zone_off, scratch)


@jit
def _weighted(n: int, length: float, scratch: F64) -> float:
    """Average `n` daily values in `scratch` with weights ``(1 - alpha) ** (days before the newest)``."""
    keep = (length - 1.0) / (length + 1.0)  # 1 - alpha, alpha = 2 / (length + 1)
    weight = 1.0
    weights = 1.0
    total = scratch[0]
    for i in range(1, n):
        gap = scratch[ROOM + i - 1] - scratch[ROOM + i]
        weight *= keep if gap == 1.0 else keep**gap
        weights += weight
        total += weight * scratch[i]
    return float(total / weights)


@jit
def _ema(
    t: I64, v: I32, a: int, b: int, now: int, window: int, length: float, min_points: float, how: float,
    zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    n = _until_now(t, v, a, b, now, window, how, zone_t, zone_off, scratch)
    if n == 0 or n < min_points:
        return np.nan
    return _weighted(n, length, scratch) / 1000.0


@jit
def _macd_simple(
    t: I64, v: I32, a: int, b: int, now: int, short: float, long: float, min_points: float, how: float,
    zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    n = _until_now(t, v, a, b, now, int(long), how, zone_t, zone_off, scratch)
    if n == 0 or n < min_points:
        return np.nan
    today = (now + zone_off[zone_index(now, zone_t)]) // DAY_MS
    total = 0.0
    total_short = 0.0
    n_short = 0
    for i in range(n):
        total += scratch[i]
        if scratch[ROOM + i] > today - short:
            total_short = total
            n_short = i + 1
    if n_short == 0:
        return np.nan
    return (total_short / n_short - total / n) / 1000.0


@jit
def _macd_exponential(
    t: I64, v: I32, a: int, b: int, now: int, window: int, short: float, long: float, min_points: float,
    how: float, zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    n = _until_now(t, v, a, b, now, window, how, zone_t, zone_off, scratch)
    if n == 0 or n < min_points:
        return np.nan
    if scratch[ROOM] <= (now + zone_off[zone_index(now, zone_t)]) // DAY_MS - short:
        return np.nan
    return (_weighted(n, short, scratch) - _weighted(n, long, scratch)) / 1000.0


@jit
def _cusum(
    t: I64, v: I32, a: int, b: int, now: int, window: int, k: float, learn: float, min_points: float,
    how: float, side: float, zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    z = zone_index(now, zone_t)
    first = (now + zone_off[z]) // DAY_MS - window + 1
    start = day_start(first, z, zone_t, zone_off)
    begin = day_start(first - int(learn), z, zone_t, zone_off)
    n = daily_values(t, v, a, b, begin, start, how, zone_t, zone_off, scratch)
    if n == 0 or n < min_points:
        return np.nan
    centre = median_of(scratch, n, scratch[2 * ROOM :])
    n = daily_values(t, v, a, b, start, now + 1, how, zone_t, zone_off, scratch)
    if n == 0:
        return np.nan
    c = 0.0
    for i in range(n - 1, -1, -1):
        c = max(0.0, c + side * (scratch[i] - centre) - k * 1000.0)
    return c / 1000.0


@jit
def _slope(
    t: I64, v: I32, a: int, b: int, now: int, window: int, min_points: float, how: float,
    zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    n = _until_now(t, v, a, b, now, window, how, zone_t, zone_off, scratch)
    pairs = n * (n - 1) // 2
    if n < 2 or n < min_points or 3 * pairs > len(scratch) - 2 * ROOM:
        return np.nan
    at = 2 * ROOM
    for i in range(n - 1):
        for j in range(i + 1, n):
            scratch[at] = (scratch[i] - scratch[j]) / (scratch[ROOM + i] - scratch[ROOM + j])
            at += 1
    return median_of(scratch[2 * ROOM :], pairs, scratch[2 * ROOM + pairs :]) / 1000.0


@jit
def rise(t: I64, v: I32, window: int, in_days: Flag, zone_t: I64, zone_off: I64) -> float:
    """Give the rule of thumb: newest reading minus the least of the window before it.

    ``w_t - min(w_{t-k} .. w_{t-1})``: clinical reference section 2.3; ESC patient rule; Zhang, Eur J Heart
    Fail 2009;11:420 (RoT). Readings of the newest one's own date are not compared with it.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending.
    v : int32[n]
        Thousandths of the unit.
    window : int64
        In local days, k: readings on the k dates before the newest reading's date. In milliseconds:
        readings in ``[t_last - window, t_last)``.
    in_days : bool
        Whether `window` counts local days.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    float64
        In the signal's unit, positive for a gain. NaN: no reading, or none to compare with.
    """
    return _rise(t, v, 0, len(t), window, in_days, zone_t, zone_off)


@jit_allocating
def change(t: I64, v: I32, days: int, how: float, zone_t: I64, zone_off: I64) -> float:
    """Give the newest reading minus the value of the local date `days` before its own, exactly.

    The other comparator of the rule of thumb: clinical reference section 2.3 ("value k days ago").

    Parameters
    ----------
    t, v, zone_t, zone_off
        As of `rise`.
    days : int64
        k, local days.
    how : float64
        Which reading stands for that date, see `kernels.daily`.

    Returns
    -------
    float64
        In the signal's unit. NaN: no reading, or none on that date.
    """
    return _change(t, v, 0, len(t), days, how, zone_t, zone_off, np.empty(SCRATCH))


@jit
def drift(v: I32, limit: float) -> float:
    """Give the newest reading minus a limit, for example the dry weight; negative for a loss.

    Clinical reference section 2.3. The limit counts in whole thousandths, as readings do.

    Parameters
    ----------
    v : int32[n]
        Thousandths of the unit, oldest first.
    limit : float64
        In the signal's unit.

    Returns
    -------
    float64
        In the signal's unit. NaN: no reading, or no limit.
    """
    return _drift(v, 0, len(v), limit)


@jit_allocating
def ema(
    t: I64,
    v: I32,
    now: int,
    window: int,
    length: float,
    min_points: float,
    how: float,
    zone_t: I64,
    zone_off: I64,
) -> float:
    """Give the exponential moving average of daily values, ``alpha = 2 / (length + 1)``.

    ``sum(q**a_i * w_i) / sum(q**a_i)``, with ``q = 1 - alpha`` and ``a_i`` the age of a value in local days.
    Clinical reference section 2.3. The recursion ``m += alpha * (w - m)`` is its limit for a long window
    without gaps; here a gap lets the past fade by its length, and no value, such as the first of the
    window, weighs more than its age says.

    Parameters
    ----------
    t, v, zone_t, zone_off
        As of `rise`.
    now : int64
        Milliseconds UTC, end of the window; no reading is later.
    window : int64
        Local days, today's included.
    length : float64
        Days, at least 1.
    min_points : float64
        Fewest dates with a reading.
    how : float64
        Which reading stands for a date, see `kernels.daily`.

    Returns
    -------
    float64
        In the signal's unit. NaN: fewer than `min_points` dates.
    """
    return _ema(t, v, 0, len(t), now, window, length, min_points, how, zone_t, zone_off, np.empty(SCRATCH))


@jit_allocating
def macd_simple(
    t: I64,
    v: I32,
    now: int,
    short: float,
    long: float,
    min_points: float,
    how: float,
    zone_t: I64,
    zone_off: I64,
) -> float:
    """Give the mean of the last `short` local dates minus the mean of the last `long`.

    ``M_t = mean(w, n_s last days) - mean(w, n_l last days)``: clinical reference section 2.3; Zhang, Eur J
    Heart Fail 2009;11:420; Gyllensten, JMIR Med Inform 2016.

    Parameters
    ----------
    t, v, now, min_points, how, zone_t, zone_off
        As of `ema`; `min_points` is of the long mean.
    short, long : float64
        Local days, today's included, ``short < long``.

    Returns
    -------
    float64
        In the signal's unit. NaN: fewer than `min_points` dates, or none in the short mean.
    """
    scratch = np.empty(SCRATCH)
    return _macd_simple(t, v, 0, len(t), now, short, long, min_points, how, zone_t, zone_off, scratch)


@jit_allocating
def macd_exponential(
    t: I64, v: I32, now: int, window: int, short: float, long: float, min_points: float, how: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Give the exponential average of length `short` minus that of length `long`, see `ema`.

    Clinical reference section 2.3 (EMA form).

    Parameters
    ----------
    t, v, now, window, min_points, how, zone_t, zone_off
        As of `ema`.
    short, long : float64
        Days, ``short < long``.

    Returns
    -------
    float64
        In the signal's unit. NaN: fewer than `min_points` dates, or none in the last `short`.
    """
    scratch = np.empty(SCRATCH)
    return _macd_exponential(
        t, v, 0, len(t), now, window, short, long, min_points, how, zone_t, zone_off, scratch
    )


@jit_allocating
def cusum(
    t: I64, v: I32, now: int, window: int, k: float, learn: float, min_points: float, how: float, side: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Give the one-sided cumulative sum of daily values at the window's end.

    ``C_t = max(0, C_{t-1} + w_t - mu - k)``: clinical reference section 2.3; Gyllensten, JMIR Med Inform
    2016. C is 0 before the window, ``mu`` is the median of the daily values on the `learn` dates before it,
    and a date without a reading leaves C as it is. The reference lets C begin anew when an alert is
    acknowledged; a function of readings alone cannot know of that, so here the window bounds what is
    summed.

    Parameters
    ----------
    t, v, now, how, zone_t, zone_off
        As of `ema`.
    window : int64
        Local days summed, today's included.
    k : float64
        Slack, in the signal's unit.
    learn : float64
        Local days before the window from which the centre is learnt.
    min_points : float64
        Fewest dates with a reading among them.
    side : float64
        1 sums what is above the centre, -1 what is below.

    Returns
    -------
    float64
        In the signal's unit, at least 0. NaN: the centre is unknown, or no reading in the window.
    """
    scratch = np.empty(SCRATCH)
    return _cusum(t, v, 0, len(t), now, window, k, learn, min_points, how, side, zone_t, zone_off, scratch)


@jit_allocating
def slope(
    t: I64, v: I32, now: int, window: int, min_points: float, how: float, zone_t: I64, zone_off: I64
) -> float:
    """Give the Theil-Sen slope of daily values: the median of the slopes of all pairs.

    ``median((w_i - w_j) / (d_i - d_j))`` with d the local date: clinical reference section 2.3; Sen, J Am
    Stat Assoc 1968;63:1379.

    Parameters
    ----------
    t, v, now, window, min_points, how, zone_t, zone_off
        As of `ema`.

    Returns
    -------
    float64
        In the signal's unit per day. NaN: fewer than 2 or `min_points` dates, or more than 72.
    """
    return _slope(t, v, 0, len(t), now, window, min_points, how, zone_t, zone_off, np.empty(SCRATCH))
