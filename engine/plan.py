"""A program as the arrays that the kernels read."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from engine.program import Program
from engine.zones import zone_tables
from ingest.signals import MAX_CODE, SIGNALS, Kind
from kernels import features
from kernels.advance import Plan
from kernels.lifecycle import Rules

__all__ = ["make_plan", "make_rules"]

_SPARE = 1.25
"""Room for more readings than the protocol expects; beyond it the oldest leave the window first, and it is counted."""


def _mask(series: Collection[int]) -> int:
    return sum(1 << s for s in series)


def _offsets(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(np.array(lengths, np.int64)))).astype(np.int64)


def _code_series(program: Program) -> npt.NDArray[np.int16]:
    out = np.full(MAX_CODE + 1, -1, np.int16)
    index = {name: s for s, name in enumerate(program.series)}
    for signal in SIGNALS:
        if signal.series in index and signal.kind is not Kind.WAVEFORM:
            out[signal.code] = index[signal.series]
    for protocol in program.protocols:
        for item in protocol.items.values():
            out[item.code] = index[item.name]
    return out


def make_plan(program: Program) -> Plan:
    """Number the series, features and groups of `program`."""
    rate, days = program.rate, program.days
    visible = np.array([math.ceil((days[n] + 1) * rate[n] * _SPARE) + 3 for n in program.series], np.int64)
    visible = -(-visible // 4) * 4
    physical = visible + np.maximum(8, visible // 4)
    step = np.array([program.step.get(name, 0) for name in program.series], np.int64)
    zone_t, zone_off = zone_tables(program.options.zones)
    columns = np.full(len(program.limit_names), -1, np.int32)
    columns[program.own] = np.arange(len(program.own))
    rows = [(p, program.protocols[p].features[name]) for p, name in program.feature_rows]
    stats = [features.STATISTICS[feature.stat] for _, feature in rows]
    limits = {key: i for i, key in enumerate(program.limit_names)}
    inputs = np.full((len(rows), features.SERIES), -1, np.int32)
    for i, (_, feature) in enumerate(rows):
        inputs[i, : len(feature.signals)] = [program.series.index(name) for name in feature.signals]
    # A feature that looks at no series checked for pattern finds the same in the raw one.
    checked = [
        any(step[s] for s in row if s >= 0) and not stat.raw for row, stat in zip(inputs, stats, strict=True)
    ]
    groups = program.groups
    members = [[program.feature_index[g.protocol, name] for name in g.features] for g in groups]
    return Plan(
        code_series=_code_series(program),
        start=_offsets(physical.tolist())[:-1],
        visible=visible,
        physical=physical,
        step=step,
        group_mask=np.array([_mask(g.triggers) for g in groups], np.uint64),
        group_protocol=np.array([g.protocol for g in groups], np.int64),
        group_series_at=_offsets([len(g.series) for g in groups]),
        group_series=np.array([s for g in groups for s in g.series], np.int64),
        group_feature_at=_offsets([len(each) for each in members]),
        group_feature=np.array([f for each in members for f in each], np.int64),
        op=np.array([s.op for s in stats], np.int64),
        checked=np.array(checked, np.bool_),
        inputs=inputs,
        window=np.array([f.window.window if f.window else 0 for _, f in rows], np.int64),
        in_days=np.array([f.window is not None and f.window.in_days for _, f in rows], np.bool_),
        par=np.array(
            [s.pack(f.parameters) for s, (_, f) in zip(stats, rows, strict=True)], np.float64
        ).reshape(len(rows), features.PAR),
        limit=np.array([limits[p, f.limit] if f.limit else -1 for p, f in rows], np.int32),
        limit_default=program.limit_defaults,
        limit_column=columns,
        zone_t=zone_t,
        zone_off=zone_off,
        lateness_ms=np.array([program.options.lateness_ms], np.int64),
    )


def make_rules(program: Program, plan: Plan) -> Rules:
    """Number the rules and problems of `program`."""
    rows = program.rule_rows
    protocol = [program.protocols.index(row.protocol) for row in rows]
    problem = [program.problems.index((p, row.problem)) for p, row in zip(protocol, rows, strict=True)]
    members = [[r for r, q in enumerate(problem) if q == each] for each in range(len(program.problems))]
    contact = [
        program.contacts.index(frozenset(program.groups[row.group].series)) if row.silence_ms else 0
        for row in rows
    ]
    groups = [g.rules if g.triggers else [] for g in program.groups]
    options = program.options
    return Rules(
        problem=np.array(problem, np.int16),
        level=np.array([row.level for row in rows], np.uint8),
        raise_ms=np.array([row.raise_ms for row in rows], np.int64),
        clear_ms=np.array([row.clear_ms for row in rows], np.int64),
        silence_ms=np.array([row.silence_ms for row in rows], np.int64),
        silent=np.array([r for r, row in enumerate(rows) if row.silence_ms > 0], np.int64),
        contact=np.array(contact, np.int16),
        group_at=_offsets([len(g) for g in groups]),
        group_rule=np.array([r for g in groups for r in g], np.int64),
        group_mask=plan.group_mask,
        group_protocol=plan.group_protocol,
        protocol=np.array(protocol, np.int64),
        verdict_at=np.zeros(len(groups), np.int64),
        room=np.zeros(len(groups), np.int64),
        problem_at=_offsets([len(m) for m in members]),
        problem_rule=np.array([r for m in members for r in m], np.int64),
        contact_mask=np.array([_mask(c) for c in program.contacts], np.uint64),
        options=np.array([options.tick_ms, options.again_ms, int(options.close_at_recovery)], np.int64),
    )
