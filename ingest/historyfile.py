"""The files of history: how they are called, which of them count, and their columns.

A file is ``day=YYYY-MM-DD/shard=SS/<first>-<next>.parquet``, by the log offsets that it covers; what is committed is
said by one small file beside the days (`engine.history` writes both).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["COLUMNS", "MARK", "current", "is_history", "readable", "span"]

MARK: Final = "committed.json"

COLUMNS: Final = ("patient", "signal", "t_ms", "receipt_ms", "milli", "status", "offset", "outcome")


def span(path: Path) -> tuple[int, int]:
    """Give the offsets that a file covers: from the first to the second, excluded."""
    first, _, until = path.stem.partition("-")
    return int(first), int(until)


def current(paths: Iterable[Path], committed: int) -> list[Path]:
    """Keep the files that are committed, without those that a merged one covers, in order of offset."""
    kept: list[Path] = []
    reached = -1
    # Of those that start together the longest first: ranges of commits never overlap, so what is inside another was
    # merged into it.
    for path in sorted(paths, key=lambda path: (span(path)[0], -span(path)[1])):
        _, until = span(path)
        if reached < until <= committed:
            kept.append(path)
            reached = until
    return kept


def is_history(folder: Path) -> bool:
    """Say whether a folder is a history: it has its mark and days."""
    return (folder / MARK).is_file() and any(folder.glob("day=*"))


def readable(folder: Path) -> list[Path]:
    """Give the files of a history that count, by day and shard.

    Raises
    ------
    ValueError
        The mark cannot be read.
    OSError
    """
    committed = json.loads((folder / MARK).read_bytes())["committed"]
    shards = sorted(folder.glob("day=*/shard=*"))
    return [path for shard in shards for path in current(shard.glob("*.parquet"), committed)]
