"""Accuracy of the detection of ventricular fibrillation and tachycardia on annotated records.

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.ventricular                     # the models as they are committed
    python -m bench.accuracy.ventricular --cross-validate    # each record by models that never saw it
    python -m bench.accuracy.ventricular --fit               # print the models, to be committed
    python -m bench.accuracy.ventricular --out results       # one JSON a record too: rhythm

Duration statistics on vfdb and cudb together (time in reference episodes that was found; time outside that was
left alone), from the first second, lead MLII or the first. *Fibrillation*: VF, VFIB, VFL and what lies between
``[`` and ``]``; time annotated VT is left out, since the waveform alone does not tell a fast VT from flutter.
*Ventricular*: these and VT. NOISE and ASYS are scored as negatives. Exit status 1 when a figure is under its floor.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import wfdb
from scipy import optimize

from bench.accuracy.whole_lead import Judged, averaged, follow
from kernels import ventricular
from kernels.fibrillation_features import FEATURES, WINDOW_S

__all__ = ["Score", "Truth", "fit", "main", "read", "score"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FIBRILLATION = {"VF", "VFIB", "VFL"}
TACHYCARDIA = {"VT"}
LABELS = {ventricular.FIBRILLATION: "VF", ventricular.TACHYCARDIA: "VT"}
ANNOTATED = ("vfdb", "cudb")
OTHERS = ("mitdb", "nsrdb")
_L2 = 2e-3
_WEIGHT_OTHERS = 0.3  # of a record without fibrillation, in the fit


@dataclass(frozen=True, slots=True)
class Floors:
    """Least sensitivity and specificity by duration, in per cent, and latest median decision, in seconds."""

    fibrillation: tuple[float, float]
    either: tuple[float, float]
    delay_s: float


# By whether it is cross-validated.
FLOORS = {
    False: Floors((92.5, 97.5), (94.5, 97.0), 6.0),
    True: Floors((91.5, 96.5), (93.5, 95.5), 6.0),
}
FALSE_A_DAY = 1.0


@dataclass(slots=True)
class Truth:
    """One record and what is written about it; times in seconds."""

    name: str
    database: str
    x: npt.NDArray[np.int16]
    work_hz: float
    group: int
    rate_hz: float
    length_s: float
    fibrillation: list[tuple[float, float]] = field(default_factory=list)
    tachycardia: list[tuple[float, float]] = field(default_factory=list)


def read(path: Path) -> Truth:
    """Read a record and its annotated episodes."""
    header: Any = wfdb.rdheader(str(path))
    channel = header.sig_name.index("MLII") if "MLII" in header.sig_name else 0
    record: Any = wfdb.rdrecord(str(path), physical=False, channels=[channel])
    annotation: Any = wfdb.rdann(str(path), "atr")
    raw = record.d_signal[:, 0].astype(np.int64)
    # The lowest value of a 12-bit format is WFDB's mark of an invalid sample.
    raw = np.where(raw == -2048, -32768, raw) if record.fmt[0] == "212" else raw
    rate = float(record.fs)
    x, work_hz, group = averaged(raw.astype(np.int16), rate, float(record.adc_gain[0]))
    out = Truth(path.name, path.parent.name, x, work_hz, group, rate, len(raw) / rate)
    rhythm, since, begun = "", 0.0, -1.0
    for symbol, at, text in zip(annotation.symbol, annotation.sample, annotation.aux_note, strict=True):
        now = at / rate
        if symbol == "+":
            _add(out, rhythm, since, now)
            rhythm, since = (text or "").strip("\0 ").lstrip("("), now
        elif symbol == "[" and begun < 0.0:
            begun = now
        elif symbol == "]" and begun >= 0.0:
            out.fibrillation.append((begun, now))
            begun = -1.0
    _add(out, rhythm, since, out.length_s)
    if begun >= 0.0:
        out.fibrillation.append((begun, out.length_s))
    return out


def _add(out: Truth, rhythm: str, begin_s: float, end_s: float) -> None:
    if rhythm in FIBRILLATION:
        out.fibrillation.append((begin_s, end_s))
    elif rhythm in TACHYCARDIA:
        out.tachycardia.append((begin_s, end_s))


def records(folder: Path, database: str) -> list[Truth]:
    """Read the annotated records of a database."""
    return [read(path.with_suffix("")) for path in sorted((folder / database).glob("*.atr"))]


# ---- The fit.


def _labels(truth: Truth, at_s: F64) -> I64:
    """1 fibrillation, 2 tachycardia, 0 neither, at the middle of each window."""
    middle = at_s - WINDOW_S / 2.0
    out = np.zeros(len(at_s), np.int64)
    for kind, episodes in ((2, truth.tachycardia), (1, truth.fibrillation)):
        for begin, end in episodes:
            out[(middle >= begin) & (middle < end)] = kind
    return out


def _logistic(z: F64, y: Flags, weight: F64) -> F64:
    """Weights and constant of a logistic regression with a small ridge."""
    design_matrix = np.column_stack([z, np.ones(len(z))])
    sign = np.where(y, 1.0, -1.0)

    def loss(beta: F64) -> tuple[float, F64]:
        margin = sign * (design_matrix @ beta)
        gradient = -design_matrix.T @ (weight * sign / (1.0 + np.exp(np.minimum(margin, 500.0))))
        gradient[:-1] += _L2 * beta[:-1]
        value = weight @ np.logaddexp(0.0, -margin) + 0.5 * _L2 * np.sum(beta[:-1] ** 2)
        return float(value), gradient

    start = np.zeros(design_matrix.shape[1])
    result: Any = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(result.x, np.float64)


def fit(truths: list[Truth], judged: list[Judged]) -> F64:
    """Fit both models to the windows of these records.

    A record weighs as the square root of its number of windows, so that one long record does not rule; both
    classes weigh alike.
    """
    figures = np.concatenate([one.figures for one in judged])
    labels = np.concatenate([_labels(t, one.at_s) for t, one in zip(truths, judged, strict=True)])
    which = np.concatenate([np.full(len(one.at_s), i) for i, one in enumerate(judged)])
    usable = np.isfinite(figures[:, 0])
    mean, deviation = figures[usable].mean(axis=0), figures[usable].std(axis=0)
    out = np.zeros((2, FEATURES + 1))
    for model, (positive, keep) in enumerate(((labels > 0, labels >= 0), (labels == 1, labels != 2))):
        use = usable & keep
        weight = np.zeros(len(labels))
        for value in (False, True):
            for i in np.unique(which):
                mine = use & (positive == value) & (which == i)
                if mine.any():
                    share = 1.0 if truths[i].database in ANNOTATED else _WEIGHT_OTHERS
                    weight[mine] = share / np.sqrt(mine.sum())
            weight[positive == value] /= max(float(weight[positive == value].sum()), 1e-12)
        z = (figures[use] - mean) / deviation
        beta = _logistic(z, positive[use], 0.5 * weight[use])
        out[model, :FEATURES] = beta[:-1] / deviation
        out[model, FEATURES] = beta[-1] - np.sum(beta[:-1] * mean / deviation)
    return out


def _cross_validated(truths: list[Truth], judged: list[Judged]) -> list[Judged]:
    """Judge each record by models of the others."""
    out = []
    for i, truth in enumerate(truths):
        if not np.isfinite(judged[i].figures).any():
            out.append(judged[i])  # no window of it is ever judged by a model
            continue
        others = [k for k in range(len(truths)) if k != i]
        models = fit([truths[k] for k in others], [judged[k] for k in others])
        out.append(follow(truth.x, truth.work_hz, truth.group, models))
    return out


# ---- The score.


@dataclass(slots=True)
class Score:
    """Seconds, of a record or of several."""

    found: float = 0.0
    reference: float = 0.0
    alone: float = 0.0
    outside: float = 0.0
    delays: list[float] = field(default_factory=list)
    missed: int = 0

    def add(self, other: "Score") -> None:
        """Pool another's."""
        self.found += other.found
        self.reference += other.reference
        self.alone += other.alone
        self.outside += other.outside
        self.delays += other.delays
        self.missed += other.missed

    @property
    def sensitivity(self) -> float:
        """Share of the time in reference episodes that was found, per cent."""
        return 100.0 * self.found / self.reference if self.reference else float("nan")

    @property
    def specificity(self) -> float:
        """Share of the time outside that was left alone, per cent."""
        return 100.0 * self.alone / self.outside if self.outside else float("nan")


def score(truth: Truth, judged: Judged, *, either: bool) -> Score:
    """Score one record by duration, sample by sample of a hundredth of a second."""
    n = int(truth.length_s * 100)

    def mask(episodes: list[tuple[float, float]]) -> Flags:
        out = np.zeros(n, np.bool_)
        for begin, end in episodes:
            out[int(begin * 100) : int(end * 100)] = True
        return out

    wanted = truth.fibrillation + (truth.tachycardia if either else [])
    kinds = set(LABELS) if either else {ventricular.FIBRILLATION}
    mine = [
        (b / truth.rate_hz, e / truth.rate_hz, d / truth.rate_hz)
        for k, b, e, d in judged.episodes
        if k in kinds
    ]
    reference, found = mask(wanted), mask([(b, e) for b, e, _ in mine])
    counted = reference | ~mask([] if either else truth.tachycardia)
    out = Score(
        float(np.sum(reference & found)) / 100,
        float(np.sum(reference)) / 100,
        float(np.sum(counted & ~reference & ~found)) / 100,
        float(np.sum(counted & ~reference)) / 100,
    )
    for begin, end in wanted:
        decided = [d for b, e, d in mine if b < end and e > begin]
        if decided:
            out.delays.append(max(min(decided) - begin, 0.0))
        else:
            out.missed += 1
    return out


def _write(out: Path, truth: Truth, judged: Judged) -> None:
    place = out / truth.database
    place.mkdir(parents=True, exist_ok=True)
    rhythm = [[b, e, LABELS[k], d] for k, b, e, d in judged.episodes]
    (place / f"{truth.name}.json").write_text(json.dumps({"rhythm": rhythm}), encoding="ascii")


def _line(name: str, total: Score, floor: tuple[float, float]) -> int:
    low = total.sensitivity < floor[0] or total.specificity < floor[1]
    print(
        f"{name}: duration Se {total.sensitivity:.1f} Sp {total.specificity:.1f} (floors {floor[0]} {floor[1]}"
        f"{', UNDER' if low else ''}); {total.missed} of {total.missed + len(total.delays)} episodes missed; "
        f"decided after {np.median(total.delays):.1f} s (median)"
    )
    return low


def _report(truths: list[Truth], judged: list[Judged], floors: Floors, *, each: bool) -> int:
    failed = 0
    for either, floor in ((False, floors.fibrillation), (True, floors.either)):
        total = Score()
        for truth, one in zip(truths, judged, strict=True):
            if truth.database not in ANNOTATED:
                continue
            mine = score(truth, one, either=either)
            total.add(mine)
            if each:
                print(f"  {truth.database} {truth.name}: Se {mine.sensitivity:.1f} Sp {mine.specificity:.1f}")
        failed += _line("VF or VT" if either else "VF", total, floor)
        failed += bool(np.median(total.delays) > floors.delay_s)
    false, hours = 0, 0.0
    for truth, one in zip(truths, judged, strict=True):
        if truth.database in OTHERS:
            hours += truth.length_s / 3600.0
            for kind, begin, end, _ in one.episodes:
                real = any(
                    b * truth.rate_hz < end and e * truth.rate_hz > begin for b, e in truth.fibrillation
                )
                if kind == ventricular.FIBRILLATION and not real:
                    false += 1
                    print(f"  false VF: {truth.database} {truth.name} at {begin / truth.rate_hz:.0f} s")
    if hours:
        a_day = false * 24.0 / hours
        failed += a_day > FALSE_A_DAY
        print(f"false VF on {' and '.join(OTHERS)}: {false} episodes in {hours:.1f} h, {a_day:.2f} in 24 h")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Print a table; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg"
    parser.add_argument("--ecg", type=Path, default=Path(default), help="folder of the databases")
    parser.add_argument("--out", type=Path, help="folder for one JSON a record")
    parser.add_argument("--records", action="store_true", help="print each record too")
    parser.add_argument(
        "--cross-validate", action="store_true", help="judge each record by models of the others"
    )
    parser.add_argument("--fit", action="store_true", help="print models fitted to all records")
    options = parser.parse_args(arguments)
    if not options.ecg.is_dir():
        print(
            f"{options.ecg}: no such folder; name the folder of annotated ECG with --ecg or VIGIE_ECG",
            file=sys.stderr,
        )
        return 2
    truths = [truth for database in (*ANNOTATED, *OTHERS) for truth in records(options.ecg, database)]
    judged = [follow(truth.x, truth.work_hz, truth.group) for truth in truths]
    if options.fit:
        with np.printoptions(precision=5, suppress=True, floatmode="fixed"):
            print(repr(fit(truths, judged)))
        return 0
    if options.cross_validate:
        judged = _cross_validated(truths, judged)
    if options.out:
        for truth, one in zip(truths, judged, strict=True):
            _write(options.out, truth, one)
    return 1 if _report(truths, judged, FLOORS[options.cross_validate], each=options.records) else 0


if __name__ == "__main__":
    sys.exit(main())
