"""A proposal of limits: its trial, its shadow, and the moves of those who answer for it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from engine.workshop import WorkshopError
from rules.protocol import Protocol
from triage.people.person import Person
from triage.people.rights import Act
from triage.web.site import Site
from triage.web.trial import ask, of_proposal
from triage.work import cell_limits
from triage.work.limits import Concerned
from triage.work.proposals import Proposal, Stage
from triage.work.states import MoveError

__all__ = ["routes"]

Text = Annotated[str, Form(max_length=2000)]
Begin = Annotated[str, Query(max_length=100)]
Number = Annotated[int, Path(ge=1, le=(1 << 62))]
Version = Annotated[int, Form(ge=0, le=1 << 62)]


@dataclass(frozen=True, slots=True)
class Shadow:
    """What ran in the shadow, day by day, until when (ms UTC)."""

    until_ms: int
    days: list[dict[str, Any]]


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter(prefix="/atelier/propositions/{number}")

    def found(person: Person, number: int) -> Proposal:
        each = site.proposals.get(number, person.cells)
        if each is None:
            raise HTTPException(404)
        return each

    def facts(each: Proposal) -> dict[str, Any]:
        """Give what is signed, for ``proposal_facts.html``."""
        protocol = next((p for p in site.protocols if p.id == each.protocol), None)
        return {
            "each": each,
            "title": protocol.title if protocol is not None else each.protocol,
            "limits": protocol.limits if protocol is not None else {},
            "concerned": _concerned(site, each, protocol),
        }

    def page(person: Person, each: Proposal, wrong: str = "") -> Response:
        protocol = next((p for p in site.protocols if p.id == each.protocol), None)
        shadow: Shadow | None = None
        problem = ""
        if each.shadow_ms is not None and protocol is not None:
            try:
                shadow = _shadow(site, each, protocol)
            except WorkshopError as error:
                problem = str(error)
        return site.page(
            "proposal.html",
            person,
            422 if wrong else 200,
            **facts(each),
            Stage=Stage,
            reached=_reached(site, each),
            shadow=shadow,
            problem=problem,
            wrong=wrong,
            counts=site.counts(person),
            tab="workshop",
        )

    @router.get("")
    def seen(request: Request, number: Number) -> Response:
        person = site.allowed(request, Act.LIMITS)
        each = found(person, number)
        if each.shadow_ms is not None:
            site.seen(person, "shadow seen", f"proposal {number}", each.cell)
        return page(person, each)

    @router.get("/essai.html")
    def report(request: Request, number: Number) -> Response:
        person = site.allowed(request, Act.LIMITS)
        each = found(person, number)
        site.seen(person, "trial seen", f"proposal {number}", each.cell)
        headers = {"Content-Disposition": f'attachment; filename="essai-{number}.html"'}
        return Response(site.proposals.report(number), media_type="text/html; charset=utf-8", headers=headers)

    @router.get("/signer")
    def sign(request: Request, number: Number, begin: Begin = "") -> Response:
        """Show all of what would be signed, and ask: what holds for a whole cell is signed by nobody in passing."""
        person = site.allowed(request, Act.LIMITS)
        each = found(person, number)
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
        person = site.checked(request, Act.LIMITS, csrf)
        found(person, number)
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
            return page(person, found(person, number), str(error))
        return RedirectResponse(f"/atelier/propositions/{number}", 303)

    return router


def _reached(site: Site, each: Proposal) -> tuple[int, int] | None:
    """Give how many patients' logs have been told these limits, of how many; None where they are not in force."""
    if each.stage is not Stage.IN_FORCE:
        return None
    names = [change.name for change in each.changes]
    return cell_limits.reached(site.store.engine, each.cell, each.protocol, names)


def _shadow(site: Site, each: Proposal, protocol: Protocol) -> Shadow:
    """Say day by day what ran in the shadow; of what has ended, what was kept, or what is kept from now on.

    Raises
    ------
    WorkshopError
    """
    until_ms = each.shadow_until_ms
    if until_ms is None or each.shadow_ms is None:
        answer = ask(site, of_proposal(site, each), each.shadow_ms, live=True)
        return Shadow(answer.reach.last_ms, [asdict(day) for day in answer.days])
    if each.shadow_kept is not None:
        return Shadow(until_ms, each.shadow_kept["days"])
    if protocol.hash != each.protocol_hash:
        msg = "le protocole a changé depuis, et la comparaison n’avait pas été gardée"
        raise WorkshopError(msg)
    answer = ask(site, of_proposal(site, each), each.shadow_ms, live=True)
    last = datetime.fromtimestamp(until_ms / 1000, site.zone).date().isoformat()
    days = [asdict(day) for day in answer.days if day.day <= last]
    # A log that has not been read as far as the end says more later.
    if answer.reach.last_ms >= until_ms:
        site.proposals.keep_shadow(each.id, days)
    return Shadow(min(until_ms, answer.reach.last_ms), days)


def _concerned(site: Site, each: Proposal, protocol: Protocol | None) -> Concerned | None:
    """Say whom limits that do not hold yet are for; None of others."""
    if protocol is None or each.stage not in {Stage.PROPOSED, Stage.SIGNED}:
        return None
    names = [change.name for change in each.changes if change.name in protocol.limits]
    return site.limit_desk.concerned(each.cell, protocol, names)


def _moment(site: Site, given: str) -> int | None:
    """Read from when on; None: at once."""
    if not given.strip():
        return None
    try:
        return site.words.read(given)
    except ValueError as error:
        msg = "une date et une heure, ou rien pour tout de suite"
        raise MoveError(msg) from error
