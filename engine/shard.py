"""A shard: some of the patients, their state, and the one way in, `Shard.process`."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from engine.acts import closed_problems, keys
from engine.evidence import Changes, Evidence
from engine.judging import Block, Found, Judge, LimitSet
from engine.limits import Limits
from engine.plan import make_plan
from engine.program import Program
from engine.roster import Roster
from engine.state import State
from engine.streams import Derived, Streams
from ingest.columns import Batch
from kernels import advance as hot
from kernels import directory
from kernels.arrange import WORDS, arrange

__all__ = ["Clock", "Outcome", "Seen", "Shard", "shard_of"]

_PLACED = ("programmes", "zone", "limits")
"""Arrays that follow from the roster and the acts about limits, and not from readings."""

I64 = npt.NDArray[np.int64]


def shard_of(patient: npt.NDArray[np.uint64], shards: int) -> npt.NDArray[np.int64]:
    """Give the shard that owns each patient, by other bits of the hash than the directory's."""
    high = (patient >> np.uint64(40)).astype(np.int64)
    return high % np.int64(shards)


@dataclass(slots=True)
class Clock:
    """The line's clock as a shard needs it: the same for every shard, whatever the batches.

    `row_ms` is, for each packet of the batch, the greatest receipt time so far; `end_ms` the same after the batch;
    `outages` the times in which the line was deaf, int64[k, 2].
    """

    row_ms: I64
    end_ms: int
    outages: I64


@dataclass(slots=True)
class Seen:
    """Features of one group of rules, as a batch set them off; one column an event."""

    group: int
    packet: I64  # of the batch
    event: I64  # in the order of the shard
    patient: list[str]  # ids; the state may be a batch further when this is read
    t_ms: I64
    values: list[npt.NDArray[np.float64]]  # one array a feature of the group; NaN undetermined


@dataclass(slots=True)
class Outcome:
    """What became of a batch in one shard."""

    rows: I64
    """Packets that were this shard's, indices into the batch."""
    applied: npt.NDArray[np.uint8]
    """For each of `rows`: `kernels.advance` APPLIED, DUPLICATE or LATE."""
    derived: Derived
    """Readings that the ECG kernels gave."""
    changes: list[Changes]
    """In order; those after an act that set a limit are apart from those before it."""
    features: list[Seen]
    """What the rules saw, where the shard watches it; else empty."""
    kernel_s: float = 0.0
    """Seconds from packets to features, ECG among it."""
    rule_s: float = 0.0
    """Seconds from features to transitions."""


class Shard:
    """The patients that one thread looks after.

    Not for two threads at once. The result for a patient depends on that patient's packets and the line's
    clock, in their order, and on nothing else: not on batches, other patients, or other shards.
    """

    def __init__(self, program: Program, roster: Roster | None = None) -> None:
        self.program = program
        self.roster = roster or Roster(program)
        self.plan = make_plan(program)
        self.problem_keys = np.array(list(keys(program)), np.int64)
        self.state = State(
            width=int(self.plan.physical.sum()),
            series=len(self.plan.start),
            rules=len(program.rule_rows),
            problems=len(program.problems),
            contacts=len(program.contacts),
            limits=len(program.own),
        )
        self.limits = Limits(program, self.plan, self.state, self.roster)
        self.judge = Judge(program, self.plan, self.state)
        self.evidence = Evidence(program, self.plan, self.state, self.limits, self.judge)
        self.streams = Streams()
        self.watch_features = False
        """Whether `Outcome.features` is filled: for who asks, as it takes several times the rest."""
        self.keep: Callable[[Found], None] | None = None
        """Takes what was found, in the thread of the shard, for a back-test: rules are judged there then, not here.

        It may hold what it is given: all arrays of a pass are its own, made anew for each batch.
        """
        width = int(self.plan.physical.sum())
        self.scratch = hot.scratch(len(self.plan.start), width, len(self.plan.op))

    def enrol(self, slots: npt.NDArray[np.int32], first_ms: I64) -> None:
        """Set what new slots start from; `first_ms` is when the line first knew of the patient."""
        arrays = self.state.arrays
        arrays["first_ms"][slots] = first_ms
        arrays["contact"][slots] = first_ms[:, None]
        self.limits.place(slots)

    def process(self, batch: Batch, clock: Clock, rows: I64 | None = None) -> Outcome:
        """Apply a batch: the one way in, for live packets, replay, back-test and tests.

        Parameters
        ----------
        batch : Batch
            Decoded packets, in the order of arrival.
        clock : Clock
            The line's clock for the batch.
        rows : int64[n], optional
            Packets that belong to this shard; all of them by default.

        Returns
        -------
        Outcome
        """
        if rows is None:
            rows = np.arange(len(batch), dtype=np.int64)
        begun = perf_counter()
        slots = self._slots(batch, clock, rows)
        derived = self.streams.feed(batch, rows, slots)
        out = Outcome(rows, np.zeros(len(rows), np.uint8), derived, [], [])
        out.kernel_s = perf_counter() - begun

        def go(first: int, last: int, end_ms: int, limits: tuple[LimitSet, ...]) -> None:
            until = Clock(clock.row_ms, end_ms, clock.outages)
            _Pass(self, batch, until, rows[first:last], slots[first:last], derived, limits).run(out, first)

        # An act that sets a limit cuts the batch in two: what is judged before it goes by the limit before. As nothing
        # depends on how a stream is cut, that is all there is to it. Ticks up to the act's own time come before it.
        # Acts of one moment that follow each other, as a cell's limit is said to all its patients, make one cut:
        # nothing is judged between them.
        first = 0
        put: list[LimitSet] = []
        last, last_ms = -1, 0
        for at in self.limits.acts(batch, rows).tolist():
            row, slot = int(rows[at]), int(slots[at])
            if not self.limits.news(batch, row, slot):
                continue
            row_ms = int(clock.row_ms[row])
            if not put or at != last + 1 or row_ms != last_ms:
                go(first, at, row_ms, tuple(put))
                first, put = at, []
            put.append(self.limits.apply(batch, row, slot))
            last, last_ms = at, row_ms
        go(first, len(rows), clock.end_ms, tuple(put))
        return out

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give the arrays of a checkpoint, as views: valid until the next batch."""
        return dict(self.state.snapshot()) | self.streams.snapshot() | self.limits.snapshot()

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]], ticked_ms: int) -> None:
        """Take the arrays of a checkpoint; what is the roster's is written anew: a changed one holds from now on.

        Raises
        ------
        ValueError
            They are not those of this program: the message names the array.
        """
        used = len(arrays["due"])
        placed = {
            name: np.zeros((used, *self.state.arrays[name].shape[1:]), self.state.arrays[name].dtype)
            for name in _PLACED
        }
        self.state.restore({**arrays, **placed})
        self.limits.place(np.arange(used, dtype=np.int32))
        self.streams.restore(arrays)
        self.limits.restore(arrays)
        self.judge.ticked_ms = ticked_ms

    def _slots(self, batch: Batch, clock: Clock, rows: I64) -> npt.NDArray[np.int32]:
        state = self.state
        slots = np.empty(len(rows), np.int32)
        ids = (rows, batch.patient, batch.id_at, batch.id_len, batch.ids)

        if directory.find(*ids, state.table, state.slot_id, slots):
            unknown = slots < 0
            used = state.used
            state.reserve(used + len(np.unique(batch.patient[rows[unknown]])) + 1)
            state.used = directory.enter(*ids, state.table, state.slot_id, state.slot_hash, slots, used)
            new, first = np.unique(slots[unknown], return_index=True)
            self.enrol(new, clock.row_ms[rows[unknown]][first])
        return slots


class _Pass:
    """One batch on its way through the kernels."""

    def __init__(
        self,
        shard: Shard,
        batch: Batch,
        clock: Clock,
        rows: I64,
        slots: npt.NDArray[np.int32],
        derived: Derived,
        limits: tuple[LimitSet, ...],
    ) -> None:
        self.shard = shard
        self.limits = limits
        self.program = shard.program
        self.clock = clock
        self.batch = batch
        self.rows = rows
        self.slots = slots
        self.derived = derived
        self.applied = np.zeros(len(rows), np.uint8)
        self.seen: list[Seen] = []

    def run(self, out: Outcome, first: int) -> None:
        """Go through; what comes of it is added to `out`, whose row `first` is the first of these."""
        begun = perf_counter()
        events, journal, entries, blocks = self._advance()
        out.applied[first : first + len(self.rows)] = self.applied
        advanced = perf_counter()
        found = self._found(events, blocks)
        if self.shard.watch_features:
            self._watch(events, found)
            out.features += self.seen
        if self.shard.keep is not None:
            self.shard.keep(found)
        else:
            changed = self.shard.judge.walk(found, self.shard.judge.verdicts(found))
            if changed is not None:
                out.changes.append(self.shard.evidence.of(changed, events, found, journal, entries))
            self.shard.limits.judged(found)
        out.kernel_s += advanced - begun
        out.rule_s += perf_counter() - advanced

    def _advance(self) -> tuple[hot.Events, hot.Journal, int, hot.Blocks]:
        batch, derived, plan = self.batch, self.derived, self.shard.plan
        state = self.shard.state
        records = np.empty((len(self.rows), WORDS), np.int64)
        arrange(
            self.rows, self.slots, batch.kind, batch.t_ms, batch.device, batch.seq, batch.value_at, batch.code,
            batch.milli, derived.at, state.local, np.empty(len(self.rows) + 1, np.int64), records,
        )  # fmt: skip
        packets = hot.Packets(
            records, batch.code, batch.milli, derived.t_ms, derived.code, derived.milli, derived.refused
        )
        most = len(self.rows) + len(derived.t_ms)
        values = len(batch.code) + len(derived.t_ms)
        slack = int((plan.physical - plan.visible).max(initial=0))
        events = hot.Events(
            np.empty(most, np.int32),
            np.empty(most, np.int32),
            np.empty(most, np.uint64),
            np.empty(most, np.int64),
            np.empty(most, np.int64),
            np.empty(most, np.int64),
        )
        # One in, one out on average; a series that is full moves `slack` out before its first.
        room = (2 + slack) * values
        journal = hot.Journal(
            np.empty(room, np.int32),
            np.empty(room, np.int16),
            np.empty(room, np.int64),
            np.empty(room, np.int32),
            np.empty(room, np.bool_),
        )
        blocks = self._blocks()
        n, entries = hot.advance(
            packets, plan, state.readings, blocks, events, journal, self.applied, self.shard.scratch
        )
        taken = hot.Events(*(column[:n] for column in events))  # type: ignore[arg-type]  # each column its own type
        return taken, journal, int(entries), blocks

    def _blocks(self) -> hot.Blocks:
        """Room for each group of rules: as many rows as packets that may trigger it."""
        plan = self.shard.plan
        top = len(plan.code_series)  # acts of the cell stand above
        codes = np.bincount(self.batch.code, minlength=top)[:top]
        codes = codes + np.bincount(self.derived.code, minlength=top)[:top]
        used = plan.code_series >= 0
        series = np.bincount(plan.code_series[used], weights=codes[used], minlength=len(plan.start))
        groups = len(plan.group_mask)
        room = np.zeros(groups, np.int64)
        for g in range(groups):
            mask = int(plan.group_mask[g])
            room[g] = sum(int(series[s]) for s in range(len(plan.start)) if mask >> s & 1)
        room = np.minimum(room, len(self.rows) + len(self.derived.t_ms))
        features = np.diff(plan.group_feature_at)
        at = np.concatenate(([0], np.cumsum(room * features)))
        event_at = np.concatenate(([0], np.cumsum(room)))
        return hot.Blocks(
            np.empty(int(at[-1]), np.float64),
            at[:-1],
            room,
            event_at[:-1],
            np.empty(int(event_at[-1]), np.int32),
            np.zeros(groups, np.int64),
        )

    def _found(self, events: hot.Events, blocks: hot.Blocks) -> Found:
        """Put together what the rules go by; views of buffers that are this batch's own."""
        found = []
        for g, group in enumerate(self.program.groups):
            n = int(blocks.filled[g])
            first = int(blocks.event_at[g])
            starts = [int(blocks.at[g] + f * blocks.room[g]) for f in range(len(group.features))]
            found.append(
                Block(blocks.event[first : first + n], [blocks.buffer[at : at + n] for at in starts])
            )
        return Found(
            slot=events.slot,
            mask=events.mask,
            t_ms=events.t_ms,
            now_ms=events.now_ms,
            clock_ms=self.clock.row_ms[events.row],
            close=closed_problems(self.batch, events.row, self.shard.problem_keys),
            blocks=found,
            end_ms=self.clock.end_ms,
            outages=self.clock.outages,
            limits=self.limits,
        )

    def _watch(self, events: hot.Events, found: Found) -> None:
        """Keep what the rules see of this batch."""
        for g, block in enumerate(found.blocks):
            if len(block.event) and block.values:
                event = block.event.astype(np.int64)
                self.seen.append(
                    Seen(
                        g,
                        events.row[event].astype(np.int64),
                        event,
                        self.shard.state.patient_ids(events.slot[event]),
                        events.t_ms[event],
                        [values.copy() for values in block.values],
                    )
                )
