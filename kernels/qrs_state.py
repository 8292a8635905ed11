"""State of the QRS detector of one lead: all that is remembered of a stream, and what it knows of the last eight beats.

One row of numbers. Float64 are what filters and decisions go on from; where whole numbers of 16 bits say as much, four
are in the place of one: the last intervals, the shapes of `kernels.qrs_noise`, what is known of quiet, the averaged
signal. All zero is a new stream.

*Levels* are heights of the feature, microvolts: those of the last eight beats and of the last eight maxima that were
refused (Pan and Tompkins 1985). What is compared is the median of eight (Hamilton 2002).
"""

import numpy as np

from kernels import qrs_noise
from kernels._jit import jit
from kernels._types import F64

__all__ = ["COEFFS", "RING", "STATE", "eight_rr", "median8", "push8", "refused_share"]

# ---- Coefficients for one rate (made by engine.ecg_design): positions in a float64[COEFFS].
C_RATE = 0  # Hz
C_GROUP = 1  # samples averaged into one
C_WORK = 2  # Hz, after averaging
C_WIDTH = 3  # averaged samples in the moving average, at most M_RING
C_DELAY = 4  # averaged samples from an R peak to the maximum of the feature
C_SOS = 5  # b0, b1, b2, a1, a2 of each of two second-order sections
COEFFS = C_SOS + 10
"""Length of the array of coefficients."""

# ---- State: positions in the float64 row.
# The signal (`kernels.qrs_signal`).
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
S_J = 10  # averaged samples since the start of the segment; while one is judged, its number
# The filter (`kernels.qrs_filter`); sums are in 1/256 µV.
S_SUM = 11  # of the moving average, whole number
S_AT = 12  # position of its oldest in its ring: 0 from the first step on
S_PEAK = 14  # highest S_SUM since it rose; while it falls, the newest
S_PEAK_J = 15
S_FALLING = 16
# Decisions.
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
S_NOISE = S_BEATS + 8  # of the last 8 that were refused
S_RR = (
    S_NOISE + 8
)  # int16[8]: the last intervals, averaged samples; whole numbers, so that comparisons are exact
S_SHAPES = S_RR + 2  # int16[SHAPES] of `kernels.qrs_noise`
S_IN_NOISE = S_SHAPES + qrs_noise.SHAPES // 4  # int16[8]
N_MODE = 0  # how candidates are judged: BY_HEIGHT, BY_SHAPE or LEAVING
N_LEVEL = 1  # usual height of quiet beats, µV
N_UNCLEAR = 2  # looks since a candidate was clearly like a beat; by height 1: the last beat was not like one
N_STRANGE = 3  # share of beats and high maxima of the feature that were like no beat of quiet; of 4096
N_INTERVAL = 4  # usual interval of quiet beats, averaged samples
N_SPREAD = 5  # how far quiet intervals are from it, usually
CANDIDATES = 16
S_CAND_J = S_IN_NOISE + 2  # averaged sample of the R peak
S_CAND_H = S_CAND_J + CANDIDATES  # height: feature, µV; by shape the logarithm of likeness
S_CAND_S = S_CAND_H + CANDIDATES  # steepest slope, µV an averaged sample; by shape scratch
S_CAND_X = S_CAND_S + CANDIDATES  # R peak in samples
M_RING = 32
S_M_RING = S_CAND_X + CANDIDATES  # what the moving average holds
S_OFFSET = S_M_RING + M_RING  # microvolts that the ring leaves out
S_RING = S_OFFSET + 3  # two are free
RING = 1024
"""Averaged samples kept, int16 microvolts, in ``row[S_RING : S_RING + RING // 4].view(np.int16)``: 4.3 s at 240 Hz.

Averaged sample ``j`` is at index ``j & (RING - 1)``, its middle is at position ``j * group + (group - 1) / 2`` of the
segment, and ``row[S_J]`` is the next ``j``. Saturating. Only differences have a meaning: a constant is left out, and
may change for all of the ring at once. After a loss of signal what was before reads zero.
"""
STATE = S_RING + RING // 4
"""Length of the state of one stream, float64."""

# ---- Values of N_MODE.
BY_HEIGHT = 0
BY_SHAPE = 1
LEAVING = 2  # by shape what is still open, then by height

NEVER = 1e15
"""A step that does not come: S_CHECK where nothing is to be looked at again."""


@jit
def _sorted4(a: float, b: float, c: float, d: float) -> tuple[float, float, float, float]:
    a, b = min(a, b), max(a, b)
    c, d = min(c, d), max(c, d)
    a, c = min(a, c), max(a, c)
    b, d = min(b, d), max(b, d)
    return a, min(b, c), max(b, c), d


@jit
def median8(state: F64, at: int) -> float:
    """Median of the eight values from `at`: mean of the middle two, without a branch."""
    a, b, c, d = _sorted4(state[at], state[at + 1], state[at + 2], state[at + 3])
    e, f, g, h = _sorted4(state[at + 4], state[at + 5], state[at + 6], state[at + 7])
    # Of two sorted fours, the lower half is the lower of each pair put head to tail.
    low = max(min(a, h), min(b, g), min(c, f), min(d, e))
    high = min(max(a, h), max(b, g), max(c, f), max(d, e))
    return 0.5 * float(low + high)


@jit
def push8(state: F64, at: int, value: float) -> None:
    """Put a value behind the seven newest of the eight from `at`."""
    for i in range(at, at + 7):
        state[i] = state[i + 1]
    state[at + 7] = value


@jit
def refused_share(state: F64) -> float:
    """Give the usual height of what was refused as a beat, of that of beats: low in a clean signal."""
    beats = median8(state, S_BEATS)
    return median8(state, S_NOISE) / beats if beats > 0.0 else 0.0


@jit
def eight_rr(state: F64) -> float:
    """Sum of the last eight intervals, averaged samples."""
    intervals = state[S_RR:S_SHAPES].view(np.int16)
    total = 0
    for i in range(8):
        total += int(intervals[i])
    return float(total)
