"""The thread of a patient: what people and time did, from the audit trail, and which lines opened; newest first."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine

from triage import audit
from triage.tables import Episode
from triage.work.lists import Row

__all__ = ["MOST", "TOLD", "Event", "of_line", "of_patient"]

TOLD: Final = (
    "claimed", "took over", "released", "called", "escalated", "muted", "closed", "reopened", "handed over", "note",
    "reminded", "next_role", "expired", "call_due", "unanswered", "mute_ended", "forgotten",
    "limit set", "limit taken back",
)  # fmt: skip
"""Actions of the audit trail that are told of a patient: who looked is no part of the care."""

MOST: Final = 100
_LOOKED_AT: Final = 200


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: an action, or a line that opened (`action` "opened", no actor)."""

    t_ms: int
    actor: str
    action: str
    details: dict[str, Any]
    line: Episode | None = None


def of_patient(engine: Engine, patient: str, rows: Sequence[Row]) -> list[Event]:
    """Give the newest events of a patient; `rows` are the lines of theirs."""
    done = [
        _event(entry)
        for entry in audit.entries(engine, subject=patient, at_most=_LOOKED_AT)
        if entry.action in TOLD
    ]
    opened = [Event(row.line.opened_clock_ms, "", "opened", {}, row.line) for row in rows]
    return sorted([*done, *opened], key=lambda each: each.t_ms, reverse=True)[:MOST]


def of_line(engine: Engine, line: Episode, at_most: int) -> list[Event]:
    """Give the newest moves of a line, those of time among them."""
    found = audit.entries(engine, subject=line.patient, episode=line.id, at_most=at_most)
    return [_event(entry) for entry in found]


def _event(entry: audit.Entry) -> Event:
    return Event(entry.t_ms, entry.actor, entry.action, json.loads(entry.details))
