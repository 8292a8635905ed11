"""What a shard remembers of its patients: a struct of arrays, one place a patient, growing as they appear."""

import ctypes
import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kernels.advance import DEVICES, Readings
from kernels.directory import ID_ROW, rehash
from kernels.lifecycle import Alerts

__all__ = ["State"]

_SMALLEST_BLOCK = 1024
_LARGEST_BLOCK = 65_536
_SMALLEST_TABLE = 4096
_PAGE = 4096
_MADV_HUGEPAGE = 14
_MADV_COLLAPSE = 25  # at once, what is there already (Linux 6.1; refused before)
_LEAST_IN_LARGE_PAGES = 4 << 20
_MOST_IN_LARGE_PAGES = 32 << 20


def _ask_for_large_pages(array: npt.NDArray[np.generic]) -> None:
    """Ask Linux for pages of 2 MiB: each packet touches a dozen places far apart, each a miss of the TLB.

    Measured on 5,000 patients under the heart-failure protocol: `kernels.advance` 152 ns a reading without, 124 with.
    Not for arrays over 32 MiB: moved each time that an array grows, large pages took a million patients from 36 s to
    98 to 113; with this bound 41 to 47. A wish: where it is not granted nothing changes.
    """
    if sys.platform != "linux" or not _LEAST_IN_LARGE_PAGES <= array.nbytes <= _MOST_IN_LARGE_PAGES:
        return
    first = -(-array.ctypes.data // _PAGE) * _PAGE
    length = (array.ctypes.data + array.nbytes - first) // _PAGE * _PAGE
    for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), advice)


class State:
    """Arrays of all patients of a shard; the first axis is the patient's slot.

    Parameters
    ----------
    width : int
        Places for readings in a patient's row (sum over the series).
    series, rules, problems, contacts, limits : int
        How many of each the program has; `limits` counts those that patients may have of their own.
    """

    def __init__(
        self, *, width: int, series: int, rules: int, problems: int, contacts: int, limits: int
    ) -> None:
        self.used = 0
        self.arrays: dict[str, npt.NDArray[np.generic]] = {
            "id": np.zeros((0, ID_ROW), np.uint8),
            "hash": np.zeros(0, np.uint64),
            "t": np.zeros((0, width), np.int64),
            "v": np.zeros((0, width), np.int32),
            "length": np.zeros((0, series), np.int16),
            "newest_ms": np.zeros(0, np.int64),
            "first_ms": np.zeros(0, np.int64),
            "zone": np.zeros(0, np.uint8),
            "programmes": np.zeros(0, np.uint64),
            "limits": np.zeros((0, limits), np.float64),
            "device": np.zeros((0, 3 * DEVICES), np.int64),
            "device_turn": np.zeros(0, np.uint8),
            "phase": np.zeros((0, rules), np.uint8),
            "since": np.zeros((0, rules), np.int64),
            "level": np.zeros((0, problems), np.uint8),
            "latched": np.zeros((0, problems), np.uint8),
            "onset": np.zeros((0, problems), np.int64),
            "opener": np.zeros((0, problems), np.int16),
            "contact": np.zeros((0, contacts), np.int64),
            "due": np.zeros(0, np.int64),
            "now": np.zeros(0, np.int64),
        }
        self._local = np.zeros(0, np.int32)
        self.table = np.zeros((_SMALLEST_TABLE, 2), np.uint64)
        self._bind()

    def _bind(self) -> None:
        self.readings = Readings(*(self.arrays[name] for name in Readings._fields))  # type: ignore[arg-type]
        self.alerts = Alerts(*(self.arrays[name] for name in Alerts._fields))  # type: ignore[arg-type]

    @property
    def capacity(self) -> int:
        """Number of patients for whom there is room."""
        return len(self.arrays["due"])

    @property
    def local(self) -> npt.NDArray[np.int32]:
        """Scratch of `kernels.arrange`, all -1."""
        return self._local

    def reserve(self, patients: int) -> None:
        """Make room for `patients` in all; existing slots stay as they are.

        The arrays grow in place, by a quarter and at most 65,536 patients at a time: for large arrays the C
        library moves pages and copies nothing, so that growth needs no second copy of the state.
        """
        if patients > self.capacity:
            block = min(max(self.capacity // 4, _SMALLEST_BLOCK), _LARGEST_BLOCK)
            room = self.capacity + -(-(patients - self.capacity) // block) * block
            for array in self.arrays.values():
                array.resize((room, *array.shape[1:]), refcheck=False)
                _ask_for_large_pages(array)
            self._local.resize(room, refcheck=False)
            self._local[:] = -1
        cells = len(self.table)
        while cells < 2 * patients:
            cells *= 2
        if cells > len(self.table):
            self.table = np.zeros((cells, 2), np.uint64)
            rehash(self.slot_hash, self.used, self.table)

    def widen(self, value: float) -> int:
        """Give every patient one more limit of their own, `value` to begin with; return its column."""
        limits = self.arrays["limits"]
        more = np.full((len(limits), 1), value)
        self.arrays["limits"] = np.ascontiguousarray(np.concatenate((limits, more), axis=1))
        self._bind()
        return int(limits.shape[1])

    @property
    def slot_id(self) -> npt.NDArray[np.uint8]:
        """Ids, uint8[capacity, ID_ROW], the length in the last byte."""
        return self.arrays["id"]  # type: ignore[return-value]

    @property
    def slot_hash(self) -> npt.NDArray[np.uint64]:
        """Hash of each id."""
        return self.arrays["hash"]  # type: ignore[return-value]

    def patient_bytes(
        self, slots: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Ids of `slots`, one after the other, uint8[], ASCII; and how long each is, uint8[slots]."""
        ids = self.slot_id[slots]
        length = ids[:, ID_ROW - 1]
        return ids[:, : ID_ROW - 1][np.arange(ID_ROW - 1) < length[:, None]], length

    def patient_ids(self, slots: npt.NDArray[np.integer]) -> list[str]:
        """Ids of `slots` as text."""
        octets, length = self.patient_bytes(slots)
        text = octets.tobytes().decode("ascii")
        at = [0, *np.cumsum(length, dtype=np.int64).tolist()]
        return [text[first:last] for first, last in pairwise(at)]

    def bytes_per_patient(self) -> int:
        """Memory for one more patient, in bytes, the directory's table at its fullest included."""
        rows = sum(int(np.prod(a.shape[1:])) * a.itemsize for a in self.arrays.values())
        return rows + self._local.itemsize + 4 * self.table.shape[1] * self.table.itemsize

    def snapshot(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        """Give the used part of each array, as views, for a checkpoint."""
        for name, array in self.arrays.items():
            yield name, array[: self.used]

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take the arrays of a checkpoint.

        Raises
        ------
        ValueError
            If they are not those of this program: the message names the array.
        """
        for name, mine in self.arrays.items():
            other = arrays.get(name)
            if other is None or other.dtype != mine.dtype or other.shape[1:] != mine.shape[1:]:
                found = "missing" if other is None else f"{other.dtype}{list(other.shape[1:])}"
                msg = f"checkpoint array {name!r} is {found}, this program has {mine.dtype}{list(mine.shape[1:])}"
                raise ValueError(msg)
        used = len(arrays["due"])
        self.used = 0
        self.reserve(used)
        for name, mine in self.arrays.items():
            mine[:used] = arrays[name]
        self.used = used
        self.table[:] = 0
        rehash(self.slot_hash, used, self.table)
