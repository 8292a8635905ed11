"""Sources: the gateways that may send, their keys, what each is enrolled for, and a record of what was done.

A key is shown once, when it is made; the file holds its SHA-256 only. That is enough, since a key is 256 random bits:
what passwords need a slow hash for, guessing, is out of reach. One SQLite file, which the service reads and
``vigie source`` writes; the service sees a change within a second.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = ["RESERVED", "Happened", "Limits", "Refusal", "Source", "SourceError", "Sources"]

RESERVED = ("cell", "heartbeat", "warmup")
"""Names that the log uses for what does not come from a gateway."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PATIENT = re.compile(r"[!-~]{1,40}")
_KEY = re.compile(r"vigie_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_LOOK_S = 1.0
_SCHEMA = """
CREATE TABLE source (
    name TEXT PRIMARY KEY,
    enrolled TEXT NOT NULL,
    limits TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
);
CREATE TABLE key (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL REFERENCES source(name),
    sha256 TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    until_ms INTEGER
);
CREATE TABLE audit (
    minute_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    who TEXT NOT NULL,
    count INTEGER NOT NULL,
    UNIQUE (minute_ms, source, what, detail, who)
);
"""
_APPLICATION_ID = 0x56494753  # "VIGS"
_FORMAT = 1


class SourceError(Exception):
    """What was asked of the sources cannot be done; the message says why and what is legal."""


class Refusal(StrEnum):
    """Why a request was turned down; the values stand in metrics and in the record."""

    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    REVOKED = "revoked"
    TOO_MANY = "too_many"  # over a limit of rate or of quarantine
    TOO_LARGE = "too_large"
    BAD_BODY = "bad_body"  # wrong encoding, cut short, too slow
    BUSY = "busy"  # the log could not take it


@dataclass(frozen=True, slots=True)
class Limits:
    """What one source may send, so that it cannot slow the others down."""

    requests_per_s: float = 1_000.0
    packets_per_s: float = 200_000.0
    bytes_per_s: float = 33_554_432.0
    body_bytes: int = 16_777_216
    """After decompression."""
    quarantine_share: float = 0.5
    """Of the packets of the last minutes; a source whose packets are refused more often waits."""

    def __post_init__(self) -> None:
        """Refuse what no source could live with."""
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                msg = f"limit {each.name} {value}: legal is more than 0"
                raise SourceError(msg)
        if self.body_bytes > 16 << 20:
            msg = f"limit body_bytes {self.body_bytes}: legal are 1 to {16 << 20}"
            raise SourceError(msg)
        if self.quarantine_share > 1:
            msg = f"limit quarantine_share {self.quarantine_share}: legal is more than 0 and at most 1"
            raise SourceError(msg)


@dataclass(frozen=True, slots=True)
class Source:
    """A gateway. It may send for the patients of `cells`, for `patients` by id, or for `everyone`."""

    name: str
    cells: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    everyone: bool = False
    limits: Limits = field(default_factory=Limits)
    created_ms: int = 0
    revoked_ms: int | None = None
    keys: int = 0
    """Keys that are good now."""

    def __post_init__(self) -> None:
        """Refuse a name that the log or a metric could not bear, and a source that may send nothing."""
        if not _NAME.fullmatch(self.name) or self.name in RESERVED:
            msg = (
                f"source {self.name!r}: legal are 1 to 63 of a-z, 0-9, '.', '_', '-', a letter or digit first; "
                f"not {', '.join(RESERVED)}"
            )
            raise SourceError(msg)
        if self.everyone and (self.cells or self.patients):
            msg = f"source {self.name}: every patient, or some cells and patients: one or the other"
            raise SourceError(msg)
        if not (self.everyone or self.cells or self.patients):
            msg = f"source {self.name}: name a cell, a patient, or say that it may send for every patient"
            raise SourceError(msg)
        for patient in self.patients:
            if not _PATIENT.fullmatch(patient):
                msg = f"source {self.name}: {patient!r} is no id of a patient: 1 to 40 printable ASCII characters"
                raise SourceError(msg)

    @property
    def enrolled(self) -> str:
        """Say what it may send for."""
        if self.everyone:
            return "every patient"
        parts = [f"cell {cell}" for cell in self.cells]
        return ", ".join([*parts, f"{len(self.patients)} patients by id"] if self.patients else parts)


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of the record: what happened in one minute, and how often."""

    minute_ms: int
    source: str
    what: str
    detail: str
    who: str
    count: int


@dataclass(frozen=True, slots=True)
class _Key:
    source: str
    sha256: str
    until_ms: int | None


class Sources:
    """The file of sources.

    Parameters
    ----------
    path : Path
        Made if it is not there, readable by its owner only.
    clock_ms : callable
        Wall clock, ms UTC.

    Raises
    ------
    SourceError
        The file is another one, or cannot be opened.
    """

    def __init__(
        self, path: Path | str, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self.path = Path(path)
        self._clock_ms = clock_ms
        self._lock = threading.Lock()  # of the file: held while the disk is waited for
        self._counting = threading.Lock()
        self._refused: Counter[tuple[int, str, str]] = Counter()
        self._known: tuple[dict[str, _Key], dict[str, Source]] = ({}, {})
        self._version = -1
        self._looked = float("-inf")
        try:
            self._connection = _open(self.path)
        except sqlite3.Error as error:
            msg = f"{self.path}: {error}"
            raise SourceError(msg) from error

    def close(self) -> None:
        """Write what was refused, and close the file."""
        self.flush()
        with self._lock:
            self._connection.close()

    # What an operator does -----------------------------------------------------------------------------------

    def create(self, source: Source, who: str) -> str:
        """Add a source and return its key, which is not kept.

        Raises
        ------
        SourceError
            There is one of that name, revoked or not: names stand in the log and are not given again.
        """
        now = self._clock_ms()
        with self._changing() as run:
            if run("SELECT 1 FROM source WHERE name = ?", source.name).fetchone():
                msg = f"source {source.name}: exists already; names are not given again, rotate its key or take another"
                raise SourceError(msg)
            enrolled = {"cells": source.cells, "patients": source.patients, "everyone": source.everyone}
            limits = json.dumps(asdict(source.limits))
            run(
                "INSERT INTO source VALUES (?, ?, ?, ?, NULL)", source.name, json.dumps(enrolled), limits, now
            )
            key = _new_key(run, source.name, now)
            _record(run, now, source.name, "created", source.enrolled, who)
        return key

    def rotate(self, name: str, overlap_s: float, who: str) -> str:
        """Give a source a new key; those that it has are good for `overlap_s` more seconds.

        Raises
        ------
        SourceError
            There is no such source, or it was revoked.
        """
        now = self._clock_ms()
        until = now + round(1000 * overlap_s)
        with self._changing() as run:
            self._alive(run, name)
            run(
                "UPDATE key SET until_ms = min(coalesce(until_ms, ?1), ?1) WHERE source = ?2",
                until,
                name,
            )
            key = _new_key(run, name, now)
            _record(run, now, name, "rotated", f"older keys are good for {overlap_s:g} s", who)
        return key

    def revoke(self, name: str, who: str) -> None:
        """End a source: none of its keys is good any more.

        Raises
        ------
        SourceError
            There is no such source, or it was revoked.
        """
        now = self._clock_ms()
        with self._changing() as run:
            self._alive(run, name)
            run("UPDATE source SET revoked_ms = ? WHERE name = ?", now, name)
            _record(run, now, name, "revoked", "", who)

    def _alive(self, run: "_Run", name: str) -> None:
        row = run("SELECT revoked_ms FROM source WHERE name = ?", name).fetchone()
        if row is None:
            names = [each for (each,) in run("SELECT name FROM source ORDER BY name LIMIT 20")]
            msg = f"source {name}: there is none of that name; there are {', '.join(names) or 'none at all'}"
            raise SourceError(msg)
        if row[0] is not None:
            msg = f"source {name}: was revoked, for good; create another"
            raise SourceError(msg)

    def all(self) -> list[Source]:
        """Give all sources, revoked ones too, by name."""
        with self._lock:
            return sorted(_read(self._connection, self._clock_ms())[1].values(), key=lambda each: each.name)

    def record(self, at_most: int = 1000) -> list[Happened]:
        """Give the newest lines of the record, oldest first."""
        self.flush()
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM audit ORDER BY minute_ms DESC, rowid DESC LIMIT ?", (at_most,)
            ).fetchall()
        return [Happened(*row) for row in reversed(rows)]

    # What the service asks -----------------------------------------------------------------------------------

    def find(self, key: str) -> Source | Refusal:
        """Give the source that a key belongs to, or why there is none; safe from any thread."""
        if not key:
            return Refusal.NO_KEY
        shaped = _KEY.fullmatch(key)
        if shaped is None:
            return Refusal.WRONG_KEY
        keys, sources = self._look()
        known = keys.get(shaped[1])
        if known is None or not hmac.compare_digest(known.sha256, _digest(key)):
            return Refusal.WRONG_KEY
        source = sources[known.source]
        if source.revoked_ms is not None or (
            known.until_ms is not None and known.until_ms <= self._clock_ms()
        ):
            return Refusal.REVOKED
        return source

    def name_of(self, key: str) -> str:
        """Give the source that a key names, whether the key is right or not; "" where it names none. For the record."""
        shaped = _KEY.fullmatch(key)
        known = self._look()[0].get(shaped[1]) if shaped else None
        return known.source if known else ""

    def refused(self, source: str, why: Refusal) -> None:
        """Note that a request was turned down; written by `flush`."""
        minute = self._clock_ms() // 60_000 * 60_000
        with self._counting:
            self._refused[minute, source, why.value] += 1

    def flush(self) -> None:
        """Write what was refused into the record: one line a minute, source and reason, however many there were."""
        with self._counting:
            taken, self._refused = self._refused, Counter()
        if not taken:
            return
        try:
            with self._changing() as run:
                for (minute, source, what), count in taken.items():
                    _record(run, minute, source, what, "", "", count)
        except SourceError:
            with self._counting:
                self._refused += taken
            raise

    def _look(self) -> tuple[dict[str, _Key], dict[str, Source]]:
        """Read the file again where another process has changed it, at most once a second."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            with self._lock:
                self._looked = now
                (version,) = self._connection.execute("PRAGMA data_version").fetchone()
                if version != self._version:
                    self._known = _read(self._connection, self._clock_ms())
                    self._version = version
        return self._known

    @contextmanager
    def _changing(self) -> "Iterator[_Run]":
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield lambda sql, *values: self._connection.execute(sql, values)
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                msg = f"{self.path}: {error}"
                raise SourceError(msg) from error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                # Its own changes do not move data_version.
                self._version, self._looked = -1, float("-inf")


_Run = Callable[..., sqlite3.Cursor]


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Before SQLite makes it: never readable by others, not for a moment.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        _prepare(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """See that it is a file of ours, and make its tables where it is new."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION_ID and (application or tables):
        msg = f"{path}: this is not a file of sources"
        raise SourceError(msg)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    (form,) = connection.execute("PRAGMA user_version").fetchone()
    if form == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    elif form != _FORMAT:
        msg = f"{path}: written by another version of Vigie (format {form}; this one knows {_FORMAT})"
        raise SourceError(msg)
    connection.execute("COMMIT")


def _read(connection: sqlite3.Connection, now_ms: int) -> tuple[dict[str, _Key], dict[str, Source]]:
    keys = {
        each: _Key(source, sha256, until)
        for each, source, sha256, until in connection.execute("SELECT id, source, sha256, until_ms FROM key")
    }
    good = Counter(key.source for key in keys.values() if key.until_ms is None or key.until_ms > now_ms)
    sources = {
        name: _source(name, enrolled, limits, created, revoked, 0 if revoked else good[name])
        for name, enrolled, limits, created, revoked in connection.execute("SELECT * FROM source")
    }
    return keys, sources


def _source(
    name: str, enrolled: str, limits: str, created_ms: int, revoked_ms: int | None, keys: int
) -> Source:
    what: dict[str, Any] = json.loads(enrolled)
    return Source(
        name,
        tuple(what["cells"]),
        tuple(what["patients"]),
        what["everyone"],
        Limits(**json.loads(limits)),
        created_ms,
        revoked_ms,
        keys,
    )


def _new_key(run: _Run, source: str, now_ms: int) -> str:
    name = secrets.token_hex(6)
    key = f"vigie_{name}_{secrets.token_urlsafe(32)}"
    run("INSERT INTO key VALUES (?, ?, ?, ?, NULL)", name, source, _digest(key), now_ms)
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _record(run: _Run, t_ms: int, source: str, what: str, detail: str, who: str, count: int = 1) -> None:
    run(
        "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
        t_ms // 60_000 * 60_000,
        source,
        what,
        detail,
        who,
        count,
    )
