"""What a Holter report sums up, as the beats come: rate by minute, variability by five minutes, burdens by hour.

===========  ==========================================================================================  =======
of           measure                                                                                     source
===========  ==========================================================================================  =======
a minute     RATE_MINUTE, /min: beats over the time of their RR intervals; none when these last less     D
             than 30 s together
5 minutes    SDNN, ms: standard deviation of the N-N intervals, n - 1                                    TF
5 minutes    RMSSD, ms: root of the mean square of the differences of successive N-N intervals           TF
5 minutes    PNN50, %: of these differences, those of more than 50 ms                                    TF
an hour      RATE_HOUR, /min: as of a minute; none when its intervals last less than a minute together   D
an hour      WATCHED, min: time of RR intervals that `kernels.atrial_fibrillation` heard, and            D
             AF_BURDEN, %: share of it in fibrillation that was known; none under one minute, for less
             is too short for an episode to be known
an hour      BEATS, how many, Q left out, and PVC_BURDEN, SVE_BURDEN, %: V and S of them; none under     G
             5 beats. V and S as `kernels.ectopy` counts them
an hour      COUPLETS, RUNS, BIGEMINIES, TRIGEMINIES, R_ON_TS, how many; none under 300 beats            G
===========  ==========================================================================================  =======

An hour that is cut short, by its lead or by bad signal, counts for what it has: WATCHED and BEATS are the weights with
which hours become days. What an episode of fibrillation lasted before the hour in which it was known counts for that
hour, as far as it has room.

TF: Task Force of ESC and NASPE, Heart rate variability, Circulation 1996; 93:1043-65, table 1 and the five minutes of a
short recording. It divides NN50 by the intervals; here it is by the differences, of which there are fewer where ectopic
beats leave holes. D: ours, to be signed by a clinician.

An *N-N interval* has a normal beat at both ends and no loss of signal, lasts under 3 s, and the quality is good at its
end. Variability is given of five minutes in which such intervals last 80 % of the time or more (D), and in which no
atrial fibrillation was known: its beats are conducted as normal ones are, and say nothing of the sinus node. The rate
takes all intervals without a loss whose quality is not unusable.

Minutes, fives and hours are those of the clock, UTC. An interval belongs to those in which it ends. They are given with
the first beat that lies behind them, or 5 s after their end: no beat is told later. Sums are of whole samples, so they
are exact, and nothing depends on how the stream was cut.
"""

import numpy as np

from kernels import atrial_fibrillation as af
from kernels import ectopy, rhythms
from kernels._jit import jit, jit_inline
from kernels._types import F64, I64, Flag

__all__ = ["ROOM", "STATE", "beat", "finish", "shift", "tick"]

ROOM = 15
"""Rows that one end of a minute can bring; `closings` says how many there can be."""

_MINUTE_S = 60.0
_BLOCK_MIN = 5.0
_HOUR_MIN = 60.0
_DELAY_S = 5.0
_LEAST_RATE_S = 30.0
_LEAST_HOUR_S = 60.0
_LEAST_BEATS = 5.0
_LEAST_COUNTED = 300.0
_SAID = 2.0  # stage of an episode of fibrillation that is going on and was said
_LEAST_NN_S = 0.8 * 60.0 * _BLOCK_MIN
_NN_MAX_S = 3.0
_NN50_S = 0.05

# ---- State: positions in the float64 row. All zero is a new stream, whose position 0 is a full hour.
H_CLOCK = 0  # s, position 0 on the clock, after a full hour
H_MINUTE = 1  # minute that is being summed up, after that full hour
H_AT = 2  # position of the beat before
H_KNOWN = 3  # 0: there is none; 1: there is; 2: and it may begin an N-N interval
H_RR = 4  # samples, of the minute's intervals, and how many
H_RR_N = 5
H_HOUR_RR = 6  # of the hour, likewise
H_HOUR_RR_N = 7
H_WATCHED = 8  # seconds watched, and in fibrillation, when the hour began
H_FIBRILLATION = 9
H_NN = 10  # of the five minutes: N-N intervals, the sum of their samples and of the squares
H_NN_SUM = 11
H_NN_SQUARES = 12
H_BEFORE = 13  # the N-N interval that ended at the beat before, samples; 0: none
H_PAIRS = 14  # differences, the sum of their squares, and those of more than 50 ms
H_PAIR_SQUARES = 15
H_NN50 = 16
H_FIBRILLATED = 17  # 1: fibrillation was known
STATE = 18
"""Length of the state of one stream, float64."""

_N = 0


@jit
def shift(state: F64, seconds: float) -> None:
    """Set the clock on by so many seconds: where position 0 lies after a full hour, for a new stream."""
    state[H_CLOCK] += seconds


@jit
def closings(seconds: float) -> int:
    """Say how many minutes can end while so many seconds of signal are taken."""
    return int(seconds / _MINUTE_S) + 3


@jit_inline
def _minute(state: F64, at: float, rate: float) -> float:
    return np.floor((state[H_CLOCK] + at / rate) / _MINUTE_S)


@jit
def _variability(state: F64, start: float, end: float, now: float, rate: float, out: I64, n: int) -> int:
    """Write the variability of five minutes, and begin the next."""
    count, total = state[H_NN], state[H_NN_SUM]
    pairs = state[H_PAIRS]
    if total >= _LEAST_NN_S * rate and pairs > 0.0 and state[H_FIBRILLATED] == 0.0:
        to_ms = 1000.0 / rate
        spread = max(0.0, state[H_NN_SQUARES] - total * total / count)
        n = rhythms.write(out, n, rhythms.SDNN, start, end, now, to_ms * np.sqrt(spread / (count - 1.0)))
        n = rhythms.write(
            out, n, rhythms.RMSSD, start, end, now, to_ms * np.sqrt(state[H_PAIR_SQUARES] / pairs)
        )
        n = rhythms.write(out, n, rhythms.PNN50, start, end, now, 100.0 * state[H_NN50] / pairs)
    for i in range(H_NN, STATE):
        state[i] = 0.0
    return n


@jit
def _hour(
    state: F64, counts: F64, atrial: F64, start: float, end: float, now: float, rate: float, out: I64, n: int
) -> int:
    """Write what an hour comes to, and begin the next. The weights come first."""
    watched, fibrillation = atrial[af.A_WATCHED_S], atrial[af.A_FIBRILLATION_S]
    if atrial[af.A_STAGE] == _SAID:
        fibrillation += max(0.0, end - atrial[af.A_ONSET]) / rate
    seconds = watched - state[H_WATCHED]
    beats = counts[ectopy.BEATS]
    if seconds >= _LEAST_HOUR_S:
        share = min(max(100.0 * (fibrillation - state[H_FIBRILLATION]) / seconds, 0.0), 100.0)
        n = rhythms.write(out, n, rhythms.WATCHED, start, end, now, seconds / _MINUTE_S)
        n = rhythms.write(out, n, rhythms.AF_BURDEN, start, end, now, share)
    if state[H_HOUR_RR] >= _LEAST_HOUR_S * rate:
        value = 60.0 * rate * state[H_HOUR_RR_N] / state[H_HOUR_RR]
        n = rhythms.write(out, n, rhythms.RATE_HOUR, start, end, now, value)
    if beats >= _LEAST_BEATS:
        per = 100.0 / beats
        n = rhythms.write(out, n, rhythms.BEATS, start, end, now, beats)
        n = rhythms.write(out, n, rhythms.PVC_BURDEN, start, end, now, per * counts[ectopy.PVC])
        n = rhythms.write(out, n, rhythms.SVE_BURDEN, start, end, now, per * counts[ectopy.SVE])
    if beats >= _LEAST_COUNTED:
        for kind, what in (
            (rhythms.COUPLETS, ectopy.V_COUPLETS),
            (rhythms.RUNS, ectopy.V_RUNS),
            (rhythms.BIGEMINIES, ectopy.BIGEMINY),
            (rhythms.TRIGEMINIES, ectopy.TRIGEMINY),
            (rhythms.R_ON_TS, ectopy.R_ON_T),
        ):
            n = rhythms.write(out, n, kind, start, end, now, counts[what])
    for i in range(ectopy.COUNTS):
        counts[i] = 0.0
    state[H_HOUR_RR] = state[H_HOUR_RR_N] = 0.0
    state[H_WATCHED] = watched
    state[H_FIBRILLATION] = fibrillation
    return n


@jit
def _close(
    state: F64, counts: F64, atrial: F64, to: float, last: float, now: float, rate: float, out: I64, n: int
) -> int:
    """Write what ended before minute `to` began, no end later than `last`; all of the lead where `to` is infinite."""
    minute = state[H_MINUTE]
    start = (_MINUTE_S * minute - state[H_CLOCK]) * rate
    if state[H_RR] >= _LEAST_RATE_S * rate:
        value = 60.0 * rate * state[H_RR_N] / state[H_RR]
        end = min(start + _MINUTE_S * rate, last)
        n = rhythms.write(out, n, rhythms.RATE_MINUTE, max(start, 0.0), end, now, value)
    state[H_HOUR_RR] += state[H_RR]
    state[H_HOUR_RR_N] += state[H_RR_N]
    state[H_RR] = state[H_RR_N] = 0.0
    block = np.floor(minute / _BLOCK_MIN)
    if np.floor(to / _BLOCK_MIN) > block:
        start = (_MINUTE_S * _BLOCK_MIN * block - state[H_CLOCK]) * rate
        end = min(start + _MINUTE_S * _BLOCK_MIN * rate, last)
        n = _variability(state, max(start, 0.0), end, now, rate, out, n)
    hour = np.floor(minute / _HOUR_MIN)
    if np.floor(to / _HOUR_MIN) > hour:
        start = (_MINUTE_S * _HOUR_MIN * hour - state[H_CLOCK]) * rate
        end = min(start + _MINUTE_S * _HOUR_MIN * rate, last)
        n = _hour(state, counts, atrial, max(start, 0.0), end, now, rate, out, n)
    state[H_MINUTE] = to
    return n


@jit
def beat(
    state: F64, counts: F64, atrial: F64, at: float, code: int, broken: Flag, grade: int, fibrillates: Flag,
    now: float, rate: float, out: I64, n: int,
) -> int:  # fmt: skip
    """Take the next beat, whose class is known.

    Parameters
    ----------
    state : float64[STATE]
        Changed in place; zeros for a new stream.
    counts : float64[ectopy.COUNTS]
        Counts of the hour by `kernels.ectopy`, which has not heard this beat; an hour that is over is cleared.
    atrial : float64[atrial_fibrillation.STATE]
        State of `kernels.atrial_fibrillation`, which has not heard this beat either.
    at : float
        Its R peak, in samples.
    code : int
        Class, see `kernels.beats`: 0 N, 1 S, 2 V, 3 F, 4 Q.
    broken : bool
        The signal was lost between the beat before and this one.
    grade : int
        Quality now: 0 good, else its number in `kernels.rhythms`.
    fibrillates : bool
        Atrial fibrillation is going on.
    now : float
        The moment at which the class was known, in samples.
    rate : float
        Hz.
    out : int64[rows, ROW_WIDTH]
        Receives rows of `kernels.rhythms`; at least ROOM beyond `n`.
    n : int
        Rows that are there.

    Returns
    -------
    int
        Rows that are there now.
    """
    minute = _minute(state, at, rate)
    if minute > state[H_MINUTE]:
        n = _close(state, counts, atrial, minute, at, now, rate, out, n)
    if fibrillates:
        state[H_FIBRILLATED] = 1.0
    good = grade == 0
    known = state[H_KNOWN]
    rr = at - state[H_AT]
    state[H_AT] = at
    state[H_KNOWN] = 2.0 if code == _N and good else 1.0
    before = state[H_BEFORE]
    state[H_BEFORE] = 0.0
    if known == 0.0 or broken or grade == rhythms.UNUSABLE:
        return n
    state[H_RR] += rr
    state[H_RR_N] += 1.0
    if known == 2.0 and code == _N and good and rr < _NN_MAX_S * rate:
        state[H_NN] += 1.0
        state[H_NN_SUM] += rr
        state[H_NN_SQUARES] += rr * rr
        state[H_BEFORE] = rr
        if before > 0.0:
            difference = abs(rr - before)
            state[H_PAIRS] += 1.0
            state[H_PAIR_SQUARES] += difference * difference
            if difference > _NN50_S * rate:
                state[H_NN50] += 1.0
    return n


@jit_inline
def tick(state: F64, counts: F64, atrial: F64, now: float, rate: float, out: I64, n: int) -> int:
    """Write what is over at position `now`, in samples: no beat of it will be told any more. Rows as for `beat`."""
    at = now - _DELAY_S * rate
    minute = _minute(state, at, rate)
    if minute > state[H_MINUTE]:
        n = _close(state, counts, atrial, minute, at, now, rate, out, n)
    return n


@jit
def finish(state: F64, counts: F64, atrial: F64, at: float, rate: float, out: I64, n: int) -> int:
    """End the lead at position `at`: a minute that was cut short counts for what it has. Rows as for `beat`."""
    return _close(state, counts, atrial, np.inf, at, at, rate, out, n)
