"""Reading the log: from an offset on, waiting for what comes next, and verifying the whole."""

import contextlib
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.logfile import (
    Damage,
    Entry,
    Items,
    LogClosedError,
    LogDamagedError,
    LogError,
    LogTrimmedError,
    Mark,
    NotALogError,
    check_format,
    connect,
    explain,
    read_mark,
    scan,
)

__all__ = ["LogReader", "Report"]

_POLL_S = 0.02  # a tailer in another process looks this often; measured 45 µs a look


@dataclass(frozen=True, slots=True)
class Report:
    """What `LogReader.verify` found. `structure` holds what SQLite's own check says; empty is good."""

    path: Path
    first_offset: int
    next_offset: int
    intact: int
    damaged: tuple[Damage, ...]
    structure: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every entry is there and is what was written."""
        return not self.damaged and not self.structure

    def __str__(self) -> str:
        span = f"offsets {self.first_offset} to {self.next_offset - 1}" if self.intact else "no entry"
        head = f"{self.path}: {self.intact} intact entries, {span}"
        return "\n".join([head, *map(str, self.damaged), *self.structure])


class LogReader:
    """Reads a log, beside its writer or alone. Safe to share between threads.

    Parameters
    ----------
    path : Path
        The log's file.

    Raises
    ------
    NotALogError, LogDamagedError, LogError
        The file is missing, something else, of another format, damaged, or cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._reading = threading.Lock()
        self._connection = self._open_reading()

    def _open_reading(self) -> sqlite3.Connection:
        if not self.path.is_file():
            msg = f"{self.path}: there is no log here"
            raise LogError(msg)
        # A clean log on a read-only disk has no -wal file and none can be made: `immutable` reads it as it
        # is. It is never used while there is a -wal: that would hide what the -wal holds.
        modes = ["ro"] if Path(f"{self.path}-wal").exists() else ["ro", "immutable"]
        refused: LogError | None = None
        for mode in modes:
            try:
                return _connect_checked(self.path, mode)
            except NotALogError:
                raise
            except LogError as error:
                refused = refused or error
        assert refused is not None  # noqa: S101 - each mode either returned or was refused
        raise refused

    def _extent(self) -> Mark:
        """First offset, next offset and greatest receipt time, as mark and entries together say."""
        with self._reading:
            try:
                mark = read_mark(self.path, self._connection)
                # Receipt times never go back, so the last is the greatest.
                last = self._connection.execute(
                    'SELECT "offset", receipt_ms FROM entry ORDER BY entry."offset" DESC LIMIT 1'
                ).fetchone()
            except sqlite3.ProgrammingError as error:  # what Python says of a closed connection
                msg = f"{self.path}: the log is closed"
                raise LogClosedError(msg) from error
            except sqlite3.Error as error:
                raise explain(self.path, "reading", error) from error
        if last is None:
            return mark
        return Mark(mark.first_offset, max(mark.next_offset, last[0] + 1), max(mark.receipt_ms, last[1]))

    @property
    def first_offset(self) -> int:
        """The oldest offset that retention has left."""
        return self._extent().first_offset

    @property
    def next_offset(self) -> int:
        """One past the last offset; the offset that the next batch will get."""
        return self._extent().next_offset

    @property
    def last_offset(self) -> int:
        """The offset of the newest batch, kept or trimmed; -1 when there never was one."""
        return self.next_offset - 1

    def receipt_ms(self, offset: int) -> int | None:
        """Give the receipt time of the first entry from `offset` on, ms UTC; None where there is none yet.

        Raises
        ------
        LogError
            The file cannot be read.
        """
        with self._reading:
            try:
                row = self._connection.execute(
                    'SELECT receipt_ms FROM entry WHERE entry."offset" >= ? ORDER BY entry."offset" LIMIT 1',
                    (offset,),
                ).fetchone()
            except sqlite3.Error as error:
                raise explain(self.path, "reading", error) from error
        return None if row is None else int(row[0])

    def offset_at(self, receipt_ms: int) -> int:
        """Give the first offset received at `receipt_ms` (ms UTC) or later; the next offset where there is none.

        Receipt times never go back, so it is found by halving.
        """
        low, high = self.first_offset, self.next_offset
        while low < high:
            middle = (low + high) // 2
            found = self.receipt_ms(middle)
            if found is not None and found < receipt_ms:
                low = middle + 1
            else:
                high = middle
        return low

    def read(
        self,
        from_offset: int,
        max_bytes: int = 8 << 20,
        max_entries: int = 65536,
        damaged: list[Damage] | None = None,
    ) -> list[Entry]:
        """Read the entries from `from_offset` on: none when there are none yet.

        Parameters
        ----------
        from_offset : int
            The first offset wanted; what a batch calls `next_offset`.
        max_bytes : int
            Stop when the bodies reach so many bytes; the first entry is given however long it is.
        max_entries : int
            Stop after so many.
        damaged : list of Damage
            Where given, damaged entries are named there and passed over: the caller accounts for them.

        Raises
        ------
        LogDamagedError
            The next entry is damaged and `damaged` was not given. What stands before it is given first.
        LogTrimmedError
            `from_offset` was removed by retention.
        """
        first, until = self.first_offset, self.next_offset
        if from_offset < first:
            msg = f"{self.path}: offset {from_offset} was removed by retention; the oldest is {first}"
            raise LogTrimmedError(msg)
        entries: list[Entry] = []
        size = 0
        with self._reading, contextlib.closing(self._items(self._connection, from_offset, until)) as items:
            for item in items:
                if isinstance(item, Entry):
                    size += len(item.body)
                    if entries and size > max_bytes:
                        break
                    entries.append(item)
                    if len(entries) >= max_entries:
                        break
                elif damaged is not None:
                    _merge(damaged, item)
                elif entries:
                    break
                else:
                    msg = f"{self.path}: {item}"
                    raise LogDamagedError(msg)
        return entries

    def _items(self, connection: sqlite3.Connection, first: int, until: int) -> Items:
        try:
            yield from scan(connection, first, until)
        except sqlite3.Error as error:
            raise explain(self.path, "reading", error) from error

    def wait_for(self, offset: int, timeout: float) -> bool:
        """Wait until `offset` can be read, at most `timeout` seconds; return whether it can."""
        deadline = time.monotonic() + timeout
        while self.next_offset <= offset:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_S, left))
        return True

    def verify(self) -> Report:
        """Read the whole log, check every checksum, and have SQLite check the file's structure.

        Works beside a running writer: what is there at the start is checked.
        """
        connection = self._open_reading()
        structure: list[str] = []
        damaged: list[Damage] = []
        intact = first = until = 0
        try:
            try:
                for (line,) in connection.execute("PRAGMA integrity_check"):
                    text = line.decode(errors="replace") if isinstance(line, bytes) else str(line)
                    if text != "ok":
                        structure.append(text)
            except sqlite3.Error as error:
                structure.append(f"SQLite's integrity check stopped: {error}")
            try:
                extent = self._extent()
                first, until = extent.first_offset, extent.next_offset
            except LogError as error:
                structure.append(f"the range of offsets is unreadable: {error}")
            receipt_ms = -1
            for item in self._items(connection, first, until):
                if isinstance(item, Damage):
                    _merge(damaged, item)
                elif item.receipt_ms < receipt_ms:
                    _merge(damaged, Damage(item.offset, item.offset, "receipt time goes back"))
                else:
                    intact, receipt_ms = intact + 1, item.receipt_ms
        finally:
            connection.close()
        return Report(self.path, first, until, intact, tuple(damaged), tuple(structure))

    def close(self) -> None:
        """Close the file."""
        with self._reading:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect_checked(path: Path, mode: str) -> sqlite3.Connection:
    """Open the log at `path` in `mode`, once sure that it is one."""
    connection = None
    try:
        connection = connect(path, mode)
        if check_format(path, connection):
            return connection
        refusal: LogError = NotALogError(f"{path}: this is not a Vigie log (the file is empty)")
    except sqlite3.Error as error:
        refusal = explain(path, "opening", error)
    except NotALogError as error:
        refusal = error
    if connection is not None:
        connection.close()
    raise refusal


def _merge(damage: list[Damage], new: Damage) -> None:
    if damage and damage[-1].last_offset + 1 == new.first_offset and damage[-1].what == new.what:
        new = Damage(damage.pop().first_offset, new.last_offset, new.what)
    damage.append(new)
