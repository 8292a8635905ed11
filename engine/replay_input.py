"""What a replay reads: files in event-time order, or a log in the order of arrival; batches either way."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.card import LogHash, input_hash
from engine.line import AHEAD, Taken
from engine.load import Loaded
from engine.progress import Progress
from engine.quality import Quality, look_at
from ingest.formats import FormatError, Item, Mappings, find_paths, open_paths
from ingest.log import LogReader

__all__ = ["Asked", "FileInput", "Input", "LogInput", "is_log_among", "open_input"]

_LOG_BYTES = 8 << 20
_LOG_ENTRIES = 4096
_FILE_ROWS = 1 << 18


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person named: files or a log, how tables are read, the zone of times without an offset.

    `latest_ms` is the latest time that an event may have: when the replay was begun.
    """

    paths: tuple[Path, ...]
    mapping: Mappings
    zone: str
    latest_ms: int


class Input(Protocol):
    """Where batches come from.

    Attributes
    ----------
    time_basis : str
        "event" or "arrival", as alerts carry it.
    fingerprint : str
        Of what is read and how; another one is another replay.
    first, end : int
        `Batch.next_offset` goes from the one to the other, once it is prepared.
    has_ecg : bool
        Whether there can be ECG in it.
    """

    time_basis: str
    fingerprint: str
    first: int
    end: int
    has_ecg: bool

    def prepare(self, progress: Progress) -> None:
        """Do what takes long before the first batch: files are read and sorted."""

    def quality(self, progress: Progress) -> Quality | None:
        """Say what is read is like, once it is prepared; None of a log, whose packets were judged when they came."""

    def batches(self, start: int) -> Iterator[Taken]:
        """Give the batches from `start` on, cut as they would be from the beginning.

        A batch is valid until `engine.line.AHEAD` + 1 more were given: so many are on their way at once.
        """

    def content(self) -> str:
        """Hash of what is read, whatever files are called: the same content gives the same."""

    def notes(self) -> list[str]:
        """What was taken for granted, in words."""

    def close(self, *, remove: bool) -> None:
        """Let go of the files; with `remove`, of what was kept on disk to go on with."""


class FileInput:
    """Tables and ECG records, as if each reading had been received when it was taken."""

    time_basis = "event"

    def __init__(self, asked: Asked, loaded: Loaded, folder: Path) -> None:
        items = {
            item.name: Item(item.code, *item.range)
            for protocol in loaded.program.protocols
            for item in protocol.items.values()
        }
        self._files = open_paths(
            asked.paths,
            mapping=asked.mapping,
            zone=asked.zone,
            items=items,
            spill=folder,
            latest_ms=asked.latest_ms,
            batch_rows=_FILE_ROWS,
        )
        self._folder = folder
        self._paths = asked.paths
        self._zone = asked.zone
        self.has_ecg = self._files.has_ecg
        self.fingerprint = self._files.fingerprint
        self.first = self.end = 0

    def prepare(self, progress: Progress) -> None:
        """See `Input`."""
        progress.step("read and sort", self._files.progress.files, "files")
        self._files.prepare(progress.advance)
        self.end = self._files.progress.rows or 0

    def quality(self, progress: Progress) -> Quality | None:
        """See `Input`."""
        return look_at(self._files, self._zone, progress=progress)

    def batches(self, start: int) -> Iterator[Taken]:
        """See `Input`."""
        for batch, quarantine in self._files.batches(start):
            yield Taken(batch, quarantine, None)

    def content(self) -> str:
        """See `Input`."""
        return input_hash(self._paths)

    def notes(self) -> list[str]:
        """See `Input`."""
        said = self._files.progress
        out = list(self._files.notes)
        if said.naive_times:
            out.append(f"{said.naive_times:,} times without offset were read by the zone's clocks")
        if said.dst_overlap:
            out.append(f"{said.dst_overlap:,} of them are twice on those clocks: the first was taken")
        return out

    def close(self, *, remove: bool) -> None:
        """See `Input`."""
        self._files.close()
        if remove:
            shutil.rmtree(self._folder, ignore_errors=True)


class LogInput:
    """A log of Vigie, exactly as it came live: same receipt times, heartbeats too, up to its end of now."""

    time_basis = "arrival"
    has_ecg = True

    def __init__(self, path: Path, loaded: Loaded) -> None:
        self._log = LogReader(path)
        # A decoder's batch is there until its next one: each of those that a line has on its way has its own.
        self._decoders = cycle([loaded.decoder() for _ in range(AHEAD + 2)])
        self.first = self._log.first_offset
        self.end = self._log.next_offset
        self._content = ""
        said = f"{path.name}\0{self.first}\0{self.end}"
        self.fingerprint = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def prepare(self, progress: Progress) -> None:
        """See `Input`: nothing is to be done."""

    def quality(self, progress: Progress) -> Quality | None:  # noqa: ARG002 - there is nothing to look at
        """See `Input`."""
        return None

    def batches(self, start: int) -> Iterator[Taken]:
        """See `Input`; LogDamagedError where the log is damaged."""
        at = start
        digest = LogHash()
        while at < self.end:
            entries = self._log.read(at, _LOG_BYTES, min(_LOG_ENTRIES, self.end - at))
            if not entries:
                break
            digest.add(entries)
            batch, quarantine = next(self._decoders).decode(
                [(entry.offset, entry.receipt_ms, entry.source, entry.body) for entry in entries]
            )
            yield Taken(batch, quarantine, np.array([entry.receipt_ms for entry in entries], np.int64))
            at = entries[-1].offset + 1
        if start == self.first:
            self._content = str(digest)

    def content(self) -> str:
        """See `Input`; read again where it was not gone through from its beginning to its end."""
        if not self._content:
            digest = LogHash()
            digest.add_from(self._log, self.first, self.end)
            self._content = str(digest)
        return self._content

    def notes(self) -> list[str]:
        """See `Input`."""
        return (
            [f"the log begins at offset {self.first}: what was before it was trimmed"] if self.first else []
        )

    def close(self, *, remove: bool) -> None:  # noqa: ARG002 - nothing is kept on disk for a log
        """See `Input`."""
        self._log.close()


def is_log_among(paths: Sequence[Path]) -> bool:
    """Say whether the input is a log.

    Raises
    ------
    FormatError
        A path cannot be read, or there is a log and something else.
    """
    found = find_paths(paths)
    if found.logs and len([*found.logs, *found.tables, *found.records]) > 1:
        msg = f"{found.logs[0]}: is a log; legal is one log alone, or files and folders without one"
        raise FormatError(msg)
    return bool(found.logs)


def open_input(asked: Asked, loaded: Loaded, folder: Path) -> Input:
    """Open what a replay reads; `folder` is for what files are sorted into."""
    found = find_paths(asked.paths)
    if found.logs:
        return LogInput(found.logs[0], loaded)
    return FileInput(asked, loaded, folder)
