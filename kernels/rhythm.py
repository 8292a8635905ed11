"""ECG chunks of one stream as they come: the clock of its segments, and the readings that they decide.

`feed_chunk` takes a chunk, lets `kernels.ecg_lead` find beats and episodes in it, and gives what
`kernels.ecg_readings` makes of them: time, signal code and thousandths of the signal's unit, the same codes as in
a packet.

**Time.** The segment's first chunk gives the clock, samples count from there. A chunk that begins half a
sample period and 1 ms or less from the expected time goes on in the same clock. One that deviates more, by up
to half a period, 2 ms and a thousandth of the previous chunk's duration, goes on too, and the clock moves by
that much: device crystals drift. One that begins later is a gap. Under a minute it is taken as lost signal, just as
samples at the rails would be: no beat, interval or pause spans it, its quality is unusable, and what looks back on
minutes, as atrial fibrillation does, goes on: a patch that loses packets is not blind. From a minute on the segment
ends: what is open is decided, the 10 s then running are closed, and all begins anew. One that begins earlier has
been seen already, or overlaps: it is refused.

Nothing depends on how the samples were cut into chunks.
"""

import numpy as np

from kernels import ecg_lead, ecg_readings, qrs
from kernels._jit import jit, jit_part
from kernels._types import F64, I16, I32, I64, Flag
from kernels.ecg_lead import Scratch
from kernels.ecg_readings import max_readings
from kernels.qrs_state import C_RATE, S_GAIN, S_N, S_RATE

__all__ = ["BAD_CHUNK", "NO_ROOM", "ROW", "SEEN", "feed_chunk", "max_readings", "scratch"]

SEEN = -1
"""The chunk begins before the end of what has been taken."""
NO_ROOM = qrs.NO_ROOM
"""The outputs are shorter than `max_readings`."""
BAD_CHUNK = -3
"""The rate is not that of the coefficients, or the gain is not positive and finite."""

_BRIDGED_MS = 60_000.0

_HALF_SECOND = 0.5

R_CHUNK_MS = ecg_readings.END  # duration of the previous chunk
ROW = R_CHUNK_MS + 1
"""Length of the state of one stream, float64. All zero is a new stream."""


def scratch() -> Scratch:
    """Make the scratch of one thread: `feed_chunk` takes half a second at a time."""
    return ecg_lead.scratch(_HALF_SECOND)


@jit
def _heard(row: F64, work: Scratch, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """Make readings of the beats and episodes in the scratch."""
    for i in range(work.counts[0]):
        count = ecg_readings.beat(row, float(work.beat[i]), count, out_t, out_code, out_milli)
    for i in range(work.counts[2]):
        count = ecg_readings.found(row, work.rows[i], count, out_t, out_code, out_milli)
    return count


@jit_part
def _end(row: F64, coeffs: F64, work: Scratch, count: int, out_t: I64, out_code: I64, out_milli: I32) -> int:
    """End a segment: what is open is decided, and said."""
    at = row[S_N]
    ecg_lead.finish(row, coeffs, work)
    count = _heard(row, work, count, out_t, out_code, out_milli)
    return ecg_readings.close_window(row, at, count, out_t, out_code, out_milli)


@jit_part
def _begin(row: F64, t0_ms: int, keep: Flag) -> None:
    """Begin a segment whose position 0 is at `t0_ms`."""
    ecg_lead.restart(row, keep)
    ecg_readings.begin(row, t0_ms)


@jit_part
def _take(
    row: F64, samples: I16, gain: float, coeffs: F64, work: Scratch, count: int, out_t: I64, out_code: I64,
    out_milli: I32,
) -> int:  # fmt: skip
    """Take samples that go on in the clock of the segment."""
    rate = coeffs[C_RATE]
    at = 0
    while at < samples.size:
        # To the next half second of the segment, or to the end.
        boundary = ecg_lead.next_tick(row, rate)
        end = min(samples.size, at + boundary - int(row[S_N]))
        ecg_lead.feed(row, samples[at:end], gain, coeffs, work)
        count = _heard(row, work, count, out_t, out_code, out_milli)
        at = end
        if row[S_N] >= boundary:
            count = ecg_readings.tick(row, coeffs, count, out_t, out_code, out_milli)
    return count


@jit_part
def feed_chunk(
    row: F64,
    t0_ms: int,
    rate_hz: float,
    gain: float,
    samples: I16,
    coeffs: F64,
    work: Scratch,
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
        In units of ``1 / gain`` millivolt; -32768, -32767 and 32767 are no signal.
    coeffs : float64[kernels.qrs_state.COEFFS]
        For `rate_hz`, from `engine.ecg_design.design`.
    work : Scratch
        Of this thread.
    out_t, out_code : int64[], out_milli : int32[]
        Receive the time (ms UTC), code and value (thousandths) of each reading. At least
        ``max_readings(n, rate_hz)`` long.

    Returns
    -------
    int
        Number of readings, or SEEN, NO_ROOM, BAD_CHUNK: nothing is taken then.
    """
    n = samples.size
    if coeffs[C_RATE] != rate_hz or not 0.0 < gain < np.inf:
        return BAD_CHUNK
    room = max_readings(n, rate_hz)
    if out_t.size < room or out_code.size < room or out_milli.size < room:
        return NO_ROOM
    if n == 0:
        return 0
    count = np.int64(0)  # a plain 0 is a type of its own to Numba: what takes it would be compiled twice
    old_rate = row[S_RATE]
    if old_rate == 0.0:
        _begin(row, t0_ms, False)  # noqa: FBT003 - Numba takes it by position
    else:
        ahead = t0_ms - (row[ecg_readings.R_ANCHOR] + row[S_N] * 1000.0 / old_rate)
        exact = 500.0 / old_rate + 1.0
        drift = exact + 1.0 + 0.001 * row[R_CHUNK_MS]
        if ahead < -drift:
            return SEEN
        goes_on = rate_hz == old_rate and gain == row[S_GAIN]
        if goes_on and drift < ahead < _BRIDGED_MS:
            gap = left = int(ahead * rate_hz / 1000.0 + 0.5)
            while left > 0:
                lost = work.lost[: min(left, work.lost.size)]
                count = _take(row, lost, gain, coeffs, work, count, out_t, out_code, out_milli)
                left -= lost.size
            ecg_readings.shift(row, ahead - gap * 1000.0 / rate_hz)
        elif ahead > drift or not goes_on:
            if rate_hz == old_rate:
                count = _end(row, coeffs, work, count, out_t, out_code, out_milli)
            else:
                # The filters of the old rate are not here: what they had not decided is left.
                ecg_lead.finish_clock(row, work)
                count = _heard(row, work, count, out_t, out_code, out_milli)
                count = ecg_readings.close_window(row, row[S_N], count, out_t, out_code, out_milli)
            _begin(row, t0_ms, ahead < _BRIDGED_MS)
        elif abs(ahead) > exact:
            ecg_readings.shift(row, ahead)
    count = _take(row, samples, gain, coeffs, work, count, out_t, out_code, out_milli)
    row[R_CHUNK_MS] = n * 1000.0 / rate_hz
    return count
