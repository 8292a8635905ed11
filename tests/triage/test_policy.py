"""The cell's policy: limits, hours of work against a plain count of minutes, rotations, and clear errors."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rules.levels import Level
from triage.policy import Hours, Policy, PolicyError, Rotation, read

MINUTE = 60_000
WEEK = (((480, 750), (810, 1080)),) * 5 + (((540, 720),), ())
HOURS = Hours(week=WEEK, closed=(date(2026, 12, 24),))
PARIS = ZoneInfo("Europe/Paris")


def ms(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp() * 1000)


def said(t_ms):
    return datetime.fromtimestamp(t_ms / 1000, PARIS).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("begun", "minutes", "due"),
    [
        ("2026-11-27 09:00", 60, "2026-11-27 10:00"),  # a Friday
        ("2026-11-27 12:00", 60, "2026-11-27 14:00"),  # over noon
        ("2026-11-27 17:50", 60, "2026-11-28 09:50"),  # Saturday morning
        ("2026-11-28 11:30", 60, "2026-11-30 08:30"),  # over Sunday
        ("2026-12-23 17:30", 60, "2026-12-26 09:30"),  # over the 24th, closed, and Christmas
        ("2026-07-13 17:30", 60, "2026-07-15 08:30"),  # over the 14th of July
        ("2026-03-28 11:30", 60, "2026-03-30 08:30"),  # clocks go forward on Sunday
    ],
)
def test_limits_count_hours_of_work(begun, minutes, due):
    policy = Policy(hours=HOURS, orange_ms=minutes * MINUTE)
    assert said(policy.due_ms(Level.ORANGE, ms(begun))) == due
    # A ROUGE does not wait for the morning.
    assert policy.due_ms(Level.ROUGE, ms(begun)) == ms(begun) + policy.rouge_ms


@given(
    st.integers(0, 21 * 24 * 60),
    st.integers(1, 3000),
    st.lists(
        st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 600)), max_size=2), min_size=7, max_size=7
    ).filter(any),
)
@settings(max_examples=40, deadline=None)
def test_hours_of_work_are_as_a_plain_count_of_minutes(begin, work, days):
    week = []
    for spans in days:
        made, free = [], 0
        for start, length in sorted(spans):
            if start >= free and start < 1440:
                free = min(1440, start + length)
                made.append((start, free))
        week.append(tuple(made))
    # A minute a week is no answer within the 400 days that are looked at.
    assume(work <= 40 * sum(end - begun for spans in week for begun, end in spans))
    hours = Hours(week=tuple(week), zone="Europe/Paris")
    # Three weeks that hold a change of clocks and public holidays.
    start = datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=begin)
    t_ms = round(start.timestamp() * 1000)
    found = hours.after(t_ms, work * MINUTE)
    at, left = t_ms, work
    while left:
        left -= hours.at_work(at)
        at += MINUTE
        assert at < t_ms + 400 * 24 * 60 * MINUTE
    assert found == at


@given(closed=st.sets(st.integers(0, 60)), begin=st.integers(0, 400 * 24 * 60))
@settings(max_examples=40, deadline=None)
def test_a_policy_that_was_read_finds_its_hours_whatever_is_closed(tmp_path_factory, closed, begin):
    """One hour of work a week, Mondays, of which many are days off; a limit of half a year of them."""
    first = date(2026, 1, 5)
    off = ", ".join(str(first + timedelta(weeks=week)) for week in closed)
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text(f'orange = "26h"\n[hours]\nclosed = [{off}]\nmonday = ["08:00-09:00"]\n')
    policy = read(path)
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=begin)
    t_ms = round(start.timestamp() * 1000)
    assert policy.due_ms(Level.ORANGE, t_ms) >= t_ms + 25 * 7 * 24 * 60 * MINUTE


def test_a_rotation_changes_at_its_local_hour():
    rotation = Rotation(role="cardiologist", people=("petit", "martin"), start="2026-10-19T08:00:00+02:00")
    for when, who in (
        ("2026-10-19 07:59", None),
        ("2026-10-19 08:00", "petit"),
        ("2026-10-26 07:59", "petit"),  # the clocks went back on the 25th
        ("2026-10-26 08:00", "martin"),
        ("2026-11-02 08:00", "petit"),
    ):
        assert rotation.whom(ms(when)) == who
    policy = Policy(rotations=(rotation,))
    assert policy.on_call("cardiologist", ms("2026-10-26 09:00")) == "martin"
    assert policy.on_call("nurse", ms("2026-10-26 09:00")) is None


FILE = """
rouge = "5m"
technique = "none"
claim = "15m"
around_the_clock = ["ROUGE", "ORANGE"]

[hours]
holidays = "FR-57"
closed = [2026-12-24]
monday = ["08:00-12:30", "13:30-18:00"]
tuesday = "08:00-24:00"

[[rotations]]
role = "cardiologist"
people = ["dr.martin"]
start = 2026-01-05T08:00:00+01:00
days = 7
"""


def test_as_a_cell_writes_it(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(FILE)
    policy = read(file)
    assert (policy.rouge_ms, policy.technique_ms, policy.claim_ms) == (5 * MINUTE, None, 15 * MINUTE)
    assert policy.hours.week[:2] == (((480, 750), (810, 1080)), ((480, 1440),))
    # Saint Stephen's day is one in Moselle.
    assert policy.hours.spans(date(2026, 12, 26)) == ()
    assert policy.on_call("cardiologist", ms("2026-10-26 09:00")) == "dr.martin"
    assert Policy.from_dict(policy.as_dict()) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rouge = 4", "rouge: 4 is not a duration; legal: a count and d, h or m"),
        ('red = "4m"', "red: there is no such key"),
        ('[hours]\nmonday = ["8-12"]', "hours.monday: '8' is no time of day; legal are spans"),
        ('[hours]\nmonday = ["12:00-08:00"]', "legal are spans within a day"),
        ('[hours]\nzone = "Paris"\nmonday = "08:00-12:00"', "hours.zone: 'Paris': legal are names"),
        ('[hours]\nholidays = "XX"\nmonday = "08:00-12:00"', "hours.holidays: 'XX': legal are a country"),
        ("[hours]", "at least one in the week"),
        ("hours = 3", "hours: legal is a table"),
        ('around_the_clock = ["RED"]', "around_the_clock.0"),
        ('[[rotations]]\nrole = "nurse"\npeople = ["a"]\nstart = 2026-01-05T08:00:00', "has no zone"),
        ("rouge =", "is not TOML"),
        (
            '[hours]\nmonday = "08:00-08:01"',
            "orange: 1 h are counted in hours of work, and a week has 0.0167",
        ),
    ],
)
def test_a_wrong_policy_says_what_and_what_is_legal(tmp_path, text, message):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(PolicyError) as error:
        read(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)
