"""What a rule saw of a patient around an alert, from what was kept: the figure that it compares, day after day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.backtest import Judged
from engine.found import Part
from engine.load import Loaded
from engine.program import DAY_MS
from rules.explain import sentence, silence_sentence

__all__ = ["Seen", "seen"]

_BEFORE_MS = 30 * DAY_MS
_AFTER_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert with what its rule saw.

    `text` is the sentence of the rule with the figures of that moment. `t_ms`, `value`: the figure that is compared,
    from 30 days before to 7 after; empty for silence, which compares none. `limit` is what it is compared with, None
    where that is no limit of the protocol.
    """

    alert: dict[str, object]
    text: str
    figure: str
    unit: str
    t_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    limit: float | None


def seen(judged: Judged, loaded: Loaded, alerts: pl.DataFrame) -> list[Seen]:
    """Look up some alerts, as `engine.backtest_measures.EPISODES`, few: each segment is read once for all of them."""
    rows = alerts.to_dicts()
    rules = {(row.protocol.id, row.id): r for r, row in enumerate(loaded.program.rule_rows)}
    parts = [Part(judged.folder / f"shard{k:02d}") for k in range(judged.kept.shards)]
    slots = [part.slots([str(row["patient"]) for row in rows]) for part in parts]
    wanted = [rules[str(row["protocol"]), str(row["rule"])] for row in rows]
    gathered: list[list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]] = [[] for _ in rows]
    for part, mine in zip(parts, slots, strict=True):
        present = np.unique(mine[mine >= 0])
        for k in range(part.segments) if len(present) else ():
            found = part.segment(k, loaded.program)
            for g in {loaded.program.rule_rows[r].group for r in wanted}:
                block = found.blocks[g]
                if not block.values:
                    continue
                who = found.slot[block.event]
                here = np.flatnonzero(np.isin(who, present))
                for i, row in enumerate(rows):
                    if mine[i] < 0 or loaded.program.rule_rows[wanted[i]].group != g:
                        continue
                    at = here[who[here] == mine[i]]
                    t = found.now_ms[block.event[at]]
                    opened = int(row["opened_ms"])
                    near = (t >= opened - _BEFORE_MS) & (t <= opened + _AFTER_MS)
                    gathered[i].append((t[near], np.stack([v[at[near]] for v in block.values], axis=1)))
    return [_one(row, r, parts_of, loaded) for row, r, parts_of in zip(rows, wanted, gathered, strict=True)]


def _one(
    alert: dict[str, object],
    r: int,
    parts: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]],
    loaded: Loaded,
) -> Seen:
    row = loaded.program.rule_rows[r]
    nothing = np.empty(0, np.int64), np.empty(0, np.float64)
    if row.rule is None:
        return Seen(alert, silence_sentence(row.text, row.silence_ms / 3_600_000), "", "", *nothing, None)
    names = loaded.program.groups[row.group].features
    t = np.concatenate([nothing[0], *(each[0] for each in parts)])
    values = np.concatenate([np.empty((0, len(names))), *(each[1] for each in parts)])
    protocol = row.protocol
    limits = {name: loaded.roster.book.resolve(protocol.id, name)[0] for name in protocol.limits_of(row.rule)}
    before = np.flatnonzero(t <= int(str(alert["opened_ms"])))
    then = values[before[-1]] if len(before) else np.full(len(names), np.nan)
    text = sentence(protocol, row.rule, dict(zip(names, then.tolist(), strict=True)), limits)
    compared = [name for name in row.rule.names if name in protocol.limits]
    unit = protocol.figure(compared[0]).unit if compared else None
    shown = [name for name in row.rule.names if name in protocol.features]
    same = [name for name in shown if unit is None or protocol.figure(name).unit == unit]
    if not same:
        return Seen(alert, text, "", "", *nothing, None)
    figure = protocol.figure(same[0])
    column = values[:, names.index(same[0])]
    known = np.isfinite(column)
    limit = limits.get(compared[0]) if compared else None
    return Seen(alert, text, figure.label, figure.unit, t[known], column[known], limit)
