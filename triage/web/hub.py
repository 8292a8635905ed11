"""Where live pages hear of news: one thread looks at the database, and wakes whoever waits.

It looks four times a second at three greatest numbers: of the engine's rows, of the audit trail, of the notices. What
pages ask for when one of them rose is asked of the database once for all of them.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from triage import audit
from triage.tables import Transition
from triage.web.site import Site
from triage.work import notices

__all__ = ["EVERY_S", "Hub", "Marks"]

_LOGGER = logging.getLogger("vigie")
EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Marks:
    """How far the database is: numbers of the newest row, entry and notice."""

    row: int
    entry: int
    notice: int


class Hub:
    """The thread that looks, and who waits for it.

    Parameters
    ----------
    site : Site
    every_s : float
        Seconds between two looks.
    """

    def __init__(self, site: Site, every_s: float = EVERY_S) -> None:
        self._site = site
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._sharing = threading.Lock()
        self._shared: dict[Hashable, Any] = {}
        self.marks = self._shared_at = self.look()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; who listens is let go."""
        self._stop.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def stopped(self) -> bool:
        """Whether it has ended."""
        return self._stop.is_set()

    def look(self) -> Marks:
        """Ask the database how far it is."""
        with self._site.store.engine.connect() as connection:
            row = connection.scalar(select(func.max(Transition.id))) or 0
            entry = connection.scalar(select(audit.HEAD.c.entry)) or 0
        return Marks(row, entry, notices.newest(self._site.store.engine))

    def join(self) -> asyncio.Event:
        """Give an event of the caller's loop that is set whenever something came."""
        event = asyncio.Event()
        with self._lock:
            self._waiting.append((asyncio.get_running_loop(), event))
        return event

    def leave(self, event: asyncio.Event) -> None:
        """Listen no more."""
        with self._lock:
            self._waiting = [each for each in self._waiting if each[1] is not event]

    def shared(self, key: Hashable, marks: Marks, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `make` gives
        """Give what `make` gives, asked for once for all pages that are as far as `marks`."""
        with self._sharing:
            if marks != self._shared_at:
                self._shared_at = marks
                self._shared.clear()
            if key not in self._shared:
                self._shared[key] = make()
            return self._shared[key]

    def _wake(self) -> None:
        with self._lock:
            for loop, event in self._waiting:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    def _matters(self, marks: Marks) -> bool:
        """Whether what came is of any line: that somebody looked at a patient wakes nobody."""
        if (marks.row, marks.notice) != (self.marks.row, self.marks.notice):
            return True
        return bool(audit.episodes_since(self._site.store.engine, self.marks.entry))

    def _run(self) -> None:
        said = ""
        seen = self.marks
        while not self._stop.wait(self._every_s):
            try:
                marks = self.look()
                news = marks != seen and self._matters(marks)
            except Exception as error:  # noqa: BLE001 - the database is away: the pages say so, it comes back
                if str(error) != said:
                    said = str(error)
                    _LOGGER.error("live pages: %s", said)  # noqa: TRY400 - the message says it all
                continue
            said = ""
            if marks != seen:
                seen = marks
                if news:
                    self.marks = marks
                    self._wake()
