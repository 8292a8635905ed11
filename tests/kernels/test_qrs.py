"""The QRS detector: a plain form of it as oracle, what must not change its results, and real records."""

import statistics
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from qrs_runs import detect, lead, maxima
from scipy import signal

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import qrs, qrs_state

# ---- The oracle: whole arrays, lists and sorting; filters by SciPy. The signal is never lost in it.


def features(samples, rate, gain):
    coeffs = design(rate)
    group, work, width = (
        int(coeffs[qrs_state.C_GROUP]),
        coeffs[qrs_state.C_WORK],
        int(coeffs[qrs_state.C_WIDTH]),
    )
    x = samples[: len(samples) // group * group].astype(float) - float(samples[0])
    x = x.reshape(-1, group).mean(axis=1) * 1000.0 / gain
    sections = coeffs[qrs_state.C_SOS :].reshape(-1, 5)
    sos = np.column_stack([sections[:, :3], np.ones(len(sections)), sections[:, 3:]])
    rectified = np.floor(np.abs(signal.sosfilt(sos, x)) * 256.0)
    return (
        np.trunc(x + np.copysign(0.5, x)),  # as the ring keeps it
        np.convolve(rectified, np.ones(width))[: len(x)] / (256.0 * width),
        group,
        work,
        int(coeffs[qrs_state.C_DELAY]),
    )


def complex_at(x, centre, now, half, group):
    """Give (where, slope, R peak in samples) of the complex, or None when it is under 150 µV."""
    first, last = max(centre - half, 0), min(centre + half, now)
    part = x[first : last + 1]
    if len(part) < 3 or np.ptp(part) < 150.0:
        return None
    away = np.abs(part - np.interp(np.arange(len(part)), [0, len(part) - 1], [part[0], part[-1]]))
    k = int(np.argmax(away))
    shift = 0.0
    if 0 < k < len(part) - 1:
        a, b, c = part[k - 1 : k + 2]
        if a - 2 * b + c != 0:
            shift = float(np.clip(0.5 * (a - c) / (a - 2 * b + c), -0.5, 0.5))
    return (
        first + k,
        float(np.abs(np.diff(part)).max()),
        int(np.floor((first + k + shift) * group + group / 2)),
    )


class Oracle:
    """The decisions, step by step, on what `features` and `maxima` give."""

    def __init__(self, samples, rate, gain):
        self.x, self.feature, self.group, self.work, self.delay = features(samples, rate, gain)
        self.hold, self.half, self.age = (int(seconds * self.work) for seconds in (0.2, 0.08, 0.9))
        self.intervals = [int(self.work)] * 8
        self.heights, self.noise, self.waiting, self.beats = [], [], [], []
        self.last, self.slope = None, 0.0

    @property
    def since(self):
        return self.last or 0

    @property
    def noisy(self):
        return statistics.median(self.noise[-8:]) / statistics.median(self.heights[-8:]) > 0.25

    def threshold(self):
        low = statistics.median(self.noise[-8:])
        return max(low + 0.32 * (statistics.median(self.heights[-8:]) - low), 8.0)

    def accept(self, candidate, level):
        where, _, slope, position = candidate
        if self.last is not None and where - self.last < 3.0 * self.work:
            self.intervals.append(where - self.last)
        self.heights.append(level)
        self.beats.append(position)
        self.last, self.slope = where, slope
        del self.waiting[: self.waiting.index(candidate) + 1]

    def judge(self, candidate):
        where, height, slope, _ = candidate
        since = np.inf if self.last is None else where - self.last
        t_wave = since < (0.5 if self.noisy else 0.33) * self.work and slope < 0.6 * self.slope
        if height > self.threshold() and since > 0.2 * self.work and not t_wave:
            self.accept(candidate, min(height, 2.0 * statistics.median(self.heights[-8:])))
            return True
        return False

    def look_back(self, j):
        if not self.waiting:
            return
        mean = sum(self.intervals[-8:]) / 8
        elapsed = j - self.since - self.delay - self.hold
        first = self.waiting[0][0]
        aged = j >= first + self.age
        if elapsed > 1.5 * mean or (aged and first - self.since >= 0.35 * mean):
            late = elapsed > 2.5 * self.work
            least = max(self.threshold() * (0.25 if late else 0.7), 8.0)
            fit = [c for c in self.waiting if c[0] - self.since > 0.36 * self.work and c[1] > least]
            if fit:
                best = max(fit, key=lambda c: c[1])
                if late:
                    self.heights.extend([best[1]] * 4)
                self.accept(best, best[1])
                return
            alone = aged and not self.noisy and first - self.since > 0.43 * self.work
            if alone and self.waiting[0][1] > max(self.threshold() * 0.65, 8.0):
                self.accept(self.waiting[0], statistics.median(self.heights[-8:]))
                return
        if aged:
            del self.waiting[0]

    def learn(self, began, j):
        """Set the levels from the highest of each of three seconds; False when there is no signal yet."""
        seconds = [0.0, 0.0, 0.0]
        for i in range(began, j):
            which = int((i - began) / self.work)
            seconds[which] = max(seconds[which], self.feature[i])
        middle = statistics.median(seconds)
        if middle < 8.0:
            self.waiting.clear()
            return False
        self.heights, self.noise = [middle] * 8, [0.1 * middle] * 8
        k = 0
        while k < len(self.waiting):
            k = 0 if self.judge(self.waiting[k]) else k + 1
        return True

    def plan(self, j):
        if not self.waiting:
            return np.inf
        overdue = self.since + self.delay + 1 + self.hold + int(1.5 * sum(self.intervals[-8:]) / 8)
        return min(self.waiting[0][0] + self.age, overdue if overdue > j else np.inf)

    def run(self):
        confirmed = {when: top for top, when in maxima(self.feature, self.hold)}
        learned, began, planned = False, 0, np.inf
        for j in range(len(self.feature)):
            new = None
            if j in confirmed:
                measured = complex_at(self.x, confirmed[j] - self.delay, j, self.half, self.group)
                if measured:
                    new = (measured[0], self.feature[confirmed[j]], *measured[1:])
                    self.waiting.append(new)
            if not learned:
                if j - began >= 3 * self.work:
                    learned = self.learn(began, j)
                    began = j
                    planned = self.plan(j)
            elif new:
                if not self.judge(new):
                    self.noise.append(min(new[1], statistics.median(self.heights[-8:])))
                    self.look_back(j)
                planned = self.plan(j)
            elif j >= planned or j in confirmed:
                if j >= planned:
                    self.look_back(j)
                planned = self.plan(j)
        return self.beats


def oracle(samples, rate, gain):
    return Oracle(samples, rate, gain).run()


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("rate", [128.0, 250.0, 360.0])
def test_equals_the_plain_form(seed, rate):
    ecg = lead(seed, rate=rate, noise=[0.0, 0.02, 0.1][seed % 3])
    assert detect(ecg.samples, rate, ecg.gain)[0] == oracle(ecg.samples, rate, ecg.gain)


@pytest.mark.ecg
@pytest.mark.parametrize("record", ["203", "208"])
def test_equals_the_plain_form_on_a_real_record(ecg_folder, record):
    samples, gain, _ = read(ecg_folder / "mitdb" / record, 120)
    assert detect(samples, 360.0, gain)[0] == oracle(samples, 360.0, gain)


# ---- What must not change the beats.


@settings(max_examples=60)
@given(st.integers(0, 40), st.lists(st.integers(0, 5000), max_size=40))
def test_cuts_change_nothing(seed, cuts):
    ecg = lead(seed, 20.0)
    samples = ecg.samples.copy()
    if seed % 3 == 0:
        samples[2000:2300] = -32768  # lost for more than a second
        samples[3300:3700] = samples[3300]
    whole = detect(samples, 250.0, ecg.gain)
    parts = detect(samples, 250.0, ecg.gain, sorted(cuts))
    assert parts[:2] == whole[:2]
    assert parts[2].tobytes() == whole[2].tobytes()


def test_one_sample_at_a_time():
    ecg = lead(1, 12.0, rate=360.0)
    assert (
        detect(ecg.samples, 360.0, ecg.gain, range(len(ecg.samples)))[:2]
        == detect(ecg.samples, 360.0, ecg.gain)[:2]
    )


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(-20_000, 20_000))
def test_a_constant_changes_nothing(seed, constant):
    ecg = lead(seed, 20.0)
    moved = (ecg.samples.astype(np.int64) + constant).astype(np.int16)
    assert detect(moved, 250.0, ecg.gain)[:2] == detect(ecg.samples, 250.0, ecg.gain)[:2]


@given(st.integers(0, 20))
def test_polarity_changes_nothing(seed):
    ecg = lead(seed, 20.0)
    assert detect(-ecg.samples, 250.0, ecg.gain)[:2] == detect(ecg.samples, 250.0, ecg.gain)[:2]


@settings(max_examples=30)
@given(st.integers(0, 20), st.floats(0.1, 10.0))
def test_the_unit_of_samples_changes_nothing(seed, factor):
    ecg = lead(seed, 20.0)
    scaled = np.rint(ecg.samples * factor).astype(np.int16)
    one, two = detect(ecg.samples, 250.0, ecg.gain)[0], detect(scaled, 250.0, ecg.gain * factor)[0]
    assert len(one) == len(two)
    assert max((abs(a - b) for a, b in zip(one, two, strict=True)), default=0) <= 2


@pytest.mark.parametrize(
    "rate", [100.0, 125.0, 128.0, 200.0, 250.0, 257.5, 300.0, 360.0, 500.0, 512.0, 999.0, 1000.0]
)
def test_every_rate_finds_the_same_beats(rate):
    for seed in range(5):
        ecg = lead(seed, 60.0, rate=rate)
        found = detect(ecg.samples, rate, ecg.gain)[0]
        true = ecg.beats[(ecg.beats > 0.3 * rate) & (ecg.beats < 58.5 * rate)]
        inside = [beat for beat in found if 0.3 * rate < beat < 58.5 * rate]
        assert len(inside) == len(true)
        normal = np.array([c == "N" for c in ecg.classes])[
            (ecg.beats > 0.3 * rate) & (ecg.beats < 58.5 * rate)
        ]
        assert np.abs(np.array(inside) - true)[normal].max() <= 0.016 * rate


@pytest.mark.parametrize("seconds", [0.5, 2.0, 7.0])
def test_flat_head_and_tail(seconds):
    ecg = lead(0, 30.0)
    n = int(seconds * 250)
    samples = np.concatenate([np.full(n, ecg.samples[0]), ecg.samples, np.full(n, ecg.samples[-1])])
    found = np.array(detect(samples.astype(np.int16), 250.0, ecg.gain)[0]) - n
    plain = [beat for beat in detect(ecg.samples, 250.0, ecg.gain)[0] if 250 < beat < 28 * 250]
    assert [beat for beat in found.tolist() if 250 < beat < 28 * 250] == pytest.approx(plain, abs=1)
    assert found.min() >= 0
    assert found.max() < len(ecg.samples)


def test_an_empty_chunk_changes_nothing():
    ecg = lead(0, 10.0)
    whole = detect(ecg.samples, 250.0, ecg.gain)
    parts = detect(ecg.samples, 250.0, ecg.gain, [0, 0, 1000, 1000, 2500, 2500])
    assert parts[:2] == whole[:2]
    assert detect(np.empty(0, np.int16), 250.0, 200.0)[0] == []


@settings(max_examples=40)
@given(st.binary(min_size=2, max_size=6000), st.sampled_from([100.0, 250.0, 1000.0]), st.floats(1e-3, 1e6))
def test_any_samples_are_taken(raw, rate, gain):
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], np.int16)
    samples = np.tile(samples, 4)
    beats, decided, state = detect(samples, rate, gain)
    assert beats == sorted(beats)
    assert all(0 <= b < d <= len(samples) for b, d in zip(beats, decided, strict=True))
    assert np.isfinite(state[: qrs_state.S_RING]).all()  # the ring is not floats


# ---- What a beat is, and when it is known.


def test_beats_are_decided_within_a_second():
    for seed in range(10):
        ecg = lead(seed, 60.0)
        beats, decided, _ = detect(ecg.samples, 250.0, ecg.gain)
        delay = [(d - b) / 250.0 for b, d in zip(beats, decided, strict=True) if b > 750]
        assert statistics.median(delay) < 0.4
        assert max(delay) <= 1.0


def test_noise_in_asystole_is_not_a_beat():
    random = np.random.default_rng(1)
    ecg = lead(0, 20.0)
    noise = np.rint(0.02 * ecg.gain * random.standard_normal(250 * 60)).astype(np.int16)  # 20 µV
    found = detect(np.concatenate([ecg.samples, noise]), 250.0, ecg.gain)[0]
    assert max(found) < len(ecg.samples) + 25
    assert detect(noise, 250.0, ecg.gain)[0] == []


def test_complexes_under_150_microvolts_are_not_beats():
    ecg = synthesize(Rhythm.SINUS, 30.0, 2, noise_mv=0.0)
    small = detect(ecg.samples, 250.0, ecg.gain * 10.0)[0]  # about 120 µV
    assert small == []
    assert len(detect(ecg.samples, 250.0, ecg.gain * 4.0)[0]) > 25  # about 300 µV


@pytest.mark.parametrize("share", [0.3, 0.5, 3.0])
def test_a_change_of_amplitude_is_followed(share):
    one, two = synthesize(Rhythm.SINUS, 30.0, 3), synthesize(Rhythm.SINUS, 60.0, 4)
    samples = np.concatenate([one.samples, np.rint(two.samples * share).astype(np.int16)])
    found = np.array(detect(samples, 250.0, one.gain)[0]) - len(one.samples)
    true = two.beats[(two.beats > 8 * 250) & (two.beats < 58 * 250)]
    assert ((found > 8 * 250 - 10) & (found < 58 * 250 - 10)).sum() == pytest.approx(len(true), abs=1)


def ended(samples, rate, gain, cuts=()):
    """Beats of a strip: all of its parts, then the end."""
    beats, decided, state = detect(samples, rate, gain, cuts)
    at, when = np.zeros(qrs.FINISH_ROOM, np.int64), np.zeros(qrs.FINISH_ROOM, np.int64)
    count = qrs.finish(state, design(rate), at, when)
    assert count >= 0
    assert state[qrs_state.S_N] == len(samples)
    return beats + at[:count].tolist(), decided + when[:count].tolist()


@settings(max_examples=60)
@given(st.integers(0, 40), st.integers(0, 2500), st.lists(st.integers(0, 2500), max_size=9))
def test_the_end_of_a_strip_gives_its_last_beats(seed, n, cuts):
    ecg = synthesize(Rhythm.SINUS, 10.0, seed, noise_mv=0.02)
    samples = ecg.samples[:n]
    beats, decided = ended(samples, 250.0, ecg.gain, sorted(cuts))
    assert (beats, decided) == ended(samples, 250.0, ecg.gain)
    assert beats == sorted(set(beats))
    assert all(0 <= b < d <= n for b, d in zip(beats, decided, strict=True))
    # All whose QRS has come and gone, though the last were not decided when the samples ended, and no other.
    true, least = ecg.beats.tolist(), 2 if n < 750 else 0  # three seconds teach the levels
    missed = [t for t in true if 25 < t < n - 40 and min(abs(b - t) for b in [*beats, -100]) > 8]
    extra = [b for b in beats if 25 < b < n - 25 and min(abs(b - t) for t in true) > 8]
    assert len(missed) <= least
    assert len(extra) <= least


def test_the_end_of_nothing_is_nothing():
    out = np.zeros(qrs.FINISH_ROOM, np.int64)
    assert qrs.finish(np.zeros(qrs_state.STATE), design(250.0), out, out) == 0
    assert qrs.finish(np.zeros(qrs_state.STATE), design(250.0), out[1:], out) == qrs.NO_ROOM
    assert ended(np.full(2000, 7, np.int16), 250.0, 200.0) == ([], [])
    assert ended(np.full(2000, -32768, np.int16), 250.0, 200.0) == ([], [])


def test_restart_keeps_levels_or_forgets_them():
    ecg = lead(0, 20.0)
    for keep in (True, False):
        state = detect(ecg.samples, 250.0, ecg.gain)[2]
        qrs.restart(state, keep)
        assert (state[qrs_state.S_LEARNED] > 0) == keep
        at, when = np.zeros(200, np.int64), np.zeros(200, np.int64)
        count = qrs.feed(state, ecg.samples, ecg.gain, design(250.0), at, when)
        assert count > 15
        assert (when[0] < 500) == keep  # learning takes three seconds


def test_refusals_take_nothing():
    ecg = lead(0, 5.0)
    out = np.zeros(100, np.int64)
    for gain in (0.0, -1.0, np.nan, np.inf):
        state = np.zeros(qrs_state.STATE)
        assert qrs.feed(state, ecg.samples, gain, design(250.0), out, out) == qrs.BAD_GAIN
        assert not state.any()
    assert qrs.feed(state, ecg.samples, 200.0, design(250.0), out[:3], out) == qrs.NO_ROOM
    assert not state.any()


def test_the_state_is_bounded():
    assert (qrs_state.STATE - qrs_state.RING // 4) * 8 <= 1536


@pytest.mark.parametrize("rate", [99.9, 1000.1, 0.0, -250.0, np.nan])
def test_rates_that_cannot_be_are_named(rate):
    with pytest.raises(ValueError, match="legal are 100 to 1000 Hz"):
        design(rate)


def test_the_window_of_the_filter_fits_its_ring():
    for rate in np.arange(100.0, 1000.5, 4.5):
        coeffs = design(float(rate))
        assert 1 <= coeffs[qrs_state.C_WIDTH] <= 32
        assert 100.0 <= coeffs[qrs_state.C_WORK] < 240.0
        reach = coeffs[qrs_state.C_DELAY] + (0.2 + 0.08) * coeffs[qrs_state.C_WORK] + 2
        assert reach < qrs_state.RING


# ---- Real records: floors that may rise and never fall. All records: bench/accuracy/qrs.py.


def read(path: Path, seconds=None):
    header = wfdb.rdheader(str(path))
    channel = header.sig_name.index("MLII") if "MLII" in header.sig_name else 0
    end = None if seconds is None else int(seconds * header.fs)
    record = wfdb.rdrecord(str(path), physical=False, channels=[channel], sampto=end)
    annotation = wfdb.rdann(str(path), "atr", sampto=end)
    beat = np.isin(annotation.symbol, list("NLRBaAJSVrFejnE/fQ?"))
    return record.d_signal[:, 0].astype(np.int16), float(record.adc_gain[0]), annotation.sample[beat]


@pytest.mark.ecg
@pytest.mark.parametrize(
    ("record", "missed", "false"),
    [("101", 0, 2), ("106", 2, 1), ("119", 0, 0), ("201", 17, 0), ("203", 26, 16), ("104", 0, 0)],
)
def test_floor_on_real_records(ecg_folder, record, missed, false):
    samples, gain, true = read(ecg_folder / "mitdb" / record)
    found = np.array(detect(samples, 360.0, gain)[0])
    start, window = 300 * 360, 54
    near = [np.abs(found - beat).min() for beat in true[true >= start]]
    assert sum(distance > window for distance in near) <= missed
    spurious = [np.abs(true - beat).min() > window for beat in found[found >= start]]
    assert sum(spurious) <= false
