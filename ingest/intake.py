"""Intake: the one way from a sender to the log, for HTTP, WebSocket and bridges.

Bodies wait in a bounded queue; one thread takes all that wait, has them judged together (`ingest.admission`), and
appends them together, so that a group shares one call of the decoder and one fsync. A sender's ticket is answered
when the log has what it sent on the disk, not before.
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Protocol

from ingest.admission import Admission, Answer, Body
from ingest.appender import Appender
from ingest.logfile import LogBusyError, LogClosedError, LogError

__all__ = ["Group", "Intake", "Observer"]

_GROUP_BODIES = 4096
_GROUP_BYTES = 16 << 20
_WAITING_BYTES = 64 << 20
_WAITING_BODIES = 65_536


@dataclass(slots=True)
class Group:
    """Bodies that were judged and logged together."""

    bodies: list[Body]
    tickets: "list[Future[Answer]]"
    answers: list[Answer] = field(default_factory=list)
    entries: int = 0
    begun_s: float = 0.0
    judged_s: float = 0.0
    logged_s: float = 0.0


class Observer(Protocol):
    """Told of each group when it is durable; from the log's thread, so it is quick."""

    def __call__(self, group: Group) -> None:
        """Take note."""


class Intake:
    """Takes bodies from any thread.

    Parameters
    ----------
    log : Appender
    admission : Admission
        Used by the intake's thread alone.
    observer : callable, optional
        See `Observer`.
    """

    def __init__(self, log: Appender, admission: Admission, observer: Observer | None = None) -> None:
        self._log = log
        self._admission = admission
        self._observer = observer
        self._change = threading.Condition()
        self._queue: list[tuple[Body, Future[Answer]]] = []
        self._queued = 0
        self._closing = False
        self._spoilt = False  # what was judged did not come into the log
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> tuple[int, int]:
        """Bodies and bytes that wait to be judged."""
        with self._change:
            return len(self._queue), self._queued

    def put(self, body: Body) -> "Future[Answer]":
        """Hand in a body; never waits.

        Returns
        -------
        Future of Answer
            Its result says that the body is on the disk; its exception is a `LogError`, and nothing of the body is.

        Raises
        ------
        LogBusyError
            Too much waits already.
        LogClosedError
            The intake was closed.
        """
        ticket: Future[Answer] = Future()
        with self._change:
            if self._closing:
                msg = "the intake is closed"
                raise LogClosedError(msg)
            if self._queued + len(body.data) > _WAITING_BYTES or len(self._queue) >= _WAITING_BODIES:
                msg = f"{self._queued} bytes in {len(self._queue)} bodies wait already; try later"
                raise LogBusyError(msg)
            self._queue.append((body, ticket))
            self._queued += len(body.data)
            self._change.notify()
        return ticket

    def close(self) -> None:
        """Judge and log what waits, then stop."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._take():
            try:
                self._admit(group)
            except Exception as error:  # noqa: BLE001 - whatever it is, each sender must hear of it
                _refuse(group, error if isinstance(error, LogError) else LogError(f"intake: {error!r}"))

    def _take(self) -> Group | None:
        """Wait for bodies, and take as many as go together."""
        with self._change:
            self._change.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            count = size = 0
            for body, _ in self._queue[:_GROUP_BODIES]:
                size += len(body.data)
                if count and size > _GROUP_BYTES:
                    size -= len(body.data)
                    break
                count += 1
            taken, self._queue = self._queue[:count], self._queue[count:]
            self._queued -= size
        alive = [(body, ticket) for body, ticket in taken if ticket.set_running_or_notify_cancel()]
        return Group([body for body, _ in alive], [ticket for _, ticket in alive], begun_s=monotonic())

    def _admit(self, group: Group) -> None:
        if not group.bodies:
            return
        if self._spoilt:
            self._spoilt = False
            self._admission.forget()
        judged = self._admission.judge(group.bodies)
        group.answers = [answer for answer, _ in judged]
        group.judged_s = monotonic()
        entries = [
            (source, data, body.receipt_ms)
            for body, (_, parts) in zip(group.bodies, judged, strict=True)
            for source, data in parts
            if data
        ]
        group.entries = len(entries)
        if not entries:
            self._answer(group, None)
            return
        try:
            tickets = self._log.append_many(entries)
        except LogError:
            self._spoilt = True
            raise
        # Handed in together, they are on the disk together: the last one speaks for all.
        tickets[-1].add_done_callback(partial(self._answer, group))

    def _answer(self, group: Group, ticket: "Future[int] | None") -> None:
        error = ticket.exception() if ticket is not None else None
        if error is not None:
            self._spoilt = True
            _refuse(group, error)
            return
        group.logged_s = monotonic()
        for waiting, answer in zip(group.tickets, group.answers, strict=True):
            waiting.set_result(answer)
        if self._observer is not None:
            self._observer(group)


def _refuse(group: Group, error: BaseException) -> None:
    for ticket in group.tickets:
        if not ticket.done():
            ticket.set_exception(error)
