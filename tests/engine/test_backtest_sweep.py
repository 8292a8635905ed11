"""Sweeps: what is tried, which settings nothing beats, and a choice judged on patients that it has not seen."""

import numpy as np
import pytest

from engine.backtest_measures import PerPatient
from engine.backtest_sweep import parse_sweep, settings, sweep


def counts(alerts, caught, outcomes):
    n = len(alerts)
    columns = {
        "days": np.full(n, 100.0),
        "judged_days": np.full(n, 100.0),
        "alerts": alerts,
        "outcomes": outcomes,
        "caught": caught,
    }
    columns |= {"true": caught, "followed": alerts}
    return PerPatient(**{name: np.asarray(value, np.float64) for name, value in columns.items()})


def test_both_ends_are_tried_and_decimal_steps_add_up():
    assert parse_sweep("gain=1:2:0.25") == ("gain", [1.0, 1.25, 1.5, 1.75, 2.0])
    assert parse_sweep("a.b=0:0.3:0.1") == ("a.b", [0.0, 0.1, 0.2, 0.3])
    assert parse_sweep("a=2:2:1") == ("a", [2.0])


@pytest.mark.parametrize(
    "text", ["gain", "gain=1", "gain=1:2", "gain=2:1:1", "gain=1:2:0", "=1:2:1", "g=1:nan:1"]
)
def test_what_is_no_sweep_is_refused(text):
    with pytest.raises(ValueError, match="LIMIT=FROM:TO:STEP"):
        parse_sweep(text)


def test_too_much_is_refused():
    with pytest.raises(ValueError, match="1001 values; legal are at most 64"):
        parse_sweep("gain=0:1000:1")
    with pytest.raises(ValueError, match="one or two different limits"):
        list(settings([("a", [1.0]), ("a", [2.0])]))
    with pytest.raises(ValueError, match="one or two different limits"):
        list(settings([("a", [1.0]), ("b", [2.0]), ("c", [2.0])]))
    many = [float(k) for k in range(60)]
    with pytest.raises(ValueError, match="3600 settings in all: legal are at most 400"):
        list(settings([("a", many), ("b", many)]))


def test_points_that_nothing_beats():
    n = 100
    outcomes = np.ones(n)
    table = {1.0: (9, 90), 2.0: (5, 80), 3.0: (6, 80), 4.0: (3, 40), 5.0: (4, 30)}

    def judged(limits):
        alerts, caught = table[limits["x"]]
        return counts(np.full(n, float(alerts)), np.arange(n) < caught, outcomes)

    found = sweep([("x", list(table))], judged({"x": 2.0}), judged)
    assert [p.pareto for p in found.points] == [True, True, False, True, False]
    assert [p.sensitivity for p in found.points] == [0.9, 0.8, 0.8, 0.4, 0.3]
    assert found.warning == ""
    assert found.choice is not None
    assert found.choice.on_all == {"x": 2.0}  # 1.0 catches more and costs more than the base
    assert found.choice.sensitivity == 0.8


def test_a_limit_tuned_on_noise_is_shown_to_be_worth_nothing():
    """Settings that catch at random: the best of them looks better than it is, cross-validation says so."""
    rng = np.random.default_rng(3)
    n = 200
    outcomes = np.ones(n)
    caught = {k: rng.random(n) < 0.5 for k in range(60)}

    def judged(limits):
        return counts(np.full(n, 3.0), caught[int(limits["x"])], outcomes)

    found = sweep([("x", [float(k) for k in caught])], judged({"x": 0.0}), judged)
    assert found.choice is not None
    assert found.choice.sensitivity > 0.56
    assert found.choice.held_out_sensitivity < found.choice.sensitivity - 0.03


def test_few_outcomes_are_warned_about():
    few = counts(np.ones(30), np.arange(30) < 3, np.arange(30) < 10)
    assert "10 outcomes are too few" in sweep([("x", [1.0])], few, lambda _: few).warning
    none = counts(np.ones(30), np.zeros(30), np.zeros(30))
    found = sweep([("x", [1.0])], none, lambda _: none)
    assert "no outcome is known" in found.warning
    assert found.choice is None
    assert found.points[0].sensitivity is None
