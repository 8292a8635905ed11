"""The decoder: equal to the reference on every legal encoding and on damaged bodies, and each reason on its own."""

import struct

import msgpack
import msgpack_forms as forms
import numpy as np
import pytest
import reference_decoder as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import appender, columns, packet
from ingest import decode as ingest_decode
from ingest.columns import NO_TIME, Batch, PacketKind, Status
from ingest.decode import MAX_RAW, TURNED_AWAY, Act, Decoder, act_of, check, decode
from ingest.reasons import Reason
from ingest.signals import MAX_CODE, SIGNALS, Kind, by_name, plausible_ranges
from kernels import careful_path, identity, packets, reading, refusals

T = 1_760_000_000_000
ITEMS = dict.fromkeys(range(256, 274), (0, 10))
LOW, HIGH = plausible_ranges(ITEMS)
NEVER = 1 << 40
"""A margin that no body has: the short path is not taken."""


def decoded(*entries, margin=None):
    with pytest.MonkeyPatch.context() as patch:
        if margin is not None:
            patch.setattr(ingest_decode.kernel, "MARGIN", margin)
        return decode(entries, LOW, HIGH)


def as_lists(batch, quarantine):
    n = len(batch)
    columns_of = set(Batch.__dataclass_fields__) - {
        "id_at",
        "id_len",
        "ids",
        "sources",
        "clock_ms",
        "next_offset",
    }
    lists = {name: getattr(batch, name).tolist() for name in columns_of}
    lists["patient_id"] = [batch.patient_id(row) for row in range(n)]
    lists["act"] = [(row, act_of(batch, row)) for row in range(n) if batch.kind[row] == PacketKind.ACT]
    of_row = (quarantine.offset, quarantine.receipt_ms, quarantine.source, quarantine.at, quarantine.reason)
    rows = list(zip(*(column.tolist() for column in of_row), quarantine.raw, strict=True))
    return lists, rows, batch.sources


def assert_as_reference(*entries):
    """Both paths, the reference, and nothing else."""
    expected = reference.columns(entries, LOW, HIGH)
    assert as_lists(*decoded(*entries)) == expected
    assert as_lists(*decoded(*entries, margin=NEVER)) == expected
    return expected


# ----------------------------------------------------------------------------------------------- drawing packets

ids = st.binary(min_size=1, max_size=40).map(lambda raw: bytes(0x21 + byte % 94 for byte in raw))
clocks = st.none() | st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(T - 10**6, T + 10**6)
SPOT_CODES = [signal.code for signal in SIGNALS if signal.kind is Kind.SPOT]
LEADS = [signal.code for signal in SIGNALS if signal.kind is Kind.WAVEFORM]


def spelled(forms_of):
    return st.sampled_from(forms_of)


@st.composite
def readings(draw):
    """A payload whose values are mostly plausible; pressures may well contradict each other."""
    codes = draw(st.lists(st.sampled_from(SPOT_CODES + list(ITEMS)), min_size=1, max_size=16, unique=True))
    if draw(st.booleans()):
        codes.sort()
    elements = []
    for code in codes:
        milli = draw(st.integers(int(LOW[code] * 1000), min(int(HIGH[code] * 1000), 2**31 - 1)))
        style = draw(st.integers(0, 3))
        value = (
            [*forms.integers(milli // 1000)] if style == 0
            else [forms.float32(milli / 1000)] if style == 1
            else [forms.float64((milli + 0.5) / 1000)] if style == 2
            else forms.numbers(milli / 1000)
        )  # fmt: skip
        elements += [draw(spelled(forms.integers(code))), draw(spelled(value))]
    return elements


@st.composite
def chunks(draw):
    samples = draw(st.binary(min_size=2, max_size=80).map(lambda raw: raw[: len(raw) // 2 * 2]))
    return [
        draw(spelled(forms.integers(draw(st.sampled_from(LEADS))))),
        draw(spelled(forms.numbers(draw(st.integers(100, 1000) | st.floats(100, 1000))))),
        draw(spelled(forms.numbers(draw(st.integers(1, 2**64 - 1) | st.floats(0, 1e300, exclude_min=True))))),
        draw(spelled(forms.binaries(samples))),
    ]


@st.composite
def acts(draw):
    verb, key = draw(st.integers(1, 5)), draw(st.integers(0, 2**64 - 1))
    milli = st.integers(1 - 2**31, 2**31 - 1)
    number = draw({1: st.integers(1, 63), 2: milli, 3: st.just(0), 4: milli, 5: st.just(0)}[verb])
    words = [] if verb == 1 else [draw(texts(64)), draw(texts(240))]
    return [
        *(draw(spelled(forms.integers(each))) for each in (verb, key, number)),
        *(draw(spelled(forms.ids(each))) for each in words),
    ]


def texts(most):
    """UTF-8 of 1 to `most` bytes without control characters."""
    characters = st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f")
    return st.text(characters, min_size=1, max_size=most).map(str.encode).filter(lambda raw: len(raw) <= most)


@st.composite
def elements_of_packets(draw):
    """The nine elements, encoded each, in any legal form; the payload as a list of its own."""
    kind = draw(st.sampled_from([1, 1, 1, 2, 3, 4, 5]))

    def time(value):
        return b"\xc0" if value is None else draw(spelled(forms.integers(value)))

    payload = draw(chunks() if kind == PacketKind.ECG else acts() if kind == PacketKind.ACT else readings())
    return [
        draw(spelled(forms.integers(kind))),
        draw(spelled(forms.ids(draw(ids)))),
        draw(spelled(forms.ids(draw(ids)))),
        draw(spelled(forms.integers(draw(st.integers(0, 2**63 - 1) | st.integers(0, 300))))),
        time(draw(st.integers(reading.YEAR_2000_MS, T + 300_000))),
        time(draw(clocks)),
        time(draw(clocks)),
        draw(spelled(forms.integers(draw(st.integers(0, 2**30 - 1).map(lambda bits: bits << 2))))),
        payload,
    ]


@st.composite
def legal_packets(draw):
    *head, payload = draw(elements_of_packets())
    return draw(spelled(forms.arrays([*head, draw(spelled(forms.arrays(payload)))])))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3)
)
objects = st.recursive(
    scalars | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=3)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=6,
).map(msgpack.packb)  # fmt: skip
edges = st.sampled_from(
    [
        *forms.integers(0), *forms.integers(-1), *forms.integers(2**63 - 1), *forms.integers(2**63),
        b"\xd3\x80" + bytes(7),
        *forms.integers(T + 300_001), *forms.integers(reading.YEAR_2000_MS - 1), *forms.integers(2**32),
        *forms.ids(b""), *forms.ids(b"x" * 41), *forms.ids(b"a b"), *forms.ids(b"\xff\x80"),
        forms.float64(float("nan")), forms.float32(float("inf")), forms.float64(-float("inf")), forms.float64(1.0),
        b"\xd4\xff\x00", b"\xc7\x00\xff", b"\x90", b"\x80",
    ]
)  # fmt: skip


@st.composite
def odd_packets(draw):
    """A packet in which one element, or its number of elements, is anything."""
    *head, payload = draw(elements_of_packets())
    other = draw(edges | objects)
    place = draw(st.integers(0, 9 + len(payload)))
    if place < 8:
        head[place] = other
    elif place == 9:
        head = head[: draw(st.integers(0, 7))]
    elif place > 9:
        payload[place - 10] = other
    whole = other if place == 8 else draw(spelled(forms.arrays(payload)))
    return draw(spelled(forms.arrays([*head, whole])))


bodies = st.lists(legal_packets() | odd_packets() | objects, max_size=4).map(b"".join)


@st.composite
def damaged_bodies(draw):
    body = bytearray(draw(st.lists(legal_packets(), min_size=1, max_size=3).map(b"".join)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        action = draw(st.integers(0, 3))
        if action == 0:
            body[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif action == 1:
            del body[at : at + draw(st.integers(1, 9))]
        elif action == 2:
            body[at:at] = draw(st.binary(min_size=1, max_size=5))
        else:
            del body[at:]
    return bytes(body)


# ------------------------------------------------------------------------------------------- equal to the reference


@settings(max_examples=100)
@given(st.lists(legal_packets(), min_size=1, max_size=3))
def test_every_legal_encoding(sent):
    _, rows, _ = assert_as_reference((7, T, "cell", b"".join(sent)))
    assert {row[4] for row in rows} <= {Reason.INCONSISTENT, Reason.IMPLAUSIBLE}


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["home", "cell", "ward"]), bodies), max_size=3))
def test_batches_of_anything(sent):
    assert_as_reference(*((9 + 2 * k, T + k, source, body) for k, (source, body) in enumerate(sent)))


@settings(max_examples=100)
@given(damaged_bodies(), legal_packets())
def test_a_damaged_body_and_the_next(damaged, after):
    next_entry = (2, T, "cell", after)
    expected, rows, _ = assert_as_reference((1, T, "cell", damaged), next_entry)
    alone, alone_rows, _ = reference.columns([next_entry], LOW, HIGH)
    assert expected["kind"][len(expected["kind"]) - len(alone["kind"]) :] == alone["kind"]
    assert [row for row in rows if row[0] == 2] == alone_rows


def test_random_bytes():
    random = np.random.default_rng(20)
    # Bytes that mean something to msgpack, and any.
    pool = np.array(
        [0x90, 0x91, 0x99, 0xC0, 0xC1, 0xC4, 0xC7, 0xD3, 0xD9, 0xDC, 0xDD, 0xDF, 0, 1, 2], np.uint8
    )
    for _ in range(300):
        n = int(random.integers(0, 60))
        body = np.where(random.random(n) < 0.7, random.choice(pool, n), random.integers(0, 256, n)).astype(
            np.uint8
        )
        assert_as_reference((0, T, "home", body.tobytes()))


def test_a_body_large_enough_to_be_taken_without_a_copy():
    random = np.random.default_rng(3)
    sent = [
        packet.spot(f"p{k}", "scale", k, T - k, {1: round(random.uniform(40, 120), 1)}) for k in range(1500)
    ]
    sent[700] = b"\x93\x01\x02\x03"
    assert len(b"".join(sent)) > 64 * ingest_decode.kernel.MARGIN
    expected, rows, _ = assert_as_reference((0, T, "home", b"".join(sent)))
    assert len(expected["kind"]) == 1499
    assert [row[4] for row in rows] == [Reason.NOT_A_PACKET]


# ---------------------------------------------------------------------------------------------------- each reason

SPOT = [1, "p", "d", 1, T, None, None, 0, [1, 80.0]]
CHUNK = [2, "p", "d", 1, T, None, None, 0, [34, 250, 200, b"\x01\x00"]]
ACT = [5, "p", "d", 1, T, None, None, 0, [1, 2, 3]]


def changed(base, place, value):
    return msgpack.packb([*base[:place], value, *base[place + 1 :]])


def payload(base, *elements):
    return changed(base, 8, list(elements))


def refusals_of(body, source="home"):
    batch, quarantine = decoded((5, T, source, body))
    return len(batch), list(zip(quarantine.at.tolist(), map(Reason, quarantine.reason.tolist()), strict=True))


GOOD = msgpack.packb(SPOT)
ILL_FORMED = [
    (Reason.TRUNCATED, b"\x99\x01"),
    (Reason.TRUNCATED, GOOD[:-1]),
    (Reason.TRUNCATED, b"\x99\x01\xa5ab"),
    (Reason.TRUNCATED, b"\xdc\x00"),
    (Reason.TRUNCATED, b"\xd8\x01" + bytes(15)),
    (Reason.BAD_MSGPACK, b"\xc1"),
    (Reason.BAD_MSGPACK, b"\x99\x01\xc1" + bytes(40)),
    (Reason.TOO_LONG, b"\xdd\xff\xff\xff\xff" + bytes(40)),
    (Reason.TOO_LONG, b"\xdf\xff\xff\xff\xff" + bytes(40)),
    (Reason.TOO_LONG, b"\xdb\xff\xff\xff\xff" + bytes(40)),
    (Reason.TOO_LONG, b"\xc6\x7f\xff\xff\xff" + bytes(40)),
    (Reason.TOO_LONG, b"\xc9\xff\xff\xff\xff\x01" + bytes(40)),
    (Reason.TOO_LONG, b"\x99\x01\xd9\xff" + bytes(40)),
    (Reason.TOO_DEEP, b"\x91" * 9 + b"\x01"),
    (Reason.TOO_DEEP, b"\x81\x01" * 9 + b"\x01"),
    (Reason.TOO_DEEP, b"\x91" * 100_000),
]


@pytest.mark.parametrize(("reason", "bad"), ILL_FORMED)
def test_ill_formed_refuses_the_rest_of_its_body_only(reason, bad):
    # What follows would change the fault of a body that ends too early, so it is put there only for the others.
    rest = bad if reason is Reason.TRUNCATED else bad + GOOD
    batch, quarantine = decoded((5, T, "home", GOOD + rest), (6, T, "home", GOOD + GOOD))
    assert batch.offset.tolist() == [5, 6, 6]
    assert quarantine.offset.tolist() == [5]
    assert quarantine.at.tolist() == [len(GOOD)]
    assert quarantine.reason.tolist() == [reason]
    assert quarantine.raw == [rest[:MAX_RAW]]


def test_eight_deep_is_skipped_alone():
    assert refusals_of(b"\x91" * 8 + b"\x01" + GOOD) == (1, [(0, Reason.NOT_A_PACKET)])


REFUSED = [
    (Reason.NOT_A_PACKET, msgpack.packb(7)),
    (Reason.NOT_A_PACKET, msgpack.packb(SPOT[:8])),
    (Reason.NOT_A_PACKET, msgpack.packb([*SPOT, 0])),
    (Reason.NOT_A_PACKET, msgpack.packb({"kind": 1, "patient": "p", "device": "d"})),
    (Reason.BAD_KIND, changed(SPOT, 0, 0)),
    (Reason.BAD_KIND, changed(SPOT, 0, 6)),
    (Reason.BAD_KIND, changed(SPOT, 0, 1.0)),
    (Reason.BAD_KIND, changed(SPOT, 0, True)),
    (Reason.BAD_KIND, changed(SPOT, 0, 2**64 - 1)),
    (Reason.BAD_PATIENT, changed(SPOT, 1, "")),
    (Reason.BAD_PATIENT, changed(SPOT, 1, "x" * 41)),
    (Reason.BAD_PATIENT, changed(SPOT, 1, "a b")),
    (Reason.BAD_PATIENT, changed(SPOT, 1, "é")),
    (Reason.BAD_PATIENT, changed(SPOT, 1, b"12345678\x7f")),
    (Reason.BAD_PATIENT, changed(SPOT, 1, 7)),
    (Reason.BAD_DEVICE, changed(SPOT, 2, b"")),
    (Reason.BAD_DEVICE, changed(SPOT, 2, "\x00")),
    (Reason.BAD_DEVICE, changed(SPOT, 2, b"y" * 256)),
    (Reason.BAD_DEVICE, changed(SPOT, 2, None)),
    (Reason.BAD_SEQUENCE, changed(SPOT, 3, -1)),
    (Reason.BAD_SEQUENCE, changed(SPOT, 3, 2**63)),
    (Reason.BAD_SEQUENCE, changed(SPOT, 3, 1.0)),
    (Reason.BAD_TIME, changed(SPOT, 4, None)),
    (Reason.BAD_TIME, changed(SPOT, 4, float(T))),
    (Reason.BAD_TIME, changed(SPOT, 5, "now")),
    (Reason.BAD_TIME, changed(SPOT, 5, 2**63)),
    (Reason.BAD_TIME, changed(SPOT, 5, -(2**63))),
    (Reason.BAD_TIME, changed(SPOT, 6, False)),
    (Reason.TIME_BEFORE_2000, changed(SPOT, 4, 946_684_799_999)),
    (Reason.TIME_BEFORE_2000, changed(SPOT, 4, 0)),
    (Reason.TIME_BEFORE_2000, changed(SPOT, 4, -T)),
    (Reason.TIME_IN_FUTURE, changed(SPOT, 4, T + 300_001)),
    (Reason.TIME_IN_FUTURE, changed(SPOT, 4, 2**63 - 1)),
    (Reason.TIME_IN_FUTURE, changed(SPOT, 4, 2**64 - 1)),
    (Reason.BAD_STATUS, changed(SPOT, 7, -1)),
    (Reason.BAD_STATUS, changed(SPOT, 7, 2**32)),
    (Reason.BAD_STATUS, changed(SPOT, 7, None)),
    (Reason.DEVICE_TEST, changed(SPOT, 7, Status.TEST)),
    (Reason.DEVICE_TEST, changed(CHUNK, 7, Status.TEST | Status.INVALID)),
    (Reason.DEVICE_INVALID, changed(SPOT, 7, Status.INVALID | Status.STORED)),
    (Reason.BAD_PAYLOAD, changed(SPOT, 8, {1: 80.0})),
    (Reason.BAD_PAYLOAD, payload(SPOT)),
    (Reason.BAD_PAYLOAD, payload(SPOT, 1)),
    (Reason.BAD_PAYLOAD, payload(SPOT, 1, 80.0, 5)),
    (Reason.BAD_PAYLOAD, payload(SPOT, *(x for code in range(256, 273) for x in (code, 1)))),
    (Reason.BAD_PAYLOAD, payload(SPOT, "weight", 80.0)),
    (Reason.BAD_PAYLOAD, payload(SPOT, 1.0, 80.0)),
    (Reason.BAD_PAYLOAD, payload(CHUNK, 34, 250, 200)),
    (Reason.BAD_PAYLOAD, changed(CHUNK, 8, b"\x01\x00")),
    (Reason.BAD_PAYLOAD, payload(CHUNK, None, 250, 200, b"\x01\x00")),
    (Reason.UNKNOWN_SIGNAL, payload(SPOT, 0, 80.0)),
    (Reason.UNKNOWN_SIGNAL, payload(SPOT, 8, 80.0)),
    (Reason.UNKNOWN_SIGNAL, payload(SPOT, 34, 1.0)),
    (Reason.UNKNOWN_SIGNAL, payload(SPOT, -1, 80.0)),
    (Reason.UNKNOWN_SIGNAL, payload(SPOT, MAX_CODE + 1, 80.0)),
    (Reason.UNKNOWN_SIGNAL, payload(SPOT, 2**64 - 1, 80.0)),
    (Reason.UNKNOWN_SIGNAL, payload(CHUNK, 1, 250, 200, b"\x01\x00")),
    (Reason.UNKNOWN_SIGNAL, payload(CHUNK, -34, 250, 200, b"\x01\x00")),
    (Reason.REPEATED_SIGNAL, payload(SPOT, 1, 80.0, 1, 80.0)),
    (Reason.REPEATED_SIGNAL, payload(SPOT, 1, 80.0, 5, 70, 1, 81.0)),
    (Reason.NOT_A_NUMBER, payload(SPOT, 1, "80")),
    (Reason.NOT_A_NUMBER, payload(SPOT, 1, None)),
    (Reason.NOT_A_NUMBER, payload(SPOT, 10, True)),
    (Reason.NOT_A_NUMBER, payload(SPOT, 1, [80])),
    (Reason.NAN, payload(SPOT, 1, float("nan"))),
    (Reason.NAN, payload(SPOT, 1, 80.0, 5, -float("nan"))),
    (Reason.INFINITE, payload(SPOT, 1, float("inf"))),
    (Reason.INFINITE, payload(SPOT, 1, -float("inf"))),
    (Reason.IMPLAUSIBLE, payload(SPOT, 1, 24.999)),
    (Reason.IMPLAUSIBLE, payload(SPOT, 1, 350.001)),
    (Reason.IMPLAUSIBLE, payload(SPOT, 1, -80)),
    (Reason.IMPLAUSIBLE, payload(SPOT, 1, 1e308)),
    (Reason.IMPLAUSIBLE, payload(SPOT, 15, 2**64 - 1)),
    (Reason.INCONSISTENT, payload(SPOT, 2, 99.999, 3, 90)),
    (Reason.INCONSISTENT, payload(SPOT, 3, 120, 2, 80)),
    (Reason.INCONSISTENT, payload(SPOT, 2, 120, 3, 80, 4, 79.999)),
    (Reason.INCONSISTENT, payload(SPOT, 2, 120, 4, 120.001)),
    (Reason.INCONSISTENT, payload(SPOT, 3, 80, 4, 79)),
    (Reason.INCONSISTENT, payload(SPOT, 16, 100, 17, 91)),
    (Reason.BAD_ECG_RATE, payload(CHUNK, 34, 99.9, 200, b"\x01\x00")),
    (Reason.BAD_ECG_RATE, payload(CHUNK, 34, 1000.5, 200, b"\x01\x00")),
    (Reason.BAD_ECG_RATE, payload(CHUNK, 34, float("nan"), 200, b"\x01\x00")),
    (Reason.BAD_ECG_RATE, payload(CHUNK, 34, "250", 200, b"\x01\x00")),
    (Reason.BAD_ECG_GAIN, payload(CHUNK, 34, 250, 0, b"\x01\x00")),
    (Reason.BAD_ECG_GAIN, payload(CHUNK, 34, 250, -200, b"\x01\x00")),
    (Reason.BAD_ECG_GAIN, payload(CHUNK, 34, 250, float("inf"), b"\x01\x00")),
    (Reason.BAD_ECG_GAIN, payload(CHUNK, 34, 250, float("nan"), b"\x01\x00")),
    (Reason.BAD_ECG_GAIN, payload(CHUNK, 34, 250, None, b"\x01\x00")),
    (Reason.BAD_ECG_SAMPLES, payload(CHUNK, 34, 250, 200, b"")),
    (Reason.BAD_ECG_SAMPLES, payload(CHUNK, 34, 250, 200, b"\x01\x00\x02")),
    (Reason.BAD_ECG_SAMPLES, payload(CHUNK, 34, 250, 200, "ab")),
    (Reason.BAD_ECG_SAMPLES, payload(CHUNK, 34, 250, 200, [1, 2])),
    (Reason.BAD_ECG_SAMPLES, payload(CHUNK, 34, 100, 200, bytes(60_002))),
    (Reason.ACT_NOT_ALLOWED, msgpack.packb(ACT)),
]
BAD_ACTS = [
    payload(ACT, 1, 2), payload(ACT, 2, 2, 3), payload(ACT, 1, -1, 3), payload(ACT, 1, 2, 0), payload(ACT, 1, 2, 64),
    payload(ACT, 2, 2, 3, "a"), payload(ACT, 1, 2, 3, "a", "b"), payload(ACT, 6, 2, 3, "a", "b"),
    payload(ACT, 4, 2, 3), payload(ACT, 4, 2, 2**31, "a", "b"), payload(ACT, 5, 2, 1, "a", "b"), payload(ACT, 5, 2, 0),
    payload(ACT, 2, -1, 3, "a", "b"), payload(ACT, 2, 2, 2**31, "a", "b"), payload(ACT, 2, 2, -(2**31), "a", "b"),
    payload(ACT, 2, 2, 1.5, "a", "b"), payload(ACT, 3, 2, 1, "a", "b"), payload(ACT, 2, 2, 1, "", "b"),
    payload(ACT, 2, 2, 1, "a", ""), payload(ACT, 2, 2, 1, "a" * 65, "b"), payload(ACT, 2, 2, 1, "a", "b" * 241),
    payload(ACT, 2, 2, 1, 7, "b"), payload(ACT, 2, 2, 1, "a", "b\n"), payload(ACT, 2, 2, 1, "a\x7f", "b"),
    *(
        payload(ACT, 2, 2, 1, "a", raw)
        for raw in (
            b"\x80", b"\xc1\xbf", b"\xc3", b"\xe2\x82", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3a", b"\xe2a\xac", b"\xe2\x82a",
        )
    ),
    payload(ACT, 1, 2.0, 3), payload(ACT, 1, "2", 3), payload(ACT, 1, 2, 2**64 - 1), changed(ACT, 8, 1),
]  # fmt: skip


def test_every_reason_of_packets_is_here():
    # Reasons from 48 on are of rows of files.
    tested = {reason for reason, _ in ILL_FORMED + REFUSED} | {Reason.OK, Reason.BAD_ACT, Reason.NOT_ENROLLED}
    assert tested == {reason for reason in Reason if reason < 48}


@pytest.mark.parametrize(("reason", "bad"), REFUSED)
def test_an_illegal_packet_is_refused_alone(reason, bad):
    before = len(GOOD)
    assert refusals_of(GOOD + bad + GOOD) == (2, [(before, reason)])
    _, quarantine = decoded((5, T, "home", GOOD + bad + GOOD))
    assert quarantine.raw == [bad[:MAX_RAW]]
    assert_as_reference((5, T, "home", GOOD + bad + GOOD))


@pytest.mark.parametrize("bad", BAD_ACTS)
def test_an_illegal_act_is_refused_alone(bad):
    assert refusals_of(GOOD + bad + GOOD, "cell") == (2, [(len(GOOD), Reason.BAD_ACT)])
    assert_as_reference((5, T, "cell", GOOD + bad + GOOD))


@pytest.mark.parametrize(
    "legal",
    [
        changed(SPOT, 1, "x" * 40),
        changed(SPOT, 3, 2**63 - 1),
        changed(SPOT, 4, 946_684_800_000),
        changed(SPOT, 4, T + 300_000),
        changed(SPOT, 5, -(2**63) + 1),
        changed(SPOT, 7, 2**32 - 4),
        payload(SPOT, 1, 24.9995),
        payload(SPOT, 1, 350.0004),
        payload(SPOT, 2, 90, 3, 80, 4, 80),
        payload(SPOT, 2, 90, 3, 80, 4, 90),
        payload(SPOT, *(x for code in range(256, 272) for x in (code, 1))),
        payload(CHUNK, 34, 100, 5e-324, bytes(60_000)),
        payload(CHUNK, 32, 1000.0, 1e308, b"\x00\x80"),
    ],
)
def test_the_last_legal_value_is_accepted(legal):
    assert refusals_of(legal) == (1, [])
    assert_as_reference((5, T, "home", legal))


def test_an_act_from_the_cell_only():
    body = msgpack.packb(changed_list := [*ACT[:8], [1, 2**64 - 2, 63]])
    batch, quarantine = decoded((5, T, "cell", body), (6, T, "Cell", body))
    assert act_of(batch, 0) == Act(1, 2**64 - 2, 63) == tuple(changed_list[8])
    assert quarantine.reason.tolist() == [Reason.ACT_NOT_ALLOWED]
    batch, quarantine = decode([(5, T, "desk", body)], LOW, HIGH, act_source="desk")
    assert len(batch) == 1
    with pytest.raises(ValueError, match="packet 0 is of kind 1: an act of the cell has kind 5"):
        act_of(decoded((0, T, "cell", GOOD))[0], 0)


def test_a_limit_is_read_wherever_the_packet_stands():
    limit = [2, 2**31 - 1, -2_147_483_647, "claire.morel", "poids sec : 74,5 kg, dès aujourd’hui"]
    body = msgpack.packb([*ACT[:8], limit])
    for before in (b"", GOOD, GOOD * 40):
        batch, quarantine = decoded((5, T, "cell", before + body), (6, T, "cell", body))
        rows = np.flatnonzero(batch.kind == PacketKind.ACT).tolist()
        assert [act_of(batch, row) for row in rows] == [tuple(limit)] * 2
        assert not len(quarantine)
        words = [batch.milli[batch.value_at[row] : batch.value_at[row + 1]].tolist() for row in rows]
        assert words[0] == words[1]


@given(st.lists(legal_packets() | st.binary(max_size=30), max_size=4).map(b"".join), st.booleans())
def test_what_was_turned_away_is_refused_whatever_it_is(body, before):
    """And only that: under the name of its source, beside what the same source may send."""
    entries = [(0, T, TURNED_AWAY + "home", body), (1, T, "home", GOOD)]
    _, rows, sources = assert_as_reference(*(entries if before else entries[::-1]))
    assert sources == ("home",)
    assert all(row[0] == 0 for row in rows)
    batch, quarantine = decoded((0, T, TURNED_AWAY + "cell", msgpack.packb(ACT) + GOOD))
    assert len(batch) == 0
    assert quarantine.reason.tolist() == [Reason.NOT_ENROLLED] * 2


# --------------------------------------------------------------------------------------------------------- framing


def test_neighbours_too_short_to_be_packets_are_one_row():
    noise = bytes(range(100))
    batch, quarantine = decoded((0, T, "home", noise + GOOD + noise), (1, T, "home", noise))
    assert len(batch) == 1
    assert quarantine.at.tolist() == [0, 100 + len(GOOD), 0]
    assert quarantine.raw == [noise, noise, noise]


def test_quarantine_keeps_a_bounded_piece():
    _, quarantine = decoded((0, T, "home", b"\xc1" + bytes(10_000)))
    assert quarantine.raw == [b"\xc1" + bytes(MAX_RAW - 1)]


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_a_packet_cut_by_the_end_of_its_body_is_not_completed_by_the_next(cut):
    batch, quarantine = decoded((0, T, "home", GOOD[:cut]), (1, T, "home", GOOD[cut:]), (2, T, "home", GOOD))
    assert batch.offset.tolist() == [2]
    assert quarantine.offset.tolist()[0] == 0
    assert quarantine.reason.tolist()[0] == Reason.TRUNCATED
    assert_as_reference((0, T, "home", GOOD[:cut]), (1, T, "home", GOOD[cut:]), (2, T, "home", GOOD))


@settings(max_examples=80)
@given(damaged_bodies() | bodies, st.binary(max_size=30) | legal_packets())
def test_what_follows_a_body_is_never_read(body, tail):
    expected = as_lists(*decoded((0, T, "cell", body)))
    for margin in (ingest_decode.kernel.MARGIN, NEVER):
        batch, quarantine = with_tail(body, tail * 40, margin)
        assert as_lists(batch, quarantine) == expected


def with_tail(body, tail, margin):
    """Decode `body` with `tail` where there are zeros else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_decode, "_PADDING", tail + bytes(600))
        return decoded((0, T, "cell", body), margin=margin)


def test_an_array_without_any_spare_byte():
    """With bounds checks of the kernels switched on, any read past the end is an error here."""
    one = np.frombuffer(GOOD, np.uint8).copy()
    for cut in range(1, len(one) + 1):
        data = one[:cut].copy()
        data.flags.writeable = False  # as bytes are; else the kernel is compiled once more
        size = np.array([0, cut])
        cells, refused = ingest_decode._allocate(packets.capacities(cut, 1))
        rows = ingest_decode.kernel.decode_bodies(
            data, size, np.zeros(1, np.int64), np.array([T]), np.zeros(1, np.int64), np.zeros(1, np.uint8), LOW, HIGH,
            np.zeros(MAX_CODE + 1, np.uint8), ingest_decode.kernel.MARGIN, np.empty(8, np.int64), cells, refused,
        )  # fmt: skip
        assert rows == ((1, 1, 0, 0, 0) if cut == len(one) else (0, 0, 0, 0, 1))


@settings(max_examples=60)
@given(st.binary(max_size=300) | st.lists(legal_packets(), max_size=6).map(b"".join))
def test_the_columns_are_large_enough(body):
    """Rows written stay under what is allocated, and by construction under the slack."""
    batch, quarantine = decoded((0, T, "cell", body))
    n, values, chunks_, samples, bad = packets.capacities(len(body), 1)
    assert len(batch) < n
    assert len(batch.code) < values
    assert len(batch.chunk_packet) < chunks_
    assert len(batch.samples) < samples
    assert len(quarantine) < bad


@pytest.mark.parametrize("densest", [
    b"\x99\x01\xa1p\xa1d\x00" + forms.integers(T)[0] + b"\xc0\xc0\x00\x92\x01\x50",
    b"\x99\x01\xa1p\xa1d\x00" + forms.integers(T)[0] + b"\xc0\xc0\x00\xdc\x00\x20"
    + b"".join(bytes([code, 100 if code == 2 else 1 if code in {10, 18} else 41])
               for code in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 18, 20)),
    b"\x00" + b"\x99" + bytes(9),
    b"\x99" + bytes(9),
])  # fmt: skip
def test_a_body_of_the_densest_objects_fits(densest):
    assert_as_reference((0, T, "home", densest * 400))


# ------------------------------------------------------------------------------------------------ values and columns


@pytest.mark.parametrize(
    ("value", "milli"),
    [
        (82.4, 82_400),
        (0.0005, 1),
        (0.0004999, 0),
        (1.0005, 1001),
        (0.0045, 5),  # the double is a little less than 0.0045; its double product with 1000 is 4.5
        (1.0025, 1003),
        (-0.0005, -1),
        (-1.0025, -1003),
        (-0.0004, 0),
        (2_147_483.0, 2_147_483_000),
        (-2_147_483.0, -2_147_483_000),
        (2**21, 2_097_152_000),
    ],
)
def test_rounding_to_thousandths(value, milli):
    assert reference.thousandths(value) == milli
    low, high = plausible_ranges({256: (-3e6, 3e6)})
    for form in forms.numbers(value):
        body = b"\x99\x03\xa1p\xa1d\x01" + forms.integers(T)[0] + b"\xc0\xc0\x00\x92\xcd\x01\x00" + form
        batch, quarantine = decode([(0, T, "home", body)], low, high)
        assert len(quarantine) == 0
        assert batch.milli.tolist() == [milli]


@settings(max_examples=200)
@given(st.floats(-2_147_483, 2_147_483) | st.integers(-(10**6), 10**6).map(lambda half: (half + 0.5) / 1000))
def test_rounding_is_that_of_the_double_product(value):
    assert reading.to_milli(value) == reference.thousandths(value)


def test_a_float32_is_kept_as_the_reading_it_stands_for():
    body = (
        b"\x99\x01\xa1p\xa1d\x01"
        + forms.integers(T)[0]
        + b"\xc0\xc0\x00\x92\x01\xca"
        + struct.pack(">f", 82.4)
    )
    batch, _ = decoded((0, T, "home", body))
    assert batch.milli.tolist() == [82_400]


def test_offsets_receipts_sources_and_clock_of_a_batch():
    batch, _ = decode(
        [(7, T, "b", GOOD), (9, T - 5, "a", GOOD + GOOD), (11, T + 9, "b", b"")], LOW, HIGH, clock_ms=1
    )
    assert batch.offset.tolist() == [7, 9, 9]
    assert batch.receipt_ms.tolist() == [T, T - 5, T - 5]
    assert [batch.sources[k] for k in batch.source] == ["b", "a", "a"]
    assert (batch.clock_ms, batch.next_offset) == (T + 9, 12)
    assert batch.device_ms.tolist() == [NO_TIME] * 3


def test_no_entries_and_empty_bodies():
    batch, quarantine = decode([], LOW, HIGH, clock_ms=T, next_offset=4)
    assert (len(batch), len(quarantine), batch.clock_ms, batch.next_offset) == (0, 0, T, 4)
    assert_as_reference((0, T, "home", b""), (1, T, "home", b""))


def test_a_decoder_that_is_kept_gives_the_same():
    kept = Decoder(LOW, HIGH)
    random = np.random.default_rng(5)
    for size in (40, 1, 3, 60, 0, 20):
        body = (
            b"".join(packet.spot("p", "d", k, T - k, {1: 60 + random.random()}) for k in range(size))
            + b"\xc1"
        )
        entries = [(size, T, "home", body)]
        assert as_lists(*kept.decode(entries)) == as_lists(*decode(entries, LOW, HIGH))


def test_ranges_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="legal are two columns of one length"):
        Decoder(LOW, HIGH[:-1])


def test_too_many_sources_are_refused():
    with pytest.raises(ValueError, match="65537 sources in one batch: at most 65536 are legal"):
        decode([(k, T, str(k), b"") for k in range(65_537)], LOW, HIGH)


def test_ids_of_every_length_hash_as_the_reference():
    for length in range(1, 41):
        name = bytes(0x21 + (7 * k + length) % 94 for k in range(length))
        body = packet.spot(name, name[::-1], 1, T, {1: 80})
        assert_as_reference((0, T, "home", body))
        assert identity.hash_bytes(np.frombuffer(name, np.uint8), 0, length) == reference.hash_of(name)


def test_check_judges_columns_as_the_decoder_judges_packets():
    cases = [(1, 82.4), (1, 24.9), (9, 101), (34, 0), (5000, 1), (1, float("nan")), (1, float("inf"))]
    codes, values = zip(*cases, strict=True)
    reasons, millis = check(codes, values, T, T, LOW, HIGH)
    for (code, value), reason, milli in zip(cases, reasons.tolist(), millis.tolist(), strict=True):
        accepted, found = refusals_of(payload(SPOT, code, value))
        assert ([reason] if reason else []) == [each for _, each in found]
        assert milli == (round(value * 1000) if accepted else -(2**31))
    with pytest.raises(ValueError, match="2 codes and 1 values"):
        check([1, 2], [1.0], T, T, LOW, HIGH)


# -------------------------------------------------------------------- what kernels repeat because they cannot import it


def test_reasons_of_the_kernels_are_those_of_ingest():
    numbers = {name: getattr(refusals, name) for name in refusals.__all__}
    assert numbers == {reason.name: int(reason) for reason in Reason if reason < 48}


def test_constants_of_the_kernels_are_those_of_ingest():
    kinds = {name: value for name, value in vars(PacketKind).items() if name.isupper()}
    assert kinds == {name: getattr(packets, name) for name in kinds}
    assert (packets.TEST, packets.INVALID, packets.NO_TIME) == (Status.TEST, Status.INVALID, NO_TIME)
    assert reference._or_none(None) == columns.NO_TIME
    assert packets.MAX_STATUS == packet._MAX_STATUS
    assert (packets.MAX_PAIRS, identity.MAX_ID) == (packet.MAX_PAIRS, packet.MAX_ID)
    for constant, name in (
        (packets.SYSTOLIC, "systolic"),
        (packets.DIASTOLIC, "diastolic"),
        (packets.MEAN, "mean_pressure"),
        (packets.SYSTOLIC_STANDING, "systolic_standing"),
        (packets.DIASTOLIC_STANDING, "diastolic_standing"),
    ):
        assert by_name(name).code == constant
    assert packets.ACT_CODES > MAX_CODE
    assert (careful_path._MIN_RATE_HZ, careful_path._MAX_RATE_HZ) == packet._RATE_HZ
    assert careful_path._MAX_SECONDS == packet._MAX_SECONDS
    assert packet.MAX_BODY == appender.MAX_BODY
