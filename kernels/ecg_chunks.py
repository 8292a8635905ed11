"""The ECG chunks of a batch, each fed to its stream."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import F64, I32, I64
from kernels.ecg_lead import Scratch
from kernels.prefetch import address, ask
from kernels.rhythm import feed_chunk, max_readings

__all__ = ["feed_chunks"]

_LINE = 64  # bytes of a cache line


@jit
def feed_chunks(
    stream: I64,
    t0_ms: I64,
    rate_hz: F64,
    gain: F64,
    coeffs: F64,
    design: I64,
    sample_from: I64,
    sample_to: I64,
    samples: npt.NDArray[np.int16],
    states: F64,
    work: Scratch,
    count: I64,
    out_t: I64,
    out_code: I64,
    out_milli: I32,
) -> int:
    """Feed chunks in their order.

    Parameters
    ----------
    stream, t0_ms, rate_hz, gain, design, sample_from, sample_to : [chunks]
        Stream of each chunk (row of `states`), its first sample's time, its rate and gain, row of `coeffs`,
        and where its samples are.
    coeffs : float64[rates, COEFFS]
        From `engine.ecg_design.design`.
    states : float64[streams, ROW]
        Changed in place.
    work : Scratch
        Of this thread.
    count : int64[chunks]
        Filled with the number of readings that each gave, or a negative refusal of `kernels.rhythm`.
    out_t, out_code, out_milli : int64[m], int64[m], int32[m]
        Filled; ``m`` at least the sum of `kernels.rhythm.max_readings` over the chunks.

    Returns
    -------
    int
        Readings written.
    """
    n = 0
    for j in range(len(stream)):
        # 8 KB of state from memory take as long as half a second of signal: they come while this one is worked on.
        begin = address(states, stream[min(j + 1, len(stream) - 1)])
        work.ahead[0], work.ahead[1] = begin & -_LINE, begin + 8 * states.shape[1]
        part = samples[sample_from[j] : sample_to[j]]
        room = max_readings(len(part), rate_hz[j])
        count[j] = feed_chunk(
            states[stream[j]], t0_ms[j], rate_hz[j], gain[j], part, coeffs[design[j]],
            work, out_t[n : n + room], out_code[n : n + room], out_milli[n : n + room],
        )  # fmt: skip
        n += max(count[j], 0)
        while work.ahead[0] < work.ahead[1]:
            ask(work.ahead)
    work.ahead[:] = 0
    return n
