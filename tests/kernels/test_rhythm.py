"""Rhythm events: their definitions, the clock of a stream, and what must not change them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ecg_design import design
from ingest.signals import by_code
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import ecg_lead, ecg_readings, qrs_state, rhythm

T0 = 1_767_222_000_000
RATE = 250.0
GAIN = 500.0
WORK = rhythm.scratch()
INTEGERS = np.r_[
    qrs_state.S_RR : qrs_state.S_CAND_J, qrs_state.S_RING : qrs_state.STATE, ecg_lead.L_BEATS : ecg_lead.ROW
]
"""Where a row is not made of floats."""


class Stream:
    """One stream; readings as (ms after T0, code, value)."""

    def __init__(self):
        self.row = np.zeros(rhythm.ROW)
        self.readings = []

    def feed(self, t_ms, samples, rate=RATE, gain=GAIN):
        room = rhythm.max_readings(len(samples), rate)
        t, code, milli = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int32)
        count = rhythm.feed_chunk(
            self.row,
            round(T0 + t_ms),
            rate,
            gain,
            np.ascontiguousarray(samples),
            design(rate),
            WORK,
            t,
            code,
            milli,
        )
        for k in range(max(count, 0)):
            self.readings.append((int(t[k]) - T0, int(code[k]), int(milli[k]) / 1000.0))
        return count

    def cut(self, samples, cuts=(), rate=RATE, at_ms=0.0):
        edges = [0, *sorted(cuts), len(samples)]
        for low, high in pairwise(edges):
            assert self.feed(at_ms + low * 1000.0 / rate, samples[low:high], rate) >= 0
        return self

    def of(self, code):
        return [(t, value) for t, c, value in self.readings if c == code]


def paced(times, seconds, rate=RATE, noise=0.005):
    """Build a lead with narrow beats at `times` (s)."""
    n = int(seconds * rate)
    at = np.arange(n) / rate
    lead = noise * np.random.default_rng(1).standard_normal(n)
    for beat in times:
        # Further away it is less than a float can say beside the noise.
        near = slice(max(0, int((beat - 0.2) * rate)), max(0, int((beat + 0.25) * rate)))
        from_beat = at[near] - beat
        lead[near] += np.exp(-0.5 * (from_beat / 0.012) ** 2) - 0.2 * np.exp(
            -0.5 * ((from_beat - 0.04) / 0.012) ** 2
        )
    return np.rint(lead * GAIN).astype(np.int16)


def every(rr, start, end):
    return np.arange(start, end, rr).tolist()


# ---- Definitions.


@pytest.mark.parametrize("rate_per_min", [40.0, 75.0, 120.0, 180.0])
def test_rate_of_each_ten_seconds(rate_per_min):
    stream = Stream().cut(paced(every(60.0 / rate_per_min, 0.5, 60.0), 60.0))
    found = stream.of(ecg_readings.CODE_RATE)
    assert [t for t, _ in found] == [10_000, 20_000, 30_000, 40_000, 50_000, 60_000]
    assert [value for _, value in found] == pytest.approx([rate_per_min] * 6, abs=0.5)


def test_a_pause_is_said_while_it_lasts_and_when_it_ends():
    beats = [*every(0.8, 0.5, 12.0), *every(0.8, 17.3, 30.0)]
    last = max(beat for beat in beats if beat < 12.0)
    found = Stream().cut(paced(beats, 30.0)).of(ecg_readings.CODE_PAUSE)
    assert [t for t, _ in found] == pytest.approx(
        [1000 * (last + 3), 1000 * (last + 4), 1000 * (last + 5), 17_300], abs=8
    )
    assert [value for _, value in found] == pytest.approx([3.0, 4.0, 5.0, 17.3 - last], abs=0.01)


@pytest.mark.parametrize(("gap", "pauses"), [(2.9, 0), (3.1, 1)])
def test_three_seconds_are_a_pause_and_less_is_not(gap, pauses):
    beats = [*every(0.8, 0.5, 10.2), *[10.1 + gap + k for k in every(0.8, 0.0, 15.0)]]
    found = Stream().cut(paced(beats, 28.0)).of(ecg_readings.CODE_PAUSE)
    assert len([value for _, value in found if value > 3.0]) == pauses


def test_a_pause_is_said_within_two_seconds_of_three():
    samples = paced(every(0.8, 0.5, 12.0), 30.0)
    stream = Stream()
    last = max(every(0.8, 0.5, 12.0))
    for k in range(len(samples) // 25):
        stream.feed(k * 100, samples[25 * k : 25 * (k + 1)])
        if stream.of(ecg_readings.CODE_PAUSE):
            assert (k + 1) * 0.1 - last <= 5.0
            break
    else:
        pytest.fail("no pause")


@pytest.mark.parametrize("flat", [0, 1234])
def test_a_flat_line_is_a_pause_from_the_start(flat):
    found = Stream().cut(np.full(250 * 35, flat, np.int16)).of(ecg_readings.CODE_PAUSE)
    assert found == [(1000 * s, float(s)) for s in (3, 4, 5, 6, 7, 8, 9, 10, 20, 30)]


def test_asystole_under_noise_and_wander_is_a_pause():
    ecg = synthesize(Rhythm.ASYSTOLE, 30.0, 1, noise_mv=0.01)
    alive = synthesize(Rhythm.SINUS, 30.0, 1, noise_mv=0.01)
    found = Stream().cut(np.concatenate([alive.samples, ecg.samples])).of(ecg_readings.CODE_PAUSE)
    assert [value for _, value in found] == [3, 4, 5, 6, 7, 8, 9, 10, 20, 30]


@pytest.mark.parametrize("rail", [32767, -32768])
def test_a_lost_signal_is_not_a_pause_and_no_interval_spans_it(rail):
    samples = paced(every(0.8, 0.5, 60.0), 60.0)
    samples[20 * 250 : 32 * 250] = rail
    stream = Stream().cut(samples)
    assert stream.of(ecg_readings.CODE_PAUSE) == []
    assert [value for _, value in stream.of(ecg_readings.CODE_RATE)] == pytest.approx([75.0] * 5, abs=0.5)


def test_asystole_after_a_lost_signal_is_a_pause():
    samples = paced(every(0.8, 0.5, 20.0), 60.0)
    samples[20 * 250 : 32 * 250] = -32768
    found = Stream().cut(samples).of(ecg_readings.CODE_PAUSE)
    assert found[:3] == [(35_000, 3.0), (36_000, 4.0), (37_000, 5.0)]


def test_slow_and_fast_runs():
    slow = Stream().cut(paced(every(1.5, 0.5, 60.0), 60.0))
    assert [value for _, value in slow.of(ecg_readings.CODE_SLOW)] == pytest.approx([40.0] * 6, abs=0.4)
    assert slow.of(ecg_readings.CODE_FAST) == []
    fast = Stream().cut(paced(every(0.4, 0.5, 60.0), 60.0))
    assert [value for _, value in fast.of(ecg_readings.CODE_FAST)] == pytest.approx([150.0] * 6, abs=1.5)
    assert fast.of(ecg_readings.CODE_SLOW) == []
    usual = Stream().cut(paced(every(0.8, 0.5, 60.0), 60.0))
    assert usual.of(ecg_readings.CODE_FAST) == usual.of(ecg_readings.CODE_SLOW) == []


def test_the_most_extreme_of_ten_seconds():
    # Intervals of 1.1 s, and four of 1.6 s in the second ten seconds.
    beats = [0.5]
    while beats[-1] < 40.0:
        beats.append(beats[-1] + (1.6 if 11.0 < beats[-1] < 17.0 else 1.1))
    found = Stream().cut(paced(beats, 40.0)).of(ecg_readings.CODE_SLOW)
    assert found[1][1] == pytest.approx(60.0 / 1.6, abs=0.4)
    assert found[0][1] == pytest.approx(60.0 / 1.1, abs=0.6)


def test_sixteen_fast_intervals_are_needed():
    beats = [*every(0.8, 0.5, 10.0), *[10.1 + 0.4 * k for k in range(14)], *every(0.8, 16.5, 40.0)]
    assert all(value < 140 for _, value in Stream().cut(paced(beats, 40.0)).of(ecg_readings.CODE_FAST))


def test_too_few_intervals_give_no_rate():
    # Beats only in the first two of the second ten seconds.
    beats = [*every(0.8, 0.5, 11.7)]
    found = Stream().cut(paced(beats, 30.0)).of(ecg_readings.CODE_RATE)
    assert [t for t, _ in found] == [10_000]


def test_codes_are_those_of_the_table():
    for code, name in (
        (ecg_readings.CODE_RATE, "heart_rate_ecg"),
        (ecg_readings.CODE_PAUSE, "ecg_pause"),
        (ecg_readings.CODE_SLOW, "ecg_bradycardia"),
        (ecg_readings.CODE_FAST, "ecg_tachycardia"),
        (ecg_readings.CODE_NSVT, "ecg_nsvt"),
        (ecg_readings.CODE_SVT, "ecg_svt"),
        (ecg_readings.CODE_COUPLETS, "ecg_couplets"),
        (ecg_readings.CODE_RUNS, "ecg_runs"),
        (ecg_readings.CODE_BIGEMINY, "ecg_bigeminy"),
        (ecg_readings.CODE_TRIGEMINY, "ecg_trigeminy"),
        (ecg_readings.CODE_R_ON_T, "ecg_r_on_t"),
        (ecg_readings.CODE_RATE_MINUTE, "ecg_rate_minute"),
        (ecg_readings.CODE_SDNN, "ecg_sdnn"),
        (ecg_readings.CODE_RMSSD, "ecg_rmssd"),
        (ecg_readings.CODE_PNN50, "ecg_pnn50"),
        (ecg_readings.CODE_RATE_HOUR, "ecg_rate_hour"),
        (ecg_readings.CODE_WATCHED, "ecg_watched"),
        (ecg_readings.CODE_BEATS, "ecg_beats"),
        (ecg_readings.CODE_AF_BURDEN, "ecg_af_burden"),
        (ecg_readings.CODE_PVC_BURDEN, "ecg_pvc_burden"),
        (ecg_readings.CODE_SVE_BURDEN, "ecg_sve_burden"),
    ):
        assert by_code(code).name == name


def test_minutes_and_fives_are_those_of_the_clock():
    beats = np.cumsum(np.tile([0.75, 0.85], 280))
    samples = paced(beats, 440.0)
    stream = Stream().cut(samples, range(1000, len(samples), 3210), at_ms=17_250)
    found = stream.of(ecg_readings.CODE_RATE_MINUTE)
    assert [t for t, _ in found] == [60_000 * k for k in range(1, 8)]  # the last half minute is not over
    assert [value for _, value in found] == pytest.approx([75.0] * 7, abs=0.5)
    for code, value in (
        (ecg_readings.CODE_SDNN, 50.0),
        (ecg_readings.CODE_RMSSD, 100.0),
        (ecg_readings.CODE_PNN50, 100.0),
    ):
        ((t, measured),) = stream.of(code)
        assert t == 300_000
        assert measured == pytest.approx(value, abs=4.0)  # R peaks are whole samples of 4 ms
    assert stream.feed(17_250 + 440_000, samples[:250], gain=GAIN * 2) > 0  # a new segment ends the old
    assert stream.of(ecg_readings.CODE_RATE_MINUTE)[-1][0] == 457_000
    ((t, watched),) = stream.of(ecg_readings.CODE_WATCHED)  # and the hour, with what it has
    assert (t, watched) == (457_000, pytest.approx(439.0 / 60.0, abs=0.1))
    assert stream.of(ecg_readings.CODE_AF_BURDEN) == [(457_000, 0.0)]
    ((_, beats),) = stream.of(ecg_readings.CODE_BEATS)
    assert beats == pytest.approx(549, abs=3)


def test_an_hour_is_one_of_the_clock():
    """An ECG from 10:50 to 11:20 is ten minutes of one hour and twenty of the next."""
    samples = paced(every(0.8, 0.5, 1800.0), 1800.0)
    stream = Stream().cut(samples, range(0, len(samples), 2500), at_ms=50 * 60_000)
    stream.feed(80 * 60_000 + 3_600_000, samples[:2500])
    watched = stream.of(ecg_readings.CODE_WATCHED)
    assert [t for t, _ in watched] == [60 * 60_000, 80 * 60_000]
    assert [value for _, value in watched] == pytest.approx([10.0, 20.0], abs=0.1)
    assert [value for _, value in stream.of(ecg_readings.CODE_RATE_HOUR)] == pytest.approx(
        [75.0] * 2, abs=0.1
    )
    assert [value for _, value in stream.of(ecg_readings.CODE_BEATS)] == pytest.approx([750, 1500], abs=3)


def test_a_change_of_rate_ends_the_minute():
    stream = Stream().cut(paced(every(0.8, 0.5, 40.0), 40.0))
    assert stream.of(ecg_readings.CODE_RATE_MINUTE) == []
    stream.feed(40_000, paced([0.5], 1.0, rate=500.0), rate=500.0)
    ((t, value),) = stream.of(ecg_readings.CODE_RATE_MINUTE)
    assert t == 40_000
    assert value == pytest.approx(75.0, abs=0.5)


def lead_with(kinds, rr_s=0.8, noise=0.005):
    """Build a lead of N, V (wide, early by a third) and their pauses; give it and the times of its beats."""
    times, at = [], 0.5
    for kind, before in zip(kinds, "N" + kinds, strict=False):
        at += 0.4 if kind == before == "V" else 0.55 if kind == "V" else 1.05 if before == "V" else rr_s
        times.append(at)
    n = int((at + 2.0) * RATE)
    t = np.arange(n) / RATE
    lead = noise * np.random.default_rng(2).standard_normal(n)
    for kind, beat in zip(kinds, times, strict=True):
        low, high = np.searchsorted(t, (beat - 0.5, beat + 0.5))
        x = t[low:high] - beat
        if kind == "V":
            lead[low:high] += 1.6 * np.exp(-0.5 * (x / 0.025) ** 2) - 0.9 * np.exp(
                -0.5 * ((x - 0.08) / 0.03) ** 2
            )
        else:
            lead[low:high] += np.exp(-0.5 * (x / 0.012) ** 2) - 0.2 * np.exp(-0.5 * ((x - 0.04) / 0.012) ** 2)
    return np.rint(lead * GAIN).astype(np.int16), times


def test_the_hour_tells_its_ectopic_beats():
    minute = "N" * 20 + "V" + "N" * 15 + "VV" + "N" * 15 + "VVV" + "N" * 10 + "VNVNVNV" + "N" * 6
    samples, times = lead_with(minute * 60)
    stream = Stream().cut(samples)
    end = 3_600_000
    turns = sum(each < 3600.0 for each in times) / len(minute)
    assert turns > 50
    per_hour = {
        ecg_readings.CODE_COUPLETS: turns,
        ecg_readings.CODE_RUNS: turns,
        ecg_readings.CODE_BIGEMINY: turns,
        ecg_readings.CODE_TRIGEMINY: 0.0,
    }
    for code, number in per_hour.items():
        assert [t for t, _ in stream.of(code)] == [end]
        assert stream.of(code)[0][1] == pytest.approx(number, abs=3)
    assert [t for t, _ in stream.of(ecg_readings.CODE_R_ON_T)] == [end]
    share = 100.0 * minute.count("V") / len(minute)
    assert stream.of(ecg_readings.CODE_PVC_BURDEN)[0][1] == pytest.approx(share, abs=1.0)
    # Each run is said when it is found and when it is over: three beats, 0.4 s apart.
    runs = [value for _, value in stream.of(ecg_readings.CODE_NSVT)]
    assert len(runs) == pytest.approx(2 * turns, abs=6)
    assert max(runs[1::2]) == pytest.approx(0.8, abs=0.05)


def test_a_supraventricular_tachycardia_is_said_while_it_lasts():
    beats = [*every(0.8, 0.5, 20.0), *every(0.4, 20.1, 60.0)]
    samples = paced([*beats, *every(0.8, 60.6, 70.0)], 70.0)
    found = Stream().cut(samples, range(0, len(samples), 250)).of(ecg_readings.CODE_SVT)
    lengths = [value for _, value in found]
    assert lengths == sorted(lengths)
    assert len(found) == 5  # when it is found, three times while it lasts, when it ends
    assert lengths[1:4] == pytest.approx([lengths[0] + 10.0 * k for k in (1, 2, 3)], abs=1.0)
    assert lengths[-1] == pytest.approx(39.6, abs=0.5)
    assert [t - 1000.0 * value for t, value in found] == pytest.approx([20_100.0] * 5, abs=500.0)


# ---- The clock.


def test_what_was_seen_is_refused_and_changes_nothing():
    samples = paced(every(0.8, 0.5, 30.0), 30.0)
    stream = Stream().cut(samples)
    before = stream.row.copy()
    assert stream.feed(0, samples) == rhythm.SEEN
    assert stream.feed(29_000, samples[:250]) == rhythm.SEEN
    assert stream.row.tobytes() == before.tobytes()
    assert stream.feed(30_000, samples[:250]) >= 0


def test_no_interval_spans_a_gap_and_its_pause_is_not_one():
    samples = paced(every(0.8, 0.5, 25.0), 25.0)
    stream = Stream()
    stream.feed(0, samples)
    stream.feed(33_000, samples)
    assert stream.of(ecg_readings.CODE_PAUSE) == []
    # The windows go on over the gap.
    assert [t for t, _ in stream.of(ecg_readings.CODE_RATE)] == [10_000, 20_000, 30_000, 40_000, 50_000]
    assert [value for _, value in stream.of(ecg_readings.CODE_RATE)] == pytest.approx([75.0] * 5, abs=0.5)


def test_no_interval_spans_a_long_gap_and_the_segment_ends_there():
    samples = paced(every(0.8, 0.5, 25.0), 25.0)
    stream = Stream()
    stream.feed(0, samples)
    stream.feed(86_000, samples)
    assert stream.of(ecg_readings.CODE_PAUSE) == []
    # The window that the gap cut short is closed at the end of what came.
    assert [t for t, _ in stream.of(ecg_readings.CODE_RATE)] == [10_000, 20_000, 25_000, 96_000, 106_000]
    assert [value for _, value in stream.of(ecg_readings.CODE_RATE)] == pytest.approx([75.0] * 5, abs=0.5)


@pytest.mark.parametrize(
    "kind", [Rhythm.SINUS, Rhythm.ATRIAL_FIBRILLATION, Rhythm.ASYSTOLE, Rhythm.VENTRICULAR_FIBRILLATION]
)
@pytest.mark.parametrize("gap", [2, 20, 26, 125, 500, 2500, 14_000])
def test_a_gap_under_a_minute_is_lost_signal(kind, gap):
    """The oracle of a gap is what a device sends that says by itself that it has no signal."""
    ecg = synthesize(kind, 100.0, 7)
    before, after = ecg.samples[: 250 * 40 + 37], ecg.samples[250 * 40 + 37 :]
    most = 250 * 40  # after a long chunk a few milliseconds would pass for the drift of a clock
    gapped, railed = Stream(), Stream()
    gapped.feed(0, before[:most], gain=ecg.gain)
    gapped.feed(most * 4.0, before[most:], gain=ecg.gain)
    gapped.feed((len(before) + gap) * 4.0, after, gain=ecg.gain)
    rails = np.full(gap, -32768, np.int16)
    railed.feed(0, before, gain=ecg.gain)
    railed.feed(len(before) * 4.0, rails, gain=ecg.gain)
    railed.feed((len(before) + gap) * 4.0, after, gain=ecg.gain)
    assert gapped.readings == railed.readings
    kept = [i for i in range(rhythm.ROW) if i != rhythm.R_CHUNK_MS]
    assert gapped.row[kept].tobytes() == railed.row[kept].tobytes()


def test_a_gap_of_a_fraction_of_a_sample_moves_the_clock():
    samples = paced(every(0.8, 0.5, 30.0), 30.0)
    stream = Stream()
    stream.feed(0, samples)
    stream.feed(35_001.0, samples)
    stream.feed(65_001.0, samples[:250])
    assert stream.row[ecg_readings.R_ANCHOR] - T0 == pytest.approx(1.0)
    assert stream.row[qrs_state.S_N] == 66 * 250


def test_a_patch_that_loses_packets_still_hears_fibrillation():
    """Two seconds of every twenty are lost, for five minutes."""
    ecg = synthesize(Rhythm.ATRIAL_FIBRILLATION, 300.0, 11)
    stream = Stream()
    for second in range(300):
        if second % 20 not in (8, 9):
            part = ecg.samples[250 * second : 250 * (second + 1)]
            assert stream.feed(second * 1000.0, part, gain=ecg.gain) >= 0
    found = stream.of(ecg_readings.CODE_AF)
    assert found
    assert found[0][0] <= 90_000
    assert max(value for _, value in found) >= 180.0
    assert stream.of(ecg_readings.CODE_PAUSE) == []


def test_the_quality_of_a_gap_is_unusable():
    samples = paced(every(0.8, 0.5, 30.0), 30.0)
    stream = Stream()
    stream.feed(0, samples)
    stream.feed(60_000, samples)  # half a minute is missing
    usable = dict(stream.of(ecg_readings.CODE_USABLE))
    assert usable[10_000] == 100.0
    assert usable[60_000] == pytest.approx(100.0 * 20.0 / 50.0, abs=12.0)


def test_a_clock_that_drifts_is_followed():
    samples = paced(every(0.8, 0.5, 120.0), 120.0)
    stream = Stream()
    for k in range(120):
        # The device counts 1000 ms where 1000.8 ms pass.
        assert stream.feed(k * 1000.8, samples[250 * k : 250 * (k + 1)]) >= 0
    found = stream.of(ecg_readings.CODE_RATE)
    assert len(found) == 12  # never a gap
    assert [value for _, value in found] == pytest.approx([75.0] * 12, abs=0.5)
    assert found[-1][0] == pytest.approx(120 * 1000.8, abs=8)


def test_strips_each_have_their_rate_at_once():
    stream = Stream()
    for k in range(4):
        strip = paced(every(60.0 / (60 + 10 * k), 0.4, 30.0), 30.0)
        stream.feed(k * 86_400_000, strip)
        assert stream.of(ecg_readings.CODE_RATE)[-1][1] == pytest.approx(60 + 10 * k, abs=1.0)


def test_a_change_of_rate_or_gain_goes_on():
    one = paced(every(0.8, 0.5, 20.0), 20.0)
    two = paced(every(0.8, 0.5, 20.0), 20.0, rate=500.0)
    stream = Stream()
    stream.feed(0, one)
    assert stream.feed(20_000, two, rate=500.0) > 0
    assert stream.feed(40_000, (two // 5).astype(np.int16), rate=500.0, gain=GAIN / 5) > 0
    found = stream.of(ecg_readings.CODE_RATE)
    assert [t for t, _ in found] == [10_000, 20_000, 30_000, 40_000, 50_000, 60_000]
    assert [value for _, value in found] == pytest.approx([75.0] * 6, abs=0.8)


def test_refusals_take_nothing():
    row, out = np.zeros(rhythm.ROW), np.zeros(1000, np.int64)
    milli = np.zeros(1000, np.int32)
    samples = np.zeros(250, np.int16)
    for rate, gain, room, answer in (
        (300.0, GAIN, 1000, rhythm.BAD_CHUNK),
        (RATE, 0.0, 1000, rhythm.BAD_CHUNK),
        (RATE, np.nan, 1000, rhythm.BAD_CHUNK),
        (RATE, GAIN, 10, rhythm.NO_ROOM),
    ):
        assert (
            rhythm.feed_chunk(row, T0, rate, gain, samples, design(RATE), WORK, out[:room], out, milli)
            == answer
        )
        assert not row.any()
    assert rhythm.feed_chunk(row, T0, RATE, GAIN, samples[:0], design(RATE), WORK, out, out, milli) == 0
    assert not row.any()


# ---- What must not change the events.

KINDS = list(Rhythm)


@settings(max_examples=60)
@given(
    st.integers(0, 60),
    st.lists(st.integers(0, 7500), max_size=60),
    st.sampled_from([125.0, 250.0, 360.0, 257.5]),
)
def test_cuts_change_nothing(seed, cuts, rate):
    ecg = synthesize(KINDS[seed % len(KINDS)], 30.0, seed, rate_hz=rate)
    samples = ecg.samples.copy()
    if seed % 2:
        samples[2500 : 2500 + 30 * seed] = -32768
    cuts = [cut for cut in cuts if cut < len(samples)]
    whole, parts = Stream().cut(samples, rate=rate), Stream().cut(samples, cuts, rate=rate)
    assert parts.readings == whole.readings
    kept = [i for i in range(rhythm.ROW) if i != rhythm.R_CHUNK_MS]
    assert parts.row[kept].tobytes() == whole.row[kept].tobytes()


@settings(max_examples=10)
@given(st.sampled_from(KINDS), st.integers(0, 3_600_000), st.lists(st.integers(0, 330 * 250), max_size=60))
def test_cuts_change_no_measure_of_the_clock(kind, at_ms, cuts):
    ecg = synthesize(kind, 330.0, 3)
    whole = Stream().cut(ecg.samples, at_ms=4 * at_ms)
    parts = Stream().cut(ecg.samples, [cut for cut in cuts if cut < len(ecg.samples)], at_ms=4 * at_ms)
    assert parts.readings == whole.readings
    assert kind is not Rhythm.SINUS or len(whole.of(ecg_readings.CODE_RATE_MINUTE)) >= 4


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(-2000, 5000),
            st.integers(0, 3000),
            st.sampled_from([100.0, 250.0, 999.5]),
            st.sampled_from([1.0, 200.0, 10_000.0]),
            st.sampled_from(["noise", "flat", "rail", "ecg"]),
        ),
        max_size=12,
    )
)
def test_any_chunks_are_taken_or_refused(chunks):
    stream = Stream()
    random = np.random.default_rng(1)
    at = 0.0
    for gap, n, rate, gain, kind in chunks:
        samples = {
            "noise": random.integers(-32768, 32768, n).astype(np.int16),
            "flat": np.full(n, 7, np.int16),
            "rail": np.full(n, -32768, np.int16),
            "ecg": synthesize(Rhythm.SINUS, 12.0, 1, rate_hz=250.0).samples[:n],
        }[kind]
        count = stream.feed(at + gap, samples, rate, gain)
        assert count >= 0 or count == rhythm.SEEN
        if count >= 0:
            at += gap + len(samples) * 1000.0 / rate if len(samples) else 0.0
    row = np.delete(stream.row, INTEGERS)
    assert np.isfinite(row).all()
    for _, code, value in stream.readings:
        signal = by_code(code)
        assert signal.low <= value <= signal.high


def test_the_row_is_bounded():
    assert rhythm.ROW * 8 <= 8192
    assert rhythm.ROW > qrs_state.STATE
