"""Counts of what a set of readings is like, before anything is made of it: nothing is changed, only counted.

Rows come sorted by (t, person, src, cell), in blocks that never cut the rows of one person and moment apart; every
count is a function of the rows alone, and not of the blocks.
"""

import numpy as np

from kernels._jit import jit, jit_inline
from kernels._types import F64, I8, I16, I32, I64, U16, U64, Flags, Int
from kernels.localtime import DAY_MS, MINUTE_MS
from kernels.reading import FUTURE_MS, YEAR_2000_MS, check_value, to_milli
from kernels.refusals import OK

__all__ = [
    "ANCIENT", "BINS", "CONFLICT", "COUNTED", "FIRST_DAY", "FUTURE", "IMPLAUSIBLE", "MIDNIGHT_LOCAL", "MIDNIGHT_UTC",
    "PAIRS", "QUARTERS", "READINGS", "SAME", "SWAPPED", "TIMED", "find_disorder", "tally_rows",
]  # fmt: skip

READINGS, IMPLAUSIBLE, SAME, CONFLICT = range(4)
"""Of a group and signal: readings, those that a replay refuses as implausible (or no number), the same again, another
value of the same moment."""
COUNTED = 4

FUTURE, ANCIENT, MIDNIGHT_LOCAL, MIDNIGHT_UTC, PAIRS, SWAPPED = range(6)
"""Of a group: later than can be, before 2000, at 0:00:00, pressures measured in pairs, pairs the wrong way round."""
TIMED = 6

BINS = 128
"""Of the histogram of plausible values, over the plausible range."""
QUARTERS = 96
"""Quarters of an hour of a day."""
FIRST_DAY = YEAR_2000_MS // DAY_MS - 1
"""Day of the first column of readings by day: 1999-12-31, since local days of 2000-01-01 UTC may be that."""

_SYSTOLIC = 2
_DIASTOLIC = 3
_BACK = 64  # rows of one person and moment that are looked back over
_RATIO = 0.03  # two readings one after the other are this near the ratio of two units


@jit
def find_disorder(person: I32, t: I64, newest: I64, back: Flags) -> None:
    """Find the rows that are dated before one of the same person that stands above them.

    Parameters
    ----------
    person : int32[n]
        -1 where there is none.
    t : int64[n]
        ms UTC; the lowest number where it could not be read.
    newest : int64[people]
        Newest time of each person so far; updated.
    back : bool[n]
        Written.
    """
    for i in range(len(person)):
        back[i] = False
        p = person[i]
        if p < 0 or t[i] < YEAR_2000_MS:
            continue
        if t[i] < newest[p]:
            back[i] = True
        else:
            newest[p] = t[i]


@jit_inline
def _mixed(x: np.uint64) -> np.uint64:
    """Finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@jit
def tally_rows(
    t: I64,
    cell: I64,
    value: F64,
    person: I32,
    src: U16,
    code: U16,
    group: I32,
    local_ms: I64,
    side: I8,
    latest_ms: Int,
    silent_days: Int,
    column: I16,
    spot: Flags,
    low: F64,
    high: F64,
    factor: F64,
    divisor: F64,
    shift: F64,
    usual: F64,
    days: I32,
    runs: I32,
    digest: U64,
    counts: I64,
    first_odd: I64,
    other_unit: I64,
    jumps: I64,
    bins: I64,
    timed: I64,
    quarters: I64,
    by_day: I32,
) -> None:
    """Count a block of rows.

    Parameters
    ----------
    t, cell, value, person, src, code : [n]
        As `ingest.formats.rows.Rows` has them, all read well; value in the signal's unit.
    group : int32[n]
        Of each row: a site or a file.
    local_ms : int64[n]
        Local clock of each row, ms.
    side : int8[n]
        0 in the weeks before clocks go forward or after they go back, 1 in those on the other side, 2 elsewhere.
    latest_ms, silent_days : int
        When "now" is; days without data that make a silence.
    column : int16[codes]
        Number of each signal here, -1 for those that are not counted.
    spot : bool[signals]
        False for ECG: its rows are chunks.
    low, high : float64[codes]
        Plausible range by code.
    factor, divisor, shift : float64[signals, units]
        From other units to the signal's; factor 0 where there is none.
    usual : float64[signals, 2]
        What most readings are; NaN where nothing is said.
    days : int32[people, 5]
        First and last local day with data, days with data, longest silence, silences over `silent_days`; updated. A
        person without data has 0 in the third.
    runs : int32[people, signals, 4]
        Readings, last one in thousandths, length of the run of equal ones, longest such run; updated.
    digest : uint64[people, signals]
        Of the values in their order; updated.
    counts : int64[groups, signals, COUNTED]
    first_odd : int64[groups, signals, 2]
        File and cell of the first implausible reading; -1 before.
    other_unit : int64[groups, signals, units]
        Implausible readings that would be usual in another unit.
    jumps : int64[groups, signals, units]
        Readings that are to the one before as two units are to each other.
    bins : int64[groups, signals, BINS]
        Of plausible readings.
    timed : int64[groups, TIMED]
    quarters : int64[groups, 3, QUARTERS]
        Readings by quarter of an hour of the local day, by `side`.
    by_day : int32[groups, days]
        Readings by local day, from `FIRST_DAY` on.
    """
    n = len(t)
    units = factor.shape[1]
    begin = 0
    for i in range(n):
        if i and (t[i] != t[i - 1] or person[i] != person[i - 1]):
            begin = i
        g = group[i]
        p = person[i]
        if t[i] > latest_ms + FUTURE_MS:
            timed[g, FUTURE] += 1
            continue
        if t[i] < YEAR_2000_MS:
            timed[g, ANCIENT] += 1
            continue
        local = local_ms[i]
        if local % DAY_MS == 0:
            timed[g, MIDNIGHT_LOCAL] += 1
        if t[i] % DAY_MS == 0:
            timed[g, MIDNIGHT_UTC] += 1
        quarters[g, side[i], (local % DAY_MS) // (15 * MINUTE_MS)] += 1
        day = local // DAY_MS
        by_day[g, min(max(day - FIRST_DAY, 0), by_day.shape[1] - 1)] += 1
        if days[p, 2] == 0:
            days[p, 0] = day
            days[p, 1] = day
            days[p, 2] = 1
        elif day > days[p, 1]:
            silence = day - days[p, 1] - 1
            if silence > days[p, 3]:
                days[p, 3] = silence
            if silence > silent_days:
                days[p, 4] += 1
            days[p, 1] = day
            days[p, 2] += 1
        s = column[code[i]]
        if s < 0:
            continue
        counts[g, s, READINGS] += 1
        if not spot[s]:
            continue
        v = value[i]
        if check_value(np.int64(code[i]), v, low, high) != OK:
            counts[g, s, IMPLAUSIBLE] += 1
            if first_odd[g, s, 0] < 0:
                first_odd[g, s, 0] = src[i]
                first_odd[g, s, 1] = cell[i]
            for u in range(units):
                there = factor[s, u] != 0.0
                if there and usual[s, 0] <= v * factor[s, u] / divisor[s, u] + shift[s, u] <= usual[s, 1]:
                    other_unit[g, s, u] += 1
            continue
        again = False
        same = False
        for j in range(max(begin, i - _BACK), i):
            if code[j] == code[i]:
                again = True
                same = same or value[j] == v
        # One more of the same moment is not taken for a reading like the others.
        if again:
            counts[g, s, SAME if same else CONFLICT] += 1
            continue
        if code[i] == _DIASTOLIC or code[i] == _SYSTOLIC:
            other = _SYSTOLIC if code[i] == _DIASTOLIC else _DIASTOLIC
            for j in range(max(begin, i - _BACK), i):
                if code[j] == other and src[j] == src[i]:
                    timed[g, PAIRS] += 1
                    if (v > value[j]) == (code[i] == _DIASTOLIC) and v != value[j]:
                        timed[g, SWAPPED] += 1
                    break
        milli = to_milli(v)
        bottom, top = low[code[i]], high[code[i]]
        place = int((v - bottom) * BINS / (top - bottom))
        bins[g, s, min(max(place, 0), BINS - 1)] += 1
        seen = runs[p, s, 0]
        if seen:
            before = runs[p, s, 1]
            if before == milli:
                runs[p, s, 2] += 1
            else:
                runs[p, s, 2] = 1
                if before > 0 and milli > 0:
                    for u in range(units):
                        if factor[s, u] == 0.0 or shift[s, u] != 0.0:
                            continue
                        ratio = milli / before * factor[s, u] / divisor[s, u]
                        back = before / milli * factor[s, u] / divisor[s, u]
                        if abs(ratio - 1.0) < _RATIO or abs(back - 1.0) < _RATIO:
                            jumps[g, s, u] += 1
        else:
            runs[p, s, 2] = 1
        if runs[p, s, 2] > runs[p, s, 3]:
            runs[p, s, 3] = runs[p, s, 2]
        digest[p, s] += _mixed(np.uint64(milli) ^ _mixed(np.uint64(seen)))
        runs[p, s, 0] = seen + 1
        runs[p, s, 1] = milli
