"""Stable periods, centres and spreads, against the same said slowly in plain Python."""

import statistics
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.personal import Learning
from engine.personal_learn import Cut, centre_and_spread, stable_periods

VALUE = st.integers(40_000, 250_000).map(lambda milli: milli / 1000)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), VALUE), min_size=1, max_size=12), min_size=1, max_size=4)
)
def test_centre_and_spread_are_median_and_mad(patients):
    rows = pl.DataFrame(
        [(n, int(day >= 3), day, value) for n, each in enumerate(patients) for day, value in each],
        schema={"patient": pl.Int64, "half": pl.Int8, "day": pl.Int64, "value": pl.Float64},
        orient="row",
    )
    found = centre_and_spread(rows, 0.1)
    assert found["patient"].to_list() == list(range(len(patients)))
    for row, each in zip(found.iter_rows(named=True), patients, strict=True):
        values = [value for _, value in each]
        centre = statistics.median(values)
        assert row["centre"] == pytest.approx(centre, abs=1e-9)
        spread = 1.4826 * statistics.median(abs(value - centre) for value in values)
        assert row["spread"] == pytest.approx(max(spread, 0.1), abs=1e-9)
        assert (row["readings"], row["days"]) == (len(each), len({day for day, _ in each}))
        halves = [[v for d, v in each if (d >= 3) is late] for late in (False, True)]
        if all(halves):
            assert row["shift"] == pytest.approx(
                abs(statistics.median(halves[1]) - statistics.median(halves[0]))
            )
        else:
            assert row["shift"] is None


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=9, max_size=9), min_size=1, max_size=3
    ),
    st.integers(2, 10),
    st.integers(2, 8),
    st.integers(2, 4),
)
def test_the_stable_period_is_the_newest_that_a_search_day_by_day_finds(patients, days, least, on_days):
    learning = Learning(stable_days=days, min_readings=least, min_days=min(on_days, days))
    count = np.array([[n for n, _ in each] for each in patients], np.int64)
    disturbed = np.array([[bad for _, bad in each] for each in patients])
    first, status = stable_periods(count, disturbed, learning)
    for p in range(len(patients)):
        enough, stable = [], []
        for start in range(9 - days + 1):
            here = slice(start, start + days)
            on = sum(n > 0 for n in count[p, here])
            if sum(count[p, here]) >= learning.min_readings and on >= learning.min_days:
                enough.append(start)
                if not any(disturbed[p, here]):
                    stable.append(start)
        assert first[p] == (stable[-1] if stable else -1)
        assert status[p] == ("" if stable else "unstable" if enough else "too_few_readings")


def test_a_history_is_cut_at_a_local_midnight_and_must_have_days_on_both_sides():
    # 28 March to 6 April 2026 in Paris, with a change of the clocks on the 29th.
    hour = 3_600_000
    first, last = 1_774_652_400_000 + hour, 1_775_426_400_000 + 5 * hour
    follow_up = pl.DataFrame(
        {"patient": ["a", "b"], "first_ms": [first, first + hour], "newest_ms": [last, first]}
    )
    cut = Cut.of(follow_up, Learning(stable_days=7, min_days=2, judge_days=3), "Europe/Paris")
    assert (cut.day, cut.ms) == (date(2026, 4, 4), 1_775_253_600_000)
    with pytest.raises(ValueError, match=r"the history has 10 days; legal are at least 8 .* 3 to judge"):
        Cut.of(follow_up, Learning(stable_days=8, min_days=2, judge_days=3), "Europe/Paris")
    with pytest.raises(ValueError, match="the history has 0 days"):
        Cut.of(follow_up.clear(), Learning(), "Europe/Paris")
