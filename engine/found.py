"""What the kernels found in a whole history, kept on disk, so that changed limits and conditions are judged in seconds.

A folder a shard: numbered segments of some hundred thousand events as Arrow IPC files, one of the events and one a
group of rules, mapped into memory without a copy; and the patients with what they start from. A folder is whole once
``kept.json`` is there, whose time says when it was used last. Parquet was measured and left: see
docs/decisions/0017-kept-features.md.
"""

import fcntl
import json
import mmap
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from engine.judging import Block, Found, LimitSet
from engine.program import Program
from engine.state import State

__all__ = ["FoundError", "Keeper", "Kept", "Part", "hold", "prune"]

_EVENTS = 1 << 19
"""Events of a segment, about: enough that a segment's own costs do not show, few enough to be in memory."""

_MARK = "kept.json"
_GONE = ".gone"
_FORMAT = 4
_COLUMNS = ("slot", "mask", "t_ms", "now_ms", "clock_ms", "close")


class FoundError(Exception):
    """What was kept cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is said of a history beside its columns.

    `readings` and `patients` that it has; `first_ms` and `last_ms` of the line's clock; `time_basis` "event" or
    "arrival"; `notes` of the input; `input` a hash of its files' content; `accounts` as a sentence.
    """

    shards: int
    readings: int
    patients: int
    first_ms: int
    last_ms: int
    time_basis: str
    input: str
    accounts: str
    notes: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "Kept | None":
        """Read what is in `folder`; None where nothing whole is."""
        try:
            said = json.loads((folder / _MARK).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            msg = f"{folder / _MARK}: {error}; remove the folder, and it is made anew"
            raise FoundError(msg) from error
        if said.pop("format", None) != _FORMAT:
            return None
        return cls(**said | {"notes": tuple(said["notes"])})

    def write(self, folder: Path) -> None:
        """Say that `folder` is whole."""
        temporary = folder / f"{_MARK}.tmp"
        text = json.dumps(asdict(self) | {"format": _FORMAT}, ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(folder / _MARK)


def hold(folder: Path) -> int | None:
    """Say that `folder` is in use: `prune` lets it be until the descriptor that is given is closed.

    None where the folder is not whole.
    """
    try:
        mark = os.open(folder / _MARK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):  # of a folder that may only be read, nothing is removed either
        fcntl.flock(mark, fcntl.LOCK_SH)
        os.utime(folder / _MARK)
    return mark


def prune(cache: Path, keep: int) -> list[Path]:
    """Remove from `cache` what was kept and is used no more: all but the `keep` used last, and those that are in use.

    Only what has the mark of a kept history is ours: all else in the folder stays.

    Parameters
    ----------
    cache : Path
        Folder of the kept histories' folders.
    keep : int
        1 or more.

    Returns
    -------
    list of Path
        Folders that are no more.
    """
    used = []
    for mark in cache.glob(f"*/{_MARK}"):
        with suppress(OSError, ValueError, AttributeError):
            if "format" in json.loads(mark.read_bytes()) and not mark.parent.is_symlink():
                used.append((mark.stat().st_mtime_ns, mark))
    gone = []
    for _, mark in sorted(used, reverse=True)[keep:]:
        with suppress(OSError), mark.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Renamed first: under its own name another may make it anew meanwhile.
            shutil.rmtree(mark.parent.rename(mark.parent.with_name(mark.parent.name + _GONE)))
            gone.append(mark.parent)
    return gone


class Keeper:
    """Writes what one shard found, batch after batch."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._held: list[Found] = []
        self._events = 0
        self._segments = 0

    def add(self, found: Found) -> None:
        """Take a batch. Its columns must stay as they are: they are held until there are enough for a segment."""
        # A segment has one table of outages: those of a later one would shorten silences that were over before.
        # And its limits hold for all of it.
        if self._held and (found.limits or not np.array_equal(self._held[-1].outages, found.outages)):
            self.flush()
        self._held.append(found)
        self._events += len(found)
        if self._events >= _EVENTS:
            self.flush()

    def flush(self) -> None:
        """Write what is held as a segment."""
        held = self._held
        if not held:
            return
        at = np.cumsum([0, *(len(each) for each in held)])
        columns = {name: np.concatenate([getattr(each, name) for each in held]) for name in _COLUMNS}
        meta = {
            b"end_ms": str(held[-1].end_ms).encode(),
            b"outages": json.dumps(held[-1].outages.tolist()).encode(),
            b"limits": json.dumps(held[0].limits).encode(),
        }
        self._write("events", columns, meta)
        for g in range(len(held[0].blocks)):
            blocks = [each.blocks[g] for each in held]
            event = [block.event + start for block, start in zip(blocks, at.tolist(), strict=False)]
            values = {
                str(f): np.concatenate([block.values[f] for block in blocks])
                for f in range(len(blocks[0].values))
            }
            self._write(f"group{g:03d}", {"event": np.concatenate(event).astype(np.int32), **values}, {})
        self._segments += 1
        self._held = []
        self._events = 0

    def finish(self, state: State) -> None:
        """Write the rest, and the patients."""
        self.flush()
        used = state.used
        columns = {
            "first_ms": state.readings.first_ms[:used],
            "newest_ms": state.readings.newest_ms[:used],
            "hash": state.slot_hash[:used],
        }
        table = pa.table(columns | {"id": pa.array([row.tobytes() for row in state.slot_id[:used]])})
        _save(table, self._folder / "patients.arrow")

    def _write(
        self, name: str, columns: dict[str, npt.NDArray[np.generic]], meta: dict[bytes, bytes]
    ) -> None:
        table = pa.table({key: pa.array(column) for key, column in columns.items()})
        _save(table.replace_schema_metadata(meta), self._folder / f"{self._segments:05d}.{name}.arrow")


class Part:
    """Reads what one shard found.

    Attributes
    ----------
    first_ms, newest_ms : int64[patients]
        When the line first knew of each patient; newest reading. By slot.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        columns = _Columns(folder / "patients.arrow")
        self.first_ms = columns["first_ms"]
        self.newest_ms = columns["newest_ms"]
        self._hash = columns["hash"]
        self._ids = columns.table["id"]
        self.segments = len(list(folder.glob("*.events.arrow")))

    def __len__(self) -> int:
        return len(self.first_ms)

    def fill(self, state: State) -> npt.NDArray[np.int32]:
        """Give an empty state its patients, each in the slot that it had; their slots."""
        n = len(self)
        state.reserve(n + 1)
        raw = b"".join(self._ids.to_pylist())
        state.slot_id[:n] = np.frombuffer(raw, np.uint8).reshape(n, -1) if n else 0
        state.slot_hash[:n] = self._hash
        state.used = n
        return np.arange(n, dtype=np.int32)

    def slots(self, patients: Sequence[str]) -> npt.NDArray[np.int64]:
        """Slot of each patient, int64[n]; -1 for one that is not of this shard."""
        ids = [row[: row[-1]].decode("ascii") for row in self._ids.to_pylist()]
        place = {patient: slot for slot, patient in enumerate(ids)}
        return np.array([place.get(each, -1) for each in patients], np.int64)

    def found(self, program: Program) -> Iterator[Found]:
        """Give the segments, mapped into memory: valid while they are referred to."""
        for k in range(self.segments):
            yield self.segment(k, program)

    def segment(self, k: int, program: Program) -> Found:
        """Give segment `k`."""
        events = _Columns(self._folder / f"{k:05d}.events.arrow")
        meta = events.table.schema.metadata
        blocks = []
        for g, group in enumerate(program.groups):
            columns = _Columns(self._folder / f"{k:05d}.group{g:03d}.arrow")
            values = [columns[str(f)] for f in range(len(group.features) if group.triggers else 0)]
            blocks.append(Block(columns["event"], values))
        return Found(
            **{name: events[name] for name in _COLUMNS},
            blocks=blocks,
            end_ms=int(meta[b"end_ms"]),
            outages=np.array(json.loads(meta[b"outages"]), np.int64).reshape(-1, 2),
            limits=tuple(LimitSet(*each) for each in json.loads(meta[b"limits"])),
        )


def _save(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


class _Columns:
    """A file mapped into memory."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                # Private to this process, and written by nobody. But for arrays that cannot be written Numba would
                # compile other code than that of the line.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self.table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            msg = f"{path}: {error}; remove the folder {path.parent.parent}, and it is made anew"
            raise FoundError(msg) from error
        self._bytes = np.frombuffer(mapped, np.uint8)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        column = self.table[name]
        dtype = np.dtype(column.type.to_pandas_dtype())
        if not column.num_chunks:
            return np.empty(0, dtype)
        chunk = column.chunk(0)  # a file has one
        at = chunk.buffers()[1].address - self._bytes.ctypes.data + chunk.offset * dtype.itemsize
        return self._bytes[at : at + len(chunk) * dtype.itemsize].view(dtype)
