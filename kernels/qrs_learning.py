"""The first three seconds of a lead: its first levels, and a second look at what was seen meanwhile.

The level of beats is the middle one of the highest features of three seconds, that of noise a tenth of it. Seconds
that had nothing like a beat teach nothing, and learning begins again.
"""

from kernels import qrs_candidates, qrs_threshold
from kernels._jit import jit
from kernels._types import F64, I64, Flag
from kernels.qrs_state import (
    C_WORK,
    S_BEATS,
    S_J,
    S_LEARN_J,
    S_LEARN_MAX,
    S_LEARNED,
    S_NOISE,
    S_PENDING,
)
from kernels.qrs_threshold import LEVEL_UV

__all__ = ["LEARN_S", "learn_early", "second_look", "second_of", "step"]

LEARN_S = 3
"""Seconds of learning."""


@jit
def second_of(state: F64, j: int, work: float) -> int:
    """Give the second of learning in which averaged sample `j` is."""
    return int((j - state[S_LEARN_J]) / work)


@jit
def _learn(state: F64) -> bool:
    """Set the first levels from the highest features of three seconds; False when there is no signal yet."""
    a, b, c = state[S_LEARN_MAX], state[S_LEARN_MAX + 1], state[S_LEARN_MAX + 2]
    middle = max(min(a, b), min(max(a, b), c))
    if middle < LEVEL_UV:
        return False
    for i in range(8):
        state[S_BEATS + i] = middle
        state[S_NOISE + i] = 0.1 * middle
    return True


@jit
def learn_early(state: F64) -> bool:
    """Set the first levels where the segment ends before three seconds are full; False as `_learn`."""
    highest = max(state[S_LEARN_MAX], state[S_LEARN_MAX + 1], state[S_LEARN_MAX + 2])
    if state[S_LEARN_MAX + 1] == 0.0:
        state[S_LEARN_MAX + 1] = highest
    if state[S_LEARN_MAX + 2] == 0.0:
        # Of two seconds, the lower: a step of the electrode fills one.
        state[S_LEARN_MAX + 2] = min(state[S_LEARN_MAX], state[S_LEARN_MAX + 1])
    return _learn(state)


@jit
def step(state: F64, coeffs: F64, confirmed: Flag) -> bool:
    """Collect a candidate, or end three seconds of learning; True once the levels have been learnt."""
    if confirmed:
        qrs_candidates.measure(state, coeffs)
    if second_of(state, int(state[S_J]), coeffs[C_WORK]) < LEARN_S:
        return False
    if _learn(state):
        state[S_LEARNED] = 1.0
        return True
    # Nothing like a beat yet: learn from the next three seconds.
    state[S_LEARN_J] = state[S_J]
    state[S_PENDING] = 0.0
    for i in range(LEARN_S):
        state[S_LEARN_MAX + i] = 0.0
    return False


@jit
def second_look(state: F64, coeffs: F64, now: int, count: int, out_sample: I64, out_decided: I64) -> int:
    """Judge what was collected while learning, in its order; give the new count of beats."""
    i = 0
    while i < int(state[S_PENDING]):
        position = qrs_threshold.classify(state, i, coeffs)
        i += 1
        if position >= 0:
            i = 0
            out_sample[count] = position
            out_decided[count] = now
            count += 1
    return count
