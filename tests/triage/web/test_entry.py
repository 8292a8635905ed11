"""What is typed on the pages takes the way of a packet: what goes to the log decodes to what was typed."""

import json
import re
import time

import pytest
from sqlalchemy import text

from engine.load import load
from triage import audit, database
from triage.web.links import Link
from triage.work import outgoing
from triage.work.entry import BY_NURSE, BY_PATIENT


@pytest.fixture
def decoded(site):
    """Gives what waits for the log: (source, patient, kind, t_ms, {code: value}) of each packet."""
    loaded = load(["insuffisance_cardiaque", "covidom"])

    def decoded():
        letters = outgoing.waiting(site.queue.engine)
        now = time.time_ns() // 1_000_000
        entries = [(i, now, letter.source, letter.body) for i, letter in enumerate(letters)]
        batch, quarantine = loaded.decoder().decode(entries)
        assert not len(quarantine)
        outgoing.sent(site.queue.engine, [letter.id for letter in letters], now)
        out = []
        for i in range(len(batch)):
            at = slice(batch.value_at[i], batch.value_at[i + 1])
            codes, values = batch.code[at].tolist(), (batch.milli[at] / 1000).tolist()
            source = letters[int(batch.offset[i])].source
            out.append(
                (source, batch.kind[i].item(), batch.t_ms[i].item(), dict(zip(codes, values, strict=True)))
            )
        return out

    decoded()  # what other tests have left
    return decoded


def test_a_nurse_types_readings_and_answers(site, decoded):
    with site.client("marie") as client:
        page = client.get("/patients/P0/saisie")
        assert "Poids" in page.text
        form = {
            "csrf": site.csrf(client),
            "weight": "82,4",
            "systolic": "135",
            "spo2": " 94 ",
            "q256": "1",
            "q257": "0",
        }
        answer = client.post("/patients/P0/saisie", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/patients/P0")
    readings, answers = decoded()
    assert readings[0] == answers[0] == BY_NURSE
    assert readings[3] == {1: 82.4, 2: 135.0, 9: 94.0}
    assert answers[3] == {256: 1.0, 257: 0.0}
    assert abs(readings[2] - site.site.now_ms()) < 10_000
    entry = audit.entries(site.queue.engine, subject="P0", actor="marie")[0]
    assert (entry.action, entry.cell) == ("entered", "Nord")
    assert json.loads(entry.details)["codes"] == [1, 2, 9, 256, 257]
    assert "82" not in entry.details.replace(str(readings[2]), "")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "rien n’est saisi"),
        ({"weight": "abc"}, "un nombre, de 25 à 350"),
        ({"weight": "812"}, "812 n’est pas possible"),
        ({"weight": "8e1"}, "un nombre"),
        ({"weight": "-80"}, "un nombre"),
        ({"weight": "٨٢"}, "un nombre"),
        ({"temperature": "37,5,2"}, "un nombre"),
        ({"weight": "82", "at": "hier"}, "jour et heure"),
        ({"weight": "82", "at": "2020-01-01T10:00"}, "7 derniers jours"),
        ({"weight": "82", "at": "2099-01-01T10:00"}, "7 derniers jours"),
        ({"q256": "7"}, "une réponse de 0 à 1"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_goes_to_the_log(site, decoded, form, words):
    with site.client("marie") as client:
        answer = client.post("/patients/P0/saisie", data={"csrf": site.csrf(client), **form})
        assert answer.status_code == 422
        assert words in answer.text
    assert decoded() == []


def test_another_cells_patient_cannot_be_typed_for(site, decoded):
    with site.client("marie") as client:
        csrf = site.csrf(client)
        assert client.get("/patients/P2/saisie").status_code == 404
        assert client.post("/patients/P2/saisie", data={"csrf": csrf, "weight": "80"}).status_code == 404
        assert client.post("/patients/P0/saisie", data={"csrf": "x", "weight": "80"}).status_code == 403
    assert decoded() == []


def link(site, patient="P0", protocol="covidom", minutes=60, number=None):
    until = site.site.now_ms() + minutes * 60_000
    made = Link.new(patient, protocol, until)
    return made, f"/q/{made.sealed(site.site.seal)}"


ANSWERS = {"q272": "2", "q273": "0", "q274": "1", "q275": "0", "temperature": "38,6"}


def test_a_patient_answers_without_an_account_once(site, decoded):
    made, path = link(site)
    with site.client() as client:
        page = client.get(path)
        assert page.status_code == 200
        assert "Avez-vous du mal à respirer" in page.text
        # What is sealed is random, and two letters may come in it by chance.
        assert "P0" not in re.sub(r"[\w=-]{40,}", "", page.text)
        assert re.fullmatch(r"/q/[\w=-]{40,}", path)
        assert "patient-0123456789" not in link(site, "patient-0123456789")[1]
        missing = client.post(path, data={"q272": "2"})
        assert (missing.status_code, missing.text.count("Choisissez une réponse.")) == (422, 3)
        assert client.post(path, data=ANSWERS | {"temperature": "99"}).status_code == 422
        assert decoded() == []
        assert "Vos réponses sont arrivées" in client.post(path, data=ANSWERS).text
        assert "déjà été reçues" in client.post(path, data=ANSWERS).text
        assert "déjà été reçues" in client.get(path).text
    found = decoded()
    assert [each[0] for each in found] == [BY_PATIENT, BY_PATIENT]
    assert found[0][3] == {11: 38.6}
    assert found[1][3] == {272: 2.0, 273: 0.0, 274: 1.0, 275: 0.0}
    assert audit.entries(site.queue.engine, actor=f"patient:{made.number:x}")[0].subject == "P0"


def test_sent_twice_at_once_it_is_one_packet(site):
    """Both may pass the look at what was sent: the number is the link's, so the engine takes them for one."""
    _, path = link(site, "P3")
    with site.client() as client:
        client.post(path, data=ANSWERS)
        first = outgoing.waiting(site.queue.engine)[-1]
        with database.writing(site.queue.engine) as connection:
            row = {"source": first.source, "body": first.body, "made_ms": 1}
            query = "INSERT INTO outgoing (source, body, made_ms) VALUES (:source, :body, :made_ms)"
            connection.execute(text(query), row)
    loaded = load(["insuffisance_cardiaque", "covidom"])
    bodies = [each for each in outgoing.waiting(site.queue.engine) if each.body == first.body]
    assert len(bodies) == 2
    now = time.time_ns() // 1_000_000
    with loaded.line() as line:
        batch, quarantine = loaded.decoder().decode(
            [(i, now, each.source, each.body) for i, each in enumerate(bodies)]
        )
        line.process(batch, quarantine)
        assert (line.accounts.total.applied, line.accounts.total.duplicate) == (2, 2)


def test_a_link_that_is_over_changed_or_none_says_so(site):
    _, late = link(site, minutes=-1)
    _, good = link(site)
    _, unknown = link(site, protocol="gone")
    foreign = site.site.seal.close(json.dumps(["openid", "a", "b", "c"]))
    with site.client() as client:
        for path, words in ((late, "plus valable"), (good[:-6] + "AAAAA=", "pas valable"), ("/q/x", "pas valable"),
                            (f"/q/{foreign}", "lien"), (unknown, "plus en usage")):  # fmt: skip
            for answer in (client.get(path), client.post(path, data=ANSWERS)):
                assert answer.status_code == 410
                assert words in answer.text
