"""Several workers on one log, killed and stopped at random: ``make crash-workers ARGS='--kills 100'``.

An intake and two workers share a log on a real Redis. Workers are killed with -9, or stand still for longer than their
lease while a third that is given every partition takes their place, and come back; the intake and the server of the log
are killed too. In the end every body that was acknowledged is in the log, and queue, history and accounts are those of
one line a partition that went through that log once, undisturbed.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import httpx
import polars as pl
import run as crash
import service

import triage.store
from bench import redis_server
from engine import history
from engine.accounts import Accounts
from engine.durable import DurableLine, Tenure
from engine.fence import Fence
from engine.load import load
from engine.worker import folder_of
from ingest.sources import Source, Sources
from ingest.streams.log import StreamLog
from ingest.streams.partition import PartitionLog

PARTITIONS = 4
LEASE_S = 1.0


class Process(service.Service):
    """A process of Vigie on the log."""

    def __init__(self, folder: Path, figures: service.Figures, url: str, *verb: str) -> None:
        super().__init__(folder, figures)
        self._options = [
            *verb,
            "--data",
            str(folder),
            "--port",
            "0",
            "--protocol",
            service.PROTOCOL,
            "--log",
            url,
        ]

    def command(self) -> list[str]:
        """Give the verb and its options."""
        return self._options

    def pause(self) -> None:
        """Let it stand still, with its children."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def again(self) -> None:
        """Start it again after its end."""
        self.start()
        self.wait_up()


def readings(folder: Path) -> list[tuple[object, ...]]:
    """Give history of all partitions."""
    tables = [history.read(folder_of(folder, k) / "history").collect() for k in range(PARTITIONS)]
    return sorted(pl.concat(tables).rows())


def finish(folder: Path, url: str) -> "crash.Outcome":
    """Open the line of each partition where it is, take it to the end of the log, and give what all left behind."""
    loaded = load([service.PROTOCOL])
    accounts = []
    folder.mkdir(exist_ok=True)
    with triage.store.open(folder / "queue.sqlite") as store:
        for k in range(PARTITIONS):
            mark = Fence.put(folder_of(folder, k), 1 << 40)
            tenure = Tenure(PartitionLog(url, k), mark, mark.check)
            with DurableLine(
                folder_of(folder, k), loaded.program, sink=store.apply, roster=loaded.roster, tenure=tenure
            ) as line:
                while line.next_offset < line.log.next_offset:
                    line.catch_up()
                accounts.append(line.accounts())
                end = line.next_offset
    total = Accounts.together(accounts)
    if not total.balanced:
        sys.exit(f"accounts do not balance: {total.by_source}")
    found = crash.outcome(folder, f"{end} {total.total}", readings(folder))
    return {**found, "by source": sorted((name, str(each)) for name, each in total.by_source.items())}


def main(kills: int, seed: int, folder: Path) -> service.Figures:
    """Torment the workers until there were so many kills; exit with what is wrong where anything is."""
    rng = random.Random(seed)
    figures = service.Figures()
    began = time.monotonic()
    data = folder / "data"
    data.mkdir()
    os.environ["VIGIE_LEASE_S"] = str(LEASE_S)
    os.environ["VIGIE_WEB"] = "false"
    sources = Sources(data / "sources")
    keys = [
        sources.create(Source(f"gw{k}", everyone=True, limits=service._GENEROUS), "test")
        for k in range(service.GATEWAYS)
    ]
    sources.close()
    with redis_server.Server(folder / "redis", "--appendfsync", "everysec") as server:
        StreamLog(server.url, PARTITIONS).close()
        intake = Process(data, figures, server.url, "serve")
        workers = [
            Process(data, figures, server.url, "work", "--shards", shards) for shards in ("0-1", "2,3", "0-3")
        ]
        with intake, workers[0], workers[1], workers[2]:
            gateways = _torment(server, intake, workers, keys, kills, rng)
        _compare(folder, data, server.url, gateways, figures)
    figures.seconds = time.monotonic() - began
    return figures


def _torment(
    server: "redis_server.Server",
    intake: Process,
    workers: list[Process],
    keys: list[str],
    kills: int,
    rng: random.Random,
) -> "list[service.Gateway]":
    figures = intake.figures
    stop = threading.Event()
    gateways = [service.Gateway(k, key, intake, stop, unsure=True) for k, key in enumerate(keys)]
    for each in (intake, *workers):
        each.start()
    for each in (intake, *workers):
        each.wait_up()
    for gateway in gateways:
        gateway.start()
    while figures.kills.total() < kills:
        time.sleep(rng.uniform(0.2, 2.0))
        kind = rng.choice(("worker", "worker", "worker", "still", "still", "intake", "server"))
        for gateway in gateways:
            if not gateway.failure.empty():
                raise gateway.failure.get()
        _strike(kind, server, intake, rng.choice(workers), rng)
        figures.kills[kind] += 1
        if figures.kills.total() % 10 == 0:
            print(
                f"{figures.kills.total()} kills, {sum(len(g.acknowledged) for g in gateways)} bodies",
                flush=True,
            )
    time.sleep(1.0)
    stop.set()
    for gateway in gateways:
        gateway.join(60)
        if not gateway.failure.empty():
            raise gateway.failure.get()
    _caught_up(intake)
    for each in (*workers, intake):
        status = each.end(signal.SIGTERM)
        if status:
            sys.exit(f"a process ended with status {status}:\n" + "".join(each.lines[-40:]))
    return gateways


def _strike(
    kind: str, server: "redis_server.Server", intake: Process, worker: Process, rng: random.Random
) -> None:
    if kind == "worker":
        worker.end(signal.SIGKILL, everybody=rng.random() < 0.5)
        worker.again()
    elif kind == "still":
        worker.pause()
        time.sleep(rng.uniform(0.5, 2.5) * LEASE_S)
        worker.resume()
    elif kind == "intake":
        intake.end(signal.SIGKILL)
        intake.again()
    else:
        server.end()
        time.sleep(rng.uniform(0.0, 1.5))
        server.start()


def _caught_up(intake: Process) -> None:
    until = time.monotonic() + service.UP_S
    while time.monotonic() < until:
        said = httpx.get(intake.url + "/readyz", timeout=20).json()
        if not said["lag_entries"]:
            return
        time.sleep(0.1)
    sys.exit(f"the workers do not come to the end: {said}")


def _compare(
    folder: Path, data: Path, url: str, gateways: "list[service.Gateway]", figures: service.Figures
) -> None:
    logged: dict[str, set[bytes]] = {}
    for k in range(PARTITIONS):
        with PartitionLog(url, k) as log:
            at = 0
            while entries := log.read(at):
                for entry in entries:
                    logged.setdefault(entry.source, set()).update(service.packets(entry.body))
                at = entries[-1].offset + 1
    for k, gateway in enumerate(gateways):
        there = logged.get(f"gw{k}", set())
        lost = [
            packet for body in gateway.acknowledged for packet in service.packets(body) if packet not in there
        ]
        if lost:
            sys.exit(f"gateway {k}: {len(lost)} packets were acknowledged and are not in the log")
        figures.acknowledged += len(gateway.acknowledged)
        figures.packets += gateway.packets
    found = finish(data, url)
    expected = finish(folder / "again", url)
    problems = crash.compare(expected, found)
    if problems:
        sys.exit(
            "\n".join(["queue, history or accounts are not those of undisturbed lines:", *problems[:20]])
        )
    figures.alerts = len(expected["alerts"])
    if not figures.alerts:
        sys.exit("no alert at all: this proves nothing")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-crash-") as temporary:
        print(f"seed {given.seed}", flush=True)
        done = main(given.kills, given.seed, Path(temporary))
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.kills.items()))
        print(
            f"{done.kills.total()} kills ({kinds}), {done.starts} starts; {done.acknowledged:,} bodies with "
            f"{done.packets:,} packets acknowledged, all in the log; {done.alerts} alerts, with queue, history and "
            f"accounts those of undisturbed lines. {done.seconds:.0f} s"
        )
