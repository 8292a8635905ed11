"""The register's tables: patients with their identity, the cells that they were in, and all that was done.

What must never be broken is a constraint here: one follow-up for an INS at a time, one cell at a time. What was done
is never changed nor removed; the steps in `migrations/` make triggers that refuse it.
"""

from datetime import date
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Change", "Patient", "Stay"]

Json = JSON().with_variant(JSONB(), "postgresql")
RowNumber = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only what is called INTEGER


class Base(DeclarativeBase):
    """All tables of the register; names of constraints are fixed so that migrations can name them."""

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
        list[str]: Json,
        list[dict[str, Any]]: Json,
    }


class Patient(Base):
    """A follow-up of a person: `id` is what all else knows of them. Times are ms UTC.

    The columns from `ins` to `telephones` are the identity; whoever reads the others alone learns nothing of it.
    """

    __tablename__ = "patient"

    id: Mapped[str] = mapped_column(primary_key=True)
    ins: Mapped[str]
    ins_oid: Mapped[str]
    birth_name: Mapped[str]
    used_name: Mapped[str | None]
    given_name: Mapped[str]
    birth_date: Mapped[date]
    sex: Mapped[str]
    birth_place: Mapped[str]
    telephones: Mapped[list[str]]
    cell: Mapped[str]
    """The present one, or the last; `Stay` has them all."""
    protocols: Mapped[list[str]]
    language: Mapped[str]
    zone: Mapped[str | None]
    enrolled_ms: Mapped[int]
    enrolled_by: Mapped[str]
    closed_ms: Mapped[int | None]
    closed_by: Mapped[str | None]
    close_reason: Mapped[str | None]

    __table_args__ = (
        # A person who comes back is followed anew, under another id; never twice at a time.
        Index(
            "uq_patient_followed_ins",
            "ins",
            unique=True,
            sqlite_where=text("closed_ms IS NULL"),
            postgresql_where=text("closed_ms IS NULL"),
        ),
        Index("ix_patient_cell", "cell", "closed_ms"),
        Index("ix_patient_birth_date", "birth_date"),
        CheckConstraint("length(ins) = 15", name="ins"),
        CheckConstraint("sex IN ('F', 'M', 'I')", name="sex"),
        CheckConstraint(
            "(closed_ms IS NULL) = (closed_by IS NULL) AND (closed_ms IS NULL) = (close_reason IS NULL)",
            name="closed",
        ),
        CheckConstraint("closed_ms IS NULL OR closed_ms >= enrolled_ms", name="order"),
    )


class Stay(Base):
    """A time in which a patient was in a cell."""

    __tablename__ = "stay"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    patient: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    cell: Mapped[str]
    from_ms: Mapped[int]
    until_ms: Mapped[int | None]

    __table_args__ = (
        Index(
            "uq_stay_now",
            "patient",
            unique=True,
            sqlite_where=text("until_ms IS NULL"),
            postgresql_where=text("until_ms IS NULL"),
        ),
        Index("ix_stay_patient", "patient", "from_ms"),
        CheckConstraint("until_ms IS NULL OR until_ms >= from_ms", name="order"),
    )


class Change(Base):
    """One thing that somebody did, or looked at. Never changed, never removed."""

    __tablename__ = "change"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    patient: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    at_ms: Mapped[int]
    by: Mapped[str]
    """Who, as they said."""
    login: Mapped[str]
    """Who, as the machine knows them."""
    action: Mapped[str]
    """enrolled, updated, transferred, closed, or read (the identity was shown)."""
    fields: Mapped[list[dict[str, Any]]]
    """Of each field that changed: its name, what it was before, what it is since."""

    __table_args__ = (
        Index("ix_change_patient", "patient", "id"),
        CheckConstraint("action IN ('enrolled', 'updated', 'transferred', 'closed', 'read')", name="action"),
    )
