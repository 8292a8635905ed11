"""From counts to what a person should look at: units, clocks, duplicates, silences, implausible and copied values.

A finding says that something looks so, with its figures and where to look; it decides nothing. Limits of suspicion are
this project's judgement, set such that the simulator's clean cohorts have none.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt

from engine.quality_tally import Column, Tally
from ingest.formats import Replay
from ingest.formats.typical import MEDIANS
from ingest.formats.units import Conversion, conversion, units_of
from kernels import data_tally as kernel

__all__ = ["ALL", "SERIOUS", "Finding", "findings", "median", "silences", "written_units"]

ALL = ""
"""Group of a finding about everything."""

SERIOUS = {
    "refused", "mixed_offsets", "unit_wrong", "unit_median", "unit_mixed", "future", "ancient", "midnight_local",
    "midnight_utc", "dst_later", "dst_earlier", "implausible", "conflict", "swapped", "constant", "copied",
}  # fmt: skip
"""Kinds of findings by which a replay is likely to be wrong."""

_BY_SHARE = {"refused", "future", "ancient", "implausible", "conflict"}
"""Of these, a few among many are what every programme has: serious from `_SAID_SHARE` on."""

_FEW = 3  # less is chance
_SAID_SHARE = 0.005
_SWAPPED_SHARE = 0.01
_DISORDER_SHARE = 0.01
_MIDNIGHT_SHARE = 0.2
_DAYS_SHARE = 0.6
_CONSTANT_LEAST = 20
_COPIED_LEAST = 20
_CLOCK_LEAST = 500  # readings on either side
_MOST_FILES = 5
_QUARTERS_AN_HOUR = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """What looks so.

    Attributes
    ----------
    kind : str
        As `engine.quality_words` has its sentences.
    group, signal : str
        Site or file (`ALL`: everything), and signal; empty where it is of none.
    count, of : int
        How many, of how many.
    detail : dict
        Other figures and names of the sentence.
    where : str
        File and row of the first, counted as a spreadsheet does: the header is row 1.
    """

    kind: str
    group: str = ALL
    signal: str = ""
    count: int = 0
    of: int = 0
    detail: dict[str, str | float] = field(default_factory=dict)
    where: str = ""

    @property
    def serious(self) -> bool:
        """Whether a replay is likely to be wrong by it."""
        many = self.kind not in _BY_SHARE or self.count >= _SAID_SHARE * self.of
        return self.kind in SERIOUS and many


def findings(tally: Tally, source: Replay) -> list[Finding]:
    """Give all findings, the serious ones first, then by group and signal."""
    found = list(
        chain(
            _files(source),
            _clocks(source),
            _spellings(source),
            _units(tally, source),
            _times(tally),
            _readings(tally, source),
            _silences(tally),
            _copies(tally),
        )
    )
    return sorted(found, key=lambda each: (not each.serious, each.group, each.kind, each.signal))


def median(column: Column, bins: npt.NDArray[np.int64]) -> float | None:
    """Give the median of plausible readings, to half a bin of the histogram; None without any."""
    total = int(bins.sum())
    if not total:
        return None
    at = int(np.searchsorted(np.cumsum(bins), (total + 1) // 2))
    return column.low + (at + 0.5) * (column.high - column.low) / len(bins)


def _place(source: Replay, src: int, cell: int) -> str:
    if src < 0:
        return ""
    name, width = source.sources[src], source.widths[src]
    # A spreadsheet counts from 1, and the header is its first row.
    return f"{name}, row {cell // max(1, width) + 2}"


def _files(source: Replay) -> Iterator[Finding]:
    """Rows that could not be read, and patients who are at several sites."""
    seen = source.observed.files
    rows = sum(each.rows for each in seen)
    refused: Counter[str] = Counter()
    for each in seen:
        refused.update(each.refused)
    for reason, count in sorted(refused.items()):
        files = [k for k, each in enumerate(seen) if each.refused.get(reason)]
        first = files[0]
        where = _place(source, first, seen[first].first_refused[reason] * max(1, source.widths[first]))
        detail: dict[str, str | float] = {"reason": reason, "files": len(files)}
        yield Finding("refused", ALL, "", count, rows, detail, where)
    if source.observed.moved:
        yield Finding("moved", ALL, "", source.observed.moved, rows)


def _clocks(source: Replay) -> Iterator[Finding]:
    """Times without an offset, and rows that go back in time, as they stood in the files."""
    seen = source.observed.files
    names = source.sources
    naive = sum(each.naive + each.gap for each in seen)
    if naive:
        detail: dict[str, str | float] = {
            "files": sum(each.naive + each.gap > 0 for each in seen),
            "overlap": sum(each.overlap for each in seen),
            "gap": sum(each.gap for each in seen),
        }
        yield Finding("naive", ALL, "", naive, sum(each.rows for each in seen), detail)
    mixed = [
        k
        for k, each in enumerate(seen)
        if each.naive > 0 and each.naive + each.gap + sum(each.refused.values()) < each.rows
    ]
    if mixed:
        rows = [sum(each) for each in zip(*((seen[k].naive, seen[k].rows) for k in mixed), strict=True)]
        shown = ", ".join(names[k] for k in mixed[:_MOST_FILES])
        yield Finding("mixed_offsets", ALL, "", rows[0], rows[1], {"files": len(mixed), "names": shown})
    worst = sorted(
        (k for k, each in enumerate(seen) if each.back >= max(_FEW, _DISORDER_SHARE * each.rows)),
        key=lambda k: -seen[k].back / seen[k].rows,
    )
    for k in worst[:_MOST_FILES]:
        yield Finding("disorder", names[k], "", seen[k].back, seen[k].rows)
    if len(worst) > _MOST_FILES:
        yield Finding("disorder_more", ALL, "", len(worst) - _MOST_FILES, len(seen))


def written_units(source: Replay) -> dict[str, Counter[str]]:
    """Give by signal how often each unit was written; ``kg (mapping)`` where the file wrote none."""
    written: dict[str, Counter[str]] = {}
    for each in source.observed.files:
        for signal, units in each.units.items():
            written.setdefault(signal, Counter()).update(units)
    return dict(sorted(written.items()))


def _spellings(source: Replay) -> Iterator[Finding]:
    """Signals whose unit is written in several ways."""
    for signal, counts in written_units(source).items():
        if len({text.removesuffix(" (mapping)") for text in counts}) > 1:
            detail: dict[str, str | float] = {"units": _said(counts)}
            yield Finding("unit_spellings", ALL, signal, len(counts), sum(counts.values()), detail)


def _said(units: Counter[str]) -> str:
    return ", ".join(f"{unit or '(none)'} {count:,}" for unit, count in units.most_common(6))


def _units(tally: Tally, source: Replay) -> Iterator[Finding]:
    """Units that look wrong, by what readings would be in another one."""
    written = written_units(source)
    for g, s, column in _pairs(tally):
        counts = tally.counts[g, s]
        group, name = tally.groups[g], column.name
        said = ", ".join(unit or "(none)" for unit in written.get(name, ())) or column.ucum
        of = int(counts[kernel.READINGS])
        odd = int(counts[kernel.IMPLAUSIBLE])
        fits = tally.other_unit[g, s]
        most = int(fits.max())
        if most >= max(_FEW, _SAID_SHARE * of) and 2 * most >= odd:
            # 14.2 said to be mmHg may be cmHg or kPa: both are named.
            names = [
                unit for unit, fit in zip(column.units, fits.tolist(), strict=False) if fit >= 0.8 * most
            ]
            detail: dict[str, str | float] = {"unit": " or ".join(names), "said": said}
            yield Finding(
                "unit_wrong", group, name, most, of, detail, _place(source, *_first_odd(tally, g, s))
            )
        good = of - odd
        middle = median(column, tally.bins[g, s])
        if middle is not None and good >= _CONSTANT_LEAST:
            looks = _looks_like(column, middle, written.get(name, Counter()))
            if looks:
                detail = {"unit": looks, "said": said, "ours": column.ucum, "median": round(middle, 1)}
                yield Finding("unit_median", group, name, good, good, detail)
        for u, unit_name in enumerate(column.units):
            jumps = int(tally.jumps[g, s, u])
            if jumps >= _FEW and jumps >= 0.0005 * good:
                detail = {"unit": unit_name, "ours": column.ucum}
                yield Finding("unit_mixed", group, name, jumps, good, detail)


def _first_odd(tally: Tally, g: int, s: int) -> tuple[int, int]:
    src, cell = tally.first_odd[g, s].tolist()
    return src, cell


def _looks_like(column: Column, middle: float, written: Counter[str]) -> str:
    """Name the unit in which a median that is not typical would be; empty where it is typical, or in none."""
    low, high = MEDIANS.get(column.name, (-np.inf, np.inf))
    if low <= middle <= high:
        return ""
    for unit in units_of(column.ucum)[1 : 1 + len(column.units)]:
        if low <= middle * unit.to.factor / unit.to.divisor + unit.to.shift <= high:
            return unit.name
    # What was converted from another unit may have been in ours.
    for text in written:
        to = conversion(text.removesuffix(" (mapping)"), column.ucum)
        if (
            to is not None
            and to != Conversion()
            and low <= (middle - to.shift) * to.divisor / to.factor <= high
        ):
            return column.ucum
    return ""


def _times(tally: Tally) -> Iterator[Finding]:
    """Clocks: times to come, times of clocks never set, midnights, habits that jump when clocks change."""
    whole = tally.quarters.sum(axis=1)
    for g, group in enumerate(tally.groups):
        timed = tally.timed[g]
        n = int(whole[g].sum())
        for kind, count in (("future", timed[kernel.FUTURE]), ("ancient", timed[kernel.ANCIENT])):
            if count:
                yield Finding(kind, group, "", int(count), n + int(count))
        for kind, count in (
            ("midnight_local", timed[kernel.MIDNIGHT_LOCAL]),
            ("midnight_utc", timed[kernel.MIDNIGHT_UTC]),
        ):
            if count >= max(_CONSTANT_LEAST, _MIDNIGHT_SHARE * n):
                yield Finding(kind, group, "", int(count), n)
        winter, summer = tally.quarters[g, 0], tally.quarters[g, 1]
        if min(winter.sum(), summer.sum()) >= _CLOCK_LEAST:
            moved, better = _moved(winter, summer, 8)
            if abs(abs(moved) - _QUARTERS_AN_HOUR) <= 1 and better < 0.6:
                detail: dict[str, str | float] = {"minutes": 15 * moved, "zone": tally.zone}
                kind = "dst_later" if moved > 0 else "dst_earlier"
                yield Finding(kind, group, "", int(winter.sum() + summer.sum()), n, detail)
        others = whole.sum(axis=0) - whole[g]
        if min(n, others.sum()) >= _CLOCK_LEAST:
            moved, better = _moved(others, whole[g], 48)
            if abs(moved) >= _QUARTERS_AN_HOUR - 1 and better < 0.4:
                yield Finding("clock_differs", group, "", n, n, {"hours": moved / _QUARTERS_AN_HOUR})


def _moved(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], most: int) -> tuple[int, float]:
    """Give by how many quarters `other` is later than `one`, and how much better it fits so (1: not at all)."""
    a, b = one / one.sum(), other / other.sum()
    apart = {k: float(np.abs(a - np.roll(b, -k)).sum()) for k in range(-most, most + 1)}
    best = min(apart, key=lambda k: (apart[k], abs(k)))
    return best, apart[best] / apart[0] if apart[0] else 1.0


def _readings(tally: Tally, source: Replay) -> Iterator[Finding]:
    """Implausible readings, the same again, pressures the wrong way round."""
    for g, s, column in _pairs(tally):
        counts = tally.counts[g, s]
        group, name, n = tally.groups[g], column.name, int(counts[kernel.READINGS])
        odd = int(counts[kernel.IMPLAUSIBLE])
        if odd:
            detail: dict[str, str | float] = {"low": column.low, "high": column.high, "ours": column.ucum}
            where = _place(source, *_first_odd(tally, g, s))
            yield Finding("implausible", group, name, odd, n, detail, where)
        for kind, k in (("same", kernel.SAME), ("conflict", kernel.CONFLICT)):
            if counts[k]:
                yield Finding(kind, group, name, int(counts[k]), n)
    for g, group in enumerate(tally.groups):
        pairs, swapped = (int(tally.timed[g, k]) for k in (kernel.PAIRS, kernel.SWAPPED))
        if swapped >= max(_FEW, _SWAPPED_SHARE * pairs):
            yield Finding("swapped", group, "", swapped, pairs)


def _silences(tally: Tally) -> Iterator[Finding]:
    """Patients without data for long, and days that have data."""
    expected, days, silent, longest = silences(tally)
    for g, group in enumerate(tally.groups):
        mine = tally.group_of == g
        n = int(mine.sum())
        if not n:
            continue
        quiet = int(silent[mine].sum())
        if quiet:
            detail: dict[str, str | float] = {"days": tally.silent_days, "longest": int(longest[mine].max())}
            yield Finding("silent", group, "", quiet, n, detail)
        share = float(days[mine].sum() / expected[mine].sum())
        if share < _DAYS_SHARE:
            yield Finding("few_days", group, "", int(days[mine].sum()), int(expected[mine].sum()))


def silences(
    tally: Tally,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Give days expected and days with data of each person, whether a silence was too long, and the longest.

    Days are expected from a person's first to the last day of the site: who left is silent too.
    """
    days = tally.days.astype(np.int64)
    there = days[:, 2] > 0
    # The last day that has a reading; `group_of` of who has none is not looked at.
    ends = np.array([int(np.flatnonzero(each)[-1]) if each.any() else 0 for each in tally.by_day])
    end = np.maximum(ends[tally.group_of] + kernel.FIRST_DAY, days[:, 1])
    expected = np.where(there, end - days[:, 0] + 1, 0)
    longest = np.where(there, np.maximum(days[:, 3], end - days[:, 1]), 0)
    return expected, days[:, 2], longest > tally.silent_days, longest


def _copies(tally: Tally) -> Iterator[Finding]:
    """Values that do not change, and patients who have the same."""
    for s, column in enumerate(tally.columns):
        if not column.spot or column.ucum == "1" or column.name == "battery":
            continue
        seen, longest = tally.runs[:, s, 0], tally.runs[:, s, 3]
        constant = (seen >= _CONSTANT_LEAST) & (longest == seen)
        for g, group in enumerate(tally.groups):
            mine = tally.group_of == g
            count = int((constant & mine).sum())
            if count:
                most: dict[str, str | float] = {"longest": int(longest[constant & mine].max())}
                yield Finding("constant", group, column.name, count, int((seen[mine] > 0).sum()), most)
        enough = np.flatnonzero((seen >= _COPIED_LEAST) & ~constant)
        _, back, times = np.unique(tally.digest[enough, s], return_inverse=True, return_counts=True)
        twice = enough[times[back] > 1]
        if len(twice):
            where = {tally.groups[g] for g in tally.group_of[twice].tolist() if g >= 0}
            detail: dict[str, str | float] = {"sites": ", ".join(sorted(where)[:_MOST_FILES])}
            yield Finding("copied", ALL, column.name, len(twice), int((seen > 0).sum()), detail)


def _pairs(tally: Tally) -> Iterator[tuple[int, int, Column]]:
    """Give the groups and spot signals that have readings."""
    for g, s in np.argwhere(tally.counts[:, :, kernel.READINGS] > 0).tolist():
        if tally.columns[s].spot:
            yield g, s, tally.columns[s]
