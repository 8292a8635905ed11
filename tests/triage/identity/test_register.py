"""The register, on SQLite and PostgreSQL: one follow-up for an INS, cells and acts kept, nothing said in errors."""

import os
import stat
import subprocess
import sys
import traceback
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from engine.enrolment import Enrolled
from triage import store
from triage.identity import register as registers
from triage.identity.errors import RegisterError
from triage.identity.pseudonym import is_one

ROOT = Path(__file__).resolve().parents[3]


def acts(register, patient):
    return [(each.action, each.by, [f["field"] for f in each.fields]) for each in register.changes(patient)]


def test_who_is_enrolled_is_known_by_an_id_and_by_nothing_else(register, person, care):
    taken = register.enrol(person(), care(zone="Europe/Paris"), "Mme Martin")
    assert taken.what == "enrolled"
    assert is_one(taken.id)
    (followed,) = register.patients()
    assert (followed.id, followed.cell, followed.protocols) == (
        taken.id,
        "Cellule Nord",
        ("insuffisance_cardiaque",),
    )
    assert (followed.enrolled_by, followed.closed_ms, followed.zone) == ("Mme Martin", None, "Europe/Paris")
    assert register.persons([taken.id], "Mme Martin") == {taken.id: (person(), None)}
    assert acts(register, taken.id) == [("enrolled", "Mme Martin", []), ("read", "Mme Martin", [])]


def test_the_same_person_is_not_followed_twice(register, person, care):
    first = register.enrol(person(), care())
    with pytest.raises(RegisterError) as error:
        register.enrol(person(birth_name="Autre"), care(cell="Sud"))
    ins = person().ins
    assert str(error.value) == f"…{ins[-3:]}: followed already, as {first.id} in Cellule Nord"
    assert len(register.patients()) == 1
    assert acts(register, first.id) == [("enrolled", register._login, [])]


def test_who_comes_back_is_followed_anew_under_another_id(register, person, care):
    first = register.enrol(person(), care())
    register.end(first.id, "fin de programme")
    again = register.enrol(person(), care())
    assert again.id != first.id
    assert again.notes == (f"was followed before, as {first.id}",)
    assert [each.id for each in register.patients(followed=True)] == [again.id]
    assert [each.id for each in register.patients(followed=False)] == [first.id]


def test_a_transfer_keeps_the_cells_before(register, person, care):
    patient = register.enrol(person(), care()).id
    register.transfer(patient, "  Cellule   Sud ", "Mme Martin")
    assert register.in_cell("Cellule Nord") == []
    assert register.in_cell("Cellule Sud") == [patient]
    before, now = register.stays(patient)
    assert (before.cell, now.cell, now.until_ms) == ("Cellule Nord", "Cellule Sud", None)
    assert before.until_ms == now.from_ms
    (_, moved) = register.changes(patient)
    assert moved.fields == ({"field": "cell", "before": "Cellule Nord", "after": "Cellule Sud"},)
    with pytest.raises(RegisterError, match="in this cell already"):
        register.transfer(patient, "Cellule Sud")


def test_an_end_is_kept_with_its_reason_and_is_the_end(register, person, care):
    patient = register.enrol(person(), care()).id
    register.end(patient, "décès", "Dr Le Goff")
    followed = register.patient(patient)
    assert (followed.closed_by, followed.closed_ms >= followed.enrolled_ms) == ("Dr Le Goff", True)
    assert register.in_cell("Cellule Nord") == []
    assert register.stays(patient)[0].until_ms == followed.closed_ms
    assert register.persons([patient])[patient][1] == "décès"
    for act in (
        lambda: register.end(patient, "encore"),
        lambda: register.transfer(patient, "Sud"),
        lambda: register.correct(patient, {"sex": "M"}),
    ):
        with pytest.raises(RegisterError, match=r"the follow-up is over already, ended by Dr Le Goff"):
            act()


def test_the_engine_is_given_ends_too(register, person, care):
    one = register.enrol(person(1), care(zone="America/Martinique")).id
    two = register.enrol(person(2), care(cell="Sud", protocols=("covidom", "rhythmologie"))).id
    register.end(two, "fin")
    first, second = register.patient(one), register.patient(two)
    assert register.enrolments() == {
        one: Enrolled(
            ("insuffisance_cardiaque",), "Cellule Nord", "America/Martinique", first.enrolled_ms, None
        ),
        two: Enrolled(("covidom", "rhythmologie"), "Sud", None, second.enrolled_ms, second.closed_ms),
    }


def test_what_was_wrong_is_corrected_the_ins_too(register, person, care, number):
    patient = register.enrol(person(1), care()).id
    new = {"ins": number(2), "birth_date": date(1955, 8, 4), "telephones": ("0639980009",), "used_name": None}
    taken = register.correct(patient, new, "Mme Martin")
    assert (taken.what, set(taken.fields)) == ("updated", set(new))
    assert register.persons([patient])[patient][0] == person(1, **new)
    (_, corrected, _) = register.changes(patient)
    assert {each["field"]: (each["before"], each["after"]) for each in corrected.fields} == {
        "ins": (number(1), number(2)),
        "birth_date": ("1955-08-03", "1955-08-04"),
        "telephones": (["0639980001"], ["0639980009"]),
        "used_name": ("Vraignon-Taulé", None),
    }
    assert register.correct(patient, new).what == "unchanged"


def test_an_ins_is_not_corrected_into_that_of_another(register, person, care, number):
    first = register.enrol(person(1), care()).id
    second = register.enrol(person(2), care()).id
    with pytest.raises(RegisterError, match=f"followed already, as {first} in"):
        register.correct(second, {"ins": number(1)})


def test_two_persons_who_look_like_one_are_pointed_out(register, person, care):
    first = register.enrol(person(1), care()).id
    other = register.enrol(person(2, given_name=person(1).given_name.upper()), care())
    assert other.notes == (f"the same names and birth date as {first}: are they two persons?",)


def test_an_ins_of_another_year_and_a_new_cell_are_pointed_out(register, person, care):
    register.enrol(person(1), care())
    taken = register.enrol(person(2, birth_date=date(1956, 8, 3)), care(cell="Nrod"))
    year, cell = taken.notes
    assert year == f"…{person(2).ins[-3:]}: the INS says another year of birth: is it this person's?"
    assert cell == "the first patient of Nrod: is the name of the cell right?"


@pytest.mark.parametrize("patient", ["QUIMERC'H", "0000-0000-0000-0000"])
def test_an_id_that_is_none(register, patient):
    for act in (register.patient, lambda each: register.end(each, "fin")):
        with pytest.raises(
            RegisterError, match="no patient of this id; legal are those of vigie patient list"
        ) as e:
            act(patient)
        assert "QUIMERC'H" not in str(e.value)


def test_nobody_can_change_what_was_done(register, person, care):
    patient = register.enrol(person(), care()).id
    for statement in ("UPDATE change SET action = 'read'", "DELETE FROM change"):
        with pytest.raises(RegisterError), register._writing() as connection:
            connection.execute(text(statement))
    assert acts(register, patient) == [("enrolled", register._login, [])]


def test_an_error_of_the_database_says_nothing_of_the_row(register, person, care):
    """PostgreSQL quotes the row, or the key that is there twice."""
    first = register.enrol(person(1), care()).id
    with register._writing() as connection:
        row = dict(
            connection.execute(text("SELECT * FROM patient")).mappings().one(),
            telephones=["0639980001"],
            protocols=[],
            birth_date=date(1955, 8, 3),
        )
    assert row["id"] == first
    for wrong in ({"id": "other"}, {"id": "other", "ins": "1", "sex": "Z"}):
        with (
            pytest.raises(RegisterError, match="the register refused a row: ") as error,
            register._writing() as c,
        ):
            c.execute(insert(registers.PATIENT).values(row | wrong))
        said = "".join(traceback.format_exception(error.value))
        for secret in (person().ins, "QUIMERC'H", "Vraignon", "0639980001"):
            assert secret not in said


RACE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from conftest import make_care, make_person
from triage.identity import register
from triage.identity.errors import RegisterError
with register.open(sys.argv[1]) as people:
    print("ready", flush=True)
    sys.stdin.readline()
    for count in range(1, 41):
        try:
            print("won", people.enrol(make_person(count), make_care(), sys.argv[2]).id)
        except RegisterError as error:
            print("lost", error)
"""


def test_of_two_processes_that_enrol_one_person_one_wins(url, person):
    registers.open(url).close()
    command = [sys.executable, "-c", RACE, url]
    processes = [
        subprocess.Popen(
            [*command, name, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for name in ("A", "B")
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        said += [out.splitlines()]
    with registers.open(url) as register:
        followed = {each.id for each in register.patients()}
        assert len(followed) == 40
        for one, other in zip(*said, strict=True):
            won, lost = sorted((one, other), reverse=True)
            assert won.removeprefix("won ") in followed
            assert lost.endswith(f"followed already, as {won.removeprefix('won ')} in Cellule Nord")
        assert all(len(register.changes(each)) == len(register.stays(each)) == 1 for each in followed)


def test_the_file_is_its_owner_s_alone(tmp_path, person, care):
    path = tmp_path / "register.sqlite"
    before = os.umask(0)
    try:
        with registers.open(path) as register:
            register.enrol(person(), care())
            files = list(tmp_path.glob("register.sqlite*"))
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
            assert len(files) == 3  # -wal and -shm too
    finally:
        os.umask(before)
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="mode 640 lets others in; legal is 600: chmod 600"):
        registers.open(path)


def test_a_register_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no register here"):
        registers.open(tmp_path / "r.sqlite", create=False)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        registers.open(tmp_path / "no" / "r.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_queue_and_register_are_two_databases(tmp_path, url):
    store.open(url).close()
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).chmod(0o600)
    with pytest.raises(ValueError, match="the queue and the register of patients have a database each"):
        registers.open(url)
    registers.open(tmp_path / "r.sqlite").close()
    with pytest.raises(ValueError, match="the queue and the register of patients have a database each"):
        store.open(tmp_path / "r.sqlite")


def test_the_steps_give_the_tables_of_the_models(register):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import inspect

    from triage.identity.tables import Base

    with register._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        there = inspect(connection)
        for table in Base.metadata.tables.values():
            checks = {check["name"] for check in there.get_check_constraints(table.name)}
            assert checks == {str(c.name) for c in table.constraints if str(c.name)[:2] == "ck"}
