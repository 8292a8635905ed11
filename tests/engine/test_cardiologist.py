"""The ten examples of docs/cardiologist.md: each is read from the page and passes its tests through the real line."""

import re
from pathlib import Path

import pytest

from engine.program import protocol_signals
from engine.protocol_tests import run
from kernels.catalogue import STATISTICS
from rules.protocol import loads

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cardiologist.md").read_text(encoding="utf-8")


def block(title):
    (_, part) = PAGE.split(f"\n## {title}", 1)
    (found,) = re.findall(r"```toml\n(.*?)```", part.split("\n## ")[0], re.DOTALL)
    return found


FRAME = block("The frame")
EXAMPLES = re.findall(r"^## (\d+\. .*)$", PAGE, re.MULTILINE)


def example(title):
    return loads(f"{FRAME}\n{block(title)}", title, protocol_signals(), STATISTICS)


def test_there_are_ten_and_the_frame_alone_is_a_protocol_too():
    assert [int(title.partition(".")[0]) for title in EXAMPLES] == list(range(1, 11))
    assert not loads(FRAME, "frame", protocol_signals(), STATISTICS).signed


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_does_what_its_tests_say(title):
    protocol = example(title)
    results = run(protocol)
    assert len(results) == len(protocol.tests) >= 3
    assert [str(result) for result in results if not result.passed] == []


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_as_good_as_its_page_asks_for(title):
    """Each rule fires, does not, and cannot know; what it adds to the frame is used; figures have their source."""
    protocol = example(title)
    fires = {each.rule for test in protocol.tests for each in test.expect}
    for rule in protocol.rules:
        assert rule.id in fires
        assert {test.verdicts.get(rule.id) for test in protocol.tests} >= {"true", "false", "undetermined"}
    used = {
        name for rule in protocol.rules for name in (*protocol.features_of(rule), *protocol.limits_of(rule))
    }
    assert used == {*protocol.features, *protocol.limits}
    silent = {rule for each in protocol.non_transmission[1:] for rule, _, _ in each.stages}
    assert silent <= fires


def test_a_wrong_expectation_of_an_example_is_found():
    """That examples pass says something only if they could fail."""
    text = f"{FRAME}\n{block(EXAMPLES[0])}".replace("37.2 38.0 38.1", "37.2 38.1 38.1")
    results = run(loads(text, "wrong", protocol_signals(), STATISTICS))
    assert [result.passed for result in results] == [False, True, True]
