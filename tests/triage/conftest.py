"""Real databases for the queue's tests: SQLite files, and a PostgreSQL server where one can be started."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from rules.alerts import SCHEMA
from triage import store

HOUR_MS = 3_600_000
T0 = 1_790_000_000_000


def _postgres_programs():
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgresql():
    """Address of a PostgreSQL server of the tests' own, on a socket in a temporary folder."""
    programs = _postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="vigie-pg-"))
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*command):
        subprocess.run(command, check=True, user=user, cwd=folder, capture_output=True)

    server = str(programs / "pg_ctl")
    try:
        run(programs / "initdb", "-D", data, "-U", "vigie", "-A", "trust", "-N", "-E", "UTF8")
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        run(server, "-D", data, "-o", options, "-w", "-l", folder / "log", "start")
        yield f"postgresql+psycopg://vigie@/{{}}?host={folder}"
    finally:
        if (data / "postmaster.pid").exists():
            run(server, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


# Where there is no server the queue is tested on SQLite alone; `make test` installs one where it can.
DATABASES = ["sqlite", "postgresql"] if _postgres_programs() else ["sqlite"]


def _make(address, name, template="template1"):
    """Make a database of the tests' server as a copy of another, and give its address."""
    engine = create_engine(address.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return address.format(name)


def _name(request):
    return "q" + hashlib.blake2b(request.node.nodeid.encode(), digest_size=8).hexdigest()


@pytest.fixture(params=DATABASES)
def empty(request, tmp_path):
    """Address of an empty database: the tables come with the first who opens it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.sqlite'}"
    return _make(request.getfixturevalue("postgresql"), _name(request))


@pytest.fixture(scope="session")
def _of_sqlite(tmp_path_factory):
    """A queue without lines, made by all steps: each test gets a copy, in a tenth of the time."""
    path = tmp_path_factory.mktemp("template") / "queue.sqlite"
    store.open(path).close()
    return path


@pytest.fixture(scope="session")
def _of_postgresql(postgresql):
    store.open(_make(postgresql, "queue")).close()
    return "queue"


@pytest.fixture(params=DATABASES)
def url(request, tmp_path):
    """Address of a queue without lines."""
    if request.param == "sqlite":
        path = tmp_path / "queue.sqlite"
        shutil.copy(request.getfixturevalue("_of_sqlite"), path)
        return f"sqlite:///{path}"
    template = request.getfixturevalue("_of_postgresql")
    return _make(request.getfixturevalue("postgresql"), _name(request), template)


def make_row(
    patient="p1", rule="gain_3d", problem="weight", level="ORANGE", kind="opened", onset=0, t=None, **over
):
    """One row as the engine writes it; times are hours after T0."""
    t = onset if t is None else t
    row = {
        "alert_id": hashlib.blake2b(f"{patient} {problem} {onset}".encode(), digest_size=8).hexdigest(),
        "patient": patient,
        "protocol": "insuffisance_cardiaque",
        "version": "1.0",
        "opened_by": problem,
        "protocol_hash": "0123456789abcdef",
        "rule": rule,
        "problem": problem,
        "level": level,
        "kind": kind,
        "onset_ms": T0 + onset * HOUR_MS,
        "t_ms": T0 + t * HOUR_MS,
        "clock_ms": T0 + t * HOUR_MS + 1000,
        "offset": t,
        "sentence": f"Prise de 2,3 kg en 3 jours ({rule}, {level}, {t} h)",
        "features": [{"name": "gain_3d", "value": 2.3, "unit": "kg"}],
        "limits": [{"name": "gain_3d_kg", "value": 2.0, "unit": "kg", "origin": "default"}],
        "points": [
            {"signal": "weight", "t_ms": T0 - 24 * HOUR_MS, "value": 80.1},
            {"signal": "weight", "t_ms": T0, "value": 82.4},
        ],
        "kernels": "fedcba9876543210",
        "signed": False,
        "time_basis": "arrival",
    }
    return row | over


def make_frame(*rows):
    return pl.DataFrame(list(rows), schema=SCHEMA)


@pytest.fixture(scope="session")
def row():
    return make_row


@pytest.fixture(scope="session")
def frame():
    return make_frame
