"""Sharing out: every byte goes to one place, a patient's packets to one partition in their order."""

import itertools

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.shard import shard_of
from ingest import packet
from kernels.identity import hash_bytes
from kernels.partition import Spans, gather, share
from kernels.wire import MAX_DEPTH

ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
packets = st.builds(
    lambda patient, seq: packet.spot(patient, "scale", seq, 1_790_000_000_000, {1: 70.5}),
    ids,
    st.integers(0, 2**40),
)
others = st.one_of(
    st.integers(-5, 5),
    st.just([]),
    st.just([1]),
    st.just([1, ""]),
    st.just(["a", "b"]),
    st.just([1, "x" * 41]),
    st.just([1, 2, 3]),
    st.just({1: 2}),
).map(msgpack.packb)
bodies_ = st.lists(
    st.tuples(st.lists(packets | others, max_size=6), st.sampled_from([b"", b"\xc1", b"\x92\x01"])),
    max_size=4,
)


def split(bodies, partitions, nobody):
    data = b"".join(bodies)
    body_at = np.cumsum([0, *map(len, bodies)]).astype(np.int64)
    blob = np.frombuffer(data, np.uint8)
    room = [np.full(len(data) + 1, -9, np.int64) for _ in range(3)]
    spans = Spans(*room)
    count = share(blob, body_at, partitions, nobody, np.empty(MAX_DEPTH, np.int64), spans)
    assert all((each[count:] == -9).all() for each in room)
    part_at = np.full(partitions + 1, -9, np.int64)
    out = np.zeros(len(data), np.uint8)
    gather(blob, spans, count, part_at, out)
    parts = [out[a:b].tobytes() for a, b in itertools.pairwise(part_at)]
    rest = [data[a:b] for a, b, o in zip(*(each[:count] for each in room), strict=True) if o < 0]
    assert all(owner == -1 - nobody for owner in room[2][:count] if owner < 0)
    return parts, rest


def owner_of(packed, partitions, nobody):
    found = msgpack.unpackb(packed, strict_map_key=False)
    if not isinstance(found, list) or len(found) < 2 or not isinstance(found[0], int):
        return nobody
    if not isinstance(found[1], str | bytes) or not 1 <= len(found[1]) <= 40:
        return nobody
    raw = np.frombuffer(found[1].encode(), np.uint8)
    return int(shard_of(np.array([hash_bytes(raw, 0, len(raw))], np.uint64), partitions)[0])


@given(bodies_, st.integers(1, 64), st.data())
def test_each_object_goes_to_its_owner_and_what_is_ill_formed_stays_apart(made, partitions, data):
    nobody = data.draw(st.integers(0, partitions - 1))
    expected = [b""] * partitions
    for objects, _ in made:
        for each in objects:
            expected[owner_of(each, partitions, nobody)] += each
    parts, rest = split([b"".join(objects) + end for objects, end in made], partitions, nobody)
    assert parts == expected
    assert rest == [end for _, end in made if end]


@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(1, 5))
def test_no_byte_is_lost_whatever_they_are(bodies, partitions):
    parts, rest = split(bodies, partitions, 0)
    assert sum(map(len, parts)) + sum(map(len, rest)) == sum(map(len, bodies))


def test_a_patient_has_the_owner_that_a_line_of_as_many_shards_gives():
    patients = [f"P{k}" for k in range(500)]
    body = b"".join(packet.spot(p, "scale", 1, 1_790_000_000_000, {1: 70.5}) for p in patients)
    parts, _ = split([body], 16, 0)
    assert all(len(part) for part in parts)
    for k, part in enumerate(parts):
        unpacker = msgpack.Unpacker()
        unpacker.feed(part)
        for each in unpacker:
            raw = np.frombuffer(each[1].encode(), np.uint8)
            assert shard_of(np.array([hash_bytes(raw, 0, len(raw))], np.uint64), 16)[0] == k
