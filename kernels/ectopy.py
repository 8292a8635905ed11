"""Ectopic beats counted as their classes come: hour and day, couplets, runs, bigeminy, trigeminy, R on T.

The counts of an hour are given when it is over, those of a day at its end too; both count from the stream's own start,
by position. A *couplet* is two V (or S) beats in a row, a *run* three or more, counted once when it ends.
*Bigeminy* is every second beat V, at least three times (V x V x V); *trigeminy* every third; each counts once an
episode. *R on T* is a V beat within 0.36 s of the beat before, and within 0.4 of the usual interval: about the
vulnerable phase, which a single lead without T-wave delineation can but guess. No count spans a break.
"""

from kernels._jit import jit
from kernels._types import F64, Flag

__all__ = ["COUNTS", "ECTOPY_STATE", "S_DAY", "S_HOUR", "S_LAST_DAY", "S_LAST_HOUR", "take"]

# ---- Counts, the same for the hour and the day.
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

_HOUR_S = 3600.0
_DAY_HOURS = 24
_EPISODE = 3  # ectopic beats of a pattern that make an episode
_R_ON_T_S = 0.36
_R_ON_T_SHARE = 0.4
_RR_MAX_S = 3.0
_FOLLOW = 0.125

# ---- State: positions in the float64 row. All zero is a new stream.
S_HOURS = 0  # hours that are over
S_V_ROW = 1  # V beats in a row, until now
S_S_ROW = 2
S_SINCE_V = 3  # beats since the last V, itself 0
S_PATTERN = 4  # 2 or 3: the distance of the last two V
S_REPEATS = 5  # V beats of that pattern
S_USUAL = 6  # usual interval, s, of N beats
S_SEEN = 7  # 1: a V beat has been seen since the last break
S_HOUR = 8
S_DAY = S_HOUR + COUNTS
S_LAST_HOUR = S_DAY + COUNTS
S_LAST_DAY = S_LAST_HOUR + COUNTS
ECTOPY_STATE = S_LAST_DAY + COUNTS
"""Length of the state of one stream, float64."""

_S, _V, _Q = 1, 2, 4


@jit
def _add(state: F64, what: int) -> None:
    state[S_HOUR + what] += 1.0
    state[S_DAY + what] += 1.0


@jit
def _end_row(state: F64, row: int, couplet: int, run: int) -> None:
    """Count the beats in a row that have just ended."""
    length = state[row]
    if length == 2.0:
        _add(state, couplet)
    elif length > 2.0:
        _add(state, run)
    state[row] = 0.0


@jit
def _pattern(state: F64, ventricular: Flag) -> None:
    """Follow the distance between V beats."""
    if not ventricular:
        state[S_SINCE_V] += 1.0
        if state[S_SINCE_V] > 2.0:  # neither the second nor the third
            state[S_PATTERN] = 0.0
            state[S_REPEATS] = 0.0
        return
    distance = state[S_SINCE_V] + 1.0
    if state[S_SEEN] > 0.0 and (distance == 2.0 or distance == 3.0):
        if distance == state[S_PATTERN]:
            state[S_REPEATS] += 1.0
        else:
            state[S_PATTERN] = distance
            state[S_REPEATS] = 2.0
        if state[S_REPEATS] == _EPISODE:
            _add(state, BIGEMINY if distance == 2.0 else TRIGEMINY)
    else:
        state[S_PATTERN] = 0.0
        state[S_REPEATS] = 1.0
    state[S_SINCE_V] = 0.0
    state[S_SEEN] = 1.0


@jit
def _break(state: F64) -> None:
    """End what a gap, a lost signal or an unclassifiable beat interrupts."""
    _end_row(state, S_V_ROW, V_COUPLETS, V_RUNS)
    _end_row(state, S_S_ROW, S_COUPLETS, S_RUNS)
    for i in (S_SINCE_V, S_PATTERN, S_REPEATS, S_SEEN):
        state[i] = 0.0


@jit
def take(state: F64, at_s: float, code: int, rr_s: float) -> int:
    """Count one beat.

    Parameters
    ----------
    state : float64[ECTOPY_STATE]
        Changed in place; zeros for a new stream. The counts of the hour and of the day now running are at S_HOUR and
        S_DAY, those of the ones last finished at S_LAST_HOUR and S_LAST_DAY.
    at_s : float
        Time of the beat, seconds from the start of the stream, ascending.
    code : int
        Class, see `kernels.beats`: 0 N, 1 S, 2 V, 3 F, 4 Q.
    rr_s : float
        Interval to the beat before, seconds; 0 when the signal was lost in between.

    Returns
    -------
    int
        Number of hours that ended before this beat, 0 for most beats. Of several, the last is in S_LAST_HOUR:
        the ones between had no beat when it is above 1, and so may have the last.
    """
    hour = int(at_s / _HOUR_S)
    ended = hour - int(state[S_HOURS])
    for _ in range(min(ended, 2 * _DAY_HOURS)):
        state[S_HOURS] += 1.0
        day_over = int(state[S_HOURS]) % _DAY_HOURS == 0
        for i in range(COUNTS):
            state[S_LAST_HOUR + i] = state[S_HOUR + i]
            state[S_HOUR + i] = 0.0
            if day_over:
                state[S_LAST_DAY + i] = state[S_DAY + i]
                state[S_DAY + i] = 0.0
    state[S_HOURS] = hour
    if rr_s <= 0.0 or rr_s >= _RR_MAX_S or code == _Q:
        _break(state)
    if code == _Q:
        return ended
    _add(state, BEATS)
    if code == _V:
        _end_row(state, S_S_ROW, S_COUPLETS, S_RUNS)
        state[S_V_ROW] += 1.0
        _add(state, PVC)
        usual = state[S_USUAL]
        if 0.0 < rr_s < min(_R_ON_T_S, _R_ON_T_SHARE * usual):
            _add(state, R_ON_T)
    elif code == _S:
        _end_row(state, S_V_ROW, V_COUPLETS, V_RUNS)
        state[S_S_ROW] += 1.0
        _add(state, SVE)
    else:
        _end_row(state, S_V_ROW, V_COUPLETS, V_RUNS)
        _end_row(state, S_S_ROW, S_COUPLETS, S_RUNS)
        if 0.0 < rr_s < _RR_MAX_S:
            state[S_USUAL] += (1.0 if state[S_USUAL] == 0.0 else _FOLLOW) * (rr_s - state[S_USUAL])
    _pattern(state, code == _V)
    return ended
