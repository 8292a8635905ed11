"""Limits of a cell: what signed proposals have put in force, and how each patient's part of the log hears of it.

A change is a row that nobody changes again; the newest of a limit is in force. The engine has no cells: it is told,
patient by patient, by acts that it keeps apart from those about a patient alone (`engine.limits`). Who comes into a
cell later is told then, who leaves it is told that its limits hold no more, and all are told again before the log
forgets. What a patient was last told is a row (`CellLimitSaid`), written with the act in one transaction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, String, and_, cast, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from engine import acts
from rules.limits import words_of
from triage import database
from triage.work import outgoing
from triage.work.tables import CELL_LIMIT, CELL_LIMIT_SAID, FOLLOWED

__all__ = ["Held", "in_force", "newest", "put", "steps", "tell"]

AT_ONCE: Final = 1000
"""Patients told in one transaction."""

_A_BODY: Final = 200

Key = tuple[str, str]
"""Protocol and name of a limit."""


@dataclass(frozen=True, slots=True)
class Held:
    """The newest change of a limit of a cell; `value` None where it was taken back."""

    id: int
    cell: str
    protocol: str
    name: str
    number: int
    value: float | None
    author: str
    reason: str
    t_ms: int
    proposal_id: int

    def origin(self, zone: ZoneInfo) -> str:
        """Say in French where the limit comes from, as alerts do."""
        date = datetime.fromtimestamp(self.t_ms / 1000, zone).date()
        return words_of("cell", self.cell, self.author, date, self.reason)


def newest(connection: Connection, cell: str | None = None) -> dict[tuple[str, str, str], Held]:
    """Give the newest change of each limit, by (cell, protocol, limit); of one cell, or of all."""
    last = select(func.max(CELL_LIMIT.c.id)).group_by(
        CELL_LIMIT.c.cell, CELL_LIMIT.c.protocol, CELL_LIMIT.c.name
    )
    query = select(CELL_LIMIT).where(CELL_LIMIT.c.id.in_(last))
    if cell is not None:
        query = query.where(CELL_LIMIT.c.cell == cell)
    found = (Held(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - the public way to its columns
    return {(each.cell, each.protocol, each.name): each for each in found}


def in_force(connection: Connection, cell: str) -> dict[Key, Held]:
    """Give the limits of a cell that hold, by (protocol, limit)."""
    found = newest(connection, cell).items()
    return {(protocol, name): each for (_, protocol, name), each in found if each.value is not None}


def steps(connection: Connection, cell: str, protocol: str, name: str) -> list[tuple[int, float | None]]:
    """Give from when on (ms UTC) a cell had which value of a limit, oldest first; None: none of its own."""
    query = (
        select(CELL_LIMIT.c.t_ms, CELL_LIMIT.c.value)
        .where(CELL_LIMIT.c.cell == cell, CELL_LIMIT.c.protocol == protocol, CELL_LIMIT.c.name == name)
        .order_by(CELL_LIMIT.c.id)
    )
    return [(t_ms, value) for t_ms, value in connection.execute(query)]


def put(
    connection: Connection,
    cell: str,
    protocol: str,
    values: Mapping[str, float | None],
    *,
    author: str,
    reason: str,
    proposal: int,
    now_ms: int,
) -> None:
    """Put limits of a cell in force, or take back what was set (None), in the caller's transaction.

    IntegrityError where another did so at once.
    """
    before = newest(connection, cell)
    for name, value in values.items():
        last = before.get((cell, protocol, name))
        row = {
            "cell": cell, "protocol": protocol, "name": name, "number": last.number + 1 if last else 1,
            "value": value, "author": author, "reason": reason, "proposal_id": proposal,
            # A clock that was set back must not make this change the older one.
            "t_ms": max(now_ms, last.t_ms + 1) if last else now_ms,
        }  # fmt: skip
        connection.execute(CELL_LIMIT.insert().values(row))


def tell(engine: Engine, now_ms: int, again_ms: int) -> int:
    """Tell patients what they have not heard, or not for `again_ms`; give how many were told.

    A limit at a time, `AT_ONCE` patients of it at most: to be called again until nobody is left.
    """
    with engine.connect() as connection:
        held = newest(connection)
    told = 0
    for protocol, name in sorted({(protocol, name) for _, protocol, name in held}):
        with database.writing(engine) as connection:
            due = _due(connection, protocol, name, now_ms, again_ms)
            for at in range(0, len(due), _A_BODY):
                _send(connection, due[at : at + _A_BODY], now_ms)
            _note(connection, due, now_ms)
        told += len(due)
    return told


@dataclass(frozen=True, slots=True)
class _Due:
    """What a patient is to be told."""

    patient: str
    protocol: str
    name: str
    value: float | None
    author: str
    reason: str
    limit_id: int | None
    t_ms: int


def _due(connection: Connection, protocol: str, name: str, now_ms: int, again_ms: int) -> list[_Due]:
    of_cell = {cell: each for (cell, *key), each in newest(connection).items() if key == [protocol, name]}
    said = CELL_LIMIT_SAID
    heard = and_(said.c.patient == FOLLOWED.c.patient, said.c.protocol == protocol, said.c.name == name)
    unheard = [
        and_(FOLLOWED.c.cell == cell, _unheard(each, now_ms - again_ms)) for cell, each in of_cell.items()
    ]
    # Who has come into a cell that says nothing of this limit.
    elsewhere = and_(FOLLOWED.c.cell.not_in(list(of_cell)), said.c.limit_id.is_not(None))
    query = (
        select(FOLLOWED.c.patient, FOLLOWED.c.cell, said.c.limit_id, said.c.t_ms)
        .select_from(FOLLOWED.outerjoin(said, heard))
        .where(or_(*unheard, elsewhere))
        .where(cast(FOLLOWED.c.programmes, String).contains(json.dumps(protocol), autoescape=True))
        .order_by(FOLLOWED.c.patient)
        .limit(AT_ONCE)
    )
    return [_told(row, protocol, name, of_cell.get(row.cell), now_ms) for row in connection.execute(query)]


def _unheard(each: Held, before_ms: int) -> Any:  # noqa: ANN401 - a condition of SQLAlchemy
    said = CELL_LIMIT_SAID
    if each.value is None:
        # Who never heard that it was set need not hear that it was taken back.
        return and_(said.c.limit_id.is_not(None), said.c.limit_id != each.id)
    return or_(said.c.limit_id.is_(None), said.c.limit_id != each.id, said.c.said_ms < before_ms)


def _told(row: Any, protocol: str, name: str, each: Held | None, now_ms: int) -> _Due:  # noqa: ANN401 - a row
    # Of two acts the engine takes the newer: who changes cell must hear the other's limit as the newer one. What is
    # said again is the same act, which changes nothing.
    same = each is not None and row.limit_id == each.id
    t_ms = row.t_ms if same else max(now_ms, (row.t_ms or 0) + 1)
    if each is None:
        return _Due(row.patient, protocol, name, None, "vigie", "a changé de cellule", None, t_ms)
    return _Due(row.patient, protocol, name, each.value, each.author, each.reason, each.id, t_ms)


def _note(connection: Connection, due: Sequence[_Due], now_ms: int) -> None:
    rows = [
        {
            "patient": each.patient, "protocol": each.protocol, "name": each.name, "limit_id": each.limit_id,
            "t_ms": each.t_ms, "said_ms": now_ms,
        }
        for each in due
    ]  # fmt: skip
    if rows:
        query = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(CELL_LIMIT_SAID)
        new = {name: query.excluded[name] for name in ("limit_id", "t_ms", "said_ms")}
        keys = ["patient", "protocol", "name"]
        connection.execute(query.on_conflict_do_update(index_elements=keys, set_=new), rows)


def _send(connection: Connection, due: Sequence[_Due], now_ms: int) -> None:
    def bodies(workplace: str, number: int) -> bytes:
        return b"".join(
            acts.setting(
                each.patient, each.protocol, each.name, each.value, each.author, each.reason,
                of_cell=True, workplace=workplace, seq=number, t_ms=each.t_ms,
            )
            for each in due
        )  # fmt: skip

    outgoing.put(connection, acts.SOURCE, now_ms, bodies)
