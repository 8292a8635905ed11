"""The log on Redis: how fast it is written, and how fast the line takes it from there: ``python -m bench.streams``.

The server has a core of its own and this process the other. Packets are those of the common job (`bench.common_job`).
Taking is whole: read from the server, decoded, through the line, alerts out; history is left out, as in the common job.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from bench import common_job
from bench.redis_server import Server
from engine.durable import DurableLine, Tenure, Upkeep
from engine.fence import Fence
from engine.line import Line
from engine.program import Program
from ingest.decode import Decoder
from ingest.log import Log
from ingest.signals import plausible_ranges
from ingest.streams.log import StreamLog
from ingest.streams.partition import PartitionLog

_GROUP = 64  # bodies that are handed in together


def _write(log: StreamLog | Log, bodies: Sequence[bytes]) -> float:
    began = time.perf_counter()
    tickets = []
    for first in range(0, len(bodies), _GROUP):
        late_ms = common_job.START_MS + common_job.DAYS * 86_400_000
        tickets += log.append_many(
            [("gateway", body, late_ms) for body in bodies[first : first + _GROUP]], 60
        )
    for ticket in tickets:
        ticket.result()
    return time.perf_counter() - began


def _take(
    url: str, partitions: Sequence[int], program: Program, folder: Path
) -> tuple[float, float, int, int]:
    """Take partitions through lines of their own, in turn; give seconds, CPU seconds, packets and alerts."""
    alerts = 0

    def sink(rows: pl.DataFrame) -> None:
        nonlocal alerts
        alerts += len(rows)

    lines = []
    for k in partitions:
        mark = Fence.put(folder / f"{k}", 1)
        tenure = Tenure(PartitionLog(url, k), mark, lambda: None)
        lines.append(
            DurableLine(
                folder / f"{k}", program, sink=sink, tenure=tenure,
                upkeep=Upkeep(history_rows=0, checkpoint_s=1e6, checkpoint_entries=1 << 60),
            )
        )  # fmt: skip
    began, cpu = time.perf_counter(), time.process_time()
    while sum(line.step() for line in lines):
        pass
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    packets = sum(line.accounts().total.received for line in lines)
    for line in lines:
        line.__exit__(KeyboardInterrupt, None, None)  # as a crash would: no checkpoint is measured
    return seconds, spent, packets, alerts


def _from_memory(bodies: Sequence[bytes], program: Program) -> tuple[float, int]:
    decoder = Decoder(*plausible_ranges())
    late_ms = common_job.START_MS + common_job.DAYS * 86_400_000
    began = time.process_time()
    alerts = 0
    with Line(program) as line:
        for first in range(0, len(bodies), 128):
            entries = [
                (first + k, late_ms, "gateway", body) for k, body in enumerate(bodies[first : first + 128])
            ]
            alerts += len(line.process(*decoder.decode(entries)).alerts)
    return time.process_time() - began, alerts


def main(packets: int) -> None:
    """Measure, and print a line for each figure."""
    bodies = common_job.make_bodies(packets)
    program = common_job.make_program()
    size = sum(map(len, bodies))
    print(f"{packets:,} packets in {len(bodies):,} bodies, {size / 1e6:.0f} MB")
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="vigie-bench-") as temporary:
        folder = Path(temporary)
        with Log.open(folder / "log") as file:
            file_s = _write(file, bodies)
        print(f"written to the embedded log: {packets / file_s / 1e6:.2f} M packets/s")
        with Server(folder / "redis") as server:
            os.sched_setaffinity(server.pid, cores[-1:])
            os.sched_setaffinity(0, cores[:1])
            for partitions in (1, 16):
                with server.client() as client:
                    client.flushall()
                with StreamLog(server.url, partitions) as log:
                    written_s = _write(log, bodies)
                rate = packets / written_s / 1e6
                print(f"written to Redis, {partitions} partitions, fsync always: {rate:.2f} M packets/s")
                best = min(
                    _take(server.url, range(partitions), program, folder / f"{partitions}-{k}")
                    for k in range(3)
                )
                seconds, spent, taken, alerts = best
                if taken != packets:
                    raise AssertionError(taken)
                memory_s, others = min(_from_memory(bodies, program) for _ in range(3))
                if others != alerts:
                    raise AssertionError((others, alerts))
                print(
                    f"taken from Redis, {partitions} partitions, to {alerts} alert rows: "
                    f"{taken / seconds / 1e6:.2f} M packets/s ({taken / spent / 1e6:.2f} M a CPU second; "
                    f"{spent / memory_s:.2f} of the CPU time from memory, {packets / memory_s / 1e6:.2f} M)"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=2_000_000)
    main(parser.parse_args().packets)
