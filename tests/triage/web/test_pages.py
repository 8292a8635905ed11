"""The nurses' pages over HTTP: who sees what, what a form does, what is refused, what each answer carries."""

import datetime as dt
import re
import threading
import time
from contextlib import suppress

import httpx
import pytest
from conftest import make_frame, make_row
from sqlalchemy.event import listen, remove

from rules.explain import typeset
from triage import audit
from triage.web import hub, live
from triage.work import lists
from triage.work.states import State


def text_of(answer):
    """Give a page without the time at which it was written."""
    return re.sub(r'data-now-ms="\d+"', "", answer.text)


def state(site, episode):
    return site.queue.episode(episode).state


def test_nobody_sees_anything_without_signing_in(site):
    episode = site.opened("P0")
    with site.client() as client:
        paths = [
            "/",
            "/file",
            "/file/moi",
            "/patients/P0",
            f"/alertes/{episode}/cloture",
            "/cellule",
            "/live",
        ]
        paths += ["/cellule.csv", "/releve", "/administration/comptes", "/compte"]
        for path in [*paths, "/patients/P0/courbes/weight.json"]:
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/connexion"), path
            assert "P0" not in answer.text
        assert client.get("/live/counts", headers={"Accept": "application/json"}).status_code == 401
        assert client.post(f"/alertes/{episode}/prendre", data={"csrf": "x"}).status_code == 303
    assert state(site, episode) == State.NEW


def test_who_signs_in_comes_to_where_they_were_going_and_nowhere_else(site):
    with site.client() as client:
        there = {
            "/file?q=x": "/file?q=x",
            "https://evil.example/": "/",
            "//evil.example": "/",
            "/\\evil": "/",
        }
        for asked, to in there.items():
            data = {"login": "marie", "password": "une phrase assez longue", "vers": asked}
            assert client.post("/connexion", data=data).headers["location"] == to
        wrong = client.post("/connexion", data={"login": "marie", "password": "x"})
        unknown = client.post("/connexion", data={"login": "nobody", "password": "x"})
        assert wrong.status_code == unknown.status_code == 401
        assert (
            re.search(r'role="alert">([^<]+)', wrong.text)[1]
            == re.search(r'role="alert">([^<]+)', unknown.text)[1]
        )


def test_a_rouge_from_the_queue_to_its_end(site):
    episode = site.opened("P1")
    with site.client("marie") as client:
        page = client.get("/file?q=P1").text
        assert f'id="e-{episode}"' in page
        assert "Prise de 2,3 kg en 3 jours" in page
        assert site.move(client, episode, "prendre").status_code == 303
        assert f'id="e-{episode}"' in client.get("/file/moi").text
        assert site.move(client, episode, "appel", outcome="reached").headers["location"] == "/file"
        answer = site.move(client, episode, "cloture", reason="treated", text="diurétique augmenté")
        assert answer.status_code == 303
        assert f'id="e-{episode}"' not in client.get("/file").text
        assert "traitement adapté" in client.get("/file/cloturees").text
        seen = client.get("/patients/P1").text
        for words in (typeset("Appel : joint"), "diurétique augmenté", "marie"):
            assert words in seen
    actions = [entry.action for entry in audit.entries(site.queue.engine, subject="P1")]
    assert actions == ["patient seen", "closed", "called", "claimed"]


def test_rules_and_figures_are_called_by_their_names_with_identifiers_beside(site):
    site.opened("P31", rule="weight_gain_3d")
    site.opened("P31", rule="a_rule_of_before", problem="before-P31")
    named = 'Prise de poids en 3 jours <small class="muted">{}</small>'
    with site.client("marie") as client:
        patient, load = client.get("/patients/P31").text, client.get("/cellule").text
    assert typeset("Règle : ") + named.format("weight_gain_3d") in patient
    assert '<th scope="row">' + named.format("gain_3d_kg") in patient
    assert typeset("Règle : a_rule_of_before, ") in patient
    assert '<th scope="row">' + named.format("weight_gain_3d") in load
    assert '<th scope="row">a_rule_of_before</th>' in load


def test_an_answer_is_shown_with_its_question_and_an_action_of_the_trail_in_french(site):
    item = next(item for each in site.site.protocols for item in each.items.values() if item.choices)
    at = site.site.now_ms()
    points = [
        {"signal": item.name, "t_ms": at - age, "value": value} for age, value in ((60_000, 0.0), (0, 1.0))
    ]
    episode = site.opened("P34", points=points)
    said = f"{typeset(item.label)} {item.choices[1]}".replace("'", "&#39;")
    with site.client("marie") as client:
        patient, queue = client.get("/patients/P34").text, client.get("/file").text
        sheet = client.get(f"/alertes/{episode}/samu").text
    assert said in patient
    assert f"{said}, de {item.choices[0]} à {item.choices[1]} en 14 jours" in queue
    assert f"<dt>{said.removesuffix(item.choices[1]).strip()}</dt><dd>{item.choices[1]} le " in sheet
    assert item.name not in patient + queue + sheet
    with site.client("admin") as client:
        trail = client.get("/administration/journal").text
    assert '<td>Patient consulté <small class="muted">patient seen</small></td>' in trail


def test_the_second_of_two_nurses_is_told_who_has_it_and_may_take_it_over(site):
    episode = site.opened("P3")
    with site.client("marie") as marie, site.client("paul") as paul:
        site.move(marie, episode, "prendre")
        late = paul.post(
            f"/alertes/{episode}/prendre", data={"csrf": site.csrf(paul)}, headers={"HX-Request": "true"}
        )
        assert late.status_code == 409
        assert "marie s&#39;occupe déjà de cette alerte" in late.text
        plain = site.move(paul, episode, "prendre")
        assert plain.status_code == 409
        assert "La reprendre quand même" in plain.text
        assert site.move(paul, episode, "prendre", over="true").status_code == 303
    assert site.queue.episode(episode).owner == "paul"


def test_what_changed_since_it_was_read_is_read_again(site):
    episode = site.opened("P4", "ORANGE")
    with site.client("marie") as client:
        form = client.get(f"/alertes/{episode}/cloture").text
        version = re.search(r'name="version" value="(\d+)"', form)[1]
        onset = site.queue.episode(episode).onset_ms
        site.opened("P4", "ROUGE", kind="raised", alert_id=episode, onset_ms=onset, ago_min=0)
        answer = site.move(client, episode, "cloture", reason="advice", version=version)
        assert answer.status_code == 409
        assert "relisez-la" in answer.text
        assert "ROUGE" in answer.text
    assert state(site, episode) == State.NEW


def test_another_cells_patient_is_not_there(site):
    episode = site.opened("P2")  # of Sud
    with site.client("marie") as client:
        nothing = text_of(client.get("/patients/P999"))
        paths = ["/patients/P2", f"/alertes/{episode}/cloture", f"/alertes/{episode}/samu"]
        for path in [*paths, "/patients/P2/courbes/weight.json"]:
            answer = client.get(path)
            assert (answer.status_code, text_of(answer)) == (404, nothing), path
        assert site.move(client, episode, "prendre").status_code == 404
        for view in ("", "/moi", "/sourdine", "/cloturees", "/sans-donnees"):
            assert "data-row" not in client.get(f"/file{view}?q=P2").text
        csrf = site.csrf(client)
        bulk = client.post("/alertes/groupe", data={"csrf": csrf, "faire": "prendre", "alerte": [episode]})
        assert bulk.status_code == 404
    assert state(site, episode) == State.NEW
    with site.client("luc") as client:
        assert f'id="e-{episode}"' in client.get("/file?q=P2").text


def test_a_patient_of_another_cell_is_opened_with_a_reason_for_an_hour(site):
    site.opened("P5")  # of Sud
    with site.client("paul") as client:
        csrf = site.csrf(client)
        short = client.post("/ouvrir", data={"csrf": csrf, "patient": "P5", "reason": "vu"})
        assert short.status_code == 422
        assert client.get("/patients/P5").status_code == 404
        reason = "appelé par le patient, de passage dans le Nord"
        assert (
            client.post("/ouvrir", data={"csrf": csrf, "patient": "P5", "reason": reason}).status_code == 303
        )
        assert client.get("/patients/P5").status_code == 200
    opened = [
        entry for entry in audit.entries(site.queue.engine, subject="P5") if entry.action == "patient opened"
    ]
    assert [(entry.actor, entry.cell) for entry in opened] == [("paul", "Sud")]
    assert reason not in opened[0].details


@pytest.mark.parametrize(
    ("who", "sees", "not_sees"),
    [
        ("ops", ["/administration/protocoles"], ["/file", "/patients/P0", "/cellule", "/administration/journal"]),
        ("admin", ["/administration/comptes", "/administration/journal"], ["/file", "/patients/P0", "/cellule"]),
        ("marie", ["/file", "/cellule", "/releve", "/cellule.csv"], ["/administration/comptes"]),
        ("dr.petit", ["/file", "/patients/P0"], ["/administration/comptes"]),
    ],
)  # fmt: skip
def test_each_role_has_its_pages(site, who, sees, not_sees):
    site.opened("P0", "ORANGE", problem=f"role-{who}")
    with site.client(who) as client:
        assert client.get("/", follow_redirects=True).status_code == 200
        for path in sees:
            assert client.get(path).status_code == 200, path
        for path in not_sees:
            assert client.get(path).status_code == 404, path


def test_the_page_of_protocols_says_who_answers_and_how_many_follow(site, tmp_path):
    from engine.protocols import begin, load_own
    from rules.signature import made, write

    path = begin("poids", tmp_path / "poids.toml", "Poids", "essai", "poids")
    day = dt.date(2020, 1, 1)
    write(path, made(load_own(path), "Dr A. Martin", "cardiologue", day, day, day))
    shown = site.site.protocols
    site.site.protocols = (*shown, load_own(path))
    try:
        with site.client("ops") as client:
            page = client.get("/administration/protocoles").text
    finally:
        site.site.protocols = shown
    assert (
        typeset(
            "Signé par Dr A. Martin, cardiologue, le 01/01/2020, valable du 01/01/2020 au 01/01/2020 : périmé."
        )
        in page
    )
    assert page.count("à signer par un clinicien</span>") == len(shown) + 1
    assert typeset(f"Non signé : {len(shown[0].to_sign)} éléments") in page


def test_a_form_of_another_site_or_session_does_nothing(site):
    episode = site.opened("P6")
    with site.client("marie") as client, site.client("paul") as paul:
        data = {"csrf": site.csrf(client)}
        path = f"/alertes/{episode}/prendre"
        assert client.post(path, data={"csrf": "x"}).status_code == 403
        assert client.post(path, data={"csrf": site.csrf(paul)}).status_code == 403
        assert client.post(path, data={}).status_code == 422
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            assert client.post(path, data=data, headers=headers).status_code == 403
        old = httpx.Client(base_url=site.address, cookies=client.cookies, timeout=60)
        assert old.post(path, data=data, headers={"Origin": "https://evil.example"}).status_code == 403
        assert state(site, episode) == State.NEW
        assert old.post(path, data=data, headers={"Origin": site.address}).status_code == 303
        old.close()
    assert state(site, episode) == State.CLAIMED


def test_an_address_with_a_control_character_is_refused(site):
    wrong = {
        "/patients/P0%00": 400,
        "/file?q=%00": 400,
        "/patients/P0%0A%3Cb%3E": 400,
        "/x%7F": 400,
        "/api/v1/lines/x%00": 422,
    }
    with site.client("marie") as client:
        for path, status in wrong.items():
            answer = client.get(path)
            assert answer.status_code == status
            assert "control character" in answer.text


@pytest.mark.parametrize(
    ("path", "status"), [("/connexion", 400), ("/api/v1/lines/x/claim", 422), ("/q/x", 400)]
)
def test_a_body_without_a_length_or_too_long_is_not_read(site, path, status):
    """Chunks without end: answered before they are through."""
    sent = []

    def chunks():
        for _ in range(400):
            sent.append(1)
            yield b"x" * 65_536

    with site.client() as client, suppress(httpx.WriteError):
        answer = client.post(path, content=chunks())
        assert answer.status_code == status
        assert "comes with its length" in answer.text
    with site.client() as client:
        head = {"Content-Length": str(2 << 20), "Content-Type": "application/x-www-form-urlencoded"}
        with suppress(httpx.WriteError):
            assert client.post(path, content=b"x" * (2 << 20), headers=head).status_code == status


def test_what_is_another_cells_costs_as_many_questions_as_what_there_is_not(site):
    """How long an answer takes must not tell whether there is such a line."""
    other = site.opened("P2", problem="time-of-answer")
    asked = []

    def note(_connection, _cursor, statement, *_):
        asked.append(statement)

    with site.client("marie") as client:
        counts = {}
        for name, episode in (("other", other), ("none", "0" * 16)):
            listen(site.queue.engine, "before_cursor_execute", note)
            asked.clear()
            assert client.get(f"/alertes/{episode}/cloture").status_code == 404
            remove(site.queue.engine, "before_cursor_execute", note)
            # The hub and the clockwork ask meanwhile, of other tables.
            counts[name] = sorted(each for each in asked if "episode.patient" in each or "opening" in each)
        assert counts["other"] == counts["none"]
        assert len(counts["none"]) == 2


def test_every_answer_carries_what_keeps_browsers_safe(site):
    with site.client("marie") as client:
        for path in ("/connexion", "/file", "/nowhere", "/static/vigie.css", "/patients/P0"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert "server" not in headers
        assert client.get("/file").headers["cache-control"] == "no-store"
        page = client.get("/file").text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", page)
        cookie = client.post("/connexion", data={"login": "marie", "password": "une phrase assez longue"})
        assert re.search(r"HttpOnly", cookie.headers["set-cookie"])
        assert re.search(r"SameSite=lax", cookie.headers["set-cookie"], re.IGNORECASE)


@pytest.mark.parametrize(
    ("what", "fields", "status", "words"),
    [
        ("cloture", {}, 422, "reason"),
        ("cloture", {"reason": "bored"}, 422, "reason"),
        ("cloture", {"reason": "other"}, 409, "un motif est nécessaire"),
        ("appel", {"outcome": "call_back"}, 409, "à quelle heure"),
        ("appel", {"outcome": "reached", "back": "tomorrow"}, 409, "par exemple"),
        ("appel", {"outcome": "reached", "back": "2020-01-01T10:00"}, 409, "heure à venir"),
        ("sourdine", {"until": "2020-01-01T10:00", "reason": "x"}, 409, "une fin à venir"),
        ("sourdine", {"until": "2099-01-01T10:00", "reason": "x"}, 409, "dans les 4 heures"),
        ("avis", {"to": "cardiologist"}, 409, "un motif est nécessaire"),
        ("avis", {"to": "friend", "note": "x"}, 422, "to"),
        ("cloture", {"reason": "other", "text": "a\0b"}, 409, "caractères"),
        ("cloture", {"reason": "other", "text": "a" * 2001}, 409, "2000 caractères"),
        ("confier", {"to": "luc"}, 409, "ne voit pas ce patient"),
        ("rouvrir", {"reason": "x"}, 409, "déjà ouverte"),
    ],
)  # fmt: skip
def test_a_form_that_is_wrong_says_what_and_changes_nothing(site, what, fields, status, words):
    episode = site.opened("P7", problem=f"wrong-{what}-{len(str(fields))}-{sorted(fields.values())}"[:60])
    with site.client("marie") as client:
        answer = site.move(client, episode, what, **fields)
        assert answer.status_code == status
        assert words in answer.text.replace("&#39;", "'")
    assert state(site, episode) == State.NEW


def test_several_lines_at_once(site):
    episodes = [site.opened("P9", "ORANGE", problem=f"bulk{i}") for i in range(4)]
    with site.client("marie") as client, site.client("paul") as paul:
        site.move(paul, episodes[1], "prendre")
        csrf = site.csrf(client)
        form = client.post("/alertes/groupe", data={"csrf": csrf, "faire": "cloture", "alerte": episodes})
        assert form.text.count('name="alerte"') == 4
        done = client.post(
            "/alertes/groupe/faire",
            data={"csrf": csrf, "faire": "cloture", "alerte": episodes, "reason": "equipment"},
        )
        assert "3 sur 4 alertes traitées" in done.text
        assert "paul" in done.text
    assert [state(site, episode) for episode in episodes] == ["closed", "claimed", "closed", "closed"]


def events(client, query, until, heard=None, seconds=60):
    """Listen to the live events until one satisfies `until`; set `heard` when the first is there."""
    got = []
    with client.stream("GET", f"/live?{query}") as stream:
        end = time.monotonic() + seconds
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                got.append((name, line[6:]))
                if heard is not None:
                    heard.set()
                if until(name, line[6:]):
                    return got
            assert time.monotonic() < end, got
    raise AssertionError(got)


def test_a_new_rouge_is_in_open_browsers_within_a_second(site, monkeypatch):
    """At the next look of the hub, a quarter of a second later: no page waits for its heartbeat."""
    from triage.work import lists

    assert hub.EVERY_S <= 0.25
    monkeypatch.setattr(live, "HEARTBEAT_S", 300.0)
    mark = lists.newest(site.queue.engine)
    with site.client("marie") as client:
        heard = threading.Event()

        def later():
            heard.wait()
            site.opened("P10", ago_min=0)

        thread = threading.Thread(target=later)
        thread.start()
        got = events(
            client,
            f"vue=a-traiter&depuis={mark}",
            lambda name, data: name == "queue" and '"new": 1' in data,
            heard,
        )
        thread.join()
        assert '"rouge": 1' in got[-1][1]


def test_a_line_that_a_colleague_takes_changes_in_place_and_other_cells_hear_nothing(site):
    mine, other = site.opened("P12"), site.opened("P11")
    with site.client("marie") as client, site.client("paul") as paul, site.client("luc") as luc:
        heard = threading.Event()

        def later():
            heard.wait()
            site.move(luc, other, "prendre")
            site.move(paul, mine, "prendre")

        thread = threading.Thread(target=later)
        thread.start()
        got = events(
            client, "vue=a-traiter&depuis=0", lambda name, data: name == "moved" and "paul" in data, heard
        )
        thread.join()
    assert mine in got[-1][1]
    assert not [data for _, data in got if other in data or "P11" in data]


def test_the_stream_of_a_session_that_ended_ends_however_much_happens(site, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 1.0)
    busy = threading.Event()

    def much():
        while not busy.wait(0.2):
            site.opened("P12", "ORANGE", problem=f"busy-{time.monotonic_ns()}")

    thread = threading.Thread(target=much)
    with site.client("paul") as client, client.stream("GET", "/live?vue=a-traiter&depuis=0") as stream:
        lines = stream.iter_lines()
        next(lines)
        thread.start()
        try:
            with site.client() as other:
                other.cookies = client.cookies
                other.post("/deconnexion")
            begun = time.monotonic()
            for _ in lines:
                assert time.monotonic() - begun < 60
        finally:
            busy.set()
            thread.join()


def test_a_hand_over_leaves_out_no_line_and_says_how_many_it_would(serve, tmp_path, monkeypatch):
    with serve(f"sqlite:///{tmp_path / 'queue.sqlite'}", tmp_path) as site, site.client("marie") as client:
        many = [make_row(patient="P1", problem=f"x{i}", alert_id=f"{i:016x}") for i in range(lists.MOST + 5)]
        site.queue.apply(make_frame(*many))
        page = client.get("/releve").text
        assert page.count("<tr><td") == len(many)
        assert typeset(f"À traiter : {len(many)}<") in page
        assert "autres n’y sont pas" not in page
        monkeypatch.setattr("triage.web.pages.cell.MOST_HANDED_OVER", len(many) - 2)
        page = client.get("/releve").text
        assert page.count("<tr><td") == len(many) - 2
        assert typeset(f"À traiter : {len(many)}<") in page
        assert "2 autres n’y sont pas" in page
