"""Curves of a patient: what a plot leaves out hides no extreme, what is missing is seen, and the sentence says it."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.curves import DAY_MS, MOST, Curve, curves, reduce, sentence
from engine.history import SCHEMA, History, HistoryError, Outcome
from ingest.signals import by_name

PARIS = ZoneInfo("Europe/Paris")
WEIGHT, SPO2 = by_name("weight"), by_name("spo2")
NOON = int(datetime(2026, 3, 10, 12, tzinfo=PARIS).timestamp() * 1000)


def curve(t_ms, value, late=None, signal=WEIGHT):
    t_ms = np.asarray(t_ms, np.int64)
    late = np.zeros(len(t_ms), np.bool_) if late is None else np.asarray(late, np.bool_)
    return Curve(signal, t_ms, np.asarray(value, np.float64), late)


def points(one):
    return list(zip(one.t_ms.tolist(), one.value.tolist(), one.late.tolist(), strict=True))


# ---- What is left out.


@st.composite
def many(draw):
    """Readings ascending in time, several at one moment among them, far apart or close."""
    steps = draw(
        st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10 * DAY_MS)), min_size=1, max_size=200)
    )
    n = len(steps)
    value = draw(st.lists(st.integers(-50, 50), min_size=n, max_size=n))
    late = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return curve(NOON + np.cumsum(steps), value, late)


@given(many(), st.integers(1, 12).map(lambda quarter: 4 * quarter))
def test_no_extreme_is_hidden_and_no_more_is_kept_than_asked_for(whole, most):
    kept = reduce(whole, most)
    if len(whole.t_ms) <= most:
        assert points(kept) == points(whole)
        return
    assert len(kept.t_ms) <= most
    rest = iter(points(whole))
    assert all(point in rest for point in points(kept))  # some of them, as they were, in their order
    # Of each of the equal times the first, last, least and greatest are there.
    first, last = int(whole.t_ms[0]), int(whole.t_ms[-1])
    width = (last - first + 1) / (most // 4)
    in_time = {}
    for number, one in ((0, whole), (1, kept)):
        for t, value, late in points(one):
            in_time.setdefault(int((t - first) / width), ([], []))[number].append((t, value, late))
    for of_whole, of_kept in in_time.values():
        assert of_kept[0] == of_whole[0]
        assert of_kept[-1] == of_whole[-1]
        for extreme in (min, max):
            assert extreme(v for _, v, _ in of_kept) == extreme(v for _, v, _ in of_whole)


def test_a_year_by_the_minute_is_as_many_points_as_a_plot_has():
    n = 365 * 24 * 60
    value = np.full(n, 97.0)
    value[300_000] = 71.0  # one minute of the year
    kept = reduce(curve(NOON + 60_000 * np.arange(n), value, signal=SPO2))
    assert len(kept.t_ms) <= MOST
    assert 71.0 in kept.value
    assert kept.t_ms[kept.value == 71.0].tolist() == [NOON + 60_000 * 300_000]


# ---- What is missing.


def test_more_than_three_days_without_a_reading_are_a_gap_and_three_are_not():
    at = [0, 3 * DAY_MS, 6 * DAY_MS + 1, 7 * DAY_MS, 20 * DAY_MS]
    one = curve(at, [80.0] * 5)
    assert one.gaps() == [(3 * DAY_MS, 6 * DAY_MS + 1), (7 * DAY_MS, 20 * DAY_MS)]
    assert one.gaps(days=10) == [(7 * DAY_MS, 20 * DAY_MS)]
    assert curve([NOON], [80.0]).gaps() == []


# ---- The sentence.

NB = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("days_ago", "value", "said"),
    [
        ([0], [82.35], f"82,3{NB}kg le 10/03/2026 12:00."),
        ([1], [82.0], f"82,0{NB}kg le 09/03/2026 12:00{THIN}; 1{NB}jour sans mesure."),
        ([0, 0], [82.0, 81.0], f"81,0{NB}kg le 10/03/2026 12:00{THIN}; de 81,0 à 82,0{NB}kg en 1{NB}jour."),
        (
            [9, 5, 4],
            [80.0, 84.5, 82.0],
            f"82,0{NB}kg le 06/03/2026 12:00{THIN}; de 80,0 à 84,5{NB}kg en 10{NB}jours{THIN}; 7{NB}jours sans mesure.",
        ),
    ],
)
def test_the_sentence_says_the_newest_the_range_and_the_days_without(days_ago, value, said):
    t_ms = [NOON - day * DAY_MS for day in days_ago]
    assert sentence(curve(t_ms, value), NOON, PARIS) == said


def test_decimals_are_the_signals_and_days_are_those_of_the_zone():
    late_evening = int(datetime(2026, 3, 9, 23, 30, tzinfo=PARIS).timestamp() * 1000)
    said = sentence(curve([late_evening, late_evening + 3_600_000], [97.0, 91.0], signal=SPO2), NOON, PARIS)
    # Two days at home; in Greenwich both were on the 9th.
    assert said == f"91{NB}% le 10/03/2026 00:30{THIN}; de 91 à 97{NB}% en 2{NB}jours."
    assert "1\N{NO-BREAK SPACE}jour sans mesure" in sentence(
        curve([late_evening, late_evening + 1_800_000 - 1], [97.0, 91.0], signal=SPO2), NOON, PARIS
    )


# ---- Out of a history.


def reading(patient, signal, t_ms, value, offset, outcome=Outcome.APPLIED):
    return {
        "patient": patient, "signal": signal.code, "t_ms": t_ms, "receipt_ms": t_ms + 1000,
        "milli": round(1000 * value), "status": 0, "offset": offset, "outcome": int(outcome),
    }  # fmt: skip


def kept(folder, *rows):
    """Make a history of a line of two shards."""
    history = History(folder, 2)
    table = pl.DataFrame(list(rows), schema=SCHEMA)
    for shard in range(2):
        mine = table.filter(pl.col("patient").str.ends_with("1") == bool(shard))
        history.append(shard, 0, len(rows), mine)
    history.commit(len(rows))


def test_they_are_read_from_a_history_in_order_each_reading_once(tmp_path):
    kept(
        tmp_path,
        reading("p1", WEIGHT, NOON, 82.4, 0),
        reading("p1", WEIGHT, NOON - 2 * DAY_MS, 81.0, 1),
        reading("p1", WEIGHT, NOON - 20 * DAY_MS, 79.5, 2, Outcome.LATE),
        # From a second gateway, too late: it is the reading that was applied.
        reading("p1", WEIGHT, NOON, 82.4, 3, Outcome.LATE),
        # Another value of the same moment is another reading.
        reading("p1", WEIGHT, NOON, 82.6, 4),
        reading("p1", SPO2, NOON, 95, 5),
        reading("p2", WEIGHT, NOON, 60.0, 6),
        reading("p1", WEIGHT, NOON + 1, 90.0, 7),
        reading("p1", WEIGHT, NOON - 20 * DAY_MS - 1, 70.0, 8),
    )
    signals = [SPO2, by_name("systolic"), WEIGHT]
    found = curves(tmp_path, "p1", signals, NOON - 20 * DAY_MS, NOON + 1)
    assert [each.signal for each in found] == [SPO2, WEIGHT]  # in the order asked for; no pressure ever came
    assert points(found[0]) == [(NOON, 95.0, False)]
    assert found[1].t_ms.tolist() == [NOON - 20 * DAY_MS, NOON - 2 * DAY_MS, NOON, NOON]
    assert sorted(found[1].value[2:].tolist()) == [82.4, 82.6]
    assert found[1].value[:2].tolist() == [79.5, 81.0]
    assert found[1].late.tolist() == [True, False, False, False]
    assert found[1].gaps() == [(NOON - 20 * DAY_MS, NOON - 2 * DAY_MS)]
    assert curves(tmp_path, "nobody", signals, 0, NOON) == []


def test_a_folder_that_is_not_there_yet_has_no_curves_and_one_without_its_mark_is_an_error(tmp_path):
    weight = by_name("weight")
    assert curves(tmp_path / "history", "p1", [weight], 0, DAY_MS) == []
    lost = tmp_path / "history" / "day=2026-01-05" / "shard=00"
    lost.mkdir(parents=True)
    SCHEMA.to_frame().write_parquet(lost / "00000000000000000000-00000000000000000001.parquet")
    with pytest.raises(HistoryError, match="missing"):
        curves(tmp_path / "history", "p1", [weight], 0, DAY_MS)
