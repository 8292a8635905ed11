"""A demonstration whose patients' time runs fast: who is signed in stays so, and lines go by the fast clock."""

import contextlib
import re

import httpx
import pytest
from conftest import make_frame, make_row

from triage import store
from triage.web.demo import pages

DAY = 86_400_000
START = 1_767_247_200_000  # 1 January 2026, 07:00 in Paris: not the machine's day
PATIENTS = ["P0", "P1", "P2"]


class Fast:
    """A patients' clock that is set on by hand, as one of 600 times would be between two clicks."""

    def __init__(self):
        self.at = START

    def __call__(self):
        return self.at


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    clock = Fast()
    with (
        pytest.MonkeyPatch.context() as patch,
        store.open(f"sqlite:///{folder / 'queue.sqlite'}") as queue,
    ):
        patch.setenv("VIGIE_WEB_PORT", "0")
        with pages(queue, folder, PATIENTS, clock) as at:
            yield queue, clock, at


@contextlib.contextmanager
def client(at, name):
    with httpx.Client(base_url=at.address, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30) as opened:
        answer = opened.post("/connexion", data={"login": name, "password": at.password})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield opened


def csrf(opened):
    return re.search(r'name="csrf" value="([^"]+)"', opened.get("/compte").text)[1]


def opened_line(queue, clock, patient):
    times = dict.fromkeys(("onset_ms", "t_ms", "clock_ms"), clock.at)
    row = make_row(patient=patient, level="ROUGE", problem=f"weight-{clock.at}", **times)
    queue.apply(make_frame(row))
    return row["alert_id"]


def test_a_session_outlives_the_patients_days_and_a_claim_does_not(shown):
    queue, clock, at = shown
    with client(at, "marie") as marie:
        word = csrf(marie)
        line = opened_line(queue, clock, "P0")
        assert marie.post(f"/alertes/{line}/prendre", data={"csrf": word}).status_code == 303
        assert queue.episode(line).owner == "marie"
        clock.at += 3 * DAY  # some minutes at 600 times
        assert marie.get("/file").status_code == 200
        assert csrf(marie) == word
        again = opened_line(queue, clock, "P0")
        assert marie.post(f"/alertes/{again}/prendre", data={"csrf": word}).status_code == 303
        assert queue.episode(again).owner == "marie"
        page = marie.get("/releve").text
        assert "Relève du 04/01/2026 07:00" in page


def test_a_patient_of_another_cell_stays_open_and_a_locked_account_stays_locked(shown):
    _, clock, at = shown
    with client(at, "paul") as paul:
        data = {"csrf": csrf(paul), "patient": "P2", "reason": "demande du cardiologue"}
        assert paul.get("/patients/P2").status_code == 404
        assert paul.post("/ouvrir", data=data).status_code == 303
        clock.at += DAY
        assert paul.get("/patients/P2").status_code == 200
    wrong = {"login": "luc", "password": "x"}
    with httpx.Client(base_url=at.address, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60) as someone:
        for _ in range(5):
            someone.post("/connexion", data=wrong)
        clock.at += 30 * DAY
        right = someone.post("/connexion", data={"login": "luc", "password": at.password})
        assert right.status_code == 401
