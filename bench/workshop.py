"""The workshop: a cell's 90 days, limits tried one after another; seconds of each answer, as a page gets it.

    python -m bench.workshop [--patients 1000] [--days 90] [--trials 20] [--folder FOLDER]

The log is simulated; what is measured is the first pass (with the start of the process), and then each trial with
another limit: the answer with its comparison, lists, plots and page, from the process that judges to the one that asks.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from engine.workshop import Question, Source, Workshop
from ingest import simulator
from ingest.simulator.truth import patient_ids

HEART = "insuffisance_cardiaque"


def run(folder: Path, patients: int, days: int, trials: int) -> None:
    """Simulate where there is no log yet, ask, and print."""
    log = folder / "log"
    if not log.exists():
        begun = time.perf_counter()
        simulator.simulate(patients, days, 7, log, format="log", slot_s=600)
        print(f"simulated in {time.perf_counter() - begun:.1f} s")
    workshop = Workshop(Source(log, folder / "kept", (HEART,)))
    cell = frozenset(patient_ids(np.arange(patients)))
    begun = time.perf_counter()
    answer = workshop.ask(Question(cell, HEART, {}, {}))
    reach = answer.reach
    print(
        f"first answer {time.perf_counter() - begun:.2f} s: process, log read, {reach.readings:,} readings of "
        f"{reach.patients:,} patients, {len(answer.days)} days"
    )
    took, size = [], 0
    limits = {
        "gain_3d_kg": (2.0, 1.0, 3.0),
        "gain_7d_kg": (2.72, 1.5, 4.0),
        "systolic_low": (90.0, 80.0, 105.0),
        "spo2_low": (92.0, 88.0, 95.0),
    }
    for k in range(trials):
        name, (usual, low, high) = list(limits.items())[k % len(limits)]
        value = round(low + (high - low) * (k + 0.5) / trials, 2)
        begun = time.perf_counter()
        answer = workshop.ask(Question(cell, HEART, {(HEART, name): usual}, {(HEART, name): value}))
        took.append(time.perf_counter() - begun)
        size = max(size, len(answer.report))
    workshop.close()
    least, median, most = np.quantile(took, (0.0, 0.5, 1.0))
    print(
        f"{trials} trials: {least:.2f} to {most:.2f} s, median {median:.2f} s; a page of up to {size / 1e3:.0f} kB"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        run(options.folder, options.patients, options.days, options.trials)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder), options.patients, options.days, options.trials)


if __name__ == "__main__":
    main()
