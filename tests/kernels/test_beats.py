"""Classes of beats: a plain form of the measures as oracle, what must not change the classes, real records."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy.beats import classify, count, predictivity, sensitivity, truth
from bench.accuracy.qrs import detect, read
from kernels import beat_shapes as shapes
from kernels import beats

RATE, GAIN = 250.0, 1000.0  # samples are microvolts
ECG = Path(os.environ.get("VIGIE_ECG") or Path(__file__).parents[3] / "shared" / "ecg")


def wave(t, at, width, height):
    return height * np.exp(-0.5 * ((t - at) / width) ** 2)


def ecg(kinds, rr_s, rate=RATE, seed=0):
    """Beats by kind, an interval before each: N, A, S narrow (P: N), V wide, W inverted, B bundle branch block."""
    at = np.cumsum(rr_s)
    t = np.arange(int((at[-1] + 2.0) * rate)) / rate
    x = np.random.default_rng(seed).normal(0.0, 8.0, len(t))
    for kind, r in zip(kinds, at, strict=True):
        near = (t > r - 0.4) & (t < r + 0.5)
        u = t[near] - r
        if kind in "NB":
            x[near] += wave(u, -0.16, 0.025, 120.0)
        if kind == "V":
            x[near] += wave(u, 0.0, 0.045, 1600.0) + wave(u, 0.28, 0.06, -350.0)
        elif kind == "W":
            x[near] += wave(u, 0.0, 0.045, -1600.0) + wave(u, 0.28, 0.06, 350.0)
        elif kind == "B":
            x[near] += wave(u, 0.0, 0.03, 900.0) + wave(u, 0.06, 0.03, 700.0) + wave(u, 0.3, 0.05, -200.0)
        else:
            x[near] += wave(u, 0.0, 0.012, 1000.0) + wave(u, 0.03, 0.01, -250.0) + wave(u, 0.26, 0.05, 220.0)
    return np.rint(x).astype(np.int16), np.rint(at * rate).astype(np.int64)


def rhythm(kinds):
    """Intervals: V and S early, a compensatory pause after V."""
    rr_s = np.full(len(kinds), 0.8)
    for i, kind in enumerate(kinds):
        if kind in "VW":
            rr_s[i] = 0.52
        elif kind == "S":
            rr_s[i] = 0.5
        if i and kinds[i - 1] in "VW" and kind not in "VW":
            rr_s[i] = 1.08
    return rr_s


def classes(samples, at, rate=RATE, gain=GAIN):
    rows, inputs = classify(samples, rate, gain, at, at + int(0.4 * rate))
    assert rows[:, 0].tolist() == at.tolist()
    return "".join("NSVFQ"[c] for c in rows[:, 1]), rows, inputs


def mixed(n, seed, usual="N"):
    random = np.random.default_rng(seed)
    kinds = [usual] * 30
    while len(kinds) < n:
        kinds += [usual] * int(random.integers(2, 8)) + [str(random.choice(["V", "S"]))]
    return [*kinds[:n], usual]


# ---- The oracle: whole arrays, np.interp, np.corrcoef, np.median.


class Oracle:
    def __init__(self):
        self.rr, self.slow, self.shapes, self.p, self.p_corr, self.p_n = [], 0.0, [], np.zeros(18), 0.0, 0

    @staticmethod
    def outline(x):
        line = np.linspace(x[0], x[-1], 30)
        height, slope = np.ptp(x), np.diff(x, prepend=x[0]) ** 2
        centre = slope @ np.arange(30) / slope.sum()
        return np.array(
            [
                height,
                np.abs(x - line).sum() / height,
                np.sqrt(slope @ (np.arange(30) - centre) ** 2 / slope.sum()),
            ]
        )

    # In one piece, in the order of the kernel's docstring: an oracle is to be read, not to be reused.
    def measure(  # noqa: C901, PLR0912, PLR0915
        self, steps, group, work, position, rr_s, next_s
    ):
        if rr_s > 0.0:
            self.rr.append(min(rr_s, 2.0))
        usual = np.median(self.rr[-8:]) if self.rr else 0.8
        if rr_s > 0.0:
            self.slow = (
                usual
                if len(self.rr) <= 16
                else self.slow * (1 + np.clip(self.rr[-1] / self.slow - 1, -0.004, 0.004))
            )
        last = np.array(self.rr[-16:])
        irregular = 0.0
        if len(last) > 4:
            irregular = min(
                np.median(np.abs(last[lag:] - last[:-lag])) for lag in (1, 2, 3) if len(last) - lag >= 3
            )
            irregular /= usual
        early = np.log(min(rr_s, 2.0) / usual) if rr_s else 0.0
        centre = (position - 0.5 * (group - 1)) / group
        beat = np.interp(centre + np.arange(-31, 23) * 0.01 * work, np.arange(len(steps)), steps)

        def part(lag):
            return beat[19 + lag : 49 + lag]

        weights = [s["weight"] * max(0.05, 1 + 3 * min(s["early"], 0.0)) for s in self.shapes]
        usual_shape = self.shapes[int(np.argmax(weights))] if weights else None
        chosen, alike, lags = None, 0.9, {}
        for s in self.shapes:
            r = [np.corrcoef(part(lag), s["x"])[0, 1] for lag in range(-5, 6)]
            lag = int(np.argmax(r)) - 5
            lags[id(s)] = lag, max(r)
            value = max(r) - 0.15 * abs(np.log(np.ptp(part(lag)) / s["outline"][0]))
            if value >= alike:
                chosen, alike = s, value
        new = chosen is None
        if new:
            chosen = {"weight": 0.0, "count": 0, "early": 0.0, "outline": np.zeros(3), "x": np.zeros(30)}
            if len(self.shapes) == 6:
                least = int(np.argmin([s["weight"] for s in self.shapes]))
                if self.shapes[least] is usual_shape:
                    usual_shape = None
                self.shapes[least] = chosen
            else:
                self.shapes.append(chosen)
        lag = 0 if new else lags[id(chosen)][0]
        own = self.outline(part(lag))
        m = np.zeros(shapes.MEASURES)
        m[shapes.M_CORR], m[shapes.M_SHARE] = 1.0, 1.0
        if usual_shape is not None:
            p_lag, m[shapes.M_CORR] = lags[id(usual_shape)]
            x = part(p_lag) - part(p_lag).mean()
            m[shapes.M_REST] = np.linalg.norm(x - usual_shape["x"]) / np.linalg.norm(usual_shape["x"])
            ratio = np.log(own / usual_shape["outline"])
            m[shapes.M_AMPLITUDE], m[shapes.M_AREA], m[shapes.M_SPREAD] = ratio
            m[shapes.M_SHARE] = chosen["weight"] / usual_shape["weight"]
        other = usual_shape is not None and chosen is not usual_shape
        n = chosen["count"]
        m[shapes.M_NEXT] = np.log(next_s / usual)
        m[shapes.M_EARLY] = early
        m[shapes.M_SHAPE_EARLY] = (n * chosen["early"] + 3 * early) / (n + 3)
        m[shapes.M_SLOW] = np.log(min(rr_s, 2.0) / self.slow) if rr_s else 0.0
        m[shapes.M_IRREGULAR] = irregular
        m[shapes.M_OTHER], m[shapes.M_NEW] = other, new
        for s in self.shapes:
            s["weight"] *= 0.999
        chosen["weight"] += 1
        chosen["count"] += 1
        share = max(1 / chosen["count"], 1 / 32)
        for key, value in (("early", early), ("outline", own), ("x", part(lag) - part(lag).mean())):
            chosen[key] = chosen[key] + share * (value - chosen[key])
        at = 5 + (lag if other or usual_shape is None else p_lag)
        p = beat[at : at + 18] - beat[at : at + 18].mean()
        r = p @ self.p / max(np.linalg.norm(p) * np.linalg.norm(self.p), 1.0)
        m[shapes.M_P_LOST] = max(0.0, self.p_corr - r) if self.p_n > 8 else 0.0
        if not other and early > -0.1:
            share = max(1 / (self.p_n + 1), 1 / 32)
            if self.p_n:
                self.p_corr += share * (r - self.p_corr)
            self.p += share * (p - self.p)
            self.p_n += 1
        return m


@pytest.mark.parametrize(("seed", "rate"), [(1, 250.0), (2, 120.0), (3, 360.0), (4, 1000.0)])
def test_measures_are_those_of_the_oracle(seed, rate):
    kinds = mixed(70, seed)
    samples, at = ecg(kinds, rhythm(kinds), rate, seed)
    group = max(1, int(rate // 120))
    steps = samples[: len(samples) // group * group].reshape(-1, group).mean(axis=1)
    steps = np.rint(steps).astype(np.int16)
    size = 1 << 18
    ring = np.zeros(size, np.int16)
    ring[: len(steps)] = steps
    state, scratch, oracle = np.zeros(shapes.SHAPES_STATE), np.zeros(shapes.SCRATCH), Oracle()
    for i, position in enumerate(at):
        rr_s = (position - at[i - 1]) / rate if i else 0.0
        next_s = (at[i + 1] - position) / rate if i + 1 < len(at) else 1.5
        where = len(steps) - 1, float(position), float(group), rate / group
        shapes.measure(state, ring, *where, rr_s, next_s, scratch)
        expected = oracle.measure(steps, group, rate / group, position, rr_s, next_s)
        found = scratch[: shapes.MEASURES]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3, err_msg=f"beat {i}")


# ---- What the classes must be.


@pytest.mark.parametrize("rate", [125.0, 250.0, 360.0, 500.0])
def test_ectopic_beats_are_told(rate):
    kinds = mixed(120, 5)
    found, *_ = classes(*ecg(kinds, rhythm(kinds), rate), rate)
    assert found[20:-1] == "".join(kinds[20:-1])


def test_bundle_branch_block_is_normal_and_its_ectopic_beats_are_not():
    kinds = [{"S": "B", "V": "W"}.get(kind, kind) for kind in mixed(120, 6, "B")]
    found, *_ = classes(*ecg(kinds, rhythm(kinds)))
    wrong = [i for i in range(20, 120) if (found[i] == "V") != (kinds[i] == "W")]
    assert wrong == []
    assert all(found[i] == "N" for i in range(20, 120) if kinds[i] == "B")


def test_bigeminy_does_not_become_the_usual_rhythm():
    kinds = ["N"] * 20 + ["V", "N"] * 100
    found, *_ = classes(*ecg(kinds, rhythm(kinds)))
    assert found[20:-1] == "".join(kinds[20:-1])


def test_a_run_of_early_narrow_beats_is_s_to_its_end():
    kinds = ["N"] * 60 + ["S"] * 30 + ["N"] * 10
    found, *_ = classes(*ecg(kinds, rhythm(kinds)))
    assert found[60:90].count("S") >= 29
    assert found[:60].count("S") == 0


def test_at_most_a_tenth_of_an_irregular_rhythm_is_s():
    rr_s = np.random.default_rng(7).uniform(0.45, 1.1, 300)
    found, *_ = classes(*ecg("A" * 300, rr_s))
    assert found.count("S") + found.count("V") <= 30


def test_a_gradual_acceleration_is_normal():
    found, *_ = classes(*ecg("N" * 200, np.geomspace(0.95, 0.5, 200)))
    assert found == "N" * 200


def test_a_last_beat_waits_no_longer_than_two_seconds():
    samples, at = ecg("N" * 20, np.full(20, 0.8))
    samples = np.append(samples, np.zeros(2000, np.int16))
    _, rows, _ = classes(samples, at)
    assert rows[-1, 2] - rows[-1, 0] <= 2.0 * RATE
    assert (np.diff(rows[:, 2]) >= 0).all()


def test_an_artefact_is_not_classified():
    samples, at = ecg("N" * 40, np.full(40, 0.8))
    samples[at[30] - 20 : at[30] + 20] *= 12
    found, *_ = classes(samples, at)
    assert found[30] == "Q"


def test_no_interval_is_measured_across_a_break_or_a_close():
    state, out, ring = np.zeros(beats.BEATS_STATE), np.zeros(3, np.int64), np.zeros(1024, np.int16)
    scratch = np.zeros(beats.SCRATCH)
    assert not beats.next_beat(state, ring, 300, RATE, 2.0, 250.0, 600.0, True, scratch, out)
    assert beats.next_beat(state, ring, 400, RATE, 2.0, 450.0, 800.0, False, scratch, out)
    assert out.tolist() == [250, out[1], 800]
    assert beats.next_beat(state, ring, 500, RATE, 2.0, 650.0, 1000.0, True, scratch, out)
    assert state[shapes.S_RR_N] == 0.0  # the one that waits is not measured yet
    assert beats.close(state, ring, 500, RATE, 2.0, 1000.0, scratch, out)
    assert state[shapes.S_RR_N] == 1.0
    assert not beats.close(state, ring, 500, RATE, 2.0, 1000.0, scratch, out)
    assert not beats.tick(state, ring, 500, RATE, 2.0, 9000.0, scratch, out)


# ---- What must not change the classes.


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000), st.sampled_from([0.5, 2.0, 5.0]), st.sampled_from([-1, 1]), st.integers(-500, 500)
)
def test_scale_polarity_and_offset_change_nothing(seed, scale, sign, offset):
    kinds = mixed(60, seed)
    samples, at = ecg(kinds, rhythm(kinds), seed=seed)
    plain, _, inputs = classes(samples, at)
    other, _, changed = classes((sign * scale * samples + offset).astype(np.int16), at)
    margin = [margins(row) for row in inputs]
    assert all(a == b or min(m) < 0.3 for a, b, m in zip(plain, other, margin, strict=True))
    np.testing.assert_allclose(changed, inputs, atol=0.15)


def margins(row):
    v = abs(np.dot(beats._WEIGHTS_V[:-1], row[: beats.VENTRICULAR]) + beats._WEIGHTS_V[-1])
    s = abs(np.dot(beats._WEIGHTS_S[:-1], row[beats.VENTRICULAR : beats.EARLY]) + beats._WEIGHTS_S[-1])
    return v, s, 5 * abs(row[beats.EARLY] - beats.LEAST_EARLY)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 12_000), max_size=30))
def test_cuts_change_nothing(seed, cuts):
    kinds = mixed(50, seed)
    samples, _ = ecg(kinds, rhythm(kinds), seed=seed)
    whole = detect(samples, RATE, GAIN)
    expected, _ = classify(samples, RATE, GAIN, *whole)
    parts = detect(samples, RATE, GAIN, chunk=cuts[0] if cuts else 250)
    found, _ = classify(samples, RATE, GAIN, *parts)
    assert found.tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=60), st.sampled_from(["noise", "flat", "rails"]))
def test_any_signal_gives_a_class_and_a_finite_state(steps, kind):
    at = np.cumsum(steps)
    n = int(at[-1]) + 500
    random = np.random.default_rng(len(steps))
    samples = {
        "noise": random.integers(-32768, 32767, n),
        "flat": np.full(n, 5),
        "rails": np.where(random.random(n) < 0.5, -32768, 32767),
    }[kind].astype(np.int16)
    found, _, inputs = classes(samples, at)
    assert set(found) <= set("NSVQ")
    assert np.isfinite(inputs).all()


def test_the_state_is_bounded():
    assert beats.BEATS_STATE * 8 <= 2560


# ---- Real records. Floors: changes may not lead to worse results.


@pytest.mark.parametrize(
    ("name", "v_se", "v_p", "s_se", "s_p"),
    [("119", 99.9, 99.9, 0.0, 0.0), ("207", 95.0, 90.0, 59.0, 92.0), ("209", 0.0, 0.0, 91.0, 95.0)],
)
def test_floors_on_real_records(name, v_se, v_p, s_se, s_p):
    path = ECG / "mitdb" / name
    if not path.with_suffix(".hea").exists():
        pytest.skip(f"no annotated ECG at {ECG}")
    samples, rate, gain, *_ = read(path)
    found, decided = detect(samples, rate, gain)
    rows, _ = classify(samples, rate, gain, found, decided)
    labels, missed, missed_at = truth(path, found, rate)
    late = found >= 300 * rate
    counts = count(labels[late], np.array(list("NSVFQ"))[rows[late, 1]], missed[missed_at >= 300 * rate])
    figures = (
        sensitivity(counts[:3]),
        predictivity(counts[:3]),
        sensitivity(counts[3:]),
        predictivity(counts[3:]),
    )
    assert all(a >= b for a, b in zip(figures, (v_se, v_p, s_se, s_p), strict=True)), figures
