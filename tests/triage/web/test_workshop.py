"""The workshop's pages: a limit is tried, proposed, signed by another, in force, in the shadow, taken back."""

import math
import re
import time
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from engine.workshop import Question, WorkshopError
from rules.explain import typeset
from triage import audit
from triage.web import shadows
from triage.web.shadows import Keeper
from triage.work import outgoing
from triage.work.proposals import Stage

HEART = "insuffisance_cardiaque"
DAY = 86_400_000
NB = "\N{NO-BREAK SPACE}"


def tried(site, client, cell="Nord", what="essai", htmx=True, **limits):
    shown = {"gain_3d_kg": "2", "gain_7d_kg": "2,72", "spo2_low": "93"}
    fields = {f"l_{name}": value for name, value in limits.items()}
    fields |= {f"s_{name}": shown[name] for name in limits}
    headers = {"hx-request": "true"} if htmx else {}
    body = {"csrf": site.csrf(client), "cellule": cell, "comment": "charge acceptable", **fields}
    return client.post(f"/atelier/{HEART}/{what}", data=body, headers=headers)


def proposed(site, client, **limits):
    answer = tried(site, client, what="proposer", **limits)
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


def moved(site, client, number, act, version, **fields):
    body = {"csrf": site.csrf(client), "version": version, **fields}
    return client.post(f"/atelier/propositions/{number}/{act}", data=body)


def counts(page):
    return {what: int(count) for what, count in re.findall(r"Alertes (gagnées|perdues)\s: (\d+)", page)}


def test_a_limit_is_tried_on_the_patients_of_the_cell(atelier):
    with atelier.client("dr.petit") as client:
        page = client.get(f"/atelier/{HEART}?cellule=Nord")
        assert page.status_code == 200
        assert "16 patients de la cellule" in page.text
        assert 'value="2"' in re.search(r'<input id="l_gain_3d_kg".*?>', page.text)[0]
        assert "dry_weight_kg" not in page.text  # a patient's alone
        lower = tried(atelier, client, gain_3d_kg="1,2")
        assert "<html" not in lower.text
        assert counts(lower.text)["gagnées"] > 0
        assert f"Prise de poids en 3 jours{NB}: 2 → 1,2{NB}kg" in lower.text
        assert re.search(r'<span class="muted">\d\d/\d\d/2026 \d\d:\d\d</span>', lower.text)
        assert not re.search(r"\b2026-\d\d-\d\d\b", lower.text)
        other = tried(atelier, client, cell="Sud", gain_3d_kg="1,2")
        assert "8 patients de la cellule" in other.text
        named = set(re.findall(r"/patients/(\w+)", lower.text))
        assert named <= {each for i, each in enumerate(atelier.patients) if i % 3 != 2}
        whole = tried(atelier, client, htmx=False, gain_3d_kg="1,2")
        assert "<html" in whole.text
        assert counts(whole.text) == counts(lower.text)


def test_what_nobody_changed_is_not_tried(atelier):
    """Every field of the page as it was shown, but one; with a decimal more than figures are shown with."""
    with atelier.client("dr.petit") as client:
        page = client.get(f"/atelier/{HEART}?cellule=Nord").text
        fields = dict(re.findall(r'name="([ls]_\w+)"[^>]*value="([^"]*)"', page))
        assert len(fields) > 40
        body = {"csrf": atelier.csrf(client), "cellule": "Nord", **fields, "l_gain_3d_kg": "1,125"}
        answer = client.post(f"/atelier/{HEART}/essai", data=body, headers={"hx-request": "true"}).text
        assert re.findall(r"<li><b>(.*?)</b>", answer) == [f"Prise de poids en 3 jours{NB}: 2 → 1,125{NB}kg"]
        # The page is of before: another limit holds now than it shows.
        stale = body | {"s_gain_3d_kg": "1,5"}
        answer = client.post(f"/atelier/{HEART}/essai", data=stale)
        assert (answer.status_code, "changée depuis que vous avez ouvert la page" in answer.text) == (
            422,
            True,
        )


def test_a_limit_that_was_not_fixed_when_the_page_was_opened_is_checked_too(atelier, monkeypatch):
    desk = atelier.site.limit_desk
    of_cell = desk.of_cell

    def unfixed(cell, protocol):
        each = of_cell(cell, protocol)
        return [replace(at, value=math.nan) if at.limit.name == "spo2_low" else at for at in each]

    with atelier.client("dr.petit") as client:
        with monkeypatch.context() as then:
            then.setattr(desk, "of_cell", unfixed)
            page = client.get(f"/atelier/{HEART}?cellule=Nord").text
        fields = dict(re.findall(r'name="([ls]_spo2_low)"[^>]*value="([^"]*)"', page))
        assert fields == {"l_spo2_low": "", "s_spo2_low": "–"}
        body = {"csrf": atelier.csrf(client), "cellule": "Nord", **fields, "l_spo2_low": "91"}
        for what in ("essai", "proposer"):
            answer = client.post(f"/atelier/{HEART}/{what}", data=body)
            assert answer.status_code == 422
            assert "changée depuis que vous avez ouvert la page" in errors(answer.text)["spo2_low"]
        with monkeypatch.context() as still:
            still.setattr(desk, "of_cell", unfixed)
            answer = client.post(f"/atelier/{HEART}/essai", data=body, headers={"hx-request": "true"})
            assert (answer.status_code, errors(answer.text)) == (200, {})


def test_each_trial_that_somebody_sees_is_in_the_audit_trail(atelier):
    """The page was opened of one cell; the alerts of another's patients are seen by a form that names that cell."""

    def seen():
        entries = audit.entries(atelier.queue.engine, subject=HEART)
        return [each.cell for each in entries if (each.actor, each.action) == ("dr.petit", "workshop seen")]

    with atelier.client("dr.petit") as client:
        before = len(seen())
        assert client.get(f"/atelier/{HEART}?cellule=Nord").status_code == 200
        assert len(seen()) == before + 1
        assert "/patients/" in tried(atelier, client, cell="Sud", gain_3d_kg="1,2").text
        assert (len(seen()), seen()[0]) == (before + 2, "Sud")
        assert tried(atelier, client, cell="Sud", what="proposer").status_code == 422
        assert (len(seen()), seen()[0]) == (before + 3, "Sud")


def errors(page):
    return dict(re.findall(r'<span class="error" id="e_(\w+)" role="alert"[^>]*>([^<]+)</span>', page))


@pytest.mark.parametrize("htmx", [False, True])
def test_what_is_not_legal_is_said_beside_its_field_and_the_rest_is_tried(atelier, htmx):
    with atelier.client("dr.petit") as client:
        answer = tried(atelier, client, htmx=htmx, gain_3d_kg="12", spo2_low="x", gain_7d_kg="2")
        assert answer.status_code == 422
        said = errors(answer.text)
        assert said.keys() == {"gain_3d_kg", "spo2_low"}
        assert typeset("12 kg n’est pas possible ; de 0,5 à 5 kg") in said["gain_3d_kg"]
        assert "un nombre, de" in said["spo2_low"]
        assert "Des valeurs sont à corriger" in answer.text
        assert re.findall(r"<li><b>(.*?)</b>", answer.text) == [
            f"Prise de poids en 7 jours{NB}: 2,72 → 2{NB}kg"
        ]
        assert counts(answer.text)["gagnées"] > 0
        if htmx:
            # Each field's message comes into its own place, where it was empty too; the field is not touched.
            assert answer.text.count('hx-swap-oob="innerHTML"') > 20
            assert "<input" not in answer.text
        else:
            field = re.search(r'<input id="l_gain_3d_kg".*?>', answer.text)[0]
            assert 'value="12"' in field
            assert 'aria-describedby="e_gain_3d_kg h_gain_3d_kg" aria-invalid="true"' in field


def test_a_proposal_that_is_refused_keeps_its_trial(atelier):
    with atelier.client("dr.petit") as client:
        answer = tried(atelier, client, what="proposer")
        assert (answer.status_code, "Aucune limite n’est changée" in answer.text) == (422, True)
        assert "Tous les chiffres" in answer.text
        answer = tried(atelier, client, what="proposer", gain_3d_kg="12")
        assert (answer.status_code, errors(answer.text).keys()) == (422, {"gain_3d_kg"})


def test_two_answer_for_it_it_is_in_force_and_taken_back(atelier):
    with atelier.client("dr.petit") as petit, atelier.client("dr.roy") as roy:
        number = proposed(atelier, petit, gain_3d_kg="1,5")
        page = petit.get(f"/atelier/propositions/{number}")
        assert "Un autre cardiologue de la cellule doit signer" in page.text
        assert 'title="à signer">1<' in roy.get("/atelier").text
        report = petit.get(f"/atelier/propositions/{number}/essai.html")
        assert report.headers["content-disposition"] == f'attachment; filename="essai-{number}.html"'
        assert f"2 → 1,5{NB}kg" in report.text
        answer = moved(atelier, petit, number, "signer", 1)
        assert (answer.status_code, "Un autre cardiologue que l’auteur" in answer.text) == (422, True)
        assert moved(atelier, roy, number, "ombre", 1).status_code == 303
        assert "Dans l’ombre depuis" in roy.get(f"/atelier/propositions/{number}").text
        assert moved(atelier, roy, number, "signer", 1).status_code == 422  # a page from before
        assert moved(atelier, roy, number, "signer", 2).status_code == 303
        until = time.monotonic() + 60
        while atelier.site.proposals.get(number, ["Nord"]).stage is not Stage.IN_FORCE:
            assert time.monotonic() < until
            time.sleep(0.05)
        while not (letters := outgoing.waiting(atelier.queue.engine)):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert {each.source for each in letters} == {"cell"}
        shadow = roy.get(f"/atelier/propositions/{number}").text
        assert re.search(r"<h2>Dans l’ombre du \d\d/\d\d/\d{4} \d\d:\d\d au ", shadow)
        assert '<span class="tag">dans l’ombre</span>' not in roy.get("/atelier").text
        page = roy.get(f"/atelier/propositions/{number}").text
        assert "À 0 patients sur 16." in page
        assert (
            typeset("Pas encore transmise pour 16 patients : ce qui valait avant y vaut encore.</p>") in page
        )
        outgoing.sent(atelier.queue.engine, [each.id for each in letters], 1)
        page = roy.get(f"/atelier/propositions/{number}").text
        assert "À 16 patients sur 16." in page
        assert "Pas encore transmise" not in page
        shown = petit.get(f"/atelier/{HEART}?cellule=Nord").text
        assert "dr.petit et dr.roy" in shown
        assert 'value="1,5"' in re.search(r'<input id="l_gain_3d_kg".*?>', shown)[0]
        answer = moved(
            atelier, petit, number, "reprendre", atelier.site.proposals.get(number, ["Nord"]).version
        )
        assert (answer.status_code, "Un motif est nécessaire" in answer.text) == (422, True)
        version = atelier.site.proposals.get(number, ["Nord"]).version
        assert moved(atelier, petit, number, "reprendre", version, reason="trop d’alertes").status_code == 303
        assert "défaut du protocole" in petit.get(f"/atelier/{HEART}?cellule=Nord").text
        assert "annulée" in petit.get(f"/atelier/propositions/{number}").text


def test_what_is_signed_is_shown_in_whole_and_asked_first(atelier):
    desk = atelier.site.limit_desk
    desk.change(atelier.patients[0], HEART, "spo2_low", 90.0, "insuffisant respiratoire", "dr.petit")
    with atelier.client("dr.petit") as petit, atelier.client("dr.roy") as roy:
        number = proposed(atelier, petit, spo2_low="90")
        path = f"/atelier/propositions/{number}"
        form = re.search(r'<form[^>]*action="[^"]*/signer".*?</form>', roy.get(path).text, re.DOTALL)[0]
        assert 'method="get"' in form
        begin = atelier.site.words.iso(atelier.site.now_ms() + 86_400_000)
        page = roy.get(f"{path}/signer", params={"begin": begin}).text
        assert 'Saturation basse <small class="muted">spo2_low</small>' in page
        assert re.search(r"93\u00a0%</td>.*?<b>90\u00a0%</b>", page)
        assert "Pour 16 patients inscrits" in page
        assert typeset("saturation basse : 1 a une limite personnelle et la garde") in page
        for said in ("charge acceptable", "dr.petit", "Alertes gagnées", "Alertes perdues", "manqués"):
            assert said in page
        assert f"à partir du {atelier.site.words.moment(atelier.site.words.read(begin))}</b>" in page
        assert "<b>tout de suite</b>" in roy.get(f"{path}/signer").text
        # Asked, not signed; the page's own form signs. An author is not even asked.
        assert atelier.site.proposals.get(number, ["Nord"]).stage is Stage.PROPOSED
        assert petit.get(f"{path}/signer").headers["location"] == path
        wrong = roy.get(f"{path}/signer", params={"begin": "demain"})
        assert (wrong.status_code, "Une date et une heure" in wrong.text) == (422, True)
        form = re.search(r'<form[^>]*action="[^"]*/signer".*?</form>', page, re.DOTALL)[0]
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        assert roy.post(f"{path}/signer", data=fields).status_code == 303
        signed = atelier.site.proposals.get(number, ["Nord"])
        assert (signed.stage, signed.signer) == (Stage.SIGNED, "dr.roy")
        assert roy.get(f"{path}/signer").headers["location"] == path
        assert moved(atelier, petit, number, "retirer", 2, reason="essai de la page").status_code == 303
    desk.change(atelier.patients[0], HEART, "spo2_low", None, "essai fini", "dr.petit")


def test_what_ran_in_the_shadow_stays_readable_when_it_has_ended(atelier):
    """The log is of January: what it has after the shadow's begin is what the shadow would have raised."""
    desk = atelier.site.proposals
    reach = atelier.site.workshop.ask(Question(frozenset(atelier.patients), HEART, {}, {})).reach
    clock, desk._now_ms = desk._now_ms, lambda: reach.last_ms - 10 * DAY
    try:
        with atelier.client("dr.petit") as petit:
            number = proposed(atelier, petit, gain_3d_kg="1,1")
            path = f"/atelier/propositions/{number}"
            assert moved(atelier, petit, number, "ombre", 1).status_code == 303
            running = days(petit.get(path).text)
            assert len(running) >= 10
            assert sum(gained for *_, gained, _ in running) > 0
            desk._now_ms = lambda: reach.last_ms - 3 * DAY
            assert moved(atelier, petit, number, "sans-ombre", 2).status_code == 303
            ended = days(petit.get(path).text)
            assert ended[1:] == running[-len(ended) :][1:]
            # Of the day on which it ended, what came before that.
            assert all(mine <= whole for mine, whole in zip(ended[0], running[-len(ended)], strict=True))
            assert ended[0][0] == atelier.site.words.moment(desk._now_ms()).split()[0]
            assert len(ended) < len(running)
            assert desk.get(number, ["Nord"]).shadow_kept is not None
            # What the log forgets, or a page without a workshop, takes nothing from it.
            kept, atelier.site.workshop = atelier.site.workshop, None
            try:
                assert days(petit.get(path).text) == ended
            finally:
                atelier.site.workshop = kept
            assert moved(atelier, petit, number, "retirer", 3, reason="essai de l’ombre").status_code == 303
            assert days(petit.get(path).text) == ended
    finally:
        desk._now_ms = clock


@pytest.fixture
def ended(atelier):
    """End a shadow at nine in the morning some days before the log's end, and give its number and that moment."""
    desk = atelier.site.proposals
    reach = atelier.site.workshop.ask(Question(frozenset(atelier.patients), HEART, {}, {})).reach
    at = datetime.fromtimestamp(reach.last_ms / 1000 - 3 * 86_400, ZoneInfo("Europe/Paris"))
    until = round(at.replace(hour=9, minute=0, second=0, microsecond=0).timestamp() * 1000)
    clock = desk._now_ms
    try:
        with atelier.client("dr.petit") as petit:
            desk._now_ms = lambda: until - 7 * DAY
            number = proposed(atelier, petit, gain_3d_kg="1,1")
            desk.shadow(number, "dr.petit", 1, on=True)
            desk._now_ms = lambda: until
            desk.shadow(number, "dr.petit", 2, on=False)
            yield number, until
            desk.withdraw(number, "dr.petit", "essai de l’ombre", 3)
    finally:
        desk._now_ms = clock


def kept_by(keeper):
    keeper.look()
    if keeper._thread is not None:
        keeper._thread.join(60)
        assert not keeper._thread.is_alive()


def test_an_ended_shadow_is_kept_though_nobody_looks(atelier, ended, monkeypatch):
    """What is kept is of before its end, though the log has days after it; and nobody is noted as having seen it."""
    number, until = ended
    keeper, get = Keeper(atelier.site), lambda: atelier.site.proposals.get(number, ["Nord"])
    monkeypatch.setattr(atelier.site, "now_ms", lambda: until + 59_000)
    kept_by(keeper)
    assert (keeper._thread, get().shadow_kept) == (None, None)
    monkeypatch.setattr(atelier.site, "now_ms", lambda: until + 60_000)
    kept_by(keeper)
    days = get().shadow_kept["days"]
    answer = atelier.site.workshop.ask(
        Question(
            frozenset(each for i, each in enumerate(atelier.patients) if i % 3 != 2),
            HEART, {(HEART, "gain_3d_kg"): 2.0}, {(HEART, "gain_3d_kg"): 1.1},
            since_ms=until - 7 * DAY, until_ms=until, live=True,
        )
    )  # fmt: skip
    assert len(days) == 8
    assert sum(day["changed"] for day in days) == answer.figures["changed"]["alerts"] > 0
    assert sum(day["gained"] for day in days) == answer.pieces["counts"][0]
    assert "shadow seen" not in [
        each.action for each in audit.entries(atelier.queue.engine, subject=f"proposal {number}")
    ]
    # Kept once: there is nothing more to do.
    keeper._thread = None
    kept_by(keeper)
    assert keeper._thread is None


def test_what_cannot_be_kept_yet_is_tried_again_later_and_later(atelier, ended, monkeypatch):
    number, until = ended
    asked, keeper = [], Keeper(atelier.site)

    def keep(_site, each):
        asked.append(each.id)
        msg = "réessayez"
        raise WorkshopError(msg)

    monkeypatch.setattr(shadows.proposed, "keep_ended", keep)
    times = []
    for minute in range(400):
        monkeypatch.setattr(atelier.site, "now_ms", lambda minute=minute: until + minute * 60_000)
        before = len(asked)
        kept_by(keeper)
        if len(asked) > before:
            times.append(minute)
    assert times == [1, 2, 4, 8, 16, 32, 64, 124, 184, 244, 304, 364]
    assert set(asked) == {number}
    # What the log has no more, nobody asks it for.
    monkeypatch.setattr(atelier.site, "now_ms", lambda: until + 91 * DAY)
    kept_by(keeper)
    assert len(asked) == len(times)


def days(page):
    """The rows of the shadow's comparison, newest first: day, base, changed, gained, lost."""
    rows = re.findall(r'<tr><th scope="row">(\d\d/\d\d/\d{4})</th>(.*?)</tr>', page)
    return [(day, *map(int, re.findall(r">(\d+)</td>", cells))) for day, cells in rows]


def test_refused_withdrawn_and_signed_for_later(atelier):
    with atelier.client("dr.petit") as petit, atelier.client("dr.roy") as roy:
        first, second, third = (proposed(atelier, petit, gain_7d_kg=value) for value in ("2,5", "3", "3,5"))
        assert moved(atelier, roy, first, "refuser", 1, reason="pas assez d’événements").status_code == 303
        assert moved(atelier, petit, second, "retirer", 1, reason="essai refait").status_code == 303
        wrong = moved(atelier, roy, third, "signer", 1, begin="demain")
        assert (wrong.status_code, "une date et une heure" in wrong.text.lower()) == (422, True)
        begin = atelier.site.words.iso(atelier.site.now_ms() + 2 * 86_400_000)
        assert moved(atelier, roy, third, "signer", 1, begin=begin).status_code == 303
        listed = roy.get("/atelier").text
        for word in ("refusée", "retirée", "signée"):
            assert f'<span class="tag">{word}</span>' in listed
        assert moved(atelier, roy, third, "effacer", 2).status_code == 404
        assert roy.get("/atelier/propositions/99999999999999999999999").status_code == 422


@pytest.mark.parametrize("name", ["marie", "ops", "admin"])
def test_only_a_cardiologist_comes_in(atelier, name):
    with atelier.client(name) as client:
        assert client.get("/atelier").status_code == 404
        assert client.get(f"/atelier/{HEART}").status_code == 404
        assert tried(atelier, client, gain_3d_kg="1,5").status_code == 404
        assert client.get("/atelier/propositions/1").status_code == 404


def test_another_cell_and_its_proposals_are_not_there(atelier):
    with atelier.client("dr.petit") as petit, atelier.client("dr.roy") as roy:
        theirs = tried(atelier, petit, cell="Sud", what="proposer", gain_3d_kg="1,5")
        number = int(theirs.headers["location"].rpartition("/")[2])
        answers = []
        for of in (number, 99_999):
            answers += [roy.get(f"/atelier/propositions/{of}{path}") for path in ("", "/essai.html")]
            answers += [roy.get(f"/atelier/propositions/{of}/signer"), moved(atelier, roy, of, "signer", 1)]
        assert {each.status_code for each in answers} == {404}
        there, nowhere = (re.sub(r'data-now-ms="\d+"', "", each.text) for each in (answers[0], answers[4]))
        assert there == nowhere
        assert roy.get(f"/atelier/{HEART}?cellule=Sud").status_code == 404
        assert tried(atelier, roy, cell="Sud", gain_3d_kg="1,5").status_code == 404
        assert f"propositions/{number}" not in roy.get("/atelier").text


def test_another_version_runs_in_the_shadow(atelier):
    with atelier.client("dr.petit") as client, atelier.client("marie") as nurse:
        assert f"/atelier/versions/{HEART}" in client.get("/atelier").text
        page = client.get(f"/atelier/versions/{HEART}?cellule=Nord")
        assert page.status_code == 200
        assert "0.1.0 → 0.2.0" in page.text
        assert typeset("marque : S17 S18 → S18") in page.text
        assert "<b>S18</b>, Ledwidge M. et al." in page.text
        assert "Jour après jour" in page.text
        assert re.search(r'<th scope="row">\d\d/\d\d/2026</th>', page.text)
        assert counts(page.text) == {"gagnées": 0, "perdues": 0}
        assert client.get("/atelier/versions/covidom").status_code == 404
        assert nurse.get(f"/atelier/versions/{HEART}").status_code == 404


def test_what_is_no_protocol_and_a_form_of_another_session(atelier):
    with atelier.client("dr.petit") as client:
        assert client.get("/atelier/aucun").status_code == 404
        answer = client.post(f"/atelier/{HEART}/essai", data={"csrf": "x", "cellule": "Nord"})
        assert answer.status_code == 403


def test_without_a_log_on_this_machine_it_says_so(site):
    kept, site.site.workshop = site.site.workshop, None
    try:
        with site.client("dr.petit") as client:
            assert "lit le journal du service" in client.get("/atelier").text
            assert "lit le journal du service" in client.get(f"/atelier/{HEART}").text
            assert tried(site, client, what="proposer", gain_3d_kg="1,5").status_code == 422
    finally:
        site.site.workshop = kept
