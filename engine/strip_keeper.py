"""The strips of a durable line: asked for by its alerts, read back from its log, kept in its history.

In memory there is only where the recent chunks are: 40 bytes each, the newest `most`. The samples are in the log, and
what was forgotten, as after a restart, is found there again. Strips that wait for the ECG after their onset are in
``strips/wanted.json``, written before each checkpoint. After a crash the alerts since the checkpoint come
again and ask again, for the same files; those before it are in that list, or on the disk.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from engine import strips
from engine.history import sync
from engine.strips import Chunk, Wanted
from ingest.columns import Batch
from ingest.decode import Decoder
from ingest.linelog import LineLog
from ingest.logfile import Damage

__all__ = ["MOST_CHUNKS", "Strips"]

MOST_CHUNKS = 1 << 21
"""Chunks whose places are kept in memory: 84 MB."""

_READ_BACK = 256 << 20  # bytes of the log that one look back may read
_BLOCK = 256  # entries
_FORGET_MS = 2_400_000  # what is older by receipt is on no strip of now
_PLACE = np.dtype(
    [
        ("offset", np.int64),
        ("receipt_ms", np.int64),
        ("patient", np.uint64),
        ("t_ms", np.int64),
        ("end_ms", np.int64),
    ]
)

Places = npt.NDArray[np.void]


class Strips:
    """Strips of one durable line. For the thread that steps the line.

    Parameters
    ----------
    folder : Path
        Of history.
    log : LineLog
    decoder : Decoder
        Of its own: what it decoded before is overwritten.
    next_offset : int
        Where the line goes on.
    most : int
        Chunks whose places are kept in memory.
    """

    def __init__(
        self, folder: Path, log: LineLog, decoder: Decoder, next_offset: int, most: int = MOST_CHUNKS
    ) -> None:
        self.folder = folder
        self._log = log
        self._decoder = decoder
        self._most = most
        self._places: list[Places] = []
        self._count = 0
        self._first = next_offset  # the places of what is before this offset are not known
        self._since_ms: float | None = None  # receipt of the entry there; None: not known
        self._wanted: dict[tuple[str, str], Wanted] = {}
        self._whole: set[tuple[str, str]] = set()  # of them: no more ECG is waited for, but what is late
        self._path = folder / strips.FOLDER / "wanted.json"
        if self._path.exists():
            for row in json.loads(self._path.read_bytes()):
                self._want(Wanted(**row))

    @property
    def needed(self) -> int | None:
        """Offset from which the log is needed for strips that are waited for; None: for none."""
        if not self._wanted:
            return None
        oldest = min(each.first_ms for each in self._wanted.values())
        known = self._since_ms is not None and self._since_ms < oldest
        return self._first if known else self._log.first_offset

    @property
    def waiting(self) -> tuple[Wanted, ...]:
        """Strips that are not final."""
        return tuple(self._wanted.values())

    def _want(self, each: Wanted) -> None:
        self._wanted[each.alert_id, each.rule] = each

    def take(self, batch: Batch, alerts: pl.DataFrame) -> None:
        """Note where a batch's chunks are, and what its alerts ask for; write what is whole, or will not be."""
        places = _places(batch)
        if len(places):
            self._places.append(places)
            self._count += len(places)
            self._forget(batch.clock_ms)
        asked = strips.wanted(alerts)
        for each in asked:
            self._want(each)
        if self._wanted:
            self._write(batch.clock_ms, places, {(each.alert_id, each.rule) for each in asked})

    def _forget(self, clock_ms: int) -> None:
        """Forget whole batches: what is too old, or too much."""
        while self._places and (
            self._count > self._most or int(self._places[0]["receipt_ms"][-1]) < clock_ms - _FORGET_MS
        ):
            gone = self._places.pop(0)
            self._count -= len(gone)
            self._first = int(gone["offset"][-1]) + 1
            self._since_ms = float(gone["receipt_ms"][-1])

    def _write(self, clock_ms: int, places: Places, asked: set[tuple[str, str]]) -> None:
        """Write strips as they are asked for, when they are whole, and when the wait for late chunks is over."""
        for key, each in list(self._wanted.items()):
            over = clock_ms > each.last_ms
            mine = places["patient"] == np.uint64(strips.hash_of(each.patient))
            reached = int(places["end_ms"][mine].max(initial=0)) >= each.end_ms
            if not (over or key in asked or (reached and key not in self._whole)):
                continue
            found, whole = strips.assemble(each, self._chunks(each))
            strips.write(self.folder, found)
            if whole:
                self._whole.add(key)
            if over:
                del self._wanted[key]
                self._whole.discard(key)

    def _chunks(self, each: Wanted) -> Iterator[Chunk]:
        self._look_back(each.first_ms)
        patient = np.uint64(strips.hash_of(each.patient))
        offsets: list[int] = []
        for places in self._places:
            mine = places[
                (places["patient"] == patient)
                & (places["t_ms"] < each.end_ms)
                & (places["end_ms"] > each.start_ms - strips.LEAD_IN_MS)
                & (places["receipt_ms"] >= each.first_ms)
                & (places["receipt_ms"] <= each.last_ms)
            ]
            offsets += mine["offset"].tolist()
        for offset in dict.fromkeys(offsets):
            batch = self._decoded(offset, 1)
            if batch is not None:
                yield from strips.chunks_of(batch, each)

    def _decoded(self, offset: int, entries: int) -> Batch | None:
        damaged: list[Damage] = []
        if offset < self._log.first_offset:
            return None
        read = self._log.read(offset, max_entries=entries, damaged=damaged)
        read = [entry for entry in read if entry.offset < offset + entries]
        if not read:
            return None
        return self._decoder.decode([(e.offset, e.receipt_ms, e.source, e.body) for e in read])[0]

    def _look_back(self, receipt_ms: int) -> None:
        """Learn the places of what was received since `receipt_ms` and is not known, as after a restart."""
        found: list[Places] = []
        size = 0
        oldest = self._log.first_offset
        while self._first > oldest and size < _READ_BACK:
            if self._since_ms is not None and self._since_ms < receipt_ms:
                break
            start = max(self._first - _BLOCK, oldest)
            damaged: list[Damage] = []
            entries = self._log.read(start, 1 << 62, self._first - start, damaged)
            entries = [entry for entry in entries if entry.offset < self._first]
            self._first = start
            if not entries:
                continue
            size += sum(len(entry.body) for entry in entries)
            batch, _ = self._decoder.decode([(e.offset, e.receipt_ms, e.source, e.body) for e in entries])
            places = _places(batch)
            if len(places):
                found.append(places)
            self._since_ms = float(entries[0].receipt_ms)
        self._places[:0] = found[::-1]
        self._count += sum(len(places) for places in found)

    def commit(self) -> None:
        """Have the list of what is waited for on the disk: before the checkpoint at the same offset."""
        if not self._wanted and not self._path.exists():
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump([each.as_json() for each in self._wanted.values()], file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        sync(self._path.parent)


def _places(batch: Batch) -> Places:
    """Give where a batch's chunks are."""
    packet = batch.chunk_packet
    places = np.empty(len(packet), _PLACE)
    places["offset"] = batch.offset[packet]
    places["receipt_ms"] = batch.receipt_ms[packet]
    places["patient"] = batch.patient[packet]
    places["t_ms"] = batch.t_ms[packet]
    places["end_ms"] = batch.t_ms[packet] + np.ceil(1000.0 * np.diff(batch.sample_at) / batch.chunk_rate)
    return places
