"""The short path of the decoder: the encodings that nearly every encoder chooses, read in whole words.

It accepts a packet or gives it up to `kernels.careful_path`; it never refuses one. Both accept the same packets
with the same values. It is taken only where MARGIN bytes follow in `data`, and reads less than that; a packet that
does not end inside its body is given up.

It is compiled into its caller: to hand over the columns copied some two hundred words a packet, three quarters of the
time.
"""

import numpy as np

from kernels._jit import jit_inline
from kernels._types import Int
from kernels.identity import MAX_ID, hash_id_wide
from kernels.packets import (
    DEVICE,
    INVALID,
    MAX_STATUS,
    NO_TIME,
    QUESTIONNAIRE,
    SPOT,
    SYSTOLIC_STANDING,
    TEST,
    Bytes,
    Columns,
    Range,
    consistent,
)
from kernels.reading import YEAR_2000_MS, check_value, to_milli
from kernels.refusals import OK
from kernels.wire import big_endian_64, u8

__all__ = ["MARGIN", "short_path"]

MARGIN = 512
"""Bytes that must follow. Read are at most 2 + 2 * (2 + 40 + 7) + 9 + 3 * 9 + 9 + 3 + 7 * (3 + 9) = 232."""


@jit_inline
def _short_unsigned(data: Bytes, at: Int) -> tuple[Int, Int]:
    """Integer of a positive fixint or uint 8 to 64 and its length in bytes; -1 for anything else or 2**63."""
    tag = u8(data, at)
    if tag < 0x80:
        return tag, 1
    if tag < 0xCC or tag > 0xCF:
        return -1, 1
    width = 1 << (tag & 3)
    return np.int64(big_endian_64(data, at + 1) >> np.uint64(64 - 8 * width)), 1 + width


@jit_inline
def short_path(
    data: Bytes,
    start: Int,
    stop: Int,
    latest_ms: Int,
    low: Range,
    high: Range,
    out: Columns,
    row: Int,
    first: Int,
) -> tuple[Int, Int]:
    """Read the packet at `start` if it is encoded in the usual way.

    Returns
    -------
    next : int
        One past the packet, or -1: take the careful path. Then `row` and its values hold nothing of meaning.
    pairs : int
        Values written.
    """
    kind = u8(data, start + 1)
    if u8(data, start) != 0x99 or (kind != SPOT and kind != QUESTIONNAIRE and kind != DEVICE):
        return -1, 0
    at = start + 2

    tag = u8(data, at)
    if 0xA0 < tag < 0xC0:
        length = tag & 31
        at += 1
    elif tag == 0xC4 or tag == 0xD9:
        length = u8(data, at + 1)
        at += 2
    else:
        return -1, 0
    if length == 0 or length > MAX_ID:
        return -1, 0
    patient, printable = hash_id_wide(data, at, length)
    if not printable:
        return -1, 0
    id_at = at
    id_len = length
    at += length

    tag = u8(data, at)
    if 0xA0 < tag < 0xC0:
        length = tag & 31
        at += 1
    elif tag == 0xC4 or tag == 0xD9:
        length = u8(data, at + 1)
        at += 2
    else:
        return -1, 0
    if length == 0 or length > MAX_ID:
        return -1, 0
    device, printable = hash_id_wide(data, at, length)
    if not printable:
        return -1, 0
    at += length

    seq, width = _short_unsigned(data, at)
    if seq < 0:
        return -1, 0
    at += width

    # Times: uint 64 or int 64, which is what a time after 2000 needs; bit 2 tells them apart and does not matter.
    tag = u8(data, at)
    t_ms = np.int64(big_endian_64(data, at + 1))
    if (tag != 0xCF and tag != 0xD3) or t_ms < YEAR_2000_MS or t_ms > latest_ms:
        return -1, 0
    at += 9
    device_ms = np.int64(NO_TIME)
    tag = u8(data, at)
    if tag == 0xC0:
        at += 1
    else:
        device_ms = np.int64(big_endian_64(data, at + 1))
        if (tag != 0xCF and tag != 0xD3) or device_ms < 0:
            return -1, 0
        at += 9
    gateway_ms = np.int64(NO_TIME)
    tag = u8(data, at)
    if tag == 0xC0:
        at += 1
    else:
        gateway_ms = np.int64(big_endian_64(data, at + 1))
        if (tag != 0xCF and tag != 0xD3) or gateway_ms < 0:
            return -1, 0
        at += 9

    status, width = _short_unsigned(data, at)
    if status < 0 or status > MAX_STATUS or status & (TEST | INVALID):
        return -1, 0
    at += width

    # A short array, or one of 16 bits, as an encoder writes that fills in a template of fixed widths.
    tag = u8(data, at)
    items = tag & 15
    at += 1
    if tag == 0xDC:
        items = (u8(data, at) << 8) | u8(data, at + 1)
        at += 2
    elif tag & 0xF0 != 0x90:
        return -1, 0
    if items < 2 or items > 14 or items & 1:
        return -1, 0
    pairs = items >> 1
    greatest = -1
    lowest = 1 << 16
    for k in range(pairs):
        code = u8(data, at)
        if code < 0x80:
            at += 1
        elif code == 0xCD:
            code = (u8(data, at + 1) << 8) | u8(data, at + 2)
            at += 3
        else:
            return -1, 0
        tag = u8(data, at)
        if tag == 0xCB:
            value = np.uint64(big_endian_64(data, at + 1)).view(np.float64)
            at += 9
        elif tag == 0xCA:
            value = np.float64(np.uint32(big_endian_64(data, at + 1) >> np.uint64(32)).view(np.float32))
            at += 5
        else:
            whole, width = _short_unsigned(data, at)
            if whole < 0:
                return -1, 0
            value = np.float64(whole)
            at += width
        if check_value(code, value, low, high) != OK:
            return -1, 0
        # Ascending codes, the usual order, repeat none; else look at those before, seven at most.
        if code > greatest:
            greatest = code
        else:
            for before in range(first, first + k):
                if out.code[np.uint64(before)] == code:
                    return -1, 0
        if code < lowest:
            lowest = code
        out.code[np.uint64(first + k)] = code
        out.milli[np.uint64(first + k)] = to_milli(value)
    if at > stop:
        return -1, 0
    if pairs > 1 and lowest <= SYSTOLIC_STANDING and not consistent(out.code, out.milli, first, pairs):
        return -1, 0

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
    return at, pairs
