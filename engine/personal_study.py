"""Proposed limits of single patients on a history, with what they would have changed afterwards.

Cross-validated in time: a limit is learnt before the last days of the history, and judged on these alone. Both sides
are judged by the book of limits as the line reads it, with the proposals in it on one of them: a replay that has the
proposed book gives the same alerts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.backtest import History
from engine.backtest_judge import Judged
from engine.backtest_measures import episodes, known_outcomes, local_day, met
from engine.backtest_study import Study, Terms, beside, side
from engine.load import Loaded, compose
from engine.personal import (
    Learning,
    Quantity,
    centre_and_spread,
    direction,
    propose,
    quantity,
    stable_periods,
)
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
_EPOCH = date(1970, 1, 1)


@dataclass(slots=True)
class Proposals:
    """What is proposed, and what it would have changed.

    `table` is `TABLE`, by patient; `rows` are `personal_readings.READINGS` with the patient's name; `cut_day` is the
    first judged day, begun at `cut_ms`. `study` has the two sides on those days, one alone without any proposal.
    `proposed` is the line with the proposals in its book.
    """

    asked: Quantity
    learning: Learning
    table: pl.DataFrame
    rows: pl.DataFrame
    cut_day: date
    cut_ms: int
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
        Their `since_ms` is set here, and their patients are not asked for.
    progress : Progress

    Raises
    ------
    ValueError
        The limit cannot be proposed, or the history is too short to learn and to judge.
    """
    learning, terms = learning or Learning(), terms or Terms()
    asked = quantity(loaded.program, limit)
    judged = history.judge(loaded)
    follow_up = judged.follow_up
    first, last = (_local_date(follow_up[name], terms.zone) for name in ("first_ms", "newest_ms"))
    cut_day = max(last, default=_EPOCH) - timedelta(days=learning.judge_days - 1)
    days = (cut_day - min(first, default=_EPOCH)).days
    if days < learning.days:
        msg = (
            f"the history has {max(days + learning.judge_days, 0)} days; legal are at least {learning.days} for a "
            f"stable period and after them {learning.judge_days} to judge it (--stable-days, --judge-days)"
        )
        raise ValueError(msg)
    cut_ms = _midnight(cut_day, terms.zone)
    progress.step("propose")
    follows = [_follows(loaded, asked.protocol, patient) for patient in follow_up["patient"].to_list()]
    follow_up = follow_up.filter(pl.Series(follows, dtype=pl.Boolean))
    patients = follow_up["patient"].to_list()
    limits = (asked.limit, *asked.under, *asked.over)
    rows, acts = readings(judged, loaded, asked, patients, limits)
    known = rows.filter((pl.col("clock_ms") < cut_ms) & (pl.col("t_ms") < cut_ms))
    disturbed = _disturbed(judged, patients, terms, learning, cut_day, cut_ms)
    learnt = _learnt(known, disturbed, asked, terms.zone, learning, cut_day)
    gone = (follow_up["newest_ms"] < cut_ms).to_list()
    table = _table(loaded, asked, patients, gone, learnt, acts, learning)
    proposed = _with_proposals(loaded, asked, table, cut_day)
    judging = terms.outcomes.filter(pl.col("t_ms") >= cut_ms)
    terms = replace(terms, since_ms=cut_ms, patients=None, outcomes=judging)
    mine = side(judged, loaded, terms)
    any_made = (table["status"] == "proposed").any()
    theirs = side(history.judge(proposed), proposed, terms) if any_made else None
    study = beside(mine, theirs, terms, {})
    return Proposals(
        asked,
        learning,
        _with_effect(table, study, terms.window_ms),
        _named(rows, patients),
        cut_day,
        cut_ms,
        study,
        proposed,
    )


def _follows(loaded: Loaded, protocol: int, patient: str) -> bool:
    member = loaded.roster.members.get(patient)
    return member is None or protocol in member.protocols


def _named(rows: pl.DataFrame, patients: Sequence[str]) -> pl.DataFrame:
    return rows.with_columns(patient=pl.Series(patients, dtype=pl.String)[rows["patient"]])


# Days --------------------------------------------------------------------------------------------------------


def _local_date(times: pl.Series, zone: str) -> list[date]:
    return times.to_frame().select(local_day(times.name, zone)).to_series().to_list()


def _midnight(day: date, zone: str) -> int:
    at = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return round(at.timestamp()) * 1000


def _day_number(column: str, zone: str) -> pl.Expr:
    """Local day as days since 1970."""
    return local_day(column, zone).cast(pl.Int32).cast(pl.Int64)


# Learning ----------------------------------------------------------------------------------------------------


def _learnt(
    known: pl.DataFrame,
    disturbed: npt.NDArray[np.bool_],
    asked: Quantity,
    zone: str,
    learning: Learning,
    cut_day: date,
) -> pl.DataFrame:
    """Give each patient's status, "" for who has a stable period, and of the period first day, centre and spread."""
    n, days = disturbed.shape
    begin = (cut_day - _EPOCH).days - days
    known = known.with_columns(day=_day_number("t_ms", zone) - begin).filter(pl.col("day") >= 0)
    cell = (known["patient"] * days + known["day"]).to_numpy()
    count = np.bincount(cell, minlength=n * days).reshape(n, days).astype(np.int64)
    first, status = stable_periods(count, disturbed, learning)
    begun = pl.Series("begun", first)[known["patient"]]
    since = pl.col("day") - pl.col("begun")
    rows = (
        known.with_columns(begun)
        .filter((pl.col("begun") >= 0) & (since >= 0) & (since < learning.days))
        .with_columns(half=(since >= learning.days // 2).cast(pl.Int8))
    )
    found = pl.DataFrame({"patient": np.arange(n), "first": first + begin, "status": status})
    drifting = pl.col("shift") > learning.drift * pl.col("spread")
    return found.join(
        centre_and_spread(rows, asked.least_spread), on="patient", how="left", maintain_order="left"
    ).with_columns(
        status=pl.when(pl.col("status") != "")
        .then("status")
        .when(pl.col("shift").is_null())
        .then(pl.lit("too_few_readings"))
        .when(drifting)
        .then(pl.lit("drifting"))
        .otherwise(pl.lit(""))
    )


def _disturbed(
    judged: Judged, patients: Sequence[str], terms: Terms, learning: Learning, cut_day: date, cut_ms: int
) -> npt.NDArray[np.bool_]:
    """Say on which of the days before the cut a clinical ROUGE was open, or an outcome near, bool[patients, days]."""
    days = learning.days + learning.oldest_days
    begin = (cut_day - _EPOCH).days - days
    rouge = (
        _rouge(episodes(judged))
        .filter(pl.col("clinical") & (pl.col("opened_ms") < cut_ms))
        .select(
            "patient",
            first=_day_number("opened_ms", terms.zone) - begin,
            last=(_day_number("ended_ms", terms.zone) - begin).fill_null(days),
        )
    )
    # An outcome after the cut is not known at it, however near.
    day = _day_number("t_ms", terms.zone) - begin
    near = terms.outcomes.filter(pl.col("t_ms") < cut_ms).select(
        "patient", first=day - learning.apart_days, last=day + learning.apart_days
    )
    place = pl.DataFrame({"patient": pl.Series(patients, dtype=pl.String), "place": np.arange(len(patients))})
    spans = (
        pl.concat([rouge, near])
        .join(place, on="patient", how="inner")
        .filter((pl.col("last") >= 0) & (pl.col("first") < days))
    )
    step = np.zeros((len(patients), days + 1), np.int64)
    where = spans["place"].to_numpy()
    np.add.at(step, (where, spans["first"].clip(0, days).to_numpy()), 1)
    np.add.at(step, (where, (spans["last"] + 1).clip(0, days).to_numpy()), -1)
    return np.cumsum(step, axis=1)[:, :days] > 0


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
            first = _EPOCH + timedelta(days=each["first"])
            row |= {name: each[name] for name in ("centre", "spread", "readings", "days")}
            row |= {"from": first, "until": first + timedelta(days=learning.days - 1)}
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
