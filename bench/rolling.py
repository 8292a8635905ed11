"""Three rules of the heart-failure protocol over one file, by Vigie and by Polars' rolling expressions by hand.

    python -m bench.rolling [--patients 2000] [--days 365] [--rounds 3]

Vigie makes its first pass: it reads and sorts the file, computes the features of the whole protocol, keeps them on disk
and judges all of its rules. Polars reads the same file and computes three rules, no more. Both must give the same
alerts: patient, rule and time of opening. Nothing else should run on the machine.

The file has one weight a date, nobody else on the scale, and no pressures that contradict each other. That is in favour
of Polars: Vigie looks for all of these, and a rolling expression could not. A weight is out of pattern by the last one
that was in pattern, so that each verdict rests on those before it.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from bench.apart import apart
from engine.backtest import History
from engine.load import Loaded, compose, load
from engine.program import Options
from engine.replay_input import Asked
from ingest import simulator
from ingest.formats import Mappings
from ingest.signals import MILLI, SIGNALS

__all__ = ["PROTOCOL", "RULES", "ZONE", "Alert", "line", "make", "polars_rolling", "vigie"]

PROTOCOL = "insuffisance_cardiaque"
RULES = ("weight_gain_3d", "weight_macd", "systolic_fall")
"""A fixed gain in three days, a trend, and a deviation from what is usual for the patient."""

ZONE = "Europe/Paris"
FAR_MS = 4_000_000_000_000
_SEED = 7101
_LEAST_DATES = 7  # of the mean of 14 days

Alert = tuple[str, str, int]
"""Patient, rule, time of opening in ms UTC."""


def make(patients: int, days: int, seed: int, path: Path) -> int:
    """Simulate the file; how many readings it has."""
    scenario = simulator.Scenario(other_person=0.0, inconsistent=0.0)
    return simulator.simulate(patients, days, seed, path, scenario=scenario).rows


def line(*, alone: bool = False) -> Loaded:
    """Give the line with the whole protocol, each rule with alerts of its own; `alone`: with the three rules only."""
    loaded = load([PROTOCOL], zone=ZONE, options=Options(close_at_recovery=True, deaf_after_ms=0))
    protocols = [apart(each, RULES if alone else ()) for each in loaded.program.protocols]
    return compose(protocols, loaded.roster.book.over(protocols), {}, loaded.program.options)


def vigie(path: Path, kept: Path, loaded: Loaded, *, shards: int = 2) -> set[Alert]:
    """Make the first pass into `kept`, and judge: the alerts of the three rules."""
    asked = Asked((path,), Mappings(), ZONE, FAR_MS)
    judged = History(asked, kept, shards=shards).judge(loaded)
    opened = judged.transitions.filter((pl.col("kind") == "opened") & pl.col("rule").is_in(RULES))
    return set(opened.select("patient", "rule", "t_ms").iter_rows())


def polars_rolling(path: Path) -> set[Alert]:
    """Do the three rules by hand."""
    ranges = {signal.name: (MILLI * signal.low, MILLI * signal.high) for signal in SIGNALS}
    table = pl.scan_parquet(path).select(
        pl.col("patient").cast(pl.Categorical),
        "signal",
        t=pl.col("time").dt.epoch("ms"),
        date=pl.col("time").dt.convert_time_zone(ZONE).dt.date(),
        milli=(pl.col("value") * MILLI).round(),
    )

    def series(name: str) -> pl.LazyFrame:
        rows = table.filter((pl.col("signal") == name) & pl.col("milli").is_between(*ranges[name]))
        return rows.with_columns(pl.col("milli").cast(pl.Int64)).sort("patient", "t")

    def begins(frame: pl.LazyFrame, rule: str, when: pl.Expr, clear: pl.Expr) -> pl.LazyFrame:
        """Rows on which the rule begins to be true; between its bounds, and where it cannot be told, it stays."""
        state = pl.when(when).then(statement=1).when(clear).then(statement=0)
        firing = frame.with_columns(firing=state.forward_fill().over("patient").fill_null(0) == 1)
        began = pl.col("firing") & ~pl.col("firing").shift(1).over("patient").fill_null(value=False)
        return firing.filter(began).select(pl.col("patient").cast(pl.String), pl.lit(rule).alias("rule"), "t")

    def over(expression: pl.Expr) -> pl.Expr:
        return expression.over("patient")

    milli = pl.col("milli")
    total = {days: over(milli.rolling_sum_by("date", f"{days}d")) for days in (3, 14)}
    count = {days: over(pl.col("one").rolling_sum_by("date", f"{days}d")) for days in (3, 14)}
    weights = (
        series("weight")
        .with_columns(one=pl.lit(1))
        .with_columns(
            gain=milli - over(milli.rolling_min_by("date", "3d", closed="left")),
            macd=pl.when(count[14] >= _LEAST_DATES).then(total[3] / count[3] - total[14] / count[14]),
        )
    )
    systolic = series("systolic")
    usual = (
        systolic.group_by("patient", "date")
        .agg(milli.mean())
        .sort("patient", "date")
        .with_columns(usual=over(milli.rolling_median_by("date", "7d", closed="left", min_samples=4)))
        .select("patient", "date", "usual")
    )
    change = milli - pl.col("usual")
    pressures = systolic.join(usual, on=["patient", "date"], how="left", maintain_order="left")
    gain, macd = pl.col("gain"), pl.col("macd")
    frames = [
        begins(weights, "weight_gain_3d", gain >= 2 * MILLI, gain < 1.7 * MILLI),
        begins(weights, "weight_macd", macd > 0.75 * MILLI, macd < 0.45 * MILLI),
        begins(pressures, "systolic_fall", change <= -20 * MILLI, change > -15 * MILLI),
    ]
    return {row for frame in pl.collect_all(frames) for row in frame.iter_rows()}


def _timed(what: Callable[[], set[Alert]]) -> tuple[set[Alert], float, float]:
    """Alerts, seconds, and processor seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    alerts = what()
    return alerts, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Run all in turn, several times, and say the least of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    whole, alone = line(), line(alone=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kept = folder / "kept"
        small, path = folder / "small.parquet", folder / "cohort.parquet"
        make(20, 30, _SEED, small)
        vigie(small, folder / "small", whole)  # kernels are compiled, or read, before the clock runs
        readings = make(given.patients, given.days, _SEED, path)
        sides: dict[str, Callable[[], set[Alert]]] = {
            "Vigie, the whole protocol": lambda: vigie(path, kept, whole),
            "Vigie, the three rules alone": lambda: vigie(path, kept, alone),
            "Polars, the three rules": lambda: polars_rolling(path),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        alerts: dict[str, set[Alert]] = {}
        for _ in range(given.rounds):
            for name, side in sides.items():
                alerts[name], wall, cpu = _timed(side)
                times[name].append((wall, cpu))
                shutil.rmtree(kept, ignore_errors=True)
    first = next(iter(alerts.values()))
    for name, found in alerts.items():
        if found != first:
            msg = f"{name}: {len(found - first)} alerts more and {len(first - found)} fewer than Vigie"
            raise AssertionError(msg)
    program = whole.program
    print(
        f"{readings:,} readings of {given.patients:,} patients; {len(program.feature_rows)} features, "
        f"{len(program.rule_rows)} rules; {len(first):,} alerts of the three, the same by all"
    )
    for name, each in times.items():
        wall, cpu = (min(column) for column in zip(*each, strict=True))
        print(
            f"{name:30} {wall:7.2f} s  {cpu:7.2f} s of processor  {readings / wall / 1e6:6.2f} M readings/s"
        )


if __name__ == "__main__":
    main()
