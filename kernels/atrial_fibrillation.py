"""Atrial fibrillation from the sequence of beats of one stream, as it comes: causal, bounded, one call a beat.

Each interval between two beats without a break joins a window of the last 32 *kept* intervals, unless one of
its beats is ectopic (class S, V, F, Q): an ectopic beat says nothing of the sinus node, and leaving out the
intervals beside it is the largest single gain (Lake and Moorman 2011 recommend it for COSEn too). Five measures
of the window, all relative to its median interval, give by a logistic formula the log-odds of fibrillation:

- *repetition*: the smallest mean difference between intervals 2, 3, ... or 8 apart. Sinus rhythm, bigeminy,
  trigeminy, quadrigeminy and group beating repeat at one of these distances, and so does breathing at 3 to 8
  beats a breath; fibrillation repeats at none;
- the median interval itself: of two equally irregular rhythms the faster is likelier to be fibrillation, as
  sinus arrhythmia belongs to slow rates (COSEn's term -ln(mean RR), Lake and Moorman 2011);
- *concentration*: the largest share of intervals within 8 % of the median of each other. A sinus rhythm with
  ectopic beats keeps a core of equal intervals;
- the interquartile range;
- the mean step of the intervals after a median filter of three beats, which removes single ectopic beats
  (Petrėnas 2015, section 2.2).

The formula speaks of the middle of its window. An episode begins, when the log-odds reach `ON`, at that middle;
it is said once it has lasted `LEAST_BEATS` beats and `LEAST_S` seconds up to the present beat. It ends at the
middle of the window whose log-odds fall under `OFF`. When no interval could be kept for 30 s (signal lost, a run
of ectopic beats), the episode ends at the last kept one and the window is filled anew.

Coefficients: logistic regression over records, `bench.accuracy.af_fit`.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, Flag

__all__ = [
    "BEGAN",
    "ENDED",
    "FEATURES",
    "LEAST_BEATS",
    "LEAST_S",
    "NONE",
    "OFF",
    "ON",
    "STATE",
    "WEIGHTS",
    "WINDOW",
    "end_segment",
    "log_odds",
    "measure",
    "take_beat",
]

NONE = 0
BEGAN = 1
ENDED = 2

WINDOW = 32
_HALF = WINDOW // 2
FEATURES = 5
WEIGHTS = (3.307, -3.893, -10.183, -1.296, 1.055, 11.937)
"""Of the five measures in their order, and the constant."""
ON = 1.4
OFF = 0.7
LEAST_BEATS = 20
LEAST_S = 15.0

_RR_LEAST_S = 0.2
_RR_MOST_S = 3.0  # a longer interval is a pause
_STALE_S = 30.0
_CORE = 0.08
_LAGS = 8  # beats of a breath, at most
_STEP_MOST = 0.25  # one step counts as a quarter of the median interval at most
_TINY = 0.003  # of the median interval: what is smaller is the resolution of the beats' positions

# ---- State: positions in the float64 row. All zero is a new stream.
A_STARTED = 0  # 1: a beat is there
A_LAST = 1  # its position
A_LEFT_OUT = 2  # 1: it is ectopic
A_COUNT = 3  # kept intervals in the window
A_STAGE = 4  # 0: no episode; 1: one that is not said yet; 2: one that is said
A_ONSET = 5  # position
A_ODDS = 6  # sum of the probabilities since the onset was found
A_ODDS_N = 7
A_BEATS = 8  # kept intervals since the onset
A_WATCHED_S = 9  # seconds of all intervals without a break, for the burden
A_FIBRILLATION_S = 10  # seconds of the episodes that ended
A_RR = 11  # s, oldest first
A_SORTED = A_RR + WINDOW
A_AT = A_SORTED + WINDOW  # positions of the beats that end the intervals
A_BEGIN = A_AT + WINDOW  # position of the beat that begins the window's first interval
A_MEASURES = A_BEGIN + 1
STATE = A_MEASURES + FEATURES
"""Length of the state of one stream, float64: 0.9 KiB."""


@jit
def measure(rr_s: F64, ordered: F64, out: F64) -> None:
    """Measure the irregularity of a window of intervals.

    Parameters
    ----------
    rr_s : float64[n]
        Intervals in the order of time, s; n at least 6.
    ordered : float64[n]
        The same, ascending.
    out : float64[FEATURES]
        Receives ln(repetition), ln(median in s), concentration, ln(interquartile range), ln(filtered step).
    """
    n = rr_s.size
    median = 0.5 * (ordered[n // 2] + ordered[(n - 1) // 2])
    per = 1.0 / median
    repetition = np.inf
    for lag in range(2, _LAGS + 1):
        total = 0.0
        for i in range(lag, n):
            total += min(abs(rr_s[i] - rr_s[i - lag]) * per, _STEP_MOST)
        repetition = min(repetition, total / (n - lag))
    low = 0
    core = 0
    for high in range(n):
        while ordered[high] - ordered[low] > _CORE * median:
            low += 1
        core = max(core, high - low + 1)
    total = 0.0
    previous = 0.0
    for i in range(1, n - 1):
        a, b, c = rr_s[i - 1], rr_s[i], rr_s[i + 1]
        middle = max(min(a, b), min(max(a, b), c))
        if i > 1:
            total += min(abs(middle - previous) * per, _STEP_MOST)
        previous = middle
    out[0] = np.log(repetition + _TINY)
    out[1] = np.log(median)
    out[2] = core / n
    out[3] = np.log((ordered[3 * n // 4] - ordered[n // 4]) * per + _TINY)
    out[4] = np.log(total / (n - 3) + _TINY)


@jit
def log_odds(measures: F64) -> float:
    """Give the log-odds of fibrillation from the five measures."""
    total = WEIGHTS[FEATURES]
    for i in range(FEATURES):
        total += WEIGHTS[i] * measures[i]
    return total


@jit
def _keep(state: F64, begin: float, at: float, rr_s: float) -> None:
    """Put an interval that ends at position `at` into the window; the oldest leaves it."""
    count = int(state[A_COUNT])
    if count == WINDOW:
        leaves = state[A_RR]
        state[A_BEGIN] = state[A_AT]
        for i in range(WINDOW - 1):
            state[A_RR + i] = state[A_RR + i + 1]
            state[A_AT + i] = state[A_AT + i + 1]
        i = 0
        while state[A_SORTED + i] != leaves:
            i += 1
        while i < WINDOW - 1:
            state[A_SORTED + i] = state[A_SORTED + i + 1]
            i += 1
        count -= 1
    elif count == 0:
        state[A_BEGIN] = begin
    state[A_RR + count] = rr_s
    state[A_AT + count] = at
    i = count
    while i > 0 and state[A_SORTED + i - 1] > rr_s:
        state[A_SORTED + i] = state[A_SORTED + i - 1]
        i -= 1
    state[A_SORTED + i] = rr_s
    state[A_COUNT] = count + 1


@jit
def _end(state: F64, end: float, decided: float, rate_hz: float, out: F64) -> int:
    """End the episode that is going on, if any, at position `end`."""
    said = state[A_STAGE] == 2.0
    state[A_STAGE] = 0.0
    if not said:
        return NONE
    out[0] = state[A_ONSET]
    out[1] = end
    out[2] = decided
    out[3] = state[A_ODDS] / state[A_ODDS_N]
    state[A_FIBRILLATION_S] += (end - state[A_ONSET]) / rate_hz
    return ENDED


@jit
def _judge(state: F64, first: Flag, at: float, rate_hz: float, out: F64) -> int:
    """Judge a full window. `first`: it has just become full, so that it speaks of its beginning, too."""
    measures = state[A_MEASURES : A_MEASURES + FEATURES]
    measure(state[A_RR : A_RR + WINDOW], state[A_SORTED : A_SORTED + WINDOW], measures)
    odds = log_odds(measures)
    if state[A_STAGE] == 0.0:
        if odds < ON:
            return NONE
        state[A_STAGE] = 1.0
        state[A_ONSET] = state[A_BEGIN] if first else state[A_AT + _HALF - 1]
        state[A_BEATS] = WINDOW if first else _HALF
        state[A_ODDS] = state[A_ODDS_N] = 0.0
    elif odds < OFF:
        return _end(state, max(state[A_AT + _HALF - 1], state[A_ONSET]), at, rate_hz, out)
    else:
        state[A_BEATS] += 1.0
    state[A_ODDS] += 1.0 / (1.0 + np.exp(-odds))
    state[A_ODDS_N] += 1.0
    lasted = (at - state[A_ONSET]) / rate_hz
    if state[A_STAGE] == 1.0 and state[A_BEATS] >= LEAST_BEATS and lasted >= LEAST_S:
        state[A_STAGE] = 2.0
        out[0] = state[A_ONSET]
        out[1] = np.nan
        out[2] = at
        out[3] = state[A_ODDS] / state[A_ODDS_N]
        return BEGAN
    return NONE


@jit
def take_beat(
    state: F64, position: float, ectopic: Flag, break_before: Flag, rate_hz: float, out: F64
) -> int:
    """Take one beat; say whether an episode began or ended.

    Parameters
    ----------
    state : float64[STATE]
        State of the stream, changed in place; zeros for a new stream.
    position : float
        Of the beat, in samples; not before the previous beat's.
    ectopic : bool
        The beat is of class S, V, F or Q. False where the class is not known.
    break_before : bool
        The signal was lost between the previous beat and this one: that is no interval.
    rate_hz : float
        Samples a second.
    out : float64[4]
        Receives onset, end (NaN while it goes on), the position at which this was decided, and the mean
        probability of the windows since the onset.

    Returns
    -------
    int
        NONE, BEGAN or ENDED.
    """
    event = NONE
    if state[A_STARTED] > 0.0:
        rr_s = (position - state[A_LAST]) / rate_hz
        if not break_before:
            state[A_WATCHED_S] += rr_s
        count = int(state[A_COUNT])
        if count > 0 and position - state[A_AT + count - 1] > _STALE_S * rate_hz:
            event = _end(state, state[A_AT + count - 1], position, rate_hz, out)
            state[A_COUNT] = 0.0
        left_out = break_before or ectopic or state[A_LEFT_OUT] > 0.0
        if not left_out and _RR_LEAST_S < rr_s < _RR_MOST_S:
            first = state[A_COUNT] == WINDOW - 1
            _keep(state, state[A_LAST], position, rr_s)
            if state[A_COUNT] == WINDOW:
                event = _judge(state, first, position, rate_hz, out)
    state[A_STARTED] = 1.0
    state[A_LAST] = position
    state[A_LEFT_OUT] = 1.0 if ectopic else 0.0
    return event


@jit
def end_segment(state: F64, rate_hz: float, out: F64) -> int:
    """End the stream, or its segment: an episode that is going on ends at the last kept beat.

    The seconds watched and in fibrillation stay, all else is as new. Parameters and result as of `take_beat`.
    """
    event = NONE
    count = int(state[A_COUNT])
    if count > 0:
        event = _end(state, state[A_AT + count - 1], state[A_LAST], rate_hz, out)
    watched, fibrillation = state[A_WATCHED_S], state[A_FIBRILLATION_S]
    state[:] = 0.0
    state[A_WATCHED_S] = watched
    state[A_FIBRILLATION_S] = fibrillation
    return event
