"""Rows to packets, against the same rules written row by row in Python."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.columns import PacketKind
from ingest.formats.vocabulary import Item, Vocabulary
from ingest.reasons import Reason
from kernels.check import LONGEST_RUN, hash_ids, in_order, pack_rows
from kernels.decode import hash_bytes

WORDS = Vocabulary({f"q{k}": Item(256 + k, 0, 10) for k in range(20)})
T0 = 1_767_600_000_000
LATEST = T0 + 10_000_000
LEAD = 33


def judged(t, value, code, kind):
    low, high = WORDS.low[code], WORDS.high[code]
    if t < 946_684_800_000:
        return Reason.TIME_BEFORE_2000
    if t > LATEST + 300_000:
        return Reason.TIME_IN_FUTURE
    if kind == PacketKind.ECG:
        return Reason.OK
    if np.isnan(value):
        return Reason.NAN
    if np.isinf(value):
        return Reason.INFINITE
    return Reason.OK if low <= value <= high else Reason.IMPLAUSIBLE


def gathered(rows, width, reasons):
    """Rows of one packet together, refused ones too, before pressures are judged."""
    packets = []
    state = None
    for i, (t, cell, value, person, src, code, refused) in enumerate(rows):
        kind = int(WORDS.kind_of[code])
        where = None if width[src] == 0 else cell // width[src]
        if state is not None:
            fits = state["key"] == (t, person, src) and len(state["seen"]) < LONGEST_RUN > i - state["row"]
            if fits and not (code == 0 and refused):
                fits = (
                    kind == state["kind"] != PacketKind.ECG and where == state["where"]
                    and len(state["values"]) < 16 and code not in state["seen"]
                )  # fmt: skip
            if not fits:
                packets.append(state)
                state = None
        reasons.append(int(refused or judged(t, value, code, kind)))
        if code == 0:
            continue
        if state is None:
            key = (t, person, src)
            state = {"key": key, "kind": kind, "where": where, "row": i, "seen": [], "values": []}
        state["seen"].append(code)
        if not reasons[-1]:
            state["values"].append((i, code, 0 if kind == PacketKind.ECG else round(value * 1000)))
    return packets if state is None else [*packets, state]


def oracle(rows, width):
    """Packets as (first row, kind, [(code, milli)]), and the reason of each row."""
    reasons = []
    out = []
    for packet in gathered(rows, width, reasons):
        of = {code: milli for _, code, milli in packet["values"]}
        bad = set()
        if (2 in of and 3 in of and of[2] - of[3] < 10_000) or (
            4 in of and not of.get(3, -1) <= of[4] <= of.get(2, 1 << 40)
        ):
            bad |= {2, 3, 4}
        if 16 in of and 17 in of and of[16] - of[17] < 10_000:
            bad |= {16, 17}
        for i, code, _ in packet["values"]:
            if code in bad:
                reasons[i] = int(Reason.INCONSISTENT)
        kept = [(i, code, milli) for i, code, milli in packet["values"] if code not in bad]
        if kept:
            out.append((kept[0][0], packet["kind"], [(code, milli) for _, code, milli in kept]))
    return out, reasons


def columns(rows):
    kinds = (np.int64, np.int64, np.float64, np.int32, np.uint16, np.uint16, np.uint8)
    return [np.array([row[k] for row in rows], kind) for k, kind in enumerate(kinds)]


def pack(rows, width, cuts=()):
    """Pack in pieces, cut where `cuts` says; rows that are not done with are given again."""
    packets, reasons = [], []
    base = 0
    for stop in [*cuts, len(rows)]:
        t, cell, value, person, src, code, reason = columns(rows[base : max(base, stop)])
        n = len(t)
        packet_row, packet_kind = np.empty(n, np.int64), np.empty(n, np.uint8)
        value_at, out_code, milli = np.empty(n + 1, np.int64), np.empty(n, np.uint16), np.empty(n, np.int32)
        done, count, _ = pack_rows(
            t, cell, value, person, src, code, np.array(width, np.int64), WORDS.kind_of, WORDS.low, WORDS.high, LATEST,
            int(Reason.INCONSISTENT), stop == len(rows), reason, packet_row, packet_kind, value_at, out_code, milli,
            np.empty(n, np.int64), np.empty(LONGEST_RUN, np.int64),
        )  # fmt: skip
        for k in range(count):
            part = slice(value_at[k], value_at[k + 1])
            values = list(zip(out_code[part].tolist(), milli[part].tolist(), strict=True))
            packets.append((base + int(packet_row[k]), int(packet_kind[k]), values))
        reasons += reason[:done].tolist()
        base += done
    return packets, reasons


CODES = [0, 1, 2, 3, 4, 6, 9, 10, 16, 17, 20, LEAD, 256, 257, 258]
REFUSED = [Reason.OK] * 8 + [Reason.UNKNOWN_UNIT, Reason.BAD_ROW]


def sorted_rows(seed):
    """Rows by chance, not by hypothesis, which takes a second to draw so many."""
    rng = random.Random(seed)
    codes = rng.choice([CODES, [1, 2, 3, 4, *range(256, 276)]])
    rows = []
    for cell in range(rng.randrange(200)):
        code = rng.choice(codes)
        reason = Reason.UNKNOWN_SIGNAL if code == 0 else rng.choice(REFUSED)
        t = rng.choice([0, T0, T0, T0, T0 + 1000, LATEST + 300_001])
        value = rng.choice([float(rng.randrange(260))] * 9 + [np.nan, np.inf, 1e9])
        rows.append((t, cell, value, rng.randrange(2), rng.randrange(2), code, int(reason)))
    rows.sort(key=lambda row: (row[0], row[3], row[4], row[1]))
    return rows, [0, rng.choice([0, 3])]


@given(st.integers(0, 1 << 32), st.lists(st.integers(0, 200), max_size=5))
def test_equals_the_oracle_however_it_is_cut(seed, cuts):
    rows, width = sorted_rows(seed)
    expected = oracle(rows, width)
    assert pack(rows, width) == expected
    assert pack(rows, width, sorted(cut for cut in cuts if cut <= len(rows))) == expected
    accounted = sum(len(values) for _, _, values in expected[0]) + sum(reason != 0 for reason in expected[1])
    assert accounted == len(rows)


def test_a_pressure_is_never_paired_with_that_of_another_measurement():
    # The first systolic is implausible: its diastolic stays alone, and the second pair is whole.
    rows = [(T0, k, v, 0, 0, c, 0) for k, (c, v) in enumerate([(2, 999.0), (3, 80.0), (2, 130.0), (3, 85.0)])]
    packets, reasons = pack(rows, [0])
    assert [values for _, _, values in packets] == [[(3, 80_000)], [(2, 130_000), (3, 85_000)]]
    assert reasons == [Reason.IMPLAUSIBLE, 0, 0, 0]


def test_inconsistent_pressures_leave_the_others_of_the_moment():
    rows = [(T0, k, v, 0, 0, c, 0) for k, (c, v) in enumerate([(1, 80.0), (2, 85.0), (3, 80.0)])]
    packets, reasons = pack(rows, [0])
    assert packets == [(0, PacketKind.SPOT, [(1, 80_000)])]
    assert reasons == [0, Reason.INCONSISTENT, Reason.INCONSISTENT]


@given(st.lists(st.binary(max_size=45), max_size=10))
def test_hashes(texts):
    raw = np.frombuffer(b"".join(texts), np.uint8)
    at = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    hashes, legal = np.empty(len(texts), np.uint64), np.empty(len(texts), np.bool_)
    hash_ids(raw, at, hashes, legal)
    for k, text in enumerate(texts):
        assert legal[k] == (1 <= len(text) <= 40 and all(0x21 <= c <= 0x7E for c in text))
        if legal[k]:
            assert hashes[k] == hash_bytes(raw, int(at[k]), len(text))


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), max_size=8))
def test_in_order(keys):
    t, person, src, cell = (
        np.array([key[k] for key in keys], kind)
        for k, kind in enumerate((np.int64, np.int32, np.uint16, np.int64))
    )
    assert in_order(t, person, src, cell) == (keys == sorted(keys))
