"""What an operator must look at, for as long as it is so.

A *condition* stands until it ends: a full disk, a queue that is away, a checkpoint that could not be written. An
*event* has no end, because it is done: damage that was met in the log, a gap, a lease that was lost. It is told for a
day, and stays in the messages.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["EVENT_S", "Problems"]

EVENT_S: Final = 86_400.0
"""How long an event is told after it was met last."""

_EVENTS = 100  # at most, the newest
_UNSAID = 100


class Problems:
    """Conditions and events of one part of the service. Safe from any thread.

    Parameters
    ----------
    now_s : callable
        A clock that never goes back, seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._events: dict[str, float] = {}  # text, and when it was met last
        self._conditions: dict[str, str] = {}
        self._unsaid: deque[tuple[str, bool]] = deque(maxlen=_UNSAID)

    def event(self, text: str) -> None:
        """Note what happened; what is told still is not told twice."""
        with self._lock:
            self._age()
            if self._events.pop(text, None) is None:
                self._unsaid.append((text, True))
            self._events[text] = self._now_s()
            if len(self._events) > _EVENTS:
                del self._events[next(iter(self._events))]

    def stands(self, what: str, text: str) -> None:
        """Note that a condition stands, in place of what was told of it.

        Parameters
        ----------
        what : str
            Which condition; `ended` names it.
        text : str
            For the operator.
        """
        with self._lock:
            if self._conditions.get(what) != text:
                self._conditions[what] = text
                self._unsaid.append((text, True))

    def ended(self, what: str) -> None:
        """Note that a condition does not stand, any more or at all."""
        if what not in self._conditions:  # nearly always
            return
        with self._lock:
            text = self._conditions.pop(what, None)
            if text is not None:
                self._unsaid.append((text, False))

    def told(self) -> list[str]:
        """Give the events of the last day, the newest last, then the conditions that stand."""
        with self._lock:
            self._age()
            return list(dict.fromkeys([*self._events, *self._conditions.values()]))

    def say(self, logger: logging.Logger, level: int = logging.ERROR) -> None:
        """Put into the messages what came or ended since they were said last."""
        with self._lock:
            unsaid = list(self._unsaid)
            self._unsaid.clear()
        for text, came in unsaid:
            if came:
                logger.log(level, "%s", text)
            else:
                logger.info("over: %s", text)

    def _age(self) -> None:
        since = self._now_s() - EVENT_S
        while self._events and next(iter(self._events.values())) < since:
            del self._events[next(iter(self._events))]
