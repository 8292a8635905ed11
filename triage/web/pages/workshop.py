"""The workshop: a cardiologist moves limits of a cell, sees what that would have done, and proposes it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from engine.workshop import Answer, WorkshopError
from triage.people.person import Person
from triage.people.rights import Act
from triage.web import proposed
from triage.web.site import Site
from triage.web.trial import NOT_HERE, Trial, cell_of, of_form, see
from triage.work.proposals import Stage
from triage.work.states import MoveError

__all__ = ["routes"]

Cell = Annotated[str, Query(max_length=100)]


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter(prefix="/atelier")

    def result(
        person: Person,
        of: Trial,
        problem: str = "",
        answer: Answer | None = None,
        *,
        whole: bool,
    ) -> Response:
        """Show the trial of what is legal, and what is wrong beside it."""
        refused = bool(of.wrong or problem)
        if answer is None and not problem:
            try:
                answer = see(site, person, of)
            except WorkshopError as error:
                problem = str(error)
        return site.page(
            "workshop.html" if whole else "trial_answer.html",
            person,
            422 if refused else 200,
            trial=of,
            answer=answer,
            problem=problem,
            counts=site.counts(person),
            tab="workshop",
        )

    def asked(request: Request, act: Act, protocol: str, form: FormData) -> tuple[Person, Trial]:
        person = site.checked(request, act, str(form.get("csrf", "")))
        return person, of_form(site, cell_of(person, str(form.get("cellule", ""))), protocol, form)

    @router.get("")
    def index(request: Request, cellule: Cell = "") -> Response:
        person = site.allowed(request, Act.TRY)
        cell = cell_of(person, cellule)
        if site.workshop is not None:
            site.workshop.prepare()
        return site.page(
            "workshop_index.html",
            person,
            cell=cell,
            protocols=site.protocols,
            candidates=site.candidates,
            proposals=site.proposals.all(person.cells),
            Stage=Stage,
            labels={
                (protocol.id, name): (limit.label, limit.unit)
                for protocol in site.protocols
                for name, limit in protocol.limits.items()
            },
            problem="" if site.workshop is not None else NOT_HERE,
            counts=site.counts(person),
            tab="workshop",
        )

    @router.get("/{protocol}")
    def page(request: Request, protocol: str, cellule: Cell = "") -> Response:
        person = site.allowed(request, Act.TRY)
        return result(person, of_form(site, cell_of(person, cellule), protocol), whole=True)

    @router.post("/{protocol}/essai")
    async def tried(request: Request, protocol: str) -> Response:
        form = await request.form()
        return await run_in_threadpool(try_, request, protocol, form)

    def try_(request: Request, protocol: str, form: FormData) -> Response:
        person, of = asked(request, Act.TRY, protocol, form)
        return result(person, of, whole=request.headers.get("hx-request") != "true")

    @router.post("/{protocol}/proposer")
    async def sent(request: Request, protocol: str) -> Response:
        form = await request.form()
        return await run_in_threadpool(propose, request, protocol, form)

    def propose(request: Request, protocol: str, form: FormData) -> Response:
        person, of = asked(request, Act.LIMITS, protocol, form)
        if of.wrong:
            return result(person, of, whole=True)
        comment = str(form.get("comment", ""))[:2000]
        answer: Answer | None = None
        try:
            answer = see(site, person, of)
            made = proposed.propose(site, of, answer, comment, person.name)
        except (MoveError, WorkshopError) as error:
            return result(person, of, str(error), answer, whole=True)
        return RedirectResponse(f"/atelier/propositions/{made}", 303)

    return router
