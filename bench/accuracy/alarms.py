"""How well monitors' arrhythmia alarms are judged: PhysioNet/CinC Challenge 2015, from the ECG leads alone.

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.alarms
    python -m bench.accuracy.alarms --out results    # one JSON a record too: alarm

Score of the challenge: (TP + TN) / (TP + TN + FP + 5 FN), in per cent, over all records and for each type. Only
samples before the alarm, at 5:00, are used. Exit status 1 when a figure is under its floor.
"""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path

from engine.alarm import Alarm, holds, until
from engine.ecg_analysis import Analysis
from engine.ecg_batch import AT_S as ALARM_S
from ingest.formats.ecg_files import How, read_leads

__all__ = ["judge", "main", "points"]

# The limits of engine.alarm were chosen on these records: other records will come out lower.
FLOORS = {
    "all": 90.0,
    Alarm.ASYSTOLE: 99.0,
    Alarm.BRADYCARDIA: 99.0,
    Alarm.TACHYCARDIA: 92.0,
    Alarm.VF: 85.0,
    Alarm.VT: 85.0,
}


def read(path: Path) -> list[Analysis]:
    """Give the ECG leads of a record up to the alarm."""
    return [until(lead, ALARM_S) for lead in read_leads(path.with_suffix(".hea"), How())]


def judge(folder: Path) -> dict[str, tuple[Alarm, bool, bool]]:
    """Judge all records of the folder: type, whether the alarm is true, whether it was held."""
    out = {}
    for line in (folder / "ALARMS").read_text(encoding="ascii").split():
        name, kind, truth = line.split(",")
        out[name] = (Alarm(kind), truth == "1", holds(Alarm(kind), read(folder / name)))
    return out


def points(count: Counter[tuple[bool, bool]]) -> float:
    """Score of the challenge, per cent, of counts by (true, held)."""
    missed = count[True, False]
    right = count[True, True] + count[False, False]
    return 100.0 * right / (right + count[False, True] + 5 * missed)


def main(arguments: list[str] | None = None) -> int:
    """Print a table; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg"
    parser.add_argument("--ecg", type=Path, default=Path(default), help="folder of the databases")
    parser.add_argument("--out", type=Path, help="folder for one JSON a record")
    options = parser.parse_args(arguments)
    folder = options.ecg / "challenge2015"
    if not folder.is_dir():
        print(
            f"{folder}: no such folder; name the folder of databases with --ecg or VIGIE_ECG", file=sys.stderr
        )
        return 2
    judged = judge(folder)
    counts: dict[str, Counter[tuple[bool, bool]]] = {}
    for name, (kind, truth, held) in judged.items():
        for group in ("all", kind):
            counts.setdefault(group, Counter())[truth, held] += 1
        if options.out:
            place = options.out / "challenge2015"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.json").write_text(json.dumps({"alarm": int(held)}), encoding="ascii")
    failed = 0
    for group, count in counts.items():
        value, floor = points(count), FLOORS.get(group, 0.0)
        failed += value < floor
        print(
            f"{group}: score {value:.1f} (floor {floor}{', UNDER' if value < floor else ''}); "
            f"held {count[True, True]} true and {count[False, True]} false, "
            f"suppressed {count[False, False]} false and {count[True, False]} true"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
