import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest.sources import Limits, Refusal, Source, SourceError, Sources

ROOT = Path(__file__).parents[2]
NORTH = Source("north", cells=("Nord",))


@pytest.fixture
def sources(tmp_path):
    kept = Sources(tmp_path / "sources")
    yield kept
    kept.close()


def test_a_key_is_shown_once_and_kept_as_a_hash(sources, tmp_path):
    key = sources.create(NORTH, "marie")
    found = sources.find(key)
    assert (found.name, found.cells, found.keys) == ("north", ("Nord",), 1)
    secret = key.split("_", 2)[2].encode()
    sources.flush()
    for file in tmp_path.iterdir():
        assert secret not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", Refusal.NO_KEY),
        ("vigie", Refusal.WRONG_KEY),
        ("vigie_0123456789ab_" + "A" * 43, Refusal.WRONG_KEY),
        ("vigie_0123456789ab_" + "A" * 5000, Refusal.WRONG_KEY),
        ("vigie_0123456789ab_" + "é" * 43, Refusal.WRONG_KEY),
    ],
)
def test_what_is_no_key(sources, key, why):
    sources.create(NORTH, "marie")
    assert sources.find(key) is why
    assert sources.name_of(key) == ""


def test_a_key_with_one_letter_changed_is_of_nobody_and_is_recorded_by_name(sources):
    key = sources.create(NORTH, "marie")
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert sources.find(wrong) is Refusal.WRONG_KEY
    assert sources.name_of(wrong) == "north"


def test_rotation_leaves_the_old_key_for_a_while(tmp_path):
    now = 1_760_000_000_000
    sources = Sources(tmp_path / "sources", clock_ms=lambda: now)
    old = sources.create(NORTH, "marie")
    new = sources.rotate("north", 60, "marie")
    assert sources.find(old).keys == sources.find(new).keys == 2
    now += 60_000
    assert sources.find(old) is Refusal.REVOKED
    assert sources.find(new).name == "north"
    third = sources.rotate("north", 0, "marie")
    assert sources.find(new) is Refusal.REVOKED
    assert sources.find(third).name == "north"
    # Rotating again does not give an older key more time.
    fourth = sources.rotate("north", 3600, "marie")
    assert sources.find(new) is Refusal.REVOKED
    assert sources.find(fourth).keys == 2
    sources.close()


def test_revoked_is_for_good(sources):
    key = sources.create(NORTH, "marie")
    sources.rotate("north", 60, "marie")
    sources.revoke("north", "marie")
    assert sources.find(key) is Refusal.REVOKED
    for again in (lambda: sources.revoke("north", "x"), lambda: sources.rotate("north", 0, "x")):
        with pytest.raises(SourceError, match="was revoked, for good"):
            again()
    with pytest.raises(SourceError, match="names are not given again"):
        sources.create(NORTH, "marie")
    (only,) = sources.all()
    assert (only.keys, only.revoked_ms is not None) == (0, True)
    with pytest.raises(SourceError, match="none of that name; there are north"):
        sources.revoke("south", "marie")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "cell"}, "not cell, heartbeat, warmup"),
        ({"name": "Turned Away"}, "legal are 1 to 63 of a-z"),
        ({"name": "x" * 64}, "legal are 1 to 63"),
        ({"cells": ()}, "name a cell, a patient"),
        ({"everyone": True}, "one or the other"),
        ({"patients": ("é",)}, "is no id of a patient"),
    ],
)
def test_a_source_that_cannot_be(given, said):
    with pytest.raises(SourceError, match=said):
        Source(**{"name": "north", "cells": ("Nord",), **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"requests_per_s": 0}, "legal is more than 0"),
        ({"body_bytes": 1 << 25}, "legal are 1 to 16777216"),
        ({"quarantine_share": 1.5}, "at most 1"),
        ({"packets_per_s": float("nan")}, "legal is more than 0"),
    ],
)
def test_a_limit_that_cannot_be(given, said):
    with pytest.raises(SourceError, match=said):
        Limits(**given)


def test_what_was_done_and_what_was_refused_is_recorded(sources):
    sources.create(Source("gw", patients=("P1", "P2"), limits=Limits(requests_per_s=5)), "marie")
    for _ in range(3):
        sources.refused("gw", Refusal.TOO_MANY)
    sources.refused("", Refusal.NO_KEY)
    sources.flush()
    sources.refused("gw", Refusal.TOO_MANY)
    sources.revoke("gw", "paul")
    lines = {(each.source, each.what): each for each in sources.record()}
    assert lines["gw", "created"].who == "marie"
    assert lines["gw", "created"].detail == "2 patients by id"
    assert lines["gw", "revoked"].who == "paul"
    assert lines["", "no_key"].count == 1
    # In one minute one line, or two where the minute ended meanwhile.
    assert sum(each.count for each in sources.record() if each.what == "too_many") == 4
    assert sources.find("vigie") is Refusal.WRONG_KEY


def test_limits_are_kept(tmp_path):
    limits = Limits(1.5, 2.5, 3.5, 4, 0.25)
    first = Sources(tmp_path / "sources")
    key = first.create(Source("gw", everyone=True, limits=limits), "marie")
    first.close()
    second = Sources(tmp_path / "sources")
    assert second.find(key).limits == limits
    assert second.find(key).everyone
    second.close()


def test_another_process_revokes_and_it_is_seen_within_a_second(sources):
    key = sources.create(NORTH, "marie")
    assert sources.find(key).name == "north"
    code = f"from ingest.sources import Sources; Sources({str(sources.path)!r}).revoke('north', 'paul')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    until = time.monotonic() + 1.5
    while not isinstance(sources.find(key), Refusal) and time.monotonic() < until:
        time.sleep(0.05)
    assert sources.find(key) is Refusal.REVOKED


def test_another_file_is_left_alone(tmp_path):
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    with pytest.raises(SourceError, match="not a file of sources"):
        Sources(other)
    (tmp_path / "text").write_text("x" * 4096)
    with pytest.raises(SourceError, match="text: file is not a database"):
        Sources(tmp_path / "text")
    newer = tmp_path / "newer"
    Sources(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(SourceError, match=r"another version of Vigie \(format 7; this one knows 1\)"):
        Sources(newer)
