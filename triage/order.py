"""Who is called next: ROUGE, ORANGE, TECHNIQUE; then least time left to answer; then oldest; then id.

Time left is ``due - now``: `now` is the same for all lines, so lines are ordered by when they are due and the
order does not move by itself between two looks. No limit means last of its level.
"""

from typing import Any, Protocol

from sqlalchemy import ColumnElement

from triage.tables import Episode

__all__ = ["BY_URGENCY", "Waiting", "urgency"]


class Waiting(Protocol):
    """What the order looks at."""

    @property
    def level(self) -> int:
        """`rules.levels.Level`, greater is more urgent."""

    @property
    def due_ms(self) -> int | None:
        """When it must be answered; None is no limit."""

    @property
    def onset_ms(self) -> int:
        """When it began, in event time."""

    @property
    def id(self) -> str:
        """Breaks the last tie."""


def urgency(line: Waiting) -> tuple[int, bool, int, int, str]:
    """Give the sorting key of a line: the least is called first. Total: two lines never compare equal."""
    return (-line.level, line.due_ms is None, line.due_ms or 0, line.onset_ms, line.id)


BY_URGENCY: tuple[ColumnElement[Any], ...] = (
    Episode.level.desc(),
    Episode.due_ms.asc().nulls_last(),
    Episode.onset_ms.asc(),
    Episode.id.asc(),
)
"""The same order for the database; a test holds the two together."""
