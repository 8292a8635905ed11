"""From changes of alerts to rows that a person or a queue reads: ids, sentences, evidence.

Rows are made in columns: what a rule says of itself is taken from tables, lists are cut from flat columns. Only a
sentence is made by itself, once for the same figures.
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
from rules.explain import Wording, silence_sentence
from rules.levels import Level

__all__ = ["Reporter", "alert_ids", "id_texts", "merge"]

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


def id_texts(ids: npt.NDArray[np.uint64]) -> pl.Series:
    """Write ids as they are kept and shown: sixteen hexadecimal digits each."""
    return _texts(_hexadecimal(ids), np.full(len(ids), 2 * ids.itemsize))


class Reporter:
    """What the rows of a shard's program have in common, as tables to take from."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        program = shard.program
        rules = program.rule_rows
        self.keys = np.array([row.key for row in rules], np.uint64)
        self.told = pl.DataFrame(
            {
                "protocol": [row.protocol.id for row in rules],
                "version": [row.protocol.version for row in rules],
                "protocol_hash": [row.protocol.hash for row in rules],
                "signed": [row.protocol.signed for row in rules],
                "problem": [row.problem for row in rules],
                "rule": [row.id for row in rules],
            }
        )
        self.levels = pl.Series(["", *(level.name for level in sorted(Level))], dtype=pl.String)
        self.kinds = pl.Series(["", *(_HAPPENING[kind].value for kind in sorted(_HAPPENING))])
        self.series = pl.Series(program.series, dtype=pl.String)
        self.silences_h = np.array([row.silence_ms for row in rules]) / _HOUR_MS
        self.features = _Figures([_feature_figures(row, program) for row in rules])
        self.limits = _Figures([_limit_figures(row, program) for row in rules])
        self._wordings = [row.text if row.rule is None else Wording(row.protocol, row.rule) for row in rules]
        self._said: dict[tuple[int, bytes], str] = {}

    def rows(self, changes: Changes, batch: Batch, time_basis: str) -> pl.DataFrame:
        """Give the rows of `rules.alerts.SCHEMA`, in the order of `changes`."""
        state = self.shard.state
        ids = alert_ids(state.slot_hash[changes.slot], self.keys[changes.opener], changes.onset_ms)
        packet = np.maximum(changes.row, 0)
        offset = pl.Series(batch.offset[packet] if len(batch) else packet)
        features, limits = self._values(changes)
        told = self.told[changes.rule]
        columns = {series.name: series for series in told} | {
            "alert_id": id_texts(ids),
            "patient": _texts(*state.patient_bytes(changes.slot)),
            "opened_by": self.told["rule"][changes.opener],
            "level": self.levels[changes.level],
            "kind": self.kinds[changes.kind],
            "onset_ms": pl.Series(changes.onset_ms),
            "t_ms": pl.Series(changes.t_ms),
            "clock_ms": pl.Series(changes.clock_ms),
            "offset": offset.set(pl.Series(changes.row < 0), None),
            "sentence": self._sentences(changes, features, limits),
            "features": self.features.lists(changes.rule, features),
            "limits": self.limits.lists(changes.rule, limits, origin=self._origins(changes)),
            "points": self._points(changes),
            "kernels": _same(SOURCE_HASH, len(changes)),
            "time_basis": _same(time_basis, len(changes)),
        }
        return pl.DataFrame({name: columns[name] for name in SCHEMA}, schema=SCHEMA)

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
        limits = self.silences_h[changes.rule][row]
        limits[place >= 0] = changes.limits[changes.origins >= 0]
        return features, limits

    def _origins(self, changes: Changes) -> pl.Series:
        """Say where each limit comes from, flat, change by change."""
        _, place = self.limits.places(changes.rule)
        words = pl.Series([*self.shard.limits.origins, "protocole"], dtype=pl.String)
        at = np.full(len(place), len(words) - 1, np.int32)
        at[place >= 0] = changes.origins[changes.origins >= 0]
        return words[at]

    def _sentences(self, changes: Changes, features: F64, limits: F64) -> pl.Series:
        """One sentence a change; the same figures make the same sentence once."""
        figures = np.column_stack(
            (self.features.table(changes.rule, features), self.limits.table(changes.rule, limits))
        )
        silent = self.silences_h[changes.rule] > 0.0
        figures[silent] = np.trunc(figures[silent])  # a silence is told in whole hours, whatever its limit
        first, same = _alike(changes.rule, figures)
        if len(self._said) > _KEPT:
            self._said.clear()
        told = figures[first]
        texts = []
        for k, r in enumerate(changes.rule[first].tolist()):
            key = (r, told[k].tobytes())  # not the numbers: one that is undetermined is not equal to itself
            text = self._said.get(key)
            if text is None:
                text = self._said[key] = self._sentence(r, told[k].tolist())
            texts.append(text)
        return pl.Series(texts, dtype=pl.String)[same]

    def _sentence(self, rule: int, figures: list[float]) -> str:
        values, bounds = figures[: self.features.widest], figures[self.features.widest :]
        wording = self._wordings[rule]
        if isinstance(wording, str):
            return silence_sentence(wording, values[0])
        return wording.fill(
            dict(zip(self.features.names[rule], values, strict=False)),  # wide as the widest rule
            dict(zip(self.limits.names[rule], bounds, strict=False)),
        )

    def _points(self, changes: Changes) -> pl.Series:
        """Readings that each change rests on."""
        flat = {
            "signal": self.series[changes.point_series],
            "t_ms": pl.Series(changes.point_t),
            "value": pl.Series(changes.point_milli / MILLI),
        }
        return _lists(flat, changes.point_at)


def _alike(rule: npt.NDArray[np.int16], figures: F64) -> tuple[I64, I64]:
    """Find changes of one rule with the same figures: one change of each kind, and the kind of each change."""
    mixed = _mix(rule.astype(np.uint64))
    for column in figures.T:
        mixed = _mix(mixed ^ np.ascontiguousarray(column).view(np.uint64))
    _, first, same = np.unique(mixed, return_index=True, return_inverse=True)
    alike = (rule == rule[first[same]]) & (
        figures.view(np.uint64) == figures[first[same]].view(np.uint64)
    ).all(axis=1)
    if not alike.all():  # two that are not the same were mixed into the same number
        every = np.arange(len(rule))
        return every, every
    return first, same


def _same(text: str, n: int) -> pl.Series:
    return pl.Series([text]).new_from_index(0, n)


def _hexadecimal(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Write numbers in sixteen hexadecimal digits each, one after the other, ASCII."""
    return np.frombuffer(numbers.astype(">u8").tobytes().hex().encode(), np.uint8)


def _texts(octets: npt.NDArray[np.uint8], length: npt.NDArray[np.integer]) -> pl.Series:
    """Cut octets, ASCII, into texts of the given lengths."""
    at = np.concatenate(([0], np.cumsum(length, dtype=np.int64)))
    text = pa.LargeStringArray.from_buffers(len(length), pa.py_buffer(at), pa.py_buffer(octets))
    return pl.Series(text)


def _lists(flat: dict[str, pl.Series], at: I64) -> pl.Series:
    """Cut flat columns into lists of structs: list k has the rows from ``at[k]`` to ``at[k + 1]``."""
    # In Polars' own layout of texts, so that they are not copied one by one.
    columns = [series.to_arrow(compat_level=pl.CompatLevel.newest()) for series in flat.values()]
    structs = pa.StructArray.from_arrays(columns, names=list(flat))
    # Not `pa.array`, which brings in pandas where that is installed, at the first alert of a process.
    starts = pa.Array.from_buffers(pa.int64(), len(at), [None, pa.py_buffer(at)])
    return pl.Series(pa.LargeListArray.from_arrays(starts, structs))


Figure = tuple[str, str, int]
"""Name, unit, and where its value is; -1: the length of a silence, or its limit."""


class _Figures:
    """Figures that the rows of each rule show, rule after rule in flat columns."""

    def __init__(self, by_rule: list[list[Figure]]) -> None:
        self.names = [[name for name, _, _ in figures] for figures in by_rule]
        flat = [figure for figures in by_rule for figure in figures]
        self._name = pl.Series([name for name, _, _ in flat], dtype=pl.String)
        self._unit = pl.Series([unit for _, unit, _ in flat], dtype=pl.String)
        self._place = np.array([place for _, _, place in flat], np.int64)
        self._length = np.array([len(figures) for figures in by_rule], np.int64)
        self._start = np.cumsum(self._length) - self._length
        self.widest = int(self._length.max(initial=0))

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

    def table(self, rule: npt.NDArray[np.int16], values: F64) -> F64:
        """Put flat values into a table, float64[changes, widest]; NaN beyond those of a change."""
        out = np.full((len(rule), self.widest), np.nan)
        out[np.arange(self.widest) < self._length[rule][:, None]] = values
        return out

    def lists(self, rule: npt.NDArray[np.int16], values: F64, **more: pl.Series) -> pl.Series:
        """Lists of structs, one a change."""
        _, flat = self._flat(rule)
        columns = {"name": self._name[flat], "value": pl.Series(values), "unit": self._unit[flat], **more}
        return _lists(columns, np.concatenate(([0], np.cumsum(self._length[rule]))))


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
