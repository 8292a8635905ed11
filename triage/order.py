"""Who is called next: ROUGE, ORANGE, TECHNIQUE; then least time left to answer; then oldest; then id.

Time left is ``due - now``: `now` is the same for all lines, so lines are ordered by when they are due and the
order does not move by itself between two looks. No limit means last of its level.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from sqlalchemy import ColumnElement

from rules.levels import Level
from triage.tables import Episode

__all__ = ["BY_URGENCY", "Policy", "Waiting", "urgency"]

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Policy:
    """How long an answer may take, in milliseconds of the receipt clock; None is no limit.

    The policy in force when an episode opens is kept in it: changing the cell's policy moves no open line.

    Notes
    -----
    ROUGE: mean answer in COVIDOM, 4 minutes (clinical reference, section 1). ORANGE: a working choice of this
    software, for the cell to set.
    """

    rouge_ms: int | None = 4 * MINUTE_MS
    orange_ms: int | None = 60 * MINUTE_MS
    technique_ms: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and value <= 0:
                msg = f"policy.{name}: {value} ms; legal are positive times, or none for no limit"
                raise ValueError(msg)

    def limit_ms(self, level: Level) -> int | None:
        """Give the longest time to an answer at `level`."""
        return {Level.ROUGE: self.rouge_ms, Level.ORANGE: self.orange_ms, Level.TECHNIQUE: self.technique_ms}[
            level
        ]

    def due_ms(self, level: Level, clock_ms: int) -> int | None:
        """Give the time by which what reached `level` at `clock_ms` must be answered."""
        limit = self.limit_ms(level)
        return None if limit is None else clock_ms + limit

    def as_dict(self) -> dict[str, int | None]:
        """Give the policy as it is frozen into an episode."""
        return asdict(self)

    @classmethod
    def from_dict(cls, frozen: dict[str, Any]) -> Self:
        """Read a frozen policy back; fields that came after it was frozen take their default."""
        return cls(**frozen)


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
