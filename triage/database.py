"""Connections to a database of Vigie (the queue, the register of patients), SQLite or PostgreSQL, and migrations."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["Encoded", "address", "connect", "upgrade", "writing"]

MIGRATIONS = Path(__file__).parent / "migrations"
"""Of the queue."""

WAIT_S = 30
"""How long a writer waits for another one."""

STALLED_S = 30
"""A writer on PostgreSQL that stops half way, its machine frozen for example, is cut off then: others wait for it."""

MIGRATING = 0x56_49_47_49_45
"""PostgreSQL advisory lock taken while tables change: "VIGIE" in ASCII."""


class Encoded(str):
    """JSON text: goes into a JSON column as it is."""

    __slots__ = ()


def address(url: str | Path) -> URL:
    """Read the address of a database: a SQLAlchemy URL, or the path of an SQLite file.

    Raises
    ------
    ValueError
        Where it is neither; the message lists what is legal.
    """
    given = str(url)
    if "://" not in given:
        return URL.create("sqlite", database=str(Path(given).expanduser()))
    try:
        read = make_url(given)
    except ArgumentError as error:
        msg = f"{given}: not an address of a database; legal are a path, sqlite:///path and postgresql+psycopg://..."
        raise ValueError(msg) from error
    if read.get_backend_name() not in {"sqlite", "postgresql"}:
        msg = f"{read.render_as_string()}: legal databases are sqlite and postgresql"
        raise ValueError(msg)
    return read


def connect(url: URL) -> Engine:
    """Make the pool of connections; nothing is opened yet. What is written is never in an error or a log."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, json_serializer=_json, hide_parameters=True)
    engine = create_engine(url, connect_args={"timeout": WAIT_S}, json_serializer=_json, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes; it commits at the end, or rolls back on an error."""
    with engine.connect().execution_options(vigie_writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{STALLED_S}s'")
        yield connection


def upgrade(engine: Engine, revision: str = "head", migrations: Path | None = None) -> None:
    """Bring the tables to `revision`, in one transaction; several processes may do so at once.

    Parameters
    ----------
    engine : Engine
    revision : str
    migrations : Path, optional
        Folder of the steps; those of the queue where none is given.

    Raises
    ------
    ValueError
        Where the database was written by a newer version of Vigie.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations or MIGRATIONS).replace("%", "%%"))
    with engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    if at is not None and at not in known:
        msg = (
            f"{engine.url.render_as_string()}: written by a newer version of Vigie "
            f"(revision {at}; this one knows up to {scripts.get_current_head()}), or for another use: "
            "the queue and the register of patients have a database each"
        )
        raise ValueError(msg)
    if at == (scripts.get_current_head() if revision == "head" else revision):
        return
    open_ = engine.connect().execution_options(vigie_writes=True)
    with open_ as connection, _loose(connection), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if (
            connection.dialect.name == "sqlite"
            and connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        ):
            msg = f"{engine.url.render_as_string()}: rows that speak of rows that are not there"
            raise ValueError(msg)


@contextmanager
def _loose(connection: Connection) -> Iterator[None]:
    """Let tables be made anew on SQLite, which takes rows of others for orphans meanwhile.

    Outside of any transaction, where alone SQLite listens to it.
    """
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _json(value: object) -> str:
    return value if isinstance(value, Encoded) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver begins transactions when it thinks best; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # FULL: what is committed outlives a power cut, as the engine counts on once `apply` returned.
    cursor.execute("PRAGMA synchronous = FULL")
    _write_ahead(cursor)
    cursor.close()


def _write_ahead(cursor: DBAPICursor) -> None:
    """Set write-ahead logging, so that readers never wait; kept in the file, set by the first one."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait here as it does elsewhere: two processes that create one file meet.
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a writer waits for its turn before it reads, so what it read is still true when it writes.
    writes = connection.get_execution_options().get("vigie_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
