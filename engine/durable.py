"""The durable line: log, line, history and checkpoints in one folder, going on after any crash where it was.

What happens to an entry of the log, in this order: decoded; applied by the shards; its readings given to history; the
ECG strips that its alerts ask for kept; its alerts given to the sink; then, now and then, all of it committed: history
first, then one checkpoint a shard, written beside the running line, with state, offset and the alerts since the
checkpoint before. After a crash the log is read on from the checkpoint. Processing is deterministic, so what is gone
through again gives the same rows: history passes them over, and the sink must too (`triage.store.Store.apply` does).
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import polars as pl

from engine import saved
from engine.accounts import Accounts
from engine.checkpoint import CheckpointError
from engine.commits import Commits
from engine.fence import Fence
from engine.history import History
from engine.history_merge import Merger
from engine.kept import readings
from engine.line import Line, Processed
from engine.problems import Problems
from engine.program import DAY_MS, Program
from engine.refused import Refused
from engine.roster import Roster
from engine.strip_keeper import Strips
from ingest.appender import HEARTBEAT, Appender
from ingest.columns import Batch
from ingest.decode import Decoder
from ingest.linelog import LineLog
from ingest.log import Damage, Log, LogBusyError
from ingest.logfile import LogError
from ingest.signals import plausible_ranges

__all__ = ["DurableLine", "Sink", "Step", "Tenure", "Upkeep", "decoder"]

Sink = Callable[[pl.DataFrame], object]
"""Takes rows of `rules.alerts.SCHEMA` and has them on the disk when it returns; the same rows may come again."""

# Conditions, see `engine.problems.Problems`.
_STEP = "step"
_CHECKPOINT = "checkpoint"
_HEARTBEAT = "heartbeat"
_TRIM = "trim"
_HISTORY = "history"

_TRIM_S = 600.0
"""How often a live line looks whether the log holds what is older than it is kept."""

_TRIM_ENTRIES = 1024
"""So many entries are removed at once, the rest after the next step: no packet waits for an hour's worth of them."""

_MERGE_S = 600.0
"""How often a live line looks whether history has files to be merged."""

_PACE_S = 0.025
"""Least time from one live step to the next. A step has its price, however little it takes; and what the line does not
use of the interpreter, intake does."""

_LOOK_S = 0.25
"""How long a live line waits for a new entry before it looks at its other duties."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How often a durable line does what.

    `checkpoint_s`, `checkpoint_entries`: a checkpoint is begun after so many seconds, or so many entries, whichever
    is first; in both cases only if there was an entry. `heartbeat_s`: how often `DurableLine.run` appends an empty
    entry; less than the program's `deaf_after_ms`, so that a night without readings is not taken for an outage of
    the line. `history_rows`: readings that may wait in memory for history's next commit; 0: no history is kept.
    `keep_days`: entries of the log that are older are removed, once nothing needs them any more; 0: none is.
    """

    checkpoint_s: float = 60.0
    checkpoint_entries: int = 100_000
    heartbeat_s: float = 60.0
    history_rows: int = 1_000_000
    keep_days: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the line did, for who measures; times are seconds."""

    entries: int
    done: Processed
    decode_s: float
    process_s: float
    commit_s: float
    """Quarantine, history and the sink."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """What a line has that works on one partition, while it may.

    `log` is the partition, closed with the line. It is not appended to from here, so the line sends no heartbeats: who
    fills the log does. `fence` is whose the folder must be when a checkpoint gets its name. `hold` is called before
    anything is read or written, and raises where that is no longer allowed.
    """

    log: LineLog
    fence: Fence
    hold: Callable[[], None]


def decoder(program: Program) -> Decoder:
    """Make a decoder that knows the questionnaire items of the program's protocols."""
    items = {item.code: item.range for each in program.protocols for item in each.items.values()}
    return Decoder(*plausible_ranges(items))


class DurableLine:
    """A line in a folder: ``log``, ``checkpoints/``, ``history/`` and ``quarantine``.

    One process at a time has a folder (the log's lock sees to it). `step`, `catch_up`, `run`, `checkpoint` and
    `close` are for one thread; `log.append` is for any.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    program : Program
    sink : callable
        See `Sink`. What it raises comes out of `step`; the rows are kept and given again at the next one, and
        no checkpoint is made before it has taken them.
    shards : int
    roster : Roster, optional
    upkeep : Upkeep
    wall_ms : callable
        The clock for heartbeats, ms UTC.
    watch : callable, optional
        Told of each `Step`, in the thread that steps.
    tenure : Tenure, optional
        For a partition of a log that several workers share; by default the log is the file ``log`` in the folder.

    Attributes
    ----------
    log : LineLog
    line : Line
    noted : Problems
        What an operator must see: checkpoints that could not be used or written, damage in the log, gaps.
    unbalanced : list of str
        Sources whose accounts did not balance: a fault of Vigie.
    rebuilt : str
        Why the state was rebuilt from the log; "" where it was not.

    Raises
    ------
    LogError, HistoryError
        The folder's files cannot be used; the message says which and why.
    """

    def __init__(  # noqa: PLR0913 - all but three have defaults that fit
        self,
        folder: Path | str,
        program: Program,
        *,
        sink: Sink,
        shards: int = 1,
        roster: Roster | None = None,
        upkeep: Upkeep = Upkeep(),
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        watch: Callable[[Step], None] | None = None,
        tenure: Tenure | None = None,
    ) -> None:
        deaf_ms = program.options.deaf_after_ms
        if deaf_ms and not 0 < 1000 * upkeep.heartbeat_s < deaf_ms:
            most = f"{deaf_ms / 1000:g}"
            msg = (
                f"heartbeat_s {upkeep.heartbeat_s:g}: legal is more than 0 and less than deaf_after, {most} s"
            )
            raise ValueError(msg)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = program
        self.noted = Problems()
        self.unbalanced: list[str] = []
        self.rebuilt = ""
        self._sink = sink
        self._wall_ms = wall_ms
        self._watch = watch
        self._settled = threading.Lock()
        self._upkeep = upkeep
        self._heartbeat_due = 0.0
        self._trim_due = self._merge_due = 0.0
        self._decoder = decoder(program)
        self._fence = tenure.fence if tenure is not None else None
        self._hold = tenure.hold if tenure is not None else lambda: None
        self._open = ExitStack()
        try:
            self.log = self._open.enter_context(
                tenure.log if tenure is not None else Log.open(self.folder / "log")
            )
            self._beats = self.log if isinstance(self.log, Appender) else None
            self.refused = Refused(self.folder / "quarantine")
            self._open.callback(self.refused.close)
            self.line = self._open.enter_context(Line(program, shards=shards, roster=roster))
            self.history = History(self.folder / "history", shards) if upkeep.history_rows else None
            self._merger = Merger(self.history) if self.history is not None else None
            if self._merger is not None:
                self._open.callback(self._merger.close)
            self._restore()
        except BaseException:
            self._open.close()
            raise

    # Starting ------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        checkpoints = self.folder / "checkpoints"
        restored = saved.restore(self.line, checkpoints)
        for problem in restored.problems:
            self.noted.event(problem)
        first = self.log.first_offset
        self._commits = Commits(checkpoints, self.line, restored.offset, self._fence)
        if restored.offset is None:
            self.line.next_offset = first
            if restored.problems:
                self.rebuilt = restored.problems[-1]
            if first:
                self.noted.event(
                    f"{self.log.path}: the log begins at offset {first}: what was before it is not in the state"
                )
        elif restored.offset > self.log.next_offset:
            msg = (
                f"{self.log.path}: the log ends at offset {self.log.next_offset}, but the checkpoint is at "
                f"{restored.offset}: bring back the log that it belongs to, or begin a new one at that offset"
            )
            raise CheckpointError(msg)
        elif restored.offset < first:
            self.noted.event(
                f"{self.log.path}: offsets {restored.offset} to {first - 1} were trimmed before they were in a "
                "checkpoint: they are not in the state"
            )
            self.line.next_offset = first
        if self.history is not None:
            folder = self.history.folder
            self._strips = Strips(folder, self.log, decoder(self.program), self.line.next_offset)
            gap = self.history.resume(self.line.next_offset)
            if gap is not None:
                self.noted.event(
                    f"{self.history.folder}: offsets {gap.first} to {gap.until - 1} are not in history"
                )
        self._undelivered: list[pl.DataFrame] = []
        self._sound = True  # no step failed half way
        self._entries = 0
        self._due = time.monotonic() + self._upkeep.checkpoint_s
        if len(restored.alerts):
            # The sink may have lost them, should its disk not be ours.
            self._undelivered.append(restored.alerts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    # Running -------------------------------------------------------------------------------------------------

    def accounts(self) -> Accounts:
        """Give the accounts as they were between two batches; from any thread, waits for at most one batch."""
        with self._settled:
            return deepcopy(self.line.accounts)

    def lag_s(self) -> float:
        """Give how long the oldest entry that has not gone through has waited, in seconds; from any thread."""
        received_ms = self.log.receipt_ms(self.line.next_offset)
        return 0.0 if received_ms is None else max(0.0, (self._wall_ms() - received_ms) / 1000)

    @property
    def checkpoint_age_s(self) -> float:
        """Seconds since the newest checkpoint was whole, or since the start."""
        return time.monotonic() - self._commits.committed_s

    @property
    def sound(self) -> bool:
        """Whether the line can be gone on with: false after a step failed half way."""
        return self._sound

    @property
    def problems(self) -> list[str]:
        """What is told of `noted`: events of the last day, and conditions that stand."""
        return self.noted.told()

    @property
    def next_offset(self) -> int:
        """Where the log is read on."""
        return self.line.next_offset

    @property
    def committed_offset(self) -> int | None:
        """Offset of the newest checkpoint that all shards have; None where there is none yet."""
        return self._commits.committed

    @property
    def trimmable(self) -> int:
        """What is before this offset is not needed again: `log.trim` may take it. 0 where all is.

        It is the older of the two checkpoints that are kept, so that there is a way back should the newest be
        damaged. A change of protocols rebuilds the state from what the log holds: keep as many days as its
        windows are long. Nor does it go beyond what strips that wait for their ECG are made of.
        """
        before = self._commits.before or 0
        needed = self._strips.needed if self.history is not None else None
        return before if needed is None else min(before, needed)

    def step(self, max_bytes: int = 8 << 20, max_entries: int = 65536) -> int:
        """Take the next entries of the log through the line; return how many there were.

        Also gives the sink what it has not taken yet, and begins or ends a checkpoint where one is due.

        Raises
        ------
        LogError, HistoryError
            The log cannot be read, or history not written.
        RuntimeError
            A step before this one failed half way: the state is not to be gone on with. Open the folder again.
        """
        self._check()
        self._hold()
        self._deliver()
        damaged: list[Damage] = []
        start = self.line.next_offset
        entries = self.log.read(start, max_bytes, max_entries, damaged)
        if entries or damaged:
            # Damage that is behind the entries read is met again with the next.
            end = entries[-1].offset if entries else damaged[-1].last_offset
            self._note_damage([each for each in damaged if each.last_offset <= end])
            began = time.perf_counter()
            batch, quarantine = self._decoder.decode(
                [(e.offset, e.receipt_ms, e.source, e.body) for e in entries],
                clock_ms=self.line.clock_ms or 0,
                next_offset=end + 1,
            )
            heard = np.array([entry.receipt_ms for entry in entries], np.int64)
            decoded = time.perf_counter()
            self.refused.add(batch, quarantine)
            self._sound = False
            processing = time.perf_counter()
            with self._settled:
                done = self.line.process(batch, quarantine, heard)
            self._audit(batch)
            processed = time.perf_counter()
            if len(done.alerts):
                self._undelivered.append(done.alerts)
            if self.history is not None:
                for shard, outcome in enumerate(done.outcomes):
                    self.history.append(shard, start, batch.next_offset, readings(batch, outcome))
                self._strips.take(batch, done.alerts)
                if self.history.buffered >= self._upkeep.history_rows:
                    self._hold()
                    self.history.commit(batch.next_offset)
            self._sound = True
            self._entries += len(entries)
            self._deliver()
            if self._watch is not None:
                commit_s = time.perf_counter() - processed + processing - decoded
                self._watch(Step(len(entries), done, decoded - began, processed - processing, commit_s))
        self._commits.follow()
        self._note()
        if self._entries and not self._commits.busy and self._is_due():
            self._begin_checkpoint()
        self.noted.ended(_STEP)
        return len(entries)

    def stuck(self, error: Exception) -> None:
        """Note that a step failed, until one does not."""
        self.noted.stands(_STEP, str(error))

    def catch_up(self) -> int:
        """Step until the end of the log; return how many entries there were."""
        total = 0
        while count := self.step():
            total += count
        return total

    def run(self, stop: threading.Event) -> None:
        """Run live until `stop` is set: take what comes, and say every minute that the line hears."""
        while not stop.is_set():
            self._beat()
            self._trim()
            self._merge()
            began = time.monotonic()
            if self.step():
                stop.wait(max(0.0, began + _PACE_S - time.monotonic()))
            else:
                self.log.wait_for(self.line.next_offset, _LOOK_S)

    def _beat(self) -> None:
        now = time.monotonic()
        if self._beats is not None and now >= self._heartbeat_due:
            self._heartbeat_due = now + self._upkeep.heartbeat_s
            with suppress(LogBusyError):  # then there is more than enough to hear
                self._beats.append(HEARTBEAT, b"", self._wall_ms(), timeout=0).add_done_callback(self._beaten)

    def _beaten(self, ticket: "Future[int]") -> None:
        error = None if ticket.cancelled() else ticket.exception()
        if error is None:
            self.noted.ended(_HEARTBEAT)
        else:
            self.noted.stands(_HEARTBEAT, f"heartbeat: {error}")

    def _audit(self, batch: Batch) -> None:
        """See that every packet of the sources of a batch is accounted for."""
        for source in batch.sources:
            account = self.line.accounts.by_source.get(source)
            if account is not None and not account.balanced and source not in self.unbalanced:
                self.unbalanced.append(source)
                self.noted.stands(
                    f"accounts of {source}",
                    f"accounts of source {source} do not balance before offset {batch.next_offset}: {account}",
                )

    def _trim(self) -> None:
        """Remove what is old enough from the log, now and then."""
        now = time.monotonic()
        days = self._upkeep.keep_days
        if days and now >= self._trim_due:
            self._trim_due = now + _TRIM_S
            try:
                old = self.log.offset_at(self._wall_ms() - round(days * DAY_MS))
                until = min(old, self.trimmable)
                now_until = min(until, self.log.first_offset + _TRIM_ENTRIES)
                self.log.trim(now_until)
            except LogError as error:
                self.noted.stands(_TRIM, f"the log is not trimmed: {error}")
            else:
                self.noted.ended(_TRIM)
                if now_until < until:
                    self._trim_due = now

    def _merge(self) -> None:
        """Have history's small files merged, now and then."""
        now = time.monotonic()
        if self._merger is not None and now >= self._merge_due:
            self._merge_due = now + _MERGE_S
            if self._merger.problem:
                self.noted.stands(_HISTORY, self._merger.problem)
            else:
                self.noted.ended(_HISTORY)
            self._merger.look()

    def _check(self) -> None:
        if not self._sound:
            msg = f"{self.folder}: a step failed half way through offset {self.line.next_offset}; open the line again"
            raise RuntimeError(msg)

    def _deliver(self) -> None:
        while self._undelivered:
            rows = self._undelivered[0]
            self._sink(rows)
            self._commits.emitted(rows)
            del self._undelivered[0]

    def _note_damage(self, damaged: list[Damage]) -> None:
        for each in damaged:
            self.noted.event(f"{self.log.path}: {each}")

    # Checkpoints ---------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        return self._entries >= self._upkeep.checkpoint_entries or time.monotonic() >= self._due

    def _begin_checkpoint(self) -> None:
        """Commit history, then begin to write the state of all shards at this offset."""
        self._hold()
        if self.history is not None:
            self.history.commit(self.line.next_offset)
            self._strips.commit()
        self._due = time.monotonic() + self._upkeep.checkpoint_s
        self._entries = 0
        self._commits.begin()
        self._note()

    def _note(self) -> None:
        if self._commits.problem:
            self.noted.stands(_CHECKPOINT, self._commits.problem)
        else:
            self.noted.ended(_CHECKPOINT)

    def checkpoint(self) -> int | None:
        """Make a checkpoint now and wait for it; return the offset of the newest one.

        None where there is none; `problems` says why. Raises as `step`.
        """
        self._check()
        self._deliver()
        self._commits.wait()
        if self.line.next_offset != self.committed_offset and self.line.clock_ms is not None:
            self._begin_checkpoint()
            self._commits.wait()
        self._note()
        return self.committed_offset

    # Ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Make a last checkpoint, then close the log: the next start reads nothing again."""
        try:
            if self._sound:
                self.checkpoint()
        finally:
            self._abandon()

    def _abandon(self) -> None:
        """Stop as a crash would: what was not committed is gone through again at the next start."""
        self._commits.wait()
        self._open.close()
