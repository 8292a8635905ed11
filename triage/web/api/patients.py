"""A patient: lines, thread, curves, limits, and who it is; every look is noted."""

import math
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.exceptions import HTTPException

from engine.curves import Curve as Readings
from engine.curves import sentence
from triage.people.rights import Act
from triage.web.api.door import Door, Id, said
from triage.web.api.queue import Happened, happened
from triage.web.api.shapes import Limit, Line, Lines, Model, Text, Version, iso
from triage.web.site import Site
from triage.work import lists, timeline
from triage.work.limits import Standing

__all__ = ["Identity", "routes"]


class Curve(Model):
    """Readings of one signal, oldest first."""

    signal: str
    unit: str
    said: str = Field(description="in French: the newest value, the range, days without")
    t: list[str]
    value: list[float]
    late: list[bool] = Field(description="came too late to count")


class WaitingLimit(Model):
    """What was decided of a limit and the engine has not heard yet."""

    value: float | None
    origin: str
    begins: str = Field(description="when it may go, later than now where a clock was ahead")


class PatientLimit(Limit):
    """A limit in force for a patient."""

    protocol: str
    changed: bool = Field(description="by a person, for this patient: can be taken back")
    version: int = Field(description="how often it was changed")
    waiting: WaitingLimit | None = Field(
        description="what holds as soon as the engine has heard of it, a moment after a change; null: nothing waits"
    )

    @classmethod
    def of_patient(cls, protocol: str, standing: Standing) -> "PatientLimit":
        """Make it of a limit in force."""
        waits = standing.waits
        return cls.of(
            standing,
            protocol=protocol,
            changed=standing.changed,
            version=standing.version,
            waiting=None
            if waits is None
            else WaitingLimit(
                value=waits.value if math.isfinite(waits.value) else None,
                origin=waits.origin,
                begins=iso(waits.begins_ms),
            ),
        )


class ChangeLimit(Model):
    """Set a patient's limit; null takes back what was set."""

    version: Version | None = Field(None, description="the one that was seen; not asked where null")
    value: Annotated[float, Field(allow_inf_nan=False)] | None
    reason: Text


class Patient(Model):
    """What the page of a patient shows; curves and ECG are asked for by themselves."""

    id: str = Field(description="pseudonym")
    cell: str
    age: int | None
    protocols: list[str]
    signals: list[str] = Field(description="of which there are curves")
    lines: list[Line] = Field(description="open ones first, then the newest")
    timeline: list[Happened] = Field(description="newest first")
    limits: list[PatientLimit]


class Identity(Model):
    """Who a patient is."""

    name: str
    given_name: str
    birth_date: str
    sex: str
    telephones: list[str]


_CHANGE = {"version": 0, "value": 1.5, "reason": "poids sec revu"}


def identity_of(site: Site, patient: str, by: str) -> Identity | None:
    """Read who a patient is, which the register notes; None where it does not know."""
    found = site.register.persons([patient], by=by) if site.register is not None else {}
    if patient not in found:
        return None
    who, _ = found[patient]
    return Identity(
        name=who.used_name or who.birth_name,
        given_name=who.given_name,
        birth_date=who.birth_date.isoformat(),
        sex=who.sex,
        telephones=list(who.telephones),
    )


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/patients/{patient}", tags=["patients"], responses=said(404))
    engine = site.store.engine

    def standings(patient: str, cell: str) -> list[PatientLimit]:
        return [
            PatientLimit.of_patient(protocol.id, each)
            for protocol, found in site.limits(patient, cell)
            for each in found
        ]

    @router.get("")
    def view(request: Request, patient: Id) -> Patient:
        """Give what the page of a patient shows; noted."""
        _, cell = door.seen(request, patient)
        rows = lists.of_patient(engine, patient)
        return Patient(
            id=patient,
            cell=cell,
            age=site.ages([patient]).get(patient),
            protocols=[protocol.id for protocol, _ in site.limits(patient, cell)],
            signals=[each.signal.name for each in site.curves(patient)],
            lines=[Line.of(row) for row in rows],
            timeline=[happened(each) for each in timeline.of_patient(engine, patient, rows)],
            limits=standings(patient, cell),
        )

    @router.get("/lines")
    def of_patient(request: Request, patient: Id) -> Lines:
        """List the lines of a patient, open ones first, then the newest, at most 100; noted."""
        door.seen(request, patient)
        return Lines(lines=[Line.of(row) for row in lists.of_patient(engine, patient)], next=None)

    @router.get("/timeline")
    def thread(request: Request, patient: Id) -> list[Happened]:
        """List what happened, newest first, at most 100; noted."""
        door.seen(request, patient)
        rows = lists.of_patient(engine, patient)
        return [happened(each) for each in timeline.of_patient(engine, patient, rows)]

    @router.get("/curves")
    def curves(
        request: Request,
        patient: Id,
        signal: Annotated[str | None, Query(max_length=60, description="only this one")] = None,
    ) -> list[Curve]:
        """Give a year of a patient's readings by signal, some 2000 points each; noted."""
        door.seen(request, patient)
        found = [each for each in site.curves(patient) if signal in {None, each.signal.name}]
        return [_curve(site, each) for each in found]

    @router.get("/limits")
    def limits(request: Request, patient: Id) -> list[PatientLimit]:
        """List the limits in force for a patient; noted."""
        _, cell = door.seen(request, patient)
        return standings(patient, cell)

    @router.post(
        "/limits/{protocol}/{name}",
        responses=said(409),
        openapi_extra={"requestBody": {"content": {"application/json": {"example": _CHANGE}}}},
    )
    def change_limit(
        request: Request, patient: Id, protocol: Id, name: Id, body: ChangeLimit
    ) -> PatientLimit:
        """Set a patient's limit, or take back what was set; a cardiologist's."""
        person = door.holder(request, Act.LIMITS)
        cell = door.patient(person, patient)
        if not any(each.id == protocol and name in each.limits for each, _ in site.limits(patient, cell)):
            raise HTTPException(404)
        done = site.limit_desk.change(
            patient, protocol, name, body.value, body.reason, person.name, version=body.version
        )
        return PatientLimit.of_patient(protocol, done)

    @router.get("/identity")
    def identity(request: Request, patient: Id) -> Identity:
        """Say who a patient is, by a token of scope work; noted in the register too."""
        person = door.holder(request, Act.WORK)
        cell = door.patient(person, patient)
        found = identity_of(site, patient, person.name)
        if found is None:
            raise HTTPException(404)
        site.seen(person, "identity seen", patient, cell)
        return found

    return router


def _curve(site: Site, each: Readings) -> Curve:
    return Curve(
        signal=each.signal.name,
        unit=each.signal.ucum,
        said=sentence(each, site.now_ms(), site.zone),
        t=[iso(t) for t in each.t_ms.tolist()],
        value=each.value.tolist(),
        late=each.late.tolist(),
    )
