"""What is proposed of a stable period, against the same said slowly in plain Python."""

import math
import statistics

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.load import load
from engine.personal import Learning, centre_and_spread, direction, propose, quantity, stable_periods
from engine.protocols import find

HEART = "insuffisance_cardiaque"
PROGRAM = load([HEART]).program
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
    learning = Learning(days=days, readings=least, on_days=min(on_days, days))
    count = np.array([[n for n, _ in each] for each in patients], np.int64)
    disturbed = np.array([[bad for _, bad in each] for each in patients])
    first, status = stable_periods(count, disturbed, learning)
    for p in range(len(patients)):
        enough, stable = [], []
        for start in range(9 - days + 1):
            here = slice(start, start + days)
            on = sum(n > 0 for n in count[p, here])
            if sum(count[p, here]) >= learning.readings and on >= learning.on_days:
                enough.append(start)
                if not any(disturbed[p, here]):
                    stable.append(start)
        assert first[p] == (stable[-1] if stable else -1)
        assert status[p] == ("" if stable else "unstable" if enough else "too_few_readings")


def slowly(limit, centre, spread, now, neighbours, k, step):
    """The same in words: range, neighbours, rounding, what is left of the distance, step."""
    below = limit.endswith("low")
    low, high = PROGRAM.protocols[0].limits[limit].min, PROGRAM.protocols[0].limits[limit].max
    for name, value in neighbours.items():
        default = PROGRAM.protocols[0].limits[name].default
        if default < PROGRAM.protocols[0].limits[limit].default:
            low = max(low, value)
        else:
            high = min(high, value)
    if low > high:
        return "outside_range", math.nan
    wanted = round(centre - k * spread if below else centre + k * spread)
    value = low if wanted < low else min(wanted, high)
    left = centre - value if below else value - centre
    if value != wanted and left < k * spread / 2:
        return "outside_range", math.nan
    return ("no_change" if abs(value - now) < step else "proposed"), value


@given(
    st.sampled_from(["systolic_low", "systolic_very_low", "systolic_high", "systolic_very_high"]),
    st.integers(120, 400).map(lambda n: n / 2),
    st.floats(1, 30),
    st.integers(60, 230),
    st.integers(60, 230),
    st.floats(0.5, 5),
    st.integers(1, 10),
)
def test_a_proposal_is_what_the_words_say(limit, centre, spread, now, neighbour, k, step):
    asked = quantity(PROGRAM, limit)
    other = limit.replace("very_", "") if "very" in limit else limit.replace("systolic_", "systolic_very_")
    assert set(asked.under) | set(asked.over) == {other}
    learning = Learning(spreads=k, step=float(step))
    status, value = propose(asked, centre, spread, {limit: float(now), other: float(neighbour)}, learning)
    expected = slowly(limit, centre, spread, now, {other: neighbour}, k, step)
    assert (status, value) == expected or (status == expected[0] == "outside_range")
    if status != "outside_range":
        declared = PROGRAM.protocols[0].limits[limit]
        assert declared.min <= value <= declared.max
        assert value == int(value)


def test_a_neighbour_that_nobody_set_binds_nothing():
    asked = quantity(PROGRAM, "systolic_low")
    nobody = {"systolic_low": math.nan, "systolic_very_low": math.nan}
    assert propose(asked, 92.0, 6.0, nobody, Learning()) == ("proposed", 74.0)
    assert propose(asked, 92.0, 6.0, nobody | {"systolic_very_low": 80.0}, Learning()) == ("proposed", 80.0)
    # 12 of the 18 asked for are left there; of 4 more nothing to speak of is.
    assert propose(asked, 88.0, 6.0, nobody | {"systolic_very_low": 80.0}, Learning())[0] == "outside_range"


def test_a_dry_weight_is_proposed_at_the_centre_and_nowhere_else():
    asked = quantity(PROGRAM, "dry_weight_kg")
    assert (asked.side, asked.feature, asked.decimals) == ("centre", "weight_now", 1)
    assert propose(asked, 74.46, 2.0, {"dry_weight_kg": math.nan}, Learning()) == ("proposed", 74.5)
    assert propose(asked, 74.46, 2.0, {"dry_weight_kg": 74.3}, Learning()) == ("no_change", 74.5)
    assert propose(asked, 74.46, 2.0, {"dry_weight_kg": 74.2}, Learning()) == ("proposed", 74.5)
    assert propose(asked, 28.0, 2.0, {"dry_weight_kg": math.nan}, Learning())[0] == "outside_range"
    assert direction(asked, 74.2, 74.5) is None


def test_which_limits_can_be_proposed_follows_from_the_conditions(tmp_path):
    sides = {}
    for name in PROGRAM.protocols[0].limits:
        try:
            sides[name] = quantity(PROGRAM, name).side
        except ValueError as error:
            assert "legal are dry_weight_kg, rate_high, rate_low" in str(error)  # noqa: PT017
    assert sides == {
        "dry_weight_kg": "centre",
        "rate_high": "above", "rate_low": "below", "rate_very_high": "above", "rate_very_low": "below",
        "spo2_low": "below", "spo2_very_low": "below",
        "systolic_high": "above", "systolic_low": "below",
        "systolic_very_high": "above", "systolic_very_low": "below",
    }  # fmt: skip
    text = find(HEART).read_text(encoding="utf-8")
    for other, side in (
        ('when = "NOT systolic_now >= systolic_low"', "below"),
        ('when = "systolic_low > systolic_now"', "below"),
        ('when = "systolic_now > systolic_low"', None),  # below in another rule: neither
    ):
        (tmp_path / "other.toml").write_text(
            text.replace('when = "systolic_now < systolic_low"', other), "utf-8"
        )
        program = load([tmp_path / "other.toml"]).program
        if side:
            assert quantity(program, "systolic_low").side == side
        else:
            with pytest.raises(ValueError, match="legal are"):
                quantity(program, "systolic_low")


def test_a_limit_that_is_nowhere_is_refused():
    with pytest.raises(ValueError, match=r"no limit 'systolic_lo'.*systolic_low"):
        quantity(PROGRAM, "systolic_lo")
    with pytest.raises(ValueError, match="legal are dry_weight_kg"):
        quantity(PROGRAM, "gain_3d_kg")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"days": 1}, "days = 1: legal is 2 or more"),
        ({"spreads": 0.0}, "spreads = 0: legal is more than 0"),
        ({"drift": math.nan}, "drift = nan"),
        ({"step": -1.0}, "step = -1: legal is 0 or more"),
        ({"on_days": 30}, "at most the 28 days"),
    ],
)
def test_learning_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Learning(**wrong)
