"""Rules that Polars can be told of by hand: the line gives the same alerts as its rolling expressions do."""

from collections import Counter

import pytest

from bench.apart import apart
from bench.rolling import RULES, line, make, polars_rolling, vigie
from engine.load import load


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    path = tmp_path_factory.mktemp("rolling") / "cohort.parquet"
    make(150, 150, 7102, path)
    return path


def test_the_same_alerts_by_hand(cohort, tmp_path):
    alerts = polars_rolling(cohort)
    count = Counter(rule for _, rule, _ in alerts)
    assert all(count[rule] > 5 for rule in RULES)
    assert vigie(cohort, tmp_path / "whole", line()) == alerts
    assert vigie(cohort, tmp_path / "alone", line(alone=True)) == alerts


def test_rules_apart_have_alerts_of_their_own_and_are_otherwise_the_same():
    (protocol,) = load(["insuffisance_cardiaque"]).program.protocols
    own = apart(protocol)
    assert [rule.problem for rule in own.rules] == [rule.id for rule in protocol.rules]
    assert own.hash != protocol.hash
    back = [
        rule.model_copy(update={"problem": was.problem})
        for rule, was in zip(own.rules, protocol.rules, strict=True)
    ]
    assert tuple(back) == protocol.rules
    assert [rule.id for rule in apart(protocol, RULES).rules] == list(RULES)
