"""What each role may do. Cells are walls: another cell's patient is not there, but for who opens it with a reason.

Who looks after accounts or machines sees nothing of a patient's health, and cannot open anybody. An administrator
could make an account of a nurse for themselves; the audit trail would say so.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from triage.people.person import Person, Role, Scope

__all__ = ["MATRIX", "Act", "may", "reads", "sees"]


class Act(StrEnum):
    """What can be done."""

    OWN = "own"
    """Look after one's own account: password, second factor, signing out."""
    SEE = "see"
    """See the queue and the patients of one's cells."""
    WORK = "work"
    """Claim, call, escalate, mute, close."""
    ENTER = "enter"
    """Type in readings and answers for a patient."""
    CELL = "cell"
    """See the load of one's cells and the figures of their team."""
    OPEN = "open"
    """Open a patient of another cell, with a reason."""
    LIMITS = "limits"
    """Change a patient's limits; propose those of a cell, let them run in the shadow, refuse and withdraw them."""
    SIGN = "sign"
    """Sign limits that another proposed for a cell, and take back those in force."""
    TRY = "try"
    """Try limits of a cell, and see what is proposed for it; that changes nothing."""
    PROTOCOLS = "protocols"
    """See the protocols in force."""
    ACCOUNTS = "accounts"
    SOURCES = "sources"
    CELLS = "cells"
    OVERSEE = "oversee"
    """See which accounts, sources and cells there are, and change none."""
    AUDIT = "audit"
    """Search the audit trail, which names patients by pseudonym."""
    MACHINE = "machine"
    """See how the service does: no page of it says anything of a patient."""


_CARE: Final = {Act.OWN, Act.SEE, Act.WORK, Act.ENTER, Act.CELL, Act.OPEN, Act.PROTOCOLS}

MATRIX: Final[dict[Role, frozenset[Act]]] = {
    Role.NURSE: frozenset(_CARE),
    Role.CARDIOLOGIST: frozenset(_CARE | {Act.LIMITS, Act.SIGN, Act.TRY}),
    Role.OPERATOR: frozenset({Act.OWN, Act.MACHINE, Act.PROTOCOLS}),
    Role.ADMINISTRATOR: frozenset(
        {
            Act.OWN,
            Act.ACCOUNTS,
            Act.SOURCES,
            Act.CELLS,
            Act.OVERSEE,
            Act.AUDIT,
            Act.PROTOCOLS,
            Act.MACHINE,
        }
    ),
}
"""Whatever is not named here is refused."""

_READING: Final = frozenset({Act.SEE, Act.CELL, Act.TRY, Act.PROTOCOLS, Act.AUDIT, Act.OVERSEE, Act.MACHINE})

_IN_PERSON: Final = frozenset({Act.OWN, Act.OPEN, Act.ACCOUNTS, Act.SIGN})
"""No program does these, whatever token it holds."""


def may(person: Person, act: Act) -> bool:
    """Say whether somebody may do something at all; for a patient, `sees` or `reads` must say yes too."""
    if person.must is not None and act is not Act.OWN:
        return False
    if person.scope is not None and act in _IN_PERSON:
        return False
    if person.scope is Scope.READ and act not in _READING:
        return False
    return act in MATRIX[person.role]


def sees(person: Person, cell: str) -> bool:
    """Say whether the patients of a cell are there for somebody."""
    return may(person, Act.SEE) and cell in person.cells


def reads(person: Person, cell: str, patient: str, opened: Collection[str] = ()) -> bool:
    """Say whether somebody may see a patient now.

    Parameters
    ----------
    person : Person
    cell : str
        The patient's.
    patient : str
        Pseudonym.
    opened : collection of str
        Patients that this person has opened with a reason, of `People.openings`.
    """
    return sees(person, cell) or (may(person, Act.SEE) and may(person, Act.OPEN) and patient in opened)
