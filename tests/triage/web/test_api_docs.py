"""The worked examples of docs/api.md are what happens."""

import json
import re
import time
from pathlib import Path

import httpx

from triage.people.person import Scope

DOCS = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
STEP = re.compile(r"(?:(\S+): )?(GET|POST) (\S+)(?: (\{.*\}))?\n→ (\d{3})((?: \S+=\S+)*)")


def at(found, path):
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def shown(answer, path):
    value = at(answer.json(), path)
    return value if isinstance(value, str) else json.dumps(value)


def steps_after(words):
    """Give the steps of the example that stands after some words: who, how, where, what, status, what comes of it."""
    block = re.search(f"{re.escape(words)}\n\n```\n(.*?)```", DOCS, re.DOTALL)[1]
    steps = STEP.findall(block)
    assert len(steps) == block.count("→") == len(re.findall(r"\b(?:GET|POST) /", block))
    return steps


def taken(site, steps, name, known):
    """Take steps; `known` are the names that paths stand for, with where the first answer that has it says it."""
    tokens, values = {}, {}
    for who in {each[0] or name for each in steps}:
        tokens[who] = site.site.people.make_token(
            who, "docs", Scope.WORK, 1, "shell:test", site.site.now_ms()
        )
    with httpx.Client(base_url=site.address, timeout=60) as client:
        for who, method, path, body, status, wanted in steps:
            for each, value in values.items():
                path, body = (text.replace(f"{{{each}}}", value) for text in (path, body))  # noqa: PLW2901
            pairs = [each.split("=", 1) for each in wanted.split()]
            until = time.monotonic() + 20
            while True:
                answer = client.request(
                    method, path, headers={"Authorization": f"Bearer {tokens[who or name]}"},
                    **({"json": json.loads(body)} if body else {}),
                )  # fmt: skip
                assert answer.status_code == int(status), answer.text
                said = [[each, shown(answer, each)] for each, _ in pairs]
                # What is looked at may come a moment later; what is done is answered at once.
                if said == pairs or method != "GET" or time.monotonic() > until:
                    break
                time.sleep(0.05)
            assert said == pairs, path
            if answer.status_code == 200:
                for each in known:
                    try:
                        values.setdefault(each, shown(answer, each))
                    except (KeyError, IndexError, TypeError):
                        continue
    return len(steps)


def test_an_alert_from_the_list_to_its_end(site):
    site.opened("P1")
    steps = steps_after("as they stand here.")
    assert taken(site, steps, "marie", ["lines.0.id"]) == 8


def test_limits_of_a_cell_from_the_trial_to_their_end(atelier):
    steps = steps_after("each with a token of their own.")
    assert taken(atelier, steps, "", ["number"]) == 7
    # No other example of requests stands there that nothing runs.
    assert len(re.findall(r"^(?:\S+: )?(?:GET|POST) +/", DOCS, re.MULTILINE)) == 8 + 7
