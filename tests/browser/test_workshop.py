"""A limit of a cell from the trial to the alert: two cardiologists, the log, the engine and a nurse's page."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from waiting import wait_until

from engine.courier import Courier
from engine.durable import DurableLine, Upkeep
from engine.enrolment import Enrolled
from engine.load import load
from engine.workshop import Source, Workshop
from ingest import packet, simulator
from ingest.simulator.truth import patient_ids
from triage.work import cells
from triage.work.outgoing import Outbox

_file = Path(__file__).parents[1] / "triage" / "web" / "conftest.py"
_spec = importlib.util.spec_from_file_location("served_pages_of_workshop", _file)
pages = importlib.util.module_from_spec(_spec)
sys.modules["served_pages_of_workshop"] = pages
_spec.loader.exec_module(pages)

HEART = "insuffisance_cardiaque"
HOUR = 3_600_000
PATIENTS = [*patient_ids(np.arange(20)), "P9000001"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workshop")
    simulator.simulate(20, 30, 5, folder / "log", format="log", slot_s=600)
    with pages.serving(f"sqlite:///{folder / 'queue.sqlite'}", folder) as made:
        cells.take(made.queue.engine, {each: Enrolled((HEART,), "Nord") for each in PATIENTS})
        made.folder = folder
        made.site.workshop = Workshop(Source(folder / "log", folder / "kept", (HEART,)))
        yield made
        made.site.workshop.close()


@pytest.fixture
def signed_in(site, page):
    def signed_in(name, **options):
        opened = page(f"{site.address}/connexion", **options)
        opened.fill("#login", name)
        opened.fill("#password", pages.PASSWORD)
        opened.get_by_role("button", name="Se connecter").click()
        opened.wait_for_url(re.compile("/(file|administration)"))
        return opened

    return signed_in


def weighed(site, before, after):
    """Let the engine hear a weight, then what the queue has for it, then another weight."""
    loaded = load([HEART])
    with DurableLine(
        site.folder,
        loaded.program,
        sink=site.queue.apply,
        roster=loaded.roster,
        upkeep=Upkeep(history_rows=0),
    ) as line:
        line.catch_up()

        def weighs(number, kg, ago_h):
            now = site.site.now_ms()
            body = packet.spot("P9000001", "scale", number, now - ago_h * HOUR, {1: kg})
            line.log.append("home", body, now).result(10)
            line.catch_up()

        weighs(1, before, 48)
        courier = Courier(Outbox(site.queue.engine), line.log, site.site.now_ms)
        while courier.deliver():
            line.catch_up()
        weighs(2, after, 1)


def expect_in_force(page):
    # The signature itself first: a page that is loaded anew while it is sent would not send it.
    page.wait_for_url(re.compile(r"/atelier/propositions/\d+$"))
    tag = page.locator("h1 .tag")

    def in_force():
        page.reload()
        return tag.inner_text() == "en vigueur"

    wait_until(page, in_force)


def test_from_a_trial_to_the_next_alert(site, signed_in, shot, axe):
    petit = signed_in("dr.petit", forgive="422")
    petit.get_by_role("link", name="Atelier").click()
    petit.get_by_role("link", name="Insuffisance cardiaque chronique").click()
    expect(petit.get_by_role("heading", name="Charge jour après jour")).to_be_visible()
    limit = petit.get_by_label("Prise de poids en 3 jours")
    limit.fill("12")
    expect(petit.get_by_role("alert")).to_contain_text("12 kg n’est pas possible")
    expect(limit).to_have_accessible_description(re.compile("12 kg n’est pas possible"))
    expect(limit).to_have_value("12")
    expect(limit).to_have_attribute("aria-invalid", "true")
    expect(limit).to_be_focused()
    expect(petit.get_by_role("heading", name="Charge jour après jour")).to_be_visible()
    axe(petit)
    limit.fill("0,8")
    expect(petit.get_by_role("alert")).to_have_count(0)
    expect(petit.locator("#l_gain_3d_kg")).to_have_attribute("aria-invalid", "false")
    expect(petit.get_by_role("heading", name="Alertes gagnées")).to_be_visible()
    expect(petit.locator("#trial")).to_contain_text("Prise de poids en 3 jours : 2 → 0,8 kg")
    petit.locator(".changed-alert summary").first.click(position={"x": 5, "y": 8})
    expect(petit.locator(".changed-alert svg").first).to_be_visible()
    shot(petit, "trial", full_page=True)
    axe(petit)
    petit.get_by_label("Commentaire").fill("essai sur trois mois")
    petit.get_by_role("button", name="Proposer ces limites").click()
    petit.wait_for_url("**/atelier/propositions/*")
    expect(petit.get_by_text("Un autre cardiologue de la cellule doit signer.")).to_be_visible()
    petit.get_by_role("button", name="Faire tourner dans l’ombre").click()
    expect(petit.get_by_role("heading", name="Dans l’ombre depuis")).to_be_visible()
    shot(petit, "proposal", full_page=True)
    axe(petit, dark=True)

    roy = signed_in("dr.roy")
    roy.get_by_role("link", name="Atelier").click()
    shot(roy, "workshop")
    axe(roy)
    roy.get_by_role("row", name="essai").or_(roy.get_by_role("row", name="à signer")).get_by_role(
        "link"
    ).click()
    roy.get_by_role("button", name="Signer…").click()
    expect(roy.get_by_role("heading", name="Signer la proposition")).to_be_visible()
    expect(roy.get_by_role("row", name="Prise de poids en 3 jours")).to_contain_text("0,8")
    shot(roy, "sign", full_page=True)
    axe(roy)
    roy.get_by_role("button", name="Signer", exact=True).click()
    expect_in_force(roy)

    weighed(site, 80.0, 80.9)
    nurse = signed_in("marie")
    nurse.goto(f"{site.address}/patients/P9000001")
    nurse.get_by_text("Pourquoi cette alerte").first.click()
    row = nurse.get_by_role("row", name="gain_3d_kg").first
    for said in ("0,8", "cellule", "dr.petit et dr.roy", "essai sur trois mois"):
        expect(row).to_contain_text(said)


def test_without_scripts_and_on_a_telephone(site, signed_in, axe):
    plain = signed_in("dr.petit", javascript=False, width=390, height=800)
    plain.goto(f"{site.address}/atelier/{HEART}")
    plain.get_by_label("Prise de poids en 3 jours").fill("0,9")
    plain.get_by_role("button", name="Essayer").click()
    expect(plain.get_by_role("heading", name="Alertes gagnées")).to_be_visible()
    assert plain.evaluate("document.documentElement.scrollWidth") <= 390
