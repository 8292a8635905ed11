"""Runs of ventricular beats: tachycardia by the classes of beats, as they come.

Five V beats or more in a row at over 100 a minute, ``60 (n - 1) / (t[n] - t[1])`` of the run so far (PhysioNet/CinC
Challenge 2015, table 1), from the first of them to the last.
"""

from kernels._jit import jit
from kernels._types import F64, I64, Flag
from kernels.rhythms import VT_RUN, write

__all__ = ["ROOM", "STATE", "beat", "finish"]

ROOM = 1
"""Rows that one call can write."""

_BEATS = 5
_OVER = 100.0

# ---- State: positions in the float64 row. All zero is a new stream.
S_COUNT = 0  # V beats in a row
S_FIRST = 1
S_LAST = 2
S_OPEN = 3
S_DECIDED = 4
STATE = 5
"""Length of the state of one stream, float64."""


@jit
def finish(state: F64, out: I64, n: int) -> int:
    """End the run, if any; give the number of rows."""
    was_open = state[S_OPEN] > 0.0
    state[S_COUNT] = state[S_OPEN] = 0.0
    if not was_open:
        return n
    return write(out, n, VT_RUN, state[S_FIRST], state[S_LAST], state[S_DECIDED], 1.0)


@jit
def beat(
    state: F64, at: float, ventricular: Flag, broken: Flag, now: float, rate: float, out: I64, n: int
) -> int:
    """Take the next beat, whose class is known.

    Parameters
    ----------
    state : float64[STATE]
        Changed in place; zeros for a new stream.
    at : float
        Its R peak, in samples.
    ventricular : bool
        It is of class V.
    broken : bool
        The signal was lost between the beat before and this one.
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
    if not ventricular:
        return finish(state, out, n)
    count = state[S_COUNT]
    # A beat so late ends the run, as it would make the whole of it slow in the end.
    if count > 0.0 and (broken or 60.0 * rate <= _OVER * (at - state[S_LAST])):
        n = finish(state, out, n)
        count = 0.0
    if count == 0.0:
        state[S_FIRST] = at
    count += 1.0
    state[S_COUNT] = count
    state[S_LAST] = at
    if state[S_OPEN] == 0.0 and count >= _BEATS:
        state[S_OPEN] = 1.0
        state[S_DECIDED] = now
        return write(out, n, VT_RUN, state[S_FIRST], -1.0, now, 1.0)
    return n
