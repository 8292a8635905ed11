"""Bodies of packets to columns: what the log holds goes in, a batch and its quarantine come out.

All bodies are put one after the other and one kernel call decodes them; no Python runs per packet.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.columns import Batch, PacketKind, Quarantine
from ingest.signals import MAX_CODE, SIGNALS, Kind
from kernels import decode as kernel

__all__ = ["MAX_RAW", "TURNED_AWAY", "Act", "Decoder", "LimitAct", "act_of", "check", "decode"]

TURNED_AWAY = "turned away "
"""What the log puts before the name of a source in an entry that holds what that source may not send. No source has
such a name, as there is a blank in it."""

MAX_RAW = 4096
"""Bytes of a refused packet that quarantine keeps, at most."""

Entry = tuple[int, int, str, bytes]
"""An entry of the log: offset, receipt time (ms UTC), source, body."""


class Act(NamedTuple):
    """That an alert is closed: the payload of a packet of kind 5 with verb 1."""

    verb: int
    key: int
    reason: int


class LimitAct(NamedTuple):
    """That a limit is set (verb 2) or taken back (verb 3): the payload of such a packet of kind 5."""

    verb: int
    key: int
    milli: int
    author: str
    text: str


class Decoder:
    """Decode with columns that are kept and used again.

    Fresh memory costs more than decoding (each first touch of a page is a fault), so who decodes one batch after
    the other keeps a decoder. The batch that `decode` returns is made of views into it: **it is valid until the
    next call**. `decode`, the function, gives columns of their own.

    Parameters
    ----------
    low, high : float64[codes]
        Plausible range by code, of `ingest.signals.plausible_ranges`.
    act_source : str
        The one source whose packets may be acts of the cell.
    raw : bool
        Whether quarantine keeps the bytes of what it refuses; without, `Quarantine.raw` is empty.

    Raises
    ------
    ValueError
        When the ranges are not two float64 arrays of the same length, at most 65536.
    """

    def __init__(
        self,
        low: npt.NDArray[np.float64],
        high: npt.NDArray[np.float64],
        *,
        act_source: str = "cell",
        raw: bool = True,
    ) -> None:
        self._low, self._high = _ranges(low, high)
        self._raw = raw
        self._act_source = act_source
        self._leads = np.zeros(MAX_CODE + 1, np.uint8)
        for signal in SIGNALS:
            self._leads[signal.code] = signal.kind is Kind.WAVEFORM
        self._stack = np.empty(kernel.MAX_DEPTH, np.int64)
        self._columns: kernel.Columns | None = None
        self._refused: kernel.Refused | None = None
        self._rows = (0, 0, 0, 0, 0)
        self._bytes = bytearray()

    def decode(
        self, entries: Sequence[Entry], *, clock_ms: int = 0, next_offset: int = 0
    ) -> tuple[Batch, Quarantine]:
        """Decode entries of the log; see the function `decode`."""
        offsets = np.array([entry[0] for entry in entries], np.int64)
        receipts = np.array([entry[1] for entry in entries], np.int64)
        names: dict[str, int] = {}
        named = [entry[2].removeprefix(TURNED_AWAY) for entry in entries]
        sources = np.array([names.setdefault(name, len(names)) for name in named], np.int64)
        if len(names) > np.iinfo(np.uint16).max + 1:
            msg = f"{len(names)} sources in one batch: at most 65536 are legal"
            raise ValueError(msg)
        flags = np.array([self._flags(entry[2]) for entry in entries], np.uint8)
        bodies = [entry[3] for entry in entries]
        body_at = np.zeros(len(bodies) + 1, np.int64)
        np.cumsum([len(body) for body in bodies], out=body_at[1:])
        size = int(body_at[-1])
        # One large body is taken as it is: only its last packets miss the short path. Else copying costs less.
        data = bodies[0] if len(bodies) == 1 and size >= 64 * kernel.MARGIN else self._joined(bodies, size)
        blob = np.frombuffer(data, np.uint8)

        columns, refused = self._buffers(kernel.capacities(size, len(bodies)))
        n, values, chunks, samples, bad = kernel.decode_bodies(
            blob, body_at, offsets, receipts, sources, flags, self._low, self._high, self._leads,
            kernel.MARGIN, self._stack, columns, refused,
        )  # fmt: skip
        batch = Batch(
            offset=columns.offset[:n],
            receipt_ms=columns.receipt_ms[:n],
            source=columns.source[:n],
            kind=columns.kind[:n],
            patient=columns.patient[:n],
            id_at=columns.id_at[:n],
            id_len=columns.id_len[:n],
            device=columns.device[:n],
            seq=columns.seq[:n],
            t_ms=columns.t_ms[:n],
            device_ms=columns.device_ms[:n],
            gateway_ms=columns.gateway_ms[:n],
            status=columns.status[:n],
            value_at=columns.value_at[: n + 1],
            code=columns.code[:values],
            milli=columns.milli[:values],
            chunk_packet=columns.chunk_packet[:chunks],
            chunk_code=columns.chunk_code[:chunks],
            chunk_rate=columns.chunk_rate[:chunks],
            chunk_gain=columns.chunk_gain[:chunks],
            sample_at=columns.sample_at[: chunks + 1],
            samples=columns.samples[:samples],
            ids=blob,
            sources=tuple(names),
            clock_ms=max(clock_ms, int(receipts.max(initial=clock_ms))),
            next_offset=max(next_offset, int(offsets.max(initial=-1)) + 1),
        )
        entry = refused.entry[:bad]
        at = refused.at[:bad]
        kept = np.minimum(refused.length[:bad], MAX_RAW)
        quarantine = Quarantine(
            offset=offsets[entry],
            receipt_ms=receipts[entry],
            source=sources[entry].astype(np.uint16),
            at=at - body_at[entry],
            reason=refused.reason[:bad].copy(),
            raw=[bytes(data[a:b]) for a, b in zip(at.tolist(), (at + kept).tolist(), strict=True)]
            if self._raw
            else [],
        )
        return batch, quarantine

    def _flags(self, source: str) -> int:
        if source == self._act_source:
            return kernel.MAY_ACT
        return kernel.TURNED_AWAY if source.startswith(TURNED_AWAY) else 0

    def _joined(self, bodies: Sequence[bytes], size: int) -> memoryview:
        """Copy bodies one after the other, zeros behind, into memory that is kept: `bytes.join` takes fresh."""
        if len(self._bytes) < size + len(_PADDING):
            self._bytes = bytearray(size + size // 4 + len(_PADDING))
        view = memoryview(self._bytes)
        at = 0
        for body in bodies:
            view[at : at + len(body)] = body
            at += len(body)
        view[at : at + len(_PADDING)] = _PADDING
        # Read-only, as bytes are: the kernel is compiled once for both.
        return view[: at + len(_PADDING)].toreadonly()

    def _buffers(self, rows: tuple[int, int, int, int, int]) -> tuple[kernel.Columns, kernel.Refused]:
        """Give columns of at least `rows` rows: those of the last call when they are large enough."""
        if (
            self._columns is None
            or self._refused is None
            or any(have < want for have, want in zip(self._rows, rows, strict=True))
        ):
            self._rows = rows
            self._columns, self._refused = _allocate(rows)
        return self._columns, self._refused


_PADDING = bytes(kernel.MARGIN)


def decode(
    entries: Sequence[Entry],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    *,
    act_source: str = "cell",
    clock_ms: int = 0,
    next_offset: int = 0,
) -> tuple[Batch, Quarantine]:
    """Decode entries of the log.

    Parameters
    ----------
    entries : sequence of (offset, receipt_ms, source, body)
        In the order of the log. A body is any bytes at all.
    low, high : float64[codes]
        Plausible range by code, of `ingest.signals.plausible_ranges`.
    act_source : str
        The one source whose packets may be acts of the cell.
    clock_ms : int
        The line's clock before the batch.
    next_offset : int
        Where the log was read from: the batch's own `next_offset` when there are no entries.

    Returns
    -------
    batch : Batch
        Accepted packets in the order of arrival, in columns of their own. An act of the cell is read by
        `act_of`.
    quarantine : Quarantine
        Refused packets; of each at most MAX_RAW bytes.

    Raises
    ------
    ValueError
        When the ranges are not two float64 arrays of the same length, or there are more than 65536 sources.
    """
    return Decoder(low, high, act_source=act_source).decode(
        entries, clock_ms=clock_ms, next_offset=next_offset
    )


def act_of(batch: Batch, row: int) -> Act | LimitAct:
    """Give the act of packet `row`.

    Raises
    ------
    ValueError
        When the packet is of another kind.
    """
    if batch.kind[row] != PacketKind.ACT:
        msg = f"packet {row} is of kind {batch.kind[row]}: an act of the cell has kind {PacketKind.ACT}"
        raise ValueError(msg)
    at = int(batch.value_at[row])
    verb, key_low, key_high, number, *words = batch.milli[at : int(batch.value_at[row + 1])].tolist()
    key = (key_high & 0xFFFF_FFFF) << 32 | key_low & 0xFFFF_FFFF
    if not words:
        return Act(verb, key, number)
    author, text = (
        bytes(batch.ids[begin : begin + length]).decode()
        for begin, length in zip(
            (int(batch.id_at[row]) + np.array(words[::2])).tolist(), words[1::2], strict=True
        )
    )
    return LimitAct(verb, key, number, author, text)


def check(
    code: npt.ArrayLike,
    value: npt.ArrayLike,
    t_ms: npt.ArrayLike,
    receipt_ms: npt.ArrayLike,
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Judge a column of readings exactly as the decoder judges those of packets.

    Parameters
    ----------
    code : int64[n]
        Of the signal.
    value : float64[n]
        In the signal's unit.
    t_ms, receipt_ms : int64[n], or one for all
        Milliseconds UTC.
    low, high : float64[codes]
        Plausible range by code, of `ingest.signals.plausible_ranges`.

    Returns
    -------
    reason : uint8[n]
        `ingest.reasons.Reason`; 0 where the reading is kept.
    milli : int32[n]
        Thousandths of the unit; -2**31 where the reading is refused.

    Raises
    ------
    ValueError
        When the columns differ in length.
    """
    low, high = _ranges(low, high)
    codes = np.ascontiguousarray(code, np.int64)
    n = len(codes)
    values = np.ascontiguousarray(value, np.float64)
    times = np.ascontiguousarray(np.broadcast_to(np.asarray(t_ms, np.int64), n))
    receipts = np.ascontiguousarray(np.broadcast_to(np.asarray(receipt_ms, np.int64), n))
    if len(values) != n:
        msg = f"{n} codes and {len(values)} values: the columns must be of one length"
        raise ValueError(msg)
    reason = np.empty(n, np.uint8)
    milli = np.empty(n, np.int32)
    kernel.check_columns(codes, values, times, receipts, low, high, reason, milli)
    return reason, milli


def _ranges(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    low = np.ascontiguousarray(low, np.float64)
    high = np.ascontiguousarray(high, np.float64)
    if low.shape != high.shape or low.ndim != 1 or len(low) > kernel.ACT_CODES:
        msg = (
            f"plausible ranges of shapes {low.shape} and {high.shape}: legal are two columns of one length, "
            f"at most {kernel.ACT_CODES}"
        )
        raise ValueError(msg)
    return low, high


def _allocate(rows: tuple[int, int, int, int, int]) -> tuple[kernel.Columns, kernel.Refused]:
    """Make columns; memory that is never touched is never taken, so that generous rows cost nothing."""
    n, values, chunks, samples, bad = rows
    columns = kernel.Columns(
        offset=np.empty(n, np.int64),
        receipt_ms=np.empty(n, np.int64),
        source=np.empty(n, np.uint16),
        kind=np.empty(n, np.uint8),
        patient=np.empty(n, np.uint64),
        id_at=np.empty(n, np.int64),
        id_len=np.empty(n, np.uint8),
        device=np.empty(n, np.uint64),
        seq=np.empty(n, np.int64),
        t_ms=np.empty(n, np.int64),
        device_ms=np.empty(n, np.int64),
        gateway_ms=np.empty(n, np.int64),
        status=np.empty(n, np.uint32),
        value_at=np.empty(n + 1, np.int64),
        code=np.empty(values, np.uint16),
        milli=np.empty(values, np.int32),
        chunk_packet=np.empty(chunks, np.int64),
        chunk_code=np.empty(chunks, np.uint16),
        chunk_rate=np.empty(chunks, np.float64),
        chunk_gain=np.empty(chunks, np.float64),
        sample_at=np.empty(chunks + 1, np.int64),
        samples=np.empty(samples, np.int16),
    )
    refused = kernel.Refused(
        entry=np.empty(bad, np.int64),
        at=np.empty(bad, np.int64),
        length=np.empty(bad, np.int64),
        reason=np.empty(bad, np.uint8),
    )
    return columns, refused
