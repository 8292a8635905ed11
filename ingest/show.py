"""A body as people read it: its packets and what is refused, in the order of their bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.columns import NO_TIME, Batch, PacketKind, Quarantine, Status
from ingest.decode import LimitAct, act_of, decode
from ingest.packet import SET_OF_CELL, TAKE_BACK, TAKE_BACK_OF_CELL
from ingest.reasons import Reason
from ingest.signals import MILLI, SIGNALS, plausible_ranges

__all__ = ["Item", "Shown", "body"]

Item = tuple[str, float, float]
"""A questionnaire item: name, lowest and highest answer."""

_KINDS = {
    PacketKind.SPOT: "readings",
    PacketKind.ECG: "ECG",
    PacketKind.QUESTIONNAIRE: "answers",
    PacketKind.DEVICE: "device status",
    PacketKind.ACT: "act of the cell",
}
_STATUS = {bit: name.lower() for name, bit in vars(Status).items() if name.isupper()}
_RAW_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Shown:
    """The lines to print, and how many packets were accepted and refused."""

    lines: tuple[str, ...]
    accepted: int
    refused: int

    def __str__(self) -> str:
        return "\n".join([*self.lines, f"{self.accepted} accepted, {self.refused} refused"])


def body(data: bytes, source: str, receipt_ms: int, items: Mapping[int, Item] | None = None) -> Shown:
    """Decode a body and say what is in it.

    Parameters
    ----------
    data : bytes
        Concatenated packets; any bytes at all.
    source : str
        Who sent it.
    receipt_ms : int
        When it came, milliseconds UTC: later times are refused.
    items : mapping of int to Item
        Questionnaire items by code, of the protocols in use; answers to others are refused.
    """
    items = items or {}
    low, high = plausible_ranges({code: (least, most) for code, (_, least, most) in items.items()})
    batch, quarantine = decode([(0, receipt_ms, source, data)], low, high)
    lines = [*_accepted(batch, items), *_refused(quarantine)]
    return Shown(tuple(lines), len(batch), len(quarantine))


def _accepted(batch: Batch, items: Mapping[int, Item]) -> Iterator[str]:
    names = {signal.code: (signal.name, signal.ucum) for signal in SIGNALS}
    names.update({code: (name, "1") for code, (name, _, _) in items.items()})
    chunks = {int(packet): chunk for chunk, packet in enumerate(batch.chunk_packet)}
    for row in range(len(batch)):
        kind = int(batch.kind[row])
        yield (
            f"{_time(int(batch.t_ms[row]))} {_KINDS[kind]} of {batch.patient_id(row)}, "
            f"number {batch.seq[row]} of device {int(batch.device[row]):016x}{_notes(batch, row)}"
        )
        if kind == PacketKind.ACT:
            act = act_of(batch, row)
            if isinstance(act, LimitAct):
                back = act.verb in {TAKE_BACK, TAKE_BACK_OF_CELL}
                what = "takes back" if back else f"sets to {act.milli / MILLI:g}"
                whose = "cell's limit" if act.verb in {SET_OF_CELL, TAKE_BACK_OF_CELL} else "limit"
                yield f"  {act.author} {what} the {whose} of key {act.key}: {act.text}"
            else:
                yield f"  verb {act.verb}, key {act.key}, reason {act.reason}"
        elif kind == PacketKind.ECG:
            chunk = chunks[row]
            samples = int(batch.sample_at[chunk + 1] - batch.sample_at[chunk])
            rate = float(batch.chunk_rate[chunk])
            yield (
                f"  {names[int(batch.chunk_code[chunk])][0]}: {samples} samples at {rate:g} Hz "
                f"({samples / rate:.2f} s), {batch.chunk_gain[chunk]:g} units per mV"
            )
        else:
            for at in range(int(batch.value_at[row]), int(batch.value_at[row + 1])):
                name, unit = names[int(batch.code[at])]
                yield f"  {name}: {batch.milli[at] / MILLI:g} {'' if unit == '1' else unit}".rstrip()


def _refused(quarantine: Quarantine) -> Iterator[str]:
    for row, raw in enumerate(quarantine.raw):
        reason = Reason(int(quarantine.reason[row]))
        shown = raw[:_RAW_SHOWN].hex() + ("..." if len(raw) > _RAW_SHOWN else "")
        yield f"refused at byte {quarantine.at[row]}: {reason.name} ({reason.value}): {shown}"


def _notes(batch: Batch, row: int) -> str:
    """Say the other times and the status bits, where there are any."""
    notes = [
        f"{name} time {_time(int(column[row]))}"
        for name, column in (("device", batch.device_ms), ("gateway", batch.gateway_ms))
        if column[row] != NO_TIME
    ]
    status = int(batch.status[row])
    notes += [_STATUS.get(1 << bit, f"bit {bit}") for bit in range(32) if status >> bit & 1]
    return f" [{', '.join(notes)}]" if notes else ""


def _time(t_ms: int) -> str:
    try:
        return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        # A device may say any integer of its own clock.
        return f"{t_ms} ms"
