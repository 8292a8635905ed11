"""What a rule saw of a patient around an alert, from what was kept: the figure that it compares, day after day."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.backtest_judge import Judged
from engine.found import Part
from engine.judging import Found
from engine.load import Loaded
from engine.program import DAY_MS, RuleRow, limit_key
from ingest.signals import MILLI
from rules.explain import sentence, silence_sentence

__all__ = ["Seen", "seen"]

_BEFORE_MS = 30 * DAY_MS
_AFTER_MS = 7 * DAY_MS

_Acts = dict[tuple[int, int, bool], int | None]
"""Thousandths by slot, key of the limit, and whether it is of the cell."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert with what its rule saw.

    `text` is the sentence of the rule with the figures of that moment. `t_ms`, `value`: the figure that is compared,
    from 30 days before to 7 after; empty for silence, which compares none. `limit` is what it was compared with
    when it opened, of this patient; None where that is no limit of the protocol.
    """

    alert: dict[str, object]
    text: str
    figure: str
    unit: str
    t_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    limit: float | None


@dataclass(slots=True)
class _Piece:
    """What a rule saw of a patient in one segment: event and clock times, features in the order of the group."""

    t_ms: npt.NDArray[np.int64]
    clock_ms: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    set_by_acts: dict[str, float]
    """Limits that acts had set by then."""


def seen(judged: Judged, loaded: Loaded, alerts: pl.DataFrame) -> list[Seen]:
    """Look up some alerts, as `engine.backtest_measures.EPISODES`, few: each segment is read once for all of them."""
    rows = alerts.to_dicts()
    rules = {(row.protocol.id, row.id): r for r, row in enumerate(loaded.program.rule_rows)}
    wanted = [loaded.program.rule_rows[rules[str(row["protocol"]), str(row["rule"])]] for row in rows]
    pieces: list[list[_Piece]] = [[] for _ in rows]
    for k in range(judged.kept.shards):
        part = Part(judged.folder / f"shard{k:02d}")
        slots = part.slots([str(row["patient"]) for row in rows])
        mine = np.flatnonzero(slots >= 0).tolist()
        acts: _Acts = {
            (slot, limit_key(*name), True): round(value * MILLI)
            for name, value in (judged.of_cell or {}).items()
            for slot in slots[mine].tolist()
        }
        for found in part.found(loaded.program) if mine else ():
            heard = (each for each in found.limits if judged.of_cell is None or not each.of_cell)
            acts |= {(each.slot, each.key, each.of_cell): each.milli for each in heard}
            of = {g: _events(found, g, slots[mine]) for g in {wanted[i].group for i in mine}}
            for i in mine:
                here = of[wanted[i].group]
                event = found.blocks[wanted[i].group].event
                at = here[found.slot[event[here]] == slots[i]]
                t = found.now_ms[event[at]]
                opened = int(rows[i]["opened_ms"])
                at = at[(t >= opened - _BEFORE_MS) & (t <= opened + _AFTER_MS)]
                if len(at):
                    own = functools.partial(loaded.roster.own, str(rows[i]["patient"]), wanted[i].protocol.id)
                    pieces[i].append(_piece(found, wanted[i], at, int(slots[i]), acts, own))
    return [_one(row, rule, each, loaded) for row, rule, each in zip(rows, wanted, pieces, strict=True)]


def _events(found: Found, group: int, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of a group's block that are of some patients; none of a group that sees nothing."""
    block = found.blocks[group]
    if not block.values:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.isin(found.slot[block.event], slots))


def _piece(
    found: Found,
    row: RuleRow,
    at: npt.NDArray[np.int64],
    slot: int,
    acts: _Acts,
    own: Callable[[str], bool],
) -> _Piece:
    block = found.blocks[row.group]
    event = block.event[at]
    said = {}
    for name, limit in row.protocol.limits.items():
        key = limit_key(row.protocol.id, name)
        milli = acts.get((slot, key, False))
        if milli is None and not own(name):
            milli = acts.get((slot, key, True))
        if milli is not None and limit.min <= milli / MILLI <= limit.max:
            said[name] = milli / MILLI
    values = np.stack([each[at] for each in block.values], axis=1)
    return _Piece(found.now_ms[event], found.clock_ms[event], values, said)


def _one(alert: dict[str, object], row: RuleRow, pieces: Sequence[_Piece], loaded: Loaded) -> Seen:
    nothing = np.empty(0, np.int64), np.empty(0, np.float64)
    if row.rule is None:
        return Seen(alert, silence_sentence(row.text, row.silence_ms / 3_600_000), "", "", *nothing, None)
    protocol = row.protocol
    names = loaded.program.groups[row.group].features
    patient, opened = str(alert["patient"]), int(str(alert["opened_ms"]))
    limits = usual = {
        name: loaded.roster.in_force(patient, protocol.id, name)[0] for name in protocol.limits_of(row.rule)
    }
    then = np.full(len(names), np.nan)
    for piece in pieces:
        # The event that opened it; where a delay did, the last before.
        exact = np.flatnonzero((piece.clock_ms == opened) & (piece.t_ms == int(str(alert["t_ms"]))))
        before = np.flatnonzero(piece.clock_ms <= opened)
        if len(before):
            then = piece.values[exact[0] if len(exact) else before[-1]]
            limits = {name: piece.set_by_acts.get(name, value) for name, value in usual.items()}
        if len(exact):
            break
    text = sentence(protocol, row.rule, dict(zip(names, then.tolist(), strict=True)), limits)
    compared = [name for name in row.rule.names if name in protocol.limits]
    unit = protocol.figure(compared[0]).unit if compared else None
    shown = [name for name in row.rule.names if name in protocol.features]
    same = [name for name in shown if unit is None or protocol.figure(name).unit == unit]
    if not same or not pieces:
        return Seen(alert, text, "", "", *nothing, None)
    figure = protocol.figure(same[0])
    t = np.concatenate([piece.t_ms for piece in pieces])
    column = np.concatenate([piece.values[:, names.index(same[0])] for piece in pieces])
    known = np.isfinite(column)
    limit = limits.get(compared[0]) if compared else None
    return Seen(alert, text, figure.label, figure.unit, t[known], column[known], limit)
