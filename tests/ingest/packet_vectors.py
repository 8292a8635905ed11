"""Makes docs/packet-vectors.json: bodies as hexadecimal, and what a decoder must make of them.

Run it as a program to write the file anew. What is expected comes from the reference decoder, and each case says
beside it which reasons its author meant.
"""

import json
from pathlib import Path

import msgpack
import msgpack_forms as forms
import reference_decoder as reference

from ingest.reasons import Reason
from ingest.signals import plausible_ranges

FILE = Path(__file__).resolve().parents[2] / "docs" / "packet-vectors.json"
RECEIPT_MS = 1_760_000_000_000
T = RECEIPT_MS - 60_000
ITEMS = {256: (0, 3), 257: (0, 10)}

SPOT = [1, "P1", "scale-7", 41, T, None, None, 0, [1, 82.4]]
PRESSURE = [1, "P1", "cuff-2", 8, T, T - 500, T + 20, 16, [2, 131, 3, 84, 6, 71]]
CHUNK = [2, "P1", "patch-1", 3, T, T, None, 0, [34, 250, 200.0, b"\x00\x00\x64\x00\x9c\xff\xff\x7f\x00\x80"]]
ANSWERS = [3, "P1", "phone", 12, T, None, None, 64, [256, 2, 257, 7.5]]
DEVICE = [4, "P1", "scale-7", 42, T, None, None, 128, [20, 15]]
ACT = [5, "P1", "desk-1", 2, T, None, None, 0, [1, 0xFEDC_BA98_7654_3210, 4]]


def packed(base, place=0, *, but=...):
    if but is not ...:
        base = [*base]
        base[place] = but
    return msgpack.packb(base)


def values(*elements):
    return packed(SPOT, 8, but=list(elements))


def chunk(*elements):
    return packed(CHUNK, 8, but=list(elements))


def longest():
    """SPOT with every element in its longest form; 82.4 as float64."""
    return forms.arrays([
        forms.integers(1)[-1], forms.ids(b"P1")[-1], forms.ids(b"scale-7")[-1], forms.integers(41)[-1],
        forms.integers(T)[-1], b"\xc0", b"\xc0", forms.integers(0)[-1],
        forms.arrays([forms.integers(1)[-1], forms.float64(82.4)])[-1],
    ])[-1]  # fmt: skip


def spelled(value):
    """SPOT with a reading of 82.4 kg or 82 kg that is already encoded."""
    return packed(SPOT)[: -len(msgpack.packb(SPOT[8]))] + b"\x92\x01" + value


GOOD = packed(SPOT)
R = Reason
# name, body, reasons of what is refused, source
LIMIT = [
    5,
    "P1",
    "desk-1",
    3,
    T,
    None,
    None,
    0,
    [2, 0x1234_5678, 1500, "claire.morel", "poids sec à 74,5 kg"],
]
CASES = (
    ("spot: a weight", GOOD, (), "home"),
    ("spot: pressures and pulse, all times given, from a cuff that says: clock not set", packed(PRESSURE), (), "home"),
    ("ECG: five samples, 0, 100, -100, 32767, -32768", packed(CHUNK), (), "home"),
    ("questionnaire: two answers, typed", packed(ANSWERS), (), "home"),
    ("device status: battery low", packed(DEVICE), (), "home"),
    ("act of the cell, key above 2**63", packed(ACT), (), "cell"),
    ("act of the cell: a limit is set to 1.5", packed(LIMIT), (), "cell"),
    ("act of the cell: a limit is set to -0.001, author and text as bin",
     packed(LIMIT, 8, but=[2, 7, -1, b"a", b"\xe2\x82\xac"]), (), "cell"),
    ("act of the cell: a limit is taken back", packed(LIMIT, 8, but=[3, 7, 0, "a", "b"]), (), "cell"),
    ("six packets in one body", b"".join(map(packed, (SPOT, PRESSURE, CHUNK, ANSWERS, DEVICE, ACT))), (), "cell"),
    ("the weight with every element in its longest form, ids as bin 32", longest(), (), "home"),
    ("ids as bin 8", packed([1, b"P1", b"scale-7", *SPOT[3:]]), (), "home"),
    ("a value as float 32", spelled(forms.float32(82.4)), (), "home"),
    ("a value as positive fixint", spelled(forms.integers(82)[0]), (), "home"),
    ("a value as uint 8", spelled(forms.integers(82)[1]), (), "home"),
    ("a value as uint 64", spelled(forms.integers(82)[4]), (), "home"),
    ("a value as int 8", spelled(forms.integers(82)[5]), (), "home"),
    ("a value as int 64", spelled(forms.integers(82)[8]), (), "home"),
    ("values in descending order of codes", values(9, 97, 5, 70, 1, 80), (), "home"),
    ("rounding: 82.0005 is 82001 thousandths", values(1, 82.0005), (), "home"),
    ("rounding: 82.4004999 is 82400 thousandths", values(1, 82.4004999), (), "home"),
    ("rounding comes before the plausible range: 24.9995 kg is 25 kg", values(1, 24.9995), (), "home"),
    ("event exactly at the start of 2000", packed(SPOT, 4, but=946_684_800_000), (), "home"),
    ("event exactly five minutes after receipt", packed(SPOT, 4, but=RECEIPT_MS + 300_000), (), "home"),
    ("greatest sequence number", packed(SPOT, 3, but=2**63 - 1), (), "home"),
    ("an empty body", b"", (), "home"),
    ("the body ends inside a packet", GOOD + GOOD[:-3], (R.TRUNCATED,), "home"),
    ("reserved byte c1; the packet after it is refused with it", GOOD + b"\xc1" + GOOD, (R.BAD_MSGPACK,), "home"),
    ("an array 32 of 2**32 - 1 elements", GOOD + b"\xdd\xff\xff\xff\xff" + GOOD, (R.TOO_LONG,), "home"),
    ("a str 8 longer than what is left", b"\x99\x01\xd9\xc8ab", (R.TOO_LONG,), "home"),
    ("nine arrays inside each other", b"\x91" * 9 + b"\x00" + GOOD, (R.TOO_DEEP,), "home"),
    ("eight arrays inside each other are skipped alone", b"\x91" * 8 + b"\x00" + GOOD, (R.NOT_A_PACKET,), "home"),
    ("an array of eight between two packets", GOOD + packed(SPOT[:8]) + GOOD, (R.NOT_A_PACKET,), "home"),
    ("three small integers, one row of quarantine", b"\x01\x02\x03" + GOOD, (R.NOT_A_PACKET,), "home"),
    ("kind 6", packed(SPOT, but=6) + GOOD, (R.BAD_KIND,), "home"),
    ("kind as a float", packed(SPOT, but=1.0), (R.BAD_KIND,), "home"),
    ("patient with a space", packed(SPOT, 1, but="P 1"), (R.BAD_PATIENT,), "home"),
    ("patient of 41 characters", packed(SPOT, 1, but="P" * 41), (R.BAD_PATIENT,), "home"),
    ("device that is not ASCII", packed(SPOT, 2, but="balance-é"), (R.BAD_DEVICE,), "home"),
    ("device missing", packed(SPOT, 2, but=None), (R.BAD_DEVICE,), "home"),
    ("sequence number 2**63", packed(SPOT, 3, but=2**63), (R.BAD_SEQUENCE,), "home"),
    ("event time missing", packed(SPOT, 4, but=None), (R.BAD_TIME,), "home"),
    ("device time as a float", packed(SPOT, 5, but=float(T)), (R.BAD_TIME,), "home"),
    ("a millisecond before 2000", packed(SPOT, 4, but=946_684_799_999), (R.TIME_BEFORE_2000,), "home"),
    ("five minutes and 1 ms after receipt", packed(SPOT, 4, but=RECEIPT_MS + 300_001), (R.TIME_IN_FUTURE,), "home"),
    ("status of 33 bits", packed(SPOT, 7, but=2**32), (R.BAD_STATUS,), "home"),
    ("payload empty", values(), (R.BAD_PAYLOAD,), "home"),
    ("payload of 17 pairs", values(*(x for code in range(17) for x in (code, 1))), (R.BAD_PAYLOAD,), "home"),
    ("payload of three elements", values(1, 80, 5), (R.BAD_PAYLOAD,), "home"),
    ("a code that means nothing", values(99, 1), (R.UNKNOWN_SIGNAL,), "home"),
    ("an ECG lead in a spot packet", values(34, 1), (R.UNKNOWN_SIGNAL,), "home"),
    ("weight twice", values(1, 80, 1, 80), (R.REPEATED_SIGNAL,), "home"),
    ("a value as text", values(1, "80"), (R.NOT_A_NUMBER,), "home"),
    ("a value as NaN", values(1, float("nan")), (R.NAN,), "home"),
    ("a value as minus infinity", values(1, -float("inf")), (R.INFINITE,), "home"),
    ("a weight of 350.001 kg", values(1, 350.001), (R.IMPLAUSIBLE,), "home"),
    ("systolic 9.999 mmHg above diastolic", values(2, 99.999, 3, 90), (R.INCONSISTENT,), "home"),
    ("mean pressure above systolic", values(2, 120, 4, 121), (R.INCONSISTENT,), "home"),
    ("test data", packed(SPOT, 7, but=1), (R.DEVICE_TEST,), "home"),
    ("measurement invalid", packed(SPOT, 7, but=2), (R.DEVICE_INVALID,), "home"),
    ("ECG at 99 Hz", chunk(34, 99, 200, b"\x00\x00"), (R.BAD_ECG_RATE,), "home"),
    ("ECG with gain 0", chunk(34, 250, 0, b"\x00\x00"), (R.BAD_ECG_GAIN,), "home"),
    ("ECG with three bytes of samples", chunk(34, 250, 200, b"\x00\x00\x00"), (R.BAD_ECG_SAMPLES,), "home"),
    ("ECG with samples as text", chunk(34, 250, 200, "ab"), (R.BAD_ECG_SAMPLES,), "home"),
    ("an act from a source that is not the cell", packed(ACT), (R.ACT_NOT_ALLOWED,), "home"),
    ("a weight of a patient whom the source may not send for", packed(SPOT), (R.NOT_ENROLLED,), "turned away home"),
    ("an act with reason 64", packed(ACT, 8, but=[1, 7, 64]), (R.BAD_ACT,), "cell"),
    ("a limit of 2**31 thousandths", packed(LIMIT, 8, but=[2, 7, 2**31, "a", "b"]), (R.BAD_ACT,), "cell"),
    ("a limit that is taken back with a value", packed(LIMIT, 8, but=[3, 7, 1, "a", "b"]), (R.BAD_ACT,), "cell"),
    ("a cell's limit of 2**31 thousandths", packed(LIMIT, 8, but=[4, 7, 2**31, "a", "b"]), (R.BAD_ACT,), "cell"),
    ("a cell's limit that is taken back with a value", packed(LIMIT, 8, but=[5, 7, 1, "a", "b"]), (R.BAD_ACT,), "cell"),
    ("an act of verb 6", packed(LIMIT, 8, but=[6, 7, 1, "a", "b"]), (R.BAD_ACT,), "cell"),
    ("a limit without a reason", packed(LIMIT, 8, but=[2, 7, 1, "a", ""]), (R.BAD_ACT,), "cell"),
    ("a limit whose author is no UTF-8", packed(LIMIT, 8, but=[2, 7, 1, b"\xed\xa0\x80", "b"]), (R.BAD_ACT,), "cell"),
    ("a limit from a source that is not the cell", packed(LIMIT), (R.ACT_NOT_ALLOWED,), "home"),
)  # fmt: skip


def made():
    """The whole file as text."""
    low, high = plausible_ranges(ITEMS)
    cases = []
    for name, body, reasons, source in CASES:
        packets, refusals = reference.decode_body(
            body,
            RECEIPT_MS,
            low,
            high,
            may_act=source == "cell",
            turned_away=source.startswith("turned away "),
        )
        assert [each.reason for each in refusals] == list(reasons), name
        refused = [
            {"at": each.at, "bytes": each.length, "reason": each.reason.name, "number": int(each.reason)}
            for each in refusals
        ]
        cases.append(
            {"name": name, "source": source, "body": body.hex()}
            | {"packets": [shown(each) for each in packets], "refused": refused}
        )
    head = {
        "about": "What a decoder of the packet format (packet.md) must make of each body. Integers above 2**53 occur.",
        "receipt_ms": RECEIPT_MS,
        "act_source": "cell",
        "items": [{"code": code, "low": low, "high": high} for code, (low, high) in ITEMS.items()],
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows = ",\n".join("    " + json.dumps(case, ensure_ascii=False) for case in cases)
    return "{\n" + ",\n".join(lines) + ',\n  "cases": [\n' + rows + "\n  ]\n}\n"


def shown(packet):
    """The columns of a packet that any implementer can compare; readings in thousandths."""
    common = ("kind", "seq", "t_ms", "device_ms", "gateway_ms", "status")
    row = {name: getattr(packet, name) for name in common}
    row |= {"patient": packet.patient.decode("ascii"), "device": packet.device.decode("ascii")}
    if packet.act:
        names = (
            ("verb", "key", "reason") if len(packet.act) == 3 else ("verb", "key", "milli", "author", "text")
        )
        return row | {"act": dict(zip(names, packet.act, strict=True))}
    if packet.samples:
        return row | {
            "lead": packet.lead, "rate_hz": packet.rate, "gain": packet.gain, "samples": packet.samples,
        }  # fmt: skip
    return row | {"readings": [{"code": code, "milli": milli} for code, milli in packet.values]}


if __name__ == "__main__":
    FILE.write_text(made(), encoding="utf-8")
