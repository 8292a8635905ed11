"""The courier: what the queue keeps for the log reaches it, whatever is away meanwhile, and the line does it once."""

import logging
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from bench import redis_server
from engine import courier
from engine.acts import SOURCE, closing
from engine.courier import Courier
from engine.durable import DurableLine
from engine.load import load
from ingest.log import Log
from ingest.logfile import LogClosedError
from ingest.streams.log import StreamLog
from ingest.streams.partition import PartitionLog
from triage import database, store
from triage.work import outgoing

NOW = time.time_ns() // 1_000_000
PATIENTS = 5


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """It looks again at once: what is tested is that it does."""
    monkeypatch.setattr(courier, "_EVERY_S", 0.01)
    monkeypatch.setattr(courier, "_AGAIN_S", 0.05)


@pytest.fixture
def queue(tmp_path):
    with store.open(tmp_path / "queue.sqlite") as opened:
        yield opened.engine


def put(queue, count, first=0, now=NOW):
    """Keep so many acts, one transaction each, as moves do."""
    for k in range(first, first + count):
        patient = f"p{k % PATIENTS}"
        with database.writing(queue) as connection:
            outgoing.put(
                connection,
                SOURCE,
                now,
                lambda name, number, patient=patient: closing(
                    patient, "insuffisance_cardiaque", "congestion", 1, workplace=name, seq=number, t_ms=now
                ),
            )


def kept(queue):
    """Give what was put, in its order, sent or not."""
    with queue.connect() as connection:
        return connection.execute(text("SELECT source, body FROM outgoing ORDER BY id")).all()


def logged(log):
    at, out = log.first_offset, []
    while entries := log.read(at):
        out += [(entry.source, entry.body) for entry in entries]
        at = entries[-1].offset + 1
    return out


@contextmanager
def carrying(queue, log, outbox=None):
    one = Courier(outbox or outgoing.Outbox(queue), log)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def wait_until(holds, seconds=30):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def emptied(queue):
    wait_until(lambda: outgoing.waiting(queue) == [])


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "vigie"]


def test_what_waits_and_what_comes_is_in_the_log_once_and_in_order(queue, tmp_path):
    put(queue, 250)  # more than goes at once
    with Log(tmp_path / "log") as log:
        with carrying(queue, log):
            put(queue, 20, first=250)
            emptied(queue)
            time.sleep(0.05)  # it looks again some times, and brings nothing twice
        assert logged(log) == kept(queue)
        assert len(logged(log)) == 270
    with queue.connect() as connection:
        assert connection.scalar(text("SELECT min(sent_ms - made_ms) FROM outgoing")) >= 0


def test_what_it_did_not_deliver_waits_for_the_next_start(queue, tmp_path):
    put(queue, 3)
    with Log(tmp_path / "log") as log:
        closed = Courier(outgoing.Outbox(queue), log)
    with pytest.raises(LogClosedError):
        closed.deliver()
    closed.stop()  # it was never started
    assert len(outgoing.waiting(queue)) == 3
    with Log(tmp_path / "log") as log:
        with carrying(queue, log):
            emptied(queue)
        assert logged(log) == kept(queue)


def test_what_is_dated_in_the_future_waits_for_its_time_and_is_said(queue, tmp_path, caplog, monkeypatch):
    """The line would refuse it, and the nurse would not hear of it."""
    caplog.set_level(logging.INFO, "vigie")
    put(queue, 2)
    put(queue, 3, first=2, now=NOW + 3_600_000)
    with Log(tmp_path / "log") as log, carrying(queue, log) as one:
        wait_until(lambda: one.problem)
        assert [letter.id for letter in outgoing.waiting(queue)] == [3, 4, 5]
        assert "which is ahead of this one's" in one.problem
        time.sleep(0.2)  # tried again and again, said once
        assert len(said(caplog)) == 1
        monkeypatch.setattr(courier.time, "time_ns", lambda: (NOW + 3_500_000) * 1_000_000)
        emptied(queue)
        wait_until(lambda: not one.problem)
        assert logged(log) == kept(queue)


@pytest.mark.skipif(redis_server.PROGRAM is None, reason="redis-server is missing: make servers")
def test_the_log_away_and_back(queue, tmp_path, caplog):
    caplog.set_level(logging.INFO, "vigie")
    with (
        redis_server.Server(tmp_path / "redis") as server,
        StreamLog(server.url, 1) as log,
        carrying(queue, log),
    ):
        put(queue, 4)
        emptied(queue)
        server.end()
        put(queue, 5, first=4)
        wait_until(lambda: len(said(caplog)) == 1)
        assert len(outgoing.waiting(queue)) == 5
        server.start()
        emptied(queue)
        wait_until(lambda: len(said(caplog)) == 2)
        with PartitionLog(server.url, 0) as partition:
            # An entry of a partition may have what came together.
            there = [body for source, body in logged(partition) if source == SOURCE]
        assert b"".join(there) == b"".join(body for _, body in kept(queue))
    away, back = said(caplog)
    assert away.startswith("acts of the cell do not reach the log: ")
    assert back == "acts of the cell reach the log again"


def test_the_queue_away_and_back(queue, tmp_path, caplog):
    caplog.set_level(logging.INFO, "vigie")

    def rename(old, new):
        with queue.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    put(queue, 4)
    rename("outgoing", "elsewhere")
    with Log(tmp_path / "log") as log, carrying(queue, log):
        wait_until(lambda: len(said(caplog)) == 1)
        time.sleep(0.2)  # tried again and again, said once
        assert len(said(caplog)) == 1
        assert logged(log) == []
        rename("elsewhere", "outgoing")
        emptied(queue)
        wait_until(lambda: len(said(caplog)) == 2)
        assert logged(log) == kept(queue)
    assert "no such table: outgoing" in said(caplog)[0]
    assert said(caplog)[1] == "acts of the cell reach the log again"


class Forgetful(outgoing.Outbox):
    """An outbox whose process ends between the log's answer and its own note, the first times."""

    times = 2

    def sent(self, ids):
        if self.times:
            self.times -= 1
            message = "ended before it was noted"
            raise OSError(message)
        super().sent(ids)


def test_what_is_sent_again_the_line_does_once(queue, tmp_path):
    """After the log has it, before that is noted: it goes again, the log has it twice, the line knows it."""
    put(queue, PATIENTS)
    loaded = load(["insuffisance_cardiaque"])
    folder = Path(tmp_path / "line")
    with DurableLine(folder, loaded.program, sink=lambda _: None, roster=loaded.roster) as line:
        with carrying(queue, line.log, Forgetful(queue)):
            emptied(queue)
        assert sorted(logged(line.log)) == sorted(3 * kept(queue))
        line.catch_up()
        assert line.accounts().balanced
        total = line.accounts().total
        assert (total.applied, total.duplicate) == (PATIENTS, 2 * PATIENTS)
