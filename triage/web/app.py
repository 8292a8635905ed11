"""The application: pages, live events, static files, behind one guard."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from triage.people.person import Person
from triage.web.api.build import build as api
from triage.web.guard import Guard
from triage.web.hub import Hub
from triage.web.live import routes as live
from triage.web.pages import (
    admin,
    bulk,
    cell,
    entry,
    limits,
    moves,
    openid,
    patient,
    proposals,
    questionnaire,
    queue,
    sheets,
    signin,
    versions,
    workshop,
)
from triage.web.site import NotSignedInError, Site, home

__all__ = ["build"]

STATIC: Final = Path(__file__).parent / "static"

_WORDS: Final = {
    400: "Demande incomprise.",
    403: "Non autorisé.",
    404: "Cette page n’existe pas, ou n’est pas de votre cellule.",
    405: "Cette page ne se demande pas ainsi.",
    422: "Un champ manque ou n’est pas valable : revenez en arrière et corrigez-le.",
    500: "Une erreur de Vigie : elle est notée. Rechargez la page ; l’alerte, elle, est gardée.",
}


class _Static(StaticFiles):
    """Files that a browser keeps for an hour, and asks about after that."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Give a file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


def build(site: Site, hub: Hub, *, hosts: tuple[str, ...] = ()) -> ASGIApp:
    """Make the application.

    Parameters
    ----------
    site : Site
    hub : Hub
        Started and stopped by the caller.
    hosts : tuple of str
        Names by which it may be called; any where none is given.
    """
    app = FastAPI(title="Vigie", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    # Bulk moves and sheets before the moves of one line, proposals before protocols, whose paths would take theirs.
    for pages in (
        signin,
        openid,
        queue,
        bulk,
        sheets,
        moves,
        entry,
        limits,
        patient,
        questionnaire,
        cell,
        proposals,
        versions,
        workshop,
        admin,
    ):
        app.include_router(pages.routes(site))
    app.include_router(patient.opening(site))
    app.include_router(live(site, hub))
    app.mount("/api/v1", api(site, hub))
    app.mount("/static", _Static(directory=STATIC))

    @app.get("/")
    def first(request: Request) -> Response:
        return RedirectResponse(home(site.person(request)), 303)

    def told(request: Request, status: int, words: str) -> Response:
        person: Person | None = None
        with suppress(NotSignedInError):
            person = site.person(request)
        return site.page("error.html", person, status, words=words)

    @app.exception_handler(NotSignedInError)
    def not_signed_in(request: Request, error: NotSignedInError) -> Response:
        if request.method == "GET" and request.headers.get("accept", "").startswith("application/json"):
            return Response(status_code=401)
        if request.headers.get("hx-request") == "true":
            # The page that sent it is left: what it shows is nobody's now.
            return Response(status_code=204, headers={"HX-Redirect": error.to})
        return RedirectResponse(error.to, 303)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        own = error.detail if error.status_code in {403, 409} else ""
        return told(request, error.status_code, own or _WORDS.get(error.status_code, _WORDS[400]))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        fields = ", ".join(sorted({str(each["loc"][-1]) for each in error.errors()}))
        return told(request, 422, f"{_WORDS[422]} ({fields})")

    # What it was is logged by the guard, which the error reaches too.
    @app.exception_handler(Exception)
    def failed(request: Request, _error: Exception) -> Response:
        return told(request, 500, _WORDS[500])

    return Guard(app, https=site.https, hosts=hosts)
