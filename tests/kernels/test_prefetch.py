"""Lines asked for ahead: the right ones, a few at a time."""

import numpy as np

from kernels._jit import jit
from kernels._types import F64
from kernels.prefetch import address, ask


@jit
def address_of(array: F64, row: int) -> int:
    return address(array, row)


def test_the_address_of_a_row():
    rows = np.zeros((5, 30))
    assert [address_of(rows, i) for i in range(5)] == [rows[i].ctypes.data for i in range(5)]


def test_a_span_is_asked_for_in_parts():
    rows = np.zeros(5000)
    begin = rows.ctypes.data
    span = np.array([begin, begin + 8 * 300])
    seen = []
    while span[0] < span[1]:
        ask(span)
        seen.append(int(span[0]) - begin)
    assert seen == [16 * 64, 32 * 64, 8 * 300]
    ask(span)
    assert span[0] == span[1] == begin + 8 * 300


def test_nothing_is_asked_for_where_there_is_nothing():
    span = np.zeros(2, np.int64)
    ask(span)
    assert span.tolist() == [0, 0]
