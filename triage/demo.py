"""A simulated cell on the embedded default: log, line, queue, with time running fast.

What happens is the real thing (packets through the log, the line and the queue) but for three parts: the patients,
the clock, and the nurse of the days that are behind them, who closes each ROUGE a while after it opened.
"""

import heapq
import math
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from rich.console import Console, RenderableType
from rich.live import Live

import triage.store
from engine import acts
from engine.load import load
from engine.progress import Progress
from engine.protocols import shipped
from ingest import simulator
from ingest.log import Log
from ingest.simulator.bodies import Body
from ingest.simulator.truth import patient_ids
from rules.alerts import SCHEMA
from triage import demo_ecg, view

__all__ = ["Cell", "run"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

PARIS = ZoneInfo("Europe/Paris")

HEARTBEAT_MS = 5 * MINUTE_MS
"""An empty body this often says that the line hears: nights without readings are no outage."""

ANSWER_MS = 9 * MINUTE_MS
"""After so long the nurse of the days behind closes a ROUGE."""

REASON = 1

MORNING_MS = 6 * HOUR_MS
"""The live part begins when patients get up: nothing comes at night, and nobody would see it fill."""

AHEAD_DAYS = 30
"""Days that are simulated for the live part: at 600 times, over an hour of ours."""

ECG_PATIENTS = 24
"""So many patients have an ECG device beside the others: the live part has ECG in it."""

AT_ONCE = 512
"""Entries of the log to a batch."""

LOOK_S = 0.5
SAY_S = 5.0


class Cell:
    """A simulated cell in a folder: its log, its line, its queue.

    Parameters
    ----------
    folder : Path
        Where ``log`` and ``queue.sqlite`` are made.
    patients, days, seed : int
        Of the simulation; `days` are behind them when the live part begins.
    """

    def __init__(self, folder: Path, patients: int, days: int, seed: int) -> None:
        loaded = load(list(shipped()))
        self._cohort = simulator.Cohort(
            patients,
            days + AHEAD_DAYS,
            seed,
            items={
                name: simulator.Item(code, *map(int, loaded.items[code]))
                for name, code in loaded.item_codes.items()
            },
        )
        self.start_ms = self._cohort.start_ms + days * DAY_MS + MORNING_MS
        self.end_ms = self._cohort.end_ms
        with_ecg = patient_ids(np.arange(0, patients, max(1, patients // ECG_PATIENTS)))[:ECG_PATIENTS]
        ecg = demo_ecg.strips(with_ecg, self.start_ms, self.end_ms, demo_ecg.records())
        received = heapq.merge(simulator.bodies(self._cohort), ecg, key=itemgetter(0))
        self._bodies = _Bodies(_heard(received, self._cohort.start_ms))
        self._decoder = loaded.decoder()
        self._to_close: list[tuple[int, str, str, str]] = []
        self._acts = 0
        self._open = ExitStack()
        self._log = self._open.enter_context(Log.open(folder / "log"))
        self.line = self._open.enter_context(loaded.line())
        self.queue = self._open.enter_context(triage.store.open(folder / "queue.sqlite"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def catch_up(self, progress: Progress) -> None:
        """Take in the days that are behind, as fast as they go."""
        step = DAY_MS // 4
        progress.step("days behind", (self.start_ms - self._cohort.start_ms) / HOUR_MS, "hours")
        for until in range(self._cohort.start_ms + step, self.start_ms + 1, step):
            self.take(until, nurse=True)
            progress.advance(step / HOUR_MS)

    def take(self, until_ms: int, *, nurse: bool = False) -> pl.DataFrame:
        """Take in all that is received before `until_ms`: log, decode, line, queue; return the alerts' rows.

        With `nurse`, each ROUGE that opens is closed a while later, by an act that takes the same way.
        """
        due = [act for act in self._to_close if act[0] < until_ms]
        self._to_close = [act for act in self._to_close if act[0] >= until_ms]
        received = [*self._bodies.before(until_ms), *map(self._act, due)]
        received.sort(key=itemgetter(2))
        frames = []
        for ticket in self._log.append_many(received, timeout=None):
            ticket.result()
        while entries := self._log.read(self.line.next_offset, max_entries=AT_ONCE):
            batch, quarantine = self._decoder.decode(
                [(entry.offset, entry.receipt_ms, entry.source, entry.body) for entry in entries]
            )
            heard = np.array([entry.receipt_ms for entry in entries], np.int64)
            alerts = self.line.process(batch, quarantine, heard).alerts
            self.queue.apply(alerts)
            frames.append(alerts)
        alerts = pl.concat(frames) if frames else SCHEMA.to_frame()
        if nurse:
            self._answer(alerts)
        return alerts

    def _answer(self, alerts: pl.DataFrame) -> None:
        """Remember to close what reached ROUGE."""
        reached = alerts.filter(pl.col("kind").is_in(["opened", "raised"]) & (pl.col("level") == "ROUGE"))
        for clock, patient, protocol, problem in reached.select(
            "clock_ms", "patient", "protocol", "problem"
        ).iter_rows():
            self._to_close.append((clock + ANSWER_MS, patient, protocol, problem))

    def _act(self, due: tuple[int, str, str, str]) -> tuple[str, bytes, int]:
        t_ms, patient, protocol, problem = due
        self._acts += 1
        body = acts.closing(patient, protocol, problem, REASON, workplace="demo", seq=self._acts, t_ms=t_ms)
        return acts.SOURCE, body, t_ms


class _Bodies:
    """Bodies up to a time, again and again."""

    def __init__(self, source: Iterator[Body]) -> None:
        self._source = source
        self._next: Body | None = None

    def before(self, until_ms: int) -> Iterator[tuple[str, bytes, int]]:
        """Give (source, body, receipt time) of what is received before `until_ms`."""
        self._next = self._next or next(self._source, None)
        while self._next is not None and self._next[0] < until_ms:
            receipt_ms, source, body = self._next
            yield source, body, receipt_ms
            self._next = next(self._source, None)


def _heard(source: Iterator[Body], start_ms: int) -> Iterator[Body]:
    """Put an empty body into every pause: the line hears, although nobody says anything."""
    at = start_ms
    for body in source:
        while at + HEARTBEAT_MS < body[0]:
            at += HEARTBEAT_MS
            yield at, "heartbeat", b""
        at = max(at, body[0])
        yield body


def run(
    *,
    for_s: float | None,
    patients: int,
    days: int,
    speed: float,
    seed: int,
    folder: Path | None,
    progress: AbstractContextManager[Progress],
) -> str:
    """Make a cell, take in the days behind, then show its queue while time runs; return what went through.

    Parameters
    ----------
    for_s : float
        Seconds of the live part; None goes on until it is interrupted, or the simulation ends.
    patients, days, seed : int
        See `Cell`.
    speed : float
        Seconds of the patients' time in one of ours.
    folder : Path
        Where log and queue are kept, new or empty; None for a temporary one.
    progress : context manager of Progress
        Told of what comes before the live part.
    """
    with ExitStack() as stack:
        where = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vigie-demo-")))
        where.mkdir(parents=True, exist_ok=True)
        if any(where.iterdir()):
            msg = f"{where}: holds something; a demonstration takes a new or an empty folder"
            raise FileExistsError(msg)
        with progress as told:
            told.step("cohort")
            cell = stack.enter_context(Cell(where, patients, days, seed))
            cell.catch_up(told)
        _live(cell, for_s, speed, stack.enter_context(_interrupted()))
        return _summary(cell)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Note Ctrl-C instead of raising it: a batch is taken whole, and Polars, while it works, would end the process."""
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _live(cell: Cell, for_s: float | None, speed: float, asked: threading.Event) -> None:
    console = Console()
    begun = time.monotonic()
    said = -math.inf
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if console.is_terminal else None
        while True:
            ran = time.monotonic() - begun
            now_ms = min(cell.end_ms, cell.start_ms + round(1000 * ran * speed))
            cell.take(now_ms)
            over = asked.is_set() or now_ms == cell.end_ms or (for_s is not None and ran >= for_s)
            if live is not None:
                live.update(_panel(cell, console, now_ms), refresh=True)
            elif over or ran - said >= SAY_S:
                said = ran
                console.print(view.counts(cell.queue.waiting(), now_ms, PARIS))
            if over:
                break
            asked.wait(LOOK_S)
    if live is None:
        console = Console(width=160)
        console.print(_panel(cell, console, now_ms))


def _panel(cell: Cell, console: Console, now_ms: int) -> RenderableType:
    room = max(1, (console.height - 6) // 2)
    return view.panel(cell.queue.queue(at_most=room), cell.queue.waiting(), now_ms, PARIS)


def _summary(cell: Cell) -> str:
    account = cell.line.accounts.total
    refused = ", ".join(f"{reason} {count:,}" for reason, count in sorted(account.quarantined.items()))
    return (
        f"{account.received:,} packets: {account.applied:,} applied, {account.duplicate:,} duplicate, "
        f"{account.late:,} late, {sum(account.quarantined.values()):,} quarantined"
        + (f" ({refused})" if refused else "")
    )
