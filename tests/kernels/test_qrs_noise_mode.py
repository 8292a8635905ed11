"""The detector as it goes into noise and out of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qrs_runs import detect
from scipy import signal

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import qrs, qrs_noise, qrs_state

RATE = 250.0


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
    by_shape = []

    def look(state):
        noise = state[qrs_state.S_IN_NOISE : qrs_state.S_IN_NOISE + 2].view(np.int16)
        by_shape.append(int(noise[qrs_state.N_MODE]) > 0)

    beats, decided, state = detect(samples, RATE, gain, cuts, look)
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
    shapes = state[qrs_state.S_SHAPES : qrs_state.S_IN_NOISE].view(np.int16)
    assert qrs_noise.known(shapes)
    ecg = synthesize(Rhythm.SINUS, 20.0, 2, rate_hz=360.0)
    room = qrs.max_beats(len(ecg.samples), 360.0)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
    assert qrs.feed(state, ecg.samples, gain, design(360.0), at, when) > 15
    assert not qrs_noise.known(shapes)
