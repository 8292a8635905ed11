"""Streaming detection of QRS complexes in one ECG lead: causal, bounded memory, any cut of the stream.

The steps are those of the open literature, put together for a stream:

- band-pass around the energy of the QRS, rectify, average over the width of a QRS (Hamilton 2002, Open Source
  ECG Analysis; Elgendi 2010 for the band of 8 to 20 Hz);
- every local maximum of that feature that stays the highest for 200 ms is a *candidate*, compared with a
  threshold between the levels of the last eight beats and of the last eight other candidates (Pan and
  Tompkins 1985; the median of eight is Hamilton's);
- a candidate within 330 ms of a beat whose steepest slope is under 0.6 of that beat's is a T wave (Pan and
  Tompkins have 360 ms and half); within 500 ms where noise is high;
- when no beat came for 1.5 mean RR intervals, the highest candidate since is looked at again with 0.7 of the
  threshold (search-back, both papers). Deviation: a candidate is looked at again at the latest 0.9 s after it
  happened, so that every beat is decided within 1 s, and after 2.5 s without a beat the threshold is a
  quarter: a lead whose amplitude drops must not stay silent;
- no complex under 150 µV peak to peak is a beat, however low the thresholds have adapted: noise during
  asystole must not be counted (clinical reference, section 4.2);
- where most of what is high is like no beat of quiet minutes, and yet something is clearly like one, beats are
  judged by their shape (`kernels.qrs_noise`), each 0.9 s after it; by height again when noise has gone, or when
  nothing was clearly like a beat for 2 s, for then it may be another rhythm: tachycardia and fibrillation are
  never waited for in vain. It begins only where five of eight beats of the last minutes are alike.

The samples are first averaged in groups so that the filters run at 100 to 240 Hz whatever the rate.
Everything is then computed once for each group, in the order of the samples, from a state that holds all that
is remembered: results cannot depend on how the samples were cut.

When the signal is lost the filters start anew and levels are kept: at the rails of the 16-bit range for
100 ms or more (lead-off, saturation, the -32768 of WFDB's invalid samples), or after 1 s or more of one and
the same value. A loss at the rails is also a *break*: no RR interval is measured across it.
"""

import numpy as np

from kernels import qrs_noise
from kernels._jit import jit
from kernels._types import F64, I16, I64, Flag
from kernels.fma import fma
from kernels.stack import stack

__all__ = [
    "BAD_GAIN",
    "COEFFS",
    "FINISH_ROOM",
    "FLAT_S",
    "NO_ROOM",
    "N_MODE",
    "RING",
    "STATE",
    "S_IN_NOISE",
    "S_J",
    "S_RING",
    "S_SHAPES",
    "feed",
    "finish",
    "max_beats",
    "refused_share",
    "restart",
    "settled",
]


# ---- What `feed` returns instead of a count.
NO_ROOM = -2
BAD_GAIN = -4

# ---- Coefficients for one rate (made by engine.ecg_design): positions in a float64[COEFFS].
C_RATE = 0  # Hz
C_GROUP = 1  # samples averaged into one
C_WORK = 2  # Hz, after averaging
C_WIDTH = 3  # averaged samples in the moving average, at most _M_RING
C_DELAY = 4  # averaged samples from an R peak to the maximum of the feature
C_SOS = 5  # b0, b1, b2, a1, a2 of each of two second-order sections
COEFFS = C_SOS + 10
"""Length of the array of coefficients."""

# ---- Parameters of detection. Times in seconds.
_CONFIRM_S = 0.2  # a candidate has been the highest for so long
_REFRACTORY_S = 0.2
_T_WAVE_S = 0.33
_T_WAVE_NOISY_S = (
    0.5  # where noise is high, what follows a beat closely must be as steep as a beat for longer
)
_NOISY = 0.25  # level of noise, of that of beats: clean records have less, noise of electrodes more
_T_WAVE_SLOPE = 0.6
_THRESHOLD = 0.32  # between the levels of noise (0) and of beats (1)
_BACK_S = 0.36  # nothing closer to the last beat is looked at again
_BACK_RR = 1.5
_BACK_SHARE = 0.7
_LATE_S = 2.5
_LATE_SHARE = 0.25
_AGE_S = 0.9
_AGE_RR = 0.35  # a candidate judged by age alone is as much of an RR after the last beat: T waves are earlier
_END_RR = 0.9  # the same where the segment ends: nothing that follows can outdo what is not a beat
_OUTLIER = 2.0  # one complex raises the level of beats by that factor at most
_HALF_S = 0.08  # half width in which a complex is measured
_FLOOR_UV = 150.0  # peak to peak
_LEVEL_UV = 8.0  # lowest threshold of the feature; a complex of 150 µV gives about 20
_LEARN_S = 3
_RR_MAX_S = 3.0  # a longer interval is a pause: it does not teach the usual interval
# In noise.
_FOLLOW = 0.125  # the level of quiet follows a beat by that
_CALM = (
    0.12  # level of noise, of that of beats: all that is taken for a beat then teaches what a beat is like
)
_HIGH = 0.35  # of the level of quiet: a maximum so high that is no beat is noise; T waves are lower
_ALL = 4096
_MIXED = _ALL * 35 // 100  # more that is strange than that, and beats teach in calm alone
_STRANGE = _ALL * 60 // 100  # more, and beats are judged by shape: mitdb without its noise stays under it
_QUIET = _ALL * 15 // 100  # less, and they are judged by height again
_NEAR = 3  # taps about a maximum of the feature in which a likeness is looked for
_LOOK_S = 0.05  # shapes are compared so often
_APART_S = 0.1  # a candidate by shape is the best of so long
_WAIT_S = 0.8  # and is decided that long after it
_LIKE = 1.0  # logarithm of likeness: not strange
_STILL_CLEAR = 2.1  # likeness
_UNCLEAR_S = 2.0  # no candidate so clear for that long, and height judges again: it may be another rhythm
BAD_S = 0.1
FLAT_S = 1.0
_RAIL = 32767

# ---- State: positions in the float64 row. All zero is a new stream.
S_RATE = 0
S_GAIN = 1
S_N = 2  # samples taken since the start of the segment
S_PHASE = 3  # samples in the group being averaged
S_ACC = 4  # their sum, less base
S_BASE = 5  # sample value taken as zero
S_HELD = 6  # newest valid sample
S_BAD = 7  # length of the run at the rails
S_SAME = 8  # length of the run of equal samples
S_BREAK = 9  # position just after the newest loss of signal
S_J = 10  # averaged samples since the start of the segment
S_SUM = 11  # of the moving average, whole number
S_AT = 12  # position of its oldest in its ring: 0 from the first step on
S_PEAK = 14  # highest S_SUM since it rose
S_PEAK_J = 15
S_FALLING = 16
S_LEARNED = 17
S_LEARN_J = 18  # where learning began
S_LAST = 19  # J of the last beat, or of the start of the signal
S_HAS_LAST = 20  # 1: S_LAST is a beat
S_LAST_SLOPE = 21
S_PENDING = 22  # number of candidates
S_CHECK = 23  # J at which candidates are looked at again
S_LEARN_MAX = 24  # 3
S_WORK = 27  # Hz, of the averaged samples
S_Z = 28  # 2 for each section
S_BEATS = S_Z + 4  # feature of the last 8 beats
S_NOISE = S_BEATS + 8
S_RR = (
    S_NOISE + 8
)  # int16[8]: the last intervals, averaged samples; whole numbers, so that comparisons are exact
S_SHAPES = S_RR + 2  # int16[SHAPES] of `kernels.qrs_noise`
S_IN_NOISE = S_SHAPES + qrs_noise.SHAPES // 4  # int16[8]
N_MODE = 0  # how candidates are judged: _BY_HEIGHT, _BY_SHAPE or _LEAVING
N_LEVEL = 1  # usual height of quiet beats, µV
N_INTERVAL = 4  # usual interval of quiet beats, averaged samples
N_SPREAD = 5  # how far quiet intervals are from it, usually
N_UNCLEAR = 2  # looks since a candidate was clearly like a beat; by height 1: the last beat was not like one
N_STRANGE = 3  # share of beats and high maxima of the feature that were like no beat of quiet; _ALL is all
_CANDIDATES = 16
S_CAND_J = S_IN_NOISE + 2
S_CAND_H = S_CAND_J + _CANDIDATES
S_CAND_S = S_CAND_H + _CANDIDATES
S_CAND_X = S_CAND_S + _CANDIDATES  # R peak in samples
_M_RING = 32
S_M_RING = S_CAND_X + _CANDIDATES
S_OFFSET = S_M_RING + _M_RING  # microvolts that the ring leaves out
S_RING = S_OFFSET + 3  # two are free
RING = 1024
"""Averaged samples kept, int16 microvolts, in ``row[S_RING : S_RING + RING // 4].view(np.int16)``: 4.3 s at 240 Hz.

Averaged sample ``j`` is at index ``j & (RING - 1)``, its middle is at position ``j * group + (group - 1) / 2`` of the
segment, and ``row[S_J]`` is the next ``j``. Saturating. Only differences have a meaning: a constant is left out, and
may change for all of the ring at once. After a loss of signal what was before reads zero.
"""
STATE = S_RING + RING // 4
"""Length of the state of one stream, float64."""

FINISH_ROOM = 64
"""Length that the outputs of `finish` need."""

_NEVER = 1e15
_BY_HEIGHT = 0
_BY_SHAPE = 1
_LEAVING = 2
_CENTRE_UV = 8192  # the ring is centred again when the signal has gone farther from its middle
_BLOCK = 64  # averaged samples at once: half a second, mostly
_X_BLOCK = 2 * _BLOCK + _M_RING  # float64 of them, and of their moving sum
_X_AFTER = _BLOCK // 4  # float64 that hold a block of int16
_CENTRE_STEPS = 128  # looked at every so many averaged samples, so that no signal makes it costly


@jit
def max_beats(n: int, rate: float) -> int:
    """Bound of the number of beats that `n` samples can bring, candidates kept from before included."""
    return _CANDIDATES + 2 + int(n / (_REFRACTORY_S * rate))


@jit
def _sorted4(a: float, b: float, c: float, d: float) -> tuple[float, float, float, float]:
    a, b = min(a, b), max(a, b)
    c, d = min(c, d), max(c, d)
    a, c = min(a, c), max(a, c)
    b, d = min(b, d), max(b, d)
    return a, min(b, c), max(b, c), d


@jit
def _median8(state: F64, at: int) -> float:
    """Median of the eight values from `at`: mean of the middle two, without a branch."""
    a, b, c, d = _sorted4(state[at], state[at + 1], state[at + 2], state[at + 3])
    e, f, g, h = _sorted4(state[at + 4], state[at + 5], state[at + 6], state[at + 7])
    # Of two sorted fours, the lower half is the lower of each pair put head to tail.
    low = max(min(a, h), min(b, g), min(c, f), min(d, e))
    high = min(max(a, h), max(b, g), max(c, f), max(d, e))
    return 0.5 * float(low + high)


@jit
def refused_share(state: F64) -> float:
    """Give the usual height of what was refused as a beat, of the height of beats: low in a clean signal."""
    beats = _median8(state, S_BEATS)
    return _median8(state, S_NOISE) / beats if beats > 0.0 else 0.0


@jit
def _push8(state: F64, at: int, value: float) -> None:
    for i in range(at, at + 7):
        state[i] = state[i + 1]
    state[at + 7] = value


@jit
def _threshold(state: F64) -> float:
    noise = _median8(state, S_NOISE)
    level = noise + _THRESHOLD * (_median8(state, S_BEATS) - noise)
    return max(level, _LEVEL_UV)


@jit
def _eight_rr(state: F64) -> float:
    """Sum of the last eight intervals, averaged samples."""
    intervals = state[S_RR:S_SHAPES].view(np.int16)
    total = 0
    for i in range(8):
        total += int(intervals[i])
    return float(total)


@jit
def _drop_candidates(state: F64, first: int) -> None:
    """Forget the candidates before `first`."""
    count = int(state[S_PENDING])
    for i in range(first, count):
        k = i - first
        state[S_CAND_J + k] = state[S_CAND_J + i]
        state[S_CAND_H + k] = state[S_CAND_H + i]
        state[S_CAND_S + k] = state[S_CAND_S + i]
        state[S_CAND_X + k] = state[S_CAND_X + i]
    state[S_PENDING] = max(count - first, 0)


@jit
def _is_t_wave(state: F64, i: int, since: float, work: float) -> bool:
    window = _T_WAVE_NOISY_S if refused_share(state) > _NOISY else _T_WAVE_S
    return since < window * work and state[S_CAND_S + i] < _T_WAVE_SLOPE * state[S_LAST_SLOPE]


@jit
def _mark(state: F64, i: int, work: float) -> int:
    """Make candidate `i` a beat, forget it and those before it; give its R peak."""
    j = state[S_CAND_J + i]
    if state[S_HAS_LAST] > 0.0:
        rr = j - state[S_LAST]
        if rr < _RR_MAX_S * work:
            intervals = state[S_RR:S_SHAPES].view(np.int16)
            for k in range(7):
                intervals[k] = intervals[k + 1]
            intervals[7] = int(rr)
    state[S_LAST] = j
    state[S_HAS_LAST] = 1.0
    position = int(state[S_CAND_X + i])
    _drop_candidates(state, i + 1)
    return position


@jit
def _count_strange(noise: I16, strange: Flag) -> None:
    noise[N_STRANGE] += ((_ALL if strange else 0) - int(noise[N_STRANGE])) >> 3


@jit
def _accept(state: F64, i: int, level: float, work: float) -> int:
    """Make candidate `i` a beat as `_mark` does, and teach the levels and, in quiet, the shapes."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    beats, refused = _median8(state, S_BEATS), _median8(state, S_NOISE)
    least = min(beats, float(noise[N_LEVEL])) if noise[N_LEVEL] > 0 else beats
    if refused <= _CALM * beats or (noise[N_STRANGE] <= _MIXED and refused <= _NOISY * least):
        ring = state[S_RING : S_RING + RING // 4].view(np.int16)
        shapes = state[S_SHAPES:S_IN_NOISE].view(np.int16)
        like = qrs_noise.learn(ring, shapes, int(state[S_CAND_J + i]), qrs_noise.spacing(work))
        _count_strange(noise, not like)
        height = min(state[S_CAND_H + i], float(_RAIL))
        usual = float(noise[N_LEVEL])
        noise[N_LEVEL] = int(usual + (height - usual) * (_FOLLOW if usual > 0.0 else 1.0) + 0.5)
        rr = state[S_CAND_J + i] - state[S_LAST]
        # Between two beats that are like beats: what noise puts between them, as it begins, teaches nothing.
        alike = like and noise[N_UNCLEAR] == 0 and noise[N_STRANGE] < _QUIET
        noise[N_UNCLEAR] = 0 if like else 1
        if alike and state[S_HAS_LAST] > 0.0 and rr < _RR_MAX_S * work:
            usual = float(noise[N_INTERVAL]) if noise[N_INTERVAL] > 0 else rr
            noise[N_INTERVAL] = int(usual + (rr - usual) * _FOLLOW + 0.5)
            spread = float(noise[N_SPREAD])
            noise[N_SPREAD] = int(spread + (abs(rr - usual) - spread) * _FOLLOW + 0.5)
    _push8(state, S_BEATS, level)
    state[S_LAST_SLOPE] = state[S_CAND_S + i]
    return _mark(state, i, work)


@jit
def _plan_check(state: F64, coeffs: F64) -> None:
    """Set the step at which the candidates are looked at again."""
    work = coeffs[C_WORK]
    check = _NEVER
    if state[S_PENDING] > 0.0:
        check = state[S_CAND_J] + np.floor(_AGE_S * work)
        back = state[S_LAST] + coeffs[C_DELAY] + 1.0
        back += np.floor(_BACK_RR * 0.125 * _eight_rr(state)) + np.floor(_CONFIRM_S * work)
        # Looked at once when that moment comes; from then on with each new candidate.
        if state[S_J] < back < check:
            check = back
    state[S_CHECK] = check


@jit
def _look_back(state: F64, coeffs: F64, ended: Flag) -> int:
    """Look at the pending candidates again with a lower threshold; give an R peak or -1."""
    count = int(state[S_PENDING])
    if count == 0:
        return -1
    work = coeffs[C_WORK]
    j = state[S_J]
    last = state[S_LAST]
    elapsed = j - last - coeffs[C_DELAY] - np.floor(_CONFIRM_S * work)
    eight = _eight_rr(state)
    overdue = 8.0 * elapsed > _BACK_RR * eight
    aged = ended or j >= state[S_CAND_J] + np.floor(_AGE_S * work)
    share_rr = _END_RR if ended else _AGE_RR
    if not overdue and not (aged and 8.0 * (state[S_CAND_J] - last) >= share_rr * eight):
        if aged:
            _drop_candidates(state, 1)
        return -1
    share = _LATE_SHARE if elapsed > _LATE_S * work else _BACK_SHARE
    least = max(_threshold(state) * share, _LEVEL_UV)
    best = -1
    height = 0.0
    for i in range(count):
        h = state[S_CAND_H + i]
        if state[S_CAND_J + i] - last > _BACK_S * work and h > least and h > height:
            height = h
            best = i
    if best >= 0:
        if share == _LATE_SHARE:
            # The amplitude has dropped: levels follow at once, not after four more such beats.
            for _ in range(4):
                _push8(state, S_BEATS, height)
        return _accept(state, best, height, work)
    if aged:
        _drop_candidates(state, 1)
    return -1


@jit
def _feature(total: float, coeffs: F64) -> float:
    """Give the feature, microvolts, of a moving sum in 1/256 µV: a division that only what is judged needs."""
    return total / (256.0 * coeffs[C_WIDTH])


@jit
def _measure(state: F64, coeffs: F64) -> bool:
    """Measure the complex just confirmed; add it to the candidates unless it is too small."""
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    work = coeffs[C_WORK]
    group = coeffs[C_GROUP]
    j = int(state[S_J])
    half = int(_HALF_S * work)
    centre = int(state[S_PEAK_J]) - int(coeffs[C_DELAY])
    first = max(centre - half, j - RING + 1, 0)
    last = min(centre + half, j)
    if last - first < 2:
        return False
    left = float(ring[first & (RING - 1)])
    right = float(ring[last & (RING - 1)])
    tilt = (right - left) / (last - first)
    # The R peak is the farthest from the line through the ends: baseline wander is such a line.
    farthest = -1.0
    at = first
    slope = 0.0
    low = high = before = left
    for i in range(first, last + 1):
        x = float(ring[i & (RING - 1)])
        away = abs(x - left - tilt * (i - first))
        if away > farthest:
            farthest = away
            at = i
        slope = max(slope, abs(x - before))
        low = min(low, x)
        high = max(high, x)
        before = x
    if high - low < _FLOOR_UV:
        return False
    shift = 0.0
    if first < at < last:
        # Vertex of the parabola through the peak and its neighbours.
        a = float(ring[(at - 1) & (RING - 1)])
        b = float(ring[at & (RING - 1)])
        c = float(ring[(at + 1) & (RING - 1)])
        bend = a - 2.0 * b + c
        if bend != 0.0:
            shift = min(max(0.5 * (a - c) / bend, -0.5), 0.5)
    if int(state[S_PENDING]) == _CANDIDATES:
        _drop_candidates(state, 1)
    k = int(state[S_PENDING])
    state[S_CAND_J + k] = at
    state[S_CAND_H + k] = _feature(state[S_PEAK], coeffs)
    state[S_CAND_S + k] = slope
    state[S_CAND_X + k] = np.floor((at + shift) * group + 0.5 * (group - 1.0) + 0.5)
    state[S_PENDING] = k + 1
    return True


@jit
def _classify(state: F64, i: int, coeffs: F64) -> int:
    """Judge candidate `i` by the full threshold; give its R peak or -1."""
    work = coeffs[C_WORK]
    since = state[S_CAND_J + i] - state[S_LAST] if state[S_HAS_LAST] > 0.0 else _NEVER
    h = state[S_CAND_H + i]
    beats = _median8(state, S_BEATS)
    if h > _threshold(state) and since > _REFRACTORY_S * work and not _is_t_wave(state, i, since, work):
        return _accept(state, i, min(h, _OUTLIER * beats), work)
    return -1


@jit
def _learn(state: F64) -> bool:
    """Set the first levels from the highest features of three seconds; False when there is no signal yet."""
    a, b, c = state[S_LEARN_MAX], state[S_LEARN_MAX + 1], state[S_LEARN_MAX + 2]
    middle = max(min(a, b), min(max(a, b), c))
    if middle < _LEVEL_UV:
        return False
    for i in range(8):
        state[S_BEATS + i] = middle
        state[S_NOISE + i] = 0.1 * middle
    return True


@jit
def _learn_early(state: F64) -> bool:
    """Set the first levels where the segment ends before three seconds are full; False as `_learn`."""
    highest = max(state[S_LEARN_MAX], state[S_LEARN_MAX + 1], state[S_LEARN_MAX + 2])
    if state[S_LEARN_MAX + 1] == 0.0:
        state[S_LEARN_MAX + 1] = highest
    if state[S_LEARN_MAX + 2] == 0.0:
        # Of two seconds, the lower: a step of the electrode fills one.
        state[S_LEARN_MAX + 2] = min(state[S_LEARN_MAX], state[S_LEARN_MAX + 1])
    return _learn(state)


@jit
def _second_of(state: F64, j: int, work: float) -> int:
    """Give the second of learning in which averaged sample `j` is."""
    return int((j - state[S_LEARN_J]) / work)


@jit
def _learning_step(state: F64, coeffs: F64, confirmed: Flag) -> bool:
    """Collect a candidate, or end three seconds of learning; True once the levels have been learnt."""
    if confirmed:
        _measure(state, coeffs)
    if _second_of(state, int(state[S_J]), coeffs[C_WORK]) < _LEARN_S:
        return False
    if _learn(state):
        state[S_LEARNED] = 1.0
        return True
    # Nothing like a beat yet: learn from the next three seconds.
    state[S_LEARN_J] = state[S_J]
    state[S_PENDING] = 0.0
    for i in range(_LEARN_S):
        state[S_LEARN_MAX + i] = 0.0
    return False


@jit
def _silence(state: F64) -> None:
    """Clear the rings of signal and feature; levels, beats and candidates stay."""
    for i in range(S_M_RING, STATE):
        state[i] = 0.0


@jit
def _centre(state: F64, ring: I16, by: int) -> None:
    """Take `by` microvolts from all of the ring: electrode offsets drift by more than 16 bits hold."""
    for i in range(RING):
        ring[i] = min(max(int(ring[i]) - by, -_RAIL), _RAIL)
    state[S_OFFSET] += by


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
    state[S_IN_NOISE:S_CAND_J].view(np.int16)[N_MODE] = _BY_HEIGHT
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
    state[S_CHECK] = _NEVER
    state[S_FALLING] = 1.0


@jit
def settled(state: F64, coeffs: F64) -> float:
    """Give the position, in samples, up to which all beats have been decided."""
    if state[S_LEARNED] == 0.0:
        # Three seconds that taught nothing had no beat: a flat lead is a lead without beats.
        return float(state[S_LEARN_J] * coeffs[C_GROUP])
    if state[S_IN_NOISE:S_CAND_J].view(np.int16)[N_MODE] != _BY_HEIGHT:
        decided = _looked(state, coeffs) - np.floor(_WAIT_S * coeffs[C_WORK])
        return float(max(decided, 0.0) * coeffs[C_GROUP])
    if state[S_PENDING] > 0.0:
        return float(state[S_CAND_X])
    wait = coeffs[C_DELAY] + np.floor(_CONFIRM_S * coeffs[C_WORK]) + np.floor(_HALF_S * coeffs[C_WORK]) + 1.0
    peak = state[S_J] - wait
    if state[S_FALLING] == 0.0:
        peak = min(peak, state[S_PEAK_J] - coeffs[C_DELAY] - np.floor(_HALF_S * coeffs[C_WORK]))
    return float(max(peak, 0.0) * coeffs[C_GROUP])


@jit
def _second_look(state: F64, coeffs: F64, now: int, count: int, out_sample: I64, out_decided: I64) -> int:
    """Judge what was collected while learning, in its order; give the new count of beats."""
    i = 0
    while i < int(state[S_PENDING]):
        position = _classify(state, i, coeffs)
        i += 1
        if position >= 0:
            i = 0
            out_sample[count] = position
            out_decided[count] = now
            count += 1
    return count


@jit
def _event(state: F64, coeffs: F64, confirmed: Flag) -> int:
    """Do what a step brings beyond the filters; give an R peak or -1."""
    position = -1
    if confirmed and _measure(state, coeffs):
        newest = int(state[S_PENDING]) - 1
        height = state[S_CAND_H + newest]
        at = int(state[S_CAND_J + newest])
        position = _classify(state, newest, coeffs)
        if position < 0:
            _push8(state, S_NOISE, min(height, _median8(state, S_BEATS)))
            position = _look_back(state, coeffs, ended=False)
        noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
        if position < 0:
            _count_strange(noise, height > _HIGH * float(noise[N_LEVEL]))
        if noise[N_STRANGE] > _STRANGE and _is_clear(state, at, coeffs):
            _judge_by_shape(state, coeffs)
            return position
    elif state[S_J] >= state[S_CHECK]:
        position = _look_back(state, coeffs, ended=False)
    _plan_check(state, coeffs)
    return position


# ---- In noise.


@jit
def _is_clear(state: F64, j: int, coeffs: F64) -> bool:
    """Say whether what is about `j` is clearly like a beat of quiet."""
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    shapes = state[S_SHAPES:S_IN_NOISE].view(np.int16)
    step = qrs_noise.spacing(coeffs[C_WORK])
    best = 0.0
    if qrs_noise.known(shapes):
        for i in range(-_NEAR * step, _NEAR * step + 1):
            best = max(best, qrs_noise.likeness(ring, shapes, j + i, step))
    return best > qrs_noise.CLEAR


@jit
def _judge_by_shape(state: F64, coeffs: F64) -> None:
    """Begin to judge by shape, from where all has been decided on."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    work = coeffs[C_WORK]
    first = state[S_J] - coeffs[C_DELAY] - np.floor((_CONFIRM_S + _HALF_S) * work)
    if state[S_PENDING] > 0.0:
        first = min(first, state[S_CAND_J])
    first = max(first, state[S_LAST] + 1.0)
    state[S_PENDING] = 0.0
    noise[N_MODE] = _BY_SHAPE
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
def _looked(state: F64, coeffs: F64) -> float:
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
        elif k == _CANDIDATES:
            _drop_candidates(state, 1)
            k -= 1
        state[S_CAND_J + k] = j
        state[S_CAND_H + k] = worth
        state[S_CAND_X + k] = np.floor(j * group + 0.5 * (group - 1.0) + 0.5)
        state[S_PENDING] = k + 1


@jit
def _hear_noise(state: F64, coeffs: F64) -> None:
    """Teach the level of noise by a maximum of the feature that no candidate by shape explains."""
    if not _measure(state, coeffs):
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
        level = float(noise[N_LEVEL])
        _push8(state, S_NOISE, min(height, level))
        _count_strange(noise, height > _HIGH * level)


@jit
def _event_in_noise(state: F64, coeffs: F64, confirmed: Flag) -> int:
    """Do what `_event` does while beats are judged by shape; give an R peak or -1."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    if confirmed:
        _hear_noise(state, coeffs)
    if state[S_J] < state[S_CHECK]:
        return -1
    _look(state, coeffs, int(_looked(state, coeffs)))
    if noise[N_UNCLEAR] * _LOOK_S > _UNCLEAR_S:
        noise[N_MODE] = _LEAVING
    elif noise[N_STRANGE] < _QUIET:
        noise[N_MODE] = _LEAVING
        for i in range(8):
            state[S_NOISE + i] = 0.1 * float(noise[N_LEVEL])
    return _next_by_shape(state, coeffs)


@jit
def _next_by_shape(state: F64, coeffs: F64) -> int:
    """Decide the oldest candidates, up to a beat; give its R peak, or -1 when none can be decided now."""
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    intervals = state[S_RR:S_SHAPES].view(np.int16)
    work = coeffs[C_WORK]
    looked = _looked(state, coeffs)
    while state[S_PENDING] > 0.0:
        if noise[N_MODE] == _BY_SHAPE and looked - state[S_CAND_J] < np.floor(_WAIT_S * work):
            return -1
        if qrs_noise.candidate_0_is_a_beat(
            state[S_CAND_J:S_CAND_H],
            state[S_CAND_H:S_CAND_S],
            state[S_CAND_S:S_CAND_X],
            int(state[S_PENDING]),
            state[S_LAST],
            looked,
            intervals,
            np.floor(_REFRACTORY_S * work),
        ):
            _count_strange(noise, state[S_CAND_H] < _LIKE)
            return _mark(state, 0, work)
        _drop_candidates(state, 1)
    if noise[N_MODE] == _LEAVING:
        noise[N_MODE] = _BY_HEIGHT
        noise[N_UNCLEAR] = 1
        state[S_CHECK] = _NEVER
    return -1


@jit
def _meets_rail(samples: I16) -> bool:
    """Whether a sample is at a rail."""
    low = high = samples[0]
    for i in range(samples.size):
        low = min(low, samples[i])
        high = max(high, samples[i])
    return high >= _RAIL or low <= -_RAIL


@jit
def _run(samples: I16, same: int, held: int) -> int:
    """Give the length of the run of equal samples at the end, which goes on from a run of `same` of `held`."""
    i = samples.size - 1
    newest = samples[i]
    while i > 0 and samples[i - 1] == newest:
        i -= 1
    run = samples.size - 1 - i
    return run + same + 1 if i == 0 and newest == held else run


@jit
def _average(samples: I16, group: int, base: int, scale: float, out: F64) -> None:
    """Fill `out` with averages of whole groups, less `base`, microvolts."""
    off = np.int32(group * base)
    if group == 2:  # known to the compiler, it is done with vectors: 240 to 360 Hz
        for i in range(samples.size // 2):
            out[i] = (np.int32(samples[2 * i]) + np.int32(samples[2 * i + 1]) - off) * scale
        return
    for i in range(samples.size // group):
        acc = -off
        for k in range(group):
            acc += np.int32(samples[i * group + k])
        out[i] = acc * scale


@jit
def _whole(micro: float) -> int:
    """Round away from zero, the same for both polarities; saturating."""
    return int(min(max(micro, -32767.0), 32767.0) + (0.5 if micro >= 0.0 else -0.5))


@jit
def _remember(state: F64, ring: I16, signal: F64, j: int, first: int, m: int) -> int:
    """Put averaged samples `first` to `m` of a block into the ring, the first as number `j`; give how many are there.

    It stops before one at which the ring is centred: what was confirmed before is measured before.
    """
    i = first
    while i < m:
        at = (j + i - first) & (RING - 1)
        end = min(m, i + _CENTRE_STEPS - (at & (_CENTRE_STEPS - 1)))
        offset = state[S_OFFSET]
        to = ring[at : at + end - i]
        part = signal[i:end]
        if at & (_CENTRE_STEPS - 1) == 0 and abs(part[0] - offset) >= _CENTRE_UV:
            if i > first:
                return i
            to[0] = _whole(part[0] - offset)
            if abs(int(to[0])) > _CENTRE_UV:
                _centre(state, ring, int(to[0]))
                offset = state[S_OFFSET]
            to, part = to[1:], part[1:]
        for k in range(to.size):
            to[k] = _whole(part[k] - offset)
        i = end
    return m


@jit
def _sums(state: F64, coeffs: F64, signal: F64, sums: I64) -> None:
    """Filter averaged samples, rectify, and give the moving sum at each, in 1/256 µV; `sums` has room for a width more.

    Each section is written as one step of its two states (z0, z1): from z0 to the next z0 is one multiplication and
    addition, where by way of the section's output it would be two, and nothing else here waits for the step before.
    """
    b00, b10 = coeffs[C_SOS], coeffs[C_SOS + 5]
    a01, a02, a11, a12 = -coeffs[C_SOS + 3], -coeffs[C_SOS + 4], -coeffs[C_SOS + 8], -coeffs[C_SOS + 9]
    b01, b02 = fma(a01, b00, coeffs[C_SOS + 1]), fma(a02, b00, coeffs[C_SOS + 2])
    b11, b12 = fma(a11, b10, coeffs[C_SOS + 6]), fma(a12, b10, coeffs[C_SOS + 7])
    z00, z01, z10, z11 = state[S_Z], state[S_Z + 1], state[S_Z + 2], state[S_Z + 3]
    width = int(coeffs[C_WIDTH])
    total = int(state[S_SUM])
    slot = int(state[S_AT])
    m = signal.size
    # The sum takes in one and leaves one out: those of before the block come first, the oldest in front.
    for i in range(width):
        k = slot + i
        sums[i] = int(state[S_M_RING + (k if k < width else k - width)])
    newest = sums[width:]
    for i in range(m):
        x = signal[i]
        y = fma(b00, x, z00)
        z00, z01 = fma(a01, z00, fma(b01, x, z01)), fma(a02, z00, b02 * x)
        v = fma(b10, y, z10)
        z10, z11 = fma(a11, z10, fma(b11, y, z11)), fma(a12, z10, b12 * y)
        # The moving sum is kept in whole 1/256 µV: it is exact, and cannot drift over months.
        whole = int(abs(v) * 256.0)
        newest[i] = whole
        total += whole - sums[i]
        sums[i] = total
    state[S_Z], state[S_Z + 1], state[S_Z + 2], state[S_Z + 3] = z00, z01, z10, z11
    state[S_SUM] = total
    state[S_AT] = 0.0
    for i in range(width):
        state[S_M_RING + i] = sums[m + i]


@jit
def _highest(sums: I64) -> float:
    highest = sums[0]
    for i in range(sums.size):
        highest = max(highest, sums[i])
    return float(highest)


@jit
def _climb(
    sums: I64, i: int, until: int, falling: Flag, bar: int, peak: int, confirm: int
) -> tuple[int, bool, int, int]:
    """Follow moving sums from `i` to their next maximum that stays the highest for `confirm` steps.

    `bar` is the height of `peak`, or, where the sum falls after a confirmed one, what it has fallen to. Gives how far
    it came, `until` at most, and the others as they are then. Without a branch on what no predictor knows.
    """
    while i < until:
        total = sums[np.uint64(i)]
        higher = total > bar
        falling &= not higher
        bar = total if higher | falling else bar
        peak = i if higher | falling else peak
        i += 1
        if i - 1 - peak >= confirm:
            break
    return i, falling, bar, peak


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
        state[S_RATE] = rate
        state[S_GAIN] = gain
        state[S_WORK] = coeffs[C_WORK]
    work = coeffs[C_WORK]
    group = int(coeffs[C_GROUP])
    scale = 1000.0 / (gain * group)  # to microvolts
    confirm = int(_CONFIRM_S * work)
    bad_n = int(BAD_S * rate)
    flat_n = int(FLAT_S * rate)
    if state[S_N] == 0.0:
        state[S_BASE] = state[S_HELD] = samples[0]
        if state[S_LEARNED] == 0.0:
            state[S_RR:S_SHAPES].view(np.int16)[:] = int(work)
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    phase = int(state[S_PHASE])
    acc = int(state[S_ACC])
    base = int(state[S_BASE])
    held = int(state[S_HELD])
    bad = int(state[S_BAD])
    same = int(state[S_SAME])
    j = int(state[S_J])
    peak_j = int(state[S_PEAK_J])
    falling = state[S_FALLING] > 0.0
    bar = int(state[S_SUM]) if falling else int(state[S_PEAK])  # what the next sum is compared with
    check = int(state[S_CHECK])
    learning = state[S_LEARNED] == 0.0
    room = stack(_X_BLOCK)
    signal, sums = room[:_BLOCK], room[_BLOCK:].view(np.int64)
    count = 0
    at = 0
    careful = 0  # samples before it are looked at one by one
    while at < n:
        # ---- Averaged samples, as many as a block takes; `done` samples had been taken when the first was whole.
        done = at + group - phase
        m = 0
        while at < n and m < _BLOCK:
            if at >= careful and phase == 0 and bad == 0 and at + group <= n:
                part = samples[at : at + min(_BLOCK - m, (n - at) // group) * group]
                if same + part.size < flat_n and not _meets_rail(part):
                    # Without a look at each sample for what is rare.
                    _average(part, group, base, scale, signal[m:])
                    same, held = _run(part, same, held), int(part[part.size - 1])
                    at += part.size
                    m += part.size // group
                    continue
                careful = at + part.size
            raw = int(samples[at])
            if raw >= _RAIL or raw <= -_RAIL:
                bad += 1
                raw = held
            elif raw == held and bad == 0:
                same += 1
            else:
                lost = bad >= bad_n
                if lost or (same >= flat_n and raw != held):
                    if m > 0:
                        break  # what came before is worked on first
                    _silence(state)
                    for i in range(S_Z, S_Z + 4):
                        state[i] = 0.0
                    if not falling:
                        state[S_PEAK] = bar
                    state[S_SUM] = bar = 0
                    falling = True
                    base = raw
                    acc = 0
                    if lost:
                        state[S_BREAK] = state[S_N] + at
                        state[S_LAST] = j
                        state[S_HAS_LAST] = 0.0
                bad = 0
                same = same + 1 if raw == held else 0
                held = raw
            acc += raw - base
            phase += 1
            at += 1
            if phase == group:
                signal[m] = acc * scale
                m += 1
                acc = 0
                phase = 0
        first = 0
        while first < m:
            # ---- Filters.
            end = _remember(state, ring, signal, j, first, m)
            _sums(state, coeffs, signal[first:end], sums)
            # ---- What the sums bring: maxima, and what is looked at again. They are few.
            size = end - first
            peak = peak_j - j
            i = 0
            while i < size:
                begin, second = i, 0
                if learning:
                    second = _second_of(state, j + i, work)
                    until = i + 1
                    while second < _LEARN_S and until < size and _second_of(state, j + until, work) == second:
                        until += 1
                else:
                    until = min(size, max(check - j, i) + 1)
                i, falling, bar, peak = _climb(sums, i, until, falling, bar, peak, confirm)
                confirmed = i - 1 - peak >= confirm
                if learning and second < _LEARN_S:
                    k = S_LEARN_MAX + second
                    state[k] = max(state[k], _feature(_highest(sums[begin:i]), coeffs))
                if not (confirmed or (second >= _LEARN_S if learning else j + i > check)):
                    continue
                now = int(state[S_N]) + done + (first + i - 1) * group
                state[S_J] = j + i - 1
                state[S_PEAK_J] = j + peak
                if confirmed:
                    state[S_PEAK] = bar
                    falling, bar, peak = True, sums[i - 1], i - 1
                if not learning:
                    if noise[N_MODE] == _BY_HEIGHT:
                        position = _event(state, coeffs, confirmed)
                    else:
                        position = _event_in_noise(state, coeffs, confirmed)
                    while position >= 0:
                        out_sample[count] = position
                        out_decided[count] = now
                        count += 1
                        position = _next_by_shape(state, coeffs) if noise[N_MODE] != _BY_HEIGHT else -1
                elif _learning_step(state, coeffs, confirmed):
                    learning = False
                    count = _second_look(state, coeffs, now, count, out_sample, out_decided)
                    _plan_check(state, coeffs)
                check = int(state[S_CHECK])
            j += size
            peak_j = j - size + peak
            first = end
    state[S_PHASE] = phase
    state[S_ACC] = acc
    state[S_BASE] = base
    state[S_HELD] = held
    state[S_BAD] = bad
    state[S_SAME] = same
    state[S_J] = j
    if not falling:
        state[S_PEAK] = bar
    state[S_PEAK_J] = peak_j
    state[S_FALLING] = 1.0 if falling else 0.0
    state[S_N] += n
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
    for i in range(_BLOCK):
        after[i] = np.int16(state[S_HELD])
    ahead = coeffs[C_DELAY] + np.floor(_CONFIRM_S * coeffs[C_WORK]) + np.floor(_HALF_S * coeffs[C_WORK]) + 2.0
    count = 0
    left = 8 * int(np.ceil(ahead * coeffs[C_GROUP] / 8.0))
    while left > 0:
        part = after[: min(left, _BLOCK)]
        count += feed(state, part, state[S_GAIN], coeffs, out_sample[count:], out_decided[count:])
        left -= part.size
    if state[S_LEARNED] == 0.0 and _learn_early(state):
        state[S_LEARNED] = 1.0
        count = _second_look(state, coeffs, int(end), count, out_sample, out_decided)
    noise = state[S_IN_NOISE:S_CAND_J].view(np.int16)
    while state[S_LEARNED] > 0.0 and state[S_PENDING] > 0.0:
        if noise[N_MODE] == _BY_HEIGHT:
            position = _look_back(state, coeffs, ended=True)
        else:
            noise[N_MODE] = _LEAVING
            position = _next_by_shape(state, coeffs)
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
