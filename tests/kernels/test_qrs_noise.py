"""Beats by shape in noise: plain forms as oracles, no lock at half the rate, and the detector as it goes in and out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import qrs, qrs_noise

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
    rarest = min(range(3), key=lambda q: (shapes[q][1], q))
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


# ---- The detector.


def electrode(n, seed, level):
    """What is like the motion of an electrode, millivolts: as high as a QRS and in its band, but smoother."""
    white = np.random.default_rng(seed).standard_normal(n)
    slow = signal.sosfilt(signal.butter(3, [1.0, 12.0], "bandpass", fs=RATE, output="sos"), white)
    return level * slow / slow.std()


def noisy(seed, level, kind=Rhythm.SINUS):
    """Three minutes of quiet, one of noise, one of quiet: samples, gain and true beats."""
    ecg = synthesize(kind, 300.0, seed, noise_mv=0.01)
    low, high = int(180 * RATE), int(240 * RATE)
    samples = ecg.samples.astype(float)
    samples[low:high] += electrode(high - low, seed, level) * ecg.gain
    return np.rint(samples).astype(np.int16), ecg.gain, ecg.beats


def run(samples, gain, cuts=()):
    state, coeffs = np.zeros(qrs.STATE), design(RATE)
    beats, decided, by_shape = [], [], []
    for part in np.split(samples, cuts):
        room = qrs.max_beats(len(part), RATE)
        at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
        count = qrs.feed(state, part, gain, coeffs, at, when)
        beats += at[:count].tolist()
        decided += when[:count].tolist()
        by_shape.append(int(state[qrs.S_IN_NOISE : qrs.S_IN_NOISE + 2].view(np.int16)[qrs.N_MODE]) > 0)
    return beats, decided, by_shape, state


def rates(found, true, low, high, window=0.15 * RATE):
    found, true = (np.array([b for b in these if low < b < high]) for these in (found, true))
    hit = sum(np.abs(found - beat).min() <= window for beat in true)
    right = sum(np.abs(true - beat).min() <= window for beat in found)
    return hit / len(true), right / len(found)


SECONDS = [int(RATE * second) for second in range(1, 300)]


@pytest.mark.parametrize("seed", [2, 3])
def test_beats_are_told_from_the_motion_of_an_electrode(seed):
    samples, gain, true = noisy(seed, 0.3)
    beats, decided, by_shape, _ = run(samples, gain, SECONDS)
    assert not any(by_shape[:180])
    assert sum(by_shape[200:240]) > 30
    assert not any(by_shape[270:])
    found, right = rates(beats, true, 200 * RATE, 239 * RATE)
    assert found > 0.9
    assert right > 0.8
    found, right = rates(beats, true, 5 * RATE, 179 * RATE)
    assert found == right == 1.0
    delay = np.array([(d - b) / RATE for b, d in zip(beats, decided, strict=True) if b > 3 * RATE])
    assert delay.max() <= 1.0
    assert beats == sorted(set(beats))


@settings(max_examples=15)
@given(st.integers(2, 3), st.lists(st.integers(170 * 250, 260 * 250), max_size=30))
def test_cuts_change_nothing_in_noise(seed, cuts):
    samples, gain, _ = noisy(seed, 0.3)
    samples[200 * 250 : 201 * 250] = -32768  # lost in the midst of it
    whole, parts = run(samples, gain), run(samples, gain, sorted(cuts))
    assert parts[:2] == whole[:2]
    assert parts[3].tobytes() == whole[3].tobytes()


def test_an_end_in_noise_decides_what_is_open():
    samples, gain, true = noisy(2, 0.3)
    samples = samples[: int(225 * RATE)]
    beats, _, by_shape, state = run(samples, gain, SECONDS[:224])
    assert by_shape[-1]
    at, when = np.zeros(qrs.FINISH_ROOM, np.int64), np.zeros(qrs.FINISH_ROOM, np.int64)
    count = qrs.finish(state, design(RATE), at, when)
    assert count >= 1
    assert beats[-1] < at[0]
    assert (when[:count] == len(samples)).all()
    assert len(rates(at[:count], true, at[0] - 10, len(samples))) == 2


def test_beats_that_stop_in_noise_are_not_made_up():
    """Nothing like a beat for two seconds: height judges again, and where nothing is high there is no beat."""
    samples, gain, _ = noisy(2, 0.3)
    quiet = np.rint(np.random.default_rng(0).normal(0.0, 0.01, int(20 * RATE)) * gain).astype(np.int16)
    whole = np.concatenate([samples[: int(225 * RATE)], quiet])
    beats, _, by_shape, _ = run(whole, gain, [*SECONDS[:225], *(int((225 + s) * RATE) for s in range(1, 20))])
    assert by_shape[223]
    assert not any(by_shape[229:])
    assert max(beats) < 225.3 * RATE


def test_another_rhythm_is_not_waited_for():
    """Wide beats at twice the rate, in noise: none is like a beat of quiet, and yet they are found."""
    samples, gain, _ = noisy(3, 0.3)
    t = np.arange(int(30 * RATE)) / RATE
    wide = 1.5 * np.sin(2 * np.pi * 3.0 * t) ** 3 * gain
    whole = np.concatenate([samples[: int(225 * RATE)], np.rint(wide).astype(np.int16)])
    beats, _, by_shape, _ = run(whole, gain, [*SECONDS[:225], *(int((225 + s) * RATE) for s in range(1, 30))])
    assert by_shape[223]
    assert not by_shape[-1]
    assert max(np.diff([b for b in beats if b > 229 * RATE])) < RATE  # from four seconds on


def test_another_rate_forgets_the_shapes_and_goes_on():
    samples, gain, _ = noisy(2, 0.3)
    state = run(samples[: int(179 * RATE)], gain)[3]
    shapes = state[qrs.S_SHAPES : qrs.S_IN_NOISE].view(np.int16)
    assert qrs_noise.known(shapes)
    ecg = synthesize(Rhythm.SINUS, 20.0, 2, rate_hz=360.0)
    room = qrs.max_beats(len(ecg.samples), 360.0)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
    assert qrs.feed(state, ecg.samples, gain, design(360.0), at, when) > 15
    assert not qrs_noise.known(shapes)
