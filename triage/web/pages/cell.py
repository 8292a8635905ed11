"""The cell: its load now and over the days, by rule and by nurse; and the hand-over at the end of a shift."""

import csv
import io

from fastapi import APIRouter, Request
from starlette.responses import Response

from triage.people.rights import Act
from triage.web.pages.queue import shown
from triage.web.site import Site
from triage.work import lists
from triage.work.figures import figures
from triage.work.lists import Filters, View

__all__ = ["routes"]


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter()

    @router.get("/cellule")
    def load(request: Request) -> Response:
        person = site.allowed(request, Act.CELL)
        found = figures(site.store.engine, person.cells, site.now_ms(), site.zone)
        return site.page("cell.html", person, figures=found, counts=site.counts(person), tab="cell")

    @router.get("/cellule.csv")
    def export(request: Request) -> Response:
        person = site.allowed(request, Act.CELL)
        found = figures(site.store.engine, person.cells, site.now_ms(), site.zone)
        text = io.StringIO()
        rows = list(found.rows())
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return Response(
            text.getvalue(),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="cellule.csv"'},
        )

    @router.get("/releve")
    def handover(request: Request) -> Response:
        person = site.allowed(request, Act.CELL)
        engine = site.store.engine
        parts = {
            view: [
                shown(site, row, person)
                for row in lists.rows(engine, Filters(view, person.cells, person.name))
            ]
            for view in (View.WAITING, View.MUTED, View.SILENT)
        }
        return site.page(
            "handover.html",
            person,
            parts=parts,
            counts=site.counts(person),
            tab="handover",
            at_ms=site.now_ms(),
        )

    return router
