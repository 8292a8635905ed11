"""The service: intake, log, line and queue in one process, until it is told to stop.

    HTTP, WebSocket ─► intake ─► log ─► line ─► queue        each arrow a thread's work, the log between them durable

Three threads: the server's event loop, the intake's, the line's (and the line's own for its shards). They meet in
the log only: what is acknowledged is there, and the line takes it from there, so that an engine that falls behind
makes the log longer and not the memory larger.
"""

import gc
import json
import logging
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import uvicorn

from engine import answered
from engine.config import Settings
from engine.courier import Courier, Outbox
from engine.durable import DurableLine, Sink, Step, Upkeep
from engine.enrolment import Enrolled
from engine.enrolment import read as read_enrolment
from engine.load import Loaded, load
from engine.metrics import Metrics, QueueDepth
from ingest.admission import Admission, Hashes, hashes
from ingest.appender import Appender
from ingest.decode import Decoder
from ingest.intake import Group, Intake
from ingest.log import Log
from ingest.server.app import build
from ingest.server.guard import guarded
from ingest.server.openapi import RefusedPacket, Standing
from ingest.signals import plausible_ranges
from ingest.sources import Source, SourceError, Sources

__all__ = ["READY_LAG_S", "Service", "Stoppable", "listen", "messages", "stopped_by_signals"]

_LOGGER = logging.getLogger("vigie")
READY_LAG_S = 10.0
"""A line that is further behind is not ready."""

_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits for it (Python's default is ten times that). An answer
passes through four threads: with the default, each handover behind a busy line costs up to 5 ms."""

_HISTORY_ROWS = 200_000
"""Readings of one commit of history. The line waits for it: 1,000,000 took 0.3 s, in which no alert came."""

_FLUSH_S = 5.0
_AGAIN_S = 1.0
_ALIVE_S = 0.2
_PROBLEMS_SHOWN = 20


class Service:
    """The service.

    Parameters
    ----------
    settings : Settings
    sink : Sink
        The queue.
    depth : callable
        Gives the queue's depth, for the metrics.
    outbox : Outbox, optional
        What the cell did, for the log.

    Raises
    ------
    ConfigError, ProtocolError, LogError, CheckpointError, HistoryError, SourceError
        It cannot start; the message says why.
    """

    def __init__(
        self,
        settings: Settings,
        sink: Sink,
        depth: Callable[[], Iterable[QueueDepth]] = lambda: (),
        outbox: Outbox | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics(depth)
        self._stop = threading.Event()
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._failed: BaseException | None = None
        self._open = ExitStack()
        self._packets = 0
        self._entries = 0
        try:
            log = self._build(settings, sink)
            self._courier = Courier(outbox, log) if outbox is not None else None
        except BaseException:
            self._open.close()
            raise

    def _build(self, settings: Settings, sink: Sink) -> Appender:
        now_ms = time.time_ns() // 1_000_000
        loaded = load(
            settings.protocols,
            limits=settings.limits,
            enrolment=settings.enrolment,
            at_ms=now_ms,
            zone=settings.zone,
        )
        answered.at_start(settings, loaded.program.protocols, self.metrics.registry)
        self.sources = Sources(folder_of_sources(settings))
        self._open.callback(self.sources.close)
        log = self._open_log(loaded, sink)
        self.intake = Intake(log, _admission(settings, loaded, now_ms), self._logged)
        self._open.callback(self.intake.close)
        self.metrics.follow(self.lines, self.intake)
        self.app = build(self.intake, self.sources, self, body_s=settings.body_s, hold_s=settings.hold_s)
        return log

    def _open_log(self, loaded: Loaded, sink: Sink) -> Appender:
        """Open what takes the bodies, and what is behind it."""
        settings = self.settings
        upkeep = Upkeep(
            checkpoint_s=settings.checkpoint_s,
            keep_days=settings.keep_days,
            history_rows=_HISTORY_ROWS if settings.history else 0,
        )
        self.line = DurableLine(
            settings.data,
            loaded.program,
            sink=sink,
            shards=settings.shards,
            roster=loaded.roster,
            upkeep=upkeep,
            watch=self._stepped,
        )
        self._open.push(self.line.__exit__)
        log = self.line.log
        assert isinstance(log, Log)  # noqa: S101 - a line without tenure has opened a file
        return log

    def lines(self) -> list[DurableLine]:
        """Give the lines of this process."""
        return [self.line]

    # What the interface asks for -----------------------------------------------------------------------------

    def standing(self) -> Standing:
        """Say how far the line is."""
        line = self.line
        entries = max(0, line.log.next_offset - line.next_offset)
        lag_s = line.lag_s() if entries else 0.0
        problems = line.problems[-_PROBLEMS_SHOWN:] + self._also()
        if line.log.checkpoint_problem:
            problems.append(line.log.checkpoint_problem)
        mean = self._packets / self._entries if self._entries else 1.0
        ready = self._failed is None and not line.unbalanced and lag_s < READY_LAG_S
        return Standing(
            ready=ready,
            lag_entries=entries,
            lag_packets=round(entries * mean),
            lag_s=round(lag_s, 3),
            problems=problems,
        )

    def _also(self) -> list[str]:
        """What is wrong beside the line."""
        said = [str(self._failed)] if self._failed is not None else []
        if self._courier is not None and self._courier.problem:
            said.append(self._courier.problem)
        return said

    def expose(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return self.metrics.expose()

    def refused(self, source: str, after: tuple[int, int], at_most: int) -> list[RefusedPacket]:
        """Give rows of quarantine of a source."""
        return [
            RefusedPacket(
                offset=row.offset, at=row.at, receipt_ms=row.receipt_ms, reason=row.reason, raw=row.raw.hex()
            )
            for row in self.line.refused.read(source, after, at_most)
        ]

    def answered(self, source: str, status: int, seconds: float) -> None:
        """Take note of an answer to a body."""
        self.metrics.answered(source, status, seconds)

    def _logged(self, group: Group) -> None:
        self.metrics.logged(group)

    def _stepped(self, step: Step) -> None:
        self._entries += step.entries
        self._packets += len(step.done.batch)
        self.metrics.stepped(step)

    # Running -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to stop; safe from any thread and from a signal's handler."""
        # Not an Event: a handler runs between any two steps of the thread that waits, which may hold the Event's lock.
        self._asked.put(None)

    def run(self, ready: Callable[[str], None] = lambda _address: None) -> None:
        """Serve until `stop` is called or something fails for good; then drain, checkpoint and close.

        Parameters
        ----------
        ready : callable
            Told the address once bodies are taken, for example ``http://127.0.0.1:8080``.

        Raises
        ------
        OSError
            It cannot listen at that address.
        Exception
            What failed, after what could be saved was.
        """
        with self._open:
            sys.setswitchinterval(_SWITCH_S)
            listening = listen(self.settings.host, self.settings.port)
            server = self._server()
            serving = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
            working = threading.Thread(target=self._work, name="line", daemon=True)
            self._say_start()
            working.start()
            serving.start()
            if self._courier is not None:
                self._courier.start()
            while not server.started and serving.is_alive():
                time.sleep(0.01)
            scheme = "https" if self.settings.tls_certificate else "http"
            host, port = listening.getsockname()[:2]
            ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
            # What is there by now stays. Now and then Python looks at all of it, 200,000 objects, and every thread
            # stands still for a tenth of a second meanwhile.
            gc.collect()
            gc.freeze()
            asked = self._wait(serving)
            if not asked and self._failed is None:
                self._failed = RuntimeError("the HTTP server ended by itself")
            self._shut_down(server, serving, working)
        if self._failed is not None:
            raise self._failed

    def _server(self) -> uvicorn.Server:
        settings = self.settings
        config = uvicorn.Config(
            self.app,
            loop="uvloop",
            http=guarded(settings.header_s, settings.connections, self.metrics.ended),
            ws="websockets-sansio",
            ws_max_size=16 << 20,
            ws_max_queue=4,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.stop_s / 2)),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        config.load()
        return uvicorn.Server(config)

    def _say_start(self) -> None:
        line = self.line
        line.noted.say(_LOGGER, logging.WARNING)
        self._began = time.monotonic()
        self._behind = line.log.next_offset - line.next_offset
        self._target = line.log.next_offset
        at = line.committed_offset
        start = "no checkpoint" if at is None else f"checkpoint at offset {at}"
        _LOGGER.info("%s; %d entries of the log to go through", start, self._behind)

    def _look(self) -> None:
        """Say what an operator must see; called several times a second."""
        if self._behind and self.line.next_offset >= self._target:
            seconds = time.monotonic() - self._began
            _LOGGER.info("caught up: %d entries of the log in %.1f s", self._behind, seconds)
            self._behind = 0
        self.line.noted.say(_LOGGER)

    def _wait(self, serving: threading.Thread) -> bool:
        """Wait until `stop` (true) or the server's end; meanwhile look after what must be done now and then."""
        flush_due = time.monotonic() + _FLUSH_S
        while serving.is_alive():
            with suppress(queue.Empty):
                self._asked.get(timeout=_ALIVE_S)
                return True
            self._look()
            if time.monotonic() >= flush_due:
                flush_due = time.monotonic() + _FLUSH_S
                try:
                    self.sources.flush()
                except SourceError as error:
                    _LOGGER.error("%s", error)  # noqa: TRY400 - the message says it all
        return False

    def _work(self) -> None:
        """Keep the line going: what passes (a queue that is away, a full disk) is waited for, what does not ends us."""
        while not self._stop.is_set():
            try:
                self.line.run(self._stop)
            except Exception as error:  # noqa: BLE001 - whatever it is, the service ends or goes on in order
                if not self.line.sound:
                    self._failed = error
                    _LOGGER.critical("the line failed: %s", error)
                    self.stop()
                    return
                self.line.stuck(error)
                self._stop.wait(_AGAIN_S)

    def _shut_down(
        self, server: uvicorn.Server, serving: threading.Thread, working: threading.Thread
    ) -> None:
        """Take nothing more, log what was taken, take it through the line as far as time allows, checkpoint."""
        until = time.monotonic() + self.settings.stop_s
        _LOGGER.info("stopping")
        server.should_exit = True
        serving.join(self.settings.stop_s)
        if self._courier is not None:
            self._courier.stop()
        self.intake.close()
        self._stop.set()
        working.join()
        self._drain(until)

    def _drain(self, until: float) -> None:
        """Take what was logged through the line, as far as time allows."""
        if self._failed is None and self.line.sound:
            while time.monotonic() < until and self.line.step():
                pass
        left = self.line.log.next_offset - self.line.next_offset
        if left:
            _LOGGER.info("%d entries of the log are left for the next start", left)
        self.line.noted.say(_LOGGER)  # what came or ended since the last look


def folder_of_sources(settings: Settings) -> Path:
    """Where the sources of a service are."""
    return settings.data / "sources"


def _admission(settings: Settings, loaded: Loaded, now_ms: int) -> Admission:
    decoder = Decoder(*plausible_ranges(loaded.items), raw=False)
    names = [each.id for each in loaded.program.protocols]
    enrolled = read_enrolment(settings.enrolment, names) if settings.enrolment else {}
    going_on = {patient: each for patient, each in enrolled.items() if each.at(now_ms)}
    return Admission(decoder, _Allowed(going_on))


class _Allowed:
    """Which patients each source may send for."""

    def __init__(self, enrolled: dict[str, Enrolled]) -> None:
        self._by_cell: dict[str, list[str]] = {}
        for patient, each in enrolled.items():
            self._by_cell.setdefault(each.cell or "", []).append(patient)
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], Hashes] = {}

    def __call__(self, source: Source) -> Hashes | None:
        if source.everyone:
            return None
        key = source.cells, source.patients
        if key not in self._known:
            patients = [patient for cell in source.cells for patient in self._by_cell.get(cell, ())]
            self._known[key] = hashes([*patients, *source.patients])
        return self._known[key]


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket; OSError with the address where that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        msg = f"{host}:{port}: {error.strerror}"
        raise OSError(msg) from error
    listening.set_inheritable(False)
    return listening


# Messages ----------------------------------------------------------------------------------------------------


class _AsJson(logging.Formatter):
    """A message a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)

    converter = staticmethod(time.gmtime)


def _of_ours(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Invalid UTF-8 sequence")


def messages(settings: Settings) -> None:
    """Send messages to standard error, in the form that the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_AsJson())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It warns of each request that is no HTTP, and shows a traceback of each text that is none: any stranger could fill
    # the disk with that.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_of_ours)


class Stoppable(Protocol):
    """What runs until it is told to stop."""

    def stop(self) -> None:
        """Ask it to; from a signal's handler, so without taking any lock."""


@contextmanager
def stopped_by_signals(
    service: Stoppable, signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)
) -> Iterator[None]:
    """Stop the service when a signal comes; a second one ends the process as it would have."""
    before = {number: signal.getsignal(number) for number in signals}

    def asked(number: int, _frame: object) -> None:
        service.stop()
        signal.signal(number, before[number])

    for number in signals:
        signal.signal(number, asked)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
