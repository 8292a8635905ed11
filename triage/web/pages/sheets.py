"""The sheet to read out to the SAMU: who calls, about whom, why, since when, and where to find the patient."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from triage.people.rights import Act
from triage.web.pages.queue import shown
from triage.web.site import Site

__all__ = ["routes"]


def routes(site: Site) -> APIRouter:
    """Make the page."""
    router = APIRouter()

    @router.get("/alertes/{episode}/samu")
    def samu(request: Request, episode: str) -> Response:
        person = site.allowed(request, Act.WORK)
        row = site.line(person, episode)
        patient = row.line.patient
        who = None
        if site.register is not None:
            found = site.register.persons([patient], by=person.name).get(patient)
            who = found[0] if found is not None else None
            site.seen(person, "identity seen", patient, row.cell)
        newest: dict[str, dict[str, object]] = {}
        for point in sorted(row.line.shown.points, key=lambda each: each["t_ms"]):
            newest[point["signal"]] = point
        return site.page(
            "samu.html",
            person,
            row=shown(site, row, person),
            who=who,
            points=list(newest.values()),
            counts=site.counts(person),
        )

    return router
