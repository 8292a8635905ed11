"""Backup of a service's folder while it runs, and its restoration; both are checked, file by file.

What is copied when makes the copy one moment that a start can go on from: the queue, then checkpoints, history,
quarantine and sources, and the log last, so that the log reaches at least as far as everything that was made of it.
What the others lack of its end is gone through again. A queue on PostgreSQL is not in it: take it with ``pg_dump``
before.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine import history
from engine.checkpoint import newest_good
from engine.history import HistoryError
from engine.progress import SILENT, Progress
from ingest.log import LogError, LogReader

__all__ = ["BackupError", "Contents", "backup", "restore"]

FORMAT = 1
MANIFEST = "manifest.json"
_DATABASES = ("quarantine", "sources")
_TRIES = 5
_PIECE = 1 << 20


class BackupError(Exception):
    """The backup or the restoration was not made; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds, as it was found to be when every file was checked."""

    log_first: int
    log_next: int
    checkpoint: int | None
    history_rows: int
    queue: bool

    def __str__(self) -> str:
        log = f"log offsets {self.log_first} to {self.log_next - 1}" if self.log_next else "an empty log"
        at = "no checkpoint" if self.checkpoint is None else f"checkpoint at {self.checkpoint}"
        queue = "the queue" if self.queue else "no queue (it is elsewhere)"
        return f"{log}, {at}, {self.history_rows:,} readings of history, {queue}"


def backup(data: Path, out: Path, queue: Path | None, progress: Progress = SILENT) -> Contents:
    """Copy a service's folder, while the service runs or not.

    Parameters
    ----------
    data : Path
        The service's folder.
    out : Path
        Folder to make.
    queue : Path or None
        The queue's SQLite file; None where it is a server's.
    progress : Progress

    Raises
    ------
    BackupError
        Something cannot be read or written, or the copy is not sound; then nothing is left at `out`.
    """
    if out.exists():
        msg = f"{out}: is there already; a backup takes a name of its own"
        raise BackupError(msg)
    if not (data / "log").is_file():
        msg = f"{data}: there is no service's folder here (no log)"
        raise BackupError(msg)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True, mode=0o700)
        progress.step("copy")
        if queue is not None:
            _copy_database(queue, part / "queue.sqlite")
        _copy_checkpoints(data / "checkpoints", part / "checkpoints")
        _copy_history(data / "history", part / "history")
        for name in _DATABASES:
            if (data / name).exists():
                _copy_database(data / name, part / name)
        _copy_database(data / "log", part / "log")
        progress.step("check")
        found = check(part)
        made = {"format": FORMAT, "vigie": version("vigie"), "files": dict(_sums(part))}
        (part / MANIFEST).write_text(json.dumps(made, indent=1), encoding="utf-8")
        for file in part.rglob("*"):
            _sync(file)
        _sync(part)
        part.rename(out)
        _sync(out.parent)
    except (OSError, sqlite3.Error) as error:
        msg = f"{getattr(error, 'filename', None) or out}: {getattr(error, 'strerror', None) or error}"
        raise BackupError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def restore(copy: Path, data: Path, progress: Progress = SILENT) -> Contents:
    """Make a service's folder of a backup; the queue, if it is in it, becomes ``queue.sqlite`` in that folder.

    Raises
    ------
    BackupError
        `data` holds something, or the backup is not whole; then nothing is left at `data`.
    """
    if data.exists() and any(data.iterdir()):
        msg = f"{data}: holds something; a restoration takes a new or an empty folder"
        raise BackupError(msg)
    listed = _manifest(copy)
    part = data.with_name(data.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        progress.step("copy", len(listed), "files")
        part.mkdir(parents=True, mode=0o700)
        for name, expected in listed.items():
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(copy / name, target)
            target.chmod(0o600)
            if _sum(target) != expected:
                msg = f"{copy / name}: is not what was backed up (its checksum differs)"
                raise BackupError(msg)
            _sync(target)
            progress.advance()
        progress.step("check")
        found = check(part)
        if data.exists():
            data.rmdir()
        part.rename(data)
        _sync(data.parent)
    except (OSError, sqlite3.Error) as error:
        msg = f"{getattr(error, 'filename', None) or data}: {getattr(error, 'strerror', None) or error}"
        raise BackupError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def check(folder: Path) -> Contents:
    """Read everything in a folder, and say what it holds.

    Raises
    ------
    BackupError
        A file is damaged, or they are not of one moment.
    """
    try:
        with LogReader(folder / "log") as log:
            report = log.verify()
    except LogError as error:
        raise BackupError(str(error)) from error
    if not report.ok:
        raise BackupError(str(report))
    for name in ("queue.sqlite", *_DATABASES):
        if (folder / name).exists():
            _check_database(folder / name)
    at = None
    for shard in sorted((folder / "checkpoints").glob("shard-*")):
        good, problems = newest_good(shard)
        if good is None or problems:
            msg = f"{shard}: {problems[0] if problems else 'no checkpoint'}"
            raise BackupError(msg)
        if good.offset > report.next_offset:
            msg = f"{shard}: its checkpoint is at {good.offset}, the log ends at {report.next_offset}"
            raise BackupError(msg)
        at = good.offset if at is None else min(at, good.offset)
    rows = 0
    if (folder / "history").is_dir():
        try:
            rows = history.read(folder / "history").collect().height
        except HistoryError as error:
            raise BackupError(str(error)) from error
    return Contents(report.first_offset, report.next_offset, at, rows, (folder / "queue.sqlite").exists())


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite file as it is at one moment; others may read and write it meanwhile."""
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        # In one step: in several it would begin again whenever somebody wrote in between.
        reading.backup(writing, pages=-1)
        # Whole in one file: no -wal is copied beside it.
        writing.execute("PRAGMA journal_mode = DELETE").fetchone()
    target.chmod(0o600)


def _copy_checkpoints(source: Path, target: Path) -> None:
    """Copy the newest files of each shard; the service may remove old ones meanwhile."""
    for _ in range(_TRIES):
        shutil.rmtree(target, ignore_errors=True)
        try:
            for file in sorted(source.glob("shard-*/*.checkpoint")):
                (target / file.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target / file.parent.name / file.name)
        except FileNotFoundError:
            continue
        return
    msg = f"{source}: checkpoints are made and removed faster than they can be copied"
    raise BackupError(msg)


def _copy_history(source: Path, target: Path) -> None:
    """Copy history as it was committed when this began: what comes later is not named by the mark."""
    if not source.is_dir():
        return
    target.mkdir()
    mark = (source / "committed.json").read_bytes()
    for file in source.rglob("*"):
        if file.is_file() and file.suffix != ".tmp" and file.name != "committed.json":
            to = target / file.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
    (target / "committed.json").write_bytes(mark)


def _check_database(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    if said != "ok":
        msg = f"{path}: {said}"
        raise BackupError(msg)


def _sums(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(folder)), _sum(file)


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _manifest(copy: Path) -> dict[str, str]:
    path = copy / MANIFEST
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form, files = said["format"], dict(said["files"])
    except FileNotFoundError:
        msg = f"{copy}: is no backup, or one that was not finished (no {MANIFEST})"
        raise BackupError(msg) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise BackupError(msg) from error
    if form != FORMAT:
        msg = f"{path}: format {form}; this version of Vigie knows {FORMAT}"
        raise BackupError(msg)
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            msg = f"{path}: names {name!r}, outside of the backup"
            raise BackupError(msg)
    return files


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
