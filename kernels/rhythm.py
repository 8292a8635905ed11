"""Rhythm events from one ECG lead as it comes: heart rate, pause, slow and fast runs of beats.

`feed_chunk` takes an ECG chunk, runs the QRS detector on it and gives readings: time, signal code and
thousandths of the signal's unit, the same codes as in a packet.

========  ==================================================================================================
code      reading
========  ==================================================================================================
8         heart rate: every 10 s of signal, the mean rate of the RR intervals that ended in these 10 s; none
          (undetermined) when they last less than 3 s together
40        pause: RR interval of 3 s or more, at the beat that ends it; and, while it lasts, what it has
          reached at 3, 4, ... 10, 20, 30 ... 600 s
41        slowest rate over 5 beats, 60 * 4 / (t[i+4] - t[i]), of these 10 s when under 60 a minute
42        fastest rate over 17 beats, 60 * 16 / (t[i+16] - t[i]), of these 10 s when over 100 a minute
========  ==================================================================================================

Intervals of five and seventeen beats: PhysioNet/CinC Challenge 2015, table 1.

**A pause is never hidden.** The detector's candidates are all judged before a pause is said, at most about
1.6 s after it reached its length. A flat line is a pause: that an electrode is off cannot be told from
flatness. Only samples at the rails of the 16-bit range (no signal, by the device's own word) stop the count,
which begins again when the signal is back; and so does a gap in time.

**Time.** The segment's first chunk gives the clock, samples count from there. A chunk that begins half a
sample period and 1 ms or less from the expected time goes on in the same clock. One that deviates more, by up
to half a period, 2 ms and a thousandth of the previous chunk's duration, goes on too, and the clock moves by
that much: device crystals drift. One that begins later is a gap: the 10 s then running are closed, the
filters start anew, and what was learnt of the amplitude is kept when the gap is under a minute. One that
begins earlier has been seen already, or overlaps: it is refused.

Nothing depends on how the samples were cut into chunks: what depends on time is judged at every half second
of the segment's sample count, and beats one by one.
"""

import numpy as np

from kernels import qrs
from kernels._jit import jit
from kernels._types import F64, I16, I32, I64, Flag
from kernels.qrs import feed, restart, settled

__all__ = [
    "BAD_CHUNK",
    "CODE_FAST",
    "CODE_PAUSE",
    "CODE_RATE",
    "CODE_SLOW",
    "NO_ROOM",
    "ROW",
    "SEEN",
    "feed_chunk",
    "max_readings",
]

CODE_RATE = 8
CODE_PAUSE = 40
CODE_SLOW = 41
CODE_FAST = 42

SEEN = -1
"""The chunk begins before the end of what has been taken."""
NO_ROOM = qrs.NO_ROOM
"""The outputs are shorter than `max_readings`."""
BAD_CHUNK = -3
"""The rate is not that of the coefficients, or the gain is not positive and finite."""

_WINDOW_TICKS = 20  # of half a second
_LEAST_RR_S = 3.0
_SLOW_BEATS = 5
_FAST_BEATS = 17
_SLOW_UNDER = 60.0
_FAST_OVER = 100.0
_PAUSE_S = 3.0
_PAUSE_END_S = 600.0
_KEEP_MS = 60_000.0
_HISTORY = 17
_BEATS = 32  # beats that half a second of at most 1000 Hz and the kept candidates can bring

R_ANCHOR = qrs.STATE  # ms, time of position 0
R_CHUNK_MS = R_ANCHOR + 1  # duration of the previous chunk
R_TICK = R_ANCHOR + 2  # half seconds of the segment that are over
R_RR_SUM = R_ANCHOR + 3  # samples, of intervals that ended in this window
R_RR_N = R_ANCHOR + 4
R_SLOW = R_ANCHOR + 5  # longest 4 intervals, samples; 0: none
R_SLOW_AT = R_ANCHOR + 6
R_FAST = R_ANCHOR + 7  # shortest 16 intervals
R_FAST_AT = R_ANCHOR + 8
R_QUIET = R_ANCHOR + 9  # position from which there has been no beat
R_AFTER_BEAT = R_ANCHOR + 10  # 1: a beat is there; 0: the signal begins there
R_NEXT_S = R_ANCHOR + 11  # next length of a pause to say
R_COUNT = R_ANCHOR + 12  # beats in history
R_BEATS = R_ANCHOR + 13  # R peaks of the last 17 beats without a break, oldest first
R_SCRATCH = R_BEATS + _HISTORY
ROW = R_SCRATCH + 2 * _BEATS
"""Length of the state of one stream, float64: 3.9 KiB. All zero is a new stream."""


@jit
def max_readings(n: int, rate: float) -> int:
    """Length that the outputs of `feed_chunk` need for `n` samples at `rate`."""
    return 40 + 2 * int(n / rate)


@jit
def _emit(
    row: F64, count: int, at: float, code: int, value: float, out_t: I64, out_code: I64, out_milli: I32
) -> int:
    """Write one reading at position `at` of the segment."""
    out_t[count] = int(np.floor(row[R_ANCHOR] + at * 1000.0 / row[qrs.S_RATE] + 0.5))
    out_code[count] = code
    out_milli[count] = np.int32(np.floor(value * 1000.0 + 0.5))
    return count + 1


@jit
def _close_window(row: F64, at: float, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Give the readings of the window that ends at position `at` and begin the next."""
    rate = row[qrs.S_RATE]
    if row[R_SLOW] > 0.0:
        value = 60.0 * (_SLOW_BEATS - 1) * rate / row[R_SLOW]
        count = _emit(row, count, row[R_SLOW_AT], CODE_SLOW, value, out_t, out_code, out_milli)
    if row[R_FAST] > 0.0:
        value = 60.0 * (_FAST_BEATS - 1) * rate / row[R_FAST]
        count = _emit(row, count, row[R_FAST_AT], CODE_FAST, value, out_t, out_code, out_milli)
    if row[R_RR_SUM] >= _LEAST_RR_S * rate:
        value = 60.0 * rate * row[R_RR_N] / row[R_RR_SUM]
        count = _emit(row, count, at, CODE_RATE, value, out_t, out_code, out_milli)
    for i in range(R_RR_SUM, R_FAST_AT + 1):
        row[i] = 0.0
    return count


@jit
def _quiet_from(row: F64, at: float) -> None:
    """Count a pause from position `at`, where the signal begins."""
    row[R_QUIET] = at
    row[R_AFTER_BEAT] = 0.0
    row[R_NEXT_S] = _PAUSE_S


@jit
def _beat(row: F64, at: float, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Take a beat at position `at`."""
    rate = row[qrs.S_RATE]
    if row[R_QUIET] < row[qrs.S_BREAK] <= at:
        _quiet_from(row, row[qrs.S_BREAK])
    since = (at - row[R_QUIET]) / rate
    if since >= _PAUSE_S and (row[R_AFTER_BEAT] > 0.0 or row[R_NEXT_S] > _PAUSE_S):
        count = _emit(row, count, at, CODE_PAUSE, min(since, _PAUSE_END_S), out_t, out_code, out_milli)
    row[R_QUIET] = at
    row[R_AFTER_BEAT] = 1.0
    row[R_NEXT_S] = _PAUSE_S
    n = int(row[R_COUNT])
    if n > 0 and row[R_BEATS + n - 1] < row[qrs.S_BREAK]:
        n = 0  # the signal was lost in between
    if n > 0:
        row[R_RR_SUM] += at - row[R_BEATS + n - 1]
        row[R_RR_N] += 1.0
    if n == _HISTORY:
        for i in range(_HISTORY - 1):
            row[R_BEATS + i] = row[R_BEATS + i + 1]
        n -= 1
    row[R_BEATS + n] = at
    n += 1
    row[R_COUNT] = n
    if n >= _SLOW_BEATS:
        span = at - row[R_BEATS + n - _SLOW_BEATS]
        if 60.0 * (_SLOW_BEATS - 1) * rate < _SLOW_UNDER * span and span > row[R_SLOW]:
            row[R_SLOW] = span
            row[R_SLOW_AT] = at
    if n >= _FAST_BEATS:
        span = at - row[R_BEATS + n - _FAST_BEATS]
        if 60.0 * (_FAST_BEATS - 1) * rate > _FAST_OVER * span and (row[R_FAST] == 0.0 or span < row[R_FAST]):
            row[R_FAST] = span
            row[R_FAST_AT] = at
    return count


@jit
def _tick(row: F64, coeffs: F64, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Judge what depends on time, at a half second of the segment."""
    rate = row[qrs.S_RATE]
    at = row[qrs.S_N]
    row[R_TICK] += 1.0
    if row[qrs.S_BAD] >= np.floor(qrs.BAD_S * rate):
        _quiet_from(row, at)
        row[R_COUNT] = 0.0
    else:
        if row[R_QUIET] < row[qrs.S_BREAK]:
            _quiet_from(row, row[qrs.S_BREAK])
        quiet = (settled(row, coeffs) - row[R_QUIET]) / rate
        while row[R_NEXT_S] <= quiet and row[R_NEXT_S] <= _PAUSE_END_S:
            reached = row[R_NEXT_S]
            end = row[R_QUIET] + reached * rate
            count = _emit(row, count, end, CODE_PAUSE, reached, out_t, out_code, out_milli)
            row[R_NEXT_S] = reached + (1.0 if reached < 10.0 else 10.0)
    if int(row[R_TICK]) % _WINDOW_TICKS == 0:
        count = _close_window(row, at, count, out_t, out_code, out_milli)
    return count


@jit
def _begin(row: F64, t0_ms: int, keep: Flag) -> None:
    """Begin a segment whose position 0 is at `t0_ms`."""
    restart(row, keep)
    for i in range(qrs.STATE, ROW):
        row[i] = 0.0
    row[R_ANCHOR] = t0_ms
    row[R_NEXT_S] = _PAUSE_S


@jit
def feed_chunk(
    row: F64,
    t0_ms: int,
    rate_hz: float,
    gain: float,
    samples: I16,
    coeffs: F64,
    out_t: I64,
    out_code: I64,
    out_milli: I32,
) -> int:
    """Take one ECG chunk and give the readings that it decides.

    Parameters
    ----------
    row : float64[ROW]
        State of the stream, changed in place; zeros for a new stream.
    t0_ms : int64
        Time of the first sample, milliseconds UTC.
    rate_hz : float
        From 100 to 1000.
    gain : float
        Units per millivolt.
    samples : int16[n]
        In units of ``1 / gain`` millivolt; -32768 and 32767 are no signal.
    coeffs : float64[kernels.qrs.COEFFS]
        For `rate_hz`, from `engine.ecg_design.design`.
    out_t, out_code : int64[], out_milli : int32[]
        Receive the time (ms UTC), code and value (thousandths) of each reading. At least
        ``max_readings(n, rate_hz)`` long.

    Returns
    -------
    int
        Number of readings, or SEEN, NO_ROOM, BAD_CHUNK: nothing is taken then.
    """
    n = samples.size
    if coeffs[qrs.C_RATE] != rate_hz or not 0.0 < gain < np.inf:
        return BAD_CHUNK
    room = max_readings(n, rate_hz)
    if out_t.size < room or out_code.size < room or out_milli.size < room:
        return NO_ROOM
    if n == 0:
        return 0
    count = 0
    old_rate = row[qrs.S_RATE]
    if old_rate == 0.0:
        _begin(row, t0_ms, False)  # noqa: FBT003 - Numba takes it by position
    else:
        ahead = t0_ms - (row[R_ANCHOR] + row[qrs.S_N] * 1000.0 / old_rate)
        exact = 500.0 / old_rate + 1.0
        drift = exact + 1.0 + 0.001 * row[R_CHUNK_MS]
        if ahead < -drift:
            return SEEN
        if ahead > drift or rate_hz != old_rate or gain != row[qrs.S_GAIN]:
            count = _close_window(row, row[qrs.S_N], count, out_t, out_code, out_milli)
            _begin(row, t0_ms, ahead < _KEEP_MS)
        elif abs(ahead) > exact:
            row[R_ANCHOR] += ahead
    beats = row[R_SCRATCH : R_SCRATCH + _BEATS].view(np.int64)
    decided = row[R_SCRATCH + _BEATS : R_SCRATCH + 2 * _BEATS].view(np.int64)
    at = 0
    while at < n:
        # To the next half second of the segment, or to the chunk's end.
        boundary = int((row[R_TICK] + 1.0) * 0.5 * rate_hz)
        taken = int(row[qrs.S_N])
        end = min(n, at + boundary - taken)
        found = feed(row, samples[at:end], gain, coeffs, beats, decided)
        for i in range(found):
            count = _beat(row, float(beats[i]), count, out_t, out_code, out_milli)
            beats[i] = decided[i] = 0  # the whole row, too, does not depend on the cuts
        at = end
        if row[qrs.S_N] >= boundary:
            count = _tick(row, coeffs, count, out_t, out_code, out_milli)
    row[R_CHUNK_MS] = n * 1000.0 / rate_hz
    return count
