"""One lead through detector and listeners: cuts change nothing, and the end of a strip loses no beat."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import ecg_lead, qrs, qrs_state

KINDS = list(Rhythm)


def run(samples, rate, gain, cuts=(), *, flush=True):
    """Give beats, decisions, rows of episodes and the state."""
    edges = [0, *sorted(cuts), len(samples)]
    work = ecg_lead.scratch(len(samples) / rate)
    row = np.zeros(ecg_lead.ROW)
    out = [], [], []
    parts = [samples[low:high] for low, high in pairwise(edges)]
    for part in [*parts, None] if flush else parts:
        if part is None:
            assert ecg_lead.finish(row, design(rate), work) == 0
        else:
            assert ecg_lead.feed(row, part, gain, design(rate), work) == 0
        found, _, rows = work.counts.tolist()
        out[0].extend(work.beat[:found].tolist())
        out[1].extend(work.decided[:found].tolist())
        out[2].extend(map(tuple, work.rows[:rows].tolist()))
    return *out, row


@settings(max_examples=60)
@given(
    st.integers(0, 60),
    st.lists(st.integers(0, 7500), max_size=40),
    st.sampled_from([100.0, 125.0, 250.0, 257.5]),
)
def test_cuts_change_nothing(seed, cuts, rate):
    ecg = synthesize(KINDS[seed % len(KINDS)], 30.0, seed, rate_hz=rate)
    samples = ecg.samples.copy()
    if seed % 2:
        samples[2500 : 2500 + 30 * seed] = -32768
    whole = run(samples, rate, ecg.gain)
    parts = run(samples, rate, ecg.gain, [cut for cut in cuts if cut < len(samples)])
    assert parts[:3] == whole[:3]
    assert parts[3].tobytes() == whole[3].tobytes()


@settings(max_examples=100)
@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 7400), st.integers(240, 700)), min_size=1, max_size=5),
    st.lists(st.integers(0, 7500), max_size=30),
)
def test_flat_lines_anywhere_change_nothing_by_where_they_are_cut(seed, flats, cuts):
    """After a second of one value the detector begins anew: what it found before is classed before."""
    ecg = synthesize(KINDS[seed % len(KINDS)], 30.0, seed)
    samples = ecg.samples.copy()
    for at, length in flats:
        samples[at : at + length] = samples[at]
    whole = run(samples, 250.0, ecg.gain)
    parts = run(samples, 250.0, ecg.gain, [cut for cut in cuts if cut < len(samples)])
    assert parts[:3] == whole[:3]
    assert parts[3].tobytes() == whole[3].tobytes()


@settings(max_examples=60)
@given(
    st.integers(0, 12),
    st.lists(
        st.tuples(st.integers(0, 7400), st.integers(1, 400), st.sampled_from([32767, -32767, -32768])),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.integers(0, 7500), max_size=20),
)
def test_losses_anywhere_change_nothing_by_where_they_are_cut(seed, losses, cuts):
    ecg = synthesize(KINDS[seed % len(KINDS)], 30.0, seed)
    samples = ecg.samples.copy()
    for first, length, rail in losses:
        samples[first : first + length] = rail
        cuts = [*cuts, first, first + length]
    whole = run(samples, ecg.rate_hz, ecg.gain)
    parts = run(samples, ecg.rate_hz, ecg.gain, [cut for cut in cuts if cut < len(samples)])
    assert parts[:3] == whole[:3]
    assert parts[3].tobytes() == whole[3].tobytes()


@settings(max_examples=60)
@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 14_900), st.floats(-60.0, 60.0)), min_size=2, max_size=14),
    st.integers(1, 400),
    st.sampled_from([125.0, 250.0, 500.0]),
)
def test_steps_of_an_electrode_s_offset_change_nothing_by_where_they_are_cut(seed, steps, size, rate):
    """Beyond some millivolts the ring is centred anew: what was found before is classed by what it was."""
    ecg = synthesize(KINDS[seed % len(KINDS)], 60.0, seed, rate_hz=rate)
    offset = np.zeros(len(ecg.samples))
    for at, mv in sorted(steps):
        offset[at:] = mv
    samples = np.round(200.0 * (ecg.samples / ecg.gain + offset)).astype(np.int16)
    whole = run(samples, rate, 200.0)
    parts = run(samples, rate, 200.0, range(size, len(samples), size))
    assert parts[:3] == whole[:3]
    assert parts[3].tobytes() == whole[3].tobytes()


def test_beats_are_those_of_the_detector():
    ecg = synthesize(Rhythm.ECTOPY, 60.0, 3)
    beats, decided, _, _ = run(ecg.samples, ecg.rate_hz, ecg.gain, flush=False)
    room = qrs.max_beats(len(ecg.samples), ecg.rate_hz)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
    count = qrs.feed(np.zeros(qrs_state.STATE), ecg.samples, ecg.gain, design(ecg.rate_hz), at, when)
    assert (beats, decided) == (at[:count].tolist(), when[:count].tolist())


@pytest.mark.parametrize("seconds", [2.0, 2.9, 5.0, 10.0])
def test_a_strip_keeps_its_last_beats(seconds):
    """The end decides what was pending, however short the strip, and adds nothing of its own."""
    ecg = synthesize(Rhythm.SINUS, 60.0, 5)
    size = round(seconds * ecg.rate_hz)
    margin = round(0.15 * ecg.rate_hz)  # a complex that the cut goes through may be seen or not
    for start in range(0, len(ecg.samples) - size, size // 2):
        beats, decided, _, _ = run(ecg.samples[start : start + size].copy(), ecg.rate_hz, ecg.gain)
        true = ecg.beats[(ecg.beats >= start) & (ecg.beats < start + size)] - start
        sure = true[(true > 2 * margin) & (true < size - margin)]
        near = [min(abs(beat - each) for each in beats) for beat in sure.tolist()]
        assert max(near, default=0) <= 3
        extra = [beat for beat in beats if np.abs(true - beat).min(initial=size) > 3]
        assert all(beat < 2 * margin or beat >= size - margin for beat in extra)
        assert all(beat < size and when <= size for beat, when in zip(beats, decided, strict=True))


def test_a_pause_is_said_while_it_lasts():
    alive = synthesize(Rhythm.SINUS, 20.0, 1).samples
    flat = synthesize(Rhythm.ASYSTOLE, 20.0, 1, noise_mv=0.01)
    beats, _, rows, _ = run(np.concatenate([alive, flat.samples]), flat.rate_hz, flat.gain)
    begun = {kind: (start, decided) for kind, start, end, decided, _ in rows if end < 0}
    assert {start for start, _ in begun.values()} == {beats[-1]}
    waited = [(decided - start) / flat.rate_hz for start, decided in begun.values()]
    assert 3.0 <= waited[0] <= 4.6
    assert 4.0 <= waited[1] <= 5.6
    assert {end for _, _, end, _, _ in rows if end >= 0} == {len(alive) + len(flat.samples)}


def test_each_beat_has_one_class_in_its_order():
    ecg = synthesize(Rhythm.ECTOPY, 60.0, 3)
    work = ecg_lead.scratch(60.0)
    row = np.zeros(ecg_lead.ROW)
    assert ecg_lead.feed(row, ecg.samples, ecg.gain, design(ecg.rate_hz), work) == 0
    found, classed, _ = work.counts.tolist()
    assert found - 2 <= classed <= found
    assert ecg_lead.finish(row, design(ecg.rate_hz), work) == 0
    assert classed + int(work.counts[1]) == found + int(work.counts[0])


def test_refusals_take_nothing():
    row = np.zeros(ecg_lead.ROW)
    samples = np.zeros(2500, np.int16)
    long, short = ecg_lead.scratch(10.0), ecg_lead.scratch(0.1)
    for gain, work, answer in (
        (0.0, long, qrs.BAD_GAIN),
        (float("nan"), long, qrs.BAD_GAIN),
        (500.0, short, qrs.NO_ROOM),
    ):
        assert (
            ecg_lead.feed(row, np.tile(samples, 10) if work is short else samples, gain, design(250.0), work)
            == answer
        )
        assert not row.any()
