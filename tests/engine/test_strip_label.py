"""Labels of short strips: measures against a plain form, what must not change them, and real strips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy import strips2017
from engine import strip_label
from engine.ecg_analysis import Analysis, Spans, analyse
from ingest.formats.ecg_files import How, read_record
from ingest.formats.lead import Lead
from ingest.simulator.ecg import Rhythm, synthesize

RATE = 300.0
NONE = Spans(*(np.empty(0, np.int64),) * 2, [], np.empty(0, np.int64))


def of_beats(rr_s, rate=RATE):
    beats = np.rint(np.cumsum([0.5, *rr_s]) * rate).astype(np.int64)
    length = int(beats[-1] + rate)
    return Analysis(rate, length, beats, beats, ["N"] * len(beats), NONE, NONE)


def entropy(rr):
    """The coefficient of sample entropy, pair by pair."""
    tolerance = 0.03
    for _ in range(31):
        one = two = 0
        for i in range(len(rr) - 1):
            for k in range(i + 1, len(rr) - 1):
                first = abs(rr[i] - rr[k]) < tolerance
                one += first
                two += first and abs(rr[i + 1] - rr[k + 1]) < tolerance
        if two >= 5:
            break
        tolerance *= 1.2
    return np.log(max(one, 1) / max(two, 1)) + np.log(2 * tolerance) - np.log(np.mean(rr))


@settings(max_examples=40)
@given(st.lists(st.floats(0.3, 1.8), min_size=6, max_size=40))
def test_rhythm_is_measured_as_a_plain_form_does(rr_s):
    one = of_beats(rr_s)
    lead = Lead("I", RATE, 1000.0, np.zeros(one.length, np.int16))
    found = strip_label.measures(lead, one)
    rr = np.diff(one.beats) / RATE
    steps = np.abs(np.diff(rr)) / np.median(rr)
    expected = [
        np.log(np.median(rr)),
        np.mean(steps > 0.1),
        np.log(np.sqrt(np.mean(steps**2)) + 0.005),
        entropy(rr),
        rr.min() / np.median(rr),
        rr.max() / np.median(rr),
        len(one.beats) * RATE / one.length,
    ]
    assert found[[0, 2, 3, 4, 5, 6, 7]] == pytest.approx(expected)
    # Nothing is seen in a flat lead: no two beats alike, no wave.
    assert found[8:].tolist() == pytest.approx([1.0, 0.0, np.log(0.01), np.log(0.01)])


@pytest.mark.parametrize("rr_s", [[], [0.8], [0.8] * 5, [0.1] * 30, [5.0] * 10])
def test_too_few_intervals_are_neither_regular_nor_irregular(rr_s):
    one = of_beats(rr_s)
    found = strip_label.measures(Lead("I", RATE, 1000.0, np.zeros(one.length, np.int16)), one)
    assert np.isfinite(found).all()
    assert found[:7].tolist() == [0.0, -3.5, 0.0, -3.0, 0.0, 1.0, 1.0]


@given(st.floats(0.1, 10.0), st.integers(-5000, 5000), st.booleans())
@settings(max_examples=20)
def test_gain_level_and_polarity_do_not_matter(scale, level, upside_down):
    ecg = synthesize(Rhythm.SINUS, 30.0, 3)
    analysis = analyse(Lead("I", ecg.rate_hz, ecg.gain, ecg.samples))
    usual = strip_label.measures(Lead("I", ecg.rate_hz, ecg.gain, ecg.samples), analysis)
    samples = ecg.samples.astype(np.int64) * (-1 if upside_down else 1) + level
    moved = Lead("I", ecg.rate_hz, ecg.gain * scale, np.clip(samples, -32767, 32766).astype(np.int16))
    assert strip_label.measures(moved, analysis) == pytest.approx(usual, abs=0.02)


def test_beats_are_measured_at_any_rate_and_near_the_ends():
    for rate in (100.0, 250.0, 1000.0):
        t = np.arange(int(20 * rate)) / rate
        x = sum(1000 * np.exp(-(((t - b) / 0.02) ** 2)) + 100 * np.exp(-(((t - b + 0.16) / 0.03) ** 2))
                for b in np.arange(0.1, 20.0, 0.8))  # fmt: skip
        one = Analysis(
            rate, len(t), *(np.rint(np.arange(0.1, 20.0, 0.8) * rate).astype(np.int64),) * 2, None, NONE, NONE
        )
        odd, alike, height, rest = strip_label.measures(Lead("I", rate, 1000.0, x.astype(np.int16)), one)[8:]
        assert odd == 0.0
        assert alike > 0.95
        assert height == pytest.approx(np.log(0.11), abs=0.15)
        assert rest < -4.0


def test_made_sinus_rhythm_and_noise_are_told_apart():
    ecg = synthesize(Rhythm.SINUS, 30.0, 3)
    sinus = Lead("I", ecg.rate_hz, ecg.gain, ecg.samples)
    assert strip_label.label(sinus, analyse(sinus)) == "N"
    drawn = np.random.default_rng(1).normal(0, 1000, int(30 * RATE))
    noise = Lead("I", RATE, 1000.0, np.convolve(drawn, np.ones(5) / 5, "same").astype(np.int16))
    assert strip_label.label(noise, analyse(noise)) == "~"


def test_a_lead_without_anything_gets_a_label():
    flat = Lead("I", RATE, 1000.0, np.zeros(3000, np.int16))
    assert strip_label.label(flat, analyse(flat)) in strip_label.LABELS


@pytest.mark.ecg
def test_real_strips(ecg_folder):
    folder = ecg_folder / "challenge2017"
    rows = [line.split(",") for line in (folder / "REFERENCE.csv").read_text(encoding="ascii").split()]
    truth, found = [], []
    for name, kind in rows[::6]:
        lead = read_record(folder / f"{name}.hea", How()).lead
        truth.append(strip_label.LABELS.index(kind))
        found.append(strip_label.LABELS.index(strip_label.label(lead, analyse(lead))))
    values = strips2017.f1(np.array(truth), np.array(found))
    assert values[1] >= 70.0
    assert values[:3].mean() >= 70.0
