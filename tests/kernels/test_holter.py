"""Rate by minute, heart rate variability and burdens by hour: plain NumPy over whole lists of beats as oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import atrial_fibrillation as af
from kernels import ectopy, holter, rhythms

N, S, V, Q = 0, 1, 2, 4
DELAYS_S = (0.2, 1.5, 3.0)
NAMES = {
    rhythms.RATE_MINUTE: "rate",
    rhythms.SDNN: "sdnn",
    rhythms.RMSSD: "rmssd",
    rhythms.PNN50: "pnn50",
    rhythms.RATE_HOUR: "rate of the hour",
    rhythms.WATCHED: "watched",
    rhythms.AF_BURDEN: "AF",
    rhythms.BEATS: "beats",
    rhythms.PVC_BURDEN: "PVC",
    rhythms.SVE_BURDEN: "SVE",
    rhythms.COUPLETS: "couplets",
    rhythms.RUNS: "runs",
    rhythms.BIGEMINIES: "bigeminy",
    rhythms.TRIGEMINIES: "trigeminy",
    rhythms.R_ON_TS: "R on T",
}


class Others:
    """What the listeners to ectopic beats and to fibrillation tell, in their simplest form."""

    def __init__(self, rate):
        self.rate = rate
        self.counts, self.atrial = np.zeros(ectopy.COUNTS), np.zeros(af.STATE)
        self._before = 0

    def hear(self, at, rr_s, code, fibrillates):
        self.counts[ectopy.BEATS] += code != Q
        self.counts[ectopy.PVC] += code == V
        self.counts[ectopy.SVE] += code == S
        self.counts[ectopy.V_COUPLETS] += code == V == self._before
        self._before = code
        atrial = self.atrial
        atrial[af.A_WATCHED_S] += rr_s
        if fibrillates and atrial[af.A_STAGE] == 0.0:
            atrial[af.A_STAGE], atrial[af.A_ONSET] = 2.0, at
        elif not fibrillates and atrial[af.A_STAGE] == 2.0:
            atrial[af.A_STAGE] = 0.0
            atrial[af.A_FIBRILLATION_S] += (at - atrial[af.A_ONSET]) / self.rate


class Beats:
    """A list of beats: positions in samples, classes, and what is true at each."""

    def __init__(self, at, code, rate, broken=None, grade=None, fibrillates=None):
        n = len(at)
        self.at, self.code, self.rate = np.asarray(at, float), np.asarray(code), rate
        self.broken = np.zeros(n, bool) if broken is None else broken
        self.grade = np.zeros(n, int) if grade is None else grade
        self.fibrillates = np.zeros(n, bool) if fibrillates is None else fibrillates

    def run(self, clock_s=0.0, delay_s=0.2, ticks=True):
        """Tell the beats, each so long after its R peak, and half seconds; give {(name, minute): value}."""
        state = np.zeros(holter.STATE)
        holter.shift(state, clock_s)
        others = Others(self.rate)
        told = others.counts, others.atrial
        end = self.at[-1] + delay_s * self.rate if len(self.at) else 0.0
        out = np.zeros((holter.ROOM * holter.closings(end / self.rate), rhythms.ROW_WIDTH), np.int64)
        n, half = 0, 1
        for k, at in enumerate(self.at):
            now = at + delay_s * self.rate
            while ticks and half * 0.5 * self.rate <= now:
                n = holter.tick(state, *told, half * 0.5 * self.rate, self.rate, out, n)
                half += 1
            n = holter.beat(
                state, *told, at, self.code[k], self.broken[k], self.grade[k], self.fibrillates[k], now, self.rate,
                out, n,
            )  # fmt: skip
            rr_s = (at - self.at[k - 1]) / self.rate if k and not self.broken[k] else 0.0
            others.hear(at, rr_s, self.code[k], self.fibrillates[k])
        self.rows = out[: holter.finish(state, *told, end, self.rate, out, n)].tolist()
        found = {}
        for kind, start, stop, decided, milli in self.rows:
            assert start <= stop <= decided
            key = NAMES[kind], int((clock_s + (start + 1) / self.rate) // 60.0)  # a start is cut to a sample
            assert key not in found
            found[key] = milli / 1000.0
        return found

    def oracle(self, clock_s=0.0, delay_s=0.2):
        """Give the same from the whole list."""
        rr = np.diff(self.at)
        ends = clock_s + self.at / self.rate
        minute = np.floor(ends / 60.0).astype(int)
        good = self.grade == 0
        heard = ~self.broken[1:] & (self.grade[1:] != rhythms.UNUSABLE)
        nn = (
            heard
            & (self.code[1:] == N)
            & (self.code[:-1] == N)
            & good[1:]
            & good[:-1]
            & (rr < 3.0 * self.rate)
        )
        out = {}
        for m in np.unique(minute[1:]):
            mine = rr[heard & (minute[1:] == m)]
            if mine.sum() >= 30.0 * self.rate:
                out["rate", m] = 60.0 * len(mine) / (mine.sum() / self.rate)
        block = minute // 5
        for b in np.unique(block[1:]):
            mine = nn & (block[1:] == b)
            ms = 1000.0 * rr / self.rate
            pairs = np.flatnonzero(mine[1:] & mine[:-1])
            if ms[mine].sum() < 240_000.0 or not len(pairs) or self.fibrillates[block == b].any():
                continue
            steps = ms[pairs + 1] - ms[pairs]
            m = max(5 * b, int(clock_s // 60))  # the five minutes in which the stream begins are cut short
            out["sdnn", m] = np.std(ms[mine], ddof=1)
            out["rmssd", m] = np.sqrt(np.mean(steps**2))
            out["pnn50", m] = 100.0 * np.mean(np.abs(steps) > 50.0 + 1e-9)
        return out | self.hours(clock_s, heard, minute // 60, delay_s)

    def hours(self, clock_s, heard, hour, delay_s):
        """Give what each hour comes to."""
        out = {}
        at_s = clock_s + self.at / self.rate
        rr_s = np.where(self.broken[1:], 0.0, np.diff(at_s))
        fibrillates = np.flatnonzero(self.fibrillates)
        onset, end = np.inf, -np.inf
        if len(fibrillates):
            over = fibrillates[-1] + 1
            onset, end = at_s[fibrillates[0]], at_s[over] if over < len(at_s) else at_s[-1] + delay_s
        for h in np.unique(hour):
            mine, m = hour == h, max(60 * h, int(clock_s // 60))
            watched = rr_s[mine[1:]].sum()
            if watched >= 60.0:
                within = max(0.0, min(end, 3600.0 * (h + 1)) - max(onset, 3600.0 * h))
                out["watched", m], out["AF", m] = watched / 60.0, min(100.0, 100.0 * within / watched)
            intervals = np.diff(at_s)[heard & mine[1:]]
            if intervals.sum() >= 60.0:
                out["rate of the hour", m] = 60.0 / intervals.mean()
            classes = self.code[mine]
            beats = np.sum(classes != Q)
            if beats >= 5:
                out["beats", m] = beats
                out["PVC", m] = 100.0 * np.sum(classes == V) / beats
                out["SVE", m] = 100.0 * np.sum(classes == S) / beats
            if beats >= 300:
                out |= dict.fromkeys([(name, m) for name in ("runs", "bigeminy", "trigeminy", "R on T")], 0.0)
                after_v = np.r_[False, self.code[:-1] == V]
                out["couplets", m] = np.sum((self.code == V) & after_v & mine)
        return out


def drawn(seed, rate, minutes, ectopic, losses, quality):
    """Draw beats at 40 to 120 a minute with wandering intervals, some ectopic, some behind a loss or in bad signal."""
    random = np.random.default_rng(seed)
    n = int(minutes * 70)
    wander = np.cumsum(random.normal(0.0, 0.01, n))
    rr = np.clip(random.uniform(0.5, 1.5) + wander + random.normal(0.0, 0.03, n), 0.3, 4.0)
    rr[random.random(n) < losses / 20.0] = random.choice([3.0, 4.0, 40.0, 130.0])
    at = np.cumsum(np.maximum(1, np.rint(rr * rate)))
    code = random.choice([S, V, Q], n)
    code[random.random(n) >= ectopic] = N
    broken = random.random(n) < losses
    grades = random.choice([rhythms.QRS_ONLY, rhythms.UNUSABLE], n)
    grades[random.random(n) >= quality] = 0
    fibrillates = np.zeros(n, bool)
    if seed % 3 == 0:
        first = int(random.integers(0, n))
        fibrillates[first : first + 40] = True
    return Beats(at, code, rate, broken, grades, fibrillates)


@settings(max_examples=150)
@given(
    st.integers(0, 10**6),
    st.sampled_from([100.0, 250.0, 257.5, 360.0]),
    st.floats(1.0, 25.0),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from([0.0, 17.25, 2999.5, 3590.0]),
    st.sampled_from(DELAYS_S),
    st.booleans(),
)
def test_equals_the_oracle(seed, rate, minutes, ectopic, losses, quality, clock_s, delay_s, ticks):
    beats = drawn(seed, rate, minutes, ectopic, losses, quality)
    found, expected = beats.run(clock_s, delay_s, ticks), beats.oracle(clock_s, delay_s)
    assert found == pytest.approx(expected, abs=0.002)


def regular(rr_s, seconds, rate=250.0, wobble_s=0.0):
    at = np.arange(rr_s, seconds, rr_s)
    return Beats(
        np.rint(at * rate + wobble_s * rate * (np.arange(len(at)) % 2)), np.zeros(len(at), int), rate
    )


def test_five_minutes_by_hand():
    """Intervals of 860 and 740 ms in turn: each differs from the next by 120 ms, and from their mean by 60."""
    found = regular(0.8, 305.0, wobble_s=0.06).run()
    assert found["rmssd", 0] == pytest.approx(120.0, abs=0.001)
    assert found["sdnn", 0] == pytest.approx(60.0, abs=0.1)
    assert found["pnn50", 0] == 100.0
    assert found["rate", 0] == pytest.approx(75.0, abs=0.1)


def test_fifty_milliseconds_are_not_more_than_fifty():
    found = regular(1.0, 305.0, 1000.0, 0.025).run()
    assert (found["rmssd", 0], found["pnn50", 0]) == (50.0, 0.0)
    assert regular(1.0, 305.0, 1000.0, 0.026).run()["pnn50", 0] == 100.0


@pytest.mark.parametrize(("ventricular", "enough"), [(0.05, True), (0.15, False)])
def test_variability_needs_four_fifths_of_the_time(ventricular, enough):
    """A V beat takes two intervals: one in twenty leaves nine tenths, three in twenty leave seven."""
    beats = regular(0.8, 305.0)
    beats.code[:: round(1 / ventricular)] = V
    assert (("sdnn", 0) in beats.run()) is enough


def test_what_is_cut_short_counts_for_what_it_has():
    found = regular(0.8, 285.0).run()
    assert {name for name, minute in found if minute == 0} >= {"rate", "sdnn", "rmssd", "pnn50"}
    assert max(minute for _, minute in found) == 4
    assert found["watched", 0] == pytest.approx(284.0 / 60.0, abs=0.01)
    assert found["beats", 0] == 356
    assert {name for name, _ in regular(0.8, 200.0).run()}.isdisjoint({"sdnn", "rmssd", "pnn50"})
    assert ("rate", 3) not in regular(0.8, 200.0).run()  # 20 s of the fourth minute are too few


def test_fibrillation_known_at_one_beat_leaves_the_five_minutes_undetermined():
    beats = regular(0.8, 610.0)
    beats.fibrillates[100] = True
    assert {minute for name, minute in beats.run() if name == "sdnn"} == {5}


def test_what_is_over_is_said_five_seconds_later_without_a_beat():
    state, told = np.zeros(holter.STATE), (np.zeros(ectopy.COUNTS), np.zeros(af.STATE))
    out = np.zeros((20, rhythms.ROW_WIDTH), np.int64)
    for at in np.arange(0.8, 59.0, 0.8):
        assert holter.beat(state, *told, at * 250, N, False, 0, False, at * 250, 250.0, out, 0) == 0
    assert holter.tick(state, *told, 64.9 * 250, 250.0, out, 0) == 0
    assert holter.tick(state, *told, 65.0 * 250, 250.0, out, 0) == 1
    assert out[0].tolist() == [rhythms.RATE_MINUTE, 0, 60 * 250, 65 * 250, 75_000]
    assert holter.tick(state, *told, 70.0 * 250, 250.0, out, 0) == 0


def test_a_strip_says_too_little_of_fibrillation_and_enough_of_its_beats():
    """In a strip of ten seconds no fibrillation could have been known: it is no hour without any."""
    beats = regular(0.8, 10.0)
    beats.code[3] = V
    assert beats.run() == {
        ("beats", 0): 12.0,
        ("PVC", 0): pytest.approx(100 / 12, abs=0.001),
        ("SVE", 0): 0.0,
    }


def test_weights_come_before_what_they_weigh():
    beats = regular(0.8, 200.0)
    beats.run()
    kinds = [kind for kind, *_ in beats.rows]
    assert kinds.index(rhythms.WATCHED) < kinds.index(rhythms.AF_BURDEN)
    assert kinds.index(rhythms.WATCHED) < kinds.index(rhythms.RATE_HOUR)
    assert kinds.index(rhythms.BEATS) < kinds.index(rhythms.PVC_BURDEN)
