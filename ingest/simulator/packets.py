"""Packets of one kind of device, as columns, before they are bytes."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ingest.columns import PacketKind
from ingest.simulator.scenario import Cohort

__all__ = ["NAN", "Device", "Packets", "devices", "select", "stack"]

NAN = np.iinfo(np.int32).min
"""Stands for a value that the device gives as NaN."""

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device: first letter of its ids, kind of its packets, codes that each packet carries."""

    letter: str
    kind: int
    codes: tuple[int, ...]


SCALE = Device("W", PacketKind.SPOT, (1,))
CUFF = Device("B", PacketKind.SPOT, (2, 3, 6))
OXIMETER = Device("O", PacketKind.SPOT, (9, 7))
THERMOMETER = Device("T", PacketKind.SPOT, (11,))


def devices(cohort: Cohort) -> tuple[Device, ...]:
    """Give the devices of each patient of the cohort, in the order of their tables."""
    if not cohort.items:
        return (SCALE, CUFF, OXIMETER, THERMOMETER)
    questions = Device("Q", PacketKind.QUESTIONNAIRE, tuple(item.code for item in cohort.items.values()))
    return (SCALE, CUFF, OXIMETER, THERMOMETER, questions)


@dataclass(slots=True)
class Packets:
    """``n`` packets of one kind of device; times in ms UTC."""

    device: Device
    patient: I64  # number from 0
    true_ms: I64  # when it was measured
    t_ms: I64  # when the packet says it was
    device_ms: I64  # the device's own clock
    gateway_ms: I64
    receipt_ms: I64
    seq: I64
    status: npt.NDArray[np.uint32]
    milli: npt.NDArray[np.int32]  # [n, codes]; NAN where the device says NaN
    again: npt.NDArray[np.bool_]  # sent a second time

    def __len__(self) -> int:
        return len(self.patient)


_COLUMNS = tuple(field.name for field in fields(Packets) if field.name != "device")


def select(packets: Packets, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Packets:
    """Give some of the packets, by index or mask."""
    return Packets(packets.device, **{name: getattr(packets, name)[rows] for name in _COLUMNS})


def stack(parts: list[Packets]) -> Packets:
    """Put packets of the same device one after another."""
    return Packets(
        parts[0].device,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS},
    )
