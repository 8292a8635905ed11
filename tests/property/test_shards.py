"""One shard or sixty-four: the same alerts, the same state of each patient, the same accounts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import assert_same, content, lives, program, run, stream, streams

from engine.shard import shard_of


@settings(max_examples=20)
@given(streams(patients=6), st.sampled_from((2, 3, 8, 64)), st.lists(st.integers(0, 200), max_size=4))
def test_shards(entries, shards, cuts):
    of = program(own=True)
    one, line = run(of, entries)
    many, other = run(of, entries, shards=shards, cuts=cuts)
    assert_same(many, one)
    assert content(other) == content(line)
    assert lives(other) == lives(line)
    assert other.accounts.by_source == line.accounts.by_source


@settings(max_examples=20)
@given(streams(patients=6), st.integers(1, 3), st.lists(st.integers(0, 200), max_size=9))
def test_shards_that_go_ahead_of_each_other(entries, shards, cuts):
    of = program(own=True)
    one, line = run(of, entries)
    ahead, other = run(of, entries, shards=shards, cuts=cuts, through=stream)
    assert_same(ahead, one)
    assert content(other) == content(line)
    assert lives(other) == lives(line)
    assert other.accounts.by_source == line.accounts.by_source


@settings(max_examples=6)
@given(streams(patients=5, most=15), st.sampled_from((2, 7)))
def test_shards_with_the_shipped_protocols(entries, shards):
    of = program("insuffisance_cardiaque", own=True)
    one, line = run(of, entries)
    many, other = run(of, entries, shards=shards)
    assert_same(many, one)
    assert lives(other) == lives(line)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.integers(1, 64))
def test_every_patient_has_one_shard(hashes, shards):
    owner = shard_of(np.array(hashes, np.uint64), shards)
    assert ((owner >= 0) & (owner < shards)).all()


def test_patients_are_spread_evenly():
    hashes = np.random.default_rng(1).integers(0, 2**64, 64_000, np.uint64)
    counts = np.bincount(shard_of(hashes, 64), minlength=64)
    assert counts.min() > 850
    assert counts.max() < 1150
