"""A history in another order than its own: a log as if nothing had been late, a file as if some had been.

What a line raises depends on when readings come. A log has them as they came; put into the order in which they were
measured, it shows what lateness changed. A file has no receipt times: with delays drawn for them it shows what lateness
would change.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.line import Taken
from engine.program import DAY_MS
from engine.progress import Progress
from engine.quality import Quality
from engine.replay_input import Input
from ingest.columns import Batch, PacketKind, Quarantine
from ingest.selection import picked

__all__ = ["MEASURED", "Delays", "Measured", "Reordered", "parse_delays"]

_LONGEST_MS = 31 * DAY_MS
_ROWS = 1 << 15
_SEED = 20260106
_LEGAL = "legal is SHARE:HOURS, such as 0.02:6, with a share from 0 to 1 and hours above 0 to 168"

I64 = npt.NDArray[np.int64]

_Part = tuple[Batch, I64]
"""Packets, and when each is taken as received."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The order of measurement. Acts of the cell stay at the time at which they were received."""

    slack_ms: int = _LONGEST_MS
    """How late a packet may be and still find its place; one that is later is taken as just so late."""
    time_basis = "event"

    def times(self, batch: Batch) -> I64:
        """When each packet is taken as received, ms UTC."""
        return np.where(batch.kind == PacketKind.ACT, batch.receipt_ms, batch.t_ms)

    @property
    def words(self) -> str:
        """What is said of it."""
        return "measured"


MEASURED = Measured()


@dataclass(frozen=True, slots=True)
class Delays:
    """The order in which packets might have come: a share of them late, each by itself.

    Hours are log-normal about their median with a standard deviation of 1 of the logarithm, at most 31 days; packets of
    one moment, patient and file wait together. The same file and the same delays give the same order.
    """

    share: float
    median_h: float
    time_basis = "arrival"
    slack_ms = 0

    def times(self, batch: Batch) -> I64:
        """When each packet is taken as received, ms UTC."""
        rng = np.random.default_rng([_SEED, int(batch.offset[0]) if len(batch) else 0])
        late = rng.random(len(batch)) < self.share
        wait = np.minimum(3_600_000 * self.median_h * np.exp(rng.standard_normal(len(batch))), _LONGEST_MS)
        received: I64 = batch.receipt_ms + np.where(late, wait, 0.0).astype(np.int64)
        return received

    @property
    def words(self) -> str:
        """What is said of it."""
        return f"late {self.share:g} {self.median_h:g}"


def parse_delays(text: str) -> Delays:
    """Read ``share:hours``.

    Raises
    ------
    ValueError
        Saying what is legal.
    """
    try:
        share, hours = (float(each) for each in text.split(":"))
    except ValueError:
        msg = f"lateness {text!r}: {_LEGAL}"
        raise ValueError(msg) from None
    if not (0 <= share <= 1 and 0 < hours <= 168):
        msg = f"lateness {text!r}: {_LEGAL}"
        raise ValueError(msg)
    return Delays(share, hours)


class Reordered:
    """An input in another order; an `Input` itself.

    Packets wait in a bucket a day until no other can come before them: of a log those of a month are in memory. What
    the source refused is left out: its accounts tell of it.

    Parameters
    ----------
    source : Input
    order : Measured or Delays
    """

    def __init__(self, source: Input, order: Measured | Delays) -> None:
        self._source = source
        self._order = order
        self.time_basis = order.time_basis
        self.fingerprint = f"{source.fingerprint} {order.words}"
        self.first = self.end = 0
        self.has_ecg = source.has_ecg
        self.beyond = 0
        """Packets that were later than the order's slack."""
        self._waiting: dict[int, list[_Part]] = defaultdict(list)
        self._heard: list[I64] = []  # receipt times of the source that are not given yet

    def prepare(self, progress: Progress) -> None:
        """See `Input`."""
        self._source.prepare(progress)
        self.first, self.end = self._source.first, self._source.end

    def quality(self, progress: Progress) -> Quality | None:
        """See `Input`."""
        return self._source.quality(progress)

    def batches(self, start: int) -> Iterator[Taken]:
        """See `Input`; from the beginning only, as what comes first may stand last in the source."""
        if start != self._source.first:
            msg = f"another order begins at {self._source.first}, not at {start}"
            raise ValueError(msg)
        self._waiting.clear()
        self._heard.clear()
        end: Batch | None = None
        for taken in self._source.batches(start):
            end = picked([(taken.batch, np.empty(0, np.int64))])
            if taken.heard_ms is not None:
                self._heard.append(taken.heard_ms.copy())
            if len(taken.batch):
                self._put(taken.batch)
            full = (taken.batch.clock_ms - self._order.slack_ms) // DAY_MS
            for day in sorted(each for each in self._waiting if each < full):
                yield from self._given(day, end, last=False)
        if end is None:
            return
        while self._waiting:
            yield from self._given(min(self._waiting), end, last=len(self._waiting) == 1)
        # Time passes to the same end: who was silent then is so in either order.
        yield Taken(end, _nothing(), self._heard_until(end.clock_ms))

    def _put(self, batch: Batch) -> None:
        """Copy the packets into the buckets of their days."""
        times = self._order.times(batch)
        earliest = batch.receipt_ms // DAY_MS * DAY_MS - self._order.slack_ms
        self.beyond += int(np.count_nonzero(times < earliest))
        times = np.maximum(times, earliest)
        days = times // DAY_MS
        for day in np.unique(days).tolist():
            rows = np.flatnonzero(days == day)
            self._waiting[day].append((picked([(batch, rows)]), times[rows]))

    def _given(self, day: int, newest: Batch, *, last: bool) -> Iterator[Taken]:
        """Give the packets of a day in their order, as batches; what cannot be given yet waits for the next day.

        No packet comes after `newest`, up to which the source is read: the history ends with it.
        """
        bucket = self._waiting.pop(day)
        times = np.minimum(np.concatenate([each for _, each in bucket]), newest.clock_ms)
        order = np.argsort(times, kind="stable")
        times = times[order]
        whole = picked([(batch, np.arange(len(batch))) for batch, _ in bucket], order)
        begin = 0
        for end, clock_ms in self._cuts(times, (day + 1) * DAY_MS, last=last):
            part = picked([(whole, np.arange(begin, end))])
            part.receipt_ms = times[begin:end]
            part.clock_ms = clock_ms
            part.next_offset = newest.next_offset
            begin = end
            yield Taken(part, _nothing(), self._heard_until(clock_ms))
        if begin < len(times):
            rows = np.arange(begin, len(times))
            self._waiting[day + 1].insert(0, (picked([(whole, rows)]), times[rows]))

    def _cuts(self, times: I64, before_ms: int, *, last: bool) -> list[tuple[int, int]]:
        """Where batches end, and the line's clock there.

        The line finds its own outages as gaps between receipt times, from its clock on. So each batch ends at one of
        them: else a packet that was measured in a gap would hide a part of it.
        """
        n = len(times)
        if not self._heard:
            return [(end, int(times[end - 1])) for end in (*range(_ROWS, n, _ROWS), n)]
        heard = np.concatenate(self._heard)
        heard = heard[heard < before_ms]
        cuts: list[tuple[int, int]] = []
        ends = np.searchsorted(times, heard, "right")
        for k in range(len(heard)):
            begin = cuts[-1][0] if cuts else 0
            if ends[k] > begin and (ends[k] - begin >= _ROWS or k == len(heard) - 1):
                cuts.append((int(ends[k]), int(heard[k])))
        if last and (not cuts or cuts[-1][0] < n):
            cuts.append((n, int(times[-1])))
        return cuts

    def _heard_until(self, until_ms: int) -> I64 | None:
        """Receipt times up to a moment, which are then given."""
        if not self._heard:
            return None
        every = np.concatenate(self._heard)
        now = every <= until_ms
        self._heard[:] = [every[~now]]
        return every[now]

    def content(self) -> str:
        """See `Input`: what is read is the same in any order."""
        return self._source.content()

    def notes(self) -> list[str]:
        """See `Input`."""
        days = self._order.slack_ms // DAY_MS
        more = f"{self.beyond:,} packets were more than {days} days late and are taken as {days} days late"
        return self._source.notes() + ([more] if self.beyond else [])

    def close(self, *, remove: bool) -> None:
        """See `Input`."""
        self._source.close(remove=remove)


def _nothing() -> Quarantine:
    empty = np.empty(0, np.int64)
    return Quarantine(empty, empty, empty.astype(np.uint16), empty, empty.astype(np.uint8), [])
