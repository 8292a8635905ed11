"""Debian's Chromium, driven by Playwright: pages that must make no error, axe, screenshots as build output."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from triage.web import build

# With importlib mode a test's folder is not on the path.
sys.path.insert(0, str(Path(__file__).parent))

# Other tests run beside these, on two cores: how long something may take is no part of what is tested.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

ROOT = Path(__file__).resolve().parent.parent.parent
SHOTS = ROOT / "out" / "screenshots"

# WCAG 2.2 A and AA, and what axe advises beside them.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]


def _chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        message = "no Chromium here: make servers installs it on Debian (package chromium)"
        # Where everything must hold, a test that did not run has not passed.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return found


# Not of the session: while Playwright's loop runs in this thread, tests of other folders could not run one of theirs.
@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    build.brought(tests=True)
    # A container's /dev/shm is small. As root Chromium runs only without its sandbox; what it opens here is ours.
    arguments = ["--disable-dev-shm-usage"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_chromium(), args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """Make pages, each in a context (a person) of its own; at the end none may have made an error.

    ``page(url, width=1366, height=768, scheme="light", javascript=True, forgive=None, **context)``. `forgive` is a
    regular expression for what the browser itself writes on its console when a server is made to fail.
    """
    contexts, wrong = [], []

    def make(url=None, *, width=1366, height=768, scheme="light", javascript=True, forgive=None, **context):
        made = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=javascript,
            locale="fr-FR",
            timezone_id="Europe/Paris",
            **context,
        )
        contexts.append(made)
        made.set_default_timeout(PATIENCE_MS)
        opened = made.new_page()

        def heard(text):
            if forgive is None or not re.search(forgive, text):
                wrong.append(text)

        # What the policy refuses is an error on the console too.
        opened.on("console", lambda message: heard(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: heard(str(error)))
        if url is not None:
            opened.goto(url)
        return opened

    yield make
    for context in contexts:
        context.close()
    assert not wrong, "errors in the browser"


@pytest.fixture
def axe():
    """Say what axe finds; nothing serious or critical may be.

    ``axe(page, dark=True)`` looks at the page in the dark scheme as well: what differs there is colours.
    """
    source = (build.TESTS / "axe.min.js").read_text() if (build.TESTS / "axe.min.js").exists() else None

    def run(page, *, dark=False):
        # Evaluated by the debugger, which the page's Content-Security-Policy does not bind.
        page.evaluate(source or (build.TESTS / "axe.min.js").read_text())
        found = judged(page, RULES)
        if dark:
            page.emulate_media(color_scheme="dark")
            found += judged(page, COLOURS)
            page.emulate_media(color_scheme="light")
        return found

    def judged(page, rules):
        found = page.evaluate(
            """rules => axe.run({runOnly: rules, rules: {"target-size": {enabled: true}}}).then(r => r.violations)""",
            rules,
        )
        serious = [
            f"{one['id']}: {one['help']}: {', '.join(node['html'][:120] for node in one['nodes'][:4])}"
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]
        assert not serious, "\n".join(serious)
        return found

    return run


@pytest.fixture
def shot(request):
    """Keep a picture of the page under out/screenshots/."""

    def take(page, name, **options):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{request.node.path.stem.removeprefix('test_')}-{name}.png", **options)

    return take
