"""A protocol as plain tables, in French, for a clinician to read and sign: ``vigie protocol explain``."""

from collections.abc import Iterable
from dataclasses import dataclass

from rules.durations import Duration
from rules.explain import number_text
from rules.fields import to_sign
from rules.model import Feature, Limit, Protocol, Rule
from rules.signature import statement

__all__ = ["Table", "heading", "source_text", "tables"]

TO_SIGN = "à signer"
_OURS = {
    "G": "connaissance générale, sans source lue : à signer par un clinicien",
    "D": "proposition de conception : à signer par un clinicien",
}
"""Marks that are of no source."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title; every row has one cell for each column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def heading(protocol: Protocol) -> tuple[str, ...]:
    """Say what the protocol is and who answers for it, in a few lines."""
    title = f"{protocol.title} ({protocol.id} {protocol.version})"
    return (title, f"Empreinte {protocol.hash}", statement(protocol))


def tables(protocol: Protocol) -> tuple[Table, ...]:
    """Give every part of the protocol as a table, alerts first; empty parts are left out."""
    every = (
        Table(
            "Alertes",
            ("niveau", "problème", "règle", "condition", "fin", "délais", "texte", "marque"),
            tuple(
                _rule(rule) for rule in sorted(protocol.rules, key=lambda rule: (rule.problem, -rule.level))
            ),
        ),
        Table(
            "Sans nouvelles",
            ("règle", "signaux", "ORANGE après", "ROUGE après", "texte", "marque"),
            tuple(
                (
                    _named(s.title, s.id),
                    ", ".join(s.signals),
                    s.orange_after.french,
                    s.rouge_after.french,
                    s.text,
                    _mark(s.mark),
                )
                for s in protocol.non_transmission
            ),
        ),
        Table(
            "Limites",
            ("limite", "ce que c'est", "défaut", "plage permise", "source", "marque"),
            tuple(_limit(limit) for limit in protocol.limits.values()),
        ),
        Table(
            "Calculs",
            ("calcul", "ce que c'est", "à partir de", "statistique", "unité", "marque"),
            tuple(_feature(feature) for feature in protocol.features.values()),
        ),
        Table(
            "Questions",
            ("questionnaire", "par jour", "code", "nom", "question", "réponses"),
            tuple(
                (
                    questionnaire.title,
                    _plain(questionnaire.per_day),
                    str(item.code),
                    item.name,
                    item.label,
                    answers,
                )
                for questionnaire in protocol.questionnaires.values()
                for item in questionnaire.items
                for answers in [" / ".join(item.choices) or f"de {item.low} à {item.high}"]
            ),
        ),
        Table(
            "Signaux",
            ("signal", "mesures par jour", "saut permis par jour", "marque"),
            tuple(
                (name, _plain(use.readings_per_day), _plain(use.max_step_per_day), _mark(use.mark))
                for name, use in protocol.signals.items()
            ),
        ),
        Table(
            "Marques",
            ("marque", "ce que c'est"),
            tuple((mark, source_text(protocol, mark)) for mark in protocol.marks),
        ),
    )
    return tuple(table for table in every if table.rows)


def _rule(rule: Rule) -> tuple[str, ...]:
    delays = _delays((("confirmée", rule.raise_delay), ("finie", rule.clear_delay)))
    end = rule.clear_when or "condition fausse"
    return (
        rule.level.word,
        rule.problem,
        _named(rule.title, rule.id),
        _flat(rule.when),
        _flat(end),
        delays,
        rule.text,
        _mark(rule.mark),
    )


def _named(title: str | None, rule_id: str) -> str:
    """Write a rule as `rules.protocol_diff` does: title, then id."""
    return f"{title} ({rule_id})" if title else rule_id


def _limit(limit: Limit) -> tuple[str, ...]:
    default = _plain(limit.default, limit.unit) if limit.default is not None else "à fixer"
    legal = f"{_plain(limit.min)} à {_plain(limit.max, limit.unit)}"
    return (limit.name, limit.label, default, legal, limit.source, _mark(limit.mark))


def _feature(feature: Feature) -> tuple[str, ...]:
    parts = [feature.stat]
    if feature.window is not None:
        parts.append(feature.window.french)
    if feature.limit is not None:
        parts.append(f"limite {feature.limit}")
    parts += (
        f"{name} {value if isinstance(value, str) else _plain(value)}"
        for name, value in feature.parameters.items()
    )
    signals = ", ".join(feature.signals)
    return (feature.name, feature.label, signals, ", ".join(parts), feature.unit, _mark(feature.mark))


def _delays(named: Iterable[tuple[str, Duration | None]]) -> str:
    return ", ".join(f"{word} après {delay.french}" for word, delay in named if delay is not None)


def _mark(mark: str | None) -> str:
    if not mark:
        return ""
    return f"{mark}, {TO_SIGN}" if to_sign(mark) else mark


def source_text(protocol: Protocol, mark: str) -> str:
    """Say what a mark of a protocol stands for."""
    if mark in protocol.sources:
        return protocol.sources[mark].reference
    return _OURS.get(mark, "source que ce protocole ne cite pas")


def _flat(text: str) -> str:
    """Put a condition of several lines on one."""
    return " ".join(text.split())


def _plain(value: float | None, unit: str = "") -> str:
    """Write a number with no more decimals than it has."""
    if value is None:
        return ""
    decimals = next(k for k in range(4) if k == 3 or round(value, k) == value)
    return f"{number_text(value, decimals)} {unit}".strip()
