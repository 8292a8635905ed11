"""Rows on their way to one Parquet file: spilled in segments, put together at the end, the same bytes however cut."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet

__all__ = ["Segments"]

_GROUP_ROWS = 4096
"""Rows of a row group of the file; a row of alerts with its points is a few kilobytes."""


class Segments:
    """Rows of one schema in a folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    name : str
        Of the segments: ``alerts-000000.ipc``.
    schema : Schema
    kept : sequence of str
        Segments that are there from before and count; others of that name are overwritten.
    """

    def __init__(self, folder: Path, name: str, schema: pl.Schema, kept: Sequence[str] = ()) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._waiting: list[pl.DataFrame] = []
        self.files = list(kept)
        self.waiting = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows; they are in memory until `commit`."""
        if len(rows):
            self._waiting.append(rows)
            self.waiting += len(rows)

    def commit(self) -> None:
        """Have all rows so far on the disk; `files` then names their segments."""
        if not self._waiting:
            return
        file = f"{self._name}-{len(self.files):06}.ipc"
        with (self._folder / file).open("wb") as out:
            pl.concat(self._waiting).write_ipc(out, compression="zstd")
            out.flush()
            os.fsync(out.fileno())
        self.files.append(file)
        self._waiting, self.waiting = [], 0

    def frames(self) -> Iterator[pl.DataFrame]:
        """Give all rows in order, `_GROUP_ROWS` at a time."""
        rest = self._schema.to_frame()
        for file in self.files:
            rest = pl.concat([rest, pl.read_ipc(self._folder / file)])
            while len(rest) >= _GROUP_ROWS:
                yield rest.head(_GROUP_ROWS)
                rest = rest.slice(_GROUP_ROWS)
        yield from [*self._waiting_groups(rest)]

    def _waiting_groups(self, rest: pl.DataFrame) -> Iterator[pl.DataFrame]:
        rows = pl.concat([rest, *self._waiting])
        yield from rows.iter_slices(_GROUP_ROWS) if len(rows) else ()

    def finish(self, path: Path) -> Iterator[pl.DataFrame]:
        """Write all rows to `path`, whole or not at all; give them as they go by, to be counted.

        The same rows give the same bytes: row groups are cut by count, and nothing of the time or the machine is
        written.
        """
        unfinished = path.with_name(path.name + ".new")
        schema = _plain(self._schema.to_frame()).schema
        with pyarrow.parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for rows in self.frames():
                writer.write_table(_plain(rows), row_group_size=_GROUP_ROWS)
                yield rows
        unfinished.replace(path)


def _plain(rows: pl.DataFrame) -> pa.Table:
    """Give rows as Arrow in one piece, in types that any reader knows."""
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
