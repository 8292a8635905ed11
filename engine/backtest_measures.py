"""What alerts on a history are worth: load, episodes, and against outcomes sensitivity, predictive value, lead time.

Intervals are bootstraps by patient (Efron and Tibshirani 1993, ch. 13): the patients of a cell are drawn again, not
their days, which are not independent. The same history gives the same figures.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.backtest_judge import Judged
from engine.program import DAY_MS
from engine.staffing import Workload, nurses_for
from rules.levels import Level

__all__ = [
    "EPISODES",
    "Interval",
    "Load",
    "Measures",
    "PerPatient",
    "daily",
    "episodes",
    "known_outcomes",
    "local_day",
    "measure",
    "met",
    "per_patient",
]

EPISODES = pl.Schema(
    {
        "alert_id": pl.String,
        "patient": pl.String,
        "protocol": pl.String,
        "problem": pl.String,
        "rule": pl.String,  # that opened it
        "level": pl.String,  # the highest it had
        "opened_ms": pl.Int64,  # of the line's clock: when a nurse would have seen it
        "t_ms": pl.Int64,  # newest event time of the patient then
        "ended_ms": pl.Int64,  # null: open at the end
        "clinical": pl.Boolean,  # whether it says something of the patient's state, not of silence or equipment
    }
)
"""Columns of episodes: one row an alert; times in ms UTC."""

_DRAWS = 400
_FEWEST_DRAWS = 100
_MOST_WEIGHTS = 8_000_000
_SEED = 20260105
_LEVELS = [level.name for level in sorted(Level)]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; None where it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Alerts opened per 100 patients a day: over all, on the day at the 95th percentile, on the worst."""

    mean: Interval
    p95_day: float
    worst: float
    worst_day: str


@dataclass(frozen=True, slots=True)
class Measures:
    """What is said of one protocol, or of one rule of it, on a history.

    `sensitivity` is the share of outcomes with a clinical alert opened in the window before; `ppv` the share of
    clinical alerts with an outcome in the window after, of those whose window ends within the history; `lead_h` the
    quartiles of the time from the first such alert to the outcome; `false_per_year` clinical alerts without outcome
    per patient-year. `never` is the share of patients without any ORANGE or ROUGE.
    """

    alerts: int
    by_level: dict[str, int]
    load: Load
    open_at_end: int
    length_h: tuple[float, float, float] | None
    never: float
    outcomes: int
    caught: int
    sensitivity: Interval
    ppv: Interval
    lead_h: tuple[float, float, float] | None
    false_per_year: Interval
    censored: int
    minutes_mean: float
    minutes_p95: float
    nurses_p95: int


@dataclass(slots=True)
class PerPatient:
    """Counts of each patient, float64[patients]: what all rates and their intervals are made of."""

    days: F64
    judged_days: F64  # on which an alert's window ends within the history
    alerts: F64
    outcomes: F64
    caught: F64
    true: F64
    followed: F64  # clinical alerts whose window can be judged

    def rates(self, weights: F64) -> dict[str, F64]:
        """Give the rates under weights of patients, float64[draws, patients]."""
        names = list(self.__dataclass_fields__)
        columns = np.stack([getattr(self, name) for name in names], axis=1)
        sums = dict(zip(names, (weights @ columns).T, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "load": 100 * sums["alerts"] / sums["days"],
                "sensitivity": sums["caught"] / sums["outcomes"],
                "ppv": sums["true"] / sums["followed"],
                "false_per_year": (sums["followed"] - sums["true"]) / (sums["judged_days"] / 365.25),
            }


def episodes(judged: Judged) -> pl.DataFrame:
    """Put transitions together into alerts; `EPISODES`, in the order of opening."""
    silent = {
        (each.id, f"{silence.id}_{level}")
        for each in judged.protocols
        for silence in each.non_transmission
        for level in ("orange", "rouge")
    }
    rank = {name: k for k, name in enumerate(_LEVELS)}
    ended = pl.col("kind").is_in(["recovered", "closed"])
    rows = (
        judged.transitions.lazy()
        .with_columns(rank=pl.col("level").replace_strict(rank, return_dtype=pl.Int8))
        .group_by("alert_id", maintain_order=True)
        .agg(
            pl.first("patient", "protocol", "problem"),
            pl.first("opened_by").alias("rule"),
            pl.max("rank"),
            pl.first("clock_ms").alias("opened_ms"),
            pl.first("t_ms"),
            pl.col("clock_ms").filter(ended).first().alias("ended_ms"),
        )
        .collect()
    )
    rule = pl.struct("protocol", "rule")
    is_silence = rule.is_in([{"protocol": p, "rule": r} for p, r in sorted(silent)])  # every protocol has one
    technical = pl.col("rank") < rank[Level.ORANGE.name]
    return rows.with_columns(
        level=pl.col("rank").replace_strict(dict(enumerate(_LEVELS)), return_dtype=pl.String),
        clinical=~(is_silence | technical),
    ).select(pl.col(name).cast(kind) for name, kind in EPISODES.items())


def per_patient(
    alerts: pl.DataFrame, follow_up: pl.DataFrame, outcomes: pl.DataFrame, window_ms: int
) -> PerPatient:
    """Count for each patient of `follow_up`, in its order; see `measure`."""
    # In NumPy: Polars multiplies by the inverse of a constant, and the last digit is another then.
    first, newest = follow_up["first_ms"].to_numpy(), follow_up["newest_ms"].to_numpy()
    judged_until = np.minimum(newest, _end_ms(follow_up) - window_ms)
    counts = follow_up.select(
        "patient",
        days=np.maximum((newest - first) / DAY_MS, 1.0),
        judged_days=np.maximum((judged_until - first) / DAY_MS, 0.0),
    )
    opened = alerts.group_by("patient").agg(alerts=pl.len())
    met_by = (
        met(outcomes, alerts, window_ms)
        .group_by("patient")
        .agg(outcomes=pl.len(), caught=pl.col("first_ms").is_not_null().sum())
    )
    judged = (
        _judged(alerts, follow_up, outcomes, window_ms)
        .group_by("patient")
        .agg(true=pl.col("true").sum(), followed=pl.col("followed").sum())
    )
    for each in (opened, met_by, judged):
        counts = counts.join(each, on="patient", how="left", maintain_order="left")
    columns = {
        name: counts[name].fill_null(0).cast(pl.Float64).to_numpy()
        for name in PerPatient.__dataclass_fields__
    }
    return PerPatient(**columns)


def known_outcomes(outcomes: pl.DataFrame, follow_up: pl.DataFrame, window_ms: int) -> pl.DataFrame:
    """Leave out outcomes of who is not followed, or not within a window before it: no alert could have been there."""
    return (
        outcomes.join(follow_up, on="patient", how="inner")
        .filter((pl.col("t_ms") > pl.col("first_ms")) & (pl.col("t_ms") - window_ms <= pl.col("newest_ms")))
        .select(outcomes.columns)
    )


def met(outcomes: pl.DataFrame, alerts: pl.DataFrame, window_ms: int) -> pl.DataFrame:
    """Outcomes with the first clinical alert that was opened in the window before each; null where there is none."""
    opened = alerts.filter("clinical").select("patient", first_ms="opened_ms").sort("first_ms")
    return (
        outcomes.with_columns(begin_ms=pl.col("t_ms") - window_ms)
        .sort("begin_ms")
        .join_asof(
            opened, left_on="begin_ms", right_on="first_ms", by="patient", strategy="forward", coalesce=False,
            check_sortedness=False,
        )
        .with_columns(
            first_ms=pl.when(pl.col("first_ms") <= pl.col("t_ms")).then(pl.col("first_ms")),
        )
    )  # fmt: skip


def _judged(
    alerts: pl.DataFrame, follow_up: pl.DataFrame, outcomes: pl.DataFrame, window_ms: int
) -> pl.DataFrame:
    """Clinical alerts with whether an outcome followed, and whether that can be told."""
    clinical = alerts.filter("clinical").select("patient", "alert_id", "opened_ms").sort("opened_ms")
    after = clinical.join_asof(
        outcomes.select("patient", outcome_ms="t_ms").sort("outcome_ms"),
        left_on="opened_ms", right_on="outcome_ms", by="patient", strategy="forward", coalesce=False,
        check_sortedness=False,
    )  # fmt: skip
    # Of alerts late in the history only those that came true are known for sure: counting these and not the others
    # would make each protocol look better than it is. So none of them counts.
    followed = pl.col("opened_ms") + window_ms <= _end_ms(follow_up)
    true = (pl.col("outcome_ms") - pl.col("opened_ms") <= window_ms).fill_null(value=False)
    return after.with_columns(followed=followed, true=true & followed)


def _end_ms(follow_up: pl.DataFrame) -> int:
    """Give the end of the history: outcomes are known of everybody until then, also of who sends no more."""
    newest = follow_up["newest_ms"].to_numpy()
    return int(newest.max()) if len(newest) else 0


def measure(
    alerts: pl.DataFrame,
    follow_up: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    window_ms: int,
    zone: str,
    work: Workload,
    draws: int = _DRAWS,
) -> Measures:
    """Measure alerts on a history.

    Parameters
    ----------
    alerts : DataFrame
        `EPISODES`: of a protocol, or of one of its rules.
    follow_up : DataFrame
        patient, first_ms, newest_ms.
    outcomes : DataFrame
        `backtest_outcomes.OUTCOMES`; none where nothing is known, and what is said against them is then None.
    window_ms : int
        Before an outcome, in which an alert counts for it.
    zone : str
        Of days.
    work : Workload
        What the answer to an alert takes.
    draws : int
        Of the bootstrap.

    Returns
    -------
    Measures
    """
    outcomes = known_outcomes(outcomes, follow_up, window_ms)
    counts = per_patient(alerts, follow_up, outcomes, window_ms)
    n = len(follow_up)
    intervals = _intervals(counts, n, draws)
    lead = (
        met(outcomes, alerts, window_ms)
        .filter(pl.col("first_ms").is_not_null())
        .select((pl.col("t_ms") - pl.col("first_ms")) / 3_600_000)
    )
    length = alerts.filter(pl.col("ended_ms").is_not_null()).select(
        (pl.col("ended_ms") - pl.col("opened_ms")) / 3_600_000
    )
    by_level = {name: int((alerts["level"] == name).sum()) for name in reversed(_LEVELS)}
    days = daily(alerts, follow_up, zone)
    rate = 100 * days["alerts"] / days["followed"]
    worst = int(rate.arg_max() or 0) if len(days) else 0
    busy = _busy_day(days)
    minutes_p95, nurses = nurses_for(busy, work)
    total = {name: float(count) / max(len(days), 1) for name, count in by_level.items()}
    clinical = int(alerts["clinical"].sum())
    quiet = n - alerts.filter(pl.col("level") != Level.TECHNIQUE.name)["patient"].n_unique()
    return Measures(
        alerts=len(alerts),
        by_level=by_level,
        load=Load(
            intervals["load"],
            float(rate.quantile(0.95, "nearest") or 0.0) if len(days) else 0.0,
            float(rate[worst]) if len(days) else 0.0,
            str(days["day"][worst]) if len(days) else "",
        ),
        open_at_end=int(alerts["ended_ms"].is_null().sum()),
        length_h=_quartiles(length.to_series()),
        never=quiet / n if n else 0.0,
        outcomes=len(outcomes),
        caught=int(counts.caught.sum()),
        sensitivity=intervals["sensitivity"],
        ppv=intervals["ppv"] if len(outcomes) else Interval(None),
        lead_h=_quartiles(lead.to_series()),
        false_per_year=intervals["false_per_year"] if len(outcomes) else Interval(None),
        censored=clinical - int(counts.followed.sum()),
        minutes_mean=nurses_for(total, work)[0],
        minutes_p95=minutes_p95,
        nurses_p95=nurses,
    )


def _intervals(counts: PerPatient, n: int, draws: int) -> dict[str, Interval]:
    point = counts.rates(np.ones((1, n)))
    if n == 0:
        return dict.fromkeys(point, Interval(None))
    drawn = counts.rates(_weights(n, draws))
    out = {}
    for name, value in point.items():
        known = drawn[name][np.isfinite(drawn[name])]
        if not np.isfinite(value[0]):
            out[name] = Interval(None)
        else:
            low, high = np.quantile(known, [0.025, 0.975])
            out[name] = Interval(float(value[0]), float(low), float(high))
    return out


@lru_cache(maxsize=2)
def _weights(n: int, draws: int) -> F64:
    """How often each patient is in each draw, float64[draws, n]; the same for all that is measured on them."""
    rng = np.random.default_rng(_SEED)
    draws = max(_FEWEST_DRAWS, min(draws, _MOST_WEIGHTS // n))
    weights = np.empty((draws, n))
    for draw in range(draws):
        weights[draw] = np.bincount(rng.integers(0, n, n), minlength=n)
    return weights


def _quartiles(values: pl.Series) -> tuple[float, float, float] | None:
    if not len(values):
        return None
    low, middle, high = np.quantile(values.to_numpy(), [0.25, 0.5, 0.75]).tolist()
    return low, middle, high


def local_day(column: str, zone: str) -> pl.Expr:
    """Give the local day of a time in ms UTC."""
    return pl.from_epoch(pl.col(column), time_unit="ms").dt.convert_time_zone(zone).dt.date()


def daily(alerts: pl.DataFrame, follow_up: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Local days with patients followed, alerts opened, and by level."""
    spans = follow_up.select(first=local_day("first_ms", zone), last=local_day("newest_ms", zone))
    if not len(spans):
        return pl.DataFrame(schema={"day": pl.Date, "followed": pl.Int64, "alerts": pl.Int64})
    bounds = spans.select(pl.min("first"), pl.max("last"))
    every = bounds.select(day=pl.date_ranges("first", "last")).explode("day")
    come = spans.group_by(day="first").agg(come=pl.len())
    gone = spans.group_by(day="last").agg(gone=pl.len())
    levels = [(pl.col("level") == name).sum().alias(name) for name in _LEVELS]
    opened = (
        alerts.with_columns(day=local_day("opened_ms", zone))
        .group_by("day")
        .agg(pl.len().alias("alerts"), *levels)
    )
    out = every
    for each in (come, gone, opened):
        out = out.join(each, on="day", how="left", maintain_order="left")
    out = out.with_columns(pl.all().exclude("day").fill_null(0).cast(pl.Int64))
    # Who leaves is still there on the last day.
    followed = pl.col("come").cum_sum() - pl.col("gone").cum_sum().shift(1, fill_value=0)
    return out.with_columns(followed=followed).filter(pl.col("followed") > 0)


def _busy_day(days: pl.DataFrame) -> dict[str, float]:
    """Alerts by level on the day at the 95th percentile of all days."""
    if not len(days):
        return {}
    ordered = days.sort("alerts", "day")
    row = ordered.row(min(len(ordered) - 1, int(np.ceil(0.95 * len(ordered))) - 1), named=True)
    return {name: float(row[name]) for name in _LEVELS}
