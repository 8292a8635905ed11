"""Trends equal the oracle on irregular series, and the figures that one can work out by hand."""

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spot_series import DAY, ZONES, agree, columns, later, readings, zone_arrays

from kernels import trends
from kernels.catalogue import DAILY, SIDES

HOW = st.sampled_from(sorted(DAILY))
PARIS = zone_arrays("Europe/Paris")
NOON = 20_000 * DAY + DAY // 2


def daily(*values):
    """One reading a day at noon UTC, None for none; (t, v, now)."""
    rows = [(NOON + k * DAY, round(x * 1000)) for k, x in enumerate(values) if x is not None]
    return *columns(rows), NOON + (len(values) - 1) * DAY


@given(data=st.data(), zone=st.sampled_from(ZONES), series=readings())
@settings(max_examples=60)
def test_rise_equals_the_oracle(data, zone, series):
    window, in_days = data.draw(
        st.one_of(
            st.tuples(st.integers(1, 10), st.just(True)),
            st.tuples(st.sampled_from((1, DAY, 3 * DAY)), st.just(False)),
        )
    )
    got = trends.rise(*columns(series), window, in_days, *zone_arrays(zone))
    assert agree(got, oracles.rise(series, window, in_days, zone), 0)


@given(series=readings(), zone=st.sampled_from(ZONES), days=st.integers(1, 10), how=HOW)
@settings(max_examples=60)
def test_change_equals_the_oracle(series, zone, days, how):
    got = trends.change(*columns(series), days, DAILY[how], *zone_arrays(zone))
    assert agree(got, oracles.change(series, days, how, zone))


@given(series=readings(max_size=3), limit=st.integers(790, 830))
def test_drift_is_exact(series, limit):
    got = trends.drift(columns(series)[1], limit / 10)
    assert agree(got, oracles.drift(series, round(limit / 10, 1)), 0)


@given(data=st.data(), series=readings(), zone=st.sampled_from(ZONES), window=st.integers(1, 20), how=HOW)
@settings(max_examples=60)
def test_ema_equals_the_oracle(data, series, zone, window, how):
    now = data.draw(later(series))
    length = data.draw(st.sampled_from((1, 2, 7, 14.5)))
    points = data.draw(st.integers(1, 5))
    got = trends.ema(*columns(series), now, window, length, points, DAILY[how], *zone_arrays(zone))
    assert agree(got, oracles.ema(series, now, window, length, points, how, zone))


@given(data=st.data(), series=readings(), zone=st.sampled_from(ZONES), how=HOW)
@settings(max_examples=60)
def test_macd_equals_the_oracle(data, series, zone, how):
    now = data.draw(later(series))
    short = data.draw(st.integers(1, 6))
    long = short + data.draw(st.integers(1, 10))
    points = data.draw(st.integers(1, 5))
    zone_t, zone_off = zone_arrays(zone)
    got = trends.macd_simple(*columns(series), now, short, long, points, DAILY[how], zone_t, zone_off)
    assert agree(got, oracles.macd_simple(series, now, short, long, points, how, zone))
    got = trends.macd_exponential(
        *columns(series), now, 20, short, long, points, DAILY[how], zone_t, zone_off
    )
    assert agree(got, oracles.macd_exponential(series, now, 20, short, long, points, how, zone), 1e-11)


@given(
    data=st.data(),
    series=readings(),
    zone=st.sampled_from(ZONES),
    how=HOW,
    side=st.sampled_from(sorted(SIDES)),
)
@settings(max_examples=60)
def test_cusum_equals_the_oracle(data, series, zone, how, side):
    now = data.draw(later(series))
    window, learn, points = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 12), st.integers(1, 3)))
    k = data.draw(st.sampled_from((0, 0.25, 1.5)))
    got = trends.cusum(
        *columns(series), now, window, k, learn, points, DAILY[how], SIDES[side], *zone_arrays(zone)
    )
    assert agree(got, oracles.cusum(series, now, window, k, learn, points, how, side, zone))


@given(data=st.data(), series=readings(), zone=st.sampled_from(ZONES), how=HOW)
@settings(max_examples=60)
def test_slope_equals_the_oracle(data, series, zone, how):
    now = data.draw(later(series))
    window, points = data.draw(st.tuples(st.integers(2, 20), st.integers(2, 6)))
    got = trends.slope(*columns(series), now, window, points, DAILY[how], *zone_arrays(zone))
    assert agree(got, oracles.slope(series, now, window, points, how, zone))


@pytest.mark.parametrize(
    ("weights", "k", "expected"),
    [
        ((80.0, 81.36), 1, 1.36),  # RoT-1: 3 lb in a day
        ((80.0, 80.5, 81.0, 82.27), 3, 2.27),  # RoT-2: 5 lb in 3 days
        ((79.0, 80.0, 80.5, 81.0, 82.0), 3, 2.0),  # ESC; what is older than 3 days does not count
        ((80.0, None, None, 82.0), 3, 2.0),
        ((80.0, None, None, None, 82.0), 3, None),  # no reading to compare with: undetermined
        ((82.0,), 3, None),
    ],
)
def test_rule_of_thumb(weights, k, expected):
    t, v, _ = daily(*weights)
    assert agree(trends.rise(t, v, k, True, *PARIS), expected, 0)


def test_rise_by_hours_includes_the_reading_a_whole_window_before():
    t, v, _ = daily(80.0, 81.0, 81.5, 82.5)
    assert trends.rise(t, v, 3 * DAY, False, *PARIS) == 2.5
    assert trends.rise(t, v, 3 * DAY - 1, False, *PARIS) == 1.5


def test_change_is_by_date_and_not_by_reading():
    t, v, _ = daily(80.0, None, 81.0, 83.0)
    assert np.isnan(trends.change(t, v, 2, 1.0, *PARIS))
    assert trends.change(t, v, 3, 1.0, *PARIS) == 3.0


def test_ema_of_daily_values_nears_the_recursion():
    values = [80 + 0.1 * (k % 5) for k in range(200)]
    t, v, now = daily(*values)
    m = values[0]
    for w in values[1:]:
        m += (w - m) * 2 / 8
    assert trends.ema(t, v, now, 200, 7.0, 1, 1.0, *PARIS) == pytest.approx(m, abs=1e-9)


def test_macd_by_hand():
    t, v, now = daily(80.0, 80.0, 80.0, 82.0)
    assert trends.macd_simple(t, v, now, 1.0, 4.0, 4, 1.0, *PARIS) == 1.5
    assert np.isnan(trends.macd_simple(t, v, now, 1.0, 4.0, 5, 1.0, *PARIS))
    assert np.isnan(trends.macd_simple(t, v, now + 2 * DAY, 2.0, 6.0, 2, 1.0, *PARIS))


def test_cusum_by_hand():
    # Centre 80; excess over 0.25: 0.75, then 1.5, then less, never under 0.
    t, v, now = daily(80.0, 80.0, 80.0, 81.0, 81.0, 79.0, 82.0)
    args = (3, 3, 1.0, 1.0, *PARIS)  # learn, min_points, last, up
    assert trends.cusum(t, v, now, 4, 0.25, *args) == pytest.approx(0.25 + 1.75)
    assert trends.cusum(t[:5], v[:5], now - 2 * DAY, 2, 0.25, *args) == pytest.approx(1.5)
    assert trends.cusum(t, v, now, 4, 0.25, 3, 3, 1.0, -1.0, *PARIS) == 0.0


def test_slope_bears_an_outlier():
    t, v, now = daily(*[80 + 0.2 * k + (9 if k == 5 else 0) for k in range(10)])
    assert trends.slope(t, v, now, 10, 5, 1.0, *PARIS) == pytest.approx(0.2)
    assert np.isnan(trends.slope(t, v, now, 4, 5, 1.0, *PARIS))


def test_the_longest_slope_fits_and_a_longer_one_is_undetermined():
    t, v, now = daily(*[80 + 0.01 * k for k in range(100)])
    assert trends.slope(t, v, now, 60, 5, 1.0, *PARIS) == pytest.approx(0.01)
    assert trends.slope(t, v, now, 72, 5, 1.0, *PARIS) == pytest.approx(0.01)
    assert np.isnan(trends.slope(t, v, now, 73, 5, 1.0, *PARIS))
