"""Blood pressure at home: averages by three named protocols, and what two pressures say together.

The protocols (clinical reference section 3, "Home BP averaging"):

- 2-2-3: 2 readings in the morning and 2 in the evening on 3 dates; all 12 (ESC 2024, as taught in France).
- Règle des 3: 3 in the morning and 3 in the evening on 3 dates; all 18 (Comité français de lutte contre
  l'hypertension artérielle).
- 7 days: 2 in the morning and 2 in the evening on 7 dates, the first not counted; at least 12 of the others,
  and 4 dates at least (J Clin Hypertens 2018, PMC8030885, table 3).

What is morning and evening is a parameter, in local time. Systolic and diastolic are averaged each by itself.
"""

import numpy as np

from kernels import ops
from kernels._jit import jit, jit_allocating
from kernels._types import F64, I32, I64
from kernels.localtime import DAY_MS, MINUTE_MS, day_start, zone_index
from kernels.order import SCRATCH

__all__ = [
    "home_bp",
    "home_bp_7days",
    "home_bp_223",
    "home_bp_regle3",
    "mean_arterial",
    "orthostatic",
    "pulse_pressure",
]

_MOST_DATES = 512
"""Longest window of a home average, local days: four places of scratch each."""


@jit
def _home_protocol(op: int) -> tuple[int, int, int, int, int]:
    """Give a protocol of the list above: dates, readings a half-day, fewest readings, fewest dates, discarded."""
    if op == ops.HOME_BP_223:
        return 3, 2, 12, 3, 0
    if op == ops.HOME_BP_REGLE3:
        return 3, 3, 18, 3, 0
    return 7, 2, 12, 4, 1


@jit
def _home_bp(
    t: I64, v: I32, a: int, b: int, now: int, window: int,
    dates: int, per_half: int, min_readings: int, min_dates: int, discard: int,
    morning_from: float, morning_to: float, evening_from: float, evening_to: float,
    zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    window = min(window, _MOST_DATES)
    z = zone_index(now, zone_t)
    first = (now + zone_off[z]) // DAY_MS - window + 1
    start = day_start(first, z, zone_t, zone_off)
    row = b
    while row > a and t[row - 1] >= start:
        row -= 1
    if b - row < min_readings:
        return np.nan
    # Of each date: readings and their sum in the morning, readings and their sum in the evening.
    scratch[: 4 * window] = 0.0
    for i in range(row, b):
        local = t[i] + zone_off[zone_index(t[i], zone_t)]
        minute = local % DAY_MS // MINUTE_MS
        at = 4 * (local // DAY_MS - first)
        if evening_from <= minute < evening_to:
            at += 2
        elif not morning_from <= minute < morning_to:
            continue
        if scratch[at] < per_half:
            scratch[at] += 1.0
            scratch[at + 1] += v[i]
    for end in range(window, dates - 1, -1):  # the newest complete run of dates
        if scratch[4 * end - 4] + scratch[4 * end - 2] == 0.0:
            continue
        measured = 0
        readings = 0.0
        total = 0.0
        for date in range(end - dates, end):
            n = scratch[4 * date] + scratch[4 * date + 2]
            if n > 0.0:
                measured += 1
                if measured > discard:
                    readings += n
                    total += scratch[4 * date + 1] + scratch[4 * date + 3]
        if measured >= min_dates and readings >= min_readings:
            return total / (1000.0 * readings)
    return np.nan


@jit_allocating
def home_bp(
    t: I64, v: I32, now: int, window: int,
    dates: int, per_half: int, min_readings: int, min_dates: int, discard: int,
    morning_from: float, morning_to: float, evening_from: float, evening_to: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Average the newest sufficient run of home readings.

    A run is `dates` consecutive local dates, the last of which has a reading, all within the window. Of each
    morning and each evening the first `per_half` readings count. The run is sufficient when at least `min_dates`
    of its dates have readings and, without the first `discard` of these, `min_readings` remain.

    Parameters
    ----------
    t : int64[n]
        Milliseconds UTC, ascending.
    v : int32[n]
        Thousandths of mmHg.
    now : int64
        Milliseconds UTC, end of the window; no reading is later.
    window : int64
        Local days, today's included, at most 512: how old a run may be.
    dates, per_half, min_readings, min_dates, discard : int64
        The protocol, as above.
    morning_from, morning_to, evening_from, evening_to : float64
        Minutes since local midnight; the ends are not included.
    zone_t, zone_off : int64[z]
        The zone, see `kernels.localtime`.

    Returns
    -------
    float64
        mmHg. NaN: insufficient.
    """
    return _home_bp(
        t, v, 0, len(t), now, window, dates, per_half, min_readings, min_dates, discard,
        morning_from, morning_to, evening_from, evening_to, zone_t, zone_off, np.empty(SCRATCH),
    )  # fmt: skip


@jit_allocating
def home_bp_223(
    t: I64, v: I32, now: int, window: int,
    morning_from: float, morning_to: float, evening_from: float, evening_to: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Average by "2-2-3": 2 readings each morning and evening, 3 dates, all 12. Parameters as of `home_bp`.

    Returns
    -------
    float64
        mmHg. NaN: insufficient.
    """
    dates, per_half, min_readings, min_dates, discard = _home_protocol(ops.HOME_BP_223)
    return home_bp(
        t, v, now, window, dates, per_half, min_readings, min_dates, discard,
        morning_from, morning_to, evening_from, evening_to, zone_t, zone_off,
    )  # fmt: skip


@jit_allocating
def home_bp_regle3(
    t: I64, v: I32, now: int, window: int,
    morning_from: float, morning_to: float, evening_from: float, evening_to: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Average by the "règle des 3": 3 readings each morning and evening, 3 dates, all 18.

    Parameters as of `home_bp`.

    Returns
    -------
    float64
        mmHg. NaN: insufficient.
    """
    dates, per_half, min_readings, min_dates, discard = _home_protocol(ops.HOME_BP_REGLE3)
    return home_bp(
        t, v, now, window, dates, per_half, min_readings, min_dates, discard,
        morning_from, morning_to, evening_from, evening_to, zone_t, zone_off,
    )  # fmt: skip


@jit_allocating
def home_bp_7days(
    t: I64, v: I32, now: int, window: int,
    morning_from: float, morning_to: float, evening_from: float, evening_to: float,
    zone_t: I64, zone_off: I64,
) -> float:  # fmt: skip
    """Average 7 dates with 2 readings each morning and evening, the first date with readings not counted.

    At least 12 readings must remain, and readings on at least 4 dates with the first. Parameters as of
    `home_bp`.

    Returns
    -------
    float64
        mmHg. NaN: insufficient.
    """
    dates, per_half, min_readings, min_dates, discard = _home_protocol(ops.HOME_BP_7DAYS)
    return home_bp(
        t, v, now, window, dates, per_half, min_readings, min_dates, discard,
        morning_from, morning_to, evening_from, evening_to, zone_t, zone_off,
    )  # fmt: skip


@jit
def _same_moment(t: I64, a: int, b: int, c: int, d: int, start: int) -> tuple[int, int]:
    """Give the newest rows of a to b - 1 and c to d - 1 with one time, from `start` on; -1, -1 for none."""
    i = b - 1
    j = d - 1
    while i >= a and j >= c and t[i] >= start and t[j] >= start:
        if t[i] == t[j]:
            return i, j
        if t[i] > t[j]:
            i -= 1
        else:
            j -= 1
    return -1, -1


@jit
def _pulse_pressure(t: I64, v: I32, a: int, b: int, c: int, d: int, start: int) -> float:
    i, j = _same_moment(t, a, b, c, d, start)
    return (v[i] - v[j]) / 1000.0 if i >= 0 else np.nan


@jit
def _mean_arterial(t: I64, v: I32, a: int, b: int, c: int, d: int, start: int) -> float:
    i, j = _same_moment(t, a, b, c, d, start)
    return (v[i] + 2 * v[j]) / 3000.0 if i >= 0 else np.nan


@jit
def _orthostatic(t: I64, v: I32, a: int, b: int, c: int, d: int, start: int, within_ms: float) -> float:
    if d <= c or t[d - 1] < start:
        return np.nan
    stood = t[d - 1]
    i = b - 1
    while i >= a and t[i] >= stood:  # a reading of the same moment is not one before standing up
        i -= 1
    if i < a or stood - t[i] > within_ms:
        return np.nan
    return float((v[i] - v[d - 1]) / 1000.0)


@jit
def pulse_pressure(t: I64, v: I32, lo: I64, hi: I64, start: int) -> float:
    """Give systolic minus diastolic of the newest moment at which both were measured.

    Parameters
    ----------
    t : int64[r]
        Milliseconds UTC; a series is rows lo[s] to hi[s] - 1, ascending.
    v : int32[r]
        Thousandths of mmHg.
    lo, hi : int64[2]
        Systolic, diastolic.
    start : int64
        Milliseconds UTC, earliest time that counts.

    Returns
    -------
    float64
        mmHg. NaN: never both.
    """
    return _pulse_pressure(t, v, lo[0], hi[0], lo[1], hi[1], start)


@jit
def mean_arterial(t: I64, v: I32, lo: I64, hi: I64, start: int) -> float:
    """Estimate the mean arterial pressure, ``(systolic + 2 diastolic) / 3``, of the newest common moment.

    The usual estimate at rest, for a cuff that does not report its own mean pressure. Parameters as of
    `pulse_pressure`.

    Returns
    -------
    float64
        mmHg. NaN: never both.
    """
    return _mean_arterial(t, v, lo[0], hi[0], lo[1], hi[1], start)


@jit
def orthostatic(t: I64, v: I32, lo: I64, hi: I64, start: int, within_ms: float) -> float:
    """Give the orthostatic fall: seated minus standing pressure, for the newest standing reading.

    Clinical reference section 3 ("within 3 min standing"). The seated reading is the newest before it.

    Parameters
    ----------
    t, v, start
        As of `pulse_pressure`; `start` is for the standing reading.
    lo, hi : int64[2]
        Seated, standing.
    within_ms : float64
        Longest time from the seated to the standing reading, milliseconds.

    Returns
    -------
    float64
        mmHg, positive for a fall. NaN: no standing reading, or no seated one shortly before.
    """
    return _orthostatic(t, v, lo[0], hi[0], lo[1], hi[1], start, within_ms)
