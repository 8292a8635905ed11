"""What is seen of files while they are read: what later no row shows any more, such as the units as they were written.

Nothing is changed by looking. What is kept is of one size, however long the files are.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.formats.rows import Rows
from ingest.formats.texts import encoded
from ingest.reasons import Reason
from ingest.signals import MAX_CODE
from kernels.data_tally import find_disorder

__all__ = ["SITE_COLUMNS", "FileSeen", "Observed"]

SITE_COLUMNS = ("site", "cell", "cellule", "centre", "center")
"""Columns that say which site a row is of, where the mapping names none."""

_MOST_SITES = 1000
_MOST_UNITS = 50  # spellings of a file that are kept
_REST = "(other sites)"
_NONE = "(no site)"
_LONGEST = 80


@dataclass(slots=True)
class FileSeen:
    """What was seen of one file.

    Attributes
    ----------
    rows, back : int
        Rows; those dated before one of the same patient that stands above them.
    naive, overlap, gap : int
        Times without an offset, those twice on the zone's clocks, those that clocks skip.
    refused : dict
        Rows, or cells of a wide table, that could not be read, by reason.
    first_refused : dict
        The first row of each reason, counted from 0 without the header.
    units : dict
        By signal, how often each unit was written, as it was written.
    """

    rows: int = 0
    back: int = 0
    naive: int = 0
    overlap: int = 0
    gap: int = 0
    has_site: bool = False
    refused: dict[str, int] = field(default_factory=dict)
    first_refused: dict[str, int] = field(default_factory=dict)
    units: dict[str, dict[str, int]] = field(default_factory=dict)

    def unit(self, signal: str, unit: str, count: int) -> None:
        """Count a unit as it was written."""
        of = self.units.setdefault(signal, {})
        if unit in of or len(of) < _MOST_UNITS:
            of[unit] = of.get(unit, 0) + count

    def take(self, rows: Rows, width: int) -> None:
        """Count the rows that could not be read."""
        bad = np.flatnonzero(rows.reason)
        if not len(bad):
            return
        reasons, first, counts = np.unique(rows.reason[bad], return_index=True, return_counts=True)
        for reason, at, count in zip(reasons.tolist(), first.tolist(), counts.tolist(), strict=True):
            name = Reason(reason).name
            self.refused[name] = self.refused.get(name, 0) + count
            number = int(rows.cell[bad[at]]) // max(1, width)
            self.first_refused[name] = min(number, self.first_refused.get(name, number))


class Observed:
    """What was seen of all files of a replay.

    Attributes
    ----------
    files : list of FileSeen
        By the number of the file.
    sites : list of str
    site_of : int32[people]
        Number of the site that each person was first seen at; -1 where no column said one.
    moved : int
        Rows of persons that were first seen at another site.
    back : list of int
        By site: rows dated before one of the same patient that stands above them in their file. Those of files without
        a column of sites are in `FileSeen`.
    codes : bool[MAX_CODE + 1]
        Signals that occur.
    """

    def __init__(self, files: int) -> None:
        self.files = [FileSeen() for _ in range(files)]
        self.sites: list[str] = []
        self.site_of: npt.NDArray[np.int32] = np.full(1024, -1, np.int32)
        self.moved = 0
        self.back: list[int] = []
        self.codes: npt.NDArray[np.bool_] = np.zeros(MAX_CODE + 1, np.bool_)
        self._newest: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._newest_of = -1

    def rows(
        self,
        src: int,
        person: npt.NDArray[np.int32],
        t: npt.NDArray[np.int64],
        site: pa.Array | None = None,
    ) -> None:
        """Look at rows of file `src`, in their order: person (-1: none), time, and the column of sites, if any."""
        if self._newest_of != src:
            self._newest_of = src
            self._newest = np.empty(0, np.int64)
        self._newest = _longer(self._newest, person, np.iinfo(np.int64).min)
        back = np.empty(len(person), np.bool_)
        find_disorder(np.ascontiguousarray(person, np.int32), t, self._newest, back)
        seen = self.files[src]
        seen.rows += len(person)
        seen.back += int(back.sum())
        if site is not None:
            seen.has_site = True
            self._sites(person, back, site)

    def _sites(self, person: npt.NDArray[np.int32], back: npt.NDArray[np.bool_], column: pa.Array) -> None:
        number, texts = encoded(column)
        known = {name: k for k, name in enumerate(self.sites)}
        ours = np.empty(len(texts), np.int32)
        for k, text in enumerate(texts.to_pylist()):
            name = text[:_LONGEST] or _NONE
            if name not in known and len(self.sites) >= _MOST_SITES:
                name = _REST
            if name not in known:
                known[name] = len(self.sites)
                self.sites.append(name)
                self.back.append(0)
            ours[k] = known[name]
        where = ours[number]
        for k, count in enumerate(np.bincount(where[back], minlength=len(self.sites)).tolist()):
            self.back[k] += count
        there = person >= 0
        who, where = person[there], where[there]
        self.site_of = _longer(self.site_of, person, -1)
        # The first row of a person counts: written backwards, it is the last that is written.
        fresh = self.site_of[who] < 0
        self.site_of[who[fresh][::-1]] = where[fresh][::-1]
        self.moved += int((self.site_of[who] != where).sum())

    def as_facts(self) -> dict[str, Any]:
        """Give all but `site_of`, for JSON."""
        return {
            "files": [asdict(each) for each in self.files],
            "sites": self.sites,
            "moved": self.moved,
            "back": self.back,
            "codes": np.flatnonzero(self.codes).tolist(),
        }

    def save(self, path: Path) -> None:
        """Write `site_of`."""
        np.save(path, self.site_of)

    @classmethod
    def load(cls, path: Path, facts: dict[str, Any]) -> "Observed":
        """Read what `save` wrote; `facts` as `as_facts` gave them."""
        seen = cls(0)
        seen.files = [FileSeen(**each) for each in facts["files"]]
        seen.sites, seen.moved, seen.back = list(facts["sites"]), facts["moved"], list(facts["back"])
        seen.codes[facts["codes"]] = True
        seen.site_of = np.load(path)
        return seen


def _longer(kept: npt.NDArray[Any], person: npt.NDArray[np.int32], fill: int) -> npt.NDArray[Any]:
    """Give room for every person in `person`."""
    people = int(person.max(initial=-1)) + 1
    if len(kept) >= people:
        return kept
    longer = np.full(max(people, 2 * len(kept)), fill, kept.dtype)
    longer[: len(kept)] = kept
    return longer
