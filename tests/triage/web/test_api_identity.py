"""Who a patient is, by the interface: for who works with the patient alone, noted twice; with a real register."""

from datetime import date

import pytest

from triage import audit
from triage.identity import register as registers
from triage.identity.ins import OIDS
from triage.identity.person import Care, Person
from triage.people.person import Scope
from triage.work import cells

# Nobody's: the OID of tests, and of 06 39 98 00 00 to 99 none is given to anybody.
BODY = "2550814168001"
WHO = Person(
    ins=f"{BODY}{97 - int(BODY) % 97:02}",
    ins_oid=OIDS["TEST"],
    birth_name="QUIMERC'H",
    used_name="Vraignon-Taulé",
    given_name="Odile",
    birth_date=date(1955, 8, 3),
    sex="F",
    birth_place="14168",
    telephones=("0639980001",),
)


@pytest.fixture
def patient(site, tmp_path):
    """Somebody of Nord whom the register knows."""
    with registers.open(f"sqlite:///{tmp_path / 'register.sqlite'}") as register:
        register.enrol(WHO, Care("Nord", ("insuffisance_cardiaque",)), "test")
        cells.take(site.queue.engine, register.enrolments())
        site.site.register = register
        yield register.patients()[0].id
        site.site.register = None


def test_who_it_is_says_the_page_of_those_who_work_with_the_patient_and_nobody_else(site, patient):
    people, now = site.site.people, site.site.now_ms()
    tokens = {
        (name, scope): people.make_token(name, f"who-{scope}", scope, 1, "shell:test", now)
        for name, scope in (
            ("marie", Scope.WORK),
            ("marie", Scope.READ),
            ("luc", Scope.WORK),
            ("admin", Scope.WORK),
        )
    }
    episode = site.opened(patient)

    def ask(who, path, scope=Scope.WORK):
        with site.client() as client:
            return client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {tokens[who, scope]}"})

    paths = (f"/patients/{patient}/identity", f"/lines/{episode}/samu")
    for path in paths:
        for who, scope, status in (
            ("marie", Scope.READ, 403),
            ("admin", Scope.WORK, 403),
            ("luc", Scope.WORK, 404),
        ):
            answer = ask(who, path, scope)
            assert answer.status_code == status
            assert "Vraignon" not in answer.text
    before = len(audit.entries(site.queue.engine, subject=patient, action="identity seen"))
    assert before == 0
    found = ask("marie", paths[0]).json()
    assert found == {
        "name": "Vraignon-Taulé",
        "given_name": "Odile",
        "birth_date": "1955-08-03",
        "sex": "F",
        "telephones": list(WHO.telephones),
    }
    assert ask("marie", paths[1]).json()["identity"] == found
    noted = audit.entries(site.queue.engine, subject=patient, action="identity seen")
    assert [each.actor for each in noted] == ["marie", "marie"]
    assert [each.by for each in site.site.register.changes(patient) if each.action == "read"] == ["marie"] * 2
    # The view of the patient, and the list, say an age and no name.
    seen = ask("marie", f"/patients/{patient}", Scope.READ)
    assert seen.json()["age"] > 60
    assert "Vraignon" not in seen.text
    assert "Vraignon" not in ask("marie", "/lines").text
