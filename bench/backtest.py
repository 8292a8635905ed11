"""How long a question to a history takes: first pass, then a changed limit with its whole answer.

    python -m bench.backtest [--patients 10000] [--days 365] [--folder FOLDER]

Prints each step with its seconds and the most memory so far. Nothing else should run on the machine.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from engine.backtest import History
from engine.backtest_compare import compare
from engine.backtest_judge import Judged
from engine.backtest_measures import Measures, episodes, measure
from engine.backtest_outcomes import read_outcomes
from engine.backtest_study import with_limits
from engine.load import load
from engine.program import DAY_MS, Options
from engine.replay_input import Asked
from engine.staffing import Workload
from ingest import simulator
from ingest.formats import Mappings

FAR_MS = 4_000_000_000_000


@contextmanager
def said(what: str) -> Iterator[None]:
    """Print how long a step took."""
    begun = time.perf_counter()
    yield
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what:44} {time.perf_counter() - begun:8.2f} s   {memory:5.2f} GiB at most")


def _measure(alerts: pl.DataFrame, judged: Judged, outcomes: pl.DataFrame) -> Measures:
    return measure(
        alerts, judged.follow_up, outcomes, window_ms=30 * DAY_MS, zone="Europe/Paris", work=Workload()
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--protocol", default="insuffisance_cardiaque")
    parser.add_argument("--limit", default="gain_3d_kg")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        cohort = folder / f"cohort-{given.patients}-{given.days}.parquet"
        if not cohort.exists():
            with said("simulate"):
                simulator.simulate(given.patients, given.days, 77, cohort)
        loaded = load([given.protocol], options=Options(close_at_recovery=True, deaf_after_ms=0))
        asked = Asked((cohort,), Mappings(), "Europe/Paris", FAR_MS)
        outcomes = read_outcomes(cohort.with_suffix(".truth.parquet"), ["decompensation"])
        history = History(asked, folder / "kept")
        with said("first pass (or what was kept), and judged"):
            judged = history.judge(loaded)
        print(f"{judged.kept.readings:,} readings of {judged.kept.patients:,} patients")
        base = episodes(judged)
        _measure(base, judged, outcomes)
        limit = loaded.program.protocols[0].limits[given.limit]
        for value in (limit.min, (limit.min + limit.max) / 2, limit.max):
            with said(f"{given.limit} = {value:g}: the whole answer"):
                begun = time.perf_counter()
                changed = history.judge(with_limits(loaded, {given.limit: value}))
                only = time.perf_counter() - begun
                alerts = episodes(changed)
                worth = _measure(alerts, changed, outcomes)
                found = compare(base, alerts)
            print(
                f"    judged in {only:.2f} s; {worth.alerts:,} alerts, {len(found.gained):,} gained, "
                f"{len(found.lost):,} lost, {worth.caught:,} of {worth.outcomes:,} outcomes caught"
            )


if __name__ == "__main__":
    main()
