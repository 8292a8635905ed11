"""From ``vigie demo`` to a closed ROUGE, with what it prints and what is on the pages, and nothing else."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from playwright.sync_api import expect

from triage import store
from triage.work import lists, outgoing


def said_closed(queue, patient):
    """Whether the engine said of the one line that was closed for a patient that it is."""
    (line,) = [each.line for each in lists.of_patient(queue.engine, patient) if "closed" in each.line.work]
    return queue.log(line.id)[-1].kind == "closed"


@pytest.mark.timeout(600)  # kernels are compiled where they were not
def test_from_the_demonstration_to_a_closed_rouge(page, tmp_path):
    command = [
        sys.executable,
        "-u",
        "-m",
        "vigie",
        "demo",
        "--patients",
        "300",
        "--days",
        "4",
        # A claim goes back after ten minutes of the cell's clock: much faster, and it does between two clicks.
        "--speed",
        "4",
    ]
    env = os.environ | {"VIGIE_WEB": "true", "VIGIE_WEB_PORT": "0"}
    demo = subprocess.Popen(
        [*command, "--out", tmp_path / "kept"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    try:
        said = next(line for line in demo.stdout if line.startswith("Pages:"))
        address, name, password = re.search(
            r"Pages: (\S+)\s+accounts: (\w+),.*password of each: (.*)", said
        ).groups()
        opened = page(address, forgive="ERR_CONNECTION_REFUSED")
        opened.get_by_label("Identifiant").fill(name)
        opened.get_by_label("Mot de passe").fill(password.strip())
        opened.get_by_role("button", name="Se connecter").click()
        opened.wait_for_url("**/file")
        rouge = opened.locator("tr[data-row]", has=opened.locator(".level-rouge")).first
        if not rouge.is_visible():
            # None waits yet: the next one is announced.
            expect(opened.locator("#new")).to_contain_text("ROUGE", timeout=60_000)
            opened.locator("#new").click()
        patient = rouge.locator("a.patient").inner_text()
        rouge.get_by_role("button", name="Prendre").click()
        mine = opened.locator("tr[data-row]", has=opened.get_by_role("link", name=patient, exact=True)).first
        expect(mine).to_contain_text("marie")
        mine.get_by_role("link", name=patient, exact=True).click()
        expect(opened.locator("figure.plot canvas").first).to_be_visible()
        opened.get_by_role("link", name="Clôturer").first.click()
        opened.get_by_label("Conseil donné").check()
        opened.get_by_role("button", name="Clôturer").click()
        opened.goto(f"{address}/file/cloturees")
        closed = opened.locator(
            "tr[data-row]", has=opened.get_by_role("link", name=patient, exact=True)
        ).first
        expect(closed).to_contain_text("marie : conseil donné")
        # What was closed on the page reaches the line through its log, and comes back.
        with store.open(tmp_path / "kept" / "queue.sqlite") as queue:
            until = time.monotonic() + 120
            while time.monotonic() < until and (
                outgoing.waiting(queue.engine) or not said_closed(queue, patient)
            ):
                time.sleep(0.05)
    finally:
        demo.send_signal(signal.SIGINT)
        out, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0
    with store.open(tmp_path / "kept" / "queue.sqlite") as queue:
        assert outgoing.waiting(queue.engine) == []
        assert said_closed(queue, patient)
    assert "applied" in out
