"""Administration: accounts, cells, sources, protocols, the policy in force, the audit trail: to look at.

Accounts are changed by a person on the pages or at the machine, never by a token, and sources at the machine: a token
that is lost makes nobody an administrator. Details of the trail, in which a patient may be spoken of, are not given.
"""

import json
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from ingest.sources import Sources
from rules.signature import Standing, standing, statement
from triage import audit, audit_export, versions
from triage.people.rights import Act, may
from triage.web.api.door import Door
from triage.web.api.shapes import Model, Time, iso, ms
from triage.web.site import Site
from triage.work import cells

__all__ = ["routes"]

MOST_EXPORTED: Final = 5000
Number = Annotated[int, Query(ge=0, le=1 << 62)]
Word = Annotated[str, Query(max_length=100)]


class Account(Model):
    """An account; nothing that opens a door."""

    name: str
    display: str
    role: str
    cells: list[str]
    second_factor: bool
    password: bool
    to_change: bool = Field(description="its password was given out and is to be changed")
    locked_until: str | None
    disabled: str | None
    created: str
    created_by: str


class Cell(Model):
    """A cell: how many patients, and accounts that are not disabled."""

    name: str
    patients: int
    accounts: int


class Gateway(Model):
    """A source; its keys are in no answer."""

    name: str
    everyone: bool
    cells: list[str]
    named_patients: int
    keys: int = Field(description="good now")
    created: str
    revoked: str | None


class InForce(Model):
    """A protocol in force."""

    id: str
    version: str
    title: str
    hash: str
    signed: bool = Field(description="by a clinician, and on this day")
    statement: str = Field(description="in French")
    patients: int = Field(description="of one's cells; for who has none, of all")


class Noted(Model):
    """An entry of the audit trail."""

    number: int
    t: str
    actor: str
    action: str
    subject: str
    cell: str
    line: str | None


class Trail(Model):
    """Entries, newest first."""

    entries: list[Noted]
    next: int | None = Field(description="to be sent as `before`; null: there are no older ones")


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["administration"])
    engine = site.store.engine

    @router.get("/accounts")
    def accounts(request: Request) -> list[Account]:
        """List the accounts."""
        door.holder(request, Act.OVERSEE)
        now_ms = site.wall_ms()
        return [
            Account(
                name=each.name,
                display=each.display,
                role=each.role.value,
                cells=list(each.cells),
                second_factor=each.second,
                password=each.password,
                to_change=each.once,
                locked_until=iso(each.locked_until_ms) if each.locked_until_ms > now_ms else None,
                disabled=None if each.disabled_ms is None else iso(each.disabled_ms),
                created=iso(each.created_ms),
                created_by=each.created_by,
            )
            for each in site.people.accounts()
        ]

    @router.get("/cells")
    def all_cells(request: Request) -> list[Cell]:
        """List the cells."""
        door.holder(request, Act.OVERSEE)
        team = Counter(
            cell for each in site.people.accounts() if each.disabled_ms is None for cell in each.cells
        )
        followed = cells.counts(engine)
        return [
            Cell(name=name, patients=followed.get(name, 0), accounts=team[name])
            for name in sorted({*followed, *team})
        ]

    @router.get("/sources")
    def sources(request: Request) -> list[Gateway]:
        """List the gateways that may send."""
        door.holder(request, Act.OVERSEE)
        if site.sources is None or not site.sources.exists():
            return []
        kept = Sources(site.sources)
        try:
            found = kept.all()
        finally:
            kept.close()
        return [
            Gateway(
                name=each.name,
                everyone=each.everyone,
                cells=list(each.cells),
                named_patients=len(each.patients),
                keys=each.keys,
                created=iso(each.created_ms),
                revoked=None if each.revoked_ms is None else iso(each.revoked_ms),
            )
            for each in found
        ]

    @router.get("/protocols")
    def protocols(request: Request) -> list[InForce]:
        """List the protocols in force, and who answers for each."""
        person = door.holder(request, Act.PROTOCOLS)
        patients = versions.followed(engine, person.cells if may(person, Act.SEE) else None)
        on = datetime.fromtimestamp(site.now_ms() / 1000, site.zone).date()
        return [
            InForce(
                id=each.id,
                version=each.version,
                title=each.title,
                hash=each.hash,
                signed=standing(each, on) is Standing.SIGNED,
                statement=statement(each, on),
                patients=len(patients.get(each.id, ())),
            )
            for each in site.protocols
        ]

    @router.get("/policy")
    def policy(request: Request) -> dict[str, Any]:
        """Give the policy of answering that lines which open now get; times in ms, null: no limit."""
        door.holder(request, Act.PROTOCOLS)
        return site.store.policy.model_dump(mode="json")

    @router.get("/audit")
    def trail(
        request: Request,
        actor: Word = "",
        subject: Word = "",
        action: Word = "",
        cell: Annotated[str, Query(max_length=80)] = "",
        since: Annotated[Time | None, Query()] = None,
        until: Annotated[Time | None, Query()] = None,
        before: Annotated[
            int | None, Query(ge=1, le=1 << 62, description="`next` of the page before")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
    ) -> Trail:
        """Search the audit trail, newest first; noted."""
        person = door.holder(request, Act.AUDIT)
        found = audit.entries(
            engine,
            subject=subject or None,
            actor=actor or None,
            action=action or None,
            cells=[cell] if cell else None,
            before=before,
            since_ms=None if since is None else ms(since),
            until_ms=None if until is None else ms(until),
            at_most=limit + 1,
        )
        site.seen(person, "trail seen", subject or actor, "")
        shown = found[:limit]
        return Trail(
            entries=[
                Noted(
                    number=each.id,
                    t=iso(each.t_ms),
                    actor=each.actor,
                    action=each.action,
                    subject=each.subject,
                    cell=each.cell,
                    line=json.loads(each.details).get("episode"),
                )
                for each in shown
            ],
            next=shown[-1].id if len(found) > limit else None,
        )

    @router.get(
        "/audit/export",
        response_class=Response,
        responses={
            200: {
                "description": "a JSON object a line: id, t_ms, actor, action, subject, cell, hash",
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            }
        },
    )
    def export(
        request: Request,
        after: Number = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_EXPORTED)] = MOST_EXPORTED,
    ) -> Response:
        """Give a part of the trail in its order, without details; noted.

        It goes on after the last `id`, until fewer than `limit` come.
        """
        person = door.holder(request, Act.AUDIT)
        rows = audit_export.outline(engine, after, limit)
        site.seen(person, "trail exported", "", "", after=after, entries=len(rows))
        return Response("".join(map(audit_export.line, rows)), media_type="application/x-ndjson")

    return router
