"""Readings on their way from a file to packets: the columns that are sorted, spilled and merged."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

__all__ = ["DTYPES", "ROW_BYTES", "Rows"]


@dataclass(slots=True)
class Rows:
    """Rows as a struct of arrays, all of one length.

    A row is a reading, or a chunk of ECG. What was refused when the file was read is a row too, so that every row has
    its place in the order: `reason` says why, and `value` where its text begins among the refused texts.
    """

    t: npt.NDArray[np.int64]  # ms UTC; NO_TIME where it could not be read
    cell: npt.NDArray[
        np.int64
    ]  # number in the file: row, or row * width + column of a wide table, or first sample
    value: npt.NDArray[np.float64]  # in the signal's unit; samples of a chunk of ECG
    person: npt.NDArray[np.int32]  # number in `People`; -1 where the id is not legal
    src: npt.NDArray[np.uint16]  # number of the file
    code: npt.NDArray[np.uint16]  # of the signal; 0 where it is not known
    reason: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.t)

    def columns(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Give the arrays in the order of the fields."""
        return (self.t, self.cell, self.value, self.person, self.src, self.code, self.reason)

    def part(self, start: int, stop: int) -> "Rows":
        """Give rows `start` to `stop`, as views."""
        return Rows(
            self.t[start:stop],
            self.cell[start:stop],
            self.value[start:stop],
            self.person[start:stop],
            self.src[start:stop],
            self.code[start:stop],
            self.reason[start:stop],
        )

    def take(self, order: npt.NDArray[np.int64]) -> "Rows":
        """Give the rows in another order, copied."""
        return Rows(
            self.t[order],
            self.cell[order],
            self.value[order],
            self.person[order],
            self.src[order],
            self.code[order],
            self.reason[order],
        )

    @classmethod
    def empty(cls, size: int) -> "Rows":
        """Give `size` rows that are not filled."""
        return cls(
            np.empty(size, np.int64),
            np.empty(size, np.int64),
            np.empty(size, np.float64),
            np.empty(size, np.int32),
            np.empty(size, np.uint16),
            np.empty(size, np.uint16),
            np.empty(size, np.uint8),
        )

    @classmethod
    def joined(cls, parts: "Sequence[Rows]") -> "Rows":
        """Put rows one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([p.t for p in parts]),
            np.concatenate([p.cell for p in parts]),
            np.concatenate([p.value for p in parts]),
            np.concatenate([p.person for p in parts]),
            np.concatenate([p.src for p in parts]),
            np.concatenate([p.code for p in parts]),
            np.concatenate([p.reason for p in parts]),
        )


DTYPES = tuple(column.dtype for column in Rows.empty(0).columns())
ROW_BYTES = sum(dtype.itemsize for dtype in DTYPES)
"""Bytes of a row on disk."""

assert len(DTYPES) == len(fields(Rows))  # noqa: S101 - columns() names every field
