"""Committing a running line: one checkpoint a shard, all at one offset, written beside the line.

The set is committed when the last of its files is there. Until then, and where one of them fails, the two sets before
it are what a restart has; the alerts of a set that failed are in the next one.
"""

import time
from pathlib import Path

import polars as pl

from engine import saved
from engine.beside import Writing, write_beside
from engine.checkpoint import CheckpointError
from engine.fence import Fence
from engine.line import Line
from rules.alerts import SCHEMA

__all__ = ["Commits"]


class Commits:
    """Sets of checkpoints of one line.

    Parameters
    ----------
    folder : Path
        Of the checkpoints of all shards.
    line : Line
    committed : int or None
        Offset of the set that the line started from.
    fence : Fence, optional
        Whose the folder must still be when a file of a set gets its name.

    Attributes
    ----------
    committed, before : int or None
        Offsets of the newest whole set and of the one before; both are kept.
    committed_s : float
        When the newest whole set was, or the start: seconds of the monotonic clock.
    problem : str
        Why the last set failed; "" where it did not.
    """

    def __init__(self, folder: Path, line: Line, committed: int | None, fence: Fence | None = None) -> None:
        self.committed = committed
        self.before: int | None = None
        self.committed_s = time.monotonic()
        self.problem = ""
        self._folder = folder
        self._fence = fence
        self._line = line
        self._alerts: list[pl.DataFrame] = []  # emitted since the last whole set
        self._writing: list[Writing] = []
        self._offset = 0
        self._frames = 0

    @property
    def busy(self) -> bool:
        """Whether a set is being written."""
        return bool(self._writing)

    def emitted(self, alerts: pl.DataFrame) -> None:
        """Take note of alerts that the sink has taken: the next set holds them."""
        self._alerts.append(alerts)

    def begin(self) -> None:
        """Begin to write the state of all shards as it is now; the line may go on when this returns."""
        line = self._line
        self._offset, self._frames = line.next_offset, len(self._alerts)
        alerts = pl.concat(self._alerts) if self._alerts else SCHEMA.to_frame()
        blobs = saved.blobs(alerts, len(line.shards))
        try:
            for k, shard in enumerate(line.shards):
                folder = saved.folder_of(self._folder, k)
                self._writing.append(
                    write_beside(folder, saved.header(line, k), saved.arrays(shard), blobs[k], self._fence)
                )
        except CheckpointError as error:
            self._fail(error)

    def follow(self) -> None:
        """See whether all files are there: that is the commit."""
        if not self._writing:
            return
        try:
            if not all(writing.poll() for writing in self._writing):
                return
        except CheckpointError as error:
            self._fail(error)
            return
        self._writing = []
        self.problem = ""
        del self._alerts[: self._frames]
        self.committed_s = time.monotonic()
        if self._offset != self.committed:
            self.before, self.committed = self.committed, self._offset
        saved.prune_sets(self._folder, self._offset, self.before)

    def wait(self) -> None:
        """Wait for the set that is being written."""
        for writing in self._writing:
            try:
                writing.wait()
            except CheckpointError:
                break  # `follow` meets it again, and says it
        self.follow()

    def _fail(self, error: CheckpointError) -> None:
        """Give the set up, once its other files are written or not."""
        problems = [str(error)]
        for writing in self._writing:
            try:
                writing.wait()
            except CheckpointError as other:
                problems.append(str(other))
        self._writing = []
        self.problem = "; ".join(dict.fromkeys(problems))
