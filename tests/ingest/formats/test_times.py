# ruff: noqa: DTZ001 - times without an offset are what is tested
import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.columns import NO_TIME
from ingest.formats.mapping import TimeRules
from ingest.formats.times import Clocks, to_ms
from ingest.reasons import Reason

PARIS = TimeRules(zone="Europe/Paris")


def ms(text):
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def read(values, rules=None, dtype=None):
    clocks = Clocks()
    t, reason = to_ms(pl.Series(values, dtype=dtype), rules or TimeRules(), clocks)
    return t.tolist(), reason.tolist(), clocks


@given(
    st.lists(
        st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2100, 1, 1), timezones=st.timezones()), max_size=20
    )
)
def test_text_with_an_offset_comes_back(moments):
    # Offsets of whole minutes only: ISO 8601 has no others.
    moments = [m for m in moments if m.utcoffset().total_seconds() % 60 == 0]
    t, reason, clocks = read([m.isoformat() for m in moments], dtype=pl.String)
    assert t == [
        (m - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1) for m in moments
    ]
    assert not any(reason)
    assert clocks == Clocks()


def test_mixed_column():
    t, reason, _ = read(
        ["2026-01-05T08:00:00Z", "1767600000", "1767600000000", "1767600000.5", "2026-01-05T09:00:00+01:00"]
    )
    assert t == [
        ms("2026-01-05T08:00:00Z"),
        1767600000000,
        1767600000000,
        1767600000500,
        ms("2026-01-05T08:00:00Z"),
    ]
    assert not any(reason)


@pytest.mark.parametrize("text", ["", "yesterday", "05/01/2026 08:00", "1e300", "2026-02-30T00:00:00Z", None])
def test_unreadable(text):
    t, reason, _ = read([text], dtype=pl.String)
    assert (t, reason) == ([NO_TIME], [Reason.BAD_ROW])


def test_naive_needs_a_zone():
    t, reason, _ = read(["2026-01-05T08:00:00", "2026-01-05"])
    assert t == [NO_TIME, NO_TIME]
    assert reason == [Reason.NAIVE_TIME] * 2
    t, reason, clocks = read(["2026-01-05T08:00:00", "2026-07-05 08:00"], PARIS)
    assert t == [ms("2026-01-05T07:00:00Z"), ms("2026-07-05T06:00:00Z")]
    assert (reason, clocks.naive) == ([0, 0], 2)


def test_a_day_needs_a_time_of_day():
    assert read(["2026-01-05"], PARIS)[1] == [Reason.NAIVE_TIME]
    rules = TimeRules(zone="Europe/Paris", time_of_day="07:30")
    assert read(["2026-01-05"], rules)[0] == [ms("2026-01-05T06:30:00Z")]
    assert read([dt.date(2026, 1, 5)], rules)[0] == [ms("2026-01-05T06:30:00Z")]


def test_clocks_that_change():
    # In Paris 02:30 does not exist on 29 March 2026, and is twice on 25 October.
    t, reason, clocks = read(["2026-03-29T02:30:00", "2026-10-25T02:30:00", "2026-10-25T03:30:00"], PARIS)
    assert t == [NO_TIME, ms("2026-10-25T02:30:00+02:00"), ms("2026-10-25T03:30:00+01:00")]
    assert reason == [Reason.NAIVE_TIME, 0, 0]
    assert clocks == Clocks(naive=2, overlap=1, gap=1)


@given(st.lists(st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2037, 1, 1)), min_size=1, max_size=30))
def test_zone_equals_zoneinfo(moments):
    zone = ZoneInfo("Europe/Paris")
    t, reason, _ = read(moments, PARIS, pl.Datetime("us"))
    for moment, got, why in zip(moments, t, reason, strict=True):
        utc = moment.replace(tzinfo=zone).astimezone(dt.UTC)
        exists = utc.astimezone(zone).replace(tzinfo=None) == moment
        assert (why == 0) == exists
        if exists:
            assert got == (utc - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def test_epochs():
    assert read([1564650954.0])[0] == [1564650954000]
    assert read([1564650954])[0] == [1564650954000]
    assert read([1564650954000])[0] == [1564650954000]
    assert read([1564650954], TimeRules(unit="ms"))[0] == [1564650954]
    assert read([float("nan"), float("inf"), None], dtype=pl.Float64)[1] == [Reason.BAD_ROW] * 3
    assert read([2**63 - 1, -(2**62)], TimeRules(unit="s"))[1] == [Reason.BAD_ROW] * 2


def test_a_format_of_its_own():
    rules = TimeRules(zone="Europe/Paris", format="%m-%d-%Y", time_of_day="07:00")
    assert read(["5-2-2016", "12-31-2016", "13-1-2016"], rules)[:2] == (
        [ms("2016-05-02T05:00:00Z"), ms("2016-12-31T06:00:00Z"), NO_TIME], [0, 0, Reason.BAD_ROW],
    )  # fmt: skip
    assert read(["05/01/2026 08:15"], TimeRules(zone="Europe/Paris", format="%d/%m/%Y %H:%M"))[0] == [
        ms("2026-01-05T07:15:00Z")
    ]
    assert read(["05/01/2026 08:15"], TimeRules(format="%d/%m/%Y %H:%M"))[1] == [Reason.NAIVE_TIME]
    assert read(["05/01/2026 08:15 +0100"], TimeRules(format="%d/%m/%Y %H:%M %z"))[0] == [
        ms("2026-01-05T07:15:00Z")
    ]


def test_parquet_timestamps():
    moment = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
    for unit in ("ms", "us", "ns"):
        assert read([moment], dtype=pl.Datetime(unit, "UTC"))[0] == [ms("2026-01-05T08:00:00Z")]
