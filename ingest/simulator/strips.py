"""ECG strips of a cohort: some patients send 30 seconds each morning, in a rhythm that the truth names."""

from dataclasses import dataclass

import numpy as np

from ingest.packet import ecg_chunk
from ingest.simulator.cohort import Block, rng
from ingest.simulator.ecg import Rhythm, synthesize
from ingest.simulator.measure import midnights
from ingest.simulator.scenario import BLOCK, Cohort
from ingest.simulator.truth import Truth

__all__ = ["Strip", "draw_strips", "render"]

SECONDS = 30.0
_SINGLE_LEAD = 34
# What a patient's strips show, with the share of patients; the rest are in sinus rhythm. Assumptions.
_RHYTHMS = (
    (Rhythm.ATRIAL_FIBRILLATION, 0.20),
    (Rhythm.ECTOPY, 0.12),
    (Rhythm.BRADYCARDIA, 0.05),
)
# What one strip may show instead, per strip.
_EVENTS = (
    (Rhythm.TACHYCARDIA, 0.02),
    (Rhythm.PAUSES, 0.01),
    (Rhythm.VENTRICULAR_TACHYCARDIA, 0.003),
    (Rhythm.VENTRICULAR_FIBRILLATION, 0.0005),
)


@dataclass(frozen=True, slots=True)
class Strip:
    """One strip before it is drawn: samples are made only when they are sent."""

    patient: int
    seq: int
    t_ms: int
    receipt_ms: int
    rhythm: Rhythm
    seed: tuple[int, ...]


def _choose(random: np.random.Generator, table: tuple[tuple[Rhythm, float], ...], default: Rhythm) -> Rhythm:
    draw = random.random()
    for rhythm, share in table:
        if draw < share:
            return rhythm
        draw -= share
    return default


def draw_strips(cohort: Cohort, block: Block) -> tuple[list[Strip], list[Truth]]:
    """Give the strips of a block in order of receipt, and the truth of those not in sinus rhythm."""
    random = rng(cohort, block.number, 5)
    owners = np.flatnonzero(random.random(BLOCK) < cohort.scenario.ecg_share)
    starts = midnights(cohort.start_ms, cohort.days, cohort.zone)
    strips: list[Strip] = []
    for owner in owners.tolist():
        usual = _choose(random, _RHYTHMS, Rhythm.SINUS)
        hour = random.uniform(6.0, 11.0)
        used = (random.random(cohort.days) < cohort.scenario.adherence) & block.home[owner]
        for seq, day in enumerate(np.flatnonzero(used).tolist(), 1):
            rhythm = _choose(random, _EVENTS, usual)
            at = int(starts[day] + (hour + random.uniform(-0.3, 0.3)) * 3_600_000)
            receipt = at + int((SECONDS + 2.0 + random.exponential(8.0)) * 1000)
            if owner < block.patients:
                seed = (cohort.seed, block.first + owner, seq)
                strips.append(Strip(block.first + owner, seq, at, receipt, rhythm, seed))
    strips.sort(key=lambda strip: (strip.receipt_ms, strip.patient))
    truth = []
    for rhythm in Rhythm:
        mine = [strip for strip in strips if strip.rhythm is rhythm and rhythm is not Rhythm.SINUS]
        begun = np.array([strip.t_ms for strip in mine], np.int64)
        truth.append(
            Truth(
                "rhythm",
                np.array([strip.patient for strip in mine], np.int64),
                begun,
                begun,
                begun + int(SECONDS * 1000),
                np.zeros(len(mine)),
                "E",
                np.array([strip.seq for strip in mine], np.int64),
                rhythm.value,
            )
        )
    return strips, truth


def render(strip: Strip) -> bytes:
    """Draw the samples of a strip and give its packet."""
    ecg = synthesize(strip.rhythm, SECONDS, list(strip.seed))
    number = f"{strip.patient + 1:07d}"
    return ecg_chunk(
        "P" + number,
        "E" + number,
        strip.seq,
        strip.t_ms,
        _SINGLE_LEAD,
        ecg.rate_hz,
        ecg.gain,
        ecg.samples,
        device_ms=strip.t_ms,
        gateway_ms=strip.receipt_ms,
    )
