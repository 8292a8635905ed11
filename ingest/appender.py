"""Appending in groups: callers hand in batches from any thread, one thread writes all that waits at once.

While it waits for the disk the next group forms, so that the cost of an fsync is shared by as many as there are. This
is what the logs have in common; how a group is written is theirs.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import Future

from ingest.logfile import LogBusyError, LogClosedError, LogError

__all__ = ["HEARTBEAT", "MAX_BODY", "MAX_SOURCE", "Appender", "Waiting"]

HEARTBEAT = "heartbeat"
"""Source of the empty entries by which a line says that it hears: a gap in all entries is an outage."""

MAX_BODY = 16 << 20  # bytes of one batch
MAX_SOURCE = 200  # bytes of a source's name


class Waiting:
    """A batch in the queue."""

    __slots__ = ("body", "receipt_ms", "source", "ticket")

    def __init__(self, source: bytes, body: bytes, receipt_ms: int) -> None:
        self.source = source
        self.body = body
        self.receipt_ms = receipt_ms
        self.ticket: Future[int] = Future()


def waiting_of(source: str, body: bytes, receipt_ms: int) -> Waiting:
    name = source.encode()
    if not 1 <= len(name) <= MAX_SOURCE:
        msg = f"a source's name of {len(name)} bytes: legal are 1 to {MAX_SOURCE}"
        raise ValueError(msg)
    if len(body) > MAX_BODY:
        msg = f"a batch of {len(body)} bytes: legal are 0 to {MAX_BODY}"
        raise ValueError(msg)
    if not 0 <= receipt_ms < 1 << 62:
        msg = f"receipt time {receipt_ms}: legal are milliseconds since 1970"
        raise ValueError(msg)
    return Waiting(name, bytes(body), int(receipt_ms))


class Appender(ABC):
    """The queue of batches and the thread that writes them; a log is one of these.

    Parameters
    ----------
    name : str
        Of the log, for messages.
    queue_bytes : int
        Bodies that may wait. As many again are in the hands of the writer.
    """

    def __init__(self, name: str, queue_bytes: int) -> None:
        self._name = name
        self._queue_bytes = max(queue_bytes, MAX_BODY)
        self._change = (
            threading.Condition()
        )  # guards all below, and what a log says that its readers wait for
        self._queue: list[Waiting] = []
        self._queued = 0
        self._closing = False
        self._failed: LogError | None = None
        self._writer = threading.Thread(target=self._write_groups, name=f"log {name}", daemon=True)

    @abstractmethod
    def _write(self, group: list[Waiting]) -> int:
        """Write a group, which is durable on return; give its first offset."""

    @abstractmethod
    def _written(self) -> None:
        """Do what can wait until the tickets of a group were answered."""

    def _explain(self, error: Exception) -> LogError:
        """Turn what `_write` raised into an error that names the log and what happened."""
        return error if isinstance(error, LogError) else LogError(f"{self._name}: appending: {error!r}")

    def _stop_writing(self) -> bool:
        """Write what waits, then end the thread; return whether it was this call that ended it."""
        with self._change:
            if self._closing:
                return False
            self._closing = True
            self._change.notify_all()
        self._writer.join()
        return True

    def append(self, source: str, body: bytes, receipt_ms: int, timeout: float | None = 5.0) -> "Future[int]":
        """Hand in one batch.

        Parameters
        ----------
        source : str
            Who sent it, 1 to 200 bytes.
        body : bytes
            At most 16 MiB.
        receipt_ms : int
            When it came, ms UTC. What is kept is the greatest receipt time so far if that is later.
        timeout : float
            Seconds to wait for room in the queue; 0 where waiting is not allowed, as in an event loop.

        Returns
        -------
        Future of int
            Its result is the offset, once the batch is on the disk. Its exception is a `LogError`, and then
            nothing was written. A ticket that is cancelled before its turn is not written.

        Raises
        ------
        LogBusyError
            The queue stayed full.
        LogClosedError, LogError
            The log is closed, or has failed for good; the message says why.
        """
        return self.append_many([(source, body, receipt_ms)], timeout)[0]

    def append_many(
        self, batches: Iterable[tuple[str, bytes, int]], timeout: float | None = 5.0
    ) -> "list[Future[int]]":
        """Hand in several batches (source, body, receipt_ms) that follow each other; see `append`.

        All are taken into the queue or none.
        """
        new = [waiting_of(*batch) for batch in batches]
        size = sum(len(waiting.body) for waiting in new)
        if size > self._queue_bytes:
            msg = f"batches of {size} bytes at once: the queue takes {self._queue_bytes}"
            raise ValueError(msg)
        with self._change:
            room = self._change.wait_for(
                lambda: self._closing or self._failed or self._queued + size <= self._queue_bytes, timeout
            )
            if self._failed:
                raise type(self._failed)(*self._failed.args)
            if self._closing:
                msg = f"{self._name}: the log is closed"
                raise LogClosedError(msg)
            if not room:
                msg = (
                    f"{self._name}: {self._queued} bytes wait for the disk, {size} more do not fit; try later"
                )
                raise LogBusyError(msg)
            self._queue += new
            self._queued += size
            self._change.notify_all()
        return [waiting.ticket for waiting in new]

    def _write_groups(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                taken, self._queue, self._queued = self._queue, [], 0
                self._change.notify_all()
            group = [waiting for waiting in taken if waiting.ticket.set_running_or_notify_cancel()]
            if self._failed:
                self._refuse(group, self._failed)
                continue
            try:
                first = self._write(group) if group else 0
            except Exception as error:  # noqa: BLE001 - whatever it is, each caller must hear of it
                self._refuse(group, error)
            else:
                for offset, waiting in enumerate(group, first):
                    waiting.ticket.set_result(offset)
                self._written()

    def _refuse(self, group: list[Waiting], error: Exception) -> None:
        """Tell each caller of `group` that nothing was written."""
        refusal = self._explain(error)
        # A full disk and a held file pass. After any other failure what the disk holds is not known well
        # enough to write behind it (after a failed fsync the next may succeed without having written).
        if not refusal.passes:
            with self._change:
                if self._failed is None:
                    final = f"{refusal}; nothing more is taken until the log is opened again"
                    self._failed = type(refusal)(final)
                self._change.notify_all()
        for waiting in group:
            waiting.ticket.set_exception(type(refusal)(*refusal.args))
