"""The queue's tables come by steps, from nothing and from any version on."""

import shutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from engine.courier import Held
from triage import database, store
from triage.tables import Base
from triage.work import cell_limits, outgoing

FIRST = "0001"


@pytest.fixture
def url(empty):
    """Address of an empty database."""
    return empty


def versions():
    return [script.revision for script in ScriptDirectory(str(database.MIGRATIONS)).walk_revisions()][::-1]


def test_the_steps_give_the_tables_of_the_models(url):
    store.open(url).close()
    engine = database.connect(database.address(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        names = inspect(connection)
        # Autogeneration does not compare checks; the database must have all that the models declare.
        checks = {check["name"] for check in names.get_check_constraints("episode")}
        assert checks == {
            str(c.name) for c in Base.metadata.tables["episode"].constraints if c.name[:2] == "ck"
        }
    engine.dispose()


def test_a_queue_of_the_first_version_is_kept(url, row, frame):
    engine = database.connect(database.address(url))
    database.upgrade(engine, FIRST)
    values = {
        "id": "00", "patient": "p1", "protocol": "insuffisance_cardiaque",
        "problem": "weight", "level": 3, "latched": False, "onset_ms": 1,
        "opened_clock_ms": 1, "raised_clock_ms": 1, "due_ms": 5, "policy": "{}", "last_ms": 1,
        "last_clock_ms": 1, "evidence": 1, "rule": "gain_3d", "shown_id": 1,
    }  # fmt: skip
    said = {
        "id": 1, "alert_id": "00", "rule": "gain_3d", "level": 3, "kind": "opened", "t_ms": 1, "clock_ms": 1,
        "log_offset": 0, "sentence": "Prise de 3,2 kg", "features": "[]", "limits": "[]", "points": "[]",
        "version": "1", "protocol_hash": "0", "signed": True, "kernels": "0",
        "time_basis": "arrival",
    }  # fmt: skip
    alert = {
        "id": "00",
        "patient": "p1",
        "protocol": "insuffisance_cardiaque",
        "rule": "gain_3d",
        "problem": "weight",
        "onset_ms": 1,
        "episode_id": "00",
    }
    with database.writing(engine) as connection:
        for table, names in (("episode", values), ("alert", alert), ("transition", said)):
            marks = ", ".join(f":{name}" for name in names)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"), names)  # noqa: S608
    engine.dispose()
    with store.open(url) as queue:
        (line,) = queue.queue()
        assert (line.id, line.shown.sentence, line.shown.signed) == ("00", "Prise de 3,2 kg", True)
        assert queue.apply(frame(row())).opened == 0  # it joins the open line


def test_an_outbox_of_before_goes_by_when_it_was_made_and_counts_for_everybody(url):
    """What it holds is not known: neither whose it is, nor how it is dated."""
    engine = database.connect(database.address(url))
    database.upgrade(engine, "0013")
    limit = {
        "cell": "Nord",
        "protocol": "p",
        "name": "n",
        "number": 1,
        "value": 1.5,
        "author": "a",
        "reason": "r",
    }
    rows = [
        ("outgoing", {"source": "cell", "body": b"1", "made_ms": 1000, "sent_ms": 1}),
        ("outgoing", {"source": "cell", "body": b"2", "made_ms": 1000}),
        ("outgoing", {"source": "cell", "body": b"3", "made_ms": 3000}),
        ("outgoing", {"source": "cell", "body": b"4", "made_ms": 1000}),
        ("proposal", {
            "id": 1, "cell": "Nord", "protocol": "p", "protocol_version": "1", "protocol_hash": "0", "changes": "{}",
            "comment": "c", "author": "a", "made_ms": 1, "state": "signed", "version": 1, "study": "{}",
            "report": b"",
        }),
        ("cell_limit", limit | {"id": 1, "t_ms": 1, "proposal_id": 1}),
        ("cell_limit_said", {
            "patient": "P1", "protocol": "p", "name": "n", "limit_id": 1, "t_ms": 1, "said_ms": 1
        }),
    ]  # fmt: skip
    with database.writing(engine) as connection:
        for table, values in rows:
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"), values)  # noqa: S608
    engine.dispose()
    with store.open(url) as queue:
        with database.writing(queue.engine) as connection:
            outgoing.put(connection, "cell", 1000, [outgoing.Draft("P1", 1000, lambda *_: b"5")])

        def ready(until_ms):
            letters, held = outgoing.ready(queue.engine, until_ms)
            return [letter.body for letter in letters], held

        assert ready(2000) == ([b"2"], Held(3, 3000, 3000))
        assert ready(3000) == ([b"2", b"3", b"4", b"5"], None)
        assert ready(999) == ([], Held(4, 1000, 3000))
        # What was told then counts as told.
        with queue.engine.connect() as connection:
            assert cell_limits.heard(connection, "P1")["p", "n"].value == 1.5


def test_one_of_before_waits_for_all_that_are_older(url):
    with store.open(url) as queue:
        with database.writing(queue.engine) as connection:
            outgoing.put(connection, "cell", 1, [outgoing.Draft("P1", 3000, lambda *_: b"1")])
            # By a process that is still of the version before.
            old = {"source": "cell", "body": b"2", "made_ms": 1}
            connection.execute(
                text("INSERT INTO outgoing (source, body, made_ms) VALUES (:source, :body, :made_ms)"), old
            )
            outgoing.put(connection, "cell", 1, [outgoing.Draft("P2", 1, lambda *_: b"3")])
        letters, held = outgoing.ready(queue.engine, 2000)
        assert ([letter.body for letter in letters], held) == ([b"3"], Held(2, 3000, 3000))


def test_opening_again_changes_nothing(url):
    store.open(url).close()
    store.open(url).close()


def test_a_queue_of_a_newer_version_is_refused(url):
    store.open(url).close()
    engine = database.connect(database.address(url))
    with database.writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ValueError, match=r"newer version of Vigie .revision 9999; this one knows up to"):
        store.open(url)


def test_a_step_that_fails_leaves_the_queue_as_it_was(tmp_path, monkeypatch):
    steps = tmp_path / "migrations"
    shutil.copytree(database.MIGRATIONS, steps)
    (steps / "versions" / "9000_fails.py").write_text(
        f"from alembic import op\nrevision = '9000'\ndown_revision = {versions()[-1]!r}\n"
        "def upgrade():\n    op.drop_table('transition')\n    raise RuntimeError('no')\n"
    )
    store.open(tmp_path / "q.sqlite").close()
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", steps)
        with pytest.raises(RuntimeError, match="no"):
            store.open(tmp_path / "q.sqlite")
    with store.open(tmp_path / "q.sqlite") as queue:
        assert queue.clock_ms() is None


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite:/x://", "://"])
def test_an_address_that_is_none(url):
    with pytest.raises(ValueError, match="legal"):
        store.open(url)


def test_a_folder_or_a_queue_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        store.open(tmp_path / "no" / "q.sqlite")
    with pytest.raises(FileNotFoundError, match="there is no queue here"):
        store.open(tmp_path / "q.sqlite", create=False)
    assert not (tmp_path / "q.sqlite").exists()
