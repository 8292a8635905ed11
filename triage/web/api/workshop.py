"""The workshop: limits of a cell tried, proposed, run in the shadow, signed by another, taken back.

What a program may is what its account may on the pages of the workshop: nobody signs what an account of theirs has
proposed, and a question waits with those of the pages for one of the same few seats.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from engine.workshop import Answer
from rules.protocol import Protocol
from triage.people.person import Person
from triage.people.rights import Act
from triage.web import proposed, trial
from triage.web.api.cell import Cell
from triage.web.api.door import Door, Id, said
from triage.web.api.shapes import Limit, Model, Text, Time, Version, iso, ms
from triage.web.site import Site
from triage.web.trial import Trial
from triage.work.proposals import Change, Proposal, Stage
from triage.work.states import MoveError

__all__ = ["routes"]

MOST = 100
"""Proposals of one answer."""

Number = Annotated[int, Path(ge=1, le=(1 << 62), description="of a proposal")]
Name = Annotated[str, Field(max_length=60)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Bench(Model):
    """What can be tried in a cell."""

    cell: str
    protocol: str
    protocol_version: str
    protocol_hash: str
    limits: list[Limit] = Field(description="as they hold for who has none of their own")


class Try(Model):
    """Limits to try; none: what the limits of now did."""

    cell: Annotated[str | None, Field(max_length=80)] = Field(
        None, description="one of one's own; null: the first"
    )
    limits: Annotated[dict[Name, Finite], Field(max_length=100, default_factory=dict)]
    seen: Annotated[dict[Name, Finite | None], Field(max_length=100, default_factory=dict)] = Field(
        description="what held of them when it was looked up: where another holds now, nothing is tried"
    )


class Propose(Try):
    """Limits to try, and to propose with what that finds."""

    comment: Text


class Changed(Model):
    """A limit that changes."""

    name: str
    label: str
    unit: str
    before: float | None
    after: float


class Figures(Model):
    """What one side did; null where it cannot be said."""

    alerts: int
    rouge: int
    orange: int
    load: float | None = Field(description="alerts for 100 patients and day")
    events: int = Field(description="known, of patients who were followed then")
    caught: int = Field(description="events that an alert came before")
    missed: int
    sensitivity: float | None
    ppv: float | None
    minutes: float | None = Field(description="of nurses, a day")
    nurses: int = Field(description="on a busy day")
    never: float | None = Field(description="share of patients without any alert")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Figures":
        """Read the figures of a side."""
        events = given["outcomes"]
        rest = {
            # Where nobody sent anything there is no mean.
            name: value if value is None or math.isfinite(value) else None
            for name, value in given.items()
            if name != "outcomes"
        }
        return cls(events=events, missed=events - given["caught"], **rest)


class Apart(Model):
    """An alert that one side has and the other has not."""

    patient: str
    level: str
    opened: str
    sentence: str


class Compared(Model):
    """Alerts opened on a local day: by what holds, by what is tried, gained and lost."""

    day: str
    base: int
    changed: int
    gained: int
    lost: int


class Tried(Model):
    """What other limits would have done over the cell's last days."""

    cell: str
    protocol: str
    protocol_version: str
    protocol_hash: str
    changes: list[Changed]
    since: str
    until: str
    patients: int
    before: Figures
    after: Figures | None = Field(description="null: nothing is changed")
    gained: int
    lost: int
    moved: int = Field(description="alerts that both sides have, at another level")
    alerts_gained: list[Apart] = Field(description="at most 30, ROUGE first, patient after patient")
    alerts_lost: list[Apart] = Field(description="at most 30, ROUGE first, patient after patient")
    days: list[Compared] = Field(description="oldest first")


class Study(Model):
    """What its trial found when it was proposed."""

    since: str
    until: str
    patients: int = Field(description="who sent readings")
    enrolled: int
    gained: int
    lost: int
    before: Figures
    after: Figures | None


class Proposed(Model):
    """A proposal."""

    number: int
    cell: str
    protocol: str
    protocol_version: str
    protocol_hash: str
    state: Stage
    version: int = Field(description="to be sent with a move: another one means that it has changed since")
    changes: list[Changed]
    comment: str
    author: str
    made: str
    signer: str | None
    signed: str | None
    begins: str | None = Field(description="from when on it holds, or held")
    ended_by: str | None
    ended: str | None
    ended_reason: str | None
    shadow_since: str | None
    shadow_until: str | None = Field(description="null: it never ran in the shadow, or does now")
    study: Study


class Concerned(Model):
    """Whom limits that do not hold yet are for."""

    patients: int
    own: dict[str, int] = Field(description="of each limit, how many have one of their own and keep it")


class Reached(Model):
    """How many patients' logs have been told."""

    told: int
    patients: int
    waiting: int = Field(description="of how many it waits in the outbox: what held before still does")
    begins: str | None = Field(
        description="when the last of these may go, later than now where a clock was ahead; null: none waits"
    )


class ProposedInWhole(Proposed):
    """A proposal, and whom it is for: what is to be read before it is signed."""

    concerned: Concerned | None = Field(description="null: it holds, or has ended")
    reached: Reached | None = Field(description="null: it does not hold")


class ProposedList(Model):
    """Proposals, newest first."""

    proposals: list[Proposed]
    next: int | None = Field(description="to be sent as `after` for what follows; null: there is no more")


class RanBeside(Model):
    """What ran in the shadow beside what was sent."""

    until: str = Field(description="how far the log was read, or when it ended")
    running: bool
    days: list[Compared] = Field(description="oldest first")


class Sign(Model):
    """Sign a proposal of somebody else."""

    version: Version
    begins: Time | None = Field(None, description="from when on it holds, within 90 days; null: at once")


class End(Model):
    """End a proposal, with a reason."""

    version: Version
    reason: Text


class Beside(Model):
    """Let a proposal run in the shadow, or no more."""

    version: Version
    on: bool


_TRY = {"cell": "Nord", "limits": {"gain_3d_kg": 1.5}, "seen": {"gain_3d_kg": 2.0}}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "trial": _TRY,
    "proposals": {**_TRY, "comment": "charge acceptable, une décompensation de plus"},
    "sign": {"version": 1, "begins": "2026-12-01T08:00:00+01:00"},
    "refuse": {"version": 1, "reason": "pas assez d’événements"},
    "withdraw": {"version": 1, "reason": "essai refait"},
    "take-back": {"version": 3, "reason": "trop d’alertes"},
    "shadow": {"version": 1, "on": True},
}


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["workshop"])
    for part in (_trials, _seeing, _moves):
        router.include_router(part(site, door))
    return router


def _trials(site: Site, door: Door) -> APIRouter:
    router = APIRouter(prefix="/workshop/{protocol}", responses=said(404))

    def tried(person: Person, protocol: str, body: Try) -> tuple[Trial, Answer]:
        of = trial.of_values(site, trial.cell_of(person, body.cell or ""), protocol, body.limits, body.seen)
        site.seen(person, "workshop seen", protocol, of.cell)
        return of, trial.ask(site, of)

    @router.get("")
    def bench(request: Request, protocol: Id, cell: Cell = None) -> Bench:
        """List the limits of a cell that can be tried, with what holds; where none is named, of one's first."""
        person = door.holder(request, Act.TRY)
        of = trial.of_values(site, trial.cell_of(person, cell or ""), protocol, {}, {})
        if site.workshop is not None:
            site.workshop.prepare()
        return Bench(
            cell=of.cell,
            protocol=of.protocol.id,
            protocol_version=of.protocol.version,
            protocol_hash=of.protocol.hash,
            limits=[Limit.of(each) for each in of.standings],
        )

    @router.post("/trial", responses=said(409), openapi_extra=_body("trial"))
    def try_(request: Request, protocol: Id, body: Try) -> Tried:
        """Try limits over the cell's last 90 days; nothing is changed, and that it was seen is noted."""
        return _tried(*tried(door.holder(request, Act.TRY), protocol, body))

    @router.post("/proposals", responses=said(409), openapi_extra=_body("proposals"))
    def propose(request: Request, protocol: Id, body: Propose) -> ProposedInWhole:
        """Try limits and propose them; they hold when another cardiologist of the cell has signed."""
        person = door.holder(request, Act.LIMITS)
        of, answer = tried(person, protocol, body)
        number = proposed.propose(site, of, answer, body.comment, person.name)
        return _in_whole(site, proposed.found(site, person, number))

    return router


def _seeing(site: Site, door: Door) -> APIRouter:
    router = APIRouter(prefix="/proposals")

    @router.get("", responses=said(404))
    def list_(
        request: Request,
        cell: Cell = None,
        after: Annotated[int | None, Query(ge=0, le=1 << 62, description="`next` of the last answer")] = None,
    ) -> ProposedList:
        """List the proposals of one's cells, newest first, at most 100."""
        person = door.holder(request, Act.TRY)
        rows = site.proposals.all(door.cells(person, cell), MOST + 1, after)
        return ProposedList(
            proposals=[Proposed(**_said(site, each)) for each in rows[:MOST]],
            next=rows[MOST - 1].id if len(rows) > MOST else None,
        )

    @router.get("/{number}", responses=said(404))
    def view(request: Request, number: Number) -> ProposedInWhole:
        """Give a proposal in whole: what is to be read before it is signed."""
        person = door.holder(request, Act.TRY)
        return _in_whole(site, proposed.found(site, person, number))

    @router.get(
        "/{number}/trial",
        response_class=Response,
        responses=said(404)
        | {
            200: {
                "description": "a page in French",
                "content": {"text/html": {"schema": {"type": "string"}}},
            }
        },
    )
    def report(request: Request, number: Number) -> Response:
        """Give the whole trial of a proposal as a page, which opens without a network; noted."""
        person = door.holder(request, Act.TRY)
        each = proposed.found(site, person, number)
        site.seen(person, "trial seen", f"proposal {number}", each.cell)
        return Response(site.proposals.report(number), media_type="text/html; charset=utf-8")

    @router.get("/{number}/shadow", responses=said(404, 409))
    def shadow(request: Request, number: Number) -> RanBeside:
        """Compare day by day what was sent with what the proposed limits would have raised; noted."""
        person = door.holder(request, Act.TRY)
        each = proposed.found(site, person, number)
        ran = proposed.shadow(site, each)
        if ran is None:
            msg = "cette proposition n’a pas tourné dans l’ombre"
            raise MoveError(msg)
        site.seen(person, "shadow seen", f"proposal {number}", each.cell)
        return RanBeside(
            until=iso(ran.until_ms), running=each.in_shadow, days=[Compared(**day) for day in ran.days]
        )

    return router


def _moves(site: Site, door: Door) -> APIRouter:
    router = APIRouter(prefix="/proposals/{number}", responses=said(404, 409))
    desk = site.proposals

    def moved(request: Request, number: int, move: Callable[[str], None]) -> ProposedInWhole:
        person = door.holder(request, Act.LIMITS)
        proposed.found(site, person, number)
        move(person.name)
        return _in_whole(site, proposed.found(site, person, number))

    @router.post("/sign", openapi_extra=_body("sign"))
    def sign(request: Request, number: Number, body: Sign) -> ProposedInWhole:
        """Sign what another cardiologist has proposed, at once or from a moment on."""
        begins = None if body.begins is None else ms(body.begins)
        return moved(request, number, lambda who: desk.sign(number, who, begins, body.version))

    @router.post("/refuse", openapi_extra=_body("refuse"))
    def refuse(request: Request, number: Number, body: End) -> ProposedInWhole:
        """Refuse what another cardiologist has proposed."""
        return moved(request, number, lambda who: desk.refuse(number, who, body.reason, body.version))

    @router.post("/withdraw", openapi_extra=_body("withdraw"))
    def withdraw(request: Request, number: Number, body: End) -> ProposedInWhole:
        """Withdraw what does not hold yet."""
        return moved(request, number, lambda who: desk.withdraw(number, who, body.reason, body.version))

    @router.post("/take-back", openapi_extra=_body("take-back"))
    def take_back(request: Request, number: Number, body: End) -> ProposedInWhole:
        """Take back what holds: what held before holds again."""
        return moved(request, number, lambda who: desk.take_back(number, who, body.reason, body.version))

    @router.post("/shadow", openapi_extra=_body("shadow"))
    def shadow(request: Request, number: Number, body: Beside) -> ProposedInWhole:
        """Let a proposal run in the shadow, or no more: nobody is sent those alerts."""
        return moved(request, number, lambda who: desk.shadow(number, who, body.version, on=body.on))

    return router


def _body(name: str) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"example": _EXAMPLES[name]}}}}


def _tried(of: Trial, answer: Answer) -> Tried:
    gained, lost = answer.pieces["counts"] or (0, 0)

    def apart(name: str) -> list[Apart]:
        return [
            Apart(patient=each.patient, level=each.level, opened=iso(each.opened_ms), sentence=each.text)
            for each in answer.pieces[name]
        ]

    return Tried(
        cell=of.cell,
        protocol=of.protocol.id,
        protocol_version=of.protocol.version,
        protocol_hash=of.protocol.hash,
        changes=_changes(of.changes, of.protocol),
        since=iso(answer.since_ms),
        until=iso(answer.reach.last_ms),
        patients=answer.patients,
        **_both(answer.figures),
        gained=gained,
        lost=lost,
        moved=answer.pieces["moved"],
        alerts_gained=apart("gained"),
        alerts_lost=apart("lost"),
        days=[
            Compared(day=each.day, base=each.base, changed=each.changed, gained=each.gained, lost=each.lost)
            for each in answer.days
        ],
    )


def _both(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Figures | None]:
    return {
        "before": Figures.of(figures["base"]),
        "after": Figures.of(figures["changed"]) if "changed" in figures else None,
    }


def _changes(changes: Sequence[Change], protocol: Protocol | None) -> list[Changed]:
    def one(change: Change) -> Changed:
        limit = protocol.limits.get(change.name) if protocol is not None else None
        label, unit = (limit.label, limit.unit) if limit is not None else (change.name, "")
        return Changed(name=change.name, label=label, unit=unit, before=change.before, after=change.after)

    return [one(each) for each in changes]


def _said(site: Site, each: Proposal) -> dict[str, Any]:
    """Give what `Proposed` says of a proposal."""
    study = each.study
    when = {
        name: None if at is None else iso(at)
        for name, at in (
            ("signed", each.signed_ms),
            ("begins", each.from_ms),
            ("ended", each.ended_ms),
            ("shadow_since", each.shadow_ms),
            ("shadow_until", each.shadow_until_ms),
        )
    }
    return {
        "number": each.id,
        "cell": each.cell,
        "protocol": each.protocol,
        "protocol_version": each.protocol_version,
        "protocol_hash": each.protocol_hash,
        "state": each.stage,
        "version": each.version,
        "changes": _changes(each.changes, site.protocol(each.protocol)),
        "comment": each.comment,
        "author": each.author,
        "made": iso(each.made_ms),
        "signer": each.signer,
        "ended_by": each.ended_by,
        "ended_reason": each.ended_reason,
        "study": Study(
            since=iso(study["since_ms"]),
            until=iso(study["until_ms"]),
            **{name: study[name] for name in ("patients", "enrolled", "gained", "lost")},
            **_both(study["figures"]),
        ),
        **when,
    }


def _in_whole(site: Site, each: Proposal) -> ProposedInWhole:
    whom = proposed.concerned(site, each)
    told = proposed.reached(site, each)
    waits = proposed.waits(site, each)
    return ProposedInWhole(
        **_said(site, each),
        concerned=None if whom is None else Concerned(patients=whom.patients, own=whom.own),
        reached=None
        if told is None
        else Reached(
            told=told[0],
            patients=told[1],
            waiting=waits.patients if waits is not None else 0,
            begins=iso(waits.begins_ms) if waits is not None else None,
        ),
    )
