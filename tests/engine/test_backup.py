"""Backup and restoration: what was restored is gone on with, and says the same."""

import json
import sqlite3
import threading

import pytest
from test_durable import Sink, opened, put, week

import triage.store
from engine import backup as copies
from engine import history
from engine.backup import BackupError, backup, restore
from engine.durable import Upkeep
from ingest.sources import Source, Sources


@pytest.fixture
def data(tmp_path):
    """A folder of a service that has stopped: all of its parts."""
    folder = tmp_path / "data"
    folder.mkdir()
    sources = Sources(folder / "sources")
    sources.create(Source("gw", everyone=True), "test")
    sources.close()
    with triage.store.open(folder / "queue.sqlite") as store, opened(folder, store.apply) as line:
        put(line, [*week(), (week()[-1][0], "gateway", b"\xc1")])
        line.catch_up()
    return folder


def test_what_was_restored_goes_on_as_if_nothing_had_been(data, tmp_path):
    made = backup(data, tmp_path / "copy", data / "queue.sqlite")
    assert restore(tmp_path / "copy", tmp_path / "again") == made
    assert made.checkpoint == made.log_next == len(week()) + 1
    assert made.history_rows == 21
    assert "log offsets 0 to" in str(made)
    sink = Sink()
    with opened(tmp_path / "again", sink) as line:
        assert line.problems == []
        assert line.next_offset == made.log_next
        (row,) = line.refused.read("gateway")
        assert row.reason == "BAD_MSGPACK"
    with (
        triage.store.open(tmp_path / "again" / "queue.sqlite") as one,
        triage.store.open(data / "queue.sqlite") as other,
    ):
        assert [line.id for line in one.queue()] == [line.id for line in other.queue()] != []
    kept = Sources(tmp_path / "again" / "sources")
    assert [each.name for each in kept.all()] == ["gw"]
    kept.close()


def test_while_the_line_runs_and_checkpoints(tmp_path):
    """Copies that are taken at any moment of a busy line are sound, and come to its alerts."""
    folder = tmp_path / "data"
    folder.mkdir()
    busy = Upkeep(checkpoint_s=1e9, checkpoint_entries=5, history_rows=5)
    entries = week(days=14)
    failed = []
    done = threading.Event()

    def copy():
        k = 0
        while not done.is_set():
            try:
                backup(folder, tmp_path / f"copy{k}", folder / "queue.sqlite")
            except BaseException as error:  # noqa: BLE001 - told by the main thread
                failed.append(error)
                return
            k += 1

    with (
        triage.store.open(folder / "queue.sqlite") as store,
        opened(folder, store.apply, upkeep=busy) as line,
    ):
        copying = threading.Thread(target=copy)
        copying.start()
        for at in range(0, len(entries), 3):
            put(line, entries[at : at + 3])
            line.step()
        done.set()
        copying.join()
        whole = [each.id for each in store.queue()]
    assert not failed
    taken = sorted(tmp_path.glob("copy*"))
    assert len(taken) >= 2
    for each in (taken[0], taken[len(taken) // 2], taken[-1]):
        again = tmp_path / f"again-{each.name}"
        found = restore(each, again)
        with triage.store.open(again / "queue.sqlite") as store, opened(again, store.apply) as line:
            assert not line.problems
            line.catch_up()
            put(line, entries[found.log_next :])
            line.catch_up()
            assert [line_.id for line_ in store.queue()] == whole
        assert history.read(again / "history").collect().height == 42


def test_a_queue_on_a_server_is_not_in_it(data, tmp_path):
    made = backup(data, tmp_path / "copy", None)
    assert "no queue" in str(made)
    assert not (tmp_path / "copy" / "queue.sqlite").exists()


def test_files_are_for_their_owner_only(data, tmp_path):
    backup(data, tmp_path / "copy", data / "queue.sqlite")
    restore(tmp_path / "copy", tmp_path / "again")
    for folder in (tmp_path / "copy", tmp_path / "again"):
        assert folder.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("name", ["log", "queue.sqlite", "history/committed.json"])
def test_a_damaged_copy_is_not_restored(data, tmp_path, name):
    backup(data, tmp_path / "copy", data / "queue.sqlite")
    file = tmp_path / "copy" / name
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(BackupError, match=f"{name}: is not what was backed up"):
        restore(tmp_path / "copy", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_log_is_not_backed_up_in_silence(data, tmp_path):
    with sqlite3.connect(data / "log") as connection:
        connection.execute("UPDATE entry SET body = x'00' WHERE \"offset\" = 3")
    connection.close()
    with pytest.raises(BackupError, match="offset 3: checksum"):
        backup(data, tmp_path / "copy", None)
    assert not list(tmp_path.glob("copy*"))


def test_what_cannot_be_done_is_said(data, tmp_path):
    with pytest.raises(BackupError, match="no service's folder here"):
        backup(tmp_path / "nothing", tmp_path / "copy", None)
    backup(data, tmp_path / "copy", None)
    with pytest.raises(BackupError, match="is there already"):
        backup(data, tmp_path / "copy", None)
    with pytest.raises(BackupError, match="holds something"):
        restore(tmp_path / "copy", data)
    with pytest.raises(BackupError, match="is no backup, or one that was not finished"):
        restore(data, tmp_path / "again")
    manifest = tmp_path / "copy" / copies.MANIFEST
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"format": 9}))
    with pytest.raises(BackupError, match="format 9; this version of Vigie knows 1"):
        restore(tmp_path / "copy", tmp_path / "again")
    manifest.write_text(json.dumps(said | {"files": {"../x": "0"}}))
    with pytest.raises(BackupError, match="outside of the backup"):
        restore(tmp_path / "copy", tmp_path / "again")
