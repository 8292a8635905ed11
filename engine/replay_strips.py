"""The strips of a replay's alerts: the input is gone through once more, when the alerts are known."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet

from engine import strips
from engine.progress import Progress
from engine.replay_input import Input
from engine.strips import Chunk, Wanted

__all__ = ["write"]

_ROWS = 1 << 14


def write(out: Path, source: Input, progress: Progress) -> int:
    """Write the strips of ``alerts.parquet`` under `out`; give how many there are.

    Those of a replay before go. In memory are the strips whose wait is not over.
    """
    shutil.rmtree(out / strips.FOLDER, ignore_errors=True)
    if not source.has_ecg:
        return 0
    asked = sorted(_wanted(out / "alerts.parquet"), key=lambda each: each.first_ms, reverse=True)
    if not asked:
        return 0
    progress.step("strips", source.end - source.first, "entries")
    waiting: list[tuple[Wanted, int, list[Chunk]]] = []
    count = 0
    at = source.first
    for taken in source.batches(source.first):
        batch = taken.batch
        while asked and asked[-1].first_ms <= batch.clock_ms:
            each = asked.pop()
            waiting.append((each, strips.hash_of(each.patient), []))
        heard = set(np.unique(batch.patient[batch.chunk_packet]).tolist())
        for each, patient, chunks in waiting:
            if patient in heard:
                chunks.extend(strips.chunks_of(batch, each))
        for each, _, chunks in waiting:
            if each.last_ms < batch.clock_ms:
                count += len(strips.write(out, strips.assemble(each, chunks)[0]))
        waiting = [one for one in waiting if one[0].last_ms >= batch.clock_ms]
        progress.advance(batch.next_offset - at)
        at = batch.next_offset
    for each, _, chunks in waiting:
        count += len(strips.write(out, strips.assemble(each, chunks)[0]))
    return count


def _wanted(alerts: Path) -> Iterator[Wanted]:
    """Give what the alerts of a file ask for, which may be more than memory holds."""
    with pyarrow.parquet.ParquetFile(alerts) as file:
        for batch in file.iter_batches(_ROWS):
            yield from strips.wanted(pl.DataFrame(batch))
