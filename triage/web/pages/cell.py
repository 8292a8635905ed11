"""The cell: its load now and over the days, by rule and by nurse; and the hand-over at the end of a shift."""

import csv
import io
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from triage.people.rights import Act
from triage.web.site import Site
from triage.work import lists
from triage.work.figures import figures
from triage.work.lists import Filters, View

__all__ = ["MOST_HANDED_OVER", "routes"]

MOST_HANDED_OVER: Final = 1000
"""Lines of each part of the hand-over; of what is beyond, the page says how many there are."""


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
        counts = site.counts(person)
        parts = {
            view: lists.page(engine, Filters(view, person.cells, person.name), MOST_HANDED_OVER)
            for view in (View.WAITING, View.MUTED, View.SILENT)
        }
        beyond = {
            view: max(1, counts.views[view] - len(part.rows)) if part.after else 0
            for view, part in parts.items()
        }
        return site.page(
            "handover.html",
            person,
            parts={view: part.rows for view, part in parts.items()},
            beyond=beyond,
            counts=counts,
            tab="handover",
            at_ms=site.now_ms(),
        )

    return router
