"""Signal quality: a plain form of it as oracle, what must not change it, and what each defect gives."""

from itertools import pairwise

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import qrs, qrs_state, quality

SCRATCH = np.empty(quality.SCRATCH)


def judge(samples, rate, gain, cuts=()):
    """Give what each second shows, the grade of ten seconds after each, and the state, as a caller would."""
    state, row, coeffs = np.zeros(qrs_state.STATE), np.zeros(quality.QUALITY), design(rate)
    n = int(rate)
    shows, grades, beats = [], [], []
    edges = sorted({0, len(samples), *(c for c in cuts if c < len(samples)), *range(0, len(samples), n)})
    for low, high in pairwise(edges):
        room = qrs.max_beats(high - low, rate)
        at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
        count = qrs.feed(state, samples[low:high], gain, coeffs, at, when)
        for position in at[:count]:
            quality.beat(row, float(position))
        beats += at[:count].tolist()
        if high % n == 0:
            shows.append(quality.second(row, state, coeffs, float(high), SCRATCH))
            grades.append(quality.ten_seconds(row, state))
    return shows, grades, row, state, beats


class Oracle:
    """The same on whole arrays, for signals that are never lost."""

    def __init__(self, samples, rate, gain, beats):
        coeffs = design(rate)
        self.group, self.work, self.rate = int(coeffs[qrs_state.C_GROUP]), coeffs[qrs_state.C_WORK], rate
        whole = samples[: len(samples) // self.group * self.group].astype(float) - float(samples[0])
        x = whole.reshape(-1, self.group).mean(axis=1) * 1000.0 / gain
        self.x = np.trunc(x + np.copysign(0.5, x))
        self.beats = np.array(beats, float)
        self.slope, self.alike, self.template, self.learnt = 0.0, 0.0, np.zeros(24), 0
        self.rows = []

    def at(self, k):
        k = np.asarray(k)
        return np.where(k >= 0, self.x[np.clip(k, 0, len(self.x) - 1)], 0.0)

    def shows(self, part, first, count):
        if np.ptp(part) < 10:
            return quality.FLAT
        ends = [-(-quarter * count // 4) for quarter in range(5)]
        means = [part[a:b].mean() for a, b in pairwise(ends)]
        shows = quality.WANDER if np.ptp(means) > max(500.0, self.slope) else 0
        if np.ptp(part) >= 1000:
            for near in (part <= part.min() + 1, part >= part.max() - 1):
                runs = "".join("x" if one else " " for one in near).split()
                if max(len(run) for run in runs) >= int(0.1 * self.work):
                    shows |= quality.CLIPPED
        lag = int(self.work / 120.0 + 0.5)
        k = np.arange(first, first + count)
        bend = np.abs(self.at(k - lag) - 2.0 * self.at(k) + self.at(k + lag))
        if 2 * (bend <= max(20.0, 0.06 * self.slope)).sum() < count:
            shows |= quality.NOISE
        return shows

    def second_detector(self, first, count):
        lag, apart = int(0.03 * self.work + 0.5), int(0.25 * self.work)
        k = np.arange(first - apart, first + count + apart)
        slope = np.abs(self.at(k) - self.at(k - lag))
        tops, top, held = [], k[0], 0.0
        for i, value in zip(k, slope, strict=True):
            if value > held:
                top, held = i, value
            elif i - top >= apart or i == k[-1]:
                tops.append((top, held))
                top, held = i, 0.0
        inside = [t for t, height in tops if height > 0.45 * self.slope and first <= t < first + count]
        near = [
            bool((np.abs(self.known - (t - 0.5 * lag) * self.group) <= 0.12 * self.rate).any())
            for t in inside
        ]
        steepest = slope[(k >= first) & (k < first + count)].max()
        if not self.slope:
            self.slope = max(float(steepest), 1.0)
            return None
        change = np.clip(steepest - self.slope, -0.3 * self.slope, self.slope)
        self.slope += (0.03 if change > 0 else 0.2) * float(change)
        return len(inside), sum(near)

    def compare(self, first, count):
        centres = [int(b / self.group) for b in self.known]
        centres = [c for c in centres if first <= c < first + count]
        for centre in centres:
            k = centre + np.floor((np.arange(24) - 12) * self.work / 120.0).astype(int)
            v = self.at(k + 1) - self.at(k - 1)
            norm = np.sqrt((v @ v) * (self.template @ self.template))
            if self.learnt:
                self.alike += (0.2 if self.learnt > 1 else 1.0) * ((v @ self.template) / norm - self.alike)
            self.template = self.template + max(0.2, 1.0 / (self.learnt + 1)) * (v - self.template)
            self.learnt += 1
        return len(centres)

    def run(self, seconds, decided):
        for second in range(1, seconds + 1):
            position = second * int(self.rate)
            first = position // self.group - int(1.25 * self.work) - int(self.work)
            if first < 1:
                continue
            count = int(self.work)
            self.known = self.beats[decided <= position][-16:]
            if not self.slope:
                self.second_detector(first, count)
                continue
            shows = self.shows(self.x[first : first + count], first, count)
            self.rows.append((shows, *self.second_detector(first, count), self.compare(first, count)))
        return self.rows


KINDS = [Rhythm.SINUS, Rhythm.ECTOPY, Rhythm.ATRIAL_FIBRILLATION, Rhythm.PAUSES, Rhythm.TACHYCARDIA]


def disturbed(seed, seconds, rate):
    """A lead with noise, wander and a plateau in it, by the seed."""
    ecg = synthesize(KINDS[seed % 5], seconds, seed, rate_hz=rate, noise_mv=[0.005, 0.02, 0.1][seed % 3])
    samples = ecg.samples.astype(float)
    t = np.arange(len(samples)) / rate
    if seed % 4 == 1:
        samples += ecg.gain * 2.0 * np.sin(2.0 * np.pi * 0.4 * t) * (t > 8.0)
    if seed % 4 == 2:
        samples = np.minimum(samples, np.median(samples) + 0.4 * ecg.gain)
    return np.rint(samples).astype(np.int16), ecg.gain


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rate", [128.0, 250.0, 360.0, 500.0])
def test_equals_the_plain_form(seed, rate):
    samples, gain = disturbed(seed, 25.0, rate)
    room = qrs.max_beats(len(samples), rate)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
    count = qrs.feed(np.zeros(qrs_state.STATE), samples, gain, design(rate), at, when)
    plain = Oracle(samples, rate, gain, at[:count])
    rows = plain.run(25, when[:count])
    shows, _, row, _, _ = judge(samples, rate, gain)
    assert [s for s in shows if s >= 0] == [r[0] for r in rows]
    ten = row[quality.Q_TEN : quality.Q_TEMPLATE].view(np.int8)
    for place, column in ((quality.T_SECOND, 1), (quality.T_BOTH, 2), (quality.T_FIRST, 3)):
        kept = [ten[place + k % 10] for k in range(len(rows) - 10, len(rows))]
        assert kept == [r[column] for r in rows[-10:]]
    assert row[quality.Q_SLOPE] == pytest.approx(plain.slope, rel=1e-9)
    assert row[quality.Q_ALIKE] == pytest.approx(plain.alike, abs=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 40), st.lists(st.integers(0, 5000), max_size=20))
def test_cuts_change_nothing(seed, cuts):
    samples, gain = disturbed(seed, 20.0, 250.0)
    if seed % 3 == 0:
        samples[2000:2300] = -32768
        samples[3300:3700] = samples[3300]
    one, two = judge(samples, 250.0, gain), judge(samples, 250.0, gain, cuts)
    assert one[:2] == two[:2]
    assert one[2].tobytes() == two[2].tobytes()


@given(st.integers(0, 10), st.integers(-10_000, 10_000))
@settings(max_examples=20)
def test_polarity_and_a_constant_change_nothing(seed, constant):
    samples, gain = disturbed(seed, 20.0, 250.0)
    plain = judge(samples, 250.0, gain)[:2]
    assert judge(-samples, 250.0, gain)[:2] == plain
    assert judge((samples + constant).astype(np.int16), 250.0, gain)[:2] == plain


@settings(max_examples=30)
@given(st.binary(min_size=2, max_size=6000), st.sampled_from([100.0, 250.0, 1000.0]), st.floats(1e-3, 1e6))
def test_any_samples_are_taken(raw, rate, gain):
    samples = np.tile(np.frombuffer(raw[: len(raw) // 2 * 2], np.int16), 4)
    _, grades, row, _, _ = judge(samples, rate, gain)
    assert np.isfinite(row).all()
    assert set(grades) <= {0, quality.GOOD, quality.QRS_ONLY, quality.UNUSABLE}


@pytest.mark.parametrize("rate", [100.0, 128.0, 250.0, 360.0, 999.0])
def test_a_clean_lead_is_good_at_any_rate(rate):
    ecg = synthesize(Rhythm.SINUS, 30.0, 1, rate_hz=rate, noise_mv=0.01)
    shows, grades, row, _, _ = judge(ecg.samples, rate, ecg.gain)
    assert set(shows) == {-1, 0}
    assert set(grades) == {0, quality.GOOD}
    assert quality.present(row, 10)


def last_shows(samples, gain):
    return judge(samples, 250.0, gain)[0][-1]


def test_each_defect_is_named():
    ecg = synthesize(Rhythm.SINUS, 20.0, 1, noise_mv=0.01)
    t = np.arange(len(ecg.samples)) / 250.0
    assert last_shows(ecg.samples, ecg.gain) == 0
    flat = np.where(t > 15.0, ecg.samples[3750], ecg.samples).astype(np.int16)
    assert last_shows(flat, ecg.gain) == quality.FLAT
    lost = np.where(t > 15.0, -32768, ecg.samples).astype(np.int16)
    assert last_shows(lost, ecg.gain) & quality.LOST
    wander = ecg.samples + 4.0 * ecg.gain * np.sin(2.0 * np.pi * 0.5 * t)
    assert last_shows(np.rint(wander).astype(np.int16), ecg.gain) == quality.WANDER
    noise = ecg.samples + 0.2 * ecg.gain * np.random.default_rng(1).standard_normal(len(t))
    assert last_shows(np.rint(noise).astype(np.int16), ecg.gain) & quality.NOISE
    assert quality.grade(0) == quality.GOOD
    assert quality.grade(quality.WANDER) == quality.QRS_ONLY
    assert quality.grade(quality.WANDER | quality.FLAT) == quality.UNUSABLE


def test_a_pause_with_the_signal_there_is_not_hidden():
    ecg = synthesize(Rhythm.SINUS, 20.0, 1, noise_mv=0.01)
    random = np.random.default_rng(1)
    t = np.arange(12 * 250) / 250.0
    quiet = ecg.samples[0] + ecg.gain * (
        0.05 * np.sin(2.0 * np.pi * 0.3 * t) + 0.008 * random.standard_normal(len(t))
    )
    asystole = np.concatenate([ecg.samples, np.rint(quiet).astype(np.int16)])
    shows, _, row, _, beats = judge(asystole, 250.0, ecg.gain)
    assert max(beats) < 20.2 * 250
    assert shows[-10:] == [0] * 10
    assert quality.present(row, 8)
    # The same without a signal: it may be an electrode.
    flat = np.concatenate([ecg.samples, np.full(12 * 250, ecg.samples[-1], np.int16)])
    assert not quality.present(judge(flat, 250.0, ecg.gain)[2], 1)
    noisy = np.concatenate(
        [ecg.samples, np.rint(quiet + ecg.gain * random.standard_normal(len(t))).astype(np.int16)]
    )
    assert not quality.present(judge(noisy, 250.0, ecg.gain)[2], 1)


def test_restart_forgets_the_seconds_and_keeps_what_was_learnt():
    ecg = synthesize(Rhythm.SINUS, 20.0, 1, noise_mv=0.01)
    row = judge(ecg.samples, 250.0, ecg.gain)[2]
    slope, template = row[quality.Q_SLOPE], row[quality.Q_TEMPLATE : quality.Q_BEATS].copy()
    quality.restart(row)
    assert row[quality.Q_SECONDS] == row[quality.Q_BEAT_N] == 0.0
    assert row[quality.Q_SLOPE] == slope
    assert (row[quality.Q_TEMPLATE : quality.Q_BEATS] == template).all()
    assert quality.ten_seconds(row, np.zeros(qrs_state.STATE)) == 0
    assert not quality.present(row, 1)


def test_the_state_is_bounded():
    assert quality.QUALITY * 8 <= 400


# ---- Real records.


def shares(folder, record, begin_s, end_s):
    """Give the shares of ten seconds that are good and unusable."""
    header = wfdb.rdheader(str(folder / record))
    signal = wfdb.rdrecord(str(folder / record), physical=False, channels=[0], sampto=int(end_s * 360))
    assert header.fs == 360
    grades = judge(signal.d_signal[:, 0].astype(np.int16), 360.0, header.adc_gain[0])[1]
    part = np.array(grades[begin_s:])
    return (part == quality.GOOD).mean(), (part == quality.UNUSABLE).mean()


@pytest.mark.ecg
@pytest.mark.parametrize("record", ["101", "112", "119", "208", "220"])
def test_clean_records_are_mostly_good(ecg_folder, record):
    good, unusable = shares(ecg_folder / "mitdb", record, 15, 300)
    assert good > 0.9
    assert unusable == 0.0


@pytest.mark.ecg
def test_quality_falls_with_the_ratio_of_signal_to_noise(ecg_folder):
    # Noise begins at 300 s and lasts two minutes.
    found = [shares(ecg_folder / "nstdb", f"118e{snr}", 315, 415) for snr in ("24", "06", "00", "_6")]
    good = [one[0] for one in found]
    assert good[0] > 0.5
    assert max(good[1:]) < 0.15
    unusable = [one[1] for one in found]
    assert unusable[0] == 0.0
    assert unusable == sorted(unusable)
    # At 6 dB most beats are found in it (F1 97.8): it is of use for them, and for nothing else.
    assert unusable[2] > 0.6
    assert unusable[3] > 0.9
