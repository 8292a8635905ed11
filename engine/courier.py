"""The courier: brings what the cell did from the queue to the log, where the engine hears of it.

A nurse's act is kept by the queue in the transaction of her move; the process that has the log fetches it from there.
It is marked as sent after the log has it durably: killed between the two it is sent again, and the line knows it.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Protocol

from ingest.appender import Appender
from kernels.reading import FUTURE_MS

__all__ = ["AheadError", "Courier", "Letter", "Outbox"]

_LOGGER = logging.getLogger("vigie")
_EVERY_S = 0.2
_AGAIN_S = 2.0


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class AheadError(Exception):
    """What the cell did is dated in the future."""


class Letter(Protocol):
    """A body for the log."""

    @property
    def id(self) -> int:
        """Number in the outbox."""

    @property
    def source(self) -> str:
        """Source of the log's entry."""

    @property
    def made_ms(self) -> int:
        """When it was made, ms UTC, by the clock of the pages' machine."""

    @property
    def body(self) -> bytes:
        """Packets."""


class Outbox(Protocol):
    """What the queue has for the log."""

    def waiting(self) -> Sequence[Letter]:
        """Give what the log does not have, oldest first, as much as goes at once."""

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
        Why what the cell did does not reach the log; "" where it does.
    """

    def __init__(self, outbox: Outbox, log: Appender, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._outbox = outbox
        self._now_ms = now_ms
        self._log = log
        self.problem = ""
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
        """Bring what waits; return how much it was.

        Raises
        ------
        AheadError
            The next was made so far ahead of this machine's clock that the line would refuse it.
        """
        letters = self._outbox.waiting()
        now_ms = self._now_ms()
        legal = list(takewhile(lambda letter: letter.made_ms <= now_ms + FUTURE_MS, letters))
        if legal:
            entries = [(letter.source, letter.body, now_ms) for letter in legal]
            for ticket in self._log.append_many(entries):
                ticket.result()
            self._outbox.sent([letter.id for letter in legal])
        if len(legal) < len(letters):
            made = datetime.fromtimestamp(letters[len(legal)].made_ms / 1000, UTC)
            when = made.isoformat(timespec="seconds")
            msg = f"made at {when} by the clock of the pages' machine, which is ahead of this one's: they wait so long"
            raise AheadError(msg)
        return len(legal)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                brought = self.deliver()
            except Exception as error:  # noqa: BLE001 - the queue or the log is away: it waits, and nothing is lost
                said = f"acts of the cell do not reach the log: {error}"
                if said != self.problem:
                    self.problem = said
                    _LOGGER.error("%s", said)  # noqa: TRY400 - it says it all
                self._stop.wait(_AGAIN_S)
                continue
            if self.problem:
                self.problem = ""
                _LOGGER.info("acts of the cell reach the log again")
            if not brought:
                self._stop.wait(_EVERY_S)
