"""What the queue has for the engine's log: bodies kept in the transaction of their move until the log has them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update

from triage import database
from triage.work.tables import OUTGOING, Desk

__all__ = ["Outbox", "Waiting", "put", "sent", "waiting"]


# A queue that was brought back from a backup counts from where it was: numbers used since would be taken for
# duplicates. With the time in them they are others.
_NUMBERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Waiting:
    """A body that the log does not have yet."""

    id: int
    source: str
    body: bytes
    made_ms: int


def put(connection: Connection, source: str, now_ms: int, make: Callable[[str, int], bytes]) -> None:
    """Keep a body for the log, in the caller's transaction.

    Parameters
    ----------
    connection : Connection
    source : str
        Of the log's entry.
    now_ms : int
    make : callable
        Makes the body from the desk's name (device of its packets) and a number that no other body has.
    """
    name = connection.scalar(select(Desk.name))
    row = connection.execute(OUTGOING.insert().values(source=source, body=b"", made_ms=now_ms))
    number = row.inserted_primary_key[0] if row.inserted_primary_key else 0
    body = make(str(name), now_ms * _NUMBERS + number % _NUMBERS)
    connection.execute(update(OUTGOING).where(OUTGOING.c.id == number).values(body=body))


def waiting(engine: Engine, at_most: int = 200) -> list[Waiting]:
    """Give bodies that the log does not have, oldest first."""
    query = (
        select(OUTGOING.c.id, OUTGOING.c.source, OUTGOING.c.body, OUTGOING.c.made_ms)
        .where(OUTGOING.c.sent_ms.is_(None))
        .order_by(OUTGOING.c.id)
        .limit(at_most)
    )
    with engine.connect() as connection:
        return [Waiting(*row) for row in connection.execute(query)]


def sent(engine: Engine, ids: Sequence[int], now_ms: int) -> None:
    """Note that the log has these, durably."""
    if ids:
        with database.writing(engine) as connection:
            connection.execute(update(OUTGOING).where(OUTGOING.c.id.in_(ids)).values(sent_ms=now_ms))


class Outbox:
    """The outbox of a queue, as `engine.courier.Courier` empties it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def waiting(self) -> list[Waiting]:
        """Give what the log does not have, oldest first."""
        return waiting(self._engine)

    def sent(self, ids: Sequence[int]) -> None:
        """Note that the log has these, durably."""
        sent(self._engine, ids, time.time_ns() // 1_000_000)
