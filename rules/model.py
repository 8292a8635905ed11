"""A protocol: what is measured, what is computed of it, and when somebody is called. Data only.

A protocol is a TOML file (`docs/protocols.md`). `rules.protocol` reads and checks it; what comes out is frozen.
Nothing in it can run code, and nothing in it can switch off an alert for want of transmission: each protocol must
have one (arrêté of 22 June 2023), and there is no key to mute, shelve or disable anything.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rules.conditions import identifiers
from rules.durations import Duration
from rules.fields import (
    At,
    Clock,
    LevelName,
    Line,
    Mark,
    Name,
    Names,
    Number,
    Part,
    SourceName,
    Span,
    SqlText,
    Title,
    Version,
    as_tuple,
    placeholders,
    to_sign,
)
from rules.levels import Level

__all__ = [
    "DIFFERENCES",
    "FIRST_ITEM",
    "LAST_ITEM",
    "UNSIGNED",
    "Expected",
    "Feature",
    "Figure",
    "Header",
    "Item",
    "Limit",
    "LimitEntry",
    "NonTransmission",
    "Protocol",
    "Questionnaire",
    "Rule",
    "RuleTest",
    "SignalUse",
    "Signature",
    "Source",
]

UNSIGNED: Final = "to be signed by a clinician"
FIRST_ITEM: Final = 256
LAST_ITEM: Final = 4095
LONGEST_SILENCE: Final = Duration(31, "d")
"""No protocol may wait longer for a reading before it tells somebody: a later alert is no alert. [D]"""


class Signature(Part):
    """Who answers for the figures of a protocol. `hash` and `digest` are of the content that was signed.

    `valid_from` and `valid_until` are local dates, both included; without them it holds for good.
    """

    name: Line
    role: Line
    date: dt.date
    hash: Line
    digest: Line | None = None  # SHA-256; `rules.signature` always writes it
    valid_from: dt.date | None = None
    valid_until: dt.date | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_from > self.valid_until:
            msg = f"valid_until {self.valid_until} is before valid_from {self.valid_from}"
            raise ValueError(msg)
        return self


class SignalUse(Part):
    """What is expected of a signal: how often, and how far it can move in a day."""

    readings_per_day: Annotated[float, Field(gt=0, le=1440)] = 1.0
    max_step_per_day: Annotated[float, Field(gt=0)] | None = None
    mark: Mark | None = None


class Feature(Part):
    """A figure computed from the readings of one or several signals.

    `unit`, `decimals` and `choices` are what an explanation shows; reading fills them from the signal.
    """

    name: Name
    signals: Names
    stat: Name
    window: Span | None = None
    limit: Name | None = None  # that the statistic refers to, such as the dry weight
    parameters: dict[str, float | str] = Field(default_factory=dict)
    label: Line
    mark: Mark | None = None
    unit: str = ""
    decimals: Annotated[int, Field(ge=0, le=3)] = 0
    choices: tuple[str, ...] = ()


class Limit(Part):
    """A figure that a rule compares with. Without a default it is undetermined until a person sets it."""

    name: Name
    label: Line
    unit: str
    min: Number
    max: Number
    default: Number | None = None
    source: Line
    mark: Mark

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min < self.max:
            msg = f"min {self.min:g} is not below max {self.max:g}"
            raise ValueError(msg)
        if self.default is not None and not self.min <= self.default <= self.max:
            msg = f"default {self.default:g} is outside the range; legal: {self.min:g} to {self.max:g} {self.unit}"
            raise ValueError(msg)
        return self


class Source(Part):
    """What a mark such as S23 stands for: a publication by its author, title and year."""

    name: SourceName
    reference: Line


class LimitEntry(Part):
    """A value that a named person gave to a limit, and why."""

    protocol: Name
    limit: Name
    value: Number
    author: Line
    date: dt.date
    reason: Line


class Rule(Part):
    """When a nurse is told what, at which level. `mark` is of the choice of the level and the form of the rule.

    `title` is what people call it, in French.
    """

    id: Name
    title: Title = None
    problem: Name
    level: LevelName
    when: SqlText
    clear_when: SqlText | None = None
    raise_delay: Span | None = None
    clear_delay: Span | None = None
    text: Line
    mark: Mark = "D"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Features and limits of the conditions, in order of appearance."""
        return tuple(dict.fromkeys(identifiers(self.when) + identifiers(self.clear_when or "")))


class Item(Part):
    """A question. `choices` are the answers of values 0, 1, 2 ...; otherwise an integer from `low` to `high`."""

    code: Annotated[int, Field(ge=FIRST_ITEM, le=LAST_ITEM)]
    name: Name
    label: Line
    choices: Annotated[tuple[Line, ...], BeforeValidator(as_tuple)] = ()
    low: int = 0
    high: int = 0

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if self.choices and (self.low or self.high):
            msg = "an item has choices, or low and high, not both"
            raise ValueError(msg)
        if len(self.choices) == 1 or (not self.choices and self.low >= self.high):
            msg = "an item needs at least two choices, or low below high"
            raise ValueError(msg)
        return self

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest answer."""
        return (0.0, len(self.choices) - 1.0) if self.choices else (float(self.low), float(self.high))


class Questionnaire(Part):
    """Questions put together, `per_day` times a day."""

    title: Line
    per_day: Annotated[float, Field(gt=0, le=24)] = 1.0
    items: Annotated[tuple[Item, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=16)]


class NonTransmission(Part):
    """Nothing received from any of `signals` for so long. There is no key to switch it off."""

    id: Name
    title: Title = None
    signals: Names
    orange_after: Span
    rouge_after: Span
    text: Line
    mark: Mark = "D"
    problem: Name = "transmission"

    @property
    def stages(self) -> tuple[tuple[str, Level, Duration], ...]:
        """The two rules that this is: id as alerts carry it, level, length of the silence."""
        return (
            (f"{self.id}_orange", Level.ORANGE, self.orange_after),
            (f"{self.id}_rouge", Level.ROUGE, self.rouge_after),
        )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.orange_after.ms >= self.rouge_after.ms:
            msg = f"orange_after {self.orange_after} is not below rouge_after {self.rouge_after}"
            raise ValueError(msg)
        if self.rouge_after.ms > LONGEST_SILENCE.ms:
            msg = f"rouge_after {self.rouge_after} is too long; legal: at most {LONGEST_SILENCE}"
            raise ValueError(msg)
        return self


class Expected(Part):
    """A rule that begins to fire: `rule` as alerts carry it, ``no_weight_orange`` for a silence.

    ``day 6`` is a local date, the first being day 1; ``step 6`` is a moment of the series.
    """

    rule: Name
    level: LevelName
    at: At

    @property
    def place(self) -> tuple[str, int]:
        """``("day", 6)`` or ``("step", 6)``, from 1."""
        kind, _, number = self.at.partition(" ")
        return kind, int(number)


class RuleTest(Part):
    """A protocol's own test: series in, alerts out.

    `expect` lists every rule that begins to fire (also as evidence in a problem already open), once for
    each time it begins; a rule that is not listed must not fire. `verdicts` are of `when`, at the last reading.
    """

    name: Line
    series: dict[Name, str]
    start: dt.date = dt.date(2026, 1, 5)  # a Monday, far from a change of hour
    at: Clock = "08:00"
    step: Span = Duration(1, "d")
    limits: dict[Name, Number] = Field(default_factory=dict)
    expect: Annotated[tuple[Expected, ...], BeforeValidator(as_tuple)] = ()
    verdicts: dict[Name, Literal["true", "false", "undetermined"]] = Field(default_factory=dict)


class Figure(Part):
    """How a feature or a limit is shown."""

    name: str
    label: str
    unit: str
    decimals: int
    choices: tuple[str, ...] = ()
    signed: bool = False  # a difference: its plus sign is shown


DIFFERENCES = frozenset(
    {"change", "deviation", "deviation_z", "drift", "macd_exponential", "macd_simple", "slope"}
)


class Header(Part):
    """What a protocol says of itself."""

    id: Name
    version: Version
    title: Line
    line: Line


class Protocol(Header):
    """A whole protocol. Read one with `rules.protocol.load`."""

    signature: Signature | Literal["to be signed by a clinician"]
    signals: dict[Name, SignalUse]
    features: dict[Name, Feature]
    limits: dict[Name, Limit]
    rules: tuple[Rule, ...]
    questionnaires: dict[Name, Questionnaire] = Field(default_factory=dict)
    non_transmission: Annotated[tuple[NonTransmission, ...], Field(min_length=1)]
    tests: tuple[RuleTest, ...] = ()
    sources: dict[SourceName, Source] = Field(
        default_factory=dict,
        exclude_if=lambda sources: not sources,  # as of titles: without them the content is as it was before
    )

    @cached_property
    def hash(self) -> str:
        """Hash of the content, 16 hexadecimal digits; comments and the signature do not change it."""
        return hashlib.blake2b(self._content, digest_size=8).hexdigest()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the same content, 64 hexadecimal digits, for signatures.

        16 digits tell versions apart, but two contents made to have the same ones are found in some 2 to the 32 tries.
        """
        return hashlib.sha256(self._content).hexdigest()

    @cached_property
    def _content(self) -> bytes:
        content = self.model_dump(mode="json", exclude={"signature"})
        return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def signed(self) -> bool:
        """Whether a named person answers for this very content; for how long is not asked."""
        given = self.signature
        if not isinstance(given, Signature) or given.hash != self.hash:
            return False
        return given.digest is None or given.digest == self.digest

    @cached_property
    def items(self) -> Mapping[str, Item]:
        """Questionnaire items by name."""
        return {item.name: item for each in self.questionnaires.values() for item in each.items}

    def rule(self, rule_id: str) -> Rule:
        """Rule called `rule_id`; KeyError when there is none."""
        return self._by_id[rule_id]

    def title_of(self, rule_id: str) -> str:
        """Say what people call a rule that an alert carries, also a silence's; its id where it has no title.

        The two rules of a silence have one title, and their level.
        """
        return self._titles.get(rule_id, rule_id)

    @cached_property
    def _titles(self) -> Mapping[str, str]:
        titles = {rule.id: rule.title for rule in self.rules if rule.title}
        return titles | {
            stage: f"{silence.title}, {level.word}"
            for silence in self.non_transmission
            if silence.title
            for stage, level, _ in silence.stages
        }

    @cached_property
    def _by_id(self) -> Mapping[str, Rule]:
        return {rule.id: rule for rule in self.rules}

    def triggers(self, rule: Rule) -> frozenset[str]:
        """Signals whose arrival may change the verdict of `rule`."""
        return frozenset(
            s for name in rule.names if name in self.features for s in self.features[name].signals
        )

    def features_of(self, rule: Rule) -> tuple[str, ...]:
        """Features that the conditions and the text of `rule` need."""
        return tuple(name for name in self._shown(rule) if name in self.features)

    def limits_of(self, rule: Rule) -> tuple[str, ...]:
        """Limits of the conditions, of the text and of the features of `rule`."""
        shown = self._shown(rule)
        references = (self.features[name].limit for name in shown if name in self.features)
        return tuple(
            dict.fromkeys(
                [*(name for name in shown if name in self.limits), *(name for name in references if name)]
            )
        )

    def _shown(self, rule: Rule) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*rule.names, *placeholders(rule.text))))

    def figure(self, name: str) -> Figure:
        """How the feature or limit `name` is shown; KeyError when there is none."""
        return self._figures[name]

    @cached_property
    def _figures(self) -> Mapping[str, Figure]:
        out = {
            name: Figure(name=name, label=limit.label, unit=limit.unit, decimals=0)
            for name, limit in self.limits.items()
        }
        for name, feature in self.features.items():
            out[name] = Figure(
                name=name,
                label=feature.label,
                unit=feature.unit,
                decimals=feature.decimals,
                choices=feature.choices,
                signed=feature.stat in DIFFERENCES,
            )
        return out

    @property
    def to_sign(self) -> tuple[str, ...]:
        """Keys whose figures are general knowledge [G] or a proposal [D]."""
        return tuple(key for key, mark in self._marks if to_sign(mark))

    @property
    def marks(self) -> tuple[str, ...]:
        """Marks that the protocol has, one by one: those of sources in the order of `sources`, then others by name."""
        had = {each for _, mark in self._marks for each in mark.split()}
        return (*(name for name in self.sources if name in had), *sorted(had - {*self.sources}))

    @cached_property
    def _marks(self) -> tuple[tuple[str, str], ...]:
        parts: list[tuple[str, str | None]] = []
        parts += ((f"signals.{name}", use.mark) for name, use in self.signals.items())
        parts += ((f"features.{name}", feature.mark) for name, feature in self.features.items())
        parts += ((f"limits.{name}", limit.mark) for name, limit in self.limits.items())
        parts += ((f"rules.{rule.id}", rule.mark) for rule in self.rules)
        parts += ((f"non_transmission.{each.id}", each.mark) for each in self.non_transmission)
        return tuple((key, mark) for key, mark in parts if mark)
