"""Counts of data quality against a slow count, and whatever the blocks."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from kernels import data_tally as kernel
from kernels.localtime import DAY_MS
from kernels.reading import FUTURE_MS, YEAR_2000_MS

T0 = 1_767_600_000_000
LATEST = T0 + 60 * DAY_MS
PEOPLE, GROUPS, SILENT = 4, 2, 3
CODES = (1, 2, 3)  # weight, systolic, diastolic
LOW = np.array([np.nan, 25.0, 40.0, 20.0])
HIGH = np.array([np.nan, 350.0, 300.0, 200.0])
FACTOR = np.array([[0.45359237, 0.0], [10.0, 7.5], [10.0, 7.5]])
USUAL = np.array([[40.0, 200.0], [80.0, 220.0], [40.0, 130.0]])
OUT = (
    "days",
    "runs",
    "digest",
    "counts",
    "first_odd",
    "other_unit",
    "jumps",
    "bins",
    "timed",
    "quarters",
    "by_day",
)


def rows_of(seed, n=600):
    """Sorted rows of some weeks with every fault: repeated, contradicted, implausible, at midnight, far off in time."""
    rng = np.random.default_rng(seed)
    t = T0 + rng.integers(0, 400, n) * 3 * 3_600_000
    t[rng.random(n) < 0.02] = LATEST + FUTURE_MS + 1
    t[rng.random(n) < 0.02] = YEAR_2000_MS - 1
    person = rng.integers(0, PEOPLE, n).astype(np.int32)
    code = rng.choice(CODES, n).astype(np.uint16)
    value = np.select(
        [code == 1, code == 2], [rng.choice([80.0, 81.0, 176.4], n), rng.choice([120.0, 14.0], n)], 75.0
    )
    value[rng.random(n) < 0.05] = rng.choice([0.0, np.nan, np.inf, 1000.0, 130.0])
    src = rng.integers(0, 2, n).astype(np.uint16)
    cell = np.arange(n)
    order = np.lexsort((cell, src, person, t))
    return {
        "t": t[order], "cell": cell[order], "value": value[order], "person": person[order], "src": src[order],
        "code": code[order], "group": (person % GROUPS).astype(np.int32)[order],
        "local": t[order] + 3_600_000, "side": rng.integers(0, 3, n).astype(np.int8),
    }  # fmt: skip


def counted(rows, cuts=()):
    out = {
        "days": np.zeros((PEOPLE, 5), np.int32), "runs": np.zeros((PEOPLE, 3, 4), np.int32),
        "digest": np.zeros((PEOPLE, 3), np.uint64), "counts": np.zeros((GROUPS, 3, kernel.COUNTED), np.int64),
        "first_odd": np.full((GROUPS, 3, 2), -1, np.int64), "other_unit": np.zeros((GROUPS, 3, 2), np.int64),
        "jumps": np.zeros((GROUPS, 3, 2), np.int64), "bins": np.zeros((GROUPS, 3, kernel.BINS), np.int64),
        "timed": np.zeros((GROUPS, kernel.TIMED), np.int64),
        "quarters": np.zeros((GROUPS, 3, kernel.QUARTERS), np.int64),
        "by_day": np.zeros((GROUPS, LATEST // DAY_MS - kernel.FIRST_DAY + 3), np.int32),
    }  # fmt: skip
    column = np.array([-1, 0, 1, 2], np.int16)
    n = len(rows["t"])
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        part = [array[start:stop] for array in rows.values()]
        kernel.tally_rows(
            *part, LATEST, SILENT, column, np.ones(3, np.bool_), LOW, HIGH, FACTOR, np.ones((3, 2)), np.zeros((3, 2)),
            USUAL, *(out[name] for name in OUT),
        )  # fmt: skip
    return out


def moments(rows):
    """Where a block may end: between two moments of a person."""
    t, person = rows["t"], rows["person"]
    return np.flatnonzero((np.diff(t) != 0) | (np.diff(person) != 0)) + 1


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_a_slow_count(seed):
    rows = rows_of(seed)
    out = counted(rows)
    counts, other, timed, by_day = Counter(), Counter(), Counter(), Counter()
    seen_days, values, moment = defaultdict(list), defaultdict(list), {}
    for t, _, v, p, _, c, g, local, _ in zip(*(array.tolist() for array in rows.values()), strict=True):
        if t > LATEST + FUTURE_MS or t < YEAR_2000_MS:
            timed[g, kernel.FUTURE if t > LATEST else kernel.ANCIENT] += 1
            continue
        timed[g, kernel.MIDNIGHT_LOCAL] += local % DAY_MS == 0
        timed[g, kernel.MIDNIGHT_UTC] += t % DAY_MS == 0
        by_day[g, local // DAY_MS - kernel.FIRST_DAY] += 1
        if not seen_days[p] or seen_days[p][-1] != local // DAY_MS:
            seen_days[p].append(local // DAY_MS)
        counts[g, c - 1, kernel.READINGS] += 1
        if not LOW[c] <= v <= HIGH[c]:
            counts[g, c - 1, kernel.IMPLAUSIBLE] += 1
            for u in range(2):
                factor = FACTOR[c - 1, u]
                other[g, c - 1, u] += bool(factor and USUAL[c - 1, 0] <= v * factor <= USUAL[c - 1, 1])
            moment.setdefault((t, p, c), []).append(v)
            continue
        before = moment.setdefault((t, p, c), [])
        if before:
            counts[g, c - 1, kernel.SAME if v in before else kernel.CONFLICT] += 1
        else:
            values[p, c - 1].append(v)
        before.append(v)
    check_counts(out, counts, other, timed, by_day)
    for p, days in seen_days.items():
        gaps = (np.diff(days) - 1).tolist()
        silent = sum(gap > SILENT for gap in gaps)
        assert out["days"][p].tolist() == [days[0], days[-1], len(days), max(gaps), silent]
    for (p, s), series in values.items():
        runs = np.split(series, np.flatnonzero(np.diff(series)) + 1)
        longest, last = max(map(len, runs)), round(series[-1] * 1000)
        assert out["runs"][p, s].tolist() == [len(series), last, len(runs[-1]), longest]


def check_counts(out, counts, other, timed, by_day):
    for name, said in (("counts", counts), ("other_unit", other), ("by_day", by_day)):
        assert {k: n for k, n in np.ndenumerate(out[name]) if n} == {k: n for k, n in said.items() if n}, name
    for k in (kernel.FUTURE, kernel.ANCIENT, kernel.MIDNIGHT_LOCAL, kernel.MIDNIGHT_UTC):
        assert out["timed"][:, k].tolist() == [timed[g, k] for g in range(GROUPS)]
    plausible = out["counts"][:, :, kernel.READINGS] - out["counts"][:, :, 1:].sum(axis=2)
    assert out["bins"].sum(axis=2).tolist() == plausible.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_blocks_do_not_matter(seed):
    rows = rows_of(seed)
    cuts = np.random.default_rng(seed).choice(moments(rows), 20, replace=False)
    whole, cut = counted(rows), counted(rows, np.sort(cuts).tolist())
    assert all(np.array_equal(whole[name], cut[name]) for name in OUT)


def test_pressures_the_wrong_way_round_and_a_unit_that_changes():
    t = T0 + np.repeat(np.arange(6), 3) * DAY_MS
    n = len(t)
    kg, lb = 80.0, 80.0 / 0.45359237
    weights = [kg, lb, lb, kg, kg, kg]  # there and back: two jumps
    value = np.ravel([(w, 80.0, 120.0) for w in weights])
    rows = {
        "t": t, "cell": np.arange(n), "value": value, "person": np.zeros(n, np.int32), "src": np.zeros(n, np.uint16),
        "code": np.tile(np.array(CODES, np.uint16), 6), "group": np.zeros(n, np.int32), "local": t,
        "side": np.zeros(n, np.int8),
    }  # fmt: skip
    out = counted(rows)
    assert out["timed"][0, [kernel.PAIRS, kernel.SWAPPED]].tolist() == [6, 6]
    assert out["jumps"][0, 0].tolist() == [2, 0]
    other = counted(rows | {"person": np.ones(n, np.int32), "group": np.ones(n, np.int32)})
    assert out["digest"][0].tolist() == other["digest"][1].tolist()
    assert len(set(out["digest"][0].tolist())) == 3


def test_rows_that_go_back_in_time():
    newest = np.full(2, np.iinfo(np.int64).min)
    person = np.array([0, 1, 0, -1, 0, 1], np.int32)
    t = T0 + np.array([5, 1, 4, 0, 5, 2])
    back = np.empty(6, np.bool_)
    kernel.find_disorder(person, t, newest, back)
    assert back.tolist() == [False, False, True, False, False, False]
    # What came before is remembered; a time that could not be read is neither.
    back = np.empty(2, np.bool_)
    kernel.find_disorder(np.array([0, 1], np.int32), np.array([T0, np.iinfo(np.int64).min]), newest, back)
    assert back.tolist() == [True, False]
