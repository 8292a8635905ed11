"""What a line asks of the log that it reads, whichever keeps it: a file, or a partition on Redis Streams."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ingest.logfile import Damage, Entry

__all__ = ["LineLog"]


class LineLog(Protocol):
    """A log, read from an offset on. See `ingest.log.Log` for what each does and raises."""

    @property
    def path(self) -> Path | str:
        """What it is called in messages."""

    @property
    def checkpoint_problem(self) -> str:
        """What an operator must know of its file; "" where there is nothing."""

    @property
    def first_offset(self) -> int:
        """The oldest offset that is kept."""

    @property
    def next_offset(self) -> int:
        """The offset that the next entry will get."""

    def receipt_ms(self, offset: int) -> int | None:
        """Give the receipt time of the first entry from `offset` on, ms UTC; None where there is none."""

    def offset_at(self, receipt_ms: int) -> int:
        """Give an offset before which all was received before `receipt_ms` (ms UTC)."""

    def read(
        self,
        from_offset: int,
        max_bytes: int = ...,
        max_entries: int = ...,
        damaged: list[Damage] | None = ...,
    ) -> list[Entry]:
        """Read the entries from `from_offset` on."""

    def wait_for(self, offset: int, timeout: float) -> bool:
        """Wait until there is something to read from `offset` on, at most `timeout` seconds."""

    def trim(self, before_offset: int) -> int:
        """Remove the entries before `before_offset`; return how many."""

    def __enter__(self) -> Self:
        """Use it; it is closed at the end."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
