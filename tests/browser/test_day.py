"""A nurse's whole day in a browser, on the real application: with a colleague, without a mouse, without scripts."""

import importlib.util
import re
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect
from waiting import live

from bench.redis_server import free_port
from engine.courier import Courier
from engine.durable import DurableLine, Upkeep
from engine.load import load
from ingest import packet
from triage import audit
from triage.web.links import Link
from triage.work.outgoing import Outbox

_file = Path(__file__).parents[1] / "triage" / "web" / "conftest.py"
_spec = importlib.util.spec_from_file_location("served_pages", _file)
pages = importlib.util.module_from_spec(_spec)
sys.modules["served_pages"] = pages
_spec.loader.exec_module(pages)

MINUTE = 60_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("day")
    with pages.serving(f"sqlite:///{folder / 'queue.sqlite'}", folder) as made:
        yield made


@pytest.fixture
def signed_in(site, page):
    """Give a page of an account, on the queue."""

    def signed_in(name, **options):
        opened = page(f"{site.address}/connexion", **options)
        opened.fill("#login", name)
        opened.fill("#password", pages.PASSWORD)
        opened.get_by_role("button", name="Se connecter").click()
        opened.wait_for_url(re.compile("/(file|administration)"))
        return opened

    return signed_in


def row(page, episode):
    return page.locator(f"#e-{episode}")


def local(t_ms):
    """A time as a field takes it."""
    return datetime.fromtimestamp(t_ms / 1000, ZoneInfo("Europe/Paris")).strftime("%Y-%m-%dT%H:%M")


def later(site, minutes):
    site.ahead["ms"] += minutes * MINUTE


def test_a_rouge_from_its_arrival_to_its_end(site, signed_in, shot):
    site.opened("P0", "ORANGE")
    page = signed_in("marie")
    live(page)
    episode = site.opened("P1", ago_min=0)
    new = page.locator("#new")
    expect(new).to_contain_text("1 ROUGE")
    expect(page.locator("#announce")).to_contain_text("ROUGE")
    # Nothing has moved under the pointer: it comes when she asks for it.
    expect(row(page, episode)).to_have_count(0)
    shot(page, "rouge-announced")
    new.click()
    row(page, episode).get_by_role("button", name="Prendre").click()
    expect(row(page, episode)).to_contain_text("prise")
    expect(row(page, episode)).to_contain_text("marie")
    row(page, episode).get_by_role("link", name="P1", exact=True).click()
    page.get_by_text("Pourquoi cette alerte").click()
    expect(page.get_by_text("gain_3d_kg")).to_be_visible()
    shot(page, "patient", full_page=True)
    page.get_by_role("link", name="Noter un appel").click()
    page.get_by_label("Joint", exact=True).check()
    page.get_by_role("button", name="Noter").click()
    expect(row(page, episode)).to_contain_text("appelée")
    row(page, episode).get_by_role("link", name="Clore").click()
    page.get_by_label("Traitement adapté").check()
    page.get_by_label("Précisions").fill("diurétique augmenté")
    shot(page, "close")
    page.get_by_role("button", name="Clôturer").click()
    page.wait_for_url("**/file")
    expect(row(page, episode)).to_have_count(0)
    assert site.queue.episode(episode).outcome == "closed"
    actions = [entry.action for entry in audit.entries(site.queue.engine, subject="P1")]
    assert actions[::-1] == ["claimed", "patient seen", "called", "closed"]


def test_a_colleague_sees_it_move_and_who_comes_late_is_told(site, signed_in):
    episode, other = site.opened("P3"), site.opened("P4")
    marie, paul = signed_in("marie"), signed_in("paul")
    live(paul)
    row(marie, episode).get_by_role("button", name="Prendre").click()
    expect(row(paul, episode)).to_contain_text("marie")
    expect(row(paul, episode).get_by_role("button", name="Prendre")).to_have_count(0)
    # And one who clicks before the news is there.
    late = signed_in("paul", forgive="409|live|ERR_FAILED")
    late.route("**/live*", lambda route: route.abort())
    late.reload()
    row(marie, other).get_by_role("button", name="Prendre").click()
    expect(row(marie, other)).to_contain_text("prise")
    row(late, other).get_by_role("button", name="Prendre").click()
    expect(row(late, other)).to_contain_text("marie s'occupe déjà de cette alerte")
    assert site.queue.episode(other).owner == "marie"


def test_a_mute_ends_by_itself_and_when_the_patient_gets_worse(site, signed_in):
    first, second = site.opened("P6", "ORANGE"), site.opened("P7", "ORANGE")
    page = signed_in("marie")
    for episode, patient in ((first, "P6"), (second, "P7")):
        page.goto(f"{site.address}/patients/{patient}")
        page.get_by_role("link", name="Mettre en sourdine").click()
        page.fill("#until", local(site.site.now_ms() + 12 * MINUTE))
        page.fill("#reason", "voit son médecin ce matin")
        page.get_by_role("button", name="Mettre en sourdine").click()
        page.wait_for_url("**/file")
        expect(row(page, episode)).to_have_count(0)
    page.goto(f"{site.address}/file/sourdine")
    expect(row(page, first)).to_be_visible()
    live(page)
    onset = site.queue.episode(second).onset_ms
    site.opened("P7", "ROUGE", kind="raised", alert_id=second, onset_ms=onset, ago_min=0, rule="gain_rouge")
    expect(page.locator("#toasts")).to_contain_text("Aggravation")
    later(site, 13)
    expect(page.locator("#toasts")).to_contain_text("Fin de sourdine")
    page.goto(f"{site.address}/file")
    expect(row(page, first)).to_contain_text("fin de sourdine")
    expect(row(page, second)).to_contain_text("aggravé")
    expect(row(page, second)).to_contain_text("ROUGE")


def test_a_claim_without_anything_goes_back_and_both_hear_of_it(site, signed_in):
    episode = site.opened("P9", "ORANGE")
    marie, paul = signed_in("marie"), signed_in("paul")
    row(marie, episode).get_by_role("button", name="Prendre").click()
    expect(row(marie, episode)).to_contain_text("prise")
    live(marie)
    live(paul)
    later(site, 11)
    for page in (marie, paul):
        expect(page.locator("#toasts")).to_contain_text("Prise sans suite")
    expect(row(paul, episode)).to_contain_text("à traiter")
    expect(row(paul, episode)).to_contain_text("prise sans suite")


def test_by_the_keyboard_alone(site, page):
    site.opened("P10", "ROUGE", ago_min=30)
    opened = page(f"{site.address}/connexion")
    opened.keyboard.press("Tab")
    opened.keyboard.type("paul")
    opened.keyboard.press("Tab")
    opened.keyboard.type(pages.PASSWORD)
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/file")
    opened.keyboard.press("/")
    opened.keyboard.type("P10")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**q=P10*")
    episode = opened.locator("tr[data-row]").first.get_attribute("data-row")
    opened.keyboard.press("j")
    opened.keyboard.press("p")
    expect(row(opened, episode)).to_contain_text("paul")
    opened.keyboard.press("?")
    expect(opened.get_by_role("dialog")).to_be_visible()
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("dialog")).to_be_hidden()
    opened.keyboard.press("j")
    opened.keyboard.press("c")
    opened.wait_for_url("**/cloture")
    opened.locator("input[name=reason]").first.focus()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/file")
    assert site.queue.episode(episode).work["closed"]["reason"] == "advice"


def test_without_scripts_it_works_less_live(site, signed_in):
    episode, more = site.opened("P12"), [site.opened("P13", "ORANGE", problem=f"x{i}") for i in range(2)]
    page = signed_in("marie", javascript=False)
    row(page, episode).get_by_role("button", name="Prendre").click()
    expect(row(page, episode)).to_contain_text("marie")
    row(page, episode).get_by_role("link", name="Appel").click()
    page.get_by_label("Pas de réponse").check()
    page.get_by_role("button", name="Noter").click()
    expect(row(page, episode)).to_contain_text("appelée")
    for each in more:
        row(page, each).get_by_role("checkbox").check()
    page.locator("#bulk").get_by_role("button", name="Clore").click()
    page.get_by_label("Matériel").check()
    page.get_by_role("button", name="Clore").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 sur 2")
    page.goto(f"{site.address}/releve")
    expect(page.get_by_text("pas de réponse")).to_be_visible()


def test_a_connection_that_is_lost_is_said_and_comes_back(tmp_path, page):
    url = f"sqlite:///{tmp_path / 'queue.sqlite'}"
    port = free_port()
    with pages.serving(url, tmp_path, port=port) as made:
        opened = page(f"{made.address}/connexion", forgive="Failed to load|ERR_")
        opened.fill("#login", "marie")
        opened.fill("#password", pages.PASSWORD)
        opened.keyboard.press("Enter")
        live(opened)
    expect(opened.locator("#lost")).to_contain_text("Connexion perdue depuis")
    with pages.serving(url, tmp_path, port=port) as made:
        expect(opened.locator("#lost")).to_be_hidden()
        live(opened)
        made.opened("P1", ago_min=0)
        expect(opened.locator("#new")).to_contain_text("1 ROUGE")


def test_a_patients_questionnaire_on_a_small_screen(site, page, axe, shot):
    path = Link.new("P0", "covidom", site.site.now_ms() + 60 * MINUTE).sealed(site.site.seal)
    opened = page(f"{site.address}/q/{path}", width=360, height=740)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    axe(opened)
    shot(opened, "questionnaire", full_page=True)
    small = page(f"{site.address}/q/{path}", width=360, height=740, javascript=False)
    for question in small.locator("fieldset").all():
        question.locator("input").first.check()
    small.fill("#temperature", "38,6")
    small.get_by_role("button", name="Envoyer").click()
    expect(small.get_by_text("Vos réponses sont arrivées")).to_be_visible()


NURSES = ["/file", "/file/moi", "/file/sans-donnees", "/file/sourdine", "/file/cloturees", "/patients/P0", "/cellule",
          "/releve", "/ouvrir", "/compte", "/compte/mot-de-passe", "/compte/second-facteur", "/patients/P0/saisie",
          "/administration/protocoles", "/nowhere"]  # fmt: skip
FORMS = ["appel", "avis", "sourdine", "cloture", "confier", "note", "samu"]
ADMINISTRATORS = [
    "/administration/comptes",
    "/administration/cellules",
    "/administration/sources",
    "/administration/journal",
    "/administration/protocoles",
]


def test_a_limit_that_a_cardiologist_lowers_raises_the_next_alert_and_names_her(
    site, signed_in, shot, axe, tmp_path
):
    """Page, outbox, log, engine, queue and page again: nothing is restarted on the way."""
    loaded = load(["insuffisance_cardiaque"])
    with DurableLine(
        tmp_path, loaded.program, sink=site.queue.apply, roster=loaded.roster, upkeep=Upkeep(history_rows=0)
    ) as line:
        courier = Courier(Outbox(site.queue.engine), line.log, site.site.now_ms)

        def weighs(number, kg, ago_h=0):
            now = site.site.now_ms()
            body = packet.spot("P21", "scale", number, now - ago_h * 60 * MINUTE, {1: kg})
            line.log.append("home", body, now).result(10)
            line.catch_up()

        weighs(1, 80.0, ago_h=48)
        weighs(2, 80.9, ago_h=1)
        doctor = signed_in("dr.petit", forgive="422")
        doctor.goto(f"{site.address}/patients/P21")
        expect(doctor.get_by_text("Aucune alerte ouverte.")).to_be_visible()
        doctor.get_by_text("limites en vigueur").first.click()
        doctor.get_by_role("link", name="prise de poids en 3 jours", exact=True).click()
        doctor.get_by_label("Nouvelle limite").fill("12")
        doctor.get_by_label("Motif").fill("décompensation récente")
        doctor.get_by_role("button", name="Changer la limite").click()
        expect(doctor.get_by_role("alert")).to_contain_text("12 kg n’est pas possible ; de 0,5 à 5 kg")
        axe(doctor)
        doctor.get_by_label("Nouvelle limite").fill("0,8")
        shot(doctor, "limit")
        doctor.get_by_role("button", name="Changer la limite").click()
        doctor.wait_for_url("**/patients/P21")
        expect(doctor.get_by_text("Aucune alerte ouverte.")).to_be_visible()
        courier.deliver()
        line.catch_up()
        weighs(3, 80.9)
    nurse = signed_in("marie")
    nurse.goto(f"{site.address}/patients/P21")
    nurse.get_by_text("Pourquoi cette alerte").first.click()
    expect(nurse.get_by_role("row", name="gain_3d_kg").first).to_contain_text("0,8")
    expect(nurse.get_by_role("row", name="gain_3d_kg").first).to_contain_text("dr.petit")
    expect(nurse.get_by_role("row", name="gain_3d_kg").first).to_contain_text("décompensation récente")
    shot(nurse, "limit-changed", full_page=True)
    axe(nurse)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(site, signed_in, page, axe, shot, scheme):
    episode = site.opened("P15", problem=f"axe-{scheme}")
    sign_in = page(f"{site.address}/connexion", scheme=scheme)
    axe(sign_in)
    nurse = signed_in("marie", scheme=scheme, forgive="404")
    paths = [*NURSES, *(f"/alertes/{episode}/{form}" for form in FORMS)]
    # What is dark is colours, and all of them are on every third page.
    for path in paths[:: 1 if scheme == "light" else 3]:
        nurse.goto(site.address + path)
        shot(nurse, f"{scheme}-{path.strip('/').replace('/', '-').replace(episode, 'alerte')}")
        axe(nurse)
    admin = signed_in("admin", scheme=scheme)
    for path in ADMINISTRATORS:
        admin.goto(site.address + path)
        axe(admin)


def test_every_page_fits_a_telephone(site, signed_in):
    site.opened("P16")
    page = signed_in("marie", width=360, height=740, forgive="404")
    wide = {}
    for path in NURSES:
        page.goto(site.address + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide[path] = page.evaluate(
                "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 361)"
                ".map(e => e.tagName + '.' + e.className).slice(0, 5)"
            )
    assert not wide
