"""A batch of packets as columns: what decoding gives and what a shard takes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NO_TIME", "Batch", "PacketKind", "Quarantine", "Status"]

NO_TIME = np.iinfo(np.int64).min
"""Stands for a device or gateway time that was not given."""


class PacketKind:
    """Kinds of packet, element 0 of each."""

    SPOT = 1
    ECG = 2
    QUESTIONNAIRE = 3
    DEVICE = 4
    ACT = 5


class Status:
    """Bits of the status word that a gateway sets from the device's own flags."""

    TEST = 1 << 0  # demonstration or test data: quarantined
    INVALID = 1 << 1  # cuff loose, movement, bad position, sensor off, reading invalid: quarantined
    QUESTIONABLE = 1 << 2  # low perfusion, early estimate: kept, marked in history
    IRREGULAR_PULSE = 1 << 3
    CLOCK_NOT_SET = 1 << 4  # the event time is the gateway's
    STORED = 1 << 5  # from the device's memory
    TYPED = 1 << 6  # entered by a person
    LOW_BATTERY = 1 << 7


@dataclass(slots=True)
class Batch:
    """Packets as a struct of arrays, in the order of arrival.

    Per packet (``n``): `receipt_ms`, `t_ms`, `device_ms`, `gateway_ms` are milliseconds UTC. `patient` and
    `device` are 64-bit hashes of the ids; the patient's id itself is ``ids[id_at : id_at + id_len]``, ASCII.
    Values of packet ``i`` are ``value_at[i]`` to ``value_at[i + 1]`` in `code` and `milli` (thousandths of the
    signal's unit). ECG chunk ``j`` belongs to packet ``chunk_packet[j]``; its samples are
    ``samples[sample_at[j] : sample_at[j + 1]]`` in units of ``1 / chunk_gain[j]`` millivolt.
    """

    offset: npt.NDArray[np.int64]  # of the log entry that brought the packet; row number for a file
    receipt_ms: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint16]  # index into `sources`
    kind: npt.NDArray[np.uint8]
    patient: npt.NDArray[np.uint64]
    id_at: npt.NDArray[np.int64]
    id_len: npt.NDArray[np.uint8]
    device: npt.NDArray[np.uint64]
    seq: npt.NDArray[np.int64]
    t_ms: npt.NDArray[np.int64]
    device_ms: npt.NDArray[np.int64]
    gateway_ms: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint32]
    value_at: npt.NDArray[np.int64]  # n + 1
    code: npt.NDArray[np.uint16]
    milli: npt.NDArray[np.int32]
    chunk_packet: npt.NDArray[np.int64]
    chunk_code: npt.NDArray[np.uint16]
    chunk_rate: npt.NDArray[np.float64]  # Hz
    chunk_gain: npt.NDArray[np.float64]  # samples' units per millivolt
    sample_at: npt.NDArray[np.int64]  # chunks + 1
    samples: npt.NDArray[np.int16]
    ids: npt.NDArray[np.uint8]
    sources: tuple[str, ...]
    clock_ms: int
    """The line's clock after the batch: the greatest receipt time so far, also when no packet came."""
    next_offset: int
    """Where the log is read on: one past the last entry of the batch."""

    def __len__(self) -> int:
        return len(self.t_ms)

    def patient_id(self, row: int) -> str:
        """Id of the patient of packet `row`."""
        at = int(self.id_at[row])
        return self.ids[at : at + int(self.id_len[row])].tobytes().decode("ascii")


@dataclass(slots=True)
class Quarantine:
    """Refused packets as columns; `raw` holds the bytes of each, where they were asked for."""

    offset: npt.NDArray[np.int64]  # of the log entry
    receipt_ms: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint16]
    at: npt.NDArray[np.int64]  # byte offset within that entry's body (row number for a file)
    reason: npt.NDArray[np.uint8]
    raw: list[bytes]

    def __len__(self) -> int:
        return len(self.at)
