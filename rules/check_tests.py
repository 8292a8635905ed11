"""Check the tests that a protocol brings, without running them."""

from collections.abc import Mapping, Sequence

from rules import series
from rules.check_features import FeatureReader
from rules.durations import Duration
from rules.errors import close_names
from rules.lines import Path as KeyPath
from rules.model import Limit, NonTransmission, Rule, RuleTest

__all__ = ["check_test"]

_DAY = Duration(1, "d")


def check_test(
    reader: FeatureReader,
    path: KeyPath,
    test: RuleTest,
    rules: Mapping[str, Rule],
    silences: Sequence[NonTransmission],
    limits: Mapping[str, Limit],
) -> None:
    """Check the names, values and places of one test."""
    reader.signals_known(test.series, (*path, "series"))
    length = 0
    for name, text in test.series.items():
        try:
            parsed = series.parse(text)
        except ValueError as error:
            wrong, _, legal = str(error).partition("; legal: ")
            reader.add((*path, "series", name), wrong, legal)
            continue
        length = max(length, parsed.length)
        _check_values(reader, (*path, "series", name), name, parsed)
    if not test.series:
        reader.add((*path, "series"), "is empty", "at least one signal")
    for name, value in test.limits.items():
        limit = limits.get(name)
        if limit is None:
            reader.add((*path, "limits", name), f"unknown limit {name!r}", close_names(name, limits))
        elif not limit.min <= value <= limit.max:
            wrong = f"{value:g} is outside the range"
            reader.add((*path, "limits", name), wrong, f"{limit.min:g} to {limit.max:g} {limit.unit}")
    for name in test.verdicts:
        if name not in rules:
            reader.add((*path, "verdicts", name), f"unknown rule {name!r}", close_names(name, rules))
    _check_expected(reader, path, test, rules, silences, length)


def _check_expected(
    reader: FeatureReader,
    path: KeyPath,
    test: RuleTest,
    rules: Mapping[str, Rule],
    silences: Sequence[NonTransmission],
    length: int,
) -> None:
    levels = {rule.id: rule.level for rule in rules.values()}
    levels |= {rule_id: level for silence in silences for rule_id, level, _ in silence.stages}
    for k, expected in enumerate(test.expect):
        at = (*path, "expect", k)
        if expected.rule not in levels:
            reader.add(at, f"unknown rule {expected.rule!r}", close_names(expected.rule, levels))
        elif expected.level != levels[expected.rule]:
            wrong = f"{expected.rule} has not the level {expected.level.name}"
            reader.add(at, wrong, levels[expected.rule].name)
        kind, number = expected.place
        if length and number > length and (kind == "step" or test.step == _DAY):
            reader.add(at, f"{expected.at} is after the end of the series", f"1 to {length}")


def _check_values(reader: FeatureReader, path: KeyPath, name: str, parsed: series.Series) -> None:
    if name in reader.items:
        low, high = reader.items[name].range
    elif name in reader.signals:
        low, high = reader.signals[name].low, reader.signals[name].high
    else:
        return
    for step, value in parsed.points:
        if not low <= value <= high:
            wrong = f"{value:g} at step {step + 1} is implausible for {name}"
            reader.add(path, wrong, f"{low:g} to {high:g}")
            return
