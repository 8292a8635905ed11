"""Streaming detection of QRS complexes in one ECG lead: causal, bounded memory, any cut of the stream.

The steps are those of the open literature, put together for a stream, each in a module of its own:

- `kernels.qrs_signal`: samples are averaged in groups, so that the filters run at 100 to 240 Hz whatever the rate;
  where the signal is lost the filters start anew and levels are kept;
- `kernels.qrs_filter`: band-pass around the energy of the QRS, rectify, average over the width of a QRS;
- `kernels.qrs_candidates`: every local maximum of that feature that stays the highest for 200 ms is a *candidate*,
  unless its complex has less than 150 µV;
- `kernels.qrs_learning`: three seconds teach the first levels; what was seen meanwhile is judged then;
- `kernels.qrs_threshold`: candidates are judged by their height, and again when no beat came for long;
- `kernels.qrs_noise_mode`: in noise, by their shape (`kernels.qrs_noise`).

Filters are computed a block at once, maxima one by one: they are few. Everything is computed once for each group of
samples, in their order, from a state that holds all that is remembered (`kernels.qrs_state`): results cannot depend on
how the samples were cut.
"""

import numpy as np

from kernels import qrs_filter, qrs_learning, qrs_noise_mode, qrs_signal, qrs_threshold
from kernels._jit import jit, jit_part
from kernels._types import F64, I16, I64, Flag
from kernels.qrs_candidates import CONFIRM_S, HALF_S, REFRACTORY_S
from kernels.qrs_learning import LEARN_S, second_of
from kernels.qrs_signal import BLOCK
from kernels.qrs_state import (
    BY_HEIGHT,
    C_DELAY,
    C_GROUP,
    C_RATE,
    C_WORK,
    CANDIDATES,
    LEAVING,
    M_RING,
    N_INTERVAL,
    N_MODE,
    N_SPREAD,
    NEVER,
    RING,
    S_BASE,
    S_BEATS,
    S_CAND_J,
    S_CAND_X,
    S_CHECK,
    S_FALLING,
    S_GAIN,
    S_HELD,
    S_IN_NOISE,
    S_J,
    S_LEARN_J,
    S_LEARN_MAX,
    S_LEARNED,
    S_N,
    S_PEAK,
    S_PEAK_J,
    S_PENDING,
    S_PHASE,
    S_RATE,
    S_RING,
    S_RR,
    S_SHAPES,
    S_WORK,
    STATE,
)
from kernels.stack import stack

__all__ = ["BAD_GAIN", "FINISH_ROOM", "NO_ROOM", "feed", "finish", "max_beats", "restart", "settled"]


# ---- What `feed` returns instead of a count.
NO_ROOM = -2
BAD_GAIN = -4

FINISH_ROOM = 64
"""Length that the outputs of `finish` need."""

_X_BLOCK = 2 * BLOCK + M_RING  # float64 of averaged samples, and of their moving sum
_X_AFTER = BLOCK // 4  # float64 that hold a block of int16


@jit
def max_beats(n: int, rate: float) -> int:
    """Bound of the number of beats that `n` samples can bring, candidates kept from before included."""
    return CANDIDATES + 2 + int(n / (REFRACTORY_S * rate))


@jit
def feed(state: F64, samples: I16, gain: float, coeffs: F64, out_sample: I64, out_decided: I64) -> int:
    """Take samples of one lead and give the beats that they decide.

    Parameters
    ----------
    state : float64[STATE]
        All that is remembered of the stream, changed in place; zeros for a new stream. A change of rate or
        gain starts a new segment and keeps the levels, which are in microvolts.
    samples : int16[n]
        In units of ``1 / gain`` millivolt. Any `n`.
    gain : float
        Units per millivolt, positive.
    coeffs : float64[COEFFS]
        For the rate of the stream, from `engine.ecg_design.design`.
    out_sample : int64[]
        Receives the positions of the R peaks, in samples since the start of the segment, ascending. At least
        ``max_beats(n, rate)`` long.
    out_decided : int64[]
        Receives the number of samples that had been taken when each was decided.

    Returns
    -------
    int
        Number of beats; NO_ROOM when the outputs are too short, BAD_GAIN when `gain` is not positive and
        finite: nothing is taken then.
    """
    n = samples.size
    rate = coeffs[C_RATE]
    if not 0.0 < gain < np.inf:
        return BAD_GAIN
    room = max_beats(n, rate)
    if out_sample.size < room or out_decided.size < room:
        return NO_ROOM
    if n == 0:
        return 0
    if state[S_RATE] != rate or state[S_GAIN] != gain:
        _begin_segment(state, gain, coeffs)
    if state[S_N] == 0.0:
        state[S_BASE] = state[S_HELD] = samples[0]
        if state[S_LEARNED] == 0.0:
            state[S_RR:S_SHAPES].view(np.int16)[:] = int(coeffs[C_WORK])
    group = int(coeffs[C_GROUP])
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    scratch = stack(_X_BLOCK)
    signal, sums = scratch[:BLOCK], scratch[BLOCK:].view(np.int64)
    count = 0
    at = 0
    careful = 0
    while at < n:
        # So many samples had been taken when the first of the block was whole.
        taken = int(state[S_N]) + at + group - int(state[S_PHASE])
        at, m, careful = qrs_signal.average(state, samples, at, careful, coeffs, signal)
        first = 0
        while first < m:
            end = qrs_signal.remember(state, ring, signal, first, m)
            qrs_filter.moving_sums(state, coeffs, signal[first:end], sums)
            now = taken + first * group
            count = _judge(state, coeffs, sums[: end - first], now, count, out_sample, out_decided)
            first = end
    state[S_N] += n
    return count


@jit
def _begin_segment(state: F64, gain: float, coeffs: F64) -> None:
    """Begin a segment of another rate or gain. Levels are kept, being in microvolts, and intervals, at the new rate."""
    restart(state, state[S_RATE] != 0.0)
    if state[S_WORK] > 0.0:
        intervals = state[S_RR:S_SHAPES].view(np.int16)
        for i in range(8):
            intervals[i] = int(float(intervals[i]) * coeffs[C_WORK] / state[S_WORK])
        if state[S_WORK] != coeffs[C_WORK]:
            # Shapes and intervals of another rate say nothing.
            state[S_SHAPES:S_IN_NOISE] = 0.0
            known = state[S_IN_NOISE:S_CAND_J].view(np.int16)
            known[N_INTERVAL] = known[N_SPREAD] = 0
    state[S_RATE] = coeffs[C_RATE]
    state[S_GAIN] = gain
    state[S_WORK] = coeffs[C_WORK]


@jit_part
def _judge(
    state: F64, coeffs: F64, sums: I64, now: int, count: int, out_sample: I64, out_decided: I64
) -> int:
    """Judge the maxima of a block's moving sums, and look again at what waits; give the new count of beats.

    `now` samples had been taken with the first of the sums.
    """
    work = coeffs[C_WORK]
    group = int(coeffs[C_GROUP])
    confirm = int(CONFIRM_S * work)
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    learning = state[S_LEARNED] == 0.0
    check = int(state[S_CHECK])
    j = int(state[S_J])
    peak = int(state[S_PEAK_J]) - j
    bar = int(state[S_PEAK])
    falling = state[S_FALLING] > 0.0
    size = sums.size
    i = 0
    while i < size:
        begin, second = i, 0
        if learning:
            second = second_of(state, j + i, work)
            until = i + 1
            while second < LEARN_S and until < size and second_of(state, j + until, work) == second:
                until += 1
        else:
            until = min(size, max(check - j, i) + 1)
        i, falling, bar, peak = qrs_filter.climb(sums, i, until, falling, bar, peak, confirm)
        confirmed = i - 1 - peak >= confirm
        if learning and second < LEARN_S:
            k = S_LEARN_MAX + second
            state[k] = max(state[k], qrs_filter.feature(qrs_filter.highest(sums[begin:i]), coeffs))
        if confirmed or (second >= LEARN_S if learning else j + i > check):
            decided = now + (i - 1) * group
            state[S_J] = j + i - 1
            state[S_PEAK_J] = j + peak
            if confirmed:
                state[S_PEAK] = bar
                falling, bar, peak = True, sums[i - 1], i - 1
            if not learning:
                if noise[N_MODE] == BY_HEIGHT:
                    position = qrs_threshold.event(state, coeffs, confirmed)
                else:
                    position = qrs_noise_mode.event(state, coeffs, confirmed)
                while position >= 0:
                    out_sample[count] = position
                    out_decided[count] = decided
                    count += 1
                    position = qrs_noise_mode.next_beat(state, coeffs) if noise[N_MODE] != BY_HEIGHT else -1
            elif qrs_learning.step(state, coeffs, confirmed):
                learning = False
                count = qrs_learning.second_look(state, coeffs, decided, count, out_sample, out_decided)
                qrs_threshold.plan_check(state, coeffs)
            check = int(state[S_CHECK])
    state[S_J] = j + size
    state[S_PEAK_J] = j + peak
    state[S_PEAK] = bar
    state[S_FALLING] = 1.0 if falling else 0.0
    return count


@jit
def finish(state: F64, coeffs: F64, out_sample: I64, out_decided: I64) -> int:
    """End a strip or a segment: decide all that is still open.

    The signal is taken to stay where it was for as long as the filters and the confirmation of a maximum look
    ahead, and what waits for a second look gets it now. `restart` must follow before more is fed.

    Parameters
    ----------
    state : float64[STATE]
        Changed in place; the count of samples taken stays.
    coeffs : float64[COEFFS]
        As for `feed`.
    out_sample, out_decided : int64[]
        As for `feed`, at least FINISH_ROOM long; all is decided at the last sample.

    Returns
    -------
    int
        Number of beats, or NO_ROOM: nothing is done then.
    """
    if out_sample.size < FINISH_ROOM or out_decided.size < FINISH_ROOM:
        return NO_ROOM
    end = state[S_N]
    if end == 0.0:
        return 0
    after = stack(_X_AFTER).view(np.int16)
    for i in range(BLOCK):
        after[i] = np.int16(state[S_HELD])
    ahead = coeffs[C_DELAY] + np.floor(CONFIRM_S * coeffs[C_WORK]) + np.floor(HALF_S * coeffs[C_WORK]) + 2.0
    count = 0
    left = 8 * int(np.ceil(ahead * coeffs[C_GROUP] / 8.0))
    while left > 0:
        part = after[: min(left, BLOCK)]
        count += feed(state, part, state[S_GAIN], coeffs, out_sample[count:], out_decided[count:])
        left -= part.size
    if state[S_LEARNED] == 0.0 and qrs_learning.learn_early(state):
        state[S_LEARNED] = 1.0
        count = qrs_learning.second_look(state, coeffs, int(end), count, out_sample, out_decided)
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    while state[S_LEARNED] > 0.0 and state[S_PENDING] > 0.0:
        if noise[N_MODE] == BY_HEIGHT:
            position = qrs_threshold.look_back(state, coeffs, ended=True)
        else:
            noise[N_MODE] = LEAVING
            position = qrs_noise_mode.next_beat(state, coeffs)
        if position >= 0:
            out_sample[count] = position
            count += 1
    state[S_PENDING] = 0.0
    state[S_N] = end
    kept = 0
    for i in range(count):
        if out_sample[i] < end:
            out_sample[kept] = out_sample[i]
            out_decided[kept] = int(end)
            kept += 1
    return kept


@jit
def restart(state: F64, keep_levels: Flag) -> None:
    """Begin a new segment at position 0 after a gap.

    Parameters
    ----------
    state : float64[STATE]
    keep_levels : bool
        Keep what was learnt of the amplitude of beats and of the usual interval; otherwise all is learnt
        anew.
    """
    state[S_IN_NOISE:S_CAND_J].view(np.int16)[N_MODE] = BY_HEIGHT
    learned = state[S_LEARNED] > 0.0 and keep_levels
    rate = state[S_RATE]
    gain = state[S_GAIN]
    work = state[S_WORK]
    first = S_BEATS if learned else 0
    for i in range(first):
        state[i] = 0.0
    if learned:
        state[S_LEARNED] = 1.0
        for i in range(S_CAND_J, STATE):
            state[i] = 0.0
    else:
        for i in range(STATE):
            state[i] = 0.0
    state[S_RATE] = rate
    state[S_GAIN] = gain
    state[S_WORK] = work
    state[S_CHECK] = NEVER
    state[S_FALLING] = 1.0


@jit
def settled(state: F64, coeffs: F64) -> float:
    """Give the position, in samples, up to which all beats have been decided."""
    if state[S_LEARNED] == 0.0:
        # Three seconds that taught nothing had no beat: a flat lead is a lead without beats.
        return float(state[S_LEARN_J] * coeffs[C_GROUP])
    if state[S_IN_NOISE:S_CAND_J].view(np.int16)[N_MODE] != BY_HEIGHT:
        decided = qrs_noise_mode.looked(state, coeffs) - np.floor(qrs_noise_mode.WAIT_S * coeffs[C_WORK])
        return float(max(decided, 0.0) * coeffs[C_GROUP])
    if state[S_PENDING] > 0.0:
        return float(state[S_CAND_X])
    wait = coeffs[C_DELAY] + np.floor(CONFIRM_S * coeffs[C_WORK]) + np.floor(HALF_S * coeffs[C_WORK]) + 1.0
    peak = state[S_J] - wait
    if state[S_FALLING] == 0.0:
        peak = min(peak, state[S_PEAK_J] - coeffs[C_DELAY] - np.floor(HALF_S * coeffs[C_WORK]))
    return float(max(peak, 0.0) * coeffs[C_GROUP])
