"""Moves on lines: one at a time, or several of any kind with what became of each.

Each move says which version of the line it is about. So a move that is sent again does nothing: the line is another
since, and the answer has it as it is now, with who has it.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.exceptions import HTTPException

from triage.people.rights import Act
from triage.web.api.deeds import (
    Call,
    Claim,
    Close,
    Escalate,
    HandOver,
    Move,
    Mute,
    Note,
    One,
    Release,
    Reopen,
)
from triage.web.api.door import Door, Id, NotDoneError, kind_of, said
from triage.web.api.shapes import Line, Model
from triage.web.site import Site
from triage.work.desk import Line as Columns
from triage.work.states import MoveError, TakenError, UnknownError

__all__ = ["MOST", "routes"]

MOST = 200
"""Moves of one request: as many as the lines of a page."""


class Several(Model):
    """Moves, made in their order."""

    moves: Annotated[list[One], Field(min_length=1, max_length=MOST)]


class Moved(Model):
    """A line that was moved, and its version now."""

    line: str
    version: int


class Unmoved(Model):
    """A move that was not made."""

    place: int = Field(description="among those that were sent, from 0")
    line: str
    kind: Literal["unknown", "taken", "changed", "refused"]
    message: str
    owner: str | None = None


class Done(Model):
    """What became of several moves."""

    of: int
    done: int
    moved: list[Moved]
    refused: list[Unmoved]


_UNTIL = "2026-11-27T18:00:00+01:00"
_EXAMPLES = {
    "claim": {"version": 1},
    "release": {"version": 2},
    "call": {"version": 2, "outcome": "call_back", "back": _UNTIL},
    "escalate": {"version": 2, "to": "cardiologist", "note": "+2,1 kg en 3 jours, essoufflé au téléphone"},
    "mute": {"version": 2, "until": _UNTIL, "reason": "voit son médecin cet après-midi"},
    "close": {"version": 2, "reason": "advice", "text": "régime sans sel rappelé"},
    "reopen": {"version": 3, "reason": "rappelle : ne va pas mieux"},
    "hand-over": {"version": 2, "to": "paul"},
    "note": {"version": 2, "text": "préfère être appelé le matin"},
}
_SEVERAL = {
    "moves": [
        {"do": "close", "line": "1f8823b3a4f42f85", "version": 2, "reason": "equipment"},
        {"do": "claim", "line": "09b1c0ffee0ddf00", "version": 1},
    ]
}


def _body(example: object) -> dict[str, object]:
    return {"requestBody": {"content": {"application/json": {"example": example}}}}


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["moves"], responses=said(404, 409))

    def moved(request: Request, episode: str, body: Move) -> Line:
        person = door.holder(request, Act.WORK)
        site.line(person, episode)
        try:
            body.make(site, person, episode)
        except MoveError as error:
            raise NotDoneError(error, site.line(person, episode)) from error
        return Line.of(site.line(person, episode))

    @router.post("/lines/{episode}/claim", openapi_extra=_body(_EXAMPLES["claim"]))
    def claim(request: Request, episode: Id, body: Claim) -> Line:
        """Take a line; again renews the claim."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/release", openapi_extra=_body(_EXAMPLES["release"]))
    def release(request: Request, episode: Id, body: Release) -> Line:
        """Give a line back to the queue."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/call", openapi_extra=_body(_EXAMPLES["call"]))
    def call(request: Request, episode: Id, body: Call) -> Line:
        """Note a call and what came of it."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/escalate", openapi_extra=_body(_EXAMPLES["escalate"]))
    def escalate(request: Request, episode: Id, body: Escalate) -> Line:
        """Hand a line to the cardiologist or the SAMU."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/mute", openapi_extra=_body(_EXAMPLES["mute"]))
    def mute(request: Request, episode: Id, body: Mute) -> Line:
        """Put a line aside until a time."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/close", openapi_extra=_body(_EXAMPLES["close"]))
    def close(request: Request, episode: Id, body: Close) -> Line:
        """Close a line, with a reason."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/reopen", openapi_extra=_body(_EXAMPLES["reopen"]))
    def reopen(request: Request, episode: Id, body: Reopen) -> Line:
        """Put a closed line before the nurses again."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/hand-over", openapi_extra=_body(_EXAMPLES["hand-over"]))
    def hand_over(request: Request, episode: Id, body: HandOver) -> Line:
        """Give one's own line to a colleague of the patient's cell."""
        return moved(request, episode, body)

    @router.post("/lines/{episode}/note", openapi_extra=_body(_EXAMPLES["note"]))
    def note(request: Request, episode: Id, body: Note) -> Line:
        """Write something down about a line, open or closed; it changes nothing else."""
        return moved(request, episode, body)

    @router.post("/moves", openapi_extra=_body(_SEVERAL))
    def several(request: Request, body: Several) -> Done:
        """Make several moves, each by itself: what cannot be moved holds nothing up."""
        person = door.holder(request, Act.WORK)

        def one(asked: One) -> Columns:
            try:
                site.line(person, asked.line)
            except HTTPException as error:
                raise UnknownError from error
            return asked.make(site, person, asked.line)

        found = site.desk.bulk(body.moves, one)
        return Done(
            of=found.of,
            done=found.done,
            moved=[Moved(line=line["id"], version=line["version"]) for line in found.moved],
            refused=[
                Unmoved(
                    place=place,
                    line=body.moves[place].line,
                    kind=kind_of(why),
                    message=str(why),
                    owner=why.owner if isinstance(why, TakenError) else None,
                )
                for place, why in found.refused
            ],
        )

    return router
