"""Judging: from what the kernels found in a batch to what changes of the alerts.

Conditions are evaluated over whole columns, then their verdicts are walked through in order. This is all that a
changed limit or condition can change: features stay as they are. So a back-test judges again what was found once
(`engine.found`), by the same code as the line.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.plan import make_rules
from engine.program import Program
from engine.state import State
from kernels import lifecycle
from kernels._types import Int
from kernels.advance import Plan
from kernels.directory import ID_BYTES

__all__ = ["Block", "Found", "Judge", "LimitSet", "Verdicts", "patient_order", "some"]

_TRANSITIONS = 65_536
"""Room for transitions in one call of the lifecycle kernels; they go on where it was full."""

I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]
F64 = npt.NDArray[np.float64]


class LimitSet(NamedTuple):
    """What an act puts in force: `key` is `engine.program.limit_key`, `milli` thousandths or None: taken back."""

    slot: int
    key: int
    milli: int | None
    of_cell: bool = False
    """Whether the cell set it for all its patients: a patient's own wins over it."""


@dataclass(slots=True)
class Block:
    """Features of one group of rules: a row each time they were computed, in the order of the events."""

    event: npt.NDArray[np.int32]
    """Index of the event that set them off, int32[rows], rising."""
    values: list[F64]
    """One float64[rows] a feature of the group, in its order; NaN undetermined."""


@dataclass(slots=True)
class Found:
    """What the kernels found: the events of some patients, each patient's in the order of application.

    `slot` int32, `mask` uint64 of the series that changed, `t_ms` of the reading, `now_ms` newest event time of the
    patient after it, `clock_ms` of the line, `close` int16: the problem that a person closes with it, -1 for none.
    `blocks` has one entry for each group of the program. `end_ms` is the line's clock after it all; `outages`,
    int64[k, 2], the times in which the line was deaf.
    """

    slot: npt.NDArray[np.int32]
    mask: npt.NDArray[np.uint64]
    t_ms: I64
    now_ms: I64
    clock_ms: I64
    close: npt.NDArray[np.int16]
    blocks: list[Block]
    end_ms: int
    outages: I64
    limits: tuple[LimitSet, ...] = ()
    """Limits that acts put in force before the first event."""

    def __len__(self) -> int:
        return len(self.slot)


def some(found: Found, keep: npt.NDArray[np.bool_]) -> Found:
    """Give some events of what was found, bool[events], with their rows of each block; the rest is the same."""
    if keep.all():
        return found
    place = np.cumsum(keep, dtype=np.int64) - 1
    blocks = []
    for block in found.blocks:
        rows = keep[block.event]
        event = place[block.event[rows]].astype(np.int32)
        blocks.append(Block(event, [values[rows] for values in block.values]))
    columns = {
        name: getattr(found, name)[keep] for name in ("slot", "mask", "t_ms", "now_ms", "clock_ms", "close")
    }
    return replace(found, **columns, blocks=blocks)


@dataclass(slots=True)
class Verdicts:
    """Of each group, int8[rules, rows]: 1 true, 0 false, -1 undetermined; empty where a group has no condition."""

    when: list[I8]
    clear: list[I8]


def patient_order(state: State, columns: lifecycle.Transitions) -> I64:
    """Order transitions by the line's clock, then by the patient's id, whatever batches, slots or shards there are.

    Stable, so that what happened to one patient at one moment stays in the order in which it happened.
    """
    ids = np.ascontiguousarray(state.slot_id[columns.slot, :ID_BYTES])
    return np.lexsort((ids.view(f"S{ID_BYTES}").ravel(), columns.clock_ms))


class Judge:
    """The rules of a program with the alerts of some patients.

    Parameters
    ----------
    program : Program
    plan : Plan
        Of the program.
    state : State
        Whose alerts and limits are read, and whose alerts change.
    """

    def __init__(self, program: Program, plan: Plan, state: State) -> None:
        self.program = program
        self.plan = plan
        self.state = state
        self.rules = make_rules(program, plan)
        self.ticked_ms = 0
        self.transitions = lifecycle.Transitions(
            np.empty(_TRANSITIONS, np.int32),
            np.empty(_TRANSITIONS, np.int32),
            np.empty(_TRANSITIONS, np.int16),
            np.empty(_TRANSITIONS, np.int16),
            np.empty(_TRANSITIONS, np.uint8),
            np.empty(_TRANSITIONS, np.uint8),
            np.empty(_TRANSITIONS, np.int64),
            np.empty(_TRANSITIONS, np.int64),
            np.empty(_TRANSITIONS, np.int64),
            np.empty(_TRANSITIONS, np.int64),
        )

    def limit(self, protocol: int, name: str, slots: npt.NDArray[np.int32]) -> F64 | float:
        """Value of a limit for some patients; one number where nobody has one of their own."""
        q = self.program.limit_names.index((protocol, name))
        column = int(self.plan.limit_column[q])
        if column < 0:
            return float(self.plan.limit_default[q])
        own: F64 = self.state.readings.limits[slots, column]
        return own

    def verdicts(self, found: Found) -> Verdicts:
        """Evaluate the conditions of each group over its whole block."""
        out = Verdicts([], [])
        nothing = np.empty((0, 0), np.int8)
        for group, block in zip(self.program.groups, found.blocks, strict=True):
            n = len(block.event)
            if n == 0 or group.verdicts is None:
                out.when.append(nothing)
                out.clear.append(nothing)
                continue
            columns: dict[str, F64 | float] = dict(zip(group.features, block.values, strict=True))
            slots = None
            for name in group.verdicts.names:
                if name not in columns:
                    if slots is None:
                        slots = found.slot[block.event]
                    columns[name] = self.limit(group.protocol, name, slots)
            both = group.verdicts.run(columns, n)
            half = len(group.rules)
            out.when.append(both[:half])
            out.clear.append(both[half:])
        return out

    def walk(self, found: Found, verdicts: Verdicts) -> lifecycle.Transitions | None:
        """Go through the verdicts in order and let time pass; give what changes, in no order, None for nothing."""
        rules = self._bounded(found, verdicts)
        alerts = self.state.alerts
        margin = 2 * len(rules.level) + 2
        written: list[lifecycle.Transitions] = []

        def collect(out: lifecycle.Transitions, n: Int) -> None:
            if n:
                columns = (column[:n].copy() for column in out)
                written.append(lifecycle.Transitions(*columns))  # type: ignore[arg-type]  # each column its own type

        out = self.transitions
        cursor = np.zeros(len(rules.group_mask), np.int64)
        nothing = np.empty(0, np.int8)
        when = np.concatenate([nothing, *(each.ravel() for each in verdicts.when)])
        clear = np.concatenate([nothing, *(each.ravel() for each in verdicts.clear)])
        done: Int = 0
        while done < len(found):
            done, n = lifecycle.walk(
                done, len(found), cursor, found.slot, found.mask, found.t_ms, found.now_ms, found.clock_ms,
                found.close, when, clear, rules, alerts, found.outages, out, margin,
            )  # fmt: skip
            collect(out, n)
        tick = int(rules.options[0])
        if found.end_ms // tick > self.ticked_ms // tick:
            done = 0
            while done < self.state.used:
                done, n = lifecycle.idle_ticks(
                    done, self.state.used, found.end_ms, rules, alerts, found.outages, out, margin
                )
                collect(out, n)
            self.ticked_ms = found.end_ms
        if not written:
            return None
        return lifecycle.Transitions(*(np.concatenate(column) for column in zip(*written, strict=True)))

    def _bounded(self, found: Found, verdicts: Verdicts) -> lifecycle.Rules:
        """Say to the rules where the verdicts of each group are."""
        sizes = [each.size for each in verdicts.when]
        room = np.array([len(block.event) for block in found.blocks], np.int64)
        verdict_at = np.concatenate(([0], np.cumsum(sizes)))[:-1].astype(np.int64)
        return self.rules._replace(verdict_at=verdict_at, room=room)
