"""What a program enters is kept once for each key, also when it comes twice at once; on real databases."""

import threading

import pytest

from engine.enrolment import Enrolled
from ingest.signals import by_name
from triage import audit, store
from triage.work import cells, outgoing
from triage.work.entry import EntryError, RepeatedError, Typed, enter_once, far, possible, when

T0 = 1_790_000_000_000
WEIGHT = by_name("weight")


@pytest.fixture
def queue(url):
    with store.open(url) as queue:
        cells.take(queue.engine, {"p1": Enrolled(("ic",), "Nord"), "p2": Enrolled(("ic",), "Nord")})
        yield queue


def enter(queue, value=80.0, *, key="key-00001", who="marie", patient="p1"):
    typed = Typed({WEIGHT.code: value}, {}, T0)
    return enter_once(queue.engine, patient, typed, key, who=who, now_ms=T0)


def test_the_same_is_kept_once_and_something_else_is_refused(queue):
    assert enter(queue)
    assert not enter(queue)
    with pytest.raises(RepeatedError, match="cette clé a déjà servi"):
        enter(queue, 81.0)
    assert len(outgoing.waiting(queue.engine)) == 1
    # A key is of its account and patient.
    assert enter(queue, 81.0, who="paul")
    assert enter(queue, 81.0, patient="p2")
    assert enter(queue, 81.0, key="key-00002")
    assert len(outgoing.waiting(queue.engine)) == 4
    assert len(audit.entries(queue.engine, action="entered")) == 4
    assert audit.verify(queue.engine).problem == ""


def test_of_many_at_once_one_is_kept(queue):
    got = []
    gate = threading.Barrier(6)

    def send():
        gate.wait()
        got.append(enter(queue))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 5 + [True]
    assert len(outgoing.waiting(queue.engine)) == 1


def test_what_is_not_possible_is_named():
    assert possible(82.4, WEIGHT) == 82.4
    for value, words in ((9000.0, "9000 n’est pas possible"), (80.0001, "trois décimales")):
        with pytest.raises(EntryError, match=words):
            possible(value, WEIGHT)
    with pytest.raises(EntryError, match="7 derniers jours"):
        when(T0 - 8 * 86_400_000, T0)
    assert far({WEIGHT.code: 80.0}, {WEIGHT.code: 100.0}) == [
        "poids\N{NO-BREAK SPACE}: 80, la dernière fois 100\N{NO-BREAK SPACE}kg"
    ]
    assert far({WEIGHT.code: 90.0}, {WEIGHT.code: 100.0}) == far({WEIGHT.code: 90.0}, {}) == []
