"""Personal baselines, and readings out of pattern."""

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spot_series import DAY, ZONES, agree, columns, readings, zone_arrays

from kernels import baseline, pattern
from kernels.catalogue import DAILY

PARIS = zone_arrays("Europe/Paris")


@pytest.mark.parametrize("name", ["baseline", "baseline_spread", "deviation", "deviation_z"])
@given(data=st.data())
@settings(max_examples=60)
def test_equals_the_oracle(name, data):
    zone = data.draw(st.sampled_from(ZONES))
    series = data.draw(readings(days=25, max_size=60))
    how = data.draw(st.sampled_from(sorted(DAILY)))
    window, exclude, points = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 5), st.integers(1, 6)))
    floor = (0.4,) if name == "deviation_z" else ()
    got = getattr(baseline, name)(
        *columns(series), window, exclude, points, DAILY[how], *floor, *zone_arrays(zone)
    )
    assert agree(got, getattr(oracles, name)(series, window, exclude, points, how, *floor, zone))


def test_a_baseline_bears_almost_half_of_its_dates_being_wrong():
    weights = [80.0, 80.2, 95.0, 80.1, 95.0, 80.0, 95.0, 80.2, 95.0, 82.3]
    t, v = columns([(20_000 * DAY + k * DAY, round(1000 * w)) for k, w in enumerate(weights)])
    assert baseline.baseline(t, v, 9, 1, 5, 1.0, *PARIS) == 80.2
    assert baseline.deviation(t, v, 9, 1, 5, 1.0, *PARIS) == 2.1


def test_a_baseline_from_too_few_dates_is_undetermined():
    t, v = columns([(20_000 * DAY + k * DAY, 80_000) for k in range(5)])
    assert baseline.baseline(t, v, 9, 1, 4, 1.0, *PARIS) == 80.0
    assert np.isnan(baseline.baseline(t, v, 9, 1, 5, 1.0, *PARIS))
    assert np.isnan(baseline.deviation_z(t, v, 9, 1, 5, 1.0, 0.4, *PARIS))


def test_the_floor_is_the_least_spread():
    t, v = columns([(20_000 * DAY + k * DAY, 80_000 + 1000 * (k == 9)) for k in range(10)])
    assert baseline.deviation_z(t, v, 9, 1, 5, 1.0, 0.5, *PARIS) == 2.0


@given(series=readings(low=50_000, high=95_000), step=st.integers(1, 12_000), before=st.integers(0, 3))
def test_pattern_equals_the_oracle(series, step, before):
    t, v = columns([(0, 1)] * before + series)
    t_out, v_out = np.zeros(len(t) + 1, np.int64), np.zeros(len(t) + 1, np.int32)
    n = pattern.clean(t, v, before, len(t), step, t_out, v_out)
    kept = oracles.in_pattern(series, step)
    assert list(zip(t_out[:n].tolist(), v_out[:n].tolist(), strict=True)) == kept
    out = pattern.newest_out(t, v, before, len(t), step)
    assert agree(out, float(not (kept and kept[-1] == series[-1])) if series else None)


@given(series=readings(low=50_000, high=95_000), step=st.integers(1, 12_000))
def test_what_is_clean_stays(series, step):
    t, v = columns(oracles.in_pattern(series, step))
    assert pattern.clean(t, v, 0, len(t), step, t.copy(), v.copy()) == len(t)


def test_another_person_on_the_scale():
    t = np.array([0, 1, 2, 3], np.int64) * DAY
    v = np.array([80_000, 85_000, 62_000, 85_500], np.int32)
    assert pattern.newest_out(t, v, 0, 2, 5000) == 0.0  # 5 kg in a day is in pattern, more is not
    assert pattern.newest_out(t, v, 0, 3, 5000) == 1.0
    assert pattern.newest_out(t, v, 0, 4, 5000) == 0.0
