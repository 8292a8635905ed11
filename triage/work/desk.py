"""The desk: moves on the lines of the queue, each a compare-and-set with its audit entry in one transaction.

What a person does (`Desk.claim` and the others) and what time does (`Desk.tick`) go the same way: the line is locked
and read, changed by a pure function, written if it is still the one that was read, and noted in the audit trail; what
the engine must know goes into the same transaction as a body for its log (`triage.work.outgoing`).
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, Select, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from engine import acts
from triage import audit, database
from triage.audit import Deed
from triage.tables import Base
from triage.work import clockwork, moves, outgoing
from triage.work.cells import cell_of
from triage.work.clockwork import Elapsed
from triage.work.notices import tell
from triage.work.outgoing import Draft
from triage.work.states import ChangedError, MoveError, Outcome, Reason, State, UnknownError, Whom
from triage.work.tables import NOTICE

__all__ = ["VIGIE", "Bulk", "Desk", "Line"]

_LOGGER = logging.getLogger("vigie")

EPISODE = Base.metadata.tables["episode"]

VIGIE: Final = "vigie"
"""Actor of what time did."""

ATTEMPTS: Final = 5
_AT_ONCE: Final = 500
_AGAIN_MS: Final = 3_600_000

Line = dict[str, Any]
Result = TypeVar("Result")
Asked = TypeVar("Asked")

CHANGING: Final = (
    "state", "version", "owner", "state_ms", "until_ms", "next_ms", "step", "answered_ms", "work", "due_ms",
    "raised_clock_ms", "ended_ms", "ended_clock_ms", "outcome",
)  # fmt: skip
"""Columns that a move may change."""


@dataclass(slots=True)
class Bulk:
    """What came of several moves: how many there were, the lines that were moved, and which were refused and why."""

    of: int
    moved: list[Line] = field(default_factory=list)
    refused: list[tuple[int, MoveError]] = field(default_factory=list)
    """By place among those that were asked for, from 0."""

    @property
    def done(self) -> int:
        """How many were moved."""
        return len(self.moved)


class Desk:
    """Moves on the lines of a queue. Safe from any thread and from several processes at once.

    Parameters
    ----------
    engine : Engine
        Of the queue (`triage.store.Store.engine`).
    now_ms : callable
        The clock, ms UTC.
    """

    def __init__(
        self, engine: Engine, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self.engine = engine
        self.now_ms = now_ms

    # Moves of a person ---------------------------------------------------------------------------------------
    # `version`, where it is given, is the one that the person saw: ChangedError where the line is another meanwhile.

    def claim(self, episode: str, who: str, *, over: bool = False, version: int | None = None) -> Line:
        """Take a line; `over` takes it from whoever has it."""

        def change(line: Line, now_ms: int) -> None:
            moves.claim(line, who, now_ms, over=over)

        return self._move(episode, who, "took over" if over else "claimed", change, version)

    def release(self, episode: str, who: str, *, version: int | None = None) -> Line:
        """Give a line back to the queue."""
        return self._move(
            episode, who, "released", lambda line, now_ms: moves.release(line, who, now_ms), version
        )

    def call(
        self,
        episode: str,
        who: str,
        outcome: Outcome,
        back_ms: int | None = None,
        *,
        version: int | None = None,
    ) -> Line:
        """Note a call."""

        def change(line: Line, now_ms: int) -> None:
            moves.call(line, who, now_ms, outcome, back_ms)

        return self._move(episode, who, "called", change, version, {"outcome": outcome.value})

    def escalate(self, episode: str, who: str, to: Whom, note: str, *, version: int | None = None) -> Line:
        """Hand a line to the cardiologist or the SAMU."""

        def change(line: Line, now_ms: int) -> None:
            moves.escalate(line, who, now_ms, to, note)

        return self._move(episode, who, "escalated", change, version, {"to": to.value, "note": note.strip()})

    def mute(self, episode: str, who: str, until_ms: int, reason: str, *, version: int | None = None) -> Line:
        """Put a line aside until a time."""

        def change(line: Line, now_ms: int) -> None:
            moves.mute(line, who, now_ms, until_ms, reason)

        return self._move(
            episode, who, "muted", change, version, {"until_ms": until_ms, "reason": reason.strip()}
        )

    def close(
        self, episode: str, who: str, reason: Reason, text: str = "", *, version: int | None = None
    ) -> Line:
        """Close a line; the engine hears of it by its log."""

        def change(line: Line, now_ms: int) -> None:
            moves.close(line, who, now_ms, reason, text)

        return self._move(
            episode, who, "closed", change, version, {"reason": reason.value, "text": text.strip()}
        )

    def reopen(self, episode: str, who: str, reason: str, *, version: int | None = None) -> Line:
        """Put a closed line before the nurses again."""

        def change(line: Line, now_ms: int) -> None:
            moves.reopen(line, who, now_ms, reason)

        return self._move(episode, who, "reopened", change, version, {"reason": reason.strip()})

    def hand_over(self, episode: str, who: str, to: str, *, version: int | None = None) -> Line:
        """Give one's own line to a colleague."""

        def change(line: Line, now_ms: int) -> None:
            moves.hand_over(line, who, to, now_ms)

        return self._move(episode, who, "handed over", change, version, {"to": to})

    def note(self, episode: str, who: str, text: str, *, version: int | None = None) -> Line:
        """Write something down about a line."""

        def change(line: Line, now_ms: int) -> None:
            moves.note(line, who, now_ms, text)

        return self._move(episode, who, "note", change, version, {"note": text.strip()})

    def bulk(self, asked: Sequence[Asked], move: Callable[[Asked], Line]) -> Bulk:
        """Make several moves, each in its own transaction: what cannot be moved holds nothing up."""
        out = Bulk(len(asked))
        for place, each in enumerate(asked):
            try:
                out.moved.append(move(each))
            except MoveError as error:
                out.refused.append((place, error))
        return out

    # Time ----------------------------------------------------------------------------------------------------

    def tick(self) -> list[Elapsed]:
        """Do what the time has come for, line by line; may be called by several processes at once."""
        now_ms = self.now_ms()
        due = (
            select(EPISODE.c.id)
            .where(EPISODE.c.ended_ms.is_(None), EPISODE.c.next_ms <= now_ms)
            .order_by(EPISODE.c.next_ms)
            .limit(_AT_ONCE)
        )
        with self.engine.connect() as connection:
            ids = list(connection.scalars(due))
        happened = []
        for episode in ids:
            elapsed = self._retried(lambda episode=episode: self._elapse(episode, now_ms))  # type: ignore[misc]
            if elapsed is not None:
                happened.append(elapsed)
        return happened

    def look_over(self) -> list[tuple[str, str]]:
        """Assert that each open line has a valid next step; give (episode, what is wrong), and say it aloud.

        A line that is wrong is put before the nurses at once, and whoever administers the cell is told, at most once
        an hour for a line. The messages say how many there were, and what was wrong: never which.
        """
        now_ms = self.now_ms()
        columns = [EPISODE.c[name] for name in ("id", "state", "owner", "until_ms", "next_ms")]
        with self.engine.connect() as connection:
            lines = connection.execute(select(*columns).where(EPISODE.c.ended_ms.is_(None))).mappings().all()
        wrong = [(str(line["id"]), clockwork.flaw(dict(line), now_ms)) for line in lines]
        wrong = [(episode, what) for episode, what in wrong if what]
        mended = Counter(
            what
            for episode, what in wrong
            if self._retried(lambda episode=episode, what=what: self._mend(episode, what, now_ms))  # type: ignore[misc]
        )
        if mended:
            told = "; ".join(f"{what} ({count})" for what, count in sorted(mended.items()))
            _LOGGER.warning(
                "lines found without a valid next step, and put before the nurses: %d: %s",
                mended.total(),
                told,
            )
        return wrong

    def _elapse(self, episode: str, now_ms: int) -> Elapsed | None:
        with database.writing(self.engine) as connection:
            line, before = self._locked(connection, episode)
            elapsed = clockwork.elapse(line, now_ms) if line["ended_ms"] is None else None
            if elapsed is None:
                return None  # another did it
            self._write(connection, line, before)
            cell = cell_of(connection, line["patient"])
            told = [(elapsed.role, elapsed.account)]
            if elapsed.owner is not None:
                told.append(("nurse", elapsed.owner))
            for role, account in told:
                tell(connection, line, now_ms, cell, elapsed.kind.value, role=role, account=account)
            # Last, here and elsewhere: who has the trail's end waits for nobody.
            details = {
                "episode": episode,
                "from": before["state"],
                "to": line["state"],
                "owner": elapsed.owner,
            }
            audit.append(
                connection, now_ms, [Deed(VIGIE, elapsed.kind.value, line["patient"], cell, details)]
            )
        return elapsed

    def _mend(self, episode: str, what: str, now_ms: int) -> bool:
        """Put a line before the nurses; false where it is well meanwhile: another did it."""
        with database.writing(self.engine) as connection:
            line, before = self._locked(connection, episode)
            if line["ended_ms"] is not None or not clockwork.flaw(line, now_ms):
                return False
            recent = select(NOTICE.c.id).where(
                NOTICE.c.episode_id == episode,
                NOTICE.c.kind == "forgotten",
                NOTICE.c.t_ms > now_ms - _AGAIN_MS,
            )
            said = connection.execute(recent).first() is not None
            moves.back(line, now_ms, "forgotten")
            line["next_ms"] = max(now_ms, line["next_ms"])
            self._write(connection, line, before)
            cell = cell_of(connection, line["patient"])
            if not said:
                for role in ("nurse", "administrator"):
                    tell(connection, line, now_ms, cell, "forgotten", role=role, details={"what": what})
            details = {"episode": episode, "what": what}
            audit.append(connection, now_ms, [Deed(VIGIE, "forgotten", line["patient"], cell, details)])
        return True

    # How -----------------------------------------------------------------------------------------------------

    def _move(
        self,
        episode: str,
        who: str,
        action: str,
        change: Callable[[Line, int], None],
        version: int | None,
        details: Mapping[str, Any] | None = None,
    ) -> Line:
        return self._retried(lambda: self._moved(episode, who, action, change, version, details or {}))

    def _moved(
        self,
        episode: str,
        who: str,
        action: str,
        change: Callable[[Line, int], None],
        version: int | None,
        details: Mapping[str, Any],
    ) -> Line:
        now_ms = self.now_ms()
        try:
            with database.writing(self.engine) as connection:
                line, before = self._locked(connection, episode)
                change(line, now_ms)
                if version is not None and version != before["version"]:
                    msg = "cette alerte a changé depuis que vous l'avez affichée : relisez-la"
                    raise ChangedError(msg)
                self._write(connection, line, before)
                cell = cell_of(connection, line["patient"])
                self._tell_of(connection, line, before, who, now_ms, cell)
                if line["state"] == State.CLOSED and before["state"] != State.CLOSED:
                    self._send_act(connection, line, now_ms)
                noted = {"episode": episode, "from": before["state"], "to": line["state"], **details}
                audit.append(connection, now_ms, [Deed(who, action, line["patient"], cell, noted)])
        except IntegrityError as error:
            # Of its patient and problem another line is open meanwhile: nothing but reopening meets this.
            msg = "une autre alerte est ouverte pour ce patient et ce problème : traitez celle-là"
            raise MoveError(msg) from error
        return line

    def _tell_of(
        self, connection: Connection, line: Line, before: RowMapping, who: str, now_ms: int, cell: str
    ) -> None:
        """Tell whoever must hear of a move: who lost the line, who got it, whom it was escalated to."""
        lost, got = before["owner"], line["owner"]
        if lost is not None and lost not in {who, got}:
            tell(connection, line, now_ms, cell, "taken over", account=lost, details={"by": who})
        if got is not None and got not in {who, lost}:
            tell(connection, line, now_ms, cell, "handed over", account=got, details={"by": who})
        asked = line["work"].get("escalated")
        # A note about what was escalated, or another who stays with it, asks nobody anew.
        if line["state"] == State.ESCALATED and asked != before["work"].get("escalated"):
            self._ask(connection, line, who, now_ms, cell)

    def _ask(self, connection: Connection, line: Line, who: str, now_ms: int, cell: str) -> None:
        """Tell whom a line was escalated to; the SAMU is called by telephone."""
        if line["work"]["escalated"]["to"] == Whom.CARDIOLOGIST:
            on_call = moves.policy_of(line).on_call("cardiologist", now_ms)
            tell(
                connection,
                line,
                now_ms,
                cell,
                "escalated",
                role="cardiologist",
                account=on_call,
                details={"by": who},
            )

    def _send_act(self, connection: Connection, line: Line, now_ms: int) -> None:
        reason = Reason(line["work"]["closed"]["reason"]).number
        place = line["patient"], line["protocol"], line["problem"]

        def make(name: str, number: int) -> bytes:
            return acts.closing(*place, reason, workplace=name, seq=number, t_ms=now_ms)

        outgoing.put(connection, acts.SOURCE, now_ms, [Draft(line["patient"], now_ms, make)])

    def _locked(self, connection: Connection, episode: str) -> tuple[Line, RowMapping]:
        query: Select[Any] = select(EPISODE).where(EPISODE.c.id == episode).with_for_update()
        before = connection.execute(query).mappings().first()
        if before is None:
            raise UnknownError
        return dict(before), before

    def _write(self, connection: Connection, line: Line, before: RowMapping) -> None:
        values = {name: line[name] for name in CHANGING if line[name] != before[name]}
        done = connection.execute(
            update(EPISODE)
            .where(EPISODE.c.id == line["id"], EPISODE.c.version == before["version"])
            .values(values)
        )
        # The row was locked when it was read: another version here would be a fault, and nothing is written.
        if done.rowcount != 1:
            msg = "cette alerte vient de changer : relisez-la"
            raise ChangedError(msg)

    def _retried(self, work: Callable[[], Result]) -> Result:
        """PostgreSQL ends one of two transactions that wait for each other; it begins again."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return work()
            except OperationalError:
                if attempt == ATTEMPTS or self.engine.dialect.name != "postgresql":
                    raise
        raise AssertionError
