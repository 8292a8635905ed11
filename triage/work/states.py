"""States of a line, outcomes and reasons, as nurses name them, and why a move may be refused."""

from enum import StrEnum
from typing import Final

__all__ = [
    "OUTCOMES",
    "REASONS",
    "ChangedError",
    "MoveError",
    "Outcome",
    "Reason",
    "State",
    "TakenError",
    "UnknownError",
    "Whom",
]


class State(StrEnum):
    """Where a line of the queue is."""

    NEW = "new"
    CLAIMED = "claimed"
    CALLED = "called"
    ESCALATED = "escalated"
    MUTED = "muted"
    CLOSED = "closed"
    """By a person with a reason, or by itself: `Episode.outcome` tells which."""
    REOPENED = "reopened"

    @property
    def word(self) -> str:
        """The word for it on the screen."""
        return _STATES[self]


_STATES: Final = {
    State.NEW: "à traiter",
    State.CLAIMED: "prise",
    State.CALLED: "appelée",
    State.ESCALATED: "transmise",
    State.MUTED: "en sourdine",
    State.CLOSED: "clôturée",
    State.REOPENED: "rouverte",
}

WAITING: Final = (State.NEW, State.REOPENED)
"""Anybody may take it."""


class Outcome(StrEnum):
    """What came of a call."""

    REACHED = "reached"
    NO_ANSWER = "no_answer"
    MESSAGE_LEFT = "message_left"
    CALL_BACK = "call_back"


OUTCOMES: Final = {
    Outcome.REACHED: "joint",
    Outcome.NO_ANSWER: "pas de réponse",
    Outcome.MESSAGE_LEFT: "message laissé",
    Outcome.CALL_BACK: "à rappeler",
}


class Whom(StrEnum):
    """To whom a line is escalated."""

    CARDIOLOGIST = "cardiologist"
    SAMU = "samu"


class Reason(StrEnum):
    """Why a line is closed."""

    TREATED = "treated"
    ADVICE = "advice"
    WRONG_MEASUREMENT = "wrong_measurement"
    EQUIPMENT = "equipment"
    IN_HOSPITAL = "in_hospital"
    NOT_RELEVANT = "not_relevant"
    OTHER = "other"

    @property
    def number(self) -> int:
        """What the act in the log carries: never changed for a reason that has been used."""
        return list(Reason).index(self) + 1


REASONS: Final = {
    Reason.TREATED: "traitement adapté",
    Reason.ADVICE: "conseil donné",
    Reason.WRONG_MEASUREMENT: "mesure erronée",
    Reason.EQUIPMENT: "matériel",
    Reason.IN_HOSPITAL: "patient hospitalisé",
    Reason.NOT_RELEVANT: "non pertinente",
    Reason.OTHER: "autre",
}


class MoveError(Exception):
    """A move that is not legal now; the message, for the one who tried, says why and what is legal."""


class TakenError(MoveError):
    """Somebody else has the line."""

    def __init__(self, owner: str, since_ms: int) -> None:
        super().__init__(f"{owner} s'occupe déjà de cette alerte")
        self.owner = owner
        self.since_ms = since_ms


class ChangedError(MoveError):
    """The line is no longer what the one who moves it has seen."""


class UnknownError(MoveError):
    """There is no such line, for the one who tried."""

    def __init__(self) -> None:
        super().__init__("cette alerte n'existe pas")
