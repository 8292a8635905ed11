"""The worked example of docs/api.md is what happens."""

import json
import re
from pathlib import Path

import httpx

from triage.people.person import Scope

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
STEP = re.compile(r"(GET|POST) (\S+)(?: (\{.*\}))?\n→ (\d{3})((?: \S+=\S+)*)")


def at(found, path):
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def test_the_worked_example_is_what_happens(site):
    site.opened("P1")
    block = re.search(r"as they stand here\.\n\n```\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[
        1
    ]
    steps = STEP.findall(block)
    assert len(steps) == block.count("→") == 8
    token = site.site.people.make_token("marie", "docs", Scope.WORK, 1, "shell:test", site.site.now_ms())
    first = None
    with httpx.Client(
        base_url=site.address, headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        for method, path, body, status, wanted in steps:
            line = at(first, "lines.0.id") if first else ""
            path, body = (text.replace("{lines.0.id}", line) for text in (path, body))  # noqa: PLW2901

            given = {"json": json.loads(body)} if body else {}
            answer = client.request(method, path, **given)
            assert answer.status_code == int(status), answer.text
            first = first or answer.json()
            for each in wanted.split():
                name, _, value = each.partition("=")
                shown = at(answer.json(), name)
                assert (shown if isinstance(shown, str) else json.dumps(shown)) == value, (path, each)
