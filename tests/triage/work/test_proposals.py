"""Proposals: two people answer for a limit, it holds from the stated moment, and what held before can be had again."""

import json
import threading
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from engine.enrolment import Enrolled
from engine.load import load
from rules.limits import LimitBook
from triage import audit, store
from triage.work import cell_limits, cells
from triage.work.limits import LimitDesk
from triage.work.proposals import LATEST_MS, Change, Proposals, Stage
from triage.work.states import ChangedError, MoveError
from triage.work.tables import CELL_LIMIT

HEART = "insuffisance_cardiaque"
NOW = 1_764_252_000_000
LIMIT = "gain_3d_kg"
STUDY = {"figures": {"base": {"load": 1.5}}}


class Made:
    def __init__(self, queue, protocols):
        self.engine = queue.engine
        self.at = NOW
        self.protocols = protocols
        self.enrol("P1")
        self.desk = self.of(protocols)

    def enrol(self, *patients):
        cells.take(self.engine, {each: Enrolled((HEART,), "Nord") for each in patients})

    def of(self, protocols):
        """The proposals under some protocols."""
        book = LimitBook(protocols)
        limits = LimitDesk(self.engine, protocols, book, ZoneInfo("Europe/Paris"), lambda: self.at)
        return Proposals(self.engine, protocols, limits, lambda: self.at)

    def propose(self, *changes, cell="Nord", who="dr.petit", comment="moins d’alertes"):
        changes = changes or (Change(LIMIT, 2.0, 1.5),)
        self.at += 1000
        return self.desk.propose(cell, HEART, changes, comment, who, STUDY, "<p>essai</p>")

    def get(self, number):
        return self.desk.get(number, ["Nord", "Sud"])

    def sign(self, number, who="dr.roy", from_ms=None):
        self.desk.sign(number, who, from_ms, self.get(number).version)

    def in_force(self, cell="Nord"):
        with self.engine.connect() as connection:
            return {name: each.value for (_, name), each in cell_limits.in_force(connection, cell).items()}

    def live(self, *changes):
        """Propose, sign and put in force."""
        number = self.propose(*changes)
        self.sign(number)
        assert self.desk.begin() == 1
        return number

    def take_back(self, number, who="dr.petit"):
        self.at += 1000
        self.desk.take_back(number, who, "trop d’alertes", self.get(number).version)


@pytest.fixture(scope="module")
def protocols():
    return load([HEART]).program.protocols


@pytest.fixture
def made(url, protocols):
    with store.open(url) as queue:
        yield Made(queue, protocols)


def test_what_is_proposed_is_kept_with_its_trial_and_changes_nothing(made):
    number = made.propose()
    each = made.get(number)
    assert (each.stage, each.author, each.comment, each.study) == (
        Stage.PROPOSED,
        "dr.petit",
        "moins d’alertes",
        STUDY,
    )
    assert each.changes == (Change(LIMIT, 2.0, 1.5),)
    assert made.desk.report(number) == "<p>essai</p>"
    assert made.desk.begin() == 0
    assert made.in_force() == {}
    assert [made.desk.to_sign(["Nord"], who) for who in ("dr.petit", "dr.roy")] == [0, 1]
    assert made.desk.to_sign(["Sud"], "dr.roy") == 0
    assert made.desk.get(number, ["Sud"]) is None
    assert made.desk.all(["Sud"]) == []


def test_signed_by_another_it_holds_from_the_stated_moment_on(made):
    number = made.propose()
    made.sign(number, from_ms=made.at + 3_600_000)
    assert made.get(number).stage is Stage.SIGNED
    assert (made.desk.begin(), made.in_force()) == (0, {})
    made.at += 3_600_000
    assert (made.desk.begin(), made.in_force()) == (1, {LIMIT: 1.5})
    assert made.desk.begin() == 0
    assert made.get(number).stage is Stage.IN_FORCE
    with made.engine.connect() as connection:
        row = connection.execute(select(CELL_LIMIT)).one()
    assert (row.author, row.reason, row.t_ms) == ("dr.petit et dr.roy", "moins d’alertes", made.at)


def test_the_author_does_not_sign_and_does_not_refuse(made):
    number = made.propose()
    with pytest.raises(MoveError, match="un autre cardiologue que l’auteur doit signer"):
        made.sign(number, "dr.petit")
    with pytest.raises(MoveError, match="c’est la vôtre : retirez-la"):
        made.desk.refuse(number, "dr.petit", "non", 1)
    assert made.get(number).stage is Stage.PROPOSED


def test_taken_back_what_held_before_holds_again(made):
    first = made.live(Change(LIMIT, 2.0, 1.5))
    second = made.live(Change(LIMIT, 1.5, 1.0), Change("spo2_low", 93, 88.0))
    assert made.in_force() == {LIMIT: 1.0, "spo2_low": 88.0}
    with pytest.raises(MoveError, match=f"la proposition n° {second} a changé la même limite depuis"):
        made.take_back(first)
    made.take_back(second)
    assert made.in_force() == {LIMIT: 1.5}
    made.take_back(first, "dr.roy")
    assert made.in_force() == {}
    each = made.get(first)
    assert (each.stage, each.ended_by, each.ended_reason) == (Stage.TAKEN_BACK, "dr.roy", "trop d’alertes")


def changed(protocol, **more):
    """Another version of a protocol."""
    content = {key: getattr(protocol, key) for key in type(protocol).model_fields}
    return type(protocol).model_construct(**content | more)


def test_a_trial_of_limits_that_are_others_now_is_not_signed(made, protocols):
    old = made.propose()
    made.live(Change(LIMIT, 2.0, 1.2))
    with pytest.raises(
        MoveError, match="prise de poids en 3 jours : changé depuis l’essai, qui est à refaire"
    ):
        made.sign(old)
    other = made.propose(Change("spo2_low", 93, 88.0))
    made.desk = made.of([changed(protocols[0], version="99.0.0")])
    with pytest.raises(MoveError, match="le protocole a changé depuis l’essai"):
        made.sign(other)


def test_what_was_in_force_when_it_was_tried_counts_and_not_when(made):
    """A limit that began while the trial ran, or a clock that was set back."""
    made.live(Change(LIMIT, 2.0, 1.2))
    number = made.propose(Change(LIMIT, 2.0, 1.5))
    with pytest.raises(MoveError, match="changé depuis l’essai"):
        made.sign(number)


def test_what_would_change_something_else_by_its_moment_lapses(made, protocols):
    first, second = made.propose(Change(LIMIT, 2.0, 3.0)), made.propose(Change("spo2_low", 93, 88.0))
    for number in (first, second):
        made.sign(number, from_ms=made.at + 3_600_000)
    made.live(Change(LIMIT, 2.0, 1.2))
    made.at += 3_600_000
    made.desk.begin()
    assert made.in_force() == {LIMIT: 1.2, "spo2_low": 88.0}
    each = made.get(first)
    assert (each.stage, each.ended_by) == (Stage.LAPSED, "vigie")
    assert each.ended_reason == "prise de poids en 3 jours : changé depuis l’essai, qui est à refaire"
    assert audit.entries(made.engine, subject=f"proposal {first}")[0].action == "limits lapsed"
    third = made.propose(Change(LIMIT, 1.2, 1.5))
    made.sign(third)
    made.desk = made.of([changed(protocols[0], version="99.0.0")])
    made.desk.begin()
    assert made.get(third).stage is Stage.LAPSED


def test_a_cell_without_patients_is_proposed_nothing(made):
    made.enrol()
    with pytest.raises(MoveError, match="aucun patient de la cellule n’est inscrit"):
        made.propose()


def test_taken_back_the_one_before_has_its_own_authors_again(made):
    first = made.live(Change(LIMIT, 2.0, 1.5))
    second = made.propose(Change(LIMIT, 1.5, 1.0), who="dr.blanc", comment="essai court")
    made.sign(second)
    made.desk.begin()
    made.take_back(second, "dr.roy")
    with made.engine.connect() as connection:
        held = cell_limits.in_force(connection, "Nord")[HEART, LIMIT]
    assert (held.value, held.author, held.reason) == (1.5, "dr.petit et dr.roy", "moins d’alertes")
    assert held.proposal_id == first


LEGAL = {
    "sign": {Stage.PROPOSED},
    "refuse": {Stage.PROPOSED},
    "withdraw": {Stage.PROPOSED, Stage.SIGNED},
    "shadow": {Stage.PROPOSED, Stage.SIGNED},
    "take_back": {Stage.IN_FORCE},
}


@pytest.mark.parametrize("stage", Stage)
def test_each_move_is_legal_from_its_stages_alone(made, stage):
    number = made.propose()
    version = 1
    if stage in {Stage.SIGNED, Stage.IN_FORCE, Stage.TAKEN_BACK}:
        made.sign(number)
    if stage in {Stage.IN_FORCE, Stage.TAKEN_BACK}:
        made.desk.begin()
    if stage is Stage.TAKEN_BACK:
        made.take_back(number)
    if stage is Stage.LAPSED:
        made.sign(number, from_ms=made.at + 3_600_000)
        made.live(Change(LIMIT, 2.0, 1.2))
        made.at += 3_600_000
        made.desk.begin()
    if stage is Stage.WITHDRAWN:
        made.desk.withdraw(number, "dr.petit", "non", 1)
    if stage is Stage.REFUSED:
        made.desk.refuse(number, "dr.roy", "non", 1)
    assert made.get(number).stage is stage
    version = made.get(number).version
    moves = {
        "sign": lambda: made.desk.sign(number, "dr.roy", None, version),
        "refuse": lambda: made.desk.refuse(number, "dr.roy", "non", version),
        "withdraw": lambda: made.desk.withdraw(number, "dr.roy", "non", version),
        "shadow": lambda: made.desk.shadow(number, "dr.roy", version, on=True),
        "take_back": lambda: made.desk.take_back(number, "dr.roy", "non", version),
    }
    before = made.get(number)
    for name, move in moves.items():
        if stage not in LEGAL[name]:
            with pytest.raises(MoveError, match=f"cette proposition est {stage.word}"):
                move()
    assert made.get(number) == before


@pytest.mark.parametrize(
    ("changes", "comment", "said"),
    [
        (
            (Change(LIMIT, 2.0, 9.0),),
            "essai",
            "prise de poids en 3 jours : 9 kg n’est pas possible ; de 0,5 à 5 kg",
        ),
        ((Change(LIMIT, 2.0, 1.2345),), "essai", "trois décimales au plus"),
        ((Change("gain", 2.0, 1.0),), "essai", "cette limite n’existe pas"),
        ((Change(LIMIT, 2.0, 1.5),), " a ", "un commentaire est nécessaire"),
        ((Change(LIMIT, 2.0, 1.5),), "x" * 241, "commentaire : 240 lettres au plus"),
    ],
)
def test_what_is_not_legal_is_said_and_not_kept(made, changes, comment, said):
    with pytest.raises(MoveError, match=said):
        made.propose(*changes, comment=comment)
    with pytest.raises(MoveError, match="aucune limite n’est changée"):
        made.desk.propose("Nord", HEART, (), "essai", "dr.petit", STUDY, "")
    assert made.desk.all(["Nord"]) == []


@pytest.mark.parametrize("ahead", [-3_600_000, LATEST_MS + 120_000])
def test_a_moment_that_is_past_or_far_is_refused(made, ahead):
    number = made.propose()
    with pytest.raises(MoveError, match="une date d’entrée en vigueur à venir, dans les 90 jours"):
        made.sign(number, from_ms=made.at + ahead)


def test_a_page_from_before_moves_nothing(made):
    number = made.propose()
    made.desk.shadow(number, "dr.petit", 1, on=True)
    with pytest.raises(ChangedError):
        made.desk.sign(number, "dr.roy", None, 1)
    assert made.get(number).shadow_ms == made.at
    with pytest.raises(MoveError, match="n’existe pas"):
        made.desk.sign(99, "dr.roy", None, 1)


def test_in_force_it_runs_no_more_in_the_shadow(made):
    number = made.propose()
    made.desk.shadow(number, "dr.petit", 1, on=True)
    begun = made.at
    made.at += 1000
    made.sign(number)
    assert made.get(number).in_shadow
    made.at += 1000
    made.desk.begin()
    each = made.get(number)
    assert (each.in_shadow, each.shadow_ms, each.shadow_until_ms) == (False, begun, made.at)


def test_what_a_shadow_found_is_kept_once_and_only_when_it_has_ended(made):
    number = made.propose()
    days = [{"day": "2026-01-05", "base": 2, "changed": 3, "gained": 1, "lost": 0}]
    made.desk.keep_shadow(number, made.at, days)
    made.desk.shadow(number, "dr.petit", 1, on=True)
    made.desk.keep_shadow(number, made.at, days)
    assert made.get(number).shadow_kept is None
    assert made.desk.unkept(0) == []
    made.at += 1000
    made.desk.shadow(number, "dr.petit", 2, on=False)
    assert [each.id for each in made.desk.unkept(made.at)] == [number]
    assert made.desk.unkept(made.at + 1) == []
    made.desk.keep_shadow(number, made.at, days)
    made.desk.keep_shadow(number, made.at, [])
    assert made.desk.unkept(0) == []
    made.desk.withdraw(number, "dr.petit", "essai fini", 3)
    each = made.get(number)
    assert each.shadow_kept == {"days": days}
    # It ended when it was told to, not when the proposal did.
    assert each.shadow_until_ms == made.at


def test_a_shadow_that_was_begun_again_is_another(made):
    number, ended = made.propose(), made.at
    made.desk.shadow(number, "dr.petit", 1, on=True)
    made.desk.shadow(number, "dr.petit", 2, on=False)
    made.at += 1000
    made.desk.shadow(number, "dr.petit", 3, on=True)
    assert (made.get(number).in_shadow, made.get(number).shadow_kept) == (True, None)
    made.at += 1000
    made.desk.shadow(number, "dr.petit", 4, on=False)
    made.desk.keep_shadow(number, ended, [])
    assert made.get(number).shadow_kept is None


def test_several_processes_put_it_in_force_once(made, url, protocols):
    number = made.propose()
    made.sign(number)
    begun = []

    def begin():
        with store.open(url) as queue:
            other = Made.__new__(Made)
            other.engine, other.at = queue.engine, made.at
            begun.append(other.of(protocols).begin())

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(begun) == [0, 0, 0, 1]
    with made.engine.connect() as connection:
        assert len(connection.execute(select(CELL_LIMIT)).all()) == 1


def test_each_move_is_in_the_trail_with_who_and_what(made):
    number = made.live()
    made.take_back(number)
    found = audit.entries(made.engine, subject=f"proposal {number}")[::-1]
    assert [(e.action, e.actor, e.cell) for e in found] == [
        ("limits proposed", "dr.petit", "Nord"),
        ("limits signed", "dr.roy", "Nord"),
        ("limits in force", "vigie", "Nord"),
        ("limits taken back", "dr.petit", "Nord"),
    ]
    said = {"protocol": HEART, "limits": [{"name": LIMIT, "from": 2.0, "to": 1.5}]}
    assert json.loads(found[0].details) == said
    assert audit.verify(made.engine).problem == ""


def test_names_that_an_act_cannot_hold_are_refused_at_the_signature(made):
    number = made.propose(who="a" * 40)
    with pytest.raises(MoveError, match="les noms des deux comptes"):
        made.sign(number, "b" * 40)
    assert made.get(number).stage is Stage.PROPOSED
