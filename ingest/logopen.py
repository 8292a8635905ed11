"""Opening the log to write: the lock of the one writer, SQLite's settings, and making a new file."""

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

from ingest.logfile import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    LogDiskFullError,
    LogError,
    LogLockedError,
    Mark,
    check_format,
    connect,
    explain,
)

__all__ = ["open_writing", "take_lock"]

PAGE_BYTES = 16384  # measured from 4096 to 65536: least processor time for bodies of 20 to 65 KB


def take_lock(path: Path) -> int:
    """Take the writer's lock on `path`, a file of its own; give its descriptor.

    Not on the database's file: closing any descriptor of that one would drop SQLite's own locks. flock, so
    that a second `Log` in the same process is refused too; the kernel frees it however the process ends.
    """
    lock = Path(f"{path}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"{path}: the log cannot be written here: {error.strerror} ({lock})"
        raise LogError(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        msg = f"{path}: process {holder} writes this log; stop it first, or open the log for reading"
        raise LogLockedError(msg) from None
    except OSError as error:
        os.close(descriptor)
        kind = LogDiskFullError if error.errno == errno.ENOSPC else LogError
        msg = f"{path}: the lock cannot be taken: {error.strerror} ({lock})"
        raise kind(msg) from error
    return descriptor


def open_writing(path: Path, first_offset: int, keep_wal_bytes: int) -> sqlite3.Connection:
    """Open the log at `path` to write, making it if there is no file or an empty one.

    `first_offset` is where a new log starts; `keep_wal_bytes` is what the WAL is cut to after a burst.
    """
    connection = None
    try:
        connection = connect(path, "rwc")
        new = not check_format(path, connection)  # before anything is written: the file may be another's
        if new:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        # WAL outside a transaction, and before the first: a crash in between leaves an empty file.
        connection.execute("PRAGMA journal_mode = WAL")
        for pragma in (
            "synchronous = FULL",  # fsync of the WAL at each commit, before it returns
            "wal_autocheckpoint = 0",  # ours: after the tickets, and its errors are seen
            f"journal_size_limit = {keep_wal_bytes}",
            "secure_delete = ON",  # trimmed health data is overwritten, not only forgotten
        ):
            connection.execute(f"PRAGMA {pragma}")
        if new:
            connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO mark VALUES (1, ?, ?, ?, ?)", Mark(first_offset, first_offset, 0).row()
            )
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)  # the name too must survive a power cut
            os.close(folder)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise explain(path, "opening", error) from error
    except LogError:
        if connection is not None:
            connection.close()
        raise
    return connection
