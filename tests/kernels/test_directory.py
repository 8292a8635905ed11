import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import directory

# Few ids and fewer hashes: ids that differ in length only, in the last letter only, with and without one hash.
IDS = st.lists(
    st.sampled_from([b"a", b"ab", b"abc", b"abd", b"b" * 40, b"b" * 39 + b"c", b"x", b"y"]), max_size=30
)
HASHES = st.dictionaries(
    st.sampled_from([b"a", b"ab", b"abc", b"abd", b"x", b"y"]), st.sampled_from((1, 2, 9, 2**63))
)


class Directory:
    """Slots of patients, as a shard keeps them."""

    def __init__(self, cells, room=64):
        self.table = np.zeros((cells, 2), np.uint64)
        self.slot_id = np.zeros((room, directory.ID_ROW), np.uint8)
        self.slot_hash = np.zeros(room, np.uint64)
        self.used = 0

    def look_up(self, ids, hashes, *, enter=True):
        lengths = np.array([len(i) for i in ids], np.uint8)
        at = np.concatenate(([0], np.cumsum(lengths.astype(np.int64))))[: len(ids)].astype(np.int64)
        letters = np.frombuffer(b"".join(ids) + b"!", np.uint8)
        columns = (np.arange(len(ids)), np.array(hashes, np.uint64), at, lengths, letters)
        slots = np.empty(len(ids), np.int32)
        missing = directory.find(*columns, self.table, self.slot_id, slots)
        assert missing == (slots < 0).sum()
        if missing and enter:
            self.used = directory.enter(*columns, self.table, self.slot_id, self.slot_hash, slots, self.used)
        return slots.tolist()

    def ids(self):
        rows = self.slot_id[: self.used]
        return [bytes(row[: row[directory.ID_ROW - 1]]) for row in rows]


@settings(max_examples=200)
@given(st.lists(IDS, max_size=4), HASHES, st.sampled_from((16, 64)))
def test_slots_are_those_of_a_dictionary(batches, hashes, cells):
    known = {}
    ours = Directory(cells)
    for batch in batches:
        slots = ours.look_up(batch, [hashes.get(i, 5) for i in batch])
        for patient in batch:
            known.setdefault(patient, len(known))  # by first appearance
        assert slots == [known[patient] for patient in batch]
    assert ours.ids() == list(known)
    assert ours.slot_hash[: ours.used].tolist() == [hashes.get(i, 5) for i in known]


@settings(max_examples=50)
@given(IDS, HASHES)
def test_a_larger_table_finds_the_same(batch, hashes):
    ours = Directory(16)
    mine = [hashes.get(i, 5) for i in batch]
    slots = ours.look_up(batch, mine)
    ours.table = np.zeros((256, 2), np.uint64)
    directory.rehash(ours.slot_hash, ours.used, ours.table)
    assert ours.look_up(batch, mine, enter=False) == slots


def test_unknown_ids_are_told():
    ours = Directory(16)
    assert ours.look_up([b"a", b"ab"], [1, 1], enter=False) == [-1, -1]
    ours.look_up([b"a"], [1])
    assert ours.look_up([b"a", b"ab"], [1, 1], enter=False) == [0, -1]


def test_more_ids_than_are_fetched_ahead():
    ids = [f"p{k}".encode() for k in range(1000)]
    ours = Directory(4096, 1000)
    rng = np.random.default_rng(1)
    hashes = rng.integers(1, 1 << 63, 1000).tolist()
    assert ours.look_up(ids, hashes) == list(range(1000))
    order = rng.permutation(1000).tolist()
    assert ours.look_up([ids[k] for k in order], [hashes[k] for k in order]) == order
