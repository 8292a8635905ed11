"""Bodies as a gateway sends them: the packets of some seconds, concatenated, in order of receipt."""

import math
import time
from collections.abc import Iterator

import numpy as np

from ingest.simulator.encode import join
from ingest.simulator.scenario import Cohort
from ingest.simulator.slabs import Progress, Slab, slabs
from ingest.simulator.strips import render
from ingest.simulator.truth import Truth

__all__ = ["SOURCE", "Body", "bodies", "stream"]

SOURCE = "simulator"

Body = tuple[int, str, bytes]
"""Receipt time (ms UTC), source, bytes."""

_MOST_BYTES = 1 << 20  # of spot packets in one body


def _slab_bodies(slab: Slab, slot_ms: int, from_ms: int) -> Iterator[Body]:
    body, starts, times = join(slab.tables)
    raw = body.tobytes()
    slot = times // slot_ms
    first = int(np.searchsorted(times, from_ms))
    edges = np.flatnonzero(np.diff(slot[first:], prepend=-1)) + first
    strips = sorted(
        (s for s in slab.strips if s.receipt_ms >= from_ms), key=lambda s: (s.receipt_ms, s.patient)
    )
    waiting = 0
    ends = np.append(edges[1:], len(times))
    for low, high in zip(edges.tolist(), ends.tolist(), strict=True):
        # A body is received at the end of its slot, with all of its packets.
        receipt = (int(slot[low]) + 1) * slot_ms
        while waiting < len(strips) and strips[waiting].receipt_ms < receipt:
            yield strips[waiting].receipt_ms, SOURCE, render(strips[waiting])
            waiting += 1
        at = low
        while at < high:
            end = int(np.searchsorted(starts, starts[at] + _MOST_BYTES, "right")) - 1
            end = min(max(end, at + 1), high)
            yield receipt, SOURCE, raw[int(starts[at]) : int(starts[end])]
            at = end
    for strip in strips[waiting:]:
        yield strip.receipt_ms, SOURCE, render(strip)


def bodies(
    cohort: Cohort,
    truth: list[Truth] | None = None,
    *,
    slot_s: float = 60.0,
    from_ms: int = 0,
    progress: Progress | None = None,
) -> Iterator[Body]:
    """Give all that the cohort sends, in order of receipt: late uploads when they come, duplicates twice.

    Parameters
    ----------
    cohort : Cohort
    truth : list
        Receives the truth, complete when the first body is given.
    slot_s : float
        Seconds of packets in one body.
    from_ms : int
        Leave out what was received before, ms UTC.
    """
    slot_ms = max(1, round(slot_s * 1000))
    for slab in slabs(cohort, "receipt_ms", [] if truth is None else truth, progress):
        yield from _slab_bodies(slab, slot_ms, from_ms)


def stream(
    cohort: Cohort, start_ms: int, speed: float, truth: list[Truth] | None = None, *, slot_s: float = 60.0
) -> Iterator[Body]:
    """Give what the cohort sends from `start_ms` on, by a clock that runs `speed` times as fast as real time.

    A live source: it sleeps until each body is due. Infinite `speed` does not wait.

    Raises
    ------
    ValueError
        `speed` is not positive.
    """
    if not speed > 0.0:
        msg = f"speed = {speed}: legal are numbers above 0"
        raise ValueError(msg)
    begun: float | None = None
    for receipt_ms, source, body in bodies(cohort, truth, slot_s=slot_s, from_ms=start_ms):
        if math.isfinite(speed):
            # The clock starts with the first body: drawing the cohort is not time that passes in it.
            begun = time.monotonic() if begun is None else begun
            due = begun + (receipt_ms - start_ms) / 1000.0 / speed
            wait = due - time.monotonic()
            if wait > 0.0:
                time.sleep(wait)
        yield receipt_ms, source, body
