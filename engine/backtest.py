"""Back-test: what protocols would have raised on a history, judged again in seconds after the first pass.

The first pass takes the history through the line as a replay does, and keeps what the kernels found
(`engine.found`). Judging goes over that (`engine.backtest_judge`) as the line does: a back-test over a log gives the
alerts that were live. Where a change asks for other features, the first pass is made again, by itself.
"""

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.backtest_judge import Holding, Judged, judge
from engine.found import Keeper, Kept, hold, prune
from engine.load import Loaded
from engine.plan import make_plan
from engine.progress import SILENT, Progress
from engine.reorder import Delays, Measured, Reordered
from engine.replay_input import Asked, Input, open_input
from ingest.formats import find_paths
from kernels import SOURCE_HASH
from rules.errors import close_names
from rules.protocol import Protocol

__all__ = ["KEEP", "History", "changed_limits", "features_key", "find_limit"]

KEEP = 8
"""Histories with one set of features each that are kept: a question and its change need one or two."""

_DIGEST = 12


def features_key(loaded: Loaded) -> str:
    """Hash of all that decides which features there are and what they are: what must be the same to judge again.

    Limits are part of it only where a feature is computed from one; conditions only by the features they name.
    """
    program = loaded.program
    plan = make_plan(program)
    used = sorted({q for q in plan.limit.tolist() if q >= 0})
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for name, array in plan._asdict().items():
        if name not in ("limit_default", "limit_column"):
            digest.update(
                f"{name} {array.dtype} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes()
            )
    # By protocol and name, as numbers of limits move when one is added.
    names = [program.limit_names[q] for q in used]
    book = loaded.roster.book.digest_of({(program.protocols[p].id, name) for p, name in names})
    said = [(name, float(plan.limit_default[q]), book) for name, q in zip(names, used, strict=True)]
    options = program.options
    digest.update(
        repr(
            (
                said, program.series, program.problems, sorted(map(sorted, program.contacts)),
                [(p, program.protocols[p].id, name) for p, name in program.feature_rows],
                options.lateness_ms, options.deaf_after_ms, options.zones, SOURCE_HASH,
                [(each.id, sorted(each.items)) for each in program.protocols],
            )
        ).encode()
    )  # fmt: skip
    roster = loaded.roster
    of_cell = {
        cell: [roster.book.resolve(program.protocols[p].id, name, cell)[0] for p, name in names]
        for cell in {member.cell for member in roster.members.values()}
    }
    for patient, member in sorted(roster.members.items()):
        line = f"{patient} {member.protocols} {member.zone} {of_cell[member.cell]}\n"
        digest.update(line.encode())
    return digest.hexdigest()


def changed_limits(protocols: Sequence[Protocol], changes: Mapping[str, float]) -> list[Protocol]:
    """Give the protocols with other defaults of limits.

    Parameters
    ----------
    protocols : sequence of Protocol
    changes : mapping of str to float
        Value by ``limit`` or ``protocol.limit``, in the limit's unit.

    Raises
    ------
    ValueError
        There is no such limit, it is in two protocols, or the value is outside of its sane range.
    """
    out = list(protocols)
    for said, value in changes.items():
        p, name = find_limit(protocols, said)
        protocol = out[p]
        limit = protocol.limits[name]
        if not limit.min <= value <= limit.max:
            msg = f"limit {said} = {value:g}: legal are {limit.min:g} to {limit.max:g} {limit.unit}"
            raise ValueError(msg)
        # A copy has the cached hash of what it was copied from: made of its content, it has its own.
        limits = {**protocol.limits, name: limit.model_copy(update={"default": value})}
        content = {key: getattr(protocol, key) for key in type(protocol).model_fields} | {"limits": limits}
        out[p] = type(protocol).model_construct(**content)
    return out


def find_limit(protocols: Sequence[Protocol], said: str) -> tuple[int, str]:
    """Give the protocol, by its place, and the name of a limit that is said as ``limit`` or ``protocol.limit``.

    Raises
    ------
    ValueError
        There is no such limit, or it is in two protocols.
    """
    owner, _, name = said.rpartition(".")
    found = [p for p, each in enumerate(protocols) if name in each.limits and owner in ("", each.id)]
    if not found:
        legal = [
            name for each in protocols for limit in each.limits for name in (limit, f"{each.id}.{limit}")
        ]
        msg = f"there is no limit {said!r}; {close_names(said, legal)}"
        raise ValueError(msg)
    if len(found) > 1:
        msg = f"limit {said!r} is in {len(found)} protocols; name it as {protocols[found[0]].id}.{name}"
        raise ValueError(msg)
    return found[0], name


class History:
    """A history to be judged, with what was found in it so far.

    Parameters
    ----------
    asked : Asked
        Files, or a log.
    cache : Path
        Folder for what is kept; each history with each set of features has its own folder in it.
    shards : int
        Threads. What is judged does not depend on it.
    keep : int
        How many are left in the folder after a first pass, those that were used last; those in use count and stay.
    progress : Progress
    order : Measured or Delays, optional
        Another order of arrival than the history's own; `order` tells it afterwards.
    """

    def __init__(
        self,
        asked: Asked,
        cache: Path,
        *,
        shards: int = 2,
        keep: int = KEEP,
        progress: Progress = SILENT,
        order: Measured | Delays | None = None,
    ) -> None:
        self._asked = asked
        self._cache = cache
        self._shards = shards
        self._keep = keep
        self._progress = progress
        self.order = order
        self._known: dict[str, tuple[Path, Kept]] = {}

    def judge(self, loaded: Loaded, holding: Holding | None = None) -> Judged:
        """Judge the history by some protocols; the first pass is made where their features are not kept yet.

        Parameters
        ----------
        loaded : Loaded
        holding : Holding, optional
            Limits of a cell that are taken to hold, whatever the log's acts say, and whom it is about.

        Raises
        ------
        FormatError, LogError, OSError
            The history cannot be read.
        FoundError
            What was kept cannot be read.
        ValueError
            A limit that is to hold is not there, out of its range, or one that features are computed from.
        """
        key = features_key(loaded)
        if key not in self._known:
            self._known[key] = self._first_pass(loaded, key)
        folder, kept = self._known[key]
        return judge(folder, kept, loaded, holding)

    def _first_pass(self, loaded: Loaded, key: str) -> tuple[Path, Kept]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="sorting-", dir=self._cache) as spill:
            source = open_input(self._asked, loaded, Path(spill))
            if self.order is not None:
                source = Reordered(source, self.order)
            try:
                said = f"{source.fingerprint} {_stamps(self._asked.paths)} {key}"
                digest = hashlib.blake2b(said.encode(), digest_size=_DIGEST)
                folder = self._cache / digest.hexdigest()
                in_use = hold(folder)
                kept = Kept.read(folder) if in_use is not None else None
                if kept is None:
                    source.prepare(self._progress)
                    kept = _keep(source, loaded, folder, self._shards, self._progress)
                    in_use = hold(folder)
                else:
                    self._progress.note(f"features of {kept.readings:,} readings are kept already")
                if in_use is not None:
                    weakref.finalize(self, os.close, in_use)
                if gone := prune(self._cache, self._keep):
                    self._progress.note(f"{len(gone)} older histories in {self._cache} were removed")
                return folder, kept
            finally:
                source.close(remove=True)


def _files(paths: Sequence[Path]) -> list[Path]:
    found = find_paths(paths)
    return sorted([*found.tables, *found.records, *found.logs])


def _stamps(paths: Sequence[Path]) -> str:
    """Say which files these are and when each was last written: what was kept of others is not theirs."""
    stats = [(path.resolve(), path.stat()) for path in _files(paths)]
    return " ".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)


def _keep(source: Input, loaded: Loaded, folder: Path, shards: int, progress: Progress) -> Kept:
    shutil.rmtree(folder, ignore_errors=True)
    keepers = [Keeper(folder / f"shard{k:02d}") for k in range(shards)]
    readings = 0
    first_ms = None
    with loaded.line(shards=shards, time_basis=source.time_basis) as line:
        for keeper, shard in zip(keepers, line.shards, strict=True):
            shard.keep = keeper.add
        progress.step(
            "first pass", source.end - source.first, "rows" if source.time_basis == "event" else "entries"
        )
        at = source.first
        for processed in line.stream(source.batches(source.first)):
            batch = processed.batch
            readings += len(batch.code)
            if first_ms is None and len(batch):
                first_ms = int(batch.receipt_ms[0])
            progress.advance(batch.next_offset - at)
            at = batch.next_offset
        for keeper, shard in zip(keepers, line.shards, strict=True):
            keeper.finish(shard.state)
        total = line.accounts.total
        kept = Kept(
            shards=shards,
            readings=readings,
            patients=sum(shard.state.used for shard in line.shards),
            first_ms=first_ms or 0,
            last_ms=line.clock_ms or 0,
            time_basis=source.time_basis,
            input=source.content(),
            accounts=(
                f"{total.received:,} packets received: {total.applied:,} applied, {total.duplicate:,} duplicate, "
                f"{total.late:,} late, {sum(total.quarantined.values()):,} quarantined"
            ),
            notes=tuple(source.notes()),
        )
    kept.write(folder)
    return kept
