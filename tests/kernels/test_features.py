"""The dispatcher gives what the kernels give, and the catalogue describes it truly."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spot_series import DAY, ZONES, columns, later, readings, zone_arrays

from kernels import baseline, features, pattern, pressure, scores, sums, trends, windows
from kernels.news2 import ITEMS, news2

SCRATCH = np.empty(features.SCRATCH)
EVER = -(2**62)
PARAMETERS = {
    "min_points": 2, "short": 2, "long": 6, "exclude": 2, "floor": 0.4, "k": 0.25, "learn": 6, "length": 4.0,
    "max_step": 2.0, "within_min": 600, "per_day": 2, "morning_from": "04:00", "morning_to": "12:00",
    "evening_from": "12:00", "evening_to": "24:00", "daily": "mean", "side": "down", "from": "22:00", "to": "07:00",
}  # fmt: skip


def statistic(name):
    return features.STATISTICS[name]


def given_for(stat):
    return {p.name: PARAMETERS[p.name] for p in stat.parameters}


def together(several):
    """Series after each other with a gap, as a patient's row has them: t, v, lo, hi."""
    t, v, lo, hi = [7], [7], [], []
    for series in several:
        lo.append(len(t))
        t += [row[0] for row in series]
        v += [row[1] for row in series]
        hi.append(len(t))
        t.append(7)
        v.append(7)
    return np.array(t, np.int64), np.array(v, np.int32), np.array(lo, np.int32), np.array(hi, np.int32)


def evaluate(name, several, window, in_days, now, zone, limit=math.nan):
    stat = statistic(name)
    used = np.full(features.SERIES, -1, np.int32)
    used[: len(several)] = range(len(several))
    par = np.array(stat.pack(given_for(stat)))
    return features.evaluate(
        stat.op, used, window, in_days, par, limit, *together(several), now, *zone_arrays(zone), SCRATCH
    )


def direct(name, several, window, in_days, now, zone, limit):
    """The public kernel of each statistic, on plain arrays."""
    t, v = columns(several[0])
    zone_arrays_ = zone_arrays(zone)
    start = windows.window_start(now, window, in_days, *zone_arrays_)
    mean, down = 4.0, -1.0
    at_now = (t, v, now, window, in_days, *zone_arrays_)
    daily = (t, v, now, window)
    learn = (t, v, window, 2.0, 2.0, mean)
    halves = (240.0, 720.0, 720.0, 1440.0, *zone_arrays_)
    pairs = together(several)
    scored = np.array([windows.last(*columns(s), now, window, in_days, *zone_arrays_) for s in several])
    items = np.arange(len(several), dtype=np.int32)
    table = {
        "last": lambda: windows.last(*at_now),
        "age_h": lambda: windows.age_h(t, now),
        "hour": lambda: windows.hour(t, 0, len(t), *zone_arrays_),
        "count": lambda: windows.count(t, now, window, in_days, *zone_arrays_),
        "min": lambda: windows.minimum(*at_now),
        "max": lambda: windows.maximum(*at_now),
        "mean": lambda: windows.mean(*at_now),
        "median": lambda: windows.median(*at_now),
        "sd": lambda: windows.sd(*at_now),
        "sum": lambda: sums.total(*at_now[:5], 1320.0, 420.0, *zone_arrays_),
        "weighted_mean": lambda: sums.weighted_mean(*pairs, start, 1320.0, 420.0, limit, *zone_arrays_),
        "rise": lambda: trends.rise(t, v, window, in_days, *zone_arrays_),
        "change": lambda: trends.change(t, v, window, mean, *zone_arrays_),
        "drift": lambda: trends.drift(v, limit),
        "ema": lambda: trends.ema(*daily, 4.0, 2.0, mean, *zone_arrays_),
        "macd_simple": lambda: trends.macd_simple(t, v, now, 2.0, 6.0, 2.0, mean, *zone_arrays_),
        "macd_exponential": lambda: trends.macd_exponential(*daily, 2.0, 6.0, 2.0, mean, *zone_arrays_),
        "cusum": lambda: trends.cusum(*daily, 0.25, 6.0, 2.0, mean, down, *zone_arrays_),
        "slope": lambda: trends.slope(*daily, 2.0, mean, *zone_arrays_),
        "baseline": lambda: baseline.baseline(*learn, *zone_arrays_),
        "baseline_spread": lambda: baseline.baseline_spread(*learn, *zone_arrays_),
        "deviation": lambda: baseline.deviation(*learn, *zone_arrays_),
        "deviation_z": lambda: baseline.deviation_z(*learn, 0.4, *zone_arrays_),
        "out_of_pattern": lambda: pattern.newest_out(t, v, 0, len(t), 2000),
        "home_bp_223": lambda: pressure.home_bp_223(*daily, *halves),
        "home_bp_regle3": lambda: pressure.home_bp_regle3(*daily, *halves),
        "home_bp_7days": lambda: pressure.home_bp_7days(*daily, *halves),
        "pulse_pressure": lambda: pressure.pulse_pressure(*pairs, start),
        "mean_arterial": lambda: pressure.mean_arterial(*pairs, start),
        "orthostatic_systolic": lambda: pressure.orthostatic(*pairs, start, 36_000_000.0),
        "orthostatic_diastolic": lambda: pressure.orthostatic(*pairs, start, 36_000_000.0),
        "news2": lambda: news2(scored, limit)[0],
        "news2_at_least": lambda: news2(scored, limit)[1],
        "news2_missing": lambda: news2(scored, limit)[2],
        "news2_single": lambda: news2(scored, limit)[3],
        "adherence": lambda: scores.adherence(t, now, window, 2.0, *zone_arrays_),
        "score": lambda: scores.score(*pairs[:2], items, *pairs[2:], start),
    }
    return table[name]()


@pytest.mark.parametrize("name", sorted(features.STATISTICS))
@given(data=st.data())
@settings(max_examples=15)
def test_dispatcher_gives_what_the_kernel_gives(name, data):
    stat = statistic(name)
    n = stat.min_series if stat.min_series > 1 else data.draw(st.integers(1, min(3, stat.max_series)))
    several = [data.draw(readings(days=10, max_size=20)) for _ in range(n)]
    now = data.draw(later(max(several, key=lambda s: s[-1][0] if s else 0)))
    in_days = stat.days_only or data.draw(st.booleans())
    window = data.draw(st.integers(max(1, stat.min_days), 12)) * (1 if in_days else DAY // 2)
    zone = data.draw(st.sampled_from(ZONES))
    limit = data.draw(st.sampled_from((math.nan, 2.0, 80.5)))
    got = evaluate(name, several, window, in_days, now, zone, limit)
    np.testing.assert_equal(got, direct(name, several, window, in_days, now, zone, limit))


@pytest.mark.parametrize("name", sorted(features.STATISTICS))
def test_no_data_is_not_normal(name):
    got = evaluate(name, [[]] * statistic(name).min_series, 7, True, 20_000 * DAY, "Europe/Paris", 80.0)
    known = {
        "count": 0.0,
        "adherence": 0.0,
        "news2_missing": float(ITEMS),
    }  # counts are known without readings
    np.testing.assert_equal(got, known.get(name, math.nan))


def test_an_unknown_operation_or_no_series_is_undetermined():
    rows = together([[(20_000 * DAY, 80_000)]])
    par = np.full(features.PAR, np.nan)
    rest = (20_000 * DAY, *zone_arrays("UTC"), SCRATCH)
    first = np.zeros(features.SERIES, np.int32)
    for op in (-1, max(features.OPS.values()) + 1, 1000):
        assert np.isnan(features.evaluate(op, first, 0, False, par, np.nan, *rows, *rest))
    for op in features.OPS.values():
        assert np.isnan(features.evaluate(op, first - 1, 0, False, par, np.nan, *rows, *rest))


def test_operations_are_numbered_without_gap():
    assert sorted(features.OPS.values()) == list(range(len(features.OPS)))


@pytest.mark.parametrize("name", sorted(features.STATISTICS))
def test_catalogue_is_well_formed(name):
    stat = statistic(name)
    assert stat.name == name
    assert stat.unit in {"same", "per_day", "count", "hours", "1", "z"}
    assert stat.window in {"none", "optional", "required"}
    assert stat.limit in {"none", "optional", "required"}
    slots = [p.slot for p in stat.parameters]
    assert sorted(set(slots)) == sorted(slots)
    assert all(0 <= slot < features.PAR for slot in slots)
    packed = stat.pack(given_for(stat))
    assert len(packed) == features.PAR
    assert [not math.isnan(x) for x in packed] == [slot in slots for slot in range(features.PAR)]


def test_no_clinical_figure_has_a_default():
    whole_day = {("from", "00:00"), ("to", "24:00")}
    for stat in features.STATISTICS.values():
        for parameter in stat.parameters:
            free = parameter.kind == "choice" or (parameter.name, parameter.default) in whole_day
            assert parameter.default is None or free


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("slope", {}, "slope needs the parameter 'min_points'"),
        ("slope", {"min_pts": 5}, "slope has no parameter 'min_pts': legal are min_points, daily"),
        ("last", {"k": 1}, "last has no parameter 'k': legal are none"),
        ("slope", {"min_points": 5, "daily": "middle"}, "legal are first, last, min, max, mean"),
        ("slope", {"min_points": 1}, "legal is 2 to 240"),
        ("slope", {"min_points": 2.5}, "whole number"),
        ("slope", {"min_points": True}, "must be a number"),
        ("slope", {"min_points": math.nan}, "must be a number"),
        ("deviation_z", {"exclude": 1, "min_points": 5, "floor": 0}, "legal is 0.001 to inf"),
        ("home_bp_223", {"morning_from": "24:01"}, 'from "00:00" to "24:00"'),
        ("home_bp_223", {"morning_from": "4h"}, "local time"),
        ("home_bp_223", {"morning_from": 4}, "local time"),
        ("home_bp_223", {"morning_from": "²3:00"}, "local time"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said(name, parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        statistic(name).pack(parameters)


def test_reach_covers_learning_windows():
    assert statistic("rise").reach_days(3, {}) == 4
    assert statistic("cusum").reach_days(7, given_for(statistic("cusum"))) == 14
    assert statistic("macd_simple").reach_days(0, given_for(statistic("macd_simple"))) == 7
    assert statistic("deviation").reach_days(28, given_for(statistic("deviation"))) == 31


@pytest.mark.parametrize("name", sorted(n for n, s in features.STATISTICS.items() if s.max_series == 1))
@given(data=st.data(), zone=st.sampled_from(ZONES), series=readings(days=30, max_size=30))
@settings(max_examples=10)
def test_readings_beyond_the_reach_do_not_count(name, data, zone, series):
    stat = statistic(name)
    if not series or (stat.window == "none" and name != "macd_simple"):
        return
    window = data.draw(st.integers(max(1, stat.min_days), 9))
    reach = stat.reach_days(0 if stat.window == "none" else window, given_for(stat))
    newest = series[-1][0]
    near = [row for row in series if row[0] >= newest - reach * DAY - 3_600_000]
    np.testing.assert_equal(
        evaluate(name, [series], window, True, newest, zone, 80.0),
        evaluate(name, [near], window, True, newest, zone, 80.0),
    )
