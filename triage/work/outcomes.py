"""What closings say became of patients: what a changed limit is held against (`engine.backtest_outcomes`)."""

from typing import Final

from sqlalchemy import Engine, func, select

from triage.tables import Episode
from triage.work.cells import NO_CELL
from triage.work.states import Reason
from triage.work.tables import FOLLOWED

__all__ = ["TELLING", "closings"]

TELLING: Final = (Reason.TREATED, Reason.IN_HOSPITAL)
"""Reasons after which an alert was right: a treatment was changed, or the patient was in hospital."""


def closings(engine: Engine, cell: str, since_ms: int) -> tuple[tuple[str, int, str], ...]:
    """Give (patient, time in ms UTC, reason) of the lines of a cell that were closed with a telling reason, by time."""
    query = (
        select(Episode.patient, Episode.ended_clock_ms, Episode.work)
        .outerjoin(FOLLOWED, FOLLOWED.c.patient == Episode.patient)
        .where(func.coalesce(FOLLOWED.c.cell, NO_CELL) == cell)
        .where(Episode.outcome == "closed", Episode.ended_clock_ms >= since_ms)
        .order_by(Episode.ended_clock_ms, Episode.id)
    )
    with engine.connect() as connection:
        rows = connection.execute(query)
        return tuple(
            (patient, t_ms, work["closed"]["reason"])
            for patient, t_ms, work in rows
            if work.get("closed", {}).get("reason") in set(TELLING)
        )
