"""The spark line of a row: what is drawn of an alert's evidence, and what is said of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.web.spark import HEIGHT, MARGIN, WIDTH, spark

DAY = 86_400_000
NOW = 1_790_000_000_000
LABELS = {"weight": ("Poids", "kg"), "spo2": ("Saturation", "%")}
NB = "\N{NO-BREAK SPACE}"


def weights(*readings, signal="weight"):
    return [{"signal": signal, "t_ms": NOW - int(days * DAY), "value": value} for days, value in readings]


def limit(value, unit="kg"):
    return {"name": "a limit", "value": value, "unit": unit, "origin": "default"}


def drawn(one):
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in one.lines]


def test_where_there_is_no_reading_there_is_no_line():
    assert spark([], [limit(80)], LABELS) is None
    assert spark(weights((0, None), (1, None)), [], LABELS) is None


def test_fourteen_days_from_the_left_edge_to_the_right_the_least_below_the_greatest_above():
    one = spark(weights((0, 84.0), (14, 80.0), (2, 82.0), (1, None), (14.01, 200.0)), [], LABELS)
    low, high = HEIGHT - MARGIN, MARGIN
    # Sorted, without what has no value and what is older; from the first to the last are more than three days.
    assert drawn(one) == [[(MARGIN, low)], [(pytest.approx(97.3), 15.0), (WIDTH - MARGIN, high)]]
    assert one.last == (WIDTH - MARGIN, high)
    assert one.limit is None
    assert one.label == f"Poids{NB}: 84{NB}kg, de 80 à 84 en 14 jours"


def test_three_days_without_a_reading_are_joined_and_more_are_not():
    assert len(spark(weights((3, 80.0), (0, 81.0)), [], LABELS).lines) == 1
    assert len(spark(weights((3.001, 80.0), (0, 81.0)), [], LABELS).lines) == 2


def test_only_the_first_signal_of_the_evidence_is_drawn():
    points = [*weights((0, 91.0), signal="spo2"), *weights((0, 84.0), (1, 80.0))]
    assert spark(points, [], LABELS).label == f"Saturation{NB}: 91{NB}%, de 91 à 91 en 14 jours"


def test_a_signal_without_a_label_has_its_name():
    assert (
        spark(weights((0, 1.5), signal="other"), [], LABELS).label
        == f"other{NB}: 1,5, de 1,5 à 1,5 en 14 jours"
    )


@pytest.mark.parametrize(
    ("limits", "there"),
    [
        ([limit(83.0)], True),  # among the readings
        ([limit(86.0)], True),  # near them: the scale takes it in
        ([limit(2.0)], False),  # kilograms in three days are no weight
        ([limit(83.0, "%")], False),
        ([limit(None), limit(2.0), limit(85.0)], True),  # the first that can be drawn
    ],
)
def test_a_limit_is_drawn_where_it_is_on_the_scale(limits, there):
    one = spark(weights((0, 84.0), (1, 80.0)), limits, LABELS)
    assert (one.limit is not None) == there
    if there:
        assert MARGIN <= one.limit <= HEIGHT - MARGIN


def test_a_limit_above_the_readings_is_above_their_line():
    one = spark(weights((0, 84.0), (1, 80.0)), [limit(86.0)], LABELS)
    assert one.limit == MARGIN
    assert one.limit < one.last[1] < HEIGHT - MARGIN


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(-1e6, 1e6) | st.none()), max_size=30),
    st.lists(st.floats(-1e6, 1e6) | st.none(), max_size=3),
)
def test_whatever_comes_nothing_is_outside_the_box(readings, limits):
    one = spark(weights(*readings), [limit(value) for value in limits], LABELS)
    if one is None:
        assert all(value is None for _, value in readings)
        return
    at = [point for line in drawn(one) for point in line]
    assert at
    assert at[-1] == one.last
    ys = [y for _, y in at] + ([] if one.limit is None else [one.limit])
    assert all(MARGIN <= y <= HEIGHT - MARGIN for y in ys)
    xs = [x for x, _ in at]
    assert xs == sorted(xs)
    assert all(MARGIN <= x <= WIDTH - MARGIN for x in xs)
