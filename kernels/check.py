"""Rows of files to packets: ids hashed, readings judged as those of packets are, values of one moment put together."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import Int
from kernels.identity import MAX_ID, hash_id
from kernels.packets import ECG, MAX_PAIRS
from kernels.reading import check_pressures, check_time, check_value, to_milli
from kernels.refusals import OK

__all__ = ["LONGEST_RUN", "hash_ids", "in_order", "pack_rows"]

LONGEST_RUN = 64
"""Rows that one packet may take up, refused ones included: what waits for its end stays small."""

_SYSTOLIC = 2
_DIASTOLIC = 3
_MEAN = 4
_SYSTOLIC_STANDING = 16
_DIASTOLIC_STANDING = 17

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Range = npt.NDArray[np.float64]


@jit
def hash_ids(data: Bytes, at: Int64, hashes: npt.NDArray[np.uint64], legal: npt.NDArray[np.bool_]) -> None:
    """Hash the texts ``data[at[i] : at[i + 1]]`` and say which may be ids.

    Parameters
    ----------
    data : uint8[m]
    at : int64[n + 1]
        Ascending, within `data`.
    hashes : uint64[n]
        Filled.
    legal : bool[n]
        Filled: 1 to 40 printable ASCII characters (0x21 to 0x7e).
    """
    for i in range(len(hashes)):
        length = at[i + 1] - at[i]
        hashes[i] = 0
        legal[i] = False
        if 1 <= length <= MAX_ID:
            hashes[i], legal[i] = hash_id(data, at[i], length)


@jit
def in_order(t: Int64, person: npt.NDArray[np.int32], src: npt.NDArray[np.uint16], cell: Int64) -> bool:
    """Say whether rows ascend by (t, person, src, cell)."""
    for i in range(1, len(t)):
        if t[i] != t[i - 1]:
            if t[i] < t[i - 1]:
                return False
        elif person[i] != person[i - 1]:
            if person[i] < person[i - 1]:
                return False
        elif src[i] != src[i - 1]:
            if src[i] < src[i - 1]:
                return False
        elif cell[i] < cell[i - 1]:
            return False
    return True


@jit
def _close(
    first: Int,
    count: Int,
    code: npt.NDArray[np.uint16],
    milli: npt.NDArray[np.int32],
    row: Int64,
    reason: Bytes,
    fault: Int,
) -> Int:
    """Judge the pressures of a packet together; inconsistent ones leave it. The answer is how many values stay."""
    systolic = diastolic = mean = systolic_standing = diastolic_standing = -1
    for k in range(first, first + count):
        if code[k] == _SYSTOLIC:
            systolic = int(milli[k])
        elif code[k] == _DIASTOLIC:
            diastolic = int(milli[k])
        elif code[k] == _MEAN:
            mean = int(milli[k])
        elif code[k] == _SYSTOLIC_STANDING:
            systolic_standing = int(milli[k])
        elif code[k] == _DIASTOLIC_STANDING:
            diastolic_standing = int(milli[k])
    bad_seated = check_pressures(systolic, diastolic, mean) != OK
    bad_standing = check_pressures(systolic_standing, diastolic_standing, -1) != OK
    if not (bad_seated or bad_standing):
        return count
    kept = first
    for k in range(first, first + count):
        c = code[k]
        if (bad_seated and _SYSTOLIC <= c <= _MEAN) or (
            bad_standing and _SYSTOLIC_STANDING <= c <= _DIASTOLIC_STANDING
        ):
            reason[row[k]] = fault
            continue
        code[kept] = c
        milli[kept] = milli[k]
        row[kept] = row[k]
        kept += 1
    return kept - first


@jit
def pack_rows(
    t: Int64,
    cell: Int64,
    value: npt.NDArray[np.float64],
    person: npt.NDArray[np.int32],
    src: npt.NDArray[np.uint16],
    row_code: npt.NDArray[np.uint16],
    width: Int64,
    kind_of: Bytes,
    low: Range,
    high: Range,
    latest_ms: Int,
    inconsistent: Int,
    final: bool,
    reason: Bytes,
    packet_row: Int64,
    packet_kind: Bytes,
    value_at: Int64,
    code: npt.NDArray[np.uint16],
    milli: npt.NDArray[np.int32],
    value_row: Int64,
    seen: Int64,
) -> tuple[Int, Int, Int]:
    """Put rows together into packets: values of one patient, moment, file and kind, up to 16, each signal once.

    Parameters
    ----------
    t, cell, value, person, src, row_code : [n]
        Rows in order of (t, person, src, cell). `t` in ms UTC, `value` in the signal's unit.
    width : int64[files]
        Cells of a row of that file when it is a wide table: its rows are never put together. 0: a long table.
    kind_of : uint8[codes]
        Kind of packet of each code.
    low, high : float64[codes]
        Plausible range by code.
    latest_ms : int
        Events may lie five minutes after it at most.
    inconsistent : int
        Reason written where pressures contradict each other.
    final : bool
        No rows follow, so the last packet is closed too.
    reason : uint8[n]
        Not 0 where the row is refused already; written where it is refused here.
    packet_row, packet_kind : int64[n], uint8[n]
        Written: row of the first value of each packet, and its kind.
    value_at : int64[n + 1]
        Written: where the values of each packet begin.
    code, milli, value_row : uint16[n], int32[n], int64[n]
        Written: each value, and the row it is from.
    seen : int64[LONGEST_RUN]
        Scratch: the signals of the open packet, those of refused rows included.

    Returns
    -------
    rows, packets, values : int
        Rows that are done with; what stands in `reason` counts for these only. The others are given again,
        before those that follow.

    Notes
    -----
    An implausible reading is refused alone, the others of its moment are kept: a row of a file is one reading, while
    the values of a packet were sent, and are refused, together. It still ends a packet when its signal is repeated, so
    that a pressure is never paired with that of another measurement.
    """
    n = len(t)
    packets = 0
    values = 0  # closed ones
    count = 0  # of the open packet
    begin = -1  # its first row; -1: none is open
    kind = 0
    seen_count = 0
    value_at[0] = 0
    for i in range(n):
        verdict = int(reason[i])
        c = int(row_code[i])
        k = int(kind_of[c])
        if begin >= 0:
            same = (
                t[i] == t[begin]
                and person[i] == person[begin]
                and src[i] == src[begin]
                and seen_count < LONGEST_RUN
                and i - begin < LONGEST_RUN
            )
            if same and (c != 0 or verdict == OK):
                w = width[src[i]]
                same = (
                    k == kind
                    and k != ECG
                    and count < MAX_PAIRS
                    and (w == 0 or cell[i] // w == cell[begin] // w)
                )
                if same:
                    for s in range(seen_count):
                        if seen[s] == c:
                            same = False
            if not same:
                stay = _close(values, count, code, milli, value_row, reason, inconsistent)
                if stay > 0:
                    packet_row[packets] = value_row[values]
                    packet_kind[packets] = kind
                    values += stay
                    packets += 1
                    value_at[packets] = values
                begin = -1
        if verdict == OK:
            verdict = check_time(t[i], latest_ms)
            if verdict == OK and k != ECG:
                verdict = check_value(c, value[i], low, high)
            reason[i] = verdict
        if c == 0:
            continue
        if begin < 0:
            begin = i
            kind = k
            count = 0
            seen_count = 0
        seen[seen_count] = c
        seen_count += 1
        if verdict == OK:
            code[values + count] = c
            milli[values + count] = 0 if k == ECG else to_milli(value[i])
            value_row[values + count] = i
            count += 1
    if begin >= 0:
        if not final:
            return begin, packets, values
        stay = _close(values, count, code, milli, value_row, reason, inconsistent)
        if stay > 0:
            packet_row[packets] = value_row[values]
            packet_kind[packets] = kind
            values += stay
            packets += 1
            value_at[packets] = values
    return n, packets, values
