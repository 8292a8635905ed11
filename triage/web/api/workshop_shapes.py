"""Limits of a cell, tried and proposed: what the interface for programs takes and gives."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import Field

from engine.workshop import Answer
from rules.protocol import Protocol
from triage.web.api.shapes import Limit, Model, Text, Version, iso
from triage.web.trial import Trial
from triage.work.proposals import Change, Proposal, Stage

__all__ = [
    "Bench", "Beside", "Compared", "Concerned", "End", "Propose", "Proposed", "ProposedInWhole", "ProposedList",
    "RanBeside", "Reached", "Tried", "Try",
]  # fmt: skip

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

    @classmethod
    def of(cls, change: Change, protocol: Protocol | None) -> "Changed":
        """Read a change; of a limit or a protocol that is no longer there, the name alone."""
        limit = protocol.limits.get(change.name) if protocol is not None else None
        label, unit = (limit.label, limit.unit) if limit is not None else (change.name, "")
        return cls(name=change.name, label=label, unit=unit, before=change.before, after=change.after)


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

    @classmethod
    def both(cls, given: Mapping[str, Mapping[str, Any]]) -> "dict[str, Figures | None]":
        """Read the figures of both sides; where nothing was changed, of one."""
        return {
            "before": cls.of(given["base"]),
            "after": cls.of(given["changed"]) if "changed" in given else None,
        }


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

    @classmethod
    def of(cls, trial: Trial, answer: Answer) -> "Tried":
        """Read what a trial found."""
        gained, lost = answer.pieces["counts"] or (0, 0)

        def apart(name: str) -> list[Apart]:
            return [
                Apart(patient=each.patient, level=each.level, opened=iso(each.opened_ms), sentence=each.text)
                for each in answer.pieces[name]
            ]

        return cls(
            cell=trial.cell,
            protocol=trial.protocol.id,
            protocol_version=trial.protocol.version,
            protocol_hash=trial.protocol.hash,
            changes=[Changed.of(each, trial.protocol) for each in trial.changes],
            since=iso(answer.since_ms),
            until=iso(answer.reach.last_ms),
            patients=answer.patients,
            **Figures.both(answer.figures),
            gained=gained,
            lost=lost,
            moved=answer.pieces["moved"],
            alerts_gained=apart("gained"),
            alerts_lost=apart("lost"),
            days=[Compared(**asdict(day)) for day in answer.days],
        )


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

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Study":
        """Read what a proposal keeps of its trial."""
        return cls(
            since=iso(given["since_ms"]),
            until=iso(given["until_ms"]),
            **{name: given[name] for name in ("patients", "enrolled", "gained", "lost")},
            **Figures.both(given["figures"]),
        )


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

    @classmethod
    def of(cls, each: Proposal, protocol: Protocol | None, **more: object) -> Self:
        """Read a proposal; `more` is what a shape has beside it."""
        return cls(
            number=each.id,
            cell=each.cell,
            protocol=each.protocol,
            protocol_version=each.protocol_version,
            protocol_hash=each.protocol_hash,
            state=each.stage,
            version=each.version,
            changes=[Changed.of(change, protocol) for change in each.changes],
            comment=each.comment,
            author=each.author,
            made=iso(each.made_ms),
            signer=each.signer,
            signed=_when(each.signed_ms),
            begins=_when(each.from_ms),
            ended_by=each.ended_by,
            ended=_when(each.ended_ms),
            ended_reason=each.ended_reason,
            shadow_since=_when(each.shadow_ms),
            shadow_until=_when(each.shadow_until_ms),
            study=Study.of(each.study),
            **more,
        )


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


class End(Model):
    """End a proposal, with a reason."""

    version: Version
    reason: Text


class Beside(Model):
    """Let a proposal run in the shadow, or no more."""

    version: Version
    on: bool


def _when(t_ms: int | None) -> str | None:
    return None if t_ms is None else iso(t_ms)
