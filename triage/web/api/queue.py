"""The queue: lists with filters and pages, one line, what was done about it, and what comes by itself."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from rules.levels import Level
from triage.people.person import PeopleError, Person
from triage.people.rights import Act
from triage.people.seal import Seal
from triage.web.api.door import Door, Id, said
from triage.web.api.shapes import Line, Lines, Model, iso
from triage.web.hub import Hub, Marks
from triage.web.live import MOST_MOVED, News
from triage.web.site import Site
from triage.web.strip import strip
from triage.web.words import ACTIONS
from triage.work import lists, timeline
from triage.work.lists import CursorError, Filters, View
from triage.work.timeline import Event

__all__ = ["Counted", "Happened", "happened", "routes"]

MOST_LOG: Final = 200
MOST_WAITING: Final = 8
"""Requests of one account that wait for news at once."""
LONGEST_S: Final = 25
"""Less than what proxies wait for."""

LevelName = Literal["ROUGE", "ORANGE", "TECHNIQUE"]


class Counted(Model):
    """How many open lines each view has, and each level and protocol of those that wait."""

    views: dict[str, int]
    levels: dict[str, int]
    protocols: dict[str, int]

    @classmethod
    def of(cls, found: lists.Counts) -> "Counted":
        """Read counts."""
        return cls(
            views={view.value: count for view, count in found.views.items() if view is not View.CLOSED},
            levels={level.name: count for level, count in found.levels.items()},
            protocols=found.protocols,
        )


class Happened(Model):
    """Something that a person did, or time, or a line that opened."""

    t: str
    actor: str = Field(description="account; vigie for time; empty where the engine opened a line")
    action: str
    word: str = Field(description="in French, as the page says it")
    line: str | None
    details: dict[str, Any]


class Log(Model):
    """What was done about a line, newest first."""

    line: str
    log: list[Happened]
    more: bool = Field(description="there are older ones")


class Strip(Model):
    """ECG of one lead that an alert has kept."""

    lead: int
    start: str
    rate_hz: float
    gain_uv: float = Field(description="µV of one step of a sample")
    samples: list[int | None]
    beats: list[tuple[int, str]] = Field(description="sample and class")
    marks: list[tuple[int, int, str]] = Field(description="from sample, to sample, rhythm")


class Notice(Model):
    """What somebody must hear of: an account, or all of a role in a cell."""

    t: str
    kind: str
    text: str
    line: str
    patient: str
    cell: str
    details: dict[str, Any]


class Newest(Model):
    """What came since a mark."""

    mark: str = Field(description="to be sent as `since` next time")
    lines: list[Line] = Field(description="that changed, as they are now")
    notices: list[Notice]
    counts: Counted
    more: bool = Field(description="more than is told line by line: read the lists again")


def happened(event: Event) -> Happened:
    """Say an event."""
    word = "Ouverte" if event.action == "opened" else ACTIONS.get(event.action, event.action)
    details = {name: value for name, value in event.details.items() if name != "episode"}
    episode = event.details.get("episode")
    if event.line is not None:
        episode = event.line.id
        details = {"level": Level(event.line.level).name, "sentence": event.line.shown.sentence}
    return Happened(
        t=iso(event.t_ms), actor=event.actor, action=event.action, word=word, line=episode, details=details
    )


def routes(site: Site, door: Door, hub: Hub) -> APIRouter:  # noqa: PLR0915 - one function holds the routes
    """Make the routes."""
    router = APIRouter(tags=["queue"])
    news = News(site, hub)
    waiting: Counter[str] = Counter()
    unknown = said(404)

    @router.get(
        "/lines",
        responses={
            200: {
                "links": {
                    name: {"operationId": operation, "parameters": {"episode": "$response.body#/lines/0/id"}}
                    for name, operation in (("line", "line"), ("log", "log"), ("ecg", "ecg"))
                }
            }
        },
    )
    def lines(
        request: Request,
        view: View = View.WAITING,
        level: LevelName | None = None,
        protocol: Annotated[str, Query(max_length=100)] = "",
        text: Annotated[
            str, Query(max_length=200, description="words of the patient's id, sentence or problem")
        ] = "",
        after: Annotated[str, Query(max_length=200, description="`next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> Lines:
        """List a view of the queue, who is called next first; of the closed, the newest first."""
        person = door.holder(request, Act.SEE)
        at = None if level is None else Level[level]
        filters = Filters(
            view, person.cells, person.name, at, protocol.replace("\0", ""), text.replace("\0", " ")
        )
        page = lists.page(site.store.engine, filters, limit, after)
        return Lines(lines=[Line.of(row) for row in page.rows], next=page.after or None)

    @router.get("/counts")
    def counts(request: Request) -> Counted:
        """Count the open lines of each view, and those that wait by level and protocol."""
        return Counted.of(site.counts(door.holder(request, Act.SEE)))

    @router.get("/lines/{episode}", responses=unknown, operation_id="line")
    def one(request: Request, episode: Id) -> Line:
        """Give one line with its evidence; it is noted that its patient was seen."""
        person = door.holder(request, Act.SEE)
        row = site.line(person, episode)
        site.seen(person, "patient seen", row.line.patient, row.cell)
        return Line.of(row)

    @router.get("/lines/{episode}/log", responses=unknown, operation_id="log")
    def log(request: Request, episode: Id, limit: Annotated[int, Query(ge=1, le=MOST_LOG)] = MOST_LOG) -> Log:
        """List what was done about a line, by whom, and what time did, newest first; noted."""
        person = door.holder(request, Act.SEE)
        row = site.line(person, episode)
        site.seen(person, "patient seen", row.line.patient, row.cell)
        found = timeline.of_line(site.store.engine, row.line, limit + 1)
        return Log(line=episode, log=[happened(each) for each in found[:limit]], more=len(found) > limit)

    @router.get("/lines/{episode}/ecg", responses=unknown, operation_id="ecg")
    def ecg(request: Request, episode: Id) -> list[Strip]:
        """Give the ECG that an alert has kept, a strip a lead; noted."""
        person = door.holder(request, Act.SEE)
        row = site.line(person, episode)
        site.seen(person, "patient seen", row.line.patient, row.cell)
        return [
            Strip(
                lead=kept["lead"],
                start=iso(kept["start_ms"]),
                **{
                    name: value
                    for name, value in strip(kept).items()
                    if name in {"rate_hz", "gain_uv", "samples", "beats", "marks"}
                },
            )
            for kept in site.strips(episode)
        ]

    def look(request: Request, since: Marks | None) -> Newest:
        # Asked anew each time: who was let go while waiting hears nothing more.
        person = door.known(request)
        marks = hub.marks
        counted = Counted.of(site.counts(person))
        if since is None or marks == since:
            return Newest(mark=_sealed(site, marks), lines=[], notices=[], counts=counted, more=False)
        changed = news.changed(since, marks)
        told, reached = news.told(person, since, marks)
        return Newest(
            mark=_sealed(site, reached),
            lines=[Line.of(row) for row in lists.some(site.store.engine, changed, person.cells)],
            notices=[_notice(each) for each in told],
            counts=counted,
            more=len(changed) >= MOST_MOVED,
        )

    async def wait_for(request: Request, person: Person, since: Marks, seconds: int) -> Newest:
        if waiting[person.name] >= MOST_WAITING:
            raise HTTPException(429, headers={"Retry-After": "1"})
        waiting[person.name] += 1
        event = hub.join()
        until = monotonic() + seconds
        try:
            while True:
                event.clear()
                found = await run_in_threadpool(look, request, since)
                left = until - monotonic()
                if found.lines or found.notices or found.more or left <= 0 or hub.stopped:
                    return found
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), left)
        finally:
            hub.leave(event)
            waiting[person.name] -= 1

    @router.get("/news", name="news")
    async def newest(
        request: Request,
        since: Annotated[str, Query(max_length=400, description="`mark` of the answer before")] = "",
        wait: Annotated[int, Query(ge=0, le=LONGEST_S, description="seconds, where there is nothing")] = 0,
    ) -> Newest:
        """Give what came since a mark: lines that changed, notices, counts; without one, the mark of now."""
        person = await run_in_threadpool(door.holder, request, Act.SEE)
        begun = _opened(site, since) if since else None
        if begun is None or not wait:
            return await run_in_threadpool(look, request, begun)
        return await wait_for(request, person, begun, wait)

    return router


def _notice(found: dict[str, Any]) -> Notice:
    return Notice(
        t=iso(found["t_ms"]),
        kind=found["kind"],
        text=found["text"],
        line=found["episode_id"],
        patient=found["patient"],
        cell=found["cell"],
        details=found["details"],
    )


# How many rows there are in all says how much happens in other cells: a mark shows nothing of it.


def _seal(site: Site) -> Seal:
    if site.seal is None:
        raise HTTPException(404)
    return site.seal


def _sealed(site: Site, marks: Marks) -> str:
    return _seal(site).close(json.dumps(["marks", marks.row, marks.entry, marks.notice]))


def _opened(site: Site, text: str) -> Marks:
    try:
        kind, row, entry, notice = json.loads(_seal(site).open(text))
        if kind == "marks":
            return Marks(row, entry, notice)
    except (PeopleError, ValueError, TypeError):
        pass
    msg = "since: is no mark; legal is what an answer before gave as mark"
    raise CursorError(msg)
