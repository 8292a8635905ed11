"""Proposed limits as one page that opens without a network: that of a back-test with a part before it, in French."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from engine import backtest_plots as plots
from engine.backtest_report import page, pieces
from engine.personal import STATUSES, Quantity
from engine.personal_study import Proposals
from engine.program import DAY_MS
from rules.explain import dates_text, limit_text, number_text, typeset

__all__ = ["write_report"]

_KINDS: Final = {
    "decompensation": "décompensation",
    "other_admission": "autre hospitalisation",
    "treated": "traitement adapté",
    "in_hospital": "patient hospitalisé",
}
"""Outcomes that a simulation and the closings of alerts tell of."""
_OUTCOME: Final = re.compile(rf"\b({'|'.join(_KINDS)}) (\d{{4}}-\d\d-\d\d)\b")
_ROWS = 300
_DRAWN = 30
_DIRECTIONS = {
    "further": "plus loin de l’habituel qu’aujourd’hui",
    "nearer": "plus près de l’habituel qu’aujourd’hui",
}


def write_report(found: Proposals, path: Path, command: Sequence[str] = ()) -> None:
    """Write the page; the same proposals give the same bytes."""
    said = pieces(found.study, command) | {"personal": _pieces(found)}
    path.write_text(page(said), encoding="utf-8")


def _pieces(found: Proposals) -> dict[str, object]:
    asked, made = found.asked, found.made
    counts = dict(found.table.group_by("status").len().iter_rows())
    rows = list(made.head(_ROWS).iter_rows(named=True))
    return {
        "label": asked.label,
        "limit": asked.limit,
        "side": asked.side,
        "unit": asked.unit,
        "learning": found.learning,
        "step": asked.step(found.learning),
        "cut": f"{found.cut.day:%d/%m/%Y}",
        "counts": [(typeset(words), counts[name]) for name, words in STATUSES.items() if name in counts],
        "sums": [
            (_DIRECTIONS.get(row.pop("direction"), ""), list(row.values()))
            for row in found.by_direction.iter_rows(named=True)
        ],
        "made": len(made),
        "losing": len(made.filter(pl.col("outcomes_lost") != "")),
        "outcomes": found.study.base.whole.outcomes,
        "rows": [_row(row, asked) for row in rows],
        "plots": [_drawn(row, found) for row in rows[:_DRAWN]],
    }


def _limit(value: float | None) -> str:
    return "non fixée" if value is None else limit_text(value)


def _row(row: Mapping[str, Any], asked: Quantity) -> dict[str, object]:
    cells = [
        *(_limit(row[name]) for name in ("in_force", "proposed", "centre")),
        number_text(row["spread"], asked.decimals + 1),
        number_text(row["readings"], 0),
        f"{row['alerts_before']} → {row['alerts_after']} (+{row['gained']} −{row['lost']})",
        f"{row['rouge_before']} → {row['rouge_after']}",
        f"{row['caught_before']} → {row['caught_after']} sur {row['outcomes']}",
    ]
    return {"patient": row["patient"], "cells": cells, "lost": _outcomes(row["outcomes_lost"])}


def _outcomes(told: str) -> str:
    """Say outcomes, ``kind 2026-11-27`` each: kinds that are Vigie's own in French, others as the file has them."""
    return dates_text(_OUTCOME.sub(lambda match: f"{_KINDS[match[1]]} {match[2]}", told))


def _drawn(row: Mapping[str, Any], found: Proposals) -> dict[str, object]:
    asked = found.asked
    mine = found.rows.filter(pl.col("patient") == found.patients.index(row["patient"]))
    now, proposed = row["in_force"], row["proposed"]
    zone = ZoneInfo(found.study.terms.zone)
    first = pl.Series([row["from"], row["until"]]).cast(pl.Datetime("ms")).dt.replace_time_zone(
        zone.key
    ).dt.epoch("ms")  # fmt: skip
    text = typeset(
        f"{asked.label} : {_limit(now)} → {_limit(proposed)} {asked.unit} "
        f"({row['origin']}). Alertes : {row['alerts_before']} → {row['alerts_after']}, "
        f"dont ROUGE : {row['rouge_before']} → {row['rouge_after']}."
    )
    plot = plots.readings(
        mine["t_ms"].to_numpy(),
        mine["value"].to_numpy(),
        (now, proposed),
        (float(first[0]), float(first[1]) + DAY_MS),
        float(found.cut.ms),
        text,
        zone,
    )
    return {"patient": row["patient"], "text": text, "lost": _outcomes(row["outcomes_lost"]), "plot": plot}
