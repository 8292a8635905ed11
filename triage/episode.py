"""What one row of the engine does to one line of the queue: a pure function, so that it can be tested alone.

A line only goes one way while it is open: its level rises, never falls; ROUGE ends only by ``closed``, which
is a person's act; ORANGE and TECHNIQUE end by themselves when they recover. What the engine says of a line
that is not open opens it (a duplicate is better than a miss), except what would end it.
"""

from typing import Any, Final

from rules.alerts import Happening
from rules.levels import Level
from triage.policy import Policy
from triage.work import moves

__all__ = ["CLOSED", "RESOLVED", "Line", "follow"]

Line = dict[str, Any]
"""Columns of one `triage.tables.Episode`."""

RESOLVED: Final = "resolved"
CLOSED: Final = "closed"

SILENCE: Final = '"silence_h"'
"""Figure that only a non-transmission rule has: what it opened or joined cannot be muted."""

NEWS: Final = {Happening.OPENED, Happening.RAISED, Happening.EVIDENCE}


def follow(line: Line | None, row: dict[str, Any], policy: Policy) -> Line | None:
    """Give the line after `row`, changed in place.

    Parameters
    ----------
    line : Line or None
        The open line of this patient, protocol and problem; or the ended line that this very alert opened;
        or None.
    row : dict
        One transition: columns of `triage.tables.Transition`, with those of its alert.
    policy : Policy
        In force now: frozen into a line that opens.

    Returns
    -------
    Line or None
        None where the row would end a line that is not there.
    """
    kind = row["kind"]
    if line is None or line["ended_ms"] is not None:
        if kind in {Happening.RECOVERED, Happening.CLOSED}:
            return line
        line = _opened(row, policy, line)
    elif row["level"] > line["level"]:
        _raise(line, row)
        moves.worse(line, row["clock_ms"], risen=True)
    elif kind in NEWS:
        if line["latched"] or row["rule"] != line["rule"]:
            # It was over and is back, or there is more: whoever put it aside did so for less.
            moves.worse(line, row["clock_ms"], risen=False)
        if line["latched"] or row["rule"] == line["rule"]:
            # Another rule of the same level, or a lower one, is counted and kept in the log: the sentence stays
            # that of the rule which brought the line where it is, with its newest figures.
            _show(line, row)
    line["silent"] = line["silent"] or SILENCE in row["features"]
    line["evidence"] += 1
    line["last_ms"] = max(line["last_ms"], row["t_ms"])
    line["last_clock_ms"] = max(line["last_clock_ms"], row["clock_ms"])
    if kind == Happening.CLOSED:
        _end(line, row, CLOSED)
    elif kind == Happening.LATCHED or (kind == Happening.RECOVERED and line["level"] == Level.ROUGE):
        line["latched"] = True
    elif kind == Happening.RECOVERED:
        _end(line, row, RESOLVED)
    else:
        line["latched"] = False
    return line


def _opened(row: dict[str, Any], policy: Policy, before: Line | None) -> Line:
    """Make a line; one that had ended begins anew, and keeps what was done about it."""
    line = {
        "id": row["alert_id"],
        "patient": row["patient"],
        "protocol": row["protocol"],
        "problem": row["problem"],
        "level": row["level"],
        "latched": False,
        "onset_ms": row["onset_ms"],
        "opened_clock_ms": row["clock_ms"],
        "raised_clock_ms": row["clock_ms"],
        "due_ms": policy.due_ms(row["level"], row["clock_ms"]),
        "policy": policy.as_dict(),
        "last_ms": row["t_ms"],
        "last_clock_ms": row["clock_ms"],
        "evidence": 0,
        "ended_ms": None,
        "ended_clock_ms": None,
        "outcome": None,
        "rule": row["rule"],
        "shown_id": row["id"],
        "silent": before is not None and before["silent"],
        "version": before["version"] if before is not None else 0,
    }
    moves.opened(line, row["clock_ms"])
    if before is not None:
        line["work"] = before["work"]
    return line


def _raise(line: Line, row: dict[str, Any]) -> None:
    """Raise to the row's level. An answer once promised for an earlier time stays promised for it."""
    line["level"] = row["level"]
    line["raised_clock_ms"] = row["clock_ms"]
    due = Policy.from_dict(line["policy"]).due_ms(row["level"], row["clock_ms"])
    promised = [at for at in (line["due_ms"], due) if at is not None]
    line["due_ms"] = min(promised, default=None)
    _show(line, row)


def _show(line: Line, row: dict[str, Any]) -> None:
    line["rule"] = row["rule"]
    line["shown_id"] = row["id"]


def _end(line: Line, row: dict[str, Any], outcome: str) -> None:
    line["ended_ms"] = row["t_ms"]
    line["ended_clock_ms"] = row["clock_ms"]
    line["outcome"] = outcome
    moves.ended(line)
