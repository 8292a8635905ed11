"""The queue's store: takes the engine's rows, keeps one open line for a patient and a protocol's problem.

`Store.apply` may be given the same rows again, in other batches and by several processes: what is new is
decided by the database (``ON CONFLICT``), inside the transaction that acts on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
from sqlalchemy import Connection, Engine, Select, Table, bindparam, func, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from engine.fence import FencedError
from engine.progress import SILENT, Progress
from rules.alerts import SCHEMA, Happening
from rules.levels import Level
from triage import database
from triage.episode import Line, follow
from triage.order import BY_URGENCY
from triage.policy import Policy
from triage.tables import Alert, Base, Episode, Transition
from triage.work.cells import cell_of
from triage.work.notices import tell

__all__ = ["Applied", "Store", "file_of", "open"]

CHUNK = 1000
"""Rows to a statement: 18 columns each, under SQLite's 32,766 parameters."""

FILE_CHUNK = 10_000
"""Rows of a file that are in memory at once, and in one transaction."""

ATTEMPTS = 5
"""PostgreSQL asks a writer to begin again when two meet on one line; SQLite makes them wait."""

NUMBERING = 0x56_49_47_49_46
"""PostgreSQL advisory lock of who writes rows: "VIGIF". Rows are read by rising number, so numbers rise in the order of
the commits: one that commits late, with a number lower than one read already, would be seen by nobody. Of the speed of
four writers at once it takes a third (measured: 1,050 rows of alerts a second and not 1,600)."""

EPISODE = Base.metadata.tables["episode"]
ALERT = Base.metadata.tables["alert"]
TRANSITION = Base.metadata.tables["transition"]
FENCE = Base.metadata.tables["fence"]

LISTS = ("features", "limits", "points")

KEY = ("alert_id", "rule", "kind", "t_ms", "log_offset")
"""What makes two rows of the engine the same row."""

PLACE = ("patient", "protocol", "problem")
"""What has one open line."""

CHANGING = [column.name for column in EPISODE.columns if column.name not in {"id", *PLACE}]
"""Columns of an episode that its life may change."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What `Store.apply` did; rows that were there already count in `repeated`."""

    new: int = 0
    repeated: int = 0
    opened: int = 0
    raised: int = 0
    ended: int = 0

    def __add__(self, other: "Applied") -> "Applied":
        return Applied(
            self.new + other.new,
            self.repeated + other.repeated,
            self.opened + other.opened,
            self.raised + other.raised,
            self.ended + other.ended,
        )


def file_of(url: str | Path) -> Path | None:
    """Give the file of a queue on SQLite; None where a server keeps it.

    Raises
    ------
    ValueError
        Where `url` is not an address.
    """
    where = database.address(url)
    on_disk = where.get_backend_name() == "sqlite" and where.database
    return Path(where.database) if on_disk and where.database else None


def open(  # noqa: A001 - reads as triage.store.open
    url: str | Path, policy: Policy | None = None, *, create: bool = True
) -> "Store":
    """Open the queue at `url` and bring its tables to this version.

    Parameters
    ----------
    url : str or Path
        A path is an SQLite file; else ``sqlite:///path`` or ``postgresql+psycopg://...``.
    policy : Policy
        Answer limits of the episodes that will open.
    create : bool
        Whether to make an SQLite file that is not there.

    Raises
    ------
    FileNotFoundError
        Where there is no such file, and it is not to be made, or its folder is missing.
    ValueError
        Where `url` is not an address, or the queue was written by a newer version of Vigie.
    """
    where = database.address(url)
    if where.get_backend_name() == "sqlite" and where.database:
        file = Path(where.database)
        if not file.parent.is_dir():
            msg = f"{file}: there is no folder {file.parent}"
            raise FileNotFoundError(msg)
        if not create and not file.exists():
            msg = f"{file}: there is no queue here"
            raise FileNotFoundError(msg)
    engine = database.connect(where)
    try:
        database.upgrade(engine)
    except DBAPIError as error:
        engine.dispose()
        msg = f"{where.database or where.render_as_string()}: not a queue: {error.orig}"
        raise ValueError(msg) from error
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, policy or Policy())


class Store:
    """The queue in a database.

    Parameters
    ----------
    engine : Engine
        Of `triage.database.connect`, tables at this version.
    policy : Policy
        Answer limits of the episodes that will open.
    """

    def __init__(self, engine: Engine, policy: Policy) -> None:
        self._engine = engine
        self._policy = policy
        self._insert = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """The pool of connections, for what works on the queue's lines (`triage.work`)."""
        return self._engine

    @property
    def policy(self) -> Policy:
        """What is frozen into the episodes that will open."""
        return self._policy

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def fence(self, name: str, token: int) -> None:
        """Take no alerts of `name` any more from who has a smaller token.

        Raises
        ------
        FencedError
            A greater one was here.
        """
        with database.writing(self._engine) as connection:
            self._hold(connection, name, token)

    def _hold(self, connection: Connection, name: str, token: int) -> None:
        # The row stays locked until the end of the transaction: who comes with a greater token waits for it.
        row = self._insert(FENCE).values(name=name, token=token)
        held = connection.execute(
            row.on_conflict_do_update(
                index_elements=["name"], set_={"token": token}, where=FENCE.c.token <= token
            ).returning(FENCE.c.token)
        ).first()
        if held is None:
            msg = f"{name}: a worker with a greater token than {token} writes its alerts"
            raise FencedError(msg)

    def apply(self, alerts: pl.DataFrame, fence: tuple[str, int] | None = None) -> Applied:
        """Take rows of the engine, in their order, all or none.

        Parameters
        ----------
        alerts : DataFrame
            Columns of `rules.alerts.SCHEMA`. Rows of one patient in the order in which the engine wrote them.
        fence : (str, int), optional
            Name and token of who writes, where there may be another: see `fence`.

        Returns
        -------
        Applied
            What changed. When this returns it is durable.

        Raises
        ------
        ValueError
            Where a column is missing, a value is null, or a level or a kind is not known; nothing is written.
        FencedError
            Another writes, with a greater token; nothing is written.
        """
        _check(alerts)
        if alerts.is_empty():
            return Applied()
        applied = Applied()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with database.writing(self._engine) as connection:
                    if fence is not None:
                        self._hold(connection, *fence)
                    applied = self._parts(connection, alerts)
                break
            except (IntegrityError, OperationalError) as error:
                if self._engine.dialect.name == "postgresql" and attempt < ATTEMPTS:
                    continue
                if not isinstance(error, IntegrityError):
                    raise
                msg = f"alerts: these rows contradict the queue: {error.orig}"
                raise ValueError(msg) from error
        return applied

    def apply_file(self, path: Path, progress: Progress = SILENT) -> Applied:
        """Take all rows of an alerts file, a part at a time, as `apply` does; again is harmless.

        Parameters
        ----------
        path : Path
            Parquet, columns of `rules.alerts.SCHEMA`.
        progress : Progress
            Told of rows.
        """
        rows = pl.scan_parquet(path)
        count = rows.select(pl.len()).collect().item()
        progress.step("queue", count, "alert rows")
        applied = Applied()
        for at in range(0, count, FILE_CHUNK):
            part = rows.slice(at, FILE_CHUNK).collect()
            applied += self.apply(part)
            progress.advance(len(part))
        return applied

    def queue(self, *, patient: str | None = None, at_most: int | None = None) -> list[Episode]:
        """Give the open lines, who is called next first.

        Parameters
        ----------
        patient : str
            Only this patient's.
        at_most : int
            Only so many.
        """
        query = select(Episode).where(Episode.ended_ms.is_(None)).order_by(*BY_URGENCY).limit(at_most)
        if patient is not None:
            query = query.where(Episode.patient == patient)
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(query))

    def waiting(self) -> dict[Level, int]:
        """Count the open lines of each level."""
        query = select(Episode.level, func.count()).where(Episode.ended_ms.is_(None)).group_by(Episode.level)
        with self._engine.connect() as connection:
            found = {Level(level): int(count) for level, count in connection.execute(query)}
        return {level: found.get(level, 0) for level in sorted(Level, reverse=True)}

    def oldest(self) -> dict[Level, tuple[int, int | None]]:
        """Give, for each level, how many lines are open and the receipt clock at which the oldest came to it."""
        query = (
            select(Episode.level, func.count(), func.min(Episode.raised_clock_ms))
            .where(Episode.ended_ms.is_(None))
            .group_by(Episode.level)
        )
        with self._engine.connect() as connection:
            found = {Level(level): (int(count), ms) for level, count, ms in connection.execute(query)}
        return {level: found.get(level, (0, None)) for level in sorted(Level, reverse=True)}

    def episode(self, episode_id: str) -> Episode | None:
        """Give an episode, open or ended; None where there is none of that id."""
        with Session(self._engine, expire_on_commit=False) as session:
            return session.get(Episode, episode_id)

    def log(self, episode_id: str) -> list[Transition]:
        """Give all that the engine said of an episode, in its order."""
        query = (
            select(Transition)
            .join(Alert, Alert.id == Transition.alert_id)
            .where(Alert.episode_id == episode_id)
            .order_by(Transition.id)
        )
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(query))

    def clock_ms(self) -> int | None:
        """Give the newest receipt clock that any row brought; None while the queue never had one."""
        with self._engine.connect() as connection:
            newest: int | None = connection.scalar(select(func.max(TRANSITION.c.clock_ms)))
        return newest

    def _parts(self, connection: Connection, alerts: pl.DataFrame) -> Applied:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": NUMBERING})
        applied = Applied()
        to_tell: list[_News] = []
        for part in alerts.iter_slices(CHUNK):
            applied += self._chunk(connection, part, to_tell)
        # Last: who tells holds what everybody who moves a line waits for, and must wait for no line any more.
        for owner, line, clock_ms in to_tell:
            # Who has a line in hand hears that the patient got worse, or that it is over.
            kind = "worse" if line["ended_ms"] is None else "ended"
            tell(connection, line, clock_ms, cell_of(connection, line["patient"]), kind, account=owner)
        return applied

    def _chunk(self, connection: Connection, part: pl.DataFrame, to_tell: list["_News"]) -> Applied:
        rows = _rows(part)
        known = self._write_alerts(connection, rows)
        new = self._write_transitions(connection, rows)
        lines = _Lines(connection, new, known)
        for row in new:
            lines.follow(row, self._policy)
        lines.write(self._insert)
        to_tell += lines.to_tell
        return Applied(len(new), len(rows) - len(new), lines.opened, lines.raised, lines.ended)

    def _write_alerts(self, connection: Connection, rows: list[dict[str, Any]]) -> set[str]:
        """Write alerts that are not there; return the ids of those that were."""
        alerts: dict[str, dict[str, Any]] = {}
        for row in rows:
            alert = {
                "id": row["alert_id"],
                "patient": row["patient"],
                "protocol": row["protocol"],
                "rule": row["opened_by"],
                "problem": row["problem"],
                "onset_ms": row["onset_ms"],
            }
            _same(alerts.setdefault(alert["id"], alert), alert)
        # Only the id: another id for the same firing is an error of the engine, and is told.
        query = self._insert(ALERT).on_conflict_do_nothing(index_elements=["id"]).returning(ALERT.c.id)
        known = set(alerts) - set(connection.scalars(query, list(alerts.values())))
        for kept in connection.execute(select(ALERT).where(ALERT.c.id.in_(known))).mappings():
            _same(dict(kept), alerts[kept["id"]])
        return known

    def _write_transitions(self, connection: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write rows that are not there; return these, in their order."""
        first: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            first.setdefault(tuple(row[name] for name in KEY), row)
        names = [column.name for column in TRANSITION.columns if column.name != "id"]
        values = [{name: row[name] for name in names} for row in first.values()]
        query = (
            self._insert(TRANSITION)
            .on_conflict_do_nothing(index_elements=list(KEY))
            .returning(TRANSITION.c.id, *(TRANSITION.c[name] for name in KEY))
        )
        written = {tuple(row[1:]): row[0] for row in connection.execute(query, values)}
        return [row | {"id": written[key]} for key, row in first.items() if key in written]


_News = tuple[str, Line, int]
"""Who had a line, the line as it is now, and when, by the receipt clock."""


class _Lines:
    """The lines that rows may change: the open ones of their patients, the ended ones of their alerts."""

    def __init__(self, connection: Connection, rows: list[dict[str, Any]], known: set[str]) -> None:
        self._connection = connection
        self._open: dict[tuple[str, ...], Line] = {}
        self._ended: dict[str, Line] = {}
        self._touched: dict[str, Line] = {}
        self._episode_of: dict[str, str] = {}
        self.to_tell: list[_News] = []
        self.opened = self.raised = self.ended = 0
        places = sorted({_place(row) for row in rows})
        again = sorted(known & {row["alert_id"] for row in rows})
        at = tuple_(*(EPISODE.c[name] for name in PLACE))
        still_open = EPISODE.c.ended_ms.is_(None)
        # Locked where the database can, so that two writers do not both start from the same line.
        for line in self._read(select(EPISODE).where(still_open, at.in_(places)).with_for_update()):
            self._open[_place(line)] = line
        for line in self._read(select(EPISODE).where(~still_open, EPISODE.c.id.in_(again))):
            self._ended[line["id"]] = line

    def follow(self, row: dict[str, Any], policy: Policy) -> None:
        """Let `row` act on its line."""
        place = _place(row)
        before = self._open.pop(place, None)
        level = before["level"] if before else 0
        had = (before["owner"], before["version"]) if before else (None, 0)
        line = follow(before or self._ended.get(row["alert_id"]), row, policy)
        if line is None:
            return
        if had[0] is not None and line["version"] != had[1]:
            self.to_tell.append((had[0], dict(line), row["clock_ms"]))
        self._touched[line["id"]] = line
        self._episode_of.setdefault(row["alert_id"], line["id"])
        if line["ended_ms"] is None:
            self._open[place] = line
            self._ended.pop(line["id"], None)
            self.opened += before is None
            self.raised += before is not None and line["level"] > level
        else:
            self._ended[line["id"]] = line
            self.ended += before is not None

    def write(self, insert: Callable[[Table], Any]) -> None:
        """Write the lines that changed, the ended ones first: their place may be taken again."""
        lines = sorted(self._touched.values(), key=lambda line: line["ended_ms"] is None)
        if lines:
            query = insert(EPISODE)
            changed = {name: query.excluded[name] for name in CHANGING}
            self._connection.execute(query.on_conflict_do_update(index_elements=["id"], set_=changed), lines)
        if self._episode_of:
            query = (
                update(ALERT)
                .where(ALERT.c.id == bindparam("alert"), ALERT.c.episode_id.is_(None))
                .values(episode_id=bindparam("episode"))
            )
            pairs = [{"alert": alert, "episode": episode} for alert, episode in self._episode_of.items()]
            self._connection.execute(query, pairs)

    def _read(self, query: Select[Any]) -> list[Line]:
        return [dict(row) for row in self._connection.execute(query).mappings()]


def _place(line: dict[str, Any]) -> tuple[str, ...]:
    return tuple(line[name] for name in PLACE)


def _same(kept: dict[str, Any], said: dict[str, Any]) -> None:
    """Refuse an alert id that stands for two alerts."""
    strange = [name for name in said if kept[name] != said[name]]
    if strange:
        told = ", ".join(f"{name} {kept[name]!r} and {said[name]!r}" for name in strange)
        msg = f"alerts: these rows contradict the queue: alert {said['id']} has {told}"
        raise ValueError(msg)


def _check(alerts: pl.DataFrame) -> None:
    """Refuse a frame that is not the engine's, saying why."""
    missing = [name for name in SCHEMA if name not in alerts.columns]
    if missing:
        msg = f"alerts: no column {', '.join(missing)}; the columns are those of rules.alerts.SCHEMA"
        raise ValueError(msg)
    empty = [name for name in SCHEMA if name != "offset" and alerts[name].null_count()]
    if empty:
        msg = f"alerts: null in column {', '.join(empty)}; legal only in offset, on a tick"
        raise ValueError(msg)
    for name, legal in (("level", [level.name for level in Level]), ("kind", list(Happening))):
        strange = alerts.filter(~pl.col(name).is_in(legal))[name]
        if len(strange):
            msg = f"alerts: {name} {strange[0]!r}; legal are {', '.join(legal)}"
            raise ValueError(msg)


def _rows(alerts: pl.DataFrame) -> list[dict[str, Any]]:
    """Give rows as the tables take them: levels as numbers, lists as JSON, all at once."""
    # JSON has no NaN: what is undetermined is null there.
    value = pl.when(pl.field("value").is_finite()).then(pl.field("value"))
    finite = pl.element().struct.with_fields(value.alias("value"))
    frame = alerts.select(
        pl.exclude("offset", *LISTS),
        pl.col("offset").fill_null(-1).alias("log_offset"),
        *(pl.struct(pl.col(name).list.eval(finite)).struct.json_encode().alias(name) for name in LISTS),
    )
    rows = frame.to_dicts()
    for row in rows:
        row["level"] = Level[row["level"]].value
        for name in LISTS:
            # Without the struct around it: {"points":[...]}
            row[name] = database.Encoded(row[name][len(name) + 4 : -1])
    return rows
