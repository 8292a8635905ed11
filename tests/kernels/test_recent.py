"""Repeats: against a set of what was seen, and never one that was not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.recent import note

packets = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5))


def noted(batch, table):
    columns = np.array(batch, np.int64).reshape(-1, 3)
    out = np.full(len(batch), 9, np.uint8)
    patient, device = (np.ascontiguousarray(columns[:, k]).astype(np.uint64) for k in (0, 1))
    note(patient, device, np.ascontiguousarray(columns[:, 2]), table, out)
    return out.tolist()


@given(st.lists(st.lists(packets, max_size=20), max_size=5))
def test_what_was_seen_is_a_repeat(batches):
    table = np.zeros(1 << 16, np.uint64)
    seen = set()
    for batch in batches:
        expected = []
        for each in batch:
            expected.append(int(each in seen))
            seen.add(each)
        assert noted(batch, table) == expected


@given(st.lists(packets, max_size=60))
def test_a_small_table_forgets_and_never_invents(batch):
    table = np.zeros(4, np.uint64)
    seen = set()
    for each, repeated in zip(batch, noted(batch, table), strict=True):
        assert not repeated or each in seen
        seen.add(each)


def test_a_million_numbers_of_one_device_are_a_million_packets():
    table = np.zeros(1 << 21, np.uint64)
    batch = np.zeros((1_000_000, 3), np.int64)
    batch[:, 2] = np.arange(len(batch))
    assert not any(noted(batch, table))
    # Those that are alone in their place: a share of exp(-1e6 / 2**21).
    assert np.mean(noted(batch, table)) == pytest.approx(0.62, abs=0.01)
