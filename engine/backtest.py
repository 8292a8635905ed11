"""Back-test: what protocols would have raised on a history, judged again in seconds after the first pass.

The first pass takes the history through the line as a replay does, and keeps what the kernels found
(`engine.found`). Judging goes over that with `engine.judging`, as the line does: a back-test over a log gives the
alerts that were live. Where a change asks for other features, the first pass is made again, by itself.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from engine.card import input_hash
from engine.found import Keeper, Kept, Part
from engine.judging import Judge, Verdicts, patient_order
from engine.limits import Limits
from engine.load import Loaded
from engine.plan import make_plan
from engine.progress import SILENT, Progress
from engine.replay_input import Asked, Input, open_input
from engine.report import alert_ids
from engine.state import State
from ingest.formats import find_paths
from kernels import SOURCE_HASH, lifecycle
from rules.errors import close_names
from rules.levels import Level
from rules.protocol import Protocol

__all__ = ["TRANSITIONS", "History", "Judged", "changed_limits", "features_key", "judge"]

TRANSITIONS = pl.Schema(
    {
        "alert_id": pl.String,
        "patient": pl.String,
        "protocol": pl.String,
        "problem": pl.String,
        "rule": pl.String,
        "opened_by": pl.String,
        "level": pl.String,
        "kind": pl.String,  # opened, raised, recovered, latched, closed
        "onset_ms": pl.Int64,
        "t_ms": pl.Int64,
        "clock_ms": pl.Int64,
    }
)
"""Columns of what is judged: as in `rules.alerts.SCHEMA`, without evidence; times in ms UTC."""

_KINDS = {
    int(lifecycle.OPENED): "opened",
    int(lifecycle.RAISED): "raised",
    int(lifecycle.RECOVERED): "recovered",
    int(lifecycle.LATCHED): "latched",
    int(lifecycle.CLOSED): "closed",
}
_DIGEST = 12


@dataclass(slots=True)
class Judged:
    """What came of a history under some protocols.

    Attributes
    ----------
    folder, kept : Path, Kept
        What it was judged from.
    transitions : DataFrame
        `TRANSITIONS`, in the order of the line: by clock, then by patient.
    follow_up : DataFrame
        patient, first_ms, newest_ms: what was known of each.
    undetermined : mapping of (protocol, rule) to float
        Share of the verdicts that lacked data.
    """

    protocols: tuple[Protocol, ...]
    folder: Path
    kept: Kept
    transitions: pl.DataFrame
    follow_up: pl.DataFrame
    undetermined: Mapping[tuple[str, str], float]


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
    said = [(program.limit_names[q], float(plan.limit_default[q]), loaded.roster.book.digest) for q in used]
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
    for patient, member in sorted(loaded.roster.members.items()):
        digest.update(f"{patient} {member.protocols} {member.zone}\n".encode())
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
    legal = [name for each in protocols for limit in each.limits for name in (limit, f"{each.id}.{limit}")]
    out = list(protocols)
    for said, value in changes.items():
        owner, _, name = said.rpartition(".")
        found = [k for k, each in enumerate(out) if name in each.limits and owner in ("", each.id)]
        if not found:
            msg = f"there is no limit {said!r}; {close_names(said, legal)}"
            raise ValueError(msg)
        if len(found) > 1:
            msg = f"limit {said!r} is in {len(found)} protocols; name it as {out[found[0]].id}.{name}"
            raise ValueError(msg)
        protocol = out[found[0]]
        limit = protocol.limits[name]
        if not limit.min <= value <= limit.max:
            msg = f"limit {said} = {value:g}: legal are {limit.min:g} to {limit.max:g} {limit.unit}"
            raise ValueError(msg)
        # A copy has the cached hash of what it was copied from: made of its content, it has its own.
        limits = {**protocol.limits, name: limit.model_copy(update={"default": value})}
        content = {key: getattr(protocol, key) for key in type(protocol).model_fields} | {"limits": limits}
        out[found[0]] = type(protocol).model_construct(**content)
    return out


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
    progress : Progress
    """

    def __init__(self, asked: Asked, cache: Path, *, shards: int = 2, progress: Progress = SILENT) -> None:
        self._asked = asked
        self._cache = cache
        self._shards = shards
        self._progress = progress
        self._known: dict[str, tuple[Path, Kept]] = {}

    def judge(self, loaded: Loaded) -> Judged:
        """Judge the history by some protocols; the first pass is made where their features are not kept yet.

        Raises
        ------
        FormatError, LogError, OSError
            The history cannot be read.
        FoundError
            What was kept cannot be read.
        """
        key = features_key(loaded)
        if key not in self._known:
            self._known[key] = self._first_pass(loaded, key)
        folder, kept = self._known[key]
        return judge(folder, kept, loaded)

    def _first_pass(self, loaded: Loaded, key: str) -> tuple[Path, Kept]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="sorting-", dir=self._cache) as spill:
            source = open_input(self._asked, loaded, Path(spill))
            try:
                said = f"{source.fingerprint} {_stamps(self._asked.paths)} {key}"
                digest = hashlib.blake2b(said.encode(), digest_size=_DIGEST)
                folder = self._cache / digest.hexdigest()
                kept = Kept.read(folder)
                if kept is None:
                    source.prepare(self._progress)
                    kept = _keep(
                        source, loaded, folder, self._shards, self._progress, input_hash(self._asked.paths)
                    )
                else:
                    self._progress.note(f"features of {kept.readings:,} readings are kept already")
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


def _keep(source: Input, loaded: Loaded, folder: Path, shards: int, progress: Progress, content: str) -> Kept:
    shutil.rmtree(folder, ignore_errors=True)
    keepers = [Keeper(folder / f"shard{k:02d}") for k in range(shards)]
    readings = 0
    first_ms = None
    with loaded.line(shards=shards, time_basis=source.time_basis) as line:
        line.reports = False
        for shard in line.shards:
            shard.keep_found = True
        progress.step(
            "first pass", source.end - source.first, "rows" if source.time_basis == "event" else "entries"
        )
        at = source.first
        for taken in source.batches(source.first):
            processed = line.process(taken.batch, taken.quarantine, taken.heard_ms)
            for keeper, outcome in zip(keepers, processed.outcomes, strict=True):
                for found in outcome.found:
                    keeper.add(found)
            readings += len(taken.batch.code)
            if first_ms is None and len(taken.batch):
                first_ms = int(taken.batch.receipt_ms[0])
            progress.advance(taken.batch.next_offset - at)
            at = taken.batch.next_offset
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
            input=content,
            accounts=(
                f"{total.received:,} packets received: {total.applied:,} applied, {total.duplicate:,} duplicate, "
                f"{total.late:,} late, {sum(total.quarantined.values()):,} quarantined"
            ),
            notes=tuple(source.notes()),
        )
    kept.write(folder)
    return kept


def judge(folder: Path, kept: Kept, loaded: Loaded) -> Judged:
    """Judge what was kept, by protocols whose `features_key` is that of the first pass.

    Returns
    -------
    Judged
    """
    judges = [_Shard(folder / f"shard{k:02d}", loaded) for k in range(kept.shards)]
    if len(judges) == 1:
        frames = [judges[0].run()]
    else:
        with ThreadPoolExecutor(len(judges)) as threads:
            frames = list(threads.map(_Shard.run, judges))
    transitions = pl.concat(frames).sort("clock_ms", "patient", maintain_order=True)
    follow_up = pl.concat([each.follow_up() for each in judges]).sort("patient")
    rows = np.sum([each.rows for each in judges], axis=0)
    lacking = np.sum([each.lacking for each in judges], axis=0)
    program = loaded.program
    undetermined = {
        (row.protocol.id, row.id): float(lacking[r] / rows[r]) if rows[r] else 0.0
        for r, row in enumerate(program.rule_rows)
        if row.rule is not None
    }
    return Judged(program.protocols, folder, kept, transitions, follow_up, undetermined)


class _Shard:
    """One shard's part, judged."""

    def __init__(self, folder: Path, loaded: Loaded) -> None:
        self.program = loaded.program
        self.part = Part(folder)
        plan = make_plan(self.program)
        self.state = State(
            width=0,
            series=0,
            rules=len(self.program.rule_rows),
            problems=len(self.program.problems),
            contacts=len(self.program.contacts),
            limits=len(self.program.own),
        )
        slots = self.part.fill(self.state)
        arrays = self.state.arrays
        arrays["first_ms"][slots] = self.part.first_ms
        arrays["contact"][slots] = self.part.first_ms[:, None]
        self.limits = Limits(self.program, plan, self.state, loaded.roster)
        self.limits.place(slots)
        self.patients = self.state.patient_ids(slots)
        self.judge = Judge(self.program, plan, self.state)
        rules = len(self.program.rule_rows)
        self.rows = np.zeros(rules, np.int64)
        self.lacking = np.zeros(rules, np.int64)

    def run(self) -> pl.DataFrame:
        """Go through all segments."""
        written: list[lifecycle.Transitions] = []
        for found in self.part.found(self.program):
            for each in found.limits:
                self.limits.put(*each)
            verdicts = self.judge.verdicts(found)
            self._count(verdicts)
            changed = self.judge.walk(found, verdicts)
            if changed is not None:
                told = np.isin(changed.kind, list(_KINDS))
                written.append(lifecycle.Transitions(*(column[told] for column in changed)))  # type: ignore[arg-type]
        if not written:
            return TRANSITIONS.to_frame()
        columns = lifecycle.Transitions(*(np.concatenate(each) for each in zip(*written, strict=True)))
        order = patient_order(self.state, columns)
        return self._frame(lifecycle.Transitions(*(column[order] for column in columns)))  # type: ignore[arg-type]

    def _count(self, verdicts: Verdicts) -> None:
        for group, when in zip(self.program.groups, verdicts.when, strict=True):
            for r, row in zip(group.rules, when, strict=False):
                self.rows[r] += len(row)
                self.lacking[r] += np.count_nonzero(row == -1)

    def _frame(self, columns: lifecycle.Transitions) -> pl.DataFrame:
        rules = self.program.rule_rows
        keys = np.array([row.key for row in rules], np.uint64)
        ids = alert_ids(self.state.slot_hash[columns.slot], keys[columns.opener], columns.onset_ms)
        names = pl.DataFrame(
            {
                "protocol": [row.protocol.id for row in rules],
                "problem": [row.problem for row in rules],
                "rule": [row.id for row in rules],
            }
        )
        levels = ["", *(level.name for level in sorted(Level))]
        kinds = [_KINDS.get(kind, "") for kind in range(max(_KINDS) + 1)]
        frame = names[columns.rule].with_columns(
            _hexadecimal(ids).alias("alert_id"),
            pl.Series("patient", self.patients, pl.String)[columns.slot],
            names["rule"][columns.opener].alias("opened_by"),
            pl.Series("level", levels, pl.String)[columns.level],
            pl.Series("kind", kinds, pl.String)[columns.kind],
            pl.Series("onset_ms", columns.onset_ms),
            pl.Series("t_ms", columns.t_ms),
            pl.Series("clock_ms", columns.clock_ms),
        )
        return frame.select(list(TRANSITIONS))

    def follow_up(self) -> pl.DataFrame:
        """Say since when, and until when, each patient was known."""
        return pl.DataFrame(
            {
                "patient": self.patients,
                "first_ms": self.part.first_ms,
                "newest_ms": np.maximum(self.part.newest_ms, self.part.first_ms),
            },
            schema={"patient": pl.String, "first_ms": pl.Int64, "newest_ms": pl.Int64},
        )


def _hexadecimal(ids: npt.NDArray[np.uint64]) -> pl.Series:
    """Ids as sixteen digits each, as `engine.report` writes them; no object an id."""
    text = ids.astype(">u8").tobytes().hex().encode()
    ends = np.arange(0, len(text) + 1, 16, dtype=np.int32)
    column = pa.StringArray.from_buffers(len(ids), pa.py_buffer(ends), pa.py_buffer(text))
    return pl.Series("alert_id", column)
