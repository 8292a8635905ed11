"""Protocols compiled into arrays: what the kernels of a shard read.

Features with their parameters become rows of numbers; rules that are set off by the same signals become a
*group*, evaluated together; each group has one block of features a batch.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ingest.signals import MILLI, SIGNALS, Kind, Signal
from kernels import SOURCE_HASH
from kernels.features import STATISTICS
from rules import conditions
from rules.evaluate import Program as Verdicts
from rules.levels import Level
from rules.protocol import Feature, Protocol, Rule

__all__ = ["DAY_MS", "Group", "Options", "Program", "RuleRow", "limit_key", "problem_key", "protocol_signals"]

DAY_MS = 86_400_000
MINUTE_MS = 60_000
_PLOT_DAYS = 14
_DERIVED = {signal.name for signal in SIGNALS if signal.kind is Kind.DERIVED}
_MOST_SERIES = 64
_MOST_PROTOCOLS = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator sets. None of it is clinical.

    `lateness_ms`: a reading older than the patient's newest by more than this is late: kept in history, counted,
    not applied. `tick_ms`: how often time passes for silent patients. `deaf_after_ms`: a gap in the line's clock
    longer than this is an outage of the line, not silence of the patients (0: the source has no heartbeat and no
    outages, as in a file). `again_ms`: at most one row of evidence a rule in this time while it goes on firing.
    `close_at_recovery`: ROUGE ends when its condition does, as if a person had closed it then; only for a replay
    that has no persons in it.
    """

    lateness_ms: int = 7 * DAY_MS
    tick_ms: int = 15 * MINUTE_MS
    deaf_after_ms: int = 15 * MINUTE_MS
    again_ms: int = 60 * MINUTE_MS
    close_at_recovery: bool = False
    zones: tuple[str, ...] = ("Europe/Paris",)


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule as the kernels number it. `silence_ms` is 0 but for non-transmission."""

    protocol: Protocol
    id: str
    problem: str
    level: Level
    text: str
    group: int
    rule: Rule | None
    raise_ms: int = 0
    clear_ms: int = 0
    silence_ms: int = 0

    @property
    def key(self) -> int:
        """Stable 64-bit number of the rule, from which alert ids are made."""
        return _key(self.protocol.id, self.id)


@dataclass(slots=True)
class Group:
    """Rules of one protocol that the same signals set off.

    A non-transmission rule has a group of its own, without conditions, for the readings that its alert shows.
    """

    protocol: int
    series: tuple[int, ...]
    rules: list[int] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    triggers: frozenset[int] = frozenset()
    verdicts: Verdicts | None = None


def _key(*words: str) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest(), "little")


def _reach_days(feature: Feature) -> float:
    """How far back a feature looks, in days."""
    window = 0.0 if feature.window is None else feature.window.ms / DAY_MS
    return STATISTICS[feature.stat].reach_days(window, feature.parameters)


def _plot_days(signal: str) -> int:
    """How far back a signal is kept for the plot of an alert.

    What ECG kernels give comes by the hour and the minute, and its plot is the strip.
    """
    return 1 if signal in _DERIVED else _PLOT_DAYS


def problem_key(protocol: str, problem: str) -> int:
    """Number by which an act of the cell names a problem: 31 bits, so that it travels as a packet's value."""
    return _key(protocol, problem) & 0x7FFFFFFF


def limit_key(protocol: str, limit: str) -> int:
    """Number by which an act of the cell names a limit: 31 bits, as `problem_key`, and another one."""
    return _key(protocol, "limit", limit) & 0x7FFFFFFF


def protocol_signals(items: Mapping[str, Signal] | None = None) -> dict[str, Signal]:
    """Signals that a protocol may name: one for each series of a patient's state."""
    return {s.name: s for s in SIGNALS if not s.ring and s.kind is not Kind.WAVEFORM} | dict(items or {})


class Program:
    """What a set of protocols asks for, numbered; `engine.plan` makes the kernels' arrays of it.

    Parameters
    ----------
    protocols : sequence of Protocol
    options : Options
    own : collection of (int, str)
        Limits, as (index of the protocol, name), that some cell or patient has of its own: they get a column of
        the state.

    Raises
    ------
    ValueError
        If the protocols do not go together, saying which and why.
    """

    def __init__(
        self,
        protocols: Sequence[Protocol],
        options: Options | None = None,
        own: Collection[tuple[int, str]] = (),
    ) -> None:
        self.protocols = tuple(protocols)
        self.options = options or Options()
        if len(self.protocols) > _MOST_PROTOCOLS:
            msg = f"{len(self.protocols)} protocols at once: legal are at most {_MOST_PROTOCOLS}"
            raise ValueError(msg)
        self.series: list[str] = []
        self.rate: dict[str, float] = {}
        """Readings a day that are expected of each series."""
        self.days: dict[str, float] = {}
        """How far back rules look in each series."""
        self.step: dict[str, int] = {}
        """Thousandths a day beyond which a reading is out of pattern."""
        self._gather_series()
        self.limit_names = [(p, name) for p, each in enumerate(self.protocols) for name in each.limits]
        self.limit_defaults = np.array(
            [
                math.nan if each.limits[name].default is None else each.limits[name].default
                for each in self.protocols
                for name in each.limits
            ],
            np.float64,
        )
        self.own = sorted(self.limit_names.index(each) for each in own)
        self.feature_rows: list[tuple[int, str]] = []
        self.feature_index: dict[tuple[int, str], int] = {}
        self.rule_rows: list[RuleRow] = []
        self.groups: list[Group] = []
        self.problems: list[tuple[int, str]] = []
        self.contacts: list[frozenset[int]] = []
        self._gather_rules()
        self.hash = self._hash()

    # Gathering -----------------------------------------------------------------------------------------------

    def _gather_series(self) -> None:
        items: dict[str, str] = {}
        codes: dict[int, str] = {}
        for protocol in self.protocols:
            for item in protocol.items.values():
                owner = items.setdefault(item.name, protocol.id)
                if codes.setdefault(item.code, item.name) != item.name or owner != protocol.id:
                    msg = (
                        f"questionnaire item {item.name!r} (code {item.code}) of protocol {protocol.id!r} is also "
                        f"in {owner!r} or its code is taken by {codes[item.code]!r}: codes and names must differ"
                    )
                    raise ValueError(msg)
            self._use(protocol)
        if len(self.series) > _MOST_SERIES:
            msg = f"the protocols use {len(self.series)} signals together: legal are at most {_MOST_SERIES}"
            raise ValueError(msg)

    def _use(self, protocol: Protocol) -> None:
        for feature in protocol.features.values():
            self._check_step(protocol, feature)
            days = _reach_days(feature)
            for name in feature.signals:
                self._add(name, days)
        for silence in protocol.non_transmission:
            for name in silence.signals:
                self._add(name, 1)
        for questionnaire in protocol.questionnaires.values():
            for item in questionnaire.items:
                self._add(item.name, _PLOT_DAYS)
                self.rate[item.name] = max(self.rate[item.name], questionnaire.per_day)
        for name, use in protocol.signals.items():
            if name not in self.rate:
                continue
            self.rate[name] = max(self.rate[name], use.readings_per_day)
            if use.max_step_per_day is not None:
                step = round(use.max_step_per_day * MILLI)
                if self.step.setdefault(name, step) != step:
                    msg = f"max_step_per_day of {name!r} differs between protocols: {step} and {self.step[name]}"
                    raise ValueError(msg)

    @staticmethod
    def _check_step(protocol: Protocol, feature: Feature) -> None:
        """The step that is told of must be the one that is left out of trends."""
        step = feature.parameters.get("max_step")
        for name in feature.signals if step is not None else ():
            declared = protocol.signals[name].max_step_per_day
            if declared != step:
                msg = (
                    f"{protocol.id}: feature {feature.name!r} has max_step = {step}, signals.{name} has "
                    f"max_step_per_day = {declared}: they must be the same"
                )
                raise ValueError(msg)

    def _add(self, name: str, days: float) -> None:
        if name not in self.rate:
            self.series.append(name)
            self.rate[name] = 1.0
        self.days[name] = max(self.days.get(name, _plot_days(name)), days)

    def _gather_rules(self) -> None:
        silences: list[RuleRow] = []
        for p, protocol in enumerate(self.protocols):
            by_trigger: dict[frozenset[int], int] = {}
            for rule in protocol.rules:
                triggers = frozenset(self.series.index(name) for name in protocol.triggers(rule))
                if triggers not in by_trigger:
                    by_trigger[triggers] = len(self.groups)
                    self.groups.append(Group(p, (), triggers=triggers))
                g = by_trigger[triggers]
                self._feature(p, self.groups[g], protocol.features_of(rule))
                self.groups[g].rules.append(len(self.rule_rows))
                self.rule_rows.append(
                    RuleRow(
                        protocol,
                        rule.id,
                        rule.problem,
                        rule.level,
                        rule.text,
                        g,
                        rule,
                        raise_ms=rule.raise_delay.ms if rule.raise_delay else 0,
                        clear_ms=rule.clear_delay.ms if rule.clear_delay else 0,
                    )
                )
                self._problem(p, rule.problem)
        for p, protocol in enumerate(self.protocols):
            for silence in protocol.non_transmission:
                members = frozenset(self.series.index(name) for name in silence.signals)
                if members not in self.contacts:
                    self.contacts.append(members)
                self.groups.append(Group(p, tuple(sorted(members))))
                for level, after in (
                    (Level.ORANGE, silence.orange_after),
                    (Level.ROUGE, silence.rouge_after),
                ):
                    name = f"{silence.id}_{level.name.lower()}"
                    g = len(self.groups) - 1
                    silences.append(
                        RuleRow(
                            protocol, name, silence.problem, level, silence.text, g, None, silence_ms=after.ms
                        )
                    )
                self._problem(p, silence.problem)
        for row in silences:
            self.groups[row.group].rules.append(len(self.rule_rows))
            self.rule_rows.append(row)
        for group in self.groups:
            self._finish(group)

    def _problem(self, protocol: int, name: str) -> None:
        if (protocol, name) not in self.problems:
            self.problems.append((protocol, name))

    def _feature(self, protocol: int, group: Group, names: Sequence[str]) -> None:
        for name in names:
            if name not in group.features:
                group.features.append(name)
            if (protocol, name) not in self.feature_index:
                self.feature_index[protocol, name] = len(self.feature_rows)
                self.feature_rows.append((protocol, name))

    def _finish(self, group: Group) -> None:
        protocol = self.protocols[group.protocol]
        if not group.triggers:
            return
        used = {self.series.index(s) for name in group.features for s in protocol.features[name].signals}
        group.series = tuple(sorted(used))
        names = (*protocol.features, *protocol.limits)
        when = []
        clear = []
        for r in group.rules:
            rule = self.rule_rows[r].rule
            if rule is None:  # non-transmission has no condition
                continue
            node = conditions.compile(rule.when, names).node
            when.append(node)
            clear.append(
                conditions.compile(rule.clear_when, names).node if rule.clear_when else ("not", node)
            )
        group.verdicts = Verdicts([*when, *clear])

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for protocol in self.protocols:
            digest.update(f"{protocol.id} {protocol.version} {protocol.hash}\n".encode())
        digest.update(repr(self.options).encode())
        digest.update(SOURCE_HASH.encode())
        return digest.hexdigest()
