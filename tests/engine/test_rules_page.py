"""The page on rules says what the script finds, on a cohort whose seed served for nothing else; and the order holds."""

import re

import pytest

from bench.rules import LOADS, PAGE, SMALL, tables, written
from bench.rules_cohort import FIXED, find_out


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return find_out(SMALL, tmp_path_factory.mktemp("rules"))


def test_the_page_says_what_the_script_finds(found):
    page = PAGE.read_text(encoding="utf-8")
    parts = {f"small-{name}": text for name, text in tables(found).items()}
    assert written(page, parts) == page, (
        "the page is of another protocol, simulator or kernel: python -m bench.rules"
    )


@pytest.mark.parametrize("rule", ["weight_macd", "weight_slope", "weight_deviation", "spo2_fall"])
def test_trend_and_own_baseline_are_above_the_fixed_gain_at_equal_load(found, rule):
    for load in LOADS:
        assert found.curves[rule].at(load)[0] > found.curves[FIXED].at(load)[0]


def test_an_own_baseline_is_above_the_fixed_limit_of_its_signal(found):
    for load in LOADS:
        for own, fixed in (("spo2_fall", "spo2_low"), ("systolic_fall", "systolic_low")):
            assert found.curves[own].at(load)[0] > found.curves[fixed].at(load)[0]


def test_a_rule_that_says_something_is_above_chance(found):
    rows = {row.rule: row for row in found.rows}
    for rule in ("weight_gain_3d", "weight_macd", "symptoms", "spo2_fall"):
        assert rows[rule].worth.sensitivity.low > rows[rule].chance
    assert {row.rule for row in found.rows if row.kind == "blind"} == {
        "dry_weight_above", "dry_weight_below", "orthostatic", "orthostatic_dizzy", "af_new",
    }  # fmt: skip


def test_the_figure_is_of_the_rules_of_the_page():
    figure = PAGE.with_suffix(".svg").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- rules -->\n(.*?)<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    clinical = set(re.findall(r"^\| `(\w+)` \| \w+ \| [\d.]+ \([^)]*\) \| \d", table, re.MULTILINE))
    assert len(clinical) > 20
    assert all(f">{rule}</" in figure for rule in clinical)


def test_a_page_without_the_marks_is_refused():
    assert (
        written("a\n<!-- x -->\nold\n<!-- end -->\nb", {"x": "new"}) == "a\n<!-- x -->\nnew\n<!-- end -->\nb"
    )
    with pytest.raises(ValueError, match="<!-- y -->"):
        written("<!-- x -->\nold\n<!-- end -->", {"y": "new"})
