"""Readings from one ECG lead: heart rate, pauses, slow and fast runs, episodes and burdens, for rules to judge.

========  ==================================================================================================
code      reading
========  ==================================================================================================
8         heart rate: every 10 s of signal, the mean rate of the RR intervals that ended in these 10 s; none
          (undetermined) when they last less than 3 s together
40        pause: RR interval of 3 s or more, at the beat that ends it; and, while it lasts, what it has
          reached at 3, 4, ... 10, 20, 30 ... 600 s
41        slowest rate over 5 beats, 60 * 4 / (t[i+4] - t[i]), of these 10 s when under 60 a minute
42        fastest rate over 17 beats, 60 * 16 / (t[i+16] - t[i]), of these 10 s when over 100 a minute
43        ventricular fibrillation or flutter: how long it has lasted, s, when it is found, every 10 s while it
          lasts, and when it ends
44        ventricular tachycardia, likewise
45        atrial fibrillation, likewise, every 60 s
46        ventricular rate in atrial fibrillation: every minute of the segment, over the RR intervals of that
          minute that ended in fibrillation; none when they last less than 20 s together
47        AF burden: every hour of the clock, per cent of the time in which RR intervals were measured (63)
48        PVC burden: every hour of the clock, per cent of its beats (64)
49        SVE burden, likewise
51        run of three V beats or more, not sustained: how long, s, when it is found and when it ends
52        supraventricular tachycardia, likewise, and every 10 s while it lasts, as far as its last beat
53        couplets of V beats: every hour of the clock, how many
54        runs of three V beats or more, likewise
55, 56    episodes of bigeminy, of trigeminy, likewise
57        R on T, likewise
50        usable share: per cent of the time that is not unusable, 10 s and one minute after the segment began, and
          every 10 minutes
58        rate by minute: mean rate of the RR intervals that ended in a minute of the clock
59        SDNN of five minutes of the clock, ms
60        RMSSD, ms, and
61        pNN50, %, likewise
62        mean rate of an hour of the clock
63        minutes of that hour in which RR intervals were measured: the weight of 47 and 62
64        its beats: the weight of 48 and 49
========  ==================================================================================================

Intervals of five and seventeen beats: PhysioNet/CinC Challenge 2015, table 1.

**A pause is never hidden.** The detector's candidates are all judged before a pause is said, at most about
1.6 s after it reached its length. A flat line is a pause: that an electrode is off cannot be told from
flatness. Only samples at the rails of the 16-bit range (no signal, by the device's own word) stop the count,
which begins again when the signal is back; and so does a gap in time, which is taken for such samples.

What is summed up by the clock (47 to 49 and 53 to 64, see `kernels.holter`) has the time at which its span ended, or at
which the lead did; it is said a beat or 5 s later. Weights are said before what they weigh.

What depends on time is judged at every half second of the segment's sample count, and beats one by one.
"""

import numpy as np

from kernels import ecg_lead, ectopy, holter, qrs, rhythms
from kernels._jit import jit, jit_inline
from kernels._types import F64, I32, I64
from kernels.qrs_signal import BAD_S
from kernels.qrs_state import S_BAD, S_BREAK, S_N, S_RATE

__all__ = [
    "CODE_AF",
    "CODE_AF_BURDEN",
    "CODE_AF_RATE",
    "CODE_BEATS",
    "CODE_BIGEMINY",
    "CODE_COUPLETS",
    "CODE_FAST",
    "CODE_NSVT",
    "CODE_PAUSE",
    "CODE_PNN50",
    "CODE_PVC_BURDEN",
    "CODE_RATE",
    "CODE_RATE_HOUR",
    "CODE_RATE_MINUTE",
    "CODE_RMSSD",
    "CODE_RUNS",
    "CODE_R_ON_T",
    "CODE_SDNN",
    "CODE_SLOW",
    "CODE_SVE_BURDEN",
    "CODE_SVT",
    "CODE_TRIGEMINY",
    "CODE_USABLE",
    "CODE_VF",
    "CODE_VT",
    "CODE_WATCHED",
    "END",
    "ROOM",
    "ROOM_PER_S",
    "beat",
    "begin",
    "close_window",
    "found",
    "max_readings",
    "shift",
    "tick",
]

CODE_RATE = 8
CODE_PAUSE = 40
CODE_SLOW = 41
CODE_FAST = 42
CODE_VF = 43
CODE_VT = 44
CODE_AF = 45
CODE_AF_RATE = 46
CODE_AF_BURDEN = 47
CODE_PVC_BURDEN = 48
CODE_SVE_BURDEN = 49
CODE_USABLE = 50
CODE_NSVT = 51
CODE_SVT = 52
CODE_COUPLETS = 53
CODE_RUNS = 54
CODE_BIGEMINY = 55
CODE_TRIGEMINY = 56
CODE_R_ON_T = 57
CODE_RATE_MINUTE = 58
CODE_SDNN = 59
CODE_RMSSD = 60
CODE_PNN50 = 61
CODE_RATE_HOUR = 62
CODE_WATCHED = 63
CODE_BEATS = 64

ROOM = 160
ROOM_PER_S = 24
"""What `max_readings` is made of: rows of three kinds of episode, and beats at five a second, leave some of it.

A gap of up to a minute before a chunk brings its windows and what lasts: about 60 readings at most."""

_WINDOW_TICKS = 20  # of half a second
_MINUTE_TICKS = 120
_HOUR_MS = 3_600_000
_LEAST_RR_S = 3.0
_SLOW_BEATS = 5
_FAST_BEATS = 17
_SLOW_UNDER = 60.0
_FAST_OVER = 100.0
_PAUSE_S = 3.0
_PAUSE_END_S = 600.0
_HISTORY = 17
_AGAIN_S = 10.0  # while an episode lasts
_AF_AGAIN_S = 60.0
_AF_LEAST_S = 20.0
_USABLE_TICKS = 1200
_EPISODE_END_S = 86_400.0  # an episode is said to be no longer than a day
_SAMPLE_MOST_MS = 10.0  # at 100 Hz
_MEASURE_CODES = np.array(
    [
        CODE_RATE_MINUTE, CODE_SDNN, CODE_RMSSD, CODE_PNN50, CODE_RATE_HOUR, CODE_WATCHED, CODE_AF_BURDEN, CODE_BEATS,
        CODE_PVC_BURDEN, CODE_SVE_BURDEN, CODE_COUPLETS, CODE_RUNS, CODE_BIGEMINY, CODE_TRIGEMINY, CODE_R_ON_T,
    ]
)  # fmt: skip
"""As `kernels.rhythms` numbers the measures, one after the other."""
_KINDS = 4  # AF, VT, VF, VT_RUN: as `kernels.rhythms` numbers them, one after the other

R_ANCHOR = ecg_lead.ROW  # ms, time of position 0
R_RR_SUM = R_ANCHOR + 1  # samples, of intervals that ended in this window
R_RR_N = R_ANCHOR + 2
R_SLOW = R_ANCHOR + 3  # longest 4 intervals, samples; 0: none
R_SLOW_AT = R_ANCHOR + 4
R_FAST = R_ANCHOR + 5  # shortest 16 intervals
R_FAST_AT = R_ANCHOR + 6
R_QUIET = R_ANCHOR + 7  # position from which there has been no beat
R_AFTER_BEAT = R_ANCHOR + 8  # 1: a beat is there; 0: the signal begins there
R_NEXT_S = R_ANCHOR + 9  # next length of a pause to say
R_COUNT = R_ANCHOR + 10  # beats in history
R_BEATS = R_ANCHOR + 11  # R peaks of the last 17 beats without a break, oldest first
R_LASTS = R_BEATS + _HISTORY  # of each kind of episode: 1 while it lasts
R_FROM = R_LASTS + _KINDS  # where it began
R_SAY_S = R_FROM + _KINDS  # next length to say
R_AF_RR = R_SAY_S + _KINDS  # samples, of the minute's intervals in fibrillation
R_AF_N = R_AF_RR + 1
R_USABLE = R_AF_N + 1  # half seconds that were usable, and all, since the last share was said
R_TICKS = R_USABLE + 1
R_SVT_SAY_S = R_TICKS + 1  # next length of a supraventricular tachycardia to say
END = R_SVT_SAY_S + 1
"""Where the next part of a row begins, float64."""


@jit
def max_readings(n: int, rate: float) -> int:
    """Length that the outputs need for `n` samples at `rate`."""
    return ROOM + ROOM_PER_S * int(n / rate)


@jit
def _emit(
    row: F64, count: int, at: float, code: int, value: float, out_t: I64, out_code: I64, out_milli: I32
) -> int:
    """Write one reading at position `at` of the segment."""
    out_t[count] = int(np.floor(row[R_ANCHOR] + at * 1000.0 / row[S_RATE] + 0.5))
    out_code[count] = code
    out_milli[count] = np.int32(np.floor(value * 1000.0 + 0.5))
    return count + 1


@jit
def _emit_measure(row: F64, what: I64, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Write a measure at the whole second in which its span ended: a position is cut to a sample, 10 ms at most."""
    end = row[R_ANCHOR] + what[2] * 1000.0 / row[S_RATE]
    out_t[count] = int(np.floor((end + _SAMPLE_MOST_MS) / 1000.0)) * 1000
    out_code[count] = _MEASURE_CODES[what[0] - rhythms.MEASURES]
    out_milli[count] = np.int32(what[4])
    return count + 1


@jit
def close_window(row: F64, at: float, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Give the readings of the window that ends at position `at` and begin the next."""
    rate = row[S_RATE]
    if row[R_SLOW] > 0.0:
        value = 60.0 * (_SLOW_BEATS - 1) * rate / row[R_SLOW]
        count = _emit(row, count, row[R_SLOW_AT], CODE_SLOW, value, out_t, out_code, out_milli)
    if row[R_FAST] > 0.0:
        value = 60.0 * (_FAST_BEATS - 1) * rate / row[R_FAST]
        count = _emit(row, count, row[R_FAST_AT], CODE_FAST, value, out_t, out_code, out_milli)
    if row[R_RR_SUM] >= _LEAST_RR_S * rate:
        value = 60.0 * rate * row[R_RR_N] / row[R_RR_SUM]
        count = _emit(row, count, at, CODE_RATE, value, out_t, out_code, out_milli)
    for i in range(R_RR_SUM, R_FAST_AT + 1):
        row[i] = 0.0
    return count


@jit
def begin(row: F64, t0_ms: int) -> None:
    """Begin a segment whose position 0 is at `t0_ms`."""
    for i in range(R_ANCHOR, END):
        row[i] = 0.0
    row[R_NEXT_S] = _PAUSE_S
    row[R_ANCHOR] = t0_ms
    holter.shift(row[ecg_lead.L_HOLTER :], (t0_ms % _HOUR_MS) / 1000.0)


@jit_inline
def shift(row: F64, ms: float) -> None:
    """Move the clock of the segment on by so many milliseconds."""
    row[R_ANCHOR] += ms
    holter.shift(row[ecg_lead.L_HOLTER :], ms / 1000.0)


@jit
def _quiet_from(row: F64, at: float) -> None:
    """Count a pause from position `at`, where the signal begins."""
    row[R_QUIET] = at
    row[R_AFTER_BEAT] = 0.0
    row[R_NEXT_S] = _PAUSE_S


@jit
def beat(row: F64, at: float, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Take a beat at position `at`."""
    rate = row[S_RATE]
    if row[R_QUIET] < row[S_BREAK] <= at:
        _quiet_from(row, row[S_BREAK])
    since = (at - row[R_QUIET]) / rate
    if since >= _PAUSE_S and (row[R_AFTER_BEAT] > 0.0 or row[R_NEXT_S] > _PAUSE_S):
        count = _emit(row, count, at, CODE_PAUSE, min(since, _PAUSE_END_S), out_t, out_code, out_milli)
    row[R_QUIET] = at
    row[R_AFTER_BEAT] = 1.0
    row[R_NEXT_S] = _PAUSE_S
    n = int(row[R_COUNT])
    if n > 0 and row[R_BEATS + n - 1] < row[S_BREAK] <= at:
        n = 0  # the signal was lost in between; a beat of before the loss may be known after it
    if n > 0:
        row[R_RR_SUM] += at - row[R_BEATS + n - 1]
        row[R_RR_N] += 1.0
        if row[R_LASTS] > 0.0:
            row[R_AF_RR] += at - row[R_BEATS + n - 1]
            row[R_AF_N] += 1.0
    if n == _HISTORY:
        for i in range(_HISTORY - 1):
            row[R_BEATS + i] = row[R_BEATS + i + 1]
        n -= 1
    row[R_BEATS + n] = at
    n += 1
    row[R_COUNT] = n
    if n >= _SLOW_BEATS:
        span = at - row[R_BEATS + n - _SLOW_BEATS]
        if 60.0 * (_SLOW_BEATS - 1) * rate < _SLOW_UNDER * span and span > row[R_SLOW]:
            row[R_SLOW] = span
            row[R_SLOW_AT] = at
    if n >= _FAST_BEATS:
        span = at - row[R_BEATS + n - _FAST_BEATS]
        if 60.0 * (_FAST_BEATS - 1) * rate > _FAST_OVER * span and (row[R_FAST] == 0.0 or span < row[R_FAST]):
            row[R_FAST] = span
            row[R_FAST_AT] = at
    return count


@jit
def _step_s(kind: int) -> float:
    return _AF_AGAIN_S if kind == rhythms.AF else _AGAIN_S


@jit
def _code(kind: int) -> int:
    if kind == rhythms.AF:
        return CODE_AF
    return CODE_VF if kind == rhythms.VF else CODE_VT


@jit
def found(row: F64, what: I64, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Take a row of `kernels.rhythms`: an episode begins or ends. Give the number of readings."""
    kind = int(what[0])
    if kind >= rhythms.MEASURES:
        return _emit_measure(row, what, count, out_t, out_code, out_milli)
    if kind == rhythms.NSVT or kind == rhythms.SVT:
        at = float(what[3]) if what[2] < 0 else float(what[2])
        lasted = min((at - what[1]) / row[S_RATE], _EPISODE_END_S)
        code = CODE_NSVT if kind == rhythms.NSVT else CODE_SVT
        if code == CODE_SVT:
            row[R_SVT_SAY_S] = lasted + _AGAIN_S
        return _emit(row, count, at, code, lasted, out_t, out_code, out_milli)
    if not rhythms.AF <= kind <= rhythms.VT_RUN:
        return count  # slow, fast and absent beats and quality have readings of their own
    k = kind - rhythms.AF
    begins = what[2] < 0
    at = float(what[3]) if begins else float(what[2])
    lasted = min((at - what[1]) / row[S_RATE], _EPISODE_END_S)
    row[R_LASTS + k] = 1.0 if begins else 0.0
    row[R_FROM + k] = what[1]
    row[R_SAY_S + k] = lasted + _step_s(kind)
    return _emit(row, count, at, _code(kind), lasted, out_t, out_code, out_milli)


@jit
def _lasting(row: F64, at: float, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Say of what lasts how long it has."""
    for k in range(_KINDS):
        if row[R_LASTS + k] == 0.0:
            continue
        lasted = (at - row[R_FROM + k]) / row[S_RATE]
        if row[R_SAY_S + k] <= lasted <= _EPISODE_END_S:
            kind = rhythms.AF + k
            count = _emit(row, count, at, _code(kind), lasted, out_t, out_code, out_milli)
            row[R_SAY_S + k] = lasted + _step_s(kind)
    run = ecg_lead.L_ECTOPY
    if row[run + ectopy.S_RUN_AT] > 0.0:
        lasted = (row[run + ectopy.S_LAST] - row[run + ectopy.S_RUN_FIRST]) / row[S_RATE]
        if row[R_SVT_SAY_S] <= lasted <= _EPISODE_END_S:
            count = _emit(row, count, row[run + ectopy.S_LAST], CODE_SVT, lasted, out_t, out_code, out_milli)
            row[R_SVT_SAY_S] = lasted + _AGAIN_S
    return count


@jit
def tick(row: F64, coeffs: F64, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Judge what depends on time, at a half second of the segment."""
    rate = row[S_RATE]
    at = row[S_N]
    if row[S_BAD] >= np.floor(BAD_S * rate):
        _quiet_from(row, at)
        row[R_COUNT] = 0.0
    else:
        if row[R_QUIET] < row[S_BREAK]:
            _quiet_from(row, row[S_BREAK])
        quiet = (qrs.settled(row, coeffs) - row[R_QUIET]) / rate
        while row[R_NEXT_S] <= quiet and row[R_NEXT_S] <= _PAUSE_END_S:
            reached = row[R_NEXT_S]
            end = row[R_QUIET] + reached * rate
            count = _emit(row, count, end, CODE_PAUSE, reached, out_t, out_code, out_milli)
            row[R_NEXT_S] = reached + (1.0 if reached < 10.0 else 10.0)
    count = _lasting(row, at, count, out_t, out_code, out_milli)
    half_seconds = int(row[ecg_lead.L_TICK])
    if half_seconds % _WINDOW_TICKS == 0:
        count = close_window(row, at, count, out_t, out_code, out_milli)
    if half_seconds % _MINUTE_TICKS == 0:
        if row[R_AF_RR] >= _AF_LEAST_S * rate:
            value = 60.0 * rate * row[R_AF_N] / row[R_AF_RR]
            count = _emit(row, count, at, CODE_AF_RATE, value, out_t, out_code, out_milli)
        row[R_AF_RR] = row[R_AF_N] = 0.0
    row[R_TICKS] += 1.0
    if row[ecg_lead.L_GRADE] != rhythms.UNUSABLE:
        row[R_USABLE] += 1.0
    if half_seconds in (_WINDOW_TICKS, _MINUTE_TICKS) or half_seconds % _USABLE_TICKS == 0:
        value = 100.0 * row[R_USABLE] / row[R_TICKS]
        count = _emit(row, count, at, CODE_USABLE, value, out_t, out_code, out_milli)
        row[R_USABLE] = row[R_TICKS] = 0.0
    return count
