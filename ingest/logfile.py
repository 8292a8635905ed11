"""The log's file: its form, its errors, and what stands at each offset.

One SQLite file in WAL mode. A batch is one row: offset, receipt time, source, bytes, CRC-32 over all four.
Offsets are given in order without holes, so a row that vanished is seen as surely as one that changed.
`ingest.logreader` reads it, `ingest.log` writes it.
"""

import sqlite3
import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

__all__ = [
    "APPLICATION_ID",
    "FORMAT",
    "SCHEMA",
    "Damage",
    "Entry",
    "Items",
    "LogAwayError",
    "LogBusyError",
    "LogClosedError",
    "LogDamagedError",
    "LogDiskFullError",
    "LogError",
    "LogHeldError",
    "LogLockedError",
    "LogTrimmedError",
    "Mark",
    "NotALogError",
    "check_format",
    "checksum",
    "connect",
    "explain",
    "read_mark",
    "scan",
]

APPLICATION_ID = 0x56494731  # "VIG1", in the SQLite header: `file` and other tools show it
FORMAT = 1
SCHEMA = """
CREATE TABLE entry (
    "offset" INTEGER PRIMARY KEY,
    receipt_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    body BLOB NOT NULL,
    crc32 INTEGER NOT NULL
);
CREATE TABLE mark (
    -- What must outlive the rows that trimming takes away. One row.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    receipt_ms INTEGER NOT NULL,
    crc32 INTEGER NOT NULL
);
"""
# entry."offset", not "offset" alone, which SQLite would take for a text if the column's name were damaged.
_SELECT = 'SELECT * FROM entry WHERE entry."offset" >= ? ORDER BY entry."offset" LIMIT ?'
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)
_SLICE = 1024  # rows of one SELECT: an open statement keeps the WAL from being reused


class LogError(Exception):
    """The log cannot do what was asked; the message names the file and what happened."""

    passes: ClassVar[bool] = False
    """Whether the same append may succeed later by itself."""


class LogAwayError(LogError):
    """The server that keeps the log cannot be reached, or takes nothing at this moment."""

    passes = True


class LogBusyError(LogError):
    """The queue of batches that wait for the disk is full: send again later."""


class LogClosedError(LogError):
    """The log was closed."""


class LogDamagedError(LogError):
    """Bytes of the log are not those that were written."""


class LogDiskFullError(LogError):
    """No room is left on the disk of the log; appending goes on by itself when there is room again."""

    passes = True


class LogHeldError(LogError):
    """Another program, an SQLite shell for instance, holds the file."""

    passes = True


class LogLockedError(LogError):
    """Another process writes this log."""


class LogTrimmedError(LogError):
    """The offset asked for was removed by retention."""


class NotALogError(LogError):
    """The file is not a Vigie log."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The row of table `mark`: what outlives the entries that retention removes."""

    first_offset: int
    next_offset: int
    receipt_ms: int

    def row(self) -> tuple[int, int, int, int]:
        """Give the columns, with their checksum."""
        values = (self.first_offset, self.next_offset, self.receipt_ms)
        return (*values, zlib.crc32(_MARK.pack(*values)))


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch as it was received."""

    offset: int
    receipt_ms: int
    source: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Entries `first_offset` to `last_offset`, both included, are lost or changed."""

    first_offset: int
    last_offset: int
    what: str

    def __str__(self) -> str:
        span = f"offset {self.first_offset}"
        if self.last_offset != self.first_offset:
            span = f"offsets {self.first_offset} to {self.last_offset}"
        return f"{span}: {self.what}"


_MARK = struct.Struct("<qqq")
_HEAD = struct.Struct("<qqI")


def checksum(offset: int, receipt_ms: int, source: bytes, body: bytes) -> int:
    """CRC-32 of an entry, offset and receipt time included: 1.9 GB/s, and finds any burst up to 32 bits."""
    return zlib.crc32(body, zlib.crc32(source, zlib.crc32(_HEAD.pack(offset, receipt_ms, len(source)))))


_MEANING: dict[int, tuple[type[LogError], str]] = {
    sqlite3.SQLITE_FULL: (LogDiskFullError, "the disk is full"),
    sqlite3.SQLITE_READONLY: (LogError, "the file or its disk is read-only"),
    sqlite3.SQLITE_IOERR: (LogError, "the disk reports an error"),
    sqlite3.SQLITE_CORRUPT: (LogDamagedError, "a page of the file is damaged"),
    sqlite3.SQLITE_NOTADB: (NotALogError, "this is not a Vigie log (not an SQLite file)"),
    sqlite3.SQLITE_CANTOPEN: (LogError, "the file cannot be opened"),
    sqlite3.SQLITE_BUSY: (LogHeldError, "another program holds the file"),
}


def explain(path: Path, doing: str, error: sqlite3.Error) -> LogError:
    """Turn SQLite's `error` into ours, which names the file, what was being done and what happened."""
    code = getattr(error, "sqlite_errorcode", 0)  # absent from errors of Python's own making
    kind, meaning = _MEANING.get(code & 0xFF, (LogError, "SQLite reports an error"))
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return kind(f"{path}: {doing}: {meaning} ({name}: {error})")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open `path` (mode rw, rwc, ro or immutable) with what every connection of ours needs."""
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=5.0,
        isolation_level=None,  # transactions are spelt out
        check_same_thread=False,  # each connection has its own lock
    )
    connection.text_factory = bytes  # a damaged text must reach the checksum, not a decoder's error
    try:
        connection.execute("PRAGMA cell_size_check = ON")  # reads the file, which may be no database
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def check_format(path: Path, connection: sqlite3.Connection) -> bool:
    """Return whether the file is a log; False when it is empty; raise NotALogError for any other file."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if pages == 0:
        return False
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        msg = f"{path}: this is not a Vigie log (an SQLite file of another application, id {application:#x})"
        raise NotALogError(msg)
    if version != FORMAT:
        msg = f"{path}: log format {version}; this version of Vigie reads format {FORMAT}"
        raise NotALogError(msg)
    return True


Items = Generator[Entry | Damage, None, None]


def read_mark(path: Path, connection: sqlite3.Connection) -> Mark:
    """Read the mark; LogDamagedError where it is not what was written."""
    row = connection.execute("SELECT first_offset, next_offset, receipt_ms, crc32 FROM mark").fetchone()
    if row is not None and all(isinstance(value, int) for value in row):
        mark = Mark(*row[:3])
        if mark.row() == row:
            return mark
    msg = f"{path}: damaged: the mark of the first and next offset"
    raise LogDamagedError(msg)


def _what_is_wrong(row: tuple[object, ...]) -> str:
    offset, receipt_ms, source, body, crc = row
    if not (isinstance(offset, int) and isinstance(receipt_ms, int) and isinstance(source, bytes)):
        return "the row's columns are of the wrong type"
    if not isinstance(body, bytes):
        return "the row's columns are of the wrong type"
    found = checksum(offset, receipt_ms, source, body)
    return "" if found == crc else f"checksum {found:08x} is not the one written, {crc:08x}"


def scan(connection: sqlite3.Connection, first: int, until: int) -> Items:
    """Give what is at each offset from `first` to `until`, in order; go on after what cannot be read."""
    at = first
    while at < until:
        cursor = connection.cursor()
        try:
            cursor.execute(_SELECT, (at, _SLICE))
            rows = 0
            for row in cursor:
                rows += 1
                if row[0] > at:
                    yield Damage(at, min(row[0], until) - 1, "missing")
                    at = row[0]
                elif row[0] < at:  # a damaged tree can lead to another row
                    continue
                if at >= until:
                    return
                wrong = _what_is_wrong(row)
                yield Damage(at, at, wrong) if wrong else Entry(at, row[1], row[2].decode(), row[3])
                at += 1
            if rows < _SLICE and at < until:
                yield Damage(at, until - 1, "missing")
                return
        except sqlite3.Error as error:
            # An error of the moment (busy, disk) is not damage: nobody may pass over an entry because of it.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
                raise
            yield Damage(at, at, f"unreadable: {error}")
            at += 1
        finally:
            cursor.close()
