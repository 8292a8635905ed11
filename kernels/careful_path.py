"""The careful path of the decoder: any legal encoding, and the reason when a packet is refused.

It reads inside an object that `kernels.wire.skip` has found whole, element by element; the first element that is not
legal gives the reason.
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import Int
from kernels.identity import MAX_ID, hash_id
from kernels.packets import (
    ACT,
    ACT_CODES,
    CLOSE,
    ECG,
    INVALID,
    MAX_AUTHOR,
    MAX_PAIRS,
    MAX_STATUS,
    MAX_TEXT,
    MILLI_BOUND,
    NO_TIME,
    SET,
    SET_OF_CELL,
    SPOT,
    TAKE_BACK,
    TAKE_BACK_OF_CELL,
    TEST,
    Bytes,
    Columns,
    Range,
    consistent,
)
from kernels.reading import check_time, check_value, to_milli
from kernels.refusals import (
    ACT_NOT_ALLOWED,
    BAD_ACT,
    BAD_DEVICE,
    BAD_ECG_GAIN,
    BAD_ECG_RATE,
    BAD_ECG_SAMPLES,
    BAD_KIND,
    BAD_PATIENT,
    BAD_PAYLOAD,
    BAD_SEQUENCE,
    BAD_STATUS,
    BAD_TIME,
    DEVICE_INVALID,
    DEVICE_TEST,
    INCONSISTENT,
    NOT_A_NUMBER,
    NOT_A_PACKET,
    OK,
    REPEATED_SIGNAL,
    TIME_IN_FUTURE,
    UNKNOWN_SIGNAL,
)
from kernels.wire import (
    BINARY,
    INTEGER,
    LARGE,
    NEITHER,
    array_header,
    bytes_header,
    integer,
    is_text,
    number,
    u8,
)

__all__ = ["careful_path"]

_MIN_RATE_HZ = 100.0
_MAX_RATE_HZ = 1000.0
_MAX_SECONDS = 300.0


@jit
def _time(data: Bytes, at: Int) -> tuple[bool, Int, Int]:
    """Read an integer or nil; the answer is (legal, time, next)."""
    if u8(data, at) == 0xC0:
        return True, np.int64(NO_TIME), at + 1
    which, value, at = integer(data, at)
    return which == INTEGER and value != NO_TIME, value, at


@jit
def _values(
    data: Bytes,
    at: Int,
    low: Range,
    high: Range,
    codes: npt.NDArray[np.uint16],
    millis: npt.NDArray[np.int32],
    first: Int,
) -> tuple[Int, Int]:
    """Read the payload of a spot, questionnaire or device packet; the answer is (reason, pairs)."""
    elements, at = array_header(data, at)
    if elements < 2 or elements > 2 * MAX_PAIRS or elements & 1:
        return BAD_PAYLOAD, 0
    pairs = elements >> 1
    for k in range(pairs):
        which, code, at = integer(data, at)
        if which == NEITHER:
            return BAD_PAYLOAD, 0
        if which == LARGE or code < 0 or code >= len(low) or np.isnan(low[np.uint64(code)]):
            return UNKNOWN_SIGNAL, 0
        for j in range(k):
            if np.int64(codes[np.uint64(first + j)]) == code:
                return REPEATED_SIGNAL, 0
        ok, value, at = number(data, at)
        if not ok:
            return NOT_A_NUMBER, 0
        reason = check_value(code, value, low, high)
        if reason != OK:
            return reason, 0
        codes[np.uint64(first + k)] = code
        millis[np.uint64(first + k)] = to_milli(value)
    if not consistent(codes, millis, first, pairs):
        return INCONSISTENT, 0
    return OK, pairs


@jit
def _chunk(
    data: Bytes, at: Int, leads: Bytes, out: Columns, row: Int, chunk: Int, first: Int
) -> tuple[Int, Int]:
    """Read the payload of an ECG packet; the answer is (reason, samples)."""
    elements, at = array_header(data, at)
    if elements != 4:
        return BAD_PAYLOAD, 0
    which, code, at = integer(data, at)
    if which == NEITHER:
        return BAD_PAYLOAD, 0
    if which == LARGE or code < 0 or code >= len(leads) or leads[np.uint64(code)] == 0:
        return UNKNOWN_SIGNAL, 0
    ok, rate, at = number(data, at)
    if not ok or not (_MIN_RATE_HZ <= rate <= _MAX_RATE_HZ):
        return BAD_ECG_RATE, 0
    ok, gain, at = number(data, at)
    if not ok or not (0.0 < gain < np.inf):
        return BAD_ECG_GAIN, 0
    which, at, length = bytes_header(data, at)
    samples = length >> 1
    if which != BINARY or length == 0 or length & 1 or np.float64(samples) > _MAX_SECONDS * rate:
        return BAD_ECG_SAMPLES, 0
    for k in range(samples):
        raw = u8(data, at + 2 * k) | (u8(data, at + 2 * k + 1) << 8)
        out.samples[np.uint64(first + k)] = np.int16(np.uint16(raw))
    c = np.uint64(chunk)
    out.chunk_packet[c] = row
    out.chunk_code[c] = code
    out.chunk_rate[c] = rate
    out.chunk_gain[c] = gain
    return OK, samples


@jit
def _act(
    data: Bytes, at: Int, id_at: Int, codes: npt.NDArray[np.uint16], millis: npt.NDArray[np.int32], first: Int
) -> tuple[Int, Int]:
    """Read the payload of an act of the cell; the answer is (reason, values)."""
    elements, at = array_header(data, at)
    if elements != 3 and elements != 5:
        return BAD_ACT, 0
    which, verb, at = integer(data, at)
    if which != INTEGER or verb < CLOSE or verb > TAKE_BACK_OF_CELL or (verb == CLOSE) != (elements == 3):
        return BAD_ACT, 0
    which, key, at = integer(data, at)
    if which == NEITHER or (which == INTEGER and key < 0):
        return BAD_ACT, 0
    which, number, at = integer(data, at)
    if which != INTEGER:
        return BAD_ACT, 0
    if verb == CLOSE and (number < 1 or number > 63):
        return BAD_ACT, 0
    if verb in (SET, SET_OF_CELL) and (number <= -MILLI_BOUND or number >= MILLI_BOUND):
        return BAD_ACT, 0
    if verb in (TAKE_BACK, TAKE_BACK_OF_CELL) and number != 0:
        return BAD_ACT, 0
    values: Int = 4
    if elements == 5:
        for most in (MAX_AUTHOR, MAX_TEXT):
            which, at, length = bytes_header(data, at)
            if which == NEITHER or length < 1 or length > most or not is_text(data, at, length):
                return BAD_ACT, 0
            # Where it is, from the patient's id on: the same number wherever the packet stands.
            millis[np.uint64(first + values)] = at - id_at
            millis[np.uint64(first + values + 1)] = length
            values += 2
            at += length
    for k in range(values):
        codes[np.uint64(first + k)] = ACT_CODES + k
    millis[np.uint64(first)] = verb
    millis[np.uint64(first + 1)] = np.int32(np.uint32(key & 0xFFFF_FFFF))
    millis[np.uint64(first + 2)] = np.int32(key >> 32)
    millis[np.uint64(first + 3)] = number
    return OK, values


@jit
def careful_path(
    data: Bytes,
    start: Int,
    receipt_ms: Int,
    acts: bool,
    low: Range,
    high: Range,
    leads: Bytes,
    out: Columns,
    row: Int,
    first: Int,
    chunk: Int,
    first_sample: Int,
) -> tuple[Int, Int, Int]:
    """Read the well-formed object at `start` as a packet.

    Parameters
    ----------
    data : uint8[n]
    start : int
        Where the object begins.
    receipt_ms : int
        Milliseconds UTC.
    acts : bool
        Whether the source may send acts of the cell.
    low, high : float64[codes]
        Plausible range by code.
    leads : uint8[codes]
        1 where the code is that of an ECG lead.
    out : Columns
    row, first, chunk, first_sample : int
        Where the packet, its values, its chunk and its samples are written.

    Returns
    -------
    reason : int
        OK, or why the packet is refused; then what was written has no meaning.
    pairs, samples : int
        Values and samples written.
    """
    elements, at = array_header(data, start)
    if elements != 9:
        return NOT_A_PACKET, 0, 0

    which, kind, at = integer(data, at)
    if which != INTEGER or kind < SPOT or kind > ACT:
        return BAD_KIND, 0, 0
    if kind == ACT and not acts:
        return ACT_NOT_ALLOWED, 0, 0

    which, at, length = bytes_header(data, at)
    if which == NEITHER or length < 1 or length > MAX_ID:
        return BAD_PATIENT, 0, 0
    patient, printable = hash_id(data, at, length)
    if not printable:
        return BAD_PATIENT, 0, 0
    id_at = at
    id_len = length
    at += length

    which, at, length = bytes_header(data, at)
    if which == NEITHER or length < 1 or length > MAX_ID:
        return BAD_DEVICE, 0, 0
    device, printable = hash_id(data, at, length)
    if not printable:
        return BAD_DEVICE, 0, 0
    at += length

    which, seq, at = integer(data, at)
    if which != INTEGER or seq < 0:
        return BAD_SEQUENCE, 0, 0

    which, t_ms, at = integer(data, at)
    if which == NEITHER:
        return BAD_TIME, 0, 0
    if which == LARGE:
        return TIME_IN_FUTURE, 0, 0
    reason = check_time(t_ms, receipt_ms)
    if reason != OK:
        return reason, 0, 0
    ok, device_ms, at = _time(data, at)
    if not ok:
        return BAD_TIME, 0, 0
    ok, gateway_ms, at = _time(data, at)
    if not ok:
        return BAD_TIME, 0, 0

    which, status, at = integer(data, at)
    if which != INTEGER or status < 0 or status > MAX_STATUS:
        return BAD_STATUS, 0, 0
    if status & TEST:
        return DEVICE_TEST, 0, 0
    if status & INVALID:
        return DEVICE_INVALID, 0, 0

    pairs = 0
    samples = 0
    if kind == ECG:
        reason, samples = _chunk(data, at, leads, out, row, chunk, first_sample)
    elif kind == ACT:
        reason, pairs = _act(data, at, id_at, out.code, out.milli, first)
    else:
        reason, pairs = _values(data, at, low, high, out.code, out.milli, first)
    if reason != OK:
        return reason, 0, 0

    r = np.uint64(row)
    out.kind[r] = kind
    out.patient[r] = patient
    out.id_at[r] = id_at
    out.id_len[r] = id_len
    out.device[r] = device
    out.seq[r] = seq
    out.t_ms[r] = t_ms
    out.device_ms[r] = device_ms
    out.gateway_ms[r] = gateway_ms
    out.status[r] = status
    return OK, pairs, samples
