"""The patients of a replay: each id kept once, each row carrying its number."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.formats.texts import text_bytes
from kernels import directory
from kernels.check import hash_ids

__all__ = ["People"]

_FIRST = 1024


class People:
    """Ids of patients by number, in order of first appearance.

    Attributes
    ----------
    count : int
    hashes : uint64[capacity]
        Hash of each id, as `kernels.identity.hash_bytes` gives it.
    ids : uint8[capacity, ID_ROW]
        Each id, its length in the last byte.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hashes = np.zeros(_FIRST, np.uint64)
        self.ids = np.zeros((_FIRST, directory.ID_ROW), np.uint8)
        self._index()

    @property
    def lengths(self) -> npt.NDArray[np.uint8]:
        """Bytes of each id."""
        return self.ids[:, -1]

    def _index(self) -> None:
        self._table = np.zeros((2 * len(self.hashes), 2), np.uint64)
        directory.rehash(self.hashes, self.count, self._table)

    def _grow(self, needed: int) -> None:
        if needed <= len(self.hashes):
            return
        size = 1 << (needed - 1).bit_length()
        hashes = np.zeros(size, np.uint64)
        hashes[: self.count] = self.hashes[: self.count]
        ids = np.zeros((size, directory.ID_ROW), np.uint8)
        ids[: self.count] = self.ids[: self.count]
        self.hashes, self.ids = hashes, ids
        self._index()

    def numbers(self, texts: pa.Array) -> npt.NDArray[np.int32]:
        """Give the number of each id, entering those not seen before.

        Parameters
        ----------
        texts : Array[n] of large_string
            Without nulls; best each id once.

        Returns
        -------
        int32[n]
            -1 where the text is not 1 to 40 printable ASCII characters.
        """
        n = len(texts)
        raw, at = text_bytes(texts)
        hashes = np.empty(n, np.uint64)
        legal = np.empty(n, np.bool_)
        hash_ids(raw, at, hashes, legal)
        numbers = np.full(n, -1, np.int32)
        rows = np.flatnonzero(legal)
        if not len(rows):
            return numbers
        self._grow(self.count + len(rows))
        lengths = np.where(legal, np.diff(at), 0).astype(np.uint8)
        slots = np.empty(len(rows), np.int32)
        asked = (rows, hashes, at[:-1], lengths, raw, self._table, self.ids)
        if directory.find(*asked, slots):
            self.count = directory.enter(*asked, self.hashes, slots, self.count)
        numbers[rows] = slots
        return numbers

    def save(self, path: Path) -> None:
        """Write what `load` reads."""
        with path.open("wb") as file:
            np.savez(file, hashes=self.hashes[: self.count], ids=self.ids[: self.count])

    @classmethod
    def load(cls, path: Path) -> "People":
        """Read what `save` wrote; ids can be looked up in it, and entered."""
        people = cls()
        with np.load(path) as kept:
            hashes, ids = kept["hashes"], kept["ids"]
        people._grow(len(hashes))
        people.count = len(hashes)
        people.hashes[: people.count] = hashes
        people.ids[: people.count] = ids
        people._index()
        return people
