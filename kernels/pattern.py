"""Readings out of pattern: another person on the scale, a new scale, a slip of typing.

Such a reading is a matter for a technical check, never for a clinical alert, and baselines and trends leave
it out. The rule is a function of the series' content only.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import I32, I64
from kernels.localtime import DAY_MS

__all__ = ["clean", "newest_out"]


@jit
def _out(t: int, v: int, t_kept: int, v_kept: int, max_step: int) -> bool:
    """Whether a step is larger than `max_step` a day allows; in whole numbers, so exact at the bound."""
    return abs(v - v_kept) * DAY_MS > max_step * max(DAY_MS, t - t_kept)


@jit
def clean(t: I64, v: I32, lo: int, hi: int, max_step: int, t_out: I64, v_out: I32) -> int:
    """Copy the readings that are in pattern.

    The first reading is the reference. A reading is out of pattern when it differs from the last one
    accepted by more than ``max_step * max(1, days between them)``: clinical reference section 2.3, "|Δ| > 5
    kg in a day". What is allowed grows with the days, so a lasting change (a new scale, an amputation) is
    accepted in the end.

    Parameters
    ----------
    t : int64[r]
        Milliseconds UTC; the series is rows `lo` to `hi` - 1, ascending.
    v : int32[r]
        Thousandths of the unit.
    lo, hi : int
        Where the series begins and ends (not included).
    max_step : int64
        Thousandths of the unit a day; 0: every reading is in pattern.
    t_out, v_out : int64[m], int32[m]
        Overwritten from 0; m at least ``hi - lo``. May be the input from `lo` on.

    Returns
    -------
    int64
        How many readings were copied.
    """
    kept = 0
    t_kept = 0
    v_kept = 0
    for i in range(lo, hi):
        value = int(v[i])
        if kept == 0 or max_step == 0 or not _out(int(t[i]), value, t_kept, v_kept, max_step):
            t_kept = int(t[i])
            v_kept = value
            t_out[kept] = t[i]
            v_out[kept] = v[i]
            kept += 1
    return kept


@jit
def newest_out(t: I64, v: I32, lo: int, hi: int, max_step: int) -> float:
    """Tell whether the newest reading is out of pattern, as in `clean`.

    Parameters
    ----------
    t, v, lo, hi, max_step
        As in `clean`.

    Returns
    -------
    float64
        1.0 out of pattern, 0.0 in pattern, NaN without a reading.
    """
    if hi <= lo:
        return np.nan
    t_kept = int(t[lo])
    v_kept = int(v[lo])
    out = False
    for i in range(lo + 1, hi):
        value = int(v[i])
        out = _out(int(t[i]), value, t_kept, v_kept, max_step)
        if not out:
            t_kept = int(t[i])
            v_kept = value
    return 1.0 if out else 0.0
