"""What a set of files is like before it is replayed: a report for a person (text) and for a program (JSON).

Nothing is changed and nothing is judged: the same rows, read by the same code as a replay reads them, are counted and
looked at. What looks wrong is said; what is done about it is for whoever sends the files or writes the mapping.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.progress import SILENT, Progress
from engine.protocols import load_all
from engine.quality_findings import Finding, findings, median, silences, written_units
from engine.quality_tally import SILENT_DAYS, Tally, tally
from engine.quality_words import said
from ingest.formats import FormatError, Item, Mappings, Replay, find_paths, open_paths
from ingest.formats.suggest import Suggestion, suggest
from ingest.formats.vocabulary import Vocabulary
from kernels import data_tally as kernel

__all__ = ["SITE_COLUMNS", "Quality", "SignalAt", "Site", "figures", "inspect", "look_at", "propose"]

_SHOWN = 40  # sites, and findings of a kind, in the terminal
_ALL = "see the JSON or the page"


@dataclass(frozen=True, slots=True)
class SignalAt:
    """A signal at a site: readings, those that are implausible, there twice, or contradicted; median, in `unit`."""

    name: str
    unit: str
    readings: int
    implausible: int
    same: int
    conflict: int
    median: float | None


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of a site: a name in a column, a folder, or a file.

    `days_share` is of days from each patient's first reading to the end of the site's, those with a reading. `silent`
    are patients with a gap of more than `Quality.silent_days`. `by_day` has the readings of each day from
    `Quality.first_day` on.
    """

    name: str
    patients: int
    rows_refused: int
    out_of_order: int
    implausible: int
    same: int
    conflict: int
    future: int
    ancient: int
    silent: int
    longest_gap_days: int
    days_share: float | None
    signals: tuple[SignalAt, ...]
    by_day: tuple[int, ...]

    @property
    def readings(self) -> int:
        """Readings and strips of ECG with a time that can be."""
        return sum(self.by_day)


@dataclass(frozen=True, slots=True)
class Quality:
    """The report.

    `rows` are those of the files, `refused` those that cannot be read, by reason; `units` how units are written, by
    signal. Days are local to `zone`, ISO; empty where nothing could be read.
    """

    files: int
    rows: int
    patients: int
    zone: str
    silent_days: int
    first_day: str
    last_day: str
    refused: dict[str, int]
    naive_times: int
    units: dict[str, dict[str, int]]
    sites: tuple[Site, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def serious(self) -> int:
        """How many findings are such that a replay is likely to be wrong."""
        return sum(each.serious for each in self.findings)

    def as_json(self) -> dict[str, object]:
        """Give all of it for JSON; each finding with its sentence."""
        out = asdict(self) | {"serious": self.serious}
        for kept, each in zip(out["findings"], self.findings, strict=True):
            kept |= {"serious": each.serious, "text": said(each)}
        for kept, site in zip(out["sites"], self.sites, strict=True):
            kept["readings"] = site.readings
        return out

    def write(self, path: Path) -> None:
        """Write it as JSON; the same files give the same bytes."""
        path.write_text(json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        readings = sum(site.readings for site in self.sites)
        span = f"{self.first_day} to {self.last_day}" if self.first_day else "no day"
        people = f"{readings:,} readings of {self.patients:,} patients"
        lines = [f"{self.files:,} files, {self.rows:,} rows: {people}, {span} ({self.zone})"]
        lines += [f"  cannot be read, {reason}: {count:,} rows" for reason, count in self.refused.items()]
        lines += _table(self.sites)
        for title, serious in (("likely to make a replay wrong", True), ("to know", False)):
            some = [f"  - {said(each)}" for each in self.findings if each.serious is serious]
            lines += [f"{title}:", *some[:_SHOWN]] if some else []
            lines += [f"  - and {len(some) - _SHOWN:,} more: {_ALL}"] if len(some) > _SHOWN else []
        if not self.findings:
            lines.append("nothing to remark")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


SITE_COLUMNS = (
    "patients", "readings", "days, %", "refused", "implausible", "twice", "contradicted", "out of order", "with gaps",
)  # fmt: skip
"""Figures of a site in a table, as `figures` gives them."""


def figures(site: Site) -> tuple[int | None, ...]:
    """Give a site's figures as the columns of a table have them; None where there is none."""
    share = None if site.days_share is None else round(100 * site.days_share)
    numbers = (site.rows_refused, site.implausible, site.same, site.conflict, site.out_of_order, site.silent)
    return site.patients, site.readings, share, *numbers


def _table(sites: Sequence[Site]) -> list[str]:
    rows: list[tuple[str, ...]] = [("site", *SITE_COLUMNS)]
    rows += [
        (site.name, *("-" if each is None else f"{each:,}" for each in figures(site)))
        for site in sites[:_SHOWN]
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  "
        + "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    more = len(sites) - _SHOWN
    return [*lines, f"  and {more:,} more sites: {_ALL}"] if more > 0 else lines


def inspect(
    paths: Sequence[Path],
    *,
    mapping: Mappings | None = None,
    zone: str = "Europe/Paris",
    protocols: Sequence[str | Path] = (),
    silent_days: int = SILENT_DAYS,
    latest_ms: int | None = None,
    progress: Progress = SILENT,
) -> Quality:
    """Read files as a replay would, and say what they are like.

    Parameters
    ----------
    paths : sequence of Path
        Tables, WFDB records, and folders of these.
    mapping : Mappings, optional
        How tables are read.
    zone : str
        Of times without an offset, where the mapping names none, and of local days.
    protocols : sequence
        Whose questionnaire items may be in the files.
    silent_days : int
        Days without data that make a gap.
    latest_ms : int, optional
        Events may lie five minutes after it at most; now when not given.
    progress : Progress

    Raises
    ------
    FormatError
        A file cannot be used as a whole, or a log was given: it has no columns to look at.
    """
    found = find_paths(paths)
    if found.logs:
        what = "is a log, whose packets were judged when they came"
        msg = f"{found.logs[0]}: {what}; legal are tables, ECG records, and folders of these"
        raise FormatError(msg)
    items = _items(protocols)
    with open_paths(paths, mapping=mapping, zone=zone, items=items, latest_ms=latest_ms) as source:
        progress.step("read and sort", source.progress.files, "files")
        source.prepare(progress.advance)
        return look_at(source, zone, silent_days=silent_days, progress=progress)


def propose(
    paths: Sequence[Path],
    *,
    mapping: Mappings | None = None,
    zone: str = "Europe/Paris",
    protocols: Sequence[str | Path] = (),
    given: str = "",
) -> Suggestion | None:
    """Propose a mapping for tables that `mapping`, written as `given`, does not fit: see `ingest.formats.suggest`."""
    return suggest(paths, mapping or Mappings(), Vocabulary(_items(protocols)), zone=zone, given=given)


def _items(protocols: Sequence[str | Path]) -> dict[str, Item]:
    return {
        item.name: Item(item.code, *item.range)
        for protocol in load_all(protocols)
        for item in protocol.items.values()
    }


def look_at(
    source: Replay, zone: str, *, silent_days: int = SILENT_DAYS, progress: Progress = SILENT
) -> Quality:
    """Say what files are like that are opened already, for a replay for instance."""
    counted = tally(source, zone, silent_days=silent_days, progress=progress)
    seen = source.observed.files
    refused: dict[str, int] = {}
    for each in seen:
        for reason, count in each.refused.items():
            refused[reason] = refused.get(reason, 0) + count
    known = counted.last_day >= counted.first_day > 0
    return Quality(
        files=len(seen),
        rows=source.progress.rows_read,
        patients=int((counted.days[:, 2] > 0).sum()),
        zone=zone,
        silent_days=silent_days,
        first_day=_iso(counted.first_day) if known else "",
        last_day=_iso(counted.last_day) if known else "",
        refused=dict(sorted(refused.items())),
        naive_times=sum(each.naive for each in seen),
        units={signal: dict(units) for signal, units in written_units(source).items()},
        sites=_sites(counted, source),
        findings=tuple(findings(counted, source)),
        notes=tuple(source.notes),
    )


def _iso(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _sites(counted: Tally, source: Replay) -> tuple[Site, ...]:
    expected, days, silent, longest = silences(counted)
    disorder = counted.out_of_order(source.observed)
    first = counted.first_day - kernel.FIRST_DAY
    span = slice(max(first, 0), counted.last_day - kernel.FIRST_DAY + 1)
    out = []
    for g, name in enumerate(counted.groups):
        mine = counted.group_of == g
        due = int(expected[mine].sum())
        counts = counted.counts[g].sum(axis=0)
        out.append(
            Site(
                name=name,
                patients=int(counted.there[:, g].sum()),
                rows_refused=int(counted.refused[g]),
                out_of_order=disorder[g],
                implausible=int(counts[kernel.IMPLAUSIBLE]),
                same=int(counts[kernel.SAME]),
                conflict=int(counts[kernel.CONFLICT]),
                future=int(counted.timed[g, kernel.FUTURE]),
                ancient=int(counted.timed[g, kernel.ANCIENT]),
                silent=int(silent[mine].sum()),
                longest_gap_days=int(longest[mine].max(initial=0)),
                days_share=round(int(days[mine].sum()) / due, 4) if due else None,
                signals=_signals(counted, g),
                by_day=tuple(counted.by_day[g, span].tolist()),
            )
        )
    return tuple(out)


def _signals(counted: Tally, g: int) -> tuple[SignalAt, ...]:
    out = []
    for s, column in enumerate(counted.columns):
        counts = counted.counts[g, s].tolist()
        if not counts[kernel.READINGS]:
            continue
        middle = median(column, counted.bins[g, s])
        out.append(
            SignalAt(
                column.name,
                column.ucum,
                counts[kernel.READINGS],
                counts[kernel.IMPLAUSIBLE],
                counts[kernel.SAME],
                counts[kernel.CONFLICT],
                None if middle is None else round(middle, 1),
            )
        )
    return tuple(out)
