"""Patients to dense slots: an open-addressing table over 64-bit hashes, exact because ids are compared.

A cell of the table is two words: hash, and slot + 1 (0: empty). An id is a row of ID_ROW bytes with its length in
the last. What is looked at for one row is thus two cache lines, both asked for ahead.
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit, jit_inline
from kernels._types import I32, I64, Int
from kernels.prefetch import prefetch
from kernels.wire import little_endian_64

__all__ = ["ID_BYTES", "ID_ROW", "enter", "find", "rehash"]

ID_BYTES = 40
"""Longest patient id, in bytes."""

ID_ROW = 48

_AHEAD = 64

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


@jit_inline
def _same(row: U8, ids: U8, at: Int, length: Int) -> bool:
    """Whether ``ids[at : at + length]`` is what `row` begins with: word by word, the last ones overlapping."""
    if length < 8:
        different = False
        for i in range(length):
            different |= row[np.uint64(i)] != ids[np.uint64(at + i)]
        return not different
    for i in range(0, length - 8, 8):
        if little_endian_64(row, i) != little_endian_64(ids, at + i):
            return False
    return bool(little_endian_64(row, length - 8) == little_endian_64(ids, at + length - 8))


@jit_inline
def _probe(hash_: np.uint64, at: Int, length: Int, ids: U8, table: U64, slot_id: U8) -> Int:
    """Cell of the table that holds the id, or the empty one where it belongs."""
    mask = np.uint64(len(table) - 1)
    cell = hash_ & mask
    while True:
        found = table[cell, np.uint64(1)]
        if found == np.uint64(0):
            return np.int64(cell)
        if table[cell, np.uint64(0)] == hash_:
            slot = found - np.uint64(1)
            if slot_id[slot, np.uint64(ID_ROW - 1)] == length and _same(slot_id[slot], ids, at, length):
                return np.int64(cell)
        cell = (cell + np.uint64(1)) & mask


@jit
def find(
    rows: I64, patient: U64, id_at: I64, id_len: U8, ids: U8, table: U64, slot_id: U8, out_slot: I32
) -> Int:
    """Look up the slot of each row's patient; -1 where unknown.

    Parameters
    ----------
    rows : int64[n]
        Packets to look up, indices into `patient`, `id_at`, `id_len`.
    patient, id_at, id_len, ids
        As in `ingest.columns.Batch`.
    table : uint64[m, 2]
        ``m`` is a power of two.
    slot_id : uint8[capacity, ID_ROW]
        Id of each slot, its length in the last byte.
    out_slot : int32[n]
        Filled.

    Returns
    -------
    int
        Number of rows without a slot.
    """
    missing = 0
    mask = np.uint64(len(table) - 1)
    for first in range(0, len(rows), _AHEAD):
        last = min(first + _AHEAD, len(rows))
        for i in range(first, last):
            prefetch(table, np.int64(patient[np.uint64(rows[np.uint64(i)])] & mask), 0)
        for i in range(first, last):
            cell = patient[np.uint64(rows[np.uint64(i)])] & mask
            if table[cell, np.uint64(1)] != np.uint64(0):
                prefetch(slot_id, np.int64(table[cell, np.uint64(1)]) - 1, 0)
        for i in range(first, last):
            row = np.uint64(rows[np.uint64(i)])
            cell = np.uint64(_probe(patient[row], id_at[row], id_len[row], ids, table, slot_id))
            slot = np.int64(table[cell, np.uint64(1)]) - 1
            out_slot[np.uint64(i)] = slot
            missing += slot < 0
    return missing


@jit
def enter(
    rows: I64,
    patient: U64,
    id_at: I64,
    id_len: U8,
    ids: U8,
    table: U64,
    slot_id: U8,
    slot_hash: U64,
    out_slot: I32,
    used: Int,
) -> Int:
    """Give a new slot to each row that `find` left at -1, in the order of the rows.

    The arrays must have room for ``used`` plus the number of such patients.

    Returns
    -------
    int
        Number of slots now used.
    """
    for i in range(len(rows)):
        if out_slot[i] >= 0:
            continue
        row = rows[i]
        at = id_at[row]
        length = id_len[row]
        cell = _probe(patient[row], at, length, ids, table, slot_id)
        if table[cell, 1] == np.uint64(0):
            table[cell, 0] = patient[row]
            table[cell, 1] = np.uint64(used + 1)
            slot_hash[used] = patient[row]
            slot_id[used, ID_ROW - 1] = length
            for k in range(length):
                slot_id[used, k] = ids[at + k]
            used += 1
        out_slot[i] = np.int64(table[cell, 1]) - 1
    return used


@jit
def rehash(slot_hash: U64, used: Int, table: U64) -> None:
    """Fill an empty table with the slots 0 to `used` - 1."""
    mask = np.uint64(len(table) - 1)
    for slot in range(used):
        cell = slot_hash[slot] & mask
        while table[cell, 1] != np.uint64(0):
            cell = (cell + np.uint64(1)) & mask
        table[cell, 0] = slot_hash[slot]
        table[cell, 1] = np.uint64(slot + 1)
