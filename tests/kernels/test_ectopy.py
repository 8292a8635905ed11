"""Counts of ectopic beats: a plain form over strings as oracle."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import ectopy, rhythms

CODES = {"N": 0, "S": 1, "V": 2, "F": 3, "Q": 4}


RATE = 250.0


def run(beats, fibrillates=False, flush=True):
    """Take (seconds, class) beats; give the state and the rows as (kind, first s, last s or None)."""
    state, out, n = np.zeros(ectopy.STATE), np.zeros((10_000, rhythms.ROW_WIDTH), np.int64), 0
    for at, c in beats:
        before = n
        # A whole sample where it is meant to be one: 4.076 s * 250 is just under 1019.
        position = round(at * RATE, 6)
        n = ectopy.beat(state, position, CODES[c], False, fibrillates, position, RATE, out, n)
        assert n - before <= ectopy.ROOM
    if flush:
        n = ectopy.finish(state, RATE, out, n)
    rows = [(k, a / RATE, None if b < 0 else b / RATE) for k, a, b, _, _ in out[:n].tolist()]
    return state, rows


def counts(text, rr_s=0.8):
    state, _ = run([(1.0 + i * rr_s, c) for i, c in enumerate(text)], flush=False)
    return state[ectopy.S_HOUR : ectopy.S_HOUR + ectopy.COUNTS].astype(int).tolist()


def ended(rows, kind):
    return [(first, last) for k, first, last in rows if k == kind and last is not None]


def begun(rows, kind):
    return [first for k, first, last in rows if k == kind and last is None]


def rows(text, c):
    """Lengths of the rows of `c` that ended."""
    return [len(m.group()) for m in re.finditer(f"{c}+(?!{c})(?=.)", text)]


def patterns(part):
    """Episodes of bigeminy and trigeminy of a stretch without Q, from the distances of its V beats."""
    at = [i for i, c in enumerate(part) if c == "V"]
    found = {2: 0, 3: 0}
    gaps = [b - a for a, b in itertools.pairwise(at)]
    while gaps:
        same = 1
        while same < len(gaps) and gaps[same] == gaps[0]:
            same += 1
        if gaps[0] in found and same >= 2:
            found[gaps[0]] += 1
        del gaps[:same]
    return found


def oracle(text):
    parts = text.split("Q")
    episodes = [patterns(part) for part in parts]
    v, s = rows(text, "V"), rows(text, "S")
    return [
        len(text) - text.count("Q"),
        text.count("V"),
        text.count("S"),
        sum(n == 2 for n in v),
        sum(n > 2 for n in v),
        sum(n == 2 for n in s),
        sum(n > 2 for n in s),
        sum(e[2] for e in episodes),
        sum(e[3] for e in episodes),
        0,
    ]


@given(
    st.text("NSVFQ", max_size=80)
    | st.lists(st.sampled_from(["NV", "NNV", "VV", "SS", "N", "Q"])).map("".join)
)
def test_counts_are_those_of_the_oracle(text):
    assert counts(text) == oracle(text)


@pytest.mark.parametrize(
    ("text", "what", "number"),
    [
        ("NVVN", ectopy.V_COUPLETS, 1),
        ("NVVVN", ectopy.V_COUPLETS, 0),
        ("NVVVN", ectopy.V_RUNS, 1),
        ("NVVV", ectopy.V_RUNS, 0),  # not over
        ("NSSN", ectopy.S_COUPLETS, 1),
        ("SSSSV", ectopy.S_RUNS, 1),
        ("NVNVNN", ectopy.BIGEMINY, 0),
        ("NVNVNVNVN", ectopy.BIGEMINY, 1),
        ("NVNNVNNVN", ectopy.TRIGEMINY, 1),
        ("NVNQVNVN", ectopy.BIGEMINY, 0),
    ],
)
def test_named_patterns(text, what, number):
    assert counts(text)[what] == number


def test_r_on_t_is_early_against_both_limits():
    for rr_s, total in ((0.34, 1), (0.37, 0), (0.3, 1)):
        beats = [*((float(i), "N") for i in range(10)), (9.0 + rr_s, "V")]
        state, _ = run(beats)
        assert state[ectopy.S_HOUR + ectopy.R_ON_T] == total
    quick = [*((0.7 * i, "N") for i in range(30)), (0.7 * 29 + 0.3, "V")]
    assert run(quick)[0][ectopy.S_HOUR + ectopy.R_ON_T] == 0  # 0.3 s is more than 0.4 of 0.7


def test_a_break_ends_a_row():
    state, out = np.zeros(ectopy.STATE), np.zeros((100, rhythms.ROW_WIDTH), np.int64)
    for at, broken in ((0.0, False), (0.5, False), (1.0, True), (1.5, False), (2.0, False)):
        ectopy.beat(state, at * RATE, CODES["V"], broken, False, at * RATE, RATE, out, 0)
    assert state[ectopy.S_HOUR + ectopy.V_COUPLETS] == 1
    assert state[ectopy.S_V_ROW] == 3


def plain_runs(beats):
    """Fast runs of V beats by what they are, from the whole list."""
    runs, current = [], []
    for i, (at, c) in enumerate(beats):
        near = bool(current) and i > 0 and round((at - beats[i - 1][0]) * RATE) < 0.6 * RATE
        if c == "V" and near:
            current.append(at)
            continue
        runs.append(current)
        current = [at] if c == "V" else []
    runs.append(current)
    return [(run[0], run[-1]) for run in runs if len(run) >= 3 and run[-1] - run[0] < 30.0]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.32, 0.5, 0.596, 0.604, 0.9]), st.sampled_from("VVVVN")), max_size=150
    )
)
def test_runs_are_those_of_the_oracle(steps):
    at, beats = 1.0, []
    for rr, c in steps:
        at = round((at + rr) * RATE) / RATE
        beats.append((at, c))
    _, rows = run(beats)
    assert ended(rows, rhythms.NSVT) == [pytest.approx(each) for each in plain_runs(beats)]


def test_a_run_of_thirty_seconds_is_not_called_unsustained():
    _, rows = run([(0.5 * i, "V") for i in range(62)])
    assert begun(rows, rhythms.NSVT) == [0.0]
    assert ended(rows, rhythms.NSVT) == []
    _, rows = run([(0.5 * i, "V") for i in range(60)])
    assert ended(rows, rhythms.NSVT) == [(0.0, 29.5)]


def sinus_then(rr_s, n, c="N", usual=0.8, after=True):
    beats = [(usual * i, "N") for i in range(20)]
    for _ in range(n):
        beats.append((beats[-1][0] + rr_s, c))
    for _ in range(5 if after else 0):
        beats.append((beats[-1][0] + usual, "N"))
    return beats


def test_three_early_beats_in_a_row_are_svt_and_two_are_not():
    beats = sinus_then(0.45, 3, "S")
    _, rows = run(beats)
    assert ended(rows, rhythms.SVT) == [pytest.approx((beats[20][0], beats[22][0]), abs=0.004)]
    assert ended(run(sinus_then(0.45, 2, "S"))[1], rhythms.SVT) == []
    assert ended(run(sinus_then(0.65, 6, "S"))[1], rhythms.SVT) == []  # 92 a minute


def test_a_quick_regular_run_that_begins_at_once_is_svt():
    beats = sinus_then(0.4, 20)
    _, rows = run(beats)
    assert ended(rows, rhythms.SVT) == [pytest.approx((beats[20][0], beats[39][0]), abs=0.004)]
    assert ended(run(sinus_then(0.4, 7))[1], rhythms.SVT) == []
    assert ended(run(sinus_then(0.4, 20), fibrillates=True)[1], rhythms.SVT) == []


def test_a_heart_that_quickens_is_not_svt():
    at, beats = 0.0, []
    for rr in np.linspace(0.8, 0.4, 60).tolist() + [0.4] * 60 + np.linspace(0.4, 0.8, 60).tolist():
        at += rr
        beats.append((at, "N"))
    assert run(beats)[1] == []


def test_an_irregular_quick_stretch_is_not_svt():
    rng = np.random.default_rng(5)
    at, beats = 0.0, [(0.8 * i, "N") for i in range(20)]
    at = beats[-1][0]
    for _ in range(300):
        at += rng.uniform(0.35, 0.9)
        beats.append((at, "N"))
    assert ended(run(beats)[1], rhythms.SVT) == []


@pytest.mark.parametrize(("unit", "kind"), [("NV", rhythms.BIGEMINY), ("NNV", rhythms.TRIGEMINY)])
def test_patterns_have_their_first_and_last_beat(unit, kind):
    text = "NNNN" + unit * 4 + "NNNN"
    _, rows = run([(1.0 + 0.8 * i, c) for i, c in enumerate(text)])
    at = [1.0 + 0.8 * i for i, c in enumerate(text) if c == "V"]
    assert ended(rows, kind) == [pytest.approx((at[0], at[-1]), abs=0.004)]
    assert begun(rows, kind) == pytest.approx([at[0]], abs=0.004)
    assert {k for k, _, _ in rows} == {kind}


@given(st.lists(st.tuples(st.floats(0.2, 4.0), st.sampled_from("NSVFQ"), st.booleans()), max_size=120))
def test_every_episode_that_begins_ends(steps):
    state, out, n, at = np.zeros(ectopy.STATE), np.zeros((2000, rhythms.ROW_WIDTH), np.int64), 0, 0.0
    for rr, c, broken in steps:
        at += np.floor(rr * RATE)
        before = n
        n = ectopy.beat(state, at, CODES[c], broken, False, at, RATE, out, n)
        assert n - before <= ectopy.ROOM
    n = ectopy.finish(state, RATE, out, n)
    for kind in (rhythms.NSVT, rhythms.SVT, rhythms.BIGEMINY, rhythms.TRIGEMINY):
        mine = out[:n][out[:n, 0] == kind]
        assert [end < 0 for end in mine[:, 2].tolist()] == [True, False] * (len(mine) // 2)
        assert (mine[1::2, 1] == mine[::2, 1]).all()
        assert (mine[1::2, 2] >= mine[1::2, 1]).all()
