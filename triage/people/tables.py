"""Tables of people. Whatever opens a door (password, session, token, recovery code) is here as a hash only.

The secret of a second factor cannot be a hash, since codes are computed from it. It is sealed with a key that is not
in the database (`triage.people.seal`), and in a table of its own: queries about accounts ask it for a date only.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from triage.tables import Base, Json, RowNumber

__all__ = ["Account", "ApiToken", "Opening", "Recovery", "SecondFactor", "Session"]


class Account(Base):
    """Somebody who may sign in. Never removed, since the audit trail names it; times are ms UTC."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(primary_key=True)
    display: Mapped[str]
    role: Mapped[str]
    cells: Mapped[list[str]] = mapped_column(Json)
    password: Mapped[str | None]
    """Argon2id with its parameters; none for who comes by OpenID Connect only."""
    once: Mapped[bool]
    """The password is for one sign-in, at which another must be set."""
    once_until_ms: Mapped[int | None]
    failures: Mapped[int]
    """Wrong attempts since the last sign-in."""
    locked_until_ms: Mapped[int]
    disabled_ms: Mapped[int | None]
    created_ms: Mapped[int]
    created_by: Mapped[str]
    subject: Mapped[str | None] = mapped_column(unique=True)
    """What the OpenID provider calls this person, for example a RPPS number."""

    __table_args__ = (
        CheckConstraint("role IN ('nurse', 'cardiologist', 'operator', 'administrator')", name="role"),
        CheckConstraint("once = (once_until_ms IS NOT NULL)", name="once"),
        CheckConstraint("failures >= 0", name="failures"),
    )


class SecondFactor(Base):
    """The secret from which an account's codes are computed, sealed; and one that was offered and not confirmed yet."""

    __tablename__ = "second_factor"

    account: Mapped[str] = mapped_column(ForeignKey("account.name"), primary_key=True)
    sealed: Mapped[str | None]
    since_ms: Mapped[int | None]
    step: Mapped[int]
    """The last step of 30 s whose code was taken; neither it nor an older one is taken again."""
    offered: Mapped[str | None]
    offered_ms: Mapped[int | None]

    __table_args__ = (
        CheckConstraint("(sealed IS NULL) = (since_ms IS NULL)", name="sealed"),
        CheckConstraint("(offered IS NULL) = (offered_ms IS NULL)", name="offered"),
    )


class Recovery(Base):
    """A code for who has lost the second factor; good once."""

    __tablename__ = "recovery"

    hash: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    used_ms: Mapped[int | None]


class Session(Base):
    """Somebody who is signed in. A row that is removed, or over, opens nothing. No address of anybody is kept."""

    __tablename__ = "session"

    hash: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of a token of 256 random bits: guessing is out of reach without a slow hash."""
    account: Mapped[str] = mapped_column(ForeignKey("account.name"), index=True)
    created_ms: Mapped[int]
    seen_ms: Mapped[int]
    """Of the last request, to the minute."""
    idle_until_ms: Mapped[int]
    until_ms: Mapped[int] = mapped_column(index=True)
    second: Mapped[bool]
    """The second factor was shown."""
    csrf: Mapped[str]

    __table_args__ = (CheckConstraint("until_ms > created_ms", name="until"),)


class ApiToken(Base):
    """A program that may act as an account, until a date."""

    __tablename__ = "api_token"

    hash: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("account.name"))
    name: Mapped[str]
    scope: Mapped[str]
    created_ms: Mapped[int]
    created_by: Mapped[str]
    until_ms: Mapped[int]
    revoked_ms: Mapped[int | None]
    used_ms: Mapped[int | None]

    __table_args__ = (
        UniqueConstraint("account", "name"),
        CheckConstraint("scope IN ('read', 'work')", name="scope"),
    )


class Opening(Base):
    """Somebody opened a patient of another cell, and why: free text, so it is here and not in the trail."""

    __tablename__ = "opening"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    account: Mapped[str] = mapped_column(ForeignKey("account.name"))
    patient: Mapped[str]
    cell: Mapped[str]
    reason: Mapped[str]
    from_ms: Mapped[int]
    until_ms: Mapped[int]

    __table_args__ = (
        Index("ix_opening_account", "account", "until_ms"),
        CheckConstraint("until_ms > from_ms", name="until"),
    )
