"""Packets picked from batches and put into another order, as a batch of their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.columns import Batch

__all__ = ["picked"]

I64 = npt.NDArray[np.int64]

_BY_PACKET = (
    "offset", "receipt_ms", "kind", "patient", "id_len", "device", "seq", "t_ms", "device_ms", "gateway_ms", "status",
)  # fmt: skip


def picked(parts: Sequence[tuple[Batch, I64]], order: I64 | None = None) -> Batch:
    """Join some packets of several batches; what comes has columns of its own.

    Parameters
    ----------
    parts : sequence of (Batch, int64[k])
        Batches, at least one, and the rows taken of each.
    order : int64[n], optional
        The place of the taken rows, counted over all parts, in what comes: row ``order[i]`` becomes row i.

    Returns
    -------
    Batch
        `clock_ms` and `next_offset` are the greatest of the parts.
    """
    sources: dict[str, int] = {}
    for batch, _ in parts:
        for name in batch.sources:
            sources.setdefault(name, len(sources))
    n = sum(len(rows) for _, rows in parts)
    order = np.arange(n, dtype=np.int64) if order is None else order
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    begin = np.cumsum([0, *(len(rows) for _, rows in parts)])

    columns = {
        name: np.concatenate([getattr(batch, name)[rows] for batch, rows in parts])[order]
        for name in _BY_PACKET
    }
    source = np.concatenate(
        [np.array([sources[name] for name in b.sources], np.uint16)[b.source[rows]] for b, rows in parts]
    )[order]
    ids, id_at = _ragged(
        [(b.ids, b.id_at[rows], b.id_len[rows].astype(np.int64)) for b, rows in parts], order
    )
    values = [(b.value_at[rows], np.diff(b.value_at)[rows]) for b, rows in parts]
    code, value_at = _ragged([(b.code, *each) for (b, _), each in zip(parts, values, strict=True)], order)
    milli, _ = _ragged([(b.milli, *each) for (b, _), each in zip(parts, values, strict=True)], order)

    chunks, packets = zip(*(_chunks(batch, rows) for batch, rows in parts), strict=True)
    packet = place[np.concatenate([p + at for p, at in zip(packets, begin.tolist(), strict=False)])]
    by_packet = np.argsort(packet, kind="stable")
    samples, sample_at = _ragged(
        [
            (b.samples, b.sample_at[:-1][c], np.diff(b.sample_at)[c])
            for (b, _), c in zip(parts, chunks, strict=True)
        ],
        by_packet,
    )
    of_chunks = {
        name: np.concatenate([getattr(b, name)[c] for (b, _), c in zip(parts, chunks, strict=True)])[
            by_packet
        ]
        for name in ("chunk_code", "chunk_rate", "chunk_gain")
    }
    return Batch(
        **columns, **of_chunks, source=source, ids=ids, id_at=id_at[:-1], code=code, milli=milli, value_at=value_at,
        chunk_packet=packet[by_packet], samples=samples, sample_at=sample_at, sources=tuple(sources),
        clock_ms=max(batch.clock_ms for batch, _ in parts),
        next_offset=max(batch.next_offset for batch, _ in parts),
    )  # fmt: skip


def _chunks(batch: Batch, rows: I64) -> tuple[I64, I64]:
    """ECG chunks of the rows, and for each the place of its packet among them."""
    place = np.full(len(batch), -1, np.int64)
    place[rows] = np.arange(len(rows))
    chunks = np.flatnonzero(place[batch.chunk_packet] >= 0)
    return chunks, place[batch.chunk_packet[chunks]]


def _ragged(parts: Sequence[tuple[npt.NDArray[Any], I64, I64]], order: I64) -> tuple[npt.NDArray[Any], I64]:
    """Stretches ``column[start : start + length]`` one after the other, in another order; and where each begins."""
    sizes = np.cumsum([0, *(len(column) for column, _, _ in parts)]).tolist()
    start = np.concatenate([at + size for (_, at, _), size in zip(parts, sizes, strict=False)])[order]
    length = np.concatenate([each for _, _, each in parts])[order]
    begin = np.concatenate(([0], np.cumsum(length)))
    index = np.repeat(start - begin[:-1], length) + np.arange(begin[-1])
    column = np.concatenate([column for column, _, _ in parts])
    return column[index], begin
