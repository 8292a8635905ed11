"""The strips of a replay's alerts: the input is gone through once more, when the alerts are known."""

import heapq
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet

from engine import strips
from engine.progress import Progress
from engine.replay_input import Input
from engine.strips import Chunk, Wanted

__all__ = ["Asked", "write"]

_ROWS = 1 << 14


class Asked:
    """What the alerts of a file ask for, read no further than the time comes to it: it may be more than memory holds.

    Parameters
    ----------
    alerts : ParquetFile
        Columns of `rules.alerts.SCHEMA`; rows in the order of `clock_ms`, as a line writes them.
    """

    def __init__(self, alerts: pyarrow.parquet.ParquetFile) -> None:
        self._rows = _rows(alerts)
        self._read_ms: int | None = None  # what is not read is of then or later; None before the first
        self._held: list[tuple[int, int, Wanted]] = []
        self._number = count()  # of two that begin at once, the first one first

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._held)

    def until(self, clock_ms: int) -> Iterator[Wanted]:
        """Give what there is to look for from now on: `first_ms` is not after the clock. Each is given once."""
        # An alert looks back so far at most, so those of later ask for nothing that has come.
        while self._read_ms is None or self._read_ms <= clock_ms + strips.LOOK_BACK_MS:
            rows = next(self._rows, None)
            if rows is None:
                break
            for each in strips.wanted(rows):
                heapq.heappush(self._held, (each.first_ms, next(self._number), each))
            self._read_ms = rows["clock_ms"][-1]
        while self._held and self._held[0][0] <= clock_ms:
            yield heapq.heappop(self._held)[2]


def write(out: Path, source: Input, progress: Progress) -> int:
    """Write the strips of ``alerts.parquet`` under `out`; give how many there are.

    Those of a replay before go. In memory are the strips whose wait is not over.
    """
    shutil.rmtree(out / strips.FOLDER, ignore_errors=True)
    if not source.has_ecg:
        return 0
    with pyarrow.parquet.ParquetFile(out / "alerts.parquet") as alerts:
        if not any(strips.wanted(rows) for rows in _rows(alerts)):
            return 0
        return _write(out, source, Asked(alerts), progress)


def _write(out: Path, source: Input, asked: Asked, progress: Progress) -> int:
    progress.step("strips", source.end - source.first, "entries")
    waiting: list[tuple[Wanted, int, list[Chunk]]] = []
    written = 0
    at = source.first
    for taken in source.batches(source.first):
        batch = taken.batch
        waiting += [(each, strips.hash_of(each.patient), []) for each in asked.until(batch.clock_ms)]
        heard = set(np.unique(batch.patient[batch.chunk_packet]).tolist())
        for each, patient, chunks in waiting:
            if patient in heard:
                chunks.extend(strips.chunks_of(batch, each))
        for each, _, chunks in waiting:
            if each.last_ms < batch.clock_ms:
                written += len(strips.write(out, strips.assemble(each, chunks)[0]))
        waiting = [one for one in waiting if one[0].last_ms >= batch.clock_ms]
        progress.advance(batch.next_offset - at)
        at = batch.next_offset
    for each, _, chunks in waiting:
        written += len(strips.write(out, strips.assemble(each, chunks)[0]))
    return written


def _rows(alerts: pyarrow.parquet.ParquetFile) -> Iterator[pl.DataFrame]:
    for batch in alerts.iter_batches(_ROWS, columns=list(strips.OF_ALERTS)):
        if batch.num_rows:
            yield pl.DataFrame(batch)
