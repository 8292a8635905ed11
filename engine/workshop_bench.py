"""The workshop's bench: the log judged as far as it was written, and questions judged from what that found.

It runs in the workshop's process (`engine.workshop`). A first pass over the log finds features (`engine.backtest`);
each question is judged from these, and a side that was judged before is not judged again.
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.backtest import History
from engine.backtest_judge import Holding
from engine.backtest_measures import daily, local_day
from engine.backtest_outcomes import OUTCOMES
from engine.backtest_report import page, pieces
from engine.backtest_study import Side, Study, Terms, beside, side
from engine.load import Loaded, load
from engine.program import DAY_MS, Options
from engine.protocols import load_all
from engine.replay_input import Asked
from ingest.formats import Mappings

__all__ = ["DAYS", "Answer", "Day", "Question", "Reach", "Source", "WorkshopError", "answer", "reach"]

DAYS: Final = 90
"""Days that a question is put to, at most: what the log keeps by default."""

STALE_S: Final = 900.0
"""What was found is taken as it is for so long; then the log is read again."""

LIVE_STALE_S: Final = 60.0
"""The same for a shadow, beside what is raised live."""

_KEPT = 16
"""Sides that are kept, so that a question that is changed a little judges one side and not two."""


class WorkshopError(Exception):
    """A question that cannot be answered now; the text, in French, says why, `detail` what went wrong inside."""

    def __init__(self, said: str, detail: str = "") -> None:
        super().__init__(said, detail)  # both, so that it comes whole from one process to the other
        self.said = said
        self.detail = detail

    def __str__(self) -> str:
        """Say why."""
        return self.said


@dataclass(frozen=True, slots=True)
class Source:
    """Where the history is, and what it is judged by.

    Parameters
    ----------
    log : Path
        Of the service.
    kept : Path
        Folder for what first passes find, in one a process; those of processes that are no more are removed.
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
    the limit's unit; `outcomes` rows of `OUTCOMES`. `since_ms` (ms UTC): what is tried holds from then on, before it
    what held then, and alerts from then on alone are counted. `until_ms`: they and what became of them are counted as
    they were then, however far the log goes. `live`: the base is what was raised live, by the limits of then and with
    ROUGE closed by persons; otherwise it is what the limits of now would have raised, all the time.
    `candidate`: the other version of the protocol is tried, with the cell's limits of now where it has them.
    """

    patients: frozenset[str]
    protocol: str
    now: Mapping[tuple[str, str], float]
    tried: Mapping[tuple[str, str], float]
    outcomes: tuple[tuple[str, int, str], ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
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
    """What a question found in so many patients, by a protocol of that hash.

    `pieces` of `engine.backtest_report`, `report` the page of them; `figures` of each side, for the first glance.
    """

    reach: Reach
    since_ms: int
    patients: int
    protocol_hash: str
    pieces: dict[str, Any]
    report: str
    days: tuple[Day, ...]
    figures: dict[str, dict[str, float | None]]
    seconds: float


@dataclass(slots=True)
class _Bench:
    """What the process has of a source."""

    source: Source
    loaded: Loaded
    history: History
    reach: Reach
    made_s: float
    others: dict[str, Loaded] = field(default_factory=dict)
    """By the id of a protocol, what runs its candidate; "": what the service runs by."""
    sides: dict[object, Side] = field(default_factory=dict)


_BENCHES: dict[Source, _Bench] = {}


def _bench(source: Source, stale_s: float = STALE_S) -> _Bench:
    found = _BENCHES.get(source)
    if found is None or time.monotonic() - found.made_s > stale_s:
        mine = source.kept / str(os.getpid())
        _sweep(source.kept)
        # In a trial nobody closes what was never raised: a ROUGE ends with its condition.
        loaded = _loaded(source, Options(close_at_recovery=True))
        asked = Asked((source.log,), Mappings(), source.zone, time.time_ns() // 1_000_000)
        history = History(asked, mine, keep=1)
        kept = history.judge(loaded, Holding(patients=frozenset())).kept
        there = Reach(kept.readings, kept.patients, kept.first_ms, kept.last_ms)
        found = _BENCHES[source] = _Bench(source, loaded, history, there, time.monotonic())
    return found


def _sweep(kept: Path) -> None:
    """Remove what processes have left that are no more."""
    for folder in kept.iterdir() if kept.exists() else ():
        if not folder.name.isdigit() or not Path(f"/proc/{folder.name}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _loaded(source: Source, options: Options, candidate: str = "") -> Loaded:
    """Load what the service runs by, with a candidate in the place of the protocol that it is another version of."""
    files = dict(source.candidates)
    names = [
        files[candidate] if candidate and load_all([each])[0].id == candidate else each
        for each in source.protocols
    ]
    return load(names, limits=source.limits, enrolment=source.enrolment, zone=source.zone, options=options)


def _other(bench: _Bench, candidate: str = "") -> Loaded:
    found = bench.others.get(candidate)
    if found is None:
        found = _loaded(bench.source, Options(close_at_recovery=bool(candidate)), candidate)
        bench.others[candidate] = found
    return found


def reach(source: Source) -> Reach:
    """Say what there is, after reading the log where that was not done or long ago."""
    return _bench(source).reach


def answer(source: Source, question: Question) -> Answer:
    """Answer, or say that it cannot be done: what goes wrong inside does not always come whole to another process."""
    try:
        return _answer(source, question)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next question may be another
        _BENCHES.clear()
        detail = f"{type(error).__name__}: {error}"
        msg = "cet essai n’a pas pu être calculé : réessayez, et si cela dure prévenez l’exploitation"
        raise WorkshopError(msg, detail) from None


def _answer(source: Source, question: Question) -> Answer:
    begun = time.perf_counter()
    bench = _bench(source, LIVE_STALE_S if question.live else STALE_S)
    there = bench.reach
    since = max(there.first_ms, there.last_ms - DAYS * DAY_MS, question.since_ms or 0)
    outcomes = pl.DataFrame(list(question.outcomes), schema=OUTCOMES, orient="row")
    counted = pl.col("t_ms") >= since
    if question.until_ms is not None:
        counted &= pl.col("t_ms") < question.until_ms
    terms = Terms(
        outcomes=outcomes.filter(counted),
        zone=source.zone,
        since_ms=since if since > there.first_ms else None,
        until_ms=question.until_ms,
    )
    now = _where_it_has_them(bench.loaded, question.now)
    who, begins = question.patients, question.since_ms
    if question.live:
        mine = _side(bench, _other(bench), Holding(patients=who), terms, question)
    else:
        mine = _side(bench, bench.loaded, Holding(now, None, who), terms, question)
    theirs = None
    if question.candidate:
        other = _other(bench, question.protocol)
        limits = _where_it_has_them(other, question.now)
        theirs = _side(bench, other, Holding(limits, begins, who), terms, question)
    elif question.tried:
        theirs = _side(bench, bench.loaded, Holding({**now, **question.tried}, begins, who), terms, question)
    found = beside(mine, theirs, terms, {})
    said = pieces(found)
    (protocol,) = (each for each in mine.loaded.program.protocols if each.id == question.protocol)
    return Answer(
        there,
        since,
        len(mine.judged.follow_up),
        protocol.hash,
        said,
        page(said),
        _days(found),
        {name: _figures(each) for name, each in (("base", mine), ("changed", theirs)) if each is not None},
        time.perf_counter() - begun,
    )


def _where_it_has_them(
    loaded: Loaded, limits: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    """Give those limits that protocols have, in whose range the value is: the others hold for nobody."""
    protocols = {each.id: each for each in loaded.program.protocols}
    out = {}
    for (owner, name), value in limits.items():
        limit = protocols[owner].limits.get(name) if owner in protocols else None
        if limit is not None and limit.min <= value <= limit.max:
            out[owner, name] = value
    return out


def _side(bench: _Bench, loaded: Loaded, holding: Holding, terms: Terms, question: Question) -> Side:
    """Judge one side, or take what was judged before."""
    of_cell = None if holding.of_cell is None else tuple(sorted(holding.of_cell.items()))
    key = (
        loaded.fingerprint, of_cell, holding.from_ms, holding.patients, question.protocol, question.outcomes,
        question.since_ms, question.until_ms,
    )  # fmt: skip
    found = bench.sides.get(key)
    if found is None:
        judged = bench.history.judge(loaded, holding)
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
