"""The courier: brings what the cell did from the queue to the log, where the engine hears of it.

A nurse's act is kept by the queue in the transaction of her move; the process that has the log fetches it from there.
It is marked as sent after the log has it durably: killed between the two it is sent again, and the line knows it.

What is dated so far ahead of this machine's clock that the line would refuse it waits for its time, and so does what
was done later for the same patient: order matters within a patient, and between patients nowhere.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ingest.appender import Appender
from kernels.reading import FUTURE_MS

__all__ = ["Courier", "Held", "Letter", "Outbox"]

_LOGGER = logging.getLogger("vigie")
_EVERY_S = 0.2
_AGAIN_S = 2.0


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Held:
    """What waits for its time.

    Parameters
    ----------
    letters : int
        How many: those that are dated ahead, and those behind them for the same patients.
    first_ms, last_ms : int
        The earliest and the latest moment that one is dated, ms UTC.
    """

    letters: int
    first_ms: int
    last_ms: int

    def __str__(self) -> str:
        first, last = (
            datetime.fromtimestamp((each - FUTURE_MS) / 1000, UTC).isoformat(timespec="seconds")
            for each in (self.first_ms, self.last_ms)
        )
        until = f"until {last}" if first == last else f"the first until {first}, the last until {last}"
        return (
            f"waiting: {self.letters}, {until}: "
            "the clock of the pages' machine is ahead of this one's, or was when they were made"
        )


class Letter(Protocol):
    """A body for the log."""

    @property
    def id(self) -> int:
        """Number in the outbox."""

    @property
    def source(self) -> str:
        """Source of the log's entry."""

    @property
    def body(self) -> bytes:
        """Packets."""


class Outbox(Protocol):
    """What the queue has for the log."""

    def ready(self, until_ms: int) -> tuple[Sequence[Letter], Held | None]:
        """Give what the log can have, oldest first, as much as goes at once; and what waits, None for nothing.

        What is dated after `until_ms` waits, and so does what is behind it for the same patient.
        """

    def sent(self, ids: Sequence[int]) -> None:
        """Note that the log has these, durably."""


class Courier:
    """A thread that empties the outbox into the log.

    Parameters
    ----------
    outbox : Outbox
    log : Appender
        Taken care of by others; open from `start` to the end of `stop`.
    now_ms : callable
        The clock of this machine, ms UTC.

    Attributes
    ----------
    problem : str
        Why what the cell did does not reach the log, or not all of it; "" where it does.
    held : Held or None
        What waited for its time at the last delivery.
    """

    def __init__(self, outbox: Outbox, log: Appender, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._outbox = outbox
        self._now_ms = now_ms
        self._log = log
        self.problem = ""
        self.held: Held | None = None
        self._cause = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is not delivered waits for the next start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def deliver(self) -> int:
        """Bring what can go; return how much it was."""
        now_ms = self._now_ms()
        letters, self.held = self._outbox.ready(now_ms + FUTURE_MS)
        if letters:
            entries = [(letter.source, letter.body, now_ms) for letter in letters]
            for ticket in self._log.append_many(entries):
                ticket.result()
            self._outbox.sent([letter.id for letter in letters])
        return len(letters)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                brought = self.deliver()
            except Exception as error:  # noqa: BLE001 - the queue or the log is away: it waits, and nothing is lost
                self._say(str(error), str(error))
                self._stop.wait(_AGAIN_S)
                continue
            # How many wait, and until when, changes with each act: it is a message once.
            self._say("held" if self.held else "", str(self.held or ""))
            if not brought:
                self._stop.wait(_EVERY_S)

    def _say(self, cause: str, problem: str) -> None:
        self.problem = f"acts of the cell do not reach the log: {problem}" if cause else ""
        if cause == self._cause:
            return
        self._cause = cause
        if cause:
            _LOGGER.error("%s", self.problem)
        else:
            _LOGGER.info("acts of the cell reach the log again")
