"""Accuracy of the QRS detector on annotated records, by the rules of ANSI/AAMI EC57.

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.qrs
    python -m bench.accuracy.qrs --out results    # one JSON a record too: beats, beats_decided

Channel MLII, or the first; beats within 150 ms of a reference beat; the first five minutes are not counted
where the database says so; detections in ventricular fibrillation are not counted. Exit status 1 when a figure
is under its floor.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import wfdb

from engine.ecg_design import design
from kernels import qrs, qrs_state

__all__ = ["Score", "detect", "detect_strips", "main", "pair", "score"]

I64 = npt.NDArray[np.int64]

BEATS = "NLRBaAJSVrFejnE/fQ?"
PACED = ("102", "104")
WINDOW_S = 0.15


@dataclass(frozen=True, slots=True)
class Work:
    """Records to score together, and the floor of their F1 in per cent."""

    name: str
    database: str
    skip_s: float
    floor: float
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    strip_s: float = (
        0.0  # analysed in strips so long, each alone and cold, and put together again; 0: as a stream
    )


WORKS = (
    Work("mitdb DS1", "mitdb", 300.0, 99.84, without=PACED),
    Work("mitdb DS1 in 10 s strips", "mitdb", 0.0, 99.75, without=PACED, strip_s=10.0),
    Work("mitdb paced 102, 104", "mitdb", 300.0, 99.99, only=PACED),
    Work("nstdb 118, 24 to -6 dB", "nstdb", 300.0, 94.8, without=("bw", "em", "ma")),
    Work("cudb outside VF", "cudb", 0.0, 96.0),
)


@dataclass(slots=True)
class Score:
    """Counts of a record or of several pooled."""

    hit: int = 0
    missed: int = 0
    false: int = 0

    def add(self, other: "Score") -> None:
        """Pool another's counts."""
        self.hit += other.hit
        self.missed += other.missed
        self.false += other.false

    @property
    def f1(self) -> float:
        """F1 in per cent."""
        total = 2 * self.hit + self.missed + self.false
        return 200.0 * self.hit / total if total else float("nan")


def detect(samples: npt.NDArray[np.int16], rate_hz: float, gain: float, chunk: int = 0) -> tuple[I64, I64]:
    """Stream a lead through the detector in chunks of `chunk` samples (0: whole); give beats and decisions."""
    state, coeffs = np.zeros(qrs_state.STATE), design(rate_hz)
    size = chunk or max(len(samples), 1)
    room = qrs.max_beats(size, rate_hz)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
    beats: list[I64] = []
    decided: list[I64] = []
    for low in range(0, len(samples), size):
        count = qrs.feed(state, samples[low : low + size], gain, coeffs, at, when)
        beats.append(at[:count].copy())
        decided.append(when[:count].copy())
    none = np.empty(0, np.int64)
    return np.concatenate([none, *beats]), np.concatenate([none, *decided])


def detect_strips(
    samples: npt.NDArray[np.int16], rate_hz: float, gain: float, strip_s: float
) -> tuple[I64, I64]:
    """Analyse strips of `strip_s` seconds, each from nothing to its end; give beats and decisions of all."""
    coeffs, size = design(rate_hz), round(strip_s * rate_hz)
    room = max(qrs.max_beats(size, rate_hz), qrs.FINISH_ROOM)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
    none = np.empty(0, np.int64)
    beats, decided = [none], [none]
    for low in range(0, len(samples), size):
        state = np.zeros(qrs_state.STATE)
        count = qrs.feed(state, samples[low : low + size], gain, coeffs, at, when)
        beats.append(at[:count] + low)
        decided.append(when[:count] + low)
        count = qrs.finish(state, coeffs, at, when)
        beats.append(at[:count] + low)
        decided.append(when[:count] + low)
    return np.concatenate(beats), np.concatenate(decided)


def pair(reference: I64, found: I64, window: int) -> tuple[set[int], set[int]]:
    """Pair beats one to one within `window` samples, the nearest first; give the indices that have a partner."""
    close = [
        (abs(int(found[k]) - int(beat)), i, k)
        for i, beat in enumerate(reference)
        for k in range(
            int(np.searchsorted(found, beat - window)), int(np.searchsorted(found, beat + window, "right"))
        )
    ]
    of_reference: set[int] = set()
    of_found: set[int] = set()
    for _, i, k in sorted(close):
        if i not in of_reference and k not in of_found:
            of_reference.add(i)
            of_found.add(k)
    return of_reference, of_found


def score(
    reference: I64, found: I64, rate_hz: float, skip_s: float, fibrillation: list[tuple[int, int]]
) -> Score:
    """Count hits, misses and false beats after `skip_s` seconds, outside fibrillation."""
    start = round(skip_s * rate_hz)
    hit, used = pair(reference, found, round(WINDOW_S * rate_hz))
    out = Score()
    for i, beat in enumerate(reference.tolist()):
        if beat >= start:
            out.hit += i in hit
            out.missed += i not in hit
    for k, beat in enumerate(found.tolist()):
        inside = any(low <= beat <= high for low, high in fibrillation)
        out.false += beat >= start and k not in used and not inside
    return out


def read(path: Path) -> tuple[npt.NDArray[np.int16], float, float, I64, list[tuple[int, int]]]:
    """Read samples, rate, gain, reference beats and times of fibrillation of a record."""
    header: Any = wfdb.rdheader(str(path))
    channel = header.sig_name.index("MLII") if "MLII" in header.sig_name else 0
    record: Any = wfdb.rdrecord(str(path), physical=False, channels=[channel])
    annotation: Any = wfdb.rdann(str(path), "atr")
    raw = record.d_signal[:, 0].astype(np.int64)
    # The lowest value of a 12-bit format is WFDB's mark of an invalid sample.
    samples = np.where(raw == -2048, -32768, raw) if record.fmt[0] == "212" else raw
    symbols, at = np.array(annotation.symbol), np.asarray(annotation.sample, np.int64)
    fibrillation: list[tuple[int, int]] = []
    begun = None
    for symbol, sample in zip(symbols.tolist(), at.tolist(), strict=True):
        if symbol == "[" and begun is None:
            begun = sample
        elif symbol == "]" and begun is not None:
            fibrillation.append((begun, sample))
            begun = None
    if begun is not None:
        fibrillation.append((begun, len(samples)))
    keep = np.isin(symbols, list(BEATS))
    for low, high in fibrillation:
        keep &= ~((at >= low) & (at <= high))
    return samples.astype(np.int16), float(record.fs), float(record.adc_gain[0]), at[keep], fibrillation


def _run(work: Work, folder: Path, out: Path | None) -> tuple[Score, dict[str, Score], I64]:
    total, each = Score(), {}
    delays: list[I64] = []
    for header in sorted((folder / work.database).glob("*.hea")):
        name = header.stem
        if (work.only and name not in work.only) or name in work.without:
            continue
        samples, rate, gain, reference, fibrillation = read(header.with_suffix(""))
        if work.strip_s > 0.0:
            beats, decided = detect_strips(samples, rate, gain, work.strip_s)
        else:
            beats, decided = detect(samples, rate, gain, chunk=int(rate))
        each[name] = score(reference, beats, rate, work.skip_s, fibrillation)
        total.add(each[name])
        delays.append(np.rint((decided - beats)[beats >= 3 * rate] * 1000.0 / rate).astype(np.int64))
        if out is not None:
            place = out / (work.database + ("_strips" if work.strip_s > 0.0 else ""))
            place.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"beats": beats.tolist(), "beats_decided": decided.tolist()})
            (place / f"{name}.json").write_text(text, encoding="ascii")
    return total, each, np.concatenate([np.empty(0, np.int64), *delays])


def main(arguments: list[str] | None = None) -> int:
    """Print a table; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg"
    parser.add_argument("--ecg", type=Path, default=Path(default), help="folder of the databases")
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
        total, each, delays = _run(work, options.ecg, options.out)
        if not each:
            print(f"{work.name}: no records")
            continue
        worst = min(each, key=lambda name: each[name].f1)
        low = total.f1 < work.floor
        failed += low
        print(
            f"{work.name}: F1 {total.f1:.2f} (floor {work.floor}{', UNDER' if low else ''}), "
            f"{total.missed} missed, {total.false} false of {total.hit + total.missed}; "
            f"worst {worst} {each[worst].f1:.2f}; decided after {np.median(delays):.0f} ms, at most {delays.max()} ms"
        )
        if options.records:
            for name, one in each.items():
                print(f"  {name}: F1 {one.f1:.2f}, {one.missed} missed, {one.false} false")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
