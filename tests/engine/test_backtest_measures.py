"""Measures against the slow and obvious way of counting them."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest_compare import compare
from engine.backtest_measures import EPISODES, daily, known_outcomes, measure, per_patient
from engine.backtest_outcomes import OUTCOMES
from engine.staffing import Workload

HOUR = 3_600_000
DAY = 24 * HOUR
T0 = 1_767_225_600_000  # 2026-01-01 00:00 UTC
PATIENTS = ("a", "b", "c")
ZONE = "Europe/Paris"


def episodes(rows):
    columns = {name: [] for name in EPISODES}
    for k, (patient, problem, level, opened, length, clinical) in enumerate(rows):
        values = (
            f"{k:016x}", patient, "p", problem, "rule", level, T0 + opened * HOUR, T0 + opened * HOUR,
            None if length is None else T0 + (opened + length) * HOUR, clinical,
        )  # fmt: skip
        for name, value in zip(EPISODES, values, strict=True):
            columns[name].append(value)
    return pl.DataFrame(columns, schema=EPISODES)


@st.composite
def alerts(draw):
    """Alerts of a problem follow each other, as those of a line do."""
    rows = []
    for patient in PATIENTS:
        for problem in ("x", "y"):
            at = draw(st.integers(0, 400))
            for _ in range(draw(st.integers(0, 4))):
                length = draw(st.one_of(st.none(), st.integers(1, 100)))
                level = draw(st.sampled_from(["TECHNIQUE", "ORANGE", "ROUGE"]))
                rows.append(
                    (patient, problem, level, at, length, level != "TECHNIQUE" and draw(st.booleans()))
                )
                if length is None:
                    break
                at += length + draw(st.integers(1, 100))
    rows.sort(key=lambda row: row[3])
    return episodes(rows)


@st.composite
def follow_ups(draw):
    first = [draw(st.integers(0, 100)) for _ in PATIENTS]
    last = [f + draw(st.integers(0, 900)) for f in first]
    return pl.DataFrame(
        {
            "patient": PATIENTS,
            "first_ms": [T0 + f * HOUR for f in first],
            "newest_ms": [T0 + v * HOUR for v in last],
        }
    )


outcome_tables = st.lists(
    st.tuples(st.sampled_from([*PATIENTS, "stranger"]), st.integers(-50, 1200)), max_size=6, unique=True
).map(
    lambda rows: pl.DataFrame(
        {
            "patient": [p for p, _ in rows],
            "t_ms": [T0 + t * HOUR for _, t in rows],
            "kind": ["k"] * len(rows),
        },
        schema=OUTCOMES,
    )
)


@given(alerts(), follow_ups(), outcome_tables, st.integers(1, 400))
@settings(max_examples=150)
def test_counts_of_each_patient(found, follow_up, outcomes, window_h):
    window = window_h * HOUR
    known = known_outcomes(outcomes, follow_up, window)
    counts = per_patient(found, follow_up, known, window)
    end = follow_up["newest_ms"].max()
    for k, (patient, first, newest) in enumerate(follow_up.iter_rows()):
        mine = found.filter(pl.col("patient") == patient).to_dicts()
        clinical = [e["opened_ms"] for e in mine if e["clinical"]]
        events = [
            t for p, t, _ in outcomes.iter_rows() if p == patient and t > first and t - window <= newest
        ]
        assert counts.days[k] == max(1.0, (newest - first) / DAY)
        assert counts.judged_days[k] == max(0.0, (min(newest, end - window) - first) / DAY)
        assert counts.alerts[k] == len(mine)
        assert counts.outcomes[k] == len(events)
        assert counts.caught[k] == sum(any(t - window <= o <= t for o in clinical) for t in events)
        judged = [o for o in clinical if o + window <= end]
        assert counts.followed[k] == len(judged)
        assert counts.true[k] == sum(any(o <= t <= o + window for t in events) for o in judged)


@given(alerts(), follow_ups())
@settings(max_examples=60)
def test_days_are_local_and_count_who_is_followed(found, follow_up):
    def local(t_ms):
        return dt.datetime.fromtimestamp(t_ms / 1000, ZoneInfo(ZONE)).date()

    days = daily(found, follow_up, ZONE)
    spans = [(local(a), local(b)) for _, a, b in follow_up.iter_rows()]
    opened = [local(t) for t in found["opened_ms"]]
    assert days["day"].is_sorted()
    for row in days.iter_rows(named=True):
        assert row["followed"] == sum(a <= row["day"] <= b for a, b in spans) > 0
        assert row["alerts"] == opened.count(row["day"]) == row["TECHNIQUE"] + row["ORANGE"] + row["ROUGE"]


def test_figures_of_a_small_history():
    """Two patients followed for 40 days; the figures by hand."""
    follow_up = pl.DataFrame({"patient": ["a", "b"], "first_ms": [T0, T0], "newest_ms": [T0 + 40 * DAY] * 2})
    found = episodes(
        [
            ("a", "x", "ORANGE", 10 * 24, 24, True),  # ten days before the outcome
            ("a", "y", "ROUGE", 15 * 24, None, True),
            ("b", "x", "ORANGE", 2 * 24, 48, True),  # nothing followed
            ("b", "s", "ORANGE", 5 * 24, 1, False),  # of silence
            ("b", "x", "ORANGE", 39 * 24, 1, True),  # cannot be told yet
        ]
    )
    outcomes = pl.DataFrame(
        {"patient": ["a", "b"], "t_ms": [T0 + 20 * DAY, T0 + 18 * DAY], "kind": ["h", "h"]}, schema=OUTCOMES
    )
    said = measure(found, follow_up, outcomes, window_ms=14 * DAY, zone=ZONE, work=Workload())
    assert said.alerts == 5
    assert said.by_level == {"ROUGE": 1, "ORANGE": 4, "TECHNIQUE": 0}
    assert said.load.mean.value == pytest.approx(100 * 5 / 80)
    assert said.open_at_end == 1
    assert (said.outcomes, said.caught) == (2, 1)
    assert said.sensitivity.value == 0.5
    assert said.ppv.value == pytest.approx(2 / 3)
    assert said.censored == 1
    assert said.lead_h == (240.0, 240.0, 240.0)
    assert said.false_per_year.value == pytest.approx(
        1 / (52 / 365.25)
    )  # 26 days of each, after which a window does not end
    assert said.never == 0.0
    assert said.minutes_mean == pytest.approx((4 * 6 + 10) / 41)  # local days: the 40th ends on a 41st
    again = measure(found, follow_up, outcomes, window_ms=14 * DAY, zone=ZONE, work=Workload())
    assert again == said


def test_what_cannot_be_told_is_none():
    follow_up = pl.DataFrame({"patient": ["a"], "first_ms": [T0], "newest_ms": [T0 + 40 * DAY]})
    said = measure(episodes([]), follow_up, OUTCOMES.to_frame(), window_ms=DAY, zone=ZONE, work=Workload())
    assert said.sensitivity.value is said.ppv.value is said.false_per_year.value is None
    assert said.lead_h is said.length_h is None
    assert said.load.mean.value == 0.0
    assert said.never == 1.0
    nobody = follow_up.clear()
    empty = measure(episodes([]), nobody, OUTCOMES.to_frame(), window_ms=DAY, zone=ZONE, work=Workload())
    assert empty.load.mean.value is None


def test_the_interval_is_about_as_wide_as_that_of_a_share():
    """Sensitivity of 400 patients with one outcome each: a binomial share."""
    n = 400
    names = [f"p{k}" for k in range(n)]
    follow_up = pl.DataFrame({"patient": names, "first_ms": [T0] * n, "newest_ms": [T0 + 40 * DAY] * n})
    found = episodes([(name, "x", "ORANGE", 24, 1, True) for name in names[: n // 4]])
    outcomes = pl.DataFrame(
        {"patient": names, "t_ms": [T0 + 2 * DAY] * n, "kind": ["h"] * n}, schema=OUTCOMES
    )
    said = measure(found, follow_up, outcomes, window_ms=14 * DAY, zone=ZONE, work=Workload()).sensitivity
    width = 2 * 1.96 * np.sqrt(0.25 * 0.75 / n)
    assert said.value == 0.25
    assert said.low < 0.25 < said.high
    assert said.high - said.low == pytest.approx(width, rel=0.2)


@given(alerts(), alerts())
@settings(max_examples=150)
def test_gained_lost_and_moved(base, changed):
    found = compare(base, changed)

    def beside(mine, others):
        return [
            o for o in others
            if (o["patient"], o["problem"]) == (mine["patient"], mine["problem"])
            and o["opened_ms"] <= (mine["ended_ms"] or 2**62) and (o["ended_ms"] or 2**62) >= mine["opened_ms"]
        ]  # fmt: skip

    old, new = base.to_dicts(), changed.to_dicts()
    assert found.gained["alert_id"].to_list() == [e["alert_id"] for e in new if not beside(e, old)]
    assert found.lost["alert_id"].to_list() == [e["alert_id"] for e in old if not beside(e, new)]
    both = [(e, beside(e, old)[-1]) for e in new if beside(e, old)]
    assert found.same == len(both)
    assert found.moved["alert_id"].to_list() == [e["alert_id"] for e, o in both if e["level"] != o["level"]]


def test_compared_with_itself_nothing_differs():
    found = episodes([("a", "x", "ORANGE", 0, 5, True), ("a", "x", "ROUGE", 9, None, True)])
    same = compare(found, found)
    assert (len(same.gained), len(same.lost), len(same.moved), same.same) == (0, 0, 0, 2)
