"""Appending to the log, by size of batch and of group, beside a transaction a batch and beside a bare file.

The rivals do what one would do by hand with the same promise: nothing counts before fsync. Ratios within one run
are what is meant; the disk decides the rest.
"""

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.log import Log

CASES = [(200, 1), (200, 64), (200, 1000), (20_000, 1), (20_000, 100), (65_000, 64), (1_000_000, 8)]

Append = Callable[[list[bytes]], None]
Benchmark = Any  # pytest-benchmark types only part of its fixture


@contextlib.contextmanager
def vigie(path: Path) -> Iterator[Append]:
    """The embedded log: a group is handed in, and waited for."""
    with Log(path) as log:

        def append(bodies: list[bytes]) -> None:
            tickets = log.append_many([("bench", body, 0) for body in bodies])
            for ticket in tickets:
                ticket.result()

        yield append


@contextlib.contextmanager
def sqlite_each(path: Path) -> Iterator[Append]:
    """SQLite with the same pragmas, a transaction a batch."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE entry (offset INTEGER PRIMARY KEY, ms INTEGER, source TEXT, body BLOB)"
        )

        def append(bodies: list[bytes]) -> None:
            for body in bodies:
                connection.execute("INSERT INTO entry (ms, source, body) VALUES (0, 'bench', ?)", (body,))

        yield append


@contextlib.contextmanager
def bare_file(path: Path) -> Iterator[Append]:
    """What the disk gives: write and one fsync a group, with no form, no check and no index."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(bodies: list[bytes]) -> None:
        os.write(fd, b"".join(bodies))
        os.fsync(fd)

    yield append
    os.close(fd)


@pytest.mark.parametrize("way", ["vigie", "sqlite_each", "bare_file"])
@pytest.mark.parametrize(("size", "group"), CASES, ids=str)
def test_append(benchmark: Benchmark, tmp_path: Path, size: int, group: int, way: str) -> None:
    """One group of `group` batches of `size` bytes, until all are durable."""
    benchmark.group = f"append {group} batches of {size} bytes"
    opening = {"vigie": vigie, "sqlite_each": sqlite_each, "bare_file": bare_file}[way]
    bodies = [os.urandom(size) for _ in range(group)]
    rounds = max(5, min(200, 20_000_000 // (size * group)))
    with opening(tmp_path / "log") as append:
        benchmark.pedantic(append, (bodies,), rounds=rounds, warmup_rounds=1)
    best = benchmark.stats.stats.min
    benchmark.extra_info["batches_per_s"] = round(group / best)
    benchmark.extra_info["MB_per_s"] = round(size * group / best / 1e6, 1)


@pytest.mark.parametrize("size", [200, 20_000, 65_000])
def test_read(benchmark: Benchmark, tmp_path: Path, size: int) -> None:
    """Read 20 MB back from offset 0, every checksum checked."""
    benchmark.group = "read the log"
    with Log(tmp_path / "log") as log:
        for _ in range(20):
            tickets = log.append_many([("bench", os.urandom(size), 0) for _ in range(1_000_000 // size)])
            tickets[-1].result()

        def read() -> int:
            at = 0
            for _ in itertools.count():
                entries = log.read(at)
                if not entries:
                    break
                at = entries[-1].offset + 1
            return at

        count = benchmark.pedantic(read, rounds=5, warmup_rounds=1)
    assert count == 20 * (1_000_000 // size)
    benchmark.extra_info["MB_per_s"] = round(count * size / benchmark.stats.stats.min / 1e6)
