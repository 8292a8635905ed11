"""A pilot programme in one go: a folder of a year, many sites, CSV and Parquet by month, judged and replayed.

    python -m bench.pilot make --folder FOLDER [--patients 10000] [--sites 20] [--days 365]
    python -m bench.pilot run --folder FOLDER --out OUT [--protocol insuffisance_cardiaque]

`make` simulates; every other site sends CSV, and times are those of the simulator's cohort a year earlier, so that none
is to come. `run` is `vigie replay --no-queue` in a process of its own, with the seconds and the most memory of it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from ingest import simulator

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path, patients: int, sites: int, days: int) -> int:
    """Write the files of all sites that are not there yet; the answer is the number of readings."""
    readings = 0
    for site in range(sites):
        name = f"site-{site:02}"
        done = folder / name / "readings.txt"
        if not done.exists():
            (folder / name).mkdir(parents=True, exist_ok=True)
            done.write_text(str(_make_site(folder, name, patients // sites, site, days)), encoding="ascii")
        readings += int(done.read_text(encoding="ascii"))
    return readings


def _make_site(folder: Path, name: str, patients: int, site: int, days: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "cohort.parquet"
        simulator.simulate(patients, days, 100 + site, file)
        rows = pl.read_parquet(file).with_columns(
            pl.concat_str(pl.lit(f"{name}-"), pl.col("patient").cast(pl.String)).alias("patient"),
            pl.col("time") - pl.duration(days=365),
            pl.lit(name).alias("site"),
        )
    for (month,), part in rows.group_by(pl.col("time").dt.strftime("%Y-%m"), maintain_order=True):
        if site % 2:
            part.with_columns(pl.col("time").dt.to_string("iso:strict")).write_csv(
                folder / name / f"{month}.csv"
            )
        else:
            part.write_parquet(folder / name / f"{month}.parquet")
    return len(rows)


def run(folder: Path, out: Path, protocol: str) -> None:
    """Replay the folder and print what it took."""
    readings = sum(int(path.read_text(encoding="ascii")) for path in folder.glob("*/readings.txt"))
    command = [
        sys.executable,
        "-m",
        "vigie",
        "replay",
        str(folder),
        "--protocol",
        protocol,
        "--out",
        str(out),
        "--shards",
        "2",
        "--no-queue",
    ]
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - the command is ours
    took = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "readings": readings,
                "seconds": round(took, 1),
                "readings_s": round(readings / took),
                "cpu_s": round(used.ru_utime + used.ru_stime, 1),
                "most_memory_mb": round(used.ru_maxrss / 1024),
                "cores": os.cpu_count(),
            }
        )
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("make", "run"):
        verbs.add_parser(verb).add_argument("--folder", type=Path, required=True)
    verbs.choices["make"].add_argument("--patients", type=int, default=10_000)
    verbs.choices["make"].add_argument("--sites", type=int, default=20)
    verbs.choices["make"].add_argument("--days", type=int, default=365)
    verbs.choices["run"].add_argument("--out", type=Path, required=True)
    verbs.choices["run"].add_argument("--protocol", default="insuffisance_cardiaque")
    given = parser.parse_args()
    if given.verb == "make":
        print(f"{make(given.folder, given.patients, given.sites, given.days):,} readings in {given.folder}")
    else:
        run(given.folder, given.out, given.protocol)


if __name__ == "__main__":
    main()
