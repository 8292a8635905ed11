"""Entry: readings and answers that a nurse types for a patient, sent by her program; once for each key."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from ingest.signals import Signal
from rules.protocol import Protocol
from triage.people.rights import Act
from triage.web.api.door import Door, Id, said
from triage.web.api.shapes import Model, Time, Wrong, ms
from triage.web.site import Site
from triage.work.entry import (
    ENTERED,
    EntryError,
    RepeatedError,
    Typed,
    answer,
    enter_once,
    far,
    items_of,
    possible,
    when,
)

__all__ = ["routes"]

Name = Annotated[str, Field(max_length=60)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Reading(Model):
    """What can be measured."""

    name: str
    label: str
    unit: str
    lowest: float
    highest: float


class Question(Model):
    """What can be asked; an answer is a whole number."""

    name: str
    label: str
    choices: list[str] = Field(description="of the answers 0, 1, 2 ...; none where it is a number")
    lowest: int
    highest: int


class Form(Model):
    """What can be entered for a patient."""

    readings: list[Reading]
    questions: list[Question]


class Entry(Model):
    """Readings and answers of one moment."""

    key: Annotated[str, Field(min_length=8, max_length=64, pattern="^[A-Za-z0-9._-]+$")] = Field(
        description="the program's own name for this entry: sent again, it is kept once"
    )
    at: Time | None = Field(None, description="when it was measured, within 7 days; null: now")
    readings: Annotated[dict[Name, Finite], Field(max_length=16, default_factory=dict)]
    answers: Annotated[dict[Name, int], Field(max_length=16, default_factory=dict)]
    sure: bool = Field(default=False, description="although a value is far from the patient's last one")


class Kept(Model):
    """What was entered is kept; the engine hears of it within moments."""

    patient: str
    new: bool = Field(description="false: the same was sent before, and is kept once")


_EXAMPLE = {
    "key": "visite-2026-11-27-0042",
    "readings": {"weight": 82.4, "systolic": 128},
    "answers": {},
    "sure": True,
}


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/patients/{patient}/entry", tags=["entry"], responses=said(404))

    def protocols(patient: str, cell: str) -> list[Protocol]:
        return [protocol for protocol, _ in site.limits(patient, cell)]

    @router.get("")
    def form(request: Request, patient: Id) -> Form:
        """Say what can be entered for a patient."""
        person = door.holder(request, Act.ENTER)
        cell = door.patient(person, patient)
        return Form(
            readings=[
                Reading(
                    name=each.name, label=each.label_fr, unit=each.ucum, lowest=each.low, highest=each.high
                )
                for each in ENTERED
            ],
            questions=[
                Question(
                    name=item.name,
                    label=item.label,
                    choices=list(item.choices),
                    lowest=int(item.range[0]),
                    highest=int(item.range[1]),
                )
                for item in items_of(protocols(patient, cell))
            ],
        )

    @router.post(
        "",
        response_model=Kept,
        responses=said(409),
        openapi_extra={"requestBody": {"content": {"application/json": {"example": _EXAMPLE}}}},
    )
    def take(request: Request, patient: Id, body: Entry) -> Kept | Response:
        """Enter readings and answers; they take the way of any other, and may raise an alert."""
        person = door.holder(request, Act.ENTER)
        cell = door.patient(person, patient)
        now_ms = site.now_ms()
        typed = _typed(body, protocols(patient, cell), now_ms)
        strange = far(typed.readings, site.last(patient))
        if strange and not body.sure:
            said_ = f"loin des dernières valeurs : {' ; '.join(strange)}. Vérifiez, puis envoyez avec sure"
            return JSONResponse(Wrong(kind="far", message=said_).model_dump(), 409)
        try:
            new = enter_once(site.store.engine, patient, typed, body.key, who=person.name, now_ms=now_ms)
        except RepeatedError as error:
            return JSONResponse(Wrong(kind="changed", message=str(error)).model_dump(), 409)
        return Kept(patient=patient, new=new)

    return router


def _typed(body: Entry, protocols: list[Protocol], now_ms: int) -> Typed:
    """Read an entry.

    Raises
    ------
    EntryError
        Naming what is wrong, and what is legal.
    """
    signals: dict[str, Signal] = {each.name: each for each in ENTERED}
    items = {item.name: item for item in items_of(protocols)}
    for kind, given, legal in (("readings", body.readings, signals), ("answers", body.answers, items)):
        for name in given:
            if name not in legal:
                known = ", ".join(legal) or "aucune"
                msg = f"{kind}.{name} : n’existe pas pour ce patient ; {known}"
                raise EntryError(msg)
    if not body.readings and not body.answers:
        msg = "rien n’est saisi"
        raise EntryError(msg)
    return Typed(
        {signals[name].code: possible(value, signals[name]) for name, value in body.readings.items()},
        {items[name].code: answer(value, items[name]) for name, value in body.answers.items()},
        now_ms if body.at is None else when(ms(body.at), now_ms),
    )
