"""The interface for programs: the same queue and the same moves, with a token instead of a page.

``Authorization: Bearer vg_...`` says whose program it is (`vigie user token`); a cookie says nothing here. What another
cell's patient is to a nurse it is to her programs: not there.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from rules.levels import Level
from triage.people.person import Person
from triage.people.rights import Act, may
from triage.web import api_models as models
from triage.web.api_models import Counted, Curve, Line, Lines, PatientLimit, Wrong, iso
from triage.web.site import Site
from triage.work import lists
from triage.work.desk import Line as Columns
from triage.work.lists import Filters, View
from triage.work.states import ChangedError, MoveError, TakenError

__all__ = ["build"]

_KINDS: Final = {401: "unsigned", 403: "forbidden", 404: "unknown"}
_WORDS: Final = {
    401: "a token is needed: Authorization: Bearer vg_...",
    404: "there is no such thing, or it is not of your cells",
}

Id = Annotated[str, Path(min_length=1, max_length=64)]


def _said(*statuses: int) -> dict[int | str, dict[str, Any]]:
    words = {
        401: "no token, or one that is none",
        403: "the token may not",
        404: "not there",
        409: "not legal now",
    }
    return {status: {"model": Wrong, "description": words[status]} for status in statuses}


def build(site: Site) -> FastAPI:  # noqa: PLR0915 - one function holds the routes
    """Make the application, to be mounted at ``/api/v1``."""
    app = FastAPI(
        title="Vigie",
        version="1",
        summary="The queue of a télésurveillance cell, for programs",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        responses={422: {"model": Wrong, "description": "a field is missing or not legal"}},
    )

    def holder(request: Request, act: Act) -> Person:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        person = site.people.by_token(token.strip(), site.now_ms()) if scheme.lower() == "bearer" else None
        if person is None:
            raise HTTPException(401, _WORDS[401], {"WWW-Authenticate": "Bearer"})
        if not may(person, act):
            msg = f"a token of scope {person.scope} of a {person.role} may not {act}"
            raise HTTPException(403, msg)
        return person

    def patient_of(person: Person, patient: str) -> str:
        cell = site.cell_of(patient)
        if not site.may_read(person, cell, patient) or not site.knows(patient):
            raise HTTPException(404, _WORDS[404])
        return cell

    def line_of(person: Person, episode: str) -> Line:
        return Line.of(site.line(person, episode))

    def moved(request: Request, episode: str, move: Callable[[Person], Columns]) -> Line:
        person = holder(request, Act.WORK)
        site.line(person, episode)
        move(person)
        return line_of(person, episode)

    desk = site.desk

    @app.get("/lines", responses=_said(401, 403))
    def lines(
        request: Request,
        view: View = View.WAITING,
        level: Annotated[str | None, Query(pattern="^(ROUGE|ORANGE|TECHNIQUE)$")] = None,
        protocol: Annotated[str, Query(max_length=100)] = "",
        text: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> Lines:
        """List a view of the queue, who is called next first."""
        person = holder(request, Act.SEE)
        at = None if level is None else Level[level]
        filters = Filters(
            view, person.cells, person.name, at, protocol.replace("\0", ""), text.replace("\0", " ")
        )
        return Lines(lines=[Line.of(row) for row in lists.rows(site.store.engine, filters, limit)])

    @app.get("/counts", responses=_said(401, 403))
    def counts(request: Request) -> Counted:
        """Count the open lines of each view, and those that wait by level."""
        found = site.counts(holder(request, Act.SEE))
        return Counted(
            views={view.value: count for view, count in found.views.items() if view is not View.CLOSED},
            levels={level.name: count for level, count in found.levels.items()},
        )

    @app.get("/lines/{episode}", responses=_said(401, 403, 404))
    def one(request: Request, episode: Id) -> Line:
        """Give one line with its evidence; it is noted that its patient was seen."""
        person = holder(request, Act.SEE)
        line = line_of(person, episode)
        site.seen(person, "patient seen", line.patient, line.cell)
        return line

    @app.get("/patients/{patient}/lines", responses=_said(401, 403, 404))
    def of_patient(request: Request, patient: Id) -> Lines:
        """List the lines of a patient, open ones first; noted."""
        person = holder(request, Act.SEE)
        cell = patient_of(person, patient)
        site.seen(person, "patient seen", patient, cell)
        return Lines(lines=[Line.of(row) for row in lists.of_patient(site.store.engine, patient)])

    @app.get("/patients/{patient}/curves", responses=_said(401, 403, 404))
    def curves(request: Request, patient: Id) -> list[Curve]:
        """Give a year of a patient's readings by signal; noted."""
        person = holder(request, Act.SEE)
        cell = patient_of(person, patient)
        site.seen(person, "patient seen", patient, cell)
        return [
            Curve(
                signal=each.signal.name,
                unit=each.signal.ucum,
                t=[iso(t) for t in each.t_ms.tolist()],
                value=each.value.tolist(),
                late=each.late.tolist(),
            )
            for each in site.curves(patient)
        ]

    moves = _said(401, 403, 404, 409)

    @app.get("/patients/{patient}/limits", responses=_said(401, 403, 404))
    def limits(request: Request, patient: Id) -> list[PatientLimit]:
        """List the limits in force for a patient; noted."""
        person = holder(request, Act.SEE)
        cell = patient_of(person, patient)
        site.seen(person, "patient seen", patient, cell)
        return [
            PatientLimit.of(protocol.id, each)
            for protocol, standings in site.limits(patient, cell)
            for each in standings
        ]

    @app.post("/patients/{patient}/limits/{protocol}/{name}", responses=moves)
    def change_limit(
        request: Request, patient: Id, protocol: Id, name: Id, body: models.ChangeLimit
    ) -> PatientLimit:
        """Set a patient's limit, or take back what was set; a cardiologist's."""
        person = holder(request, Act.LIMITS)
        cell = patient_of(person, patient)
        if not any(each.id == protocol and name in each.limits for each, _ in site.limits(patient, cell)):
            raise HTTPException(404, _WORDS[404])
        return PatientLimit.of(
            protocol,
            site.limit_desk.change(
                patient, protocol, name, body.value, body.reason, person.name, version=body.version
            ),
        )

    @app.post("/lines/{episode}/claim", responses=moves)
    def claim(request: Request, episode: Id, body: models.Claim) -> Line:
        """Take a line; again renews the claim."""
        return moved(
            request, episode, lambda who: desk.claim(episode, who.name, over=body.over, version=body.version)
        )

    @app.post("/lines/{episode}/release", responses=moves)
    def release(request: Request, episode: Id, body: models.Release) -> Line:
        """Give a line back to the queue."""
        return moved(request, episode, lambda who: desk.release(episode, who.name, version=body.version))

    @app.post("/lines/{episode}/call", responses=moves)
    def call(request: Request, episode: Id, body: models.Call) -> Line:
        """Note a call and what came of it."""
        at = None if body.back is None else _ms(body.back)
        return moved(
            request, episode, lambda who: desk.call(episode, who.name, body.outcome, at, version=body.version)
        )

    @app.post("/lines/{episode}/escalate", responses=moves)
    def escalate(request: Request, episode: Id, body: models.Escalate) -> Line:
        """Hand a line to the cardiologist or the SAMU."""
        return moved(
            request,
            episode,
            lambda who: desk.escalate(episode, who.name, body.to, body.note, version=body.version),
        )

    @app.post("/lines/{episode}/mute", responses=moves)
    def mute(request: Request, episode: Id, body: models.Mute) -> Line:
        """Put a line aside until a time."""
        until_ms = _ms(body.until)
        return moved(
            request,
            episode,
            lambda who: desk.mute(episode, who.name, until_ms, body.reason, version=body.version),
        )

    @app.post("/lines/{episode}/close", responses=moves)
    def close(request: Request, episode: Id, body: models.Close) -> Line:
        """Close a line, with a reason."""
        return moved(
            request,
            episode,
            lambda who: desk.close(episode, who.name, body.reason, body.text, version=body.version),
        )

    @app.post("/lines/{episode}/reopen", responses=moves)
    def reopen(request: Request, episode: Id, body: models.Reopen) -> Line:
        """Put a closed line before the nurses again."""
        return moved(
            request, episode, lambda who: desk.reopen(episode, who.name, body.reason, version=body.version)
        )

    @app.post("/lines/{episode}/hand-over", responses=moves)
    def hand_over(request: Request, episode: Id, body: models.HandOver) -> Line:
        """Give one's own line to a colleague of the patient's cell."""

        def move(who: Person) -> Columns:
            site.colleague(who, episode, body.to)
            return desk.hand_over(episode, who.name, body.to, version=body.version)

        return moved(request, episode, move)

    _errors(app)
    return app


def _errors(app: FastAPI) -> None:
    def wrong(
        status: int, kind: str, message: str, headers: dict[str, str] | None = None, **more: str
    ) -> JSONResponse:
        return JSONResponse(
            {"kind": kind, "message": message, "owner": None, "since": None, **more}, status, headers
        )

    @app.exception_handler(HTTPException)
    def refused(_request: Request, error: HTTPException) -> JSONResponse:
        words = _WORDS.get(error.status_code, str(error.detail))
        kind = _KINDS.get(error.status_code, "invalid")
        return wrong(error.status_code, kind, words, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return wrong(422, "invalid", "; ".join(_place(each) for each in error.errors()[:20]))

    @app.exception_handler(MoveError)
    def unmoved(_request: Request, error: MoveError) -> JSONResponse:
        if isinstance(error, TakenError):
            return wrong(409, "taken", str(error), owner=error.owner, since=iso(error.since_ms))
        return wrong(409, "changed" if isinstance(error, ChangedError) else "refused", str(error))


def _place(error: Any) -> str:  # noqa: ANN401 - pydantic's own dict of details
    return f"{'.'.join(map(str, _named(error['loc'])))}: {error['msg']}"


def _named(where: Sequence[int | str]) -> Sequence[int | str]:
    return where[1:] or where


def _ms(at: datetime) -> int:
    if at.tzinfo is None:
        msg = "heure : avec son fuseau, par exemple 2026-11-27T14:05:00+01:00"
        raise MoveError(msg)
    return round(at.timestamp() * 1000)
