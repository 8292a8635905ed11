"""The queue's tables come by steps, from nothing and from any version on."""

import shutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from triage import database, store
from triage.tables import Base

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
