"""Quarantine of a running line: what was refused, kept to be looked at, the newest of each source.

The log has the bytes of everything for as long as it is kept; this is the part of them that somebody has to see.
Rows are named by their place in the log, so that what is gone through again after a crash gives the same rows and
none twice.
"""

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.columns import Batch, Quarantine
from ingest.reasons import Reason

__all__ = ["KEPT", "Refused", "RefusedError", "Row"]

KEPT = 10_000
"""Rows kept of each source: the newest."""

_SLACK = 1_000  # rows beyond KEPT before the oldest are removed
_SCHEMA = """
CREATE TABLE IF NOT EXISTS refused (
    source TEXT NOT NULL,
    log_offset INTEGER NOT NULL,
    at INTEGER NOT NULL,
    receipt_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (source, log_offset, at)
) WITHOUT ROWID
"""


class RefusedError(Exception):
    """The file of quarantine cannot be used; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A refused packet: `at` is its place in the body of its log entry, `raw` at most 4096 of its bytes."""

    source: str
    offset: int
    at: int
    receipt_ms: int
    reason: str
    raw: bytes


class Refused:
    """The file. One thread adds; any may read.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    RefusedError
        It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            msg = f"{path}: {error}"
            raise RefusedError(msg) from error
        self._counts: dict[str, int] = dict(
            self._connection.execute("SELECT source, count(*) FROM refused GROUP BY source").fetchall()
        )

    def add(self, batch: Batch, quarantine: Quarantine) -> None:
        """Keep what was refused with a batch; durable on return.

        Raises
        ------
        RefusedError
            It could not be written; nothing of it was.
        """
        if not len(quarantine):
            return
        by_source = {
            batch.sources[k]: np.flatnonzero(quarantine.source == k)[-KEPT:]
            for k in np.unique(quarantine.source).tolist()
        }
        rows = [
            (
                source,
                int(quarantine.offset[i]),
                int(quarantine.at[i]),
                int(quarantine.receipt_ms[i]),
                Reason(int(quarantine.reason[i])).name,
                quarantine.raw[i],
            )
            for source, chosen in by_source.items()
            for i in chosen.tolist()
        ]
        with self._lock:
            run = self._connection.execute
            try:
                run("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT OR IGNORE INTO refused VALUES (?, ?, ?, ?, ?, ?)", rows)
                for source, chosen in by_source.items():
                    self._counts[source] = self._counts.get(source, 0) + len(chosen)
                    if self._counts[source] > KEPT + _SLACK:
                        self._counts[source] = KEPT
                        _trim(self._connection, source)
                run("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                msg = f"{self.path}: {error}"
                raise RefusedError(msg) from error

    def read(self, source: str, after: tuple[int, int] = (-1, -1), at_most: int = 100) -> list[Row]:
        """Give rows of a source, oldest first, from behind place `after` (offset, at) on."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM refused WHERE source = ? AND (log_offset, at) > (?, ?) "
                "ORDER BY log_offset, at LIMIT ?",
                (source, *after, at_most),
            ).fetchall()
        return [Row(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _trim(connection: sqlite3.Connection, source: str) -> None:
    """Remove all but the newest rows of a source."""
    oldest = connection.execute(
        "SELECT log_offset, at FROM refused WHERE source = ? ORDER BY log_offset DESC, at DESC LIMIT 1 OFFSET ?",
        (source, KEPT - 1),
    ).fetchone()
    if oldest is not None:
        connection.execute(
            "DELETE FROM refused WHERE source = ? AND (log_offset, at) < (?, ?)", (source, *oldest)
        )
