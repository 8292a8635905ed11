"""Shapes and the path through noise: plain forms as oracles, and no lock at half the rate."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import qrs_noise

RATE = 250.0
EACH = qrs_noise.SHAPES // 3


def bends(ring, j, step):
    """Second differences about `j`, in plain form."""
    at = j + np.arange(-6, 7) * step
    return np.diff(ring[at % len(ring)].astype(float), 2)


def likeness(ring, shapes, j, step):
    x = bends(ring, j, step)
    weights = shapes.reshape(3, EACH)[:, -1].astype(int)
    best = 0.0
    for shape, weight in zip(shapes.reshape(3, EACH).astype(float), weights, strict=True):
        if weight > 0 and weight * 16 >= weights.sum():
            own = (shape[:-1] ** 2).sum()
            best = max(
                best, ((x**2).sum() + 0.05 * own) / (((x - shape[:-1]) ** 2).sum() + 0.05 * own + 1e-9)
            )
    return best


@given(st.integers(0, 10_000), st.sampled_from([1, 2]))
def test_likeness_equals_the_plain_form(seed, step):
    random = np.random.default_rng(seed)
    ring = random.integers(-3000, 3000, 64).astype(np.int16)
    shapes = random.integers(-3000, 3000, qrs_noise.SHAPES).astype(np.int16)
    shapes[EACH - 1 :: EACH] = random.choice([0, 100, 1000, 9000], 3)
    j = int(random.integers(0, 500))
    shapes[: EACH - 1] = bends(ring, j, step) * random.choice([0.5, 1.0, 3.0])
    assert qrs_noise.likeness(ring, shapes, j, step) == pytest.approx(
        likeness(ring, shapes, j, step), rel=1e-9
    )


def test_likeness_has_two_sides():
    ring = np.zeros(64, np.int16)
    ring[28:36] = [50, -200, 900, 1500, 700, -400, -100, 0]
    shapes = np.zeros(qrs_noise.SHAPES, np.int16)
    shapes[: EACH - 1], shapes[EACH - 1] = bends(ring, 31, 1), 10_000
    like = [
        qrs_noise.likeness((ring * k).astype(np.int16), shapes, 31, 1) for k in (0.0, 0.3, 1.0, 3.0, -1.0)
    ]
    assert like[0] < qrs_noise.LEAST
    assert like[2] > 20.0
    assert like[3] < qrs_noise.CLEAR
    assert like[4] < qrs_noise.LEAST


def learn(ring, shapes, j, step):
    """The plain form: lists of (taps, weight)."""
    x = np.clip(bends(ring, j, step), -32767, 32767)
    known = sum(weight for _, weight in shapes) >= 80 * 128
    rarest = 0
    for q in (1, 2):
        # Those before have lost what all lose at each beat.
        if shapes[q][1] < shapes[rarest][1] - (shapes[rarest][1] >> 7):
            rarest = q
    different = [
        (
            ((bends(ring, j, step) - t) ** 2).sum()
            / max((bends(ring, j, step) ** 2).sum(), (t**2).sum(), 1e-9),
            q,
        )
        for q, (t, weight) in enumerate(shapes)
        if weight > 0
    ]
    least, closest = min(different, default=(1.0, -1))
    for q, (t, weight) in enumerate(shapes):
        shapes[q] = (t, weight - (weight >> 7))
    if least < 0.5:
        t, weight = shapes[closest]
        shapes[closest] = (t + np.floor((x - t + 4) / 8), weight + 128)
        return True
    shapes[rarest] = (x, 128)
    return not known


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_learning_equals_the_plain_form(seed):
    random = np.random.default_rng(seed)
    kinds = random.integers(-2000, 2000, (4, 64))
    shapes = np.zeros(qrs_noise.SHAPES, np.int16)
    plain = [(np.zeros(EACH - 1), 0)] * 3
    for _ in range(300):
        kind = kinds[random.choice(4, p=[0.7, 0.2, 0.08, 0.02])]
        ring = (kind + random.integers(-150, 150, 64)).astype(np.int16)
        assert qrs_noise.learn(ring, shapes, 30, 1) == learn(ring, plain, 30, 1)
        assert shapes.tolist() == np.concatenate([[*t, weight] for t, weight in plain]).astype(int).tolist()
    assert qrs_noise.known(shapes)


# ---- The path.


def cost(interval, intervals):
    usual = max(float(np.median(intervals)), 1.0)
    spread = np.clip(np.minimum(np.abs(np.log(np.maximum(intervals, 1.0) / usual)), 0.7).mean(), 0.12, 0.4)
    ratio = interval / usual
    return min(0.9, 0.15 / spread**2 * (ratio + 1.0 / ratio - 2.0))


def value(chosen, at, worth, last, now, intervals, apart):
    """Worth of one subset of the candidates; None when two are too close."""
    places = [last, *(at[i] for i in chosen)]
    steps = np.diff(places)
    if (steps <= apart).any():
        return None
    usual = max(float(np.median(intervals)), 1.0)
    open_ = cost(max(now - places[-1], usual), intervals)
    return sum(worth[i] - 0.15 for i in chosen) - sum(cost(step, intervals) for step in steps) - open_


@given(st.integers(0, 100_000))
@settings(max_examples=200)
def test_the_path_is_the_best_of_all_subsets(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 8))
    at = np.sort(random.choice(np.arange(1, 120), count, replace=False)).astype(float)
    worth = random.normal(0.5, 0.8, count)
    intervals = random.integers(40, 160, 8).astype(np.int16)
    last, now, apart = 0.0, float(at[-1] + random.integers(0, 40)), 24.0
    best = {True: -np.inf, False: -np.inf}
    for size in range(count + 1):
        for chosen in combinations(range(count), size):
            total = value(chosen, at, worth, last, now, intervals.astype(float), apart)
            if total is not None:
                first = bool(chosen) and chosen[0] == 0
                best[first] = max(best[first], total)
    if abs(best[True] - best[False]) > 1e-9:
        found = qrs_noise.candidate_0_is_a_beat(
            at, worth, np.zeros(count), count, last, now, intervals, apart
        )
        assert found == (best[True] > best[False])


@pytest.mark.parametrize("usual", [0.4, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_clear_beats_are_all_taken_whatever_interval_is_usual(usual, spread):
    """No lock at half the rate, nor at a third: a clear beat is worth more than the two intervals it makes."""
    random = np.random.default_rng(1)
    period = 90.0
    intervals = np.rint(period * usual * np.exp(spread * random.standard_normal(8))).astype(np.int16)
    last = 0.0
    for _ in range(50):
        at = last + period * np.arange(1, 3)
        found = qrs_noise.candidate_0_is_a_beat(
            at, np.full(2, 2.0), np.zeros(2), 2, last, at[-1], intervals, 24.0
        )
        assert found
        last = at[0]
        intervals[:7] = intervals[1:].copy()
        intervals[7] = period
