"""Who may do what: cells are walls, and who looks after accounts or machines sees nobody's health."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.people.administration import NewAccount
from triage.people.openings import FOR_MS
from triage.people.person import Must, PeopleError, Person, Role, Scope
from triage.people.rights import MATRIX, Act, may, reads, sees

T0 = 1_790_000_000_000
HEALTH = {Act.SEE, Act.WORK, Act.ENTER, Act.CELL, Act.OPEN, Act.LIMITS, Act.SIGN, Act.TRY}
CHANGING = {
    Act.WORK,
    Act.ENTER,
    Act.LIMITS,
    Act.SIGN,
    Act.OPEN,
    Act.ACCOUNTS,
    Act.SOURCES,
    Act.CELLS,
    Act.OWN,
}
CELLS = ["Nord", "Sud", "Est", "Nord ", "nord", ""]

cells = st.sampled_from(CELLS)
people = st.builds(
    Person,
    name=st.just("marie"),
    display=st.just("Marie"),
    role=st.sampled_from(Role),
    cells=st.lists(cells, max_size=3).map(tuple),
    second=st.booleans(),
    must=st.none() | st.sampled_from(Must),
    scope=st.none() | st.sampled_from(Scope),
)


@given(people, cells)
def test_cells_are_walls(person, cell):
    if sees(person, cell):
        assert cell in person.cells
        assert person.role in {Role.NURSE, Role.CARDIOLOGIST}
        assert person.must is None
    if reads(person, cell, "p1"):
        assert sees(person, cell)


@given(people, cells, st.sets(st.sampled_from(["p1", "p2"])))
def test_a_reason_opens_one_patient_to_a_carer_in_person(person, cell, opened):
    if reads(person, cell, "p1", opened) and not sees(person, cell):
        assert "p1" in opened
        assert person.role in {Role.NURSE, Role.CARDIOLOGIST}
        assert (person.must, person.scope) == (None, None)
        # It opens no cell.
        assert not reads(person, cell, "p3", opened)


@given(people, st.sampled_from(Act))
def test_who_has_something_to_do_first_does_nothing_else(person, act):
    if person.must is not None and act is not Act.OWN:
        assert not may(person, act)


@given(people, st.sampled_from(Act))
def test_a_program_may_no_more_than_its_account_changes_no_account_and_signs_nothing(person, act):
    if person.scope is not None and may(person, act):
        assert act in MATRIX[person.role]
        assert act not in {Act.OWN, Act.OPEN, Act.ACCOUNTS, Act.SIGN}
        assert person.scope is Scope.WORK or act not in CHANGING


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMINISTRATOR])
def test_who_is_no_carer_sees_nobodys_health(role):
    assert not MATRIX[role] & HEALTH


def test_the_table_of_the_documentation():
    """Written out once more, as docs/administrator.md has it."""
    all_care = {"own", "see", "work", "enter", "cell", "open", "protocols"}
    assert {role: {str(act) for act in acts} for role, acts in MATRIX.items()} == {
        Role.NURSE: all_care,
        Role.CARDIOLOGIST: all_care | {"limits", "sign", "try"},
        Role.OPERATOR: {"own", "machine", "protocols"},
        Role.ADMINISTRATOR: {
            "own",
            "accounts",
            "sources",
            "cells",
            "oversee",
            "audit",
            "protocols",
            "machine",
        },
    }
    assert {role.french for role in Role} == {"Infirmier", "Cardiologue", "Exploitant", "Administrateur"}


# ----------------------------------------------------------------------------------------------------- break-glass

REASON = "Remplace la cellule Sud cette nuit"


def test_a_patient_of_another_cell_is_opened_for_an_hour_with_a_reason(world):
    person = world.account().person
    opened = world.people.open_patient(person, "7K2M", "Sud", f"  {REASON}\n", T0)
    assert (opened.reason, opened.until_ms) == (REASON, T0 + FOR_MS)
    assert REASON not in repr(opened)
    assert world.people.openings(person, T0) == {"7K2M"}
    assert world.people.openings(person, T0 + FOR_MS - 1) == {"7K2M"}
    assert world.people.openings(person, T0 + FOR_MS) == set()
    other = world.account("jean", cells=["Est"]).person
    assert world.people.openings(other, T0) == set()
    assert world.people.opened(["Sud"]) == [opened]
    assert world.people.opened(["Nord"]) == []


def test_the_trail_says_that_it_was_opened_and_keeps_the_reason_from_being_changed(world):
    import hashlib
    import json

    from triage import audit

    world.people.open_patient(world.account().person, "7K2M", "Sud", REASON, T0)
    (entry,) = audit.entries(world.engine, subject="7K2M")
    assert (entry.actor, entry.action, entry.cell) == ("marie", "patient opened", "Sud")
    assert json.loads(entry.details)["reason_sha256"] == hashlib.sha256(REASON.encode()).hexdigest()
    assert REASON not in entry.details


@pytest.mark.parametrize(
    "reason", ["", "urgent", " " * 40, "x" * 501, "un motif\x00 caché", "un motif \ud800"]
)
def test_a_reason_that_is_none(world, reason):
    person = world.account().person
    with pytest.raises(PeopleError, match="legal are 10 to 500"):
        world.people.open_patient(person, "7K2M", "Sud", reason, T0)
    assert world.people.openings(person, T0) == set()


def test_who_cannot_open_and_what_is_open_already(world):
    with pytest.raises(PeopleError, match="which they see"):
        world.people.open_patient(world.account().person, "7K2M", "Nord", REASON, T0)
    for name, role in (("ops", Role.OPERATOR), ("boss", Role.ADMINISTRATOR)):
        person = world.account(name, role, ()).person
        with pytest.raises(PeopleError, match="opens no patient"):
            world.people.open_patient(person, "7K2M", "Sud", REASON, T0)
    given = world.people.create(NewAccount("new", Role.NURSE, ["Nord"]), "shell:root", T0)
    pending = world.people.sign_in("new", given, "", T0).person
    with pytest.raises(PeopleError, match="opens no patient"):
        world.people.open_patient(pending, "7K2M", "Sud", REASON, T0)
