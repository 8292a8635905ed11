"""Sums and weighted means equal the oracle, and nothing is not zero."""

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spot_series import DAY, ZONES, agree, columns, later, readings, zone_arrays

from kernels import sums
from kernels.windows import window_start

HOUR = 3_600_000
PARTS = st.sampled_from([(0, 1440), (1320, 420), (420, 1320), (0, 60), (600, 600)])
PARIS = zone_arrays("Europe/Paris")


def both(values, weights):
    rows = [*values, *weights]
    n = len(values)
    return *columns(rows), np.array([0, n], np.int32), np.array([n, len(rows)], np.int32)


@given(data=st.data())
@settings(max_examples=150)
def test_equal_the_oracle(data):
    zone = data.draw(st.sampled_from(ZONES))
    values = data.draw(readings(low=0, high=4))
    weights = sorted(data.draw(st.lists(st.sampled_from(values), unique=True)) if values else [])
    weights = sorted((t, data.draw(st.integers(0, 3))) for t, _ in weights)
    now = data.draw(later(values))
    window, in_days = data.draw(st.sampled_from([(0, False), (DAY, False), (3 * DAY, False), (3, True)]))
    begins, ends = data.draw(PARTS)
    least = data.draw(st.sampled_from([0.0, 0.003, 0.02]))
    rules = zone_arrays(zone)
    seen = oracles.in_window(values, now, window, in_days, zone)
    got = sums.total(*columns(values), now, window, in_days, begins, ends, *rules)
    assert agree(got, oracles.total(seen, begins, ends, zone))
    start = window_start(now, window, in_days, *rules)
    got = sums.weighted_mean(*both(values, weights), start, begins, ends, least, *rules)
    weighed = oracles.in_window(weights, now, window, in_days, zone)
    assert agree(got, oracles.weighted_mean(seen, weighed, begins, ends, least, zone))


def test_a_short_hour_counts_with_its_weight():
    values, weights = [(HOUR, 10_000), (2 * HOUR, 40_000)], [(HOUR, 3_600_000), (2 * HOUR, 1_200_000)]
    assert sums.weighted_mean(*both(values, weights), 0, 0.0, 1440.0, 0.0, *PARIS) == 17.5


def test_two_leads_of_one_hour_are_one_hour():
    values, weights = [(HOUR, 10_000), (HOUR, 20_000)], [(HOUR, 60_000)]
    assert sums.weighted_mean(*both(values, weights), 0, 0.0, 1440.0, 0.0, *PARIS) == 15.0
    t, v = columns([(HOUR, 58_000), (HOUR, 60_000), (2 * HOUR, 60_000)])
    assert sums.total(t, v, 3 * HOUR, 0, False, 0.0, 1440.0, *PARIS) == 119.0


def test_a_value_without_weight_says_nothing():
    for values, weights in (
        ([(HOUR, 1)], []),
        ([], [(HOUR, 1)]),
        ([(HOUR, 1)], [(HOUR, 0)]),
        ([(HOUR, 1)], [(7, 1)]),
    ):
        assert np.isnan(sums.weighted_mean(*both(values, weights), 0, 0.0, 1440.0, 0.0, *PARIS))


@pytest.mark.parametrize(("least", "enough"), [(120.0, True), (120.1, False), (np.nan, False)])
def test_too_little_weight_says_nothing(least, enough):
    rows = both([(HOUR, 10_000), (2 * HOUR, 40_000)], [(HOUR, 60_000), (2 * HOUR, 60_000)])
    got = sums.weighted_mean(*rows, 0, 0.0, 1440.0, least, *PARIS)
    assert (got == 25.0) is enough
    assert np.isnan(got) is not enough


@pytest.mark.parametrize(("hour", "night"), [(22, False), (23, True), (0, True), (7, True), (8, False)])
def test_an_hour_is_of_the_night_in_which_it_ended(hour, night):
    t = 20_470 * DAY + (hour - 1) * HOUR  # Paris in winter
    got = sums.total(*columns([(t, 1000)]), t, 0, False, 1320.0, 420.0, *PARIS)
    assert (got == 1.0) is night
    assert np.isnan(got) is not night
