"""The audit trail: who did or saw what, and when; each entry chained to the one before by its hash.

An entry is written in the transaction of what it tells of: there is no deed without its entry, no entry without its
deed. Nobody changes or removes one (the database refuses it), and who gets around the database breaks the chain:
`verify` says where. A chain says nothing of entries cut off at its end; the head, noted elsewhere, does.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import CheckConstraint, Connection, Engine, Index, Text, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from triage.tables import Base

__all__ = [
    "ENTRY",
    "HEAD",
    "START",
    "Deed",
    "Entry",
    "Head",
    "Verified",
    "append",
    "entries",
    "episodes_since",
    "hold",
    "read",
    "text_of",
    "verify",
]

START: Final = "0" * 64
"""What the first entry is chained to."""

MOST_DETAILS: Final = 16_384
"""Characters of the details of an entry."""

_READ = 5000


class Entry(Base):
    """One thing that somebody did or saw."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3 ... without a gap."""
    t_ms: Mapped[int]
    actor: Mapped[str]
    """Name of an account, or ``vigie`` for what the clockwork did."""
    action: Mapped[str]
    subject: Mapped[str]
    """Of whom or what: a patient's pseudonym, an account, a source."""
    cell: Mapped[str]
    """Empty where it concerns none."""
    details: Mapped[str] = mapped_column(Text)
    """JSON text, kept to the letter because the hash is of it."""
    hash: Mapped[str]

    __table_args__ = (
        Index("ix_audit_subject", "subject", "id"),
        Index("ix_audit_actor", "actor", "id"),
    )


class Head(Base):
    """The end of the chain: one row, locked by whoever adds to it."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entry: Mapped[int]
    hash: Mapped[str]

    __table_args__ = (CheckConstraint("id = 1", name="one"),)


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be noted.

    Parameters
    ----------
    actor, action, subject, cell : str
        See `Entry`.
    details : dict
        Of JSON values. Never an identity: the trail is read by those who may not see one.
    """

    actor: str
    action: str
    subject: str
    cell: str = ""
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found: entries read, hash of the last, and what is wrong ("" where nothing is)."""

    entries: int
    head: str
    problem: str = ""


ENTRY = Base.metadata.tables["audit"]
HEAD = Base.metadata.tables["audit_head"]


def hold(connection: Connection) -> None:
    """Hold the trail's end until the caller's transaction ends; others wait for it. SQLite has one writer anyway."""
    connection.execute(select(HEAD.c.entry).with_for_update())


def append(connection: Connection, t_ms: int, deeds: Sequence[Deed]) -> int:
    """Add entries, in the caller's transaction; return the number of the last.

    Raises
    ------
    ValueError
        The details of a deed are no JSON, or too long.
    """
    if not deeds:
        return 0
    # Locked to the end of the transaction: entries are in the order of their commits. SQLite has one writer anyway.
    at, chained = connection.execute(select(HEAD.c.entry, HEAD.c.hash).with_for_update()).one()
    rows = []
    for deed in deeds:
        row = {
            "id": at + 1,
            "t_ms": t_ms,
            "actor": deed.actor,
            "action": deed.action,
            "subject": deed.subject,
            "cell": deed.cell,
            "details": text_of(deed.details or {}),
        }
        chained = _hash(chained, row)
        at += 1
        rows.append(row | {"hash": chained})
    connection.execute(ENTRY.insert(), rows)
    connection.execute(update(HEAD).values(entry=at, hash=chained))
    return int(at)


def entries(  # noqa: PLR0913 - what can be searched for
    engine: Engine,
    *,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    episode: str | None = None,
    cells: Sequence[str] | None = None,
    before: int | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    at_most: int = 200,
) -> list[Entry]:
    """Give entries, newest first.

    Parameters
    ----------
    engine : Engine
    subject, actor, action, episode : str, optional
        Only those of it; of `episode` those whose details name this line of the queue.
    cells : sequence of str, optional
        Only those that concern one of these cells.
    before : int, optional
        Only those with a smaller number.
    since_ms, until_ms : int, optional
        Only those from then on, or before then.
    at_most : int
    """
    query = select(ENTRY).order_by(ENTRY.c.id.desc()).limit(at_most)
    if subject is not None:
        query = query.where(ENTRY.c.subject == subject)
    if actor is not None:
        query = query.where(ENTRY.c.actor == actor)
    if action is not None:
        query = query.where(ENTRY.c.action == action)
    if episode is not None:
        named = f'"episode":{json.dumps(episode, ensure_ascii=False)}'
        query = query.where(ENTRY.c.details.contains(named, autoescape=True))
    if since_ms is not None:
        query = query.where(ENTRY.c.t_ms >= since_ms)
    if until_ms is not None:
        query = query.where(ENTRY.c.t_ms < until_ms)
    if cells is not None:
        query = query.where(ENTRY.c.cell.in_(cells))
    if before is not None:
        query = query.where(ENTRY.c.id < before)
    with engine.connect() as connection:
        return [Entry(**row) for row in connection.execute(query).mappings()]


def episodes_since(engine: Engine, number: int, at_most: int = 500) -> list[str]:
    """Give the lines of the queue that the entries after `number` speak of."""
    query = select(ENTRY.c.details).where(ENTRY.c.id > number).order_by(ENTRY.c.id.desc()).limit(at_most)
    with engine.connect() as connection:
        found = (json.loads(details).get("episode") for details in connection.scalars(query))
        return list(dict.fromkeys(episode for episode in found if isinstance(episode, str)))


def read(engine: Engine, after: int = 0) -> Iterator[dict[str, Any]]:
    """Give all entries after number `after` in their order, for an export: columns of `Entry`, `details` as text."""
    with engine.connect() as connection:
        while True:
            query = select(ENTRY).where(ENTRY.c.id > after).order_by(ENTRY.c.id).limit(_READ)
            rows = [dict(row) for row in connection.execute(query).mappings()]
            if not rows:
                return
            after = rows[-1]["id"]
            yield from rows


def verify(engine: Engine, expected: str = "") -> Verified:
    """Go through the whole chain.

    Parameters
    ----------
    engine : Engine
    expected : str
        Hash of an entry that was noted before, the head of then: it must still be there.
    """
    chained = START
    count = 0
    met = not expected
    for row in read(engine):
        if row["id"] != count + 1:
            return Verified(count, chained, f"entry {count + 1} is missing: {row['id']} follows {count}")
        claimed = row.pop("hash")
        chained = _hash(chained, row)
        if chained != claimed:
            return Verified(count, chained, f"entry {row['id']} is not what was written, or not in its place")
        met = met or chained == expected
        count += 1
    with engine.connect() as connection:
        head = connection.execute(select(HEAD.c.entry, HEAD.c.hash)).one()
        # One who writes meanwhile is no fault.
        later = connection.scalar(select(func.count()).select_from(ENTRY).where(ENTRY.c.id > count)) or 0
    if not later and (count, chained) != tuple(head):
        return Verified(count, chained, f"the trail ends at entry {count}; the head says {head[0]}")
    if not met:
        return Verified(
            count, chained, f"no entry has the hash {expected}: entries were cut off, or replaced"
        )
    return Verified(count, chained)


def text_of(details: dict[str, Any]) -> str:
    """Write details as the trail keeps them.

    Raises
    ------
    ValueError
        They are no JSON, or too long.
    """
    text = json.dumps(details, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    if len(text) > MOST_DETAILS:
        msg = f"details: {len(text)} characters; legal are 0 to {MOST_DETAILS}"
        raise ValueError(msg)
    return text


def _hash(before: str, row: dict[str, Any]) -> str:
    """Hash an entry with the one before it; each field with its length, so that none can flow into the next."""
    digest = hashlib.sha256(before.encode())
    for name in ("id", "t_ms", "actor", "action", "subject", "cell", "details"):
        value = str(row[name]).encode()
        digest.update(f"{len(value)}:".encode() + value)
    return digest.hexdigest()
