import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import advance, arrange
from kernels._jit import jit


@jit
def note(slot, device, seq, table, turn):
    return advance.seen(slot, device, seq, table, turn)


class Numbers:
    """What is remembered of a patient's devices, in sets: the last four devices, 64 numbers of each."""

    def __init__(self):
        self.devices = []  # [device, newest, numbers]
        self.turn = 0

    def seen(self, device, seq):
        mine = next((each for each in self.devices if each[0] == device), None)
        if mine is None:
            new = [device, seq, {seq}]
            if len(self.devices) < advance.DEVICES:
                self.devices.append(new)
            else:
                self.devices[self.turn] = new
                self.turn = (self.turn + 1) % advance.DEVICES
            return -1
        if seq <= mine[1] - advance.HORIZON:
            return -1
        known = seq in mine[2]
        mine[1] = max(mine[1], seq)
        mine[2] = {number for number in mine[2] | {seq} if number > mine[1] - advance.HORIZON}
        return int(known)


STEP = st.one_of(st.integers(-3, 5), st.sampled_from((-64, -63, -65, 63, 64, 65, 200, -200)))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6), STEP), max_size=80))
def test_numbers_are_remembered_as_in_sets(steps):
    table = np.zeros((2, 3 * advance.DEVICES), np.int64)
    turn = np.zeros(2, np.uint8)
    oracle = [Numbers(), Numbers()]
    newest = {}
    for slot, device, step in steps:
        seq = max(0, newest.get((slot, device), 1000) + step)
        newest[slot, device] = max(seq, newest.get((slot, device), 0))
        hashed = device - 2**63 if device % 2 else device  # as a uint64 hash comes out of its cast
        assert note(slot, hashed, seq, table, turn) == oracle[slot].seen(hashed, seq)


def test_the_largest_numbers():
    table = np.zeros((1, 3 * advance.DEVICES), np.int64)
    turn = np.zeros(1, np.uint8)
    largest = 2**63 - 1
    assert [note(0, 7, seq, table, turn) for seq in (0, largest, largest, 0, largest - 63, largest - 64)] == [
        -1, 0, 1, -1, 0, -1,
    ]  # fmt: skip


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from((1, 2, 3, 4)), st.integers(1, 3)), max_size=40),
    st.data(),
)
def test_packets_are_put_together_by_patient(packets, data):
    """Patients by first appearance, packets of each as they arrived; every column of a record is its packet's."""
    n = len(packets)
    rng = np.random.default_rng(n)
    kind = np.array([kind for _, kind, _ in packets], np.uint8)
    counts = np.array([0 if kind == 2 else count for _, kind, count in packets], np.int64)
    derived = np.array([count if kind == 2 else 0 for _, kind, count in packets], np.int64)
    value_at = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    derived_at = np.concatenate(([0], np.cumsum(derived))).astype(np.int64)
    code = rng.integers(0, 1 << 16, int(value_at[-1]) + 1).astype(np.uint16)
    milli = rng.integers(-(2**31), 2**31, int(value_at[-1]) + 1).astype(np.int32)
    t_ms, seq = rng.integers(0, 2**62, n), rng.integers(0, 2**62, n)
    device = rng.integers(0, 2**64, n, np.uint64)
    mine = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    rows = np.flatnonzero(mine)
    slots = np.array([slot for slot, _, _ in packets], np.int32)[rows]
    local = np.full(6, -1, np.int32)
    records = np.empty((len(rows), arrange.WORDS), np.int64)
    patients = arrange.arrange(
        rows, slots, kind, t_ms, device, seq, value_at, code, milli, derived_at, local,
        np.empty(len(rows) + 1, np.int64), records,
    )  # fmt: skip
    first = {}
    for position, slot in enumerate(slots.tolist()):
        first.setdefault(slot, position)
    order = sorted(range(len(rows)), key=lambda k: (first[int(slots[k])], k))
    assert patients == len(first)
    assert (local == -1).all()
    assert (records[:, arrange.PLACE] >> 32).tolist() == order
    assert (records[:, arrange.PLACE] & 0xFFFFFFFF).tolist() == rows[order].tolist()
    for record, row in zip(records, rows[order].tolist(), strict=True):
        ecg = kind[row] == 2
        assert record[arrange.T] == t_ms[row]
        assert np.uint64(record[arrange.DEVICE].astype(np.uint64)) == device[row]
        assert record[arrange.SEQ] == seq[row]
        assert record[arrange.SLOT] == slots[order[int(np.flatnonzero(rows[order] == row)[0])]]
        assert record[arrange.FIRST] == (derived_at if ecg else value_at)[row]
        assert record[arrange.COUNT] == ((derived if ecg else counts)[row] << 8) | kind[row]
        if not ecg:
            assert record[arrange.CODE] >> 32 == code[value_at[row]]
            low = int(record[arrange.MILLI]) & 0xFFFFFFFF
            assert low - ((low >> 31) << 32) == milli[value_at[row]]
