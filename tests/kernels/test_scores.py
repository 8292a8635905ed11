"""Adherence and questionnaire scores."""

import numpy as np
import oracles
from hypothesis import given
from hypothesis import strategies as st
from spot_series import ZONES, agree, columns, later, readings, zone_arrays

from kernels import scores


@given(
    data=st.data(),
    series=readings(),
    zone=st.sampled_from(ZONES),
    window=st.integers(1, 20),
    per_day=st.integers(1, 3),
)
def test_adherence_equals_the_oracle(data, series, zone, window, per_day):
    now = data.draw(later(series))
    got = scores.adherence(columns(series)[0], now, window, float(per_day), *zone_arrays(zone))
    assert agree(got, oracles.adherence(series, now, window, per_day, zone))


def test_score_is_the_sum_of_the_newest_answers_and_undetermined_without_one():
    t = np.array([10, 20, 15, 5], np.int64)
    v = np.array([1000, 3000, 2000, 1000], np.int32)
    lo, hi = np.array([0, 2, 3], np.int32), np.array([2, 3, 4], np.int32)

    def score(*items, start=0):
        return scores.score(t, v, np.array([*items, -1], np.int32), lo, hi, start)

    assert score(0, 1, 2) == 6.0
    assert score(0, 1) == 5.0
    assert score(0, 1, start=15) == 5.0
    assert np.isnan(score(0, 1, start=16))
    assert np.isnan(scores.score(t, v, np.array([0, 1], np.int32), lo, lo, 0))
