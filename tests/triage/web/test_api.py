"""The interface for programs: what it gives, what it refuses and how, and that cells are walls for it too."""

import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from engine.load import load
from triage import audit, database
from triage.people.passwords import Attempts
from triage.people.person import Scope
from triage.web.live import MOST_TOLD
from triage.work import notices, outgoing


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
    called = api.post(
        f"/lines/{episode}/call", json={"version": 2, "outcome": "call_back", "back": back}
    ).json()
    assert called["state"] == "called"
    late = api.post(f"/lines/{episode}/close", json={"reason": "treated", "version": 2})
    assert (late.status_code, late.json()["kind"]) == (409, "changed")
    # Sent again, it is told as whose line it is now.
    assert (late.json()["owner"], late.json()["line"]["version"]) == ("marie", 3)
    closed = api.post(f"/lines/{episode}/close", json={"reason": "treated", "text": "x", "version": 3}).json()
    assert closed["ended"] is not None
    again = api.post(f"/lines/{episode}/claim", json={"version": 4})
    assert (again.status_code, again.json()["kind"]) == (409, "refused")
    assert "déjà clôturé" in again.json()["message"]
    actions = [entry.action for entry in audit.entries(site.queue.engine, subject="P1")]
    assert actions == ["closed", "called", "claimed"]


def test_of_two_programs_at_once_one_wins_and_the_other_is_told_whose(site, client):
    episode = site.opened("P3")
    answers = {}

    def claim(name, api):
        answers[name] = api.post(f"/lines/{episode}/claim", json={"version": 1})

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
    answer = read.post(f"/lines/{episode}/claim", json={"version": 1})
    assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")
    assert client("admin").get("/lines").status_code == 403
    with site.client("marie") as signed_in:  # a page's cookie says nothing here
        assert signed_in.get("/api/v1/lines").status_code == 401


@pytest.mark.parametrize(
    ("move", "body", "status", "words"),
    [
        ("close", {}, 422, "version: Field required; reason"),
        ("close", {"reason": "bored"}, 422, "reason"),
        ("close", {"reason": "treated", "extra": 1}, 422, "extra"),
        ("mute", {"until": "2026-11-27T14:05:00", "reason": "x"}, 422, "until: Input should have timezone"),
        ("mute", {"until": "2020-01-01T10:00:00Z", "reason": "x"}, 409, "une fin à venir"),
        ("call", {"outcome": "call_back"}, 409, "à quelle heure"),
        ("escalate", {"to": "samu", "note": " "}, 409, "motif"),
        ("hand-over", {"to": "luc"}, 409, "ne voit pas ce patient"),
        ("note", {"text": " "}, 409, "motif"),
        ("note", {"text": "a\0b"}, 422, "NUL"),
        ("claim", {"version": -1}, 422, "version"),
        ("claim", {"version": 1 << 70}, 422, "version"),
    ],
)
def test_what_is_wrong_is_named(site, client, move, body, status, words):
    episode = site.opened("P6", problem=f"wrong-{move}-{len(json.dumps(body))}")
    answer = client().post(f"/lines/{episode}/{move}", json={"version": 1, **body} if body else {})
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert site.queue.episode(episode).state == "new"


def test_a_list_goes_on_where_it_ended_and_gives_each_line_once(site, client):
    made = [
        site.opened("P12", level, problem=f"page-{i}", ago_min=i % 3)
        for i, level in enumerate(["ROUGE", "ORANGE", "TECHNIQUE"] * 3)
    ]
    api = client()
    whole = [line["id"] for line in api.get("/lines", params={"limit": 200, "text": "page-"}).json()["lines"]]
    assert set(whole) == set(made)
    got, after = [], ""
    while after is not None:
        page = api.get("/lines", params={"limit": 2, "text": "page-", "after": after}).json()
        got += [line["id"] for line in page["lines"]]
        after = page["next"]
    assert got == whole
    for line in made:
        api.post(f"/lines/{line}/close", json={"version": 1, "reason": "advice"})
    closed = {"view": "cloturees", "text": "page-"}
    whole = [line["id"] for line in api.get("/lines", params=closed).json()["lines"]]
    first = api.get("/lines", params={**closed, "limit": 4}).json()
    rest = api.get("/lines", params={**closed, "after": first["next"]}).json()
    assert [line["id"] for line in [*first["lines"], *rest["lines"]]] == whole
    assert (len(whole), rest["next"]) == (9, None)


@pytest.mark.parametrize("after", ["x", "4.1.1.a", "1.9999999999999999999.1.a", "1.2", "3.1.1.", "1" * 200])
def test_a_cursor_of_no_page_is_named(client, after):
    answer = client().get("/lines", params={"after": after})
    assert (answer.status_code, answer.json()["kind"]) == (422, "invalid")
    assert "is of no page of this view" in answer.json()["message"]


def test_several_moves_at_once_say_how_many_and_why_the_others_not(site, client):
    made = [site.opened("P13", "ORANGE", problem=f"several-{i}") for i in range(4)]
    client("paul").post(f"/lines/{made[1]}/claim", json={"version": 1})
    moves = [{"do": "close", "line": line, "version": 1, "reason": "equipment"} for line in made[:3]]
    moves += [{"do": "note", "line": made[3], "version": 7, "text": "x"}]
    moves += [{"do": "claim", "line": "0" * 16, "version": 1}]
    done = client().post("/moves", json={"moves": moves}).json()
    assert (done["done"], done["of"]) == (2, 5)
    assert [(each["line"], each["version"]) for each in done["moved"]] == [(made[0], 2), (made[2], 2)]
    assert [(each["place"], each["kind"], each["owner"]) for each in done["refused"]] == [
        (1, "taken", "paul"),
        (3, "changed", None),
        (4, "unknown", None),
    ]
    # All of it again: nothing more happens.
    again = client().post("/moves", json={"moves": moves}).json()
    assert (again["done"], len(again["refused"])) == (0, 5)
    assert client().post("/moves", json={"moves": moves[:1] * 201}).status_code == 422
    assert client().post("/moves", json={"moves": []}).status_code == 422


def test_a_move_sent_again_does_nothing_more(site, client):
    """A program that did not hear the answer sends it once more: one call is noted, one note, one escalation."""
    for move, body in (
        ("call", {"outcome": "reached"}),
        ("note", {"text": "préfère le matin"}),
        ("escalate", {"to": "cardiologist", "note": "avis"}),
    ):
        episode = site.opened("P15", "ORANGE", problem=f"again-{move}")
        first, again = (client().post(f"/lines/{episode}/{move}", json={"version": 1, **body}) for _ in "12")
        assert (first.status_code, again.status_code, again.json()["kind"]) == (200, 409, "changed")
        assert again.json()["line"]["version"] == first.json()["version"] == 2
        log = client().get(f"/lines/{episode}/log").json()["log"]
        assert [(each["actor"], each["word"]) for each in log] == [
            ("marie", {"call": "Appel", "note": "Note", "escalate": "Avis demandé"}[move])
        ]


def test_the_log_of_a_line_is_of_that_line(site, client):
    one, other = (site.opened("P16", "ORANGE", problem=f"log-{i}") for i in range(2))
    api = client()
    api.post(f"/lines/{one}/claim", json={"version": 1})
    api.post(f"/lines/{other}/note", json={"version": 1, "text": "de l’autre"})
    api.post(f"/lines/{one}/close", json={"version": 2, "reason": "other", "text": "double emploi"})
    log = api.get(f"/lines/{one}/log").json()
    assert [(each["action"], each["line"]) for each in log["log"]] == [("closed", one), ("claimed", one)]
    assert log["log"][0]["details"]["text"] == "double emploi"
    assert api.get(f"/lines/{one}/log", params={"limit": 1}).json()["more"]


def test_what_is_entered_comes_to_the_log_once(site, client):
    loaded = load(["insuffisance_cardiaque", "covidom"])
    before = {letter.id for letter in outgoing.waiting(site.queue.engine)}
    api = client()
    form = api.get("/patients/P18/entry").json()
    weight = next(each for each in form["readings"] if each["name"] == "weight")
    assert (weight["unit"], weight["highest"] > weight["lowest"]) == ("kg", True)
    question = form["questions"][0]["name"]
    body = {"key": "visite-0001", "readings": {"weight": 82.4}, "answers": {question: 1}}
    first, again = (api.post("/patients/P18/entry", json=body).json() for _ in "12")
    assert (first["new"], again["new"]) == (True, False)
    other = api.post("/patients/P18/entry", json=body | {"readings": {"weight": 83}})
    assert (other.status_code, other.json()["kind"]) == (409, "changed")
    letters = [each for each in outgoing.waiting(site.queue.engine) if each.id not in before]
    batch, quarantine = loaded.decoder().decode([(0, site.site.now_ms(), letters[0].source, letters[0].body)])
    assert (len(letters), len(batch), len(quarantine)) == (1, 2, 0)
    assert batch.milli.tolist() == [82_400, 1_000]
    entered = [each for each in audit.entries(site.queue.engine, subject="P18") if each.action == "entered"]
    assert [each.actor for each in entered] == ["marie"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "rien n’est saisi"),
        ({"readings": {"weight": 900}}, "900 n’est pas possible"),
        ({"readings": {"weight": 80.0001}}, "trois décimales"),
        ({"readings": {"shoe": 42}}, "readings.shoe : n’existe pas"),
        ({"answers": {"orthopnoea": 99}}, "answers.orthopnoea"),
        ({"readings": {"weight": 80}, "at": "2020-01-01T10:00:00Z"}, "7 derniers jours"),
        ({"readings": {"weight": 80}, "at": "2026-11-27T10:00:00"}, "timezone"),
        ({"readings": {"weight": 80}, "key": "x"}, "key"),
        ({"readings": {f"s{i}": 1 for i in range(17)}}, "at most 16"),
    ],
)
def test_what_is_entered_wrongly_is_named_and_not_kept(site, client, body, words):
    before = len(outgoing.waiting(site.queue.engine))
    answer = client().post("/patients/P19/entry", json={"key": "wrong-0001", **body})
    assert answer.status_code == 422
    assert words in answer.json()["message"]
    assert len(outgoing.waiting(site.queue.engine)) == before


def test_a_patients_view_has_lines_thread_and_limits(site, client):
    episode = site.opened("P21", "ORANGE", problem="view")
    api = client()
    api.post(f"/lines/{episode}/note", json={"version": 1, "text": "chaussettes serrées"})
    seen = api.get("/patients/P21").json()
    assert (seen["id"], seen["cell"], seen["protocols"]) == ("P21", "Nord", ["insuffisance_cardiaque"])
    assert [line["id"] for line in seen["lines"]] == [episode]
    assert [(each["action"], each["word"]) for each in seen["timeline"]] == [
        ("note", "Note"),
        ("opened", "Ouverte"),
    ]
    assert seen["timeline"][0]["details"]["note"] == "chaussettes serrées"
    assert "gain_3d_kg" in {each["name"] for each in seen["limits"]}
    looked = [
        each for each in audit.entries(site.queue.engine, subject="P21") if each.action == "patient seen"
    ]
    assert [each.actor for each in looked] == ["marie"]


def test_news_comes_to_who_waits_and_says_nothing_of_other_cells(site, client):
    api, luc = client(), client("luc")
    # A mark is of the hub's last look: what other tests did just before may still come.
    found = api.get("/news").json()
    while (later := api.get("/news", params={"since": found["mark"], "wait": 1}).json())["lines"]:
        found = later
    mark, other = later["mark"], luc.get("/news").json()["mark"]
    got = {}

    def wait():
        got["news"] = api.get("/news", params={"since": mark, "wait": 25}).json()

    thread = threading.Thread(target=wait)
    thread.start()
    site.opened("P23", problem="others-news")  # of Sud: wakes nobody in Nord
    time.sleep(0.8)
    assert thread.is_alive()
    mine = site.opened("P22", problem="my-news")
    thread.join(60)
    assert [line["id"] for line in got["news"]["lines"]] == [mine]
    api.post(f"/lines/{mine}/claim", json={"version": 1})
    client("paul").post(f"/lines/{mine}/claim", json={"version": 2, "over": True})
    told = api.get("/news", params={"since": got["news"]["mark"], "wait": 10}).json()
    while not told["notices"]:
        told = api.get("/news", params={"since": told["mark"], "wait": 10}).json()
    assert [(each["kind"], each["line"], each["details"]) for each in told["notices"]] == [
        ("taken over", mine, {"by": "paul"})
    ]
    assert mine not in luc.get("/news", params={"since": other}).text
    wrong = api.get("/news", params={"since": "1.2.3"})
    assert (wrong.status_code, wrong.json()["kind"]) == (422, "invalid")


def test_of_very_many_notices_none_is_left_out_and_none_is_told_twice(site, client):
    episode = site.opened("P25", problem="many-notices")
    api = client("paul")
    mark = api.get("/news").json()["mark"]
    line = {"id": episode, "patient": "P25"}
    with database.writing(site.queue.engine) as connection:
        for number in range(2 * MOST_TOLD + 3):
            details = {"number": number}
            notices.tell(connection, line, 1, "Nord", "reminded", account="paul", details=details)
    read = []
    for _ in range(30):  # an answer may be about the line alone
        told = api.get(
            "/news", params={"since": mark, "wait": 2 if len(read) < 2 * MOST_TOLD + 3 else 0}
        ).json()
        read += [each["details"]["number"] for each in told["notices"]]
        mark = told["mark"]
    assert read == list(range(2 * MOST_TOLD + 3))


def test_figures_and_hand_over_are_of_ones_cells(site, client):
    mine, other = site.opened("P24", problem="figures"), site.opened("P26", problem="figures")
    api = client()
    figures = api.get("/cell/figures", params={"days": 7}).json()
    assert len(figures["days"]) == 7
    assert figures["patients"] == 27  # of the 40, a third are of Sud
    sheet = api.get("/cell/hand-over")
    assert mine in {line["id"] for line in sheet.json()["waiting"]["lines"]}
    assert other not in sheet.text
    assert [each["account"] for each in api.get("/colleagues").json()] == ["dr.petit", "dr.roy", "paul"]
    me = api.get("/me").json()
    assert (me["account"], me["cells"], "work" in me["may"], "accounts" in me["may"]) == (
        "marie",
        ["Nord"],
        True,
        False,
    )
    samu = api.get(f"/lines/{mine}/samu").json()
    assert samu["caller"] == "Marie Dupont, infirmier, Nord"
    assert (samu["identity"], api.get("/patients/P24/identity").status_code) == (None, 404)


ADMINISTRATION = ("/accounts", "/cells", "/sources", "/audit", "/audit/export")


def test_administration_is_an_administrators(site, client):
    admin = client("admin")
    for path in ADMINISTRATION:
        assert admin.get(path).status_code == 200, path
        for name in ("marie", "dr.petit"):
            assert client(name).get(path).status_code == 403, (name, path)
    for path in ("/lines", "/counts", "/news", "/patients/P0", "/cell/figures", "/lines/x/log"):
        assert admin.get(path).status_code == 403, path
    names = {each["name"]: each for each in admin.get("/accounts").json()}
    assert (names["marie"]["role"], names["marie"]["cells"]) == ("nurse", ["Nord"])
    assert {each["name"]: each["patients"] for each in admin.get("/cells").json()} == {"Nord": 27, "Sud": 13}
    for name, patients in (("admin", 40), ("marie", 27)):
        found = {each["id"]: each for each in client(name).get("/protocols").json()}
        assert found["insuffisance_cardiaque"]["patients"] == patients
    assert client().get("/policy").json()["rouge_ms"] == 240_000


def test_the_trail_is_searched_and_written_out_without_what_was_said_of_patients(site, client):
    episode = site.opened("P25", "ORANGE", problem="trail")
    of_him = "PARLE-DE-SON-FILS-4711"
    client().post(f"/lines/{episode}/note", json={"version": 1, "text": of_him})
    admin = client("admin")
    found = admin.get("/audit", params={"subject": "P25", "action": "note"}).json()
    assert [(each["actor"], each["line"]) for each in found["entries"]] == [("marie", episode)]
    numbers, before = [], None
    while True:
        page = admin.get(
            "/audit", params={"actor": "marie", "limit": 5} | ({"before": before} if before else {})
        )
        numbers += [each["number"] for each in page.json()["entries"]]
        before = page.json()["next"]
        if before is None:
            break
    assert numbers == sorted(set(numbers), reverse=True)
    rows, after = [], 0
    while True:
        part = admin.get("/audit/export", params={"after": after, "limit": 40})
        assert of_him not in part.text
        new = [json.loads(line) for line in part.text.splitlines()]
        rows += new
        if len(new) < 40:
            break
        after = new[-1]["id"]
    whole = list(itertools.islice(audit.read(site.queue.engine), len(rows)))
    assert [(row["id"], row["hash"]) for row in rows] == [(row["id"], row["hash"]) for row in whole]
    assert admin.get("/audit", params={"since": "2026-11-27T10:00:00"}).status_code == 422


def test_who_asks_too_often_waits_and_others_do_not(site, client):
    before = site.site.programs
    # No second passes: what may be asked does not grow again meanwhile.
    site.site.programs = Attempts(a_minute=60, a_second=1000, burst=1000, clock_s=lambda: 0.0)
    try:
        api = client()
        answers = [api.get("/me").status_code for _ in range(80)]
        assert answers[:60] == [200] * 60
        late = api.get("/me")
        assert (late.status_code, late.json()["kind"], late.headers["retry-after"]) == (429, "too_many", "1")
        assert client("paul").get("/me").status_code == 200
    finally:
        site.site.programs = before
