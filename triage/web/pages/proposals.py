"""A proposal of limits: its trial, its shadow, and the moves of those who answer for it."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from engine.workshop import WorkshopError
from triage.people.person import Person
from triage.people.rights import Act
from triage.web import proposed
from triage.web.proposed import Shadow
from triage.web.site import Site
from triage.work.proposals import Proposal, Stage
from triage.work.states import MoveError

__all__ = ["routes"]

Text = Annotated[str, Form(max_length=2000)]
Begin = Annotated[str, Query(max_length=100)]
Number = Annotated[int, Path(ge=1, le=(1 << 62))]
Version = Annotated[int, Form(ge=0, le=1 << 62)]


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter(prefix="/atelier/propositions/{number}")

    def facts(each: Proposal) -> dict[str, Any]:
        """Give what is signed, for ``proposal_facts.html``."""
        protocol = site.protocol(each.protocol)
        return {
            "each": each,
            "title": protocol.title if protocol is not None else each.protocol,
            "limits": protocol.limits if protocol is not None else {},
            "concerned": proposed.concerned(site, each),
        }

    def page(person: Person, each: Proposal, wrong: str = "") -> Response:
        shadow: Shadow | None = None
        problem = ""
        try:
            shadow = proposed.shadow(site, person, each)
        except WorkshopError as error:
            problem = str(error)
        return site.page(
            "proposal.html",
            person,
            422 if wrong else 200,
            **facts(each),
            Stage=Stage,
            reached=proposed.reached(site, each),
            waits=proposed.waits(site, each),
            shadow=shadow,
            problem=problem,
            wrong=wrong,
            counts=site.counts(person),
            tab="workshop",
        )

    @router.get("")
    def seen(request: Request, number: Number) -> Response:
        person = site.allowed(request, Act.TRY)
        return page(person, proposed.found(site, person, number))

    @router.get("/essai.html")
    def report(request: Request, number: Number) -> Response:
        person = site.allowed(request, Act.TRY)
        each = proposed.found(site, person, number)
        site.seen(person, "trial seen", f"proposal {number}", each.cell)
        headers = {"Content-Disposition": f'attachment; filename="essai-{number}.html"'}
        return Response(site.proposals.report(number), media_type="text/html; charset=utf-8", headers=headers)

    @router.get("/signer")
    def sign(request: Request, number: Number, begin: Begin = "") -> Response:
        """Show all of what would be signed, and ask: what holds for a whole cell is signed by nobody in passing."""
        person = site.allowed(request, Act.SIGN)
        each = proposed.found(site, person, number)
        if each.stage is not Stage.PROPOSED or each.author == person.name:
            return RedirectResponse(f"/atelier/propositions/{number}", 303)
        try:
            from_ms = _moment(site, begin)
        except MoveError as error:
            return page(person, each, str(error))
        return site.page(
            "proposal_sign.html",
            person,
            **facts(each),
            begin=begin,
            from_ms=from_ms,
            counts=site.counts(person),
            tab="workshop",
        )

    @router.post("/{act}")
    def moved(
        request: Request,
        number: Number,
        act: str,
        csrf: Text,
        version: Version,
        reason: Text = "",
        begin: Text = "",
    ) -> Response:
        person = site.checked(request, Act.SIGN if act in {"signer", "reprendre"} else Act.LIMITS, csrf)
        proposed.found(site, person, number)
        who, desk = person.name, site.proposals
        moves = {
            "signer": lambda: desk.sign(number, who, _moment(site, begin), version),
            "refuser": lambda: desk.refuse(number, who, reason, version),
            "retirer": lambda: desk.withdraw(number, who, reason, version),
            "reprendre": lambda: desk.take_back(number, who, reason, version),
            "ombre": lambda: desk.shadow(number, who, version, on=True),
            "sans-ombre": lambda: desk.shadow(number, who, version, on=False),
        }
        if act not in moves:
            raise HTTPException(404)
        try:
            moves[act]()
        except MoveError as error:
            return page(person, proposed.found(site, person, number), str(error))
        return RedirectResponse(f"/atelier/propositions/{number}", 303)

    return router


def _moment(site: Site, given: str) -> int | None:
    """Read from when on; None: at once."""
    if not given.strip():
        return None
    try:
        return site.words.read(given)
    except ValueError as error:
        msg = "une date et une heure, ou rien pour tout de suite"
        raise MoveError(msg) from error
