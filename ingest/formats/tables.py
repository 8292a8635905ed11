"""CSV and Parquet as a stream of pieces: the columns asked for, and the number of each row in the file.

pyarrow reads: it streams a file in blocks, decompresses on the way and hands over the lines of CSV that have too many
or too few fields, where Polars refuses the whole file or cuts them short.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ingest.formats.errors import FormatError

__all__ = [
    "CSV_ENDS",
    "PARQUET_ENDS",
    "Piece",
    "check_columns",
    "column_names",
    "csv_pieces",
    "parquet_pieces",
    "parquet_rows",
]

CSV_ENDS = (".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".tsv", ".tsv.gz")
PARQUET_ENDS = (".parquet", ".pq")

_BLOCK_BYTES = 8 << 20
_PIECE_ROWS = 1 << 17
_PLAIN = (".csv", ".tsv")
_SEPARATORS = ",;\t|"


@dataclass(slots=True)
class Piece:
    """Some rows of a file; `broken` are lines that are not rows, by their number, with their text."""

    columns: pa.RecordBatch
    number: npt.NDArray[np.int64]
    broken: list[tuple[int, str]] = field(default_factory=list)


def check_columns(path: Path, columns: list[str], present: list[str]) -> None:
    """Raise FormatError, with what is near, when one of `columns` is not among those `present`."""
    missing = [name for name in columns if name not in present]
    if missing:
        close = get_close_matches(missing[0], present, 1)
        hint = f" (near: {close[0]!r})" if close else ""
        there = ", ".join(map(repr, present))
        msg = (
            f"{path}: no column {missing[0]!r}{hint}; it has {there}. A mapping names them, and vigie quality {path} "
            "suggests one"
        )
        raise FormatError(msg)


def _header(path: Path, separator: str) -> tuple[list[str], str]:
    """Read the first line of a CSV: the names, and the separator, found among the usual ones when not given."""
    try:
        with pa.input_stream(path, compression="detect") as stream:
            start = stream.read(1 << 16)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from None
    try:
        line = start.decode("utf-8-sig", errors="strict" if len(start) < 1 << 16 else "ignore").splitlines()[
            :1
        ]
    except UnicodeDecodeError:
        msg = f"{path}: not UTF-8; convert it first (for example: iconv -f latin1 -t utf-8)"
        raise FormatError(msg) from None
    if not line or not line[0].strip():
        msg = f"{path}: the first line is empty; it must name the columns"
        raise FormatError(msg)
    found = separator or max(_SEPARATORS, key=line[0].count)
    options = pyarrow.csv.ParseOptions(delimiter=found)
    return pyarrow.csv.read_csv(
        pa.py_buffer(line[0].encode() + b"\n"), parse_options=options
    ).column_names, found


def column_names(path: Path, separator: str = "") -> list[str]:
    """Give the names of a file's columns; FormatError when they cannot be read."""
    if not path.name.lower().endswith(PARQUET_ENDS):
        return _header(path, separator)[0]
    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from None


def csv_pieces(path: Path, columns: list[str], separator: str) -> Iterator[Piece]:
    """Read the named columns of a CSV as text.

    Raises
    ------
    FormatError
        The file cannot be read, is not UTF-8, or has not the columns.
    """
    present, found = _header(path, separator)
    check_columns(path, columns, present)
    twice = {name for name in columns if present.count(name) > 1}
    if twice:
        msg = f"{path}: two columns are called {min(twice)!r}"
        raise FormatError(msg)
    broken: list[tuple[int, str]] = []
    # The last column is looked at for a quote that is never closed: what follows it would all be its text.
    read = columns if present[-1] in columns else [*columns, present[-1]]
    last = ""

    def keep(row: pyarrow.csv.InvalidRow) -> str:
        # Lines are counted from 1, the header included.
        broken.append((row.number - 2, row.text))
        return "skip"

    rows = 0
    try:
        with pyarrow.csv.open_csv(
            path if path.suffix in _PLAIN else pa.input_stream(path, compression="detect"),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=found, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=read,
                column_types=dict.fromkeys(read, pa.string()),
                strings_can_be_null=False,
            ),
        ) as reader:
            for batch in reader:
                past = np.sort(np.array([number for number, _ in broken], np.int64))
                # The k-th sound row comes after the broken lines that stand before it.
                sound = np.arange(rows, rows + batch.num_rows, dtype=np.int64)
                number = sound + np.searchsorted(past - np.arange(len(past)), sound, side="right")
                rows += batch.num_rows
                if batch.num_rows:
                    last = batch.column(batch.schema.names.index(present[-1]))[-1].as_py()
                yield Piece(batch.select(columns), number)
    except (OSError, pa.ArrowException) as error:
        said = "not UTF-8; convert it first" if "UTF8" in str(error) else str(error)
        msg = f"{path}: {said}"
        raise FormatError(msg) from None
    if "\n" in last and _unclosed(path, last):
        line = last.splitlines()[0][:60]
        msg = f"{path}: a quote is opened before {line!r} and never closed: the lines after it cannot be told apart"
        raise FormatError(msg)
    if broken:
        yield Piece(pa.record_batch({}), np.empty(0, np.int64), broken)


def _unclosed(path: Path, field: str) -> bool:
    """Say whether the last field of a file, which has several lines, was never closed by a quote."""
    if path.suffix not in _PLAIN:
        return field.endswith("\n")
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 64), 2)
        return not file.read().rstrip(b"\r\n").endswith(b'"')


def parquet_rows(path: Path) -> int:
    """Give the number of rows that a Parquet file says it has."""
    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from None


def parquet_pieces(path: Path, columns: list[str], names: Collection[str] = ()) -> Iterator[Piece]:
    """Read the named columns of a Parquet file; of texts among `names` each different one is read once.

    Raises
    ------
    FormatError
        The file cannot be read or has not the columns.
    """
    try:
        with pyarrow.parquet.ParquetFile(path, read_dictionary=list(names), pre_buffer=False) as file:
            check_columns(path, columns, file.schema_arrow.names)
            rows = 0
            for batch in file.iter_batches(_PIECE_ROWS, columns=columns, use_threads=False):
                number = np.arange(rows, rows + batch.num_rows, dtype=np.int64)
                rows += batch.num_rows
                yield Piece(batch.select(columns), number)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from None
