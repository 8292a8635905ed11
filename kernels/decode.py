"""From bodies of concatenated msgpack packets to columns, in one pass; ``docs/packet.md`` is the specification.

Each packet is first tried on the short path (`kernels.short_path`), which accepts it or gives it up. What is given up
goes the careful path: find the end of the object (`kernels.wire.skip`), then judge it element by element
(`kernels.careful_path`).

Bounds, by construction: the short path is taken only where MARGIN bytes follow and reads fewer; `skip` tests each
read against the end of the body; the careful path stays inside the object that `skip` has measured; the columns
have the `kernels.packets.capacities` rows that the bodies can fill at most.
"""

import numpy as np

from kernels._jit import jit
from kernels.careful_path import careful_path
from kernels.identity import hash_bytes
from kernels.packets import ACT_CODES, SHORTEST_PACKET, Bytes, Columns, Int64, Range, Refused, capacities
from kernels.reading import FUTURE_MS, check_columns, check_pressures, check_time, check_value, to_milli
from kernels.refusals import NOT_A_PACKET, NOT_ENROLLED, OK
from kernels.short_path import MARGIN, short_path
from kernels.wire import MAX_DEPTH, skip

__all__ = [
    "ACT_CODES",
    "MARGIN",
    "MAX_DEPTH",
    "MAY_ACT",
    "TURNED_AWAY",
    "Columns",
    "Refused",
    "capacities",
    "check_columns",
    "check_pressures",
    "check_time",
    "check_value",
    "decode_bodies",
    "hash_bytes",
    "to_milli",
]

MAY_ACT = 1
"""Bit of a body's flags: its source may send acts of the cell."""
TURNED_AWAY = 2
"""Bit of a body's flags: all that is in it was sent by a source that may not send it (NOT_ENROLLED)."""


@jit
def decode_bodies(
    data: Bytes,
    body_at: Int64,
    offset: Int64,
    receipt_ms: Int64,
    source: Int64,
    flags: Bytes,
    low: Range,
    high: Range,
    leads: Bytes,
    margin: int,
    stack: Int64,
    out: Columns,
    refused: Refused,
) -> tuple[int, int, int, int, int]:
    """Decode every packet of every body.

    Parameters
    ----------
    data : uint8[size]
        The bodies one after the other; what follows the last is not looked at.
    body_at : int64[bodies + 1]
        Where each begins and the last one ends.
    offset, receipt_ms, source : int64[bodies]
        Of the log entry that brought the body: written to each of its packets.
    flags : uint8[bodies]
        MAY_ACT, TURNED_AWAY or 0.
    low, high : float64[codes]
        Plausible range by code, in the signal's unit; NaN where the code is not that of a spot signal.
    leads : uint8[codes]
        1 where the code is that of an ECG lead.
    margin : int
        MARGIN; more than ``len(data)`` switches the short path off, for tests.
    stack : int64[MAX_DEPTH]
        Scratch.
    out : Columns
        Written. Each column has the rows of `capacities`, `value_at` and `sample_at` one more.
    refused : Refused
        Written, in ascending order of `at`, which counts from the beginning of `data`.

    Returns
    -------
    packets, values, chunks, samples, refused : int
        Rows written.
    """
    size = len(data)
    # Typed: with a literal 0 Numba would compile both paths twice.
    row = np.int64(0)
    value = np.int64(0)
    chunk = np.int64(0)
    sample = np.int64(0)
    bad = np.int64(0)
    out.value_at[0] = 0
    out.sample_at[0] = 0
    for body in range(len(offset)):
        at = body_at[body]
        stop = body_at[body + 1]
        latest_ms = receipt_ms[body] + FUTURE_MS
        first_row = row
        short_run = False  # the last refusal is of objects too short to be a packet
        while at < stop:
            turned_away = flags[body] & TURNED_AWAY
            if at + margin <= size and not turned_away:
                after, pairs = short_path(data, at, stop, latest_ms, low, high, out, row, value)
                if after >= 0:
                    at = after
                    value += pairs
                    row += 1
                    out.value_at[np.uint64(row)] = value
                    short_run = False
                    continue
            after, reason = skip(data, at, stop, stack)
            if reason != OK:
                after = stop
            elif turned_away:
                # What is too short to be a packet stays so: `capacities` counts on it.
                reason = np.int64(NOT_ENROLLED if after - at >= SHORTEST_PACKET else NOT_A_PACKET)
            else:
                reason, pairs, samples = careful_path(
                    data,
                    at,
                    receipt_ms[body],
                    flags[body] & MAY_ACT != 0,
                    low,
                    high,
                    leads,
                    out,
                    row,
                    value,
                    chunk,
                    sample,
                )
                if reason == OK:
                    at = after
                    value += pairs
                    row += 1
                    out.value_at[np.uint64(row)] = value
                    if samples > 0:
                        sample += samples
                        chunk += 1
                        out.sample_at[np.uint64(chunk)] = sample
                    short_run = False
                    continue
            too_short = reason == NOT_A_PACKET and after - at < SHORTEST_PACKET
            if too_short and short_run:
                refused.length[np.uint64(bad - 1)] += after - at
            else:
                refused.entry[np.uint64(bad)] = body
                refused.at[np.uint64(bad)] = at
                refused.length[np.uint64(bad)] = after - at
                refused.reason[np.uint64(bad)] = reason
                bad += 1
            short_run = too_short
            at = after
        for i in range(first_row, row):
            out.offset[np.uint64(i)] = offset[body]
            out.receipt_ms[np.uint64(i)] = receipt_ms[body]
            out.source[np.uint64(i)] = source[body]
    return row, value, chunk, sample, bad
