"""The encoder: what it makes is decoded to what went in, and what it refuses it names."""

import math
import re

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import packet
from ingest.columns import NO_TIME, PacketKind
from ingest.decode import act_of, decode
from ingest.signals import SIGNALS, Kind, plausible_ranges

T = 1_760_000_000_000
LOW, HIGH = plausible_ranges(dict.fromkeys(range(256, 280), (-5, 5)))

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=packet.MAX_ID)
ids = names | names.map(str.encode)
int64 = st.integers(-(2**63) + 1, 2**63 - 1)
common = {
    "patient": ids,
    "device": ids,
    "seq": st.integers(0, 2**63 - 1),
    "t_ms": st.integers(946_684_800_000, T),
    "device_ms": st.none() | int64,
    "gateway_ms": st.none() | int64,
    "status": st.integers(0, 2**30 - 1).map(lambda bits: bits << 2),
}
answers = st.dictionaries(
    st.integers(256, 279), st.integers(-5000, 5000).map(lambda milli: milli / 1000), min_size=1, max_size=16
)


def decoded(body, source="cell"):
    batch, quarantine = decode([(0, T, source, body)], LOW, HIGH)
    assert len(quarantine) == 0
    assert len(batch) == 1
    return batch


def assert_header(batch, kind, given_):
    def text(name):
        return name if isinstance(name, str) else name.decode()

    assert batch.kind[0] == kind
    assert batch.patient_id(0) == text(given_["patient"])
    for name in ("seq", "t_ms", "status"):
        assert int(getattr(batch, name)[0]) == given_[name]
    for name in ("device_ms", "gateway_ms"):
        assert int(getattr(batch, name)[0]) == (NO_TIME if given_[name] is None else given_[name])


@settings(max_examples=60)
@given(st.fixed_dictionaries(common), answers, st.sampled_from(["spot", "questionnaire", "device_status"]))
def test_values_come_back(header, values, maker):
    positional = [header[name] for name in ("patient", "device", "seq", "t_ms")]
    keywords = {name: header[name] for name in ("device_ms", "gateway_ms", "status")}
    batch = decoded(getattr(packet, maker)(*positional, values, **keywords))
    kind = {
        "spot": PacketKind.SPOT,
        "questionnaire": PacketKind.QUESTIONNAIRE,
        "device_status": PacketKind.DEVICE,
    }
    assert_header(batch, kind[maker], header)
    assert batch.code.tolist() == list(values)
    assert batch.milli.tolist() == [round(value * 1000) for value in values.values()]


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(common),
    st.sampled_from([signal.code for signal in SIGNALS if signal.kind is Kind.WAVEFORM]),
    st.integers(100, 1000) | st.floats(100, 1000),
    st.floats(0, 1e300, exclude_min=True) | st.integers(1, 2**64 - 1),
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=300),
)
def test_ecg_comes_back(header, lead, rate, gain, samples):
    body = packet.ecg_chunk(lead=lead, rate_hz=rate, gain=gain, samples=samples, **header)
    batch = decoded(body)
    assert_header(batch, PacketKind.ECG, header)
    assert batch.chunk_packet.tolist() == [0]
    assert batch.chunk_code.tolist() == [lead]
    assert batch.chunk_rate.tolist() == [rate]
    assert batch.chunk_gain.tolist() == [float(gain)]
    assert batch.samples.tolist() == samples
    assert batch.value_at.tolist() == [0, 0]


@settings(max_examples=40)
@given(st.fixed_dictionaries(common), st.integers(0, 2**64 - 1), st.integers(1, 63))
def test_an_act_comes_back(header, key, reason):
    batch = decoded(packet.act(key=key, reason=reason, **header))
    assert_header(batch, PacketKind.ACT, header)
    assert act_of(batch, 0) == (packet.CLOSE, key, reason)


def test_numpy_numbers_are_encoded_as_plain_ones():
    plain = packet.spot("p", "d", 1, T, {1: 82.5, 5: 70})
    assert (
        packet.spot("p", "d", np.int64(1), np.int64(T), {np.uint16(1): np.float64(82.5), 5: np.int32(70)})
        == plain
    )
    assert msgpack.unpackb(plain) == [1, "p", "d", 1, T, None, None, 0, [1, 82.5, 5, 70]]


def test_samples_are_little_endian():
    body = packet.ecg_chunk("p", "d", 1, T, 34, 100, 200, np.array([1, -2], ">i2"))
    assert msgpack.unpackb(body)[8][3] == b"\x01\x00\xfe\xff"


def test_five_minutes_of_ecg_are_legal():
    assert (
        len(decoded(packet.ecg_chunk("p", "d", 1, T, 34, 100, 1, np.zeros(30_000, np.int16))).samples)
        == 30_000
    )


def spot(**changed):
    return packet.spot(
        **({"patient": "p", "device": "d", "seq": 1, "t_ms": T, "values": {1: 80.0}} | changed)
    )


def ecg(**changed):
    return packet.ecg_chunk(
        **(
            {"patient": "p", "device": "d", "seq": 1, "t_ms": T}
            | {"lead": 34, "rate_hz": 250, "gain": 200, "samples": [0]}
            | changed
        )
    )


@pytest.mark.parametrize("milli", [1500, -(2**31) + 1, 2**31 - 1, 0, None])
@pytest.mark.parametrize("of_cell", [False, True])
def test_a_limit(milli, of_cell):
    batch = decoded(limit(milli=milli, key=2**64 - 1, text="poids sec à 74,5 kg", of_cell=of_cell))
    verb = {
        (False, False): packet.SET,
        (False, True): packet.TAKE_BACK,
        (True, False): packet.SET_OF_CELL,
        (True, True): packet.TAKE_BACK_OF_CELL,
    }[of_cell, milli is None]
    assert act_of(batch, 0) == (verb, 2**64 - 1, milli or 0, "claire.morel", "poids sec à 74,5 kg")


def act(**changed):
    return packet.act(
        **({"patient": "p", "device": "d", "seq": 1, "t_ms": T, "key": 1, "reason": 1} | changed)
    )


def limit(**changed):
    return packet.limit_act(
        **(
            {"patient": "p", "device": "d", "seq": 1, "t_ms": T, "key": 1}
            | {"milli": 1500, "author": "claire.morel", "text": "é"}
            | changed
        )
    )


ID = "legal are 1 to 40 printable ASCII characters without space"
INT64 = "legal are 0 to 9223372036854775807"
CLOCK = "legal are -9223372036854775807 to 9223372036854775807"


@pytest.mark.parametrize(
    ("make", "changed", "error", "element", "legal"),
    [
        (spot, {"patient": ""}, ValueError, "patient ''", ID),
        (spot, {"patient": "a b"}, ValueError, "patient 'a b'", ID),
        (spot, {"patient": "x" * 41}, ValueError, "patient 'xxx", ID),
        (spot, {"patient": "é"}, ValueError, "patient 'é'", ID),
        (spot, {"patient": "\udc80"}, ValueError, "patient '\\udc80'", ID),
        (spot, {"patient": 7}, TypeError, "patient is of type int", "legal are str and bytes"),
        (spot, {"device": b"\x7f"}, ValueError, "device b'\\x7f'", ID),
        (spot, {"device": None}, TypeError, "device is of type NoneType", "legal are str and bytes"),
        (spot, {"seq": -1}, ValueError, "seq -1", INT64),
        (spot, {"seq": 2**63}, ValueError, "seq 9223372036854775808", INT64),
        (spot, {"seq": 1.0}, TypeError, "seq is of type float", "only an integer is legal"),
        (spot, {"seq": True}, TypeError, "seq is of type bool", "only an integer is legal"),
        (spot, {"t_ms": -1}, ValueError, "t_ms -1", INT64),
        (spot, {"t_ms": "now"}, TypeError, "t_ms is of type str", "only an integer is legal"),
        (spot, {"device_ms": -(2**63)}, ValueError, "device_ms -9223372036854775808", CLOCK),
        (spot, {"gateway_ms": 2**63}, ValueError, "gateway_ms 9223372036854775808", CLOCK),
        (spot, {"gateway_ms": 1.5}, TypeError, "gateway_ms is of type float", "only an integer is legal"),
        (spot, {"status": -1}, ValueError, "status -1", "legal are 0 to 4294967295"),
        (spot, {"status": 2**32}, ValueError, "status 4294967296", "legal are 0 to 4294967295"),
        (spot, {"values": {}}, ValueError, "0 values", "legal are 1 to 16"),
        (spot, {"values": dict.fromkeys(range(256, 273), 1)}, ValueError, "17 values", "legal are 1 to 16"),
        (spot, {"values": {4096: 1}}, ValueError, "code 4096", "legal are 0 to 4095"),
        (spot, {"values": {-1: 1}}, ValueError, "code -1", "legal are 0 to 4095"),
        (spot, {"values": {1.5: 1}}, TypeError, "code is of type float", "only an integer is legal"),
        (spot, {"values": {1: "80"}}, TypeError, "value of code 1 is of type str", "legal are integers and floats"),
        (spot, {"values": {1: True}}, TypeError, "value of code 1 is of type bool", "legal are integers and floats"),
        (spot, {"values": {1: math.nan}}, ValueError, "value nan of code 1", "only finite numbers are legal"),
        (spot, {"values": {1: -math.inf}}, ValueError, "value -inf of code 1", "only finite numbers are legal"),
        (spot, {"values": {1: 2**64}}, ValueError, "value of code 1 18446744073709551616", "legal are -92233720368"),
        (ecg, {"rate_hz": 99.9}, ValueError, "rate_hz 99.9", "legal are 100 to 1000"),
        (ecg, {"rate_hz": 1001}, ValueError, "rate_hz 1001", "legal are 100 to 1000"),
        (ecg, {"rate_hz": math.nan}, ValueError, "rate_hz nan", "legal are 100 to 1000"),
        (ecg, {"rate_hz": "250"}, TypeError, "rate_hz is of type str", "legal are integers and floats"),
        (ecg, {"gain": 0}, ValueError, "gain 0", "legal are finite numbers above 0"),
        (ecg, {"gain": math.inf}, ValueError, "gain inf", "legal are finite numbers above 0"),
        (ecg, {"gain": None}, TypeError, "gain is of type NoneType", "legal are integers and floats"),
        (ecg, {"samples": [0.5]}, TypeError, "samples of float64", "legal is one column of integers"),
        (ecg, {"samples": [[1]]}, TypeError, "samples of int64 in 2 dimensions", "legal is one column of integers"),
        (ecg, {"samples": np.zeros(0, int)}, ValueError, "0 samples", "legal are 1 to 300 s of them, 75000"),
        (ecg, {"samples": np.zeros(75_001, int)}, ValueError, "75001 samples", "legal are 1 to 300 s of them, 75000"),
        (ecg, {"samples": [0, 32768]}, ValueError, "samples from 0 to 32768", "legal are -32768 to 32767"),
        (ecg, {"samples": [-32769]}, ValueError, "samples from -32769", "legal are -32768 to 32767"),
        (ecg, {"lead": 4096}, ValueError, "lead 4096", "legal are 0 to 4095"),
        (ecg, {"lead": "II"}, TypeError, "lead is of type str", "only an integer is legal"),
        (act, {"key": -1}, ValueError, "key -1", "legal are 0 to 18446744073709551615"),
        (act, {"key": 2**64}, ValueError, "key 18446744073709551616", "legal are 0 to 18446744073709551615"),
        (act, {"reason": 0}, ValueError, "reason 0", "legal are 1 to 63"),
        (act, {"reason": 64}, ValueError, "reason 64", "legal are 1 to 63"),
        (limit, {"key": -1}, ValueError, "key -1", "legal are 0 to 18446744073709551615"),
        (limit, {"milli": 2**31}, ValueError, "milli 2147483648", "legal are -2147483647 to 2147483647"),
        (limit, {"milli": 1.5}, TypeError, "milli is of type float", "only an integer is legal"),
        (limit, {"author": ""}, ValueError, "author ''", "legal are 1 to 64 bytes of UTF-8"),
        (limit, {"author": "é" * 33}, ValueError, "author 'éé", "legal are 1 to 64 bytes of UTF-8"),
        (limit, {"text": "a\nb"}, ValueError, "text 'a\\nb'", "legal are 1 to 240 bytes of UTF-8"),
        (limit, {"text": "\udc80"}, ValueError, "text '\\udc80'", "legal are 1 to 240 bytes of UTF-8"),
    ],
)  # fmt: skip
def test_an_error_names_the_element_and_what_is_legal(make, changed, error, element, legal):
    with pytest.raises(error, match=f"(?s)^.*{re.escape(element)}.*{re.escape(legal)}"):
        make(**changed)
