"""Messages a second from a Mosquitto through `vigie bridge` into a service's log: ``python -m bench.bridge``.

The messages wait at the broker before the bridge comes, so that it alone sets the pace. Times are those of receipt.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.running import key_of, running, temporary
from ingest import packet
from ingest.log import LogReader

__all__ = ["main"]

_PATIENTS = 5000
_WITHIN_S = 600.0


@contextmanager
def _started(command: Sequence[str]) -> "Iterator[subprocess.Popen[str]]":
    """Run a program until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603 - ours
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _wait_said(process: "subprocess.Popen[str]", pattern: str) -> None:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if re.search(pattern, line):
            return
    raise RuntimeError(said)


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    """Run a Mosquitto; gives its port."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        msg = "no Mosquitto here: apt install mosquitto"
        raise RuntimeError(msg)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
    )
    with _started([program, "-c", str(settings)]):
        while True:
            with socket.socket() as trying:
                if trying.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port


def _publish(port: int, messages: int, packets: int) -> None:
    client = Client(CallbackAPIVersion.VERSION2, "gateway", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    now_ms = time.time_ns() // 1_000_000
    for k in range(messages):
        numbers = range(k * packets, (k + 1) * packets)
        body = b"".join(packet.spot(f"P{k % _PATIENTS}", "scale", seq, now_ms, {1: 82.4}) for seq in numbers)
        last = client.publish("vigie/gateway/packets", body, 1)
        if k == messages - 1:
            last.wait_for_publish(_WITHIN_S)
    client.disconnect()
    client.loop_stop()


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def main(folder: Path, messages: int, packets: int, in_flight: int) -> None:
    """Measure, and say what was measured."""
    (folder / "key").write_text(key_of(folder, "bridge"))
    with running(folder) as service, _broker(folder) as port:
        command = [
            sys.executable, "-m", "vigie", "bridge", f"mqtt://127.0.0.1:{port}", "--to", service.url,
            "--key-file", str(folder / "key"), "--quarantine", str(folder / "refused"), "--in-flight", str(in_flight),
        ]  # fmt: skip
        with _started(command) as bridge:
            _wait_said(bridge, "connected")
            time.sleep(1)  # subscribed
        _publish(port, messages, packets)
        with _started(command) as bridge, LogReader(folder / "data" / "log") as log:
            _wait_said(bridge, "connected")
            used = psutil.Process(bridge.pid)
            before_s = _cpu_s(used)
            if not log.wait_for(messages - 1, _WITHIN_S):
                msg = f"{log.next_offset:,} of {messages:,} messages came"
                raise AssertionError(msg)
            own_us = 1e6 * (_cpu_s(used) - before_s) / messages
            first, last = log.receipt_ms(0), log.receipt_ms(messages - 1)
    assert first is not None
    assert last is not None
    rate = 1000 * messages / (last - first)
    print(
        f"{messages:,} messages of {packets} packets, {in_flight} in flight: {rate:,.0f} messages a second, "
        f"{rate * packets:,.0f} packets a second; the bridge's own time {own_us:.0f} µs a message"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=10_000, help="(default %(default)s)")
    parser.add_argument("--packets", type=int, default=10, help="of a message (default %(default)s)")
    parser.add_argument("--in-flight", type=int, default=64, help="(default %(default)s)")
    given = parser.parse_args()
    with temporary() as here:
        main(here, given.messages, given.packets, given.in_flight)
