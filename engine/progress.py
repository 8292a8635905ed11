"""How long work says where it is: a bar on a terminal, a line every few seconds elsewhere.

Work takes a `Progress` and never looks whether anybody watches; `SILENT` is the one for tests and libraries.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["SILENT", "Lines", "Progress", "Silent", "watched"]

EVERY_S = 5.0
"""Seconds between two plain lines of one step: a log stays readable over an hour of replay."""


class Progress(Protocol):
    """Where long work reports. Steps follow one another: a new `step` ends the one before."""

    def step(self, label: str, total: float | None = None, unit: str = "") -> None:
        """Begin a step of `total` units (None: unknown), for example ``step("read", 120e6, "bytes")``."""

    def advance(self, amount: float = 1) -> None:
        """Say that `amount` more units are done."""

    def note(self, text: str) -> None:
        """Say something once, for example that a file was skipped and why."""


class Silent:
    """Progress that nobody watches."""

    def step(self, label: str, total: float | None = None, unit: str = "") -> None:
        """Say nothing."""

    def advance(self, amount: float = 1) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


SILENT = Silent()


class Lines:
    """Progress as plain lines: one when a step begins, one every few seconds, one when it ends.

    Parameters
    ----------
    stream : TextIO
        Where lines go; standard error from the command line, so that a verb's output stays clean.
    every_s : float
        Least seconds between two lines of one step.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self, stream: TextIO, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._every_s = every_s
        self._clock = clock
        self._label = ""
        self._total: float | None = None
        self._unit = ""
        self._done = 0.0
        self._begun = self._said = clock()

    def step(self, label: str, total: float | None = None, unit: str = "") -> None:
        """End the step before, if any, and say that this one begins."""
        self._end()
        self._label, self._total, self._unit, self._done = label, total, unit, 0.0
        self._begun = self._said = self._clock()
        self._write(f"{label} ...")

    def advance(self, amount: float = 1) -> None:
        """Count, and say so when the last line is old enough."""
        self._done += amount
        now = self._clock()
        if now - self._said >= self._every_s:
            self._said = now
            self._write(f"{self._label}: {self._amount()}")

    def note(self, text: str) -> None:
        """Write `text` on a line of its own."""
        self._write(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end()

    def _end(self) -> None:
        if self._label:
            self._write(f"{self._label}: done, {self._amount()} in {self._clock() - self._begun:.1f} s")
        self._label = ""

    def _amount(self) -> str:
        done = f"{self._done:,.0f}"
        unit = f" {self._unit}" if self._unit else ""
        if not self._total:
            return done + unit
        return f"{done} of {self._total:,.0f}{unit} ({100 * self._done / self._total:.0f} %)"

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


@contextmanager
def watched(stream: TextIO | None = None) -> Iterator[Progress]:
    """Give the progress that suits `stream` (default standard error): a bar on a terminal, else lines."""
    stream = stream or sys.stderr
    if not stream.isatty():
        with Lines(stream) as lines:
            yield lines
        return
    # Imported here: Rich's progress takes 40 ms, and most importers of this module only name the protocol.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.progress import Progress as RichProgress  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(file=stream)) as rich:
        yield _Bar(rich)


class _Bar:
    """Progress as Rich bars, one below the other."""

    def __init__(self, rich: "RichProgress") -> None:
        self._rich = rich
        self._task: TaskID | None = None

    def step(self, label: str, total: float | None = None, unit: str = "") -> None:
        if self._task is not None:
            self._rich.stop_task(self._task)
        self._task = self._rich.add_task(label, total=total, unit=unit)

    def advance(self, amount: float = 1) -> None:
        if self._task is not None:
            self._rich.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._rich.console.print(text, markup=False, highlight=False)
