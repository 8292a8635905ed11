"""A cell's limit reaches each of its patients, once, whenever they come; and leaves them when they leave."""

import contextlib
import threading
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.courier import Courier, Held
from engine.enrolment import Enrolled
from engine.load import load
from ingest.decode import act_of
from kernels.reading import FUTURE_MS
from rules.limits import LimitBook
from triage import database, store
from triage.work import cell_limits, cells, outgoing
from triage.work.cell_limits import Waits
from triage.work.limits import LimitDesk
from triage.work.states import MoveError
from triage.work.tables import PROPOSAL

HEART, COVID = "insuffisance_cardiaque", "covidom"
NOW = 1_764_252_000_000  # 27/11/2025 15:00 in Paris
HOUR = 3_600_000
DAY = 86_400_000
AGAIN = 30 * DAY
LIMIT = "gain_3d_kg"
BOOK = f"""
[[patient]]
patient = "P0"
protocol = "{HEART}"
limit = "{LIMIT}"
value = 3.5
author = "Dr Martin"
date = 2025-11-02
reason = "connu"
"""


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch):
    monkeypatch.setattr(cell_limits, "LOOK_S", 0.0)


@pytest.fixture(scope="module")
def loaded():
    return load([HEART, COVID])


class Made:
    """A queue with patients in cells, and a line that hears what the queue says."""

    def __init__(self, queue, loaded):
        self.engine = queue.engine
        self.at = NOW
        self.enrolment = {}
        self.teller = cell_limits.Teller(queue.engine, AGAIN)
        self.loaded = loaded
        self.line = loaded.line()
        self.offset = 0
        self.decoder = loaded.decoder()
        self.protocol = loaded.program.protocols[0]
        book = LimitBook.loads(BOOK, "book", loaded.program.protocols)
        self.desk = LimitDesk(
            self.engine, loaded.program.protocols, book, ZoneInfo("Europe/Paris"), lambda: self.at
        )
        with database.writing(self.engine) as connection:
            row = {
                "cell": "Nord", "protocol": HEART, "protocol_version": "1", "protocol_hash": "0",
                "changes": {"limits": []}, "comment": "essai", "author": "a", "made_ms": NOW, "state": "signed",
                "version": 1, "study": {}, "report": b"",
            }  # fmt: skip
            self.proposal = connection.execute(PROPOSAL.insert().values(row)).inserted_primary_key[0]

    def enrol(self, **of):
        """Put patients in cells, None: in none; with `/covidom` behind the cell, in that programme alone."""
        for patient, said in of.items():
            self.enrolment.pop(patient, None)
            if said is not None:
                programmes = (COVID,) if said.endswith("/covidom") else (HEART,)
                self.enrolment[patient] = Enrolled(programmes, said.split("/")[0])
        cells.take(self.engine, self.enrolment, self.at)

    def put(self, cell, value, name=LIMIT):
        self.at += 1000
        with database.writing(self.engine) as connection:
            cell_limits.put(
                connection, cell, HEART, {name: value}, author="a et b", reason="essai",
                proposal=self.proposal, now_ms=self.at,
            )  # fmt: skip

    def tell(self):
        """Say what is due; give who was told what, as decoded from the outbox, which is emptied into the line."""
        self.teller.tell(self.at)
        letters = outgoing.waiting(self.engine)
        entries = [(self.offset + k, self.at, each.source, each.body) for k, each in enumerate(letters)]
        self.offset += len(letters)
        batch, refused = self.decoder.decode(entries)
        assert not len(refused)
        self.line.process(batch, refused, np.array([each[1] for each in entries], np.int64))
        outgoing.sent(self.engine, [each.id for each in letters], self.at)
        acts = [act_of(batch, row) for row in range(len(batch))]
        return {batch.patient_id(row): act.milli if act.verb == 4 else None for row, act in enumerate(acts)}

    def carry(self):
        """Let the courier bring what can go to the line; give how much it was, and what waits."""
        one = Courier(outgoing.Outbox(self.engine), self, lambda: self.at)
        brought = one.deliver()
        return brought, one.held

    def append_many(self, entries):
        """Be the courier's log: what the line refuses is what it must not be given."""
        said = [(self.offset + k, at, source, body) for k, (source, body, at) in enumerate(entries)]
        self.offset += len(said)
        batch, refused = self.decoder.decode(said)
        assert not len(refused)
        self.line.process(batch, refused, np.array([each[1] for each in said], np.int64))
        return [SimpleNamespace(result=lambda: None) for _ in said]

    def heard(self, patient, name=LIMIT):
        """Value and origin that the engine goes by."""
        (shard,) = self.line.shards
        ids = shard.state.patient_ids(np.arange(shard.state.used))
        (row,) = [r for r, each in enumerate(self.loaded.program.rule_rows) if each.id == "weight_gain_3d"]
        slot = np.array([ids.index(patient)], np.int32)
        values, origins = shard.limits.in_force(np.array([row], np.int16), slot)
        k = self.protocol.limits_of(self.loaded.program.rule_rows[row].rule).index(name)
        return float(values[0, k]), shard.limits.origins[origins[0, k]]

    def shown(self, patient, cell, name=LIMIT):
        """Value and origin that the page shows."""
        standings = self.desk.in_force(patient, cell, self.protocol)
        return next((each.value, each.origin) for each in standings if each.limit.name == name)

    def waits(self, patient, cell, name=LIMIT):
        """Value that the page shows as waiting, and when it may go."""
        standings = self.desk.in_force(patient, cell, self.protocol)
        waits = next(each.waits for each in standings if each.limit.name == name)
        return waits and (waits.value, waits.begins_ms)


@pytest.fixture
def made(url, loaded):
    with store.open(url) as queue:
        yield Made(queue, loaded)


def test_each_patient_of_the_cell_and_the_programme_is_told_once(made):
    made.enrol(P1="Nord", P2="Nord", P3="Sud", P4="Nord/covidom")
    assert made.tell() == {}
    made.put("Nord", 1.5)
    assert made.tell() == {"P1": 1500, "P2": 1500}
    assert made.tell() == {}
    assert made.heard("P1") == made.shown("P1", "Nord") == (1.5, "cellule, a et b, 27/11/2025 : essai")
    assert made.shown("P3", "Sud")[0] == 2.0


def test_who_comes_later_is_told_then_and_who_leaves_is_told_too(made):
    made.enrol(P1="Nord", P2="Sud")
    made.put("Nord", 1.5)
    made.put("Sud", 3.0)
    made.tell()
    made.at += DAY
    made.enrol(P5="Nord")
    assert made.tell() == {"P5": 1500}
    made.enrol(P1="Sud", P2="Est")
    assert made.tell() == {"P1": 3000, "P2": None}
    assert made.heard("P1")[0] == 3.0
    assert made.heard("P2") == (2.0, "défaut du protocole [S17 S18]")
    # And back, though the limit of that cell is older than what was heard since.
    made.at += DAY
    made.enrol(P1="Nord", P2="Sud")
    assert made.tell() == {"P1": 1500, "P2": 3000}
    assert (made.heard("P1")[0], made.heard("P2")[0]) == (1.5, 3.0)


def test_the_page_shows_what_was_told_and_not_what_will_be(made):
    made.enrol(P1="Nord")
    made.put("Nord", 1.5)
    assert made.shown("P1", "Nord") == (2.0, "défaut du protocole [S17 S18]")
    made.teller.tell(made.at)
    # Told is not heard: it is in the outbox.
    assert made.shown("P1", "Nord") == (2.0, "défaut du protocole [S17 S18]")
    assert made.waits("P1", "Nord") == (1.5, made.at - FUTURE_MS)
    assert made.desk.of_cell("Nord", made.protocol)[1].value == 1.5
    assert cell_limits.reached(made.engine, "Nord", HEART, [LIMIT]) == (0, 1)
    made.tell()
    assert made.shown("P1", "Nord")[0] == 1.5
    assert cell_limits.reached(made.engine, "Nord", HEART, [LIMIT]) == (1, 1)
    assert made.shown("P9", "Nord")[0] == 2.0  # whom no enrolment names


def test_who_is_followed_no_more_is_told_nothing(made):
    made.enrol(P1="Nord", P2="Nord")
    made.enrol(P1=None)
    made.put("Nord", 1.5)
    assert made.tell() == {"P2": 1500}
    assert cell_limits.reached(made.engine, "Nord", HEART, [LIMIT]) == (1, 1)
    made.enrolment["P2"] = Enrolled((HEART,), "Nord", until_ms=made.at)
    made.put("Nord", 1.25)
    cells.take(made.engine, made.enrolment, made.at)
    assert made.tell() == {}


def test_the_steps_are_what_the_patient_was_told(made):
    made.enrol(P1="Sud")
    made.put("Nord", 1.2)
    made.at += DAY
    made.enrol(P1="Nord")
    made.tell()
    told = made.at
    assert made.desk.steps("P1", "Nord", made.protocol, LIMIT) == [(0, 2.0), (told, 1.2)]
    made.at += DAY
    made.enrol(P1="Est")
    made.tell()
    assert made.desk.steps("P1", "Est", made.protocol, LIMIT)[2:] == [(made.at, 2.0)]


def test_it_is_looked_again_at_once_when_a_limit_changes_and_else_now_and_then(made, monkeypatch):
    monkeypatch.setattr(cell_limits, "LOOK_S", 3600.0)
    made.enrol(P1="Nord")
    made.put("Nord", 1.5)
    assert made.tell() == {"P1": 1500}
    assert made.tell() == {}
    made.enrol(P2="Nord")
    assert made.tell() == {}
    made.put("Nord", 1.25)
    assert made.tell() == {"P1": 1250, "P2": 1250}


def test_several_processes_tell_once(made, url):
    made.enrol(**{f"P{k}": "Nord" for k in range(50)})
    made.put("Nord", 1.5)
    told = []

    def tell():
        with store.open(url) as queue:
            told.append(cell_limits.Teller(queue.engine, AGAIN).tell(made.at))

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(told) == [0, 0, 0, 50]
    assert len(made.tell()) == 50


def test_taken_back_who_heard_of_it_is_told_and_nobody_else(made):
    made.enrol(P1="Nord")
    made.put("Nord", 1.5)
    made.tell()
    made.put("Nord", None)
    made.enrol(P2="Nord")
    assert made.tell() == {"P1": None}
    assert made.heard("P1")[0] == made.shown("P1", "Nord")[0] == 2.0


def test_before_the_log_forgets_it_is_said_again_and_that_changes_nothing(made):
    made.enrol(P1="Nord")
    made.put("Nord", 1.5)
    made.tell()
    before = made.heard("P1")
    made.at += AGAIN
    assert made.tell() == {}
    made.at += 1
    assert made.tell() == {"P1": 1500}
    assert made.heard("P1") == before
    assert made.tell() == {}


def test_a_patients_own_limit_wins_in_the_page_as_in_the_engine(made):
    made.enrol(P0="Nord", P1="Nord")
    made.put("Nord", 1.5)
    made.desk.change("P1", HEART, LIMIT, 4.0, "connu du service", "a")
    made.tell()
    assert made.heard("P1") == made.shown("P1", "Nord") == (4.0, "patient, a, 27/11/2025 : connu du service")
    assert made.shown("P0", "Nord")[0] == 3.5
    steps = made.desk.steps("P1", "Nord", made.protocol, LIMIT)
    assert [value for _, value in steps] == [2.0, 1.5, 4.0]
    made.at += 1000
    made.desk.change("P1", HEART, LIMIT, None, "essai terminé", "a")
    made.tell()
    assert made.heard("P1")[0] == made.shown("P1", "Nord")[0] == 1.5
    assert made.desk.steps("P1", "Nord", made.protocol, LIMIT)[-1][1] == 1.5
    assert [value for _, value in made.desk.steps("P0", "Nord", made.protocol, LIMIT)] == [3.5]


def test_a_clock_that_was_ahead_and_is_corrected_makes_a_limit_wait_and_the_pages_say_so(made):
    """The act is dated after the one before it, thus ahead: the line would refuse it, and go by the one before."""
    made.enrol(P1="Nord", P2="Nord")
    made.at = NOW + HOUR
    made.put("Nord", 1.5)
    made.tell()
    ahead = made.at
    made.at = NOW + 60_000
    made.put("Nord", 3.0)
    assert made.teller.tell(made.at) == 2
    begins = ahead + 1 - FUTURE_MS
    for _ in range(2):  # tried again and again
        assert made.carry() == (0, Held(2, ahead + 1, ahead + 1))
        assert made.heard("P1") == made.shown("P1", "Nord") == (1.5, "cellule, a et b, 27/11/2025 : essai")
        assert cell_limits.reached(made.engine, "Nord", HEART, [LIMIT]) == (0, 2)
        assert cell_limits.waits(made.engine, "Nord", HEART, [LIMIT]) == Waits(2, begins)
        assert made.waits("P1", "Nord") == (3.0, begins)
        assert [value for _, value in made.desk.steps("P1", "Nord", made.protocol, LIMIT)] == [2.0, 1.5]
        assert made.teller.tell(made.at) == 0
    # What else is done meanwhile for another patient goes.
    made.enrol(P3="Nord")
    assert made.teller.tell(made.at) == 1
    assert made.carry()[0] == 1
    assert made.heard("P3")[0] == made.shown("P3", "Nord")[0] == 3.0
    assert cell_limits.reached(made.engine, "Nord", HEART, [LIMIT]) == (1, 3)
    made.at = begins - 1
    assert made.carry()[0] == 0
    made.at = begins
    assert made.carry() == (2, None)
    assert made.heard("P1") == made.shown("P1", "Nord") == (3.0, "cellule, a et b, 27/11/2025 : essai")
    assert cell_limits.reached(made.engine, "Nord", HEART, [LIMIT]) == (3, 3)
    assert cell_limits.waits(made.engine, "Nord", HEART, [LIMIT]) is None
    assert made.waits("P1", "Nord") is None


def test_a_patients_own_limit_waits_in_the_same_way(made):
    made.enrol(P1="Nord", P2="Nord")
    made.at = ahead = NOW + HOUR
    made.desk.change("P1", HEART, LIMIT, 1.0, "essai du matin", "a")
    assert made.carry()[0] == 1
    made.at = NOW + 60_000
    made.desk.change("P1", HEART, LIMIT, 2.5, "essai du soir", "a")
    made.desk.change("P2", HEART, LIMIT, 2.5, "essai du soir", "a")
    begins = ahead + 1 - FUTURE_MS
    assert made.carry() == (1, Held(1, ahead + 1, ahead + 1))
    assert made.heard("P1") == made.shown("P1", "Nord") == (1.0, "patient, a, 27/11/2025 : essai du matin")
    assert made.heard("P2")[0] == made.shown("P2", "Nord")[0] == 2.5
    assert made.waits("P1", "Nord") == (2.5, begins)
    # Nor does what is decided for the cell overtake it.
    made.put("Nord", 3.0)
    made.teller.tell(made.at)
    assert made.carry()[0] == 1
    assert cell_limits.waits(made.engine, "Nord", HEART, [LIMIT]) == Waits(1, begins)
    assert made.waits("P1", "Nord") == (2.5, begins)
    made.at = begins
    assert made.carry() == (2, None)
    assert made.heard("P1") == made.shown("P1", "Nord") == (2.5, "patient, a, 27/11/2025 : essai du soir")
    assert made.waits("P1", "Nord") is None


def test_more_patients_than_one_transaction_takes(made, monkeypatch):
    monkeypatch.setattr(cell_limits, "AT_ONCE", 7)
    made.enrol(**{f"P{k}": "Nord" for k in range(20)})
    made.put("Nord", 1.5)
    told = [made.tell() for _ in range(4)]
    assert [len(each) for each in told] == [7, 7, 6, 0]
    assert {patient for each in told for patient in each} == {f"P{k}" for k in range(20)}


def test_a_kill_between_the_queue_and_the_log_loses_nothing(made, monkeypatch):
    """What is told and that it was told are one transaction: taken back, it is due again."""
    made.enrol(P1="Nord")
    made.put("Nord", 1.5)

    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    monkeypatch.setattr(cell_limits, "_note", killed)
    with pytest.raises(KilledError):
        made.teller.tell(made.at)
    monkeypatch.undo()
    assert outgoing.waiting(made.engine) == []
    assert made.tell() == {"P1": 1500}


MOVES = st.one_of(
    st.tuples(st.just("carry"), st.none(), st.none()),
    st.tuples(st.just("clock"), st.none(), st.sampled_from((-2 * HOUR, -60_000, HOUR))),
    st.tuples(st.just("own"), st.sampled_from(("P1", "P2", "P3")), st.sampled_from((1.2, 2.5, 4.0))),
    st.tuples(st.just("put"), st.sampled_from(("Nord", "Sud")), st.sampled_from((1.0, 1.5, 3.0, None))),
    st.tuples(st.just("enrol"), st.sampled_from(("P1", "P2", "P3")), st.sampled_from(("Nord", "Sud", "Est"))),
    st.tuples(st.just("tell"), st.none(), st.none()),
    st.tuples(st.just("pass"), st.none(), st.sampled_from((1, DAY, 31 * DAY))),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(MOVES, max_size=20))
def test_whatever_happens_the_engine_goes_by_what_the_page_shows(tmp_path_factory, loaded, moves):
    folder = tmp_path_factory.mktemp("queue")
    where = {}
    with store.open(f"sqlite:///{folder / 'queue.sqlite'}") as queue:
        made = Made(queue, loaded)
        for what, a, b in moves:
            if what == "put":
                made.put(a, b)
            elif what == "enrol":
                where[a] = b
                made.enrol(**{a: b})
            elif what == "tell":
                made.teller.tell(made.at)
            elif what == "carry":
                made.carry()
            elif what == "own" and a in where:
                with contextlib.suppress(MoveError):  # it is that already
                    made.desk.change(a, HEART, LIMIT, b, "essai", "a")
            elif what in {"pass", "clock"}:
                made.at += b
            (shard,) = made.line.shards
            known = set(shard.state.patient_ids(np.arange(shard.state.used)))
            for patient, cell in where.items():
                value = made.heard(patient)[0] if patient in known else 2.0
                assert value == made.shown(patient, cell)[0]
        # Once every clock has caught up, all that was decided holds.
        made.at += DAY
        while made.teller.tell(made.at):
            pass
        while made.carry()[0]:
            pass
        for patient, cell in where.items():
            assert made.waits(patient, cell) is None
