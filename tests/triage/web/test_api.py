"""The interface for programs: what it gives, what it refuses and how, and that cells are walls for it too."""

import itertools
import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from triage import audit
from triage.people.person import Scope

MARK = "OTHERS-SENTENCE-4711"


@pytest.fixture(scope="module")
def tokens(site):
    now = site.site.now_ms()
    made = {}
    for name, scope in (
        ("marie", Scope.WORK),
        ("paul", Scope.WORK),
        ("luc", Scope.WORK),
        ("dr.petit", Scope.READ),
    ):
        made[name] = site.site.people.make_token(name, "tests", scope, 1, "shell:test", now)
    made["admin"] = site.site.people.make_token("admin", "tests", Scope.WORK, 1, "shell:test", now)
    return made


@pytest.fixture
def client(site, tokens):
    made = []

    def client(name="marie"):
        headers = {"Authorization": f"Bearer {tokens[name]}"} if name else {}
        made.append(httpx.Client(base_url=f"{site.address}/api/v1", headers=headers, timeout=30))
        return made[-1]

    yield client
    for each in made:
        each.close()


def test_a_line_from_the_list_to_its_end(site, client):
    episode = site.opened("P1")
    api = client()
    found = {line["id"]: line for line in api.get("/lines").json()["lines"]}[episode]
    assert (found["patient"], found["level"], found["state"], found["version"]) == ("P1", "ROUGE", "new", 1)
    assert found["since"].endswith("+00:00")
    assert found["points"][0]["signal"] == "weight"
    claimed = api.post(f"/lines/{episode}/claim", json={"version": 1}).json()
    assert (claimed["owner"], claimed["version"]) == ("marie", 2)
    assert [line["id"] for line in api.get("/lines", params={"view": "moi"}).json()["lines"]] == [episode]
    back = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    called = api.post(f"/lines/{episode}/call", json={"outcome": "call_back", "back": back}).json()
    assert called["state"] == "called"
    late = api.post(f"/lines/{episode}/close", json={"reason": "treated", "version": 2})
    assert (late.status_code, late.json()["kind"]) == (409, "changed")
    closed = api.post(f"/lines/{episode}/close", json={"reason": "treated", "text": "x"}).json()
    assert closed["ended"] is not None
    again = api.post(f"/lines/{episode}/claim", json={})
    assert (again.status_code, again.json()["kind"]) == (409, "refused")
    assert "déjà clôturé" in again.json()["message"]
    actions = [entry.action for entry in audit.entries(site.queue.engine, subject="P1")]
    assert actions == ["closed", "called", "claimed"]


def test_of_two_programs_at_once_one_wins_and_the_other_is_told_whose(site, client):
    episode = site.opened("P3")
    answers = {}

    def claim(name, api):
        answers[name] = api.post(f"/lines/{episode}/claim", json={})

    threads = [threading.Thread(target=claim, args=(name, client(name))) for name in ("marie", "paul")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers.values()) == [200, 409]
    winner = next(name for name, answer in answers.items() if answer.status_code == 200)
    (lost,) = (answer.json() for answer in answers.values() if answer.status_code == 409)
    assert (lost["kind"], lost["owner"]) == ("taken", winner)


def test_what_a_token_may_not(site, client):
    episode = site.opened("P4")
    assert client(None).get("/lines").status_code == 401
    assert client(None).get("/lines").headers["www-authenticate"] == "Bearer"
    wrong = httpx.get(f"{site.address}/api/v1/lines", headers={"Authorization": "Bearer vg_" + "x" * 43})
    assert (wrong.status_code, wrong.json()["kind"]) == (401, "unsigned")
    read = client("dr.petit")
    assert read.get("/lines").status_code == 200
    answer = read.post(f"/lines/{episode}/claim", json={})
    assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")
    assert client("admin").get("/lines").status_code == 403
    with site.client("marie") as signed_in:  # a page's cookie says nothing here
        assert signed_in.get("/api/v1/lines").status_code == 401


@pytest.mark.parametrize("path", ["/lines/{}", "/patients/P2/lines", "/patients/P2/curves"])
def test_another_cells_patient_is_not_there(site, client, path):
    episode = site.opened("P2", problem=f"wall-{len(path)}")
    api = client()
    there, nowhere = api.get(path.format(episode)), api.get(path.replace("P2", "P999").format("0" * 16))
    assert (
        (there.status_code, there.content) == (nowhere.status_code, nowhere.content) == (404, there.content)
    )
    for move, body in (
        ("claim", {}),
        ("release", {}),
        ("close", {"reason": "advice"}),
        ("reopen", {"reason": "x"}),
    ):
        assert api.post(f"/lines/{episode}/{move}", json=body).status_code == 404
    assert site.queue.episode(episode).state == "new"
    assert client("luc").get(f"/lines/{episode}").status_code == 200


@pytest.mark.parametrize(
    ("move", "body", "status", "words"),
    [
        ("close", {}, 422, "reason"),
        ("close", {"reason": "bored"}, 422, "reason"),
        ("close", {"reason": "treated", "extra": 1}, 422, "extra"),
        ("mute", {"until": "2026-11-27T14:05:00", "reason": "x"}, 409, "fuseau"),
        ("mute", {"until": "2020-01-01T10:00:00Z", "reason": "x"}, 409, "une fin à venir"),
        ("call", {"outcome": "call_back"}, 409, "à quelle heure"),
        ("escalate", {"to": "samu", "note": " "}, 409, "motif"),
        ("hand-over", {"to": "luc"}, 409, "ne voit pas ce patient"),
    ],
)
def test_what_is_wrong_is_named(site, client, move, body, status, words):
    episode = site.opened("P6", problem=f"wrong-{move}-{len(json.dumps(body))}")
    answer = client().post(f"/lines/{episode}/{move}", json=body)
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert site.queue.episode(episode).state == "new"


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def test_anything_that_its_description_allows_is_answered_as_it_says_and_shows_nothing_of_others(
    site, tokens
):
    """Schemathesis over all of it, by the programs of two cells; the other's sentences and ids are never there."""
    for patient in ("P7", "P9"):
        site.opened(patient, sentence="ours")
    secret = [site.opened(patient, sentence=MARK) for patient in ("P8", "P11")]
    own = site.opened("P10", "ORANGE")
    schema = schemathesis.openapi.from_url(f"{site.address}/api/v1/openapi.json")
    ids = itertools.cycle([*secret, own, None])
    seen = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def conforms(case):
            # What it draws is never there: half of the time it is something that is, of this cell or another.
            for name, there in (("episode", next(ids)), ("patient", next(ids) and "P8")):
                if name in (case.path_parameters or {}) and there is not None:
                    case.path_parameters[name] = there
            answer = case.call(
                base_url=f"{site.address}/api/v1", headers={"Authorization": f"Bearer {tokens['marie']}"}
            )
            seen[answer.status_code] += 1
            assert MARK not in answer.text
            assert not any(episode in answer.text for episode in secret)
            case.validate_response(answer, checks=CHECKS)

        conforms()
    assert seen[404] > 20
    assert seen[200] > 20
