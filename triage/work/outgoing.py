"""What the queue has for the engine's log: bodies kept in the transaction of their move until the log has them.

A body is about one patient: what may not go yet holds up what came later for that patient, and nobody else's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from engine.courier import Held
from kernels.reading import FUTURE_MS
from triage import database
from triage.work.tables import OUTGOING, Desk

__all__ = ["BEGINS_MS", "Draft", "Outbox", "Waiting", "begins", "gone", "put", "ready", "sent", "waiting"]


# A queue that was brought back from a backup counts from where it was: numbers used since would be taken for
# duplicates. With the time in them they are others.
_NUMBERS = 1 << 16


_UNSENT = OUTGOING.c.sent_ms.is_(None)


def _dated_ms(table: FromClause) -> ColumnElement[int]:
    return func.coalesce(table.c.t_ms, table.c.made_ms)  # of a body of before: when it was made


BEGINS_MS: Final = _dated_ms(OUTGOING) - FUTURE_MS
"""When a body may go, for what is asked of the table: earlier, the line takes it for the future and refuses it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A body that is to be made.

    Parameters
    ----------
    patient : str
        Whom all its packets are about.
    t_ms : int
        The greatest time of its packets, ms UTC: it goes when the log's machine would not take that for the future.
    make : callable
        Makes the body from the desk's name (device of its packets) and a number that no other body has.
    """

    patient: str
    t_ms: int
    make: Callable[[str, int], bytes]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A body that the log does not have yet."""

    id: int
    source: str
    body: bytes
    made_ms: int


def put(connection: Connection, source: str, now_ms: int, drafts: Sequence[Draft]) -> list[int]:
    """Keep bodies for the log, in the caller's transaction; give their numbers in the outbox.

    Parameters
    ----------
    connection : Connection
    source : str
        Of the log's entries.
    now_ms : int
    drafts : sequence of Draft
        One at least.
    """
    name = str(connection.scalar(select(Desk.name)))
    rows = [
        {"source": source, "body": b"", "made_ms": now_ms, "patient": each.patient, "t_ms": each.t_ms}
        for each in drafts
    ]
    made = connection.execute(OUTGOING.insert().returning(OUTGOING.c.id, sort_by_parameter_order=True), rows)
    numbers = list(made.scalars())
    bodies = [
        {"number": number, "made": each.make(name, now_ms * _NUMBERS + number % _NUMBERS)}
        for number, each in zip(numbers, drafts, strict=True)
    ]
    filled = update(OUTGOING).where(OUTGOING.c.id == bindparam("number")).values(body=bindparam("made"))
    connection.execute(filled, bodies)
    return numbers


def waiting(engine: Engine, at_most: int = 200) -> list[Waiting]:
    """Give bodies that the log does not have, whether they may go yet or not, oldest first."""
    with engine.connect() as connection:
        return _read(connection, _oldest(at_most))


def ready(engine: Engine, until_ms: int, at_most: int = 200) -> tuple[list[Waiting], Held | None]:
    """Give bodies that the log can have, oldest first, and what waits; see `engine.courier.Outbox`."""
    ahead = and_(_UNSENT, _dated_ms(OUTGOING) > until_ms)
    with engine.connect() as connection:
        columns = (func.min(OUTGOING.c.id), func.min(_dated_ms(OUTGOING)), func.max(_dated_ms(OUTGOING)))
        first, first_ms, last_ms = connection.execute(select(*columns).where(ahead)).one()
        if first is None:
            return _read(connection, _oldest(at_most)), None
        # Bodies of before this was kept say nothing of their patients, and may be about many.
        of_anybody = connection.scalar(
            select(func.min(OUTGOING.c.id)).where(ahead, OUTGOING.c.patient.is_(None))
        )
        free = _free(until_ms, first, of_anybody)
        letters = _read(connection, _oldest(at_most).where(free))
        everything = connection.scalar(select(func.count()).select_from(OUTGOING).where(_UNSENT)) or 0
        going = connection.scalar(select(func.count()).select_from(OUTGOING).where(_UNSENT, free)) or 0
    return letters, Held(everything - going, first_ms, last_ms)


def _free(until_ms: int, first: int, of_anybody: int | None) -> ColumnElement[bool]:
    """Give the condition that nothing which is ahead holds a body up; the first that is, and the first of anybody."""
    other = OUTGOING.alias()
    older = exists().where(
        other.c.patient == OUTGOING.c.patient,
        other.c.id < OUTGOING.c.id,
        other.c.sent_ms.is_(None),
        _dated_ms(other) > until_ms,
    )
    known = or_(OUTGOING.c.patient.is_not(None), OUTGOING.c.id < first)
    free = and_(_dated_ms(OUTGOING) <= until_ms, ~older, known)
    return free if of_anybody is None else and_(free, OUTGOING.c.id < of_anybody)


def _oldest(at_most: int) -> Select[Any]:
    columns = (OUTGOING.c.id, OUTGOING.c.source, OUTGOING.c.body, OUTGOING.c.made_ms)
    return select(*columns).where(_UNSENT).order_by(OUTGOING.c.id).limit(at_most)


def _read(connection: Connection, query: Select[Any]) -> list[Waiting]:
    return [Waiting(*row) for row in connection.execute(query)]


def gone(number: ColumnElement[int | None]) -> ColumnElement[bool]:
    """Give the condition that the log has a body, by its number; of none, as before numbers were kept, it has it."""
    return ~exists().where(OUTGOING.c.id == number, _UNSENT)


def begins(connection: Connection, patient: str) -> dict[int, int]:
    """Give when each body about a patient that the log does not have may go (ms UTC), by its number.

    It goes in its turn: not before those that came earlier.
    """
    query = (
        select(OUTGOING.c.id, BEGINS_MS).where(_UNSENT, OUTGOING.c.patient == patient).order_by(OUTGOING.c.id)
    )
    out: dict[int, int] = {}
    last = 0
    for number, begins_ms in connection.execute(query):
        last = out[number] = max(last, begins_ms)
    return out


def sent(engine: Engine, ids: Sequence[int], now_ms: int) -> None:
    """Note that the log has these, durably."""
    if ids:
        with database.writing(engine) as connection:
            connection.execute(update(OUTGOING).where(OUTGOING.c.id.in_(ids)).values(sent_ms=now_ms))


class Outbox:
    """The outbox of a queue, as `engine.courier.Courier` empties it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ready(self, until_ms: int) -> tuple[list[Waiting], Held | None]:
        """Give what the log can have, oldest first, and what waits."""
        return ready(self._engine, until_ms)

    def sent(self, ids: Sequence[int]) -> None:
        """Note that the log has these, durably."""
        sent(self._engine, ids, time.time_ns() // 1_000_000)
