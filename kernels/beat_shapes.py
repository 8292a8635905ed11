"""What is measured of a heart beat against the patient's own beats: shapes, P wave and intervals.

A beat is cut out of the ring of averaged signal at 100 Hz by linear interpolation, whatever the rate, and compared
with up to six shapes at lags of up to 50 ms: R peaks are marked by the detector now on one wave, now on another.
Resemblance is Pearson's correlation, less 0.15 times the logarithm of the ratio of amplitudes. Under 0.9 the beat
begins a shape of its own in place of the least frequent. A shape follows its beats by 1/32, its frequency fades
by 1/1000 a beat: a run of another focus of some minutes does not become the usual one.
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import F64, Flag

__all__ = ["MEASURES", "SHAPES_STATE", "S_MEASURES", "S_RR_N", "measure"]

I16 = npt.NDArray[np.int16]
F32 = npt.NDArray[np.float32]

# ---- Windows about the R peak, steps of 10 ms.
_STEP_S = 0.01
_LAG = 5
_QRS_FROM, _QRS = -12, 30
_P_FROM, _P = -26, 18
_FROM = _P_FROM - _LAG
_CUT = _QRS_FROM + _QRS + _LAG - _FROM
_QRS_AT = _QRS_FROM - _FROM
_P_AT = _P_FROM - _FROM

# ---- Parameters.
_SHAPES = 6
_ALIKE = 0.9
_AMPLITUDE = 0.15  # what a ratio of amplitudes of e takes off a correlation
_FOLLOW = 1.0 / 32.0
_FADE = 1.0 - 1.0 / 1000.0
_RR = 16
_REFERENCE_RR = 8
_SLOW = 0.004  # of itself a beat
_RR_MAX_S = 2.0
_EARLY = -0.1  # logarithm: a beat earlier than that does not teach the P wave
_LEAST_P = 8
_PRIOR = 3.0  # beats that a shape's own prematurity weighs when it is new

# ---- Measures, written to the state at S_MEASURES.
M_CORR = 0  # correlation with the dominant shape
M_REST = 1  # what is left after it is taken away, in its own norms
M_SPREAD = 2  # logarithm of the ratio of widths: spread of the squared slope
M_AREA = 3  # logarithm of the ratio of widths: area over amplitude
M_AMPLITUDE = 4  # logarithm of the ratio of amplitudes, peak to peak
M_NEXT = 5  # logarithm of the next interval over the usual one
M_EARLY = 6  # logarithm of the interval before over the usual one
M_SHAPE_EARLY = 7  # the mean of that for beats of this shape, with this beat
M_SLOW = 8  # logarithm of the interval before over the slow one
M_IRREGULAR = 9  # median difference of intervals over the usual one
M_P_LOST = 10  # how much less than usual the P wave correlates with the usual one, 0 when there is none
M_SHARE = 11  # beats of this shape over beats of the dominant one
M_OTHER = 12  # 1: not the dominant shape
M_NEW = 13  # 1: the first of its shape
MEASURES = 14

# ---- State: positions in the float64 row. All zero is a new stream.
S_RR_N = 0  # intervals seen
S_RR = 1  # the last 16, seconds, a ring
S_SLOW = S_RR + _RR  # s
S_P_N = S_SLOW + 1
S_P_CORR = S_SLOW + 2  # usual correlation of a P wave with the usual one
S_MEASURES = S_SLOW + 3
S_SORT = S_MEASURES + MEASURES  # scratch
S_WEIGHT = S_SORT + _RR  # of each shape: frequency, ...
S_COUNT = S_WEIGHT + _SHAPES
S_EARLY = S_COUNT + _SHAPES  # mean prematurity
S_HEIGHT = S_EARLY + _SHAPES  # µV peak to peak
S_AREA = S_HEIGHT + _SHAPES
S_SPREAD = S_AREA + _SHAPES
_FLOATS = S_SPREAD + _SHAPES  # from here float32: shapes, P wave, the beat cut out
_F_P = _SHAPES * _QRS
_F_CUT = _F_P + _P
SHAPES_STATE = _FLOATS + (_F_CUT + _CUT + 1) // 2
"""Length of the state, float64."""


@jit
def _median(state: F64, n: int) -> float:
    """Median of the `n` values from S_SORT, which are sorted."""
    for i in range(1, n):
        value = state[S_SORT + i]
        k = i
        while k > 0 and state[S_SORT + k - 1] > value:
            state[S_SORT + k] = state[S_SORT + k - 1]
            k -= 1
        state[S_SORT + k] = value
    return 0.5 * float(state[S_SORT + (n - 1) // 2] + state[S_SORT + n // 2])


@jit
def _usual_rr(state: F64) -> float:
    """Median of the last eight intervals, seconds; 0.8 when there is none."""
    n = min(int(state[S_RR_N]), _REFERENCE_RR)
    if n == 0:
        return 0.8
    for i in range(n):
        state[S_SORT + i] = state[S_RR + (int(state[S_RR_N]) - 1 - i) % _RR]
    return _median(state, n)


@jit
def _irregularity(state: F64, usual_s: float) -> float:
    """Least median difference of intervals one, two or three apart, over the usual interval."""
    newest = int(state[S_RR_N]) - 1
    n = min(newest + 1, _RR)
    if n <= 4:
        return 0.0
    least = np.inf
    for lag in range(1, 4):
        for i in range(n - lag):
            a = state[S_RR + (newest - i) % _RR]
            b = state[S_RR + (newest - i - lag) % _RR]
            state[S_SORT + i] = abs(a - b)
        if n - lag >= 3:
            least = min(least, _median(state, n - lag))
    return least / usual_s


@jit
def _cut_out(beat: F32, ring: I16, j: int, position: float, group: float, work: float) -> None:
    """Fill `beat` with the signal about `position`, µV, at 100 Hz; the ring's ends go on as they are."""
    mask = ring.size - 1
    oldest = max(j - mask, 0)
    centre = (position - 0.5 * (group - 1.0)) / group
    for i in range(_CUT):
        at = centre + (_FROM + i) * _STEP_S * work
        k = int(np.floor(at))
        part = at - k
        if k < oldest:
            k, part = oldest, 0.0
        elif k >= j:
            k, part = j, 0.0
        value = float(ring[k & mask])
        if part > 0.0:
            value += part * (float(ring[(k + 1) & mask]) - value)
        beat[i] = value


@jit
def _outline(state: F64, beat: F32, at: int, to: int) -> None:
    """Measure the complex from `at`: height, area over height, spread of slope; write them at `to`, +1, +2."""
    low = high = float(beat[at])
    first = low
    tilt = (float(beat[at + _QRS - 1]) - first) / (_QRS - 1)
    area = energy = moment = second = 0.0
    before = first
    for i in range(_QRS):
        value = float(beat[at + i])
        low = min(low, value)
        high = max(high, value)
        area += abs(value - first - tilt * i)
        slope = (value - before) * (value - before)
        energy += slope
        moment += slope * i
        second += slope * i * i
        before = value
    height = max(high - low, 1.0)
    energy = max(energy, 1.0)
    centre = moment / energy
    state[to] = height
    state[to + 1] = max(area / height, 0.1)
    state[to + 2] = np.sqrt(max(second / energy - centre * centre, 0.01))


@jit
def _height(beat: F32, at: int) -> float:
    low = high = beat[at]
    for i in range(at + 1, at + _QRS):
        low = min(low, beat[i])
        high = max(high, beat[i])
    return max(float(high - low), 1.0)


@jit
def _correlate(shape: F32, beat: F32) -> tuple[float, int, float, float]:
    """Give the highest correlation over the lags, the lag, the beat's variance there and the shape's."""
    norm = np.float32(0.0)
    for i in range(_QRS):
        norm += shape[i] * shape[i]
    best, best_lag, best_variance = -2.0, 0, 0.0
    for lag in range(-_LAG, _LAG + 1):
        part = beat[_QRS_AT + lag : _QRS_AT + lag + _QRS]
        total = square = product = np.float32(0.0)
        for i in range(_QRS):
            value = part[i]
            total += value
            square += value * value
            product += value * shape[i]
        variance = max(float(square) - float(total) * float(total) / _QRS, 1.0)
        r = float(product) / np.sqrt(variance * max(float(norm), 1.0))
        if r > best:
            best, best_lag, best_variance = r, lag, variance
    return best, best_lag, best_variance, float(norm)


@jit
def _dominant(state: F64) -> int:
    """Give the most frequent shape, premature ones counted less; -1 when there is none."""
    dominant, most = -1, 0.0
    for k in range(_SHAPES):
        weight = state[S_WEIGHT + k] * max(0.05, 1.0 + 3.0 * min(state[S_EARLY + k], 0.0))
        if weight > most:
            dominant, most = k, weight
    return dominant


@jit
def _rhythm(state: F64, rr_s: float, next_s: float) -> None:
    """Take the interval before the beat (0: not known) and write the measures of rhythm."""
    known = rr_s > 0.0
    rr_s = min(rr_s, _RR_MAX_S)
    if known:
        state[S_RR + int(state[S_RR_N]) % _RR] = rr_s
        state[S_RR_N] += 1.0
    usual = _usual_rr(state)
    if known:
        if state[S_RR_N] <= _RR:
            state[S_SLOW] = usual
        else:
            state[S_SLOW] *= 1.0 + min(max(rr_s / state[S_SLOW] - 1.0, -_SLOW), _SLOW)
    at = S_MEASURES
    state[at + M_EARLY] = np.log(rr_s / usual) if known else 0.0
    state[at + M_SLOW] = np.log(rr_s / state[S_SLOW]) if known else 0.0
    state[at + M_NEXT] = np.log(next_s / usual) if next_s > 0.0 else 0.0
    state[at + M_IRREGULAR] = _irregularity(state, usual)


@jit
def _p_wave(state: F64, wave: F32, beat: F32, at: int, learn: Flag) -> float:
    """Give how much the P wave from `at` is less like the usual one than usual; teach it when `learn`."""
    mean = 0.0
    for i in range(_P):
        mean += float(beat[at + i])
    mean /= _P
    own = usual = product = 0.0
    for i in range(_P):
        value = float(beat[at + i]) - mean
        own += value * value
        usual += float(wave[i]) * float(wave[i])
        product += value * float(wave[i])
    r = product / np.sqrt(max(own * usual, 1.0))
    n = state[S_P_N]
    lost = max(0.0, state[S_P_CORR] - r) if n > _LEAST_P else 0.0
    if learn:
        if n > 0.0:
            state[S_P_CORR] += max(1.0 / (n + 1.0), _FOLLOW) * (r - state[S_P_CORR])
        share = max(1.0 / (n + 1.0), _FOLLOW)
        for i in range(_P):
            wave[i] += np.float32(share * (float(beat[at + i]) - mean - float(wave[i])))
        state[S_P_N] = n + 1.0
    return lost


@jit
def _learn(state: F64, k: int, shape: F32, beat: F32, at: int) -> None:
    """Teach shape `k` the complex from `at`, whose outline is at S_SORT."""
    for i in range(_SHAPES):
        state[S_WEIGHT + i] *= _FADE
    state[S_WEIGHT + k] += 1.0
    state[S_COUNT + k] += 1.0
    share = max(1.0 / state[S_COUNT + k], _FOLLOW)
    state[S_EARLY + k] += share * (state[S_MEASURES + M_EARLY] - state[S_EARLY + k])
    state[S_HEIGHT + k] += share * (state[S_SORT] - state[S_HEIGHT + k])
    state[S_AREA + k] += share * (state[S_SORT + 1] - state[S_AREA + k])
    state[S_SPREAD + k] += share * (state[S_SORT + 2] - state[S_SPREAD + k])
    mean = 0.0
    for i in range(_QRS):
        mean += float(beat[at + i])
    mean /= _QRS
    for i in range(_QRS):
        shape[i] += np.float32(share * (float(beat[at + i]) - mean - float(shape[i])))


@jit
def measure(
    state: F64, ring: I16, j: int, position: float, group: float, work: float, rr_s: float, next_s: float
) -> None:
    """Measure a beat, write what was measured to the state from S_MEASURES, and learn from it.

    Parameters
    ----------
    state : float64[SHAPES_STATE]
        Changed in place; zeros for a new stream.
    ring : int16[power of two]
        Averaged signal in microvolts, step ``i`` at ``i & (size - 1)``. At least 3 s.
    j : int
        The newest step in the ring.
    position : float
        The R peak, in samples since step 0 began.
    group, work : float
        Samples in a step; steps a second.
    rr_s, next_s : float
        Intervals before and after, seconds; 0 when not known.
    """
    _rhythm(state, rr_s, next_s)
    floats = state[_FLOATS:SHAPES_STATE].view(np.float32)
    beat = floats[_F_CUT : _F_CUT + _CUT]
    _cut_out(beat, ring, j, position, group, work)
    # Without its mean: products of float32 keep their digits.
    mean = 0.0
    for i in range(_CUT):
        mean += float(beat[i])
    for i in range(_CUT):
        beat[i] -= np.float32(mean / _CUT)
    dominant = _dominant(state)
    alike, k, lag = -2.0, -1, 0
    r_dominant, lag_dominant, variance, norm = 1.0, 0, 1.0, 1.0
    for i in range(_SHAPES):
        if state[S_COUNT + i] > 0.0:
            r, at_lag, own, its = _correlate(floats[i * _QRS : (i + 1) * _QRS], beat)
            if i == dominant:
                r_dominant, lag_dominant, variance, norm = r, at_lag, own, its
            ratio = _height(beat, _QRS_AT + at_lag) / state[S_HEIGHT + i]
            r -= _AMPLITUDE * abs(np.log(ratio))
            if r > alike:
                alike, k, lag = r, i, at_lag
    if alike < _ALIKE:
        k, lag = 0, 0
        for i in range(1, _SHAPES):
            if state[S_WEIGHT + i] < state[S_WEIGHT + k]:
                k = i
        state[S_WEIGHT + k] = state[S_COUNT + k] = state[S_EARLY + k] = 0.0
        state[S_HEIGHT + k] = state[S_AREA + k] = state[S_SPREAD + k] = 0.0
        for i in range(k * _QRS, (k + 1) * _QRS):
            floats[i] = np.float32(0.0)
    at = S_MEASURES
    _outline(state, beat, _QRS_AT + lag, S_SORT)
    state[at + M_CORR] = r_dominant
    if dominant >= 0 and state[S_COUNT + dominant] > 0.0:
        product = r_dominant * np.sqrt(variance * max(norm, 1.0))
        state[at + M_REST] = np.sqrt(max(variance - 2.0 * product + norm, 0.0) / max(norm, 1.0))
        state[at + M_AMPLITUDE] = np.log(state[S_SORT] / state[S_HEIGHT + dominant])
        state[at + M_AREA] = np.log(state[S_SORT + 1] / state[S_AREA + dominant])
        state[at + M_SPREAD] = np.log(state[S_SORT + 2] / state[S_SPREAD + dominant])
        state[at + M_SHARE] = state[S_WEIGHT + k] / state[S_WEIGHT + dominant]
    else:
        dominant = k
        state[at + M_REST] = state[at + M_AMPLITUDE] = state[at + M_AREA] = state[at + M_SPREAD] = 0.0
        state[at + M_SHARE] = 1.0
    other = k != dominant
    early = state[at + M_EARLY]
    count = state[S_COUNT + k]
    state[at + M_SHAPE_EARLY] = (state[S_EARLY + k] * count + _PRIOR * early) / (count + _PRIOR)
    state[at + M_OTHER] = 1.0 if other else 0.0
    state[at + M_NEW] = 1.0 if count == 0.0 else 0.0
    _learn(state, k, floats[k * _QRS : (k + 1) * _QRS], beat, _QRS_AT + lag)
    p_at = _P_AT + (lag if other else lag_dominant)
    state[at + M_P_LOST] = _p_wave(state, floats[_F_P : _F_P + _P], beat, p_at, not other and early > _EARLY)
