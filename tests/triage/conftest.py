"""Real databases for the queue's tests: SQLite files, and a PostgreSQL server where one can be started."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import polars as pl
import pytest

from rules.alerts import SCHEMA

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


@pytest.fixture(params=DATABASES)
def url(request, tmp_path):
    """Address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.sqlite'}"
    address = request.getfixturevalue("postgresql")
    from sqlalchemy import create_engine, text

    name = "q" + hashlib.blake2b(request.node.nodeid.encode(), digest_size=8).hexdigest()
    engine = create_engine(address.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return address.format(name)


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
