"""Ventricular rhythms from the waveform: a plain form as oracle, what must not change the results, real records."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bench.accuracy import ventricular as accuracy
from bench.accuracy import whole_lead
from kernels import ventricular

RING = 1024
WORK = np.zeros(ventricular.WORK)


def oracle(x, rate_hz):
    """The figures of one window, by whole arrays."""
    v = x.astype(float)
    n = len(v)
    parts = v[: n // 16 * 16].reshape(16, -1)
    heights = np.sort(np.ptp(parts, axis=1))
    away = v - v.mean()
    power = np.mean(away**2)
    slope, bend = np.diff(v)[1:], np.diff(v, 2)
    steep = []
    for quarter in v[: n // 4 * 4].reshape(4, -1):
        slopes = np.abs(np.diff(quarter))
        steep.append(np.mean(slopes > int(0.15 * slopes.max())))
    width = max(int(0.16 * rate_hz), 2)
    slow = np.sum(np.convolve(away, np.ones(width) / width, "valid") ** 2) / n
    half = min(max(int(np.pi * np.mean(np.abs(away)) / (np.sum(np.abs(slope)) / n) + 0.5), 1), n // 4)
    notch = np.sum(np.abs(away[half:] + away[:-half])) / np.sum(np.abs(away[half:]) + np.abs(away[:-half]))
    cell = ((v - v.min()) * (39.999 / np.ptp(v))).astype(int)
    delay = int(0.5 * rate_hz)
    cells = set(zip(cell[delay:].tolist(), cell[:-delay].tolist(), strict=True))

    def correlation(seconds):
        # Only the right lag is centred by products; the mean of the parts differs little: as the kernel's formula.
        at = seconds * rate_hz
        low, share = int(at), at - int(at)
        both = [np.mean(v[k:] * v[: n - k]) - v.mean() ** 2 for k in (low, low + 1)]
        return ((1 - share) * both[0] + share * both[1]) / power

    turn = rate_hz / (2 * np.pi)
    return np.array(
        [
            np.log(heights[8] + 1),
            np.log(np.mean(away**4) / power**2),
            np.log(np.sqrt(np.sum(slope**2) / n / power) * turn),
            np.log(np.sqrt(np.sum(bend**2) / np.sum(slope**2)) * turn),
            np.mean(steep),
            np.log(slow / power),
            notch,
            len(cells) / 1600,
            np.log((heights[13] + 1) / (heights[2] + 1)),
            np.log((np.ptp(v) + 1) / (np.mean(np.abs(away)) + 1)),
            *(correlation(seconds) for seconds in (0.10, 0.15, 0.35)),
        ]
    )


def oracle_windows(x, work_hz):
    """All windows, oldest first: their samples, decimated and without baseline, and how much they move."""
    every = int(np.ceil(work_hz / 64.0))
    rate = work_hz / every
    weights = np.array([1.0, *[2.0] * (every - 1), 1.0]) / (2 * every)
    padded = np.concatenate([x[:1], x]).astype(float)
    y = np.correlate(padded, weights, "valid")[::every][: len(x) // every]
    keep = np.exp(-2 * np.pi / rate)
    for _ in range(2):
        y = signal.lfilter([keep, -keep], [1, -keep], y - y[0])
    y = np.floor(np.clip(y, -32767, 32767) + 0.5).astype(np.int16)
    width, tick, out = int(8 * rate), 1, []
    slopes = np.abs(np.diff(y.astype(int), prepend=0))
    while int(tick * 0.5 * rate) <= len(y):
        end = int(tick * 0.5 * rate)
        if end >= width:
            cuts = [int(k * 0.5 * rate) for k in range(tick - 16, tick + 1, 4)]
            parts = [slopes[a:b] for a, b in pairwise(cuts)]
            moves = sum(part.sum() / (part.max() + 1e-9) for part in parts) / (8 * rate)
            out.append((y[end - width : end], moves))
        tick += 1
    return out, rate


def oracle_scores(x, work_hz):
    windows, rate = oracle_windows(x, work_hz)
    scores = []
    for window, moves in windows:
        height = np.sort(np.ptp(window[: len(window) // 16 * 16].reshape(16, -1).astype(int), axis=1))[8]
        value = np.full(2, -8.0)
        if height >= 120.0 and moves >= 0.15:
            figures = oracle(window, rate)
            value = np.clip(ventricular.MODELS[:, :-1] @ figures + ventricular.MODELS[:, -1], -8, 8)
        scores.append(value)
    return np.array(scores)


def stream(x, work_hz, cuts=()):
    """Give all events and each half second's scores, the calls cut at `cuts`."""
    state, ring = np.zeros(ventricular.STATE), np.zeros(RING, np.int16)
    ends = sorted({*cuts, len(x), *(int(k * 0.5 * work_hz) for k in range(1, int(2 * len(x) / work_hz) + 1))})
    room = ventricular.max_events(RING, work_hz)
    out = [np.zeros(room, np.int64) for _ in range(4)] + [np.zeros(room)]
    events, scores, begin = [], [], 0
    for end in ends:
        ring[np.arange(begin, end) & (RING - 1)] = x[begin:end]
        before = state[ventricular.S_WINDOWS]
        count = ventricular.follow(state, ring, 0.0, end, work_hz, ventricular.MODELS, WORK, *out)
        assert count >= 0
        events += list(zip(*(a[:count].tolist() for a in out), strict=True))
        if state[ventricular.S_WINDOWS] > before:
            scores.append([state[ventricular.S_RAW_V], state[ventricular.S_RAW_F]])
        begin = end
    return events, np.array(scores), state


def coarse_vf(seed, seconds=30.0, work_hz=125.0, amplitude_uv=500.0):
    """An oscillation of wandering frequency (4 to 7 Hz) and amplitude."""
    rng = np.random.default_rng(seed)
    n = int(seconds * work_hz)
    slow = signal.butter(2, 0.8, fs=work_hz, output="sos")
    wander = signal.sosfilt(slow, rng.normal(size=(2, n))) * 8
    phase = np.cumsum(2 * np.pi * np.clip(5.2 + wander[0], 4, 7) / work_hz)
    shape = np.sin(phase) + 0.25 * np.sin(2 * phase + 1.0)
    return np.rint(amplitude_uv * np.clip(1 + 0.5 * wander[1], 0.4, 1.6) * shape).astype(np.int16)


def lead(seed):
    """Sinus, then an oscillation, then sinus: 125 Hz, microvolts."""
    return np.concatenate([beats(seed), coarse_vf(seed), beats(seed + 1)])


def beats(seed, seconds=20.0, work_hz=125.0):
    """A spike of 80 ms on a flat line, a low T wave after it, 80 a minute."""
    t = np.arange(int(seconds * work_hz)) / work_hz
    at = np.mod(t + 0.01 * seed, 0.75)
    qrs = 1000 * np.exp(-(((at - 0.3) / 0.018) ** 2)) + 180 * np.exp(-(((at - 0.55) / 0.05) ** 2))
    return np.rint(qrs + 5 * np.random.default_rng(seed).normal(size=len(t))).astype(np.int16)


@pytest.mark.parametrize("work_hz", [100.0, 120.0, 125.0, 128.0, 180.0, 239.0])
def test_the_oracle_gives_the_same_scores(work_hz):
    x = signal.resample_poly(lead(3).astype(float), int(work_hz), 125)
    x = np.rint(x).astype(np.int16)
    _, scores, _ = stream(x, work_hz)
    expected = oracle_scores(x, work_hz)
    assert scores.shape == expected.shape
    assert (scores > -8).any()
    assert (scores == -8).any()
    # Rounding to whole microvolts at a tie, or one cell of 1600, may fall either way.
    np.testing.assert_allclose(scores, expected, atol=0.06)


def test_an_oscillation_is_fibrillation_and_beats_are_not():
    events, _, _ = stream(lead(1), 125.0)
    assert [(kind, end >= 0) for kind, _, end, _, _ in events if kind == ventricular.FIBRILLATION] == [
        (ventricular.FIBRILLATION, False),
        (ventricular.FIBRILLATION, True),
    ]
    onset, end, decided = next(e[1:4] for e in events if e[2] >= 0 and e[0] == ventricular.FIBRILLATION)
    assert abs(onset / 125.0 - 20.0) < 3.0
    assert abs(end / 125.0 - 50.0) < 4.0
    assert decided / 125.0 - 20.0 < 7.0


@pytest.mark.parametrize("amplitude_uv", [0.0, 5.0, 40.0])
def test_what_is_under_the_floor_is_never_fibrillation(amplitude_uv):
    events, scores, _ = stream(coarse_vf(5, amplitude_uv=amplitude_uv), 125.0)
    assert not events
    assert (scores == -8.0).all()


@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(1, 8749), max_size=40))
@settings(max_examples=25)
def test_cuts_change_nothing(seed, cuts):
    x = lead(seed)
    whole, _, state = stream(x, 125.0)
    parts, _, other = stream(x, 125.0, cuts)
    assert parts == whole
    np.testing.assert_array_equal(other, state)


@given(seed=st.integers(0, 50), constant=st.integers(-15000, 15000))
@settings(max_examples=10)
def test_a_constant_changes_nothing(seed, constant):
    x = lead(seed)
    events, scores, _ = stream(x, 125.0)
    moved, other, _ = stream((x.astype(int) + constant).astype(np.int16), 125.0)
    np.testing.assert_allclose(other, scores, atol=0.2)
    assert (ventricular.FIBRILLATION in {e[0] for e in moved}) == (
        ventricular.FIBRILLATION in {e[0] for e in events}
    )


@given(seed=st.integers(0, 50))
@settings(max_examples=10)
def test_polarity_changes_nothing_of_substance(seed):
    x = lead(seed)
    events, scores, _ = stream(x, 125.0)
    turned, other, _ = stream(-x, 125.0)
    np.testing.assert_allclose(other, scores, atol=0.3)
    # Which kind comes first may turn on a hair; that there is fibrillation may not.
    assert (ventricular.FIBRILLATION in {e[0] for e in turned}) == (
        ventricular.FIBRILLATION in {e[0] for e in events}
    )


@pytest.mark.parametrize("gain", [20.0, 200.0, 2000.0])
def test_samples_and_gain_together_change_nothing(gain):
    x = lead(7).astype(float)
    samples = np.rint(np.repeat(x, 2) * gain / 1000.0).astype(np.int16)
    averaged, work_hz, group = whole_lead.averaged(samples, 250.0, gain)
    assert (work_hz, group) == (125.0, 2)
    kinds = [kind for kind, *_ in whole_lead.follow(averaged, work_hz, group).episodes]
    assert ventricular.FIBRILLATION in kinds


def test_too_little_room_takes_nothing():
    state = np.zeros(ventricular.STATE)
    few = [np.zeros(1, np.int64) for _ in range(4)] + [np.zeros(1)]
    ring = np.zeros(RING, np.int16)
    assert (
        ventricular.follow(state, ring, 0.0, 62, 125.0, ventricular.MODELS, WORK, *few) == ventricular.NO_ROOM
    )
    assert not state.any()


def test_the_state_is_within_two_kibibytes():
    assert 8 * ventricular.STATE <= 2048


@pytest.mark.ecg
def test_real_fibrillation_is_found(ecg_folder):
    total = accuracy.Score()
    for name in ("cu01", "cu15", "cu31"):
        truth = accuracy.read(ecg_folder / "cudb" / name)
        judged = whole_lead.follow(truth.x, truth.work_hz, truth.group)
        total.add(accuracy.score(truth, judged, either=False))
    assert total.sensitivity >= 98.0
    assert total.specificity >= 97.0
    assert not total.missed


@pytest.mark.ecg
@pytest.mark.parametrize("name", ["101", "203", "208"])
def test_no_fibrillation_where_there_is_none(ecg_folder, name):
    truth = accuracy.read(ecg_folder / "mitdb" / name)
    assert not [e for e in whole_lead.follow(truth.x, truth.work_hz, truth.group).episodes if e[0] == 1]
