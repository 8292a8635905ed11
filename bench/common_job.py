"""The common job, by which streaming engines can be compared: 2,000,000 packets of 20,000 patients, three rules.

ORANGE when the weight is 2 kg or more above the least of the 72 hours before, ROUGE when it is 3 kg or more above
the least of 7 days, ROUGE when the systolic pressure is under 90 mmHg or SpO2 under 90 %. Bytes in, alerts out:
patient, rule, event time at which a rule began to be true. A rule that has nothing to compare with stays as it was.

Beside Vigie's own line stand the two that a reader would otherwise write: plain Python with msgpack and
dictionaries, and Polars' rolling windows over a table that is decoded already.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgpack
import numpy as np
import polars as pl

from engine.program import DAY_MS, Options, Program, protocol_signals
from engine.shard import Clock, Shard
from ingest.columns import Batch
from ingest.decode import Decoder, decode
from ingest.signals import MILLI, plausible_ranges
from kernels import features
from kernels.lifecycle import OPENED
from rules.protocol import load

__all__ = ["RULES", "make_bodies", "make_program", "plain_python", "polars_rolling", "table", "vigie"]

START_MS = 1_760_000_000_000
DAYS = 60
WEIGHT, SYSTOLIC, SPO2 = 1, 2, 9
RULES = ("gain_3d", "gain_7d", "systolic_low", "spo2_low")
_HOUR_MS = 3_600_000

Alert = tuple[str, str, int]


def make_bodies(
    packets: int = 2_000_000, patients: int = 20_000, *, per_body: int = 1000, seed: int = 7
) -> list[bytes]:
    """Encode the packets as a gateway would, in order of event time, several to a body."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, packets)
    t_ms = START_MS + np.sort(rng.integers(0, DAYS * DAY_MS, packets))
    code = np.array([WEIGHT, SYSTOLIC, SPO2])[rng.integers(0, 3, packets)]
    weight = 60 + patient % 40 + rng.normal(0, 0.45, packets)
    value = np.where(
        code == WEIGHT,
        weight.round(1),
        np.where(
            code == SYSTOLIC,
            rng.normal(128, 12, packets).round().clip(60, 240),
            rng.normal(96, 1.8, packets).round().clip(70, 100),
        ),
    )
    columns = (patient.tolist(), t_ms.tolist(), code.tolist(), value.tolist())
    pack = msgpack.Packer(autoreset=False)
    bodies = []
    for i, (who, t, what, number) in enumerate(zip(*columns, strict=True)):
        pack.pack([1, f"P{who:07d}", f"D{who:06d}", i, t, t, t, 0, [what, number]])
        if (i + 1) % per_body == 0 or i + 1 == packets:
            bodies.append(pack.bytes())
            pack.reset()
    return bodies


def make_program() -> Program:
    """Compile ``common_job.toml``."""
    protocol = load(Path(__file__).with_name("common_job.toml"), protocol_signals(), features.STATISTICS)
    # A rule that ends may begin again: nobody is there to close a ROUGE.
    return Program([protocol], Options(deaf_after_ms=0, close_at_recovery=True, again_ms=DAYS * DAY_MS))


def vigie(bodies: Sequence[bytes], program: Program, *, per_batch: int = 128) -> tuple[set[Alert], Shard]:
    """Decode and process; the alerts as Vigie gives them."""
    decoder = Decoder(*plausible_ranges())
    shard = Shard(program)
    no_outages = np.empty((0, 2), np.int64)
    late_ms = START_MS + DAYS * DAY_MS
    out: set[Alert] = set()
    for first in range(0, len(bodies), per_batch):
        entries = [
            (first + k, late_ms, "gateway", body) for k, body in enumerate(bodies[first : first + per_batch])
        ]
        batch, quarantine = decoder.decode(entries)
        if len(quarantine):
            raise AssertionError(quarantine)
        for changes in shard.process(batch, Clock(batch.receipt_ms, late_ms, no_outages)).changes:
            opened = changes.kind == OPENED
            patients = shard.state.patient_ids(changes.slot[opened])
            rules = [program.rule_rows[r].id for r in changes.rule[opened].tolist()]
            out.update(zip(patients, rules, changes.onset_ms[opened].tolist(), strict=True))
    return out, shard


def plain_python(bodies: Sequence[bytes]) -> set[Alert]:
    """Do the job with msgpack, dictionaries and deques."""
    out: set[Alert] = set()
    weights: dict[str, deque[tuple[int, int]]] = {}
    firing: dict[tuple[str, str], bool] = {}

    def verdict(patient: str, rule: str, t: int, *, true: bool) -> None:
        if true and not firing.get((patient, rule), False):
            out.add((patient, rule, t))
        firing[patient, rule] = true

    for body in bodies:
        unpacker = msgpack.Unpacker()
        unpacker.feed(body)
        for _, patient, _, _, t, _, _, _, (code, value) in unpacker:
            milli = round(value * MILLI)
            if code == WEIGHT:
                window = weights.setdefault(patient, deque())
                while window and window[0][0] < t - 7 * DAY_MS:
                    window.popleft()
                week = [w for s, w in window if s < t]
                recent = [w for s, w in window if t - 72 * _HOUR_MS <= s < t]
                if recent:
                    verdict(patient, "gain_3d", t, true=milli - min(recent) >= 2 * MILLI)
                if week:
                    verdict(patient, "gain_7d", t, true=milli - min(week) >= 3 * MILLI)
                window.append((t, milli))
            elif code == SYSTOLIC:
                verdict(patient, "systolic_low", t, true=milli < 90 * MILLI)
            elif code == SPO2:
                verdict(patient, "spo2_low", t, true=milli < 90 * MILLI)
    return out


def table(bodies: Sequence[bytes]) -> pl.DataFrame:
    """Decode into a table: what `polars_rolling` is given."""
    low, high = plausible_ranges()
    batch: Batch
    batch, _ = decode([(0, START_MS + DAYS * DAY_MS, "gateway", body) for body in bodies], low, high)
    return pl.DataFrame(
        {
            "patient": np.array([batch.patient_id(row) for row in range(len(batch))]),
            "t": batch.t_ms,
            "code": batch.code,
            "milli": batch.milli,
        }
    )


def polars_rolling(readings: pl.DataFrame) -> set[Alert]:
    """Do the job over the whole table with rolling windows."""

    def begins(frame: pl.DataFrame, rule: str, when: pl.Expr) -> set[Alert]:
        true = when.forward_fill().over("patient")
        edges = frame.filter(true & ~true.shift(1).over("patient").fill_null(value=False))
        return {(patient, rule, t) for patient, t in edges.select("patient", "t").iter_rows()}

    weights = readings.filter(pl.col("code") == WEIGHT).with_columns(time=pl.from_epoch("t", time_unit="ms"))
    weights = weights.sort("patient", "time", maintain_order=True)

    def rise(hours: int) -> pl.Expr:
        least = pl.col("milli").rolling_min_by("time", f"{hours}h", closed="left").over("patient")
        return pl.col("milli") - least

    gains = weights.with_columns(three=rise(72), seven=rise(168))
    out = begins(gains, "gain_3d", pl.col("three") >= 2 * MILLI)
    out |= begins(gains, "gain_7d", pl.col("seven") >= 3 * MILLI)
    for code, rule in ((SYSTOLIC, "systolic_low"), (SPO2, "spo2_low")):
        frame = readings.filter(pl.col("code") == code).sort("patient", "t", maintain_order=True)
        out |= begins(frame, rule, pl.col("milli") < 90 * MILLI)
    return out
