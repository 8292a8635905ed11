"""What a short strip shows, as one label: N (sinus rhythm), A (atrial fibrillation), O (another rhythm) or ~ (noise).

The labels are those of PhysioNet/CinC Challenge 2017 (Clifford 2017, Computing in Cardiology 44), given there by
experts to strips of 9 to 61 s of a hand-held device. `kernels.atrial_fibrillation` speaks of windows of 32 beats and of
episodes of 15 s; a strip often has fewer beats. So a strip is judged whole: twelve measures of its rhythm and of its
mean beat, each with its square, weighed by a multinomial logistic model.

Rhythm, from intervals of 0.2 to 3 s, as shares of their median where they are differences:

- the median interval, and all beats per second, which differ where beats are missing;
- irregularity: mean step after a median filter of three beats (Petrėnas 2015), share of steps over a tenth, root mean
  square of steps, coefficient of sample entropy (Lake and Moorman 2011; the tolerance is widened until five match);
- shortest and longest interval.

Beats, cut out and averaged (median): an atrium that fibrillates makes no P wave, noise makes no two beats alike:

- share of beats whose QRS does not correlate with the mean one;
- before the QRS: the usual correlation with the mean beat, the height of the mean, and what is left without it.

Measures, weights and the figures on strips left out of the fit: `bench.accuracy.strips2017`.
"""

import numpy as np
import numpy.typing as npt

from engine.ecg_analysis import Analysis
from ingest.formats.lead import Lead
from kernels import atrial_fibrillation as af

__all__ = ["LABELS", "LONGEST_S", "MEASURES", "MODEL", "expanded", "label", "measures"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

LABELS = "NAO~"
LONGEST_S = 61.0
"""A longer record may hold several rhythms: it has episodes, not a label."""
MEASURES = 12
_CLIP = 4.0  # standard deviations: beyond, a measure says no more

_RR_S = (0.2, 3.0)
_LEAST_RR = 6
_RHYTHM_UNKNOWN = (0.0, -3.5, 0.0, -3.0, 0.0, 1.0, 1.0)  # too few beats: neither irregular nor not
_STEP = 0.1
_MATCHES = 5
_TOLERANCE_S = 0.03
_WIDEN = 1.2
_WIDENINGS = 30
_TINY = 0.005
_CUT_HZ = 100.0
_BEFORE_S, _AFTER_S = 0.30, 0.12
_QRS_S = (-0.08, 0.10)
_P_S = (-0.26, -0.06)
_LEVEL_S = (-0.10, -0.05)
_LEAST_BEATS = 4
_ALIKE = 0.8


def label(lead: Lead, analysis: Analysis) -> str:
    """Give N, A, O or ~ for a strip.

    Parameters
    ----------
    lead : Lead
    analysis : Analysis
        Of that lead.
    """
    mean, scale, weights = MODEL
    odds = expanded((measures(lead, analysis) - mean) / scale) @ weights
    return LABELS[int(np.argmax(odds))]


def expanded(z: F64) -> F64:
    """Give what the model weighs: clipped standardised measures, half their squares, and 1; float64[..., 25]."""
    z = np.clip(z, -_CLIP, _CLIP)
    return np.concatenate((z, 0.5 * z * z, np.ones((*z.shape[:-1], 1))), axis=-1)


def measures(lead: Lead, analysis: Analysis) -> F64:
    """Measure a strip: rhythm, then beats, in the order of the module's text.

    Returns
    -------
    float64[MEASURES]
    """
    rhythm = _rhythm(analysis)
    per_s = len(analysis.beats) * analysis.rate_hz / max(analysis.length, 1)
    return np.array([*rhythm, per_s, *_beats(lead, analysis.beats)])


def _rhythm(analysis: Analysis) -> tuple[float, ...]:
    rr = np.diff(analysis.beats) / analysis.rate_hz
    rr = rr[(rr > _RR_S[0]) & (rr < _RR_S[1])]
    if len(rr) < _LEAST_RR:
        return _RHYTHM_UNKNOWN
    irregular = np.zeros(af.FEATURES)
    af.measure(rr, np.empty(af.scratch_length(len(rr))), irregular)
    median = float(np.median(rr))
    steps = np.abs(np.diff(rr)) / median
    return (
        float(np.log(median)),
        float(irregular[4]),
        float(np.mean(steps > _STEP)),
        float(np.log(np.sqrt(np.mean(steps**2)) + _TINY)),
        _entropy(rr),
        float(rr.min()) / median,
        float(rr.max()) / median,
    )


def _entropy(rr_s: F64) -> float:
    """Coefficient of sample entropy for pairs of intervals."""
    first, second = np.triu_indices(len(rr_s) - 1, 1)
    one = np.abs(rr_s[first] - rr_s[second])
    two = np.maximum(one, np.abs(rr_s[first + 1] - rr_s[second + 1]))
    tolerance = _TOLERANCE_S
    for _ in range(_WIDENINGS):
        if np.count_nonzero(two < tolerance) >= _MATCHES:
            break
        tolerance *= _WIDEN
    pairs = max(int(np.count_nonzero(two < tolerance)), 1)
    singles = max(int(np.count_nonzero(one < tolerance)), 1)
    return float(np.log(singles / pairs * 2.0 * tolerance / np.mean(rr_s)))


def _beats(lead: Lead, at: I64) -> tuple[float, float, float, float]:
    """Give the share of odd QRS complexes; before them, correlation, height and rest, the last two as logarithms."""
    group = max(1, round(lead.rate_hz / _CUT_HZ))
    rate = lead.rate_hz / group
    x = lead.samples[: len(lead.samples) // group * group].reshape(-1, group).mean(axis=1)
    before, after = round(_BEFORE_S * rate), round(_AFTER_S * rate)
    at = at // group
    at = at[(at >= before) & (at + after <= len(x))]
    if len(at) < _LEAST_BEATS:
        return 1.0, 0.0, 0.0, 0.0
    cut = x[at[:, None] + np.arange(-before, after)]

    def part(span_s: tuple[float, float]) -> slice:
        return slice(before + round(span_s[0] * rate), before + round(span_s[1] * rate))

    cut = cut - np.median(cut[:, part(_LEVEL_S)], axis=1, keepdims=True)
    mean = np.median(cut, axis=0)
    height = float(np.ptp(mean[part(_QRS_S)])) + 1e-9
    qrs, p = _correlations(cut, mean, part(_QRS_S)), _correlations(cut, mean, part(_P_S))
    rest = float(np.median(np.std((cut - mean)[:, part(_P_S)], axis=1)))
    wave = float(np.ptp(mean[part(_P_S)]))
    return (
        float(np.mean(qrs < _ALIKE)),
        float(np.median(p)),
        float(np.log(min(wave / height, 10.0) + 0.01)),
        float(np.log(min(rest / height, 10.0) + 0.01)),
    )


def _correlations(cut: F64, mean: F64, part: slice) -> F64:
    each = cut[:, part] - cut[:, part].mean(axis=1, keepdims=True)
    usual = mean[part] - mean[part].mean()
    size = np.sqrt((each**2).sum(axis=1) * (usual**2).sum())
    return np.asarray((each * usual).sum(axis=1) / np.maximum(size, 1e-9))


_MEAN = (-0.21, -3.705, 0.231, -2.283, -1.865, 0.6629, 1.247, 1.279, 0.103, 0.7362, -2.259, -3.248)
_SCALE = (0.2142, 0.8515, 0.272, 1.063, 0.6574, 0.252, 0.3759, 0.2734, 0.1725, 0.2309, 0.5365, 0.6082)
# A row for each measure, then for half its square, then the constant; a column for each label.
_WEIGHTS = (
    (0.146, -0.096, 0.007, -0.058),
    (0.080, 0.263, -0.543, 0.200),
    (-0.792, 0.304, 0.304, 0.184),
    (-0.629, 0.316, 0.298, 0.015),
    (0.015, 0.351, -0.427, 0.061),
    (-0.119, 0.288, -0.162, -0.008),
    (-0.369, 0.348, 0.227, -0.206),
    (-0.175, 0.109, -0.038, 0.104),
    (-0.060, -0.195, -0.077, 0.332),
    (0.330, -0.226, 0.285, -0.389),
    (0.250, -0.692, 0.037, 0.405),
    (-0.066, 0.033, -0.393, 0.426),
    (-0.352, 0.230, 0.220, -0.098),
    (-0.099, -0.243, 0.302, 0.040),
    (0.042, -0.190, 0.074, 0.075),
    (-0.105, -0.146, 0.305, -0.054),
    (-0.136, 0.376, -0.183, -0.056),
    (0.509, -0.229, -0.167, -0.113),
    (0.198, -0.019, -0.164, -0.015),
    (-0.604, 0.192, -0.002, 0.414),
    (0.208, -0.152, 0.108, -0.164),
    (-0.045, -0.258, 0.001, 0.301),
    (-0.255, 0.153, 0.093, 0.009),
    (0.112, -0.339, 0.044, 0.182),
    (2.089, -0.819, 1.295, -2.565),
)
MODEL: tuple[F64, F64, F64] = (np.array(_MEAN), np.array(_SCALE), np.array(_WEIGHTS))
"""Mean and scale of the measures, and weights: `bench.accuracy.strips2017` --fit."""
