"""Break-glass: a carer opens a patient of another cell, says why, and has an hour.

The reason is free text, which may name the patient: it is kept here, and the audit trail, which people without any
right to health data search, has its hash. So nobody can give another reason afterwards.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from triage import audit, database
from triage.people.kept import OPENING, Kept
from triage.people.person import PeopleError, Person
from triage.people.rights import Act, may, sees

__all__ = ["FOR_MS", "LEAST", "MOST", "Opened", "Openings"]

FOR_MS: Final = 60 * 60_000
LEAST: Final = 10
MOST: Final = 500
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A patient who was opened; times are ms UTC."""

    account: str
    patient: str
    cell: str
    reason: str = field(repr=False)
    from_ms: int
    until_ms: int


class Openings(Kept):
    """Patients of other cells that were opened, by whom and why."""

    def open_patient(self, who: Person, patient: str, cell: str, reason: str, now_ms: int) -> Opened:
        """Let somebody see a patient of another cell for an hour.

        Parameters
        ----------
        who : Person
        patient, cell : str
            Pseudonym and cell of the patient; the caller knows that they belong together.
        reason : str
            10 to 500 characters.
        now_ms : int

        Raises
        ------
        PeopleError
            The role may not, the patient is of one's own cells, or the reason is none.
        """
        if not may(who, Act.OPEN) or not may(who, Act.SEE):
            raise PeopleError(
                f"{who.name}: a {who.role} opens no patient", "Votre rôle ne permet pas d’ouvrir ce dossier."
            )
        if sees(who, cell):
            raise PeopleError(
                f"{who.name}: the patient is of cell {cell}, which they see",
                "Ce patient est de votre cellule : son dossier est ouvert.",
            )
        reason = " ".join(reason.split())
        if not LEAST <= len(reason) <= MOST or not reason.isprintable():
            raise PeopleError(
                f"reason: {len(reason)} characters; legal are {LEAST} to {MOST} that can be printed",
                f"Donnez le motif, en {LEAST} à {MOST} caractères.",
            )
        opened = Opened(who.name, patient, cell, reason, now_ms, now_ms + FOR_MS)
        said = {
            "until_ms": opened.until_ms,
            "reason_sha256": hashlib.sha256(reason.encode()).hexdigest(),
        }
        with database.writing(self._engine) as connection:
            connection.execute(
                OPENING.insert().values(
                    account=who.name,
                    patient=patient,
                    cell=cell,
                    reason=reason,
                    from_ms=now_ms,
                    until_ms=opened.until_ms,
                )
            )
            audit.append(connection, now_ms, [audit.Deed(who.name, "patient opened", patient, cell, said)])
        return opened

    def openings(self, who: Person, now_ms: int) -> frozenset[str]:
        """Give the pseudonyms of the patients that somebody has open now."""
        query = select(OPENING.c.patient).where(
            OPENING.c.account == who.name, OPENING.c.until_ms > now_ms, OPENING.c.from_ms <= now_ms
        )
        with self._engine.connect() as connection:
            return frozenset(connection.scalars(query))

    def opened(self, cells: list[str] | None = None, at_most: int = 200) -> list[Opened]:
        """List what was opened, newest first, to be looked at by those whose patients they are.

        Parameters
        ----------
        cells : list of str, optional
            Only patients of these.
        at_most : int
        """
        query = select(OPENING).order_by(OPENING.c.id.desc()).limit(at_most)
        if cells is not None:
            query = query.where(OPENING.c.cell.in_(cells))
        with self._engine.connect() as connection:
            return [
                Opened(
                    row["account"],
                    row["patient"],
                    row["cell"],
                    row["reason"],
                    row["from_ms"],
                    row["until_ms"],
                )
                for row in connection.execute(query).mappings()
            ]
