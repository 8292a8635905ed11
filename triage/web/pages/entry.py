"""Entry: a nurse types readings and answers for a patient who is on the telephone."""

from fastapi import APIRouter, HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import Response

from rules.protocol import Protocol
from triage.people.person import Person
from triage.people.rights import Act
from triage.web.site import Site
from triage.work.entry import BY_NURSE, ENTERED, EntryError, Typed, answer, enter, far, items_of, number, when

__all__ = ["answers_of", "routes"]


def answers_of(
    protocols: list[Protocol], form: FormData, wrong: dict[str, str], *, all_: bool
) -> dict[int, float]:
    """Read the answers to the questions of some protocols; `all_` where none may be left out."""
    answers: dict[int, float] = {}
    for item in items_of(protocols):
        given = str(form.get(f"q{item.code}", ""))
        if not given:
            if all_:
                wrong[f"q{item.code}"] = f"{item.label} : une réponse est nécessaire"
            continue
        try:
            whole = given.isascii() and given.isdecimal() and len(given) < 4
            answers[item.code] = answer(int(given) if whole else -1, item)
        except EntryError as error:
            wrong[f"q{item.code}"] = str(error)
    return answers


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter(prefix="/patients/{patient}/saisie")

    def allowed(request: Request, patient: str, csrf: str | None = None) -> Person:
        person = site.allowed(request, Act.ENTER) if csrf is None else site.checked(request, Act.ENTER, csrf)
        if not site.may_read(person, site.cell_of(patient), patient) or not site.knows(patient):
            raise HTTPException(404)
        return person

    def page(
        person: Person,
        patient: str,
        given: dict[str, str],
        wrong: dict[str, str],
        strange: list[str],
        status: int = 200,
    ) -> Response:
        protocols = [protocol for protocol, _ in site.limits(patient, site.cell_of(patient))]
        return site.page(
            "entry.html",
            person,
            status,
            patient=patient,
            signals=ENTERED,
            protocols=protocols,
            given=given,
            wrong=wrong,
            far=strange,
            counts=site.counts(person),
        )

    @router.get("")
    def ask(request: Request, patient: str) -> Response:
        return page(allowed(request, patient), patient, {}, {}, [])

    @router.post("")
    async def take(request: Request, patient: str) -> Response:
        form = await request.form(max_files=0, max_fields=200)
        return await run_in_threadpool(take_form, request, patient, form)

    def take_form(request: Request, patient: str, form: FormData) -> Response:
        person = allowed(request, patient, str(form.get("csrf", "")))
        given = {name: str(value)[:100] for name, value in form.items()}
        wrong: dict[str, str] = {}
        readings: dict[int, float] = {}
        for signal in ENTERED:
            try:
                value = number(given.get(signal.name, ""), signal)
            except EntryError as error:
                wrong[signal.name] = str(error)
                continue
            if value is not None:
                readings[signal.code] = value
        protocols = [protocol for protocol, _ in site.limits(patient, site.cell_of(patient))]
        answers = answers_of(protocols, form, wrong, all_=False)
        now_ms = site.now_ms()
        t_ms = now_ms
        if given.get("at"):
            try:
                t_ms = when(site.words.read(given["at"]), now_ms)
            except EntryError as error:
                wrong["at"] = str(error)
            except ValueError:
                wrong["at"] = "jour et heure, par exemple 27/11/2026 14:05"
        if not wrong and not readings and not answers:
            wrong["weight"] = "rien n’est saisi"
        if wrong:
            return page(person, patient, given, wrong, [], 422)
        strange = far(readings, site.last(patient))
        if strange and given.get("sure") != "yes":
            return page(person, patient, given, {}, strange)
        enter(
            site.store.engine,
            patient,
            Typed(readings, answers, t_ms),
            source=BY_NURSE,
            who=person.name,
            now_ms=now_ms,
        )
        return site.back(request, f"/patients/{patient}")

    return router
