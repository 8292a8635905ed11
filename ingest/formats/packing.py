"""Rows in event-time order to batches: the last step, the same for every format."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ingest.columns import NO_TIME, Batch, PacketKind, Quarantine
from ingest.formats.people import People
from ingest.formats.rows import Rows
from ingest.formats.spill import Spill
from ingest.formats.vocabulary import Vocabulary
from ingest.formats.wfdb_record import Record
from ingest.reasons import Reason
from ingest.signals import by_code
from kernels.check import LONGEST_RUN, pack_rows
from kernels.decode import hash_bytes
from kernels.reading import FUTURE_MS

__all__ = ["Packer", "Source"]

_MAX_SAMPLES = 1 << 21  # of ECG in a batch: 4 MB


@dataclass(frozen=True, slots=True)
class Source:
    """A file as batches know it: its name, the cells of its rows (0: long form or ECG), and its record if it is one."""

    name: str
    width: int
    record: Record | None = None


class Packer:
    """Makes batches of rows.

    Parameters
    ----------
    sources : sequence
        By the number of the file.
    latest_ms : int
        Events may lie five minutes after it at most.
    clock_ms : int
        Clock before the first event.
    span_ms : int or None
        Most time that a batch may cover; None: any.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        vocabulary: Vocabulary,
        spill: Spill,
        latest_ms: int,
        *,
        clock_ms: int = 0,
        span_ms: int | None = None,
    ) -> None:
        names = [source.name.encode() for source in sources]
        self.names = tuple(source.name for source in sources)
        self.clock_ms = clock_ms
        self._sources = sources
        self._vocabulary = vocabulary
        self._spill = spill
        self._people: People = spill.people
        self._latest_ms = latest_ms
        self._span_ms = span_ms
        self._width = np.array([source.width for source in sources], np.int64)
        self._device = np.array([hash_bytes(np.frombuffer(n, np.uint8), 0, len(n)) for n in names], np.uint64)
        self._seen = np.empty(LONGEST_RUN, np.int64)
        self._ids = self._people.ids.reshape(-1)

    def batches(self, blocks: Iterator[Rows], offset: int) -> Iterator[tuple[Batch, Quarantine]]:
        """Pack blocks of rows, from row `offset` on; batches are cut as they are from the beginning.

        The last batch has the last of the rows.
        """
        waiting: Rows | None = None
        parts = self._from(blocks, offset)
        part = next(parts, None)
        while part is not None:
            following = next(parts, None)
            rows = part if waiting is None or not len(waiting) else Rows.joined([waiting, part])
            # A packet is of one moment: it ends here unless the following rows are of the same.
            final = following is None or following.t[0] != rows.t[-1]
            batch, quarantine, done = self._pack(rows, offset, final=final)
            waiting = rows.part(done, len(rows))
            offset += done
            if len(batch) or len(quarantine):
                yield batch, quarantine
            part = following

    def _from(self, blocks: Iterator[Rows], offset: int) -> Iterator[Rows]:
        """Give the parts of blocks from `offset` on; of the rows passed over the clock is taken."""
        at = 0
        for part in (part for block in blocks for part in self._cut(block)):
            size = len(part)
            if at < offset:
                self._pass(part.part(0, min(size, offset - at)))
            if at + size > offset:
                yield part if at >= offset else part.part(offset - at, size)
            at += size

    def _pass(self, rows: Rows) -> None:
        """Set the clock to the last of the rows whose time is legal; also a reading that is refused shows the time."""
        legal = rows.t[(rows.reason == 0) & (rows.t <= self._latest_ms + FUTURE_MS)]
        if len(legal):
            self.clock_ms = max(self.clock_ms, int(legal[-1]))

    def _cut(self, block: Rows) -> Iterator[Rows]:
        """Cut a block where its ECG would be too much for one batch, and where it spans too much time."""
        group = np.zeros(len(block), np.int64)
        is_ecg = (self._vocabulary.kind_of[block.code] == PacketKind.ECG) & (block.reason == 0)
        if is_ecg.any():
            group = (np.cumsum(np.where(is_ecg, block.value, 0.0)) // _MAX_SAMPLES).astype(np.int64)
        if self._span_ms is not None:
            late = np.concatenate([[0], np.cumsum(np.diff(block.t // self._span_ms) != 0)])
            group = group + late
        cuts = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(block)]
        for start, stop in pairwise(cuts):
            yield block.part(start, stop) if stop - start < len(block) else block

    def _pack(self, rows: Rows, offset: int, *, final: bool) -> tuple[Batch, Quarantine, int]:
        n = len(rows)
        reason = rows.reason.copy()
        packet_row = np.empty(n, np.int64)
        packet_kind = np.empty(n, np.uint8)
        value_at = np.empty(n + 1, np.int64)
        code = np.empty(n, np.uint16)
        milli = np.empty(n, np.int32)
        done, packets, values = pack_rows(
            rows.t, rows.cell, rows.value, rows.person, rows.src, rows.code,
            self._width, self._vocabulary.kind_of, self._vocabulary.low, self._vocabulary.high,
            self._latest_ms, int(Reason.INCONSISTENT), final,
            reason, packet_row, packet_kind, value_at, code, milli, np.empty(n, np.int64), self._seen,
        )  # fmt: skip
        row = packet_row[:packets]
        self._pass(rows.part(0, done))
        batch = self._batch(
            rows,
            row,
            packet_kind[:packets],
            value_at[: packets + 1],
            code[:values],
            milli[:values],
            offset,
            done,
        )
        return batch, self._quarantine(rows, reason[:done], offset), done

    def _batch(
        self,
        rows: Rows,
        row: npt.NDArray[np.int64],
        kind: npt.NDArray[np.uint8],
        value_at: npt.NDArray[np.int64],
        code: npt.NDArray[np.uint16],
        milli: npt.NDArray[np.int32],
        offset: int,
        done: int,
    ) -> Batch:
        n = len(row)
        person = rows.person[row]
        src = rows.src[row]
        t = rows.t[row]
        chunk = np.flatnonzero(kind == PacketKind.ECG)
        chunk_code = np.empty(0, np.uint16)
        pieces: list[npt.NDArray[np.int16]] = []
        if len(chunk):
            chunk_code = code[value_at[chunk]]
            # The row of a chunk stood in as a value: a packet of ECG has none.
            length = np.diff(value_at)
            keep = np.repeat(kind != PacketKind.ECG, length)
            code, milli = code[keep], milli[keep]
            length[chunk] = 0
            value_at = np.concatenate([[0], np.cumsum(length)])
            for k in row[chunk]:
                record = self._sources[rows.src[k]].record
                assert record is not None  # noqa: S101 - only records make rows with a lead's code
                pieces.append(record.samples(int(rows.cell[k]), int(rows.value[k])))
        records = [self._sources[s].record for s in src[chunk]]
        absent = np.full(n, NO_TIME, np.int64)
        return Batch(
            offset=row + offset,
            receipt_ms=t,
            source=src,
            kind=kind,
            patient=self._people.hashes[person],
            id_at=person.astype(np.int64) * self._people.ids.shape[1],
            id_len=self._people.lengths[person],
            device=self._device[src],
            seq=rows.cell[row],
            t_ms=t.copy(),
            device_ms=absent,
            gateway_ms=absent.copy(),
            status=np.zeros(n, np.uint32),
            value_at=value_at,
            code=code,
            milli=milli,
            chunk_packet=chunk,
            chunk_code=chunk_code,
            chunk_rate=np.array([r.rate for r in records if r is not None], np.float64),
            chunk_gain=np.array([r.gain for r in records if r is not None], np.float64),
            sample_at=np.concatenate([[0], np.cumsum([len(p) for p in pieces], dtype=np.int64)]).astype(
                np.int64
            ),
            samples=np.concatenate(pieces) if pieces else np.empty(0, np.int16),
            ids=self._ids,
            sources=self.names,
            clock_ms=self.clock_ms,
            next_offset=offset + done,
        )

    def _quarantine(self, rows: Rows, reason: npt.NDArray[np.uint8], offset: int) -> Quarantine:
        bad = np.flatnonzero(reason)
        src = rows.src[bad]
        return Quarantine(
            offset=bad + offset,
            # As if received when it happened; NO_TIME where that could not be read.
            receipt_ms=rows.t[bad],
            source=src,
            at=rows.cell[bad] // np.maximum(1, self._width[src]),
            reason=reason[bad],
            raw=[self._text(rows, int(k), int(reason[k])) for k in bad],
        )

    def _text(self, rows: Rows, k: int, reason: int) -> bytes:
        if rows.reason[k]:
            return self._spill.refused(int(rows.value[k]))
        person = int(rows.person[k])
        patient = self._people.ids[person, : self._people.lengths[person]].tobytes()
        code = int(rows.code[k])
        when = _shown_time(int(rows.t[k]))
        if self._vocabulary.kind_of[code] == PacketKind.QUESTIONNAIRE:
            what = f"item {code}; value={rows.value[k]:g}"
        else:
            signal = by_code(code)
            what = f"signal={signal.name}; value={rows.value[k]:.10g}; unit={signal.ucum}"
        return b"patient=" + patient + f"; time={when}; {what} | {Reason(reason).name.lower()}".encode()


def _shown_time(t_ms: int) -> str:
    try:
        return dt.datetime.fromtimestamp(t_ms / 1000, dt.UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{t_ms} ms"
