"""Signatures in the audit trail: both or neither, and found again to the letter."""

import datetime as dt

import pytest
from sqlalchemy import text

import triage.store
from engine.protocols import begin, load_own
from rules.signature import file_of, made, write
from triage import audit
from triage.signing import SIGNED, proof, sign

DAY = dt.date(2026, 11, 27)
NOW_MS = 1_795_000_000_000


@pytest.fixture
def path(tmp_path):
    return begin("poids", tmp_path / "poids.toml", "Poids", "essai", "poids")


@pytest.fixture
def engine(url):
    with triage.store.open(url) as store:
        yield store.engine


def test_who_signed_when_is_in_the_trail_and_is_found(engine, path):
    given = made(load_own(path), "Dr A. Martin", "cardiologue", DAY, valid_until=dt.date(2027, 11, 26))
    assert proof(engine, load_own(path)) == (False, "no entry says that it was signed")
    sign(engine, path, given, "shell:martin", NOW_MS)
    protocol = load_own(path)
    assert protocol.signed
    proven, said = proof(engine, protocol)
    assert proven
    assert said.startswith("entry 1, 2026-11-18T11:06:40Z, by shell:martin; the trail is whole, head ")
    (entry,) = audit.entries(engine, subject="poids")
    assert (entry.action, entry.t_ms) == (SIGNED, NOW_MS)
    assert protocol.digest in entry.details
    assert audit.verify(engine).problem == ""


def test_a_signature_that_somebody_wrote_or_changed_by_hand_has_no_entry(engine, path):
    write(path, made(load_own(path), "Dr A. Martin", "cardiologue", DAY))
    assert proof(engine, load_own(path))[0] is False
    sign(engine, path, made(load_own(path), "Dr B", "interne", DAY), "shell:b", NOW_MS, replace=True)
    assert proof(engine, load_own(path))[0] is True
    beside = file_of(path)
    beside.write_text(beside.read_text().replace("interne", "cardiologue"))
    assert load_own(path).signed
    assert proof(engine, load_own(path)) == (False, "no entry says that it was signed")


def test_one_that_cannot_be_written_leaves_no_entry(engine, path):
    given = made(load_own(path), "Dr A. Martin", "cardiologue", DAY)
    sign(engine, path, given, "shell:a", NOW_MS)
    with pytest.raises(FileExistsError):
        sign(engine, path, given, "shell:a", NOW_MS)
    assert len(audit.entries(engine, subject="poids")) == 1
    assert audit.verify(engine).problem == ""


def test_a_trail_that_is_broken_proves_nothing(engine, path):
    sign(engine, path, made(load_own(path), "Dr A", "cardiologue", DAY), "shell:a", NOW_MS)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            for name in connection.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            ).scalars():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE audit SET actor = 'shell:b'"))
    proven, said = proof(engine, load_own(path))
    assert not proven
    assert "entry 1 is not what was written" in said
