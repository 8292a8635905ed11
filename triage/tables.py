"""The queue's tables: episodes that somebody must answer, the alerts in them, and all that was said of each.

One idea each: an *episode* is a line of the queue (one open for a patient and a problem of a protocol), an
*alert* is one firing of one rule (patient, rule, onset), a *transition* is one row that the engine wrote
about an alert. The rules that must never be broken (one open line, one alert for an onset, one copy of a
transition) are constraints here, so that no order of writers can break them.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

__all__ = ["Alert", "Base", "Episode", "Fence", "Transition"]

Json = JSON().with_variant(JSONB(), "postgresql")
RowNumber = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only what is called INTEGER
OPEN = text("ended_ms IS NULL")


class Base(DeclarativeBase):
    """All tables of the queue; names of constraints are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this name from the class
        int: BigInteger,
        list[dict[str, Any]]: Json,
        dict[str, Any]: Json,
    }


class Episode(Base):
    """One line of the queue: a patient, a problem, and what to say about it now.

    `id` is the id of the alert that opened it, so that it is the same however rows were batched and whichever
    server wrote it. Times ending in ``_ms`` are milliseconds UTC; ``_clock_ms`` are of the receipt clock, the
    others of event time.
    """

    __tablename__ = "episode"

    id: Mapped[str] = mapped_column(primary_key=True)
    patient: Mapped[str]
    protocol: Mapped[str]
    problem: Mapped[str]
    """Of that protocol: two protocols may use one word, and each is answered by itself."""
    level: Mapped[int]
    """The highest so far: `rules.levels.Level`. Never lowered while the episode is open."""
    latched: Mapped[bool]
    """The condition is over, and the line stays until a person closes it."""
    onset_ms: Mapped[int]
    opened_clock_ms: Mapped[int]
    raised_clock_ms: Mapped[int]
    """When the present level was reached: its answer limit counts from here."""
    due_ms: Mapped[int | None]
    """Receipt clock by which it must be answered; none where its level has no limit."""
    policy: Mapped[dict[str, Any]]
    """`triage.policy.Policy` in force when it opened: a later change does not move the limits of open
    lines."""
    last_ms: Mapped[int]
    last_clock_ms: Mapped[int]
    evidence: Mapped[int]
    """How many rows of the engine speak of this episode."""
    ended_ms: Mapped[int | None]
    ended_clock_ms: Mapped[int | None]
    outcome: Mapped[str | None]
    """How it ended: ``resolved`` (by itself) or ``closed`` (by a person)."""

    state: Mapped[str]
    """`triage.work.states.State`: what the nurses have done about it. The engine changes it where the patient gets
    worse, and where it ends the line."""
    version: Mapped[int]
    """Rises with each move and with each change of level: who acts says which one they saw."""
    owner: Mapped[str | None]
    """Account that has it in hand; none where anybody may take it."""
    state_ms: Mapped[int]
    """Since when it is in its state."""
    until_ms: Mapped[int | None]
    """When the state ends by itself: a claim, a call, an escalation, a mute."""
    next_ms: Mapped[int | None]
    """When the clockwork must look at it again; none where it has ended."""
    step: Mapped[int]
    """How many reminders there were while it waited."""
    answered_ms: Mapped[int | None]
    """When somebody first did more than take it."""
    silent: Mapped[bool]
    """A non-transmission rule is in it: it cannot be muted."""
    work: Mapped[dict[str, Any]]
    """What was said in the moves: calls, escalation, mute, reason of closing."""

    rule: Mapped[str]
    """The rule that brought it to its level."""
    shown_id: Mapped[int]
    """The newest row of that rule, which says why. No foreign key: it would close a circle of three tables,
    and no transition is ever removed."""
    shown: Mapped["Transition"] = relationship(
        primaryjoin=lambda: foreign(Episode.shown_id) == Transition.id, viewonly=True, lazy="joined"
    )

    __table_args__ = (
        # What nobody may break: one open line for a patient and a problem.
        Index(
            "uq_episode_open",
            "patient",
            "protocol",
            "problem",
            unique=True,
            sqlite_where=OPEN,
            postgresql_where=OPEN,
        ),
        # The open lines of each level, among a year of ended ones; they are few enough to be sorted.
        Index("ix_episode_waiting", "level", sqlite_where=OPEN, postgresql_where=OPEN),
        Index("ix_episode_patient", "patient", "onset_ms"),
        Index("ix_episode_next", "next_ms", sqlite_where=OPEN, postgresql_where=OPEN),
        Index("ix_episode_ended", "ended_clock_ms"),
        CheckConstraint("level BETWEEN 1 AND 3", name="level"),
        CheckConstraint("(ended_ms IS NULL) = (outcome IS NULL)", name="ended"),
        CheckConstraint(
            "state IN ('new', 'claimed', 'called', 'escalated', 'muted', 'closed', 'reopened')", name="state"
        ),
        CheckConstraint("(ended_ms IS NULL) = (state <> 'closed')", name="state_ended"),
        CheckConstraint("(ended_ms IS NULL) = (next_ms IS NOT NULL)", name="next_step"),
        CheckConstraint("outcome IS NULL OR outcome IN ('resolved', 'closed')", name="outcome"),
        CheckConstraint("outcome IS NULL OR outcome = 'closed' OR level < 3", name="rouge_latches"),
    )


class Alert(Base):
    """One firing of one rule for one patient: the engine's id, and the episode that it belongs to."""

    __tablename__ = "alert"

    id: Mapped[str] = mapped_column(primary_key=True)
    patient: Mapped[str]
    protocol: Mapped[str]
    rule: Mapped[str]
    """The rule that opened it."""
    problem: Mapped[str]
    onset_ms: Mapped[int]
    episode_id: Mapped[str | None] = mapped_column(ForeignKey("episode.id"), index=True)
    """None where the queue never saw it open, for example when it began after the alert."""

    __table_args__ = (UniqueConstraint("patient", "protocol", "rule", "onset_ms"),)


class Transition(Base):
    """One row of the engine, kept as it came: the log of the queue. Never changed, never removed."""

    __tablename__ = "transition"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"))
    rule: Mapped[str]
    level: Mapped[int]
    kind: Mapped[str]
    t_ms: Mapped[int]
    clock_ms: Mapped[int]
    log_offset: Mapped[int]
    """Of the log entry that made it; -1 on a tick, because nulls would not be equal to one another."""
    sentence: Mapped[str]
    features: Mapped[list[dict[str, Any]]]
    limits: Mapped[list[dict[str, Any]]]
    points: Mapped[list[dict[str, Any]]]
    version: Mapped[str]
    protocol_hash: Mapped[str]
    signed: Mapped[bool]
    kernels: Mapped[str]
    time_basis: Mapped[str]

    __table_args__ = (
        # The same row written twice is one row. The offset belongs to it: two late readings of one moment may
        # both be evidence.
        UniqueConstraint("alert_id", "rule", "kind", "t_ms", "log_offset"),
        Index("ix_transition_clock", "clock_ms", "id"),
    )


class Fence(Base):
    """The greatest token with which alerts of a partition of a log were written: an older worker's are not taken."""

    __tablename__ = "fence"

    name: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[int]
