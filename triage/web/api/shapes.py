"""What many answers have in common: times, a line of the queue, why something was not done."""

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from rules.levels import Level
from triage.work.limits import Standing
from triage.work.lists import Row

__all__ = ["Limit", "Line", "Lines", "Model", "Text", "Time", "Version", "Wrong", "iso", "ms"]


class Model(BaseModel):
    """A shape without other fields than its own."""

    model_config = ConfigDict(extra="forbid")


def iso(t_ms: int) -> str:
    """Write a time: ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds")


def ms(at: datetime) -> int:
    """Read a time, ms UTC."""
    return round(at.timestamp() * 1000)


_SURROGATE = re.compile("[\ud800-\udfff]")


def _text(given: str) -> str:
    if "\0" in given or _SURROGATE.search(given):
        msg = "holds a NUL or half a character; legal is text"
        raise ValueError(msg)
    return given


Text = Annotated[str, Field(max_length=2000), AfterValidator(_text)]
Time = Annotated[AwareDatetime, Field(description="ISO 8601 with its zone")]
Version = Annotated[int, Field(ge=0, le=1 << 62, description="the one of the line that was seen")]


class Limit(Model):
    """A limit in force, where it comes from, and what is possible."""

    name: str
    label: str
    unit: str
    value: float | None
    origin: str
    lowest: float
    highest: float

    @classmethod
    def of(cls, standing: Standing, **more: object) -> Self:
        """Read a limit in force; `more` is what a shape has beside it."""
        limit = standing.limit
        return cls(
            name=limit.name,
            label=limit.label,
            unit=limit.unit,
            value=standing.value if math.isfinite(standing.value) else None,
            origin=standing.origin,
            lowest=limit.min,
            highest=limit.max,
            **more,
        )


class Line(Model):
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
    silent: bool = Field(description="for want of data: cannot be muted")
    state: Literal["new", "claimed", "called", "escalated", "muted", "closed", "reopened"]
    owner: str | None
    version: int = Field(
        description="to be sent with a move: another one means that the line has changed since"
    )
    until: str | None = Field(description="when the state ends by itself")
    ended: str | None
    outcome: Literal["resolved", "closed"] | None
    features: list[dict[str, Any]]
    limits: list[dict[str, Any]]
    points: list[dict[str, Any]]
    work: dict[str, Any] = Field(
        description="calls, escalation, mute, notes, reason of closing; times in ms UTC"
    )
    protocol_version: str
    protocol_hash: str
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
            silent=line.silent,
            state=line.state,
            owner=line.owner,
            version=line.version,
            until=None if line.until_ms is None else iso(line.until_ms),
            ended=None if line.ended_ms is None else iso(line.ended_ms),
            outcome=line.outcome,
            features=shown.features,
            limits=shown.limits,
            points=[{"signal": p["signal"], "t": iso(p["t_ms"]), "value": p["value"]} for p in shown.points],
            work=line.work,
            protocol_version=shown.version,
            protocol_hash=shown.protocol_hash,
            signed=shown.signed,
        )


class Lines(Model):
    """Lines of a view, who is called next first; of the closed, the newest first."""

    lines: list[Line]
    next: str | None = Field(description="to be sent as `after` for what follows; null: there is no more")


class Wrong(Model):
    """Why something was not done."""

    kind: Literal[
        "unknown",
        "unsigned",
        "forbidden",
        "invalid",
        "taken",
        "changed",
        "refused",
        "far",
        "too_many",
        "failed",
    ]
    message: str
    owner: str | None = Field(None, description="who has the line")
    since: str | None = Field(None, description="since when it is in its state")
    line: Line | None = Field(None, description="the line as it is now")
