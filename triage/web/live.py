"""What goes to open browsers by itself: new lines, lines that changed, notices; and a heartbeat.

An alert that any process commits is in each browser a moment later; a quiet queue costs the look of the hub.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rules.levels import Level
from triage import audit
from triage.people.person import Person
from triage.people.rights import Act
from triage.web.hub import Hub, Marks
from triage.web.pages.queue import row_html
from triage.web.site import COOKIE, Site
from triage.web.words import KINDS
from triage.work import lists, notices
from triage.work.lists import Filters, Row, View

__all__ = ["MOST_MOVED", "News", "routes"]

HEARTBEAT_S: Final = 5.0
MOST_MOVED: Final = 50
"""Lines that are sent one by one after one look; of more, the page shows the number alone."""
MOST_TOLD: Final = 100
"""Notices that are told after one look; the others follow with the next."""


@dataclass(slots=True)
class _Page:
    """An open page: whose, of which view, as of which row of the engine."""

    person: Person
    view: View
    since: int
    marks: Marks
    shown: dict[str, Any] | None = None


class News:
    """What is told by itself: to open pages, and to programs that wait."""

    def __init__(self, site: Site, hub: Hub) -> None:
        self._site = site
        self._hub = hub

    def queue_of(self, page: _Page, marks: Marks) -> dict[str, Any]:
        """Say how many lines are new, and how many there are of each kind."""
        engine, person = self._site.store.engine, page.person
        filters = Filters(page.view, person.cells)
        fresh: dict[str, Level] = {}
        if page.view not in {View.CLOSED, View.MINE}:
            key = ("news", page.view, person.cells, page.since)
            fresh = self._hub.shared(key, marks, lambda: lists.news(engine, filters, page.since))
        groups = self._hub.shared(
            ("counts", person.cells), marks, lambda: lists.grouped(engine, person.cells)
        )
        counted = lists.counted(groups, person.name)
        return {
            "new": len(fresh),
            "rouge": sum(level is Level.ROUGE for level in fresh.values()),
            "counts": {
                **{
                    view.name.lower(): count
                    for view, count in counted.views.items()
                    if view is not View.CLOSED
                },
                **{level.name.lower(): count for level, count in counted.levels.items()},
            },
        }

    def changed(self, since: Marks, marks: Marks) -> list[str]:
        """Give the ids of lines of any cell that changed between two looks: at most `MOST_MOVED`."""
        return self._hub.shared(("changed", since), marks, lambda: self._changed(since, marks))  # type: ignore[no-any-return]

    def _changed(self, since: Marks, marks: Marks) -> list[str]:
        found = set(audit.episodes_since(self._site.store.engine, since.entry))
        if marks.row > since.row:
            found |= set(lists.changed_since(self._site.store.engine, since.row))
        return sorted(found)[:MOST_MOVED]

    def _moved(self, page: _Page, marks: Marks) -> list[dict[str, str]]:
        cells = page.person.cells
        out = []
        for episode in self.changed(page.marks, marks):

            def find(episode: str = episode) -> Row | None:
                return lists.row(self._site.store.engine, episode, cells)

            row = self._hub.shared(("row", episode, cells), marks, find)
            if row is not None:
                out.append({"episode": episode, "html": row_html(self._site, row, page.person)})
        return out

    def told(self, person: Person, since: Marks, marks: Marks) -> tuple[list[dict[str, Any]], Marks]:
        """Give the notices for somebody between two looks, each with its ``text``, and the marks to go on from.

        Of very many only the oldest: the marks are then those of the last that is given.
        """
        found = notices.since(
            self._site.store.engine,
            since.notice,
            account=person.name,
            role=person.role.value,
            cells=person.cells,
            until=marks.notice,
            at_most=MOST_TOLD,
        )
        told = [
            each | {"text": f"{KINDS.get(each['kind'], each['kind'])} – {each['patient']}"} for each in found
        ]
        return told, replace(marks, notice=found[-1]["id"]) if len(found) == MOST_TOLD else marks

    def events(self, page: _Page) -> list[str]:
        """Say what came since the page was told last."""
        marks = self._hub.marks
        out = []
        if marks != page.marks:
            out += [_event("moved", each) for each in self._moved(page, marks)]
            told, page.marks = self.told(page.person, page.marks, marks)
            out += [_event("notice", {"text": each["text"]}) for each in told]
        said = self.queue_of(page, marks)
        if said != page.shown:
            page.shown = said
            out.append(_event("queue", said))
        return out


def routes(site: Site, hub: Hub) -> APIRouter:
    """Make the stream of events, and its answer in one piece."""
    router = APIRouter()
    news = News(site, hub)

    async def stream(request: Request, page: _Page, token: str) -> AsyncIterator[str]:
        event = hub.join()
        looked = monotonic()
        try:
            yield "retry: 2000\n\n"
            while not hub.stopped:
                if page.shown is None or hub.marks != page.marks:
                    for said in await asyncio.to_thread(news.events, page):
                        yield said
                yield _event("heartbeat", {"now_ms": site.now_ms()})
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), HEARTBEAT_S)
                if monotonic() - looked >= HEARTBEAT_S:
                    # By the clock, however much happens meanwhile. A page that is open is no sign of life: the session
                    # of a screen that nobody uses ends.
                    looked = monotonic()
                    person = await asyncio.to_thread(site.people.who, token, site.wall_ms(), touch=False)
                    if person is None or await request.is_disconnected():
                        return
                event.clear()
        finally:
            hub.leave(event)

    since = Query(ge=0, le=1 << 62)

    @router.get("/live")
    def live(request: Request, vue: View = View.WAITING, depuis: Annotated[int, since] = 0) -> Response:
        person = site.allowed(request, Act.SEE)
        page = _Page(person, vue, depuis or hub.marks.row, hub.marks)
        return StreamingResponse(
            stream(request, page, request.cookies[COOKIE]),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    @router.get("/live/counts")
    def counts(request: Request, vue: View = View.WAITING, depuis: Annotated[int, since] = 0) -> Response:
        person = site.allowed(request, Act.SEE)
        marks = hub.marks
        return JSONResponse(news.queue_of(_Page(person, vue, depuis or marks.row, marks), marks))

    return router


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
