"""What a nurse does about a line: forms that say what they need, and what came of them."""

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, Response

from triage.people.person import Person
from triage.people.rights import Act
from triage.web.pages.queue import row_html, shown
from triage.web.site import Site
from triage.work import lists
from triage.work.desk import Line
from triage.work.states import OUTCOMES, REASONS, MoveError, Outcome, Reason, Whom

__all__ = ["routes"]

FORMS: Final = {
    "appel": "Noter un appel",
    "avis": "Demander un avis",
    "sourdine": "Mettre en sourdine",
    "cloture": "Clôturer l’alerte",
    "rouvrir": "Rouvrir l’alerte",
    "confier": "Confier à un collègue",
    "note": "Écrire une note",
}

Text = Annotated[str, Form(max_length=4000)]
Version = Annotated[int | None, Form()]


def routes(site: Site) -> APIRouter:
    """Make the forms of the moves."""
    router = APIRouter(prefix="/alertes/{episode}")
    desk = site.desk

    def form(
        request: Request, person: Person, episode: str, name: str, wrong: str = "", status: int = 200
    ) -> Response:
        row = site.line(person, episode)
        return site.page(
            "move.html",
            person,
            status,
            form=name,
            title=FORMS[name],
            row=shown(site, row, person),
            wrong=wrong,
            outcomes=OUTCOMES,
            reasons=REASONS,
            whom=Whom,
            colleagues=site.colleagues(person),
            given=dict(request.query_params),
            counts=site.counts(person),
        )

    def do(
        request: Request,
        episode: str,
        csrf: str,
        name: str,
        move: Callable[[Person], Line],
    ) -> Response:
        """Make a move; answer with the row, where a script asked for that, else with a page."""
        person = site.checked(request, Act.WORK, csrf)
        site.line(person, episode)
        live = request.headers.get("hx-request") == "true"
        try:
            move(person)
        except (MoveError, ValueError) as error:
            wrong = (
                str(error)
                if isinstance(error, MoveError)
                else "heure : jour et heure, par exemple 27/11/2026 14:05"
            )
            if live:
                row = lists.row(site.store.engine, episode, person.cells)
                return HTMLResponse(row_html(site, row, person, wrong) if row else "", 409)
            if name in FORMS:
                return form(request, person, episode, name, wrong, 409)
            return site.page(
                "refused.html",
                person,
                409,
                wrong=wrong,
                row=shown(site, site.line(person, episode), person),
                counts=site.counts(person),
            )
        if live:
            row = lists.row(site.store.engine, episode, person.cells)
            return HTMLResponse(row_html(site, row, person) if row else "")
        to = "" if name == "prendre" else "/file"
        return site.back(request, to)

    @router.get("/{name}")
    def ask(request: Request, episode: str, name: str) -> Response:
        person = site.allowed(request, Act.WORK)
        if name not in FORMS:
            return site.back(request, f"/patients/{site.line(person, episode).line.patient}")
        return form(request, person, episode, name)

    @router.post("/prendre")
    def claim(request: Request, episode: str, csrf: Text, over: Annotated[bool, Form()] = False) -> Response:
        return do(request, episode, csrf, "prendre", lambda who: desk.claim(episode, who.name, over=over))

    @router.post("/rendre")
    def release(request: Request, episode: str, csrf: Text) -> Response:
        return do(request, episode, csrf, "rendre", lambda who: desk.release(episode, who.name))

    @router.post("/appel")
    def call(
        request: Request,
        episode: str,
        csrf: Text,
        outcome: Annotated[Outcome, Form()],
        back: Text = "",
        version: Version = None,
    ) -> Response:
        def move(who: Person) -> Line:
            at = site.words.read(back) if back else None
            return desk.call(episode, who.name, outcome, at, version=version)

        return do(request, episode, csrf, "appel", move)

    @router.post("/avis")
    def escalate(
        request: Request,
        episode: str,
        csrf: Text,
        to: Annotated[Whom, Form()],
        note: Text = "",
        version: Version = None,
    ) -> Response:
        return do(
            request,
            episode,
            csrf,
            "avis",
            lambda who: desk.escalate(episode, who.name, to, note, version=version),
        )

    @router.post("/sourdine")
    def mute(
        request: Request, episode: str, csrf: Text, until: Text, reason: Text = "", version: Version = None
    ) -> Response:
        return do(
            request,
            episode,
            csrf,
            "sourdine",
            lambda who: desk.mute(episode, who.name, site.words.read(until), reason, version=version),
        )

    @router.post("/cloture")
    def close(
        request: Request,
        episode: str,
        csrf: Text,
        reason: Annotated[Reason, Form()],
        text: Text = "",
        version: Version = None,
    ) -> Response:
        return do(
            request,
            episode,
            csrf,
            "cloture",
            lambda who: desk.close(episode, who.name, reason, text, version=version),
        )

    @router.post("/rouvrir")
    def reopen(
        request: Request, episode: str, csrf: Text, reason: Text = "", version: Version = None
    ) -> Response:
        return do(
            request,
            episode,
            csrf,
            "rouvrir",
            lambda who: desk.reopen(episode, who.name, reason, version=version),
        )

    @router.post("/note")
    def note(
        request: Request, episode: str, csrf: Text, text: Text = "", version: Version = None
    ) -> Response:
        return do(
            request, episode, csrf, "note", lambda who: desk.note(episode, who.name, text, version=version)
        )

    @router.post("/confier")
    def hand_over(request: Request, episode: str, csrf: Text, to: Text, version: Version = None) -> Response:
        def move(who: Person) -> Line:
            site.colleague(who, episode, to)
            return desk.hand_over(episode, who.name, to, version=version)

        return do(request, episode, csrf, "confier", move)

    return router
