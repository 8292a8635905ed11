"""Administration: accounts, protocols in force, the audit trail. No page of it says anything of a patient's health."""

from collections import Counter
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from ingest.sources import Source, Sources
from rules.signature import Standing, standing, statement
from triage import audit, versions
from triage.people.administration import NewAccount
from triage.people.person import PeopleError, Person, Role
from triage.people.rights import Act
from triage.web.site import Site
from triage.work import cells

__all__ = ["routes"]

Text = Annotated[str, Form(max_length=200)]


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter(prefix="/administration")

    def accounts_page(
        person: Person, wrong: str = "", once: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        return site.page(
            "accounts.html",
            person,
            status,
            accounts=site.people.accounts(),
            roles=list(Role),
            cells=cells.cells(site.store.engine),
            wall_ms=site.wall_ms(),
            wrong=wrong,
            once=once,
            tab="accounts",
        )

    @router.get("/comptes")
    def accounts(request: Request) -> Response:
        return accounts_page(site.allowed(request, Act.ACCOUNTS))

    @router.post("/comptes")
    def create(
        request: Request,
        csrf: Text,
        name: Text,
        role: Annotated[Role, Form()],
        display: Text = "",
        cell: Annotated[list[str], Form(max_length=50)] = [],  # noqa: B006 - FastAPI copies it
    ) -> Response:
        person = site.checked(request, Act.ACCOUNTS, csrf)
        try:
            new = NewAccount(
                name.strip().lower(), role, tuple(each for each in cell if each), display.strip()
            )
            password = site.people.create(new, person.name, site.wall_ms())
        except PeopleError as error:
            return accounts_page(person, error.plain, status=422)
        return accounts_page(person, once=(new.name, password))

    @router.post("/comptes/{name}/{act}")
    def change(request: Request, name: str, act: str, csrf: Text) -> Response:
        person = site.checked(request, Act.ACCOUNTS, csrf)
        once = None
        try:
            if act == "desactiver":
                site.people.disable(name, person.name, site.wall_ms())
            elif act == "debloquer":
                site.people.unlock(name, person.name, site.wall_ms())
            elif act == "reinitialiser":
                once = (name, site.people.reset(name, person.name, site.wall_ms()))
        except PeopleError as error:
            return accounts_page(person, error.plain, status=422)
        return accounts_page(person, once=once)

    @router.get("/sources")
    def sources(request: Request) -> Response:
        person = site.allowed(request, Act.SOURCES)
        found: list[Source] = []
        if site.sources is not None and site.sources.exists():
            kept = Sources(site.sources)
            try:
                found = kept.all()
            finally:
                kept.close()
        return site.page("sources.html", person, sources=found, tab="sources")

    @router.get("/cellules")
    def all_cells(request: Request) -> Response:
        person = site.allowed(request, Act.CELLS)
        accounts_of = Counter(
            cell for each in site.people.accounts() if each.disabled_ms is None for cell in each.cells
        )
        followed = cells.counts(site.store.engine)
        names = sorted({*followed, *accounts_of})
        return site.page(
            "cells.html",
            person,
            cells=[(name, followed.get(name, 0), accounts_of[name]) for name in names],
            tab="cells",
        )

    @router.get("/protocoles")
    def protocols(request: Request) -> Response:
        person = site.allowed(request, Act.PROTOCOLS)
        patients = versions.followed(site.store.engine)
        on = datetime.fromtimestamp(site.now_ms() / 1000, site.zone).date()
        shown = [
            (each, statement(each, on), standing(each, on) is Standing.SIGNED, len(patients.get(each.id, ())))
            for each in site.protocols
        ]
        return site.page("protocols.html", person, protocols=shown, tab="protocols")

    @router.get("/journal")
    def trail(
        request: Request,
        qui: Annotated[str, Query(max_length=100)] = "",
        sujet: Annotated[str, Query(max_length=100)] = "",
        avant: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
    ) -> Response:
        person = site.allowed(request, Act.AUDIT)
        found = audit.entries(
            site.store.engine, subject=sujet.strip() or None, actor=qui.strip() or None, before=avant
        )
        site.seen(person, "trail seen", sujet.strip() or qui.strip() or "", "")
        return site.page(
            "trail.html",
            person,
            entries=found,
            qui=qui,
            sujet=sujet,
            tab="audit",
        )

    return router
