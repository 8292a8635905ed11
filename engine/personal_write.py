"""What is written of proposed limits: tables, the book that a person completes, and what the terminal shows."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from engine import backtest_study
from engine.card import write_card
from engine.personal import STATUSES
from engine.personal_study import Proposals
from rules.limits import TO_COMPLETE

__all__ = ["book_text", "card", "summary", "write"]

_LISTED = 20
"""Patients of a list in the terminal; all are in proposals.csv."""

_SAID = {
    "proposed": "proposed",
    "no_change": "limit in force is within a step",
    "too_few_readings": "too few readings",
    "unstable": "no stable period",
    "drifting": "readings drift over the period",
    "outside_range": "outside of the legal range",
    "set_by_act": "set on the patient's page",
    "not_followed": "not followed afterwards",
}


def write(found: Proposals, out: Path, command: Sequence[str] = ()) -> None:
    """Write what a back-test writes of the judged days, proposals.csv and .parquet, and proposed.toml; report apart."""
    backtest_study.write(found.study, out, command)
    protocol = found.proposed.program.protocols[found.asked.protocol].id
    of = pl.lit(protocol).alias("protocol"), pl.lit(found.asked.limit).alias("limit")
    table = found.table.select("patient", *of, pl.all().exclude("patient"))
    table.write_parquet(out / "proposals.parquet")
    table.write_csv(out / "proposals.csv")
    (out / "proposed.toml").write_text(book_text(found), encoding="utf-8")
    (out / "summary.txt").write_text(f"{summary(found)}\n", encoding="utf-8")
    write_card(card(found, command), out / "card.json")


def card(found: Proposals, command: Sequence[str] = ()) -> dict[str, object]:
    """Say what the proposals rest on, beside what the study does."""
    learning = asdict(found.learning) | {"least_step": found.asked.step(found.learning)}
    said = {"limit": found.asked.limit, "side": found.asked.side, "judged_from_ms": found.cut.ms} | learning
    return backtest_study.card(found.study, command) | {"personal_limits": said}


# The book ----------------------------------------------------------------------------------------------------


def book_text(found: Proposals) -> str:
    """Give a book of limits that is refused until a person has written in each entry who decided it, when and why."""
    asked = found.asked
    protocol = found.proposed.program.protocols[asked.protocol].id
    lines = [
        f"# Limites proposées pour {asked.label} ({asked.limit}) : rien n’est appliqué.",
        "# Pour chaque patient : écrire qui décide, à quelle date et pourquoi, ou supprimer l’entrée.",
        f"# Tant qu’il reste « {TO_COMPLETE} », Vigie refuse ce fichier.",
    ]
    for row in found.made.sort("patient").iter_rows(named=True):
        now = (
            "non fixée" if row["in_force"] is None else f"{row['in_force']:g} {asked.unit} ({row['origin']})"
        )
        lines += [
            "",
            f"# centre {row['centre']:g}, écart {row['spread']:.2f} {asked.unit}",
            f"# {row['readings']} mesures sur {row['days']} jours, du {row['from']} au {row['until']}",
            f"# en vigueur : {_one_line(now)}",
            f"# alertes ensuite : {_alerts(row, 'before')} en l’état, {_alerts(row, 'after')} avec cette limite",
            *([f"# PERD : {_one_line(row['outcomes_lost'])}"] if row["outcomes_lost"] else []),
            "[[patient]]",
            f"patient = {_quoted(row['patient'])}",
            f"protocol = {_quoted(protocol)}",
            f"limit = {_quoted(asked.limit)}",
            f"value = {row['proposed']:.{asked.decimals}f}",
            f"author = {_quoted(TO_COMPLETE)}",
            f"date = {_quoted(TO_COMPLETE)}",
            f"reason = {_quoted(TO_COMPLETE)}",
        ]
    return "\n".join(lines) + "\n"


def _alerts(row: dict[str, object], when: str) -> str:
    return f"{row[f'alerts_{when}']} (dont {row[f'rouge_{when}']} ROUGE)"


def _quoted(text: str) -> str:
    """Text of TOML: what JSON escapes, TOML reads."""
    return json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    """A reason or a kind of outcome comes from a file: nothing of it may end the comment."""
    return "".join(each if each.isprintable() else " " for each in text)


# Terminal ----------------------------------------------------------------------------------------------------


def summary(found: Proposals) -> str:
    """What a person reads in the terminal."""
    asked, made, learning = found.asked, found.made, found.learning
    how = (
        "at the centre" if asked.side == "centre" else f"{learning.spreads:g} spreads {asked.side} the centre"
    )
    counts = dict(found.table.group_by("status").len().iter_rows())
    lines = [
        f"{asked.limit}: {how}, learnt on {learning.stable_days} stable days",
        f"judged on the {learning.judge_days} days from {found.cut.day} on alone",
        *(f"  {_SAID[name]:34}{counts[name]:>8,} patients" for name in STATUSES if name in counts),
    ]
    if len(made):
        lines += [_sums(row) for row in found.by_direction.iter_rows(named=True)]
        lines.append(
            f"{'patient':34}{'now':>8}{'proposed':>10}{'alerts':>8}{'then':>6}{'ROUGE':>7}{'then':>6}  outcomes lost"
        )
        lines += [_line(row, asked.decimals) for row in made.head(_LISTED).iter_rows(named=True)]
        if len(made) > _LISTED:
            lines.append(f"  and {len(made) - _LISTED:,} more in proposals.csv")
    losing = made.filter(pl.col("outcomes_lost") != "")
    lines.append(
        f"warning: {len(losing):,} proposals lose a known outcome; they are above, and said in proposed.toml"
        if len(losing)
        else "no proposal loses a known outcome of the judged days"
        if len(found.study.terms.outcomes)
        else "no outcomes were given: what the proposals would miss cannot be told"
    )
    lines.append(
        "nothing is in force: complete proposed.toml with who, when and why, and put it in the book of limits"
    )
    return "\n".join([*lines, backtest_study.summary(found.study)])


def _sums(row: dict[str, object]) -> str:
    words = {"further": "further from the usual than now", "nearer": "nearer to the usual than now"}
    where = words.get(str(row["direction"]), "at the centre, or none before")
    return (
        f"  {where:34}{row['patients']:>8,} patients: alerts {row['alerts_before']:,}, then {row['alerts_after']:,}; "
        f"ROUGE {row['rouge_before']:,}, then {row['rouge_after']:,}; "
        f"outcomes caught {row['caught_before']:,}, then {row['caught_after']:,} of {row['outcomes']:,}"
    )


def _line(row: dict[str, object], decimals: int) -> str:
    now = "-" if row["in_force"] is None else f"{row['in_force']:g}"
    return (
        f"{row['patient']:34}{now:>8}{row['proposed']:>10.{decimals}f}{row['alerts_before']:>8,}"
        f"{row['alerts_after']:>6,}{row['rouge_before']:>7,}{row['rouge_after']:>6,}  {row['outcomes_lost']}".rstrip()
    )
