"""One entry for every feature that a protocol may ask for: `evaluate`, called for each row and feature.

`STATISTICS` describes the statistics (see `kernels.catalogue`), `OPS` gives their numbers.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from kernels import ops
from kernels._jit import jit, jit_inline
from kernels._types import F64, I32, I64, Flag
from kernels.baseline import _deviation_z, _learn, _spread
from kernels.catalogue import DAILY, STATISTICS
from kernels.daily import ROOM
from kernels.localtime import HOUR_MS, MINUTE_MS
from kernels.news2 import ITEMS, news2
from kernels.order import SCRATCH, median_of
from kernels.pattern import newest_out
from kernels.pressure import _home_bp, _home_protocol, _mean_arterial, _orthostatic, _pulse_pressure
from kernels.scores import _adherence, _score_sum
from kernels.statistic import PAR, SERIES, Parameter, Statistic
from kernels.sums import _total, _weighted_mean
from kernels.trends import _change, _cusum, _drift, _ema, _macd_exponential, _macd_simple, _rise, _slope
from kernels.windows import _count, _last, _maximum, _mean, _median, _minimum, _sd, hour, window_start

__all__ = [
    "DAILY",
    "OPS",
    "PAR",
    "SCRATCH",
    "SERIES",
    "STATISTICS",
    "Parameter",
    "Statistic",
    "evaluate",
    "evaluate_since",
]

OPS: Mapping[str, int] = MappingProxyType({name: statistic.op for name, statistic in STATISTICS.items()})
"""Statistic name to operation."""


@jit
def _rare(
    op: int, series: I32, window: int, in_days: Flag, par: F64, limit: float,
    t: I64, v: I32, lo: I32, hi: I32, now: int, zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    """Compute the operations that cost more than the choice among them. Parameters as of `evaluate`."""
    s = series[0]
    a = int(np.int64(lo[s]))
    b = int(np.int64(hi[s]))
    if op == ops.EMA:
        return _ema(t, v, a, b, now, window, par[0], par[1], par[2], zone_t, zone_off, scratch)
    if op == ops.MACD_SIMPLE:
        return _macd_simple(t, v, a, b, now, par[0], par[1], par[2], par[3], zone_t, zone_off, scratch)
    if op == ops.MACD_EXPONENTIAL:
        return _macd_exponential(
            t, v, a, b, now, window, par[0], par[1], par[2], par[3], zone_t, zone_off, scratch
        )
    if op == ops.CUSUM:
        return _cusum(
            t, v, a, b, now, window, par[0], par[1], par[2], par[3], par[4], zone_t, zone_off, scratch
        )
    if op == ops.SLOPE:
        return _slope(t, v, a, b, now, window, par[0], par[1], zone_t, zone_off, scratch)
    if ops.BASELINE <= op <= ops.DEVIATION_Z:
        n = _learn(t, v, a, b, window, par[0], par[1], par[2], zone_t, zone_off, scratch)
        if n == 0:
            return np.nan
        if op == ops.DEVIATION_Z:
            return _deviation_z(v[b - 1], n, par[3], scratch)
        centre = median_of(scratch, n, scratch[2 * ROOM :])
        if op == ops.BASELINE:
            return centre / 1000.0
        if op == ops.BASELINE_SPREAD:
            return _spread(n, centre, scratch) / 1000.0
        return float((v[b - 1] - centre) / 1000.0)
    if op == ops.OUT_OF_PATTERN:
        return newest_out(t, v, a, b, int(np.floor(par[0] * 1000.0 + 0.5)))
    if ops.HOME_BP_223 <= op <= ops.HOME_BP_7DAYS:
        dates, per_half, min_readings, min_dates, discard = _home_protocol(op)
        return _home_bp(
            t, v, a, b, now, window, dates, per_half, min_readings, min_dates, discard,
            par[0], par[1], par[2], par[3], zone_t, zone_off, scratch,
        )  # fmt: skip
    if op == ops.HOUR:
        return hour(t, a, b, zone_t, zone_off)
    if op == ops.ADHERENCE:
        return _adherence(t, a, b, now, window, par[0], zone_t, zone_off)
    start = window_start(now, window, in_days, zone_t, zone_off)
    if op == ops.SUM:
        return _total(t, v, a, b, start, par[0], par[1], zone_t, zone_off)
    if op == ops.SCORE:
        return _score_sum(t, v, series, lo, hi, start)
    if ops.NEWS2 <= op <= ops.NEWS2_SINGLE:
        for item in range(ITEMS):
            s = series[item]
            scratch[item] = (
                _last(t, v, int(np.int64(lo[s])), int(np.int64(hi[s])), start) if s >= 0 else np.nan
            )
        total, at_least, missing, single = news2(scratch, limit)
        if op == ops.NEWS2:
            return total
        if op == ops.NEWS2_AT_LEAST:
            return at_least
        return missing if op == ops.NEWS2_MISSING else single
    other = series[1]
    if other < 0:
        return np.nan
    c = int(np.int64(lo[other]))
    d = int(np.int64(hi[other]))
    if op == ops.WEIGHTED_MEAN:
        return _weighted_mean(t, v, a, b, c, d, start, par[0], par[1], limit, zone_t, zone_off)
    if op == ops.PULSE_PRESSURE:
        return _pulse_pressure(t, v, a, b, c, d, start)
    if op == ops.MEAN_ARTERIAL:
        return _mean_arterial(t, v, a, b, c, d, start)
    if ops.ORTHOSTATIC_SYSTOLIC <= op <= ops.ORTHOSTATIC_DIASTOLIC:
        return _orthostatic(t, v, a, b, c, d, start, par[0] * MINUTE_MS)
    return np.nan


@jit_inline
def evaluate_since(
    op: int,
    series: I32,
    window: int,
    start: int,
    in_days: Flag,
    par: F64,
    limit: float,
    t: I64,
    v: I32,
    lo: I32,
    hi: I32,
    now: int,
    zone_t: I64,
    zone_off: I64,
    scratch: F64,
) -> float:
    """Do what `evaluate` does, where the caller knows when the window began.

    `start` : int64, `kernels.windows.window_start`, is looked at for operations up to `ops.SD` only: several features
    of one moment have the same, and it costs more than most of them.
    """
    s = series[0]
    if s < 0:
        return np.nan
    a = int(np.int64(lo[s]))
    b = int(np.int64(hi[s]))
    if op <= ops.SD:
        if op == ops.LAST:
            return _last(t, v, a, b, start)
        if op == ops.MEAN:
            return _mean(t, v, a, b, start)
        if op == ops.MINIMUM:
            return _minimum(t, v, a, b, start)
        if op == ops.MAXIMUM:
            return _maximum(t, v, a, b, start)
        if op == ops.COUNT:
            return _count(t, a, b, start)
        if op == ops.MEDIAN:
            return _median(t, v, a, b, start, scratch)
        return _sd(t, v, a, b, start) if op == ops.SD else np.nan
    # Nothing is known of an empty series. Those that say so otherwise (missing items, share of readings) come behind.
    if b <= a and op <= ops.ORTHOSTATIC_DIASTOLIC:
        return np.nan
    if op == ops.RISE:
        return _rise(t, v, a, b, window, in_days, zone_t, zone_off)
    if op == ops.AGE_H:
        return (now - t[b - 1]) / HOUR_MS
    if op == ops.DRIFT:
        return _drift(v, a, b, limit)
    if op == ops.CHANGE:
        return _change(t, v, a, b, window, par[0], zone_t, zone_off, scratch)
    return _rare(op, series, window, in_days, par, limit, t, v, lo, hi, now, zone_t, zone_off, scratch)


@jit_inline
def evaluate(
    op: int,
    series: I32,
    window: int,
    in_days: Flag,
    par: F64,
    limit: float,
    t: I64,
    v: I32,
    lo: I32,
    hi: I32,
    now: int,
    zone_t: I64,
    zone_off: I64,
    scratch: F64,
) -> float:
    """Compute one feature of one patient.

    Parameters
    ----------
    op : int64
        Operation, one of `OPS`; any other gives NaN.
    series : int32[SERIES]
        Series of the feature, rows of `lo` and `hi`, in the order of the statistic's roles; -1 for none.
    window : int64
        Milliseconds, or local days where `in_days`; 0 for no bound.
    in_days : bool
        Whether `window` counts local days.
    par : float64[PAR]
        Parameters, as `Statistic.pack` gives them.
    limit : float64
        Value of the limit that the feature names; NaN for none.
    t : int64[r]
        Milliseconds UTC: series s is ``t[lo[s]:hi[s]]``, ascending.
    v : int32[r]
        Thousandths of the unit, beside `t`.
    lo, hi : int32[s]
        Where each series begins and ends (not included).
    now : int64
        Milliseconds UTC, the patient's newest event time: no reading is later.
    zone_t, zone_off : int64[z]
        The patient's zone, see `kernels.localtime`.
    scratch : float64[SCRATCH]
        Overwritten.

    Returns
    -------
    float64
        In the statistic's unit. NaN: undetermined.
    """
    start = window_start(now, window, in_days, zone_t, zone_off) if op <= ops.SD else 0
    return evaluate_since(
        op, series, window, start, in_days, par, limit, t, v, lo, hi, now, zone_t, zone_off, scratch
    )
