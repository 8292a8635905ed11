"""Proposals: limits of a cell that one cardiologist has tried, another signs, and that hold from a stated moment on.

=============  ==============================  ===========================================================
move           legal from                      leads to
=============  ==============================  ===========================================================
propose        –                               proposed, with the trial that speaks for it
sign           proposed, by another than the   signed: holds from the moment that was stated
               author
refuse         proposed, by another            refused, with a reason
withdraw       proposed, signed; by any        withdrawn
begin          signed, by time                 in force: the limits are put (`triage.work.cell_limits`); lapsed, where
                                               what was tried is no more what it would change
take back      in force, by any                taken back: what held before holds again
shadow         proposed, signed                runs beside, seen by nobody but who looks at it; or no more
=============  ==============================  ===========================================================

Each is a compare-and-set on the proposal's version with its entry of the audit trail, in one transaction.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, null, select, update
from sqlalchemy.exc import IntegrityError

from ingest.packet import MAX_AUTHOR
from rules.protocol import Protocol
from triage import audit, database
from triage.audit import Deed
from triage.work import cell_limits
from triage.work.cell_limits import Held
from triage.work.limits import LimitDesk, check, words
from triage.work.states import ChangedError, MoveError
from triage.work.tables import CELL_LIMIT, PROPOSAL

__all__ = ["LATEST_MS", "Change", "Proposal", "Proposals", "Stage"]

LATEST_MS: Final = 90 * 86_400_000
"""So far ahead a limit may be signed to begin: beyond, its trial is of another time."""

_CHANGED: Final = "cette proposition a changé depuis que vous l’avez affichée : relisez-la"
_VIGIE: Final = "vigie"


class Stage(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    SIGNED = "signed"
    IN_FORCE = "in_force"
    TAKEN_BACK = "taken_back"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    LAPSED = "lapsed"

    @property
    def word(self) -> str:
        """French."""
        return _WORDS[self]


_WORDS: Final = {
    Stage.PROPOSED: "à signer",
    Stage.SIGNED: "signée",
    Stage.IN_FORCE: "en vigueur",
    Stage.TAKEN_BACK: "annulée",
    Stage.WITHDRAWN: "retirée",
    Stage.REFUSED: "refusée",
    Stage.LAPSED: "caduque",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A limit that is to change; `before` None where the cell had none in force."""

    name: str
    before: float | None
    after: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as it is; times in ms UTC.

    `study`: the figures of its trial. `shadow_ms`, `shadow_until_ms`: from when until when it ran in the shadow;
    `shadow_kept`: what that found day by day, where it was kept.
    """

    id: int
    cell: str
    protocol: str
    protocol_version: str
    protocol_hash: str
    changes: tuple[Change, ...]
    comment: str
    author: str
    made_ms: int
    stage: Stage
    version: int
    signer: str | None
    signed_ms: int | None
    from_ms: int | None
    ended_by: str | None
    ended_ms: int | None
    ended_reason: str | None
    shadow_ms: int | None
    shadow_until_ms: int | None
    shadow_kept: dict[str, Any] | None
    study: dict[str, Any]

    @property
    def in_shadow(self) -> bool:
        """Whether it runs in the shadow now."""
        return self.shadow_ms is not None and self.shadow_until_ms is None


class Proposals:
    """The proposals of all cells.

    Parameters
    ----------
    engine : Engine
        Of the queue.
    protocols : sequence of Protocol
        In force.
    limits : LimitDesk
        Says what is in force.
    now_ms : callable
        The clock, ms UTC.
    """

    def __init__(
        self, engine: Engine, protocols: Sequence[Protocol], limits: LimitDesk, now_ms: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._protocols = {each.id: each for each in protocols}
        self._now_ms = now_ms

    # Seeing --------------------------------------------------------------------------------------------------

    def all(self, cells: Sequence[str], at_most: int = 100, before: int | None = None) -> list[Proposal]:
        """Give the proposals of some cells, newest first; those before a number."""
        query = _QUERY.where(PROPOSAL.c.cell.in_(cells)).order_by(PROPOSAL.c.id.desc()).limit(at_most)
        if before is not None:
            query = query.where(PROPOSAL.c.id < before)
        with self._engine.connect() as connection:
            return [_read(row) for row in connection.execute(query)]

    def get(self, number: int, cells: Sequence[str]) -> Proposal | None:
        """Give a proposal of one of some cells; None where there is none."""
        query = _QUERY.where(PROPOSAL.c.id == number, PROPOSAL.c.cell.in_(cells))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _read(row)

    def report(self, number: int) -> str:
        """Give the page of a proposal's trial."""
        with self._engine.connect() as connection:
            packed = connection.scalar(select(PROPOSAL.c.report).where(PROPOSAL.c.id == number))
        return zlib.decompress(packed or zlib.compress(b"")).decode()

    def to_sign(self, cells: Sequence[str], account: str) -> int:
        """Count what waits for somebody's signature: proposals of others."""
        query = select(func.count()).where(
            PROPOSAL.c.cell.in_(cells), PROPOSAL.c.state == Stage.PROPOSED, PROPOSAL.c.author != account
        )
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    # Moves ---------------------------------------------------------------------------------------------------

    def propose(
        self,
        cell: str,
        protocol_id: str,
        changes: Sequence[Change],
        comment: str,
        who: str,
        study: Mapping[str, Any],
        report: str,
    ) -> int:
        """Propose limits for a cell; give the proposal's number.

        Raises
        ------
        MoveError
            It is not legal; the message, in French, says what is.
        """
        protocol = self._protocols.get(protocol_id)
        if protocol is None or not changes:
            msg = "aucune limite n’est changée"
            raise MoveError(msg)
        for each in changes:
            limit = protocol.limits.get(each.name)
            if limit is None:
                msg = "cette limite n’existe pas"
                raise MoveError(msg)
            check(limit, each.after)
        if not cell_limits.reached(self._engine, cell, protocol_id, ())[1]:
            msg = (
                "aucun patient de la cellule n’est inscrit à ce protocole : personne ne recevrait ces limites"
            )
            raise MoveError(msg)
        now_ms = self._now_ms()
        said = [{"name": c.name, "from": c.before, "to": c.after} for c in changes]
        row = {
            "cell": cell, "protocol": protocol_id, "protocol_version": protocol.version,
            "protocol_hash": protocol.hash, "comment": words(comment, "commentaire"), "author": who,
            "changes": {"limits": said},
            "made_ms": now_ms, "state": Stage.PROPOSED, "version": 1, "study": dict(study),
            "report": zlib.compress(report.encode(), 9),
        }  # fmt: skip
        with database.writing(self._engine) as connection:
            made = connection.execute(PROPOSAL.insert().values(row))
            number = int(made.inserted_primary_key[0]) if made.inserted_primary_key else 0
            self._note(connection, who, "limits proposed", number, cell, protocol=protocol_id, limits=said)
        return number

    def sign(self, number: int, who: str, from_ms: int | None, version: int) -> None:
        """Sign a proposal of somebody else, to hold from a moment on (ms UTC), or at once.

        Raises
        ------
        MoveError, ChangedError
        """
        now_ms = self._now_ms()
        begin = now_ms if from_ms is None else from_ms
        if not now_ms - 60_000 <= begin <= now_ms + LATEST_MS:
            msg = "une date d’entrée en vigueur à venir, dans les 90 jours"
            raise MoveError(msg)

        def move(_connection: Connection, each: Proposal) -> dict[str, Any]:
            _legal(each, (Stage.PROPOSED,))
            if each.author == who:
                msg = "un autre cardiologue que l’auteur doit signer"
                raise MoveError(msg)
            _author(each.author, who)
            self._still(each)
            return {"state": Stage.SIGNED, "signer": who, "signed_ms": now_ms, "from_ms": begin}

        self._move(number, who, "limits signed", version, move, from_ms=begin)

    def refuse(self, number: int, who: str, reason: str, version: int) -> None:
        """Refuse a proposal of somebody else. Raises MoveError, ChangedError."""
        said = words(reason, "motif")

        def move(_connection: Connection, each: Proposal) -> dict[str, Any]:
            _legal(each, (Stage.PROPOSED,))
            if each.author == who:
                msg = "c’est la vôtre : retirez-la"
                raise MoveError(msg)
            return self._ended(each, Stage.REFUSED, who, said)

        self._move(number, who, "limits refused", version, move, reason=said)

    def withdraw(self, number: int, who: str, reason: str, version: int) -> None:
        """Withdraw what is not in force yet. Raises MoveError, ChangedError."""
        said = words(reason, "motif")

        def move(_connection: Connection, each: Proposal) -> dict[str, Any]:
            _legal(each, (Stage.PROPOSED, Stage.SIGNED))
            return self._ended(each, Stage.WITHDRAWN, who, said)

        self._move(number, who, "limits withdrawn", version, move, reason=said)

    def take_back(self, number: int, who: str, reason: str, version: int) -> None:
        """Take back what is in force: what held before holds again. Raises MoveError, ChangedError."""
        said = words(reason, "motif")

        def move(connection: Connection, each: Proposal) -> dict[str, Any]:
            _legal(each, (Stage.IN_FORCE,))
            other = self._later(connection, each)
            if other is not None:
                msg = f"la proposition n° {other} a changé la même limite depuis : annulez-la d’abord"
                raise MoveError(msg)
            cell_limits.put(
                connection, each.cell, each.protocol, self._former(connection, each),
                author=who, reason=said, proposal=number, now_ms=self._now_ms(),
            )  # fmt: skip
            return self._ended(each, Stage.TAKEN_BACK, who, said)

        self._move(number, who, "limits taken back", version, move, reason=said)

    def shadow(self, number: int, who: str, version: int, *, on: bool) -> None:
        """Let a proposal run in the shadow, or no more. Raises MoveError, ChangedError."""

        def move(_connection: Connection, each: Proposal) -> dict[str, Any]:
            _legal(each, (Stage.PROPOSED, Stage.SIGNED))
            if not on:
                return self._no_shadow(each)
            return {"shadow_ms": self._now_ms(), "shadow_until_ms": None, "shadow_kept": null()}

        self._move(number, who, "shadow begun" if on else "shadow ended", version, move)

    def unkept(self, since_ms: int) -> list[Proposal]:
        """Give whose shadow has ended from some time on (ms UTC), and is not kept; who ended first first."""
        query = (
            _QUERY.where(PROPOSAL.c.shadow_until_ms >= since_ms, PROPOSAL.c.shadow_kept.is_(None))
            .order_by(PROPOSAL.c.shadow_until_ms, PROPOSAL.c.id)
        )  # fmt: skip
        with self._engine.connect() as connection:
            return [_read(row) for row in connection.execute(query)]

    def keep_shadow(self, number: int, until_ms: int, days: Sequence[Mapping[str, Any]]) -> None:
        """Keep what a shadow that has ended then found, once: the log that it is counted from forgets."""
        # One that was begun again meanwhile is another.
        ended = (PROPOSAL.c.shadow_until_ms == until_ms) & PROPOSAL.c.shadow_kept.is_(None)
        with database.writing(self._engine) as connection:
            connection.execute(
                update(PROPOSAL)
                .where(PROPOSAL.c.id == number, ended)
                .values(shadow_kept={"days": [dict(day) for day in days]})
            )

    def begin(self) -> int:
        """Put in force what is signed and whose moment has come; give how many. For the clockwork."""
        query = (
            select(PROPOSAL.c.id, PROPOSAL.c.version)
            .where(PROPOSAL.c.state == Stage.SIGNED, PROPOSAL.c.from_ms <= self._now_ms())
            .order_by(PROPOSAL.c.from_ms, PROPOSAL.c.id)
        )
        with self._engine.connect() as connection:
            due = list(connection.execute(query))

        def move(connection: Connection, each: Proposal) -> dict[str, Any]:
            _legal(each, (Stage.SIGNED,))
            try:
                self._still(each)
            except MoveError as error:
                return self._ended(each, Stage.LAPSED, _VIGIE, str(error)) | {"action": "limits lapsed"}
            cell_limits.put(
                connection, each.cell, each.protocol, {change.name: change.after for change in each.changes},
                author=_author(each.author, each.signer or ""), reason=each.comment, proposal=each.id,
                now_ms=self._now_ms(),
            )  # fmt: skip
            return {"state": Stage.IN_FORCE, **self._no_shadow(each)}

        begun = 0
        for number, version in due:
            try:
                self._move(number, _VIGIE, "limits in force", version, move)
            except ChangedError:  # another process was first
                continue
            begun += 1
        return begun

    # ---------------------------------------------------------------------------------------------------------

    def _move(
        self,
        number: int,
        who: str,
        action: str,
        version: int,
        move: Callable[[Connection, Proposal], dict[str, Any]],
        **details: object,
    ) -> None:
        try:
            with database.writing(self._engine) as connection:
                row = connection.execute(_QUERY.where(PROPOSAL.c.id == number).with_for_update()).first()
                if row is None:
                    msg = "cette proposition n’existe pas"
                    raise MoveError(msg)
                each = _read(row)
                if each.version != version:
                    raise ChangedError(_CHANGED)
                values = move(connection, each) | {"version": version + 1}
                said = values.pop("action", action)
                connection.execute(update(PROPOSAL).where(PROPOSAL.c.id == number).values(values))
                self._note(connection, who, said, number, each.cell, **details)
        except IntegrityError as error:
            raise ChangedError(_CHANGED) from error

    def _note(
        self, connection: Connection, who: str, action: str, number: int, cell: str, **details: object
    ) -> None:
        audit.append(connection, self._now_ms(), [Deed(who, action, f"proposal {number}", cell, details)])

    def _ended(self, each: Proposal, stage: Stage, who: str, reason: str) -> dict[str, Any]:
        ended = {"ended_by": who, "ended_ms": self._now_ms(), "ended_reason": reason}
        return {"state": stage, **ended, **self._no_shadow(each)}

    def _no_shadow(self, each: Proposal) -> dict[str, Any]:
        """End the shadow where it runs; what it found can still be read."""
        return {"shadow_until_ms": self._now_ms()} if each.in_shadow else {}

    def _still(self, each: Proposal) -> None:
        """Refuse a proposal that would change something else than what was tried."""
        protocol = self._protocols.get(each.protocol)
        if protocol is None or protocol.hash != each.protocol_hash:
            msg = "le protocole a changé depuis l’essai, qui est à refaire"
            raise MoveError(msg)
        now = {known.limit.name: known.value for known in self._limits.of_cell(each.cell, protocol)}
        for change in each.changes:
            value = now.get(change.name, math.nan)
            if (None if math.isnan(value) else value) != change.before:
                msg = f"{protocol.limits[change.name].label} : changé depuis l’essai, qui est à refaire"
                raise MoveError(msg)

    @staticmethod
    def _later(connection: Connection, each: Proposal) -> int | None:
        """Give the proposal in force that was the last to change a limit of another after it; None: there is none."""
        names = [change.name for change in each.changes]
        of = (CELL_LIMIT.c.cell == each.cell) & (CELL_LIMIT.c.protocol == each.protocol)
        mine = select(func.min(CELL_LIMIT.c.id)).where(of, CELL_LIMIT.c.proposal_id == each.id)
        query = (
            select(PROPOSAL.c.id)
            .join(CELL_LIMIT, CELL_LIMIT.c.proposal_id == PROPOSAL.c.id)
            .where(of, CELL_LIMIT.c.name.in_(names), CELL_LIMIT.c.id > mine.scalar_subquery())
            .where(PROPOSAL.c.state == Stage.IN_FORCE, PROPOSAL.c.id != each.id)
            .order_by(CELL_LIMIT.c.id.desc())
            .limit(1)
        )
        found: int | None = connection.scalar(query)
        return found

    @staticmethod
    def _former(connection: Connection, each: Proposal) -> dict[str, Held | None]:
        """Give what the cell had set of each limit before a proposal, with who and why; None: nothing."""
        out: dict[str, Held | None] = {}
        for change in each.changes:
            of = (CELL_LIMIT.c.cell == each.cell) & (CELL_LIMIT.c.protocol == each.protocol)
            mine = select(func.min(CELL_LIMIT.c.id)).where(
                of, CELL_LIMIT.c.name == change.name, CELL_LIMIT.c.proposal_id == each.id
            )
            query = (
                select(CELL_LIMIT)
                .where(of, CELL_LIMIT.c.name == change.name, CELL_LIMIT.c.id < mine.scalar_subquery())
                .order_by(CELL_LIMIT.c.id.desc())
                .limit(1)
            )
            row = connection.execute(query).first()
            held = None if row is None else Held(**row._mapping)  # noqa: SLF001 - the public way to its columns
            out[change.name] = held if held is not None and held.value is not None else None
        return out


_QUERY = select(*(column for column in PROPOSAL.c if column.name != "report"))


def _read(row: Any) -> Proposal:  # noqa: ANN401 - a row of SQLAlchemy
    values = dict(row._mapping)  # noqa: SLF001 - the public way to its columns
    limits = values["changes"]["limits"]
    values["changes"] = tuple(Change(each["name"], each["from"], each["to"]) for each in limits)
    return Proposal(stage=Stage(values.pop("state")), **values)


def _legal(each: Proposal, stages: Sequence[Stage]) -> None:
    if each.stage not in stages:
        msg = f"cette proposition est {each.stage.word}"
        raise MoveError(msg)


def _author(author: str, signer: str) -> str:
    both = f"{author} et {signer}"
    if len(both.encode()) > MAX_AUTHOR:
        msg = f"les noms des deux comptes ont ensemble plus de {MAX_AUTHOR - 4} lettres"
        raise MoveError(msg)
    return both
