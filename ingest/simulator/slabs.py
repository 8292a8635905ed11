"""The packets of a cohort in order of time, in bounded memory.

Patients are drawn block by block, but a log and a file are ordered by time. Each block's packets are cut into
slabs of some days, kept (on disk when the cohort is large), and given slab by slab once all are drawn.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from ingest.simulator.cohort import draw
from ingest.simulator.faults import spoil
from ingest.simulator.measure import measure
from ingest.simulator.packets import Packets, devices, select, stack
from ingest.simulator.scenario import DAY_MS, Cohort
from ingest.simulator.strips import Strip, draw_strips
from ingest.simulator.truth import Truth

__all__ = ["Progress", "Slab", "slabs"]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

_IN_MEMORY = 2_000_000  # patient-days: above, slabs wait on disk
_SLAB = 400_000  # patient-days of one slab, at most


@dataclass(slots=True)
class Slab:
    """Packets of some days, one table per device, and the strips; not yet in order among themselves."""

    tables: list[Packets] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)


class _Store:
    """Keeps the pieces of slabs until all blocks are drawn: in memory, or in a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: dict[tuple[int, int], list[Packets | Path]] = {}
        self.strips: dict[int, list[Strip]] = {}

    def put(self, slab: int, device: int, block: int, packets: Packets) -> None:
        kept: Packets | Path = packets
        if self._folder is not None:
            kept = self._folder / f"{slab}-{device}-{block}.npz"
            columns = {f.name: getattr(packets, f.name) for f in fields(Packets) if f.name != "device"}
            np.savez(kept, **columns)
        self._kept.setdefault((slab, device), []).append(kept)

    def take(self, slab: int, cohort: Cohort) -> Slab:
        tables = []
        for number, device in enumerate(devices(cohort)):
            parts = []
            for kept in self._kept.pop((slab, number), []):
                if isinstance(kept, Packets):
                    parts.append(kept)
                    continue
                with np.load(kept) as columns:
                    parts.append(Packets(device, **{name: columns[name] for name in columns.files}))
                kept.unlink()
            if parts:
                tables.append(stack(parts))
        return Slab(tables, self.strips.pop(slab, []))


def slabs(
    cohort: Cohort, order_by: str, truth: list[Truth], progress: Progress | None = None
) -> Iterator[Slab]:
    """Give the cohort's packets slab by slab; all of a slab come before all of the next.

    Parameters
    ----------
    cohort : Cohort
    order_by : str
        "receipt_ms" for a log, "t_ms" for a file in event time.
    truth : list
        Receives the truth.
    progress : callable
        Called after each block, and after each slab once it was used.
    """
    span = max(1, _SLAB // cohort.patients)
    count = -(-cohort.days // span)
    steps = cohort.blocks + count
    large = cohort.patients * cohort.days > _IN_MEMORY
    with tempfile.TemporaryDirectory(prefix="vigie-simulate-") as folder:
        store = _Store(Path(folder) if large else None)
        for number in range(cohort.blocks):
            block = draw(cohort, number)
            truth += block.truth
            tables, noted = measure(cohort, block)
            truth += noted
            tables, noted = spoil(cohort, block, tables)
            truth += noted
            for device, packets in enumerate(tables):
                # What comes before the start or after the end belongs to the first or last slab.
                day = (getattr(packets, order_by) - cohort.start_ms) // DAY_MS
                slab = np.clip(day // span, 0, count - 1)
                for which in np.unique(slab).tolist():
                    store.put(which, device, number, select(packets, slab == which))
            if cohort.ecg:
                strips, noted = draw_strips(cohort, block)
                truth += noted
                for strip in strips:
                    at = strip.receipt_ms if order_by == "receipt_ms" else strip.t_ms
                    which = min(max((at - cohort.start_ms) // DAY_MS // span, 0), count - 1)
                    store.strips.setdefault(which, []).append(strip)
            if progress:
                progress(number + 1, steps)
        for which in range(count):
            yield store.take(which, cohort)
            if progress:
                progress(cohort.blocks + which + 1, steps)
