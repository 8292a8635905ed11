"""Room on the stack of a thread: each caller has its own, and it is memory like any other."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I64
from kernels.stack import stack

_N = 100


@jit
def reversed_sums(values: I64, out: F64) -> int:
    room = stack(_N)
    whole = room.view(np.int64)
    total = 0
    for i in range(_N):
        total += values[i]
        whole[i] = total
    for i in range(_N):
        out[i] = whole[_N - 1 - i]
    return room.size


def test_what_is_written_is_read():
    values, out = np.arange(_N), np.zeros(_N)
    assert reversed_sums(values, out) == _N
    assert out.tolist() == np.cumsum(values)[::-1].tolist()


def test_threads_do_not_share_it():
    def run(seed):
        values, out = np.random.default_rng(seed).integers(0, 1000, _N), np.zeros(_N)
        for _ in range(2000):
            reversed_sums(values, out)
        return out.tolist() == np.cumsum(values)[::-1].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(8)))
