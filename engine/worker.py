"""A worker: the lines of some partitions of a log on Redis, one thread each, for as long as their leases hold.

Which partitions is plain configuration. Two workers that are given the same one do no harm: the first has its lease,
the second waits for it. A line goes on from the checkpoint in the partition's folder, which is all that another machine
needs to take it over; where there is none it begins at the oldest entry that the log has.

Four things keep a worker that stood still and comes back from writing: it looks at its own lease before each step; its
folder is locked until it has let go of it; checkpoints get no name in a folder whose fence holds another token; the
queue takes no alerts with an older token.
"""

import gc
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import polars as pl
import uvicorn

from engine import answered
from engine.config import Settings
from engine.durable import DurableLine, Step, Tenure, Upkeep
from engine.fence import Fence, FencedError, locked
from engine.load import Loaded, load
from engine.metrics import Metrics, QueueDepth
from engine.problems import Problems
from engine.service import READY_LAG_S, listen
from ingest.logfile import LogError
from ingest.server.openapi import Standing
from ingest.server.watch import build
from ingest.streams.lease import Lease, LeaseLostError, release, take
from ingest.streams.log import MOST_PARTITIONS, StreamLog
from ingest.streams.partition import PartitionLog
from ingest.streams.server import connect

__all__ = ["FencedSink", "Worker", "folder_of", "partitions_of"]

_LOGGER = logging.getLogger("vigie.worker")
_AGAIN_S = 0.5
_KEEP_S = 1.0
_HTTP_END_S = 5.0
_SHOWN = 20
_LOG = "log"  # a condition, see `Problems`


class FencedSink(Protocol):
    """The queue, for workers that may be replaced."""

    def fence(self, name: str, token: int) -> None:
        """Take nothing more of `name` from who has a smaller token; raises `FencedError`."""

    def apply(self, alerts: pl.DataFrame, fence: tuple[str, int] | None = None) -> object:
        """Take rows from who has that token; raises `FencedError`."""


def folder_of(data: Path, partition: int) -> Path:
    """Where the line of a partition keeps checkpoints, history and quarantine."""
    return data / f"partition-{partition:03d}"


def _processes() -> str:
    """Name the set of processes that this one can see: that of a machine since its start, or of a container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return "elsewhere"


def _is_gone(who: str) -> bool:
    """Whether a worker was a process of those that we can see, and is no more."""
    head, _, processes = who.rpartition(" of ")
    number = head.rpartition(" ")[2]
    if processes != _processes() or processes == "elsewhere" or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def partitions_of(text: str) -> list[int]:
    """Read partitions from ``0-7`` or ``0,3,8-11``.

    Raises
    ------
    ValueError
        It is something else, or names one twice.
    """
    out: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash) and len(part) < 12):
            msg = f"shards {text!r}: legal are numbers and ranges, as 0-7 or 0,3,8-11"
            raise ValueError(msg)
        out += range(int(first), int(last or first) + 1)
    if len(set(out)) < len(out) or not 0 < len(out) <= MOST_PARTITIONS:
        msg = f"shards {text!r}: 1 to {MOST_PARTITIONS} different partitions are legal"
        raise ValueError(msg)
    return out


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    line: DurableLine | None
    """None while it is being put together, which may take longer than a lease lasts."""


class Worker:
    """Works on partitions of the log.

    Parameters
    ----------
    settings : Settings
        With `log` the address of a Redis server.
    partitions : several int
    sink : FencedSink
    depth : callable
        Gives the queue's depth, for the metrics.

    Raises
    ------
    LogError, ValueError, ConfigError, ProtocolError
        It cannot start; the message says why.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Sequence[int],
        sink: FencedSink,
        depth: Callable[[], list[QueueDepth]] = list,
    ) -> None:
        self.settings = settings
        self.partitions = tuple(partitions)
        self.noted = Problems()
        self.metrics = Metrics(depth)
        self._sink = sink
        self._loaded: Loaded = load(
            settings.protocols,
            limits=settings.limits,
            enrolment=settings.enrolment,
            at_ms=time.time_ns() // 1_000_000,
            zone=settings.zone,
        )
        answered.at_start(settings, self._loaded.program.protocols, self.metrics.registry)
        # Makes the log where there is none; and says what the server may lose.
        with StreamLog(settings.log, settings.partitions) as log:
            self.log_id, self.log_name = log.id, log.name
            wrong = [k for k in self.partitions if not 0 <= k < log.partitions]
            if wrong:
                msg = f"{log.name}: partitions {wrong}: the log has 0 to {log.partitions - 1}"
                raise ValueError(msg)
            for problem in log.problems:
                self.noted.stands(problem, problem)  # of the server's settings: looked at once
        self._client = connect(settings.log)
        self._who = f"{socket.gethostname()} process {os.getpid()} of {_processes()}"
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._held: dict[int, _Held] = {}
        self._change = threading.Lock()
        self.metrics.follow(self.lines)

    # What is asked of it -------------------------------------------------------------------------------------

    def lines(self) -> list[DurableLine]:
        """Give the lines that it has now."""
        with self._change:
            return [held.line for held in self._held.values() if held.line is not None]

    def standing(self) -> Standing:
        """Say how far it is; not ready while a partition is not its own, or is behind."""
        lines = self.lines()
        lag_s = max((line.lag_s() for line in lines), default=0.0)
        problems = [*self.noted.told(), *(problem for line in lines for problem in line.problems)]
        problems = list(dict.fromkeys(problems))[-_SHOWN:]
        missing = len(self.partitions) - len(lines)
        if missing:
            problems.append(f"{missing} of {len(self.partitions)} partitions are not held by this worker")
        balanced = not any(line.unbalanced for line in lines)
        behind = sum(max(0, line.log.next_offset - line.next_offset) for line in lines)
        return Standing(
            ready=self._failed is None and not missing and balanced and lag_s < READY_LAG_S,
            lag_entries=behind,
            lag_packets=behind,
            lag_s=round(lag_s, 3),
            problems=problems,
        )

    def expose(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return self.metrics.expose()

    def stop(self) -> None:
        """Ask it to stop; safe from any thread and from a signal's handler."""
        self._asked.put(None)

    # Running -------------------------------------------------------------------------------------------------

    def run(self, ready: Callable[[str], None] = lambda _address: None) -> None:
        """Work until `stop`, or until something fails for good; then checkpoint and give the leases back.

        Parameters
        ----------
        ready : callable
            Told where ``/healthz``, ``/readyz`` and ``/metrics`` are.

        Raises
        ------
        OSError
            It cannot listen there.
        Exception
            What failed.
        """
        listening = listen(self.settings.host, self.settings.port)
        config = uvicorn.Config(
            build(self), loop="uvloop", lifespan="off", log_config=None, access_log=False, server_header=False
        )
        server = uvicorn.Server(config)
        serving = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
        serving.start()
        host, port = listening.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        gc.collect()
        gc.freeze()  # see engine.service
        threads = [
            threading.Thread(target=self._serve, args=(k,), name=f"partition {k}", daemon=True)
            for k in self.partitions
        ]
        self.noted.say(_LOGGER, logging.WARNING)
        for thread in threads:
            thread.start()
        keep_s = min(_KEEP_S, self.settings.lease_s / 4)
        while True:
            with suppress(queue.Empty):
                self._asked.get(timeout=keep_s)
                break
            self._keep()
        _LOGGER.info("stopping")
        self._stop.set()
        # The leases are kept meanwhile: a last checkpoint may take longer than they last.
        while any(thread.is_alive() for thread in threads):
            threads = [thread for thread in threads if thread.is_alive()]
            if threads:
                threads[0].join(keep_s)
            self._keep()
        server.should_exit = True
        # A thread within its event loop while the interpreter is taken down would end the process by a signal.
        serving.join(_HTTP_END_S)
        self._client.close()
        if self._failed is not None:
            raise self._failed

    def _keep(self) -> None:
        """Renew the leases, and acknowledge what checkpoints have."""
        with self._change:
            held = list(self._held.values())
        for each in held:
            try:
                each.lease.keep(None if each.line is None else each.line.next_offset)
                if each.line is not None and each.line.committed_offset is not None:
                    each.lease.commit(each.line.committed_offset)
            except LeaseLostError as error:
                self.noted.event(str(error))
            except LogError as error:
                self.noted.stands(_LOG, str(error))
                break  # it is away for the others too, and each would wait for its answer
        else:
            self.noted.ended(_LOG)
        self.noted.say(_LOGGER, logging.WARNING)
        for line in self.lines():
            line.noted.say(_LOGGER, logging.WARNING)

    def _serve(self, partition: int) -> None:
        while not self._stop.is_set():
            try:
                lease = self._lease(partition)
                if lease is not None:
                    self._work(partition, lease)
            except (LeaseLostError, FencedError) as error:
                self.noted.ended(f"folder {partition}")
                self.noted.event(f"partition {partition}: given up: {error}")
            except LogError as error:
                if not error.passes:
                    self._fail(partition, error)
                    return
                self.noted.stands(f"partition {partition}", str(error))
                self._stop.wait(_AGAIN_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker ends in order
                self._fail(partition, error)
                return

    def _fail(self, partition: int, error: Exception) -> None:
        _LOGGER.critical("partition %d failed: %s", partition, error)
        self._failed = error
        self.stop()

    def _lease(self, partition: int) -> Lease | None:
        """Wait for the lease of a partition; None: it is time to stop."""
        said = ""
        while not self._stop.is_set():
            found = take(
                self._client, self.log_name, self.log_id, partition, self._who, self.settings.lease_s
            )
            if isinstance(found, Lease):
                return found
            if _is_gone(found):
                # Killed, and started again as we: nobody need wait until its lease ends.
                release(self._client, self.log_name, partition, found)
                continue
            if found != said:
                said = found
                _LOGGER.info(
                    "partition %d: held by %s, waiting", partition, found.rpartition(" of ")[0] or found
                )
            self._stop.wait(_AGAIN_S)
        return None

    def _work(self, partition: int, lease: Lease) -> None:
        name = f"{self.log_id}:{partition}"
        fence = (name, lease.token)
        with ExitStack() as stack:
            stack.callback(lease.leave)
            stack.callback(self._hold, partition, None)
            self._hold(partition, _Held(lease, None))
            folder = folder_of(self.settings.data, partition)
            stack.enter_context(locked(folder, partial(self._wait_for_folder, partition, lease)))
            self.noted.ended(f"folder {partition}")
            self._sink.fence(*fence)
            mark = Fence.put(folder, lease.token)

            def hold() -> None:
                lease.check()
                mark.check()

            line = DurableLine(
                folder,
                self._loaded.program,
                sink=lambda rows: self._sink.apply(rows, fence),
                roster=self._loaded.roster,
                upkeep=self._upkeep(),
                watch=self._stepped,
                tenure=Tenure(PartitionLog(self.settings.log, partition), mark, hold),
            )
            with line:
                self._hold(partition, _Held(lease, line))
                at = line.committed_offset
                start = "no checkpoint" if at is None else f"checkpoint at offset {at}"
                _LOGGER.info("partition %d: token %d, %s", partition, lease.token, start)
                self.noted.ended(f"partition {partition}")
                self._run(line, lease)
            # Its last checkpoint is written now.
            with suppress(LogError):
                lease.commit(line.committed_offset or 0)

    def _wait_for_folder(self, partition: int, lease: Lease, process: str) -> None:
        """Wait for a worker of this machine that lost its lease and is not gone yet: it may be writing."""
        lease.check()
        if self._stop.is_set():
            msg = f"partition {partition}: stopped while process {process} had its folder"
            raise LeaseLostError(msg)
        waiting = f"partition {partition}: process {process} lost its lease and still has the folder; waiting"
        self.noted.stands(f"folder {partition}", waiting)
        self._stop.wait(_AGAIN_S / 5)

    def _run(self, line: DurableLine, lease: Lease) -> None:
        """Keep a line going over what passes, for as long as the lease holds."""
        while not self._stop.is_set():
            try:
                line.run(self._stop)
            except (LeaseLostError, FencedError):
                raise
            except Exception as error:
                lease.check()
                if not line.sound:
                    raise
                line.stuck(error)
                self._stop.wait(_AGAIN_S)

    def _hold(self, partition: int, held: _Held | None) -> None:
        with self._change:
            if held is None:
                self._held.pop(partition, None)
            else:
                self._held[partition] = held

    def _upkeep(self) -> Upkeep:
        settings = self.settings
        return Upkeep(
            checkpoint_s=settings.checkpoint_s,
            keep_days=settings.keep_days,
            history_rows=200_000 if settings.history else 0,
        )

    def _stepped(self, step: Step) -> None:
        with self._change:
            self.metrics.stepped(step)
