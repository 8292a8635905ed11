"""A line in checkpoints: what each shard's file holds, and how a line is put together from them again.

All shards of a line are saved at one offset, each in a file of its own that stands for itself: the line's clock,
outages and accounts are small and are in every one of them. A line starts again from the newest offset for which
every shard has a good file.
"""

from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.accounts import Account, Accounts
from engine.checkpoint import Checkpoint, CheckpointError, Header, newest_good, prune
from engine.line import Line
from engine.program import Program
from engine.shard import Shard, shard_of
from kernels import SOURCE_HASH
from kernels.identity import hash_bytes
from rules.alerts import SCHEMA

__all__ = ["Restored", "arrays", "blobs", "folder_of", "header", "prune_sets", "restore"]

_ALERTS = "alerts"

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a line starts.

    `offset` is where the log is read on, None where no checkpoint could be used; `alerts` what was emitted between
    the checkpoint before and this one; `problems` are to be shown.
    """

    offset: int | None
    alerts: pl.DataFrame
    problems: tuple[str, ...]


def folder_of(checkpoints: Path, shard: int) -> Path:
    """Folder of one shard's checkpoints."""
    return checkpoints / f"shard-{shard:03d}"


# Saving ------------------------------------------------------------------------------------------------------


def header(line: Line, shard: int) -> Header:
    """Give what the file of one shard says of itself and of the line."""
    return Header(
        shard=shard,
        shards=len(line.shards),
        offset=line.next_offset,
        kernels=SOURCE_HASH,
        program=line.program.hash,
        meta={
            "clock_ms": line.clock_ms,
            "outages": line.outages.tolist(),
            "ticked_ms": line.shards[shard].judge.ticked_ms,
            "accounts": {source: asdict(account) for source, account in line.accounts.by_source.items()},
        },
    )


def arrays(shard: Shard) -> dict[str, Array]:
    """Give the arrays of one shard, as views: valid until the next batch."""
    return shard.snapshot()


def blobs(alerts: pl.DataFrame, shards: int) -> list[dict[str, bytes]]:
    """Give, for each shard, the alerts of its patients, as Arrow IPC."""
    patients = alerts["patient"].unique().to_list()
    raw = [np.frombuffer(patient.encode("ascii"), np.uint8) for patient in patients]
    hashes = np.array([hash_bytes(each, 0, len(each)) for each in raw], np.uint64)
    owner = dict(zip(patients, shard_of(hashes, shards).tolist(), strict=True))
    of = alerts["patient"].replace_strict(owner, return_dtype=pl.Int64)
    out = []
    for shard in range(shards):
        buffer = BytesIO()
        alerts.filter(of == shard).write_ipc(buffer, compression="zstd")
        out.append({_ALERTS: buffer.getvalue()})
    return out


def prune_sets(checkpoints: Path, offset: int, before: int | None) -> None:
    """Keep the checkpoints of `offset` and `before`, the two newest that every shard has, and newer ones."""
    oldest = offset if before is None else before
    for folder in sorted(checkpoints.glob("shard-*")):
        newer = sum(int(path.stem) >= oldest for path in folder.glob("*.checkpoint") if path.stem.isdigit())
        prune(folder, max(1, newer))


# Restoring ---------------------------------------------------------------------------------------------------


def restore(line: Line, checkpoints: Path) -> Restored:
    """Put a new line where the newest checkpoint of all its shards was.

    Where there is none, or none that this program can use, the line stays as new and `Restored.offset` is None.
    """
    problems: list[str] = []
    found = _newest_of_all(line, checkpoints, problems)
    if found is None:
        for shard in line.shards:
            _empty(shard)
        if any(checkpoints.glob("shard-*/*.checkpoint")):
            problems.append(f"{checkpoints}: no checkpoint can be used: the state is rebuilt from the log")
        return Restored(None, SCHEMA.to_frame(), tuple(dict.fromkeys(problems)))
    for shard, checkpoint in zip(line.shards, found, strict=True):
        _fill(shard, checkpoint)
    meta = found[0].header.meta
    line.accounts = Accounts({source: Account(**account) for source, account in meta["accounts"].items()})
    line.restore(meta["clock_ms"], meta["outages"], found[0].offset)
    emitted = [pl.read_ipc(BytesIO(checkpoint.blobs[_ALERTS])) for checkpoint in found]
    alerts = pl.concat([SCHEMA.to_frame(), *emitted]).sort(["clock_ms", "patient"], maintain_order=True)
    return Restored(found[0].offset, alerts, tuple(dict.fromkeys(problems)))


def _newest_of_all(line: Line, checkpoints: Path, problems: list[str]) -> list[Checkpoint] | None:
    """Load the newest offset at which every shard has a good file."""
    found: list[Checkpoint | None] = [None] * len(line.shards)
    bound: int | None = None
    while True:
        for k, shard in enumerate(line.shards):
            known = found[k]
            if known is not None and (bound is None or known.offset <= bound):
                continue
            accept = partial(_refusal, program=line.program, shard=k, shards=len(line.shards), bound=bound)
            into = partial(_place, shard)
            found[k], passed_over = newest_good(folder_of(checkpoints, k), accept, into)
            problems.extend(map(str, passed_over))
        whole = [each for each in found if each is not None]
        if len(whole) < len(found):
            return None
        offsets = {each.offset for each in whole}
        if len(offsets) == 1:
            return whole
        bound = min(offsets)


def _refusal(head: Header, *, program: Program, shard: int, shards: int, bound: int | None) -> str:
    """Say why a checkpoint cannot be used, "" where it can."""
    if (head.shard, head.shards) != (shard, shards):
        return f"is of shard {head.shard} of {head.shards}, this is shard {shard} of {shards}"
    if head.kernels != SOURCE_HASH:
        return f"made by kernels {head.kernels}, these are {SOURCE_HASH}"
    if head.program != program.hash:
        return f"made with protocols or options of hash {head.program}, these have {program.hash}"
    if bound is not None and head.offset > bound:
        return (
            f"another shard has no good checkpoint at offset {head.offset}: one at {bound} or before is used"
        )
    return ""


def _place(shard: Shard, name: str, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Give the memory that an array is read into: the state's own, so that it is not there twice."""
    mine = shard.state.arrays.get(name)
    if mine is None or mine.dtype != np.dtype(dtype) or mine.shape[1:] != shape[1:]:
        return np.empty(shape, dtype)
    shard.state.reserve(shape[0])
    return mine[: shape[0]]


def _fill(shard: Shard, checkpoint: Checkpoint) -> None:
    try:
        shard.restore(checkpoint.arrays, checkpoint.header.meta["ticked_ms"])
    except ValueError as error:
        msg = f"{checkpoint.path}: {error}"
        raise CheckpointError(msg) from error
    for array in shard.state.arrays.values():
        array[shard.state.used :] = 0  # where a damaged file was read in before this one


def _empty(shard: Shard) -> None:
    """Forget what a damaged file may have left."""
    for array in shard.state.arrays.values():
        array[:] = 0
