"""What the engine, the queue and their files know of a patient: an id, and nothing of the person."""

import contextlib
import logging
import sqlite3
import traceback
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from engine import checkpoint
from engine.durable import DurableLine, Upkeep
from engine.enrolment import read, write
from engine.load import load
from ingest import packet
from ingest.log import LogReader
from triage import store
from triage.identity.errors import RegisterError
from triage.identity.importing import import_list

DAY_MS = 86_400_000
T0 = 1_790_000_000_000
PROTOCOL = "insuffisance_cardiaque"


def spellings(person):
    """All by which somebody would know the person, as bytes; and parts of it."""
    parts = [person.ins, person.ins[:13], person.birth_name, person.used_name, person.given_name]
    parts += ["QUIMERC", "Vraignon", "Taulé", *person.telephones, person.telephones[0][1:]]
    parts += ["1955-08-03", "03/08/1955", "19550803", "Mme Trévidic"]
    texts = {spelt for part in parts for spelt in (part, part.upper(), part.lower())}
    return {text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "latin-1")}


def log_contents(folder):
    with LogReader(folder / "log") as log:
        return b"".join(each.source.encode() + each.body for each in log.read(0, 1 << 30, 1 << 20, []))


def history_contents(folder):
    rows = [pl.read_parquet(path).write_csv() for path in sorted(folder.glob("history/**/*.parquet"))]
    return "\n".join(rows).encode()


def checkpoint_contents(folder):
    found = b""
    for path in sorted(folder.glob("checkpoints/*/*.checkpoint")):
        each = checkpoint.load(path)
        found += repr(each.header).encode()
        found += b"".join(array.tobytes() for array in each.arrays.values())
        found += b"".join(repr(pl.read_ipc(BytesIO(blob)).rows()).encode() for blob in each.blobs.values())
    return found


def queue_contents(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode()


def server_log(url):
    """What the database's server has written down so far; SQLite has no server."""
    _, found, folder = url.partition("?host=")
    return (Path(folder) / "log").read_bytes() if found else b""


def test_no_byte_of_log_state_history_and_queue_says_who_it_is(
    tmp_path, url, person, listed, texts, capfd, caplog
):
    from triage.identity import register as registers

    for name in ("", "sqlalchemy.engine", "sqlalchemy.pool", "alembic"):
        caplog.set_level(logging.INFO, name)
    already_said = len(server_log(url))
    data = tmp_path / "data"
    data.mkdir()
    errors = []
    with registers.open(url) as register:
        done = import_list(url, listed(texts(1), texts(2)), (PROTOCOL,), "Mme Trévidic")
        ids = [each.id for each in done.taken]
        misplaced = texts(1, sex=person(1).used_name)  # a traceback quotes the lines below
        for act in (
            lambda: register.enrol(person(1), register_care(register, ids[0])),
            lambda: import_list(url, listed(misplaced, texts(1), name="wrong.csv"), (PROTOCOL,)),
            lambda: register.correct(ids[1], {"ins": person(1).ins}),
        ):
            with pytest.raises(RegisterError) as error:
                act()
            errors += traceback.format_exception(error.value)
        register.transfer(ids[1], "Cellule Sud", "Mme Trévidic")
        write(data / "enrolment.csv", register.enrolments())
        # Given by hand or by file, it is the same.
        assert read(data / "enrolment.csv", [PROTOCOL]) == register.enrolments()
        loaded = load([PROTOCOL], enrolment=register.enrolments(), at_ms=T0)
    with store.open(data / "queue.sqlite") as queue:
        upkeep = Upkeep(history_rows=10)
        line = DurableLine(data, loaded.program, sink=queue.apply, roster=loaded.roster, upkeep=upkeep)
        with line:
            for day in range(9):
                body = b"".join(
                    packet.spot(patient, "scale", day, T0 + day * DAY_MS, {1: 80 + 0.9 * day})
                    for patient in (*ids, "unknown")
                )
                line.log.append("gateway", body, T0 + day * DAY_MS).result(10)
                line.catch_up()
            line.checkpoint()
        followed = {episode.patient for episode in queue.queue()}
    assert followed >= set(ids)

    out, err = capfd.readouterr()
    contents = {
        "log": log_contents(data),
        "history": history_contents(data),
        "checkpoints": checkpoint_contents(data),
        "queue": queue_contents(data / "queue.sqlite"),
    }
    files = {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    said = {"out": out, "err": err, "logged": caplog.text, "errors": "".join(errors)}
    files["server's log"] = server_log(url)[already_said:]
    # What is looked for can be found: the ids are there, and the list that was imported holds the rest.
    assert all(ids[0].encode() in content for content in contents.values())
    assert len(files) >= 6
    assert "INSERT INTO patient" in said["logged"]
    secrets = spellings(person(1)) | spellings(person(2))
    source = (tmp_path / "patients.csv").read_bytes()
    assert sum(secret in source for secret in secrets) >= 5
    for name, content in (contents | files | {key: text.encode() for key, text in said.items()}).items():
        assert not [secret for secret in secrets if secret in content], name


def register_care(register, patient):
    from triage.identity.person import Care

    followed = register.patient(patient)
    return Care(followed.cell, followed.protocols)
