"""The queue: the views of a nurse's day, and its rows."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from rules.levels import Level
from triage.people.person import Person
from triage.people.rights import Act
from triage.web.site import Site
from triage.web.spark import spark
from triage.work import lists
from triage.work.lists import Filters, Row, View
from triage.work.states import State

__all__ = ["TITLES", "routes", "row_html", "shown"]

TITLES: Final = {
    View.WAITING: "À traiter",
    View.MINE: "À moi",
    View.SILENT: "Sans données",
    View.MUTED: "En sourdine",
    View.CLOSED: "Clôturées",
}

LEVELS: Final = {level.name.lower(): level for level in Level}


def shown(
    site: Site, row: Row, person: Person, message: str = "", ages: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Give what a row's template needs."""
    ages = site.ages([row.line.patient]) if ages is None else ages
    line = row.line
    return {
        "line": line,
        "cell": row.cell,
        "message": message,
        "spark": spark(line.shown.points, line.shown.limits, site.labels, site.answers),
        "mine": line.owner == person.name,
        "free": line.owner in {None, person.name} or line.state in {State.ESCALATED, State.MUTED},
        "open": line.ended_ms is None,
        "age": ages.get(line.patient),
    }


def row_html(site: Site, row: Row, person: Person, message: str = "") -> str:
    """Write one row."""
    return site.text("row.html", person, row=shown(site, row, person, message))


def routes(site: Site) -> APIRouter:
    """Make the pages of the queue."""
    router = APIRouter()

    def list_of(
        request: Request,
        view: View,
        niveau: str = "",
        programme: str = "",
        q: str = "",
        avant: int | None = None,
    ) -> Response:
        person = site.allowed(request, Act.SEE)
        # What is newest is asked before the rows: what comes between the two is said once more, not missed.
        mark = lists.newest(site.store.engine)
        filters = Filters(view, person.cells, person.name, LEVELS.get(niveau), programme, q, avant)
        found = lists.rows(site.store.engine, filters)
        ages = site.ages(list({row.line.patient for row in found}))
        return site.page(
            "queue.html",
            person,
            rows=[shown(site, row, person, ages=ages) for row in found],
            view=view,
            titles=TITLES,
            counts=site.counts(person),
            filters=filters,
            niveau=niveau,
            mark=mark,
            here=str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
            most=lists.MOST,
        )

    text = Query(max_length=200)

    @router.get("/file")
    def waiting(
        request: Request,
        niveau: Annotated[str, text] = "",
        programme: Annotated[str, text] = "",
        q: Annotated[str, text] = "",
    ) -> Response:
        return list_of(request, View.WAITING, niveau, programme, q)

    @router.get("/file/{view}")
    def one_view(
        request: Request,
        view: View,
        niveau: Annotated[str, text] = "",
        programme: Annotated[str, text] = "",
        q: Annotated[str, text] = "",
        avant: Annotated[int | None, Query(ge=0, le=1 << 62)] = None,
    ) -> Response:
        return list_of(request, view, niveau, programme, q, avant)

    return router
