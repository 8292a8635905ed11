import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import conditions, evaluate
from rules.evaluate import FALSE, TRUE, UNDETERMINED, groups


def columns_of(group, n, seed=0, missing=0.2):
    rng = np.random.default_rng(seed)
    out = {}
    for name in (*group.features, *group.limits):
        column = np.round(rng.uniform(-5, 5, n), 1)
        column[rng.random(n) < missing] = math.nan
        out[name] = column
    return out


def test_rules_of_one_set_of_triggers_make_one_group(protocol):
    first, second = groups(protocol)
    assert (first.signals, [rule.id for rule in first.rules]) == (frozenset({"weight"}), ["gain"])
    assert (second.signals, [rule.id for rule in second.rules]) == (
        frozenset({"weight", "tired"}),
        ["tired_gain"],
    )
    assert first.features == ("gain_3d",)
    assert first.limits == ("gain_kg",)


def test_when_and_clear(protocol):
    group = groups(protocol)[0]
    gain = np.array([1.6, 1.8, 2.0, math.nan])
    when, clear = group.verdicts({"gain_3d": gain, "gain_kg": 2.0}, 4)
    assert when.dtype == clear.dtype == np.int8
    assert when.tolist() == [[FALSE, FALSE, TRUE, UNDETERMINED]]
    assert clear.tolist() == [[TRUE, FALSE, FALSE, UNDETERMINED]]


def test_without_clear_when_a_rule_clears_when_its_condition_is_false(protocol):
    group = groups(protocol)[1]
    columns = {
        "gain_3d": np.array([3, 1, 3, math.nan]),
        "pain": np.array([2, math.nan, math.nan, 2]),
        "gain_kg": 2.0,
    }
    when, clear = group.verdicts(columns, 4)
    assert when.tolist() == [[TRUE, FALSE, UNDETERMINED, UNDETERMINED]]
    assert clear.tolist() == [[FALSE, TRUE, UNDETERMINED, UNDETERMINED]]


def test_no_rows(protocol):
    when, clear = groups(protocol)[0].verdicts({}, 0)
    assert when.shape == clear.shape == (1, 0)


def test_a_column_that_is_not_there_or_has_another_length(protocol):
    group = groups(protocol)[0]
    with pytest.raises(KeyError, match="gain_kg"):
        group.verdicts({"gain_3d": np.zeros(2)}, 2)
    with pytest.raises(ValueError, match=r"gain_kg.*shape \(3,\); legal: \(2,\)"):
        group.verdicts({"gain_3d": np.zeros(2), "gain_kg": np.zeros(3)}, 2)


def test_the_same_in_blocks_and_at_once(shipped, monkeypatch):
    for group in groups(shipped):
        columns = columns_of(group, 1000)
        whole = group.verdicts(columns, 1000)
        monkeypatch.setattr(evaluate, "_BLOCK", 7)
        parts = group.verdicts(columns, 1000)
        monkeypatch.undo()
        assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_a_number_for_all_rows_is_a_column_filled_with_it(shipped):
    for group in groups(shipped):
        columns = columns_of(group, 50)
        limits = dict.fromkeys(group.limits, 2.0)
        filled = dict.fromkeys(group.limits, np.full(50, 2.0))
        one, other = group.verdicts(columns | limits, 50), group.verdicts(columns | filled, 50)
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_threads_share_a_group(shipped):
    for group in groups(shipped):
        columns = columns_of(group, 2000)
        expected = group.verdicts(columns, 2000)
        with ThreadPoolExecutor(4) as pool:
            for got in pool.map(lambda _, g=group, c=columns: g.verdicts(c, 2000), range(8)):
                assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def test_polars_gives_the_same_verdicts_on_the_shipped_rules(shipped):
    for group in groups(shipped):
        columns = columns_of(group, 500, seed=3)
        frame = pl.DataFrame({name: pl.Series(c, nan_to_null=True) for name, c in columns.items()})
        when, clear = group.verdicts(columns, 500)
        for k, rule in enumerate(group.rules):
            for text, ours in ((rule.when, when[k]), (rule.clear_when or f"NOT ({rule.when})", clear[k])):
                expr = conditions.compile(text, columns).expr
                theirs = frame.select(expr.cast(pl.Int8).fill_null(-1).alias("v"))["v"].to_numpy()
                assert np.array_equal(ours, theirs), (rule.id, text)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_row_does_not_depend_on_the_others(all_groups, n, seed):
    for group in all_groups:
        columns = columns_of(group, n, seed)
        when, clear = group.verdicts(columns, n)
        k = seed % n
        one = group.verdicts({name: c[k : k + 1] for name, c in columns.items()}, 1)
        assert np.array_equal(when[:, k : k + 1], one[0])
        assert np.array_equal(clear[:, k : k + 1], one[1])
