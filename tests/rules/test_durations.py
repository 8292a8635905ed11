import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.durations import Duration, parse


@pytest.mark.parametrize(
    ("text", "ms", "window", "in_days", "french"),
    [
        ("3d", 259_200_000, 3, True, "3\u00a0jours"),
        ("1d", 86_400_000, 1, True, "1\u00a0jour"),
        ("72h", 259_200_000, 259_200_000, False, "72\u00a0heures"),
        ("30m", 1_800_000, 1_800_000, False, "30\u00a0minutes"),
    ],
)
def test_reads(text, ms, window, in_days, french):
    duration = parse(text)
    assert (duration.ms, duration.window, duration.in_days, duration.french) == (ms, window, in_days, french)


@pytest.mark.parametrize(
    "text", ["", "3", "d", "0d", "-1d", "3 d", "3D", "1.5d", "3d4h", "03d", "9999999d", 3, None, "٣d"]
)
def test_refuses_and_says_what_is_legal(text):
    with pytest.raises(ValueError, match=r"legal: .*'3d', '72h' or '30m'"):
        parse(text)


@given(st.integers(1, 999_999), st.sampled_from("dhm"))
def test_writes_as_it_reads(count, unit):
    assert parse(str(Duration(count, unit))) == Duration(count, unit)
