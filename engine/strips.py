"""The strip of an alert on ECG: which one it is, its samples from the log, and the file that keeps it.

A strip is a function of an alert and of the log, and of nothing else: the chunks of the patient's leads that were
received from half an hour before the alert to ten minutes after it, from 10 s before the onset to 20 s after it or 5 s
after the finding, whichever is later. So it does not matter when it is put together, how often, or how the log was
cut. Its name says which it is: written twice it is there once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.ecg_analysis import Analysis, Spans, analyse
from engine.history import day_of, sync, write_parquet
from ingest.columns import Batch
from ingest.formats.lead import MISSING, Lead
from ingest.signals import SIGNALS, by_code
from kernels import SOURCE_HASH
from kernels.identity import hash_id
from rules.alerts import Happening

__all__ = [
    "FOLDER",
    "LEAD_IN_MS",
    "LOOK_BACK_MS",
    "OF_ALERTS",
    "SCHEMA",
    "WAIT_MS",
    "Chunk",
    "Wanted",
    "assemble",
    "chunks_of",
    "hash_of",
    "lead_of",
    "marks_of",
    "read",
    "wanted",
    "write",
]

I16 = npt.NDArray[np.int16]

FOLDER = "strips"
"""Of a history, or of what a replay writes."""

WAIT_MS = 600_000
"""What is received later than this after an alert is in history's readings, and not on its strip."""
LOOK_BACK_MS = 1_800_000
"""ECG of a strip is received no longer before its alert: a rule may wait ten minutes, and ticks are
fifteen minutes apart."""
_CLOCK_AHEAD_MS = 300_000  # a chunk may be dated so much after its receipt
LEAD_IN_MS = 60_000
"""ECG before the strip by which beats are judged, as they were on the line."""
_BEFORE_MS, _AFTER_MS = 10_000, 20_000
_AFTER_FINDING_MS = 5_000
_LONGEST_MS = 120_000

_SPAN = pl.Struct({"label": pl.String, "start": pl.Int64, "end": pl.Int64, "decided": pl.Int64})
SCHEMA = pl.Schema(
    {
        "alert_id": pl.String(),
        "patient": pl.String(),
        "rule": pl.String(),
        "level": pl.String(),
        "sentence": pl.String(),
        "lead": pl.UInt16(),  # code of the signal
        "onset_ms": pl.Int64(),
        "found_ms": pl.Int64(),  # time of the reading that says so
        "start_ms": pl.Int64(),  # time of the first sample
        "rate_hz": pl.Float64(),
        "gain": pl.Float64(),  # units a millivolt
        "samples": pl.List(pl.Int16()),  # -32768: no signal
        "beats": pl.List(pl.Int64()),  # R peaks, samples from the first
        "classes": pl.List(pl.String()),
        "rhythm": pl.List(_SPAN),  # samples from the first; may begin before it
        "quality": pl.List(_SPAN),
        "kernels": pl.String(),
    }
)
"""Columns of a strip, one row a file; times in ms UTC."""


def _seconds(value: float) -> float:
    return 1000.0 * value


def _five_beats(rate: float) -> float:
    return 4 * 60_000.0 / rate


def _seventeen_beats(rate: float) -> float:
    return 16 * 60_000.0 / rate


_LASTED: dict[str, Callable[[float], float]] = {
    "ecg_pause": _seconds,
    "ecg_vf": _seconds,
    "ecg_vt": _seconds,
    "ecg_nsvt": _seconds,
    "ecg_svt": _seconds,
    "ecg_af": _seconds,
    "ecg_bradycardia": _five_beats,
    "ecg_tachycardia": _seventeen_beats,
}
"""How long before a reading that began of which it speaks, ms."""
_ECG = {signal.name for signal in SIGNALS if signal.name.startswith("ecg_")} | {
    "heart_rate",
    "heart_rate_ecg",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A strip that an alert asks for; `first_ms` and `last_ms` bound the receipt of its chunks."""

    alert_id: str
    patient: str
    rule: str
    level: str
    sentence: str
    onset_ms: int
    found_ms: int
    start_ms: int
    end_ms: int
    first_ms: int
    last_ms: int

    def as_json(self) -> dict[str, Any]:
        """Give what `Wanted` can be made of again."""
        return asdict(self)


class Chunk(NamedTuple):
    """Samples of one packet and lead."""

    receipt_ms: int
    lead: int
    t_ms: int
    rate_hz: float
    gain: float
    samples: I16


OF_ALERTS = (
    "alert_id", "patient", "rule", "level", "sentence", "kind", "points", "onset_ms", "t_ms", "clock_ms",
)  # fmt: skip
"""Columns of `rules.alerts.SCHEMA` that `wanted` looks at."""


def wanted(alerts: pl.DataFrame) -> list[Wanted]:
    """Give the strips that rows of `rules.alerts.SCHEMA`, or of `OF_ALERTS`, ask for.

    One for each alert that rests on ECG when it opens, and one when it gets graver.
    """
    begun = alerts.filter(pl.col("kind").is_in([Happening.OPENED.value, Happening.RAISED.value]))
    out = []
    for row in begun.iter_rows(named=True):
        points = [each for each in row["points"] if each["signal"] in _ECG]
        if not points:
            continue
        # An alert that waited began ten minutes ago: its strip is of then.
        at = row["onset_ms"] if row["kind"] == Happening.OPENED.value else row["t_ms"]
        said = [each for each in points if each["signal"] in _LASTED] or points
        said = [each for each in said if each["t_ms"] <= at] or said
        point = max(said, key=lambda each: (each["t_ms"], each["signal"]))
        found = point["t_ms"]
        lasted = _LASTED[point["signal"]](point["value"]) if point["signal"] in _LASTED else 0.0
        onset = found - round(lasted)
        end = min(max(onset + _AFTER_MS, found + _AFTER_FINDING_MS), onset - _BEFORE_MS + _LONGEST_MS)
        start, clock = onset - _BEFORE_MS, row["clock_ms"]
        first = max(clock - LOOK_BACK_MS, start - LEAD_IN_MS - _CLOCK_AHEAD_MS)
        out.append(
            Wanted(
                **{name: row[name] for name in ("alert_id", "patient", "rule", "level", "sentence")},
                onset_ms=onset,
                found_ms=found,
                start_ms=start,
                end_ms=end,
                first_ms=first,
                last_ms=clock + WAIT_MS,
            )
        )
    return out


def hash_of(patient: str) -> int:
    """Give the hash by which batches know a patient."""
    data = np.frombuffer(patient.encode("ascii"), np.uint8)
    return int(hash_id(data, 0, len(data))[0])


def chunks_of(batch: Batch, each: Wanted) -> Iterator[Chunk]:
    """Give the chunks of a batch that may be on a strip or lead in to it, in the order of arrival."""
    packet = batch.chunk_packet
    mine = batch.patient[packet] == np.uint64(hash_of(each.patient))
    for j in np.flatnonzero(mine).tolist():
        k = int(packet[j])
        receipt, t_ms, rate = int(batch.receipt_ms[k]), int(batch.t_ms[k]), float(batch.chunk_rate[j])
        samples = batch.samples[batch.sample_at[j] : batch.sample_at[j + 1]]
        end = t_ms + 1000.0 * len(samples) / rate
        if (
            each.first_ms <= receipt <= each.last_ms
            and t_ms < each.end_ms
            and end > each.start_ms - LEAD_IN_MS
            and batch.patient_id(k) == each.patient
        ):
            yield Chunk(
                receipt, int(batch.chunk_code[j]), t_ms, rate, float(batch.chunk_gain[j]), samples.copy()
            )


def assemble(each: Wanted, chunks: Iterable[Chunk]) -> tuple[pl.DataFrame, bool]:
    """Put strips together, one row a lead, and say whether all of them reach their end."""
    by_lead: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        by_lead.setdefault(chunk.lead, []).append(chunk)
    rows, whole = [], bool(by_lead)
    for lead in sorted(by_lead):
        row, end_ms = _strip(each, lead, by_lead[lead])
        whole &= end_ms >= each.end_ms
        if row is not None:
            rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA), whole


def _strip(each: Wanted, lead: int, chunks: list[Chunk]) -> tuple[dict[str, Any] | None, float]:
    """Give the strip of a lead, None where it has nothing, and the time up to which there is ECG."""
    inside = [chunk for chunk in chunks if _end(chunk) > each.start_ms]
    if not inside:
        return None, 0.0
    before = [chunk for chunk in inside if chunk.t_ms <= each.onset_ms]
    rate, gain = (before[-1] if before else inside[0])[3:5]
    start = each.start_ms - LEAD_IN_MS
    samples = np.full(int(np.ceil((each.end_ms - start) * rate / 1000.0)), MISSING, np.int16)
    reached = -np.inf
    for chunk in chunks:
        if (chunk.rate_hz, chunk.gain) != (rate, gain):
            continue
        if chunk.t_ms < reached - 2.0 - 500.0 / rate - 0.001 * len(chunk.samples) * 1000.0 / rate:
            continue  # seen: the line refuses it too
        at = round((chunk.t_ms - start) * rate / 1000.0)
        low, high = max(at, 0), min(at + len(chunk.samples), len(samples))
        if low < high:
            samples[low:high] = chunk.samples[low - at : high - at]
        reached = _end(chunk)
    there = np.flatnonzero(samples != MISSING)
    first = round(LEAD_IN_MS * rate / 1000.0)
    if not len(there) or there[-1] < first:
        return None, reached
    begin = int(there[0])  # a cold start is at the first sample, not in the silence before it
    found = analyse(Lead(by_code(lead).name, rate, gain, samples[begin:]))
    beats = found.beats + begin - first
    shown = beats >= 0
    classes = found.classes or []
    return {
        "alert_id": each.alert_id,
        "patient": each.patient,
        "rule": each.rule,
        "level": each.level,
        "sentence": each.sentence,
        "lead": lead,
        "onset_ms": each.onset_ms,
        "found_ms": each.found_ms,
        "start_ms": each.start_ms,
        "rate_hz": rate,
        "gain": gain,
        "samples": samples[first:].tolist(),
        "beats": beats[shown].tolist(),
        "classes": [kind for kind, here in zip(classes, shown.tolist(), strict=True) if here],
        "rhythm": _spans(found.rhythm, begin - first),
        "quality": _spans(found.quality, begin - first) if found.quality else [],
        "kernels": SOURCE_HASH,
    }, reached


def _end(chunk: Chunk) -> float:
    return chunk.t_ms + 1000.0 * len(chunk.samples) / chunk.rate_hz


def _spans(spans: Spans, shift: int) -> list[dict[str, Any]]:
    return [
        {"label": label, "start": start + shift, "end": end + shift, "decided": decided + shift}
        for start, end, label, decided in zip(
            spans.start.tolist(), spans.end.tolist(), spans.label, spans.decided.tolist(), strict=True
        )
        if end + shift > 0
    ]


def write(folder: Path, strips: pl.DataFrame) -> list[Path]:
    """Write each strip to its file under `folder`, whole or not at all; give the files.

    ``strips/day=YYYY-MM-DD/<alert>-<rule>-<lead>.parquet``; the day is the UTC day of the onset.
    """
    paths = []
    for row in strips.iter_slices(1):
        alert, rule, lead, onset = row.select("alert_id", "rule", "lead", "onset_ms").row(0)
        day = folder / FOLDER / f"day={day_of(onset)}"
        new = not day.exists()
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"{alert}-{rule}-{lead}.parquet"
        write_parquet(row, path)
        sync(day)
        if new:
            sync(day.parent)
            sync(folder)
        paths.append(path)
    return paths


def read(folder: Path, patient: str | None = None, alert_id: str | None = None) -> pl.DataFrame:
    """Read the strips of a history or of a replay: of one patient or alert, or all; in the order of onset."""
    pattern = f"{alert_id or '*'}-*.parquet"
    paths = sorted((folder / FOLDER).glob(f"day=*/{pattern}"))
    if not paths:
        return SCHEMA.to_frame()
    rows = pl.scan_parquet(paths, hive_partitioning=False, schema=SCHEMA)
    if patient is not None:
        rows = rows.filter(pl.col("patient") == patient)
    return rows.collect().sort("onset_ms", "patient", "alert_id", "rule", "lead")


def lead_of(row: dict[str, Any]) -> Lead:
    """Give a strip's samples as a lead of a record."""
    channel = by_code(row["lead"]).name
    return Lead(channel, row["rate_hz"], row["gain"], np.array(row["samples"], np.int16))


def marks_of(row: dict[str, Any]) -> Analysis:
    """Give what is marked on a strip."""
    beats = np.array(row["beats"], np.int64)
    return Analysis(
        row["rate_hz"], len(row["samples"]), beats, beats, row["classes"], _given(row["rhythm"]),
        _given(row["quality"]),
    )  # fmt: skip


def _given(spans: list[dict[str, Any]]) -> Spans:
    start, end, decided = (
        np.array([span[name] for span in spans], np.int64) for name in ("start", "end", "decided")
    )
    return Spans(start, end, [span["label"] for span in spans], decided)
