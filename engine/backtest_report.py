"""A study as one page that opens without a network: for cardiologists, in French."""

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from engine import backtest_plots as plots
from engine.backtest_evidence import seen
from engine.backtest_measures import Interval, Measures, daily
from engine.backtest_study import Side, Study, card
from engine.ecg_report import template
from engine.reorder import Delays
from rules.explain import dates_text, limit_text, moment_text, notice, number_text, typeset
from rules.model import Limit, Protocol

__all__ = ["page", "pieces", "write_report"]

_ACCOUNTS: Final = re.compile(
    r"([\d,]+) packets received: ([\d,]+) applied, ([\d,]+) duplicate, ([\d,]+) late, ([\d,]+) quarantined"
)

_SHOWN = 30
"""Alerts of each list that are drawn; the rest are in differences.csv."""


@dataclass(frozen=True, slots=True)
class _Shown:
    level: str
    patient: str
    opened_ms: int
    opened: str
    text: str
    figure: str
    plot: str


def write_report(found: Study, path: Path, command: Sequence[str] = ()) -> None:
    """Write the page; the same study gives the same bytes."""
    path.write_text(page(pieces(found, command)), encoding="utf-8")


def page(said: Mapping[str, object]) -> str:
    """Give the page of some pieces: one file without anything from elsewhere."""
    text: str = template("backtest.html").render(
        **said,
        number=lambda value: number_text(value, 0 if float(value).is_integer() else 1),
        number2=lambda value: number_text(value, 2),
    )
    return text


def pieces(found: Study, command: Sequence[str] = ()) -> dict[str, Any]:
    """Give what is said of a study, in French, and its plots as SVG: for this page, and for pages of the queue."""
    sides = [("En l’état", found.base)] + ([("Modifié", found.changed)] if found.changed else [])
    zone = ZoneInfo(found.terms.zone)
    return {
        "zone": zone.key,
        "sides": [name for name, _ in sides],
        "figures": [(typeset(label), [text(side.whole) for _, side in sides]) for label, text in _FIGURES],
        "rules": _rules(found),
        "load": _load(found),
        "changes": _changes(found),
        "gained": _shown(found.changed, found.comparison.gained, zone)
        if found.changed and found.comparison
        else [],
        "lost": _shown(found.base, found.comparison.lost, zone) if found.comparison else [],
        "moved": len(found.comparison.moved) if found.comparison else 0,
        "counts": (len(found.comparison.gained), len(found.comparison.lost)) if found.comparison else None,
        "sweep": _sweep(found),
        "late": _late(found),
        "kept": found.base.judged.kept,
        "accounts": _accounts(found.base.judged.kept.accounts),
        "window": number_text(found.terms.window_days, 0),
        "unknown": found.outcomes_unknown,
        "work": found.terms.work,
        "protocols": [(p, notice(p)) for p in found.base.loaded.program.protocols],
        "card": card(found, command),
        "command": shlex.join(command),
        "shown": _SHOWN,
        "personal": None,
    }


def _accounts(told: str) -> str:
    """Say in French what became of the packets, where that was told as `engine.backtest` tells it."""
    match = _ACCOUNTS.fullmatch(told)
    if match is None:
        return told
    counts = [number_text(int(each.replace(",", "")), 0) for each in match.groups()]
    return typeset(
        "paquets reçus : {}, dont appliqués : {}, en double : {}, en retard : {}, en quarantaine : {}".format(
            *counts
        )
    )


def _interval(each: Interval, scale: float = 1.0, decimals: int = 2) -> str:
    if each.value is None:
        return "non déterminé"
    said = number_text(scale * each.value, decimals)
    if each.low is None or each.high is None:
        return said
    return typeset(
        f"{said} [{number_text(scale * each.low, decimals)} ; {number_text(scale * each.high, decimals)}]"
    )


def _bare(each: Interval, scale: float, decimals: int) -> str:
    """Without its interval: those of single rules are in measures.csv."""
    return "–" if each.value is None else number_text(scale * each.value, decimals)


def _three(each: tuple[float, float, float] | None) -> str:
    if each is None:
        return "–"
    return f"{number_text(each[1], 0)} ({number_text(each[0], 0)} à {number_text(each[2], 0)})"


_FIGURES: tuple[tuple[str, Callable[[Measures], str]], ...] = (
    ("Alertes", lambda m: number_text(m.alerts, 0)),
    ("dont ROUGE", lambda m: number_text(m.by_level["ROUGE"], 0)),
    ("dont ORANGE", lambda m: number_text(m.by_level["ORANGE"], 0)),
    ("Pour 100 patients et par jour", lambda m: _interval(m.load.mean)),
    ("Jour au 95e centile", lambda m: number_text(m.load.p95_day, 2)),
    ("Pire jour", lambda m: f"{number_text(m.load.worst, 2)} ({dates_text(m.load.worst_day)})"),
    ("Durée d’une alerte, h : médiane (quartiles)", lambda m: _three(m.length_h)),
    ("Événements précédés d’une alerte", lambda m: f"{m.caught} sur {m.outcomes}"),
    ("Sensibilité, %", lambda m: _interval(m.sensitivity, 100, 1)),
    ("Valeur prédictive positive, %", lambda m: _interval(m.ppv, 100, 1)),
    ("Avance sur l’événement, h : médiane (quartiles)", lambda m: _three(m.lead_h)),
    ("Fausses alertes par patient et par an", lambda m: _interval(m.false_per_year)),
    ("Patients sans aucune alerte, %", lambda m: number_text(100 * m.never, 1)),
    ("Minutes infirmières par jour", lambda m: number_text(m.minutes_mean, 0)),
    ("Infirmières, jour au 95e centile", lambda m: str(m.nurses_p95)),
)


def _rules(found: Study) -> list[tuple[str, str, list[str]]]:
    """A line a rule, with its title and id: what each side raised and caught."""
    sides = [found.base] + ([found.changed] if found.changed else [])
    keys = sorted({key for side in sides for key in side.by_rule})
    out = []
    for key in keys:
        cells = []
        for side in sides:
            each: Measures | None = side.by_rule.get(key)
            lacking = side.judged.undetermined.get(key)
            cells += [
                "0" if each is None else number_text(each.alerts, 0),
                "–" if each is None else _bare(each.load.mean, 1, 2),
                "–" if each is None else _bare(each.sensitivity, 100, 1),
                "–" if each is None else _bare(each.ppv, 100, 1),
                "–" if lacking is None else number_text(100 * lacking, 1),
            ]
        out.append((_title(sides, *key), key[1], cells))
    return out


def _title(sides: Sequence[Side], protocol: str, rule: str) -> str:
    """Say what people call a rule, on the side that has it."""
    titles = [p.title_of(rule) for side in sides for p in side.loaded.program.protocols if p.id == protocol]
    return next((title for title in titles if title != rule), rule)


def _load(found: Study) -> dict[str, str]:
    zone = found.terms.zone
    base = daily(found.base.alerts, found.base.judged.follow_up, zone)
    rate = _rate(base)
    changed = None
    said = f"En moyenne {_interval(found.base.whole.load.mean)} alertes pour 100 patients et par jour"
    if found.changed:
        changed = _rate(daily(found.changed.alerts, found.changed.judged.follow_up, zone))
        said += f", {_interval(found.changed.whole.load.mean)} après modification"
    days = base["day"].cast(pl.String).to_list()
    return {"plot": plots.days(days, rate, changed, said), "said": f"{said}."}


def _rate(days: pl.DataFrame) -> plots.F64:
    rate: plots.F64 = (100 * days["alerts"] / days["followed"]).to_numpy().astype(np.float64)
    return rate


def _changes(found: Study) -> list[str]:
    out: list[str] = []
    if found.changed is None:
        return out
    base = {p.id: p for p in found.base.loaded.program.protocols}
    before = found.base.judged.of_cell or {}
    for (owner, name), value in sorted((found.changed.judged.of_cell or {}).items()):
        if value != before.get((owner, name)):
            limit = base[owner].limits[name]
            out.append(_change(limit, before.get((owner, name)), value))
    for protocol in found.changed.loaded.program.protocols:
        old: Protocol | None = base.get(protocol.id)
        for name, limit in protocol.limits.items():
            was = old.limits.get(name) if old else None
            if was is None or was.default != limit.default:
                out.append(_change(limit, was.default if was else None, limit.default))
        if old is not None and old.hash != protocol.hash and not out:
            sides = [f"{each.version} ({each.hash})" for each in (old, protocol)]
            out.append(typeset(f"{protocol.id} : {' → '.join(sides)}"))
    return out


def _change(limit: Limit, before: float | None, after: float | None) -> str:
    return typeset(f"{limit.label} : {_value(before)} → {_value(after)}\N{NO-BREAK SPACE}{limit.unit}")


def _value(value: float | None) -> str:
    return "non fixée" if value is None else limit_text(value)


def _shown(side: Side, alerts: pl.DataFrame, zone: ZoneInfo) -> list[_Shown]:
    """Those of the highest level first, then spread over patients: not thirty of one. Times are those of `zone`."""
    if not len(alerts):
        return []
    ordered = (
        alerts.with_columns(nth=pl.int_range(pl.len()).over("patient"), first=(pl.col("level") != "ROUGE"))
        .sort("first", "nth", "opened_ms", "alert_id")
        .head(_SHOWN)
    )
    rows = seen(side.judged, side.loaded, ordered.select(alerts.columns))
    return [
        _Shown(
            str(each.alert["level"]),
            str(each.alert["patient"]),
            int(str(each.alert["opened_ms"])),
            moment_text(int(str(each.alert["opened_ms"])), zone),
            each.text,
            f"{each.figure}{f', {each.unit}' if each.unit else ''}",
            plots.evidence(each, zone),
        )
        for each in rows
    ]


def _late(found: Study) -> dict[str, object] | None:
    late = found.lateness
    if late is None:
        return None
    other = Side(found.base.loaded, late.judged, late.alerts, late.whole, {})
    measured, arrived = (found.base, other) if late.arrival_differs else (other, found.base)
    told, zone = late.comparison, ZoneInfo(found.terms.zone)
    return {
        "delays": late.order if isinstance(late.order, Delays) else None,
        "gained": _shown(arrived, told.gained, zone),
        "lost": _shown(measured, told.lost, zone),
        "counts": (len(told.gained), len(told.lost), len(told.moved), told.same, len(late.later)),
        "hours": [number_text(each, 1) for each in late.later_h or ()],
        "caught": (arrived.whole.caught, measured.whole.caught) if measured.whole.outcomes else None,
    }


def _label(side: Side, limit: str) -> str:
    """Say what a limit is."""
    protocols = side.loaded.program.protocols
    return next((p.limits[limit].label for p in protocols if limit in p.limits), limit)


def _sweep(found: Study) -> dict[str, object] | None:
    if found.sweep is None:
        return None
    whole = found.base.whole
    base = (whole.load.mean.value or math.nan, whole.sensitivity.value)
    title = typeset(
        "Sensibilité selon le nombre d’alertes, un point par réglage ; la croix est le réglage actuel"
    )
    two = len(found.spans) == 2
    names = {name: _label(found.base, name) for name, _ in found.spans}
    return {
        "curve": plots.curve(found.sweep.points, base, title, names),
        "heat": plots.heat(found.sweep.points, "Charge et sensibilité de chaque couple de limites")
        if two
        else "",
        "names": names,
        "points": [
            (
                [number_text(value, 2) for value in p.limits.values()],
                number_text(p.load, 2),
                "–" if p.sensitivity is None else number_text(100 * p.sensitivity, 1),
                "–" if p.ppv is None else number_text(100 * p.ppv, 1),
                p.pareto,
            )
            for p in found.sweep.points
        ],
        "choice": found.sweep.choice,
        "outcomes": whole.outcomes,
        "few": bool(found.sweep.warning),
    }
