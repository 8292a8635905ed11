"""kill -9 of the whole service under load, many times: ``make crash-service ARGS='--kills 200'``.

Gateways send over HTTP without pause, and keep what was not acknowledged to send it again. The service is killed at
random moments, of its start and of its work, and started again. In the end every body that was acknowledged is in
the log, and alerts, queue, history and accounts are those of a line that went through that log once, undisturbed.
"""

import argparse
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).parent))

import httpx
import numpy as np
import run as crash

import triage.store
from engine.durable import DurableLine
from engine.load import load
from ingest import packet
from ingest.log import LogReader
from ingest.sources import Limits, Source, Sources
from kernels.framing import starts
from kernels.wire import MAX_DEPTH

PROTOCOL = "insuffisance_cardiaque"
GATEWAYS = 4
PATIENTS = 40
DAY = 86_400_000
UP_S = 300.0
_GENEROUS = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12)


@dataclass
class Figures:
    """What was done, for the report."""

    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    acknowledged: int = 0
    packets: int = 0
    alerts: int = 0
    replayed: list[int] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Service:
    """The process that is killed; `url` is where it listens now, "" while it does not."""

    def __init__(self, folder: Path, figures: Figures) -> None:
        self.folder = folder
        self.figures = figures
        self.url = ""
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        """What to run: the verb and its options."""
        return ["serve", "--data", str(self.folder), "--port", "0", "--protocol", PROTOCOL]

    def start(self) -> None:
        self.figures.starts += 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vigie", *self.command()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "VIGIE_CHECKPOINT_S": "0.7", "VIGIE_WEB": "false"},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, time.monotonic()))
        self._reader.start()

    def _read(self, process: "subprocess.Popen[str]", began: float) -> None:
        for line in process.stdout:
            self.lines.append(line)
            if found := re.search(r"(\d+) entries of the log to go through", line):
                self.figures.replayed.append(int(found[1]))
            if found := re.search(r"(?:listening at|working,) (http://[0-9.:]+)", line):
                self.figures.ready_s.append(time.monotonic() - began)
                self.url = found[1]

    def wait_up(self) -> None:
        until = time.monotonic() + UP_S
        while not self.url:
            if time.monotonic() > until or self._process.poll() is not None:
                sys.exit("the service did not start:\n" + "".join(self.lines[-40:]))
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL, everybody=True)

    def end(self, number: int, *, everybody: bool = False) -> int:
        (os.killpg if everybody else os.kill)(self._process.pid, number)
        status = self._process.wait(UP_S)
        self.url = ""
        self._reader.join(UP_S)
        self._process.stdout.close()
        return status


class Gateway(threading.Thread):
    """Sends bodies one after the other; what was not acknowledged is sent again, until it is."""

    def __init__(
        self, number: int, key: str, service: Service, stop: threading.Event, *, unsure: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self._unsure = unsure  # the log may be away, and what became of a body then not known
        self.rng = random.Random(number)
        self.acknowledged: list[bytes] = []
        self.packets = 0
        self.failure: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._number = number
        self._headers = {"Authorization": f"Bearer {key}"}
        self._service = service
        self._over = stop
        self._seq = 0
        self._weight = [70.0 + p for p in range(PATIENTS)]

    def run(self) -> None:
        try:
            with httpx.Client(headers=self._headers, timeout=20) as client:
                while not self._over.is_set():
                    self._send(client, self._body())
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure.put(error)

    def _send(self, client: httpx.Client, body: bytes) -> None:
        again = False
        while not self._over.is_set():
            url = self._service.url
            if not url:
                time.sleep(0.01)
                continue
            try:
                answer = client.post(url + "/v1/packets", content=body)
            except httpx.TransportError:
                again = True
                continue
            if self._unsure and answer.status_code in {503, 507}:
                again = True
                time.sleep(0.05)
                continue
            if answer.status_code != 202:
                sys.exit(f"an answer that no gateway should get: {answer.status_code} {answer.text}")
            if self._unsure:
                time.sleep(0.02)  # what counts is how it is disturbed, not how much it is
            said = answer.json()
            if not again and (said["duplicate"] or said["quarantined"]):
                sys.exit(f"the first answer to new packets: {said}")
            self.acknowledged.append(body)
            self.packets += said["accepted"] + said["duplicate"]
            return

    def _body(self) -> bytes:
        rng = self.rng
        now = time.time_ns() // 1_000_000
        out = []
        for _ in range(rng.choice((1, 1, 3, 40))):
            self._seq += 1
            p = rng.randrange(PATIENTS)
            name = f"g{self._number}p{p}"
            t_ms = now - rng.choice((0, 0, 3_600_000, DAY, 3 * DAY))
            if rng.random() < 0.5:
                self._weight[p] += rng.choice((-0.3, 0.2, 0.2, 1.1))
                if self._weight[p] > 200:  # as of another patient: what is implausible would be refused
                    self._weight[p] -= 130
                out.append(packet.spot(name, "scale", self._seq, t_ms, {1: round(self._weight[p], 1)}))
            else:
                values = {2: rng.choice((85, 120, 130)), 3: 60, 9: rng.choice((86, 97, 98))}
                out.append(packet.spot(name, "cuff", self._seq, t_ms, values))
        return b"".join(out)


def packets(body: bytes) -> list[bytes]:
    """Give the packets of a body, each as it is spelt."""
    data = np.frombuffer(body, np.uint8)
    begin = np.empty(len(body) + 1, np.int64)
    count = starts(data, 0, len(body), np.empty(MAX_DEPTH, np.int64), begin)
    return [body[a:b] for a, b in pairwise(begin[: count + 1].tolist())]


def undisturbed(log: Path, folder: Path) -> "crash.Outcome":
    """Take a log through a line once, without any end before the end."""
    folder.mkdir()
    shutil.copy(log, folder / "log")
    return finish(folder)


def finish(folder: Path) -> "crash.Outcome":
    """Open a line where it is, take it to the end of its log, and give what it left behind."""
    loaded = load([PROTOCOL])
    with (
        triage.store.open(folder / "queue.sqlite") as store,
        DurableLine(folder, loaded.program, sink=store.apply, roster=loaded.roster) as line,
    ):
        line.catch_up()
        accounts = f"{line.next_offset} {line.accounts().total}"
        if not line.accounts().balanced:
            sys.exit(f"accounts do not balance: {line.accounts().by_source}")
    return crash.outcome(folder, accounts)


def main(kills: int, seed: int, folder: Path) -> Figures:
    """Torment the service until it was killed `kills` times; exit with what is wrong where anything is."""
    rng = random.Random(seed)
    figures = Figures()
    began = time.monotonic()
    data = folder / "data"
    data.mkdir()
    sources = Sources(data / "sources")
    keys = [
        sources.create(Source(f"gw{k}", everyone=True, limits=_GENEROUS), "test") for k in range(GATEWAYS)
    ]
    sources.close()
    with Service(data, figures) as service:
        gateways = _torment(service, keys, kills, rng)
    _compare(folder, data, gateways, figures)
    figures.seconds = time.monotonic() - began
    return figures


def _torment(service: Service, keys: list[str], kills: int, rng: random.Random) -> list[Gateway]:
    """Send, kill, start again; give the gateways, each with what was acknowledged."""
    figures = service.figures
    stop = threading.Event()
    gateways = [Gateway(k, key, service, stop) for k, key in enumerate(keys)]
    for gateway in gateways:
        gateway.start()
    while figures.kills.total() < kills:
        service.start()
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, min(figures.ready_s, default=1.0)))
            kind = "start" if not service.url else "work"
        else:
            service.wait_up()
            time.sleep(rng.choice((0.1, 0.5, 2.0)) * rng.random() + 0.05)
            kind = "work"
        service.end(signal.SIGKILL, everybody=rng.random() < 0.5)
        figures.kills[kind] += 1
        if figures.kills.total() % 20 == 0:
            print(
                f"{figures.kills.total()} kills, {sum(len(g.acknowledged) for g in gateways)} bodies",
                flush=True,
            )
    service.start()
    service.wait_up()
    time.sleep(1.0)
    stop.set()
    for gateway in gateways:
        gateway.join(60)
        if not gateway.failure.empty():
            raise gateway.failure.get()
    status = service.end(signal.SIGTERM)
    if status:
        sys.exit(f"the service ended with status {status}:\n" + "".join(service.lines[-40:]))
    return gateways


def _compare(folder: Path, data: Path, gateways: list[Gateway], figures: Figures) -> None:
    logged: set[tuple[str, bytes]] = set()
    with LogReader(data / "log") as log:
        if not (report := log.verify()).ok:
            sys.exit(str(report))
        at = log.first_offset
        while entries := log.read(at):
            logged.update((entry.source, entry.body) for entry in entries)
            at = entries[-1].offset + 1
    for k, gateway in enumerate(gateways):
        lost = [body for body in gateway.acknowledged if (f"gw{k}", body) not in logged]
        if lost:
            sys.exit(f"gateway {k}: {len(lost)} bodies were acknowledged and are not in the log")
        figures.acknowledged += len(gateway.acknowledged)
        figures.packets += gateway.packets
    found = finish(data)
    expected = undisturbed(data / "log", folder / "again")
    problems = crash.compare(expected, found)
    if problems:
        sys.exit("\n".join(["the alerts are not those of an undisturbed line:", *problems[:20]]))
    figures.alerts = len(expected["alerts"])
    if not figures.alerts:
        sys.exit("no alert at all: this proves nothing")


def report(figures: Figures) -> str:
    """Say what was done."""
    by_kind = ", ".join(f"{count} at {kind}" for kind, count in sorted(figures.kills.items()))
    replayed = sorted(figures.replayed)
    ready = sorted(figures.ready_s)
    return (
        f"{figures.kills.total()} kills ({by_kind}), {figures.starts} starts; {figures.acknowledged:,} bodies with "
        f"{figures.packets:,} packets acknowledged, all in the log; {figures.alerts} alerts, with queue, history and "
        f"accounts those of an undisturbed line. Gone through again at a start: {_middle(replayed)} entries (half), "
        f"{replayed[-1]} (most). Listening after {_middle(ready):.1f} s (half), {ready[-1]:.1f} s (most). "
        f"{figures.seconds:.0f} s"
    )


def _middle(values: list[float]) -> float:
    return values[len(values) // 2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-crash-") as temporary:
        print(f"seed {given.seed}", flush=True)
        print(report(main(given.kills, given.seed, Path(temporary))))
