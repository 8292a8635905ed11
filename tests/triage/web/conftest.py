"""A served site: the nurses' pages on a port of their own, a queue of two cells, accounts of each role."""

import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from argon2 import PasswordHasher

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import make_frame, make_row

from engine.config import load
from engine.enrolment import Enrolled
from engine.protocols import find, load_all, load_candidates
from engine.workshop import Source, Workshop
from ingest import simulator
from ingest.simulator.truth import patient_ids
from triage import store
from triage.people import seal
from triage.people.accounts import People
from triage.people.administration import NewAccount
from triage.people.passwords import Attempts, Passwords
from triage.people.person import Role
from triage.web.app import build
from triage.web.hub import Hub
from triage.web.serving import served
from triage.web.site import Site
from triage.work import cells

PASSWORD = "une phrase assez longue"  # noqa: S105 - of the tests alone
ACCOUNTS = (
    NewAccount("marie", Role.NURSE, ("Nord",), "Marie Dupont"),
    NewAccount("paul", Role.NURSE, ("Nord",), "Paul Leroy"),
    NewAccount("luc", Role.NURSE, ("Sud",), "Luc Garnier"),
    NewAccount("dr.petit", Role.CARDIOLOGIST, ("Nord", "Sud"), "Dr Anne Petit"),
    NewAccount("dr.roy", Role.CARDIOLOGIST, ("Nord",), "Dr Jean Roy"),
    NewAccount("ops", Role.OPERATOR, (), "Exploitation"),
    NewAccount("admin", Role.ADMINISTRATOR, (), "Administration"),
)
MINUTE = 60_000
HEART = "insuffisance_cardiaque"


class Served:
    """A site that is served, its clock, and how to come in."""

    def __init__(self, queue, site, address):
        self.queue = queue
        self.site = site
        self.address = address

    @property
    def application(self):
        """The application without what is around it: its routes."""
        return build(self.site, Hub(self.site))._app

    def opened(self, patient="P1", level="ROUGE", ago_min=1, **over):
        """Let the engine open a line; give its id."""
        at = self.site.now_ms() - ago_min * MINUTE
        times = {"onset_ms": at, "t_ms": at, "clock_ms": at}
        made = make_row(patient=patient, level=level, **{"problem": f"weight-{patient}", **times, **over})
        made["alert_id"] = over.get(
            "alert_id", f"{abs(hash((patient, level, at, made['problem']))):016x}"[:16]
        )
        self.queue.apply(make_frame(made))
        return made["alert_id"]

    @contextmanager
    def client(self, name=None, **options):
        """Give a client, signed in as an account."""
        headers = {"Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=self.address, headers=headers, timeout=30, **options) as client:
            if name is not None:
                answer = client.post("/connexion", data={"login": name, "password": PASSWORD})
                assert answer.status_code == 303, answer.text
            yield client

    def csrf(self, client):
        """Give the word that the forms of a client must bring."""
        return re.search(r'name="csrf" value="([^"]+)"', client.get("/compte").text)[1]

    def move(self, client, episode, what, **fields):
        """Send the form of a move."""
        return client.post(f"/alertes/{episode}/{what}", data={"csrf": self.csrf(client), **fields})


@contextmanager
def serving(url, folder, port=0):
    """Serve the pages on a queue until the end of the block."""
    settings, _ = load(given={"web_port": port, "data": folder}, environment={})
    ahead = {"ms": 0}
    with store.open(url) as queue:
        enrolled = {
            f"P{i}": Enrolled(("insuffisance_cardiaque",), "Sud" if i % 3 == 2 else "Nord") for i in range(40)
        }
        cells.take(queue.engine, enrolled)
        people = People(
            queue.engine,
            seal.load(folder / "web.key"),
            passwords=Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
            attempts=Attempts(a_minute=1000, a_second=1000, burst=1000),
            second_required=False,
        )

        def now_ms():
            return time.time_ns() // 1_000_000 + ahead["ms"]

        site = Site(
            queue,
            people,
            tuple(load_all(["insuffisance_cardiaque", "covidom"])),
            history=folder / "history",
            seal=seal.load(folder / "web.key"),
            now_ms=now_ms,
            programs=Attempts(a_minute=1_000_000, a_second=1_000_000, burst=1_000_000),
        )
        known = {each.name for each in people.accounts()}
        for account in (each for each in ACCOUNTS if each.name not in known):
            once = people.create(account, "shell:test", now_ms())
            came = people.sign_in(account.name, once, "", now_ms())
            people.set_password(came.person, once, PASSWORD, now_ms())
        with served(site, settings) as at:
            made = Served(queue, site, at.address)
            made.ahead = ahead
            yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site for the tests of a module; each makes lines of patients of its own."""
    folder = tmp_path_factory.mktemp("site")
    with serving(f"sqlite:///{folder / 'queue.sqlite'}", folder) as made:
        yield made


@pytest.fixture(scope="module")
def atelier(site, tmp_path_factory):
    """The site with a workshop on a log of 24 patients, of whom every third is of the other cell."""
    log = tmp_path_factory.mktemp("log") / "log"
    simulator.simulate(24, 30, 5, log, format="log", slot_s=600)
    site.patients = patient_ids(np.arange(24))
    enrolled = {
        each: Enrolled((HEART,), "Sud" if i % 3 == 2 else "Nord") for i, each in enumerate(site.patients)
    }
    cells.take(site.queue.engine, enrolled)
    text = find(HEART).read_text(encoding="utf-8")
    other = log.parent / "other.toml"
    text = text.replace('version = "0.1.0"', 'version = "0.2.0"', 1).replace(
        'mark = "S17 S18"', 'mark = "S18"', 1
    )
    other.write_text(text, encoding="utf-8")
    site.site.candidates = tuple(load_candidates([other], site.site.protocols))
    source = Source(log, log.parent / "kept", (HEART, "covidom"), candidates=((HEART, str(other)),))
    site.site.workshop = Workshop(source)
    yield site
    site.site.candidates = ()
    site.site.workshop.close()
    site.site.workshop = None


@pytest.fixture(scope="session")
def serve():
    """Serve a site on a database, in a folder: for tests that need one of their own."""
    return serving
