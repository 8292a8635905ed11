"""What is measured of a heart beat against the patient's own beats: shapes, P wave and intervals.

A beat is cut out of the ring of averaged signal at 100 Hz by linear interpolation, whatever the rate, and compared
with up to six shapes at lags of up to 50 ms: R peaks are marked by the detector now on one wave, now on another.
Resemblance is Pearson's correlation, less 0.15 times the logarithm of the ratio of amplitudes. Under 0.9 the beat
begins a shape of its own in place of the least frequent. A shape follows its beats by 1/32, its frequency fades
by 1/1000 a beat: a run of another focus of some minutes does not become the usual one.

Loops have fixed lengths and lie side by side, one lag or one rank a lane, because a beat is measured for each patient
each second: four medians by one sorting network, and the products of all lags at once.
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import F64, I64, Flag

__all__ = ["MEASURES", "SCRATCH", "SHAPES_STATE", "S_RR_N", "measure"]

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

# ---- Measures, the first of the scratch.
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
S_WEIGHT = S_SLOW + 3  # of each shape: frequency, ...
S_COUNT = S_WEIGHT + _SHAPES
S_EARLY = S_COUNT + _SHAPES  # mean prematurity
S_HEIGHT = S_EARLY + _SHAPES  # µV peak to peak
S_AREA = S_HEIGHT + _SHAPES
S_SPREAD = S_AREA + _SHAPES
S_NORM = S_SPREAD + _SHAPES  # sum of its squares
_FLOATS = S_NORM + _SHAPES  # from here float32: shapes, P wave
_F_P = _SHAPES * _QRS
SHAPES_STATE = _FLOATS + (_F_P + _P + 1) // 2
"""Length of the state, float64."""

# ---- Scratch: what is of no use once the beat has its class. After the measures:
_LANES = 16  # lags, padded to a vector's width
_X_OUTLINE = MEASURES  # height, area over height, spread of slope
_X_TWICE = _X_OUTLINE + 3  # the ring of intervals, twice
_X_SORT = _X_TWICE + 2 * _RR
_SORTED = 4  # lists of 16 that are sorted at once, side by side
# From here float32 (the beat cut out, sums and products of each lag), then int16 (the steps about the beat).
_X_FLOATS = _X_SORT + _SORTED * _RR
_G_BEAT = 64
_G_STEPS = 136  # _CUT steps of 10 ms at 240 Hz
SCRATCH = _X_FLOATS + (_G_BEAT + 3 * _LANES + _G_STEPS // 2) // 2
"""Length of the scratch, float64."""


def _network(n: int) -> npt.NDArray[np.uint64]:
    """Give the pairs that Batcher's network of odd-even merges compares to sort `n` values, a power of two."""
    pairs = []
    p = 1
    while p < n:
        k = p
        while k > 0:
            for j in range(k % p, n - k, 2 * k):
                pairs += [
                    (i + j, i + j + k)
                    for i in range(min(k, n - j - k))
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p)
                ]
            k //= 2
        p *= 2
    return np.array(pairs, np.uint64)


_PAIRS = _network(_RR)


@jit
def _sort(values: I64) -> None:
    """Sort four lists of 16 whole numbers, of which those in one place lie side by side."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for k in range(len(_PAIRS)):
        i, j = np.uint64(_SORTED) * _PAIRS[k, 0], np.uint64(_SORTED) * _PAIRS[k, 1]
        # All are read before one is written: to the compiler they might be the same.
        a, b, c, d = values[i], values[i + one], values[i + two], values[i + three]
        e, f, g, h = values[j], values[j + one], values[j + two], values[j + three]
        values[i], values[i + one] = min(a, e), min(b, f)
        values[i + two], values[i + three] = min(c, g), min(d, h)
        values[j], values[j + one] = max(a, e), max(b, f)
        values[j + two], values[j + three] = max(c, g), max(d, h)


@jit
def _median(sorted_s: F64, lane: int, n: int) -> float:
    """Median of the first `n` of a sorted list."""
    return 0.5 * (sorted_s[_SORTED * ((n - 1) // 2) + lane] + sorted_s[_SORTED * (n // 2) + lane])


@jit
def _usual_and_irregular(twice: F64, newest: int, n: int, sort: F64) -> tuple[float, float]:
    """Give the median of the last eight intervals, s, and the least median difference of those 1, 2 or 3 apart over it.

    `twice` is the ring of `n` intervals and the same ring again, so that each has the one after it in its place. The
    four medians are sorted at once, a quarter of the time of one after the other: as whole numbers, which have the same
    order, what is not there infinite.
    """
    if n == 0:
        return 0.8, 0.0
    for i in range(_RR):
        at = _SORTED * i
        sort[at] = np.inf
        here = twice[i]
        sort[at + 1] = abs(here - twice[i + 1])
        sort[at + 2] = abs(here - twice[i + 2])
        sort[at + 3] = abs(here - twice[i + 3])
    for i in range(n, _RR):
        for lane in range(1, _SORTED):
            sort[_SORTED * i + lane] = np.inf
    few = min(n, _REFERENCE_RR)
    for i in range(few):
        sort[_SORTED * i] = twice[newest % _RR + _RR - i]
    for i in range(_SORTED - 1):
        for lane in range(i + 1, _SORTED):
            # What comes after the newest is the oldest.
            sort[_SORTED * ((newest - i) & (_RR - 1)) + lane] = np.inf
    _sort(sort.view(np.int64))
    usual = _median(sort, 0, few)
    if n <= 4:
        return usual, 0.0
    least = np.inf
    for lag in range(1, _SORTED):
        if n - lag >= 3:
            least = min(least, _median(sort, lag, n - lag))
    return usual, least / usual


@jit
def _interpolate(beat: F32, steps: I16, first: int, centre: float, work: float) -> None:
    """Fill `beat` from `steps`, of which the first is number `first`."""
    for i in range(_CUT):
        at = centre + (_FROM + i) * _STEP_S * work
        k = np.floor(at)
        step = np.uint64(int(k) - first)  # without a sign it needs no look whether it counts from the end
        value = float(steps[step])
        beat[i] = value + (at - k) * (float(steps[step + np.uint64(1)]) - value)


@jit
def _cut_out(beat: F32, steps: I16, ring: I16, j: int, position: float, group: float, work: float) -> None:
    """Fill `beat` with the signal about `position`, µV, at 100 Hz; the ring's ends go on as they are."""
    mask = ring.size - 1
    oldest = max(j - mask, 0)
    centre = (position - 0.5 * (group - 1.0)) / group
    # One more at either end: the same product may come out a little lower or higher below.
    first = int(np.floor(centre + _FROM * _STEP_S * work)) - 1
    n = int(np.floor(centre + (_FROM + _CUT - 1) * _STEP_S * work)) + 3 - first
    begin = first & mask
    if first < oldest or first + n > j + 1:
        for i in range(n):
            steps[i] = ring[min(max(first + i, oldest), j) & mask]
        _interpolate(beat, steps, first, centre, work)
    elif begin + n > ring.size:
        for i in range(n):
            steps[i] = ring[(begin + i) & mask]
        _interpolate(beat, steps, first, centre, work)
    else:
        _interpolate(beat, ring[begin:], first, centre, work)


@jit
def _extremes(qrs: F32) -> tuple[float, float]:
    """Lowest and highest of a complex: five at a time, one comparison does not wait for another."""
    l0 = h0 = qrs[0]
    l1 = h1 = qrs[1]
    l2 = h2 = qrs[2]
    l3 = h3 = qrs[3]
    l4 = h4 = qrs[4]
    for i in range(5, _QRS, 5):
        l0, h0 = min(l0, qrs[i]), max(h0, qrs[i])
        l1, h1 = min(l1, qrs[i + 1]), max(h1, qrs[i + 1])
        l2, h2 = min(l2, qrs[i + 2]), max(h2, qrs[i + 2])
        l3, h3 = min(l3, qrs[i + 3]), max(h3, qrs[i + 3])
        l4, h4 = min(l4, qrs[i + 4]), max(h4, qrs[i + 4])
    low, high = min(l0, l1, l2, l3), max(h0, h1, h2, h3)
    return float(min(low, l4)), float(max(high, h4))


@jit
def _outline(qrs: F32, out: F64) -> None:
    """Measure a complex: height, area over height, spread of slope."""
    first = float(qrs[0])
    tilt = (float(qrs[_QRS - 1]) - first) / (_QRS - 1)
    area = 0.0
    for i in range(_QRS):
        area += abs(float(qrs[i]) - first - tilt * i)
    energy = moment = second = 0.0
    for i in range(1, _QRS):
        slope = float(qrs[i]) - float(qrs[i - 1])
        slope *= slope
        energy += slope
        moment += slope * i
        second += slope * (i * i)
    low, high = _extremes(qrs)
    height = max(high - low, 1.0)
    energy = max(energy, 1.0)
    centre = moment / energy
    out[0] = height
    out[1] = max(area / height, 0.1)
    out[2] = np.sqrt(max(second / energy - centre * centre, 0.01))


@jit
def _variances(beat: F32, out: F32) -> None:
    """Give the sum of squares about the mean of the complex at each lag."""
    for lag in range(_LANES):
        total = square = np.float32(0.0)
        for i in range(_QRS):
            value = beat[_QRS_AT - _LAG + lag + i]
            total += value
            square += value * value
        out[lag] = max(square - total * total * np.float32(1.0 / _QRS), np.float32(1.0))


@jit
def _products(shape: F32, beat: F32, out: F32) -> None:
    """Give the product of the shape and the complex at each lag."""
    for lag in range(_LANES):
        product = np.float32(0.0)
        for i in range(_QRS):
            product += beat[_QRS_AT - _LAG + lag + i] * shape[i]
        out[lag] = product


@jit
def _best_lag(products: F32, per: F32) -> int:
    """Give the lane of the highest correlation; `per` has the reciprocals of the spreads."""
    best, best_lag = products[0] * per[0], 0
    for lag in range(1, 2 * _LAG + 1):
        r = products[lag] * per[lag]
        if r > best:
            best, best_lag = r, lag
    return best_lag


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
def _rhythm(state: F64, rr_s: float, next_s: float, scratch: F64) -> None:
    """Take the interval before the beat (0: not known) and write the measures of rhythm."""
    known = rr_s > 0.0
    rr_s = min(rr_s, _RR_MAX_S)
    if known:
        state[S_RR + int(state[S_RR_N]) % _RR] = rr_s
        state[S_RR_N] += 1.0
    newest = int(state[S_RR_N]) - 1
    n = min(newest + 1, _RR)
    rr_ring, twice, sort = state[S_RR:S_SLOW], scratch[_X_TWICE:_X_SORT], scratch[_X_SORT:_X_FLOATS]
    for i in range(_RR):
        twice[i] = twice[i + _RR] = rr_ring[i]
    usual, irregular = _usual_and_irregular(twice, newest, n, sort)
    if known:
        if state[S_RR_N] <= _RR:
            state[S_SLOW] = usual
        else:
            state[S_SLOW] *= 1.0 + min(max(rr_s / state[S_SLOW] - 1.0, -_SLOW), _SLOW)
    scratch[M_EARLY] = np.log(rr_s / usual) if known else 0.0
    scratch[M_SLOW] = np.log(rr_s / state[S_SLOW]) if known else 0.0
    scratch[M_NEXT] = np.log(next_s / usual) if next_s > 0.0 else 0.0
    scratch[M_IRREGULAR] = irregular


@jit
def _p_wave(state: F64, wave: F32, part: F32, learn: Flag) -> float:
    """Give how much the P wave `part` is less like the usual one than usual; teach it when `learn`."""
    mean = 0.0
    for i in range(_P):
        mean += float(part[i])
    mean /= _P
    own = usual = product = 0.0
    for i in range(_P):
        value = float(part[i]) - mean
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
            wave[i] += np.float32(share * (float(part[i]) - mean - float(wave[i])))
        state[S_P_N] = n + 1.0
    return lost


@jit
def _learn(state: F64, k: int, shape: F32, qrs: F32, scratch: F64) -> None:
    """Teach shape `k` a complex whose outline has been taken."""
    for i in range(_SHAPES):
        state[S_WEIGHT + i] *= _FADE
    state[S_WEIGHT + k] += 1.0
    state[S_COUNT + k] += 1.0
    share = max(1.0 / state[S_COUNT + k], _FOLLOW)
    state[S_EARLY + k] += share * (scratch[M_EARLY] - state[S_EARLY + k])
    state[S_HEIGHT + k] += share * (scratch[_X_OUTLINE] - state[S_HEIGHT + k])
    state[S_AREA + k] += share * (scratch[_X_OUTLINE + 1] - state[S_AREA + k])
    state[S_SPREAD + k] += share * (scratch[_X_OUTLINE + 2] - state[S_SPREAD + k])
    mean = 0.0
    for i in range(_QRS):
        mean += float(qrs[i])
    mean /= _QRS
    for i in range(_QRS):
        shape[i] += np.float32(share * (float(qrs[i]) - mean - float(shape[i])))
    norm = np.float32(0.0)
    for i in range(_QRS):
        norm += shape[i] * shape[i]
    state[S_NORM + k] = norm


@jit
def measure(
    state: F64,
    ring: I16,
    j: int,
    position: float,
    group: float,
    work: float,
    rr_s: float,
    next_s: float,
    scratch: F64,
) -> None:
    """Measure a beat and learn from it.

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
        Samples in a step; steps a second, at most 240.
    rr_s, next_s : float
        Intervals before and after, seconds; 0 when not known.
    scratch : float64[SCRATCH]
        Receives the measures as its first; the rest is written on. Zeros at first, then whatever was left there.
    """
    _rhythm(state, rr_s, next_s, scratch)
    floats = state[_FLOATS:SHAPES_STATE].view(np.float32)
    written = scratch[_X_FLOATS:SCRATCH].view(np.float32)
    beat = written[:_G_BEAT]
    variances = written[_G_BEAT : _G_BEAT + _LANES]
    per = written[_G_BEAT + _LANES : _G_BEAT + 2 * _LANES]
    products = written[_G_BEAT + 2 * _LANES : _G_BEAT + 3 * _LANES]
    _cut_out(beat, written[_G_BEAT + 3 * _LANES :].view(np.int16), ring, j, position, group, work)
    # Without its mean: products of float32 keep their digits.
    mean = 0.0
    for i in range(_CUT):
        mean += float(beat[i])
    for i in range(_CUT):
        beat[i] -= np.float32(mean / _CUT)
    _variances(beat, variances)
    for lag in range(_LANES):
        per[lag] = np.float32(1.0) / np.sqrt(variances[lag])
    dominant = _dominant(state)
    alike, k, lane = -2.0, -1, _LAG
    r_dominant, lane_dominant, variance, norm = 1.0, _LAG, 1.0, 1.0
    for i in range(_SHAPES):
        if state[S_COUNT + i] > 0.0:
            shape = floats[i * _QRS : (i + 1) * _QRS]
            _products(shape, beat, products)
            its = state[S_NORM + i]
            best = _best_lag(products, per)
            own = float(variances[best])
            r = float(products[best]) / np.sqrt(own * max(its, 1.0))
            if i == dominant:
                r_dominant, lane_dominant, variance, norm = r, best, own, its
            # The amplitude only takes off: most shapes have lost before.
            if r > alike:
                part = beat[_QRS_AT - _LAG + best : _QRS_AT - _LAG + best + _QRS]
                low, high = _extremes(part)
                r -= _AMPLITUDE * abs(np.log(max(high - low, 1.0) / state[S_HEIGHT + i]))
                if r > alike:
                    alike, k, lane = r, i, best
    if alike < _ALIKE:
        k, lane = 0, _LAG
        for i in range(1, _SHAPES):
            if state[S_WEIGHT + i] < state[S_WEIGHT + k]:
                k = i
        state[S_WEIGHT + k] = state[S_COUNT + k] = state[S_EARLY + k] = 0.0
        state[S_HEIGHT + k] = state[S_AREA + k] = state[S_SPREAD + k] = 0.0
        for i in range(k * _QRS, (k + 1) * _QRS):
            floats[i] = np.float32(0.0)
    part = beat[_QRS_AT - _LAG + lane : _QRS_AT - _LAG + lane + _QRS]
    outline = scratch[_X_OUTLINE:_X_TWICE]
    _outline(part, outline)
    scratch[M_CORR] = r_dominant
    if dominant >= 0 and state[S_COUNT + dominant] > 0.0:
        product = r_dominant * np.sqrt(variance * max(norm, 1.0))
        scratch[M_REST] = np.sqrt(max(variance - 2.0 * product + norm, 0.0) / max(norm, 1.0))
        scratch[M_AMPLITUDE] = np.log(outline[0] / state[S_HEIGHT + dominant])
        scratch[M_AREA] = np.log(outline[1] / state[S_AREA + dominant])
        scratch[M_SPREAD] = np.log(outline[2] / state[S_SPREAD + dominant])
        scratch[M_SHARE] = state[S_WEIGHT + k] / state[S_WEIGHT + dominant]
    else:
        dominant = k
        scratch[M_REST] = scratch[M_AMPLITUDE] = scratch[M_AREA] = scratch[M_SPREAD] = 0.0
        scratch[M_SHARE] = 1.0
    other = k != dominant
    early = scratch[M_EARLY]
    count = state[S_COUNT + k]
    scratch[M_SHAPE_EARLY] = (state[S_EARLY + k] * count + _PRIOR * early) / (count + _PRIOR)
    scratch[M_OTHER] = 1.0 if other else 0.0
    scratch[M_NEW] = 1.0 if count == 0.0 else 0.0
    _learn(state, k, floats[k * _QRS : (k + 1) * _QRS], part, scratch)
    p_at = _P_AT - _LAG + (lane if other else lane_dominant)
    p_part = beat[p_at : p_at + _P]
    scratch[M_P_LOST] = _p_wave(state, floats[_F_P : _F_P + _P], p_part, not other and early > _EARLY)
