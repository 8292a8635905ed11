"""The columns that decoding fills, how large they must be, and what the two paths of the decoder share.

The numbers are those of `ingest.columns`, which kernels cannot import; ``tests/ingest/test_decode.py`` holds them
together.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import Int
from kernels.reading import check_pressures
from kernels.refusals import OK

__all__ = [
    "ACT",
    "ACT_CODES",
    "CLOSE",
    "DEVICE",
    "ECG",
    "INVALID",
    "MAX_AUTHOR",
    "MAX_PAIRS",
    "MAX_STATUS",
    "MAX_TEXT",
    "MILLI_BOUND",
    "MIN_ACCEPTED",
    "NO_TIME",
    "QUESTIONNAIRE",
    "SET",
    "SET_OF_CELL",
    "SHORTEST_PACKET",
    "SPOT",
    "SYSTOLIC_STANDING",
    "TAKE_BACK",
    "TAKE_BACK_OF_CELL",
    "TEST",
    "Bytes",
    "Columns",
    "Int64",
    "Range",
    "Refused",
    "capacities",
    "consistent",
]

# Kinds of packet.
SPOT = 1
ECG = 2
QUESTIONNAIRE = 3
DEVICE = 4
ACT = 5

# Bits of the status word that refuse a packet.
TEST = 1
INVALID = 2
MAX_STATUS = 0xFFFF_FFFF

NO_TIME = -(1 << 63)

MAX_PAIRS = 16
"""Values of one packet, at most."""

SHORTEST_PACKET = 10
"""Bytes of the shortest array of nine; shorter objects that follow each other are one row of quarantine."""

MIN_ACCEPTED = 22
"""Bytes of the shortest packet that is accepted: t_ms, being after 2000, takes nine, all the rest the least."""

ACT_CODES = 0xFF00
"""An act of the cell stands in the value columns as values with the codes ACT_CODES, ACT_CODES + 1 ...: verb, low and
high 32 bits of the key, reason; for a limit, its thousandths instead of the reason, then where the author and the text
begin, from the patient's id on, and how long each is."""

# Verbs of an act.
CLOSE = 1
SET = 2
TAKE_BACK = 3
SET_OF_CELL = 4
TAKE_BACK_OF_CELL = 5

MAX_AUTHOR = 64
MAX_TEXT = 240
"""Bytes of UTF-8, at most."""

MILLI_BOUND = 1 << 31
"""A limit's thousandths are below it, and above its negative."""

# Codes of `ingest.signals` that must agree with each other.
SYSTOLIC = 2
DIASTOLIC = 3
MEAN = 4
SYSTOLIC_STANDING = 16
DIASTOLIC_STANDING = 17

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Range = npt.NDArray[np.float64]


class Columns(NamedTuple):
    """Where accepted packets are written; the meaning of each column is that of `ingest.columns.Batch`."""

    offset: Int64
    receipt_ms: Int64
    source: npt.NDArray[np.uint16]
    kind: npt.NDArray[np.uint8]
    patient: npt.NDArray[np.uint64]
    id_at: Int64
    id_len: npt.NDArray[np.uint8]
    device: npt.NDArray[np.uint64]
    seq: Int64
    t_ms: Int64
    device_ms: Int64
    gateway_ms: Int64
    status: npt.NDArray[np.uint32]
    value_at: Int64
    code: npt.NDArray[np.uint16]
    milli: npt.NDArray[np.int32]
    chunk_packet: Int64
    chunk_code: npt.NDArray[np.uint16]
    chunk_rate: npt.NDArray[np.float64]
    chunk_gain: npt.NDArray[np.float64]
    sample_at: Int64
    samples: npt.NDArray[np.int16]


class Refused(NamedTuple):
    """Where refused packets are written: entry, byte offset in `data`, length in bytes, reason."""

    entry: Int64
    at: Int64
    length: Int64
    reason: npt.NDArray[np.uint8]


def capacities(size: Int, bodies: Int) -> tuple[Int, Int, Int, Int, Int]:
    """Give the most rows that bodies can fill, with slack for one packet that is begun and given up.

    Parameters
    ----------
    size : int
        Bytes of all bodies together.
    bodies : int
        How many they are.

    Returns
    -------
    packets, values, chunks, samples, refused : int
        Rows to allocate. A packet that is accepted has at least MIN_ACCEPTED bytes and, with ``p`` values, at
        least ``20 + 2 * p``; two rows of quarantine have at least 11 bytes, save at the end of a body.
    """
    packets = size // MIN_ACCEPTED + MAX_PAIRS
    values = size * MAX_PAIRS // (20 + 2 * MAX_PAIRS) + 2 * MAX_PAIRS
    refused = 2 * size // (SHORTEST_PACKET + 1) + 2 * bodies + MAX_PAIRS
    return packets, values, packets, size // 2 + MAX_PAIRS, refused


@jit
def consistent(codes: npt.NDArray[np.uint16], millis: npt.NDArray[np.int32], first: Int, pairs: Int) -> bool:
    """Judge the pressures among ``codes[first : first + pairs]``, sitting and standing."""
    systolic = -1
    diastolic = -1
    mean = -1
    systolic_standing = -1
    diastolic_standing = -1
    for k in range(first, first + pairs):
        code = np.int64(codes[np.uint64(k)])
        milli = np.int64(millis[np.uint64(k)])
        if code == SYSTOLIC:
            systolic = milli
        elif code == DIASTOLIC:
            diastolic = milli
        elif code == MEAN:
            mean = milli
        elif code == SYSTOLIC_STANDING:
            systolic_standing = milli
        elif code == DIASTOLIC_STANDING:
            diastolic_standing = milli
    if check_pressures(systolic, diastolic, mean) != OK:
        return False
    return check_pressures(systolic_standing, diastolic_standing, -1) == OK
