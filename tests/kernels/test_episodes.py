"""Episodes that beats decide: their definitions, an oracle that sees the whole record, and rows that come in pairs."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import ecg_lead, rhythms

RATE = 250.0
NAMES = {rhythms.PAUSE: "PAUSE", rhythms.ASYS: "ASYS", rhythms.BRADY: "BRADY", rhythms.TACHY: "TACHY"}


def followed(beats, lost, length, rate=RATE):
    """Rows of the kernel for beats that are known at once."""
    spans = np.array(lost, np.int64).reshape(-1, 2)
    work = ecg_lead.scratch(length / rate + len(beats) + len(lost))
    count = ecg_lead.follow(
        np.zeros(ecg_lead.ROW),
        np.array(beats, np.int64),
        np.zeros(len(beats), np.int64),
        spans[:, 0].copy(),
        spans[:, 1].copy(),
        length,
        rate,
        work,
    )
    return [row[:4] for row in work.rows[:count].tolist() if row[0] in NAMES]


def found(beats, lost, length, rate=RATE):
    rows = followed(beats, lost, length, rate)
    return sorted((NAMES[k], s, e, d) for k, s, e, d in rows if e >= 0)


def oracle(beats, lost, length, rate=RATE):
    """The definitions, on lists, with all of the record in sight."""
    ticks = [int((k + 1) * 0.5 * rate) for k in range(int(2 * length / rate) + 2)]
    edges = [0, *(edge for span in lost for edge in span), length]
    out = []
    ends = dict.fromkeys(("BRADY", "TACHY"), 0)
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        mine = [beat for beat in beats if low <= beat < high]
        for start, end in pairwise([low, *mine, high]):
            for name, least in (("PAUSE", 3.0), ("ASYS", 4.0)):
                if end - start < least * rate:
                    continue
                # At the first tick that sees it, else at what ends it; where the signal is lost nobody looked.
                seen = [t for t in ticks if t - start >= least * rate and (t < end or (t == end in mine))]
                if seen:
                    out.append((name, start, end, seen[0]))
                elif end in mine or (end == length and high == length):
                    out.append((name, start, end, end))
        for name, count, holds in (
            ("BRADY", 5, lambda span: 60.0 * 4 * rate < 40.0 * span),
            ("TACHY", 17, lambda span: 60.0 * 16 * rate > 140.0 * span),
        ):
            run = None
            for i in range(count - 1, len(mine)):
                if holds(mine[i] - mine[i - count + 1]):
                    run = run or (max(mine[i - count + 1], ends[name]), mine[i])
                    ends[name] = mine[i]
                elif run:
                    out.append((name, run[0], ends[name], run[1]))
                    run = None
            if run:
                out.append((name, run[0], ends[name], run[1]))
    return sorted(out)


def every(rr_s, start_s, end_s):
    return np.rint(np.arange(start_s, end_s, rr_s) * RATE).astype(int).tolist()


@pytest.mark.parametrize(("gap_s", "names"), [(2.9, []), (3.1, ["PAUSE"]), (4.1, ["ASYS", "PAUSE"])])
def test_three_seconds_are_a_pause_and_four_an_asystole(gap_s, names):
    beats = [*every(0.5, 0.5, 10.2), *every(0.5, 10.0 + gap_s, 30.0)]
    rows = found(beats, [], 7500)
    assert [row[0] for row in rows] == names
    for _, start, end, decided in rows:
        assert (start, end) == (2500, 2500 + round(gap_s * RATE))
        assert start + 3 * RATE <= decided <= end


@pytest.mark.parametrize(("rate", "names"), [(39.0, ["BRADY"]), (41.0, [])])
def test_under_forty_over_five_beats_is_a_bradycardia(rate, names):
    beats = every(60.0 / rate, 0.4, 40.0)
    rows = found(beats, [], 10_000)
    assert [row[0] for row in rows] == names
    assert [row[1:] for row in rows] == [(beats[0], beats[-1], beats[4])] * len(names)


@pytest.mark.parametrize(("rate", "names"), [(142.0, ["TACHY"]), (138.0, [])])
def test_over_140_over_seventeen_beats_is_a_tachycardia(rate, names):
    beats = every(60.0 / rate, 0.4, 20.0)
    rows = found(beats, [], 5000)
    assert [row[0] for row in rows] == names
    assert [row[1:] for row in rows] == [(beats[0], beats[-1], beats[16])] * len(names)
    assert found(beats[:16], [], 5000)[0][0] != "TACHY"


def test_a_record_without_beats_is_an_asystole_from_its_start():
    assert found([], [], 2500) == [("ASYS", 0, 2500, 1000), ("PAUSE", 0, 2500, 750)]
    assert found([], [], 0) == []


def test_no_interval_spans_what_was_lost():
    beats = every(0.8, 0.4, 10.0)
    assert found(beats, [(2500, 7500)], 7600) == []
    rows = found(beats, [(2500, 5000)], 10_000)
    assert [(name, start) for name, start, _, _ in rows] == [("ASYS", 5000), ("PAUSE", 5000)]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([90, 100, 110, 200, 380, 400, 740, 760, 1010, 2600]), max_size=80),
    st.lists(st.integers(0, 20_000), max_size=6, unique=True),
    st.integers(0, 1500),
    st.sampled_from([100.0, 250.0, 333.3]),
)
def test_the_stream_is_the_oracle(intervals, cuts, tail, rate):
    beats = np.cumsum(intervals, dtype=np.int64).tolist()
    length = (beats[-1] if beats else 0) + 1 + tail
    cuts = sorted(cut for cut in cuts if cut < length)
    lost = list(zip(cuts[::2], cuts[1::2], strict=False))
    assert found(beats, lost, length, rate) == oracle(beats, lost, length, rate)


@settings(max_examples=100)
@given(st.lists(st.integers(60, 2600), max_size=80))
def test_each_row_that_ends_was_said_when_it_began(intervals):
    beats = np.cumsum(intervals, dtype=np.int64).tolist()
    begun = {}
    for kind, start, end, decided in followed(beats, [], sum(intervals) + 1):
        if end < 0:
            assert kind not in begun
            begun[kind] = (start, decided)
        else:
            assert begun.pop(kind) == (start, decided)
            assert start <= end
    assert begun == {}
