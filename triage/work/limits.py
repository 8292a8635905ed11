"""Limits of a patient that a cardiologist changes: kept with who, when and why, and sent to the engine as acts.

A change is a row that nobody changes again; the newest of a limit is in force, as in the engine (`engine.limits`).
With the row go the act for the engine's log and the audit entry, in one transaction. Until the log has the act, what
held before is in force, and what was decided is shown as waiting.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, Row, Select, func, select, update
from sqlalchemy.exc import IntegrityError

from engine import acts
from ingest.packet import MAX_TEXT
from ingest.signals import MILLI
from rules.explain import limit_text
from rules.limits import LimitBook, words_of
from rules.model import Limit
from rules.protocol import Protocol
from triage import audit, database
from triage.audit import Deed
from triage.work import cell_limits, outgoing
from triage.work.cell_limits import Held
from triage.work.cells import cell_of
from triage.work.outgoing import Draft
from triage.work.states import ChangedError, MoveError
from triage.work.tables import LIMIT_CHANGE, LimitChange

__all__ = ["Concerned", "LimitDesk", "Standing", "Waits", "check", "number", "words"]

_AGAIN_AT_ONCE = 500
_LEAST_REASON = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit as it is in force for a patient.

    `value` in the limit's unit, NaN where there is none; `origin` in French; `changed`: by an act, which can be taken
    back; `version`: how often it was changed; `waits`: what was decided since and the engine has not heard yet, which
    the two before count in.
    """

    limit: Limit
    value: float
    origin: str
    changed: bool
    version: int
    waits: "Waits | None" = None


@dataclass(frozen=True, slots=True)
class Waits:
    """A limit as it will be once the log has heard of it.

    `begins_ms` is when it may, ms UTC: later than now where a clock was ahead.
    """

    value: float
    origin: str
    begins_ms: int


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom limits of a cell are for: how many patients, and of each limit how many have their own, which stays."""

    patients: int
    own: dict[str, int]


class LimitDesk:
    """Limits of patients, and their changes.

    Parameters
    ----------
    engine : Engine
        Of the queue.
    protocols : sequence of Protocol
        In force.
    book : LimitBook
        What holds where nobody changed anything.
    zone : ZoneInfo
        Of dates.
    now_ms : callable
        The clock, ms UTC.
    """

    def __init__(
        self,
        engine: Engine,
        protocols: Sequence[Protocol],
        book: LimitBook,
        zone: ZoneInfo,
        now_ms: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._protocols = {protocol.id: protocol for protocol in protocols}
        self._book = book
        self._zone = zone
        self._now_ms = now_ms

    # Seeing --------------------------------------------------------------------------------------------------

    def history(self, patient: str) -> list[LimitChange]:
        """Give all changes of a patient's limits, newest first; of protocols that are no longer there too."""
        with self._engine.connect() as connection:
            return [_change(row) for row in connection.execute(_of(patient))]

    def in_force(self, patient: str, cell: str, protocol: Protocol) -> list[Standing]:
        """Give the limits of a protocol that are in force for a patient, in its order."""
        with self._engine.connect() as connection:
            changes = [
                each
                for each in map(_change, connection.execute(_of(patient)))
                if each.protocol == protocol.id
            ]
            held = cell_limits.heard(connection, patient)
            begins = outgoing.begins(connection, patient)
            if not begins:
                return [
                    self._standing(changes, held, patient, cell, protocol, name) for name in protocol.limits
                ]
            to_hold = cell_limits.heard(connection, patient, waiting=True)
            acts_of = cell_limits.newest_acts(connection, patient)
        gone = [each for each in changes if each.outgoing_id not in begins]
        out = []
        for name in protocol.limits:
            now = self._standing(gone, held, patient, cell, protocol, name)
            decided = self._standing(changes, to_hold, patient, cell, protocol, name)
            own = next((each.outgoing_id for each in changes if each.name == name), None)
            due = [
                begins[n] for n in (own, acts_of.get((protocol.id, name))) if n is not None and n in begins
            ]
            out.append(_waiting(now, decided, max(due)) if due else now)
        return out

    def of_cell(self, cell: str, protocol: Protocol) -> list[Standing]:
        """Give the limits of a protocol for a patient of a cell who has none of their own, in its order.

        Those that features are computed from, as a dry weight, are a patient's alone and not among them.
        """
        alone = {each.limit for each in protocol.features.values() if each.limit}
        with self._engine.connect() as connection:
            held = cell_limits.in_force(connection, cell)
        return [
            self._standing((), held, "", cell, protocol, name)
            for name in protocol.limits
            if name not in alone
        ]

    def concerned(self, cell: str, protocol: Protocol, names: Sequence[str]) -> Concerned:
        """Count whom some limits of a cell would be for."""
        with self._engine.connect() as connection:
            patients = cell_limits.followers(connection, cell, protocol.id)
            newest = [
                _change(row)
                for row in connection.execute(
                    select(LIMIT_CHANGE).where(LIMIT_CHANGE.c.id.in_(_newest()))
                    .where(LIMIT_CHANGE.c.protocol == protocol.id, LIMIT_CHANGE.c.name.in_(names))
                )
            ]  # fmt: skip
        own: dict[str, set[str]] = {
            name: {each for each in patients if self._book.of_patient(protocol.id, name, each)}
            for name in names
        }
        for each in newest:
            limit = protocol.limits[each.name]
            if each.patient in patients and each.value is not None and limit.min <= each.value <= limit.max:
                own[each.name].add(each.patient)
        return Concerned(len(patients), {name: len(whose) for name, whose in own.items()})

    def held(self, cell: str) -> dict[tuple[str, str], float]:
        """Give the limits of a cell that proposals have put in force, by (protocol, limit)."""
        with self._engine.connect() as connection:
            found = cell_limits.in_force(connection, cell)
        out = {}
        for (owner, name), each in found.items():
            limit = self._protocols[owner].limits.get(name) if owner in self._protocols else None
            # What is no limit of the protocol as it is now, or out of its range, holds for nobody.
            if limit is not None and each.value is not None and limit.min <= each.value <= limit.max:
                out[owner, name] = each.value
        return out

    def steps(self, patient: str, cell: str, protocol: Protocol, name: str) -> list[tuple[int, float]]:
        """Give from when on (ms UTC) which value was in force, oldest first; the first from ever on, at 0."""
        with self._engine.connect() as connection:
            begins = outgoing.begins(connection, patient)
        mine = [
            each
            for each in reversed(self.history(patient))
            if (each.protocol, each.name) == (protocol.id, name) and each.outgoing_id not in begins
        ]
        usual = self._book.resolve(protocol.id, name, cell, patient)[0]
        of_cell: list[tuple[int, float | None]] = []
        if not self._book.of_patient(protocol.id, name, patient):
            with self._engine.connect() as connection:
                of_cell = cell_limits.steps(connection, patient, protocol.id, name)
        own: float | None = None
        theirs: float | None = None
        first = usual if not mine or of_cell or mine[0].former is None else mine[0].former
        out = [(0, first)]
        both = [(each.t_ms, True, each.value) for each in mine] + [(t, False, value) for t, value in of_cell]
        for t_ms, is_own, value in sorted(both, key=lambda each: each[:2]):
            own, theirs = (value, theirs) if is_own else (own, value)
            out.append((t_ms, next(each for each in (own, theirs, usual) if each is not None)))
        return out

    def _standing(
        self,
        changes: Sequence[LimitChange],
        held: Mapping[tuple[str, str], Held],
        patient: str,
        cell: str,
        protocol: Protocol,
        name: str,
    ) -> Standing:
        limit = protocol.limits[name]
        mine = [each for each in changes if each.name == name]
        version = mine[0].number if mine else 0
        # What is outside the range of the protocol as it is now, the engine does not take either.
        legal = [each for each in mine if each.value is None or limit.min <= each.value <= limit.max]
        if legal and legal[0].value is not None:
            newest = legal[0]
            date = datetime.fromtimestamp(newest.t_ms / 1000, self._zone).date()
            origin = words_of("patient", "", newest.author, date, newest.reason)
            return Standing(limit, legal[0].value, origin, changed=True, version=version)
        of_cell = held.get((protocol.id, name))
        if of_cell is not None and of_cell.value is not None:
            within = limit.min <= of_cell.value <= limit.max  # of the protocol as it is now
            if within and not self._book.of_patient(protocol.id, name, patient):
                origin = of_cell.origin(self._zone)
                return Standing(limit, of_cell.value, origin, changed=False, version=version)
        value, origin = self._book.resolve(protocol.id, name, cell, patient)
        return Standing(limit, value, origin, changed=False, version=version)

    # Changing ------------------------------------------------------------------------------------------------

    def change(
        self,
        patient: str,
        protocol_id: str,
        name: str,
        value: float | None,
        reason: str,
        who: str,
        *,
        version: int | None = None,
    ) -> Standing:
        """Set a patient's limit, or take back what was set.

        Parameters
        ----------
        patient, protocol_id, name : str
        value : float or None
            In the limit's unit, at most three decimals; None takes back.
        reason : str
            3 characters to 240 bytes.
        who : str
            Account.
        version : int, optional
            The one that was seen.

        Raises
        ------
        MoveError
            It is not legal; the message, in French, says what is.
        ChangedError
            Somebody changed it meanwhile.
        """
        protocol = self._protocols.get(protocol_id)
        if protocol is None or name not in protocol.limits:
            msg = "cette limite n’existe pas"
            raise MoveError(msg)
        limit = protocol.limits[name]
        reason = words(reason, "motif")
        if value is not None:
            check(limit, value)
        try:
            with database.writing(self._engine) as connection:
                cell = cell_of(connection, patient)
                rows = connection.execute(_of(patient))
                changes = [each for each in map(_change, rows) if each.protocol == protocol_id]
                held = cell_limits.heard(connection, patient, waiting=True)
                now = self._standing(changes, held, patient, cell, protocol, name)
                _possible(now, value, version)
                self._write(connection, patient, cell, protocol_id, changes, now, value, reason, who)
        except IntegrityError as error:
            raise ChangedError(_CHANGED) from error
        with self._engine.connect() as connection:
            cell = cell_of(connection, patient)
        return next(each for each in self.in_force(patient, cell, protocol) if each.limit.name == name)

    def _write(  # noqa: PLR0913, PLR0917 - the columns of a row
        self,
        connection: Connection,
        patient: str,
        cell: str,
        protocol: str,
        changes: Sequence[LimitChange],
        now: Standing,
        value: float | None,
        reason: str,
        who: str,
    ) -> None:
        name = now.limit.name
        before = [each.t_ms for each in changes if each.name == name]
        now_ms = self._now_ms()
        # Of two acts the engine takes the newer: a clock that was set back must not make this one the older.
        t_ms = max(now_ms, *(each + 1 for each in before[:1])) if before else now_ms
        former = None if math.isnan(now.value) else now.value
        row = {
            "patient": patient, "protocol": protocol, "name": name, "number": now.version + 1, "former": former,
            "value": value, "author": who, "reason": reason, "t_ms": t_ms, "said_ms": now_ms,
        }  # fmt: skip
        (sent,) = _send(connection, [LimitChange(**row)], now_ms)
        connection.execute(LIMIT_CHANGE.insert().values(row | {"outgoing_id": sent}))
        details = {"protocol": protocol, "limit": name, "from": former, "to": value, "reason": reason}
        action = "limit taken back" if value is None else "limit set"
        audit.append(connection, now_ms, [Deed(who, action, patient, cell, details)])

    def say_again(self, every_ms: int) -> int:
        """Send the acts of limits in force once more where that was longer ago than `every_ms`; give how many.

        The log does not keep everything for ever, and a state that is made anew from it must find every limit there.
        """
        now_ms = self._now_ms()
        query = (
            select(LIMIT_CHANGE)
            .where(LIMIT_CHANGE.c.id.in_(_newest()), LIMIT_CHANGE.c.value.is_not(None))
            .where(LIMIT_CHANGE.c.said_ms < now_ms - every_ms)
            .order_by(LIMIT_CHANGE.c.id)
            .limit(_AGAIN_AT_ONCE)
            .with_for_update()
        )
        with database.writing(self._engine) as connection:
            rows = [_change(row) for row in connection.execute(query)]
            if not rows:
                return 0
            _send(connection, rows, now_ms)
            said = update(LIMIT_CHANGE).where(LIMIT_CHANGE.c.id.in_([each.id for each in rows]))
            connection.execute(said.values(said_ms=now_ms))
        return len(rows)


def _newest() -> Select[Any]:
    """Give the newest change of each limit of each patient."""
    of = (LIMIT_CHANGE.c.patient, LIMIT_CHANGE.c.protocol, LIMIT_CHANGE.c.name)
    return select(func.max(LIMIT_CHANGE.c.id)).group_by(*of)


_CHANGED = "cette limite a changé depuis que vous l’avez affichée : relisez-la"


def number(text: str, limit: Limit) -> float:
    """Read a value with a decimal comma or point.

    Raises
    ------
    MoveError
        It is no number; what is legal is said.
    """
    plain = text.strip().replace("\N{NO-BREAK SPACE}", "").replace(" ", "").replace(",", ".")
    whole, _, part = plain.partition(".")
    if not (whole.isascii() and whole.isdecimal() and (not part or (part.isascii() and part.isdecimal()))):
        msg = f"{limit.label} : un nombre, {_range(limit)}"
        raise MoveError(msg)
    return float(plain)


def check(limit: Limit, value: float) -> None:
    """Refuse a value that a limit cannot have. Raises MoveError, which says what is legal."""
    if not limit.min <= value <= limit.max:
        msg = f"{limit.label} : {limit_text(value)} {limit.unit} n’est pas possible ; {_range(limit)}"
        raise MoveError(msg)
    if round(value * MILLI) / MILLI != value:
        msg = f"{limit.label} : trois décimales au plus"
        raise MoveError(msg)


def _possible(now: Standing, value: float | None, version: int | None) -> None:
    if version is not None and version != now.version:
        raise ChangedError(_CHANGED)
    if value is None and not now.changed:
        msg = "cette limite n’a pas été changée pour ce patient : il n’y a rien à retirer"
        raise MoveError(msg)
    if value is not None and now.changed and value == now.value:
        msg = "c’est déjà la limite en vigueur"
        raise MoveError(msg)


def words(text: str, what: str) -> str:
    """Give what a person wrote, where an act can hold it: one line of 3 characters to 240 bytes.

    Raises
    ------
    MoveError
        It cannot; `what` is what the message calls it, in French.
    """
    plain = " ".join(text.split())
    if len(plain) < _LEAST_REASON:
        msg = f"un {what} est nécessaire : quelques mots"
        raise MoveError(msg)
    try:
        size = len(plain.encode())
    except UnicodeEncodeError:
        size = MAX_TEXT + 1
    if size > MAX_TEXT or not plain.isprintable():
        msg = f"{what} : {MAX_TEXT} lettres au plus, sans caractère spécial"
        raise MoveError(msg)
    return plain


def _waiting(now: Standing, decided: Standing, begins_ms: int) -> Standing:
    """Give what is in force with what waits, where that is anything else."""
    same = now.origin == decided.origin and (now.value == decided.value or math.isnan(decided.value))
    waits = None if same else Waits(decided.value, decided.origin, begins_ms)
    return replace(now, changed=decided.changed, version=decided.version, waits=waits)


def _send(connection: Connection, changes: Sequence[LimitChange], now_ms: int) -> list[int]:
    drafts = [Draft(each.patient, each.t_ms, partial(_act, each)) for each in changes]
    return outgoing.put(connection, acts.SOURCE, now_ms, drafts)


def _act(each: LimitChange, workplace: str, number: int) -> bytes:
    return acts.setting(
        each.patient, each.protocol, each.name, each.value, each.author, each.reason,
        workplace=workplace, seq=number, t_ms=each.t_ms,
    )  # fmt: skip


def _of(patient: str) -> Select[Any]:
    return select(LIMIT_CHANGE).where(LIMIT_CHANGE.c.patient == patient).order_by(LIMIT_CHANGE.c.id.desc())


def _change(row: Row[Any]) -> LimitChange:
    return LimitChange(**row._mapping)  # noqa: SLF001 - the public way to a row's columns


def _range(limit: Limit) -> str:
    return f"de {limit_text(limit.min)} à {limit_text(limit.max)} {limit.unit}".rstrip()
