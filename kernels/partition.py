"""Sharing bodies out by patient: which partition of the log owns each packet, and the bytes of each together."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import Int
from kernels.identity import MAX_ID, hash_bytes
from kernels.refusals import OK
from kernels.wire import NEITHER, array_header, bytes_header, integer, skip

__all__ = ["Spans", "gather", "partition_of", "share"]

_SHIFT = np.uint64(40)


class Spans(NamedTuple):
    """Where each object of the bodies is, and whose it is. Every array is int64, of room for all objects."""

    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]


@jit
def partition_of(patient: np.uint64, partitions: Int) -> Int:
    """Give the partition that owns a patient's hash, by other bits of it than the directory of a shard uses."""
    return np.int64(patient >> _SHIFT) % partitions


@jit
def _owner(data: npt.NDArray[np.uint8], at: Int, partitions: Int, nobody: Int) -> Int:
    """Give the owner of a whole object; `nobody` where it names no patient, and so is no packet."""
    elements, at = array_header(data, at)
    if elements < 2:
        return nobody
    which, _, at = integer(data, at)
    if which == NEITHER:
        return nobody
    which, at, length = bytes_header(data, at)
    if which == NEITHER or length < 1 or length > MAX_ID:
        return nobody
    return partition_of(hash_bytes(data, at, length), partitions)


@jit
def share(
    data: npt.NDArray[np.uint8],
    body_at: npt.NDArray[np.int64],
    partitions: Int,
    nobody: Int,
    stack: npt.NDArray[np.int64],
    spans: Spans,
) -> Int:
    """Find the objects of bodies that follow each other, and which partition owns each.

    Parameters
    ----------
    data : uint8[n]
    body_at : int64[bodies + 1]
        Where each body begins; the last ends at ``body_at[bodies]``.
    partitions : int
        How many there are.
    nobody : int
        Partition of an object that names no patient.
    stack : int64[MAX_DEPTH]
        Scratch.
    spans : Spans
        Written, in the order of the bytes. Room for ``n`` objects is enough. What is not well-formed, from there to
        the end of its body, is one span; its owner is ``-1 - nobody``, as nothing may be put behind it.

    Returns
    -------
    int
        How many spans there are.
    """
    count = 0
    for k in range(len(body_at) - 1):
        at = body_at[np.uint64(k)]
        stop = body_at[np.uint64(k + 1)]
        while at < stop:
            after, reason = skip(data, at, stop, stack)
            if reason == OK:
                owner = _owner(data, at, partitions, nobody)
            else:
                after, owner = stop, -1 - nobody
            spans.begin[np.uint64(count)] = at
            spans.end[np.uint64(count)] = after
            spans.owner[np.uint64(count)] = owner
            count += 1
            at = after
    return count


@jit
def gather(
    data: npt.NDArray[np.uint8],
    spans: Spans,
    count: Int,
    part_at: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Put the bytes of each partition together, in their order, without ill-formed spans (their owner is negative).

    Parameters
    ----------
    data : uint8[n]
    spans : Spans
        As `share` wrote them.
    count : int
        How many.
    part_at : int64[partitions + 1]
        Written: partition p is ``out[part_at[p] : part_at[p + 1]]``.
    out : uint8[n]
        Written.
    """
    part_at[:] = 0
    for k in range(count):
        owner = spans.owner[np.uint64(k)]
        if owner >= 0:
            part_at[np.uint64(owner + 1)] += spans.end[np.uint64(k)] - spans.begin[np.uint64(k)]
    for p in range(len(part_at) - 1):
        part_at[np.uint64(p + 1)] += part_at[np.uint64(p)]
    # Each begins where the one before it ends: moved on while they are filled, and back by one place afterwards.
    for k in range(count):
        owner = spans.owner[np.uint64(k)]
        if owner >= 0:
            to = part_at[np.uint64(owner)]
            for at in range(spans.begin[np.uint64(k)], spans.end[np.uint64(k)]):
                out[np.uint64(to)] = data[np.uint64(at)]
                to += 1
            part_at[np.uint64(owner)] = to
    for p in range(len(part_at) - 1, 0, -1):
        part_at[np.uint64(p)] = part_at[np.uint64(p - 1)]
    part_at[0] = 0
