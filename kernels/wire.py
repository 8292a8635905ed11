"""Reading msgpack: bytes, wide words, numbers, and the end of any object.

Indices are turned into ``uint64`` where a byte is read: Numba then leaves out the test for a negative index, and
LLVM merges the eight byte loads of `big_endian_64` and `little_endian_64` into one unaligned load (seen in the
assembly: one ``movbe``). An intrinsic for unaligned loads would give the same machine code, but
NUMBA_BOUNDSCHECK=1 would not see its reads; these it sees byte by byte.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import Int
from kernels.refusals import BAD_MSGPACK, OK, TOO_DEEP, TOO_LONG, TRUNCATED

__all__ = [
    "BINARY",
    "INTEGER",
    "LARGE",
    "MAX_DEPTH",
    "NEITHER",
    "TEXT",
    "array_header",
    "big_endian",
    "big_endian_64",
    "bytes_header",
    "integer",
    "is_text",
    "little_endian_64",
    "number",
    "skip",
    "u8",
]

MAX_DEPTH = 8
"""Arrays and maps inside each other. The format uses two; more lets an unknown packet be skipped alone."""

# Answers of `integer` and `bytes_header`.
NEITHER = 0
INTEGER = 1
LARGE = 2  # an integer from 2**63 to 2**64 - 1: the value is its bit pattern
TEXT = 1
BINARY = 2

Bytes = npt.NDArray[np.uint8]


@jit
def u8(data: Bytes, at: Int) -> Int:
    """Byte at `at`, which must not be negative."""
    return np.int64(data[np.uint64(at)])


@jit
def big_endian_64(data: Bytes, at: Int) -> np.uint64:
    """Eight bytes from `at`, most significant first."""
    return np.uint64(
        (np.uint64(data[np.uint64(at)]) << np.uint64(56))
        | (np.uint64(data[np.uint64(at + 1)]) << np.uint64(48))
        | (np.uint64(data[np.uint64(at + 2)]) << np.uint64(40))
        | (np.uint64(data[np.uint64(at + 3)]) << np.uint64(32))
        | (np.uint64(data[np.uint64(at + 4)]) << np.uint64(24))
        | (np.uint64(data[np.uint64(at + 5)]) << np.uint64(16))
        | (np.uint64(data[np.uint64(at + 6)]) << np.uint64(8))
        | np.uint64(data[np.uint64(at + 7)])
    )


@jit
def little_endian_64(data: Bytes, at: Int) -> np.uint64:
    """Eight bytes from `at`, least significant first."""
    return np.uint64(
        np.uint64(data[np.uint64(at)])
        | (np.uint64(data[np.uint64(at + 1)]) << np.uint64(8))
        | (np.uint64(data[np.uint64(at + 2)]) << np.uint64(16))
        | (np.uint64(data[np.uint64(at + 3)]) << np.uint64(24))
        | (np.uint64(data[np.uint64(at + 4)]) << np.uint64(32))
        | (np.uint64(data[np.uint64(at + 5)]) << np.uint64(40))
        | (np.uint64(data[np.uint64(at + 6)]) << np.uint64(48))
        | (np.uint64(data[np.uint64(at + 7)]) << np.uint64(56))
    )


@jit
def big_endian(data: Bytes, at: Int, width: Int) -> Int:
    """`width` bytes from `at`, most significant first; 8 bytes wrap into int64."""
    value = np.uint64(0)
    for k in range(width):
        value = (value << np.uint64(8)) | np.uint64(data[np.uint64(at + k)])
    return np.int64(value)


@jit
def skip(data: Bytes, at: Int, stop: Int, stack: npt.NDArray[np.int64]) -> tuple[Int, Int]:
    """Find the end of the msgpack object that begins at `at`, reading nothing from `stop` on.

    Parameters
    ----------
    data : uint8[n]
    at, stop : int
        The object begins at `at`; the body ends before `stop`.
    stack : int64[MAX_DEPTH]
        Scratch: elements still to come in each open array or map.

    Returns
    -------
    end : int
        One past the object, or where it was found ill-formed.
    reason : int
        OK; TRUNCATED when the body ends inside the object; TOO_LONG when a length that is spelled in 8, 16 or
        32 bits is larger than what is left of the body; BAD_MSGPACK for byte 0xc1; TOO_DEEP beyond MAX_DEPTH.
    """
    depth = 0
    while True:
        if at >= stop:
            return at, TRUNCATED
        tag = u8(data, at)
        at += 1
        length = 0  # bytes that follow
        elements = -1  # of an array or map
        if tag < 0x80 or tag >= 0xE0 or tag == 0xC0 or tag == 0xC2 or tag == 0xC3:
            pass
        elif tag < 0x90:
            elements = 2 * (tag & 15)
        elif tag < 0xA0:
            elements = tag & 15
        elif tag < 0xC0:
            length = tag & 31
        elif tag == 0xC1:
            return at - 1, BAD_MSGPACK
        elif tag == 0xCA:
            length = 4
        elif tag == 0xCB:
            length = 8
        elif 0xCC <= tag <= 0xD3:
            length = 1 << (tag & 3)
        elif 0xD4 <= tag <= 0xD8:
            length = 1 + (1 << (tag - 0xD4))
        else:
            # bin 8 16 32: c4 c5 c6, ext: c7 c8 c9, str: d9 da db, array 16 32: dc dd, map: de df
            if tag < 0xC7:
                width = 1 << (tag - 0xC4)
            elif tag < 0xCA:
                width = 1 << (tag - 0xC7)
            elif tag < 0xDC:
                width = 1 << (tag - 0xD9)
            else:
                width = 2 << (tag & 1)
            if stop - at < width:
                return at - 1, TRUNCATED
            size = big_endian(data, at, width)
            at += width
            if 0xC7 <= tag < 0xCA:
                size += 1  # the type of the extension
            elif tag >= 0xDE:
                size *= 2
            if size > stop - at:
                return at - 1 - width, TOO_LONG
            if tag >= 0xDC:
                elements = size
            else:
                length = size
        if length > stop - at:
            return at - 1, TRUNCATED
        at += length
        if elements >= 0 and depth == MAX_DEPTH:
            return at, TOO_DEEP
        if elements > 0:
            stack[np.uint64(depth)] = elements
            depth += 1
            continue
        while depth > 0:
            stack[np.uint64(depth - 1)] -= 1
            if stack[np.uint64(depth - 1)] > 0:
                break
            depth -= 1
        if depth == 0:
            return at, OK


# The readers below work on objects that `skip` has found whole: they stay inside by construction.


@jit
def integer(data: Bytes, at: Int) -> tuple[Int, Int, Int]:
    """Read an integer of any width.

    Returns
    -------
    type : int
        INTEGER, LARGE (2**63 and more) or NEITHER.
    value : int
        int64; for LARGE its bit pattern.
    next : int
        One past the integer; `at` when NEITHER.
    """
    tag = u8(data, at)
    if tag < 0x80:
        return INTEGER, tag, at + 1
    if tag >= 0xE0:
        return INTEGER, tag - 256, at + 1
    if 0xCC <= tag <= 0xD3:
        width = 1 << (tag & 3)
        value = big_endian(data, at + 1, width)
        if tag >= 0xD0:
            if width < 8 and value >> (8 * width - 1):
                value -= 1 << (8 * width)
        elif value < 0:
            return LARGE, value, at + 9
        return INTEGER, value, at + 1 + width
    return NEITHER, 0, at


@jit
def number(data: Bytes, at: Int) -> tuple[bool, float, Int]:
    """Read an integer or a float.

    Returns
    -------
    ok : bool
        False for another type.
    value : float64
    next : int
        One past the number; `at` when it is none.
    """
    tag = u8(data, at)
    if tag == 0xCB:
        return True, np.uint64(big_endian(data, at + 1, 8)).view(np.float64), at + 9
    if tag == 0xCA:
        return True, np.float64(np.uint32(big_endian(data, at + 1, 4)).view(np.float32)), at + 5
    which, whole, after = integer(data, at)
    if which == LARGE:
        return True, np.float64(np.uint64(whole)), after
    return which == INTEGER, np.float64(whole), after


@jit
def bytes_header(data: Bytes, at: Int) -> tuple[Int, Int, Int]:
    """Read the header of a str or bin.

    Returns
    -------
    type : int
        TEXT, BINARY or NEITHER.
    begin : int
        Index of the first byte.
    length : int
        In bytes.
    """
    tag = u8(data, at)
    if 0xA0 <= tag < 0xC0:
        return TEXT, at + 1, tag & 31
    if 0xD9 <= tag <= 0xDB:
        width = 1 << (tag - 0xD9)
        return TEXT, at + 1 + width, big_endian(data, at + 1, width)
    if 0xC4 <= tag <= 0xC6:
        width = 1 << (tag - 0xC4)
        return BINARY, at + 1 + width, big_endian(data, at + 1, width)
    return NEITHER, at, 0


@jit
def is_text(data: Bytes, at: Int, length: Int) -> bool:
    """Say whether bytes are UTF-8 (RFC 3629: nothing overlong, no surrogate) without control characters."""
    end = at + length
    while at < end:
        lead = u8(data, at)
        if lead < 0x80:
            if lead < 0x20 or lead == 0x7F:
                return False
            at += 1
            continue
        more: Int = 0
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
        elif 0xF0 <= lead <= 0xF4:
            more = 3
        if more == 0 or at + more >= end:
            return False
        second = u8(data, at + 1)
        lowest = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
        highest = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
        if second < lowest or second > highest:
            return False
        for k in range(2, more + 1):
            if u8(data, at + k) & 0xC0 != 0x80:
                return False
        at += 1 + more
    return True


@jit
def array_header(data: Bytes, at: Int) -> tuple[Int, Int]:
    """Read the header of an array.

    Returns
    -------
    elements : int
        -1 when it is no array.
    next : int
        Index of the first element.
    """
    tag = u8(data, at)
    if 0x90 <= tag < 0xA0:
        return tag & 15, at + 1
    if tag == 0xDC:
        return big_endian(data, at + 1, 2), at + 3
    if tag == 0xDD:
        return big_endian(data, at + 1, 4), at + 5
    return -1, at
