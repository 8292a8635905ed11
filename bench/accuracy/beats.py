"""Accuracy of the classes of beats on annotated records, by the rules of ANSI/AAMI EC57.

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.beats
    python -m bench.accuracy.beats --out results    # one JSON a record too: beats, classes, beats_decided

Beats are those of the QRS detector. MIT-BIH records of de Chazal's DS1, channel MLII or the first, five minutes
skipped; escape beats are N (de Chazal 2004). A missed V or S counts against sensitivity; F and Q beats called V and Q
beats called S count for nothing. The figures are resubstitution: the weights were fitted to these records. Those
cross-validated by record come from ``bench.accuracy.fit_beats``. Exit status 1 when a figure is under its floor.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import wfdb

from bench.accuracy.qrs import PACED, WINDOW_S, detect, pair, read
from engine.ecg_design import design
from kernels import beats, qrs_state
from kernels._jit import jit

__all__ = ["FLOORS", "averaged", "classify", "count", "main", "predictivity", "references", "sensitivity"]

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

CLASSES = "NSVFQ"
AAMI = dict(zip("NLRBejaAJSnVrEF/fQ?", "NNNNNNSSSSSVVVFQQQQ", strict=True))
FLOORS = {"V Se": 94.0, "V P+": 93.2, "S Se": 77.9, "S P+": 49.8}
SKIP_S = 300.0
RING = 1024


@jit
def _feed(  # noqa: PLR0913, PLR0917 - columns one by one, as in kernels
    state: F64,
    steps: I16,
    ring: I16,
    rate: float,
    group: int,
    found: I64,
    scratch: F64,
    out: I64,
    inputs: F64,
) -> int:
    """Run the classes over the detector's beats, with the ring as it is when each is decided."""
    n = filled = 0
    tick = 1
    end = len(steps) * group
    beat = 0
    while True:
        at_tick = int(tick * 0.5 * rate)
        is_beat = beat < len(found) and found[beat, 1] <= at_tick
        now = found[beat, 1] if is_beat else at_tick
        last = now > end
        now = min(now, end)
        while filled < now // group:
            ring[filled & (RING - 1)] = steps[filled]
            filled += 1
        if last:
            done = beats.close(state, ring, filled - 1, rate, group, now, scratch, out[n])
        elif is_beat:
            at = found[beat, 0]
            done = beats.next_beat(state, ring, filled - 1, rate, group, at, now, True, scratch, out[n])  # noqa: FBT003
            beat += 1
        else:
            done = beats.tick(state, ring, filled - 1, rate, group, now, scratch, out[n])
            tick += 1
        if done:
            for i in range(beats.INPUTS):
                inputs[n, i] = scratch[beats.X_INPUTS + i]
            n += 1
        if last:
            return n


def averaged(samples: I16, gain: float, group: int) -> I16:
    """Average a lead in groups, as the detector does, in microvolts."""
    steps = samples[: len(samples) // group * group].reshape(-1, group).mean(axis=1)
    microvolts = (steps - float(samples[0])) * 1000.0 / gain
    out: I16 = np.clip(np.rint(microvolts), -32768, 32767).astype(np.int16)
    return out


def classify(samples: I16, rate_hz: float, gain: float, found: I64, decided: I64) -> tuple[I64, F64]:
    """Give position, class and decision of each beat, and the inputs of the linear models."""
    group = int(design(rate_hz)[qrs_state.C_GROUP])
    out, inputs = np.zeros((len(found) + 1, 3), np.int64), np.zeros((len(found) + 1, beats.INPUTS))
    n = _feed(
        np.zeros(beats.BEATS_STATE), averaged(samples, gain, group), np.zeros(RING, np.int16), rate_hz, group,
        np.column_stack([found, decided]), np.zeros(beats.SCRATCH), out, inputs,
    )  # fmt: skip
    return out[:n], inputs[:n]


def references(path: Path) -> tuple[I64, npt.NDArray[np.str_]]:
    """Read the annotated beats outside fibrillation and their classes."""
    annotation: Any = wfdb.rdann(str(path), "atr")
    *_, fibrillation = read(path)
    symbols, at = np.array(annotation.symbol), np.asarray(annotation.sample, np.int64)
    keep = np.isin(symbols, list(AAMI))
    for low, high in fibrillation:
        keep &= ~((at >= low) & (at <= high))
    return at[keep], np.array([AAMI[symbol] for symbol in symbols[keep].tolist()])


def truth(path: Path, found: I64, rate_hz: float) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_], I64]:
    """Give the annotated class of each beat found, ``O`` where there is none and ``X`` in fibrillation.

    The classes of missed beats, and where they are, follow.
    """
    *_, fibrillation = read(path)
    at, classes = references(path)
    window = round(WINDOW_S * rate_hz)
    labels = np.full(len(found), "O")
    for low, high in fibrillation:
        labels[(found >= low) & (found <= high)] = "X"
    hit, used = pair(at, found, window)
    # `pair` is one to one and in order: the hits of both lists correspond.
    labels[sorted(used)] = classes[sorted(hit)]
    missed = np.array([i for i in range(len(at)) if i not in hit], np.int64)
    return labels, classes[missed], at[missed]


def count(labels: npt.NDArray[np.str_], given: npt.NDArray[np.str_], missed: npt.NDArray[np.str_]) -> I64:
    """Give V hits, misses and false, then S."""
    out = np.zeros(6, np.int64)
    for k, (kind, against) in enumerate((("V", "NSO"), ("S", "NVFO"))):
        called = given == kind
        out[3 * k] = np.sum(called & (labels == kind))
        out[3 * k + 1] = np.sum(~called & (labels == kind)) + np.sum(missed == kind)
        out[3 * k + 2] = np.sum(called & np.isin(labels, list(against)))
    return out


def sensitivity(counts: I64) -> float:
    """Sensitivity in per cent of hits, misses, false."""
    return 100.0 * float(counts[0]) / max(int(counts[0] + counts[1]), 1)


def predictivity(counts: I64) -> float:
    """Positive predictivity in per cent of hits, misses, false."""
    return 100.0 * float(counts[0]) / max(int(counts[0] + counts[2]), 1)


def _record(path: Path, out: Path | None) -> I64:
    samples, rate, gain, *_ = read(path)
    found, decided = detect(samples, rate, gain, chunk=int(rate))
    rows, _ = classify(samples, rate, gain, found, decided)
    given = np.array(list(CLASSES))[rows[:, 1]]
    labels, missed, missed_at = truth(path, found, rate)
    start = round(SKIP_S * rate)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        result = {
            "beats": rows[:, 0].tolist(),
            "classes": given.tolist(),
            "beats_decided": rows[:, 2].tolist(),
        }
        (out / f"{path.name}.json").write_text(json.dumps(result), encoding="ascii")
    late = found >= start
    return count(labels[late], given[late], missed[missed_at >= start])


def main(arguments: list[str] | None = None) -> int:
    """Print a table; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg"
    parser.add_argument("--ecg", type=Path, default=Path(default), help="folder of the databases")
    parser.add_argument("--out", type=Path, help="folder for one JSON a record")
    options = parser.parse_args(arguments)
    if not options.ecg.is_dir():
        print(
            f"{options.ecg}: no such folder; name the folder of annotated ECG with --ecg or VIGIE_ECG",
            file=sys.stderr,
        )
        return 2
    total = np.zeros(6, np.int64)
    print("record    V hit  missed  false   S hit  missed  false")
    for header in sorted((options.ecg / "mitdb").glob("*.hea")):
        if header.stem in PACED:
            continue
        counts = _record(header.with_suffix(""), options.out)
        total += counts
        print(f"{header.stem:8}", *(f"{value:7}" for value in counts.tolist()))
    figures = {
        "V Se": sensitivity(total[:3]),
        "V P+": predictivity(total[:3]),
        "S Se": sensitivity(total[3:]),
        "S P+": predictivity(total[3:]),
    }
    failed = 0
    for name, value in figures.items():
        low = value < FLOORS[name]
        failed += low
        print(f"{name} {value:.2f} (floor {FLOORS[name]}{', UNDER' if low else ''})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
