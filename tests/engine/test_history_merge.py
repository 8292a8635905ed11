"""Small files of history are merged beside the running line, and nothing is lost or read twice meanwhile."""

import os
import threading

import polars as pl
import pytest
from test_history import DAY, NOON, batch, collected, everything

from engine import history_merge
from engine.durable import DurableLine, Upkeep
from engine.history import History, HistoryError, read
from engine.history_merge import LINGER_S, MANY, QUIET_S, Merger
from engine.load import load
from ingest import packet

HOUR_S = 3600.0


@pytest.fixture
def history(tmp_path):
    """Two shards, twenty commits, of three days up to 2026-03-01."""
    made = History(tmp_path / "history", shards=2)
    for first in range(0, 40, 2):
        for shard in range(2):
            made.append(shard, first, first + 2, batch(first, first + 2, shard, 2))
        made.commit(first + 2)
    return made


def files(history, day="2026-03-01"):
    return len(list((history.folder / f"day={day}").glob("shard=*/*.parquet")))


def aged(history, now_s):
    """Let all files be two hours older than a time."""
    for path in history.folder.glob("day=*/shard=*/*.parquet"):
        os.utime(path, (now_s - 2 * HOUR_S,) * 2)


def test_days_that_are_over_are_merged_once_nothing_has_come_for_a_while(history):
    at = {"s": NOON / 1000 + 2 * DAY / 1000}
    merger = Merger(history, lambda: at["s"])
    for path in history.folder.glob("day=*/shard=*/*.parquet"):
        os.utime(path, (at["s"] - QUIET_S + 60,) * 2)
    assert merger.merge() == 0
    at["s"] += 120
    before = collected(history.folder)
    assert before == everything(batch(0, 40))
    assert merger.merge() > 60
    assert collected(history.folder) == before
    assert [count for _, count, _ in history.days()] == [1, 1, 1]
    assert merger.merge() == 0


def test_the_day_that_is_written_is_merged_when_it_has_many_files(tmp_path):
    history = History(tmp_path)
    merger = Merger(history, lambda: NOON / 1000)
    for first in range(MANY):
        if first == MANY - 1:
            assert merger.merge() == 0
        history.append(0, first, first + 1, batch(first, first + 1, number=40))
        history.commit(first + 1)
    assert merger.merge() >= MANY
    assert {day: count for day, count, _ in history.days()}["2026-03-01"] == 1
    assert collected(tmp_path) == everything(pl.concat([batch(k, k + 1, number=40) for k in range(MANY)]))


def test_who_has_begun_to_read_reads_on_and_later_the_merged_ones_go(history):
    at = {"s": NOON / 1000 + 2 * DAY / 1000}
    aged(history, at["s"])
    merger = Merger(history, lambda: at["s"])
    many = files(history)
    begun = read(history.folder)
    merger.merge()
    assert files(history) == many + 2
    assert everything(begun.collect()) == everything(batch(0, 40))
    # By the clock of the files, which this test does not move: long after they were made.
    at["s"] = max(newest for _, _, newest in history.days()) + LINGER_S + 60
    merger.merge()
    assert files(history) == 2
    assert collected(history.folder) == everything(batch(0, 40))
    assert collected(History(history.folder, shards=2).folder) == everything(batch(0, 40))


def test_commits_go_on_while_it_merges(history, monkeypatch):
    monkeypatch.setattr(history_merge, "MANY", 2)
    merger = Merger(history, lambda: NOON / 1000)
    done = threading.Event()

    def merge():
        while not done.is_set():
            merger.merge()

    thread = threading.Thread(target=merge)
    thread.start()
    for first in range(40, 90):
        for shard in range(2):
            history.append(shard, first, first + 1, batch(first, first + 1, shard, 2))
        history.commit(first + 1)
        if first % 10 == 0:
            assert collected(history.folder) == everything(batch(0, first + 1))
    done.set()
    thread.join()
    assert collected(history.folder) == everything(batch(0, 90))


def test_what_keeps_it_from_merging_is_said_and_over_when_it_is_over(history, monkeypatch):
    now_s = NOON / 1000 + 9 * DAY / 1000
    merger = Merger(history, lambda: now_s)
    aged(history, now_s)

    def full(*_, **__):
        message = "no room"
        raise HistoryError(message)

    monkeypatch.setattr(history, "merge", full)
    merger.look()
    merger._thread.join()
    assert merger.problem == "history is not merged: no room"
    monkeypatch.undo()
    again = Merger(history, lambda: now_s)
    again.look()
    again._thread.join()
    assert again.problem == ""
    assert collected(history.folder) == everything(batch(0, 40))


def test_a_running_line_has_it_done(tmp_path, monkeypatch):
    monkeypatch.setattr(history_merge, "MANY", 4)
    loaded = load(["insuffisance_cardiaque"])
    upkeep = Upkeep(checkpoint_s=0.01, heartbeat_s=60)
    stop = threading.Event()
    with DurableLine(
        tmp_path, loaded.program, sink=lambda _: None, roster=loaded.roster, upkeep=upkeep
    ) as line:
        running = threading.Thread(target=line.run, args=(stop,))
        running.start()
        now = line._wall_ms()
        for k in range(8):
            body = packet.spot("p1", "scale", k, now - 1000 + k, {1: 80.0 + k})
            offset = line.log.append("home", body, now).result(30)
            while line.history.committed <= offset:
                line._merge_due = 0.0
                stop.wait(0.02)
        line._merger._thread.join()
        line._merger.merge()
        stop.set()
        running.join()
        assert max(count for _, count, _ in line.history.days()) < 4
        assert len(read(tmp_path / "history").collect()) == 8
        assert line.problems == []
