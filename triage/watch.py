"""The queue on a terminal: once, or as it changes."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.console import Console
from rich.live import Live

from triage import view
from triage.store import Store

__all__ = ["Clock", "clock", "show", "watch", "zone"]

Clock = Callable[[Store], int]
"""Tells the time, in milliseconds UTC, to which the time left is counted."""

EVERY_S = 1.0
"""How often the live queue looks: an alert is on the screen a second after its commit."""


def clock(named: str) -> Clock:
    """Read the name of a clock: ``now``, ``last`` (newest row of the queue), or an ISO 8601 time with its zone.

    Raises
    ------
    ValueError
        Where it is none of these.
    """
    if named == "now":
        return lambda _store: _now_ms()
    if named == "last":
        # A queue without rows has no last one, and nothing to count either.
        return lambda store: store.clock_ms() or _now_ms()
    try:
        at = datetime.fromisoformat(named)
    except ValueError:
        msg = f"time {named!r}; legal are now, last, or ISO 8601 such as 2026-03-01T08:00+01:00"
        raise ValueError(msg) from None
    if at.tzinfo is None:
        msg = f"time {named!r} has no zone; legal is such as {named}+01:00, or {named}Z"
        raise ValueError(msg)
    fixed = round(at.timestamp() * 1000)
    return lambda _store: fixed


def zone(named: str) -> ZoneInfo:
    """Read the name of a zone.

    Raises
    ------
    ValueError
        Where there is no zone of that name.
    """
    try:
        return ZoneInfo(named)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"zone {named!r}; legal are names of the IANA table, such as Europe/Paris"
        raise ValueError(msg) from None


def show(store: Store, now: Clock, where: ZoneInfo, at_most: int) -> None:
    """Print the queue once; on what is no terminal, wide enough for a whole sentence."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(view.panel(store.queue(at_most=at_most), store.waiting(), now(store), where))


def watch(
    store: Store, now: Clock, where: ZoneInfo, at_most: int, stop: threading.Event | None = None
) -> None:
    """Show the queue until `stop` is set, or until the reader interrupts it."""
    stop = stop or threading.Event()
    console = Console()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            # As many lines as the screen holds: one that is cut off may be the one to call.
            room = max(1, min(at_most, (console.height - 6) // 2))
            lines = store.queue(at_most=room)
            live.update(view.panel(lines, store.waiting(), now(store), where), refresh=True)
            if stop.wait(EVERY_S):
                return


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
