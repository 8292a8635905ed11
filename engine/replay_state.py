"""How far a replay is: the line's state and the segments written so far, in one checkpoint file."""

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from engine import checkpoint
from engine.accounts import Account
from engine.line import Line
from kernels import SOURCE_HASH

__all__ = ["commit", "resume"]


def commit(
    folder: Path,
    line: Line,
    fingerprint: str,
    segments: Mapping[str, list[str]],
    counts: dict[str, int],
    held: pl.DataFrame,
) -> None:
    """Write where the replay is, whole or not at all.

    Parameters
    ----------
    folder : Path
        Of the checkpoints.
    line : Line
    fingerprint : str
        Of the input and of all options.
    segments : mapping
        Files that are on the disk already, by kind of row.
    counts : dict
        What is counted on the way.
    held : DataFrame
        Rows of alerts that are in no segment yet.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for k, shard in enumerate(line.shards):
        arrays |= {f"{k}/{name}": np.ascontiguousarray(array) for name, array in shard.snapshot().items()}
    meta = {
        "fingerprint": fingerprint,
        "clock_ms": line.clock_ms,
        "outages": line.outages.tolist(),
        "ticked_ms": [shard.judge.ticked_ms for shard in line.shards],
        "accounts": {source: asdict(account) for source, account in line.accounts.by_source.items()},
        "segments": {kind: list(files) for kind, files in segments.items()},
        "counts": counts,
    }
    header = checkpoint.Header(0, len(line.shards), line.next_offset, SOURCE_HASH, line.program.hash, meta)
    rows = BytesIO()
    held.write_ipc(rows)
    checkpoint.write(folder, header, arrays, {"held": rows.getvalue()})
    checkpoint.prune(folder)


def resume(
    folder: Path, line: Line, fingerprint: str
) -> tuple[dict[str, list[str]], dict[str, int], pl.DataFrame] | None:
    """Bring a new line to where the replay was.

    Returns
    -------
    segments, counts, held
        As `commit` took them; None where no replay was begun.

    Raises
    ------
    ValueError
        What is there was begun with another input, other options or other kernels.
    """
    found, problems = checkpoint.newest_good(folder)
    if found is None:
        if problems:
            raise ValueError("; ".join(map(str, problems)))
        return None
    meta = found.header.meta
    if meta["fingerprint"] != fingerprint:
        msg = (
            f"{folder.parent.parent}: the replay there was begun with other files, protocols or options, or another "
            "version; legal: the same ones with --resume, or none of it to begin anew"
        )
        raise ValueError(msg)
    for k, shard in enumerate(line.shards):
        whose = f"{k}/"
        mine = {name[len(whose) :]: array for name, array in found.arrays.items() if name.startswith(whose)}
        shard.restore(mine, meta["ticked_ms"][k])
    line.restore(meta["clock_ms"], meta["outages"], found.offset)
    line.accounts.by_source = {source: Account(**account) for source, account in meta["accounts"].items()}
    return meta["segments"], meta["counts"], pl.read_ipc(BytesIO(found.blobs["held"]))
