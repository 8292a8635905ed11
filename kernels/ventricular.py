"""Ventricular fibrillation, flutter and tachycardia from the waveform of one lead: causal, bounded memory.

Every half second the last eight seconds are judged by `kernels.fibrillation_features` and two logistic models
(fitted by ``python -m bench.accuracy.ventricular --fit``; their coefficients are `MODELS`):

- *ventricular*: fibrillation, flutter or tachycardia against everything else;
- *fibrillation*: fibrillation or flutter against everything else but tachycardia.

A window is looked at only when its line moves all the time (mean slope over steepest slope, known from sums kept
for each half second): 1 % of the windows of mitdb, 98 % of those of vfdb and cudb in fibrillation, 94 % in
tachycardia. And only when its amplitude is over `FLOOR_UV`: asystole and a lead that is off are not fibrillation
(clinical reference, section 4.5; a QRS detector has such a floor too).

A fast tachycardia and flutter are not told apart by the waveform of one lead: 95 % of the time of tachycardia in
vfdb is called fibrillation, 1 % tachycardia. A model of one against the other, cross-validated by record, kept
91 % of the fibrillation and still called 56 % of the tachycardia so; class and regularity of beats must tell.

An episode begins where the smoothed score passes a threshold and ends where it falls under a lower one. The
score of a window speaks of its middle: onset and end are put before the decision by as much, and the moment of
decision is given beside.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I16, I64
from kernels.fibrillation_features import (
    BLOCKS,
    FEATURES,
    SCRATCH,
    WINDOW_S,
    amplitude_uv,
    features,
    steep_share,
)

__all__ = [
    "FIBRILLATION",
    "FLOOR_UV",
    "MODELS",
    "NO_ROOM",
    "STATE",
    "TACHYCARDIA",
    "WORK",
    "close",
    "follow",
    "max_events",
]

# ---- Kinds of episode.
FIBRILLATION = 1  # or flutter
TACHYCARDIA = 2

FLOOR_UV = 120.0
_GATE_MOVES = 0.15
_TINY = 1e-9
_WORK_HZ = 64.0  # highest rate after decimation: 8 s are then at most 512 samples
_BASELINE_HZ = 1.0
_NO = -8.0  # score of a window that is not judged

# ---- State: positions in the float64 row. All zero is a new segment.
S_HELD = 0  # newest decimated sample
S_JUDGED = 1  # 1: the newest window was judged by the models
S_HP1 = 2
S_HP2 = 3
S_WINDOWS = 4  # full windows so far
S_K = 5  # decimated samples so far
S_TICKS = 6  # half seconds so far
S_SCORE_V = 7  # smoothed
S_SCORE_F = 8
S_OPEN = 9  # kind of the open episode, 0 none
S_ONSET = 10  # in averaged samples
S_DECIDED = 11
S_BEST = 12  # highest smoothed score of the episode
S_RAW_V = 13  # of the newest window, for whoever looks
S_RAW_F = 14
S_END = 15  # samples in the window's room
S_STEEPEST = 16  # slope of the half second so far
S_SLOPES = 17  # their sum
S_NEWEST = 18  # newest sample of the window
S_BLOCKS = 19  # int32[16, 2]: steepest and sum of the last 16 half seconds
S_RING = S_BLOCKS + BLOCKS
_HALF_SECOND = 33  # at most
_ROOM = 544  # of which the last 8 s are the window
STATE = S_RING + _ROOM // 4
"""Length of the state of one stream, float64."""

_MOST_EVERY = 4
_X_HALF = SCRATCH  # a half second: as it comes, int16, decimated, and its steps weighted in two ways
_X_DECIMATED = _X_HALF + (_HALF_SECOND * _MOST_EVERY + 4) // 4
_X_STEPS = _X_DECIMATED + _HALF_SECOND
_X_FIGURES = _X_STEPS + 2 * _HALF_SECOND
WORK = _X_FIGURES + FEATURES
"""Length of what is written on, and of no use afterwards: the figures of the newest window that was judged are last."""

NO_ROOM = -2
"""What `follow` returns instead of a count."""

# ---- Models, one row each (ventricular, fibrillation): a weight for each figure, then the constant.
MODELS = np.array(
    [
        [
            0.85904,
            1.28187,
            -1.99525,
            4.28772,
            14.84494,
            0.6216,
            -11.4198,
            42.03395,
            0.51289,
            3.58516,
            -2.78395,
            2.38947,
            0.31859,
            -30.00354,
        ],
        [
            0.72096,
            0.5536,
            -1.46041,
            4.2903,
            14.2441,
            1.28442,
            -12.96392,
            48.20707,
            0.45491,
            5.71243,
            -3.33687,
            3.06623,
            0.20994,
            -32.31896,
        ],
    ]
)
MODELS.flags.writeable = False

# ---- Decision, on scores (logarithms of odds) by a plateau of the cross-validation: enter 0.25 to 0.5 and leave -1.5
# to -1 all reach the goals. The same for both models.
_SMOOTH = 0.5  # weight of the newest score
_ENTER = 0.5
_LEAVE = -1.0


@jit
def max_events(averaged: int, work_hz: float) -> int:
    """Bound of the number of events that so many averaged samples can bring: two for each half second."""
    return 2 * (int(2.0 * averaged / work_hz) + 2)


@jit
def _decimate(
    state: F64, ring: I16, offset_uv: float, count: int, every: int, span: I16, decimated: F64
) -> None:
    """Take one of every few samples, `count` of them."""
    j = int(state[S_K]) * every
    mask = ring.size - 1
    at = j & mask
    n = count * every
    span[0] = ring[max(j - 1, 0) & mask]
    to = span[1:]
    early = ring[at : at + n]
    for i in range(early.size):
        to[i] = early[i]
    to = to[early.size :]
    for i in range(n - early.size):
        to[i] = ring[i]
    scale = 1.0 / (2.0 * every)
    # A triangle at both ends: 1 2 1 for every second sample, 1 2 2 1 for every third. Mains would fold otherwise.
    if every == 2:
        for i in range(count):
            total = (
                np.int32(span[2 * i]) + np.int32(2) * np.int32(span[2 * i + 1]) + np.int32(span[2 * i + 2])
            )
            decimated[i] = total * scale + offset_uv
        return
    for i in range(count):
        total = np.int32(span[i * every]) + np.int32(span[(i + 1) * every])
        for m in range(1, every):
            total += np.int32(2) * np.int32(span[i * every + m])
        decimated[i] = total * scale + offset_uv


@jit
def _append(
    state: F64, ring: I16, offset_uv: float, count: int, every: int, rate_hz: float, work: F64
) -> None:
    """Decimate `count` samples more, take the baseline off, put them at the end of the window."""
    if count == 0:
        return
    decimated, once = work[_X_DECIMATED:_X_STEPS], work[_X_STEPS : _X_STEPS + _HALF_SECOND]
    twice = work[_X_STEPS + _HALF_SECOND : _X_FIGURES]
    span = work[_X_HALF:_X_DECIMATED].view(np.int16)
    _decimate(state, ring, offset_uv, count, every, span, decimated)
    keep = np.exp(-2.0 * np.pi * _BASELINE_HZ / rate_hz)
    if state[S_K] == 0.0:
        state[S_HELD] = decimated[0]
    # Two high-passes of first order, one after the other, v[i] = keep * (v[i - 1] + u[i] - u[i - 1]): written so that
    # a sample waits for one multiplication and addition of the sample before, not for three.
    once[0] = keep * (decimated[0] - state[S_HELD])
    for i in range(1, count):
        once[i] = keep * (decimated[i] - decimated[i - 1])
    for i in range(count):
        twice[i] = keep * once[i]
    state[S_HELD] = decimated[count - 1]
    one, two, rest = state[S_HP1], state[S_HP2], keep * (keep - 1.0)
    for i in range(count):
        two = keep * two + (rest * one + twice[i])
        one = keep * one + once[i]
        decimated[i] = two
    state[S_HP1], state[S_HP2] = one, two
    end = int(state[S_END])
    room = state[S_RING : S_RING + _ROOM // 4].view(np.int16)[end : end + count]
    for i in range(count):
        room[i] = np.int16(min(max(np.floor(decimated[i] + 0.5), -32767.0), 32767.0))
    steepest = slopes = np.int32(abs(np.int32(room[0]) - np.int32(state[S_NEWEST])))
    for i in range(1, count):
        slope = abs(np.int32(room[i]) - np.int32(room[i - 1]))
        steepest = max(steepest, slope)
        slopes += slope
    state[S_STEEPEST] = max(state[S_STEEPEST], float(steepest))
    state[S_SLOPES] += float(slopes)
    state[S_NEWEST] = room[count - 1]
    state[S_K] += count
    state[S_END] = end + count


@jit
def _end_half_second(state: F64, width: int) -> None:
    """Keep the slopes of the half second; make room for the next one at the end of the window."""
    blocks = state[S_BLOCKS:S_RING].view(np.int32)
    at = 2 * (int(state[S_TICKS]) & (BLOCKS - 1))
    blocks[at] = np.int32(state[S_STEEPEST])
    blocks[at + 1] = np.int32(state[S_SLOPES])
    state[S_STEEPEST] = state[S_SLOPES] = 0.0
    state[S_TICKS] += 1.0
    end = int(state[S_END])
    if end + _HALF_SECOND > _ROOM:
        # Four samples at a time: it is the time of a quiet lead.
        words = (end - width) // 4
        kept = state[S_RING + words : S_RING + (end + 3) // 4]
        to = state[S_RING : S_RING + kept.size]
        for i in range(kept.size):
            to[i] = kept[i]
        state[S_END] = end - 4 * words


@jit
def _moves(state: F64, rate_hz: float) -> bool:
    """Say whether the line moves enough to be looked at: mean slope over steepest slope, in four parts of 2 s."""
    blocks = state[S_BLOCKS:S_RING].view(np.int32)
    first = int(state[S_TICKS])
    total = 0.0
    for part in range(4):
        steepest = slopes = np.int32(0)
        for i in range(4):
            at = 2 * ((first + 4 * part + i) & (BLOCKS - 1))
            steepest = max(steepest, blocks[at])
            slopes += blocks[at + 1]
        total += slopes / (steepest + _TINY)
    return total >= _GATE_MOVES * 8.0 * rate_hz


@jit
def _score(figures: F64, models: F64, model: int) -> float:
    total = models[model, FEATURES]
    for i in range(FEATURES):
        total += models[model, i] * figures[i]
    return min(max(total, _NO), -_NO)


@jit
def _judge(state: F64, models: F64, work: F64, rate_hz: float, width: int) -> None:
    """Score the window as it stands."""
    scratch, out = work[:SCRATCH], work[_X_FIGURES:WORK]
    v = f = _NO
    state[S_JUDGED] = 0.0
    if _moves(state, rate_hz):
        end = int(state[S_END])
        window = state[S_RING : S_RING + _ROOM // 4].view(np.int16)[end - width : end]
        amplitude = amplitude_uv(window, scratch)
        if amplitude >= FLOOR_UV:
            features(window, rate_hz, amplitude, steep_share(window), scratch, out)
            v = _score(out, models, 0)
            f = _score(out, models, 1)
            state[S_JUDGED] = 1.0
    state[S_RAW_V] = v
    state[S_RAW_F] = f


@jit
def _decide(state: F64) -> int:
    """Give the kind that holds now, with hysteresis."""
    kind = int(state[S_OPEN])
    v, f = state[S_SCORE_V], state[S_SCORE_F]
    if f >= _ENTER or (kind == FIBRILLATION and f >= _LEAVE):
        return FIBRILLATION
    if v >= _ENTER or (kind != 0 and v >= _LEAVE):
        return TACHYCARDIA
    return 0


@jit
def _emit(
    state: F64,
    end: int,
    at: int,
    out_kind: I64,
    out_onset: I64,
    out_end: I64,
    out_decided: I64,
    out_confidence: F64,
) -> None:
    out_kind[at] = int(state[S_OPEN])
    out_onset[at] = int(state[S_ONSET])
    out_end[at] = end
    out_decided[at] = int(state[S_DECIDED])
    out_confidence[at] = 1.0 / (1.0 + np.exp(-state[S_BEST]))


@jit
def follow(
    state: F64,
    ring: I16,
    offset_uv: float,
    j_to: int,
    work_hz: float,
    models: F64,
    work: F64,
    out_kind: I64,
    out_onset: I64,
    out_end: I64,
    out_decided: I64,
    out_confidence: F64,
) -> int:
    """Take the averaged samples of a segment up to `j_to` and give what begins and ends.

    Parameters
    ----------
    state : float64[STATE]
        All that is remembered of the segment, changed in place; zeros for a new segment.
    ring : int16[power of two]
        Averaged samples, microvolts: number ``j`` of the segment is at ``j & (ring.size - 1)``. It must still hold
        all samples since the last call, and the one before them.
    offset_uv : float
        What the ring leaves out of all its samples at present, microvolts.
    j_to : int
        Number of averaged samples of the segment so far.
    work_hz : float
        Their rate, 100 to 240.
    models : float64[2, FEATURES + 1]
        `MODELS`, or others in a cross-validation.
    work : float64[WORK]
        Written on.
    out_kind, out_onset, out_end, out_decided : int64[], out_confidence : float64[]
        Receive the events: FIBRILLATION or TACHYCARDIA, onset, end (-1 while it lasts), moment of decision, all
        in averaged samples, and the probability by the model, at its highest so far. An episode is given when it
        begins and again when it ends.

    Returns
    -------
    int
        Number of events, or NO_ROOM: nothing is taken then.
    """
    every = int(np.ceil(work_hz / _WORK_HZ))
    rate_hz = work_hz / every
    width = int(WINDOW_S * rate_hz)
    target = j_to // every
    room = max_events(j_to - int(state[S_K]) * every, work_hz)
    if min(out_kind.size, out_onset.size, out_end.size, out_decided.size, out_confidence.size) < room:
        return NO_ROOM
    count = 0
    while state[S_K] < target:
        k = int(state[S_K])
        boundary = int((state[S_TICKS] + 1.0) * 0.5 * rate_hz)
        _append(state, ring, offset_uv, min(target, boundary) - k, every, rate_hz, work)
        if state[S_K] < boundary:
            break
        _end_half_second(state, width)
        if boundary < width:
            continue
        _judge(state, models, work, rate_hz, width)
        share = _SMOOTH if state[S_WINDOWS] > 0.0 else 1.0
        state[S_SCORE_V] += share * (state[S_RAW_V] - state[S_SCORE_V])
        state[S_SCORE_F] += share * (state[S_RAW_F] - state[S_SCORE_F])
        kind = _decide(state)
        now = boundary * every
        if kind != int(state[S_OPEN]):
            # The score speaks of the middle of the window, and of all of it when it is the first; smoothed, it enters
            # a second late (cross-validated: 0.8 points of sensitivity for 0.1 of specificity).
            back = width // 2
            if state[S_OPEN] == 0.0:
                back += int(rate_hz)
            edge = (boundary - back) * every if state[S_WINDOWS] > 0.0 else 0
            if state[S_OPEN] > 0.0:
                edge = max(edge, int(state[S_ONSET]))
                _emit(state, edge, count, out_kind, out_onset, out_end, out_decided, out_confidence)
                count += 1
            state[S_OPEN] = kind
            state[S_ONSET] = edge
            state[S_DECIDED] = now
            state[S_BEST] = state[S_SCORE_F] if kind == FIBRILLATION else state[S_SCORE_V]
            if kind != 0:
                _emit(state, -1, count, out_kind, out_onset, out_end, out_decided, out_confidence)
                count += 1
        elif kind != 0:
            state[S_BEST] = max(state[S_BEST], state[S_SCORE_F] if kind == FIBRILLATION else state[S_SCORE_V])
        state[S_WINDOWS] += 1.0
    return count


@jit
def close(
    state: F64,
    j_end: int,
    out_kind: I64,
    out_onset: I64,
    out_end: I64,
    out_decided: I64,
    out_confidence: F64,
) -> int:
    """End the open episode at the end of a segment, `j_end`; give the number of events, 0 or 1."""
    if state[S_OPEN] == 0.0:
        return 0
    _emit(state, j_end, 0, out_kind, out_onset, out_end, out_decided, out_confidence)
    state[S_OPEN] = 0.0
    return 1
