"""The shipped heart-failure protocol, whole, on a simulated cohort: bytes in, alert rows out."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import rules
from bench.apart import without_answers
from engine.line import AHEAD, Line, Taken
from engine.program import Options, Program, protocol_signals
from ingest.decode import Decoder
from ingest.signals import plausible_ranges
from ingest.simulator import Cohort, Item, bodies
from kernels import features
from rules.protocol import load

__all__ = ["Entry", "batches", "item_ranges", "make_batches", "make_program", "run"]

Entry = tuple[int, int, str, bytes]
PROTOCOL = Path(rules.__file__).parent / "protocols" / "insuffisance_cardiaque.toml"


def make_program(*, answers: bool = True) -> Program:
    """Compile the shipped protocol, with its questionnaire or with its eight signals alone."""
    protocol = load(PROTOCOL, protocol_signals(), features.STATISTICS)
    if not answers:
        protocol = without_answers(protocol)
    return Program([protocol], Options(deaf_after_ms=0))


def item_ranges(program: Program) -> dict[int, tuple[float, float]]:
    """Lowest and highest answer of each questionnaire item, by code: what the decoder must know."""
    return {item.code: item.range for protocol in program.protocols for item in protocol.items.values()}


def batches(
    program: Program, patients: int, days: int, *, per_batch: int = 8_000_000, seed: int = 11
) -> Iterator[list[Entry]]:
    """Simulate a cohort as log entries, in batches of about `per_batch` bytes: as large as a replay reads a log."""
    items = {
        item.name: Item(item.code, int(item.range[0]), int(item.range[1]))
        for protocol in program.protocols
        for item in protocol.items.values()
    }
    batch: list[Entry] = []
    size = 0
    for offset, (receipt_ms, source, body) in enumerate(
        bodies(Cohort(patients, days, seed=seed, items=items))
    ):
        batch.append((offset, receipt_ms, source, body))
        size += len(body)
        if size > per_batch:
            yield batch
            batch = []
            size = 0
    yield batch


def make_batches(program: Program, patients: int = 5000, days: int = 30) -> list[list[Entry]]:
    """Simulate a cohort, all of it in memory."""
    return list(batches(program, patients, days))


def run(program: Program, entries: Sequence[Sequence[Entry]], shards: int = 1) -> tuple[int, int]:
    """Take every batch through the line; (readings, alert rows)."""
    decoders = cycle([Decoder(*plausible_ranges(item_ranges(program))) for _ in range(AHEAD + 2)])
    batches = (Taken(*next(decoders).decode(each), None) for each in entries)
    readings = alerts = 0
    with Line(program, shards=shards) as line:
        # One core: one thread does it all. With two shards the next batch is decoded while they work.
        done = line.stream(batches) if shards > 1 else map(line.take, batches)
        for processed in done:
            readings += len(processed.batch.code)
            alerts += len(processed.alerts)
    return readings, alerts
