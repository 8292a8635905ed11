"""Judging what a first pass found: conditions and the life of alerts, under any limits, as the line does it."""

import dataclasses
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.found import Kept, Part
from engine.judging import Found, Judge, Verdicts, patient_order, some
from engine.limits import Limits
from engine.load import Loaded
from engine.plan import make_plan
from engine.program import limit_key
from engine.report import alert_ids, id_texts
from engine.state import State
from ingest.signals import MILLI
from kernels import lifecycle
from rules.levels import Level
from rules.protocol import Protocol

__all__ = ["TRANSITIONS", "Holding", "Judged", "judge", "only", "used_limits"]

TRANSITIONS = pl.Schema(
    {
        "alert_id": pl.String,
        "patient": pl.String,
        "protocol": pl.String,
        "problem": pl.String,
        "rule": pl.String,
        "opened_by": pl.String,
        "level": pl.String,
        "kind": pl.String,  # opened, raised, recovered, latched, closed
        "onset_ms": pl.Int64,
        "t_ms": pl.Int64,
        "clock_ms": pl.Int64,
    }
)
"""Columns of what is judged: as in `rules.alerts.SCHEMA`, without evidence; times in ms UTC."""

_KINDS = {
    int(lifecycle.OPENED): "opened",
    int(lifecycle.RAISED): "raised",
    int(lifecycle.RECOVERED): "recovered",
    int(lifecycle.LATCHED): "latched",
    int(lifecycle.CLOSED): "closed",
}


@dataclass(slots=True)
class Judged:
    """What came of a history under some protocols.

    Attributes
    ----------
    folder, kept : Path, Kept
        What it was judged from.
    transitions : DataFrame
        `TRANSITIONS`, in the order of the line: by clock, then by patient.
    follow_up : DataFrame
        patient, first_ms, newest_ms: what was known of each.
    undetermined : mapping of (protocol, rule) to float
        Share of the verdicts that lacked data.
    of_cell : mapping of (protocol, limit) to float, optional
        Limits of the cell that were taken to hold; None where those of the log's acts did, as live.
    """

    protocols: tuple[Protocol, ...]
    folder: Path
    kept: Kept
    transitions: pl.DataFrame
    follow_up: pl.DataFrame
    undetermined: Mapping[tuple[str, str], float]
    of_cell: Mapping[tuple[str, str], float] | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """What is taken to hold, whatever the log's acts say.

    Attributes
    ----------
    of_cell : mapping of (protocol, limit) to float, optional
        Limits of the cell, in each limit's unit, for every patient who has none of their own; acts about limits of
        cells are passed over. None: they are heard, as live.
    from_ms : int, optional
        From when on (ms UTC of the line's clock), and acts are heard before; by default from the beginning.
    patients : set of str, optional
        Whom it is about: others are left out.
    """

    of_cell: Mapping[tuple[str, str], float] | None = None
    from_ms: int | None = None
    patients: frozenset[str] | None = None


def judge(folder: Path, kept: Kept, loaded: Loaded, holding: Holding | None = None) -> Judged:
    """Judge what was kept, by protocols whose `features_key` is that of the first pass; as `History.judge`.

    Returns
    -------
    Judged
    """
    holding = holding or Holding()
    of_cell = holding.of_cell
    said = None if of_cell is None else _keys(loaded, of_cell)
    judges = [_Shard(folder / f"shard{k:02d}", loaded, said, holding) for k in range(kept.shards)]
    if len(judges) == 1:
        frames = [judges[0].run()]
    else:
        with ThreadPoolExecutor(len(judges)) as threads:
            frames = list(threads.map(_Shard.run, judges))
    transitions = pl.concat(frames).sort("clock_ms", "patient", maintain_order=True)
    follow_up = pl.concat([each.follow_up() for each in judges]).sort("patient")
    rows = np.sum([each.rows for each in judges], axis=0)
    lacking = np.sum([each.lacking for each in judges], axis=0)
    program = loaded.program
    undetermined = {
        (row.protocol.id, row.id): float(lacking[r] / rows[r]) if rows[r] else 0.0
        for r, row in enumerate(program.rule_rows)
        if row.rule is not None
    }
    return Judged(program.protocols, folder, kept, transitions, follow_up, undetermined, of_cell)


def used_limits(loaded: Loaded) -> frozenset[tuple[str, str]]:
    """Give (protocol, limit) of those that features are computed from: another value asks for a pass of its own."""
    program = loaded.program
    used = {q for q in make_plan(program).limit.tolist() if q >= 0}
    return frozenset((program.protocols[p].id, name) for p, name in (program.limit_names[q] for q in used))


def _keys(loaded: Loaded, of_cell: Mapping[tuple[str, str], float]) -> dict[int, int]:
    """Give thousandths by key of the limit."""
    protocols = {each.id: each for each in loaded.program.protocols}
    used = used_limits(loaded)
    out = {}
    for (owner, name), value in of_cell.items():
        limit = protocols[owner].limits.get(name) if owner in protocols else None
        if limit is None or (owner, name) in used or not limit.min <= value <= limit.max:
            legal = f"{limit.min:g} to {limit.max:g} {limit.unit}" if limit else "limits of the protocols"
            msg = f"limit {owner}.{name} = {value:g} of a cell: legal are {legal}, where no feature uses it"
            raise ValueError(msg)
        out[limit_key(owner, name)] = round(value * MILLI)
    return out


class _Shard:
    """One shard's part, judged."""

    def __init__(
        self, folder: Path, loaded: Loaded, of_cell: Mapping[int, int] | None, holding: Holding
    ) -> None:
        self.of_cell = of_cell
        self.from_ms = holding.from_ms
        self.program = loaded.program
        self.part = Part(folder)
        plan = make_plan(self.program)
        self.state = State(
            width=0,
            series=0,
            rules=len(self.program.rule_rows),
            problems=len(self.program.problems),
            contacts=len(self.program.contacts),
            limits=len(self.program.own),
        )
        slots = self.part.fill(self.state)
        arrays = self.state.arrays
        arrays["first_ms"][slots] = self.part.first_ms
        arrays["contact"][slots] = self.part.first_ms[:, None]
        self.limits = Limits(self.program, plan, self.state, loaded.roster)
        self.limits.place(slots)
        self.patients = self.state.patient_ids(slots)
        self.mine: npt.NDArray[np.bool_] | None = None
        if holding.patients is not None:
            self.mine = np.array([each in holding.patients for each in self.patients], np.bool_)
            arrays["programmes"][slots[~self.mine]] = 0
        self.slots = slots
        self.judge = Judge(self.program, plan, self.state)
        rules = len(self.program.rule_rows)
        self.rows = np.zeros(rules, np.int64)
        self.lacking = np.zeros(rules, np.int64)

    def run(self) -> pl.DataFrame:
        """Go through all segments."""
        written: list[lifecycle.Transitions] = []
        held = False
        for found, holds in self._found():
            if holds and not held:
                held = True
                for key, milli in (self.of_cell or {}).items():
                    self.limits.put_for_all(key, milli, self.slots)
            for each in found.limits:
                if not (held and each.of_cell):
                    self.limits.put(each)
            verdicts = self.judge.verdicts(found)
            self._count(verdicts)
            changed = self.judge.walk(found, verdicts)
            if changed is not None:
                told = np.isin(changed.kind, list(_KINDS))
                written.append(lifecycle.Transitions(*(column[told] for column in changed)))  # type: ignore[arg-type]  # each its own type
        if not written:
            return TRANSITIONS.to_frame()
        columns = lifecycle.Transitions(*(np.concatenate(each) for each in zip(*written, strict=True)))
        order = patient_order(self.state, columns)
        return self._frame(lifecycle.Transitions(*(column[order] for column in columns)))  # type: ignore[arg-type]  # each its own type

    def _found(self) -> Iterator[tuple[Found, bool]]:
        """Give what was found, cut where the limits of the cell begin to hold, and whether they hold in it."""
        for found in self.part.found(self.program):
            mine = found if self.mine is None else some(found, self.mine[found.slot])
            if self.of_cell is None:
                yield mine, False
            elif self.from_ms is None or (len(found) and found.clock_ms[0] >= self.from_ms):
                yield mine, True
            elif mine.end_ms < self.from_ms:
                yield mine, False
            else:
                before = mine.clock_ms < self.from_ms
                yield dataclasses.replace(some(mine, before), end_ms=self.from_ms), False
                yield dataclasses.replace(some(mine, ~before), limits=()), True

    def _count(self, verdicts: Verdicts) -> None:
        for group, when in zip(self.program.groups, verdicts.when, strict=True):
            for r, row in zip(group.rules, when, strict=False):
                self.rows[r] += len(row)
                self.lacking[r] += np.count_nonzero(row == -1)

    def _frame(self, columns: lifecycle.Transitions) -> pl.DataFrame:
        rules = self.program.rule_rows
        keys = np.array([row.key for row in rules], np.uint64)
        ids = alert_ids(self.state.slot_hash[columns.slot], keys[columns.opener], columns.onset_ms)
        names = pl.DataFrame(
            {
                "protocol": [row.protocol.id for row in rules],
                "problem": [row.problem for row in rules],
                "rule": [row.id for row in rules],
            }
        )
        levels = ["", *(level.name for level in sorted(Level))]
        kinds = [_KINDS.get(kind, "") for kind in range(max(_KINDS) + 1)]
        frame = names[columns.rule].with_columns(
            id_texts(ids).alias("alert_id"),
            pl.Series("patient", self.patients, pl.String)[columns.slot],
            names["rule"][columns.opener].alias("opened_by"),
            pl.Series("level", levels, pl.String)[columns.level],
            pl.Series("kind", kinds, pl.String)[columns.kind],
            pl.Series("onset_ms", columns.onset_ms),
            pl.Series("t_ms", columns.t_ms),
            pl.Series("clock_ms", columns.clock_ms),
        )
        return frame.select(list(TRANSITIONS))

    def follow_up(self) -> pl.DataFrame:
        """Say since when, and until when, each patient was known."""
        known = pl.DataFrame(
            {
                "patient": self.patients,
                "first_ms": self.part.first_ms,
                "newest_ms": np.maximum(self.part.newest_ms, self.part.first_ms),
            },
            schema={"patient": pl.String, "first_ms": pl.Int64, "newest_ms": pl.Int64},
        )
        return known if self.mine is None else known.filter(pl.Series(self.mine))


def only(judged: Judged, since_ms: int | None, until_ms: int | None = None) -> Judged:
    """Give what was judged of alerts that opened from some time on, as it was before another (ms UTC of the clock).

    Undetermined shares stay those of the whole time.
    """
    transitions, follow_up = judged.transitions, judged.follow_up
    if since_ms is not None:
        transitions = transitions.filter(pl.col("clock_ms").first().over("alert_id") >= since_ms)
        follow_up = follow_up.filter(pl.col("newest_ms") >= since_ms).with_columns(
            pl.max_horizontal("first_ms", pl.lit(since_ms)).alias("first_ms")
        )
    if until_ms is not None:
        transitions = transitions.filter(pl.col("clock_ms") < until_ms)
        follow_up = follow_up.filter(pl.col("first_ms") < until_ms).with_columns(
            pl.min_horizontal("newest_ms", pl.lit(until_ms - 1)).alias("newest_ms")
        )
    return dataclasses.replace(judged, transitions=transitions, follow_up=follow_up)
