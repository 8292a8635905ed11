"""Ectopic beats as their classes come: couplets, runs, bigeminy, trigeminy, R on T, counted; and episodes of them.

===========  ==========================================================================================  =======
kind         holds                                                                                       source
===========  ==========================================================================================  =======
NSVT         three V beats or more in a row, each within 0.6 s of the one before (over 100 a minute);    G
             from 30 s on it is no longer one: that is sustained tachycardia, a VT episode
SVT          three S beats or more in a row, as fast; or eight beats or more, none of them V, as fast,   G, D
             each interval within 15 % of the run's mean, that begin at once: an interval of at most
             0.75 of the usual one. It ends where an interval is a quarter longer than the run's.
BIGEMINY     every second beat is V, at least three times (V x V x V)                                    G
TRIGEMINY    every third                                                                                 G
===========  ==========================================================================================  =======

G: usual definition; D: ours, both to be signed by a clinician. In atrial fibrillation there is no SVT: a quick regular
stretch of it proves nothing.

Counts of the hour: a *couplet* is two V (or S) beats in a row, a *run* three or more, of any rate, counted when it
ends; an episode of bigeminy or trigeminy is counted once. *R on T* is a V beat within 0.36 s of the beat before and
within 0.4 of the usual interval: about the vulnerable phase, which a single lead without T-wave delineation can but
guess.
Nothing spans a loss of signal.
"""

from kernels._jit import jit
from kernels._types import F64, I64, Flag
from kernels.rhythms import BIGEMINY as BIGEMINY_EPISODE
from kernels.rhythms import NSVT, SVT, write
from kernels.rhythms import TRIGEMINY as TRIGEMINY_EPISODE

__all__ = ["COUNTS", "ROOM", "STATE", "S_HOUR", "beat", "finish"]

ROOM = 6
"""Rows that one call can write."""

# ---- Counts of the hour.
BEATS = 0  # N, S, V and F: Q is no beat to divide by
PVC = 1
SVE = 2
V_COUPLETS = 3
V_RUNS = 4
S_COUPLETS = 5
S_RUNS = 6
BIGEMINY = 7
TRIGEMINY = 8
R_ON_T = 9
COUNTS = 10

_EPISODE = 3  # ectopic beats of a pattern that make an episode, and beats that make a run
_FAST_S = 0.6  # 100 a minute
_SUSTAINED_S = 30.0
_ABRUPT = 0.75
_STEADY = 0.15
_REGULAR_BEATS = 8
_SLOWER = 1.25
_R_ON_T_S = 0.36
_R_ON_T_SHARE = 0.4
_RR_MAX_S = 3.0
_FOLLOW = 0.125

# ---- State: positions in the float64 row. All zero is a new stream.
S_LAST = 0  # position of the beat before
S_KNOWN = 1  # 1: there is one, and no loss since
S_USUAL = 2  # usual interval, s, of N beats
S_V_ROW = 3  # V beats in a row, until now
S_S_ROW = 4
S_SINCE_V = 5  # beats since the last V, itself 0
S_PATTERN = 6  # 2 or 3: the distance of the last two V
S_REPEATS = 7  # V beats of that pattern
S_SEEN = 8  # 1: a V beat has been seen since the last break
S_FIRST_V = 9  # of the pattern
S_LAST_V = 10
S_KNOWN_AT = 11  # when the pattern was known
S_FAST = 12  # V beats of a fast run
S_FAST_FIRST = 13
S_FAST_AT = 14  # when it was known
S_RUN = 15  # beats of a run that is not of V
S_RUN_S = 16  # of them S
S_RUN_FIRST = 17
S_RUN_MEAN = 18  # s; 0: none
S_RUN_STEADY = 19
S_RUN_AT = 20  # when it was known; 0: it is not yet one
S_HOUR = 21  # counts of the hour, the last of the state; `kernels.holter` clears them
STATE = S_HOUR + COUNTS
"""Length of the state of one stream, float64."""

_S, _V, _Q = 1, 2, 4


@jit
def _end_row(state: F64, row: int, couplet: int, run: int) -> None:
    """Count the beats in a row that have just ended."""
    length = state[row]
    if length == 2.0:
        state[S_HOUR + couplet] += 1.0
    elif length > 2.0:
        state[S_HOUR + run] += 1.0
    state[row] = 0.0


@jit
def _end_pattern(state: F64, out: I64, n: int) -> int:
    """End bigeminy or trigeminy, if any."""
    if state[S_REPEATS] >= _EPISODE:
        kind = BIGEMINY_EPISODE if state[S_PATTERN] == 2.0 else TRIGEMINY_EPISODE
        n = write(out, n, kind, state[S_FIRST_V], state[S_LAST_V], state[S_KNOWN_AT], 1.0)
    state[S_PATTERN] = state[S_REPEATS] = 0.0
    return n


@jit
def _pattern(state: F64, at: float, ventricular: Flag, now: float, out: I64, n: int) -> int:
    """Follow the distance between V beats."""
    if not ventricular:
        state[S_SINCE_V] += 1.0
        if state[S_SINCE_V] > 2.0:  # neither the second nor the third
            n = _end_pattern(state, out, n)
        return n
    distance = state[S_SINCE_V] + 1.0
    if state[S_SEEN] > 0.0 and (distance == 2.0 or distance == 3.0):
        if distance == state[S_PATTERN]:
            state[S_REPEATS] += 1.0
        else:
            n = _end_pattern(state, out, n)
            state[S_PATTERN] = distance
            state[S_REPEATS] = 2.0
            state[S_FIRST_V] = state[S_LAST_V]
        if state[S_REPEATS] == _EPISODE:
            state[S_HOUR + (BIGEMINY if distance == 2.0 else TRIGEMINY)] += 1.0
            state[S_KNOWN_AT] = now
            kind = BIGEMINY_EPISODE if distance == 2.0 else TRIGEMINY_EPISODE
            n = write(out, n, kind, state[S_FIRST_V], -1.0, now, 1.0)
    else:
        n = _end_pattern(state, out, n)
    state[S_SINCE_V] = 0.0
    state[S_SEEN] = 1.0
    state[S_LAST_V] = at
    return n


@jit
def _end_fast(state: F64, rate: float, out: I64, n: int) -> int:
    """End a fast run of V beats, whose last is the beat before."""
    count, first = state[S_FAST], state[S_FAST_FIRST]
    state[S_FAST] = 0.0
    if count >= _EPISODE and state[S_LAST] - first < _SUSTAINED_S * rate:
        n = write(out, n, NSVT, first, state[S_LAST], state[S_FAST_AT], 1.0)
    return n


@jit
def _end_run(state: F64, out: I64, n: int) -> int:
    """End a run of other beats, whose last is the beat before."""
    if state[S_RUN_AT] > 0.0:
        n = write(out, n, SVT, state[S_RUN_FIRST], state[S_LAST], state[S_RUN_AT], 1.0)
    state[S_RUN] = state[S_RUN_AT] = 0.0
    return n


@jit
def _run(
    state: F64, at: float, code: int, rr_s: float, fibrillates: Flag, now: float, out: I64, n: int
) -> int:  # fmt: skip
    """Follow runs of beats that are not V; `rr_s` is 0 where there is no interval."""
    fast = 0.0 < rr_s < _FAST_S
    mean = state[S_RUN_MEAN]
    goes_on = state[S_RUN] > 0.0 and fast and code != _V and not fibrillates
    if goes_on and mean > 0.0 and rr_s > _SLOWER * mean:
        goes_on = False
    if not goes_on:
        n = _end_run(state, out, n)
        if code == _V or fibrillates:
            return n
        abrupt = fast and 0.0 < rr_s <= _ABRUPT * state[S_USUAL]
        if code == _S or abrupt:
            state[S_RUN] = 1.0
            state[S_RUN_S] = 1.0 if code == _S else 0.0
            state[S_RUN_FIRST] = at
            state[S_RUN_MEAN] = rr_s if abrupt else 0.0
            state[S_RUN_STEADY] = 1.0
        return n
    state[S_RUN] += 1.0
    state[S_RUN_S] += 1.0 if code == _S else 0.0
    if mean == 0.0:
        state[S_RUN_MEAN] = rr_s
    else:
        if abs(rr_s - mean) > _STEADY * mean:
            state[S_RUN_STEADY] = 0.0
        state[S_RUN_MEAN] = mean + _FOLLOW * (rr_s - mean)
    if state[S_RUN_AT] > 0.0:
        return n
    count = state[S_RUN]
    all_early = state[S_RUN_S] == count
    if (all_early and count >= _EPISODE) or (state[S_RUN_STEADY] > 0.0 and count >= _REGULAR_BEATS):
        state[S_RUN_AT] = now
        return write(out, n, SVT, state[S_RUN_FIRST], -1.0, now, 1.0)
    if not all_early and state[S_RUN_STEADY] == 0.0:
        state[S_RUN] = 0.0
    return n


@jit
def finish(state: F64, rate: float, out: I64, n: int) -> int:
    """End what a loss of signal, an unclassifiable beat or the end of the lead interrupts; give the number of rows."""
    n = _end_fast(state, rate, out, n)
    n = _end_run(state, out, n)
    n = _end_pattern(state, out, n)
    _end_row(state, S_V_ROW, V_COUPLETS, V_RUNS)
    _end_row(state, S_S_ROW, S_COUPLETS, S_RUNS)
    state[S_SINCE_V] = state[S_SEEN] = state[S_KNOWN] = 0.0
    return n


@jit
def beat(
    state: F64, at: float, code: int, broken: Flag, fibrillates: Flag, now: float, rate: float, out: I64, n: int
) -> int:  # fmt: skip
    """Take the next beat, whose class is known.

    Parameters
    ----------
    state : float64[STATE]
        Changed in place; zeros for a new stream. The counts of the hour are at S_HOUR.
    at : float
        Its R peak, in samples.
    code : int
        Class, see `kernels.beats`: 0 N, 1 S, 2 V, 3 F, 4 Q.
    broken : bool
        The signal was lost between the beat before and this one.
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
    rr_s = (at - state[S_LAST]) / rate if state[S_KNOWN] > 0.0 and not broken else 0.0
    if rr_s <= 0.0 or rr_s >= _RR_MAX_S or code == _Q:
        n = finish(state, rate, out, n)
        rr_s = 0.0
    if code == _Q:
        return n
    state[S_HOUR + BEATS] += 1.0
    if state[S_FAST] > 0.0 and (code != _V or rr_s >= _FAST_S):
        n = _end_fast(state, rate, out, n)
    n = _run(state, at, code, rr_s, fibrillates, now, out, n)
    if code == _V:
        _end_row(state, S_S_ROW, S_COUPLETS, S_RUNS)
        state[S_V_ROW] += 1.0
        state[S_HOUR + PVC] += 1.0
        if 0.0 < rr_s < min(_R_ON_T_S, _R_ON_T_SHARE * state[S_USUAL]):
            state[S_HOUR + R_ON_T] += 1.0
        if state[S_FAST] == 0.0:
            state[S_FAST_FIRST] = at
        state[S_FAST] += 1.0
        if state[S_FAST] == _EPISODE:
            state[S_FAST_AT] = now
            n = write(out, n, NSVT, state[S_FAST_FIRST], -1.0, now, 1.0)
    elif code == _S:
        _end_row(state, S_V_ROW, V_COUPLETS, V_RUNS)
        state[S_S_ROW] += 1.0
        state[S_HOUR + SVE] += 1.0
    else:
        _end_row(state, S_V_ROW, V_COUPLETS, V_RUNS)
        _end_row(state, S_S_ROW, S_COUPLETS, S_RUNS)
        if rr_s > 0.0 and state[S_RUN] == 0.0:
            state[S_USUAL] += (1.0 if state[S_USUAL] == 0.0 else _FOLLOW) * (rr_s - state[S_USUAL])
    n = _pattern(state, at, code == _V, now, out, n)
    state[S_LAST] = at
    state[S_KNOWN] = 1.0
    return n
