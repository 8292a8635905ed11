"""The line: batches in, alerts out. The same live, in replay, in a back-test and in the tests.

It keeps the one clock, hands each shard its packets, one thread a shard, and puts what comes out together in an
order that does not depend on how many shards there are. Where batches are there before they are asked for, as in a
replay, shards go ahead of each other: see `Line.stream`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from engine import report
from engine.accounts import Accounts
from engine.program import DAY_MS, Program
from engine.roster import Roster
from engine.shard import Clock, Outcome, Shard, shard_of
from ingest.columns import Batch, Quarantine

__all__ = ["AHEAD", "Line", "Processed", "Taken"]

AHEAD = 2
"""Batches that may be on their way through `Line.stream` while the next one is read."""

_OUTAGES_MS = 62 * DAY_MS
"""How long an outage is remembered: twice the longest silence that a protocol may wait for."""


@dataclass(slots=True)
class Taken:
    """A batch as a line takes it; `heard_ms` is None where there were no receipts."""

    batch: Batch
    quarantine: Quarantine | None
    """What was refused with it, for the accounts."""
    heard_ms: npt.NDArray[np.int64] | None = None
    """Receipt time of each log entry of the batch, heartbeats too, int64[k]: a gap in them is an outage of the line."""


@dataclass(slots=True)
class Processed:
    """A batch that went through the line: what each shard made of it."""

    batch: Batch
    quarantine: Quarantine | None
    clock_ms: int
    """The line's clock after it."""
    outcomes: list[Outcome]
    alerts: pl.DataFrame
    """Rows of `rules.alerts.SCHEMA`."""


_Told = tuple[Outcome, list[pl.DataFrame]]
"""What a shard made of a batch, and rows of alerts."""


class Line:
    """Shards with one clock.

    Parameters
    ----------
    program : Program
    shards : int
        Patients are spread over them by a hash of their id.
    roster : Roster, optional
        Who is followed by what.
    time_basis : str
        "arrival" for a log, live or replayed; "event" for a file without receipt times.
    """

    def __init__(
        self, program: Program, *, shards: int = 1, roster: Roster | None = None, time_basis: str = "arrival"
    ) -> None:
        self.program = program
        self.time_basis = time_basis
        self.shards = [Shard(program, roster) for _ in range(shards)]
        self.reporters = [report.Reporter(shard) for shard in self.shards]
        self.accounts = Accounts()
        self.clock_ms: int | None = None
        self.outages = np.empty((0, 2), np.int64)
        self.next_offset = 0
        # A shard has a thread of its own, so that batches pass through each in their order.
        self._threads = [ThreadPoolExecutor(1, f"shard-{k}") for k in range(shards)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads."""
        for thread in self._threads:
            thread.shutdown()

    def process(
        self,
        batch: Batch,
        quarantine: Quarantine | None = None,
        heard_ms: npt.NDArray[np.int64] | None = None,
    ) -> Processed:
        """Take a batch through all shards.

        Parameters
        ----------
        batch : Batch
        quarantine : Quarantine, optional
            What was refused with it, for the accounts.
        heard_ms : int64[k], optional
            Receipt time of each log entry of the batch, heartbeats too: a gap in them is an outage of the line.
        """
        return self.take(Taken(batch, quarantine, heard_ms))

    def take(self, taken: Taken) -> Processed:
        """Take a batch through all shards, as `process` does."""
        batch = taken.batch
        clock = self._clock(batch, taken.heard_ms)
        if len(self.shards) == 1:
            # In the caller's thread: a live batch is often small, and handing it to another takes longer than it does.
            return self._settle(taken, clock, [self._shard(0, batch, clock)])
        return self._settle(taken, clock, [each.result() for each in self._hand_out(batch, clock)])

    def stream(self, batches: Iterable[Taken]) -> Iterator[Processed]:
        """Take batches through all shards, each shard at its own pace; what comes of them in their order.

        While a batch is asked for, `AHEAD` of those before it may be on their way: they must stay as they are so long.
        What the line says of itself (accounts, next offset, state of its shards) is that of the last batch given only
        when all were given; a caller that stops before is not to use the line any more.
        """
        waiting: deque[tuple[Taken, Clock, list[Future[_Told]]]] = deque()

        def first() -> Processed:
            taken, clock, told = waiting.popleft()
            return self._settle(taken, clock, [each.result() for each in told])

        for taken in batches:
            clock = self._clock(taken.batch, taken.heard_ms)
            waiting.append((taken, clock, self._hand_out(taken.batch, clock)))
            if len(waiting) > AHEAD:
                yield first()
        while waiting:
            yield first()

    def _settle(self, taken: Taken, clock: Clock, told: list[_Told]) -> Processed:
        """Account for a batch that all shards are done with."""
        batch = taken.batch
        self.accounts.receive(batch, taken.quarantine)
        for outcome, _ in told:
            self.accounts.settle(batch, outcome.rows, outcome.applied)
        self.next_offset = batch.next_offset
        frames = [frame for _, frames in told for frame in frames]
        outcomes = [outcome for outcome, _ in told]
        return Processed(batch, taken.quarantine, clock.end_ms, outcomes, report.merge(frames))

    def _shard(self, k: int, batch: Batch, clock: Clock, rows: npt.NDArray[np.int64] | None = None) -> _Told:
        """Take a batch through a shard, and tell of what changed."""
        outcome = self.shards[k].process(batch, clock, rows)
        return outcome, [
            self.reporters[k].rows(changes, batch, self.time_basis) for changes in outcome.changes
        ]

    def _hand_out(self, batch: Batch, clock: Clock) -> list[Future[_Told]]:
        """Give each shard's thread its packets of a batch."""
        if len(self.shards) == 1:
            return [self._threads[0].submit(self._shard, 0, batch, clock)]
        # Sixteen bits, because a stable sort of these is by radix: 3 ns a packet instead of 60.
        owner = shard_of(batch.patient, len(self.shards)).astype(np.uint16)
        order = np.argsort(owner, kind="stable")
        bounds = np.searchsorted(owner[order], np.arange(len(self.shards) + 1))
        return [
            thread.submit(self._shard, k, batch, clock, order[bounds[k] : bounds[k + 1]])
            for k, thread in enumerate(self._threads)
        ]

    def _clock(self, batch: Batch, heard_ms: npt.NDArray[np.int64] | None) -> Clock:
        """Move the clock: receipt times, never backwards, the same for all shards."""
        start = batch.clock_ms if self.clock_ms is None else self.clock_ms
        if self.clock_ms is None and len(batch):
            start = int(batch.receipt_ms[0])
        row_ms = (
            np.maximum(np.maximum.accumulate(batch.receipt_ms), start) if len(batch) else batch.receipt_ms
        )
        end = max(start, batch.clock_ms, int(row_ms[-1]) if len(batch) else start)
        deaf = self.program.options.deaf_after_ms
        if deaf and heard_ms is not None and len(heard_ms):
            heard = np.maximum.accumulate(np.concatenate(([start], heard_ms)))
            gaps = np.flatnonzero(np.diff(heard) > deaf)
            if len(gaps):
                found = np.stack((heard[gaps], heard[gaps + 1]), axis=1)
                # By time, not by number: what is remembered must not depend on how much a batch holds.
                known = self.outages[self.outages[:, 1] > start - _OUTAGES_MS]
                self.outages = np.concatenate((known, found))
        self.clock_ms = end
        return Clock(row_ms, end, self.outages)

    def restore(self, clock_ms: int | None, outages: Sequence[Sequence[int]], next_offset: int) -> None:
        """Go on from a checkpoint."""
        self.clock_ms = clock_ms
        self.outages = np.array(outages, np.int64).reshape(-1, 2)
        self.next_offset = next_offset
