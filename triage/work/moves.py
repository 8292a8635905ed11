"""Moves of a line, as pure functions: what a person may do in which state, and what becomes of the line.

==========  =================================  ==========================================================
move        from                               to
==========  =================================  ==========================================================
claim       new, reopened, escalated, muted,   claimed: goes back to the queue when nothing happens on it
            called (one's own)
release     claimed, called (one's own)        new
call        any open but another's             called: reached must be concluded, else called again at a time
escalate    any open but another's             escalated: to the cardiologist or the SAMU, until somebody answers
mute        any open but another's             muted: has an end, an owner and a reason; never non-transmission
close       any open but another's             closed, with a reason; ROUGE by a person only
reopen      closed                             reopened
hand over   claimed, called, muted (own)       the same, of another owner
note        any, whoever has it, closed too    the same, with a note
==========  =================================  ==========================================================

Each move changes the line in place and sets when the clockwork must look at it again (`next_ms`); `version` rises with
each, and with what the engine does to its level, so that nobody acts on what they have not seen. Sentences of errors
are for the nurse.
"""

from typing import Any, Final

from rules.levels import Level
from triage.policy import Policy
from triage.work.states import (
    REASONS,
    WAITING,
    MoveError,
    Outcome,
    Reason,
    State,
    TakenError,
    Whom,
)

__all__ = [
    "LONGEST_TEXT",
    "back",
    "call",
    "claim",
    "close",
    "ended",
    "escalate",
    "hand_over",
    "mute",
    "note",
    "opened",
    "policy_of",
    "release",
    "reopen",
    "worse",
]

Line = dict[str, Any]

LONGEST_TEXT: Final = 2000
MOST_NOTES: Final = 10
"""Notes that a line carries, the newest; the audit trail has all."""
_LONGEST_CALL_BACK_MS: Final = 7 * 86_400_000


def opened(line: Line, now_ms: int) -> None:
    """Put a line that the engine opened before the nurses; its level and `due_ms` are set."""
    line.update(
        state=State.NEW, owner=None, state_ms=now_ms, until_ms=None, step=0, answered_ms=None, work={}
    )
    line["version"] = line.get("version", 0) + 1
    _wait(line, now_ms)


def worse(line: Line, now_ms: int, *, risen: bool) -> None:
    """The patient got worse: a mute ends, and what somebody waits for is before the nurses again.

    Parameters
    ----------
    line : dict
        After the engine changed it.
    now_ms : int
    risen : bool
        Its level rose. Else another rule of its level began to fire, which ends a mute only.
    """
    if not risen and line["state"] != State.MUTED:
        return
    if risen:
        line["answered_ms"] = None  # what was answered was less than this
    if line["state"] not in {*WAITING, State.CLAIMED}:
        # Whoever muted it, called or escalated did so for less than this.
        back(line, now_ms, "worse")
    elif risen:
        line["step"] = 0
        line["version"] += 1
        if line["state"] in WAITING:
            _wait(line, now_ms)


def ended(line: Line) -> None:
    """The engine ended the line: it recovered by itself, or an act that closed it came through the log."""
    if line["state"] != State.CLOSED:
        line.update(state=State.CLOSED, owner=None, until_ms=None, version=line["version"] + 1)
    line["next_ms"] = None


def claim(line: Line, who: str, now_ms: int, *, over: bool = False) -> None:
    """Take a line; again renews it.

    Parameters
    ----------
    over : bool
        Take it from whoever has it, knowing so.
    """
    _open(line)
    if not over:
        _free(line, who)
    # What was said of it stays to be read: to whom it was escalated, what came of the call.
    _to(line, State.CLAIMED, who, now_ms, now_ms + policy_of(line).claim_ms, line["work"])


def release(line: Line, who: str, now_ms: int) -> None:
    """Give a line back to the queue."""
    if line["state"] not in {State.CLAIMED, State.CALLED} or line["owner"] != who:
        msg = "seule une alerte que vous avez prise peut être remise dans la file"
        raise MoveError(msg)
    back(line, now_ms, "released")


def call(line: Line, who: str, now_ms: int, outcome: Outcome, back_ms: int | None = None) -> None:
    """Note a call and what came of it.

    Parameters
    ----------
    outcome : Outcome
    back_ms : int, optional
        When the patient is called again; the policy's time where nobody was reached and nothing is said.
    """
    _open(line)
    _free(line, who)
    policy = policy_of(line)
    if back_ms is not None and not now_ms < back_ms <= now_ms + _LONGEST_CALL_BACK_MS:
        msg = "rappel : une heure à venir, dans les 7 jours"
        raise MoveError(msg)
    if outcome is Outcome.CALL_BACK and back_ms is None:
        msg = "rappel : dites à quelle heure rappeler"
        raise MoveError(msg)
    rest = policy.conclude_ms if outcome is Outcome.REACHED else policy.call_back_ms
    until = back_ms if back_ms is not None else now_ms + rest
    calls = [*line["work"].get("calls", []), {"at": now_ms, "by": who, "outcome": outcome.value}]
    _answered(line, now_ms)
    _to(line, State.CALLED, who, now_ms, until, {**line["work"], "calls": calls[-20:]})


def escalate(line: Line, who: str, now_ms: int, to: Whom, note: str) -> None:
    """Hand a line to the cardiologist, or to the SAMU on the telephone; a note says what for."""
    _open(line)
    _free(line, who)
    policy = policy_of(line)
    note = _written(note, "transmission", needed=True)
    until = now_ms + (policy.samu_ms if to is Whom.SAMU else policy.cardiologist_ms)
    _answered(line, now_ms)
    work = {**line["work"], "escalated": {"to": to.value, "by": who, "at": now_ms, "note": note}}
    # The nurse stays with a patient for whom the SAMU was called.
    _to(line, State.ESCALATED, who if to is Whom.SAMU else None, now_ms, until, work)


def mute(line: Line, who: str, now_ms: int, until_ms: int, reason: str) -> None:
    """Put a line aside until a time, or until the patient gets worse."""
    _open(line)
    _free(line, who)
    if line["silent"]:
        msg = "une absence de données ne peut pas être mise en sourdine"
        raise MoveError(msg)
    longest = policy_of(line).longest_mute_ms(Level(line["level"]))
    if not now_ms < until_ms <= now_ms + longest:
        msg = f"sourdine : une fin à venir, dans les {longest // 3_600_000} heures"
        raise MoveError(msg)
    reason = _written(reason, "sourdine", needed=True)
    _answered(line, now_ms)
    work = {**line["work"], "muted": {"by": who, "at": now_ms, "until": until_ms, "reason": reason}}
    _to(line, State.MUTED, who, now_ms, until_ms, work)


def close(line: Line, who: str, now_ms: int, reason: Reason, text: str = "") -> None:
    """Close a line."""
    _open(line)
    _free(line, who)
    text = _written(text, "clôture", needed=reason is Reason.OTHER)
    _answered(line, now_ms)
    work = {**line["work"], "closed": {"by": who, "at": now_ms, "reason": reason.value, "text": text}}
    _to(line, State.CLOSED, who, now_ms, None, work)
    line.update(next_ms=None, ended_ms=max(now_ms, line["last_ms"]), ended_clock_ms=now_ms, outcome="closed")


def reopen(line: Line, who: str, now_ms: int, reason: str) -> None:
    """Put a closed line before the nurses again."""
    if line["state"] != State.CLOSED:
        msg = "cette alerte est déjà ouverte"
        raise MoveError(msg)
    reason = _written(reason, "réouverture", needed=True)
    policy = policy_of(line)
    work = {**line["work"], "reopened": {"by": who, "at": now_ms, "reason": reason}}
    line.update(ended_ms=None, ended_clock_ms=None, outcome=None, work=work, step=0, raised_clock_ms=now_ms)
    line["due_ms"] = policy.due_ms(Level(line["level"]), now_ms)
    line.update(state=State.REOPENED, owner=None, state_ms=now_ms, until_ms=None, version=line["version"] + 1)
    _wait(line, now_ms)


def hand_over(line: Line, who: str, to: str, now_ms: int) -> None:
    """Give one's own line to a colleague, as it is."""
    if line["owner"] != who or line["state"] not in {
        State.CLAIMED,
        State.CALLED,
        State.MUTED,
        State.ESCALATED,
    }:
        msg = "seule une alerte que vous suivez peut être confiée à un collègue"
        raise MoveError(msg)
    line["owner"] = to
    line["version"] += 1
    if line["state"] == State.CLAIMED:
        line["until_ms"] = line["next_ms"] = now_ms + policy_of(line).claim_ms


def note(line: Line, who: str, now_ms: int, text: str) -> None:
    """Write something down about a line, whoever has it: nothing else of it changes."""
    text = _written(text, "note", needed=True)
    notes = [*line["work"].get("notes", []), {"at": now_ms, "by": who, "text": text}]
    line["work"] = {**line["work"], "notes": notes[-MOST_NOTES:]}
    line["version"] += 1


def _open(line: Line) -> None:
    if line["state"] != State.CLOSED:
        return
    done = line["work"].get("closed")
    if done is None:
        msg = "cette alerte s'est terminée d'elle-même"
    else:
        msg = f"{done['by']} a déjà clôturé cette alerte ({REASONS[Reason(done['reason'])]})"
    raise MoveError(msg)


def _free(line: Line, who: str) -> None:
    """Refuse what somebody else has in hand: claimed, or called and not yet concluded."""
    if line["state"] in {State.CLAIMED, State.CALLED} and line["owner"] != who:
        raise TakenError(line["owner"], line["state_ms"])


def _written(text: str, what: str, *, needed: bool) -> str:
    text = text.strip()
    if needed and not text:
        msg = f"{what} : un motif est nécessaire"
        raise MoveError(msg)
    if len(text) > LONGEST_TEXT or "\0" in text:
        msg = f"{what} : {LONGEST_TEXT} caractères au plus"
        raise MoveError(msg)
    return text


def _answered(line: Line, now_ms: int) -> None:
    if line["answered_ms"] is None:
        line["answered_ms"] = now_ms


def _to(
    line: Line, state: State, who: str | None, now_ms: int, until_ms: int | None, work: dict[str, Any]
) -> None:
    line.update(
        state=state, owner=who, state_ms=now_ms, until_ms=until_ms, next_ms=until_ms, work=work, step=0
    )
    if state in {State.CALLED, State.ESCALATED, State.MUTED}:
        line["due_ms"] = until_ms  # what is due now is the next step
    line["version"] += 1


def back(line: Line, now_ms: int, why: str) -> None:
    """Put a line before the nurses again. What was answered gets a new limit; what was not keeps its own."""
    if line["state"] not in {State.CLAIMED, *WAITING} or line["answered_ms"] is not None:
        line["due_ms"] = policy_of(line).due_ms(Level(line["level"]), now_ms)
    line.update(state=State.NEW, owner=None, state_ms=now_ms, until_ms=None, step=0)
    line["work"] = {**line["work"], "back": {"at": now_ms, "why": why}}
    line["version"] += 1
    _wait(line, now_ms)


def _wait(line: Line, now_ms: int) -> None:
    """Set when the clockwork looks at a line that anybody may take: when it is due, else after the usual time."""
    policy, level = policy_of(line), Level(line["level"])
    due = line["due_ms"]
    # What is overdue already is said at once.
    line["next_ms"] = (
        max(due, now_ms) if due is not None else policy.after(level, now_ms, policy.next_ms(level))
    )


def policy_of(line: Line) -> Policy:
    """Give the policy that is frozen into a line."""
    return Policy.from_dict(line["policy"])
