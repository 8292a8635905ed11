"""Random irregular series for the tests of kernels on spot readings."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import strategies as st

from engine.zones import zone_arrays

ZONES = (
    "Europe/Paris",
    "America/Martinique",
    "America/Miquelon",
    "Indian/Reunion",
    "Pacific/Noumea",
    "Atlantic/Azores",
)
HALF_HOUR = 1_800_000
DAY = 86_400_000

# Before: the week of a change of clock in France; 29 February; the turn of a year; any day.
_STARTS = tuple(
    int(datetime(*ymd, tzinfo=UTC).timestamp() * 1000)
    for ymd in ((2025, 3, 25), (2025, 10, 21), (2024, 2, 25), (2025, 12, 28), (2026, 6, 3))
)


@st.composite
def readings(draw, days=14, max_size=40, low=79_000, high=83_000):
    """Readings on a half-hour grid (so that times repeat and fall on midnight), some moved by a millisecond."""
    start = draw(st.sampled_from(_STARTS))
    step = st.integers(0, days * 48)
    times = draw(st.lists(st.tuples(step, st.sampled_from((0, 0, 0, -1, 1, 777))), max_size=max_size))
    values = draw(st.lists(st.integers(low, high), min_size=len(times), max_size=len(times)))
    return sorted((start + k * HALF_HOUR + ms, x) for (k, ms), x in zip(times, values, strict=True))


@st.composite
def later(draw, series):
    """An instant at or after the newest reading."""
    newest = series[-1][0] if series else _STARTS[0]
    return newest + draw(st.sampled_from((0, 0, 1, HALF_HOUR, DAY, 3 * DAY)))


def columns(series):
    t = np.array([t for t, _ in series], np.int64)
    v = np.array([x for _, x in series], np.int32)
    return t, v


def agree(got, expected, tolerance=1e-12):
    """Whether a kernel's figure is the oracle's, NaN standing for None."""
    if expected is None:
        return bool(np.isnan(got))
    return abs(got - expected) <= tolerance * max(1.0, abs(expected))


__all__ = ["DAY", "HALF_HOUR", "ZONES", "agree", "columns", "later", "readings", "zone_arrays"]
