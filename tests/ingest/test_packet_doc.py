"""docs/packet.md says what the code does: its example, its tables and its bounds."""

import re
from pathlib import Path

from ingest import packet
from ingest.columns import Status
from ingest.decode import MAX_RAW
from ingest.reasons import Reason
from ingest.signals import SIGNALS, Kind
from kernels import advance, packets, wire

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "packet.md").read_text(encoding="utf-8")


def rows(header):
    """The cells of the table that begins with `header`."""
    lines = TEXT[TEXT.index(header) :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_example_is_what_the_encoder_makes():
    block = re.search(r"```text\n(.*?)```", TEXT, re.DOTALL)[1]
    shown = bytes.fromhex("".join(re.split(r" {3,}", line)[0] for line in block.splitlines()))
    t = 1_759_999_940_000
    assert shown == packet.spot("P1", "scale-7", 41, t, {1: 82.4}, gateway_ms=t + 20, status=Status.STORED)
    assert f"{len(shown)} bytes. The same reading" in TEXT


def test_the_reasons():
    assert [(int(row[0]), row[1]) for row in rows("| Number | Reason |")] == [
        (int(reason), reason.name) for reason in Reason if 0 < reason < 48
    ]


def test_the_status_bits():
    bits = {name: bit for name, bit in vars(Status).items() if name.isupper()}
    told = rows("| Bit | Name |")
    assert {row[1]: 1 << int(row[0]) for row in told} == bits
    assert {row[1] for row in told if row[3] == "quarantined"} == {"TEST", "INVALID"}


def test_the_signals():
    spots = [signal for signal in SIGNALS if signal.kind is Kind.SPOT]
    assert [
        (int(row[0]), row[1], row[2], float(row[3]), float(row[4])) for row in rows("| Code | Signal |")
    ] == [(signal.code, signal.name, signal.ucum, signal.low, signal.high) for signal in spots]
    assert [(int(row[0]), row[1]) for row in rows("| Code | Lead |")] == [
        (signal.code, signal.name) for signal in SIGNALS if signal.kind is Kind.WAVEFORM
    ]


def test_the_bounds():
    sizes = [row[1] for row in rows("| What | At most |")]
    assert [int(re.match(r"\d+", size)[0]) for size in sizes] == [
        packet.MAX_BODY >> 20,
        packet.MAX_ID,
        packet.MAX_PAIRS,
        packet._MAX_SECONDS,
        wire.MAX_DEPTH,
        MAX_RAW,
    ]
    assert f"has {packets.MIN_ACCEPTED} bytes" in TEXT
    assert (advance.DEVICES, advance.HORIZON) == (4, 64)
    assert "four devices are remembered" in TEXT
    assert "64 in all" in TEXT
