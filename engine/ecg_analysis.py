"""A whole ECG record through the kernels of the live line: beats, their classes, rhythm and quality, in columns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.ecg_design import design
from engine.ecg_holter import Measures, measures
from ingest.formats.lead import Lead
from ingest.formats.marked_beats import Marked
from kernels import SOURCE_HASH, ecg_lead, qrs_signal, rhythms
from kernels import beats as beat_classes

__all__ = ["LABELS", "UNUSABLE", "Analysis", "Spans", "analyse", "as_json", "follow"]

I64 = npt.NDArray[np.int64]
I16 = npt.NDArray[np.int16]

LABELS = {
    rhythms.PAUSE: "PAUSE",
    rhythms.ASYS: "ASYS",
    rhythms.BRADY: "BRADY",
    rhythms.TACHY: "TACHY",
    rhythms.AF: "AFIB",
    rhythms.VT: "VT",
    rhythms.VF: "VF",
    rhythms.VT_RUN: "VT",
    rhythms.NSVT: "NSVT",
    rhythms.SVT: "SVT",
    rhythms.BIGEMINY: "BIGEMINY",
    rhythms.TRIGEMINY: "TRIGEMINY",
}
"""What each kind of episode is called in results."""

UNUSABLE = "unusable"
QRS_ONLY = "QRS only"
"""Quality of what cannot be judged: unusable is neither normal nor an alarm."""

GRADES = {rhythms.UNUSABLE: UNUSABLE, rhythms.QRS_ONLY: QRS_ONLY}
"""Grades of quality that are written; good is what has none."""

_KINDS = {"N": beat_classes.N, "S": beat_classes.S, "V": beat_classes.V, "F": 3, "Q": beat_classes.Q}
_CLASSES = {kind: name for name, kind in _KINDS.items()}
_LEAST_BEATS_S = 5.0  # a second of scratch has room for so many beats

_CHUNK_S = 10.0
_POSITIONS = slice(1, 4)  # columns of a row that are samples
_RAIL = 32767


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of a record: `start` to `end`, in samples, each with its label, sorted; `decided` is when it was known."""

    start: I64
    end: I64
    label: list[str]
    decided: I64


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in a record. Positions are samples from its first, at `rate_hz`.

    Attributes
    ----------
    length : int
        Samples of the record.
    beats, decided : int64[n]
        R peaks, ascending, and the moment at which each was known.
    classes : list of str, optional
        N, S, V, F or Q for each beat, by the kernels or by who marked them; None: nobody told them apart, which is not
        N.
    rhythm : Spans
        Episodes.
    quality : Spans, optional
        What has been judged; None when there was no signal to judge.
    measures : Measures
        Rate by minute, heart rate variability, burdens by hour, counted from the record's first sample.
    """

    rate_hz: float
    length: int
    beats: I64
    decided: I64
    classes: list[str] | None
    rhythm: Spans
    quality: Spans | None
    measures: Measures = field(default_factory=Measures)


def analyse(lead: Lead, strip_s: float | None = None) -> Analysis:
    """Analyse a lead as it would have come, in chunks.

    Parameters
    ----------
    lead : Lead
    strip_s : float, optional
        Analyse each strip of so many seconds alone and cold, then put the results together; the last strip may be
        shorter.

    Raises
    ------
    ValueError
        The rate is not from 100 to 1000 Hz.
    """
    n = len(lead.samples)
    size = n if strip_s is None else max(1, round(strip_s * lead.rate_hz))
    work = _Work(lead)
    parts = [work.run(lead.samples[at : at + size], at) for at in range(0, n, size)]
    beats, decided, kinds, rows = (np.concatenate(each) for each in zip(*parts, strict=True))
    classes = [_CLASSES[kind] for kind in kinds.tolist()]
    lost = _lost(lead.samples, lead.rate_hz)
    return Analysis(
        lead.rate_hz,
        n,
        beats,
        decided,
        classes,
        _joined(rows, LABELS),
        _graded(_joined(rows, GRADES), lost),
        measures(rows, classes=True),
    )


def follow(marked: Marked) -> Analysis:
    """Give rhythm from beats that somebody marked, as if each had been known at its R peak."""
    n = len(marked.beats)
    spans = np.array(marked.unmarked, np.int64).reshape(-1, 2)
    low, high = np.ascontiguousarray(spans[:, 0]), np.ascontiguousarray(spans[:, 1])
    classes = marked.classes or ["N"] * n
    kinds = np.array([_KINDS.get(each, beat_classes.Q) for each in classes], np.int64)
    # Room for the beats, however close they are, and for the seconds.
    work = ecg_lead.scratch(marked.length / marked.rate_hz + (n + len(spans)) / _LEAST_BEATS_S)
    count = ecg_lead.follow(
        np.zeros(ecg_lead.ROW), marked.beats, kinds, low, high, marked.length, marked.rate_hz, work
    )
    if count < 0:
        msg = f"the ECG kernels refuse what they were given: {count}"
        raise RuntimeError(msg)
    return Analysis(
        marked.rate_hz,
        marked.length,
        marked.beats,
        marked.beats,
        marked.classes,
        _joined(work.rows[:count], LABELS),
        None,
        measures(work.rows[:count], classes=marked.classes is not None),
    )


class _Work:
    """Buffers for the leads of one record, each of which begins from a state of zeros."""

    def __init__(self, lead: Lead) -> None:
        self._gain = lead.gain
        self._coeffs = design(lead.rate_hz)
        self._chunk = round(_CHUNK_S * lead.rate_hz)
        self._scratch = ecg_lead.scratch(_CHUNK_S + 1.0)

    def run(self, samples: I16, start: int) -> tuple[I64, I64, I64, I64]:
        """Give beats, decisions, classes and rows of one lead from its first sample, which is at `start`."""
        row = np.zeros(ecg_lead.ROW)
        out = []
        for at in range(0, len(samples), self._chunk):
            part = samples[at : at + self._chunk]
            out.append(self._taken(ecg_lead.feed(row, part, self._gain, self._coeffs, self._scratch)))
        out.append(self._taken(ecg_lead.finish(row, self._coeffs, self._scratch)))
        beats, decided, kinds, rows = (np.concatenate(each) for each in zip(*out, strict=True))
        where = rows[:, _POSITIONS]
        rows[:, _POSITIONS] = np.where(where >= 0, where + start, where)
        return beats + start, decided + start, kinds, rows

    def _taken(self, code: int) -> tuple[I64, I64, I64, I64]:
        if code != 0:  # the buffers are as long as the kernel says, the gain was checked
            msg = f"the ECG kernels refuse what they were given: {code}"
            raise RuntimeError(msg)
        work = self._scratch
        found, classed, rows = work.counts.tolist()
        return (
            work.beat[:found].copy(),
            work.decided[:found].copy(),
            work.kind[:classed].copy(),
            work.rows[:rows].copy(),
        )


def _graded(grades: Spans, lost: Spans) -> Spans:
    """Put what the kernels grade and what the device did not send into one list, sorted."""
    start, end = np.concatenate((grades.start, lost.start)), np.concatenate((grades.end, lost.end))
    decided = np.concatenate((grades.decided, lost.decided))
    label = np.array([*grades.label, *lost.label], dtype=object)
    order = np.lexsort((end, start))
    return Spans(start[order], end[order], label[order].tolist(), decided[order])


def _joined(rows: I64, labels: Mapping[int, str]) -> Spans:
    """Make spans of the rows that end something of `labels`.

    Those of a kind that touch are one, as at the cut of two strips.
    """
    ended = rows[(rows[:, 2] >= 0) & np.isin(rows[:, 0], list(labels))]
    ended = ended[np.lexsort((ended[:, 2], ended[:, 1], ended[:, 0]))]
    if len(ended):
        goes_on = np.r_[False, (np.diff(ended[:, 0]) == 0) & (ended[1:, 1] == ended[:-1, 2])]
        first = np.flatnonzero(~goes_on)
        last = np.r_[first[1:], len(ended)] - 1
        ended = np.column_stack(
            (ended[first, 0], ended[first, 1], ended[last, 2], ended[first, 3], ended[first, 4])
        )
        ended = ended[np.lexsort((ended[:, 0], ended[:, 2], ended[:, 1]))]
    return Spans(ended[:, 1], ended[:, 2], [labels[kind] for kind in ended[:, 0].tolist()], ended[:, 3])


def _lost(samples: I16, rate_hz: float) -> Spans:
    """Find where the device sent no signal: at the rails of 16 bits for as long as the detector asks."""
    bad = np.abs(samples.astype(np.int32)) >= _RAIL
    edges = np.flatnonzero(np.diff(np.r_[False, bad, False]))
    start, end = edges[::2], edges[1::2]
    least = int(qrs_signal.BAD_S * rate_hz)
    long = end - start >= least
    start, end = start[long], end[long]
    return Spans(start, end, [UNUSABLE] * len(start), np.minimum(start + least, len(samples)))


def as_json(
    analysis: Analysis, record: str, channel: str, answers: Mapping[str, int | str] | None = None
) -> str:
    """Write an analysis as one line of JSON: the same bytes for the same input and kernels.

    Keys: ``beats``, ``beats_decided``, ``classes`` (only where they are known), ``rhythm`` (start, end, label,
    moment of decision), ``quality`` (start, end, level), ``measures`` (start, end, name, value); and ``record``,
    ``channel``, ``rate_hz``, ``samples``, ``kernels``; last `answers`, what was asked of the record as a whole
    (``alarm``, ``label``).
    """
    rhythm, quality = analysis.rhythm, analysis.quality
    out: dict[str, Any] = {
        "record": record,
        "channel": channel,
        "rate_hz": analysis.rate_hz,
        "samples": analysis.length,
        "kernels": SOURCE_HASH,
        "beats": analysis.beats.tolist(),
        "beats_decided": analysis.decided.tolist(),
    }
    if analysis.classes is not None:
        out["classes"] = analysis.classes
    out["rhythm"] = [
        list(each)
        for each in zip(
            rhythm.start.tolist(), rhythm.end.tolist(), rhythm.label, rhythm.decided.tolist(), strict=True
        )
    ]
    if quality is not None:
        out["quality"] = [
            list(each)
            for each in zip(quality.start.tolist(), quality.end.tolist(), quality.label, strict=True)
        ]
    found = analysis.measures
    out["measures"] = [
        list(each)
        for each in zip(
            found.start.tolist(), found.end.tolist(), found.name, found.value.tolist(), strict=True
        )
    ]
    out |= answers or {}
    return json.dumps(out, separators=(",", ":")) + "\n"
