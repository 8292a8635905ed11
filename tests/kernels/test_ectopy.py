"""Counts of ectopic beats: a plain form over strings as oracle."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import ectopy

CODES = {"N": 0, "S": 1, "V": 2, "F": 3, "Q": 4}


def counts(text, rr_s=0.8, hour=ectopy.S_HOUR):
    state = np.zeros(ectopy.ECTOPY_STATE)
    for i, c in enumerate(text):
        assert ectopy.take(state, i * 0.1, CODES[c], rr_s) == 0
    return state[hour : hour + ectopy.COUNTS].astype(int).tolist()


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
    state = np.zeros(ectopy.ECTOPY_STATE)
    for i in range(10):
        ectopy.take(state, float(i), 0, 1.0)
    for rr_s, total in ((0.34, 1), (0.37, 1), (0.3, 2)):
        ectopy.take(state, 20.0, 2, rr_s)
        assert state[ectopy.S_HOUR + ectopy.R_ON_T] == total


def test_a_break_ends_a_row():
    state = np.zeros(ectopy.ECTOPY_STATE)
    for i, rr_s in enumerate((0.0, 0.5, 0.0, 0.5, 0.5)):
        ectopy.take(state, float(i), 2, rr_s)
    assert state[ectopy.S_HOUR + ectopy.V_COUPLETS] == 1
    assert state[ectopy.S_V_ROW] == 3


def test_hours_and_days():
    state = np.zeros(ectopy.ECTOPY_STATE)
    assert ectopy.take(state, 10.0, 2, 0.8) == 0
    assert ectopy.take(state, 3600.0, 0, 0.8) == 1
    assert state[ectopy.S_LAST_HOUR + ectopy.PVC] == 1
    assert state[ectopy.S_HOUR + ectopy.PVC] == 0
    assert state[ectopy.S_DAY + ectopy.BEATS] == 2
    assert ectopy.take(state, 3 * 3600.0, 0, 0.8) == 2
    assert state[ectopy.S_LAST_HOUR + ectopy.BEATS] == 0
    assert ectopy.take(state, 86_400.0, 0, 0.8) == 21
    assert state[ectopy.S_LAST_DAY + ectopy.BEATS] == 3
    assert state[ectopy.S_DAY + ectopy.BEATS] == 1
    # Away for longer than a day: nothing is carried over.
    assert ectopy.take(state, 4 * 86_400.0, 0, 0.8) == 72
    assert state[ectopy.S_LAST_DAY + ectopy.BEATS] == 0
    assert state[ectopy.S_DAY + ectopy.BEATS] == 1
