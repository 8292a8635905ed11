"""Signal quality of one ECG lead, second by second and over ten seconds.

Three grades, as a report on ambulatory ECG has them (clinical reference, section 4.3): *good*, the whole waveform
may be read; *QRS only*, beats and their intervals; *unusable*. Unusable is neither normal nor an alarm.

Each second is judged from the averaged signal that the detector keeps (`kernels.qrs_state.RING`), `DELAY_S` after it
ended, when its beats are decided:

- lost (the rails of the 16-bit range), clipped (a lower rail: 100 ms or more at one extreme) or flat;
- noise by band: the baseline's movement from quarter to quarter of a second; the median size of the second
  difference, which is the noise above some 20 Hz because QRS complexes take less than half of the time.

Ten seconds are judged from these, from the agreement of the beats with a second detector (bSQI, Li 2008: F1; the
second detector looks at slopes, has no band-pass, no T-wave rule and no search-back), from the correlation of
each complex with the lead's mean complex (Orphanidou 2015), and from the height of what the detector refused.

**A pause is not hidden.** `present` asks, without any beat, whether a signal is there: neither lost, clipped nor
flat, and low noise in both bands. A pause in such seconds is a pause, whatever the agreement; in flat ones an
electrode that is off cannot be told from asystole, and the caller says both.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I16, I32
from kernels.qrs_signal import BAD_S
from kernels.qrs_state import C_GROUP, C_RATE, C_WORK, RING, S_BAD, S_BREAK, S_RING, refused_share

__all__ = [
    "CLIPPED",
    "DELAY_S",
    "FLAT",
    "GOOD",
    "LOST",
    "NOISE",
    "QRS_ONLY",
    "QUALITY",
    "SCRATCH",
    "UNUSABLE",
    "WANDER",
    "beat",
    "grade",
    "present",
    "restart",
    "second",
    "ten_seconds",
]

# ---- Grades. 0: not known yet.
GOOD = 1
QRS_ONLY = 2
UNUSABLE = 3

# ---- What a second shows, added together.
LOST = 1
FLAT = 2
CLIPPED = 4
WANDER = 8
NOISE = 16

DELAY_S = 1.25
"""A second is judged so long after it ended: its beats are decided, and its edges have been seen."""

_FLAT_UV = 10
_CLIP_S = 0.1
_CLIP_RANGE_UV = 1000  # a plateau of a small signal is the baseline
_WANDER_UV = 500.0
_WANDER_SHARE = 1.0  # of the usual steepest slope
_NOISE_UV = 20.0
_NOISE_SHARE = 0.06
_MATCH_S = 0.12
_SLOPE_S = 0.03
_SHARE = 0.45  # of the usual steepest slope, threshold of the second detector
_APART_S = 0.25
_LEARN = 0.2
_LEARN_UP = 0.03
_AGREE = 0.9
_DISAGREE = 0.6
_ALIKE = 0.66
_REFUSED = 0.3  # height of what the detector refused, of that of beats
_MANY_DOUBTS = 3  # of these three and of noise in most of the seconds: unusable; one: QRS only
_BAD_SECONDS = 2  # of ten: more make them unusable
_SECONDS = 10
_LEAST_SECONDS = 5
_TEMPLATE = 24
_TEMPLATE_HZ = 120.0
_BEATS = 16

Q_SECONDS = 0  # judged so far
Q_SLOPE = 1  # usual steepest slope, microvolts in _SLOPE_S
Q_ALIKE = 2  # mean correlation with the template
Q_LEARNT = 3  # complexes in the template
Q_BEAT_N = 4
Q_TEN = 5  # int8[4, 10]: of each of the last ten seconds, see below
Q_TEMPLATE = Q_TEN + 4 * _SECONDS // 8
Q_BEATS = Q_TEMPLATE + _TEMPLATE  # the last R peaks, samples
QUALITY = Q_BEATS + _BEATS
"""Length of the state of one stream, float64: 0.4 KiB. All zero is a new stream."""

# ---- Of each of the last ten seconds: positions in ``row[Q_TEN:Q_TEMPLATE].view(np.int8)``.
T_SHOWS = 0  # what it shows
T_FIRST = _SECONDS  # beats of the detector
T_SECOND = 2 * _SECONDS  # of the second one
T_BOTH = 3 * _SECONDS
_MANY = 127  # a second has no more beats, however noisy

# ---- Scratch of one thread: the signal about a second, int16, then its slopes, int32.
_AROUND = 400  # averaged samples of 1.5 s at 240 Hz, and the lag of a slope
_INDEX_BITS = 10
_INDEX = (1 << _INDEX_BITS) - 1
_X_KEYS = _AROUND // 4
_X_COMPLEX = _X_KEYS + _AROUND // 2
SCRATCH = _X_COMPLEX + _TEMPLATE
"""Length of the scratch, float64."""


@jit
def restart(quality: F64) -> None:
    """Begin a new segment: all but the usual slope and the template is forgotten."""
    for i in range(Q_BEAT_N, Q_TEMPLATE):
        quality[i] = 0.0
    for i in range(Q_BEATS, QUALITY):
        quality[i] = 0.0
    quality[Q_SECONDS] = 0.0


@jit
def beat(quality: F64, position: float) -> None:
    """Note the R peak of a beat, in samples since the start of the segment, ascending."""
    n = int(quality[Q_BEAT_N])
    quality[Q_BEATS + n % _BEATS] = position
    quality[Q_BEAT_N] = n + 1.0


@jit
def _around(state: F64, begin: int, n: int, x: I16) -> None:
    """Put averaged samples `begin` to ``begin + n`` one after the other."""
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    at = begin & (RING - 1)
    head = min(n, RING - at)
    for i in range(head):
        x[i] = ring[at + i]
    for i in range(n - head):
        x[head + i] = ring[i]


@jit
def _is_noisy(before: I16, part: I16, after: I16, limit: float) -> bool:
    """Whether the median size of the second difference is above `limit` microvolts."""
    under = np.int32(0)
    most = np.int32(limit)
    for k in range(part.size):
        bend = np.int32(before[k]) - np.int32(2) * np.int32(part[k]) + np.int32(after[k])
        under += np.int32(abs(bend) <= most)
    return 2 * int(under) < part.size


@jit
def _wanders(part: I16, limit: float) -> bool:
    """Whether the means of the quarters are more than `limit` microvolts apart."""
    least = most = 0.0
    begin = 0
    for quarter in range(1, 5):
        end = (quarter * part.size + 3) // 4
        piece = part[begin:end]
        total = np.int32(0)
        for k in range(piece.size):
            total += np.int32(piece[k])
        mean = float(total) / piece.size
        least = mean if quarter == 1 else min(least, mean)
        most = mean if quarter == 1 else max(most, mean)
        begin = end
    return most - least > limit


@jit
def _is_clipped(part: I16, low: int, high: int, plateau: int) -> bool:
    """Whether as many as `plateau` samples, one after the other, are at an extreme."""
    near_low, near_high = np.int32(low + 1), np.int32(high - 1)
    at_low = at_high = np.int32(0)
    for k in range(part.size):
        at_low += np.int32(np.int32(part[k]) <= near_low)
        at_high += np.int32(np.int32(part[k]) >= near_high)
    if max(at_low, at_high) < plateau:
        return False
    run_low = run_high = longest = 0
    for k in range(part.size):
        run_low = run_low + 1 if part[k] <= near_low else 0
        run_high = run_high + 1 if part[k] >= near_high else 0
        longest = max(longest, run_low, run_high)
    return longest >= plateau


@jit
def _shows(state: F64, coeffs: F64, x: I16, begin: int, first: int, count: int, slope: float) -> int:
    """Look at averaged samples `first` to ``first + count``; give what they show. `x` begins at `begin`."""
    group = coeffs[C_GROUP]
    shows = 0
    if state[S_BREAK] > first * group or state[S_BAD] >= np.floor(BAD_S * coeffs[C_RATE]):
        shows = LOST
    first -= begin
    part = x[first : first + count]
    least = most = part[0]
    for k in range(part.size):
        least = min(least, part[k])
        most = max(most, part[k])
    low, high = int(least), int(most)
    if high - low < _FLAT_UV:
        return shows | FLAT
    if _wanders(part, max(_WANDER_UV, _WANDER_SHARE * slope)):
        shows |= WANDER
    plateau = int(_CLIP_S * coeffs[C_WORK])
    if high - low >= _CLIP_RANGE_UV and _is_clipped(part, low, high, plateau):
        shows |= CLIPPED
    lag = int(coeffs[C_WORK] / _TEMPLATE_HZ + 0.5)
    before, after = x[first - lag : first - lag + count], x[first + lag : first + lag + count]
    if _is_noisy(before, part, after, max(_NOISE_UV, _NOISE_SHARE * slope)):
        shows |= NOISE
    return shows


@jit
def _has_beat(quality: F64, position: float, window: float) -> bool:
    """Whether a beat was noted within `window` samples of `position`."""
    near = 0
    for i in range(min(int(quality[Q_BEAT_N]), _BEATS)):
        near += abs(quality[Q_BEATS + i] - position) <= window
    return near > 0


@jit
def _highest(keys: I32) -> int:
    highest = np.int32(0)
    for k in range(keys.size):
        highest = max(highest, keys[k])
    return highest


@jit
def _second_detector(quality: F64, coeffs: F64, x: I16, first: int, count: int, slot: int, keys: I32) -> None:
    """Find the beats of a second by slopes alone, and count those that the QRS detector has too.

    A maximum counts when nothing after it, for `_APART_S`, is steeper. `x` begins as much before `first`, and a
    slope's lag.
    """
    work = coeffs[C_WORK]
    group = coeffs[C_GROUP]
    lag = int(_SLOPE_S * work + 0.5)
    apart = int(_APART_S * work)
    threshold = _SHARE * quality[Q_SLOPE]
    # The steepest and, of equal ones, the earliest is the largest of such numbers: a maximum that vectors find.
    last = count + 2 * apart - 1
    later = x[lag : lag + last + 1]
    for k in range(later.size):
        slope = abs(np.int32(later[k]) - np.int32(x[k]))
        keys[k] = (slope << np.int32(_INDEX_BITS)) | np.int32(_INDEX - k)
    steepest = _highest(keys[apart : apart + count])
    found = both = 0
    peak = 0
    peak_k = at = 0
    while at <= last:
        end = min(peak_k + apart, last)
        highest = _highest(keys[at : end + 1])
        if highest >> _INDEX_BITS > peak:
            peak = highest >> _INDEX_BITS
            peak_k = _INDEX - (highest & _INDEX)
            at = peak_k + 1
            continue
        if peak > threshold and apart <= peak_k < apart + count:
            found += 1
            position = (peak_k - apart + first - 0.5 * lag) * group
            both += _has_beat(quality, position, _MATCH_S * coeffs[C_RATE])
        peak = 0
        peak_k = end
        at = end + 1
    usual = quality[Q_SLOPE]
    steep = float(steepest >> _INDEX_BITS)
    if usual == 0.0:
        quality[Q_SLOPE] = max(steep, 1.0)
        return
    # A second without a beat teaches little. Steeper ones are learnt slowly: noise lasts for minutes.
    change = min(max(steep - usual, -0.3 * usual), usual)
    quality[Q_SLOPE] += (_LEARN_UP if change > 0.0 else _LEARN) * change
    ten = quality[Q_TEN:Q_TEMPLATE].view(np.int8)
    ten[T_SECOND + slot] = found
    ten[T_BOTH + slot] = both


@jit
def _compare(
    quality: F64, coeffs: F64, x: I16, begin: int, first: int, count: int, slot: int, slopes: F64
) -> None:
    """Correlate the slopes of each complex of a second with the template, and teach it."""
    work = coeffs[C_WORK]
    group = coeffs[C_GROUP]
    number = 0
    beats = int(quality[Q_BEAT_N])
    for b in range(max(0, beats - _BEATS), beats):
        position = quality[Q_BEATS + b % _BEATS]
        if not first * group <= position < (first + count) * group:
            continue
        centre = int(position / group) - begin
        number += 1
        for i in range(_TEMPLATE):
            k = centre + int(np.floor((i - _TEMPLATE // 2) * work / _TEMPLATE_HZ))
            slopes[i] = np.int32(x[k + 1]) - np.int32(x[k - 1])
        xy = xx = yy = 0.0
        for i in range(_TEMPLATE):
            y = quality[Q_TEMPLATE + i]
            xy += slopes[i] * y
            xx += slopes[i] * slopes[i]
            yy += y * y
        alike = xy / np.sqrt(xx * yy) if xx > 0.0 and yy > 0.0 else 0.0
        share = max(_LEARN, 1.0 / (quality[Q_LEARNT] + 1.0))
        if quality[Q_LEARNT] > 0.0:
            quality[Q_ALIKE] += (_LEARN if quality[Q_LEARNT] > 1.0 else 1.0) * (alike - quality[Q_ALIKE])
        quality[Q_LEARNT] += 1.0
        for i in range(_TEMPLATE):
            quality[Q_TEMPLATE + i] += share * (slopes[i] - quality[Q_TEMPLATE + i])
    quality[Q_TEN:Q_TEMPLATE].view(np.int8)[T_FIRST + slot] = min(number, _MANY)


@jit
def second(quality: F64, state: F64, coeffs: F64, position: float, scratch: F64) -> int:
    """Judge the second that ended `DELAY_S` before `position`.

    Parameters
    ----------
    quality : float64[QUALITY]
        Changed in place.
    state : float64[kernels.qrs_state.STATE]
        Of the detector, after it took the samples up to `position`, and its beats were given to `beat`.
    coeffs : float64[kernels.qrs_state.COEFFS]
    position : float
        Samples since the start of the segment: a multiple of the rate, each once, ascending.
    scratch : float64[SCRATCH]
        Written on.

    Returns
    -------
    int
        What the second shows (LOST, FLAT, CLIPPED, WANDER, NOISE added together), or -1 when there is
        none yet: the first teaches only.
    """
    work = coeffs[C_WORK]
    count = int(work)
    first = int(position / coeffs[C_GROUP]) - int(DELAY_S * work) - count
    if first < 1:
        return -1
    slot = int(quality[Q_SECONDS]) % _SECONDS
    lag, apart = int(_SLOPE_S * work + 0.5), int(_APART_S * work)
    begin = first - apart - lag
    x = scratch[:_X_KEYS].view(np.int16)
    _around(state, begin, count + 2 * apart + lag, x)
    keys = scratch[_X_KEYS:_X_COMPLEX].view(np.int32)
    if quality[Q_SLOPE] == 0.0:
        _second_detector(quality, coeffs, x, first, count, slot, keys)
        return -1
    shows = _shows(state, coeffs, x, begin, first, count, quality[Q_SLOPE])
    quality[Q_TEN:Q_TEMPLATE].view(np.int8)[T_SHOWS + slot] = shows
    _second_detector(quality, coeffs, x, first, count, slot, keys)
    _compare(quality, coeffs, x, begin, first, count, slot, scratch[_X_COMPLEX:SCRATCH])
    quality[Q_SECONDS] += 1.0
    return shows


@jit
def grade(shows: int) -> int:
    """Give the grade of one second from what it shows."""
    if shows & (LOST | FLAT | CLIPPED):
        return UNUSABLE
    return QRS_ONLY if shows & (WANDER | NOISE) else GOOD


@jit
def present(quality: F64, seconds: int) -> bool:
    """Whether all of the last `seconds` (1 to 10) judged show a signal with little noise, beats or none."""
    judged = int(quality[Q_SECONDS])
    if judged < seconds:
        return False
    ten = quality[Q_TEN:Q_TEMPLATE].view(np.int8)
    defects = 0
    for k in range(judged - seconds, judged):
        defects |= int(ten[T_SHOWS + k % _SECONDS])
    return defects == 0


@jit
def ten_seconds(quality: F64, state: F64) -> int:
    """Give the grade of the last ten seconds judged, or of what there is from five on, as in a strip; else 0.

    `state` is the QRS detector's.
    """
    judged = min(int(quality[Q_SECONDS]), _SECONDS)
    if judged < _LEAST_SECONDS:
        return 0
    ten = quality[Q_TEN:Q_TEMPLATE].view(np.int8)
    first = found = both = 0
    bad = noisy = 0
    for i in range(judged):
        first += int(ten[T_FIRST + i])
        found += int(ten[T_SECOND + i])
        both += int(ten[T_BOTH + i])
        one = grade(int(ten[T_SHOWS + i]))
        bad += one == UNUSABLE
        noisy += one == QRS_ONLY
    agreement = 2.0 * both / (first + found) if first + found > 0 else 1.0
    refused = refused_share(state)
    doubts = (agreement < _AGREE) + (quality[Q_ALIKE] < _ALIKE) + (refused > _REFUSED)
    doubts += 2 * (bad + noisy) > judged
    if bad > _BAD_SECONDS or agreement < _DISAGREE or doubts >= _MANY_DOUBTS:
        return UNUSABLE
    return QRS_ONLY if bad + noisy > _BAD_SECONDS or doubts > 0 else GOOD
