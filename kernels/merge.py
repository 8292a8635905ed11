"""Merging of sorted runs by a heap, block by block: the inner loop of the external sort of files."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit, jit_inline
from kernels._types import Int

__all__ = ["merge_blocks"]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
U16 = npt.NDArray[np.uint16]


@jit_inline
def _before(a: Int, b: Int, t: Int64, person: Int32, src: U16, cell: Int64) -> bool:
    """Say whether row `a` comes before row `b`; the keys of two rows are never the same but for refused ones."""
    if t[a] != t[b]:
        return t[a] < t[b]
    if person[a] != person[b]:
        return person[a] < person[b]
    if src[a] != src[b]:
        return src[a] < src[b]
    if cell[a] != cell[b]:
        return cell[a] < cell[b]
    return a < b


@jit_inline
def _sift(
    heap: Int64, size: Int, at: Int, head: Int64, t: Int64, person: Int32, src: U16, cell: Int64
) -> None:
    run = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(head[heap[child + 1]], head[heap[child]], t, person, src, cell):
            child += 1
        if not _before(head[heap[child]], head[run], t, person, src, cell):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = run


@jit
def merge_blocks(
    t: Int64,
    cell: Int64,
    value: npt.NDArray[np.float64],
    person: Int32,
    src: U16,
    code: U16,
    reason: npt.NDArray[np.uint8],
    head: Int64,
    tail: Int64,
    more: npt.NDArray[np.bool_],
    heap: Int64,
    out_t: Int64,
    out_cell: Int64,
    out_value: npt.NDArray[np.float64],
    out_person: Int32,
    out_src: U16,
    out_code: U16,
    out_reason: npt.NDArray[np.uint8],
    at: Int,
) -> Int:
    """Merge the blocks of all runs until the output is full, or a run must be read on.

    Parameters
    ----------
    t, cell, value, person, src, code, reason : [m]
        The blocks in memory, each run in a place of its own, ordered by (t, person, src, cell).
    head, tail : int64[runs]
        Rows of each run not merged yet: ``head`` to ``tail``. `head` is moved on.
    more : bool[runs]
        Whether the run goes on after its block.
    heap : int64[runs]
        Scratch.
    out_t, out_cell, out_value, out_person, out_src, out_code, out_reason : [size]
        Written from `at` on.

    Returns
    -------
    int
        Rows in the output. Less than its size: a run that has `more` is at its end, or all is merged.
    """
    size = 0
    for run in range(len(head)):
        if head[run] < tail[run]:
            heap[size] = run
            size += 1
    for k in range(size // 2 - 1, -1, -1):
        _sift(heap, size, k, head, t, person, src, cell)
    room = len(out_t)
    while size > 0 and at < room:
        run = heap[0]
        rival = -1  # the run that would come next: one of the two below the top
        if size > 1:
            rival = heap[1]
            if size > 2 and _before(head[heap[2]], head[rival], t, person, src, cell):
                rival = heap[2]
        i = head[run]
        stop = min(tail[run], i + room - at)
        while i < stop and (rival < 0 or _before(i, head[rival], t, person, src, cell)):
            out_t[at] = t[i]
            out_cell[at] = cell[i]
            out_value[at] = value[i]
            out_person[at] = person[i]
            out_src[at] = src[i]
            out_code[at] = code[i]
            out_reason[at] = reason[i]
            i += 1
            at += 1
        head[run] = i
        if i == tail[run]:
            if more[run]:
                return at
            size -= 1
            heap[0] = heap[size]
        if size > 0:
            _sift(heap, size, 0, head, t, person, src, cell)
    return at
