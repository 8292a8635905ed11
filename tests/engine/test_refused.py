import sqlite3

import pytest

from engine import refused
from engine.refused import Refused, RefusedError, Row
from ingest.decode import decode
from ingest.signals import plausible_ranges

T = 1_760_000_000_000


def decoded(*entries):
    return decode(entries, *plausible_ranges())


@pytest.fixture
def kept(tmp_path):
    with_file = Refused(tmp_path / "quarantine")
    yield with_file
    with_file.close()


def test_what_was_refused_is_kept_by_source_and_place(kept):
    kept.add(*decoded((4, T, "a", b"\x01\xc1xyz"), (5, T + 1, "b", b"\xc1")))
    assert kept.read("a") == [
        Row("a", 4, 0, T, "NOT_A_PACKET", b"\x01"),
        Row("a", 4, 1, T, "BAD_MSGPACK", b"\xc1xyz"),
    ]
    assert kept.read("a", (4, 0)) == kept.read("a")[1:]
    assert kept.read("a", at_most=1) == kept.read("a")[:1]
    assert [row.source for row in kept.read("b")] == ["b"]
    assert kept.read("c") == []


def test_the_same_again_is_the_same(kept, tmp_path):
    entries = [(k, T, "a", b"\xc1") for k in range(5)]
    kept.add(*decoded(*entries))
    kept.add(*decoded(*entries[2:], (5, T, "a", b"\xc1")))
    kept.close()
    again = Refused(tmp_path / "quarantine")
    assert [row.offset for row in again.read("a")] == list(range(6))
    again.close()


def test_the_newest_of_each_source_are_kept(kept, monkeypatch):
    monkeypatch.setattr(refused, "KEPT", 10)
    monkeypatch.setattr(refused, "_SLACK", 3)
    kept.add(*decoded((0, T, "quiet", b"\xc1")))
    for k in range(1, 40):
        kept.add(*decoded((k, T, "loud", b"\xc1")))
        assert len(kept.read("loud")) <= 13
    assert [row.offset for row in kept.read("loud")][-10:] == list(range(30, 40))
    kept.add(*decoded(*[(k, T, "loud", b"\xc1") for k in range(40, 400)]))
    assert [row.offset for row in kept.read("loud")] == list(range(390, 400))
    assert len(kept.read("quiet")) == 1


def test_a_file_that_cannot_be_used(tmp_path, kept):
    (tmp_path / "text").write_text("x" * 4096)
    with pytest.raises(RefusedError, match="text: file is not a database"):
        Refused(tmp_path / "text")
    other = sqlite3.connect(kept.path, isolation_level=None)
    kept._connection.execute("PRAGMA busy_timeout = 50")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RefusedError, match="quarantine: database is locked"):
        kept.add(*decoded((0, T, "a", b"\xc1")))
    other.execute("ROLLBACK")
    other.close()
    kept.add(*decoded((0, T, "a", b"\xc1")))
    assert len(kept.read("a")) == 1
