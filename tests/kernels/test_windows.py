"""Statistics of a window equal the oracle on irregular series, across changes of clock."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spot_series import DAY, ZONES, agree, columns, later, readings, zone_arrays

from kernels import windows
from kernels.order import median_of

WINDOWS = st.one_of(
    st.tuples(st.just(0), st.booleans()),
    st.tuples(st.integers(1, 20), st.just(True)),
    st.tuples(st.sampled_from((1, DAY // 2, DAY, 3 * DAY, 3 * DAY + 1, 14 * DAY)), st.just(False)),
)


@pytest.mark.parametrize("name", ["last", "minimum", "maximum", "mean", "median", "sd"])
@given(data=st.data())
@settings(max_examples=60)
def test_equals_the_oracle(name, data):
    zone = data.draw(st.sampled_from(ZONES))
    series = data.draw(readings())
    now = data.draw(later(series))
    window, in_days = data.draw(WINDOWS)
    got = getattr(windows, name)(*columns(series), now, window, in_days, *zone_arrays(zone))
    expected = getattr(oracles, name)(oracles.in_window(series, now, window, in_days, zone))
    # One division of whole numbers at the end: the figure is the nearest double, but for the root of sd.
    assert agree(got, expected, 1e-9 if name == "sd" else 0)


@given(data=st.data())
@settings(max_examples=60)
def test_count_equals_the_oracle(data):
    zone = data.draw(st.sampled_from(ZONES))
    series = data.draw(readings())
    now = data.draw(later(series))
    window, in_days = data.draw(WINDOWS)
    t, _ = columns(series)
    assert windows.count(t, now, window, in_days, *zone_arrays(zone)) == len(
        oracles.in_window(series, now, window, in_days, zone)
    )


def test_age():
    t = np.array([5 * DAY], np.int64)
    assert windows.age_h(t, 6 * DAY + 1_800_000) == 24.5
    assert np.isnan(windows.age_h(t[:0], 6 * DAY))


@given(data=st.data())
@settings(max_examples=60)
def test_the_hour_is_that_of_the_clock_on_the_wall(data):
    zone = data.draw(st.sampled_from(ZONES))
    series = data.draw(readings())
    t, _ = columns(series)
    got = windows.hour(t, 0, len(t), *zone_arrays(zone))
    if not series:
        assert np.isnan(got)
        return
    wall = datetime.fromtimestamp(series[-1][0] / 1000, tz=ZoneInfo(zone))
    assert got == (60 * wall.hour + wall.minute) / 60


def test_a_daily_reading_at_one_hour_is_counted_three_times_in_72_hours():
    t = np.arange(10, dtype=np.int64) * DAY + 20_000 * DAY
    assert windows.count(t, int(t[-1]), 3 * DAY, False, *zone_arrays("Europe/Paris")) == 3


def test_the_mean_is_the_nearest_double():
    t = np.arange(3, dtype=np.int64) + 20_000 * DAY
    v = np.array([82_400, 82_600, 82_500], np.int32)
    assert windows.mean(t, v, int(t[-1]), 0, False, *zone_arrays("UTC")) == 82.5


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=300))
def test_median_of_any_order_and_many_ties(values):
    x = np.array(values, float)
    assert median_of(x, len(x), np.full(2 * len(x), np.nan)) == np.median(values)
    assert x.tolist() == values
