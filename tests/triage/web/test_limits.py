"""Limits on a patient's page: a cardiologist changes them, others see them, those of another cell see nothing."""

import re

import polars as pl
import pytest

from engine import history
from engine.history import History, Outcome
from ingest.signals import by_name
from rules.explain import typeset
from triage import audit
from triage.people.person import Scope
from triage.work import outgoing

PATH = "/patients/P{}/limites/insuffisance_cardiaque/{}"
DAY = 86_400_000


def send(site, client, patient, name="gain_3d_kg", **fields):
    form = {"csrf": site.csrf(client), "value": "1,5", "reason": "poids sec revu", "version": "0", **fields}
    return client.post(PATH.format(patient, name), data=form)


def goes(site):
    """The log takes what waits for it."""
    outgoing.sent(site.queue.engine, [each.id for each in outgoing.waiting(site.queue.engine)], 1)


def test_a_cardiologist_changes_it_and_everybody_of_the_cell_sees_who_did(site):
    with site.client("dr.petit") as client:
        page = client.get(PATH.format(0, "gain_3d_kg")).text
        assert "De 0,5 à 5\N{NO-BREAK SPACE}kg" in page
        assert "Retirer la limite personnelle" not in page
        assert typeset("Source du protocole : ") in page
        assert re.search(r'Note de ses auteurs\s: <span lang="en">.+?</span>', page)
        answer = send(site, client, 0)
        assert (answer.status_code, answer.headers["location"]) == (303, "/patients/P0")
        assert "Retirer la limite personnelle" in client.get(PATH.format(0, "gain_3d_kg")).text
    with site.client("marie") as client:
        page = client.get("/patients/P0").text
        now_so = r"2\s?kg</td><td>défaut du protocole [^<]*<p class=.notice notice-warn.>"
        waits = (
            r"Pas encore transmise\s: 1,5\s?kg \(patient, dr.petit, \d\d/\d\d/\d{4} : poids sec revu\)\.</p>"
        )
        assert re.search(now_so + waits, page)
        goes(site)
        page = client.get("/patients/P0").text
        assert "Pas encore transmise" not in page
    assert re.search(r"1,5\s?kg</td><td>patient, dr.petit, \d\d/\d\d/\d{4} : poids sec revu", page)
    assert re.search(r"Prise de poids en 3 jours\s: 2\s?kg → 1,5\s?kg\s: poids sec revu", page)
    assert "Limite changée" in page
    assert "/limites/" not in page  # a nurse has no way in
    assert [e.action for e in audit.entries(site.queue.engine, subject="P0", actor="dr.petit")] == [
        "limit set"
    ]


def test_what_was_dated_by_a_clock_ahead_is_said_to_wait_until_when(site, monkeypatch):
    ahead = site.site.now_ms() + 3_600_000
    monkeypatch.setattr(site.site.limit_desk, "_now_ms", lambda: ahead)
    with site.client("dr.petit") as client:
        assert send(site, client, 15).status_code == 303
        when = re.escape(site.site.words.moment(ahead - 300_000))
        for path in ("/patients/P15", PATH.format(15, "gain_3d_kg")):
            page = client.get(path).text
            assert re.search(r"Pas encore transmise\s: 1,5\s?kg \(patient, dr.petit, ", page)
            assert re.search(rf"Datée par une horloge en avance, elle part le {when} au plus tôt\.", page)
            assert re.search(r"2\s?kg</(td|strong)>", page)
        goes(site)
        assert "Pas encore transmise" not in client.get("/patients/P15").text


def test_she_takes_it_back(site):
    with site.client("dr.petit") as client:
        send(site, client, 3)
        answer = send(site, client, 3, value="", reason="essai terminé", version="1", back="yes")
        assert answer.status_code == 303
        page = client.get("/patients/P3").text
        own = client.get(PATH.format(3, "gain_3d_kg")).text
    withdrawn = typeset(
        "limite personnelle retirée (celle de la cellule ou du protocole vaut de nouveau) : essai terminé"
    )
    assert withdrawn in page
    assert withdrawn in own
    assert typeset("Limite personnelle retirée : prise de poids en 3 jours") in page
    assert "eprise" not in page
    assert re.search(r"prise de poids en 3 jours</a></th><td>2\s?kg</td><td>défaut du protocole", page)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"value": "9"}, typeset("n’est pas possible ; de 0,5 à 5 kg")),
        ({"value": "abc"}, "un nombre, de 0,5 à 5 kg"),
        ({"value": ""}, "un nombre"),
        ({"value": "-1"}, "un nombre"),
        ({"value": "1e0"}, "un nombre"),
        ({"reason": ""}, "Un motif est nécessaire"),
        ({"back": "yes"}, "n’a pas été changée pour ce patient"),
        ({"version": "4"}, "a changé depuis que vous l’avez affichée"),
    ],
)
def test_what_is_not_legal_is_said_and_what_was_typed_stays(site, fields, said):
    before = len(outgoing.waiting(site.queue.engine))
    with site.client("dr.petit") as client:
        answer = send(site, client, 4, **fields)
    assert answer.status_code == 422
    assert said in answer.text
    assert fields.get("reason", "poids sec revu") in answer.text
    assert len(outgoing.waiting(site.queue.engine)) == before


def test_who_may_and_who_may_not(site):
    before = len(outgoing.waiting(site.queue.engine))
    with site.client("marie") as client:  # of the cell, but a nurse
        for answer in (client.get(PATH.format(1, "gain_3d_kg")), send(site, client, 1)):
            assert answer.status_code == 403
            assert "Seul un cardiologue change une limite." in answer.text
        assert client.get(PATH.format(2, "gain_3d_kg")).status_code == 404  # of another cell
        assert send(site, client, 2).status_code == 404
    for name in ("ops", "admin"):
        with site.client(name) as client:
            assert client.get(PATH.format(1, "gain_3d_kg")).status_code == 404
            assert send(site, client, 1).status_code == 404
    with site.client() as client:
        assert client.get(PATH.format(1, "gain_3d_kg")).status_code == 303
    with site.client("dr.petit") as client:
        assert client.get(PATH.format(1, "none")).status_code == 404
        assert (
            client.get(PATH.format(1, "gain_3d_kg").replace("insuffisance_cardiaque", "covidom")).status_code
            == 404
        )
        assert client.get(PATH.format(99, "gain_3d_kg")).status_code == 404  # nobody
        assert send(site, client, 1, csrf="x").status_code == 403
    assert len(outgoing.waiting(site.queue.engine)) == before


def test_a_cardiologist_of_another_cell_has_no_such_patient(site):
    from triage.people.administration import NewAccount
    from triage.people.person import Role

    people, now = site.site.people, site.site.now_ms()
    once = people.create(NewAccount("dr.sud", Role.CARDIOLOGIST, ("Sud",), "Dr Sud"), "shell:test", now)
    came = people.sign_in("dr.sud", once, "", now)
    people.set_password(came.person, once, "une phrase assez longue", now)
    with site.client("dr.sud") as client:
        assert client.get(PATH.format(1, "gain_3d_kg")).status_code == 404
        assert send(site, client, 1).status_code == 404
        assert send(site, client, 2).status_code == 303


def test_the_interface_for_programs(site):
    people, now = site.site.people, site.site.now_ms()
    tokens = {
        (name, scope): people.make_token(name, f"limits-{scope}", scope, 1, "shell:test", now)
        for name, scope in (
            ("dr.petit", Scope.WORK),
            ("dr.petit", Scope.READ),
            ("marie", Scope.WORK),
            ("luc", Scope.WORK),
        )
    }
    path = "/api/v1/patients/P6/limits"
    one = f"{path}/insuffisance_cardiaque/gain_3d_kg"

    def ask(who, scope=Scope.WORK, body=None, to=one):
        with site.client() as client:
            client.headers["Authorization"] = f"Bearer {tokens[who, scope]}"
            return client.get(path) if body is None else client.post(to, json=body)

    good = {"value": 1.25, "reason": "poids sec revu", "version": 0}
    assert ask("marie", body=good).status_code == 403
    assert ask("dr.petit", Scope.READ, good).status_code == 403
    assert ask("luc").status_code == 404
    done = ask("dr.petit", body=good)
    assert done.status_code == 200
    # The engine hears of it a moment later; until then what held before is in force.
    assert (done.json()["value"], done.json()["changed"], done.json()["version"]) == (2.0, True, 1)
    assert done.json()["waiting"]["value"] == 1.25
    assert done.json()["waiting"]["origin"].startswith("patient, dr.petit, ")
    goes(site)
    (now_so,) = [each for each in ask("marie").json() if each["name"] == "gain_3d_kg"]
    assert (now_so["value"], now_so["waiting"]) == (1.25, None)
    for body, status, kind in (
        (good, 409, "changed"),
        (good | {"value": 7, "version": 1}, 409, "refused"),
        (good | {"reason": "", "version": None}, 409, "refused"),
        ({"reason": "motif"}, 422, "invalid"),
    ):
        answer = ask("dr.petit", body=body)
        assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert ask("dr.petit", body=good, to=f"{path}/insuffisance_cardiaque/none").status_code == 404
    found = {each["name"]: each for each in ask("marie").json()}
    assert (found["gain_3d_kg"]["value"], found["gain_3d_kg"]["lowest"], found["gain_3d_kg"]["highest"]) == (
        1.25,
        0.5,
        5,
    )
    assert found["dry_weight_kg"]["value"] is None
    back = ask("dr.petit", body={"value": None, "reason": "essai terminé", "version": 1}).json()
    assert (back["value"], back["changed"], back["version"]) == (1.25, False, 2)
    assert back["waiting"]["value"] == 2.0


def kept(folder, readings):
    """Put readings (patient, signal, ms UTC, thousandths) into a history."""
    made = History(folder)
    first = max(0, made.committed)
    patients, signals, times, milli = zip(*readings, strict=True)
    columns = {
        "patient": patients,
        "signal": [by_name(name).code for name in signals],
        "t_ms": times,
        "receipt_ms": times,
        "milli": milli,
        "status": [0] * len(milli),
        "offset": range(first, first + len(milli)),
        "outcome": [int(Outcome.APPLIED)] * len(milli),
    }
    made.append(0, first, first + len(milli), pl.DataFrame(columns, schema=dict(history.SCHEMA)))
    made.commit(first + len(milli))


def test_the_limit_in_force_is_drawn_from_when_it_was(site):
    now = site.site.now_ms()
    readings = [("P7", name, now - days * DAY, 120_000) for name in ("systolic", "weight") for days in (3, 1)]
    kept(site.site.history, readings)
    with site.client("dr.petit") as client:
        assert send(site, client, 7, "systolic_low", value="100").status_code == 303
        goes(site)
        page = client.get("/patients/P7").text
        drawn = client.get("/patients/P7/courbes/systolic.json").json()["limits"]
        weight = client.get("/patients/P7/courbes/weight.json").json()["limits"]
    low = drawn[0]
    assert (low["label"], low["unit"]) == ("systolique basse", "mmHg")
    (first, (t_ms, value)) = low["steps"]
    assert (first, value) == ([0, 90.0], 100.0)
    assert abs(t_ms - now) < 60_000
    assert len(drawn) == 4
    assert weight == []  # a rise is no level of the weight, and the dry weight is not set
    assert re.search(r"Limite, systolique basse\s: 100\s?mmHg \(patient, dr.petit", page)


def test_last_contacts_with_battery_and_what_the_device_said(site):
    now = site.site.now_ms()
    made = [
        ("P9", "weight", now - 2 * DAY, 80_000),
        ("P9", "battery", now - DAY, 12_000),
        ("P10", "spo2", now, 97_000),
    ]
    kept(site.site.history, made)
    with site.client("marie") as client:
        page = client.get("/patients/P9").text
    table = page[page.index("Derniers contacts") :]
    assert re.search(r"Batterie de l&#39;appareil\s: 12\s?%", table)
    assert table.index("Batterie") < table.index("Poids")
    assert "Saturation" not in table.split("</section>")[0]
