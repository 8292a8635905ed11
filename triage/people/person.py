"""Who somebody is to Vigie, and what comes of an attempt to come in."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Must", "PeopleError", "Person", "Refused", "Role", "Scope", "SignedIn", "Why"]


class PeopleError(ValueError):
    """What was asked about accounts cannot be done.

    Parameters
    ----------
    message : str
        For operators, in English: what was wrong and what is legal.
    plain : str
        For who is in front of the screen, in French.
    """

    def __init__(self, message: str, plain: str) -> None:
        self.plain = plain
        super().__init__(message)


class Role(StrEnum):
    """What somebody is employed as; `triage.people.rights` says what each may do."""

    NURSE = "nurse"
    CARDIOLOGIST = "cardiologist"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    @property
    def french(self) -> str:
        """Its name on a page."""
        return {"nurse": "Infirmier", "cardiologist": "Cardiologue", "operator": "Exploitant"}.get(
            self, "Administrateur"
        )


class Scope(StrEnum):
    """What a program that holds a token may do: read only, or what its account may."""

    READ = "read"
    WORK = "work"


class Must(StrEnum):
    """What somebody who is signed in has to do before anything else."""

    PASSWORD = "password"  # noqa: S105 - the name of a task
    """Choose a password: the present one was given out."""
    ENROL = "enrol"
    """Set up a second factor."""
    CODE = "code"
    """Show the second factor."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, or a program of theirs, at this moment.

    Parameters
    ----------
    name, display : str
        The account's, and how it is shown.
    role : Role
    cells : tuple of str
    second : bool
        The second factor was shown in this session.
    must : Must, optional
        What has to be done first: until then nothing else is allowed.
    scope : Scope, optional
        Of the token; None where a person is signed in.
    csrf : str
        What each form must bring back.
    session : str
        Hash of the session's token; empty for a program.
    """

    name: str
    display: str
    role: Role
    cells: tuple[str, ...]
    second: bool = False
    must: Must | None = None
    scope: Scope | None = None
    csrf: str = field(default="", repr=False)
    session: str = field(default="", repr=False)


class Why(StrEnum):
    """Why somebody was not let in; for metrics and the operator, never for who tried."""

    WRONG = "wrong"
    LOCKED = "locked"
    TOO_MANY = "too_many"
    BUSY = "busy"
    NO_ACCOUNT = "no_account"


_PLAIN = {
    Why.TOO_MANY: "Trop d’essais. Attendez une minute, puis recommencez.",
    Why.BUSY: "Trop de connexions en même temps. Recommencez dans quelques secondes.",
    Why.NO_ACCOUNT: "Aucun compte de Vigie ne correspond. Demandez à votre administrateur.",
}
_UNSAID = "Nom, mot de passe ou code inexact, ou compte bloqué pour un moment."
"""Whichever part was wrong: who tries must not learn which, nor whether there is such an account."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody was not let in."""

    why: Why

    @property
    def plain(self) -> str:
        """What to say, in French."""
        return _PLAIN.get(self.why, _UNSAID)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody was let in: the session's token, which is shown this once, and who it is."""

    token: str = field(repr=False)
    person: Person
