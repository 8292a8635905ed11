"""Read a protocol file, and say everything that is wrong with it at once.

What a signal and a statistic are is told by the caller (`SignalLike`, `StatisticLike`), so that rules know neither
how readings come in nor how features are computed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rules import conditions
from rules.check_features import FeatureReader
from rules.check_tests import check_test
from rules.errors import ConditionError, Mistake, ProtocolError, close_names
from rules.fields import placeholders
from rules.interfaces import ParameterLike, SignalLike, Signals, StatisticLike, Statistics
from rules.lines import Path as KeyPath
from rules.model import (
    UNSIGNED,
    Expected,
    Feature,
    Figure,
    Header,
    Item,
    Limit,
    NonTransmission,
    Protocol,
    Questionnaire,
    Rule,
    RuleTest,
    SignalUse,
    Signature,
    Source,
)
from rules.reading import read_text
from rules.signature import attached

__all__ = [
    "UNSIGNED",
    "Expected",
    "Feature",
    "Figure",
    "Item",
    "Limit",
    "NonTransmission",
    "ParameterLike",
    "Protocol",
    "Questionnaire",
    "Rule",
    "RuleTest",
    "SignalLike",
    "SignalUse",
    "Signature",
    "StatisticLike",
    "check_together",
    "load",
    "loads",
]

_TOP = (
    "id", "version", "title", "line", "signature",
    "signals", "features", "limits", "rules", "questionnaires", "non_transmission", "tests", "sources",
)  # fmt: skip


def load(path: Path, signals: Signals, statistics: Statistics) -> Protocol:
    """Read and check a protocol file, and the signature beside it (`rules.signature`).

    Parameters
    ----------
    path : Path
        A TOML file.
    signals : mapping
        The table of signals, by name.
    statistics : mapping
        What features may compute, by name.

    Raises
    ------
    ProtocolError
        With every mistake of the file, in the order of its lines.
    """
    return attached(loads(read_text(path), str(path), signals, statistics), path)


def loads(text: str, file: str, signals: Signals, statistics: Statistics) -> Protocol:
    """Read and check a protocol's text; `file` is what mistakes call it. Raises as `load`."""
    return _ProtocolReader(text, file, signals, statistics).read()


def check_together(protocols: Sequence[Protocol]) -> None:
    """Check that protocols can be loaded side by side.

    Raises
    ------
    ProtocolError
        Two protocols have one id, or one code or name stands for two questionnaire items.
    """
    mistakes: list[Mistake] = []
    ids: set[str] = set()
    codes: dict[int, str] = {}
    names: dict[str, str] = {}
    for protocol in protocols:
        if protocol.id in ids:
            mistakes.append(Mistake(protocol.id, 0, "id", f"two protocols are called {protocol.id!r}"))
        ids.add(protocol.id)
        for item in protocol.items.values():
            key = f"questionnaires item {item.name}"
            owner = codes.setdefault(item.code, protocol.id)
            if owner != protocol.id:
                mistakes.append(
                    Mistake(
                        protocol.id, 0, key, f"code {item.code} is an item of {owner!r}", "a code of its own"
                    )
                )
            owner = names.setdefault(item.name, protocol.id)
            if owner != protocol.id:
                mistakes.append(
                    Mistake(protocol.id, 0, key, f"the name is an item of {owner!r}", "a name of its own")
                )
    if mistakes:
        raise ProtocolError(mistakes)


class _ProtocolReader(FeatureReader):
    """One protocol being read."""

    def read(self) -> Protocol:
        """Read and check everything; raises ProtocolError with all mistakes."""
        for key in self.raw:
            if key not in _TOP:
                self.add((key,), f"unknown key {key!r}", close_names(key, _TOP))
        header = self.model(Header, {k: v for k, v in self.raw.items() if k in Header.model_fields}, ())
        signature = self._signature()
        questionnaires = self.tables("questionnaires", Questionnaire)
        self._check_items(questionnaires)
        uses = self.tables("signals", SignalUse)
        self.check_signals()
        limits = self.tables("limits", Limit, named=True)
        features = self.features()
        for name in set(self.table("features")) & set(self.table("limits")):
            self.add(("limits", name), f"{name!r} is a feature and a limit", "a name of its own for each")
        rules = self.entries("rules", Rule)
        self._check_rules(rules)
        silences = self.entries("non_transmission", NonTransmission)
        self._check_silences(silences, {rule.id for _, rule in rules})
        tests = self.entries("tests", RuleTest)
        for index, test in tests:
            by_id = {rule.id: rule for _, rule in rules}
            check_test(self, ("tests", index), test, by_id, [silence for _, silence in silences], limits)
        sources = self._sources()
        if self.mistakes or header is None or signature is None:
            raise self.error()
        protocol = Protocol(
            signature=signature,
            **{name: getattr(header, name) for name in Header.model_fields},
            signals=uses,
            features=features,
            limits=limits,
            rules=tuple(rule for _, rule in rules),
            questionnaires=questionnaires,
            non_transmission=tuple(silence for _, silence in silences),
            tests=tuple(test for _, test in tests),
            sources=sources,
        )
        if isinstance(protocol.signature, Signature) and not protocol.signed:
            self.add(
                ("signature", "hash"),
                f"the content was changed after it was signed: signed {protocol.signature.hash}, now {protocol.hash}",
                f"signature = {UNSIGNED!r}, or the new hash once the person has read the new content",
            )
            raise self.error()
        return protocol

    def _signature(self) -> Signature | Literal["to be signed by a clinician"] | None:
        given = self.raw.get("signature")
        if isinstance(given, dict):
            return self.model(Signature, given, ("signature",))
        if given == UNSIGNED:
            return UNSIGNED
        self.add(
            ("signature",),
            "is missing" if given is None else f"{given!r} is not a signature",
            f"{UNSIGNED!r}, or a table with {', '.join(Signature.model_fields)}",
        )
        return None

    def _sources(self) -> dict[str, Source]:
        given = self.raw.get("sources", {})
        if not isinstance(given, dict):
            self.add(
                ("sources",), "is not a table", '[sources] with lines such as S23 = "author, title, year"'
            )
            return {}
        made = {
            name: self.model(Source, {"name": name, "reference": reference}, ("sources", name))
            for name, reference in given.items()
        }
        return {name: source for name, source in made.items() if source is not None}

    def _check_items(self, questionnaires: Mapping[str, Questionnaire]) -> None:
        codes: dict[int, str] = {}
        for name, questionnaire in questionnaires.items():
            for index, item in enumerate(questionnaire.items):
                path = ("questionnaires", name, "items", index)
                if item.name in self.signals:
                    self.add((*path, "name"), f"{item.name!r} is a signal", "another name")
                if item.name in self.items:
                    self.add(
                        (*path, "name"), f"{item.name!r} is there twice", "a name of its own for each item"
                    )
                if item.code in codes:
                    self.add(
                        (*path, "code"),
                        f"{item.code} is already the code of {codes[item.code]!r}",
                        "a code of its own",
                    )
                codes.setdefault(item.code, item.name)
                self.items.setdefault(item.name, item)

    def _check_rules(self, rules: Sequence[tuple[int, Rule]]) -> None:
        features, limits = self.table("features"), self.table("limits")
        names = {*features, *limits}
        seen: set[str] = set()
        for index, rule in rules:
            path: KeyPath = ("rules", index)
            if rule.id in seen:
                self.add((*path, "id"), f"{rule.id!r} is there twice", "an id of its own for each rule")
            seen.add(rule.id)
            for which, text in (("when", rule.when), ("clear_when", rule.clear_when)):
                if text is None:
                    continue
                try:
                    conditions.compile(text, names)
                except ConditionError as error:
                    self.add((*path, which), error.wrong, error.legal)
                else:
                    if not any(name in features for name in conditions.identifiers(text)):
                        self.add(
                            (*path, which),
                            "names no feature: nothing would ever change it",
                            ", ".join(features),
                        )
            self._check_text((*path, "text"), rule.text, sorted(names))

    def _check_text(self, path: KeyPath, text: str, legal: Sequence[str]) -> None:
        for name in placeholders(text):
            if name not in legal:
                self.add(path, f"{{{name}}} names nothing", close_names(name, legal))
        rest = text
        for name in placeholders(text):
            rest = rest.replace(f"{{{name}}}", "", 1)
        if "{" in rest or "}" in rest:
            self.add(path, "has a brace without its pair", "{name} for a feature or a limit")

    def _check_silences(self, silences: Sequence[tuple[int, NonTransmission]], rule_ids: set[str]) -> None:
        if not self.raw.get("non_transmission"):
            self.add(
                ("non_transmission",),
                "is missing: a protocol must tell when nothing is received any more",
                "[[non_transmission]] with id, signals, orange_after, rouge_after, text",
            )
        seen = set(rule_ids)
        for index, silence in silences:
            path: KeyPath = ("non_transmission", index)
            for rule_id, _, _ in silence.stages:
                if rule_id in seen:
                    self.add(
                        (*path, "id"), f"{rule_id!r} is there twice", "an id of its own, not that of a rule"
                    )
                seen.add(rule_id)
            self.signals_known(silence.signals, (*path, "signals"))
            self._check_text((*path, "text"), silence.text, ["silence"])
