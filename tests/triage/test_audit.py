"""The audit trail: chained, kept, and any tampering is found where it is."""

import json
import multiprocessing
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from triage import audit, database, store
from triage.audit import Deed


@pytest.fixture
def engine(url):
    store.open(url).close()
    engine = database.connect(database.address(url))
    yield engine
    engine.dispose()


def note(engine, count=5, actor="marie"):
    for i in range(count):
        with database.writing(engine) as connection:
            audit.append(connection, 1000 + i, [Deed(actor, "claimed", f"p{i % 3}", "Nord", {"n": i})])


@contextmanager
def unguarded(engine):
    """A connection that the guards of the table do not hold: somebody with the database in their hands."""
    with database.writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER audit_stays"))
        else:
            connection.execute(text("DROP TRIGGER audit_stays_update"))
            connection.execute(text("DROP TRIGGER audit_stays_delete"))
        yield connection


def test_what_is_noted_is_there_and_verified(engine):
    note(engine)
    assert [entry.subject for entry in audit.entries(engine)] == ["p1", "p0", "p2", "p1", "p0"]
    assert [entry.id for entry in audit.entries(engine, subject="p1", before=5)] == [2]
    assert audit.entries(engine, cells=["Sud"]) == []
    assert len(audit.entries(engine, cells=["Sud", "Nord"], actor="marie", at_most=3)) == 3
    found = audit.verify(engine)
    assert (found.entries, found.problem) == (5, "")
    assert audit.verify(engine, found.head).problem == ""
    note(engine, 1)
    assert audit.verify(engine, found.head).problem == ""
    assert audit.verify(engine).head != found.head


def test_an_empty_trail_is_whole(engine):
    assert audit.verify(engine) == audit.Verified(0, audit.START)


@pytest.mark.parametrize("act", ["UPDATE audit SET actor = 'paul'", "DELETE FROM audit WHERE id = 2"])
def test_the_database_refuses_to_change_an_entry(engine, act):
    note(engine)
    with pytest.raises(DBAPIError, match="never changed nor removed"), database.writing(engine) as connection:
        connection.execute(text(act))
    assert audit.verify(engine).problem == ""


@pytest.mark.parametrize(
    ("act", "found"),
    [
        ("UPDATE audit SET actor = 'paul' WHERE id = 3", "entry 3 is not what was written"),
        ("UPDATE audit SET t_ms = t_ms + 1 WHERE id = 1", "entry 1 is not what was written"),
        ("UPDATE audit SET details = '{}' WHERE id = 5", "entry 5 is not what was written"),
        ("DELETE FROM audit WHERE id = 2", "entry 2 is missing: 3 follows 1"),
        ("DELETE FROM audit WHERE id = 5", "the trail ends at entry 4; the head says 5"),
    ],
)
def test_tampering_is_found(engine, act, found):
    note(engine)
    with unguarded(engine) as connection:
        connection.execute(text(act))
    assert found in audit.verify(engine).problem


def test_a_trail_cut_off_with_its_head_is_found_by_a_head_that_was_noted(engine):
    note(engine)
    head = audit.verify(engine).head
    kept = [entry.hash for entry in audit.entries(engine)][2]
    with unguarded(engine) as connection:
        connection.execute(text("DELETE FROM audit WHERE id > 3"))
        connection.execute(text("UPDATE audit_head SET entry = 3, hash = :hash"), {"hash": kept})
    assert audit.verify(engine).problem == ""
    assert "cut off" in audit.verify(engine, head).problem


def test_a_deed_that_is_undone_leaves_no_entry(engine):
    note(engine, 1)
    with suppress(ZeroDivisionError), database.writing(engine) as connection:
        audit.append(connection, 1, [Deed("marie", "closed", "p1")])
        raise ZeroDivisionError
    note(engine, 1)
    assert audit.verify(engine) == audit.Verified(2, audit.verify(engine).head)


def test_details_are_json_and_bounded(engine):
    with database.writing(engine) as connection:
        with pytest.raises(ValueError, match="legal are 0 to 16384"):
            audit.append(connection, 1, [Deed("a", "b", "c", "", {"x": "y" * 20_000})])
        with pytest.raises(ValueError, match="JSON"):
            audit.append(connection, 1, [Deed("a", "b", "c", "", {"x": float("nan")})])
    assert audit.verify(engine).entries == 0


@given(
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=4)
)
@settings(max_examples=50, deadline=None)
def test_no_field_flows_into_the_next(fields):
    """Two entries with different fields have different hashes, however their text would join."""
    rows = [
        {"id": 1, "t_ms": 1, "actor": a, "action": b, "subject": c, "cell": "", "details": "{}"} for a, b, c in fields
    ]  # fmt: skip
    assert len({audit._hash(audit.START, row) for row in rows}) == len(set(fields))


def _writer(url, actor, count):
    engine = database.connect(database.address(url))
    note(engine, count, actor)
    engine.dispose()


def test_several_processes_make_one_chain(engine, url):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_writer, args=(url, f"nurse{i}", 40)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    found = audit.verify(engine)
    assert (found.entries, found.problem) == (120, "")
    rows = list(audit.read(engine))
    for i in range(3):
        mine = [json.loads(row["details"])["n"] for row in rows if row["actor"] == f"nurse{i}"]
        assert mine == list(range(40))
