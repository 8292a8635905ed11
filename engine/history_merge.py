"""Merging history's files beside the running line: a commit a minute would be half a million files a year.

A day that is over is merged once nothing has come for it for a while, and again when late readings have; the day that
is being written whenever it has many files. A day then is one file a shard, or a few where it has very many rows. The
line goes on meanwhile.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from engine.history import History, HistoryError, day_of

__all__ = ["Merger"]

MANY: Final = 64
"""Files of a shard of the day that is being written from which on they are merged."""

QUIET_S: Final = 3600.0
"""So long nothing has come for a day that is over before it is merged."""

LINGER_S: Final = 900.0
"""So long merged files stay for readers that have begun."""


class Merger:
    """Looks now and then what is to be merged, and merges it on a thread of its own.

    Parameters
    ----------
    history : History
    clock_s : callable
        Seconds since 1970.
    """

    def __init__(self, history: History, clock_s: Callable[[], float] = time.time) -> None:
        self._history = history
        self._clock_s = clock_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem = ""
        """What kept it from merging at the last look."""

    def look(self) -> None:
        """Begin to merge what is due, unless that is under way; returns at once."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="history", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop after the file that is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def merge(self) -> int:
        """Merge what is due, and remove what was merged long enough ago; return how many files were merged.

        Raises
        ------
        HistoryError, OSError
        """
        now = self._clock_s()
        today = day_of(round(now * 1000))
        merged = 0
        for day, files, newest in self._history.days():
            if self._stop.is_set():
                break
            over = day < today and newest < now - QUIET_S
            if files >= (2 if over else MANY):
                merged += self._merge(day)
            self._history.remove_merged(day, now - LINGER_S)
        return merged

    def _merge(self, day: str) -> int:
        merged = 0
        for run in self._history.runs(day):
            if self._stop.is_set():
                break
            begun = time.monotonic()
            self._history.merge(run, linger=True)
            merged += len(run)
            # The line has the machine for as long as merging had it.
            self._stop.wait(time.monotonic() - begun)
        return merged

    def _run(self) -> None:
        try:
            self.merge()
        except (HistoryError, OSError) as error:
            self.problem = f"history is not merged: {error}"
        else:
            self.problem = ""
