"""What a path is: a table, an ECG record, a log of Vigie, or a folder of these."""

import sqlite3
import struct
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ingest.formats.errors import FormatError
from ingest.formats.tables import CSV_ENDS, PARQUET_ENDS
from ingest.historyfile import MARK, is_history, readable
from ingest.logfile import APPLICATION_ID

__all__ = ["Found", "PathKind", "find_paths", "kind_of_path"]

_TRUTH = ".truth.parquet"  # what the simulator knows and nobody else: never an input
_SQLITE = b"SQLite format 3\0"


class PathKind(StrEnum):
    """Kind of a file."""

    TABLE = "table"
    RECORD = "ECG record"
    LOG = "log"


@dataclass(slots=True)
class Found:
    """Files found, in the order given, those of a folder by name; `skipped` are files of folders that are nothing."""

    tables: list[Path] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    named: set[Path] = field(default_factory=set)
    """Files that were named themselves, not found in a folder: what is wrong with them is an error."""


def kind_of_path(path: Path) -> PathKind | None:
    """Tell the kind of a file by its name, and that of a log by its first bytes; None when it is none."""
    name = path.name.lower()
    if name.endswith(CSV_ENDS) or (name.endswith(PARQUET_ENDS) and not name.endswith(_TRUTH)):
        return PathKind.TABLE
    if name.endswith(".hea"):
        return PathKind.RECORD
    with path.open("rb") as file:
        start = file.read(72)
    if start.startswith(_SQLITE) and _application(path, start) == APPLICATION_ID:
        return PathKind.LOG
    return None


def _application(path: Path, start: bytes) -> int:
    """Give the number of the application that a file of SQLite is of."""
    # SQLite keeps it, big-endian, at byte 68; of a file that is young it may still stand in the WAL beside it alone.
    number = int(struct.unpack(">I", start[68:72])[0]) if len(start) == 72 else 0
    if number == 0 and path.with_name(path.name + "-wal").exists():
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file,
        ):
            number = int(file.execute("PRAGMA application_id").fetchone()[0])
    return number


def _in_folder(folder: Path) -> list[Path]:
    """Give the files of a folder; of a history in it those that count."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for own in {mark.parent for mark in files if mark.name == MARK and is_history(mark.parent)}:
        try:
            counted = set(readable(own))
        except (ValueError, KeyError) as error:
            msg = f"{own / MARK}: not the mark of a history: {error}"
            raise FormatError(msg) from None
        days = {own / day.name for day in own.glob("day=*")}
        files = [file for file in files if file in counted or not days & set(file.parents)]
    return files


def find_paths(paths: Iterable[Path]) -> Found:
    """Find the files of paths; folders are searched through.

    Raises
    ------
    FormatError
        A path is missing, or a file that was named is of no known kind.
    """
    found = Found()
    lists = {PathKind.TABLE: found.tables, PathKind.RECORD: found.records, PathKind.LOG: found.logs}
    known: set[Path] = set()
    for path in paths:
        try:
            if path.is_dir():
                files = _in_folder(path)
            elif path.exists():
                files = [path]
                found.named.add(path)
            elif path.with_name(path.name + ".hea").is_file():  # WFDB names records without an ending
                files = [path.with_name(path.name + ".hea")]
                found.named.update(files)
            else:
                msg = f"{path}: no such file or folder"
                raise FormatError(msg)
            for file in files:
                kind = kind_of_path(file)
                if kind is not None:
                    if file not in known:
                        lists[kind].append(file)
                        known.add(file)
                elif file in found.named:
                    ends = ", ".join((*CSV_ENDS, *PARQUET_ENDS))
                    msg = f"{file}: of no known kind; legal are {ends}, .hea (WFDB), a log of Vigie, and folders"
                    raise FormatError(msg)
                else:
                    found.skipped.append(file)
        except OSError as error:
            msg = f"{path}: {error.strerror}"
            raise FormatError(msg) from None
    return found
