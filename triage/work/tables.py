"""Tables beside the queue's lines: who is in which cell, what waits to be written to the log, who was told what."""

from typing import Any

from sqlalchemy import CheckConstraint, Double, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from triage.tables import Base, RowNumber

__all__ = [
    "FOLLOWED",
    "LIMIT_CHANGE",
    "NOTICE",
    "OUTGOING",
    "Desk",
    "Followed",
    "LimitChange",
    "Notice",
    "Outgoing",
]


class Followed(Base):
    """A patient that the cell follows, as the enrolment says; a pseudonym, never an identity."""

    __tablename__ = "followed"

    patient: Mapped[str] = mapped_column(primary_key=True)
    cell: Mapped[str]
    programmes: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_followed_cell", "cell"),)


class Outgoing(Base):
    """A body that the engine's log has to take: an act, or readings that a nurse typed.

    Written in the transaction of the move it comes from, delivered by the process that has the log. Twice is
    harmless: device and number make it one packet.
    """

    __tablename__ = "outgoing"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    source: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    made_ms: Mapped[int]
    sent_ms: Mapped[int | None]

    __table_args__ = (
        Index(
            "ix_outgoing_waiting",
            "id",
            sqlite_where=text("sent_ms IS NULL"),
            postgresql_where=text("sent_ms IS NULL"),
        ),
    )


class Notice(Base):
    """Something that somebody must hear of: an account, else all of a role in a cell."""

    __tablename__ = "notice"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    t_ms: Mapped[int]
    cell: Mapped[str]
    role: Mapped[str]
    account: Mapped[str | None]
    kind: Mapped[str]
    episode_id: Mapped[str]
    patient: Mapped[str]
    details: Mapped[dict[str, Any]]

    __table_args__ = (Index("ix_notice_time", "t_ms"),)


class Desk(Base):
    """Name of the queue as a workplace: device of the packets that it makes. One row."""

    __tablename__ = "desk"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]

    __table_args__ = (CheckConstraint("id = 1", name="one"),)


class LimitChange(Base):
    """A change of a patient's limit by a person: never changed, never removed."""

    __tablename__ = "limit_change"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    patient: Mapped[str]
    protocol: Mapped[str]
    name: Mapped[str]
    number: Mapped[int]
    """1, 2, 3 ... of this limit of this patient: of two changes at once one is refused."""
    former: Mapped[float | None] = mapped_column(Double)
    value: Mapped[float | None] = mapped_column(Double)
    """None: what was set is taken back."""
    author: Mapped[str]
    reason: Mapped[str]
    t_ms: Mapped[int]
    said_ms: Mapped[int]
    """When it was last sent to the log."""

    __table_args__ = (UniqueConstraint("patient", "protocol", "name", "number"),)


FOLLOWED = Base.metadata.tables["followed"]
LIMIT_CHANGE = Base.metadata.tables["limit_change"]
NOTICE = Base.metadata.tables["notice"]
OUTGOING = Base.metadata.tables["outgoing"]
