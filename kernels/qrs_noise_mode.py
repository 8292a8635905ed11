"""Beats by their shape while there is noise: when that begins, what is a candidate meanwhile, and when it ends.

Where most of what is high is like no beat of quiet minutes, and yet something is clearly like one, beats are judged by
their shape (`kernels.qrs_noise`), each 0.8 s after it; by height again when noise has gone, or when nothing was clearly
like a beat for 2 s, for then it may be another rhythm: tachycardia and fibrillation are never waited for in vain. It
begins only where five of eight beats of the last minutes are alike.

In quiet each beat teaches what a beat is like: its shape, usual height and usual interval.
"""

import numpy as np

from kernels import qrs_candidates, qrs_noise
from kernels._jit import jit, jit_part
from kernels._types import F64, I16, Flag
from kernels.qrs_candidates import CONFIRM_S, HALF_S, REFRACTORY_S, RR_MAX_S
from kernels.qrs_state import (
    BY_HEIGHT,
    BY_SHAPE,
    C_DELAY,
    C_GROUP,
    C_WORK,
    CANDIDATES,
    LEAVING,
    N_INTERVAL,
    N_LEVEL,
    N_MODE,
    N_SPREAD,
    N_STRANGE,
    N_UNCLEAR,
    NEVER,
    RING,
    S_BEATS,
    S_CAND_H,
    S_CAND_J,
    S_CAND_S,
    S_CAND_X,
    S_CHECK,
    S_HAS_LAST,
    S_IN_NOISE,
    S_J,
    S_LAST,
    S_NOISE,
    S_PENDING,
    S_RING,
    S_RR,
    S_SHAPES,
    median8,
    push8,
)

__all__ = ["NOISY", "WAIT_S", "begin", "count_refused", "event", "is_due", "learn", "looked", "next_beat"]

NOISY = 0.25
"""Level of noise, of that of beats: clean records have less, noise of electrodes more."""
# All that is taken for a beat teaches what a beat is like where the level of noise, of that of beats, is so low.
_CALM = 0.12
_FOLLOW = 0.125  # the level of quiet follows a beat by that
_HEIGHT_MAX = 32767.0  # of a beat in quiet, µV
_HIGH = 0.35  # of the level of quiet: a maximum so high that is no beat is noise; T waves are lower
_ALL = 4096
_MIXED = _ALL * 35 // 100  # more that is strange than that, and beats teach in calm alone
_STRANGE = _ALL * 60 // 100  # more, and beats are judged by shape: mitdb without its noise stays under it
_QUIET = _ALL * 15 // 100  # less, and they are judged by height again
_NEAR = 3  # taps about a maximum of the feature in which a likeness is looked for
_LOOK_S = 0.05  # shapes are compared so often
_APART_S = 0.1  # a candidate by shape is the best of so long
WAIT_S = 0.8
"""A candidate by shape is decided that long after it."""
_LIKE = 1.0  # logarithm of likeness: not strange
_STILL_CLEAR = 2.1  # likeness
_UNCLEAR_S = 2.0  # no candidate so clear for that long, and height judges again: it may be another rhythm


@jit
def _count_strange(noise: I16, strange: Flag) -> None:
    noise[N_STRANGE] += ((_ALL if strange else 0) - int(noise[N_STRANGE])) >> 3


@jit
def count_refused(noise: I16, height: float) -> None:
    """Count a maximum of the feature that is no beat: strange where it is high."""
    _count_strange(noise, height > _HIGH * float(noise[N_LEVEL]))


@jit_part
def learn(state: F64, i: int, work: float) -> None:
    """Let candidate `i`, which is a beat by height, teach the shapes, height and interval of quiet, if it is quiet."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    beats, refused = median8(state, S_BEATS), median8(state, S_NOISE)
    least = min(beats, float(noise[N_LEVEL])) if noise[N_LEVEL] > 0 else beats
    if refused <= _CALM * beats or (noise[N_STRANGE] <= _MIXED and refused <= NOISY * least):
        ring = state[S_RING : S_RING + RING // 4].view(np.int16)
        shapes = state[S_SHAPES:S_IN_NOISE].view(np.int16)
        like = qrs_noise.learn(ring, shapes, int(state[S_CAND_J + i]), qrs_noise.spacing(work))
        _count_strange(noise, not like)
        height = min(state[S_CAND_H + i], _HEIGHT_MAX)
        usual = float(noise[N_LEVEL])
        noise[N_LEVEL] = int(usual + (height - usual) * (_FOLLOW if usual > 0.0 else 1.0) + 0.5)
        rr = state[S_CAND_J + i] - state[S_LAST]
        # Between two beats that are like beats: what noise puts between them, as it begins, teaches nothing.
        alike = like and noise[N_UNCLEAR] == 0 and noise[N_STRANGE] < _QUIET
        noise[N_UNCLEAR] = 0 if like else 1
        if alike and state[S_HAS_LAST] > 0.0 and rr < RR_MAX_S * work:
            usual = float(noise[N_INTERVAL]) if noise[N_INTERVAL] > 0 else rr
            noise[N_INTERVAL] = int(usual + (rr - usual) * _FOLLOW + 0.5)
            spread = float(noise[N_SPREAD])
            noise[N_SPREAD] = int(spread + (abs(rr - usual) - spread) * _FOLLOW + 0.5)


@jit
def is_due(state: F64, j: int, coeffs: F64) -> bool:
    """Say whether most of what is high is strange, and yet what is about averaged sample `j` clearly like a beat."""
    if state[S_IN_NOISE:S_CAND_J].view(np.int16)[N_STRANGE] <= _STRANGE:
        return False
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    shapes = state[S_SHAPES:S_IN_NOISE].view(np.int16)
    step = qrs_noise.spacing(coeffs[C_WORK])
    best = 0.0
    if qrs_noise.known(shapes):
        for i in range(-_NEAR * step, _NEAR * step + 1):
            best = max(best, qrs_noise.likeness(ring, shapes, j + i, step))
    return best > qrs_noise.CLEAR


@jit
def begin(state: F64, coeffs: F64) -> None:
    """Begin to judge by shape, from where all has been decided on."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    work = coeffs[C_WORK]
    first = state[S_J] - coeffs[C_DELAY] - np.floor((CONFIRM_S + HALF_S) * work)
    if state[S_PENDING] > 0.0:
        first = min(first, state[S_CAND_J])
    first = max(first, state[S_LAST] + 1.0)
    state[S_PENDING] = 0.0
    noise[N_MODE] = BY_SHAPE
    noise[N_UNCLEAR] = 0
    # Levels and intervals are those of quiet: what noise has taught is forgotten, or false beats would go on at
    # their rate.
    intervals = state[S_RR:S_SHAPES].view(np.int16)
    for i in range(8):
        state[S_BEATS + i] = min(state[S_BEATS + i], float(noise[N_LEVEL]))
        if noise[N_INTERVAL] > 0:
            spread = int(noise[N_SPREAD]) if i % 2 == 1 else -int(noise[N_SPREAD])
            intervals[i] = max(int(noise[N_INTERVAL]) + spread, 1)
    _look(state, coeffs, int(first))


@jit
def looked(state: F64, coeffs: F64) -> float:
    """Give the first averaged sample that has not been compared with the shapes."""
    work = coeffs[C_WORK]
    return float(state[S_CHECK] - np.floor(_LOOK_S * work) - qrs_noise.reach(qrs_noise.spacing(work)))


@jit
def _look(state: F64, coeffs: F64, first: int) -> None:
    """Compare what has come with the shapes, from averaged sample `first` on; keep what stands out."""
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    shapes = state[S_SHAPES:S_IN_NOISE].view(np.int16)
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    work = coeffs[C_WORK]
    group = coeffs[C_GROUP]
    step = qrs_noise.spacing(work)
    noise[N_UNCLEAR] += 1
    state[S_CHECK] = state[S_J] + np.floor(_LOOK_S * work)
    for j in range(first, int(state[S_J]) - qrs_noise.reach(step)):
        like = qrs_noise.likeness(ring, shapes, j, step)
        if like < qrs_noise.LEAST:
            continue
        if like > _STILL_CLEAR:
            noise[N_UNCLEAR] = 0
        k = int(state[S_PENDING])
        worth = np.log(like)
        if k > 0 and j - state[S_CAND_J + k - 1] < _APART_S * work:
            if worth <= state[S_CAND_H + k - 1]:
                continue
            k -= 1
        elif k == CANDIDATES:
            qrs_candidates.drop(state, 1)
            k -= 1
        state[S_CAND_J + k] = j
        state[S_CAND_H + k] = worth
        state[S_CAND_X + k] = np.floor(j * group + 0.5 * (group - 1.0) + 0.5)
        state[S_PENDING] = k + 1


@jit
def _hear_noise(state: F64, coeffs: F64) -> None:
    """Teach the level of noise by a maximum of the feature that no candidate by shape explains."""
    if not qrs_candidates.measure(state, coeffs):
        return
    newest = int(state[S_PENDING]) - 1
    state[S_PENDING] = newest
    at = state[S_CAND_J + newest]
    height = state[S_CAND_H + newest]
    near = _APART_S * coeffs[C_WORK]
    alike = abs(at - state[S_LAST]) <= near
    for i in range(newest):
        alike |= abs(at - state[S_CAND_J + i]) <= near and state[S_CAND_H + i] > _LIKE
    if not alike:
        noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
        push8(state, S_NOISE, min(height, float(noise[N_LEVEL])))
        count_refused(noise, height)


@jit
def event(state: F64, coeffs: F64, confirmed: Flag) -> int:
    """Do what `qrs_threshold.event` does while beats are judged by shape; give an R peak or -1."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    if confirmed:
        _hear_noise(state, coeffs)
    if state[S_J] < state[S_CHECK]:
        return -1
    _look(state, coeffs, int(looked(state, coeffs)))
    if noise[N_UNCLEAR] * _LOOK_S > _UNCLEAR_S:
        noise[N_MODE] = LEAVING
    elif noise[N_STRANGE] < _QUIET:
        noise[N_MODE] = LEAVING
        for i in range(8):
            state[S_NOISE + i] = 0.1 * float(noise[N_LEVEL])
    return next_beat(state, coeffs)


@jit
def next_beat(state: F64, coeffs: F64) -> int:
    """Decide the oldest candidates, up to a beat; give its R peak, or -1 when none can be decided now."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    intervals = state[S_RR:S_SHAPES].view(np.int16)
    work = coeffs[C_WORK]
    until = looked(state, coeffs)
    while state[S_PENDING] > 0.0:
        if noise[N_MODE] == BY_SHAPE and until - state[S_CAND_J] < np.floor(WAIT_S * work):
            return -1
        if qrs_noise.candidate_0_is_a_beat(
            state[S_CAND_J:S_CAND_H],
            state[S_CAND_H:S_CAND_S],
            state[S_CAND_S:S_CAND_X],
            int(state[S_PENDING]),
            state[S_LAST],
            until,
            intervals,
            np.floor(REFRACTORY_S * work),
        ):
            _count_strange(noise, state[S_CAND_H] < _LIKE)
            return qrs_candidates.mark(state, 0, work)
        qrs_candidates.drop(state, 1)
    if noise[N_MODE] == LEAVING:
        noise[N_MODE] = BY_HEIGHT
        noise[N_UNCLEAR] = 1
        state[S_CHECK] = NEVER
    return -1
