"""The workshop: what a cell's limits would have raised over its own last months, asked again and again within a second.

It works in a process of its own, so that no page and no packet waits for it: a first pass over the log as far as it was
written then, and each question judged from what that found (`engine.backtest`). After a while without questions the
process ends and gives its memory back.
"""

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl

from engine.backtest import History
from engine.backtest_measures import daily, local_day
from engine.backtest_outcomes import OUTCOMES
from engine.backtest_report import page, pieces
from engine.backtest_study import Side, Study, Terms, beside, side
from engine.load import Loaded, load
from engine.program import DAY_MS, Options
from engine.protocols import load_all
from engine.replay_input import Asked
from ingest.formats import Mappings
from rules.errors import ProtocolError

__all__ = ["DAYS", "Answer", "Day", "Question", "Reach", "Source", "Workshop", "WorkshopError"]

DAYS: Final = 90
"""Days that a question is put to, at most: what the log keeps by default."""

STALE_S: Final = 900.0
"""What was found is taken as it is for so long; then the log is read again."""

IDLE_S: Final = 900.0
"""The process ends after so long without a question."""

WAIT_S: Final = 120.0
"""So long an answer is waited for: a first pass over 10,000 patients takes some ten seconds."""

_ALIVE_S = 1.0
_KEPT = 16
"""Sides that are kept, so that a question that is changed a little judges one side and not two."""

_T = TypeVar("_T")


class WorkshopError(Exception):
    """A question that cannot be answered now; the message, in French, says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the history is, and what it is judged by.

    Parameters
    ----------
    log : Path
        Of the service.
    kept : Path
        Folder for what the first pass finds; it holds nothing else, and old passes are removed from it.
    protocols : tuple of str
        Files, or names of shipped protocols.
    candidates : tuple of (str, str)
        Id of a protocol, and the file of another version of it.
    limits, enrolment : Path, optional
        As of the service.
    zone : str
    """

    log: Path
    kept: Path
    protocols: tuple[str, ...]
    limits: Path | None = None
    enrolment: Path | None = None
    zone: str = "Europe/Paris"
    candidates: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Limits of a cell, tried.

    `patients` of the cell; `now` the limits of the cell that hold now, `tried` those to try, by (protocol, limit), in
    the limit's unit; `outcomes` rows of `OUTCOMES`. `since_ms` (ms UTC): alerts from then on alone are counted. `live`:
    the base is what was raised live, with the limits of then; otherwise it is what those of now would have raised.
    `candidate`: the other version of the protocol is tried, with the cell's limits of now where it has them.
    """

    patients: frozenset[str]
    protocol: str
    now: Mapping[tuple[str, str], float]
    tried: Mapping[tuple[str, str], float]
    outcomes: tuple[tuple[str, int, str], ...] = ()
    since_ms: int | None = None
    live: bool = False
    candidate: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """What the workshop has: readings of how many patients, from when until when (ms UTC of the line's clock)."""

    readings: int
    patients: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Day:
    """Alerts opened on a local day: as it is, changed, gained and lost."""

    day: str
    base: int
    changed: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question found in so many patients; `pieces` of `engine.backtest_report`, `report` the page of them."""

    reach: Reach
    since_ms: int
    patients: int
    pieces: dict[str, Any]
    report: str
    days: tuple[Day, ...]
    figures: dict[str, dict[str, float | None]]
    seconds: float


class Workshop:
    """The process that answers, from the side of those who ask; for any thread.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._asked = 0.0

    def prepare(self) -> None:
        """Begin to read the log where that was not done or long ago; returns at once."""
        if self._source.log.exists():
            self._submit(_reach, self._source)

    def ask(self, question: Question) -> Answer:
        """Put a question.

        Raises
        ------
        WorkshopError
        """
        if not self._source.log.exists():
            msg = "il n’y a pas encore d’historique"
            raise WorkshopError(msg)
        try:
            return self._submit(_answer, self._source, question).result(WAIT_S)
        except TimeoutError as error:
            msg = "l’historique est encore en cours de lecture : réessayez dans un instant"
            raise WorkshopError(msg) from error
        except BrokenProcessPool as error:
            self.close()
            msg = "le calcul s’est arrêté : réessayez"
            raise WorkshopError(msg) from error
        except (OSError, ValueError, ProtocolError) as error:
            raise WorkshopError(str(error)) from error

    def rest(self) -> None:
        """Let the process end where nobody has asked for a while; to be called now and then."""
        if self._pool is not None and time.monotonic() - self._asked > IDLE_S:
            self.close()

    def close(self) -> None:
        """End the process; the next question begins another."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, what: Callable[..., _T], *given: object) -> "Future[_T]":
        self._asked = time.monotonic()
        for _ in range(2):
            with self._lock:
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (os.getpid(),))
                pool = self._pool
            try:
                return pool.submit(what, *given)
            except RuntimeError:  # broken before, or shut down by another thread: once more with another
                self.close()
        msg = "le calcul ne démarre pas"
        raise WorkshopError(msg)


# In the process ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bench:
    """What the process has of a source."""

    source: Source
    loaded: Loaded
    history: History
    reach: Reach
    made_s: float
    candidates: dict[str, Loaded]
    sides: dict[object, Side] = field(default_factory=dict)


_BENCHES: dict[Source, _Bench] = {}


def _begin(parent: int) -> None:
    """End with the process that asks, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ALIVE_S)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _bench(source: Source) -> _Bench:
    found = _BENCHES.get(source)
    if found is None or time.monotonic() - found.made_s > STALE_S:
        loaded = _loaded(source)
        candidates = {name: _loaded(source, name, file) for name, file in source.candidates}
        asked = Asked((source.log,), Mappings(), source.zone, time.time_ns() // 1_000_000)
        history = History(asked, source.kept)
        first = history.judge(loaded, of_cell={})
        kept = first.kept
        reach = Reach(kept.readings, kept.patients, kept.first_ms, kept.last_ms)
        found = _BENCHES[source] = _Bench(source, loaded, history, reach, time.monotonic(), candidates)
        for old in source.kept.iterdir():
            if old != first.folder:
                shutil.rmtree(old, ignore_errors=True)
    return found


def _loaded(source: Source, candidate: str = "", file: str = "") -> Loaded:
    """Load what the service runs by, with a candidate in the place of the protocol that it is another version of."""
    names = [file if candidate and load_all([each])[0].id == candidate else each for each in source.protocols]
    # In a trial nobody closes what was never raised: a ROUGE ends with its condition, on both sides.
    return load(
        names,
        limits=source.limits,
        enrolment=source.enrolment,
        zone=source.zone,
        options=Options(close_at_recovery=True),
    )


def _reach(source: Source) -> Reach:
    return _bench(source).reach


def _answer(source: Source, question: Question) -> Answer:
    begun = time.perf_counter()
    bench = _bench(source)
    reach = bench.reach
    since = max(reach.first_ms, reach.last_ms - DAYS * DAY_MS, question.since_ms or 0)
    outcomes = pl.DataFrame(list(question.outcomes), schema=OUTCOMES, orient="row")
    terms = Terms(
        outcomes=outcomes.filter(pl.col("t_ms") >= since),
        zone=source.zone,
        patients=question.patients,
        since_ms=since if since > reach.first_ms else None,
    )
    base = None if question.live else dict(question.now)
    mine = _side(bench, bench.loaded, base, terms, question)
    theirs = None
    if question.candidate:
        other = bench.candidates[question.protocol]
        theirs = _side(bench, other, _where_it_has_them(other, question.now), terms, question)
    elif question.tried:
        theirs = _side(bench, bench.loaded, {**question.now, **question.tried}, terms, question)
    found = beside(mine, theirs, terms, {})
    said = pieces(found)
    return Answer(
        reach,
        since,
        len(mine.judged.follow_up),
        said,
        page(said),
        _days(found),
        {name: _figures(each) for name, each in (("base", mine), ("changed", theirs)) if each is not None},
        time.perf_counter() - begun,
    )


def _where_it_has_them(
    loaded: Loaded, limits: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    """Give those limits that protocols have, in whose range the value is."""
    protocols = {each.id: each for each in loaded.program.protocols}
    out = {}
    for (owner, name), value in limits.items():
        limit = protocols[owner].limits.get(name)
        if limit is not None and limit.min <= value <= limit.max:
            out[owner, name] = value
    return out


def _side(
    bench: _Bench,
    loaded: Loaded,
    of_cell: Mapping[tuple[str, str], float] | None,
    terms: Terms,
    question: Question,
) -> Side:
    """Judge one side, or take what was judged before."""
    key = (
        loaded.program.hash,
        None if of_cell is None else tuple(sorted(of_cell.items())),
        question.patients, question.protocol, question.outcomes, question.since_ms,
    )  # fmt: skip
    found = bench.sides.get(key)
    if found is None:
        judged = bench.history.judge(loaded, of_cell=of_cell)
        mine = dataclasses.replace(
            judged,
            transitions=judged.transitions.filter(pl.col("protocol") == question.protocol),
            undetermined={
                name: share for name, share in judged.undetermined.items() if name[0] == question.protocol
            },
        )
        if len(bench.sides) >= _KEPT:
            bench.sides.clear()
        found = bench.sides[key] = side(mine, loaded, terms)
    return found


def _days(found: Study) -> tuple[Day, ...]:
    """Count by local days, oldest first; days on which somebody was followed."""
    zone = found.terms.zone
    every = daily(found.base.alerts, found.base.judged.follow_up, zone).select("day", base="alerts")
    compared = found.comparison
    rest = {
        "changed": found.changed.alerts if found.changed else found.base.alerts,
        "gained": compared.gained if compared else found.base.alerts.clear(),
        "lost": compared.lost if compared else found.base.alerts.clear(),
    }
    for name, alerts in rest.items():
        counted = alerts.group_by(day=local_day("opened_ms", zone)).agg(pl.len().cast(pl.Int64).alias(name))
        every = every.join(counted, on="day", how="left", maintain_order="left")
    every = every.with_columns(pl.col("base", *rest).fill_null(0), pl.col("day").cast(pl.String))
    return tuple(Day(**row) for row in every.iter_rows(named=True))


def _figures(side: Side) -> dict[str, float | None]:
    """Give the figures that a page shows first."""
    whole = side.whole
    return {
        "alerts": whole.alerts,
        "rouge": whole.by_level["ROUGE"],
        "orange": whole.by_level["ORANGE"],
        "load": whole.load.mean.value,
        "outcomes": whole.outcomes,
        "caught": whole.caught,
        "sensitivity": whole.sensitivity.value,
        "ppv": whole.ppv.value,
        "minutes": whole.minutes_mean,
        "nurses": whole.nurses_p95,
        "never": whole.never,
    }
