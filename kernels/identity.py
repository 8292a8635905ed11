"""Hashing of patients' and devices' ids, together with the test that they are printable ASCII.

An id is taken as little-endian words of 64 bits, the last one padded with zeros. Each word is multiplied, mixed
into the state by exclusive or, a rotation and a second multiplication; the end is the finaliser of splitmix64
(Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", section 3, with Stafford's variant
13). For ids of up to eight bytes and of the same length the hash is a bijection, hence free of collisions.
The hash is not keyed: who needs certainty compares the ids themselves.
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels.wire import little_endian_64

__all__ = ["MAX_ID", "hash_bytes", "hash_id", "hash_id_wide"]

MAX_ID = 40
"""Bytes of an id, at most."""

_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_ADD_TO_LOW = np.uint64(0x5F5F_5F5F_5F5F_5F5F)  # 0x21 + 0x5f = 0x80: from 0x21 on the high bit is set
_ADD_TO_HIGH = np.uint64(0x0101_0101_0101_0101)  # 0x7f + 0x01 = 0x80: up to 0x7e it is not
_PADDING = np.uint64(0x2121_2121_2121_2121)  # any legal character

_LENGTH = np.uint64(0x9E37_79B9_7F4A_7C15)
_WORD = np.uint64(0xD6E8_FEB8_6659_FD93)
_STATE = np.uint64(0xA076_1D64_78BD_642F)
_END_1 = np.uint64(0xBF58_476D_1CE4_E5B9)
_END_2 = np.uint64(0x94D0_49BB_1331_11EB)


@jit
def _mix(state: np.uint64, word: np.uint64) -> np.uint64:
    state = state ^ np.uint64(word * _WORD)
    state = (state << np.uint64(29)) | (state >> np.uint64(35))
    return np.uint64(state * _STATE)


@jit
def _finish(state: np.uint64) -> np.uint64:
    state = np.uint64((state ^ (state >> np.uint64(30))) * _END_1)
    state = np.uint64((state ^ (state >> np.uint64(27))) * _END_2)
    state = state ^ (state >> np.uint64(31))
    if state == np.uint64(0):
        return np.uint64(1)  # 0 may mark an empty place in a table
    return state


@jit
def _not_printable(word: np.uint64) -> np.uint64:
    """Non-zero when one of the eight bytes is not from 0x21 to 0x7e.

    A byte above 0x7f may carry into its neighbour, but then it is itself found by `word`.
    """
    return (word | np.uint64(word + _ADD_TO_HIGH) | ~np.uint64(word + _ADD_TO_LOW)) & _HIGH_BITS


@jit
def _tail(data: npt.NDArray[np.uint8], at: int, length: int) -> np.uint64:
    word = np.uint64(0)
    for k in range(length):
        word |= np.uint64(data[np.uint64(at + k)]) << np.uint64(8 * k)
    return word


@jit
def hash_id(data: npt.NDArray[np.uint8], at: int, length: int) -> tuple[np.uint64, bool]:
    """Hash ``data[at : at + length]`` and say whether it is all printable ASCII (0x21 to 0x7e).

    Parameters
    ----------
    data : uint8[n]
    at, length : int
        Nothing outside ``data[at : at + length]`` is read.

    Returns
    -------
    hash : uint64
        Never 0.
    printable : bool
    """
    state = np.uint64(np.uint64(length) * _LENGTH)
    bad = np.uint64(0)
    end = at + length
    while at + 8 <= end:
        word = little_endian_64(data, at)
        bad |= _not_printable(word)
        state = _mix(state, word)
        at += 8
    if at < end:
        word = _tail(data, at, end - at)
        mask = _ALL >> np.uint64(8 * (8 - (end - at)))
        bad |= _not_printable(word | (_PADDING & ~mask))
        state = _mix(state, word)
    return _finish(state), bad == np.uint64(0)


@jit
def hash_id_wide(data: npt.NDArray[np.uint8], at: int, length: int) -> tuple[np.uint64, bool]:
    """Do what `hash_id` does, for 1 to 40 bytes, reading whole words: up to seven bytes after the id.

    The caller has made sure that ``data[at : at + 40]`` exists.
    """
    state = np.uint64(np.uint64(length) * _LENGTH)
    bad = np.uint64(0)
    while length > 8:
        word = little_endian_64(data, at)
        bad |= _not_printable(word)
        state = _mix(state, word)
        at += 8
        length -= 8
    mask = _ALL >> np.uint64(8 * (8 - length))
    word = little_endian_64(data, at) & mask
    bad |= _not_printable(word | (_PADDING & ~mask))
    state = _mix(state, word)
    return _finish(state), bad == np.uint64(0)


@jit
def hash_bytes(data: npt.NDArray[np.uint8], at: int, length: int) -> np.uint64:
    """Hash ``data[at : at + length]``: the 64-bit `patient` and `device` of a packet.

    Parameters
    ----------
    data : uint8[n]
    at, length : int
        Any length; the caller keeps ``at + length <= n``.

    Returns
    -------
    uint64
        The same on every machine, never 0.
    """
    result, _ = hash_id(data, at, length)
    return result
