"""The courier: what the queue keeps for the log reaches it, whatever is away meanwhile, and the line does it once."""

import logging
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from bench import redis_server
from engine import courier
from engine.acts import SOURCE, closing
from engine.courier import Courier, Held
from engine.durable import DurableLine
from engine.load import load
from ingest.log import Log
from ingest.logfile import LogClosedError
from ingest.streams.log import StreamLog
from ingest.streams.partition import PartitionLog
from kernels.reading import FUTURE_MS
from triage import database, store
from triage.work import outgoing
from triage.work.outgoing import Draft

NOW = time.time_ns() // 1_000_000
PATIENTS = 5
HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """It looks again at once: what is tested is that it does."""
    monkeypatch.setattr(courier, "_EVERY_S", 0.01)
    monkeypatch.setattr(courier, "_AGAIN_S", 0.05)


@pytest.fixture
def queue(tmp_path):
    with store.open(tmp_path / "queue.sqlite") as opened:
        yield opened.engine


def draft(patient, t_ms):
    def make(name, number):
        return closing(
            patient, "insuffisance_cardiaque", "congestion", 1, workplace=name, seq=number, t_ms=t_ms
        )

    return Draft(patient, t_ms, make)


def put(queue, count, first=0, now=NOW):
    """Keep so many acts, one transaction each, as moves do."""
    for k in range(first, first + count):
        patient = f"p{k % PATIENTS}"
        with database.writing(queue) as connection:
            outgoing.put(connection, SOURCE, now, [draft(patient, now)])


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
        wait_until(lambda: one.problem and len(outgoing.waiting(queue)) == 3)
        assert [letter.id for letter in outgoing.waiting(queue)] == [3, 4, 5]
        when = datetime.fromtimestamp(NOW / 1000 + 3300, UTC).isoformat(timespec="seconds")
        assert f"waiting: 3, until {when}: the clock of the pages' machine is ahead" in one.problem
        put(queue, 1, now=NOW + 3_600_000)
        wait_until(lambda: "waiting: 4" in one.problem)
        time.sleep(0.2)  # tried again and again, said once
        assert len(said(caplog)) == 1
        monkeypatch.setattr(courier.time, "time_ns", lambda: (NOW + 3_500_000) * 1_000_000)
        emptied(queue)
        wait_until(lambda: not one.problem)
        assert logged(log) == kept(queue)


def test_what_waits_holds_up_its_own_patient_and_nobody_else(queue, tmp_path):
    """More of them than go at once wait, before and behind those that can go."""
    now = [NOW]
    put(queue, 1, now=NOW + DAY)
    for _ in range(210):
        put(queue, 1)  # of the same patient, behind it
    put(queue, 204, first=1)
    with Log(tmp_path / "log") as log:
        one = Courier(outgoing.Outbox(queue), log, lambda: now[0])
        while one.deliver():
            pass
        behind = 211 + 40  # every fifth of the others is that patient's too
        assert len(logged(log)) == 415 - behind
        assert one.held == Held(behind, NOW + DAY, NOW + DAY)
        put(queue, 1, first=3)
        assert one.deliver() == 1
        now[0] += DAY - FUTURE_MS
        assert [one.deliver(), one.deliver(), one.deliver()] == [200, behind - 200, 0]
        assert one.held is None
        assert sorted(logged(log)) == sorted(kept(queue))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_waits_each_goes_as_soon_as_it_may_and_in_its_patients_order(tmp_path_factory, data):
    """Nothing before its time, nothing before what is older of its patient, nothing held up by another's."""
    folder = tmp_path_factory.mktemp("queue")
    ahead = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=6)
    made, went = {}, []

    class Taken:
        def append_many(self, entries):
            return [SimpleNamespace(result=lambda body=body: went.append(body)) for _, body, _ in entries]

    with store.open(folder / "queue.sqlite") as opened:
        clock = [NOW]
        one = Courier(outgoing.Outbox(opened.engine), Taken(), lambda: clock[0])
        for _ in range(data.draw(st.integers(1, 6))):
            for patient, hours in data.draw(ahead):
                t_ms = clock[0] + hours * HOUR
                with database.writing(opened.engine) as connection:
                    outgoing.put(connection, SOURCE, clock[0], [draft(patient, t_ms)])
                made[kept(opened.engine)[-1][1]] = patient, t_ms
            one.deliver()
            free = [
                body
                for place, (body, (patient, _)) in enumerate(made.items())
                if all(
                    t_ms <= clock[0] + FUTURE_MS for p, t_ms in [*made.values()][: place + 1] if p == patient
                )
            ]
            assert sorted(went) == sorted(set(free) | set(went))
            assert set(free) >= set(went)
            waits = [t_ms for body, (_, t_ms) in made.items() if body not in went]
            too_far = [t_ms for t_ms in waits if t_ms > clock[0] + FUTURE_MS]
            assert one.held == (Held(len(waits), min(too_far), max(too_far)) if too_far else None)
            clock[0] += data.draw(st.integers(0, 4)) * HOUR
    for patient in "abc":
        of = [body for body, (whose, _) in made.items() if whose == patient]
        assert [body for body in went if body in of] == of[: sum(body in went for body in of)]


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
