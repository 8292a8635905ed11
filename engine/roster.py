"""Who is followed by what: protocols, zone and own limits of each patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.program import Program
from engine.state import State
from rules.limits import LimitBook

__all__ = ["Member", "Roster"]

Key = tuple[int, str]
"""A limit: index of the protocol, name."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of one patient beside the readings.

    `protocols` are indices into the program's protocols, `zone` an index into the program's zones, `cell` the name
    under which the book of limits knows the patient's cell. `limits` are own values by (protocol, name) that stand
    in no book, as in a test of a protocol; they win over those of the book.
    """

    protocols: tuple[int, ...]
    zone: int = 0
    cell: str | None = None
    limits: Mapping[Key, float] = field(default_factory=dict)


class Roster:
    """Patients by id; who is not in it is followed by every protocol, with the limits of the programme.

    Parameters
    ----------
    program : Program
    members : mapping of str to Member
    book : LimitBook, optional
        Limits of the programme, of cells and of patients. Each that it sets must be among the program's `own`.
    """

    def __init__(
        self, program: Program, members: Mapping[str, Member] | None = None, book: LimitBook | None = None
    ) -> None:
        self.program = program
        self.members = dict(members or {})
        self.book = book or LimitBook(program.protocols)
        self._index = {protocol.id: p for p, protocol in enumerate(program.protocols)}
        self._all = np.uint64((1 << len(program.protocols)) - 1)
        self._keys = [program.limit_names[q] for q in program.own]
        missing = sorted(self.book.own() - {(program.protocols[p].id, name) for p, name in self._keys})
        if missing:
            msg = f"limits {missing} are in the book, and the program was made without a place for them"
            raise ValueError(msg)
        self._alone = frozenset(self.book.subjects("patient"))
        self._usual = self._row(None, None)
        self._cells = {cell: self._row(cell, None) for cell in {m.cell for m in self.members.values()}}

    def _row(self, cell: str | None, patient: str | None) -> npt.NDArray[np.float64]:
        """Values in force of all limits that somebody has of its own."""
        protocols = self.program.protocols
        values = [self.book.resolve(protocols[p].id, name, cell, patient)[0] for p, name in self._keys]
        return np.array(values, np.float64)

    def place(self, state: State, slots: npt.NDArray[np.int32]) -> None:
        """Write what is known of the patients of new `slots` into the state."""
        arrays = state.arrays
        limits = arrays["limits"][:, : len(self._keys)]
        arrays["programmes"][slots] = self._all
        limits[slots] = self._usual
        if not self.members and not self._alone:
            return
        for slot, patient in zip(slots.tolist(), state.patient_ids(slots), strict=True):
            member = self.members.get(patient)
            if member is not None:
                arrays["programmes"][slot] = sum(1 << p for p in member.protocols)
                arrays["zone"][slot] = member.zone
                limits[slot] = self._cells[member.cell]
            if patient in self._alone:
                limits[slot] = self._row(member.cell if member else None, patient)
            if member is not None:
                for key, value in member.limits.items():
                    limits[slot, self._keys.index(key)] = value

    def owners(self, protocol_id: str, limit: str) -> frozenset[str]:
        """Give who has a limit of their own here."""
        key = self._index[protocol_id], limit
        named = {patient for patient, member in self.members.items() if key in member.limits}
        return frozenset(
            named | {each for each in self._alone if self.book.of_patient(protocol_id, limit, each)}
        )

    def own(self, patient: str, protocol_id: str, limit: str) -> bool:
        """Say whether a patient has a limit of their own here, over which no limit of the cell holds."""
        member = self.members.get(patient)
        if member is not None and (self._index[protocol_id], limit) in member.limits:
            return True
        return patient in self._alone and self.book.of_patient(protocol_id, limit, patient)

    def in_force(self, patient: str, protocol_id: str, limit: str) -> tuple[float, str]:
        """Give a patient's value of a limit and say in French where it comes from; acts of the cell are not in it."""
        member = self.members.get(patient)
        if member is not None and (self._index[protocol_id], limit) in member.limits:
            return member.limits[self._index[protocol_id], limit], "patient"
        return self.book.resolve(protocol_id, limit, member.cell if member else None, patient)
