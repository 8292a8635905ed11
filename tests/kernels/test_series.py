import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import series
from kernels._jit import jit

READINGS = st.lists(st.tuples(st.integers(0, 12), st.integers(-3, 3)), max_size=40)


@jit
def insert(t, v, start, count, visible, physical, time, value):
    """Put one reading in, as the pass over a batch does: when the series is full its oldest are moved out."""
    at = series.place(t, v, start, count, visible, time, value)
    if at < 0:
        return at, count
    if count == physical:
        surplus = count - visible
        for i in range(start, start + visible):
            t[i] = t[i + surplus]
            v[i] = v[i + surplus]
        count = visible
        at -= surplus
    series.put(t, v, start, count, at, time, value)
    return at, count + 1


def filled(readings, visible, slack):
    """Insert into a series in the middle of a row whose neighbours must stay as they are."""
    physical = visible + slack
    t = np.full(physical + 6, -77, np.int64)
    v = np.full(physical + 6, -77, np.int32)
    count = 0
    said = []
    for time, value in readings:
        at, count = insert(t, v, 3, count, visible, physical, time, value)
        said.append(at)
    assert (t[:3] == -77).all()
    assert (t[physical + 3 :] == -77).all()
    return list(zip(t[3 : 3 + count].tolist(), v[3 : 3 + count].tolist(), strict=True)), said


@settings(max_examples=300)
@given(READINGS, st.integers(1, 12), st.integers(1, 6))
def test_the_newest_are_those_of_the_set_of_readings(readings, visible, slack):
    content, _ = filled(readings, visible, slack)
    assert content == sorted(content)
    assert len(set(content)) == len(content)
    assert content[-visible:] == sorted(set(readings))[-visible:]


@settings(max_examples=100)
@given(READINGS, st.randoms(use_true_random=False), st.integers(1, 12), st.integers(1, 6))
def test_order_of_arrival_and_repeats_do_not_matter(readings, rng, visible, slack):
    content, _ = filled(readings, visible, slack)
    other = readings + readings[: len(readings) // 2]
    rng.shuffle(other)
    shuffled, _ = filled(other, visible, slack)
    assert shuffled[-visible:] == content[-visible:]


@settings(max_examples=200)
@given(READINGS, st.integers(1, 12))
def test_present_and_outdated_are_said_of_the_right_ones(readings, visible):
    """With room for all, nothing is forgotten: outdated is what would not be among the newest."""
    _, said = filled(readings, visible, 60)
    kept = set()
    for reading, at in zip(readings, said, strict=True):
        if at == series.PRESENT:
            assert reading in kept
        elif at == series.OUTDATED:
            assert reading not in sorted({*kept, reading})[-visible:]
        else:
            assert reading not in kept
            kept.add(reading)
            assert sorted(kept)[at] == reading
