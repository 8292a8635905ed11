"""Names of signals in files: ours, LOINC codes, and the questionnaire items that protocols declare."""

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from ingest.columns import PacketKind
from ingest.signals import FIRST_ITEM, MAX_CODE, SIGNALS, Kind, by_name, plausible_ranges

__all__ = ["Entry", "Item", "Vocabulary"]


@dataclass(frozen=True, slots=True)
class Item:
    """A questionnaire item: its code, and the lowest and the highest answer."""

    code: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name stands for."""

    name: str
    code: int
    ucum: str


class Vocabulary:
    """Every name that a row may give its signal, and what packets may carry.

    Attributes
    ----------
    low, high : float64[MAX_CODE + 1]
        Plausible range by code.
    kind_of : uint8[MAX_CODE + 1]
        Kind of packet by code; 0 where a file may not have it.
    """

    def __init__(self, items: Dict[str, Item] | None = None) -> None:
        items = items or {}
        self.low, self.high = plausible_ranges({item.code: (item.low, item.high) for item in items.values()})
        self.kind_of: npt.NDArray[np.uint8] = np.zeros(MAX_CODE + 1, np.uint8)
        self._entries: dict[str, Entry] = {}
        battery = by_name("battery").code
        for signal in SIGNALS:
            if signal.kind is Kind.WAVEFORM:
                self.kind_of[signal.code] = PacketKind.ECG
            if signal.kind is not Kind.SPOT:
                continue
            self.kind_of[signal.code] = PacketKind.DEVICE if signal.code == battery else PacketKind.SPOT
            entry = Entry(signal.name, signal.code, signal.ucum)
            self._entries[signal.name] = entry
            if signal.loinc:
                # One code may stand for several of ours (8867-4, heart rate): the first, which says least, is meant.
                self._entries.setdefault(signal.loinc, entry)
        self.kind_of[FIRST_ITEM:] = np.where(np.isnan(self.low[FIRST_ITEM:]), 0, PacketKind.QUESTIONNAIRE)
        for name, item in items.items():
            if name in self._entries:
                msg = f"questionnaire item {name!r} has the name of a signal"
                raise ValueError(msg)
            self._entries[name] = Entry(name, item.code, "1")

    def find(self, name: str) -> Entry | None:
        """Give what `name` stands for, or None."""
        return self._entries.get(name)

    def hint(self, name: str) -> str:
        """Say what was legal instead of `name`."""
        close = get_close_matches(name, self._entries, 3)
        legal = (
            f"near: {', '.join(close)}"
            if close
            else f"legal: {', '.join(e.name for e in self._entries.values())}"
        )
        return f"signal {name!r} is not known; {legal[:300]}"
