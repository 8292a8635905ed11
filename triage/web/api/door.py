"""The door: whose program asks, what it may, how often, and what it is told when something is not done.

``Authorization: Bearer vg_...`` says whose program it is (`vigie user token`); a cookie says nothing here. What another
cell's patient is to a nurse it is to her programs: not there.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from engine.workshop import BusyError, WorkshopError
from triage.people.person import Person
from triage.people.rights import Act, may
from triage.web.api.shapes import Line, Wrong, iso
from triage.web.site import Site
from triage.work.entry import EntryError
from triage.work.lists import CursorError, Row
from triage.work.states import ChangedError, MoveError, TakenError, UnknownError

__all__ = ["Door", "Id", "NotDoneError", "errors", "kind_of", "said"]

_KINDS: Final = {401: "unsigned", 403: "forbidden", 404: "unknown", 429: "too_many", 500: "failed"}
_WORDS: Final = {
    401: "a token is needed: Authorization: Bearer vg_...",
    404: "there is no such thing, or it is not of your cells",
    429: "too many requests: wait a second",
    500: "a fault of Vigie; it is noted",
}
_SAID: Final = {
    401: ("no token, or one that is none", _WORDS[401]),
    403: ("the token may not", "a token of scope read of a nurse may not work"),
    404: ("not there, or of another cell: the same answer", _WORDS[404]),
    409: ("not legal now; on a line, `line` is how it is", "paul s'occupe déjà de cette alerte"),
    422: ("a field is missing or not legal", "version: Field required"),
    429: ("too many requests of this account", _WORDS[429]),
    500: ("a fault of Vigie", _WORDS[500]),
}

Id = Annotated[str, Path(min_length=1, max_length=64)]


class NotDoneError(Exception):
    """A move that was not made on a line that the caller may see: why, and the line as it is."""

    def __init__(self, why: MoveError, row: Row) -> None:
        super().__init__(str(why))
        self.why = why
        self.row = row


def said(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe answers for OpenAPI, an example of each."""
    out: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, message = _SAID[status]
        example: dict[str, Any] = {"kind": _KINDS.get(status, "invalid"), "message": message}
        if status == 409:
            example |= {"kind": "taken", "owner": "paul", "since": "2026-11-27T14:05:00.000+00:00"}
        out[status] = {
            "model": Wrong,
            "description": description,
            "content": {"application/json": {"example": example}},
        }
    if 429 in out:
        out[429]["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return out


class Door:
    """Who may come in.

    Parameters
    ----------
    site : Site
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def known(self, request: Request) -> Person:
        """Say whose program asks."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        now_ms = self._site.wall_ms()
        person = self._site.people.by_token(token.strip(), now_ms) if scheme.lower() == "bearer" else None
        if person is None:
            raise HTTPException(401, _WORDS[401], {"WWW-Authenticate": "Bearer"})
        return person

    def holder(self, request: Request, act: Act | None) -> Person:
        """Say whose program asks, where it may do this, and has not asked too often."""
        person = self.known(request)
        if not self._site.programs.take(person.name):
            raise HTTPException(429, _WORDS[429], {"Retry-After": "1"})
        if act is not None and not may(person, act):
            msg = f"a token of scope {person.scope} of a {person.role} may not {act}"
            raise HTTPException(403, msg)
        return person

    def patient(self, person: Person, patient: str) -> str:
        """Give the cell of a patient whom somebody may see; else there is none."""
        cell = self._site.cell_of(patient)
        if not self._site.may_read(person, cell, patient) or not self._site.knows(patient):
            raise HTTPException(404)
        return cell

    def seen(self, request: Request, patient: str) -> tuple[Person, str]:
        """Let somebody see a patient, and note it; give who, and the patient's cell."""
        person = self.holder(request, Act.SEE)
        cell = self.patient(person, patient)
        self._site.seen(person, "patient seen", patient, cell)
        return person, cell

    def cells(self, person: Person, cell: str | None) -> Sequence[str]:
        """Give one's cells, or that one of them; another's is not there."""
        if cell is None:
            return person.cells
        if cell not in person.cells:
            raise HTTPException(404)
        return (cell,)


def kind_of(error: MoveError) -> str:
    """Name why a move was not made."""
    kinds = ((TakenError, "taken"), (ChangedError, "changed"), (UnknownError, "unknown"))
    return next((kind for of, kind in kinds if isinstance(error, of)), "refused")


def errors(app: FastAPI) -> None:
    """Answer everything that goes wrong in one form: `Wrong`."""

    def wrong(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        content = {"kind": kind, "message": message, "owner": None, "since": None, "line": None}
        return JSONResponse(content, status, headers)

    @app.exception_handler(HTTPException)
    def refused(_request: Request, error: HTTPException) -> JSONResponse:
        words = _WORDS.get(error.status_code, str(error.detail))
        return wrong(
            error.status_code, _KINDS.get(error.status_code, "invalid"), words, dict(error.headers or {})
        )

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return wrong(422, "invalid", "; ".join(_place(each) for each in error.errors()[:20]))

    @app.exception_handler(CursorError)
    @app.exception_handler(EntryError)
    def no_value(_request: Request, error: ValueError) -> JSONResponse:
        return wrong(422, "invalid", str(error))

    @app.exception_handler(MoveError)
    def unmoved(_request: Request, error: MoveError) -> JSONResponse:
        return wrong(409, kind_of(error), str(error))

    @app.exception_handler(NotDoneError)
    def undone(_request: Request, error: NotDoneError) -> JSONResponse:
        line = error.row.line
        content = Wrong(
            kind=kind_of(error.why),
            message=str(error),
            owner=line.owner,
            since=iso(line.state_ms),
            line=Line.of(error.row),
        )
        return JSONResponse(content.model_dump(mode="json"), 409)

    @app.exception_handler(WorkshopError)
    def unanswered(_request: Request, error: WorkshopError) -> JSONResponse:
        if isinstance(error, BusyError):
            return wrong(429, "too_many", str(error), {"Retry-After": "1"})
        return wrong(409, "refused", str(error))

    # What it was is logged by the guard around it, which the error reaches too.
    @app.exception_handler(Exception)
    def failed(_request: Request, _error: Exception) -> JSONResponse:
        return wrong(500, "failed", _WORDS[500])


def _place(error: Any) -> str:  # noqa: ANN401 - pydantic's own dict of details
    where: Sequence[int | str] = error["loc"]
    return f"{'.'.join(map(str, where[1:] or where))}: {error['msg']}"
