"""A service under a steady load for long, then killed and started again: ``make soak``.

Bodies are of a hundred packets. Looked at every ten seconds: memory, lag, accounts. Then a minute of log is left
without a checkpoint, the service is killed with kill -9, and the time to ready is taken.
"""

import argparse
import json
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from bench.running import Running, key_of, running, temporary
from ingest.simulator.load import Load, Measured, run

__all__ = ["main"]

_LOOK_S = 10.0
_PATIENTS = 100_000
_READY_S = 120.0


def _sent(
    service: Running, key: str, packets_per_s: float, seconds: float
) -> tuple[Measured, list[tuple[int, float]]]:
    """Load a service, and look at it meanwhile: memory in bytes, lag in seconds."""
    seen: list[tuple[int, float]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            seen.append((service.resident(), service.metrics()["vigie_lag_seconds"]))
            print(f"  {seen[-1][0] / 1e6:.0f} MB, {seen[-1][1]:.2f} s behind", flush=True)

    looking = threading.Thread(target=look)
    looking.start()
    load = Load(packets_per_s, 100, seconds, connections=8, patients=_PATIENTS)
    measured = run(service.url, key, load)
    over.set()
    looking.join()
    return measured, seen


def _restart(folder: Path, key: str, packets_per_s: float) -> None:
    """Leave a minute of log without a checkpoint, kill, start, and take the time."""
    with running(folder, {"VIGIE_CHECKPOINT_S": "100000"}) as service:
        measured, _ = _sent(service, key, packets_per_s, 60.0)
        service.wait_caught_up()
        service.end(signal.SIGKILL)
    began = time.monotonic()
    with running(folder) as service:
        while True:
            try:
                with urllib.request.urlopen(f"{service.url}/readyz", timeout=10) as answer:  # noqa: S310 - ours
                    standing = json.load(answer)
            except urllib.error.HTTPError as error:  # 503: not ready
                standing = json.load(error)
            if standing["ready"] and not standing["lag_entries"]:
                break
            if time.monotonic() - began > _READY_S:
                msg = f"not ready after {_READY_S:g} s: {standing}"
                raise AssertionError(msg)
            time.sleep(0.02)
        ready_s = time.monotonic() - began
        patients = service.metrics()["vigie_patients"]
        said = [line for line in service.said().splitlines() if "entries of the log" in line][-1]
    print(
        f"restart after kill -9, {patients:,.0f} patients, {measured.packets:,} packets to go through again: "
        f"listening after {service.listening_s:.1f} s, all of it gone through after {ready_s:.1f} s\n  {said}"
    )


def main(folder: Path, packets_per_s: float, minutes: float) -> None:
    """Soak, then restart; raises where accounts do not balance or packets are lost."""
    key = key_of(folder)
    with running(folder) as service:
        measured, seen = _sent(service, key, packets_per_s, 60 * minutes)
        caught_up_s = service.wait_caught_up()
        metrics = service.metrics()
        disk = sum(file.stat().st_size for file in (folder / "data").rglob("*") if file.is_file())
    print(measured)
    memory = np.array([size for size, _ in seen]) / 1e6
    half = memory[len(memory) // 2 :]
    print(
        f"memory {memory[0]:.0f} MB at first, {half[0]:.0f} MB at half time, {half[-1]:.0f} MB at the end; lag at most "
        f"{max(lag for _, lag in seen):.2f} s, gone {caught_up_s:.1f} s after the end; {disk / 1e9:.2f} GB on the disk"
    )
    received = metrics['vigie_packets_received_total{source="load"}']
    if metrics["vigie_accounts_balanced"] != 1 or received != measured.packets or measured.lost:
        msg = f"{measured.packets:,} packets were acknowledged, {received:,.0f} are accounted for, {measured.lost} lost"
        raise AssertionError(msg)
    print(f"accounts balance: {received:,.0f} packets received")
    _restart(folder, key, packets_per_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=float, default=50_000, help="a second (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="of soaking (default %(default)s)")
    given = parser.parse_args()
    with temporary() as here:
        main(here, given.packets, given.minutes)
