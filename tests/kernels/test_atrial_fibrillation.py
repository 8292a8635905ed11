"""Atrial fibrillation: a plain form of the kernel as oracle, what must not change it, what must not pass for it."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy import af as accuracy
from kernels import atrial_fibrillation as af

RATE = 250.0


def stream(positions, ectopic=None, breaks=None, rate=RATE):
    """Feed a whole stream; give its events as (event, onset, end, decided, confidence)."""
    state, scratch, out = np.zeros(af.STATE), np.zeros(af.SCRATCH), np.zeros(4)
    events = []
    for i, position in enumerate(positions):
        left_out = bool(ectopic[i]) if ectopic is not None else False
        lost = bool(breaks[i]) if breaks is not None else False
        event = af.take_beat(state, float(position), left_out, lost, rate, scratch, out)
        if event != af.NONE:
            events.append((event, *out.tolist()))
    event = af.end_segment(state, rate, out)
    if event != af.NONE:
        events.append((event, *out.tolist()))
    return events


# ---- The oracle: the list of kept intervals, each window cut from it and measured by sorting and comparing.


def measures(rr):
    median = statistics.median(rr)
    lags = [
        statistics.fmean(min(abs(a - b) / median, 0.25) for a, b in zip(rr[k:], rr, strict=False))
        for k in range(2, 9)
    ]
    core = max(sum(0.0 <= x - low <= 0.08 * median for x in rr) for low in rr) / len(rr)
    ordered = sorted(rr)
    spread = (ordered[3 * len(rr) // 4] - ordered[len(rr) // 4]) / median
    filtered = [sorted(rr[i - 1 : i + 2])[1] for i in range(1, len(rr) - 1)]
    step = statistics.fmean(
        min(abs(a - b) / median, 0.25) for a, b in zip(filtered[1:], filtered, strict=False)
    )
    return [
        math.log(min(lags) + 0.003),
        math.log(median),
        core,
        math.log(spread + 0.003),
        math.log(step + 0.003),
    ]


def odds(rr):
    return sum(w * x for w, x in zip(af.WEIGHTS, [*measures(rr), 1.0], strict=True))


def oracle(positions, ectopic, breaks, rate=RATE):
    """Give the events of a whole stream."""
    parts, ends = [[]], []
    for i in range(1, len(positions)):
        if parts[-1] and positions[i] - parts[-1][-1][1] > 30.0 * rate:
            parts.append([])
            ends.append(positions[i])
        rr = (positions[i] - positions[i - 1]) / rate
        if not (breaks[i] or ectopic[i] or ectopic[i - 1]) and 0.2 < rr < 3.0:
            parts[-1].append((positions[i - 1], positions[i], rr))
    ends.append(positions[-1] if len(positions) else 0.0)
    events = []
    for kept, over in zip(parts, ends, strict=True):
        n, half = af.WINDOW, af.WINDOW // 2
        onset, since, said, chances = None, 0, False, []
        for k in range(n, len(kept) + 1):
            window = kept[k - n : k]
            value = odds([rr for _, _, rr in window])
            at = window[-1][1]
            if onset is None and value >= af.ON:
                onset, since = (window[0][0], k - n) if k == n else (window[half - 1][1], k - half)
                said, chances = False, []
            elif onset is not None and value < af.OFF:
                if said:
                    events.append(
                        (af.ENDED, onset, max(window[half - 1][1], onset), at, statistics.fmean(chances))
                    )
                onset = None
            if onset is not None:
                chances.append(1.0 / (1.0 + math.exp(-value)))
                if not said and k - since >= af.LEAST_BEATS and (at - onset) / rate >= af.LEAST_S:
                    said = True
                    events.append((af.BEGAN, onset, math.nan, at, statistics.fmean(chances)))
        if onset is not None and said:
            events.append((af.ENDED, onset, kept[-1][1], over, statistics.fmean(chances)))
    return events


# ---- Rhythms.


def fibrillation(n, seed=0, mean_s=0.7):
    return mean_s * np.clip(np.random.default_rng(seed).normal(1.0, 0.22, n), 0.5, 1.8)


def sinus(n, seed=0, mean_s=0.8, arrhythmia=0.03):
    rng = np.random.default_rng(seed)
    phase = np.cumsum(np.full(n, mean_s)) * 2.0 * np.pi * 0.25
    return mean_s * (1.0 + arrhythmia * np.sin(phase) + 0.008 * rng.standard_normal(n))


def beats(rr, rate=RATE):
    return np.rint(np.cumsum(np.concatenate([[1.0], rr])) * rate)


@st.composite
def streams(draw):
    """Build a stream of pieces of several rhythms, some beats ectopic, some breaks, some long gaps."""
    pieces = []
    for i in range(draw(st.integers(1, 5))):
        seed, n = draw(st.integers(0, 999)), draw(st.integers(1, 120))
        kind = draw(st.sampled_from(["sinus", "fibrillation", "bigeminy", "gap"]))
        if kind == "sinus":
            pieces.append(sinus(n, seed, draw(st.floats(0.4, 1.4)), draw(st.floats(0.0, 0.2))))
        elif kind == "fibrillation":
            pieces.append(fibrillation(n, seed, draw(st.floats(0.35, 1.3))))
        elif kind == "bigeminy":
            pieces.append(np.where(np.arange(n) % 2 == i % 2, 0.5, 1.1))
        else:
            pieces.append(np.array([draw(st.floats(3.0, 60.0))]))
    positions = beats(np.concatenate(pieces))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    ectopic = rng.random(len(positions)) < draw(st.sampled_from([0.0, 0.05, 0.3]))
    breaks = rng.random(len(positions)) < draw(st.sampled_from([0.0, 0.02]))
    return positions, ectopic, breaks


def same(found, expected):
    assert [e[0] for e in found] == [e[0] for e in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-9, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(streams())
def test_gives_what_the_oracle_gives(case):
    same(stream(*case), oracle(*case))


@settings(max_examples=30, deadline=None)
@given(streams(), st.sampled_from([0.5, 2.0, 4.0]), st.integers(0, 1 << 40))
def test_depends_neither_on_the_rate_nor_on_where_the_count_begins(case, factor, offset):
    positions, ectopic, breaks = case
    expected = [
        (event, onset * factor + offset, end * factor + offset, decided * factor + offset, chance)
        for event, onset, end, decided, chance in stream(positions, ectopic, breaks)
    ]
    same(stream(positions * factor + offset, ectopic, breaks, RATE * factor), expected)


@settings(max_examples=30, deadline=None)
@given(streams(), st.integers(0, 600))
def test_what_was_said_does_not_change_by_what_follows(case, cut):
    positions, ectopic, breaks = case
    low = min(cut, len(positions))
    before = [e for e in stream(positions[:low], ectopic, breaks) if e[0] == af.BEGAN]
    whole = [e for e in stream(positions, ectopic, breaks) if e[0] == af.BEGAN]
    same(whole[: len(before)], before)


def test_nothing_comes_of_nothing():
    assert stream([]) == []
    assert stream([5.0]) == []


@pytest.mark.parametrize("mean_s", [0.4, 0.55, 0.75, 1.0])
def test_fibrillation_is_found_between_sinus_rhythms(mean_s):
    positions = beats(np.concatenate([sinus(200, 1), fibrillation(200, 2, mean_s), sinus(200, 3)]))
    began, ended = stream(positions)
    assert (began[0], ended[0]) == (af.BEGAN, af.ENDED)
    assert ended[1] == began[1]
    near_beats = 12
    assert abs(np.searchsorted(positions, ended[1]) - 200) <= near_beats
    assert abs(np.searchsorted(positions, ended[2]) - 400) <= near_beats
    assert (began[3] - positions[200]) / RATE <= max(20.0, 36 * mean_s)
    assert 0.5 < ended[4] <= 1.0


@pytest.mark.parametrize(
    "rr",
    [
        sinus(600),
        sinus(600, arrhythmia=0.12, mean_s=0.9),  # breathing, a young adult
        sinus(600, arrhythmia=0.15, mean_s=0.65),  # a child
        np.tile([0.5, 1.1], 300),  # bigeminy
        np.tile([0.8, 0.8, 0.5, 1.1], 150),
        np.tile([0.8, 0.5, 1.1], 200),
        np.full(600, 0.4),  # flutter, 2:1
        np.tile([0.4, 0.4, 0.8], 200),  # group beating
    ],
)
def test_other_rhythms_do_not_pass_for_it(rr):
    noise = 0.01 * np.random.default_rng(7).standard_normal(len(rr))
    assert stream(beats(rr + noise)) == []


def test_frequent_ectopic_beats_do_not_pass_for_it_when_their_class_is_known():
    rng = np.random.default_rng(3)
    rr, ectopic = sinus(900, 5), np.zeros(901, bool)
    for i in np.flatnonzero(rng.random(898) < 0.2):
        if not ectopic[i]:
            early = rng.uniform(0.2, 0.5) * rr[i]
            rr[i] -= early
            rr[i + 1] += early * rng.uniform(0.0, 1.0)
            ectopic[i + 1] = True
    assert stream(beats(rr), ectopic) == []


def test_a_break_is_no_interval_and_a_long_one_ends_the_episode():
    rr = fibrillation(300, 4)
    rr[150] = 20.0
    positions = beats(rr)
    breaks = np.zeros(301, bool)
    breaks[151] = True
    assert [e[0] for e in stream(positions, breaks=breaks)] == [af.BEGAN, af.ENDED]
    positions[151:] += 20 * RATE
    events = stream(positions, breaks=breaks)
    assert [e[0] for e in events] == [af.BEGAN, af.ENDED, af.BEGAN, af.ENDED]
    assert (events[1][2], events[1][3]) == (positions[150], positions[151])


def test_burden_counts_seconds_in_fibrillation_of_seconds_watched():
    state, out = np.zeros(af.STATE), np.zeros(4)
    positions = beats(fibrillation(200, 4))
    for i, position in enumerate(positions):
        af.take_beat(state, position, False, i == 100, RATE, np.zeros(af.SCRATCH), out)
    af.end_segment(state, RATE, out)
    span = (positions[-1] - positions[0]) / RATE
    lost = (positions[100] - positions[99]) / RATE
    assert state[af.A_WATCHED_S] == pytest.approx(span - lost)
    assert state[af.A_FIBRILLATION_S] == pytest.approx(span)
    assert not state[: af.A_WATCHED_S].any()


# ---- Real records.


@pytest.mark.ecg
@pytest.mark.parametrize(
    ("work", "only", "sensitivity", "specificity"),
    [
        ("afdb", ("04746", "04048"), 99.0, 99.5),
        ("mitdb DS1, beats and classes of the annotation", ("201", "207", "208"), 95.0, 98.5),
    ],
)
def test_floor_on_real_records(ecg_folder, work, only, sensitivity, specificity):
    """Changes should not lead to worse results."""
    (chosen,) = (one for one in accuracy.WORKS if one.name.startswith(work))
    total, each = accuracy.run(chosen, ecg_folder, only)
    assert len(each) == len(only)
    figures = total.figures()
    assert figures["duration Se"] >= sensitivity
    assert figures["duration Sp"] >= specificity
