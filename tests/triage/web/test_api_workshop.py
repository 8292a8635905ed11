"""The workshop by the interface for programs: what the pages answer, under the same rights, walls and limits."""

import itertools
import re
import time
from datetime import UTC, datetime

import httpx
import pytest

from engine.workshop import SEATS, Question
from triage import audit
from triage.people.person import Scope
from triage.work import outgoing

HEART = "insuffisance_cardiaque"
DAY = 86_400_000
ENDS = ("refuse", "withdraw")
labels = itertools.count()


@pytest.fixture
def program(atelier):
    """Give a client with a token of an account."""
    made = []

    def program(name="dr.petit", scope=Scope.WORK):
        now = atelier.site.now_ms()
        token = atelier.site.people.make_token(name, f"w{next(labels)}", scope, 1, "shell:test", now)
        base = f"{atelier.address}/api/v1"
        made.append(httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60))
        return made[-1]

    yield program
    for each in made:
        each.close()


def proposed(api, cell="Nord", comment="charge acceptable", **limits):
    body = {"cell": cell, "limits": limits, "comment": comment}
    answer = api.post(f"/workshop/{HEART}/proposals", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def actions(atelier, number):
    return [each.action for each in audit.entries(atelier.queue.engine, subject=f"proposal {number}")]


def by_hand(atelier, name, number, act, version, **fields):
    """Do on the proposal's page what no token may."""
    with atelier.client(name) as client:
        body = {"csrf": atelier.csrf(client), "version": version, **fields}
        return client.post(f"/atelier/propositions/{number}/{act}", data=body)


def test_a_trial_says_what_the_page_says(atelier, program):
    api = program(scope=Scope.READ)  # it changes nothing
    bench = api.get(f"/workshop/{HEART}", params={"cell": "Nord"}).json()
    held = {each["name"]: each for each in bench["limits"]}
    assert (held["gain_3d_kg"]["value"], held["gain_3d_kg"]["unit"]) == (2.0, "kg")
    assert "dry_weight_kg" not in held  # a patient's alone
    body = {"cell": "Nord", "limits": {"gain_3d_kg": 1.2}, "seen": {"gain_3d_kg": 2.0}}
    found = api.post(f"/workshop/{HEART}/trial", json=body).json()
    assert found["changes"] == [
        {
            "name": "gain_3d_kg",
            "label": held["gain_3d_kg"]["label"],
            "unit": "kg",
            "before": 2.0,
            "after": 1.2,
        }
    ]
    assert found["patients"] == 16
    assert found["after"]["alerts"] > found["before"]["alerts"]
    assert found["before"]["missed"] == found["before"]["events"] - found["before"]["caught"]
    assert sum(day["base"] for day in found["days"]) == found["before"]["alerts"]
    assert sum(day["gained"] for day in found["days"]) == found["gained"]
    assert {each["patient"] for each in found["alerts_gained"]} <= set(atelier.patients)
    assert all(each["opened"].endswith("+00:00") for each in found["alerts_gained"])
    with atelier.client("dr.petit") as pages:
        form = {"csrf": atelier.csrf(pages), "cellule": "Nord", "l_gain_3d_kg": "1,2", "s_gain_3d_kg": "2"}
        page = pages.post(f"/atelier/{HEART}/essai", data=form, headers={"hx-request": "true"}).text
    shown = [int(re.search(rf"Alertes {what}\s:\s(\d+)", page)[1]) for what in ("gagnées", "perdues")]
    assert shown == [found["gained"], found["lost"]]
    alone = api.post(f"/workshop/{HEART}/trial", json={"cell": "Nord"}).json()
    assert (alone["after"], alone["changes"], alone["gained"]) == (None, [], 0)
    assert alone["before"] == found["before"]
    assert "workshop seen" in [each.action for each in audit.entries(atelier.queue.engine, subject=HEART)]


def test_what_is_not_legal_is_refused_as_a_whole(program):
    api = program()
    for limits, seen, kind, words in (
        ({"gain_3d_kg": 12, "gain_7d_kg": 2}, {}, "refused", "12 kg n’est pas possible ; de 0,5 à 5 kg"),
        ({"gain_3d_kg": 1.2}, {"gain_3d_kg": 1.5}, "changed", "changée depuis"),
        ({"dry_weight_kg": 80}, {}, "refused", "la cellule n’a pas cette limite"),
    ):
        body = {"cell": "Nord", "limits": limits, "seen": seen}
        answer = api.post(f"/workshop/{HEART}/trial", json=body)
        assert (answer.status_code, answer.json()["kind"]) == (409, kind)
        assert words in answer.json()["message"].replace("\N{NO-BREAK SPACE}", " ")
    body = {"cell": "Nord", "limits": {}, "comment": "rien"}
    nothing = api.post(f"/workshop/{HEART}/proposals", json=body)
    assert (nothing.status_code, nothing.json()["message"]) == (409, "aucune limite n’est changée")
    assert api.get("/workshop/aucun").status_code == 404


def test_two_answer_for_it_it_holds_and_is_taken_back(atelier, program):
    petit, roy = program("dr.petit"), program("dr.roy")
    made = proposed(petit, gain_3d_kg=1.5)
    number = made["number"]
    assert (made["state"], made["version"], made["author"]) == ("proposed", 1, "dr.petit")
    assert made["concerned"]["patients"] == 16
    assert made["study"]["after"]["alerts"] >= made["study"]["before"]["alerts"]
    assert roy.get("/proposals").json()["proposals"][0]["number"] == number
    report = roy.get(f"/proposals/{number}/trial")
    assert report.headers["content-type"].startswith("text/html")
    assert "2 → 1,5\N{NO-BREAK SPACE}kg" in report.text
    assert by_hand(atelier, "dr.roy", number, "signer", 1).status_code == 303
    signed = roy.get(f"/proposals/{number}").json()
    assert (signed["signer"], signed["signed"] is not None) == ("dr.roy", True)
    old = roy.post(f"/proposals/{number}/withdraw", json={"version": 1, "reason": "essai refait"})
    assert (old.status_code, old.json()["kind"]) == (409, "changed")
    until = time.monotonic() + 60
    while (found := roy.get(f"/proposals/{number}").json())["state"] != "in_force":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (found["concerned"], found["reached"]["patients"]) == (None, 16)
    while (reached := roy.get(f"/proposals/{number}").json()["reached"])["waiting"] < reached["patients"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert reached["told"] == 0
    assert datetime.fromisoformat(reached["begins"]) < datetime.now(UTC)
    outgoing.sent(atelier.queue.engine, [each.id for each in outgoing.waiting(atelier.queue.engine)], 1)
    reached = roy.get(f"/proposals/{number}").json()["reached"]
    assert reached == {"told": 16, "patients": 16, "waiting": 0, "begins": None}
    held = {
        each["name"]: each for each in roy.get(f"/workshop/{HEART}", params={"cell": "Nord"}).json()["limits"]
    }
    assert held["gain_3d_kg"]["value"] == 1.5
    assert "dr.petit et dr.roy" in held["gain_3d_kg"]["origin"]
    reason = "trop d’alertes"
    taken = by_hand(atelier, "dr.petit", number, "reprendre", found["version"], reason=reason)
    assert taken.status_code == 303
    back = petit.get(f"/proposals/{number}").json()
    assert (back["state"], back["ended_by"], back["ended_reason"]) == (
        "taken_back",
        "dr.petit",
        "trop d’alertes",
    )
    assert actions(atelier, number)[::-1] == [
        "limits proposed",
        "trial seen",
        "limits signed",
        "limits in force",
        "limits taken back",
    ]


def test_no_token_signs_or_takes_back(atelier, program):
    """Whoever has another's token holds limits for no cell: that asks for a person at the page."""
    petit, roy, nurse = program("dr.petit"), program("dr.roy"), program("marie")
    number = proposed(petit, gain_3d_kg=1.5)["number"]
    for of in (number, 99_999):
        for body in (None, {"version": 1}, {"version": 1, "reason": "trop d’alertes"}):
            for move in ("sign", "take-back"):
                answers = [api.post(f"/proposals/{of}/{move}", json=body) for api in (petit, roy, nurse)]
                assert {(each.status_code, each.json()["kind"]) for each in answers} == {(403, "forbidden")}
                assert "on the proposal's page" in answers[0].json()["message"]
    found = roy.get(f"/proposals/{number}").json()
    assert (found["state"], found["version"], found["signer"]) == ("proposed", 1, None)
    assert by_hand(atelier, "dr.roy", number, "refuser", 1, reason="essai refait").status_code == 303


def test_it_runs_in_the_shadow_and_is_compared_day_by_day(atelier, program):
    """The log is of January: what it has after the shadow's begin is what the shadow would have raised."""
    desk, api = atelier.site.proposals, program()
    reach = atelier.site.workshop.ask(Question(frozenset(atelier.patients), HEART, {}, {})).reach
    number = proposed(api, gain_3d_kg=1.1)["number"]
    never = api.get(f"/proposals/{number}/shadow")
    assert (never.status_code, never.json()["kind"]) == (409, "refused")
    clock, desk._now_ms = desk._now_ms, lambda: reach.last_ms - 10 * DAY
    try:
        begun = api.post(f"/proposals/{number}/shadow", json={"version": 1, "on": True}).json()
        assert begun["shadow_since"] is not None
        assert begun["shadow_until"] is None
        running = api.get(f"/proposals/{number}/shadow").json()
        assert running["running"] is True
        assert len(running["days"]) >= 10
        assert sum(day["gained"] for day in running["days"]) > 0
        desk._now_ms = lambda: reach.last_ms - 3 * DAY
        ended = api.post(f"/proposals/{number}/shadow", json={"version": 2, "on": False}).json()
        assert ended["shadow_until"] is not None
        kept = api.get(f"/proposals/{number}/shadow").json()
        assert kept["running"] is False
        assert kept["days"][:-1] == running["days"][: len(kept["days"]) - 1]
        # Of the day on which it ended, what came before that.
        last, whole = kept["days"][-1], running["days"][len(kept["days"]) - 1]
        assert last["day"] == whole["day"]
        assert last["changed"] <= whole["changed"]
        assert len(kept["days"]) < len(running["days"])
    finally:
        desk._now_ms = clock
    assert actions(atelier, number)[0] == "shadow seen"
    body = {"version": 3, "reason": "essai de l’ombre"}
    assert api.post(f"/proposals/{number}/withdraw", json=body).json()["state"] == "withdrawn"


def test_a_list_is_read_to_its_end(atelier, program, monkeypatch):
    monkeypatch.setattr("triage.web.api.workshop.MOST", 2)
    api = program()
    made = [proposed(api, gain_7d_kg=value)["number"] for value in (2.5, 3.0, 3.5)]
    found, after = [], None
    while True:
        page = api.get("/proposals", params={} if after is None else {"after": after}).json()
        found += [each["number"] for each in page["proposals"]]
        after = page["next"]
        if after is None:
            break
        assert len(page["proposals"]) == 2
    assert found[:3] == made[::-1]
    assert found == sorted(set(found), reverse=True)
    assert {each["cell"] for each in api.get("/proposals", params={"cell": "Sud"}).json()["proposals"]} <= {
        "Sud"
    }


@pytest.mark.parametrize("name", ["marie", "ops", "admin"])
def test_only_a_cardiologist_comes_in(program, name):
    api = program(name)
    body = {"limits": {"gain_3d_kg": 1.5}, "comment": "charge acceptable"}
    answers = [api.get(f"/workshop/{HEART}"), api.get("/proposals"), api.get("/proposals/1")]
    answers += [api.post(f"/workshop/{HEART}/proposals", json=body)]
    answers += [api.post(f"/workshop/{HEART}/trial", json={"limits": body["limits"]})]
    answers += [api.post("/proposals/1/refuse", json={"version": 1, "reason": "non"})]
    assert {answer.status_code for answer in answers} == {403}


def test_a_token_that_reads_changes_nothing(program):
    number = proposed(program(), gain_3d_kg=1.4)["number"]
    api = program("dr.roy", Scope.READ)
    assert api.get(f"/proposals/{number}").status_code == 200
    body = {"limits": {"gain_3d_kg": 1.5}, "comment": "charge acceptable"}
    answers = [api.post(f"/workshop/{HEART}/proposals", json=body)]
    answers += [api.post(f"/proposals/{number}/shadow", json={"version": 1, "on": True})]
    answers += [api.post(f"/proposals/{number}/{end}", json={"version": 1, "reason": "non"}) for end in ENDS]
    assert {answer.status_code for answer in answers} == {403}
    assert api.get(f"/proposals/{number}").json()["version"] == 1


def test_another_cell_and_its_proposals_are_not_there(program):
    petit, roy = program("dr.petit"), program("dr.roy")
    number = proposed(petit, cell="Sud", gain_3d_kg=1.5)["number"]

    def answers(of):
        yield from (roy.get(f"/proposals/{of}{path}") for path in ("", "/trial", "/shadow"))
        yield roy.post(f"/proposals/{of}/shadow", json={"version": 1, "on": True})
        for end in ENDS:
            yield roy.post(f"/proposals/{of}/{end}", json={"version": 1, "reason": "essai refait"})

    there, nowhere = ([(each.status_code, each.content) for each in answers(of)] for of in (number, 99_999))
    assert there == nowhere
    assert {status for status, _ in there} == {404}
    for cell in ("Sud", "Nulle part"):
        body = {"cell": cell, "limits": {"gain_3d_kg": 1.5}, "comment": "charge acceptable"}
        assert roy.post(f"/workshop/{HEART}/proposals", json=body).status_code == 404
        del body["comment"]
        assert roy.post(f"/workshop/{HEART}/trial", json=body).status_code == 404
        assert roy.get(f"/workshop/{HEART}", params={"cell": cell}).status_code == 404
        assert roy.get("/proposals", params={"cell": cell}).status_code == 404
    assert number not in [each["number"] for each in roy.get("/proposals").json()["proposals"]]
    assert petit.get(f"/proposals/{number}").json()["version"] == 1


def test_who_comes_when_all_seats_are_taken_is_told_to_come_again(atelier, program):
    seats = atelier.site.workshop._seats
    for _ in range(SEATS):
        assert seats.acquire(blocking=False)
    try:
        answer = program().post(f"/workshop/{HEART}/trial", json={"cell": "Nord"})
    finally:
        for _ in range(SEATS):
            seats.release()
    assert (answer.status_code, answer.json()["kind"], answer.headers["retry-after"]) == (
        429,
        "too_many",
        "1",
    )
    assert "occupé" in answer.json()["message"]


def test_without_a_log_on_this_machine_it_says_so(atelier, program):
    kept, atelier.site.workshop = atelier.site.workshop, None
    try:
        answer = program().post(f"/workshop/{HEART}/trial", json={"cell": "Nord"})
    finally:
        atelier.site.workshop = kept
    assert (answer.status_code, answer.json()["kind"]) == (409, "refused")
    assert "lit le journal du service" in answer.json()["message"]
