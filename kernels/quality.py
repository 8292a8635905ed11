"""Signal quality of one ECG lead, second by second and over ten seconds.

Three grades, as a report on ambulatory ECG has them (clinical reference, section 4.3): *good*, the whole waveform
may be read; *QRS only*, beats and their intervals; *unusable*. Unusable is neither normal nor an alarm.

Each second is judged from the averaged signal that the QRS detector keeps (`kernels.qrs.RING`), `DELAY_S` after it
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

from kernels import qrs
from kernels._jit import jit
from kernels._types import F64, I16

__all__ = [
    "CLIPPED",
    "DELAY_S",
    "FLAT",
    "GOOD",
    "LOST",
    "NOISE",
    "QRS_ONLY",
    "QUALITY",
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
Q_SHOWS = 5  # of each of the last ten seconds: what it shows
Q_FIRST = Q_SHOWS + _SECONDS  # beats of the detector
Q_SECOND = Q_FIRST + _SECONDS  # of the second one
Q_BOTH = Q_SECOND + _SECONDS
Q_TEMPLATE = Q_BOTH + _SECONDS
Q_BEATS = Q_TEMPLATE + _TEMPLATE  # the last R peaks, samples
QUALITY = Q_BEATS + _BEATS
"""Length of the state of one stream, float64: 0.7 KiB. All zero is a new stream."""


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
def _is_noisy(ring: I16, first: int, count: int, lag: int, limit: float) -> bool:
    """Whether the median size of the second difference over `lag` is above `limit` microvolts."""
    under = 0
    for k in range(first, first + count):
        a = int(ring[(k - lag) & (qrs.RING - 1)])
        b = int(ring[k & (qrs.RING - 1)])
        c = int(ring[(k + lag) & (qrs.RING - 1)])
        under += abs(a - 2 * b + c) <= limit
    return 2 * under < count


@jit
def _shows(state: F64, coeffs: F64, first: int, count: int, slope: float) -> int:
    """Look at averaged samples `first` to ``first + count``; give what they show."""
    ring = state[qrs.S_RING : qrs.S_RING + qrs.RING // 4].view(np.int16)
    group = coeffs[qrs.C_GROUP]
    shows = 0
    if state[qrs.S_BREAK] > first * group or state[qrs.S_BAD] >= np.floor(qrs.BAD_S * coeffs[qrs.C_RATE]):
        shows = LOST
    low = high = int(ring[first & (qrs.RING - 1)])
    total = 0
    least = most = 0.0
    quarter = 1
    begun = 0
    for k in range(count):
        value = int(ring[(first + k) & (qrs.RING - 1)])
        low = min(low, value)
        high = max(high, value)
        total += value
        if 4 * (k + 1) >= quarter * count:
            mean = total / (k + 1 - begun)
            least = mean if quarter == 1 else min(least, mean)
            most = mean if quarter == 1 else max(most, mean)
            quarter += 1
            begun = k + 1
            total = 0
    if high - low < _FLAT_UV:
        return shows | FLAT
    if most - least > max(_WANDER_UV, _WANDER_SHARE * slope):
        shows |= WANDER
    if high - low >= _CLIP_RANGE_UV:
        plateau = int(_CLIP_S * coeffs[qrs.C_WORK])
        at_low = at_high = longest = 0
        for k in range(count):
            value = int(ring[(first + k) & (qrs.RING - 1)])
            at_low = at_low + 1 if value <= low + 1 else 0
            at_high = at_high + 1 if value >= high - 1 else 0
            longest = max(longest, at_low, at_high)
        if longest >= plateau:
            shows |= CLIPPED
    lag = int(coeffs[qrs.C_WORK] / _TEMPLATE_HZ + 0.5)
    if _is_noisy(ring, first, count, lag, max(_NOISE_UV, _NOISE_SHARE * slope)):
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
def _second_detector(quality: F64, state: F64, coeffs: F64, first: int, count: int, slot: int) -> None:
    """Find the beats of a second by slopes alone, and count those that the QRS detector has too."""
    ring = state[qrs.S_RING : qrs.S_RING + qrs.RING // 4].view(np.int16)
    work = coeffs[qrs.C_WORK]
    group = coeffs[qrs.C_GROUP]
    lag = int(_SLOPE_S * work + 0.5)
    apart = int(_APART_S * work)
    threshold = _SHARE * quality[Q_SLOPE]
    steepest = 0
    found = both = 0
    peak = 0
    peak_k = first - apart
    for k in range(first - apart, first + count + apart):
        slope = abs(int(ring[k & (qrs.RING - 1)]) - int(ring[(k - lag) & (qrs.RING - 1)]))
        if first <= k < first + count:
            steepest = max(steepest, slope)
        if slope > peak:
            peak = slope
            peak_k = k
        elif k - peak_k >= apart or k == first + count + apart - 1:
            if peak > threshold and first <= peak_k < first + count:
                found += 1
                position = (peak_k - 0.5 * lag) * group
                both += _has_beat(quality, position, _MATCH_S * coeffs[qrs.C_RATE])
            peak = 0
            peak_k = k
    usual = quality[Q_SLOPE]
    if usual == 0.0:
        quality[Q_SLOPE] = max(steepest, 1)
        return
    # A second without a beat teaches little. Steeper ones are learnt slowly: noise lasts for minutes.
    change = min(max(steepest - usual, -0.3 * usual), usual)
    quality[Q_SLOPE] += (_LEARN_UP if change > 0.0 else _LEARN) * change
    quality[Q_SECOND + slot] = found
    quality[Q_BOTH + slot] = both


@jit
def _compare(quality: F64, state: F64, coeffs: F64, first: int, count: int, slot: int) -> None:
    """Correlate the slopes of each complex of a second with the template, and teach it."""
    ring = state[qrs.S_RING : qrs.S_RING + qrs.RING // 4].view(np.int16)
    work = coeffs[qrs.C_WORK]
    group = coeffs[qrs.C_GROUP]
    number = 0
    beats = int(quality[Q_BEAT_N])
    for b in range(max(0, beats - _BEATS), beats):
        centre = int(quality[Q_BEATS + b % _BEATS] / group)
        if not first <= centre < first + count:
            continue
        number += 1
        xy = xx = yy = 0.0
        for i in range(_TEMPLATE):
            k = centre + int(np.floor((i - _TEMPLATE // 2) * work / _TEMPLATE_HZ))
            x = float(int(ring[(k + 1) & (qrs.RING - 1)]) - int(ring[(k - 1) & (qrs.RING - 1)]))
            y = quality[Q_TEMPLATE + i]
            xy += x * y
            xx += x * x
            yy += y * y
        alike = xy / np.sqrt(xx * yy) if xx > 0.0 and yy > 0.0 else 0.0
        share = max(_LEARN, 1.0 / (quality[Q_LEARNT] + 1.0))
        if quality[Q_LEARNT] > 0.0:
            quality[Q_ALIKE] += (_LEARN if quality[Q_LEARNT] > 1.0 else 1.0) * (alike - quality[Q_ALIKE])
        quality[Q_LEARNT] += 1.0
        for i in range(_TEMPLATE):
            k = centre + int(np.floor((i - _TEMPLATE // 2) * work / _TEMPLATE_HZ))
            x = float(int(ring[(k + 1) & (qrs.RING - 1)]) - int(ring[(k - 1) & (qrs.RING - 1)]))
            quality[Q_TEMPLATE + i] += share * (x - quality[Q_TEMPLATE + i])
    quality[Q_FIRST + slot] = number


@jit
def second(quality: F64, state: F64, coeffs: F64, position: float) -> int:
    """Judge the second that ended `DELAY_S` before `position`.

    Parameters
    ----------
    quality : float64[QUALITY]
        Changed in place.
    state : float64[kernels.qrs.STATE]
        Of the detector, after it took the samples up to `position`, and its beats were given to `beat`.
    coeffs : float64[kernels.qrs.COEFFS]
    position : float
        Samples since the start of the segment: a multiple of the rate, each once, ascending.

    Returns
    -------
    int
        What the second shows (LOST, FLAT, CLIPPED, WANDER, NOISE added together), or -1 when there is
        none yet: the first teaches only.
    """
    work = coeffs[qrs.C_WORK]
    count = int(work)
    first = int(position / coeffs[qrs.C_GROUP]) - int(DELAY_S * work) - count
    if first < 1:
        return -1
    slot = int(quality[Q_SECONDS]) % _SECONDS
    if quality[Q_SLOPE] == 0.0:
        _second_detector(quality, state, coeffs, first, count, slot)
        return -1
    shows = _shows(state, coeffs, first, count, quality[Q_SLOPE])
    quality[Q_SHOWS + slot] = shows
    _second_detector(quality, state, coeffs, first, count, slot)
    _compare(quality, state, coeffs, first, count, slot)
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
    defects = 0
    for k in range(judged - seconds, judged):
        defects |= int(quality[Q_SHOWS + k % _SECONDS])
    return defects == 0


@jit
def ten_seconds(quality: F64, state: F64) -> int:
    """Give the grade of the last ten seconds judged, or of what there is from five on, as in a strip; else 0.

    `state` is the QRS detector's.
    """
    judged = min(int(quality[Q_SECONDS]), _SECONDS)
    if judged < _LEAST_SECONDS:
        return 0
    first = found = both = 0.0
    bad = noisy = 0
    for i in range(judged):
        first += quality[Q_FIRST + i]
        found += quality[Q_SECOND + i]
        both += quality[Q_BOTH + i]
        one = grade(int(quality[Q_SHOWS + i]))
        bad += one == UNUSABLE
        noisy += one == QRS_ONLY
    agreement = 2.0 * both / (first + found) if first + found > 0.0 else 1.0
    refused = qrs.refused_share(state)
    doubts = (agreement < _AGREE) + (quality[Q_ALIKE] < _ALIKE) + (refused > _REFUSED)
    doubts += 2 * (bad + noisy) > judged
    if bad > _BAD_SECONDS or agreement < _DISAGREE or doubts >= _MANY_DOUBTS:
        return UNUSABLE
    return QRS_ONLY if bad + noisy > _BAD_SECONDS or doubts > 0 else GOOD
