"""History: every reading that was applied or came late, as Parquet by day and shard.

For plots, replay and back-tests. Files are ``day=YYYY-MM-DD/shard=SS/<first>-<next>.parquet``, where the
day is the UTC day of the reading's event time and the numbers are the log offsets that the file covers.
What is committed is said by one small file, ``committed.json``, replaced in one rename after all files of a
commit are on the disk: a commit that touches many days is whole or absent. After a crash the line goes
through some of the log again, and rows whose offset is already committed are passed over: processing is
deterministic, so they are the same rows, and none is there twice.
"""

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from ingest.historyfile import MARK, current, span

__all__ = [
    "MERGED_ROWS",
    "SCHEMA",
    "Gap",
    "History",
    "HistoryError",
    "Outcome",
    "day_of",
    "read",
    "sync",
    "write_parquet",
]

SCHEMA = pl.Schema(
    {
        "patient": pl.String(),
        "signal": pl.UInt16(),
        "t_ms": pl.Int64(),
        "receipt_ms": pl.Int64(),
        "milli": pl.Int32(),
        "status": pl.UInt32(),
        "offset": pl.Int64(),
        "outcome": pl.UInt8(),
    }
)
"""Columns of history: `t_ms`, `receipt_ms` in ms UTC; `milli` in thousandths of the signal's unit."""

FORMAT = 1
_DAY_MS = 86_400_000
_ORDER = ["patient", "signal", "t_ms", "offset", "milli", "receipt_ms", "status", "outcome"]
# Of one row group. Sorted by patient, a patient's rows are in few of them, and each is read whole: a year of a patient
# among 100,000 took 290 ms with 65,536 rows, 155 ms with this; 90 days 73 ms and 41 ms, and no less with fewer rows.
_ROWS = 16_384

MERGED_ROWS = 1_048_576
"""Rows of a merged file at most, some 150 bytes of memory each while it is made; 100,000 patients give fewer a day."""


class Outcome(IntEnum):
    """What became of a reading, in column `outcome`."""

    APPLIED = 0
    LATE = 1  # beyond the bound of lateness: kept here, without effect on the state


class HistoryError(Exception):
    """History cannot be written or read as asked; the message names the file or the shard."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `first` to `until`, excluded, are not in history: not committed before the line went on."""

    first: int
    until: int


class History:
    """Writes the history of one line. Safe to append to from the thread of each shard.

    Parameters
    ----------
    folder : Path
        Made if it is not there. One `History` at a time writes a folder.
    shards : int
        How many shards append. May differ from one run to the next.

    Raises
    ------
    HistoryError
        The folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path | str, shards: int = 1) -> None:
        self.folder = Path(folder)
        self.shards = shards
        self._lock = threading.Lock()
        self._buffers: dict[int, list[pl.DataFrame]] = {shard: [] for shard in range(shards)}
        self._rows = 0
        self._folders: set[Path] = set()  # whose names are on the disk
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{self.folder}: {error.strerror}"
            raise HistoryError(msg) from error
        self._start, self._committed, self._gaps = _read_mark(self.folder)
        self._position = dict.fromkeys(range(shards), self._committed)
        try:
            # From the start, so that files without it are never taken for those of a new history.
            self._write_mark()
            self._remove_unfinished()
        except OSError as error:
            msg = f"{self.folder}: {error.strerror}"
            raise HistoryError(msg) from error

    @property
    def committed(self) -> int:
        """Every row of an offset below this is on the disk."""
        return self._committed

    @property
    def buffered(self) -> int:
        """Rows that wait for a commit; the caller commits when they are many."""
        return self._rows

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Stretches of the log that history misses; to be shown."""
        return tuple(self._gaps)

    def resume(self, offset: int) -> Gap | None:
        """Say where the line starts: the offset of its checkpoint, or the log's first.

        Rows of offsets below `committed` that are appended again are passed over. Where `offset` is beyond
        `committed`, that stretch is missing: it is noted in `gaps` for good, and returned.
        """
        with self._lock:
            gap = None
            if offset > self._committed:
                if self._start is not None:
                    gap = Gap(self._committed, offset)
                    self._gaps.append(gap)
                self._committed = offset
            if self._start is None:
                self._start = offset
            self._write_mark()
            self._position = dict.fromkeys(self._position, min(offset, self._committed))
            self._buffers = {shard: [] for shard in self._buffers}
            self._rows = 0
        return gap

    def append(self, shard: int, first_offset: int, next_offset: int, table: pl.DataFrame) -> None:
        """Take the readings of one batch of one shard.

        Parameters
        ----------
        shard : int
            Whose they are.
        first_offset, next_offset : int
            What the batch covers of the log, also where it had no reading. The batches of a shard follow each
            other: each starts where the one before ended, or earlier after a restart.
        table : DataFrame
            Columns as in `SCHEMA`, in any order.

        Raises
        ------
        HistoryError
            A batch is missing before this one, or the table is of another form.
        """
        if shard not in self._buffers:
            msg = f"shard {shard}: legal are 0 to {self.shards - 1}"
            raise HistoryError(msg)
        try:
            rows = table.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        except pl.exceptions.PolarsError as error:
            msg = f"shard {shard}, offsets {first_offset} to {next_offset}: {error}"
            raise HistoryError(msg) from error
        with self._lock:
            position = self._position[shard]
            if not first_offset <= position or next_offset < first_offset:
                msg = f"shard {shard}: offsets {first_offset} to {next_offset} do not follow {position}"
                raise HistoryError(msg)
            outside = rows.filter(~pl.col("offset").is_between(first_offset, next_offset, closed="left"))
            if outside.height:
                # It would be passed over, now or after a restart.
                offset = outside[0, "offset"]
                msg = f"shard {shard}: a row of offset {offset} in a batch of {first_offset} to {next_offset}"
                raise HistoryError(msg)
            # What is committed or buffered already came again.
            rows = rows.filter(pl.col("offset") >= max(position, self._committed))
            if rows.height:
                self._buffers[shard].append(rows)
                self._rows += rows.height
            self._position[shard] = max(position, next_offset)

    def commit(self, next_offset: int) -> list[Path]:
        """Put what was appended below `next_offset` on the disk, for all shards at once; give the files made.

        Commit history before the checkpoint at the same offset: what is between them is then gone through
        again and passed over, and nothing is missed.

        Raises
        ------
        HistoryError
            A shard has not appended up to `next_offset`, or the disk refuses. Nothing is committed then, and
            the same commit can be tried again.
        """
        with self._lock:
            if next_offset <= self._committed:
                return []
            for shard, position in self._position.items():
                if position < next_offset:
                    msg = f"commit of {next_offset}: shard {shard} has appended up to {position} only"
                    raise HistoryError(msg)
            before, start = self._committed, self._start
            made: list[Path] = []
            left: dict[int, list[pl.DataFrame]] = {}
            try:
                for shard, tables in self._buffers.items():
                    both = pl.concat(tables) if tables else SCHEMA.to_frame()
                    now = both.filter(pl.col("offset") < next_offset)
                    rest = both.filter(pl.col("offset") >= next_offset)
                    left[shard] = [rest] if rest.height else []
                    self._write_days(shard, before, next_offset, now, made)
                self._start = 0 if self._start is None else self._start
                self._committed = next_offset
                self._write_mark()
            except (OSError, pl.exceptions.PolarsError) as error:
                self._committed, self._start = before, start
                for path in made:  # their room may be what the next attempt needs
                    path.unlink(missing_ok=True)
                msg = f"{self.folder}: commit of {next_offset}: {error}"
                raise HistoryError(msg) from error
            self._buffers = left
            self._rows = sum(table.height for tables in left.values() for table in tables)
            return made

    def _write_days(self, shard: int, first: int, until: int, rows: pl.DataFrame, made: list[Path]) -> None:
        rows = rows.with_columns(day=pl.col("t_ms") // _DAY_MS)
        days = rows.partition_by("day", as_dict=True, include_key=False)
        for (day,), part in days.items():
            folder = self.folder / f"day={day_of(int(day) * _DAY_MS)}" / f"shard={shard:02d}"
            path = folder / f"{first:020d}-{until:020d}.parquet"
            if folder not in self._folders:
                folder.mkdir(parents=True, exist_ok=True)
                sync(folder.parent)
                sync(self.folder)
                self._folders.add(folder)
            made.append(path)
            write_parquet(part.sort(_ORDER), path)
            sync(folder)

    def read(
        self,
        patient: str | Iterable[str] | None = None,
        signals: Iterable[int] | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> pl.LazyFrame:
        """Read what is committed; see the function `read`, which needs no writer."""
        return read(self.folder, patient, signals, since, until)

    def runs(self, day: str) -> list[list[Path]]:
        """Give files of `day` (YYYY-MM-DD) that are to become one: two or more that follow each other in a shard.

        Commits are frequent and their files small; a day of them reads many times slower than a few files. A run has
        `MERGED_ROWS` rows at most, so that merging takes memory by that, and not by what came in a day.

        Raises
        ------
        HistoryError
            A file cannot be read.
        """
        out = []
        for folder in sorted((self.folder / f"day={day}").glob("shard=*")):
            run: list[Path] = []
            rows = 0
            for path in current(folder.glob("*.parquet"), self._committed):
                try:
                    more = pyarrow.parquet.read_metadata(path).num_rows
                except (OSError, pa.ArrowException) as error:
                    msg = f"{path}: {error}"
                    raise HistoryError(msg) from error
                if rows + more > MERGED_ROWS:
                    out.append(run)
                    run, rows = [], 0
                run.append(path)
                rows += more
            out.append(run)
        return [run for run in out if len(run) > 1]

    def merge(self, run: list[Path], *, linger: bool = False) -> None:
        """Merge a run, as `runs` gives it, into one file.

        The merged file replaces those whose offsets it covers from the moment it has its name. Beside commits and
        readers; one merges at a time. With `linger` the merged ones stay for readers that have begun; `remove_merged`
        takes them away.

        Raises
        ------
        HistoryError
            The disk refuses; what there was is there.
        """
        (first, _), (_, until) = span(run[0]), span(run[-1])
        whole = run[0].with_name(f"{first:020d}-{until:020d}.parquet")
        try:
            rows = pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in run])
            write_parquet(rows.sort(_ORDER), whole)
            sync(whole.parent)
        except (OSError, pl.exceptions.PolarsError) as error:
            msg = f"{whole}: {error}"
            raise HistoryError(msg) from error
        for path in () if linger else run:
            path.unlink()

    def days(self) -> list[tuple[str, int, float]]:
        """Give, of each day that there is, the most files of a shard that are not merged, and when the newest was made.

        Returns
        -------
        list of (str, int, float)
            YYYY-MM-DD, files, seconds since 1970; oldest day first.
        """
        out = []
        for day in sorted(self.folder.glob("day=*")):
            paths = [current(shard.glob("*.parquet"), self._committed) for shard in day.glob("shard=*")]
            if any(paths):
                newest = max(path.stat().st_mtime for each in paths for path in each)
                out.append((day.name.removeprefix("day="), max(map(len, paths)), newest))
        return out

    def remove_merged(self, day: str, before_s: float) -> int:
        """Remove what was merged into a file made before `before_s` (seconds since 1970); return how many went."""
        removed = 0
        for folder in (self.folder / f"day={day}").glob("shard=*"):
            paths = list(folder.glob("*.parquet"))
            whole = [(span(path), path.stat().st_mtime) for path in current(paths, self._committed)]
            for path in paths:
                first, until = span(path)
                if any(
                    (a, b) != (first, until) and a <= first and until <= b and made < before_s
                    for (a, b), made in whole
                ):
                    path.unlink()
                    removed += 1
        return removed

    def _write_mark(self) -> None:
        gaps = [[gap.first, gap.until] for gap in self._gaps]
        mark = {"format": FORMAT, "start": self._start, "committed": self._committed, "gaps": gaps}
        temporary = self.folder / f"{MARK}.tmp"
        with temporary.open("w") as file:
            json.dump(mark, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / MARK)
        sync(self.folder)

    def _remove_unfinished(self) -> None:
        """Remove what a commit that did not end has left, and what a merged file has replaced."""
        for folder in self.folder.glob("day=*/shard=*"):
            kept = set(current(folder.glob("*.parquet"), self._committed))
            for path in folder.iterdir():
                if path not in kept and path.suffix in {".parquet", ".tmp"}:
                    path.unlink()


def read(
    folder: Path | str,
    patient: str | Iterable[str] | None = None,
    signals: Iterable[int] | None = None,
    since: int | None = None,
    until: int | None = None,
) -> pl.LazyFrame:
    """Read history lazily; works beside the writer.

    Parameters
    ----------
    folder : Path
        Of the history.
    patient : str or several
        Ids wanted; all where not given.
    signals : several int
        Codes wanted; all where not given.
    since, until : int
        Event time wanted, ms UTC, `until` excluded.

    Returns
    -------
    LazyFrame
        Columns as in `SCHEMA`, late readings among them (`outcome`), in no stated order.

    Raises
    ------
    HistoryError
        The folder is not a history.
    """
    folder = Path(folder)
    _, committed, _ = _read_mark(folder)
    paths: list[Path] = []
    low = "" if since is None else f"day={day_of(since)}"
    high = "day=~" if until is None else f"day={day_of(until - 1)}"
    for day in sorted(folder.glob("day=*")):
        if low <= day.name <= high:
            for shard in sorted(day.glob("shard=*")):
                paths += current(shard.glob("*.parquet"), committed)
    if not paths:
        return SCHEMA.to_frame().lazy()
    rows = pl.scan_parquet(paths, hive_partitioning=False, schema=SCHEMA)
    if patient is not None:
        wanted = [patient] if isinstance(patient, str) else list(patient)
        rows = rows.filter(pl.col("patient").is_in(wanted))
    if signals is not None:
        rows = rows.filter(pl.col("signal").is_in(list(signals)))
    if since is not None:
        rows = rows.filter(pl.col("t_ms") >= since)
    if until is not None:
        rows = rows.filter(pl.col("t_ms") < until)
    return rows


def _read_mark(folder: Path) -> tuple[int | None, int, list[Gap]]:
    """Give where history starts (None where it is new), what is committed, and what is missing."""
    path = folder / MARK
    try:
        mark = json.loads(path.read_bytes())
    except FileNotFoundError:
        if any(folder.glob("day=*/shard=*/*.parquet")):
            # Taking it for a new one would remove files that may be committed.
            msg = f"{path}: missing, and there are files of history beside it"
            raise HistoryError(msg) from None
        return None, 0, []
    except (OSError, ValueError) as error:
        msg = f"{path}: {error}"
        raise HistoryError(msg) from error
    if not isinstance(mark, dict) or mark.get("format") != FORMAT:
        msg = f"{path}: not a history of format {FORMAT}"
        raise HistoryError(msg)
    return mark["start"], mark["committed"], [Gap(*gap) for gap in mark["gaps"]]


def day_of(t_ms: int) -> str:
    """Name the UTC day of a time, as folders are named."""
    return datetime.fromtimestamp(t_ms // 1000, UTC).strftime("%Y-%m-%d")


def write_parquet(rows: pl.DataFrame, path: Path) -> None:
    """Write a file that is whole or absent, and on the disk; its name is when its folder was given to `sync`."""
    temporary = path.with_suffix(".tmp")
    try:
        rows.write_parquet(temporary, compression="zstd", compression_level=3, row_group_size=_ROWS)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
