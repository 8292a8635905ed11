"""The queue of a replay: made anew of its alerts, so that a folder used twice holds one replay and no other."""

import os
from pathlib import Path

import triage.store
from engine.progress import SILENT, Progress
from triage.store import Applied

__all__ = ["QUEUE", "check", "leave_out", "make"]

QUEUE = "queue.sqlite"
ALERTS = "alerts.parquet"
_PARTS = ("", "-wal", "-shm")


def check(out: Path) -> None:
    """Refuse a folder whose queue is not that of a replay, before any work is done.

    Raises
    ------
    FileExistsError
        There is a queue without the alerts that a replay leaves beside it: it may be a queue that nurses work on.
    """
    queue = out / QUEUE
    if queue.exists() and not (out / ALERTS).exists():
        msg = f"{queue}: a queue that no replay has made; legal: a new folder, or that of a replay"
        raise FileExistsError(msg)


def make(out: Path, progress: Progress = SILENT) -> Applied:
    """Make the queue of the alerts in `out`; it takes the place of that of a replay before, whole or not at all."""
    unfinished = out / f"{QUEUE}.new"
    for part in _PARTS:
        unfinished.with_name(unfinished.name + part).unlink(missing_ok=True)
    with triage.store.open(unfinished) as queue:
        applied = queue.apply_file(out / ALERTS, progress)
    for part in _PARTS[1:]:
        (out / f"{QUEUE}{part}").unlink(missing_ok=True)
    os.replace(unfinished, out / QUEUE)  # noqa: PTH105 - one step, or nothing
    return applied


def leave_out(out: Path, _progress: Progress = SILENT) -> None:
    """Make no queue; that of a replay before goes, as it would be taken for this one's."""
    for part in _PARTS:
        (out / f"{QUEUE}{part}").unlink(missing_ok=True)
