"""Tables beside the queue's lines: who is in which cell, what waits to be written to the log, who was told what."""

from typing import Any

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, LargeBinary, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column

from triage.tables import Base, RowNumber

__all__ = [
    "CELL_LIMIT",
    "CELL_LIMIT_SAID",
    "FOLLOWED",
    "LIMIT_CHANGE",
    "NOTICE",
    "OUTGOING",
    "PROPOSAL",
    "CellLimit",
    "CellLimitSaid",
    "Desk",
    "Followed",
    "LimitChange",
    "Notice",
    "Outgoing",
    "Proposal",
]


class Followed(Base):
    """A patient that the cell follows, as the enrolment says; a pseudonym, never an identity."""

    __tablename__ = "followed"

    patient: Mapped[str] = mapped_column(primary_key=True)
    cell: Mapped[str]
    programmes: Mapped[dict[str, Any]]
    present: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the newest enrolment has them, and their follow-up goes on."""

    __table_args__ = (Index("ix_followed_cell", "cell"),)


class Outgoing(Base):
    """A body about a patient that the engine's log has to take: an act, or readings that a nurse typed.

    Written in the transaction of the move it comes from, delivered by the process that has the log. Twice is
    harmless: device and number make it one packet.
    """

    __tablename__ = "outgoing"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    source: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    made_ms: Mapped[int]
    sent_ms: Mapped[int | None]
    patient: Mapped[str | None]
    """None: of before this was kept, about one patient or many."""
    t_ms: Mapped[int | None]
    """The greatest time of its packets; None: of before this was kept."""

    __table_args__ = (
        Index(
            "ix_outgoing_waiting",
            "id",
            sqlite_where=text("sent_ms IS NULL"),
            postgresql_where=text("sent_ms IS NULL"),
        ),
        Index(
            "ix_outgoing_patient",
            "patient",
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
    """When it was last put into the outbox."""
    outgoing_id: Mapped[int | None]
    """The act in the outbox, the first time: the engine goes by it once that is sent. None: of before this was kept."""

    __table_args__ = (UniqueConstraint("patient", "protocol", "name", "number"),)


class Proposal(Base):
    """Limits of a cell that a cardiologist proposes, with the trial that speaks for them, and what became of it."""

    __tablename__ = "proposal"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    cell: Mapped[str]
    protocol: Mapped[str]
    protocol_version: Mapped[str]
    protocol_hash: Mapped[str]
    changes: Mapped[dict[str, Any]]
    """``{"limits": [{"name", "from", "to"}]}``; `from` null where there was none."""
    comment: Mapped[str]
    author: Mapped[str]
    made_ms: Mapped[int]
    state: Mapped[str]
    version: Mapped[int]
    signer: Mapped[str | None]
    signed_ms: Mapped[int | None]
    from_ms: Mapped[int | None]
    """From when on it is to hold, or holds."""
    ended_by: Mapped[str | None]
    ended_ms: Mapped[int | None]
    ended_reason: Mapped[str | None]
    shadow_ms: Mapped[int | None]
    """Since when it runs in the shadow, or ran; null: it never did."""
    shadow_until_ms: Mapped[int | None]
    """Until when it ran; null: it runs, or never did."""
    shadow_kept: Mapped[dict[str, Any] | None]
    """``{"days": [{"day", "base", "changed", "gained", "lost"}]}``: what a shadow that ended was seen to have found."""
    study: Mapped[dict[str, Any]]
    report: Mapped[bytes] = mapped_column(LargeBinary)
    """The page of the trial, by zlib."""

    __table_args__ = (Index("ix_proposal_cell", "cell", "id"),)


class CellLimit(Base):
    """A change of a cell's limit by a signed proposal, or its taking back: never changed, never removed."""

    __tablename__ = "cell_limit"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    cell: Mapped[str]
    protocol: Mapped[str]
    name: Mapped[str]
    number: Mapped[int]
    value: Mapped[float | None] = mapped_column(Double)
    """None: what was set is taken back."""
    author: Mapped[str]
    reason: Mapped[str]
    t_ms: Mapped[int]
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposal.id"))

    __table_args__ = (UniqueConstraint("cell", "protocol", "name", "number"),)


class CellLimitSaid(Base):
    """What a patient's log was told of a limit of the cell, by an act; the newest of a limit is what holds."""

    __tablename__ = "cell_limit_said"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    patient: Mapped[str]
    protocol: Mapped[str]
    name: Mapped[str]
    limit_id: Mapped[int | None] = mapped_column(ForeignKey("cell_limit.id"))
    """None: that none holds."""
    t_ms: Mapped[int]
    """Time of the act."""
    said_ms: Mapped[int]
    """When it was last put into the outbox."""
    outgoing_id: Mapped[int | None]
    """The act in the outbox, the first time: the engine goes by it once that is sent. None: of before this was kept."""

    __table_args__ = (Index("ix_cell_limit_said_patient", "patient", "protocol", "name", "id"),)


CELL_LIMIT = Base.metadata.tables["cell_limit"]
CELL_LIMIT_SAID = Base.metadata.tables["cell_limit_said"]
FOLLOWED = Base.metadata.tables["followed"]
LIMIT_CHANGE = Base.metadata.tables["limit_change"]
NOTICE = Base.metadata.tables["notice"]
OUTGOING = Base.metadata.tables["outgoing"]
PROPOSAL = Base.metadata.tables["proposal"]
