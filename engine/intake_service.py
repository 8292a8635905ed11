"""The service without a line: intake into a log on Redis, whose partitions others work on (`engine.worker`)."""

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress

from engine.config import Settings
from engine.courier import Outbox
from engine.durable import DurableLine, Sink
from engine.load import Loaded
from engine.metrics import QueueDepth
from engine.problems import Problems
from engine.refused import Refused, RefusedError, Row
from engine.service import READY_LAG_S, Service
from engine.worker import folder_of
from ingest.appender import HEARTBEAT, Appender
from ingest.logfile import LogBusyError, LogError
from ingest.server.openapi import RefusedPacket, Standing
from ingest.streams.log import StreamLog

__all__ = ["IntakeService"]

_LOGGER = logging.getLogger("vigie")
_BEAT_S = 60.0


class IntakeService(Service):
    """Takes bodies into a log on Redis.

    It says every minute that it hears: a time in which no intake does is an outage of Vigie, and nobody's silence.

    Parameters and errors as of `Service`; `settings.log` is the server's address, and nothing goes to the queue.
    """

    def __init__(
        self,
        settings: Settings,
        depth: Callable[[], Iterable[QueueDepth]] = lambda: (),
        outbox: Outbox | None = None,
    ) -> None:
        self._noted = Problems()
        self._beat_due = 0.0
        super().__init__(settings, lambda _: None, depth, outbox)

    def _open_log(self, loaded: Loaded, sink: Sink) -> Appender:  # noqa: ARG002 - the workers have both
        self._log = StreamLog(self.settings.log, self.settings.partitions)
        self._open.callback(self._log.close)
        for problem in self._log.problems:
            self._noted.stands(problem, problem)  # of the server's settings: looked at once
        return self._log

    def lines(self) -> list[DurableLine]:
        """Give the lines of this process: there is none."""
        return []

    def standing(self) -> Standing:
        """Say how far the workers are; not ready where the server of the log does not say."""
        problems = self._noted.told() + self._also()
        try:
            behind = max(0, self._log.next_offset - self._log.slowest)
            lag_s = self._log.behind_s() if behind else 0.0
        except LogError as error:
            return Standing(
                ready=False, lag_entries=0, lag_packets=0, lag_s=0.0, problems=[*problems, str(error)]
            )
        if lag_s >= READY_LAG_S:
            problems.append(f"a partition is {lag_s:.0f} s behind: its worker is slow, or there is none")
        return Standing(
            ready=self._failed is None,
            lag_entries=behind,
            lag_packets=behind,
            lag_s=round(lag_s, 3),
            problems=problems,
        )

    def refused(self, source: str, after: tuple[int, int], at_most: int) -> list[RefusedPacket]:
        """Give rows of quarantine of a source, as far as workers keep them in the folder of this service."""
        rows: list[Row] = []
        for k in range(self._log.partitions):
            path = folder_of(self.settings.data, k) / "quarantine"
            if path.exists():
                with suppress(RefusedError):
                    refused = Refused(path)
                    rows += refused.read(source, after, at_most)
                    refused.close()
        rows.sort(key=lambda row: (row.offset, row.at))
        return [
            RefusedPacket(
                offset=row.offset, at=row.at, receipt_ms=row.receipt_ms, reason=row.reason, raw=row.raw.hex()
            )
            for row in rows[:at_most]
        ]

    def _say_start(self) -> None:
        self._noted.say(_LOGGER, logging.WARNING)
        _LOGGER.info(
            "log %s, %d partitions, at offset %d", self._log.name, self._log.partitions, self._log.next_offset
        )

    def _look(self) -> None:
        now = time.monotonic()
        if now >= self._beat_due:
            self._beat_due = now + _BEAT_S
            with suppress(LogBusyError):  # then there is more than enough to hear
                self._log.append(HEARTBEAT, b"", time.time_ns() // 1_000_000, 0).add_done_callback(
                    self._beaten
                )
        self._noted.say(_LOGGER)

    def _beaten(self, ticket: "Future[int]") -> None:
        error = None if ticket.cancelled() else ticket.exception()
        if error is None:
            self._noted.ended(HEARTBEAT)
        else:
            self._beat_due = time.monotonic() + 1.0  # soon again: a silence of the log is an outage
            self._noted.stands(HEARTBEAT, f"heartbeat: {error}")

    def _work(self) -> None:
        """Do nothing: others work."""

    def _drain(self, until: float) -> None:
        """Leave what was logged to the workers."""
