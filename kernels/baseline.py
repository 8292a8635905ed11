"""What is usual for this patient, robustly, and how far the newest reading is from it.

The baseline is learnt from one value a local date (`kernels.daily`) over a learning window that leaves out
the newest dates, so that a decompensation under way does not become the norm. Dates are counted back from
that of the newest reading: silence does not move the baseline. Medians (Hampel, J Am Stat Assoc
1974;69:383) bear almost half of the dates being wrong.
"""

import numpy as np

from kernels._jit import jit, jit_allocating
from kernels._types import F64, I32, I64
from kernels.daily import ROOM, daily_values
from kernels.localtime import DAY_MS, day_start, zone_index
from kernels.order import SCRATCH, median_of

__all__ = ["MAD_TO_SD", "baseline", "baseline_spread", "deviation", "deviation_z"]

MAD_TO_SD = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""


@jit
def _learn(
    t: I64, v: I32, a: int, b: int, window: int, exclude: float, min_points: float, how: float,
    zone_t: I64, zone_off: I64, scratch: F64,
) -> int:  # fmt: skip
    """Fill `scratch` with the daily values of the learning window; 0 when they are too few."""
    if b <= a:
        return 0
    z = zone_index(t[b - 1], zone_t)
    end_day = (t[b - 1] + zone_off[z]) // DAY_MS + 1 - int(exclude)
    end = day_start(end_day, z, zone_t, zone_off)
    start = day_start(end_day - window, z, zone_t, zone_off)
    n = daily_values(t, v, a, b, start, end, how, zone_t, zone_off, scratch)
    return n if n >= min_points else 0


@jit
def _spread(n: int, centre: float, scratch: F64) -> float:
    """Give 1.4826 MAD of the `n` values in `scratch`, in thousandths; NaN when there are none."""
    for i in range(n):
        scratch[i] = abs(scratch[i] - centre)
    return MAD_TO_SD * median_of(scratch, n, scratch[2 * ROOM :])


@jit_allocating
def baseline(
    t: I64, v: I32, window: int, exclude: float, min_points: float, how: float, zone_t: I64, zone_off: I64
) -> float:
    """Give the personal baseline: the median of daily values over the learning window.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending.
    v : int32[n]
        Thousandths of the unit.
    window : int64
        Local days learnt from.
    exclude : float64
        Local dates left out before them: 1 leaves out that of the newest reading, 2 also the one before.
    min_points : float64
        Fewest dates with a reading.
    how : float64
        Which reading stands for a date, see `kernels.daily`.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    float64
        In the signal's unit. NaN: too few dates.
    """
    scratch = np.empty(SCRATCH)
    n = _learn(t, v, 0, len(t), window, exclude, min_points, how, zone_t, zone_off, scratch)
    return median_of(scratch, n, scratch[2 * ROOM :]) / 1000.0


@jit_allocating
def baseline_spread(
    t: I64, v: I32, window: int, exclude: float, min_points: float, how: float, zone_t: I64, zone_off: I64
) -> float:
    """Give the spread about the baseline: ``1.4826 * median(|w - baseline|)``. Parameters as of `baseline`.

    Returns
    -------
    float64
        In the signal's unit. NaN: too few dates.
    """
    scratch = np.empty(SCRATCH)
    n = _learn(t, v, 0, len(t), window, exclude, min_points, how, zone_t, zone_off, scratch)
    return _spread(n, median_of(scratch, n, scratch[2 * ROOM :]), scratch) / 1000.0


@jit_allocating
def deviation(
    t: I64, v: I32, window: int, exclude: float, min_points: float, how: float, zone_t: I64, zone_off: I64
) -> float:
    """Give the newest reading minus the baseline. Parameters as of `baseline`.

    Returns
    -------
    float64
        In the signal's unit. NaN: too few dates.
    """
    scratch = np.empty(SCRATCH)
    n = _learn(t, v, 0, len(t), window, exclude, min_points, how, zone_t, zone_off, scratch)
    return (v[len(v) - 1] - median_of(scratch, n, scratch[2 * ROOM :])) / 1000.0 if n > 0 else np.nan


@jit_allocating
def deviation_z(
    t: I64, v: I32, window: int, exclude: float, min_points: float, how: float, floor: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Give the newest reading's deviation in spreads: ``(w - baseline) / max(spread, floor)``.

    Parameters
    ----------
    t, v, window, exclude, min_points, how, zone_t, zone_off
        As of `baseline`.
    floor : float64
        Least spread, in the signal's unit, above 0: a patient whose readings were all equal has none.

    Returns
    -------
    float64
        In spreads. NaN: too few dates.
    """
    scratch = np.empty(SCRATCH)
    n = _learn(t, v, 0, len(t), window, exclude, min_points, how, zone_t, zone_off, scratch)
    return _deviation_z(v[len(v) - 1], n, floor, scratch) if n > 0 else np.nan


@jit
def _deviation_z(newest: int, n: int, floor: float, scratch: F64) -> float:
    centre = median_of(scratch, n, scratch[2 * ROOM :])
    return (newest - centre) / max(_spread(n, centre, scratch), floor * 1000.0)
