"""The protocols that are shipped: they load, they are whole, and nothing in them passes for signed."""

import math
import re

import numpy as np
import pytest

from rules.evaluate import groups
from rules.explain import sentence
from rules.fields import to_sign
from rules.levels import Level
from rules.protocol import check_together


def test_loads_unsigned(shipped):
    assert not shipped.signed
    assert shipped.signature == "to be signed by a clinician"


def test_both_can_be_loaded_together(world):
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / "rules" / "protocols"
    protocols = [
        world.loads(path.read_text(encoding="utf-8"), path.name) for path in sorted(folder.glob("*.toml"))
    ]
    assert {protocol.id for protocol in protocols} >= {"insuffisance_cardiaque", "covidom"}
    check_together(protocols)


def test_every_rule_has_a_positive_a_negative_and_an_undetermined_test(shipped):
    fires = {expected.rule for test in shipped.tests for expected in test.expect}
    said = {(name, verdict) for test in shipped.tests for name, verdict in test.verdicts.items()}
    for rule in shipped.rules:
        assert rule.id in fires
        assert (rule.id, "false") in said
        assert (rule.id, "undetermined") in said
    for silence in shipped.non_transmission:
        assert {rule_id for rule_id, _, _ in silence.stages} <= fires


def test_every_limit_and_feature_is_used(shipped):
    used = {name for rule in shipped.rules for name in (*shipped.features_of(rule), *shipped.limits_of(rule))}
    assert used == {*shipped.features, *shipped.limits}


def test_every_figure_has_its_mark(shipped):
    """A level is a design proposal unless signed: each rule's mark says so."""
    assert all(to_sign(rule.mark) for rule in shipped.rules)
    assert all(limit.mark and limit.source for limit in shipped.limits.values())


def test_rouge_is_never_easier_than_orange_of_the_same_kind(shipped):
    limits = {name: limit.default for name, limit in shipped.limits.items()}
    for low, high in [
        ("systolic_very_low", "systolic_low"),
        ("rate_very_low", "rate_low"),
        ("spo2_very_low", "spo2_low"),
    ]:
        if low in limits and high in limits:
            assert limits[low] < limits[high]
    for low, high in [("systolic_high", "systolic_very_high"), ("rate_high", "rate_very_high"), ("fever", "high_fever"),
                      ("breaths_high", "breaths_very_high"), ("gain_7d_kg", "gain_7d_large_kg")]:  # fmt: skip
        if low in limits and high in limits:
            assert limits[low] < limits[high]


def test_no_data_is_not_normal(shipped):
    """Without any reading every rule is undetermined: neither an alert nor a recovery."""
    for group in groups(shipped):
        columns = dict.fromkeys(group.features, np.array([math.nan]))
        defaults = {name: shipped.limits[name].default for name in group.limits}
        limits = {name: 50.0 if value is None else value for name, value in defaults.items()}
        when, clear = group.verdicts(columns | limits, 1)
        assert (when == -1).all()
        assert (clear == -1).all()


def test_when_and_clear_never_hold_together(shipped):
    rng = np.random.default_rng(1)
    for group in groups(shipped):
        columns = {name: np.round(rng.uniform(-30, 200, 4000), 1) for name in group.features}
        columns |= {name: np.round(rng.uniform(-3, 5, 4000), 2) for name in group.features if "gain" in name}
        limits = {
            name: math.nan if (d := shipped.limits[name].default) is None else d for name in group.limits
        }
        when, clear = group.verdicts(columns | limits, 4000)
        assert not ((when == 1) & (clear == 1)).any()


def test_texts_are_short_whole_and_french(shipped):
    for rule in shipped.rules:
        values = dict.fromkeys(shipped.features_of(rule), 1.0)
        limits = dict.fromkeys(shipped.limits_of(rule), 2.0)
        text = sentence(shipped, rule, values, limits)
        assert len(text) <= 180, text
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert not re.search(r"[{}]| [:;?!%»]", text)


def test_every_source_is_cited_once_and_used(shipped):
    assert {*shipped.sources} == {*shipped.marks} - {"G", "D"}
    for source in shipped.sources.values():
        assert re.search(r"(19|20)\d\d|\.org", source.reference), source  # a year, or a page that has none


def test_every_rule_has_a_short_title_of_its_own(shipped):
    titles = [each.title for each in (*shipped.rules, *shipped.non_transmission)]
    assert len({*titles}) == len(titles)
    for title in titles:
        assert title[0].isupper()
        assert len(title) <= 45, title
        assert not re.search(r"_|\.$", title), title


@pytest.mark.parametrize("name", ["mute", "disable", "enabled"])
def test_no_protocol_mentions_muting(shipped, name):
    assert name not in shipped.model_dump_json()


def test_problems_can_reach_rouge_or_say_why_not(shipped):
    worst = {}
    for rule in shipped.rules:
        worst[rule.problem] = max(worst.get(rule.problem, Level.TECHNIQUE), rule.level)
    mild = {problem for problem, level in worst.items() if level < Level.ROUGE}
    assert mild <= {"deshydratation", "poids_a_verifier", "soutien", "extrasystoles", "signal_ecg"}
