"""Packets picked from batches: each is what it was, whatever stood beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import packet
from ingest.columns import Batch
from ingest.decode import decode
from ingest.selection import picked
from ingest.signals import plausible_ranges

T = 1_774_634_400_000


def body(k):
    """A packet that no other is like: an answer, one value, three, or ECG."""
    head = {"patient": f"p{'x' * (k % 5)}{k}", "device": f"d{k % 3}", "seq": k, "t_ms": T + 1000 * k}
    if k % 4 == 0:
        return packet.ecg_chunk(
            **head, lead=34, rate_hz=100 + k, gain=200, samples=np.arange(k, k + 3 + k % 7, dtype="<i2")
        )
    values = {1: 60 + k, **({3: 80 + k} if k % 3 == 0 else {})} if k % 4 == 1 else {9: 90 + k % 9}
    return packet.spot(**head, values=values)


@pytest.fixture(scope="module")
def batches():
    low, high = plausible_ranges()
    made = []
    for first, sources in ((0, "ab"), (9, "b"), (20, "ca")):
        entries = [
            (first + i, T + i, sources[i % len(sources)], body(first + i) + body(100 + first + i))
            for i in range(7)
        ]
        batch, refused = decode(entries, low, high)
        assert not len(refused)
        made.append(batch)
    return made


def shown(batch, row):
    """All that a batch says of one packet."""
    chunk = [
        (
            int(batch.chunk_code[c]), float(batch.chunk_rate[c]), float(batch.chunk_gain[c]),
            batch.samples[batch.sample_at[c] : batch.sample_at[c + 1]].tolist(),
        )
        for c in np.flatnonzero(batch.chunk_packet == row)
    ]  # fmt: skip
    of = slice(int(batch.value_at[row]), int(batch.value_at[row + 1]))
    return (
        int(batch.offset[row]), int(batch.receipt_ms[row]), batch.sources[batch.source[row]], int(batch.kind[row]),
        int(batch.patient[row]), batch.patient_id(row), int(batch.device[row]), int(batch.seq[row]),
        int(batch.t_ms[row]), int(batch.device_ms[row]), int(batch.gateway_ms[row]), int(batch.status[row]),
        batch.code[of].tolist(), batch.milli[of].tolist(), chunk,
    )  # fmt: skip


@settings(max_examples=60)
@given(st.data())
def test_each_packet_is_what_it_was(batches, data):
    parts = []
    for batch in batches:
        rows = data.draw(st.lists(st.integers(0, len(batch) - 1), unique=True))
        parts.append((batch, np.array(rows, np.int64)))
    before = [shown(batch, row) for batch, rows in parts for row in rows.tolist()]
    order = np.array(data.draw(st.permutations(range(len(before)))), np.int64)
    found = picked(parts, order)
    assert [shown(found, row) for row in range(len(found))] == [before[k] for k in order.tolist()]
    assert (np.diff(found.chunk_packet) > 0).all()
    assert {
        name: getattr(found, name).dtype for name in Batch.__slots__ if hasattr(getattr(found, name), "dtype")
    } == {
        name: getattr(batches[0], name).dtype
        for name in Batch.__slots__
        if hasattr(getattr(found, name), "dtype")
    }
    assert (found.clock_ms, found.next_offset) == (T + 6, 27)
