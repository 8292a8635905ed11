"""Accuracy of the detection of atrial fibrillation on annotated records, by duration and by episode (EC57).

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.af
    python -m bench.accuracy.af --records --out results    # each record too; one JSON a record: rhythm

Duration statistics count seconds, episode statistics count episodes that touch one of the other list, of at least
30 s where the work says so. Atrial flutter is left out; the first five minutes of a record too, except in nsrdb.
Beats come from the annotation, from R peaks (afdb_derived) or from kernels.qrs, classes from the annotation or
nowhere, as each line says. Exit status 1 when a figure is under its floor.

The coefficients were fitted on these very records. With those of five folds over records, each record judged by a fit
without it (thresholds as they are): afdb duration Se 98.7, Sp 98.6; ltafdb with classes Se 99.3, P+ 86.3, without
99.3, 82.8; mitdb detected, without classes P+ 41, Sp 93.3; nsrdb none. One record, ltafdb 64, gives nearly all false
episodes of ltafdb.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import wfdb

from bench.accuracy import qrs as detection
from engine.ecg_analysis import analyse
from ingest.formats.lead import Lead
from kernels import atrial_fibrillation as kernel
from kernels._types import F64, Flags

__all__ = ["WORKS", "Record", "Score", "Work", "episodes", "folder", "inside", "main", "records", "run"]

Spans = list[tuple[float, float]]

ECTOPIC = "aAJSejnVrEF/fQ?"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Work:
    """Records to score together, and the floors of the figures in per cent (ceilings where they begin with a minus)."""

    name: str
    database: str
    floors: dict[str, float]
    classes: bool = False
    detected: bool = False
    least_s: float = 0.0
    skip_s: float = 300.0
    without: tuple[str, ...] = ()


WORKS = (
    Work(
        "afdb, R peaks alone",
        "afdb_derived",
        {"duration Se": 99.4, "duration Sp": 98.5, "delay_s": -17.5},
    ),
    Work(
        "ltafdb, classes of the annotation, episodes of 30 s",
        "ltafdb_ann",
        {"episode Se": 98.1, "episode P+": 92.2},
        classes=True,
        least_s=30.0,
    ),
    Work(
        "ltafdb, classes unknown, episodes of 30 s",
        "ltafdb_ann",
        {"episode Se": 98.3, "episode P+": 88.1},
        least_s=30.0,
    ),
    Work(
        "mitdb DS1, beats and classes of the line",
        "mitdb",
        {"duration Se": 99.2, "duration P+": 90.1, "duration Sp": 99.4},
        detected=True,
        without=detection.PACED,
    ),
    Work(
        "mitdb DS1, beats and classes of the annotation",
        "mitdb",
        {"duration Se": 98.9, "duration P+": 96.5, "duration Sp": 99.8},
        classes=True,
        without=detection.PACED,
    ),
    Work(
        "nsrdb, beats and classes of the line",
        "nsrdb",
        {"false a day": -1.0},
        detected=True,
        least_s=30.0,
        skip_s=0.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Record:
    """Beats of a record and its reference. Positions in samples."""

    name: str
    rate_hz: float
    beats: F64
    ectopic: Flags
    fibrillation: Spans
    flutter: Spans
    length: float
    found: tuple[tuple[float, float, float], ...] | None = None
    """Episodes that the line gave: onset, end and moment of decision; None where the beats are given."""


@dataclass(slots=True)
class Score:
    """Counts of a record or of several pooled; durations in seconds."""

    found: int = 0  # reference episodes that were found
    missed: int = 0
    true: int = 0  # detected episodes that are true
    false: int = 0
    both_s: float = 0.0
    reference_s: float = 0.0
    detected_s: float = 0.0
    scored_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)

    def add(self, other: "Score") -> None:
        """Add the counts of another record."""
        for name in (
            "found",
            "missed",
            "true",
            "false",
            "both_s",
            "reference_s",
            "detected_s",
            "scored_s",
            "delays_s",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> dict[str, float]:
        """Give the figures by name; NaN where there is nothing to divide by."""
        negative_s = self.scored_s - self.reference_s
        right_s = self.scored_s - self.reference_s - self.detected_s + self.both_s

        def share(part: float, whole: float) -> float:
            return 100.0 * part / whole if whole else float("nan")

        return {
            "episode Se": share(self.found, self.found + self.missed),
            "episode P+": share(self.true, self.true + self.false),
            "duration Se": share(self.both_s, self.reference_s),
            "duration P+": share(self.both_s, self.detected_s),
            "duration Sp": share(right_s, negative_s),
            "delay_s": float(np.median(self.delays_s)) if self.delays_s else float("nan"),
            "false a day": self.false * DAY_S / self.scored_s if self.scored_s else float("nan"),
        }


def folder() -> Path:
    """Folder of the databases when nothing is said."""
    return Path(os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg")


def inside(at: float, spans: Spans) -> bool:
    """Say whether a position lies in one of the spans."""
    return any(low <= at < high for low, high in spans)


def _cut(spans: Spans, allowed: Spans) -> Spans:
    """Intersect two lists of spans."""
    return [(max(a, c), min(b, d)) for a, b in spans for c, d in allowed if max(a, c) < min(b, d)]


def _length(spans: Spans) -> float:
    return sum(high - low for low, high in spans)


def _rest(low: float, high: float, out: Spans) -> Spans:
    """What is left of low..high outside the spans."""
    rest, at = [], low
    for a, b in sorted(out):
        if a > at:
            rest.append((at, min(a, high)))
        at = max(at, b)
    if at < high:
        rest.append((at, high))
    return [(a, b) for a, b in rest if a < b]


def _from_peaks(path: Path) -> Record:
    """Read R peaks and the rhythm of each of them (afdb_derived)."""
    content = scipy.io.loadmat(path)
    beats = content["qrs"].ravel().astype(np.float64) - 1.0  # counted from one
    target = np.concatenate([[0], content["targetsQRS"].ravel().astype(np.int64) == 1, [0]])
    step = np.diff(target.astype(np.int64))
    spans = [
        (beats[a], beats[b - 1])
        for a, b in zip(np.flatnonzero(step > 0), np.flatnonzero(step < 0), strict=True)
    ]
    rate = float(content["Fs"].item())
    return Record(path.stem, rate, beats, np.zeros(len(beats), bool), spans, [], beats[-1] + 1.0)


def _from_annotation(path: Path, work: Work) -> Record:
    """Read a WFDB record, detect its beats or take those of its annotation."""
    header: Any = wfdb.rdheader(str(path))
    annotation: Any = wfdb.rdann(str(path), "atr")
    symbols, at = np.array(annotation.symbol), np.asarray(annotation.sample, np.float64)
    length = float(header.sig_len or at[-1] + 1)
    changes = [
        (sample, (note or "").strip("\0 ").lstrip("("))
        for symbol, sample, note in zip(annotation.symbol, at.tolist(), annotation.aux_note, strict=True)
        if symbol == "+"
    ]
    spans: dict[str, Spans] = {"AFIB": [], "AFL": []}
    for (low, label), (high, _) in pairwise([*changes, (length, "")]):
        if label in spans:
            spans[label].append((low, high))
    is_beat = np.isin(symbols, list(detection.BEATS))
    beats, ectopic = at[is_beat], np.isin(symbols[is_beat], list(ECTOPIC))
    found = None
    if work.detected:
        samples, rate, gain, _, _ = detection.read(path)
        rhythm = analyse(Lead(path.name, rate, gain, samples)).rhythm
        found = tuple(
            (float(start), float(end), float(decided))
            for start, end, label, decided in zip(
                rhythm.start, rhythm.end, rhythm.label, rhythm.decided, strict=True
            )
            if label == "AFIB"
        )
    elif not work.classes:
        ectopic[:] = False
    return Record(path.name, float(header.fs), beats, ectopic, spans["AFIB"], spans["AFL"], length, found)


def records(work: Work, ecg: Path, only: tuple[str, ...] = ()) -> list[Record]:
    """Read the records of a work; `only` these when it is not empty."""
    place = ecg / work.database
    paths = sorted([*place.glob("*_rr.mat"), *(p.with_suffix("") for p in place.glob("*.atr"))])
    out = []
    for path in paths:
        name = path.stem.removesuffix("_rr")
        if name not in work.without and (not only or name in only):
            out.append(_from_peaks(path) if path.suffix else _from_annotation(path, work))
    return out


def episodes(record: Record) -> list[tuple[float, float, float]]:
    """Give onset, end and moment of decision of each episode: of the line, or of the kernel for the beats given."""
    if record.found is not None:
        return list(record.found)
    state, scratch, out = np.zeros(kernel.STATE), np.zeros(kernel.SCRATCH), np.zeros(4)
    found, decided = [], 0.0
    for at, left_out in zip(record.beats.tolist(), record.ectopic.tolist(), strict=True):
        event = kernel.take_beat(state, at, left_out, False, record.rate_hz, scratch, out)  # noqa: FBT003 - by position
        if event == kernel.BEGAN:
            decided = float(out[2])
        elif event == kernel.ENDED:
            found.append((float(out[0]), float(out[1]), decided))
    if kernel.end_segment(state, record.rate_hz, out) == kernel.ENDED:
        found.append((float(out[0]), float(out[1]), decided))
    return found


def score(record: Record, found: list[tuple[float, float, float]], work: Work) -> Score:
    """Compare the episodes of a record with its reference."""
    rate = record.rate_hz
    start = work.skip_s * rate
    scored = _rest(start, record.length, record.flutter)
    reference = _cut(record.fibrillation, [(start, record.length)])
    detected = _cut([(a, b) for a, b, _ in found], [(start, record.length)])
    both = _length(_cut(_cut(detected, reference), scored))
    out = Score(
        both_s=both / rate,
        reference_s=_length(_cut(reference, scored)) / rate,
        detected_s=_length(_cut(detected, scored)) / rate,
        scored_s=_length(scored) / rate,
    )
    least = work.least_s * rate
    for span in reference:
        inner = _cut([span], scored)
        if not inner or _length(inner) < least:
            continue
        hit = bool(_cut(inner, detected))
        out.found += hit
        out.missed += not hit
        said = [d for a, b, d in found if a < span[1] and b > span[0]]
        if said and span[0] > start and min(said) >= span[0]:
            out.delays_s.append((min(said) - span[0]) / rate)
    for span in detected:
        inner = _cut([span], scored)
        if inner and _length(inner) >= least:
            hit = bool(_cut(inner, reference))
            out.true += hit
            out.false += not hit
    return out


def run(
    work: Work, ecg: Path, only: tuple[str, ...] = (), out: Path | None = None
) -> tuple[Score, dict[str, Score]]:
    """Score the records of a work; give the pooled counts and those of each."""
    total, each = Score(), {}
    for record in records(work, ecg, only):
        found = episodes(record)
        each[record.name] = score(record, found, work)
        total.add(each[record.name])
        if out is not None:
            place = out / work.name.replace(",", "").replace(" ", "_")
            place.mkdir(parents=True, exist_ok=True)
            rhythm = [[round(a), round(b), "AFIB", round(d)] for a, b, d in found]
            (place / f"{record.name}.json").write_text(json.dumps({"rhythm": rhythm}), encoding="ascii")
    return total, each


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def main(arguments: list[str] | None = None) -> int:
    """Print a table; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ecg", type=Path, default=folder(), help="folder of the databases")
    parser.add_argument("--out", type=Path, help="folder for one JSON a record")
    parser.add_argument("--records", action="store_true", help="print each record too")
    options = parser.parse_args(arguments)
    if not options.ecg.is_dir():
        print(
            f"{options.ecg}: no such folder; name the folder of annotated ECG with --ecg or VIGIE_ECG",
            file=sys.stderr,
        )
        return 2
    failed = 0
    for work in WORKS:
        total, each = run(work, options.ecg, out=options.out)
        if not each:
            print(f"{work.name}: no records")
            continue
        figures = total.figures()
        # A floor under zero is a ceiling.
        low = [
            name
            for name, floor in work.floors.items()
            if not (figures[name] >= floor if floor > 0.0 else figures[name] <= -floor)
        ]
        failed += len(low)
        print(f"{work.name}: {_line(figures)}{''.join(f'; {name} UNDER its floor' for name in low)}")
        if options.records:
            for name, one in each.items():
                print(f"  {name}: {one.missed} missed, {one.false} false; {_line(one.figures())}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
