"""The reader of times against Python's own."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.isotime import AWARE, CLOCK, DAY, UNREADABLE, parse_iso

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def parse(texts):
    raw = [text.encode() for text in texts]
    at = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    kind = np.empty(len(raw), np.uint8)
    ms = np.empty(len(raw), np.int64)
    parse_iso(np.frombuffer(b"".join(raw) + b"9", np.uint8), at, kind, ms)
    return list(zip(kind.tolist(), ms.tolist(), strict=True))


moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))  # noqa: DTZ001
offsets = st.one_of(st.none(), st.integers(-14 * 60, 14 * 60))


@given(st.lists(st.tuples(moments, offsets, st.sampled_from("T t")), min_size=1, max_size=20))
def test_equals_python(drawn):
    texts, expected = [], []
    for moment, offset, mark in drawn:
        zone = None if offset is None else dt.timezone(dt.timedelta(minutes=offset))
        text = moment.replace(tzinfo=zone).isoformat(sep=mark)
        texts.append(text)
        aware = moment.replace(tzinfo=zone or dt.UTC)
        expected.append((CLOCK if zone is None else AWARE, (aware - EPOCH) // dt.timedelta(milliseconds=1)))
    assert parse(texts) == expected


@given(st.dates())
def test_days(day):
    assert parse([day.isoformat()]) == [(DAY, (day - dt.date(1970, 1, 1)).days * 86_400_000)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("2026-01-05T08:00Z", AWARE),
        ("2026-01-05 08:00:00 +0100", AWARE),
        ("2026-01-05T08:00:00,25+01", AWARE),
        ("2026-01-05T08:00", CLOCK),
        ("2024-02-29", DAY),
        ("2026-02-29", UNREADABLE),
        ("2026-13-01", UNREADABLE),
        ("2026-1-5", UNREADABLE),
        ("2026-01-05T24:00Z", UNREADABLE),
        ("2026-01-05T08:60Z", UNREADABLE),
        ("2026-01-05T08:00:60Z", UNREADABLE),
        ("2026-01-05T08:00:00.Z", UNREADABLE),
        ("2026-01-05T08:00:00+19:00", UNREADABLE),
        ("2026-01-05T08:00:00+01:00x", UNREADABLE),
        ("2026-01-05T08:00:00+1", UNREADABLE),
        ("2026-01-05T08:00:00 ", UNREADABLE),
        ("2026-01-05T", UNREADABLE),
        ("2026/01/05", UNREADABLE),
        ("05/01/2026", UNREADABLE),
        ("1767600000", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_forms(text, kind):
    assert parse([text])[0][0] == kind


@given(st.lists(st.text("0123456789-:TZ+., ", max_size=30), max_size=20))
def test_nothing_outside_a_text_is_read(texts):
    alone = [parse([text])[0] for text in texts]
    assert parse(texts) == alone
