"""The cell: its figures, the hand-over at the end of a shift, colleagues, the sheet for the SAMU, and who one is."""

from statistics import median
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from rules.levels import Level
from triage.people.rights import Act, may
from triage.web.api.door import Door, Id, said
from triage.web.api.patients import Identity, identity_of
from triage.web.api.queue import Counted
from triage.web.api.shapes import Line, Lines, Model, iso
from triage.web.site import Site
from triage.work import lists
from triage.work.figures import DAYS, Day, figures
from triage.work.lists import Filters, View

__all__ = ["routes"]

Cell = Annotated[
    str | None, Query(max_length=80, description="one of one's own; all of them where none is given")
]


class Me(Model):
    """As whom a token acts, and what it may."""

    account: str
    display: str
    role: str
    scope: str | None
    cells: list[str]
    may: list[str]


class Colleague(Model):
    """Who else works in one's cells: lines are handed over to these."""

    account: str
    display: str
    role: str
    cells: list[str] = Field(description="of one's own")


class OneDay(Model):
    """A local day; times in seconds, null where nothing was."""

    day: str
    arrived: dict[str, int]
    ended: int
    answered: int
    answered_in_time: int
    with_limit: int
    median_to_answer_s: float | None
    p95_to_answer_s: float | None
    median_to_end_s: float | None
    p95_to_end_s: float | None

    @classmethod
    def of(cls, day: Day) -> "OneDay":
        """Read a day."""
        return cls(
            day=day.day.isoformat(),
            arrived={level.name: day.arrived[level] for level in sorted(Level, reverse=True)},
            ended=day.ended,
            answered=day.answered,
            answered_in_time=day.in_time,
            with_limit=day.limited,
            median_to_answer_s=median(day.to_answer_s) if day.to_answer_s else None,
            p95_to_answer_s=day.percentile("to_answer_s", 0.95),
            median_to_end_s=median(day.to_end_s) if day.to_end_s else None,
            p95_to_end_s=day.percentile("to_end_s", 0.95),
        )


class OneRule(Model):
    """A rule over these days."""

    rule: str
    protocol: str
    alerts: int
    closed: int
    not_relevant: int
    per_100_patients_a_day: float | None


class Load(Model):
    """The figures of the page: what came, what waits, how fast it was answered."""

    patients: int
    waiting: dict[str, int]
    silent_patients: int
    days: list[OneDay] = Field(description="newest first; the first is today")
    rules: list[OneRule] = Field(description="most alerts first")
    closed_by: dict[str, int] = Field(description="lines that each account closed")


class HandOver(Model):
    """What is open at the end of a shift, at most 200 lines of each; `next` of each says whether there are more."""

    at: str
    waiting: Lines
    muted: Lines
    silent: Lines
    counts: Counted


class Samu(Model):
    """What is read out to the SAMU."""

    caller: str
    line: Line
    age: int | None
    identity: Identity | None


def routes(site: Site, door: Door) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["cell"])
    engine = site.store.engine

    @router.get("/me")
    def me(request: Request) -> Me:
        """Say as whom the token acts, and what it may."""
        person = door.holder(request, None)
        return Me(
            account=person.name,
            display=person.display,
            role=person.role.value,
            scope=None if person.scope is None else person.scope.value,
            cells=list(person.cells),
            may=[act.value for act in Act if may(person, act)],
        )

    @router.get("/colleagues")
    def colleagues(request: Request) -> list[Colleague]:
        """List who else works in one's cells."""
        person = door.holder(request, Act.SEE)
        return [
            Colleague(
                account=each.name,
                display=each.display,
                role=each.role.value,
                cells=[cell for cell in each.cells if cell in person.cells],
            )
            for each in site.colleagues(person)
        ]

    @router.get("/cell/figures", responses=said(404))
    def load(request: Request, cell: Cell = None, days: Annotated[int, Query(ge=1, le=DAYS)] = DAYS) -> Load:
        """Give the figures of one's cells over the last days."""
        person = door.holder(request, Act.CELL)
        found = figures(engine, door.cells(person, cell), site.now_ms(), site.zone, days)
        return Load(
            patients=found.patients,
            waiting={level.name: count for level, count in found.waiting.items()},
            silent_patients=found.silent_patients,
            days=[OneDay.of(day) for day in found.days],
            rules=[
                OneRule(
                    rule=each.rule,
                    protocol=each.protocol,
                    alerts=each.alerts,
                    closed=each.closed,
                    not_relevant=each.not_relevant,
                    per_100_patients_a_day=found.per_100_a_day(each.alerts),
                )
                for each in found.rules
            ],
            closed_by=found.nurses,
        )

    @router.get("/cell/hand-over", responses=said(404))
    def hand_over(request: Request, cell: Cell = None) -> HandOver:
        """Give the list to hand over: what waits, what is muted, who sends nothing."""
        person = door.holder(request, Act.CELL)
        cells = door.cells(person, cell)

        def part(view: View) -> Lines:
            page = lists.page(engine, Filters(view, cells, person.name), 200)
            return Lines(lines=[Line.of(row) for row in page.rows], next=page.after or None)

        return HandOver(
            at=iso(site.now_ms()),
            waiting=part(View.WAITING),
            muted=part(View.MUTED),
            silent=part(View.SILENT),
            counts=Counted.of(lists.counts(engine, Filters(View.WAITING, cells, person.name))),
        )

    @router.get("/lines/{episode}/samu", responses=said(404))
    def samu(request: Request, episode: Id) -> Samu:
        """Give the sheet to read out to the SAMU; by a token of scope work, noted."""
        person = door.holder(request, Act.WORK)
        row = site.line(person, episode)
        patient = row.line.patient
        who = identity_of(site, patient, person.name)
        site.seen(person, "patient seen" if who is None else "identity seen", patient, row.cell)
        return Samu(
            caller=f"{person.display}, {person.role.french.lower()}, {row.cell}",
            line=Line.of(row),
            age=site.ages([patient]).get(patient),
            identity=who,
        )

    return router
