"""The register of patients: who is followed, in which cell, by which protocols, and what was done, by whom.

Reading it gives `Followed`, which says nothing of who somebody is; the person is asked for separately, and that this
was done is noted. What is new is decided by the database, so that two who enrol one person get one follow-up.
"""

import os
import pwd
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, RowMapping, Select, select, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from engine.enrolment import Enrolled
from engine.progress import SILENT, Progress
from triage import database
from triage.identity.admission import CHUNK, Admission, Entry, Taken
from triage.identity.errors import RegisterError
from triage.identity.person import Care, Person, one_line
from triage.identity.pseudonym import is_one
from triage.identity.tables import Base

__all__ = ["MIGRATIONS", "Changed", "Followed", "Register", "Stayed", "open"]

MIGRATIONS = Path(__file__).parent / "migrations"

PATIENT = Base.metadata.tables["patient"]
STAY = Base.metadata.tables["stay"]
CHANGE = Base.metadata.tables["change"]

APART = (
    "id",
    "cell",
    "protocols",
    "language",
    "zone",
    "enrolled_ms",
    "enrolled_by",
    "closed_ms",
    "closed_by",
)
"""Columns that say nothing of who somebody is. The reason of an end is free text, so it is not one of them."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A follow-up, without the identity; times are ms UTC, `closed_ms` and `closed_by` None while it goes on."""

    id: str
    cell: str
    protocols: tuple[str, ...]
    language: str
    zone: str | None
    enrolled_ms: int
    enrolled_by: str
    closed_ms: int | None
    closed_by: str | None


@dataclass(frozen=True, slots=True)
class Stayed:
    """A time in a cell; `until_ms` is None where it goes on."""

    cell: str
    from_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True, repr=False)
class Changed:
    """What somebody did: fields are those that changed, each with ``before`` and ``after``, which may be identity."""

    at_ms: int
    by: str
    login: str
    action: str
    fields: tuple[dict[str, Any], ...]

    def __repr__(self) -> str:
        """Give what may stand in a log."""
        return f"Changed({self.action}, {[each['field'] for each in self.fields]})"


def open(  # noqa: A001 - reads as register.open
    url: str | Path, *, create: bool = True, dry_run: bool = False
) -> "Register":
    """Open the register at `url` and bring its tables to this version.

    Parameters
    ----------
    url : str or Path
        A path is an SQLite file, made with mode 0600; else ``sqlite:///path`` or ``postgresql+psycopg://...``. Not
        the queue's.
    create : bool
        Whether to make an SQLite file that is not there.
    dry_run : bool
        Whether an SQLite file that is not there is to be an empty register in memory instead.

    Raises
    ------
    FileNotFoundError
        Where there is no such file, and it is not to be made, or its folder is missing.
    PermissionError
        Where others than the owner may read or write the file.
    ValueError
        Where `url` is not an address, or the database is no register, or of a newer version of Vigie.
    """
    where = database.address(url)
    if where.get_backend_name() == "sqlite" and where.database:
        file = Path(where.database)
        if dry_run and not file.exists():
            where = database.address("sqlite://")
        else:
            _own_file(file, create=create)
    engine = database.connect(where)
    try:
        database.upgrade(engine, migrations=MIGRATIONS)
    except DBAPIError as error:
        engine.dispose()
        msg = f"{_named(where)}: not a register: {error.orig}"
        raise ValueError(msg) from None
    except BaseException:
        engine.dispose()
        raise
    return Register(engine)


def _named(where: URL) -> str:
    return (
        where.database
        if where.get_backend_name() == "sqlite" and where.database
        else where.render_as_string()
    )


def _own_file(file: Path, *, create: bool) -> None:
    """Make the file before SQLite would, which gives what it adds beside it (-wal, -shm) the same mode."""
    if not file.parent.is_dir():
        msg = f"{file}: there is no folder {file.parent}"
        raise FileNotFoundError(msg)
    if create and not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    if not file.exists():
        msg = f"{file}: there is no register here; vigie patient enrol or import make one"
        raise FileNotFoundError(msg)
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        msg = f"{file}: mode {mode:o} lets others in; legal is 600: chmod 600 {file}"
        raise PermissionError(msg)


class Register:
    """The register in a database.

    Parameters
    ----------
    engine : Engine
        Of `triage.database.connect`, tables at this version.
    wall_ms : callable
        The clock, ms UTC.
    """

    def __init__(
        self, engine: Engine, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._engine = engine
        self._wall_ms = wall_ms
        self._login = _login()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    # Changing ------------------------------------------------------------------------------------------------

    def enrol(self, person: Person, care: Care, by: str = "") -> Taken:
        """Begin to follow a person.

        Raises
        ------
        RegisterError
            Where the person is followed already; the message says as whom.
        """
        with self._writing() as connection:
            return self._admission(connection, by).enrol(person, care)

    def take(
        self,
        entries: Sequence[Entry],
        by: str = "",
        *,
        dry_run: bool = False,
        keep_good: bool = False,
        progress: Progress = SILENT,
    ) -> list[Taken]:
        """Take a list of patients: who is new is enrolled, who is there is brought to what the list says.

        All of it or, where an entry is refused, nothing, unless `keep_good`. The same list once more changes nothing.

        Parameters
        ----------
        entries : sequence of Entry
            Each INS at most once.
        by : str
            Who does it; the user of the machine where nothing is said.
        dry_run : bool
            Find out, and change nothing.

        Returns
        -------
        list of Taken
            One for each entry.
        """
        with self._writing() as connection:
            taken = self._admission(connection, by).take(entries, progress)
            if dry_run or (not keep_good and any(each.refused for each in taken)):
                connection.rollback()
        return taken

    def correct(self, patient: str, values: Mapping[str, Any], by: str = "") -> Taken:
        """Change what the register says of a patient: the identity, protocols, language, zone; not the cell.

        Raises
        ------
        RegisterError
            Where there is no such patient, it is not followed any more, or the INS is another patient's.
        """
        with self._writing() as connection:
            row = self._followed(connection, patient)
            return self._admission(connection, by).correct(row, values)

    def transfer(self, patient: str, cell: str, by: str = "") -> None:
        """Give a patient to another cell.

        Raises
        ------
        RegisterError
            Where there is no such patient, it is not followed any more, or is in that cell already.
        """
        cell = one_line("cell", cell, longest=80)
        with self._writing() as connection:
            row = self._followed(connection, patient)
            if row["cell"] == cell:
                msg = f"{patient}: in this cell already"
                raise RegisterError(msg)
            at_ms = self._wall_ms()
            connection.execute(update(PATIENT).where(PATIENT.c.id == patient).values(cell=cell))
            self._end_stay(connection, patient, at_ms)
            stay = {"patient": patient, "cell": cell, "from_ms": at_ms}
            connection.execute(STAY.insert().values(stay))
            moved = {"field": "cell", "before": row["cell"], "after": cell}
            self._note(connection, [patient], by, "transferred", [moved])

    def end(self, patient: str, reason: str, by: str = "") -> None:
        """End the follow-up of a patient. Who comes back is enrolled anew.

        Raises
        ------
        RegisterError
            Where there is no such patient, or it is not followed any more.
        """
        reason = one_line("reason", reason, longest=200)
        with self._writing() as connection:
            row = self._followed(connection, patient)
            at_ms = max(self._wall_ms(), row["enrolled_ms"])
            ended = {"closed_ms": at_ms, "closed_by": self._who(by), "close_reason": reason}
            connection.execute(update(PATIENT).where(PATIENT.c.id == patient).values(ended))
            self._end_stay(connection, patient, at_ms)
            why = {"field": "close_reason", "before": None, "after": reason}
            self._note(connection, [patient], by, "closed", [why])

    # Reading -------------------------------------------------------------------------------------------------

    def patients(self, *, cell: str | None = None, followed: bool | None = None) -> list[Followed]:
        """List follow-ups by cell, then by id: of one cell or all, those that go on (True), ended ones, or both."""
        query = select(*(PATIENT.c[name] for name in APART)).order_by(PATIENT.c.cell, PATIENT.c.id)
        if cell is not None:
            query = query.where(PATIENT.c.cell == cell)
        if followed is not None:
            query = query.where(PATIENT.c.closed_ms.is_(None) == followed)
        return [_as_followed(row) for row in self._read(query)]

    def patient(self, patient: str) -> Followed:
        """Give one follow-up.

        Raises
        ------
        RegisterError
            Where there is none of this id.
        """
        rows = self._read(select(*(PATIENT.c[name] for name in APART)).where(PATIENT.c.id == patient))
        if not rows:
            raise RegisterError(_unknown(patient))
        return _as_followed(rows[0])

    def in_cell(self, cell: str) -> list[str]:
        """Give the ids of the patients whom a cell follows now."""
        return [each.id for each in self.patients(cell=cell, followed=True)]

    def enrolments(self) -> dict[str, Enrolled]:
        """Give what the engine needs of each patient (`engine.load.load`), and nothing of who they are.

        Those whose follow-up is over are among them: without a line they would be followed by every protocol.
        """
        return {
            each.id: Enrolled(each.protocols, each.cell, each.zone, each.enrolled_ms, each.closed_ms)
            for each in self.patients()
        }

    def stays(self, patient: str) -> list[Stayed]:
        """Give the cells that a patient was in, the first one first."""
        columns = (STAY.c.cell, STAY.c.from_ms, STAY.c.until_ms)
        rows = self._read(select(*columns).where(STAY.c.patient == patient).order_by(STAY.c.id))
        return [Stayed(**row) for row in rows]

    def changes(self, patient: str) -> list[Changed]:
        """Give all that was done about a patient, the first first."""
        columns = [CHANGE.c[name] for name in ("at_ms", "by", "login", "action", "fields")]
        rows = self._read(select(*columns).where(CHANGE.c.patient == patient).order_by(CHANGE.c.id))
        return [Changed(**{**row, "fields": tuple(row["fields"])}) for row in rows]

    def persons(self, patients: Sequence[str], by: str = "") -> dict[str, tuple[Person, str | None]]:
        """Give who patients are, and why the follow-up ended where it did; note that this was read, and by whom."""
        found: dict[str, tuple[Person, str | None]] = {}
        with self._writing() as connection:
            for start in range(0, len(patients), CHUNK):
                some = patients[start : start + CHUNK]
                for row in connection.execute(select(PATIENT).where(PATIENT.c.id.in_(some))).mappings():
                    values = {**row, "telephones": tuple(row["telephones"])}
                    found[row["id"]] = (Person.of(values), row["close_reason"])
                self._note(connection, [each for each in some if each in found], by, "read", [])
        return found

    def ages(self, patients: Sequence[str], on: date) -> dict[str, int]:
        """Give the ages of patients on a day, in years. Not noted as reading who somebody is: an age tells nobody."""
        found: dict[str, int] = {}
        for start in range(0, len(patients), CHUNK):
            query = select(PATIENT.c.id, PATIENT.c.birth_date).where(
                PATIENT.c.id.in_(patients[start : start + CHUNK])
            )
            for row in self._read(query):
                born = row["birth_date"]
                found[row["id"]] = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
        return found

    # Inside --------------------------------------------------------------------------------------------------

    def _admission(self, connection: Connection, by: str) -> Admission:
        return Admission(connection, self._who(by), self._login, self._wall_ms())

    def _who(self, by: str) -> str:
        return one_line("by", by or self._login, longest=80)

    def _followed(self, connection: Connection, patient: str) -> RowMapping:
        query = select(PATIENT).where(PATIENT.c.id == patient).with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise RegisterError(_unknown(patient))
        if row["closed_ms"] is not None:
            msg = f"{patient}: the follow-up is over already, ended by {row['closed_by']}"
            raise RegisterError(msg)
        return row

    @staticmethod
    def _end_stay(connection: Connection, patient: str, at_ms: int) -> None:
        now = STAY.c.until_ms.is_(None)
        connection.execute(update(STAY).where(STAY.c.patient == patient, now).values(until_ms=at_ms))

    def _note(
        self,
        connection: Connection,
        patients: Sequence[str],
        by: str,
        action: str,
        fields: list[dict[str, Any]],
    ) -> None:
        what = {"at_ms": self._wall_ms(), "by": self._who(by), "login": self._login, "action": action}
        rows = [{"patient": patient, **what, "fields": fields} for patient in patients]
        if rows:
            connection.execute(CHANGE.insert(), rows)

    def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        with _silent(), self._engine.connect() as connection:
            return connection.execute(query).mappings().all()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _silent(), database.writing(self._engine) as connection:
            yield connection


@contextmanager
def _silent() -> Iterator[None]:
    """Say of an error of the database what holds no data: its detail may quote the row (PostgreSQL does)."""
    try:
        yield
    except OperationalError as error:
        # The disk, the network, another writer: the text is of the server, not of the row.
        msg = f"the register cannot be used: {error.orig}"
        raise RegisterError(msg) from None
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", "")
        msg = f"the register refused a row: {type(error.orig).__name__} {state}".rstrip()
        raise RegisterError(msg) from None


def _as_followed(row: RowMapping) -> Followed:
    return Followed(**{**row, "protocols": tuple(row["protocols"])})


def _unknown(patient: str) -> str:
    # Somebody may have typed a name.
    named = f"{patient}: " if is_one(patient) else ""
    return f"{named}no patient of this id; legal are those of vigie patient list, such as 7K2M-9QXT-4HJD-0BWE"


def _login() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # an id without a name, as in some containers
        return f"uid {os.geteuid()}"
