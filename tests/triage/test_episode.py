"""What one row does to one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.alerts import Happening
from rules.levels import Level
from triage.episode import follow
from triage.policy import Policy

POLICY = Policy(rouge_ms=240_000, orange_ms=3_600_000)


def step(kind, level, clock=0, **over):
    row = {
        "id": clock + 1,
        "alert_id": "a",
        "patient": "p",
        "protocol": "ic",
        "problem": "weight",
        "rule": level.name.lower(),
        "level": level,
        "kind": kind,
        "onset_ms": 0,
        "t_ms": clock,
        "clock_ms": clock,
        "features": "[]",
    }
    return row | over


def life(*rows):
    line = None
    for row in rows:
        line = follow(line, row, POLICY)
    return line


def test_orange_that_recovers_ends_by_itself():
    line = life(step("opened", Level.ORANGE), step("recovered", Level.ORANGE, 5))
    assert (line["outcome"], line["ended_ms"]) == ("resolved", 5)


@pytest.mark.parametrize("kind", ["latched", "recovered"])
def test_rouge_stays_until_it_is_closed(kind):
    opened = step("opened", Level.ROUGE)
    line = life(opened, step(kind, Level.ROUGE, 5))
    assert line["ended_ms"] is None
    assert line["latched"]
    line = life(opened, step(kind, Level.ROUGE, 5), step("closed", Level.ROUGE, 9))
    assert (line["outcome"], line["ended_ms"]) == ("closed", 9)


def test_what_returns_after_latching_is_no_longer_past():
    line = life(
        step("opened", Level.ROUGE), step("latched", Level.ROUGE, 1), step("evidence", Level.ORANGE, 2)
    )
    assert not line["latched"]
    assert line["level"] == Level.ROUGE
    assert line["shown_id"] == 3


def test_raised_shows_the_rule_that_raised_it():
    line = life(step("opened", Level.ORANGE), step("raised", Level.ROUGE, 5))
    assert (line["level"], line["rule"], line["raised_clock_ms"]) == (Level.ROUGE, "rouge", 5)


def test_an_answer_promised_earlier_stays_promised_when_raised():
    early = life(step("opened", Level.ORANGE), step("raised", Level.ROUGE, 1000))
    assert early["due_ms"] == 1000 + POLICY.rouge_ms
    late = life(step("opened", Level.ORANGE), step("raised", Level.ROUGE, 3_599_000))
    assert late["due_ms"] == POLICY.orange_ms


def test_technique_without_a_limit_gets_one_when_raised():
    line = life(step("opened", Level.TECHNIQUE))
    assert line["due_ms"] is None
    assert life(step("opened", Level.TECHNIQUE), step("raised", Level.ORANGE, 7))["due_ms"] == 3_600_007


def test_evidence_of_another_rule_is_counted_and_does_not_take_the_sentence():
    line = life(step("opened", Level.ROUGE), step("evidence", Level.ROUGE, 2, rule="other"))
    assert (line["rule"], line["shown_id"], line["evidence"]) == ("rouge", 1, 2)
    assert life(step("opened", Level.ROUGE), step("evidence", Level.ROUGE, 2))["shown_id"] == 3


@pytest.mark.parametrize("kind", ["recovered", "closed"])
def test_the_end_of_what_was_never_open_opens_nothing(kind):
    assert life(step(kind, Level.ROUGE)) is None


@pytest.mark.parametrize("kind", ["opened", "raised", "evidence", "latched"])
def test_news_of_what_is_not_open_opens_it(kind):
    assert life(step(kind, Level.ROUGE))["ended_ms"] is None
    ended = life(step("opened", Level.ROUGE), step("closed", Level.ROUGE, 1), step(kind, Level.ROUGE, 2))
    assert ended["ended_ms"] is None
    assert ended["opened_clock_ms"] == 2


def test_the_policy_is_frozen_when_it_opens():
    line = follow(None, step("opened", Level.ORANGE), POLICY)
    line = follow(line, step("raised", Level.ROUGE, 10), Policy(rouge_ms=1))
    assert line["due_ms"] == 10 + POLICY.rouge_ms


@given(st.lists(st.tuples(st.sampled_from(list(Happening)), st.sampled_from(Level)), max_size=20))
def test_while_open_the_level_never_falls_and_only_a_person_ends_rouge(steps):
    line = None
    for clock, (kind, level) in enumerate(steps):
        before = dict(line) if line else None
        line = follow(line, step(kind, level, clock), POLICY)
        if before is None or before["ended_ms"] is not None:
            continue
        assert line["level"] >= before["level"]
        assert line["due_ms"] is None or before["due_ms"] is None or line["due_ms"] <= before["due_ms"]
        if line["ended_ms"] is not None:
            assert kind == "closed" or (kind == "recovered" and line["level"] < Level.ROUGE)
