"""The embedded log: a batch is appended once, durably, and only then acknowledged.

One process writes (a lock file says so), any number read (`LogReader`). Callers hand in batches from any
thread and get a ticket. A writer thread takes all that waits, writes it in one transaction, has it on the
disk (one fsync for the group), then gives each ticket its offset. While it waits for the disk the next group
forms, so that the cost of an fsync is shared by as many as there are.

What always holds: an offset that a ticket gave can be read after any crash; offsets grow by one and are never
given twice, also when everything was trimmed; receipt times never go back. If the machine's clock steps back,
the receipt time kept is the greatest so far: the line's clock is made of receipt times and may not run back.
"""

import contextlib
import os
import sqlite3
import threading
from pathlib import Path

from ingest.appender import Appender, Waiting
from ingest.logfile import (
    Damage,
    Entry,
    LogBusyError,
    LogClosedError,
    LogDamagedError,
    LogDiskFullError,
    LogError,
    LogHeldError,
    LogLockedError,
    LogTrimmedError,
    Mark,
    NotALogError,
    checksum,
    explain,
)
from ingest.logopen import open_writing, take_lock
from ingest.logreader import LogReader, Report

__all__ = [
    "Damage",
    "Entry",
    "Log",
    "LogBusyError",
    "LogClosedError",
    "LogDamagedError",
    "LogDiskFullError",
    "LogError",
    "LogHeldError",
    "LogLockedError",
    "LogReader",
    "LogTrimmedError",
    "NotALogError",
    "Report",
]

_CHECKPOINT_BYTES = 16 << 20  # of bodies, after which the WAL is copied into the file
_CHECKPOINT_GROUPS = 2000  # or after so many transactions, each of which writes a page or two
_TRIM_ROWS = 256  # of one transaction: appending waits for at most one


class Log(Appender, LogReader):
    """Writes a log, and reads it.

    Parameters
    ----------
    path : Path
        The log's file; made if it is not there. Beside it are ``-wal`` and ``-shm`` (SQLite's) and ``.lock``.
    queue_bytes : int
        Bodies that may wait for the disk. As many again are in the hands of the writer.
    first_offset : int
        Of a new log only: where offsets start, when it follows another that was set aside.

    Raises
    ------
    LogLockedError
        Another process, or another `Log` of this one, writes this file.
    NotALogError, LogDamagedError, LogDiskFullError, LogError
        The file is something else, damaged, or cannot be written.
    """

    def __init__(self, path: Path | str, *, queue_bytes: int = 64 << 20, first_offset: int = 0) -> None:
        path = Path(path)
        with contextlib.ExitStack() as undo:
            self._lock_fd = take_lock(path)
            undo.callback(os.close, self._lock_fd)
            self._writer_connection = open_writing(path, first_offset, 4 * _CHECKPOINT_BYTES)
            undo.callback(self._writer_connection.close)
            LogReader.__init__(self, path)
            undo.callback(LogReader.close, self)
            extent = self._extent()
            undo.pop_all()
        self._first, self._next, self._greatest_ms = (
            extent.first_offset,
            extent.next_offset,
            extent.receipt_ms,
        )
        self._identity = _identity(path)
        Appender.__init__(self, str(path), queue_bytes)
        self._writing = threading.Lock()  # one transaction at a time: appending, trimming
        self._since_checkpoint = 0
        self._groups = 0
        self.checkpoint_problem = ""
        """Why the WAL could not be copied into the file the last time; empty when it could. For metrics."""
        self._writer.start()

    @classmethod
    def open(cls, path: Path | str) -> "Log":
        """Open the log at `path` for writing, making it if it is not there."""
        return cls(path)

    def _write(self, group: list[Waiting]) -> int:
        """Write `group` in one transaction that is on the disk on return; give its first offset."""
        with self._writing:
            if _identity(self.path) != self._identity:
                # Its pages would go to a file that no restart will find.
                msg = f"{self.path}: the file was moved, deleted or replaced while the log was open"
                raise LogError(msg)
            # Receipt times as they are kept: never going back.
            kept: list[int] = []
            greatest = self._greatest_ms
            for waiting in group:
                greatest = max(greatest, waiting.receipt_ms)
                kept.append(greatest)
            connection = self._writer_connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT INTO entry VALUES (?, ?, CAST(? AS TEXT), ?, ?)",
                    (
                        (offset, ms, w.source, w.body, checksum(offset, ms, w.source, w.body))
                        for offset, (w, ms) in enumerate(zip(group, kept, strict=True), self._next)
                    ),
                )
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            with self._change:
                first, self._next = self._next, self._next + len(group)
                self._change.notify_all()
            self._greatest_ms = greatest
            self._since_checkpoint += sum(len(waiting.body) for waiting in group)
            self._groups += 1
            return first

    def _explain(self, error: Exception) -> LogError:
        if isinstance(error, sqlite3.Error):
            return explain(self.path, "appending", error)
        return super()._explain(error)

    def _written(self) -> None:
        self._copy_wal()

    def _copy_wal(self, *, whole: bool = False) -> None:
        """Copy the WAL into the file when it has grown: after the tickets, so that nobody waits for it."""
        with self._writing:
            if not whole and self._since_checkpoint < _CHECKPOINT_BYTES and self._groups < _CHECKPOINT_GROUPS:
                return
            try:
                mode = "TRUNCATE" if whole else "PASSIVE"
                self._writer_connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            except sqlite3.Error as error:
                self.checkpoint_problem = str(explain(self.path, "copying the WAL", error))
            else:
                self.checkpoint_problem = ""
            self._since_checkpoint = self._groups = 0

    @property
    def next_offset(self) -> int:
        """One past the last durable offset; the offset that the next batch will get."""
        with self._change:
            return self._next

    @property
    def first_offset(self) -> int:
        """The oldest offset that retention has left."""
        with self._change:
            return self._first

    def wait_for(self, offset: int, timeout: float) -> bool:
        """Wait until `offset` can be read, at most `timeout` seconds; return whether it can."""
        with self._change:
            self._change.wait_for(lambda: self._next > offset or self._closing, timeout)
            return self._next > offset

    def trim(self, before_offset: int) -> int:
        """Remove the entries before `before_offset`; return how many.

        The file keeps its size and its room is used again; what was there is overwritten with zeros.

        Raises
        ------
        ValueError
            `before_offset` is beyond the next offset.
        LogError
            The file could not be written; what was removed before that stays removed.
        """
        if before_offset > self.next_offset:
            msg = f"trim before {before_offset}: the next offset is {self.next_offset}"
            raise ValueError(msg)
        removed = 0
        while self.first_offset < before_offset:
            removed += self._trim_some(before_offset)
            self._copy_wal()
        return removed

    def _trim_some(self, before_offset: int) -> int:
        connection = self._writer_connection
        with self._writing:
            first = self._first
            try:
                size, until = 0, before_offset  # where none is left only the mark moves
                for offset, length in connection.execute(
                    'SELECT "offset", length(body) FROM entry '
                    'WHERE "offset" >= ? AND "offset" < ? ORDER BY "offset" LIMIT ?',
                    (first, before_offset, _TRIM_ROWS),
                ).fetchall():
                    size += length
                    until = offset + 1
                    if size > _CHECKPOINT_BYTES:
                        break
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "UPDATE mark SET first_offset = ?, next_offset = ?, receipt_ms = ?, crc32 = ?",
                    Mark(until, self._next, self._greatest_ms).row(),
                )
                removed: int = connection.execute('DELETE FROM entry WHERE "offset" < ?', (until,)).rowcount
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                _roll_back(connection)
                raise explain(self.path, "trimming", error) from error
            with self._change:
                self._first = until
            self._groups += 1
            self._since_checkpoint += size
        return removed

    def close(self) -> None:
        """Write what waits, then close the file and give the lock back."""
        if not self._stop_writing():
            return
        LogReader.close(self)
        self._copy_wal(whole=True)
        self._writer_connection.close()
        os.close(self._lock_fd)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself; and a second error here would hide the first.
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return
