"""Proposed limits of single patients on a history, with what they would have changed afterwards.

Cross-validated in time: a limit is learnt before the last days of the history, and judged on these alone. Both sides
are judged by the book of limits as the line reads it, with the proposals in it on one of them: a replay that has the
proposed book gives the same alerts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from engine.backtest import History
from engine.backtest_measures import known_outcomes, local_day, met
from engine.backtest_study import Study, Terms, beside, side
from engine.load import Loaded, compose
from engine.personal import Learning, Quantity, direction, propose, quantity
from engine.personal_learn import EPOCH, Cut, learn
from engine.personal_readings import Acts, in_force, readings
from engine.progress import SILENT, Progress
from rules.levels import Level
from rules.limits import TO_COMPLETE, Change
from rules.model import LimitEntry

__all__ = ["TABLE", "Proposals", "proposals"]

TABLE = pl.Schema(
    {
        "patient": pl.String,
        "status": pl.String,  # of `engine.personal.STATUSES`
        "in_force": pl.Float64,  # null: nobody set it
        "origin": pl.String,
        "proposed": pl.Float64,
        "direction": pl.String,  # further, nearer: whether alerts begin further from the patient's usual than now
        "centre": pl.Float64,
        "spread": pl.Float64,
        "readings": pl.Int64,
        "days": pl.Int64,
        "from": pl.Date,  # stable period, both local days in it
        "until": pl.Date,
        "alerts_before": pl.Int64,  # opened on the judged days
        "alerts_after": pl.Int64,
        "rouge_before": pl.Int64,  # of these, at their highest level
        "rouge_after": pl.Int64,
        "gained": pl.Int64,
        "lost": pl.Int64,
        "outcomes": pl.Int64,
        "caught_before": pl.Int64,
        "caught_after": pl.Int64,
        "outcomes_lost": pl.String,  # kind and day of each that is caught no more
        "outcomes_gained": pl.String,
    }
)
"""A row a patient who follows the protocol; figures in the limit's unit."""

_COUNTS = (
    *("alerts_before", "alerts_after", "rouge_before", "rouge_after"),
    *("gained", "lost", "outcomes", "caught_before", "caught_after"),
)


@dataclass(slots=True)
class Proposals:
    """What is proposed, and what it would have changed.

    `table` is `TABLE`, by patient; `rows` are `personal_readings.READINGS`, of `patients`. `study` has the two sides on
    the judged days, one alone without any proposal. `proposed` is the line with the proposals in its book.
    """

    asked: Quantity
    learning: Learning
    table: pl.DataFrame
    patients: Sequence[str]
    rows: pl.DataFrame
    cut: Cut
    study: Study
    proposed: Loaded

    @property
    def by_direction(self) -> pl.DataFrame:
        """Sums over those who have a proposal: direction, patients, and the columns of counts; further first."""
        made = self.table.filter(pl.col("status") == "proposed")
        return made.group_by("direction").agg(pl.len().alias("patients"), pl.sum(*_COUNTS)).sort("direction")

    @property
    def made(self) -> pl.DataFrame:
        """Rows of the table that have a proposal: first those that lose an outcome, then by what they change."""
        change = sum(
            (pl.col(f"{each}_after") - pl.col(f"{each}_before")).abs() for each in ("alerts", "rouge")
        )
        return self.table.filter(pl.col("status") == "proposed").sort(
            pl.col("outcomes_lost") == "", -change, "patient"
        )


def proposals(
    history: History,
    loaded: Loaded,
    limit: str,
    *,
    learning: Learning | None = None,
    terms: Terms | None = None,
    progress: Progress = SILENT,
) -> Proposals:
    """Propose a limit for each patient, and judge the proposals on the days after.

    Parameters
    ----------
    history : History
    loaded : Loaded
        The protocols as they are, with the book of limits in force.
    limit : str
        ``limit`` or ``protocol.limit``.
    learning : Learning, optional
    terms : Terms, optional
        Their `since_ms` is set here.
    progress : Progress

    Raises
    ------
    ValueError
        The limit cannot be proposed, or the history is too short to learn and to judge.
    """
    learning, terms = learning or Learning(), terms or Terms()
    asked = quantity(loaded.program, limit)
    judged = history.judge(loaded)
    cut = Cut.of(judged.follow_up, learning, terms.zone)
    progress.step("propose")
    follows = [_follows(loaded, asked.protocol, patient) for patient in judged.follow_up["patient"].to_list()]
    follow_up = judged.follow_up.filter(pl.Series(follows, dtype=pl.Boolean))
    patients = follow_up["patient"].to_list()
    rows, acts = readings(judged, loaded, asked, patients, (asked.limit, *asked.under, *asked.over))
    learnt = learn(rows, judged, patients, terms.outcomes, asked, learning, cut)
    gone = (follow_up["newest_ms"] < cut.ms).to_list()
    table = _table(loaded, asked, patients, gone, learnt, acts, learning)
    proposed = _with_proposals(loaded, asked, table, cut.day)
    judging = terms.outcomes.filter(pl.col("t_ms") >= cut.ms)
    terms = replace(terms, since_ms=cut.ms, outcomes=judging)
    mine = side(judged, loaded, terms)
    any_made = (table["status"] == "proposed").any()
    theirs = side(history.judge(proposed), proposed, terms) if any_made else None
    study = beside(mine, theirs, terms, {})
    table = _with_effect(table, study, terms.window_ms)
    return Proposals(asked, learning, table, patients, rows, cut, study, proposed)


def _follows(loaded: Loaded, protocol: int, patient: str) -> bool:
    member = loaded.roster.members.get(patient)
    return member is None or protocol in member.protocols


# Proposals and their effect ----------------------------------------------------------------------------------


def _table(
    loaded: Loaded,
    asked: Quantity,
    patients: Sequence[str],
    gone: Sequence[bool],
    learnt: pl.DataFrame,
    acts: Acts,
    learning: Learning,
) -> pl.DataFrame:
    rows = []
    for n, (patient, each) in enumerate(zip(patients, learnt.iter_rows(named=True), strict=True)):
        now, origin, by_act = in_force(loaded, asked, patient, n, asked.limit, acts)
        values = {asked.limit: now} | {
            name: in_force(loaded, asked, patient, n, name, acts)[0] for name in (*asked.under, *asked.over)
        }
        status, value = str(each["status"]), math.nan
        if gone[n]:
            status = "not_followed"
        elif by_act:  # which wins over a book: it is changed where it was set
            status = "set_by_act"
        elif not status:
            status, value = propose(asked, each["centre"], each["spread"], values, learning)
        row: dict[str, object] = dict.fromkeys(TABLE)
        row |= {"patient": patient, "status": status, "in_force": _known(now), "origin": origin}
        if each["centre"] is not None:
            first = EPOCH + timedelta(days=each["first"])
            row |= {name: each[name] for name in ("centre", "spread", "readings", "days")}
            row |= {"from": first, "until": first + timedelta(days=learning.stable_days - 1)}
        if status == "proposed":
            row |= {"proposed": value, "direction": direction(asked, now, value)}
        rows.append(row)
    return pl.DataFrame(rows, schema=TABLE)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _with_proposals(loaded: Loaded, asked: Quantity, table: pl.DataFrame, day: date) -> Loaded:
    """Give the line with the proposals in its book: for this study alone, as nobody has taken them over."""
    protocol = loaded.program.protocols[asked.protocol].id
    changes = [
        Change(
            "patient",
            patient,
            LimitEntry(
                protocol=protocol,
                limit=asked.limit,
                value=value,
                author=TO_COMPLETE,
                date=day,
                reason=TO_COMPLETE,
            ),
        )
        for patient, value in table.filter(pl.col("status") == "proposed")
        .select("patient", "proposed")
        .iter_rows()
    ]
    roster = loaded.roster
    return compose(
        loaded.program.protocols, roster.book.replaced(changes), roster.members, loaded.program.options
    )


def _rouge(alerts: pl.DataFrame) -> pl.DataFrame:
    return alerts.filter(pl.col("level") == Level.ROUGE.name)


def _with_effect(table: pl.DataFrame, study: Study, window_ms: int) -> pl.DataFrame:
    """Add what the proposals change for each patient on the judged days."""
    before, after = study.base, study.changed or study.base
    follow_up = before.judged.follow_up
    known = known_outcomes(study.terms.outcomes, follow_up, window_ms)
    both = met(known, before.alerts, window_ms).select(*known.columns, before=pl.col("first_ms").is_not_null()).join(
        met(known, after.alerts, window_ms).select(*known.columns, after=pl.col("first_ms").is_not_null()),
        on=known.columns,
    )  # fmt: skip
    told = pl.col("kind") + " " + local_day("t_ms", study.terms.zone).cast(pl.String)
    caught = (
        both.sort("t_ms", "kind")
        .group_by("patient")
        .agg(
            outcomes=pl.len(),
            caught_before=pl.sum("before"),
            caught_after=pl.sum("after"),
            outcomes_lost=told.filter(pl.col("before") & ~pl.col("after")).str.join(", "),
            outcomes_gained=told.filter(pl.col("after") & ~pl.col("before")).str.join(", "),
        )
    )
    compared = study.comparison
    counted = {
        "alerts_before": before.alerts,
        "alerts_after": after.alerts,
        "rouge_before": _rouge(before.alerts),
        "rouge_after": _rouge(after.alerts),
        "gained": compared.gained if compared else None,
        "lost": compared.lost if compared else None,
    }
    out = table.drop(*counted, *caught.columns[1:])
    for name, alerts in counted.items():
        some = alerts if alerts is not None else before.alerts.clear()
        out = out.join(
            some.group_by("patient").agg(pl.len().alias(name)),
            on="patient",
            how="left",
            maintain_order="left",
        )
    out = out.join(caught, on="patient", how="left", maintain_order="left")
    return out.with_columns(
        pl.col(_COUNTS).fill_null(0), pl.col("outcomes_lost", "outcomes_gained").fill_null("")
    ).select(pl.col(name).cast(kind) for name, kind in TABLE.items())
