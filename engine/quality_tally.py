"""What a set of files is like, counted over all of its readings in event-time order, site by site.

The site of a row is what a column of the file says, else the folder below the one that all are in, else the file. One
pass over the sorted readings, in bounded memory: 30 bytes a patient, 24 a patient and signal, one a patient and
site, 1.5 kB a site and signal, 40 kB a site. Nothing is judged here, and nothing changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.progress import SILENT, Progress
from engine.zones import zone_arrays
from ingest.formats import Replay
from ingest.formats.observed import Observed
from ingest.formats.rows import Rows
from ingest.formats.typical import READINGS
from ingest.formats.units import units_of
from ingest.signals import FIRST_ITEM, MAX_CODE, Kind, by_code
from kernels import data_tally as kernel
from kernels.localtime import DAY_MS

__all__ = ["SILENT_DAYS", "Column", "Tally", "tally"]

SILENT_DAYS = 7
"""Days without any data that are called a silence, unless it is said otherwise."""

_ROWS = 1 << 18
_MOST_GROUPS = 1000
_FEW_GROUPS = 20
_UNITS = 4
_DST_MS = 28 * DAY_MS
_ELSEWHERE = 2
_ALL_FILES = "(all files)"


@dataclass(frozen=True, slots=True)
class Column:
    """A signal that occurs: its name and unit, the plausible range, other units by their number."""

    code: int
    name: str
    ucum: str
    low: float
    high: float
    spot: bool
    units: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Counts, as `kernels.data_tally.tally_rows` describes them.

    `groups` are the names of the sites; `group_of` the one that each person was first seen in, -1 for those without a
    reading, and `there` all of them; `refused` are rows that could not be read and are of a known site; `first_day` and
    `last_day` the local days of the first and the last reading, counted from 1970.
    """

    groups: list[str]
    columns: list[Column]
    group_of: npt.NDArray[np.int32]
    there: npt.NDArray[np.bool_]
    refused: npt.NDArray[np.int64]
    days: npt.NDArray[np.int32]
    runs: npt.NDArray[np.int32]
    digest: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    first_odd: npt.NDArray[np.int64]
    other_unit: npt.NDArray[np.int64]
    jumps: npt.NDArray[np.int64]
    bins: npt.NDArray[np.int64]
    timed: npt.NDArray[np.int64]
    quarters: npt.NDArray[np.int64]
    by_day: npt.NDArray[np.int32]
    zone: str
    silent_days: int
    group_of_file: npt.NDArray[np.int32]
    first_day: int = 0
    last_day: int = 0

    def out_of_order(self, observed: Observed) -> list[int]:
        """Give by site the rows dated before one of the same patient that stands above them in their file."""
        rows = [*observed.back, *[0] * (len(self.groups) - len(observed.back))]
        for g, seen in zip(self.group_of_file.tolist(), observed.files, strict=True):
            rows[g] += 0 if seen.has_site else seen.back
        return rows


def tally(source: Replay, zone: str, *, silent_days: int = SILENT_DAYS, progress: Progress = SILENT) -> Tally:
    """Count what `source` has; it is read and sorted before, if it was not.

    Parameters
    ----------
    source : Replay
    zone : str
        Of local days and hours.
    silent_days : int
        Days without data that make a silence.
    progress : Progress
    """
    source.prepare()
    columns = _columns(source)
    names, group_of_file = _groups(source)
    people = max(1, source.people.count)
    # Local days run ahead of UTC, and clocks of devices a little too.
    last_day = max(kernel.FIRST_DAY, source.latest_ms // DAY_MS) + 2
    found = _empty(names, columns, people, last_day - kernel.FIRST_DAY + 1, zone, silent_days, group_of_file)
    number = np.full(MAX_CODE + 1, -1, np.int16)
    number[[column.code for column in columns]] = np.arange(len(columns))
    shape = _shape(columns, source)
    clocks = _Clocks(zone)
    site_of = np.full(people, -1, np.int32)
    known = min(people, len(source.observed.site_of))
    site_of[:known] = source.observed.site_of[:known]
    has_site = np.array([seen.has_site for seen in source.observed.files], np.bool_)

    def group_of(rows: Rows) -> npt.NDArray[np.int32]:
        where = np.where(rows.person >= 0, site_of[rows.person], -1)
        return np.where(has_site[rows.src], where, group_of_file[rows.src]).astype(np.int32)

    progress.step("quality", source.progress.rows, "rows")
    for block in _moments(source):
        progress.advance(len(block))
        good = np.flatnonzero(block.reason == 0)
        refused = group_of(block.take(np.flatnonzero(block.reason)))
        found.refused += np.bincount(refused[refused >= 0], minlength=len(names))
        rows = block if len(good) == len(block) else block.take(good)
        group = group_of(rows)
        fresh = found.group_of[rows.person] < 0
        found.group_of[rows.person[fresh][::-1]] = group[fresh][::-1]
        found.there[rows.person, group] = True
        local, side = clocks.read(rows.t)
        kernel.tally_rows(  # type: ignore[call-arg]
            rows.t, rows.cell, rows.value, rows.person, rows.src, rows.code, group, local, side,
            source.latest_ms, silent_days, number, *shape, found.days, found.runs, found.digest, found.counts,
            found.first_odd, found.other_unit, found.jumps, found.bins, found.timed, found.quarters, found.by_day,
        )  # fmt: skip
    seen = found.days[:, 2] > 0
    if seen.any():
        found.first_day = int(found.days[seen, 0].min())
        found.last_day = int(found.days[seen, 1].max())
    return found


def _moments(source: Replay) -> Iterator[Rows]:
    """Give the sorted rows in blocks that end with a moment of a person."""
    waiting: list[Rows] = []
    for block in source.sorted_rows(_ROWS):
        last = np.flatnonzero((block.t != block.t[-1]) | (block.person != block.person[-1]))
        if not len(last):
            waiting.append(block)
            continue
        cut = int(last[-1]) + 1
        yield Rows.joined([*waiting, block.part(0, cut)])
        waiting = [block.part(cut, len(block))]
    if waiting:
        yield Rows.joined(waiting)


def _columns(source: Replay) -> list[Column]:
    columns = []
    low, high = source.vocabulary.low, source.vocabulary.high
    for code in np.flatnonzero(source.observed.codes).tolist():
        if code >= FIRST_ITEM:
            bounds = float(low[code]), float(high[code])
            columns.append(Column(code, f"item {code}", "1", *bounds, spot=True, units=()))
            continue
        signal = by_code(code)
        others = tuple(unit.name for unit in units_of(signal.ucum)[1 : 1 + _UNITS])
        spot = signal.kind is Kind.SPOT
        columns.append(Column(code, signal.name, signal.ucum, signal.low, signal.high, spot, others))
    return columns


def _shape(columns: list[Column], source: Replay) -> tuple[npt.NDArray[Any], ...]:
    """Give what the kernel wants to know of the signals."""
    size = len(columns)
    factor, divisor, shift = np.zeros((size, _UNITS)), np.ones((size, _UNITS)), np.zeros((size, _UNITS))
    usual = np.full((size, 2), np.nan)
    for k, column in enumerate(columns):
        usual[k] = READINGS.get(column.name, (np.nan, np.nan))
        for u, unit in enumerate(units_of(column.ucum)[1 : 1 + len(column.units)]):
            factor[k, u], divisor[k, u], shift[k, u] = unit.to.factor, unit.to.divisor, unit.to.shift
    return (
        np.array([column.spot for column in columns], np.bool_),
        source.vocabulary.low,
        source.vocabulary.high,
        factor,
        divisor,
        shift,
        usual,
    )


def _groups(source: Replay) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Give the names of the groups, those that a column says first, and the group of each file's other rows."""
    names = list(source.observed.sites)
    bare = [k for k, seen in enumerate(source.observed.files) if not seen.has_site]
    called = [source.places[k] for k in bare]
    places = len(set(called))
    # A folder or a file a patient is no site.
    if places > _MOST_GROUPS or (places > _FEW_GROUPS and source.people.count < 2 * places):
        called = [_ALL_FILES] * len(bare)
    number = {name: k for k, name in enumerate(names)}
    for name in called:
        if name not in number:
            number[name] = len(names)
            names.append(name)
    group_of_file = np.zeros(len(source.observed.files), np.int32)
    group_of_file[bare] = [number[name] for name in called]
    return names, group_of_file


def _empty(
    names: list[str],
    columns: list[Column],
    people: int,
    days: int,
    zone: str,
    silent_days: int,
    group_of_file: npt.NDArray[np.int32],
) -> Tally:
    g, s = len(names), len(columns)
    return Tally(
        groups=names,
        columns=columns,
        group_of=np.full(people, -1, np.int32),
        there=np.zeros((people, g), np.bool_),
        refused=np.zeros(g, np.int64),
        days=np.zeros((people, 5), np.int32),
        runs=np.zeros((people, s, 4), np.int32),
        digest=np.zeros((people, s), np.uint64),
        counts=np.zeros((g, s, kernel.COUNTED), np.int64),
        first_odd=np.full((g, s, 2), -1, np.int64),
        other_unit=np.zeros((g, s, _UNITS), np.int64),
        jumps=np.zeros((g, s, _UNITS), np.int64),
        bins=np.zeros((g, s, kernel.BINS), np.int64),
        timed=np.zeros((g, kernel.TIMED), np.int64),
        quarters=np.zeros((g, 3, kernel.QUARTERS), np.int64),
        by_day=np.zeros((g, days), np.int32),
        zone=zone,
        silent_days=silent_days,
        group_of_file=group_of_file,
    )


class _Clocks:
    """Local clocks of a zone, and on which side of a change of clocks a time is."""

    def __init__(self, zone: str) -> None:
        self._t, self._offset = zone_arrays(zone)
        changes = np.flatnonzero(np.diff(self._offset)) + 1
        self._changes = self._t[changes]

    def read(self, t: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        """Give local ms, and side, as the kernel takes them."""
        at = np.maximum(np.searchsorted(self._t, t, side="right") - 1, 0)
        offset = self._offset[at]
        side = np.full(len(t), _ELSEWHERE, np.int8)
        if len(self._changes):
            after = np.searchsorted(self._changes, t, side="right")
            next_one = self._changes[np.minimum(after, len(self._changes) - 1)]
            last_one = self._changes[np.maximum(after - 1, 0)]
            near = (np.abs(next_one - t) < _DST_MS) | (np.abs(t - last_one) < _DST_MS)
            side[near] = (offset > self._offset.min())[near]
        return t + offset, side
