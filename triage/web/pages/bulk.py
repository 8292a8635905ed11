"""Several lines at once: ticked on the queue, moved one by one, and told how many were."""

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from triage.people.person import Person
from triage.people.rights import Act
from triage.web.site import Site
from triage.work.desk import Bulk, Line
from triage.work.states import REASONS, Reason

__all__ = ["MOST", "routes"]

MOST: Final = 200
"""Lines of one bulk move: as many as a page shows."""

Text = Annotated[str, Form(max_length=4000)]
TITLES: Final = {"prendre": "Prendre", "sourdine": "Mettre en sourdine", "cloture": "Clore"}


def routes(site: Site) -> APIRouter:
    """Make the forms of bulk moves."""
    router = APIRouter()
    desk = site.desk

    def told(person: Person, done: Bulk) -> Response:
        return site.page("bulk_done.html", person, done=done, counts=site.counts(person))

    @router.post("/alertes/groupe")
    def begin(
        request: Request,
        csrf: Text,
        faire: Annotated[str, Form(pattern="^(prendre|sourdine|cloture)$")],
        alerte: Annotated[list[str], Form(max_length=MOST)] = [],  # noqa: B006 - FastAPI copies it
    ) -> Response:
        person = site.checked(request, Act.WORK, csrf)
        for episode in alerte:
            site.line(person, episode)
        if not alerte:
            return site.back(request, "/file")
        if faire == "prendre":
            return told(person, desk.bulk(alerte, lambda episode: desk.claim(episode, person.name)))
        return site.page(
            "bulk.html",
            person,
            faire=faire,
            title=TITLES[faire],
            episodes=alerte,
            reasons=REASONS,
            wrong="",
            counts=site.counts(person),
        )

    @router.post("/alertes/groupe/faire")
    def do(
        request: Request,
        csrf: Text,
        faire: Annotated[str, Form(pattern="^(sourdine|cloture)$")],
        alerte: Annotated[list[str], Form(min_length=1, max_length=MOST)],
        reason: Text,
        text: Text = "",
        until: Text = "",
    ) -> Response:
        person = site.checked(request, Act.WORK, csrf)
        for episode in alerte:
            site.line(person, episode)
        try:
            closing = Reason(reason) if faire == "cloture" else None
            until_ms = site.words.read(until) if closing is None else 0
        except ValueError:
            words = "Donnez le motif" + (" et une fin, jour et heure." if faire == "sourdine" else ".")
            return site.page(
                "bulk.html",
                person,
                422,
                faire=faire,
                title=TITLES[faire],
                episodes=alerte,
                reasons=REASONS,
                wrong=words,
                counts=site.counts(person),
            )

        def move(episode: str) -> Line:
            if closing is not None:
                return desk.close(episode, person.name, closing, text)
            return desk.mute(episode, person.name, until_ms, reason)

        return told(person, desk.bulk(alerte, move))

    return router
