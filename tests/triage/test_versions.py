"""Which patients are on which version, as enrolment and queue say."""

import pytest

import triage.store
from engine.enrolment import Enrolled, write
from engine.protocols import load_all
from triage.versions import by_version, enrolled, followed, text
from triage.work import cells

OLD, OTHER = "0123456789abcdef", "00000000000000aa"


@pytest.fixture
def store(url):
    with triage.store.open(url) as store:
        yield store


@pytest.fixture(scope="module")
def protocols():
    return load_all(["insuffisance_cardiaque", "covidom"])


def test_patients_are_where_the_enrolment_and_their_alerts_put_them(store, row, frame, protocols):
    heart, covid = protocols
    now = {"version": heart.version, "protocol_hash": heart.hash}
    store.apply(
        frame(
            row("p1"),  # of 1.0, and open
            row("p2"),
            row(
                "p2", kind="evidence", t=1, **now
            ),  # of the present one by now; what is shown first is of 1.0
            row("p3", **now),
            row("p3", problem="rhythm", onset=2, protocol_hash=OTHER, version="0.9"),
            row("p4"),
            row("p4", kind="recovered", t=1),
        )
    )
    rows = by_version(store.engine, protocols, {heart.id: ["p9", "p3"], "gone": ["p1"]})
    found = {(each.version, each.hash): each for each in rows if each.protocol == heart.id}
    present = found[heart.version, heart.hash]
    assert (present.in_force, present.signed) == (True, False)
    assert present.followed == ["p3", "p9"]
    assert present.alerted == ["p2"]
    assert "p3" in present.open
    old = found["1.0", OLD]
    assert (old.in_force, old.followed, old.alerted) == (False, [], ["p1", "p4"])
    assert "p1" in old.open
    assert "p4" not in old.open
    assert (found["0.9", OTHER].open, found["0.9", OTHER].alerted) == (["p3"], ["p3"])
    (covidom,) = [each for each in rows if each.protocol == covid.id]
    assert (covidom.in_force, covidom.followed, covidom.open) == (True, [], [])
    assert [each.in_force for each in rows] == [True, True, False, False]


def test_who_is_enrolled_is_asked_of_the_file_else_of_what_the_pages_took(store, protocols, tmp_path):
    people = {
        "p1": Enrolled(("covidom",)),
        "p2": Enrolled(("covidom", "insuffisance_cardiaque"), "Nord"),
        "p3": Enrolled(("covidom",), until_ms=1000),
    }
    path = tmp_path / "enrolment.csv"
    write(path, people)
    assert enrolled(store.engine, path, protocols, 2000) == {
        "covidom": ["p1", "p2"],
        "insuffisance_cardiaque": ["p2"],
    }
    assert enrolled(store.engine, None, protocols, 2000) == {}
    cells.take(store.engine, people)
    assert followed(store.engine)["covidom"] == ["p1", "p2", "p3"]
    assert enrolled(store.engine, None, protocols, 2000) == followed(store.engine)


def test_ids_are_shown_as_far_as_asked_for(store, protocols):
    (heart, *_) = by_version(store.engine, protocols[:1], {protocols[0].id: ["p1", "p2", "p3"]})
    assert text(heart, 2).splitlines() == [
        f"insuffisance_cardiaque {heart.version} {heart.hash}: in force, unsigned",
        "  enrolled: 3: p1, p2, ...",
        "  open line: 0",
        "  newest alert: 0",
    ]
    assert "enrolled: 3\n" in text(heart, 0)
