import threading
import time

import pytest

from ingest import packet
from ingest.admission import Admission, Body
from ingest.decode import Decoder
from ingest.intake import Intake
from ingest.log import Log, LogBusyError, LogClosedError, LogDiskFullError, LogError
from ingest.signals import plausible_ranges
from ingest.sources import Source

T = 1_760_000_000_000
ALL = Source("all", everyone=True)


def body(patient="P1", seq=0, kg=80.0, t_ms=T):
    return Body(ALL, packet.spot(patient, "scale", seq, t_ms, {1: kg}), T)


@pytest.fixture
def log(tmp_path):
    with Log(tmp_path / "log") as log:
        yield log


@pytest.fixture
def make(log):
    made = []

    def make(**options):
        intake = Intake(log, Admission(Decoder(*plausible_ranges(), raw=False), lambda _: None), **options)
        made.append(intake)
        return intake

    yield make
    for intake in made:
        intake.close()


def test_an_answer_says_that_it_is_in_the_log(log, make):
    intake = make()
    sent = [body(seq=k) for k in range(200)]
    for each in sent:
        intake.put(each)
    tickets = [intake.put(each) for each in sent]
    for k, ticket in enumerate(tickets):
        assert ticket.result(60).duplicate == 1
        assert log.next_offset > k
    assert [entry.body for entry in log.read(0)] == [each.data for each in sent] * 2
    assert {entry.source for entry in log.read(0)} == {"all"}


def test_what_waits_together_is_judged_and_written_together(log, make):
    groups = []
    intake = make(observer=groups.append)
    with log._writing:  # the first group waits for the disk; what follows waits for it
        first = intake.put(body(seq=0))
        until = time.monotonic() + 60
        while not log._queue and not groups and intake.waiting[0] and time.monotonic() < until:
            time.sleep(0.001)
        rest = [intake.put(body(seq=k)) for k in range(1, 50)]
    assert first.result(60).accepted == 1
    assert all(ticket.result(60).accepted == 1 for ticket in rest)
    assert sum(len(group.bodies) for group in groups) == 50
    assert len(groups) < 50
    assert all(group.begun_s <= group.judged_s <= group.logged_s for group in groups)


def test_an_empty_body_is_answered_and_not_logged(log, make):
    answer = make().put(Body(ALL, b"", T)).result(60)
    assert (answer.packets, log.next_offset) == (0, 0)


def test_too_much_is_refused_at_once(log, make):
    intake = make()
    large = Body(ALL, bytes(16 << 20), T)
    tickets = []

    def flood():
        while True:
            tickets.append(intake.put(large))

    with log._writing, pytest.raises(LogBusyError, match="wait already; try later"):
        flood()
    assert len(tickets) < 20
    for ticket in tickets:
        assert ticket.result(60).quarantined


def test_a_full_disk_is_told_and_forgotten(log, make):
    intake = make()
    log._writer_connection.execute("PRAGMA max_page_count = 5")
    large = packet.spot("P1", "scale", 1, T, {1: 80.0}) * 2000
    assert isinstance(intake.put(Body(ALL, large, T)).exception(60), LogDiskFullError)
    log._writer_connection.execute("PRAGMA max_page_count = 100000")
    # What did not come into the log is no repeat when it comes again.
    answer = intake.put(body(seq=1)).result(60)
    assert (answer.accepted, answer.duplicate) == (1, 0)


def test_closing_logs_what_waits_and_takes_no_more(log, make):
    intake = make()
    tickets = [intake.put(body(seq=k)) for k in range(100)]
    intake.close()
    assert all(ticket.result(60).accepted for ticket in tickets)
    with pytest.raises(LogClosedError):
        intake.put(body())


def test_a_fault_reaches_whoever_waits(log, make, monkeypatch):
    intake = make()
    monkeypatch.setattr(intake._admission, "judge", lambda _: 1 / 0)
    error = intake.put(body()).exception(60)
    assert isinstance(error, LogError)
    assert "ZeroDivisionError" in str(error)
    monkeypatch.undo()
    assert intake.put(body()).result(60).accepted == 1


def test_from_many_threads_all_is_there_once(log, make):
    intake = make()
    answers = []

    def send(thread):
        for k in range(50):
            answers.append(intake.put(body(f"P{thread}", k)).result(60))  # noqa: PERF401 - as they come

    threads = [threading.Thread(target=send, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 400
    assert sum(answer.accepted for answer in answers) == 400
    assert len({entry.body for entry in log.read(0)}) == 400
