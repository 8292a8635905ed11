"""Vigie's own history as a table: readings in thousandths, without times to read and units to convert.

It has what was measured, not how it came: a replay of it is in the order of event time, as of any file. Acts of the
cell and ECG are not in it; readings that were derived from ECG are passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ingest.formats.longform import Table
from ingest.formats.rows import Rows
from ingest.formats.spill import Spill
from ingest.formats.tables import parquet_pieces
from ingest.formats.texts import encoded
from ingest.historyfile import COLUMNS
from ingest.reasons import Reason
from ingest.signals import MILLI, SIGNALS, Kind

__all__ = ["HistoryTable", "is_own"]

_READ = ("patient", "signal", "t_ms", "milli")
_DERIVED = np.array([signal.code for signal in SIGNALS if signal.kind is Kind.DERIVED], np.uint16)


def is_own(columns: list[str]) -> bool:
    """Say whether columns are those of history."""
    return set(columns) == set(COLUMNS)


@dataclass(slots=True)
class HistoryTable(Table):
    """A Parquet file of history."""

    @property
    def width(self) -> int:
        """0: a reading a row."""
        return 0

    def check(self) -> None:
        """There is nothing that a mapping could get wrong."""

    def check_columns(self) -> None:
        """Its columns are what made it one."""

    def is_foreign(self) -> bool:
        """It is of readings."""
        return False

    def read(self, spill: Spill) -> Iterator[tuple[Rows, int]]:
        """Read the file, piece by piece; see `Table.read`."""
        known = self.vocabulary.kind_of != 0
        for piece in parquet_pieces(self.path, list(_READ), ["patient"]):
            code = pl.Series(piece.columns["signal"]).to_numpy().astype(np.uint16)
            index, texts = encoded(piece.columns["patient"])
            person = spill.people.numbers(texts)[index]
            t = pl.Series(piece.columns["t_ms"]).to_numpy().astype(np.int64)
            keep = np.flatnonzero(~np.isin(code, _DERIVED))
            reason = np.where(known[code], np.uint8(0), np.uint8(Reason.UNKNOWN_SIGNAL))
            value = pl.Series(piece.columns["milli"]).to_numpy() / MILLI
            rows = Rows(
                t.copy(), piece.number.copy(), value, person.astype(np.int32),
                np.full(len(t), self.src, np.uint16), np.where(known[code], code, np.uint16(0)), reason,
            ).take(keep)  # fmt: skip
            if self.observed is not None:
                self.observed.rows(self.src, rows.person, rows.t, None)
            bad = np.flatnonzero(rows.reason)
            if len(bad):
                said = pl.Series(
                    [f"signal={each} | not a signal of this version" for each in code[keep][bad].tolist()]
                )
                rows.value[bad] = spill.refuse(said)
            yield self._told(rows), len(piece.number)
