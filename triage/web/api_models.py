"""What the interface for programs takes and gives. Times are ISO 8601 in UTC with milliseconds."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rules.levels import Level
from triage.work.limits import Standing
from triage.work.lists import Row
from triage.work.states import Outcome, Reason, Whom

__all__ = [
    "Call",
    "ChangeLimit",
    "Claim",
    "Close",
    "Counted",
    "Curve",
    "Escalate",
    "HandOver",
    "Line",
    "Lines",
    "Mute",
    "PatientLimit",
    "Release",
    "Reopen",
    "Wrong",
    "iso",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


def iso(t_ms: int) -> str:
    """Write a time."""
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds")


class Line(_Model):
    """A line of the queue."""

    id: str
    cell: str
    patient: str = Field(description="pseudonym")
    protocol: str
    problem: str
    level: Literal["ROUGE", "ORANGE", "TECHNIQUE"]
    rule: str
    sentence: str = Field(description="why, in French")
    since: str
    due: str | None = Field(description="when the next step is due; null: no limit")
    latched: bool = Field(description="the condition is over, and a person has to close it")
    state: Literal["new", "claimed", "called", "escalated", "muted", "closed", "reopened"]
    owner: str | None
    version: int = Field(
        description="to be sent with a move: another one means that the line has changed since"
    )
    ended: str | None
    features: list[dict[str, Any]]
    limits: list[dict[str, Any]]
    points: list[dict[str, Any]]
    work: dict[str, Any] = Field(description="calls, escalation, mute, reason of closing")
    signed: bool = Field(description="whether a clinician has signed the protocol")

    @classmethod
    def of(cls, row: Row) -> "Line":
        """Read a line."""
        line, shown = row.line, row.line.shown
        return cls(
            id=line.id,
            cell=row.cell,
            patient=line.patient,
            protocol=line.protocol,
            problem=line.problem,
            level=Level(line.level).name,
            rule=line.rule,
            sentence=shown.sentence,
            since=iso(line.onset_ms),
            due=None if line.due_ms is None else iso(line.due_ms),
            latched=line.latched,
            state=line.state,
            owner=line.owner,
            version=line.version,
            ended=None if line.ended_ms is None else iso(line.ended_ms),
            features=shown.features,
            limits=shown.limits,
            points=[{"signal": p["signal"], "t": iso(p["t_ms"]), "value": p["value"]} for p in shown.points],
            work=line.work,
            signed=shown.signed,
        )


class Lines(_Model):
    """Lines of a view, who is called next first."""

    lines: list[Line]


class Counted(_Model):
    """How many lines each view has, and each level of those that wait."""

    views: dict[str, int]
    levels: dict[str, int]


class Curve(_Model):
    """Readings of one signal, oldest first."""

    signal: str
    unit: str
    t: list[str]
    value: list[float]
    late: list[bool] = Field(description="came too late to count")


class PatientLimit(_Model):
    """A limit in force for a patient, and where it comes from."""

    protocol: str
    name: str
    label: str
    unit: str
    value: float | None
    origin: str
    lowest: float
    highest: float
    changed: bool = Field(description="by a person, for this patient: can be taken back")
    version: int = Field(description="how often it was changed")

    @classmethod
    def of(cls, protocol: str, standing: Standing) -> "PatientLimit":
        """Make it of a limit in force."""
        limit = standing.limit
        return cls(
            protocol=protocol,
            name=limit.name,
            label=limit.label,
            unit=limit.unit,
            value=standing.value if math.isfinite(standing.value) else None,
            origin=standing.origin,
            lowest=limit.min,
            highest=limit.max,
            changed=standing.changed,
            version=standing.version,
        )


class Wrong(_Model):
    """Why something was not done."""

    kind: Literal["unknown", "unsigned", "forbidden", "invalid", "taken", "changed", "refused"]
    message: str
    owner: str | None = None
    since: str | None = None


Text = Annotated[str, Field(max_length=2000)]
Version = Annotated[int | None, Field(ge=0, le=1 << 62)]


class _Move(_Model):
    version: Version = Field(None, description="the one that was seen; not asked where null")


class Claim(_Move):
    """Take a line; `over`: from whoever has it."""

    over: bool = False


class Release(_Move):
    """Give a line back to the queue."""


class Call(_Move):
    """Note a call."""

    outcome: Outcome
    back: datetime | None = Field(None, description="when to call again, with its zone")


class Escalate(_Move):
    """Hand a line to the cardiologist or the SAMU."""

    to: Whom
    note: Text


class Mute(_Move):
    """Put a line aside."""

    until: datetime
    reason: Text


class Close(_Move):
    """Close a line."""

    reason: Reason
    text: Text = ""


class Reopen(_Move):
    """Put a closed line before the nurses again."""

    reason: Text


class ChangeLimit(_Move):
    """Set a patient's limit; null takes back what was set."""

    value: Annotated[float, Field(allow_inf_nan=False)] | None
    reason: Text


class HandOver(_Move):
    """Give one's own line to a colleague of the cell."""

    to: Annotated[str, Field(max_length=40)]
