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


def take(engine: Engine, enrolled: Mapping[str, Enrolled], at_ms: int | None = None) -> int:
    """Make the cells those of an enrolment, as it is at `at_ms` (ms UTC); return how many patients changed.

    Who is not in it keeps the cell that they had, as their alerts may still be open; they are not present any more.
    """
    insert = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
    with database.writing(engine) as connection:
        known = {
            row.patient: {"cell": row.cell, "programmes": row.programmes, "present": row.present}
            for row in connection.execute(select(FOLLOWED))
        }
        wanted = {
            patient: {
                "cell": each.cell or NO_CELL,
                "programmes": {"ids": list(each.programmes)},
                "present": at_ms is None or each.until_ms is None or each.until_ms > at_ms,
            }
            for patient, each in enrolled.items()
        }
        wanted |= {
            patient: was | {"present": False} for patient, was in known.items() if patient not in wanted
        }
        rows: list[dict[str, Any]] = [
            {"patient": patient} | values
            for patient, values in wanted.items()
            if known.get(patient) != values
        ]
        query = insert(FOLLOWED)
        changed = {name: query.excluded[name] for name in ("cell", "programmes", "present")}
        for at in range(0, len(rows), _CHUNK):
            connection.execute(
                query.on_conflict_do_update(index_elements=["patient"], set_=changed), rows[at : at + _CHUNK]
            )
    return len(rows)
