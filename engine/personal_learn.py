"""Stable periods of patients, and the robust centre and spread of their readings on them; see `engine.personal`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.backtest_judge import Judged
from engine.backtest_measures import episodes, local_day
from engine.personal import Learning, Quantity
from rules.levels import Level

__all__ = ["EPOCH", "Cut", "centre_and_spread", "learn", "stable_periods"]

EPOCH = date(1970, 1, 1)

MAD_TO_SD = 1.4826
"""From the median absolute deviation to the standard deviation, of a normal distribution."""

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the days that judge begin: the first of them, a local day of `zone`, and its midnight in ms UTC."""

    day: date
    ms: int
    zone: str

    @classmethod
    def of(cls, follow_up: pl.DataFrame, learning: Learning, zone: str) -> "Cut":
        """Cut a history (`Judged.follow_up`) before its last days; ValueError where too few are left to learn from."""
        span = follow_up.select(pl.min("first_ms"), pl.max("newest_ms"))
        first, last = span.select(local_day("first_ms", zone), local_day("newest_ms", zone)).row(0)
        days = (last - first).days + 1 if first else 0
        if days < learning.stable_days + learning.judge_days:
            msg = (
                f"the history has {days} days; legal are at least {learning.stable_days} for a stable period and "
                f"after them {learning.judge_days} to judge it (--stable-days, --judge-days)"
            )
            raise ValueError(msg)
        day = last - timedelta(days=learning.judge_days - 1)
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        return cls(day, round(midnight.timestamp()) * 1000, zone)


def learn(
    rows: pl.DataFrame,
    judged: Judged,
    patients: Sequence[str],
    outcomes: pl.DataFrame,
    asked: Quantity,
    learning: Learning,
    cut: Cut,
) -> pl.DataFrame:
    """Learn each patient's centre and spread, of nothing that came or happened after the cut.

    Parameters
    ----------
    rows : DataFrame
        `personal_readings.READINGS` of `patients`.
    judged : Judged
        Whose ROUGE disturb.
    patients : sequence of str
    outcomes : DataFrame
        `backtest_outcomes.OUTCOMES`.
    asked : Quantity
    learning : Learning
    cut : Cut

    Returns
    -------
    DataFrame
        A row a patient, in their order: `status` "" for who has a stable period, else of `personal.STATUSES`; `first`
        day of the period, as days since 1970; centre, spread, readings, days, null where there is no period.
    """
    disturbed = _disturbed(judged, patients, outcomes, learning, cut)
    n, days = disturbed.shape
    begin = (cut.day - EPOCH).days - days
    known = (
        rows.filter((pl.col("clock_ms") < cut.ms) & (pl.col("t_ms") < cut.ms))
        .with_columns(day=_day_number("t_ms", cut.zone) - begin)
        .filter(pl.col("day") >= 0)
    )
    cell = (known["patient"] * days + known["day"]).to_numpy()
    count = np.bincount(cell, minlength=n * days).reshape(n, days).astype(np.int64)
    first, status = stable_periods(count, disturbed, learning)
    begun = pl.Series("begun", first)[known["patient"]]
    since = pl.col("day") - pl.col("begun")
    learnt = (
        known.with_columns(begun)
        .filter((pl.col("begun") >= 0) & (since >= 0) & (since < learning.stable_days))
        .with_columns(half=(since >= learning.stable_days // 2).cast(pl.Int8))
    )
    found = pl.DataFrame({"patient": np.arange(n), "first": first + begin, "status": status})
    drifting = pl.col("shift") > learning.drift * pl.col("spread")
    return found.join(
        centre_and_spread(learnt, asked.least_spread), on="patient", how="left", maintain_order="left"
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
    judged: Judged, patients: Sequence[str], outcomes: pl.DataFrame, learning: Learning, cut: Cut
) -> Bool:
    """Say on which of the days before the cut a clinical ROUGE was open, or an outcome near, bool[patients, days]."""
    days = learning.stable_days + learning.oldest_days
    begin = (cut.day - EPOCH).days - days
    rouge = (
        episodes(judged)
        .filter((pl.col("level") == Level.ROUGE.name) & pl.col("clinical") & (pl.col("opened_ms") < cut.ms))
        .select(
            "patient",
            first=_day_number("opened_ms", cut.zone) - begin,
            last=(_day_number("ended_ms", cut.zone) - begin).fill_null(days),
        )
    )
    # An outcome after the cut is not known at it, however near.
    day = _day_number("t_ms", cut.zone) - begin
    near = outcomes.filter(pl.col("t_ms") < cut.ms).select(
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


def stable_periods(
    count: npt.NDArray[np.int64], disturbed: Bool, learning: Learning
) -> tuple[I64, npt.NDArray[np.str_]]:
    """Find each patient's newest stable period.

    Parameters
    ----------
    count : int64[patients, days]
        Readings on each local day that a period may have, the last being the one before the judged days.
    disturbed : bool[patients, days]
        Days with a ROUGE open, or too near to an outcome.
    learning : Learning

    Returns
    -------
    first : int64[patients]
        First day of the period, a column of `count`; -1 where there is none.
    status : str[patients]
        "" where there is one, else of `STATUSES`.
    """
    n, days = count.shape
    starts = days - learning.stable_days + 1
    if starts < 1:
        return np.full(n, -1), np.full(n, "too_few_readings")
    enough = (_within(count, learning.stable_days) >= learning.min_readings) & (
        _within(count > 0, learning.stable_days) >= learning.min_days
    )
    stable = enough & (_within(disturbed, learning.stable_days) == 0)
    newest = starts - 1 - np.argmax(stable[:, ::-1], axis=1)
    found = stable.any(axis=1)
    status = np.where(found, "", np.where(enough.any(axis=1), "unstable", "too_few_readings"))
    return np.where(found, newest, -1), status


def _within(each: npt.NDArray[np.generic], days: int) -> I64:
    """Sum over so many days from each day on, int64[patients, starts]."""
    total = np.cumsum(each, axis=1, dtype=np.int64)
    before = np.concatenate([np.zeros((len(each), 1), np.int64), total[:, :-days]], axis=1)
    out: I64 = total[:, days - 1 :] - before
    return out


def centre_and_spread(rows: pl.DataFrame, least_spread: float) -> pl.DataFrame:
    """Give the robust centre and spread of each patient's readings.

    Parameters
    ----------
    rows : DataFrame
        patient, half (0 or 1 of the period), day, value.
    least_spread : float
        Spread where readings hardly differ.

    Returns
    -------
    DataFrame
        patient, centre, spread, readings, days, shift: how far apart the medians of the halves are, null where one
        half has none; by patient.
    """
    half = [pl.col("value").filter(pl.col("half") == k).median() for k in (0, 1)]
    return (
        rows.with_columns(centre=pl.col("value").median().over("patient"))
        .with_columns(apart=(pl.col("value") - pl.col("centre")).abs())
        .group_by("patient")
        .agg(
            pl.first("centre"),
            spread=(MAD_TO_SD * pl.col("apart").median()).clip(lower_bound=least_spread),
            readings=pl.len(),
            days=pl.col("day").n_unique(),
            shift=(half[1] - half[0]).abs(),
        )
        .sort("patient")
    )


def _day_number(column: str, zone: str) -> pl.Expr:
    """Local day as days since 1970."""
    return local_day(column, zone).cast(pl.Int32).cast(pl.Int64)
