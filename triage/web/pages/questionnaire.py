"""A patient's own questionnaire: by a signed link, on a telephone, without an account and without a script."""

from fastapi import APIRouter, Request
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import Response

from ingest.signals import by_name
from triage.audit import ENTRY
from triage.web.links import Link, LinkError
from triage.web.pages.entry import answers_of
from triage.web.site import Site
from triage.work.entry import BY_PATIENT, EntryError, Typed, enter, items_of, number

__all__ = ["routes"]

TEMPERATURE = by_name("temperature")


def routes(site: Site) -> APIRouter:
    """Make the page; it is not there where no key is configured."""
    router = APIRouter(prefix="/q/{token}")

    def link_of(token: str) -> Link:
        if site.seal is None:
            msg = "Les questionnaires ne sont pas ouverts ici."
            raise LinkError(msg)
        link = Link.opened(token, site.seal, site.wall_ms())
        if all(protocol.id != link.protocol for protocol in site.protocols):
            msg = "Ce questionnaire n’est plus en usage."
            raise LinkError(msg)
        return link

    def said(words: str, status: int = 200, *, good: bool = False) -> Response:
        return site.page("questionnaire_said.html", None, status, words=words, good=good)

    def was_sent(link: Link) -> bool:
        with site.store.engine.connect() as connection:
            found = select(ENTRY.c.id).where(ENTRY.c.subject == link.patient, ENTRY.c.actor == _actor(link))
            return connection.execute(found.limit(1)).first() is not None

    def form_of(link: Link, given: dict[str, str], wrong: dict[str, str], status: int = 200) -> Response:
        protocol = next(each for each in site.protocols if each.id == link.protocol)
        items = items_of([protocol])
        return site.page(
            "questionnaire.html",
            None,
            status,
            title=protocol.title,
            items=items,
            given=given,
            wrong=wrong,
            temperature=TEMPERATURE if TEMPERATURE.name in protocol.signals else None,
        )

    @router.get("")
    def ask(token: str) -> Response:
        try:
            link = link_of(token)
        except LinkError as error:
            return said(str(error), 410)
        if was_sent(link):
            return said("Vos réponses ont déjà été reçues. Merci.", good=True)
        return form_of(link, {}, {})

    @router.post("")
    async def take(request: Request, token: str) -> Response:
        form = await request.form(max_files=0, max_fields=100)
        return await run_in_threadpool(take_form, token, form)

    def take_form(token: str, form: FormData) -> Response:
        try:
            link = link_of(token)
        except LinkError as error:
            return said(str(error), 410)
        if was_sent(link):
            return said("Vos réponses ont déjà été reçues. Merci.", good=True)
        protocol = next(each for each in site.protocols if each.id == link.protocol)
        given = {name: str(value)[:100] for name, value in form.items()}
        wrong: dict[str, str] = {}
        answers = answers_of([protocol], form, wrong, all_=True)
        readings: dict[int, float] = {}
        if TEMPERATURE.name in protocol.signals:
            try:
                value = number(given.get("temperature", ""), TEMPERATURE)
            except EntryError as error:
                wrong["temperature"] = str(error)
            else:
                if value is not None:
                    readings[TEMPERATURE.code] = value
        if wrong:
            return form_of(link, given, wrong, 422)
        now_ms = site.now_ms()
        enter(
            site.store.engine,
            link.patient,
            Typed(readings, answers, now_ms),
            source=BY_PATIENT,
            who=_actor(link),
            now_ms=now_ms,
            number_of=link.number,
        )
        return said("Merci. Vos réponses sont arrivées à la cellule.", good=True)

    return router


def _actor(link: Link) -> str:
    """Name what stands for the patient in the trail: the link's number says which questionnaire."""
    return f"patient:{link.number:x}"
