"""The workshop: what a cell's limits would have raised over its own last months, asked again and again within a second.

It works in a process of its own, so that no page and no packet waits for it (`engine.workshop_bench` is what happens
there). After a while without questions the process ends and gives its memory back.
"""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from typing import Final, TypeVar

from engine.workshop_bench import DAYS, Answer, Day, Question, Reach, Source, WorkshopError, answer, reach

__all__ = [
    "DAYS",
    "SEATS",
    "Answer",
    "BusyError",
    "Day",
    "Question",
    "Reach",
    "Source",
    "Workshop",
    "WorkshopError",
]

IDLE_S: Final = 900.0
"""The process ends after so long without a question."""

WAIT_S: Final = 120.0
"""So long an answer is waited for: a first pass over 10,000 patients takes some ten seconds."""

SEATS: Final = 3
"""Who waits for an answer at once; others are told to try again."""

_ALIVE_S = 1.0
_BEGUN_S = 30.0
_T = TypeVar("_T")
_LOGGER = logging.getLogger("vigie")


class BusyError(WorkshopError):
    """A question that cannot be answered now, and can be in a moment."""


class Workshop:
    """The process that answers, from the side of those who ask; for any thread.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._seats = threading.BoundedSemaphore(SEATS)
        self._pool: ProcessPoolExecutor | None = None
        self._pid: Future[int] | None = None
        self._asked = 0.0

    def prepare(self) -> None:
        """Begin to read the log where that was not done or long ago; returns at once."""
        if self._source.log.exists():
            self._submit(reach, self._source)

    def ask(self, question: Question) -> Answer:
        """Put a question.

        Raises
        ------
        WorkshopError
        """
        if not self._source.log.exists():
            msg = "il n’y a pas encore d’historique"
            raise WorkshopError(msg)
        # Who asks holds a thread of the pages until the answer: nurses must find one free.
        if not self._seats.acquire(blocking=False):
            msg = "l’atelier est occupé par d’autres essais : réessayez dans un instant"
            raise BusyError(msg)
        try:
            return self._answered(self._submit(answer, self._source, question))
        finally:
            self._seats.release()

    def _answered(self, coming: "Future[Answer]") -> Answer:
        try:
            return coming.result(WAIT_S)
        except TimeoutError as error:
            coming.cancel()
            msg = "l’historique est encore en cours de lecture : réessayez dans un instant"
            raise BusyError(msg) from error
        except (BrokenProcessPool, CancelledError) as error:
            self.close()
            msg = "le calcul s’est arrêté : réessayez"
            raise WorkshopError(msg) from error
        except WorkshopError as error:
            _LOGGER.error("workshop: %s", error.detail)  # noqa: TRY400 - the detail says it all
            raise

    def rest(self) -> None:
        """Let the process end where nobody has asked for a while; to be called now and then."""
        if self._pool is not None and time.monotonic() - self._asked > IDLE_S:
            self.close()

    def close(self) -> None:
        """End the process, whatever it is at; the next question begins another."""
        with self._lock:
            pool, self._pool = self._pool, None
            pid, self._pid = self._pid, None
        if pool is None or pid is None:
            return
        pool.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):  # it has ended already, or never began
            number = pid.result(_BEGUN_S)
            os.kill(number, signal.SIGTERM)
            shutil.rmtree(self._source.kept / str(number), ignore_errors=True)

    def _submit(self, what: Callable[..., _T], *given: object) -> "Future[_T]":
        self._asked = time.monotonic()
        for _ in range(2):
            with self._lock:
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (os.getpid(),))
                    self._pid = self._pool.submit(os.getpid)
                pool = self._pool
            try:
                return pool.submit(what, *given)
            except RuntimeError:  # broken before, or shut down by another thread: once more with another
                self.close()
        msg = "le calcul ne démarre pas"
        raise WorkshopError(msg)


def _begin(parent: int) -> None:
    """End with the process that asks, however that ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ALIVE_S)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()
