"""Another version of a protocol beside the one in force: it runs in the shadow, day after day."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from engine.program import protocol_signals
from engine.workshop import Answer, WorkshopError
from rules.protocol_diff import differences, marks
from rules.signature import statement
from triage.people.rights import Act
from triage.web.site import Site
from triage.web.trial import ask, cell_of, of_form

__all__ = ["routes"]

Cell = Annotated[str, Query(max_length=100)]


def routes(site: Site) -> APIRouter:
    """Make the page."""
    router = APIRouter(prefix="/atelier/versions")

    @router.get("/{protocol}")
    def page(request: Request, protocol: str, cellule: Cell = "") -> Response:
        """Show another version of a protocol beside the one in force: it runs in the shadow, day after day."""
        person = site.allowed(request, Act.TRY)
        of = of_form(site, cell_of(person, cellule), protocol)
        candidate = next((each for each in site.candidates if each.id == protocol), None)
        if candidate is None:
            raise HTTPException(404)
        site.seen(person, "candidate seen", protocol, of.cell)
        answer: Answer | None = None
        problem = ""
        try:
            answer = ask(site, of, live=True, candidate=True)
        except WorkshopError as error:
            problem = str(error)
        on = datetime.fromtimestamp(site.now_ms() / 1000, site.zone).date()
        found = differences(of.protocol, candidate, protocol_signals())
        return site.page(
            "version.html",
            person,
            trial=of,
            candidate=candidate,
            signed=statement(candidate, on),
            differences=found,
            marks=marks(of.protocol, candidate, found),
            answer=answer,
            problem=problem,
            counts=site.counts(person),
            tab="workshop",
        )

    return router
