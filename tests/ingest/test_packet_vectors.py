"""The vectors of docs/packet-vectors.json: they are up to date, and the decoder makes of them what they say."""

import json

import packet_vectors
import pytest
import reference_decoder as reference

from ingest.columns import NO_TIME, PacketKind
from ingest.decode import act_of, decode
from ingest.reasons import Reason
from ingest.signals import plausible_ranges

TEXT = packet_vectors.FILE.read_text(encoding="utf-8")
FILE = json.loads(TEXT)
LOW, HIGH = plausible_ranges({item["code"]: (item["low"], item["high"]) for item in FILE["items"]})


def row_of(batch, row):
    def time(value):
        return None if value == NO_TIME else int(value)

    packet = {
        "kind": int(batch.kind[row]),
        "patient": batch.patient_id(row),
        "seq": int(batch.seq[row]),
        "t_ms": int(batch.t_ms[row]),
        "device_ms": time(batch.device_ms[row]),
        "gateway_ms": time(batch.gateway_ms[row]),
        "status": int(batch.status[row]),
    }
    if packet["kind"] == PacketKind.ACT:
        return packet | {"act": act_of(batch, row)._asdict()}
    if packet["kind"] == PacketKind.ECG:
        chunk = batch.chunk_packet.tolist().index(row)
        return packet | {
            "lead": int(batch.chunk_code[chunk]),
            "rate_hz": float(batch.chunk_rate[chunk]),
            "gain": float(batch.chunk_gain[chunk]),
            "samples": batch.samples[batch.sample_at[chunk] : batch.sample_at[chunk + 1]].tolist(),
        }
    part = slice(batch.value_at[row], batch.value_at[row + 1])
    pairs = zip(batch.code[part].tolist(), batch.milli[part].tolist(), strict=True)
    return packet | {"readings": [{"code": code, "milli": milli} for code, milli in pairs]}


@pytest.mark.parametrize("case", FILE["cases"], ids=[case["name"] for case in FILE["cases"]])
def test_the_decoder_gives_what_the_vector_says(case):
    body = bytes.fromhex(case["body"])
    entry = (0, FILE["receipt_ms"], case["source"], body)
    batch, quarantine = decode([entry], LOW, HIGH, act_source=FILE["act_source"])
    devices = [packet.pop("device") for packet in case["packets"]]
    assert [row_of(batch, row) for row in range(len(batch))] == case["packets"]
    assert batch.device.tolist() == [reference.hash_of(device.encode()) for device in devices]
    refused = [
        {"at": at, "bytes": len(raw), "reason": Reason(number).name, "number": number}
        for at, number, raw in zip(
            quarantine.at.tolist(), quarantine.reason.tolist(), quarantine.raw, strict=True
        )
    ]
    assert refused == case["refused"]
    for row, raw in zip(refused, quarantine.raw, strict=True):
        assert raw == body[row["at"] : row["at"] + row["bytes"]]


def test_the_file_is_what_its_generator_makes():
    assert packet_vectors.made() == TEXT, "run tests/ingest/packet_vectors.py and look at what changed"


def test_every_reason_of_packets_has_a_vector():
    reasons = {row["number"] for case in FILE["cases"] for row in case["refused"]}
    assert reasons == {int(reason) for reason in Reason if 0 < reason < 48}
