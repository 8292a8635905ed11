"""Tables of readings: one reading a row (patient, time, signal, value, unit), or one moment a row, a column a signal.

A row that cannot be read is refused with its text and a reason, and never mended: a unit that is not known is not
guessed, a decimal comma is read only where the mapping says so, an empty value in long form is a fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from ingest.formats.errors import FormatError
from ingest.formats.mapping import Mapping, ValueColumn
from ingest.formats.observed import SITE_COLUMNS, Observed
from ingest.formats.rows import Rows
from ingest.formats.spill import Spill
from ingest.formats.tables import (
    PARQUET_ENDS,
    Piece,
    check_columns,
    column_names,
    csv_pieces,
    parquet_pieces,
)
from ingest.formats.texts import encoded
from ingest.formats.times import Clocks, to_ms
from ingest.formats.units import Conversion, conversion, legal_units
from ingest.formats.vocabulary import Vocabulary
from ingest.reasons import Reason

__all__ = ["Table"]

_TEXT = 400  # characters of a refused row that are kept

Numbers = npt.NDArray[np.int64]


@dataclass(slots=True)
class _What:
    """For each pair (signal, unit) that a piece has: what becomes of its values."""

    code: npt.NDArray[np.uint16]
    factor: npt.NDArray[np.float64]
    divisor: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    reason: npt.NDArray[np.uint8]
    hint: list[str]


def _number(column: pl.Series, decimal: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Give values, and where there is none; what is there and is no number is NaN with `missing` too."""
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        if decimal == ",":
            # A point would then group thousands: 1.234 is not 1,234.
            text = text.set(text.str.contains(".", literal=True).fill_null(value=False), "?")
            text = text.str.replace(",", ".", literal=True)
        column = text.cast(pl.Float64, strict=False)
    else:
        column = column.cast(pl.Float64, strict=False)
    return column.fill_null(np.nan).to_numpy().astype(np.float64, copy=True), column.is_null().to_numpy()


@dataclass(slots=True)
class Table:
    """A CSV or Parquet file with how it is read.

    Attributes
    ----------
    path, src : Path, int
        The file and its number.
    clocks : Clocks
        Times without an offset, counted.
    observed : Observed, optional
        Told what is seen on the way.
    """

    path: Path
    src: int
    mapping: Mapping
    vocabulary: Vocabulary
    clocks: Clocks = field(default_factory=Clocks)
    observed: Observed | None = None
    _present: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Cells of a row when the table is wide; 0 in long form."""
        return len(self.mapping.values)

    def _columns(self) -> list[str]:
        names = self.mapping.columns
        columns = [names.time] if self.mapping.patient else [names.patient, names.time]
        if self.width:
            return [*columns, *dict.fromkeys(v.column for v in self.mapping.values)]
        columns += [names.signal, names.value]
        return columns if self.mapping.units and not self._has_unit() else [*columns, names.unit]

    def _has_unit(self) -> bool:
        # With units in the mapping the column may be missing; one that is there is read.
        return self.mapping.columns.unit in self._names()

    def _names(self) -> list[str]:
        if not self._present:
            self._present = column_names(self.path, self.mapping.separator)
        return self._present

    def _site(self) -> str:
        """Name of the column of sites; empty when there is none."""
        asked = self.mapping.columns.site
        mine = set(self._columns())
        usual = [name for name in self._names() if name.strip().lower() in SITE_COLUMNS and name not in mine]
        return asked or next(iter(usual), "")

    def check_columns(self) -> None:
        """Raise FormatError when the file has not the columns."""
        check_columns(self.path, [*self._columns(), *filter(None, [self._site()])], self._names())

    def check(self) -> None:
        """Raise FormatError when the mapping does not fit the file, before anything is read."""
        self.check_columns()
        self._cells()
        for signal, unit in self.mapping.units.items():
            entry = self.vocabulary.find(signal)
            if entry is not None and conversion(unit, entry.ucum) is None:
                legal = ", ".join(legal_units(entry.ucum))
                msg = f"{self.path}: mapping: units.{signal}: {unit!r}; legal for {entry.name} are {legal}"
                raise FormatError(msg)

    def is_foreign(self) -> bool:
        """Say whether the file has none of the columns that the mapping names: a table of something else."""
        return not set(self._columns()) & set(self._names())

    def _open(self, columns: list[str]) -> Iterator[Piece]:
        if self.path.name.lower().endswith(PARQUET_ENDS):
            names = self.mapping.columns
            texts = {names.patient, names.signal, names.unit, self._site()}
            return parquet_pieces(self.path, columns, texts & set(columns))
        return csv_pieces(self.path, columns, self.mapping.separator)

    def read(self, spill: Spill) -> Iterator[tuple[Rows, int]]:
        """Read the file, piece by piece.

        Parameters
        ----------
        spill : Spill
            Patients are entered in it, and the texts of refused rows.

        Yields
        ------
        rows : Rows
        read : int
            Rows of the file that they came from.

        Raises
        ------
        FormatError
            The file as a whole cannot be used.
        """
        self._cells()  # what is wrong with the mapping is said before anything is read
        site = self._site()
        for piece in self._open(self._columns() + [site] * bool(site)):
            if piece.broken:
                yield self._told(self._broken(piece, spill)), len(piece.broken)
            if len(piece.number):
                rows = self._wide(piece, spill) if self.width else self._long(piece, spill)
                yield self._told(rows), len(piece.number)

    def _told(self, rows: Rows) -> Rows:
        if self.observed is not None:
            self.observed.files[self.src].take(rows, self.width)
        return rows

    def _broken(self, piece: Piece, spill: Spill) -> Rows:
        rows = Rows.empty(len(piece.broken))
        rows.t[:] = np.iinfo(np.int64).min
        rows.cell[:] = [number * max(1, self.width) for number, _ in piece.broken]
        rows.value[:] = spill.refuse(
            pl.Series([f"{text[:_TEXT]} | too many or too few fields" for _, text in piece.broken])
        )
        rows.person[:] = -1
        rows.src[:] = self.src
        rows.code[:] = 0
        rows.reason[:] = Reason.BAD_ROW
        return rows

    def _who_when(
        self, piece: Piece, spill: Spill
    ) -> tuple[npt.NDArray[np.int32], Numbers, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Give person, time, and the reason to refuse the row for its patient or for its time."""
        names = self.mapping.columns
        if self.mapping.patient:
            one = spill.people.numbers(pa.array([self.mapping.patient], pa.large_string()))
            person = np.broadcast_to(one, (len(piece.number),))
        else:
            index, texts = encoded(piece.columns[names.patient])
            person = spill.people.numbers(texts)[index]
        t, late = to_ms(pl.Series(piece.columns[names.time]), self.mapping.time, self.clocks)
        if self.observed is not None:
            site = self._site()
            self.observed.rows(self.src, person, t, piece.columns[site] if site else None)
        return person, t, np.where(person < 0, np.uint8(Reason.BAD_PATIENT), np.uint8(0)), late

    def _pairs(self, signals: list[str], units: list[str], pairs: Numbers, counts: Numbers) -> _What:
        """Look up the pairs (signal, unit) that occur, given as ``signal * len(units) + unit``, and how often."""
        size = len(pairs)
        what = _What(
            np.zeros(size, np.uint16), np.ones(size), np.ones(size), np.zeros(size), np.zeros(size, np.uint8),
            [""] * size,
        )  # fmt: skip
        for k, pair in enumerate(pairs):
            signal, unit = signals[pair // len(units)], units[pair % len(units)]
            entry = self.vocabulary.find(self.mapping.signals.get(signal, signal))
            if entry is None:
                what.reason[k] = Reason.UNKNOWN_SIGNAL
                what.hint[k] = self.vocabulary.hint(signal)
                continue
            what.code[k] = entry.code
            mapped = self.mapping.units.get(entry.name, "")
            self._saw_unit(entry.name, unit or (f"{mapped} (mapping)" if mapped else ""), int(counts[k]))
            found = conversion(unit or mapped, entry.ucum)
            if found is None:
                what.reason[k] = Reason.UNKNOWN_UNIT
                what.hint[k] = f"legal units of {entry.name}: {', '.join(legal_units(entry.ucum))}"
                continue
            what.factor[k], what.divisor[k], what.shift[k] = found.factor, found.divisor, found.shift
        return what

    def _saw_unit(self, signal: str, unit: str, count: int) -> None:
        if self.observed is not None:
            self.observed.files[self.src].unit(signal, unit, count)

    def _long(self, piece: Piece, spill: Spill) -> Rows:
        names = self.mapping.columns
        person, t, bad_person, bad_time = self._who_when(piece, spill)
        signal, signals = encoded(piece.columns[names.signal])
        if names.unit in piece.columns.schema.names:
            unit, units = encoded(piece.columns[names.unit])
        else:
            unit, units = np.zeros(len(signal), np.int64), pa.array([""])
        pairs, which, counts = np.unique(signal * len(units) + unit, return_inverse=True, return_counts=True)
        what = self._pairs(signals.to_pylist(), units.to_pylist(), pairs, counts)
        value, missing = _number(pl.Series(piece.columns[names.value]), self.mapping.decimal)
        value = value * what.factor[which] / what.divisor[which] + what.shift[which]
        reason = _first(bad_person, bad_time, what.reason[which], _bad_row(missing))
        rows = Rows(
            t, piece.number.copy(), value, person.astype(np.int32),
            np.full(len(t), self.src, np.uint16), what.code[which], reason,
        )  # fmt: skip
        bad = np.flatnonzero(reason)
        if len(bad):
            hints = np.where(
                np.isin(reason[bad], (Reason.UNKNOWN_SIGNAL, Reason.UNKNOWN_UNIT)), which[bad], -1
            )
            said = [what.hint[k] if k >= 0 else _why(reason[bad[j]]) for j, k in enumerate(hints)]
            rows.value[bad] = spill.refuse(_shown(pl.DataFrame(piece.columns)[bad], said))
        return rows

    def _cells(self) -> list[tuple[ValueColumn, int, Conversion]]:
        """Give code and conversion of each column of values; FormatError where there is none."""
        cells = []
        for spec in self.mapping.values:
            entry = self.vocabulary.find(spec.signal)
            if entry is None:
                msg = f"{self.path}: column {spec.column!r}: {self.vocabulary.hint(spec.signal)}"
                raise FormatError(msg)
            to = conversion(spec.unit, entry.ucum)
            if to is None:
                legal = ", ".join(legal_units(entry.ucum))
                msg = f"{self.path}: column {spec.column!r}: unit {spec.unit!r}; legal for {entry.name} are {legal}"
                raise FormatError(msg)
            cells.append((spec, entry.code, to))
        return cells

    def _wide(self, piece: Piece, spill: Spill) -> Rows:
        width = self.width
        person, t, bad_person, bad_time = self._who_when(piece, spill)
        whole = _first(bad_person, bad_time)
        parts = []
        for j, (spec, code, to) in enumerate(self._cells()):
            column = pl.Series(piece.columns[spec.column])
            empty = (
                column.is_null()
                if column.dtype != pl.String
                else column.str.strip_chars().fill_null("") == ""
            )
            # An empty cell is no reading; a row that is refused as a whole stands once, at its first cell.
            at = np.flatnonzero((whole == 0) & ~empty.to_numpy() if j else (whole != 0) | ~empty.to_numpy())
            entry = self.vocabulary.find(spec.signal)  # which may be called by its LOINC code
            if entry is not None:
                self._saw_unit(entry.name, f"{spec.unit} (mapping)", int((whole[at] == 0).sum()))
            value, missing = _number(column, self.mapping.decimal)
            reason = _first(whole[at], _bad_row(missing[at]))
            rows = Rows(
                t[at], piece.number[at] * width + j, value[at] * to.factor / to.divisor + to.shift,
                person[at].astype(np.int32), np.full(len(at), self.src, np.uint16),
                np.where(whole[at] == 0, np.uint16(code), np.uint16(0)), reason,
            )  # fmt: skip
            bad = np.flatnonzero(reason)
            if len(bad):
                said = [_why(reason[k]) if whole[at[k]] else f"column {spec.column}: no number" for k in bad]
                rows.value[bad] = spill.refuse(_shown(pl.DataFrame(piece.columns)[at[bad]], said))
            parts.append(rows)
        return Rows.joined(parts)


_WHY = {
    Reason.BAD_PATIENT: "a patient is 1 to 40 printable ASCII characters without spaces",
    Reason.BAD_ROW: "a time or a value that cannot be read",
    Reason.NAIVE_TIME: "no offset: give a zone (and a time of day for dates); or a time that the zone's clocks skip",
}


def _why(reason: np.uint8) -> str:
    return _WHY.get(Reason(int(reason)), "")


def _bad_row(missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.where(missing, np.uint8(Reason.BAD_ROW), np.uint8(0))


def _first(*reasons: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give the first reason that is not 0, row by row."""
    result = reasons[-1].copy()
    for reason in reversed(reasons[:-1]):
        np.copyto(result, reason, where=reason != 0)
    return result


def _shown(frame: pl.DataFrame, said: list[str]) -> pl.Series:
    """Give the text of refused rows: each column by its name, then what was wrong."""
    columns = [
        pl.concat_str(pl.lit(f"{name}="), pl.col(name).cast(pl.String).fill_null(""))
        for name in frame.columns
    ]
    return frame.select(
        t=pl.concat_str(
            pl.concat_str(columns, separator="; ").str.slice(0, _TEXT),
            pl.lit(" | "),
            pl.Series("said", said, pl.String),
        )
    )["t"]
