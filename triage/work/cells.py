"""Which patient is in which cell, as the enrolment says: the walls between cells are drawn along it."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite

from engine.enrolment import Enrolled
from triage import database
from triage.work.tables import FOLLOWED

__all__ = ["NO_CELL", "cell_of", "cells", "counts", "patients", "take"]

NO_CELL: Final = "sans cellule"
"""Cell of patients of whom the enrolment says none: who is to see them has an account of this cell."""

_CHUNK = 1000


def cell_of(connection: Connection, patient: str) -> str:
    """Give the cell of a patient."""
    cell: str | None = connection.scalar(select(FOLLOWED.c.cell).where(FOLLOWED.c.patient == patient))
    return cell or NO_CELL


def cells(engine: Engine) -> list[str]:
    """Give the names of all cells, in order."""
    with engine.connect() as connection:
        return sorted(connection.scalars(select(FOLLOWED.c.cell).distinct()))


def counts(engine: Engine) -> dict[str, int]:
    """Count the patients of each cell."""
    with engine.connect() as connection:
        rows = connection.execute(select(FOLLOWED.c.cell, func.count()).group_by(FOLLOWED.c.cell))
        return {cell: count for cell, count in rows}  # noqa: C416 - rows are no pairs to a type checker


def patients(engine: Engine, cell: str) -> list[str]:
    """Give the patients of a cell, in order."""
    with engine.connect() as connection:
        return list(
            connection.scalars(
                select(FOLLOWED.c.patient).where(FOLLOWED.c.cell == cell).order_by(FOLLOWED.c.patient)
            )
        )


def take(engine: Engine, enrolled: Mapping[str, Enrolled]) -> int:
    """Make the cells those of an enrolment; return how many patients changed.

    Who is not in it keeps the cell that they had: their alerts may still be open.
    """
    insert = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
    with database.writing(engine) as connection:
        known = {row.patient: (row.cell, row.programmes) for row in connection.execute(select(FOLLOWED))}
        rows: list[dict[str, Any]] = [
            {"patient": patient, "cell": each.cell or NO_CELL, "programmes": {"ids": list(each.programmes)}}
            for patient, each in enrolled.items()
            if known.get(patient) != (each.cell or NO_CELL, {"ids": list(each.programmes)})
        ]
        query = insert(FOLLOWED)
        changed = {"cell": query.excluded.cell, "programmes": query.excluded.programmes}
        for at in range(0, len(rows), _CHUNK):
            connection.execute(
                query.on_conflict_do_update(index_elements=["patient"], set_=changed), rows[at : at + _CHUNK]
            )
    return len(rows)
