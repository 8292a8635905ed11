"""ECG records of WFDB (PhysioNet): the header and one lead, read in pieces through the wfdb library.

What a header leaves open is decided here, the same way each time:

- a record without a date begins on 2000-01-03 at 00:00 UTC (a Monday; at its own time of day if it has one), unless the
  mapping gives another start. All such records run side by side: no alert of one depends on which others are there.
- a date without an offset, as all dates of WFDB, is of the zone given, else UTC.
- the lead is II (or MLII) where there is one, else I, else the first signal that looks like an ECG (`channels`).
- the lowest number of a storage format marks a sample as invalid: it is a gap, chunks stop before it and go on after.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from ingest.formats.channels import PER_MILLIVOLT, NoSignalError, choose, ecg_numbers, lead_code, unit_of
from ingest.formats.errors import FormatError
from ingest.formats.mapping import Mapping
from ingest.formats.rows import Rows
from ingest.formats.spill import Spill
from ingest.reasons import Reason
from ingest.signals import by_name

if TYPE_CHECKING:
    # Imported where a record is read: it brings pandas, and a service that reads no file would wait for both.
    import wfdb

__all__ = ["CHUNK_S", "UNDATED_START", "Record", "ecg_channels"]

CHUNK_S = 10
"""Seconds of a chunk, as long as nothing is missing."""

UNDATED_START = dt.datetime(2000, 1, 3, tzinfo=dt.UTC)

_PIECE_SAMPLES = 1 << 20
_INVALID = {
    "80": -(1 << 7), "508": -(1 << 7), "310": -(1 << 9), "311": -(1 << 9), "212": -(1 << 11),
    "16": -(1 << 15), "61": -(1 << 15), "160": -(1 << 15), "516": -(1 << 15),
    "24": -(1 << 23), "524": -(1 << 23), "32": -(1 << 31),
}  # fmt: skip
_MIN_RATE, _MAX_RATE = 100.0, 1000.0  # as in packets


def ecg_channels(path: Path) -> list[str]:
    """Give all ECG signals of a record in one piece, by number as `Record` takes it; none of one in segments."""
    header = _read_header(str(path.with_suffix("")), path)
    if _has_parts(header) or not header.sig_name:
        return []
    return [str(k) for k in ecg_numbers([str(each or "") for each in header.sig_name], header.units)]


@dataclass(frozen=True, slots=True)
class _Segment:
    """A piece of a record with a header of its own; a record in one piece is its own only segment."""

    name: str  # path without ending, as wfdb takes it
    start: int  # in samples of the lead
    length: int
    channel: int
    invalid: int | None
    baseline: int
    gain: float  # units of a sample per millivolt


@dataclass(slots=True)
class Record:
    """A WFDB record: one lead, in chunks.

    Attributes
    ----------
    path, src, patient : Path, int, str
        The header, the number of the file, and whose it is: the record's name.
    channel : str
        Name or number of the signal asked for; empty: the usual choice.
    rate, gain, code, lead : float, float, int, str
        Hz; units of our samples per millivolt; code of the lead, and what the file calls it.
    gap_samples : int
        Invalid or missing samples, counted when the record is indexed.
    """

    path: Path
    src: int
    patient: str
    mapping: Mapping
    piece_samples: int = _PIECE_SAMPLES
    channel: str = ""
    lead: str = ""
    rate: float = 0.0
    gain: float = 0.0
    code: int = 0
    start_ms: int = 0
    dated: bool = False
    length: int = 0
    gap_samples: int = 0
    _segments: list[_Segment] = field(default_factory=list)
    _shift: int = 0  # bits dropped where samples would not fit 16
    _held: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _held_at: int = 0

    width = 0

    def __post_init__(self) -> None:
        name = str(self.path.with_suffix(""))
        header = _read_header(name, self.path)
        channels = [] if header.n_sig is None else self._describe(name, header)
        if not channels:
            msg = f"{self.path}: no ECG signal in the header, or no file of samples beside it"
            raise NoSignalError(msg)
        self._segments = channels
        self.gain = channels[0].gain
        self.length = channels[-1].start + channels[-1].length
        self.start_ms, self.dated = self._start(header)

    def _describe(self, name: str, header: "wfdb.Record") -> list[_Segment]:
        if not _has_parts(header):
            segment = self._segment(name, header, 0)
            return [segment] if segment else []
        segments = []
        at = 0
        for part, length in zip(header.seg_name, header.seg_len, strict=True):
            if part != "~" and length > 0:
                where = str(self.path.parent / part)
                segment = self._segment(where, _read_header(where, self.path), at)
                if segment is not None:
                    segments.append(segment)
            at += length
        return segments

    def _segment(self, name: str, header: "wfdb.Record", frames: int) -> _Segment | None:
        if not header.n_sig or not header.sig_name:
            return None
        names = [str(each or "") for each in header.sig_name]
        channel = choose(self.path, names, header.units, self.channel)
        if channel < 0 or not (self.path.parent / header.file_name[channel]).is_file():
            return None
        per_frame = (header.samps_per_frame or [1] * header.n_sig)[channel]
        gain = header.adc_gain[channel] * PER_MILLIVOLT[unit_of(header.units[channel])]
        code = by_name(lead_code(names[channel])).code
        rate = float(header.fs) * per_frame
        if not self.code:
            self.code, self.rate, self.lead = code, rate, names[channel].strip()
        if code != self.code or rate != self.rate:
            msg = f"{self.path}: its segments differ in lead or rate, which is not supported"
            raise FormatError(msg)
        length = int(header.sig_len or 0) * per_frame
        if not length:
            msg = f"{self.path}: the header does not say how many samples there are"
            raise FormatError(msg)
        return _Segment(
            name, frames * per_frame, length, channel, _INVALID.get(str(header.fmt[channel]).split("+")[0]),
            int(header.baseline[channel]), gain,
        )  # fmt: skip

    def _start(self, header: "wfdb.Record") -> tuple[int, bool]:
        zone = ZoneInfo(self.mapping.time.zone) if self.mapping.time.zone else dt.UTC
        if header.base_date is not None:
            clock = header.base_time or dt.time()
            return _ms(dt.datetime.combine(header.base_date, clock, tzinfo=zone)), True
        if self.mapping.wfdb.start:
            try:
                begin = dt.datetime.fromisoformat(self.mapping.wfdb.start)
            except ValueError:
                begin = None
            if begin is None or begin.tzinfo is None:
                msg = f"wfdb.start {self.mapping.wfdb.start!r}: legal is ISO 8601 with offset, as 2026-01-05T00:00:00Z"
                raise FormatError(msg)
            return _ms(begin), True
        if header.base_time is not None:
            return _ms(dt.datetime.combine(UNDATED_START, header.base_time, tzinfo=dt.UTC)), False
        return _ms(UNDATED_START), False

    def _digital(
        self, segment: _Segment, start: int, stop: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Read samples of a segment as stored, less the baseline, and which are valid."""
        import wfdb  # noqa: PLC0415

        try:
            record = wfdb.rdrecord(
                segment.name, sampfrom=start, sampto=stop, channels=[segment.channel], physical=False,
                smooth_frames=False, return_res=32,
            )  # fmt: skip
        except Exception as error:  # what wfdb raises on damaged files is not said anywhere
            msg = f"{self.path}: {type(error).__name__}: {error}"
            raise FormatError(msg) from error
        raw = np.asarray(record.e_d_signal[0], np.int64)
        valid = np.ones(len(raw), np.bool_) if segment.invalid is None else raw != segment.invalid
        # Segments may have gains of their own; the record has that of the first.
        level = raw - segment.baseline
        if segment.gain != self._segments[0].gain:
            level = np.rint(level * (self._segments[0].gain / segment.gain)).astype(np.int64)
        return level, valid

    def read(self, spill: Spill) -> Iterator[tuple[Rows, int]]:
        """Index the record: a row a chunk. Samples are read twice, now for gaps and span, later for what they are.

        Yields
        ------
        rows : Rows
            `cell` is the first sample, `value` the number of samples.
        read : int
            Number of rows.
        """
        person = int(spill.people.numbers(pa.array([self.patient], pa.large_string()))[0])
        fault = self._fault(person)
        if fault is not None:
            reason, text = fault
            rows = Rows(
                np.array([self.start_ms]), np.zeros(1, np.int64),
                spill.refuse(pl.Series([f"{self.path.name} | {text}"])),
                np.array([person], np.int32), np.array([self.src], np.uint16), np.zeros(1, np.uint16),
                np.array([reason], np.uint8),
            )  # fmt: skip
            yield rows, 1
            return
        size = max(1, round(CHUNK_S * self.rate))
        step = max(size, self.piece_samples // size * size)
        peak = 0
        covered = 0
        for segment in self._segments:
            for start in range(0, segment.length, step):
                stop = min(start + step, segment.length)
                level, valid = self._digital(segment, start, stop)
                covered += int(valid.sum())
                if valid.any():
                    peak = max(peak, int(np.abs(level[valid]).max()))
                first, length = _chunks(valid, segment.start + start, size)
                if len(first):
                    yield self._rows(first, length, person), len(first)
        self.gap_samples = self.length - covered
        self.fit(peak)

    def whole(self) -> npt.NDArray[np.int16]:
        """Give all samples as `samples` does; -32768 where there is none. Settles the gain.

        Returns
        -------
        int16[length]
        """
        level = np.zeros(self.length, np.int64)
        valid = np.zeros(self.length, np.bool_)
        for segment in self._segments:
            part = slice(segment.start, segment.start + segment.length)
            level[part], valid[part] = self._digital(segment, 0, segment.length)
        self.fit(int(np.abs(level[valid]).max(initial=0)))
        return np.where(valid, level >> self._shift, -32768).astype(np.int16)

    def fit(self, peak: int) -> None:
        """Settle the gain such that samples up to `peak` fit 16 bits: the lowest bits go if they must."""
        self._shift = max(0, int(peak).bit_length() - 15)
        self.gain = self._segments[0].gain / (1 << self._shift)

    @property
    def shift(self) -> int:
        """Bits dropped, as `fit` settled; kept with the spill."""
        return self._shift

    @shift.setter
    def shift(self, bits: int) -> None:
        self._shift = bits
        self.gain = self._segments[0].gain / (1 << bits)

    def _fault(self, person: int) -> tuple[Reason, str] | None:
        if person < 0:
            return Reason.BAD_PATIENT, f"record name {self.patient!r}"
        if not _MIN_RATE <= self.rate <= _MAX_RATE:
            return Reason.BAD_ECG_RATE, f"{self.rate:g} Hz; legal are {_MIN_RATE:g} to {_MAX_RATE:g}"
        if not 0 < self.gain < np.inf:
            return Reason.BAD_ECG_GAIN, f"gain {self.gain:g} per mV"
        return None

    def _rows(self, first: npt.NDArray[np.int64], length: npt.NDArray[np.int64], person: int) -> Rows:
        n = len(first)
        t = self.start_ms + np.floor(first * 1000.0 / self.rate + 0.5).astype(np.int64)
        return Rows(
            t, first, length.astype(np.float64), np.full(n, person, np.int32), np.full(n, self.src, np.uint16),
            np.full(n, self.code, np.uint16), np.zeros(n, np.uint8),
        )  # fmt: skip

    def samples(self, start: int, length: int) -> npt.NDArray[np.int16]:
        """Give samples `start` to ``start + length``, within one chunk; pieces are read ahead.

        Returns
        -------
        int16[length]
            In units of ``1 / gain`` millivolt, baseline removed.
        """
        if not self._held_at <= start <= start + length <= self._held_at + len(self._held):
            segment = next(s for s in self._segments if s.start <= start < s.start + s.length)
            at = start - segment.start
            stop = min(segment.length, max(at + length, at + self.piece_samples))
            self._held, _ = self._digital(segment, at, stop)
            self._held_at = start
        at = start - self._held_at
        return (self._held[at : at + length] >> self._shift).astype(np.int16)


def _chunks(
    valid: npt.NDArray[np.bool_], start: int, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut what is valid into chunks of at most `size`, at multiples of it and at gaps: (first sample, length)."""
    n = len(valid)
    edges = np.flatnonzero(np.diff(valid)) + 1
    cuts = np.unique(np.concatenate([np.arange(0, n, size), edges, [n]]))
    first, length = cuts[:-1], np.diff(cuts)
    keep = valid[first]
    return first[keep] + start, length[keep]


def _ms(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def _has_parts(header: "wfdb.Record") -> bool:
    """Whether the record is in segments."""
    import wfdb  # noqa: PLC0415

    return isinstance(header, wfdb.MultiRecord)


def _read_header(name: str, path: Path) -> "wfdb.Record":
    import wfdb  # noqa: PLC0415

    try:
        return wfdb.rdheader(name)
    except Exception as error:  # what wfdb raises on damaged headers is not said anywhere
        msg = f"{path}: not a WFDB header: {type(error).__name__}: {error}"
        raise FormatError(msg) from error
