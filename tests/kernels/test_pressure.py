"""Home blood pressure by its protocols, and pairs of pressures."""

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spot_series import DAY, HALF_HOUR, ZONES, agree, columns, later, readings, zone_arrays

from kernels import pressure

HALVES = ((4 * 60, 12 * 60), (17 * 60, 24 * 60))
BOUNDS = (240.0, 720.0, 1020.0, 1440.0)
PARIS = zone_arrays("Europe/Paris")
MIDNIGHT = 20_470 * DAY - 3_600_000  # local, in winter
PROTOCOLS = {"223": pressure.home_bp_223, "regle3": pressure.home_bp_regle3, "7days": pressure.home_bp_7days}


def days(*counts):
    """Readings of 120, 121 ... from 08:00 and 130, 131 ... from 20:00, as many as `counts` says for each date."""
    rows = [
        (MIDNIGHT + k * DAY + hour * 3_600_000 + 60_000 * i, 1000 * (first + i))
        for k, halves in enumerate(counts)
        for n, hour, first in zip(halves, (8, 20), (120, 130), strict=True)
        for i in range(n)
    ]
    return *columns(rows), MIDNIGHT + len(counts) * DAY - 3_600_000


@st.composite
def diligent(draw):
    """Mostly complete mornings and evenings, so that runs are sufficient often enough."""
    start = draw(st.sampled_from((1_742_860_800_000, 1_761_004_800_000, 1_780_000_000_000 // DAY * DAY)))
    readings_a_half = st.sampled_from((0, 1, 2, 2, 2, 3, 3, 3, 4))
    dates = draw(st.integers(1, 12))
    counts = draw(st.lists(readings_a_half, min_size=2 * dates, max_size=2 * dates))
    rows = [
        (start + half * DAY // 2 + DAY // 4 + i * 60_000, draw(st.integers(90_000, 190_000)))
        for half, n in enumerate(counts)
        for i in range(n)
    ]
    return sorted(rows)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@given(data=st.data())
@settings(max_examples=60)
def test_equals_the_oracle(protocol, data):
    zone = data.draw(st.sampled_from(ZONES))
    series = data.draw(st.one_of(diligent(), diligent(), readings(max_size=60)))
    now = data.draw(later(series))
    window = data.draw(st.integers(1, 14))
    got = PROTOCOLS[protocol](*columns(series), now, window, *BOUNDS, *zone_arrays(zone))
    assert agree(got, oracles.home_bp(series, now, window, protocol, HALVES, zone), 0)


def test_2_2_3():
    t, v, now = days((2, 2), (2, 2), (2, 2))
    assert pressure.home_bp_223(t, v, now, 3, *BOUNDS, *PARIS) == (120.5 + 130.5) / 2
    assert np.isnan(pressure.home_bp_223(t[:-1], v[:-1], now, 3, *BOUNDS, *PARIS))
    assert np.isnan(pressure.home_bp_223(t, v, now + 2 * DAY, 3, *BOUNDS, *PARIS))
    assert pressure.home_bp_223(t, v, now + 2 * DAY, 5, *BOUNDS, *PARIS) == 125.5


def test_a_third_reading_does_not_count_in_2_2_3():
    t, v, now = days((3, 3), (3, 3), (3, 3))
    assert pressure.home_bp_223(t, v, now, 3, *BOUNDS, *PARIS) == 125.5
    assert pressure.home_bp_regle3(t, v, now, 3, *BOUNDS, *PARIS) == 126.0


def test_regle_des_3_with_17_readings_is_insufficient():
    t, v, now = days((3, 3), (3, 3), (3, 2))
    assert np.isnan(pressure.home_bp_regle3(t, v, now, 7, *BOUNDS, *PARIS))


def test_seven_days_discards_the_first_and_needs_twelve_on_four_dates():
    t, v, now = days((2, 2), (2, 2), (2, 2), (2, 2))
    high = v.copy()
    high[:4] = 300_000  # the first date does not count
    assert pressure.home_bp_7days(t, high, now, 7, *BOUNDS, *PARIS) == 125.5
    assert np.isnan(pressure.home_bp_7days(t[1:-1], v[1:-1], now, 7, *BOUNDS, *PARIS))
    t, v, now = days((2, 2), (2, 2), (2, 2))
    assert np.isnan(pressure.home_bp_7days(t, v, now, 7, *BOUNDS, *PARIS))


def test_readings_outside_morning_and_evening_do_not_count():
    t, v, now = days((2, 2), (2, 2), (2, 2))
    noon = t + 5 * 3_600_000  # 13:00 and 01:00
    assert np.isnan(pressure.home_bp_223(noon, v, now + DAY, 7, *BOUNDS, *PARIS))


@given(first=readings(days=2), second=readings(days=2), back=st.sampled_from((None, DAY)))
@settings(max_examples=60)
def test_pairs_of_one_moment(first, second, back):
    t, v = columns(first + second)
    lo, hi = np.array([0, len(first)]), np.array([len(first), len(t)])
    start = -(2**62) if back is None else max((row[0] for row in first + second), default=0) - back
    pair = oracles.same_moment(*([row for row in s if row[0] >= start] for s in (first, second)))
    assert agree(pressure.pulse_pressure(t, v, lo, hi, start), pair and (pair[0] - pair[1]) / 1000, 0)
    assert agree(pressure.mean_arterial(t, v, lo, hi, start), pair and (pair[0] + 2 * pair[1]) / 3000, 0)


@given(
    seated=readings(days=1), standing=readings(days=1), within=st.sampled_from((0, 180_000, HALF_HOUR, DAY))
)
def test_orthostatic_fall_equals_the_oracle(seated, standing, within):
    t, v = columns(seated + standing)
    lo, hi = np.array([0, len(seated)]), np.array([len(seated), len(t)])
    got = pressure.orthostatic(t, v, lo, hi, -(2**62), float(within))
    assert agree(got, oracles.orthostatic(seated, standing, within), 0)


def test_orthostatic_fall_by_hand():
    t = np.array([0, 180_000], np.int64) + MIDNIGHT
    v = np.array([130_000, 108_000], np.int32)
    lo, hi = np.array([0, 1]), np.array([1, 2])
    assert pressure.orthostatic(t, v, lo, hi, 0, 180_000.0) == 22.0
    assert np.isnan(pressure.orthostatic(t, v, lo, hi, 0, 179_999.0))
