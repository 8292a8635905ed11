"""Writing and reading a checkpoint, beside numpy.savez and beside a bare copy; and how long the line stands still.

VIGIE_BENCH_CHECKPOINT_MB is the size of the state, 256 where it is not given.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.checkpoint import Header, Writing, load, newest_good, write, write_beside

MEGABYTES = int(os.environ.get("VIGIE_BENCH_CHECKPOINT_MB", "256"))

Benchmark = Any  # pytest-benchmark types only part of its fixture
State = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def state() -> State:
    """Times and readings in the proportion of a shard's rings: 8 bytes for 4."""
    readings = (MEGABYTES << 20) // 12
    rng = np.random.default_rng(1)
    return {
        "t": rng.integers(0, 1 << 40, readings),
        "milli": rng.integers(0, 1 << 20, readings).astype(np.int32),
    }


def header(offset: int) -> Header:
    """Give a header for `offset`."""
    return Header(0, 1, offset, "kernels", "program")


def _say(benchmark: Benchmark, state: State) -> None:
    size = sum(array.nbytes for array in state.values())
    benchmark.extra_info["GB_per_s"] = round(size / benchmark.stats.stats.min / 1e9, 2)


def _vigie(folder: Path, state: State) -> None:
    write(folder, header(0), state, {"alerts": b""})


def _numpy(folder: Path, state: State) -> None:
    with (folder / "state.npz").open("wb") as file:
        np.savez(file, **state)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())


def _bare(folder: Path, state: State) -> None:
    with (folder / "state.raw").open("wb", buffering=0) as file:
        for array in state.values():
            file.write(array.data)
        os.fsync(file.fileno())


@pytest.mark.parametrize("way", [_vigie, _numpy, _bare], ids=["vigie", "numpy_savez", "bare_write"])
def test_write(benchmark: Benchmark, tmp_path: Path, state: State, way: Callable[..., None]) -> None:
    """In line, until it is on the disk."""
    benchmark.group = f"write a checkpoint of {MEGABYTES} MB"
    benchmark.pedantic(way, (tmp_path, state), rounds=4, warmup_rounds=1)
    _say(benchmark, state)


@pytest.mark.parametrize("way", ["vigie", "vigie_into", "numpy_load"])
def test_load(benchmark: Benchmark, tmp_path: Path, state: State, way: str) -> None:
    """From the page cache, every byte checked; `into` reads into arrays that are there already."""
    benchmark.group = f"load a checkpoint of {MEGABYTES} MB"
    if way == "numpy_load":
        _numpy(tmp_path, state)

        def run() -> object:
            with np.load(tmp_path / "state.npz") as file:
                return {name: file[name] for name in file.files}
    else:
        _vigie(tmp_path, state)
        room = {name: np.zeros_like(array) for name, array in state.items()}

        def run() -> object:
            return newest_good(tmp_path, into=(lambda name, *_: room[name]) if way == "vigie_into" else None)

    benchmark.pedantic(run, rounds=4, warmup_rounds=1)
    _say(benchmark, state)
    if way != "numpy_load":
        np.testing.assert_array_equal(load(tmp_path / f"{0:020d}.checkpoint").arrays["t"], state["t"])


def test_pause_fork(benchmark: Benchmark, tmp_path: Path, state: State) -> None:
    """How long the line stands still when a child writes."""
    benchmark.group = f"pause of the line, {MEGABYTES} MB"
    written: list[Writing] = []

    def pause() -> None:
        written.append(write_beside(tmp_path, header(len(written)), state))

    def before() -> None:
        for writing in written:
            writing.wait()
        # Pages that the last child shared are the line's alone again only once they were written to.
        for array in state.values():
            np.copyto(array, array[::-1])
        time.sleep(0.1)

    benchmark.pedantic(pause, setup=before, rounds=5)
    for writing in written:
        writing.wait()


def test_pause_copy(benchmark: Benchmark, state: State) -> None:
    """The other way: copy the arrays into a second set that is kept, and let a thread write that."""
    benchmark.group = f"pause of the line, {MEGABYTES} MB"
    second = {name: np.zeros_like(array) for name, array in state.items()}

    def copy() -> None:
        for name, array in state.items():
            np.copyto(second[name], array)

    benchmark.pedantic(copy, rounds=5, warmup_rounds=1)
    _say(benchmark, state)
