"""A checkpoint: the state of one shard, the log offset it stands at, and the alerts emitted, in one file.

The file is whole or it is not there: written under another name, fsynced, renamed, folder fsynced. Every byte
of it is under a checksum, so that a torn or damaged file is told from a good one and the one before is used.
A folder holds the checkpoints of one shard; the name of each is its offset.

`write` is in line; `write_beside` writes from a forked child while the line runs on. The file's form is in
`engine.checkpointfile`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from engine.beside import Writing, write, write_beside
from engine.checkpointfile import RUN, SUFFIX, Checkpoint, CheckpointError, Header, load, read_header

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Header",
    "Problem",
    "Writing",
    "load",
    "newest_good",
    "prune",
    "read_header",
    "write",
    "write_beside",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """A checkpoint that cannot be used, and why."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def newest_good(
    folder: Path,
    accept: Callable[[Header], str] | None = None,
    into: Callable[[str, str, tuple[int, ...]], npt.NDArray[Any]] | None = None,
) -> tuple[Checkpoint | None, list[Problem]]:
    """Load the newest checkpoint of `folder` that is whole.

    Parameters
    ----------
    folder : Path
        Of one shard's checkpoints; need not be there.
    accept : callable
        Says of a header why it cannot be used (made for other shards, by other kernels); "" where it can.
    into : callable
        See `load`. What a damaged file left in its arrays is overwritten from the good one.

    Returns
    -------
    checkpoint : Checkpoint or None
        None where there is no good one: the log is read from its start.
    problems : list of Problem
        Each newer file that was passed over, and why. To be shown: a damaged checkpoint is a failing disk.
    """
    problems: list[Problem] = []
    for path in reversed(_files(folder)):
        try:
            reason = accept(read_header(path)) if accept else ""
            if not reason:
                return load(path, into), problems
        except CheckpointError as error:
            reason = str(error).removeprefix(f"{path}: ")
        problems.append(Problem(path, reason))
    return None, problems


def _files(folder: Path) -> list[Path]:
    """Checkpoints of `folder` from the oldest to the newest; a name of another form is not one."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix == SUFFIX and len(path.stem) == 20 and path.stem.isdigit()
    )


def prune(folder: Path, keep: int = 2) -> list[Path]:
    """Remove all but the `keep` newest checkpoints, and what processes before this one left unfinished.

    Two, so that there is one before the newest, should that be damaged. Returns what was removed.
    """
    if keep < 1:
        msg = f"keep {keep}: at least one checkpoint is kept"
        raise ValueError(msg)
    old = _files(folder)[:-keep]
    if folder.is_dir():
        old += [path for path in folder.glob(f"*{SUFFIX}.*.tmp") if RUN not in path.name]
    for path in old:
        path.unlink(missing_ok=True)
    return old
