"""Episodes of rhythm that beats alone decide: bradycardia, tachycardia, pause, asystole, each with onset and end.

========  ====================================================================================  =============
kind      holds                                                                                 source
========  ====================================================================================  =============
PAUSE     no QRS for 3 s or more, from the last QRS (or where the signal begins) to the next    ESC, see below
ASYS      the same for 4 s or more                                                              [1]_
BRADY     ``60 * 4 / (t[i+4] - t[i])`` under 40 a minute: from beat i, as long as it holds      [1]_
TACHY     ``60 * 16 / (t[i+16] - t[i])`` over 140 a minute: from beat i, as long as it holds    [1]_
========  ====================================================================================  =============

An interval that makes an asystole is a pause too: the pause is said one second earlier. By the formula of [1]_,
which judges the mean of four intervals, a pause of 3.6 s among beats at 75 a minute is a BRADY too, until four more
beats have come.

The caller says each beat in its order (`beat`) and, at moments that do not depend on how the stream was cut,
up to where all beats are known (`tick`), so that a pause is said while it lasts. No interval spans a loss of
signal: what was open ends there, and counting begins anew when the signal is back.

.. [1] Clifford et al. 2015, The PhysioNet/Computing in Cardiology Challenge 2015, table 1. Pause of 3 s: 2021
   ESC guidelines on cardiac pacing, section 4.
"""

from kernels._jit import jit
from kernels._types import F64, I64, Flag
from kernels.rhythms import ASYS, BRADY, PAUSE, TACHY, write

__all__ = ["KINDS", "ROOM", "STATE", "beat", "finish", "tick"]

KINDS = 4  # the first four of `kernels.rhythms`

ROOM = 10
"""Rows that one call can write."""

_PAUSE_S = 3.0
_ASYSTOLE_S = 4.0
_SLOW_BEATS, _SLOW_UNDER = 5, 40.0
_FAST_BEATS, _FAST_OVER = 17, 140.0
_HISTORY = 17

# ---- State: positions in the float64 row. All zero is a new stream, whose signal begins at position 0.
S_QUIET = 0  # position from which there has been no beat
S_COUNT = 1  # beats in history
S_BEATS = 2  # the last 17 beats without a loss between them, oldest first
S_OPEN = S_BEATS + _HISTORY  # of each kind: 1 while an episode lasts
S_START = S_OPEN + KINDS
S_END = S_START + KINDS  # up to where it has held; kept when it is over
S_DECIDED = S_END + KINDS
STATE = S_DECIDED + KINDS
"""Length of the state of one stream, float64."""


@jit
def _open(state: F64, kind: int, start: float, decided: float, out: I64, n: int) -> int:
    """Begin an episode unless one lasts; give the number of rows."""
    if state[S_OPEN + kind] > 0.0:
        return n
    state[S_OPEN + kind] = 1.0
    state[S_START + kind] = max(start, state[S_END + kind])  # those of a kind do not overlap
    state[S_DECIDED + kind] = decided
    return write(out, n, kind, state[S_START + kind], -1.0, decided, 1.0)


@jit
def _close(state: F64, kind: int, out: I64, n: int) -> int:
    """End the episode that lasts, if any; give the number of rows."""
    if state[S_OPEN + kind] == 0.0:
        return n
    state[S_OPEN + kind] = 0.0
    return write(out, n, kind, state[S_START + kind], state[S_END + kind], state[S_DECIDED + kind], 1.0)


@jit
def _lose(state: F64, at: float, out: I64, n: int) -> int:
    """End everything where the signal is lost, and count from `at`."""
    state[S_END + PAUSE] = state[S_END + ASYS] = at
    for kind in range(KINDS):
        n = _close(state, kind, out, n)
    state[S_QUIET] = at
    state[S_COUNT] = 0.0
    return n


@jit
def _quiet(state: F64, until: float, decided: float, rate: float, out: I64, n: int) -> int:
    """Begin a pause or an asystole if there was no beat up to `until` for so long."""
    since = until - state[S_QUIET]
    if since >= _PAUSE_S * rate:
        n = _open(state, PAUSE, state[S_QUIET], decided, out, n)
    if since >= _ASYSTOLE_S * rate:
        n = _open(state, ASYS, state[S_QUIET], decided, out, n)
    return n


@jit
def _run(
    state: F64, kind: int, holds: Flag, start: float, at: float, decided: float, out: I64, n: int
) -> int:
    """Begin, prolong or end a run of slow or fast beats."""
    if not holds:
        return _close(state, kind, out, n)
    n = _open(state, kind, start, decided, out, n)
    state[S_END + kind] = at
    return n


@jit
def beat(state: F64, at: float, decided: float, lost: float, rate: float, out: I64, n: int) -> int:
    """Take the next beat.

    Parameters
    ----------
    state : float64[STATE]
        Changed in place; zeros for a new stream.
    at, decided : float
        Its R peak and the moment at which it was known, in samples.
    lost : float
        Position just after the newest loss of signal; 0 when there was none.
    rate : float
        Hz.
    out : int64[rows, ROW_WIDTH]
        Receives rows of `kernels.rhythms`. At least ROOM rows beyond `n`.
    n : int
        Rows that are there.

    Returns
    -------
    int
        Rows that are there now.
    """
    count = int(state[S_COUNT])
    before = state[S_BEATS + count - 1] if count > 0 else -1.0
    if at >= lost and (state[S_QUIET] < lost or (count > 0 and before < lost)):
        # Beats of before the loss may have been decided after it: they are history too.
        n = _lose(state, max(lost, state[S_QUIET]), out, n)
        count = 0
    n = _quiet(state, at, decided, rate, out, n)
    state[S_QUIET] = max(at, state[S_QUIET])
    state[S_END + PAUSE] = state[S_END + ASYS] = state[S_QUIET]
    n = _close(state, PAUSE, out, n)
    n = _close(state, ASYS, out, n)
    if count == _HISTORY:
        for i in range(_HISTORY - 1):
            state[S_BEATS + i] = state[S_BEATS + i + 1]
        count -= 1
    state[S_BEATS + count] = at
    count += 1
    state[S_COUNT] = count
    if count >= _SLOW_BEATS:
        first = state[S_BEATS + count - _SLOW_BEATS]
        holds = 60.0 * (_SLOW_BEATS - 1) * rate < _SLOW_UNDER * (at - first)
        n = _run(state, BRADY, holds, first, at, decided, out, n)
    if count >= _FAST_BEATS:
        first = state[S_BEATS + count - _FAST_BEATS]
        holds = 60.0 * (_FAST_BEATS - 1) * rate > _FAST_OVER * (at - first)
        n = _run(state, TACHY, holds, first, at, decided, out, n)
    return n


@jit
def tick(
    state: F64, at: float, known: float, is_lost: Flag, lost: float, rate: float, out: I64, n: int
) -> int:
    """Judge what depends on time.

    Parameters
    ----------
    state, lost, rate, out, n
        As for `beat`.
    at : float
        Now, in samples: a moment that does not depend on how the stream was cut.
    known : float
        Position up to which all beats have been said.
    is_lost : bool
        There is no signal now.

    Returns
    -------
    int
        Rows that are there now.
    """
    if is_lost:
        return _lose(state, at, out, n)
    if state[S_QUIET] < lost:
        n = _lose(state, lost, out, n)
    return _quiet(state, known, at, rate, out, n)


@jit
def finish(state: F64, at: float, is_lost: Flag, lost: float, rate: float, out: I64, n: int) -> int:
    """End the stream at `at`: all beats before are said, and what lasts ends there. Parameters as for `tick`."""
    n = tick(state, at, at, is_lost, lost, rate, out, n)
    state[S_END + PAUSE] = state[S_END + ASYS] = at
    for kind in range(KINDS):
        n = _close(state, kind, out, n)
    return n
