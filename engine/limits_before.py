"""Limits that a group of rules was judged by last, where an act has changed one since and a delay runs.

What the delay brings on a tick, before the group is judged anew, is the verdict of before and is told by the limits of
before (`engine.evidence`).
"""

import json

import numpy as np
import numpy.typing as npt

__all__ = ["Before"]

I32 = npt.NDArray[np.int32]

Was = tuple[float, str]
"""Value of a limit in its unit, and French words for where it came from."""


class Before:
    """What was, of each patient's slot by group of rules and limit."""

    def __init__(self) -> None:
        self._was: dict[int, dict[tuple[int, int], Was]] = {}
        self._slots = np.zeros(0, np.bool_)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._was)

    def remember(self, slot: int, group: int, limit: int, was: Was) -> None:
        """Keep what a group was judged by; of several acts since then the first knows it."""
        self._was.setdefault(slot, {}).setdefault((group, limit), was)
        if slot >= len(self._slots):
            wider = np.zeros(max(2 * len(self._slots), slot + 1), np.bool_)
            wider[: len(self._slots)] = self._slots
            self._slots = wider
        self._slots[slot] = True

    def of(self, slot: int, group: int) -> dict[int, Was]:
        """Give what a group was judged by, by limit; empty where nothing has changed since."""
        return {limit: was for (g, limit), was in self._was.get(slot, {}).items() if g == group}

    def judged(self, group: int, slots: I32) -> None:
        """Hear that a group was judged anew for some patients, int32[n]."""
        known = slots[slots < len(self._slots)]
        for slot in np.unique(known[self._slots[known]]).tolist():
            left = {place: was for place, was in self._was[slot].items() if place[0] != group}
            if left:
                self._was[slot] = left
            else:
                del self._was[slot]
                self._slots[slot] = False

    def snapshot(self) -> npt.NDArray[np.uint8]:
        """Give all of it for a checkpoint, as bytes."""
        rows = [
            [slot, *place, *was]
            for slot, of_slot in sorted(self._was.items())
            for place, was in of_slot.items()
        ]
        return np.frombuffer(json.dumps(rows).encode(), np.uint8)

    def restore(self, saved: npt.NDArray[np.generic]) -> None:
        """Take what `snapshot` gave."""
        for slot, group, limit, value, origin in json.loads(saved.tobytes()):
            self.remember(slot, group, limit, (value, origin))
