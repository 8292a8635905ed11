"""The workshop: limits of a cell tried, proposed, run in the shadow, refused, withdrawn.

What a program may is what its account may on the pages of the workshop, but to sign and to take back: what holds for a
whole cell is decided by a person who has read it. A question waits with those of the pages for one of the same few
seats.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.responses import Response

from engine.workshop import Answer
from triage.people.person import Person
from triage.people.rights import Act
from triage.web import proposed, trial
from triage.web.api.cell import Cell
from triage.web.api.door import Door, Id, said
from triage.web.api.shapes import Limit, iso
from triage.web.api.workshop_shapes import (
    Bench,
    Beside,
    Compared,
    Concerned,
    End,
    Propose,
    Proposed,
    ProposedInWhole,
    ProposedList,
    RanBeside,
    Reached,
    Tried,
    Try,
)
from triage.web.site import Site
from triage.web.trial import Trial
from triage.work.proposals import Proposal
from triage.work.states import MoveError

__all__ = ["routes"]

MOST = 100
"""Proposals of one answer."""

Number = Annotated[int, Path(ge=1, le=(1 << 62), description="of a proposal")]

_TRY = {"cell": "Nord", "limits": {"gain_3d_kg": 1.5}, "seen": {"gain_3d_kg": 2.0}}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "trial": _TRY,
    "proposals": {**_TRY, "comment": "charge acceptable, une décompensation de plus"},
    "refuse": {"version": 1, "reason": "pas assez d’événements"},
    "withdraw": {"version": 1, "reason": "essai refait"},
    "shadow": {"version": 1, "on": True},
}


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["workshop"])
    for part in (_trials, _seeing, _moves):
        router.include_router(part(site, door))
    return router


def _trials(site: Site, door: Door) -> APIRouter:
    router = APIRouter(prefix="/workshop/{protocol}", responses=said(404))

    def tried(person: Person, protocol: str, body: Try) -> tuple[Trial, Answer]:
        of = trial.of_values(site, trial.cell_of(person, body.cell or ""), protocol, body.limits, body.seen)
        return of, trial.see(site, person, of)

    @router.get("")
    def bench(request: Request, protocol: Id, cell: Cell = None) -> Bench:
        """List the limits of a cell that can be tried, with what holds; where none is named, of one's first."""
        person = door.holder(request, Act.TRY)
        of = trial.of_values(site, trial.cell_of(person, cell or ""), protocol, {}, {})
        if site.workshop is not None:
            site.workshop.prepare()
        return Bench(
            cell=of.cell,
            protocol=of.protocol.id,
            protocol_version=of.protocol.version,
            protocol_hash=of.protocol.hash,
            limits=[Limit.of(each) for each in of.standings],
        )

    @router.post("/trial", responses=said(409), openapi_extra=_body("trial"))
    def try_(request: Request, protocol: Id, body: Try) -> Tried:
        """Try limits over the cell's last 90 days; nothing is changed, and that it was seen is noted."""
        return Tried.of(*tried(door.holder(request, Act.TRY), protocol, body))

    @router.post("/proposals", responses=said(409), openapi_extra=_body("proposals"))
    def propose(request: Request, protocol: Id, body: Propose) -> ProposedInWhole:
        """Try limits and propose them; they hold when another cardiologist of the cell has signed."""
        person = door.holder(request, Act.LIMITS)
        of, answer = tried(person, protocol, body)
        number = proposed.propose(site, of, answer, body.comment, person.name)
        return _in_whole(site, proposed.found(site, person, number))

    return router


def _seeing(site: Site, door: Door) -> APIRouter:
    router = APIRouter(prefix="/proposals")

    @router.get("", responses=said(404))
    def list_(
        request: Request,
        cell: Cell = None,
        after: Annotated[int | None, Query(ge=0, le=1 << 62, description="`next` of the last answer")] = None,
    ) -> ProposedList:
        """List the proposals of one's cells, newest first, at most 100."""
        person = door.holder(request, Act.TRY)
        rows = site.proposals.all(door.cells(person, cell), MOST + 1, after)
        return ProposedList(
            proposals=[Proposed.of(each, site.protocol(each.protocol)) for each in rows[:MOST]],
            next=rows[MOST - 1].id if len(rows) > MOST else None,
        )

    @router.get("/{number}", responses=said(404))
    def view(request: Request, number: Number) -> ProposedInWhole:
        """Give a proposal in whole: what is to be read before it is signed."""
        person = door.holder(request, Act.TRY)
        return _in_whole(site, proposed.found(site, person, number))

    @router.get(
        "/{number}/trial",
        response_class=Response,
        responses=said(404)
        | {
            200: {
                "description": "a page in French",
                "content": {"text/html": {"schema": {"type": "string"}}},
            }
        },
    )
    def report(request: Request, number: Number) -> Response:
        """Give the whole trial of a proposal as a page, which opens without a network; noted."""
        person = door.holder(request, Act.TRY)
        each = proposed.found(site, person, number)
        site.seen(person, "trial seen", f"proposal {number}", each.cell)
        return Response(site.proposals.report(number), media_type="text/html; charset=utf-8")

    @router.get("/{number}/shadow", responses=said(404, 409))
    def shadow(request: Request, number: Number) -> RanBeside:
        """Compare day by day what was sent with what the proposed limits would have raised; noted."""
        person = door.holder(request, Act.TRY)
        each = proposed.found(site, person, number)
        ran = proposed.shadow(site, person, each)
        if ran is None:
            msg = "cette proposition n’a pas tourné dans l’ombre"
            raise MoveError(msg)
        return RanBeside(
            until=iso(ran.until_ms), running=each.in_shadow, days=[Compared(**day) for day in ran.days]
        )

    return router


def _moves(site: Site, door: Door) -> APIRouter:
    router = APIRouter(prefix="/proposals/{number}", responses=said(404, 409))
    desk = site.proposals

    def moved(request: Request, number: int, move: Callable[[str], None]) -> ProposedInWhole:
        person = door.holder(request, Act.LIMITS)
        proposed.found(site, person, number)
        move(person.name)
        return _in_whole(site, proposed.found(site, person, number))

    # Not described: there is nothing there for a program but why.
    @router.post("/sign", include_in_schema=False)
    @router.post("/take-back", include_in_schema=False)
    def in_person(request: Request, number: Number) -> Response:  # noqa: ARG001 - of the path
        """Refuse: what holds for a whole cell is signed and taken back by a person, on the proposal's page."""
        door.holder(request, None)
        msg = "no token signs or takes back what holds for a cell: a person does, on the proposal's page"
        raise HTTPException(403, msg)

    @router.post("/refuse", openapi_extra=_body("refuse"))
    def refuse(request: Request, number: Number, body: End) -> ProposedInWhole:
        """Refuse what another cardiologist has proposed."""
        return moved(request, number, lambda who: desk.refuse(number, who, body.reason, body.version))

    @router.post("/withdraw", openapi_extra=_body("withdraw"))
    def withdraw(request: Request, number: Number, body: End) -> ProposedInWhole:
        """Withdraw what does not hold yet."""
        return moved(request, number, lambda who: desk.withdraw(number, who, body.reason, body.version))

    @router.post("/shadow", openapi_extra=_body("shadow"))
    def shadow(request: Request, number: Number, body: Beside) -> ProposedInWhole:
        """Let a proposal run in the shadow, or no more: nobody is sent those alerts."""
        return moved(request, number, lambda who: desk.shadow(number, who, body.version, on=body.on))

    return router


def _body(name: str) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"example": _EXAMPLES[name]}}}}


def _in_whole(site: Site, each: Proposal) -> ProposedInWhole:
    whom = proposed.concerned(site, each)
    told = proposed.reached(site, each)
    waits = proposed.waits(site, each)
    return ProposedInWhole.of(
        each,
        site.protocol(each.protocol),
        concerned=None if whom is None else Concerned(patients=whom.patients, own=whom.own),
        reached=None
        if told is None
        else Reached(
            told=told[0],
            patients=told[1],
            waiting=waits.patients if waits is not None else 0,
            begins=iso(waits.begins_ms) if waits is not None else None,
        ),
    )
