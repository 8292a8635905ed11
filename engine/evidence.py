"""What an alert rests on: features, limits and readings as when its rule was judged, made again from the state.

A transition is told with what the rule saw, so that from the alert alone the verdict can be had again.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.judging import Found, Judge, patient_order
from engine.limits import Limits
from engine.program import Program
from engine.state import State
from kernels import advance as hot
from kernels import evidence, lifecycle

__all__ = ["Changes", "Evidence"]

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Changes:
    """Transitions of alerts with their evidence, as columns; one row a transition, by clock, then by patient's id."""

    slot: npt.NDArray[np.int32]
    row: I64  # packet of the batch; -1 on a tick
    rule: npt.NDArray[np.int16]
    opener: npt.NDArray[np.int16]
    kind: npt.NDArray[np.uint8]
    level: npt.NDArray[np.uint8]
    onset_ms: I64
    t_ms: I64
    clock_ms: I64
    features: npt.NDArray[np.float64]  # in the order of the features of the rule's group
    contact_ms: I64  # last reading that a non-transmission rule counts from
    point_at: I64  # rows + 1
    point_series: npt.NDArray[np.int32]
    point_t: I64
    point_milli: npt.NDArray[np.int32]
    limits: npt.NDArray[np.float64]  # then in force, in the order of the rule's limits
    origins: npt.NDArray[np.int32]  # where each came from, of `engine.limits.Limits.origins`; -1 for none

    def __len__(self) -> int:
        return len(self.slot)


class _Rebuilt(NamedTuple):
    """Features of each of some transitions, float64[n, widest], how many points each has, and these."""

    features: npt.NDArray[np.float64]
    points: I64
    series: npt.NDArray[np.int32]
    t_ms: I64
    milli: npt.NDArray[np.int32]


class Evidence:
    """Tells of transitions of a shard's patients what they rest on.

    Parameters
    ----------
    program : Program
    plan : Plan
    state : State
        Read; limits are put back as they were.
    limits : Limits
    judge : Judge
    """

    def __init__(self, program: Program, plan: hot.Plan, state: State, limits: Limits, judge: Judge) -> None:
        self._plan = plan
        self._state = state
        self._limits = limits
        self._judge = judge
        self._rule_group = np.array([row.group for row in program.rule_rows], np.int64)
        width = int(plan.physical.sum())
        self._wide_scratch = hot.scratch(len(plan.start), 2 * width + 1, len(plan.op))
        self._wide_row = np.zeros(2 * width + 2, np.int64), np.zeros(2 * width + 2, np.int32)

    def of(
        self,
        columns: lifecycle.Transitions,
        events: hot.Events,
        found: Found,
        journal: hot.Journal,
        entries: int,
    ) -> Changes:
        """Tell of the transitions of a batch; `journal` and `entries` say what the batch changed in the state."""
        order = patient_order(self._state, columns)
        columns = lifecycle.Transitions(*(column[order] for column in columns))  # type: ignore[arg-type]  # each its own type
        event = columns.event
        by_event = event >= 0
        before = event < -1
        since = np.full(len(event), entries, np.int64)
        since[by_event] = events.journal[event[by_event]]
        # A tick before event e saw the content that the event before it had left.
        earlier = -2 - event[before]
        since[before] = np.where(earlier > 0, events.journal[np.maximum(earlier - 1, 0)], 0)
        row = np.full(len(event), -1, np.int64)
        row[by_event] = events.row[event[by_event]]
        stale = self._stale(columns, found)
        rebuilt = self._rebuilt(columns, since, journal, entries, stale)
        limits, origins = self._limits.in_force(columns.rule, columns.slot, stale)
        return Changes(
            slot=columns.slot,
            row=row,
            rule=columns.rule,
            opener=columns.opener,
            kind=columns.kind,
            level=columns.level,
            onset_ms=columns.onset_ms,
            t_ms=columns.t_ms,
            clock_ms=columns.clock_ms,
            features=rebuilt.features,
            contact_ms=self._state.alerts.contact[columns.slot, self._judge.rules.contact[columns.rule]],
            point_at=np.concatenate(([0], np.cumsum(rebuilt.points))).astype(np.int64),
            point_series=rebuilt.series,
            point_t=rebuilt.t_ms,
            point_milli=rebuilt.milli,
            limits=limits,
            origins=origins,
        )

    def _stale(self, columns: lifecycle.Transitions, found: Found) -> npt.NDArray[np.bool_]:
        """Say what a tick brought of a verdict from before the newest acts about its limits, bool[transitions]."""
        stale = (columns.event < 0) & self._limits.changed(columns.rule, columns.slot)
        for n in np.flatnonzero(stale).tolist():
            event = found.blocks[self._rule_group[columns.rule[n]]].event
            until = len(found) if columns.event[n] == -1 else -2 - columns.event[n]
            stale[n] = not np.any(found.slot[event[event < until]] == columns.slot[n])
        return stale

    def _rebuilt(
        self,
        columns: lifecycle.Transitions,
        since: I64,
        journal: hot.Journal,
        entries: int,
        stale: npt.NDArray[np.bool_],
    ) -> "_Rebuilt":
        """Make features and points of some transitions again; those of stale ones by the limits of before."""
        groups = self._rule_group[columns.rule]

        def rebuild(rows: I64) -> _Rebuilt:
            return self._rebuild(
                columns.slot[rows], groups[rows], since[rows], columns.now_ms[rows], journal, entries
            )

        if not stale.any():
            return rebuild(np.arange(len(stale)))
        parts = []
        for n in range(len(stale)):
            then = self._limits.as_before(int(groups[n]), int(columns.slot[n])) if stale[n] else nullcontext()
            with then:
                parts.append(rebuild(np.array([n])))
        return _Rebuilt(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _rebuild(
        self,
        slot: npt.NDArray[np.int32],
        groups: I64,
        since: I64,
        now_ms: I64,
        journal: hot.Journal,
        entries: int,
    ) -> "_Rebuilt":
        plan = self._plan
        widest = int(np.diff(plan.group_feature_at).max(initial=0))
        features = np.full((len(slot), widest), np.nan)
        count = np.zeros(len(slot), np.int64)
        room = int(plan.visible[plan.group_series].sum()) if len(plan.group_series) else 0
        room = min(room, 4096) * min(len(slot), 1024)
        while True:
            series = np.empty(room, np.int32)
            t = np.empty(room, np.int64)
            milli = np.empty(room, np.int32)
            points = evidence.rebuild(
                slot, groups, since, now_ms, entries, journal, plan, self._state.readings,
                features, count, series, t, milli, self._wide_scratch, *self._wide_row,
            )  # fmt: skip
            if points >= 0:
                return _Rebuilt(features, count, series[:points], t[:points], milli[:points])
            room *= 4
