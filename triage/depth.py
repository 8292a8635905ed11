"""How deep the queue is, for the service's metrics: open lines of each level, and how long the oldest has waited."""

import time
from collections.abc import Callable

from engine.metrics import QueueDepth
from triage.store import Store

__all__ = ["of"]


def of(store: Store) -> Callable[[], list[QueueDepth]]:
    """Give a function that asks the queue of `store` how deep it is now."""

    def depth() -> list[QueueDepth]:
        now_ms = time.time_ns() // 1_000_000
        return [
            QueueDepth(level, lines, max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms is not None else 0.0)
            for level, (lines, oldest_ms) in store.oldest().items()
        ]

    return depth
