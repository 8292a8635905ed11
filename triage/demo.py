"""A simulated cell on the embedded default: log, line, queue, with time running fast.

What happens is the real thing (packets through the log, the line and the queue) but for three parts: the patients,
the clock, and the nurse of the days that are behind them, who closes each ROUGE a while after it opened.
"""

import heapq
import math
import queue
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from rich.console import Console, Group, RenderableType
from rich.live import Live

import triage.store
from engine import acts
from engine.durable import DurableLine, Upkeep
from engine.load import load
from engine.progress import Progress
from engine.protocols import shipped
from ingest import simulator
from ingest.log import Log
from ingest.simulator.bodies import Body
from ingest.simulator.truth import patient_ids
from rules.alerts import SCHEMA
from triage import demo_ecg, view
from triage.web.demo import pages
from triage.work import outgoing

__all__ = ["Cell", "run"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

PARIS = ZoneInfo("Europe/Paris")

HEARTBEAT_MS = 5 * MINUTE_MS
"""An empty body this often says that the line hears: nights without readings are no outage."""

ANSWER_MS = {"ROUGE": 9 * MINUTE_MS, "ORANGE": 50 * MINUTE_MS, "TECHNIQUE": 240 * MINUTE_MS}
"""After so long the nurse of the days behind closes what opened."""

REASON = 1

MORNING_MS = 7 * HOUR_MS
"""The live part begins when patients weigh themselves: some alerts wait, and a few more come every minute."""

AHEAD_DAYS = 30
"""Days that are simulated for the live part: at 600 times, over an hour of ours."""

ECG_PATIENTS = 24
"""So many patients have an ECG device beside the others: the live part has ECG in it."""

HISTORY_ROWS = 1_000_000
"""Readings that wait in memory for history's next commit."""

LOOK_S = 0.5
SAY_S = 5.0
SHOW_S = 10.0


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
        self.patients = patient_ids(np.arange(patients))
        self.start_ms = self._cohort.start_ms + days * DAY_MS + MORNING_MS
        self.end_ms = self._cohort.end_ms
        with_ecg = patient_ids(np.arange(0, patients, max(1, patients // ECG_PATIENTS)))[:ECG_PATIENTS]
        ecg = demo_ecg.strips(with_ecg, self.start_ms, self.end_ms, demo_ecg.records())
        received = heapq.merge(simulator.bodies(self._cohort), ecg, key=itemgetter(0))
        self._bodies = _Bodies(_heard(received, self._cohort.start_ms))
        self._to_close: list[tuple[int, str, str, str]] = []
        self._acts = 0
        self._frames: list[pl.DataFrame] = []
        self._open = ExitStack()
        self.queue = self._open.enter_context(triage.store.open(folder / "queue.sqlite"))
        durable = DurableLine(
            folder,
            loaded.program,
            sink=_Sink(self.queue, self._frames),
            roster=loaded.roster,
            # It is not started again: nothing is kept of it but what is looked at.
            upkeep=Upkeep(checkpoint_s=math.inf, history_rows=HISTORY_ROWS),
        )
        self._durable = self._open.enter_context(durable)
        self.line = durable.line
        assert isinstance(durable.log, Log)  # noqa: S101 - a line without tenure has opened a file
        self._log = durable.log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def catch_up(self, progress: Progress) -> None:
        """Take in the days that are behind, as fast as they go."""
        progress.step("days behind", (self.start_ms - self._cohort.start_ms) / HOUR_MS, "hours")
        at = self._cohort.start_ms
        while at < self.start_ms:
            # In small steps at the end: what opened in the last hours was answered too, but for the newest.
            step = DAY_MS // 4 if at < self.start_ms - DAY_MS else MINUTE_MS * 10
            until = min(at + step, self.start_ms)
            self.take(until, nurse=True)
            progress.advance((until - at) / HOUR_MS)
            at = until
        # What is open now is for whoever is there now.
        self._to_close.clear()

    def take(self, until_ms: int, *, nurse: bool = False) -> pl.DataFrame:
        """Take in all that is received before `until_ms`: log, decode, line, queue; return the alerts' rows.

        With `nurse`, each ROUGE that opens is closed a while later, by an act that takes the same way.
        """
        due = [act for act in self._to_close if act[0] < until_ms]
        self._to_close = [act for act in self._to_close if act[0] >= until_ms]
        letters = outgoing.waiting(self.queue.engine)
        typed = [(letter.source, letter.body, until_ms - 1) for letter in letters]
        received = [*self._bodies.before(until_ms), *map(self._act, due), *typed]
        received.sort(key=itemgetter(2))
        for ticket in self._log.append_many(received, timeout=None):
            ticket.result()
        outgoing.sent(self.queue.engine, [letter.id for letter in letters], until_ms)
        self._durable.catch_up()
        alerts = pl.concat(self._frames) if self._frames else SCHEMA.to_frame()
        self._frames.clear()
        if nurse:
            self._answer(alerts)
        return alerts

    def show(self) -> None:
        """Put the readings so far where the curves are drawn from."""
        if self._durable.history is not None:
            self._durable.history.commit(self._durable.next_offset)

    def _answer(self, alerts: pl.DataFrame) -> None:
        """Remember to close what opened or rose."""
        reached = alerts.filter(pl.col("kind").is_in(["opened", "raised"]))
        for level, clock, patient, protocol, problem in reached.select(
            "level", "clock_ms", "patient", "protocol", "problem"
        ).iter_rows():
            self._to_close.append((clock + ANSWER_MS[level], patient, protocol, problem))

    def _act(self, due: tuple[int, str, str, str]) -> tuple[str, bytes, int]:
        t_ms, patient, protocol, problem = due
        self._acts += 1
        body = acts.closing(patient, protocol, problem, REASON, workplace="demo", seq=self._acts, t_ms=t_ms)
        return acts.SOURCE, body, t_ms


@dataclass(slots=True)
class _Sink:
    """Puts rows in the queue, and aside for the nurse of the days behind."""

    queue: triage.store.Store
    frames: list[pl.DataFrame]

    def __call__(self, alerts: pl.DataFrame) -> None:
        self.queue.apply(alerts)
        self.frames.append(alerts)


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
    web: bool,
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
    web : bool
        Whether to serve the nurses' pages; their address and accounts are printed.
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
            cell.show()
        asked = stack.enter_context(_interrupted())
        clock = _Clock(cell, speed)
        said = ""
        if web:
            said = str(stack.enter_context(pages(cell.queue, where, cell.patients, clock)))
            Console().print(said, highlight=False, soft_wrap=True)
        _live(cell, clock, for_s, asked, said)
        return _summary(cell)


@contextmanager
def _interrupted() -> Iterator["queue.SimpleQueue[None]"]:
    """Note Ctrl-C instead of raising it: a batch is taken whole, and Polars, while it works, would end the process."""
    # Not an Event, whose lock the thread that the handler interrupts may hold.
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()
    before = signal.signal(signal.SIGINT, lambda *_: asked.put(None))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class _Clock:
    """The patients' clock, ms UTC: from the beginning of the live part, so many times as fast as ours."""

    def __init__(self, cell: Cell, speed: float) -> None:
        self._cell = cell
        self._speed = speed
        self._begun = time.monotonic()

    def __call__(self) -> int:
        ran_ms = 1000 * (time.monotonic() - self._begun) * self._speed
        return min(self._cell.end_ms, self._cell.start_ms + round(ran_ms))


def _live(
    cell: Cell, clock: _Clock, for_s: float | None, asked: "queue.SimpleQueue[None]", address: str
) -> None:
    console = Console()
    begun = time.monotonic()
    said = shown = -math.inf
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if console.is_terminal else None
        while True:
            ran = time.monotonic() - begun
            now_ms = clock()
            cell.take(now_ms)
            if address and ran - shown >= SHOW_S:
                shown = ran
                cell.show()
            over = not asked.empty() or now_ms == cell.end_ms or (for_s is not None and ran >= for_s)
            if live is not None:
                live.update(Group(*filter(None, [address]), _panel(cell, console, now_ms)), refresh=True)
            elif over or ran - said >= SAY_S:
                said = ran
                console.print(view.counts(cell.queue.waiting(), now_ms, PARIS))
            if over:
                break
            with suppress(queue.Empty):
                asked.get(timeout=LOOK_S)
                asked.put(None)
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
