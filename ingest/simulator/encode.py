"""Packets to bytes, all rows of a table at once: the packet format with every field at a fixed width.

Legal msgpack (ids as 8-character strings, integers at 64, 32 or 16 bits, values as float64), so that a table
is one matrix of bytes filled column by column; `msgpack` reads the same values back.
"""

import numpy as np
import numpy.typing as npt

from ingest.simulator.packets import NAN, Packets

__all__ = ["encode", "join"]

Bytes = npt.NDArray[np.uint8]

_ROWS_AT_ONCE = 1 << 16


def _ids(letter: str, number: npt.NDArray[np.int64]) -> Bytes:
    out = np.empty((len(number), 9), np.uint8)
    out[:, 0] = 0xA8  # string of 8
    out[:, 1] = ord(letter)
    left = number + 1
    for column in range(8, 1, -1):
        left, digit = np.divmod(left, 10)
        out[:, column] = digit + ord("0")
    return out


def _wide(prefix: int, values: npt.NDArray[np.generic], dtype: str) -> Bytes:
    big_endian = np.ascontiguousarray(values.astype(dtype)).view(np.uint8).reshape(len(values), -1)
    return np.concatenate([np.full((len(values), 1), prefix, np.uint8), big_endian], axis=1)


def encode(packets: Packets) -> Bytes:
    """Give the bytes of each packet: uint8[n, length], all of one length."""
    n = len(packets)

    def fixed(*values: int) -> Bytes:
        return np.broadcast_to(np.array(values, np.uint8), (n, len(values)))

    pairs = len(packets.device.codes)
    columns = [
        fixed(0x99, packets.device.kind),
        _ids("P", packets.patient),
        _ids(packets.device.letter, packets.patient),
        _wide(0xCF, packets.seq, ">u8"),
        _wide(0xD3, packets.t_ms, ">i8"),
        _wide(0xD3, packets.device_ms, ">i8"),
        _wide(0xD3, packets.gateway_ms, ">i8"),
        _wide(0xCE, packets.status, ">u4"),
        fixed(0xDC, 0, 2 * pairs),
    ]
    for column, code in enumerate(packets.device.codes):
        milli = packets.milli[:, column]
        columns += [
            fixed(0xCD, code >> 8, code & 255),
            _wide(0xCB, np.where(milli == NAN, np.nan, milli / 1000.0), ">f8"),
        ]
    return np.concatenate(columns, axis=1)


def join(
    tables: list[Packets], order_by: str = "receipt_ms"
) -> tuple[Bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Put all packets of several tables in the order of one of their times.

    Returns
    -------
    body : uint8[]
        The packets, concatenated.
    starts : int64[n + 1]
        Where each begins in it.
    times : int64[n]
        The time by which they are ordered. Equal times keep the order of the tables.
    """
    encoded = [encode(packets) for packets in tables]
    times = np.concatenate([getattr(packets, order_by) for packets in tables] or [np.empty(0, np.int64)])
    length = np.concatenate(
        [np.full(len(rows), rows.shape[1]) for rows in encoded] or [np.empty(0, np.int64)]
    )
    order = np.argsort(times, kind="stable")
    starts = np.zeros(len(times) + 1, np.int64)
    np.cumsum(length[order], out=starts[1:])
    place = np.empty(len(times), np.int64)
    place[order] = starts[:-1]
    body = np.empty(int(starts[-1]), np.uint8)
    first = 0
    for rows in encoded:
        for low in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[low : low + _ROWS_AT_ONCE]
            at = place[first + low : first + low + len(part)]
            body[at[:, None] + np.arange(rows.shape[1])] = part
        first += len(rows)
    return body, starts, times[order]
