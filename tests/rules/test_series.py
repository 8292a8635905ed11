import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.series import MAX_STEPS, parse


def test_notation():
    series = parse("80 80.2 _ 80.1x3 _x2 82.4")
    assert series.length == 9
    assert series.points == ((0, 80.0), (1, 80.2), (3, 80.1), (4, 80.1), (5, 80.1), (8, 82.4))


def test_a_series_may_be_all_silence():
    assert parse("_x3").points == ()


@pytest.mark.parametrize(
    "text", ["80,2", "80.1234", "x3", "80x0", "80x", "nan", "1e3", "80..1", "--1", "80 x3"]
)
def test_refuses_the_word(text):
    with pytest.raises(ValueError, match="legal: numbers with at most 3 decimals"):
        parse(text)


def test_refuses_nothing_and_too_much():
    with pytest.raises(ValueError, match="empty"):
        parse("  ")
    with pytest.raises(ValueError, match=str(MAX_STEPS)):
        parse("1x9999")


@given(st.lists(st.none() | st.integers(-99_999, 350_000), min_size=1, max_size=40))
def test_writes_as_it_reads(values):
    text = " ".join("_" if v is None else f"{v / 1000:.3f}" for v in values)
    series = parse(text)
    assert series.length == len(values)
    assert [(k, round(v * 1000)) for k, v in series.points] == [
        (k, v) for k, v in enumerate(values) if v is not None
    ]
