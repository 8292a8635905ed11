"""Sorted series of readings: insertion that gives the same content whatever the order of arrival.

A series is a stretch of ``physical`` places in a patient's row: ascending in (time, value), without repeats.
What a feature sees are the newest ``visible`` readings. Places beyond `visible` are slack, so that the oldest
are moved out many at a time. A reading that has once fallen out of the newest `visible` never comes back among
them, so forgetting it changes nothing: the content is a function of the set of readings that were applied.
"""

import numpy as np

from kernels._jit import jit_inline
from kernels._types import I32, I64, Int

__all__ = ["OUTDATED", "PRESENT", "place", "put"]

PRESENT = -1
OUTDATED = -2


@jit_inline
def place(t: I64, v: I32, start: Int, count: Int, visible: Int, time: Int, value: Int) -> Int:
    """Find where a reading belongs in the series at ``[start, start + count)``.

    Parameters
    ----------
    t, v : int64[r], int32[r]
        A patient's row: milliseconds UTC, thousandths of the unit.
    start, count, visible : int
        Place of the series, its present length, how many of the newest a feature sees.

    Returns
    -------
    int
        Places from `start`; PRESENT when the same time and value are there; OUTDATED when it would not be
        among the newest `visible`, so that nothing would see it.
    """
    at = start + count
    while at > start:
        before = np.uint64(at - 1)
        if t[before] < time:
            break
        if t[before] == time:
            if v[before] == value:
                return PRESENT
            if v[before] < value:
                break
        at -= 1
    if at - start < count + 1 - visible:
        return OUTDATED
    return at - start


@jit_inline
def put(t: I64, v: I32, start: Int, count: Int, at: Int, time: Int, value: Int) -> None:
    """Put a reading `at` places from the start of a series of `count` that has room for one more."""
    for i in range(start + count, start + at, -1):
        t[np.uint64(i)] = t[np.uint64(i - 1)]
        v[np.uint64(i)] = v[np.uint64(i - 1)]
    t[np.uint64(start + at)] = time
    v[np.uint64(start + at)] = value
