"""A replay of files: read, sort on disk, merge, pack."""

import hashlib
import json
import os.path
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ingest.columns import Batch, Quarantine
from ingest.formats.channels import NoSignalError
from ingest.formats.errors import FormatError
from ingest.formats.longform import Table
from ingest.formats.mapping import Mapping
from ingest.formats.merge import merged
from ingest.formats.observed import Observed
from ingest.formats.own_history import HistoryTable, is_own
from ingest.formats.packing import Packer, Source
from ingest.formats.paths import Found, find_paths
from ingest.formats.people import People
from ingest.formats.rows import Rows
from ingest.formats.spill import RUN_ROWS, Spill
from ingest.formats.tables import PARQUET_ENDS, column_names, parquet_rows
from ingest.formats.vocabulary import Item, Vocabulary
from ingest.formats.wfdb_record import Record
from ingest.reasons import Reason
from kernels.reading import YEAR_2000_MS

__all__ = ["BATCH_ROWS", "Progress", "Replay", "open_paths"]

BATCH_ROWS = 1 << 16

_FORM = 2  # of the spill: another one is not taken up
_MAX_FILES = 1 << 16
_KEEP_S = 10.0  # between two moments to which an interrupted reading can go back
_SAMPLES_HELD = 1 << 24  # of ECG, by all records together: 134 MB


@dataclass(slots=True)
class Progress:
    """How far a replay is. `rows_expected` is None when a file does not say; `rows` is known once all is read."""

    stage: str = "waiting"  # then "reading", "replaying", "done"
    files: int = 0
    files_read: int = 0
    rows_read: int = 0
    rows_expected: int | None = None
    rows: int | None = None
    rows_done: int = 0
    packets: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    naive_times: int = 0
    dst_overlap: int = 0
    """Times without an offset that the zone's clocks show twice: the first of the two was taken."""
    dst_gap: int = 0
    """Times that they skip: refused."""
    ecg_gap_samples: int = 0


class Replay:
    """Files as one source of batches.

    Use it in a ``with`` statement: it keeps a folder of sorted readings, removed at the end unless a folder was given.
    `notes` says what a person should know of the input: files passed over, records without a date. `places` says where
    each file is from, if no column of it does: the folder that it was found in, or its own name.
    """

    def __init__(  # noqa: PLR0913 - made by `open_paths`
        self,
        files: list[Table | Record],
        names: list[str],
        vocabulary: Vocabulary,
        spill: Path | None,
        fingerprint: str,
        *,
        batch_rows: int,
        run_rows: int,
        latest_ms: int,
        span_ms: int | None,
        notes: list[str],
        places: Sequence[str],
    ) -> None:
        self.progress = Progress(files=len(files))
        self.sources = tuple(names)
        self.fingerprint = fingerprint
        self.notes = notes
        self.places = tuple(places)
        self._files = files
        self._vocabulary = vocabulary
        self._batch_rows = batch_rows
        self._latest_ms = latest_ms
        self._span_ms = span_ms
        self._keep = spill is not None
        folder = spill if spill is not None else Path(tempfile.mkdtemp(prefix="vigie-replay-"))
        self._spill = Spill(folder, fingerprint, files=len(files), run_rows=run_rows)
        for file in files:
            if isinstance(file, Table):
                file.observed = self._spill.observed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; it is removed unless it was given."""
        self._spill.close(remove=not self._keep)

    @property
    def observed(self) -> Observed:
        """What was seen of the files while they were read."""
        return self._spill.observed

    @property
    def people(self) -> People:
        """Whose rows there are."""
        return self._spill.people

    @property
    def vocabulary(self) -> Vocabulary:
        """What signals may be called."""
        return self._vocabulary

    @property
    def latest_ms(self) -> int:
        """When "now" is, ms UTC."""
        return self._latest_ms

    @property
    def widths(self) -> tuple[int, ...]:
        """Cells of a row of each file: 0 in long form and of ECG."""
        return tuple(file.width for file in self._files)

    @property
    def has_ecg(self) -> bool:
        """Whether there is a record of ECG among the files."""
        return any(isinstance(file, Record) for file in self._files)

    def sorted_rows(self, rows: int) -> Iterator[Rows]:
        """Give all rows in event-time order, `rows` at a time, as they were read and before they are judged."""
        self.prepare()
        return merged(self._spill.runs, rows)

    def prepare(self, tell: Callable[[int], None] | None = None) -> None:
        """Read and sort all files; `batches` does it when it was not done.

        Parameters
        ----------
        tell : callable, optional
            Told how many files more were read.

        Raises
        ------
        FormatError
            A file as a whole cannot be used.
        """
        if not self._spill.complete:
            self._read(tell or (lambda _: None))
        facts = self._spill.facts
        for number, bits in facts["shifts"].items():
            record = self._files[int(number)]
            assert isinstance(record, Record)  # noqa: S101 - only records were written there
            record.shift = bits
        self.progress.stage = "replaying"
        self.progress.files_read = len(self._files)
        self.progress.rows = facts["rows"]
        self.progress.rows_read = facts["read"]
        self.progress.naive_times = facts["naive_times"]
        self.progress.dst_overlap = facts["dst_overlap"]
        self.progress.dst_gap = facts["dst_gap"]
        self.progress.ecg_gap_samples = facts["ecg_gap_samples"]

    def _read(self, tell: Callable[[int], None]) -> None:
        progress = self.progress
        progress.stage = "reading"
        tables = [file.path for file in self._files if isinstance(file, Table)]
        if len(tables) == len(self._files) and all(
            path.name.lower().endswith(PARQUET_ENDS) for path in tables
        ):
            progress.rows_expected = sum(map(parquet_rows, tables))
        facts = self._spill.facts or {
            "files": 0, "read": 0, "rows": 0, "first_ms": 0, "shifts": {},
            "naive_times": 0, "dst_overlap": 0, "dst_gap": 0, "ecg_gap_samples": 0,
        }  # fmt: skip
        progress.files_read, progress.rows_read = facts["files"], facts["read"]
        tell(facts["files"])
        kept = time.monotonic()
        for file in self._files[facts["files"] :]:
            for rows, read in file.read(self._spill):
                self._spill.add(rows)
                self._spill.observed.codes[rows.code[rows.reason == 0]] = True
                facts["rows"] += len(rows)
                facts["read"] += read
                progress.rows_read += read
                legal = rows.t[(rows.reason == 0) & (rows.t >= YEAR_2000_MS)]
                if len(legal):
                    first = int(legal.min())
                    facts["first_ms"] = min(facts["first_ms"] or first, first)
            self._count(file, facts)
            progress.files_read += 1
            tell(1)
            if self._keep and time.monotonic() - kept > _KEEP_S:
                self._spill.keep(facts)
                kept = time.monotonic()
        self._spill.finish(facts)

    def _count(self, file: Table | Record, facts: dict[str, Any]) -> None:
        """Count what a file that was read says of itself."""
        facts["files"] += 1
        if isinstance(file, Record):
            facts["ecg_gap_samples"] += file.gap_samples
            facts["shifts"][str(file.src)] = file.shift
            return
        seen = self._spill.observed.files[file.src]
        seen.naive, seen.overlap, seen.gap = file.clocks.naive, file.clocks.overlap, file.clocks.gap
        facts["naive_times"] += seen.naive
        facts["dst_overlap"] += seen.overlap
        facts["dst_gap"] += seen.gap

    def batches(self, offset: int = 0) -> Iterator[tuple[Batch, Quarantine]]:
        """Give batches in event-time order.

        Parameters
        ----------
        offset : int
            Where to go on: the `next_offset` of the last batch that was dealt with. Rows are counted over all files,
            in the order of the merge, which depends on nothing but the files, their order and the options.

        Yields
        ------
        Batch, Quarantine
            `receipt_ms` is `t_ms`, and `clock_ms` the time of the last event.
        """
        self.prepare()
        facts = self._spill.facts
        sources = [
            Source(name, file.width, file if isinstance(file, Record) else None)
            for name, file in zip(self.sources, self._files, strict=True)
        ]
        packer = Packer(
            sources, self._vocabulary, self._spill, self._latest_ms,
            clock_ms=facts["first_ms"], span_ms=self._span_ms,
        )  # fmt: skip
        progress = self.progress
        progress.rows_done = min(offset, facts["rows"])
        for batch, quarantine in packer.batches(merged(self._spill.runs, self._batch_rows), offset):
            progress.rows_done = batch.next_offset
            progress.packets += len(batch)
            reasons, counts = np.unique(quarantine.reason, return_counts=True)
            progress.refused.update({Reason(int(r)): int(c) for r, c in zip(reasons, counts, strict=True)})
            yield batch, quarantine
        progress.stage = "done"


def open_paths(  # noqa: PLR0913 - an option is a parameter
    paths: Iterable[Path | str],
    *,
    mapping: Mapping | None = None,
    zone: str | None = None,
    items: Dict[str, Item] | None = None,
    spill: Path | None = None,
    latest_ms: int | None = None,
    span_ms: int | None = None,
    batch_rows: int = BATCH_ROWS,
    run_rows: int = RUN_ROWS,
) -> Replay:
    """Open files and folders as one source.

    Parameters
    ----------
    paths : iterable of Path
        CSV (also compressed), Parquet, WFDB headers, and folders of these.
    mapping : Mapping
        How tables are read; without it they are in long form with our names of columns.
    zone : str
        For times without an offset where the mapping names no zone.
    items : dict
        Questionnaire items by name, as protocols declare them.
    spill : Path
        Folder for the sorted readings, kept: the same replay, resumed, need not sort again. Without it a temporary one.
    latest_ms : int
        Events may lie five minutes after it at most; now when not given.
    span_ms : int
        Most event time that one batch may cover; any when not given.
    batch_rows, run_rows : int
        Rows of a batch, and rows sorted in memory at once.

    Raises
    ------
    FormatError
        A path is missing or of no known kind, nothing was found, a log was given, or an option is not legal.
    """
    found = find_paths(Path(path) for path in paths)
    if found.logs:
        msg = f"{found.logs[0]}: a log is replayed in its own order of arrival, alone, and not merged with files"
        raise FormatError(msg)
    mapping = (mapping or Mapping()).with_zone(zone)
    vocabulary = Vocabulary(items)
    notes = [f"{path.name}: passed over" for path in found.skipped if path.suffix not in _BESIDE]
    files, names = _files(found, mapping, vocabulary, notes)
    state = {
        "form": _FORM,
        "files": [(name, _size(file.path)) for name, file in zip(names, files, strict=True)],
        "mapping": mapping.model_dump(mode="json"),
        "items": {name: asdict(item) for name, item in (items or {}).items()},
    }
    fingerprint = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    latest = int(time.time() * 1000) if latest_ms is None else latest_ms
    return Replay(
        files, names, vocabulary, spill, fingerprint,
        batch_rows=batch_rows, run_rows=run_rows, latest_ms=latest, span_ms=span_ms, notes=notes,
        places=_places(files, names, found),
    )  # fmt: skip


_BESIDE = {".dat", ".mat", ".atr", ".qrs", ".xws", ".md", ".txt", ".toml"}
"""Files that belong to others of a folder, or are there for people: passed over without a word."""


def _size(path: Path) -> list[Any]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _files(
    found: Found, mapping: Mapping, vocabulary: Vocabulary, notes: list[str]
) -> tuple[list[Table | Record], list[str]]:
    paths = [*found.tables, *found.records]
    if not paths:
        msg = "nothing to replay: no CSV, Parquet or WFDB header was found"
        raise FormatError(msg)
    stems = Counter(path.stem for path in found.records)
    records = set(found.records)
    held = _SAMPLES_HELD // max(1, len(found.records))
    files: list[Table | Record] = []
    for path in paths:
        how = mapping.for_file(path.name)
        if path not in records:
            own = path.suffix == ".parquet" and is_own(column_names(path))
            table = (HistoryTable if own else Table)(path, len(files), how, vocabulary)
            if path not in found.named and table.is_foreign():
                notes.append(f"{path.name}: passed over, it has none of the columns of readings")
            else:
                # What does not fit is said before hours of reading, not after.
                table.check()
                files.append(table)
            continue
        # Two records of one name are two patients: the folder tells them apart.
        patient = path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.stem}"
        try:
            files.append(Record(path, len(files), patient, how, min(1 << 20, held)))
        except NoSignalError as error:
            if path in found.named:
                raise
            notes.append(str(error))
    if not files:
        msg = f"nothing to replay: {notes[-1]}"
        raise FormatError(msg)
    if len(files) > _MAX_FILES:
        msg = f"{len(files)} files: at most {_MAX_FILES} are merged at once"
        raise FormatError(msg)
    undated = [file for file in files if isinstance(file, Record) and not file.dated]
    if undated:
        notes.append(
            f"{len(undated)} ECG records have no date: they begin on 2000-01-03 (mapping: wfdb.start)"
        )
    return files, _names([file.path for file in files])


def _places(files: list[Table | Record], names: list[str], found: Found) -> list[str]:
    """Give each file the folder that it is in below the one that all are in; its name where it is in none or was named.

    Nothing of where that one is on the machine is in it.
    """
    parents = [file.path.absolute().parent for file in files if file.path not in found.named]
    root = Path(os.path.commonpath(parents)) if parents else Path("/")
    if root == Path(root.anchor):
        return names
    return [
        name if file.path in found.named else file.path.absolute().relative_to(root).parts[0]
        for file, name in zip(files, names, strict=True)
    ]


def _names(paths: list[Path]) -> list[str]:
    """Give each file the shortest end of its path that no other has: a source's name, and its device's."""
    names = [path.name for path in paths]
    depth = 1
    while len(set(names)) < len(names) and depth < 32:
        depth += 1
        twice = {name for name, count in Counter(names).items() if count > 1}
        names = [
            "/".join(path.absolute().parts[-depth:]) if name in twice else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names
