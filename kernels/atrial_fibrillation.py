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

from kernels._jit import jit, jit_inline
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
    "SCRATCH",
    "STATE",
    "WEIGHTS",
    "WINDOW",
    "end_segment",
    "log_odds",
    "measure",
    "scratch_length",
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
A_NEXT = 11  # slot of the next interval: the window is a ring, of which one slot is written a beat
A_BEGIN = 12  # position of the beat that begins the window's first interval
A_RR = 13  # s
A_AT = A_RR + WINDOW  # positions of the beats that end the intervals
A_ORDER = A_AT + WINDOW  # uint8[WINDOW]: the slots by ascending interval
_ORDER = WINDOW // 8
STATE = A_ORDER + _ORDER
"""Length of the state of one stream, float64: 0.6 KiB."""

_X_ORDERED = _LAGS + WINDOW  # after the window and what stands before it
_X_LAGS = _X_ORDERED + 2 * WINDOW
_X_MEASURES = _X_LAGS + _LAGS
SCRATCH = _X_MEASURES + FEATURES
"""Length of the scratch of one thread, float64."""


@jit_inline
def _repetition(rr_s: F64, n: int, per: float, lags: F64) -> float:
    """Give the least mean difference of the `n` intervals at a distance, each `_STEP_MOST` at most.

    They come after `_LAGS` infinite ones: so all distances have `n` differences, and are lanes of one vector. Half the
    time of one distance after the other.
    """
    for k in range(_LAGS):
        total = 0.0
        for i in range(n):
            total += min(abs(rr_s[_LAGS + i] - rr_s[k + i]) * per, _STEP_MOST)
        lags[k] = total
    least = np.inf
    for lag in range(2, _LAGS + 1):
        # The first `lag` differences are infinite, and have counted as the most.
        least = min(least, (lags[_LAGS - lag] - _STEP_MOST * lag) / (n - lag))
    return least


@jit_inline
def _concentration(ordered: F64, n: int, within: float) -> int:
    """Give the most of `n` ascending intervals, after which come infinite ones, that are `within` of each other.

    Where as many are, fewer are too: their number is found bit by bit, from the highest.
    """
    core = step = 1
    while 2 * step < n:
        step *= 2
    while step > 0:
        if core + step <= n:
            found = 0
            for i in range(n):
                found += ordered[i + core + step - 1] - ordered[i] <= within
            core += step if found > 0 else 0
        step //= 2
    return core


@jit_inline
def _filtered_step(rr_s: F64, n: int, per: float) -> float:
    """Give the sum of the steps of `n` intervals after a median filter of three."""
    total = 0.0
    for i in range(_LAGS + 2, _LAGS + n - 1):
        a, b, c, d = rr_s[i - 2], rr_s[i - 1], rr_s[i], rr_s[i + 1]
        low, high = min(b, c), max(b, c)
        total += min(abs(max(low, min(high, d)) - max(low, min(high, a))) * per, _STEP_MOST)
    return total


@jit_inline
def _measure(rr_s: F64, ordered: F64, n: int, lags: F64, out: F64) -> None:
    """Measure `n` intervals that come after `_LAGS` infinite ones, and before as many when ascending."""
    median = 0.5 * (ordered[n // 2] + ordered[(n - 1) // 2])
    per = 1.0 / median
    out[0] = np.log(_repetition(rr_s, n, per, lags) + _TINY)
    out[1] = np.log(median)
    out[2] = _concentration(ordered, n, _CORE * median) / n
    out[3] = np.log((ordered[3 * n // 4] - ordered[n // 4]) * per + _TINY)
    out[4] = np.log(_filtered_step(rr_s, n, per) / (n - 3) + _TINY)


@jit
def scratch_length(n: int) -> int:
    """Length of the scratch that `measure` takes for `n` intervals."""
    return 2 * _LAGS + 3 * n


@jit
def measure(rr_s: F64, scratch: F64, out: F64) -> None:
    """Measure the irregularity of a window of intervals.

    Parameters
    ----------
    rr_s : float64[n]
        Intervals in the order of time, s; n at least 6.
    scratch : float64[scratch_length(n)]
        Written on.
    out : float64[FEATURES]
        Receives ln(repetition), ln(median in s), concentration, ln(interquartile range), ln(filtered step).
    """
    n = rr_s.size
    for i in range(_LAGS):
        scratch[i] = np.inf
    for i in range(n):
        scratch[_LAGS + i] = rr_s[i]
    ordered = scratch[_LAGS + n : _LAGS + 3 * n]
    for i in range(n):
        ordered[n + i] = np.inf
        k = i
        while k > 0 and ordered[k - 1] > rr_s[i]:
            ordered[k] = ordered[k - 1]
            k -= 1
        ordered[k] = rr_s[i]
    _measure(scratch[: _LAGS + n], ordered, n, scratch[_LAGS + 3 * n :], out)


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
    slot = int(state[A_NEXT])
    order = state[A_ORDER:STATE].view(np.uint8)
    place = count
    if count == WINDOW:
        state[A_BEGIN] = state[A_AT + slot]
        # Its place among the intervals is the first that moves.
        place = 0
        for i in range(WINDOW):
            place += i if order[i] == slot else 0
        count -= 1
    elif count == 0:
        state[A_BEGIN] = begin
    while place < count and state[A_RR + order[place + 1]] < rr_s:
        order[place] = order[place + 1]
        place += 1
    while place > 0 and state[A_RR + order[place - 1]] > rr_s:
        order[place] = order[place - 1]
        place -= 1
    order[place] = slot
    state[A_RR + slot] = rr_s
    state[A_AT + slot] = at
    state[A_NEXT] = (slot + 1) % WINDOW
    state[A_COUNT] = count + 1


@jit
def _newest(state: F64) -> float:
    """Give the position at which the newest interval of the window ends."""
    return state[A_AT + (int(state[A_NEXT]) + WINDOW - 1) % WINDOW]


@jit
def _middle(state: F64) -> float:
    """Give the position of the middle of a full window."""
    return state[A_AT + (int(state[A_NEXT]) + _HALF - 1) % WINDOW]


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
def _judge(state: F64, first: Flag, at: float, rate_hz: float, scratch: F64, out: F64) -> int:
    """Judge a full window. `first`: it has just become full, so that it speaks of its beginning, too."""
    rr_s, ordered = scratch[:_X_ORDERED], scratch[_X_ORDERED:_X_LAGS]
    measures = scratch[_X_MEASURES:SCRATCH]
    order = state[A_ORDER:STATE].view(np.uint8)
    oldest = int(state[A_NEXT])
    for i in range(_LAGS):
        rr_s[i] = np.inf
    # In two pieces: what lies together is copied at once.
    early, late = state[A_RR + oldest : A_RR + WINDOW], state[A_RR : A_RR + oldest]
    to = rr_s[_LAGS + early.size :]
    for i in range(early.size):
        rr_s[_LAGS + i] = early[i]
    for i in range(late.size):
        to[i] = late[i]
    for i in range(WINDOW):
        ordered[i] = state[A_RR + order[i]]
    for i in range(WINDOW, 2 * WINDOW):
        ordered[i] = np.inf
    _measure(rr_s, ordered, WINDOW, scratch[_X_LAGS:_X_MEASURES], measures)
    odds = log_odds(measures)
    if state[A_STAGE] == 0.0:
        if odds < ON:
            return NONE
        state[A_STAGE] = 1.0
        state[A_ONSET] = state[A_BEGIN] if first else _middle(state)
        state[A_BEATS] = WINDOW if first else _HALF
        state[A_ODDS] = state[A_ODDS_N] = 0.0
    elif odds < OFF:
        return _end(state, max(_middle(state), state[A_ONSET]), at, rate_hz, out)
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
    state: F64,
    position: float,
    ectopic: Flag,
    break_before: Flag,
    rate_hz: float,
    scratch: F64,
    out: F64,
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
    scratch : float64[SCRATCH]
        Written on.
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
        if state[A_COUNT] > 0.0 and position - _newest(state) > _STALE_S * rate_hz:
            event = _end(state, _newest(state), position, rate_hz, out)
            state[A_COUNT] = state[A_NEXT] = 0.0
        left_out = break_before or ectopic or state[A_LEFT_OUT] > 0.0
        if not left_out and _RR_LEAST_S < rr_s < _RR_MOST_S:
            first = state[A_COUNT] == WINDOW - 1
            _keep(state, state[A_LAST], position, rr_s)
            if state[A_COUNT] == WINDOW:
                event = _judge(state, first, position, rate_hz, scratch, out)
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
    if state[A_COUNT] > 0.0:
        event = _end(state, _newest(state), state[A_LAST], rate_hz, out)
    watched, fibrillation = state[A_WATCHED_S], state[A_FIBRILLATION_S]
    state[:] = 0.0
    state[A_WATCHED_S] = watched
    state[A_FIBRILLATION_S] = fibrillation
    return event
