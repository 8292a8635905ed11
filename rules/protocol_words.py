"""French words for each field of a protocol, and how its values are written: what `rules.protocol_diff` says.

Each field of each part has its words here; a test holds the two together, so that none can be added and left out.
"""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from rules.durations import Duration
from rules.explain import number_text
from rules.fields import to_sign
from rules.levels import Level
from rules.model import (
    Expected,
    Feature,
    Header,
    Item,
    Limit,
    NonTransmission,
    Questionnaire,
    Rule,
    RuleTest,
    SignalUse,
    Signature,
    Source,
)

__all__ = ["KEYS", "ONLY_WORDS", "TITLES", "WORDS", "pair", "single"]

TITLES: Final[Mapping[str, str]] = {
    "header": "Protocole",
    "signature": "Signature",
    "rules": "Alertes",
    "non_transmission": "Sans nouvelles",
    "limits": "Limites",
    "features": "Calculs",
    "questionnaires": "Questionnaires",
    "items": "Questions",
    "signals": "Signaux",
    "tests": "Essais",
    "sources": "Sources",
}
"""Parts in the order in which they are read, as ``vigie protocol explain`` calls them."""

KEYS: Final[Mapping[type[BaseModel], str]] = {
    Rule: "id",
    NonTransmission: "id",
    Limit: "name",
    Feature: "name",
    Item: "name",
    RuleTest: "name",
    Source: "name",
}
"""The field by which a part is known; it has no words, since another name is another part."""

WORDS: Final[Mapping[type[BaseModel], Mapping[str, str]]] = {
    Header: {"id": "identifiant", "version": "version", "title": "titre", "line": "filière"},
    Signature: {
        "name": "nom",
        "role": "qualité",
        "date": "date",
        "hash": "empreinte signée",
        "digest": "empreinte longue signée",
        "valid_from": "valable à partir du",
        "valid_until": "valable jusqu'au",
    },
    Rule: {
        "title": "titre",
        "problem": "problème",
        "level": "niveau",
        "when": "condition",
        "clear_when": "fin",
        "raise_delay": "confirmée après",
        "clear_delay": "finie après",
        "text": "texte",
        "mark": "marque",
    },
    NonTransmission: {
        "title": "titre",
        "signals": "signaux",
        "orange_after": "ORANGE après",
        "rouge_after": "ROUGE après",
        "text": "texte",
        "mark": "marque",
        "problem": "problème",
    },
    Limit: {
        "default": "",  # what a limit is first of all: no word is needed
        "min": "minimum permis",
        "max": "maximum permis",
        "unit": "unité",
        "label": "libellé",
        "source": "source",
        "mark": "marque",
    },
    Feature: {
        "signals": "à partir de",
        "stat": "statistique",
        "window": "fenêtre",
        "limit": "limite de référence",
        "parameters": "paramètre",
        "label": "libellé",
        "mark": "marque",
        "unit": "unité affichée",
        "decimals": "décimales affichées",
        "choices": "réponses affichées",
    },
    Questionnaire: {"title": "titre", "per_day": "fois par jour", "items": ""},
    Item: {
        "code": "code",
        "label": "question",
        "choices": "réponses",
        "low": "plus petite réponse",
        "high": "plus grande réponse",
    },
    SignalUse: {
        "readings_per_day": "mesures par jour",
        "max_step_per_day": "saut permis par jour",
        "mark": "marque",
    },
    RuleTest: {
        "series": "mesures",
        "start": "premier jour",
        "at": "heure",
        "step": "pas",
        "limits": "limite",
        "expect": "alertes attendues",
        "verdicts": "verdict",
    },
    Source: {"reference": ""},
}

ONLY_WORDS: Final = frozenset(
    {
        "header.version", "header.title", "header.line",
        "rules.title", "rules.text", "rules.mark",
        "non_transmission.title", "non_transmission.text", "non_transmission.mark",
        "limits.label", "limits.unit", "limits.min", "limits.max", "limits.source", "limits.mark",
        "features.label", "features.mark", "features.unit", "features.decimals", "features.choices",
        "questionnaires.title", "items.label", "items.order", "signals.mark",
    }
)  # fmt: skip
"""Fields that cannot change which alerts are raised, nor when; nor can signatures, tests and sources."""

_QUOTED = {"text", "label", "title", "line", "source", "name", "role", "series", "reference"}
_NONE = {"default": "à fixer", "clear_when": "condition fausse", "window": "aucune", "limit": "aucune"}
_VERDICTS = {"true": "vraie", "false": "fausse", "undetermined": "non déterminée"}


def pair(field: str, before: Any, after: Any, units: tuple[str, str] = ("", "")) -> str:  # noqa: ANN401 - any field's
    """Write what a field was and what it is: ``2,0 → 1,5 kg``.

    Parameters
    ----------
    field : str
        Its name in the model; of a table in it, with the key: ``parameters.exclude``.
    before, after
        Values of the model; None for nothing.
    units : (str, str)
        Of either.
    """
    if _is_number(before) and _is_number(after):
        decimals = max(_decimals(before), _decimals(after))
        if units[0] == units[1]:
            old, new = (
                number_text(float(before), decimals),
                _with(number_text(float(after), decimals), units[1]),
            )
        else:
            old, new = (
                _with(number_text(float(v), decimals), u) for v, u in ((before, units[0]), (after, units[1]))
            )
    else:
        old, new = single(field, before, units[0]), single(field, after, units[1])
    if old == new:
        # They differ in what is not shown, such as the spaces of a condition.
        old, new = repr(before), repr(after)
    return f"{old} → {new}"


def single(field: str, value: Any, unit: str = "") -> str:  # noqa: ANN401, PLR0911 - any field's; a kind a line
    """Write one value."""
    name = field.partition(".")[0]
    match value:
        case None:
            return _NONE.get(name, "aucun")
        case Level():
            return value.word
        case Duration():
            return value.french.replace("\N{NO-BREAK SPACE}", " ")
        case dt.date():
            return f"{value:%d/%m/%Y}"
        case int() | float():
            return _with(number_text(float(value), _decimals(value)), unit)
        case str():
            return _word(name, value)
        case _ if isinstance(value, Sequence):
            return " ; ".join(map(_member, value)) or "aucune"
        case _:
            return str(value)


def _word(name: str, value: str) -> str:
    if name == "mark":
        return f"{value} (à signer)" if to_sign(value) else value
    if name == "verdicts":
        return _VERDICTS[value]
    flat = " ".join(value.split())
    return f"« {flat} »" if name in _QUOTED else flat


def _member(value: object) -> str:
    if isinstance(value, Expected):
        kind, number = value.place
        return f"{value.rule} {value.level.word} {'jour' if kind == 'day' else 'pas'} {number}"
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool | Level)


def _with(number: str, unit: str) -> str:
    return f"{number} {unit}".strip()


def _decimals(value: float) -> int:
    """Decimals that a number has: as many as were typed."""
    if not math.isfinite(value):
        return 0
    return max(0, -int(Decimal(repr(float(value))).normalize().as_tuple().exponent))
