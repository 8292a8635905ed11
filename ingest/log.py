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
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

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

MAX_BODY = 16 << 20  # bytes of one batch
MAX_SOURCE = 200  # bytes of a source's name
_CHECKPOINT_BYTES = 16 << 20  # of bodies, after which the WAL is copied into the file
_CHECKPOINT_GROUPS = 2000  # or after so many transactions, each of which writes a page or two
_TRIM_ROWS = 256  # of one transaction: appending waits for at most one


class _Waiting:
    """A batch in the queue."""

    __slots__ = ("body", "receipt_ms", "source", "ticket")

    def __init__(self, source: bytes, body: bytes, receipt_ms: int) -> None:
        self.source = source
        self.body = body
        self.receipt_ms = receipt_ms
        self.ticket: Future[int] = Future()


def _waiting(source: str, body: bytes, receipt_ms: int) -> _Waiting:
    name = source.encode()
    if not 1 <= len(name) <= MAX_SOURCE:
        msg = f"a source's name of {len(name)} bytes: legal are 1 to {MAX_SOURCE}"
        raise ValueError(msg)
    if len(body) > MAX_BODY:
        msg = f"a batch of {len(body)} bytes: legal are 0 to {MAX_BODY}"
        raise ValueError(msg)
    if not 0 <= receipt_ms < 1 << 62:
        msg = f"receipt time {receipt_ms}: legal are milliseconds since 1970"
        raise ValueError(msg)
    return _Waiting(name, bytes(body), int(receipt_ms))


class Log(LogReader):
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
            super().__init__(path)
            undo.callback(super().close)
            extent = self._extent()
            undo.pop_all()
        self._first, self._next, self._greatest_ms = (
            extent.first_offset,
            extent.next_offset,
            extent.receipt_ms,
        )
        self._identity = _identity(path)
        self._queue_bytes = max(queue_bytes, MAX_BODY)
        self._change = threading.Condition()  # guards all below, and _next and _first
        self._queue: list[_Waiting] = []
        self._queued = 0
        self._closing = False
        self._failed: LogError | None = None
        self._writing = threading.Lock()  # one transaction at a time: appending, trimming
        self._since_checkpoint = 0
        self._groups = 0
        self.checkpoint_problem = ""
        """Why the WAL could not be copied into the file the last time; empty when it could. For metrics."""
        self._writer = threading.Thread(target=self._write_groups, name=f"log {path.name}", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path | str) -> "Log":
        """Open the log at `path` for writing, making it if it is not there."""
        return cls(path)

    def append(self, source: str, body: bytes, receipt_ms: int, timeout: float | None = 5.0) -> "Future[int]":
        """Hand in one batch.

        Parameters
        ----------
        source : str
            Who sent it, 1 to 200 bytes.
        body : bytes
            At most 16 MiB.
        receipt_ms : int
            When it came, ms UTC. What is kept is the greatest receipt time so far if that is later.
        timeout : float
            Seconds to wait for room in the queue; 0 where waiting is not allowed, as in an event loop.

        Returns
        -------
        Future of int
            Its result is the offset, once the batch is on the disk. Its exception is a `LogError`, and then
            nothing was written. A ticket that is cancelled before its turn is not written.

        Raises
        ------
        LogBusyError
            The queue stayed full.
        LogClosedError, LogError
            The log is closed, or has failed for good; the message says why.
        """
        return self.append_many([(source, body, receipt_ms)], timeout)[0]

    def append_many(
        self, batches: Iterable[tuple[str, bytes, int]], timeout: float | None = 5.0
    ) -> "list[Future[int]]":
        """Hand in several batches (source, body, receipt_ms) that follow each other; see `append`.

        All are taken into the queue or none.
        """
        new = [_waiting(*batch) for batch in batches]
        size = sum(len(waiting.body) for waiting in new)
        if size > self._queue_bytes:
            msg = f"batches of {size} bytes at once: the queue takes {self._queue_bytes}"
            raise ValueError(msg)
        with self._change:
            room = self._change.wait_for(
                lambda: self._closing or self._failed or self._queued + size <= self._queue_bytes, timeout
            )
            if self._failed:
                raise type(self._failed)(*self._failed.args)
            if self._closing:
                msg = f"{self.path}: the log is closed"
                raise LogClosedError(msg)
            if not room:
                msg = (
                    f"{self.path}: {self._queued} bytes wait for the disk, {size} more do not fit; try later"
                )
                raise LogBusyError(msg)
            self._queue += new
            self._queued += size
            self._change.notify_all()
        return [waiting.ticket for waiting in new]

    def _write_groups(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                taken, self._queue, self._queued = self._queue, [], 0
                self._change.notify_all()
            group = [waiting for waiting in taken if waiting.ticket.set_running_or_notify_cancel()]
            if self._failed:
                self._refuse(group, self._failed)
                continue
            try:
                first = self._write(group) if group else 0
            except Exception as error:  # noqa: BLE001 - whatever it is, each caller must hear of it
                self._refuse(group, error)
            else:
                for offset, waiting in enumerate(group, first):
                    waiting.ticket.set_result(offset)
                self._copy_wal()

    def _write(self, group: list[_Waiting]) -> int:
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

    def _refuse(self, group: list[_Waiting], error: Exception) -> None:
        """Tell each caller of `group` that nothing was written."""
        if isinstance(error, sqlite3.Error):
            refusal = explain(self.path, "appending", error)
        elif isinstance(error, LogError):
            refusal = error
        else:
            refusal = LogError(f"{self.path}: appending: {error!r}")
        # A full disk and a held file pass. After any other failure what the disk holds is not known well
        # enough to write behind it (after a failed fsync the next may succeed without having written).
        if not refusal.passes:
            with self._change:
                if self._failed is None:
                    final = f"{refusal}; nothing more is taken until the log is opened again"
                    self._failed = type(refusal)(final)
                self._change.notify_all()
        for waiting in group:
            waiting.ticket.set_exception(type(refusal)(*refusal.args))

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
        with self._change:
            if self._closing:
                return
            self._closing = True
            self._change.notify_all()
        self._writer.join()
        super().close()
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
