"""ECG streams: chunks in, derived readings out (rate, pauses), each stream with a bounded state."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.ecg_design import design
from ingest.columns import Batch
from ingest.signals import SIGNALS, Kind
from kernels import rhythm
from kernels.ecg_chunks import feed_chunks
from kernels.ecg_readings import ROOM, ROOM_PER_S

__all__ = ["Derived", "Streams"]

_LEADS = sorted(signal.code for signal in SIGNALS if signal.kind is Kind.WAVEFORM)
_BLOCK = 64

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Derived:
    """Readings that ECG chunks gave; those of packet ``i`` are ``at[i]`` to ``at[i + 1]``."""

    at: I64
    t_ms: I64
    code: npt.NDArray[np.uint16]
    milli: npt.NDArray[np.int32]
    refused: npt.NDArray[np.bool_]  # per packet: the stream had seen that time already


class Streams:
    """ECG streams of a shard: one for each patient and lead that ever sent a chunk."""

    def __init__(self) -> None:
        self.used = 0
        self._work = rhythm.scratch()
        self.states = np.zeros((0, rhythm.ROW))
        self._of = np.zeros((0, len(_LEADS)), np.int32)  # slot, lead -> stream + 1

    def feed(self, batch: Batch, rows: I64, slots: npt.NDArray[np.int32]) -> Derived:
        """Feed the chunks of packets `rows`, whose patients are in `slots`, to their streams."""
        n = len(batch)
        refused = np.zeros(n, np.bool_)
        mine = self._mine(batch, rows, slots)
        if mine is None:
            return Derived(
                np.zeros(n + 1, np.int64),
                np.empty(0, np.int64),
                np.empty(0, np.uint16),
                np.empty(0, np.int32),
                refused,
            )
        chunks, chunk_slots = mine
        packet = batch.chunk_packet[chunks]
        rates, which = np.unique(batch.chunk_rate[chunks], return_inverse=True)
        begin, end = batch.sample_at[chunks], batch.sample_at[chunks + 1]
        seconds = int(np.sum((end - begin) // batch.chunk_rate[chunks]))
        room = ROOM * len(chunks) + ROOM_PER_S * seconds
        t_ms, code, milli = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
        count = np.empty(len(chunks), np.int64)
        total = feed_chunks(
            self._streams(chunk_slots, batch.chunk_code[chunks]), batch.t_ms[packet], batch.chunk_rate[chunks],
            batch.chunk_gain[chunks], np.array([design(float(rate)) for rate in rates]), which.astype(np.int64),
            begin, end, batch.samples, self.states, self._work, count, t_ms, code, milli,
        )  # fmt: skip
        refused[packet[count < 0]] = True
        per_packet = np.zeros(n + 1, np.int64)
        per_packet[packet + 1] = np.maximum(count, 0)
        return Derived(
            np.cumsum(per_packet), t_ms[:total], code[:total].astype(np.uint16), milli[:total], refused
        )

    @staticmethod
    def _mine(
        batch: Batch, rows: I64, slots: npt.NDArray[np.int32]
    ) -> tuple[I64, npt.NDArray[np.int32]] | None:
        """Chunks of this shard, in the order of arrival, with the slots of their patients."""
        if not len(batch.chunk_packet):
            return None
        slot_of = np.full(len(batch), -1, np.int32)
        slot_of[rows] = slots
        chunk_slots = slot_of[batch.chunk_packet]
        chunks = np.flatnonzero(chunk_slots >= 0)
        return (chunks, chunk_slots[chunks]) if len(chunks) else None

    def _streams(self, slots: npt.NDArray[np.int32], codes: npt.NDArray[np.uint16]) -> I64:
        """Stream of each chunk; new ones begin with a state of zeros."""
        top = int(slots.max()) + 1
        if top > len(self._of):
            self._of.resize((top + top // 4, len(_LEADS)), refcheck=False)
        lead = np.searchsorted(_LEADS, codes)
        flat = slots.astype(np.int64) * len(_LEADS) + lead
        of = self._of.reshape(-1)
        new, first = np.unique(flat[of[flat] == 0], return_index=True)
        new = new[np.argsort(first)]
        if len(new):
            of[new] = np.arange(self.used + 1, self.used + len(new) + 1)
            self.used += len(new)
            if self.used > len(self.states):
                rows = max(self.used, len(self.states) + len(self.states) // 4 + _BLOCK)
                self.states.resize((rows, rhythm.ROW), refcheck=False)
        streams: I64 = of[flat].astype(np.int64) - 1
        return streams

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays for a checkpoint."""
        return {"ecg_state": self.states[: self.used], "ecg_of": self._of}

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take the arrays of a checkpoint."""
        self.states = np.array(arrays["ecg_state"], np.float64)
        self._of = np.array(arrays["ecg_of"], np.int32)
        self.used = len(self.states)
