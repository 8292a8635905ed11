"""Files to batches, beside Polars doing the same in memory.

What is compared: readings of a Parquet file in long form, sorted by time, those of one patient and moment together.
Polars neither judges a reading nor numbers a packet, and holds the whole file in memory.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ingest.formats import Replay, open_paths

ROWS = 2_000_000
PATIENTS = 20_000
SIGNALS = {
    "weight": "kg",
    "systolic": "mm[Hg]",
    "diastolic": "mm[Hg]",
    "heart_rate_cuff": "/min",
    "spo2": "%",
}


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five readings a moment, rows in random order."""
    rng = np.random.default_rng(1)
    moments = ROWS // len(SIGNALS)
    who = np.array([f"p{k:07}" for k in range(PATIENTS)])[rng.integers(0, PATIENTS, moments)]
    when = 1_767_600_000_000 + rng.integers(0, 60 * 86_400_000, moments)
    values = (
        rng.normal(80, 10, moments).clip(40, 150).round(1), rng.integers(110, 150, moments),
        rng.integers(60, 90, moments), rng.integers(50, 100, moments), rng.integers(90, 100, moments),
    )  # fmt: skip
    frame = pl.DataFrame(
        {
            "patient": np.repeat(who, len(SIGNALS)),
            "time": np.repeat(when, len(SIGNALS)),
            "signal": np.tile(list(SIGNALS), moments),
            "value": np.column_stack(values).ravel().astype(float),
            "unit": np.tile(list(SIGNALS.values()), moments),
        }
    ).with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC")))
    path: Path = tmp_path_factory.mktemp("formats") / "long.parquet"
    frame.sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def packets(parquet: Path) -> int:
    """How many packets there are in it."""
    frame = pl.scan_parquet(parquet)
    return int(frame.select(pl.struct("patient", "time").n_unique()).collect().item())


@pytest.fixture
def sorted_source(parquet: Path) -> Iterator[Replay]:
    """Give the file read and sorted."""
    with open_paths([parquet]) as source:
        source.prepare()
        yield source


def count(source: Replay) -> tuple[int, int]:
    """Take all batches: (packets, readings)."""
    found = readings = 0
    for batch, quarantine in source.batches():
        found += len(batch)
        readings += len(batch.code) + len(quarantine)
    return found, readings


@pytest.mark.benchmark(group=f"files: {ROWS:,} readings, after the sort")
def test_sorted_to_batches(benchmark: BenchmarkFixture, sorted_source: Replay, packets: int) -> None:
    """Merge, judge and pack: 5 M readings a second on one core are asked for."""
    count(sorted_source)  # compiles
    assert benchmark(count, sorted_source) == (packets, ROWS)


@pytest.mark.benchmark(group=f"files: {ROWS:,} readings, from Parquet")
def test_file_to_batches(benchmark: BenchmarkFixture, parquet: Path, packets: int) -> None:
    """Read, sort on disk, merge, judge and pack."""

    def whole() -> tuple[int, int]:
        with open_paths([parquet]) as source:
            return count(source)

    assert benchmark(whole) == (packets, ROWS)


@pytest.mark.benchmark(group=f"files: {ROWS:,} readings, from Parquet")
def test_polars(benchmark: BenchmarkFixture, parquet: Path, packets: int) -> None:
    """Read, sort and group in memory."""

    def whole() -> int:
        frame = pl.scan_parquet(parquet).sort("time", "patient", "signal")
        return frame.group_by("time", "patient", maintain_order=True).agg("signal", "value").collect().height

    assert benchmark(whole) == packets
