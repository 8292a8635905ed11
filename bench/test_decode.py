"""What decoding costs: a million spot packets to columns, beside ``msgpack.Unpacker`` reading the same bytes.

The bodies are decoded as the engine does it, by an `ingest.decode.Decoder` that is kept. The rival only makes
Python lists of the packets: it checks nothing and fills no column. Both are timed in one test, by the process's own
CPU time, taking turns, so that other work on the machine disturbs them alike.
"""

import time

import msgpack
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ingest.decode import Decoder
from ingest.signals import plausible_ranges

PACKETS = 1_000_000
A_BODY = 1_000
PATIENTS = 20_000
T_MS = 1_760_000_000_000
ROUNDS = 5

Entries = list[tuple[int, int, str, bytes]]


def packets(form: str) -> list[bytes]:
    """Make PACKETS packets: all times given, none but the event's, or three values instead of one."""
    payload: list[float] = [2, 128.0, 3, 81.0, 6, 64.0] if form == "three values" else [1, 82.4]
    times = form != "nil times"
    return [
        msgpack.packb([
            1, f"P{i % PATIENTS:07}", f"D{i % PATIENTS:06}", 1_000 + i // PATIENTS, T_MS + i,
            T_MS + i + 5 if times else None, T_MS + i + 9 if times else None, 0, payload,
        ])
        for i in range(PACKETS)
    ]  # fmt: skip


def unpack(entries: Entries) -> int:
    """Read every packet with the library; the number of packets."""
    count = 0
    for _, _, _, body in entries:
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(body)
        for _ in unpacker:
            count += 1
    return count


@pytest.mark.parametrize("together", ["bodies of 1000", "one body"])
@pytest.mark.parametrize("form", ["typical", "nil times", "three values"])
def test_decode(benchmark: BenchmarkFixture, form: str, together: str) -> None:
    """Ours must accept every packet, and the library must count as many."""
    made = packets(form)
    size = A_BODY if together == "bodies of 1000" else PACKETS
    entries = [
        (k, T_MS + 10**9, "gateway", b"".join(made[at : at + size]))
        for k, at in enumerate(range(0, PACKETS, size))
    ]
    decoder = Decoder(*plausible_ranges())
    decoder.decode(entries)  # compiles, and touches the columns once
    ours: list[float] = []
    theirs: list[float] = []

    def decode() -> int:
        begun = time.process_time()
        batch, _ = decoder.decode(entries)
        ours.append(time.process_time() - begun)
        return len(batch)

    def rival() -> None:
        begun = time.process_time()
        assert unpack(entries) == PACKETS
        theirs.append(time.process_time() - begun)

    assert benchmark.pedantic(decode, setup=rival, rounds=ROUNDS) == PACKETS  # type: ignore[no-untyped-call]
    benchmark.extra_info["bytes a packet"] = len(made[0])
    benchmark.extra_info["ns a packet"] = round(min(ours) / PACKETS * 1e9, 1)
    benchmark.extra_info["ns a packet, msgpack.Unpacker"] = round(min(theirs) / PACKETS * 1e9, 1)
    benchmark.extra_info["times faster"] = round(float(np.median(np.array(theirs) / np.array(ours))), 1)
    print(f"{form}, {together}: {dict(benchmark.extra_info)}")
