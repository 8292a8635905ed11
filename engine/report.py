"""From changes of alerts to rows that a person or a queue reads: ids, sentences, evidence.

Rows are made in columns: what a rule says of itself is taken from tables, lists are cut from flat columns. Only the
sentence is made one by one, and the same figures make the same sentence once.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from engine.evidence import Changes
from engine.program import Program, RuleRow
from engine.shard import Shard
from ingest.columns import Batch
from ingest.signals import MILLI
from kernels import SOURCE_HASH
from kernels import lifecycle as life
from rules.alerts import SCHEMA, Happening
from rules.explain import sentence, silence_sentence
from rules.levels import Level

__all__ = ["Reporter", "alert_ids", "merge"]

_HAPPENING = {
    life.OPENED: Happening.OPENED,
    life.RAISED: Happening.RAISED,
    life.EVIDENCE: Happening.EVIDENCE,
    life.RECOVERED: Happening.RECOVERED,
    life.LATCHED: Happening.LATCHED,
    life.CLOSED: Happening.CLOSED,
}
# As `engine.shard.Changes` are ordered.
_ORDER = ["clock_ms", "patient"]
_HOUR_MS = 3_600_000
_KEPT = 65_536
"""Sentences kept from batch to batch, about: figures come in steps of what a device shows, and so come again."""

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def alert_ids(
    patient: npt.NDArray[np.uint64], rule: npt.NDArray[np.uint64], onset_ms: I64
) -> npt.NDArray[np.uint64]:
    """Give the id of each alert: a function of patient, rule that opened it, and onset, and of nothing else."""
    return _mix(_mix(_mix(patient) ^ rule) ^ onset_ms.view(np.uint64))


class Reporter:
    """What the rows of a shard's program have in common, as tables to take from."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        program = shard.program
        rules = program.rule_rows
        self.keys = np.array([row.key for row in rules], np.uint64)
        text = {
            "protocol": [row.protocol.id for row in rules],
            "version": [row.protocol.version for row in rules],
            "protocol_hash": [row.protocol.hash for row in rules],
            "problem": [row.problem for row in rules],
            "rule": [row.id for row in rules],
        }
        self.text = {name: pa.array(values, pa.string()) for name, values in text.items()}
        self.signed = pa.array([row.protocol.signed for row in rules], pa.bool_())
        self.levels = pa.array(["", *(level.name for level in sorted(Level))], pa.string())
        self.kinds = pa.array(["", *(_HAPPENING[kind].value for kind in sorted(_HAPPENING))], pa.string())
        self.series = pa.array(program.series, pa.string())
        self.features = _Figures([_feature_figures(row, program) for row in rules])
        self.limits = _Figures([_limit_figures(row, program) for row in rules])
        self._said: dict[tuple[object, ...], str] = {}

    def rows(self, changes: Changes, batch: Batch, time_basis: str) -> pl.DataFrame:
        """Give the rows of `rules.alerts.SCHEMA`, in the order of `changes`."""
        shard = self.shard
        n = len(changes)
        rule = pa.array(changes.rule)
        ids = alert_ids(shard.state.slot_hash[changes.slot], self.keys[changes.opener], changes.onset_ms)
        patients = shard.state.patient_ids(changes.slot)
        packet = np.maximum(changes.row, 0)
        offset = pa.array(batch.offset[packet] if len(batch) else packet, mask=changes.row < 0)
        features, limits = self._values(changes)
        origins = self._origins(changes)
        columns = {name: column.take(rule) for name, column in self.text.items()} | {
            "alert_id": pa.array([f"{number:016x}" for number in ids.tolist()], pa.string()),
            "patient": pa.array(patients, pa.string()),
            "signed": self.signed.take(rule),
            "opened_by": self.text["rule"].take(pa.array(changes.opener)),
            "level": self.levels.take(pa.array(changes.level)),
            "kind": self.kinds.take(pa.array(changes.kind)),
            "onset_ms": pa.array(changes.onset_ms),
            "t_ms": pa.array(changes.t_ms),
            "clock_ms": pa.array(changes.clock_ms),
            "offset": offset,
            "sentence": pa.array(self._sentences(changes, features, limits), pa.string()),
            "features": self.features.lists(changes.rule, features),
            "limits": self.limits.lists(changes.rule, limits, origin=origins),
            "points": self._points(changes),
            "kernels": pa.array([SOURCE_HASH] * n, pa.string()),
            "time_basis": pa.array([time_basis] * n, pa.string()),
        }
        frame = pl.from_arrow(pa.table({name: columns[name] for name in SCHEMA}))
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(frame)
        return frame if frame.schema == SCHEMA else frame.cast(pl.Schema(SCHEMA))

    def _last_contact(self, changes: Changes) -> npt.NDArray[np.int64]:
        """Newest of the readings shown, or the first that was known of the patient.

        Not of the state: after a large batch it may be days ahead of the transition.
        """
        contact: npt.NDArray[np.int64] = self.shard.state.readings.first_ms[changes.slot]
        some = np.flatnonzero(np.diff(changes.point_at))
        if len(some):
            contact[some] = np.maximum.reduceat(changes.point_t, changes.point_at[some])
        return contact

    def _values(self, changes: Changes) -> tuple[F64, F64]:
        """Figures of features and of limits, flat, change by change."""
        row, place = self.features.places(changes.rule)
        silent_h = (changes.t_ms - self._last_contact(changes)) / _HOUR_MS
        if changes.features.shape[1]:
            features = np.where(place < 0, silent_h[row], changes.features[row, np.maximum(place, 0)])
        else:
            features = silent_h[row]
        row, place = self.limits.places(changes.rule)
        silences = np.array([each.silence_ms for each in self.shard.program.rule_rows]) / _HOUR_MS
        limits = silences[changes.rule][row]
        limits[place >= 0] = changes.limits[changes.origins >= 0]
        return features, limits

    def _origins(self, changes: Changes) -> pa.Array:
        """Say where each limit comes from, flat, change by change."""
        _, place = self.limits.places(changes.rule)
        words = pa.array([*self.shard.limits.origins, "protocole"], pa.string())
        at = np.full(len(place), len(words) - 1, np.int32)
        at[place >= 0] = changes.origins[changes.origins >= 0]
        return words.take(pa.array(at))

    def _sentences(self, changes: Changes, features: F64, limits: F64) -> list[str]:
        """One sentence a change; the same figures make the same sentence once."""
        rules = self.shard.program.rule_rows
        if len(self._said) > _KEPT:
            self._said.clear()
        said = self._said
        out = []
        figures, bounds = features.tolist(), limits.tolist()
        at = bound = 0
        for r in changes.rule.tolist():
            values = figures[at : at + len(self.features.names[r])]
            in_force = bounds[bound : bound + len(self.limits.names[r])]
            at += len(values)
            bound += len(in_force)
            row = rules[r]
            if row.rule is None:
                out.append(silence_sentence(row.text, values[0]))
                continue
            key = (r, *values, *in_force)
            text = said.get(key)
            if text is None:
                text = said[key] = sentence(
                    row.protocol,
                    row.rule,
                    dict(zip(self.features.names[r], values, strict=True)),
                    dict(zip(self.limits.names[r], in_force, strict=True)),
                )
            out.append(text)
        return out

    def _points(self, changes: Changes) -> pa.Array:
        """Readings that each change rests on."""
        columns = [
            self.series.take(pa.array(changes.point_series)),
            pa.array(changes.point_t),
            pa.array(changes.point_milli / MILLI),
        ]
        structs = pa.StructArray.from_arrays(columns, names=["signal", "t_ms", "value"])
        return pa.LargeListArray.from_arrays(pa.array(changes.point_at), structs)


Figure = tuple[str, str, int]
"""Name, unit, and where its value is; -1: the length of a silence, or its limit."""


class _Figures:
    """Figures that the rows of each rule show, rule after rule in flat columns."""

    def __init__(self, by_rule: list[list[Figure]]) -> None:
        self.names = [[name for name, _, _ in figures] for figures in by_rule]
        flat = [figure for figures in by_rule for figure in figures]
        self._name = pa.array([name for name, _, _ in flat], pa.string())
        self._unit = pa.array([unit for _, unit, _ in flat], pa.string())
        self._place = np.array([place for _, _, place in flat], np.int64)
        self._length = np.array([len(figures) for figures in by_rule], np.int64)
        self._start = np.cumsum(self._length) - self._length

    def _flat(self, rule: npt.NDArray[np.int16]) -> tuple[I64, I64]:
        """Row of each figure of some changes, and its index in the flat columns."""
        length = self._length[rule]
        row = np.repeat(np.arange(len(rule)), length)
        within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        return row, self._start[rule][row] + within

    def places(self, rule: npt.NDArray[np.int16]) -> tuple[I64, I64]:
        """Row of each figure, and where its value is."""
        row, flat = self._flat(rule)
        return row, self._place[flat]

    def lists(self, rule: npt.NDArray[np.int16], values: F64, **more: pa.Array) -> pa.Array:
        """Lists of structs, one a change."""
        _, flat = self._flat(rule)
        at = pa.array(flat)
        columns = {
            "name": self._name.take(at),
            "value": pa.array(values),
            "unit": self._unit.take(at),
            **more,
        }
        structs = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
        offsets = np.concatenate(([0], np.cumsum(self._length[rule])))
        return pa.LargeListArray.from_arrays(pa.array(offsets), structs)


def _feature_figures(row: RuleRow, program: Program) -> list[Figure]:
    if row.rule is None:
        return [("silence_h", "h", -1)]
    group = program.groups[row.group].features
    names = row.protocol.features_of(row.rule)
    return [(name, row.protocol.figure(name).unit, group.index(name)) for name in names]


def _limit_figures(row: RuleRow, program: Program) -> list[Figure]:
    if row.rule is None:
        return [("after_h", "h", -1)]
    p = program.protocols.index(row.protocol)
    names = row.protocol.limits_of(row.rule)
    return [(name, row.protocol.figure(name).unit, program.limit_names.index((p, name))) for name in names]


def merge(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Put rows, each table in the order of `Changes`, into one in that order: as one shard would have given them."""
    if not frames:
        return SCHEMA.to_frame()
    if len(frames) == 1:
        return frames[0]
    return pl.concat(frames).sort(_ORDER, maintain_order=True)
