"""Zones as arrays: the kernels' local days are those of the time zone database."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.zones import zone_arrays, zone_tables
from kernels.localtime import DAY_MS, day_start, local_day, local_minute_of_day, zone_index

FRENCH = (
    "Europe/Paris", "America/Martinique", "America/Guadeloupe", "America/Cayenne", "America/Miquelon",
    "Indian/Reunion", "Indian/Mayotte", "Pacific/Noumea", "Pacific/Tahiti", "Pacific/Wallis",
)  # fmt: skip
OTHERS = (
    "UTC",
    "Atlantic/Azores",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Pacific/Apia",
    "Europe/Moscow",
    "Australia/Lord_Howe",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FROM = int(datetime(2000, 1, 2, tzinfo=UTC).timestamp() * 1000)
TO = int(datetime(2099, 12, 30, tzinfo=UTC).timestamp() * 1000)


def calendar(t, zone):
    return (EPOCH + timedelta(milliseconds=t)).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize("zone", FRENCH + OTHERS)
@given(
    t=st.integers(FROM, TO),
    near=st.booleans(),
    shift=st.integers(-7_200_000, 7_200_000),
    which=st.integers(0, 10**6),
)
@settings(max_examples=30)
def test_local_day_and_minute_are_those_of_zoneinfo(zone, t, near, shift, which):
    zone_t, zone_off = zone_arrays(zone)
    if near and len(zone_t) > 1:
        t = int(zone_t[1 + which % (len(zone_t) - 1)]) + shift
    at = calendar(t, zone)
    assert local_day(t, zone_t, zone_off) == (at.date() - EPOCH.date()).days
    assert local_minute_of_day(t, zone_t, zone_off) == at.hour * 60 + at.minute


@pytest.mark.parametrize("zone", FRENCH + OTHERS)
@given(t=st.integers(FROM, TO), near=st.booleans(), which=st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_day_starts_where_its_date_begins(zone, t, near, which):
    zone_t, zone_off = zone_arrays(zone)
    if near and len(zone_t) > 1:
        t = int(zone_t[1 + which % (len(zone_t) - 1)])
    day = local_day(t, zone_t, zone_off)
    start = day_start(day, zone_index(t, zone_t), zone_t, zone_off)
    assert start <= t
    assert local_day(start, zone_t, zone_off) == day
    assert local_day(start - 1, zone_t, zone_off) < day


def test_days_around_the_changes_of_clock_in_france_last_23_and_25_hours():
    zone_t, zone_off = zone_arrays("Europe/Paris")
    z = len(zone_t) - 1

    def hours(y, m, d):
        day = (datetime(y, m, d, tzinfo=UTC) - EPOCH).days
        return (day_start(day + 1, z, zone_t, zone_off) - day_start(day, z, zone_t, zone_off)) / 3_600_000

    assert hours(2026, 3, 29) == 23
    assert hours(2026, 10, 25) == 25
    assert hours(2026, 7, 14) == 24


def test_a_time_before_2000_has_the_first_offset():
    zone_t, zone_off = zone_arrays("Europe/Paris")
    assert local_minute_of_day(0, zone_t, zone_off) == 60


def test_several_zones_are_of_one_length_and_say_the_same():
    names = ("Europe/Paris", "Indian/Reunion", "Europe/Moscow")
    zone_t, zone_off = zone_tables(names)
    assert zone_t.shape == zone_off.shape == (3, 201)
    assert (np.diff(zone_t) > 0).all()
    for row, name in enumerate(names):
        t_alone, off_alone = zone_arrays(name)
        for t in range(FROM, TO, 97 * DAY_MS + 12_345_678):
            assert local_day(t, zone_t[row], zone_off[row]) == local_day(t, t_alone, off_alone)


@pytest.mark.parametrize("name", ["Europe/Lutece", "", "/etc/passwd", "../x", "Europe"])
def test_an_unknown_zone_is_named(name):
    with pytest.raises(ValueError, match="legal"):
        zone_arrays(name)


def test_a_zone_whose_dates_went_back_is_refused():
    with pytest.raises(ValueError, match=r"St_Johns.*back over midnight"):
        zone_arrays("America/St_Johns")
