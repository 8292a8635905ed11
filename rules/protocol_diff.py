"""What changed between two versions of a protocol, in French words, as clinicians read it: ``vigie protocol diff``.

Every field that the hash is of is compared: two protocols without a difference here have one hash, and the other way
about. A part that has another id or name is another part: the one is removed, the other added.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import BaseModel

from rules.fields import Part
from rules.interfaces import Signals
from rules.model import Header, Protocol, Signature
from rules.protocol_words import KEYS, ONLY_WORDS, TITLES, WORDS, pair, single
from rules.table import source_text

__all__ = ["Difference", "as_json", "differences", "marks", "report"]

CHANGED: Final = "changed"
ADDED: Final = "added"
REMOVED: Final = "removed"
_SIGNS = {CHANGED: "", ADDED: "+ ", REMOVED: "− "}
_NEVER = {"signature", "tests", "sources"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes
    ----------
    part : str
        ``limits``, ``rules`` ...: a key of `rules.protocol_words.TITLES`.
    key : str
        Name or id of what differs; of an item, with its questionnaire; empty for the protocol itself.
    field : str
        Which field of it; of a table in it, with the key (``parameters.exclude``); ``order`` where the parts follow one
        another otherwise; empty where the whole is added or removed.
    change : str
        ``changed``, ``added`` or ``removed``.
    before, after
        As in JSON; None for nothing.
    unit : str
        Of `after`, or of `before` where there is no `after`.
    alerts : bool
        Whether it may change which alerts are raised, and when; false only where it cannot.
    text : str
        The whole in French words.
    """

    part: str
    key: str
    field: str
    change: str
    before: Any
    after: Any
    unit: str
    alerts: bool
    text: str


def differences(a: Protocol, b: Protocol, signals: Signals) -> tuple[Difference, ...]:
    """Compare two protocols.

    Parameters
    ----------
    a, b : Protocol
        The older and the newer.
    signals : mapping
        The table of signals, by name, for units.
    """
    sides = [_Side(protocol, signals) for protocol in (a, b)]
    return tuple(found for part in TITLES for found in _compare(part, sides[0], sides[1]))


def report(a: Protocol, b: Protocol, found: Sequence[Difference]) -> str:
    """Write the differences of two protocols for a person."""
    lines = [f"{a.id} {a.version} ({a.hash}) → {b.id} {b.version} ({b.hash})"]
    for part, title in TITLES.items():
        texts = [_SIGNS[each.change] + each.text for each in found if each.part == part]
        if texts:
            lines += ["", title, *(f"  {text}" for text in texts)]
    key = marks(a, b, found)
    if key:
        lines += ["", "Marques", *(f"  {mark} : {source}" for mark, source in key.items())]
    return "\n".join([*lines, "", _summary(len(found), sum(each.alerts for each in found))])


def marks(a: Protocol, b: Protocol, found: Sequence[Difference]) -> dict[str, str]:
    """Give the key of the marks that differences speak of: what each stands for in `b`, or else in `a`."""
    said = [
        content.get("mark") if isinstance(content, dict) else content if each.field == "mark" else None
        for each in found
        for content in (each.before, each.after)
    ]
    names = dict.fromkeys(mark for each in said if isinstance(each, str) for mark in each.split())
    return {mark: source_text(b if mark in b.marks else a, mark) for mark in names}


def as_json(a: Protocol, b: Protocol, found: Sequence[Difference]) -> dict[str, Any]:
    """Give the differences of two protocols for a program."""
    sides = {
        name: {"id": each.id, "version": each.version, "hash": each.hash, "signed": each.signed}
        for name, each in (("a", a), ("b", b))
    }
    return {**sides, "same": not found, "differences": [asdict(each) for each in found]}


def _summary(count: int, weighty: int) -> str:
    if not count:
        return "Aucune différence."
    which = {0: "aucune ne peut", 1: "dont 1 peut"}.get(weighty, f"dont {weighty} peuvent")
    return f"{count} différence{'s' if count > 1 else ''}, {which} changer les alertes."


@dataclass(frozen=True, slots=True)
class _Fact:
    """A field as it is compared: its words, its value in the model, and as in JSON."""

    words: str
    value: Any
    plain: Any
    unit: str


class _Side:
    """One of the two protocols, taken to pieces."""

    def __init__(self, protocol: Protocol, signals: Signals) -> None:
        self.protocol = protocol
        self._signals = signals
        given = protocol.signature
        self.parts: Mapping[str, Mapping[str, Part]] = {
            "header": {"": protocol},
            "signature": {"": given} if isinstance(given, Signature) else {},
            "rules": _by_key(protocol.rules),
            "non_transmission": _by_key(protocol.non_transmission),
            "limits": protocol.limits,
            "features": protocol.features,
            "questionnaires": protocol.questionnaires,
            "items": {
                f"{name}.{item.name}": item
                for name, each in protocol.questionnaires.items()
                for item in each.items
            },
            "signals": protocol.signals,
            "tests": _by_key(protocol.tests),
            "sources": protocol.sources,
        }

    def order(self, part: str) -> list[str]:
        """Give the keys of a part in an order that the hash is of."""
        keys = list(self.parts[part])
        if part == "items":  # of the items of one questionnaire: questionnaires themselves have no order
            return sorted(keys, key=lambda key: key.partition(".")[0])
        return keys if part in {"rules", "non_transmission", "tests"} else sorted(keys)

    def name(self, part: str, key: str) -> str:
        """Say of what a difference is: ``prise de poids en 3 jours (gain_3d_kg)``."""
        each = self.parts[part][key]
        label = getattr(each, "label", "") or getattr(each, "title", "")
        if part == "signals" and key in self._signals:
            label = getattr(self._signals[key], "label_fr", "")
        if part == "header" or not key:
            return ""
        return f"{label} ({key})" if label else key

    def facts(self, part: str, key: str) -> dict[str, _Fact]:
        """Give the fields of one piece, those of its tables one by one."""
        each = self.parts[part][key]
        model = _model(each)
        plain = each.model_dump(mode="json", include=set(WORDS[model]))
        out: dict[str, _Fact] = {}
        for field, words in WORDS[model].items():
            value = getattr(each, field)
            if part == "questionnaires" and field == "items":
                continue
            if isinstance(value, dict):
                for name, inner in value.items():
                    at = f"{field}.{name}"
                    out[at] = _Fact(f"{words} {name}", inner, plain[field][name], self._unit(part, key, at))
            else:
                out[field] = _Fact(words, value, plain.get(field), self._unit(part, key, field))
        return out

    def _unit(self, part: str, key: str, field: str) -> str:
        if part == "limits" and field in {"default", "min", "max"}:
            return self.protocol.limits[key].unit
        if part == "tests" and field.startswith("limits."):
            limit = self.protocol.limits.get(field.partition(".")[2])
            return limit.unit if limit else ""
        if part == "signals" and field == "max_step_per_day" and key in self._signals:
            return self._signals[key].unit_fr
        return ""


def _compare(part: str, a: _Side, b: _Side) -> Iterator[Difference]:
    old, new = a.parts[part], b.parts[part]
    for key in dict.fromkeys([*old, *new]):
        if key not in new:
            yield _whole(part, key, a, REMOVED)
        elif key not in old:
            yield _whole(part, key, b, ADDED)
        else:
            yield from _fields(part, key, a, b)
    before, after = ([key for key in side.order(part) if key in old and key in new] for side in (a, b))
    if before != after:
        text = f"ordre : {', '.join(before)} → {', '.join(after)}"
        yield Difference(part, "", "order", CHANGED, before, after, "", _may(part, "order"), text)


def _fields(part: str, key: str, a: _Side, b: _Side) -> Iterator[Difference]:
    old, new = a.facts(part, key), b.facts(part, key)
    for field in dict.fromkeys([*old, *new]):
        was, now = old.get(field), new.get(field)
        if was is not None and now is not None and _same(was.plain, now.plain):
            continue
        one = now or was
        assert one is not None  # noqa: S101 - the field is of one of the two
        before, after = (each.value if each else None for each in (was, now))
        units = (was.unit if was else "", now.unit if now else "")
        said = " : ".join(filter(None, (b.name(part, key), one.words, pair(field, before, after, units))))
        yield Difference(
            part,
            key,
            field,
            CHANGED if was and now else ADDED if now else REMOVED,
            was.plain if was else None,
            now.plain if now else None,
            one.unit,
            _may(part, field),
            said,
        )


def _whole(part: str, key: str, side: _Side, change: str) -> Difference:
    facts = side.facts(part, key)
    said = ", ".join(
        f"{fact.words} {single(field, fact.value, fact.unit)}".strip()
        for field, fact in facts.items()
        if fact.value is not None and fact.value != ()
    )
    content = side.parts[part][key].model_dump(mode="json", include=set(WORDS[_model(side.parts[part][key])]))
    before, after = (content, None) if change == REMOVED else (None, content)
    text = " : ".join(filter(None, (side.name(part, key), said)))
    return Difference(part, key, "", change, before, after, "", _may(part, ""), text)


def _may(part: str, field: str) -> bool:
    """Whether a field may change which alerts are raised."""
    return part not in _NEVER and f"{part}.{field.partition('.')[0]}" not in ONLY_WORDS


def _model(part: Part) -> type[BaseModel]:
    """Give the class of `WORDS` that a piece is of; a protocol counts as its header."""
    if isinstance(part, Header):
        return Header
    return next(model for model in type(part).__mro__ if model in WORDS)


def _by_key(parts: Sequence[Part]) -> dict[str, Part]:
    """Give parts by id or name; tests may have one name, then the later have a number."""
    out: dict[str, Part] = {}
    for each in parts:
        key = name = str(getattr(each, KEYS[type(each)]))
        count = 1
        while key in out:
            count += 1
            key = f"{name} ({count})"
        out[key] = each
    return out


def _same(a: object, b: object) -> bool:
    """Compare as the hash does: letter by letter in JSON, with tables in any order."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
