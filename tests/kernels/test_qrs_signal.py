"""The averaged signal: its ring, and what is done where the signal is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qrs_runs import detect, lead

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import qrs_signal, qrs_state


def averages(samples, rate, gain, cuts=()):
    """All averages, block by block, from samples that come in parts."""
    state, coeffs = np.zeros(qrs_state.STATE), design(rate)
    state[qrs_state.S_GAIN], state[qrs_state.S_BASE] = gain, samples[0]
    state[qrs_state.S_HELD] = samples[0]
    out, block = [], np.zeros(qrs_signal.BLOCK)
    for part in np.split(samples, cuts):
        at = careful = 0
        while at < len(part):
            at, m, careful = qrs_signal.average(state, part, at, careful, coeffs, block)
            out.append(block[:m].copy())
    return np.concatenate([np.empty(0), *out])


@given(
    st.lists(st.integers(-30_000, 30_000), min_size=2, max_size=1500),
    st.sampled_from([100.0, 250.0, 360.0, 500.0, 1000.0]),
    st.lists(st.integers(0, 1500), max_size=9),
)
def test_averages_equal_the_plain_form(values, rate, cuts):
    samples = np.array(values, np.int16)
    group = int(design(rate)[qrs_state.C_GROUP])
    plain = samples[: len(samples) // group * group].astype(float) - samples[0]
    plain = plain.reshape(-1, group).mean(axis=1) * 1000.0 / 200.0
    cuts = sorted(min(cut, len(samples)) for cut in cuts)
    if (np.convolve(np.diff(samples) == 0, np.ones(90)) < 90).all():  # no loss of signal
        assert averages(samples, rate, 200.0, cuts) == pytest.approx(plain, rel=1e-12, abs=1e-9)


def test_a_sample_at_the_rail_is_held_and_no_loss():
    samples = np.arange(100, 400, dtype=np.int16)
    samples[50] = -32768
    plain = samples.astype(float) - 100.0
    plain[50] = plain[49]
    found = averages(samples, 100.0, 1000.0)
    assert found == pytest.approx(plain)


@settings(max_examples=60)
@given(
    st.integers(0, 40),
    st.sampled_from([128.0, 250.0, 360.0, 1000.0]),
    st.lists(st.tuples(st.floats(0.0, 19.0), st.floats(0.0, 1.3), st.integers(0, 3)), max_size=12),
    st.lists(st.floats(0.0, 20.0), max_size=30),
)
def test_cuts_change_nothing_where_samples_are_rare(seed, rate, faults, cuts):
    """Rails, alone and in runs, flat lines and steps of the electrode, anywhere in what is worked on at once."""
    ecg = lead(seed, 20.0, rate)
    samples = ecg.samples.copy()
    for at_s, lasts_s, kind in faults:
        at, end = int(at_s * rate), int((at_s + lasts_s) * rate) + 1
        if kind == 3:
            samples[at:] = np.clip(samples[at:].astype(int) + int(9000 * lasts_s), -32768, 32767)
        else:
            samples[at:end] = [-32768, 32767, samples[at]][kind]
    whole = detect(samples, rate, ecg.gain)
    parts = detect(samples, rate, ecg.gain, sorted(int(cut * rate) for cut in cuts))
    assert parts[:2] == whole[:2]
    assert parts[2].tobytes() == whole[2].tobytes()


def test_lost_signal_is_a_break_and_levels_stay():
    ecg = lead(0, 40.0)
    samples = ecg.samples.copy()
    samples[5000:6000] = 32767
    samples[6000:] += 800  # the electrode sits elsewhere
    beats, _, state = detect(samples, 250.0, ecg.gain)
    assert not [beat for beat in beats if 5000 <= beat < 6000]
    assert state[qrs_state.S_BREAK] == 6000
    after = ecg.beats[(ecg.beats > 6100) & (ecg.beats < 9600)]
    found = [beat for beat in beats if 6090 < beat < 9610]
    assert len(found) == len(after)


@settings(max_examples=30)
@given(
    st.integers(0, 20),
    st.sampled_from([100.0, 250.0, 360.0, 1000.0]),
    st.lists(st.integers(0, 5000), max_size=9),
)
def test_the_ring_holds_the_averaged_signal(seed, rate, cuts):
    ecg = lead(seed, 12.0, rate)
    state = detect(ecg.samples, rate, ecg.gain, sorted(cuts))[2]
    group = int(design(rate)[qrs_state.C_GROUP])
    n = int(state[qrs_state.S_J])
    assert n == len(ecg.samples) // group
    x = (ecg.samples[: n * group].astype(float) - float(ecg.samples[0])).reshape(-1, group).mean(axis=1)
    j = np.arange(n - qrs_state.RING, n)
    found = state[qrs_state.S_RING : qrs_state.S_RING + qrs_state.RING // 4].view(np.int16)[
        j % qrs_state.RING
    ]
    assert np.abs(found - x[j] * 1000.0 / ecg.gain).max() <= 0.5 + 1e-6


def test_a_drifting_electrode_keeps_the_ring_within_its_range():
    ecg = synthesize(Rhythm.SINUS, 60.0, 3)
    drift = np.linspace(0.0, 120.0 * ecg.gain, len(ecg.samples))  # 120 mV in a minute, -60 to 60 of them
    samples = np.rint(ecg.samples + drift - 60.0 * ecg.gain).astype(np.int16)
    beats, _, state = detect(samples, 250.0, ecg.gain)
    plain = detect(ecg.samples, 250.0, ecg.gain)[0]
    assert len(beats) == pytest.approx(len(plain), abs=1)
    ring = state[qrs_state.S_RING : qrs_state.S_RING + qrs_state.RING // 4].view(np.int16)
    assert np.abs(ring.astype(int)).max() < 20_000
    j = int(state[qrs_state.S_J]) - 200 + np.arange(200)
    x = samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(axis=1) * 1000.0 / ecg.gain
    assert np.diff(ring[j % qrs_state.RING].astype(int)) == pytest.approx(np.diff(x[j]), abs=1.01)
