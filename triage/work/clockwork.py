"""What time alone does to a line: claims expire, calls come back, mutes end, nobody's lines are called again.

=============================  ============================================================================
state, at `next_ms`            what happens
=============================  ============================================================================
new or reopened, step 0        due: a reminder to the nurses; next look when the next role is called
new or reopened, step 1        the next role is called, the one on call by name; again and again so long after
claimed                        expired: back to the queue, said to both
called                         to conclude, or to call again: back to the queue
escalated                      nobody answered: back to the queue, the next role is called
muted                          ended: back to the queue
=============================  ============================================================================

Pure functions on one line. `triage.work.desk` finds the lines whose time has come and does each in a transaction of
its own, so that a process killed in the middle of it, or two that do it at once, do each step once.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rules.levels import Level
from triage.policy import Policy
from triage.work.moves import back
from triage.work.states import WAITING, State

__all__ = ["Elapsed", "Kind", "elapse", "flaw"]

Line = dict[str, Any]

GRACE_MS: Final = 120_000
"""A step that is so much overdue was forgotten."""

NEXT_ROLE: Final = "cardiologist"


class Kind(StrEnum):
    """What time did."""

    REMINDED = "reminded"
    NEXT_ROLE = "next_role"
    EXPIRED = "expired"
    CALL_DUE = "call_due"
    UNANSWERED = "unanswered"
    MUTE_ENDED = "mute_ended"


@dataclass(frozen=True, slots=True)
class Elapsed:
    """What time did to a line, and who hears of it: an account, else all of a role in the line's cell."""

    kind: Kind
    owner: str | None
    """Who had the line; hears of it too."""
    role: str = "nurse"
    account: str | None = None


def elapse(line: Line, now_ms: int) -> Elapsed | None:
    """Do to a line, in place, what its time has come for; None where it has not."""
    if line["next_ms"] is None or line["next_ms"] > now_ms:
        return None
    state, owner = State(line["state"]), line["owner"]
    if state in WAITING:
        return _remind(line, now_ms)
    kinds = {
        State.CLAIMED: Kind.EXPIRED,
        State.CALLED: Kind.CALL_DUE,
        State.ESCALATED: Kind.UNANSWERED,
        State.MUTED: Kind.MUTE_ENDED,
    }
    kind = kinds[state]
    back(line, now_ms, kind.value)
    if kind is Kind.UNANSWERED:
        policy = Policy.from_dict(line["policy"])
        return Elapsed(kind, owner, NEXT_ROLE, policy.on_call(NEXT_ROLE, now_ms))
    return Elapsed(kind, owner)


def _remind(line: Line, now_ms: int) -> Elapsed:
    policy, level = Policy.from_dict(line["policy"]), Level(line["level"])
    line["step"] += 1
    line["version"] += 1
    # What was answered once and waits again, waits since it is back.
    since = line["raised_clock_ms"] if line["answered_ms"] is None else line["state_ms"]
    if line["step"] == 1:
        at = policy.after(level, since, policy.next_ms(level))
        # A reminder that came late leaves the nurses their time.
        line["next_ms"] = max(at, now_ms + 60_000)
        return Elapsed(Kind.REMINDED, None, "nurse", policy.on_call("nurse", now_ms))
    line["next_ms"] = policy.after(level, now_ms, policy.next_ms(level))
    if level is Level.TECHNIQUE:
        return Elapsed(Kind.REMINDED, None)
    return Elapsed(Kind.NEXT_ROLE, None, NEXT_ROLE, policy.on_call(NEXT_ROLE, now_ms))


def flaw(line: Line, now_ms: int) -> str:
    """Say what is wrong with the next step of an open line; "" where it has a valid one."""
    state, owner, at = State(line["state"]), line["owner"], line["next_ms"]
    waits = state in WAITING
    wrong = {
        "no next step": at is None,
        "its next step was not taken": at is not None and at < now_ms - GRACE_MS,
        "closed, and not ended": state is State.CLOSED,
        f"{state.value}, without an end": not waits and line["until_ms"] != at,
        f"{state.value}, by nobody": owner is None and state in {State.CLAIMED, State.CALLED, State.MUTED},
        f"{state.value}, and of an owner": waits and owner is not None,
    }
    return "; ".join(what for what, found in wrong.items() if found)
