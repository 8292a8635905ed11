"""NEWS2 at every cut-point of the chart of the Royal College of Physicians (2017)."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.news2 import news2

# As the chart prints it: (from, to, score), both ends included; ends are the chart's own figures.
CHART = {
    "respiratory_rate": ((3, 8, 3), (9, 11, 1), (12, 20, 0), (21, 24, 2), (25, 70, 3)),
    "spo2_scale1": ((40, 91, 3), (92, 93, 2), (94, 95, 1), (96, 100, 0)),
    "spo2_scale2_air": ((40, 83, 3), (84, 85, 2), (86, 87, 1), (88, 100, 0)),
    "spo2_scale2_oxygen": (
        (40, 83, 3),
        (84, 85, 2),
        (86, 87, 1),
        (88, 92, 0),
        (93, 94, 1),
        (95, 96, 2),
        (97, 100, 3),
    ),
    "systolic": ((40, 90, 3), (91, 100, 2), (101, 110, 1), (111, 219, 0), (220, 300, 3)),
    "pulse": ((20, 40, 3), (41, 50, 1), (51, 90, 0), (91, 110, 1), (111, 130, 2), (131, 300, 3)),
    "temperature": ((30.0, 35.0, 3), (35.1, 36.0, 1), (36.1, 38.0, 0), (38.1, 39.0, 1), (39.1, 43.0, 2)),
}
PLACE = {"respiratory_rate": 0, "systolic": 3, "pulse": 4, "temperature": 6}
# Respiratory rate, SpO2, oxygen, systolic, pulse, consciousness, temperature: all score 0 on scale 1.
WELL = (16.0, 98.0, 0.0, 120.0, 70.0, 0.0, 37.0)


def total(changes, scale=1.0):
    values = np.array(WELL)
    for place, value in changes.items():
        values[place] = value
    return news2(values, scale)


def rows(name):
    step = 0.1 if name == "temperature" else 1
    for low, high, score in CHART[name]:
        for k in range(round((high - low) / step) + 1):
            yield round(low + k * step, 1), score


@pytest.mark.parametrize("name", sorted(PLACE))
def test_every_value_of_the_chart(name):
    for value, score in rows(name):
        assert total({PLACE[name]: value}) == (score, score, 0, score), value


def test_chart_has_no_gap():
    for name, table in CHART.items():
        step = 0.1 if name == "temperature" else 1
        for (_, high, _), (low, _, _) in itertools.pairwise(table):
            assert low == pytest.approx(high + step)


def test_spo2_scale_1_on_air_and_on_oxygen():
    for value, score in rows("spo2_scale1"):
        assert total({1: value})[0] == score, value
        assert total({1: value, 2: 1})[0] == score + 2, value


def test_spo2_scale_2_only_where_it_is_set():
    for value, score in rows("spo2_scale2_air"):
        assert total({1: value}, 2.0)[0] == score, value
    for value, score in rows("spo2_scale2_oxygen"):
        assert total({1: value, 2: 1}, 2.0)[0] == score + 2, value
    for scale in (np.nan, 0.0, 1.0, 3.0):
        assert total({1: 90}, scale)[0] == 3


def test_oxygen_and_consciousness():
    assert total({2: 1}) == (2, 2, 0, 2)
    assert total({5: 1}) == (3, 3, 0, 3)


def test_the_worst_is_20():
    assert news2(np.array([25.0, 91.0, 1.0, 90.0, 131.0, 1.0, 35.0]), 1.0) == (20, 20, 0, 3)


def test_readings_are_rounded_to_what_the_chart_distinguishes():
    assert total({3: 90.4})[0] == 3  # 90 on the display
    assert total({3: 90.5})[0] == 2
    assert total({6: 35.04})[0] == 3
    assert total({6: 35.05})[0] == 1
    assert total({1: 95.5})[0] == 0


@given(
    missing=st.sets(st.integers(0, 6)),
    values=st.tuples(
        st.integers(3, 70), st.integers(40, 100), st.integers(0, 1), st.integers(40, 300),
        st.integers(20, 300), st.integers(0, 1), st.integers(300, 430).map(lambda x: x / 10),
    ),
    scale=st.sampled_from((1.0, 2.0)),
)  # fmt: skip
def test_missing_is_never_scored_0(missing, values, scale):
    whole = news2(np.array(values, float), scale)
    given_values = np.array([np.nan if i in missing else x for i, x in enumerate(values)])
    total_, at_least, count, single = news2(given_values, scale)
    assert count == len(missing)
    if not missing:
        assert (total_, at_least, count, single) == whole
        return
    assert np.isnan(total_)
    assert np.isnan(at_least) == (count == 7)
    assert not at_least > whole[0]
    assert np.isnan(single) or single == whole[3] == 3


def test_scale_2_without_knowing_of_oxygen():
    # 88 to 92 scores 0 either way; 95 depends on the oxygen, so only what is certain is counted.
    assert total({1: 90, 2: np.nan}, 2.0)[1:3] == (0, 1)
    assert total({1: 95, 2: np.nan}, 2.0)[1:3] == (0, 1)
    assert np.isnan(total({1: 95, 2: np.nan}, 2.0)[0])
