"""Beats by height: the adaptive threshold, T waves, and search-back.

- A candidate is compared with a threshold between the levels of the last eight beats and of the last eight other
  candidates (Pan and Tompkins 1985; the median of eight is Hamilton's);
- a candidate within 330 ms of a beat whose steepest slope is under 0.6 of that beat's is a T wave (Pan and
  Tompkins have 360 ms and half); within 500 ms where noise is high;
- when no beat came for 1.5 mean RR intervals, the highest candidate since is looked at again with 0.7 of the
  threshold (search-back, both papers). Deviation: a candidate is looked at again at the latest 0.9 s after it
  happened, so that every beat is decided within 1 s, and after 2.5 s without a beat the threshold is a
  quarter: a lead whose amplitude drops must not stay silent. Where no beat followed it by then and noise is
  low, 0.65 of the threshold will do from 430 ms after the last beat on, where T waves are over: early beats may be
  wide and low, and a pause follows them.
"""

import numpy as np

from kernels import qrs_candidates, qrs_noise_mode
from kernels._jit import jit
from kernels._types import F64, Flag
from kernels.qrs_candidates import CONFIRM_S, REFRACTORY_S
from kernels.qrs_state import (
    C_DELAY,
    C_WORK,
    NEVER,
    S_BEATS,
    S_CAND_H,
    S_CAND_J,
    S_CAND_S,
    S_CHECK,
    S_HAS_LAST,
    S_IN_NOISE,
    S_J,
    S_LAST,
    S_LAST_SLOPE,
    S_NOISE,
    S_PENDING,
    eight_rr,
    median8,
    push8,
    refused_share,
)

__all__ = ["LEVEL_UV", "classify", "event", "look_back", "plan_check"]

# Times in seconds.
_THRESHOLD = 0.32  # between the levels of noise (0) and of beats (1)
LEVEL_UV = 8.0
"""Lowest threshold of the feature; a complex of 150 µV gives about 20."""
_OUTLIER = 2.0  # one complex raises the level of beats by that factor at most
_T_WAVE_S = 0.33
# Where noise is high, what follows a beat closely must be as steep as a beat for longer.
_T_WAVE_NOISY_S = 0.5
_T_WAVE_SLOPE = 0.6
_BACK_S = 0.36  # nothing closer to the last beat is looked at again
_BACK_RR = 1.5
_BACK_SHARE = 0.7
_LATE_S = 2.5
_LATE_SHARE = 0.25
_AGE_S = 0.9
_AGE_RR = 0.35  # a candidate judged by age alone is as much of an RR after the last beat: T waves are earlier
_ALONE_S = 0.43  # what no beat follows is no T wave, so long after the last beat
_ALONE_SHARE = 0.65
_END_RR = 0.9  # the same where the segment ends: nothing that follows can outdo what is not a beat


@jit
def _threshold(state: F64) -> float:
    noise = median8(state, S_NOISE)
    level = noise + _THRESHOLD * (median8(state, S_BEATS) - noise)
    return max(level, LEVEL_UV)


@jit
def _is_t_wave(state: F64, i: int, since: float, work: float) -> bool:
    window = _T_WAVE_NOISY_S if refused_share(state) > qrs_noise_mode.NOISY else _T_WAVE_S
    return since < window * work and state[S_CAND_S + i] < _T_WAVE_SLOPE * state[S_LAST_SLOPE]


@jit
def _accept(state: F64, i: int, level: float, work: float) -> int:
    """Make candidate `i` a beat as `qrs_candidates.mark` does, and teach the levels and, in quiet, the shapes."""
    qrs_noise_mode.learn(state, i, work)
    push8(state, S_BEATS, level)
    state[S_LAST_SLOPE] = state[S_CAND_S + i]
    return qrs_candidates.mark(state, i, work)


@jit
def classify(state: F64, i: int, coeffs: F64) -> int:
    """Judge candidate `i` by the full threshold; give its R peak or -1."""
    work = coeffs[C_WORK]
    since = state[S_CAND_J + i] - state[S_LAST] if state[S_HAS_LAST] > 0.0 else NEVER
    h = state[S_CAND_H + i]
    beats = median8(state, S_BEATS)
    if h > _threshold(state) and since > REFRACTORY_S * work and not _is_t_wave(state, i, since, work):
        return _accept(state, i, min(h, _OUTLIER * beats), work)
    return -1


@jit
def look_back(state: F64, coeffs: F64, ended: Flag) -> int:
    """Look at the pending candidates again with a lower threshold; give an R peak or -1."""
    count = int(state[S_PENDING])
    if count == 0:
        return -1
    work = coeffs[C_WORK]
    j = state[S_J]
    last = state[S_LAST]
    elapsed = j - last - coeffs[C_DELAY] - np.floor(CONFIRM_S * work)
    eight = eight_rr(state)
    overdue = 8.0 * elapsed > _BACK_RR * eight
    aged = ended or j >= state[S_CAND_J] + np.floor(_AGE_S * work)
    share_rr = _END_RR if ended else _AGE_RR
    if not overdue and not (aged and 8.0 * (state[S_CAND_J] - last) >= share_rr * eight):
        if aged:
            qrs_candidates.drop(state, 1)
        return -1
    share = _LATE_SHARE if elapsed > _LATE_S * work else _BACK_SHARE
    least = max(_threshold(state) * share, LEVEL_UV)
    best = -1
    height = 0.0
    for i in range(count):
        h = state[S_CAND_H + i]
        if state[S_CAND_J + i] - last > _BACK_S * work and h > least and h > height:
            height = h
            best = i
    alone = aged and not ended and state[S_CAND_J] - last > _ALONE_S * work
    if best < 0 and alone and refused_share(state) <= qrs_noise_mode.NOISY:
        best = 0 if state[S_CAND_H] > max(_threshold(state) * _ALONE_SHARE, LEVEL_UV) else -1
        # So low a beat is of another form: it says nothing of the height of the usual ones.
        height = median8(state, S_BEATS)
    if best >= 0:
        if share == _LATE_SHARE:
            # The amplitude has dropped: levels follow at once, not after four more such beats.
            for _ in range(4):
                push8(state, S_BEATS, height)
        return _accept(state, best, height, work)
    if aged:
        qrs_candidates.drop(state, 1)
    return -1


@jit
def plan_check(state: F64, coeffs: F64) -> None:
    """Set the step at which the candidates are looked at again."""
    work = coeffs[C_WORK]
    check = NEVER
    if state[S_PENDING] > 0.0:
        check = state[S_CAND_J] + np.floor(_AGE_S * work)
        back = state[S_LAST] + coeffs[C_DELAY] + 1.0
        back += np.floor(_BACK_RR * 0.125 * eight_rr(state)) + np.floor(CONFIRM_S * work)
        # Looked at once when that moment comes; from then on with each new candidate.
        if state[S_J] < back < check:
            check = back
    state[S_CHECK] = check


@jit
def event(state: F64, coeffs: F64, confirmed: Flag) -> int:
    """Judge a maximum of the feature just `confirmed`, or look again at what waits; give an R peak or -1."""
    position = -1
    if confirmed and qrs_candidates.measure(state, coeffs):
        newest = int(state[S_PENDING]) - 1
        height = state[S_CAND_H + newest]
        at = int(state[S_CAND_J + newest])
        position = classify(state, newest, coeffs)
        if position < 0:
            push8(state, S_NOISE, min(height, median8(state, S_BEATS)))
            position = look_back(state, coeffs, ended=False)
        if position < 0:
            qrs_noise_mode.count_refused(state[S_IN_NOISE:S_CAND_J].view(np.int16), height)
        if qrs_noise_mode.is_due(state, at, coeffs):
            qrs_noise_mode.begin(state, coeffs)
            return position
    elif state[S_J] >= state[S_CHECK]:
        position = look_back(state, coeffs, ended=False)
    plan_check(state, coeffs)
    return position
