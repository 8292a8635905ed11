"""A cardiologist's change of a limit: kept, sent to the engine and audited in one transaction, or not at all."""

import json
import math
import threading
from zoneinfo import ZoneInfo

import pytest

from engine.enrolment import Enrolled
from engine.load import load
from ingest.decode import act_of
from kernels.reading import FUTURE_MS
from rules.limits import LimitBook
from triage import audit, database, store
from triage.work import cells, outgoing
from triage.work.limits import Concerned, LimitDesk, Waits
from triage.work.states import ChangedError, MoveError
from triage.work.tables import LIMIT_CHANGE

HEART = "insuffisance_cardiaque"
NOW = 1_764_252_000_000  # 27/11/2025 15:00 in Paris
DAY = 86_400_000
BOOK = f"""
[[cell]]
cell = "sans cellule"
protocol = "{HEART}"
limit = "systolic_low"
value = 95
author = "Dr Martin"
date = 2025-11-02
reason = "usage de la cellule"
"""


@pytest.fixture
def loaded():
    return load([HEART])


class Made:
    def __init__(self, queue, loaded):
        self.engine = queue.engine
        self.at = NOW
        self.protocol = loaded.program.protocols[0]
        book = LimitBook.loads(BOOK, "book", loaded.program.protocols)
        self.desk = LimitDesk(queue.engine, [self.protocol], book, ZoneInfo("Europe/Paris"), lambda: self.at)
        self.decoder = loaded.decoder()

    def set(self, name, value, reason="poids sec revu", who="dr.petit", **more):
        return self.desk.change("P1", HEART, name, value, reason, who, **more)

    def goes(self):
        """The log takes what waits for it."""
        outgoing.sent(self.engine, [each.id for each in outgoing.waiting(self.engine)], self.at)

    def standing(self, name):
        return next(
            e for e in self.desk.in_force("P1", "sans cellule", self.protocol) if e.limit.name == name
        )

    def acts(self):
        """What waits for the log, decoded: (t_ms, what, author, text)."""
        letters = outgoing.waiting(self.engine)
        batch, refused = self.decoder.decode(
            [(k, NOW + DAY, e.source, e.body) for k, e in enumerate(letters)]
        )
        assert not len(refused)
        acts = [act_of(batch, row) for row in range(len(batch))]
        return [
            (t, act.milli if act.verb == 2 else None, act.author, act.text)
            for t, act in zip(batch.t_ms.tolist(), acts, strict=True)
        ]

    def audited(self):
        return [(e.action, e.actor, json.loads(e.details)) for e in audit.entries(self.engine, subject="P1")][
            ::-1
        ]


@pytest.fixture
def made(url, loaded):
    with store.open(url) as queue:
        yield Made(queue, loaded)


def test_it_is_in_force_told_to_the_engine_and_audited(made):
    assert made.standing("gain_3d_kg").value == 2.0
    done = made.set("gain_3d_kg", 1.5, "  poids sec\n revu ")
    origin = "patient, dr.petit, 27/11/2025 : poids sec revu"
    assert made.standing("gain_3d_kg") == done
    # The engine does not go by it yet, and the page does not say so.
    assert (done.value, done.origin, done.changed, done.version) == (
        2.0,
        "défaut du protocole [S17 S18]",
        True,
        1,
    )
    assert done.waits == Waits(1.5, origin, NOW - FUTURE_MS)
    assert made.desk.steps("P1", "sans cellule", made.protocol, "gain_3d_kg") == [(0, 2.0)]
    assert made.acts() == [(NOW, 1500, "dr.petit", "poids sec revu")]
    made.goes()
    done = made.standing("gain_3d_kg")
    assert (done.value, done.origin, done.changed, done.version) == (1.5, origin, True, 1)
    assert done.waits is None
    details = {"protocol": HEART, "limit": "gain_3d_kg", "from": 2.0, "to": 1.5, "reason": "poids sec revu"}
    assert made.audited() == [("limit set", "dr.petit", details)]


def test_taken_back_it_is_what_the_book_says(made):
    assert (made.standing("systolic_low").value, made.standing("systolic_low").changed) == (95.0, False)
    made.set("systolic_low", 100)
    made.at += 1000
    done = made.set("systolic_low", None, "essai terminé", "dr.roy")
    assert (done.value, done.changed, done.version) == (95.0, False, 2)
    assert done.origin == "cellule sans cellule, Dr Martin, 02/11/2025 : usage de la cellule"
    assert [act[1] for act in made.acts()] == [100_000, None]
    assert [(e.former, e.value, e.author) for e in made.desk.history("P1")] == [
        (100.0, None, "dr.roy"),
        (95.0, 100.0, "dr.petit"),
    ]
    made.goes()
    steps = made.desk.steps("P1", "sans cellule", made.protocol, "systolic_low")
    assert steps == [(0, 95.0), (NOW, 100.0), (NOW + 1000, 95.0)]
    assert made.audited()[1][0] == "limit taken back"


def test_a_limit_without_default(made):
    assert math.isnan(made.standing("dry_weight_kg").value)
    made.set("dry_weight_kg", 74.5)
    assert made.desk.history("P1")[0].former is None
    assert made.acts() == [(NOW, 74_500, "dr.petit", "poids sec revu")]


@pytest.mark.parametrize(
    ("name", "value", "reason", "said"),
    [
        ("gain_3d_kg", 5.1, "motif", "prise de poids en 3 jours : 5,1 kg n’est pas possible ; de 0,5 à 5 kg"),
        ("gain_3d_kg", 0.4, "motif", "de 0,5 à 5 kg"),
        ("gain_3d_kg", math.nan, "motif", "n’est pas possible"),
        ("gain_3d_kg", math.inf, "motif", "n’est pas possible"),
        ("gain_3d_kg", 1.00001, "motif", "trois décimales au plus"),
        ("gain_3d_kg", 1.5, " a ", "un motif est nécessaire"),
        ("gain_3d_kg", 1.5, "é" * 121, "motif : 240 lettres au plus"),
        ("gain_3d_kg", 1.5, "a\0bc", "sans caractère spécial"),
        ("gain_3d_kg", 1.5, "abc\udc80", "sans caractère spécial"),
        ("gain_3d_kg", None, "motif", "n’a pas été changée pour ce patient"),
        ("none", 1.5, "motif", "cette limite n’existe pas"),
    ],
)
def test_what_is_not_legal_is_refused_with_what_is_and_leaves_nothing(made, name, value, reason, said):
    with pytest.raises(MoveError, match=said):
        made.set(name, value, reason)
    assert (made.desk.history("P1"), made.acts(), made.audited()) == ([], [], [])


def test_the_same_again_is_refused_and_so_is_what_somebody_changed_meanwhile(made):
    made.set("gain_3d_kg", 1.5, version=0)
    with pytest.raises(MoveError, match="déjà la limite en vigueur"):
        made.set("gain_3d_kg", 1.5, version=1)
    with pytest.raises(ChangedError, match="relisez-la"):
        made.set("gain_3d_kg", 1.0, version=0)
    assert len(made.acts()) == 1


def test_a_clock_that_was_set_back_makes_no_older_act(made):
    made.set("gain_3d_kg", 1.5)
    made.at -= 3_600_000
    made.set("gain_3d_kg", 1.0)
    assert [t for t, *_ in made.acts()] == [NOW, NOW + 1]


def test_what_waits_is_counted_where_it_is_changed_again(made):
    """Who has not waited for the log goes on from what was decided."""
    made.set("gain_3d_kg", 1.5)
    with pytest.raises(MoveError, match="déjà la limite en vigueur"):
        made.set("gain_3d_kg", 1.5)
    made.at += 1000
    done = made.set("gain_3d_kg", None, "essai terminé")
    assert (done.value, done.changed, done.version, done.waits) == (2.0, False, 2, None)
    assert [(e.former, e.value) for e in made.desk.history("P1")] == [(1.5, None), (2.0, 1.5)]


def test_what_waits_behind_another_act_of_the_patient_goes_after_it(made):
    """Of the same patient a line was closed under a clock that was ahead."""
    with database.writing(made.engine) as connection:
        outgoing.put(connection, "cell", NOW, [outgoing.Draft("P1", NOW + DAY, lambda *_: b"")])
        outgoing.put(connection, "cell", NOW, [outgoing.Draft("P2", NOW + 9 * DAY, lambda *_: b"")])
    assert made.set("gain_3d_kg", 1.5).waits.begins_ms == NOW + DAY - FUTURE_MS


def test_of_two_at_once_one_is_done(made):
    out = []
    gate = threading.Barrier(4)

    def go(k):
        gate.wait()
        try:
            made.set("gain_3d_kg", 1.0 + k / 10, version=0)
            out.append("done")
        except ChangedError:
            out.append("changed")

    threads = [threading.Thread(target=go, args=(k,)) for k in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(out) == ["changed", "changed", "changed", "done"]
    assert len(made.acts()) == len(made.desk.history("P1")) == len(made.audited()) == 1


def test_limits_in_force_are_said_again_before_the_log_forgets_them(made):
    made.set("gain_3d_kg", 1.5)
    made.set("systolic_low", 100)
    made.at += 1
    made.set("systolic_low", None)
    outgoing.sent(made.engine, [each.id for each in outgoing.waiting(made.engine)], NOW)
    made.at = NOW + 30 * DAY
    assert made.desk.say_again(30 * DAY) == 0
    made.at += 2
    # What was taken back needs no word: without one there is none in force.
    assert made.desk.say_again(30 * DAY) == 1
    assert made.desk.say_again(30 * DAY) == 0
    assert made.acts() == [(NOW, 1500, "dr.petit", "poids sec revu")]  # with its own time
    assert len(made.audited()) == 3


def test_outside_the_range_of_a_newer_protocol_it_is_not_in_force(made):
    with database.writing(made.engine) as connection:
        row = {
            "patient": "P1", "protocol": HEART, "name": "gain_3d_kg", "number": 1, "former": 2.0, "value": 9.0,
            "author": "dr.petit", "reason": "motif", "t_ms": NOW, "said_ms": NOW,
        }  # fmt: skip
        connection.execute(LIMIT_CHANGE.insert().values(row))
    assert (made.standing("gain_3d_kg").value, made.standing("gain_3d_kg").changed) == (2.0, False)
    assert made.set("gain_3d_kg", 1.5).version == 2


def test_who_has_a_limit_of_their_own_is_counted_among_those_it_would_be_for(made):
    theirs = {f"P{i}": Enrolled((HEART,), "Nord" if i < 4 else "Sud") for i in range(6)}
    cells.take(made.engine, theirs | {"P9": Enrolled(("covidom",), "Nord")})
    for patient, value in (("P1", 85.0), ("P2", 85.0), ("P2", None), ("P5", 85.0)):
        made.at += 1000
        made.desk.change(patient, HEART, "systolic_low", value, "pression habituelle", "dr.petit")
    names = ["systolic_low", "spo2_low"]
    assert made.desk.concerned("Nord", made.protocol, names) == Concerned(
        4, {"systolic_low": 1, "spo2_low": 0}
    )
    assert made.desk.concerned("Sud", made.protocol, names).own == {"systolic_low": 1, "spo2_low": 0}
