"""Limits of a cell: what signed proposals have put in force, and how each patient's part of the log hears of it.

A change is a row that nobody changes again; the newest of a limit is in force. The engine has no cells: it is told,
patient by patient, by acts that it keeps apart from those about a patient alone (`engine.limits`). Who comes into a
cell later is told then, who leaves it is told that its limits hold no more, and all are told again before the log
forgets. What a patient was told is a row (`CellLimitSaid`), written with the act in one transaction; what the pages
show of a patient is what those rows say, of those whose act the log has.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    String,
    and_,
    cast,
    func,
    or_,
    select,
    true,
    update,
)

from engine import acts
from rules.limits import words_of
from triage import database
from triage.work import outgoing
from triage.work.outgoing import Draft
from triage.work.tables import CELL_LIMIT, CELL_LIMIT_SAID, FOLLOWED, OUTGOING, Desk

__all__ = [
    "Held", "Teller", "Waits", "followers", "heard", "in_force", "newest", "newest_acts", "put", "reached", "steps",
    "waits",
]  # fmt: skip

AT_ONCE: Final = 1000
"""Patients told in one transaction."""

LOOK_S: Final = 60.0
"""How often it is looked for who has come into a cell, or left it, or is to hear again."""

_SAID = CELL_LIMIT_SAID
_GONE = outgoing.gone(_SAID.c.outgoing_id)

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
        return words_of("cell", "", self.author, date, self.reason)


@dataclass(frozen=True, slots=True)
class Waits:
    """Whose log has not heard yet what was said last of some limits.

    `patients` how many; `begins_ms` when the last of these acts may go, ms UTC: later than now where a clock was ahead.
    """

    patients: int
    begins_ms: int


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


def heard(connection: Connection, patient: str, *, waiting: bool = False) -> dict[Key, Held]:
    """Give the limits of the cell that a patient's log has heard of last and that hold, by (protocol, limit).

    With `waiting` as it will be when the log has what waits for it.
    """
    query = select(*CELL_LIMIT.c).join(
        _newest_said(patient, waiting=waiting), _SAID.c.limit_id == CELL_LIMIT.c.id
    )
    found = (Held(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - the public way to its columns
    return {(each.protocol, each.name): each for each in found if each.value is not None}


def newest_acts(connection: Connection, patient: str) -> dict[Key, int]:
    """Give the number in the outbox of what a patient was told last, by (protocol, limit)."""
    columns = (_SAID.c.protocol, _SAID.c.name, _SAID.c.outgoing_id)
    query = select(*columns).select_from(_newest_said(patient, waiting=True))
    said = connection.execute(query.where(_SAID.c.outgoing_id.is_not(None)))
    return {(protocol, name): number for protocol, name, number in said}


def steps(connection: Connection, patient: str, protocol: str, name: str) -> list[tuple[int, float | None]]:
    """Give from when on (ms UTC) a patient had which limit of the cell, oldest first; None: none."""
    query = (
        select(_SAID.c.t_ms, CELL_LIMIT.c.value)
        .select_from(_SAID.outerjoin(CELL_LIMIT, _SAID.c.limit_id == CELL_LIMIT.c.id))
        .where(_SAID.c.patient == patient, _SAID.c.protocol == protocol, _SAID.c.name == name, _GONE)
        .order_by(_SAID.c.id)
    )
    return [(t_ms, value) for t_ms, value in connection.execute(query)]


def followers(connection: Connection, cell: str, protocol: str) -> set[str]:
    """Give the patients of a cell who are followed by a protocol."""
    query = select(FOLLOWED.c.patient).where(_present(protocol), FOLLOWED.c.cell == cell)
    return set(connection.scalars(query))


def reached(engine: Engine, cell: str, protocol: str, names: Sequence[str]) -> tuple[int, int]:
    """Give how many patients of a cell have heard its limits as they are, all of these, and how many there are."""
    with engine.connect() as connection:
        held = newest(connection, cell)
        everyone = len(followers(connection, cell, protocol))
        told = everyone
        for name in names:
            limit = held.get((cell, protocol, name))
            last = _last(protocol, name).where(_GONE).subquery()
            query = (
                select(func.count())
                .select_from(FOLLOWED.join(last, last.c.patient == FOLLOWED.c.patient))
                .join(_SAID, _SAID.c.id == last.c.id)
                .where(_present(protocol), FOLLOWED.c.cell == cell)
                .where(_SAID.c.limit_id == (limit.id if limit else None))
            )
            told = min(told, connection.scalar(query) or 0)
    return told, everyone


def waits(engine: Engine, cell: str, protocol: str, names: Sequence[str]) -> Waits | None:
    """Say whose log has not heard yet what was said of limits of a cell, though it was; None: everybody's has."""
    found = []
    with engine.connect() as connection:
        for name in names:
            last = _last(protocol, name).subquery()
            # An act goes after what is before it for the same patient.
            before = and_(
                OUTGOING.c.patient == _SAID.c.patient,
                OUTGOING.c.sent_ms.is_(None),
                OUTGOING.c.id <= _SAID.c.outgoing_id,
            )
            query = (
                select(func.count(_SAID.c.patient.distinct()), func.max(outgoing.BEGINS_MS))
                .select_from(FOLLOWED.join(last, last.c.patient == FOLLOWED.c.patient))
                .join(_SAID, _SAID.c.id == last.c.id)
                .join(OUTGOING, before)
                .where(_present(protocol), FOLLOWED.c.cell == cell)
            )
            patients, begins_ms = connection.execute(query).one()
            if patients:
                found.append((patients, begins_ms))
    if not found:
        return None
    return Waits(max(patients for patients, _ in found), max(begins_ms for _, begins_ms in found))


def put(
    connection: Connection,
    cell: str,
    protocol: str,
    values: Mapping[str, float | Held | None],
    *,
    author: str,
    reason: str,
    proposal: int,
    now_ms: int,
) -> None:
    """Put limits of a cell in force, or take back what was set (None), in the caller's transaction.

    A `Held` in the place of a value is put again with who set it and why. IntegrityError where another did so at once.
    """
    before = newest(connection, cell)
    for name, value in values.items():
        last = before.get((cell, protocol, name))
        by, why, of, amount = (
            (value.author, value.reason, value.proposal_id, value.value)
            if isinstance(value, Held)
            else (author, reason, proposal, value)
        )
        row = {
            "cell": cell, "protocol": protocol, "name": name, "number": last.number + 1 if last else 1,
            "value": amount, "author": by, "reason": why, "proposal_id": of,
            # A clock that was set back must not make this change the older one.
            "t_ms": max(now_ms, last.t_ms + 1) if last else now_ms,
        }  # fmt: skip
        connection.execute(CELL_LIMIT.insert().values(row))


class Teller:
    """Tells patients what they have not heard, or not for a while.

    It looks at once when a limit has changed, and else now and then, for who has come or gone.

    Parameters
    ----------
    engine : Engine
        Of the queue.
    again_ms : int
        What was said longer ago is said again: the log does not keep everything for ever.
    """

    def __init__(self, engine: Engine, again_ms: int) -> None:
        self._engine = engine
        self._again_ms = again_ms
        self._looked: tuple[int, float] = (-1, -LOOK_S)

    def tell(self, now_ms: int) -> int:
        """Tell who is due; give how many were told: a limit at a time, `AT_ONCE` patients of it at most."""
        with self._engine.connect() as connection:
            last = connection.scalar(select(func.max(CELL_LIMIT.c.id)))
            before, at = self._looked
            if last is None or (last == before and time.monotonic() - at < LOOK_S):
                return 0
            limits = sorted({(protocol, name) for _, protocol, name in newest(connection)})
            due = [each for each in limits if _due(connection, *each, now_ms, self._again_ms)]
        told = 0
        for protocol, name in due:
            with database.writing(self._engine) as connection:
                # Of several processes one tells; the others find here that it is done.
                connection.execute(select(Desk.id).with_for_update()).all()
                found = _due(connection, protocol, name, now_ms, self._again_ms)
                if found:
                    _note(connection, found, _send(connection, found, now_ms), now_ms)
            told += len(found)
        if not told:
            self._looked = (last, time.monotonic())
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
    said: int | None
    """Row of what is said again."""


def _present(protocol: str) -> ColumnElement[bool]:
    follows = cast(FOLLOWED.c.programmes, String).contains(json.dumps(protocol), autoescape=True)
    return and_(FOLLOWED.c.present, follows)


def _last(protocol: str, name: str) -> Select[Any]:
    """Give the number of what each patient was told last of a limit."""
    query = select(_SAID.c.patient, func.max(_SAID.c.id).label("id"))
    return query.where(_SAID.c.protocol == protocol, _SAID.c.name == name).group_by(_SAID.c.patient)


def _newest_said(patient: str, *, waiting: bool) -> Any:  # noqa: ANN401 - the table, joined to itself
    last = (
        select(func.max(_SAID.c.id).label("id"))
        .where(_SAID.c.patient == patient, true() if waiting else _GONE)
        .group_by(_SAID.c.protocol, _SAID.c.name)
        .subquery()
    )
    return _SAID.join(last, last.c.id == _SAID.c.id)


def _due(connection: Connection, protocol: str, name: str, now_ms: int, again_ms: int) -> list[_Due]:
    of_cell = {cell: each for (cell, *key), each in newest(connection).items() if key == [protocol, name]}
    last = _last(protocol, name).subquery()
    unheard = [
        and_(FOLLOWED.c.cell == cell, _unheard(each, now_ms - again_ms)) for cell, each in of_cell.items()
    ]
    # Who has come into a cell that says nothing of this limit.
    elsewhere = and_(FOLLOWED.c.cell.not_in(list(of_cell)), _SAID.c.limit_id.is_not(None))
    query = (
        select(FOLLOWED.c.patient, FOLLOWED.c.cell, _SAID.c.id.label("said"), _SAID.c.limit_id, _SAID.c.t_ms)
        .select_from(
            FOLLOWED.outerjoin(last, last.c.patient == FOLLOWED.c.patient).outerjoin(
                _SAID, _SAID.c.id == last.c.id
            )
        )
        .where(_present(protocol), or_(*unheard, elsewhere))
        .order_by(FOLLOWED.c.patient)
        .limit(AT_ONCE)
    )
    return [_told(row, protocol, name, of_cell.get(row.cell), now_ms) for row in connection.execute(query)]


def _unheard(each: Held, before_ms: int) -> ColumnElement[bool]:
    if each.value is None:
        # Who never heard that it was set need not hear that it was taken back.
        return and_(_SAID.c.limit_id.is_not(None), _SAID.c.limit_id != each.id)
    return or_(_SAID.c.limit_id.is_(None), _SAID.c.limit_id != each.id, _SAID.c.said_ms < before_ms)


def _told(row: Any, protocol: str, name: str, each: Held | None, now_ms: int) -> _Due:  # noqa: ANN401 - a row
    # Of two acts the engine takes the newer: who changes cell must hear the other's limit as the newer one. What is
    # said again is the same act, which changes nothing.
    again = each is not None and row.limit_id == each.id
    t_ms = row.t_ms if again else max(now_ms, (row.t_ms or 0) + 1)
    said = row.said if again else None
    if each is None:
        return _Due(row.patient, protocol, name, None, "vigie", "a changé de cellule", None, t_ms, said)
    return _Due(row.patient, protocol, name, each.value, each.author, each.reason, each.id, t_ms, said)


def _note(connection: Connection, due: Sequence[_Due], numbers: Sequence[int], now_ms: int) -> None:
    new = [
        {
            "patient": each.patient, "protocol": each.protocol, "name": each.name, "limit_id": each.limit_id,
            "t_ms": each.t_ms, "said_ms": now_ms, "outgoing_id": number,
        }
        for each, number in zip(due, numbers, strict=True)
        if each.said is None
    ]  # fmt: skip
    if new:
        connection.execute(CELL_LIMIT_SAID.insert(), new)
    again = [each.said for each in due if each.said is not None]
    if again:
        connection.execute(update(CELL_LIMIT_SAID).where(_SAID.c.id.in_(again)).values(said_ms=now_ms))


def _send(connection: Connection, due: Sequence[_Due], now_ms: int) -> list[int]:
    """Put an act for each into the outbox: each goes in its patient's turn, whatever waits of another's."""
    drafts = [Draft(each.patient, each.t_ms, partial(_act, each)) for each in due]
    return outgoing.put(connection, acts.SOURCE, now_ms, drafts)


def _act(each: _Due, workplace: str, number: int) -> bytes:
    return acts.setting(
        each.patient, each.protocol, each.name, each.value, each.author, each.reason,
        of_cell=True, workplace=workplace, seq=number, t_ms=each.t_ms,
    )  # fmt: skip
