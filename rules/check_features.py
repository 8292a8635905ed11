"""Check the features of a protocol against what signals and statistics there are."""

from collections.abc import Iterable, Mapping
from typing import Any

from rules import conditions
from rules.durations import Duration
from rules.errors import close_names
from rules.interfaces import Signals, StatisticLike, Statistics
from rules.lines import Path as KeyPath
from rules.model import DIFFERENCES, Feature, Item, Limit
from rules.reading import Reader

__all__ = ["FeatureReader"]

_KEYS = ("signal", "signals", "stat", "window", "limit", "label", "decimals", "mark")


class FeatureReader(Reader):
    """A protocol being read, as far as its signals and features.

    Parameters
    ----------
    text, file
        As of `Reader`.
    signals : mapping
        The table of signals, by name.
    statistics : mapping
        What features may compute, by name.
    """

    hidden = {Limit: ("name",), Feature: ("name",)}  # noqa: RUF012  (typed as a class variable in `Reader`)

    def __init__(self, text: str, file: str, signals: Signals, statistics: Statistics) -> None:
        super().__init__(text, file)
        self.signals = signals
        self.statistics = statistics
        self.items: dict[str, Item] = {}

    def check_name(self, path: KeyPath) -> None:
        """Refuse the words of conditions as names."""
        name = str(path[-1])
        if name.upper() in conditions.RESERVED:
            self.add(path, f"{name!r} is a word of conditions", "any other name")

    def check_signals(self) -> None:
        """Check that each signal is one of the table."""
        for name in self.table("signals"):
            path = ("signals", name)
            if name in self.items:
                self.add(path, f"{name!r} is a questionnaire item", "a signal of the table")
            elif name not in self.signals:
                self.add(path, f"unknown signal {name!r}", close_names(name, self.signals))
            elif self.signals[name].kind == "waveform":
                self.add(
                    path, f"{name!r} is a waveform", "a signal of single readings, or derived of a waveform"
                )
            elif self.signals[name].series != name:
                self.add(
                    path,
                    f"readings of {name!r} join {self.signals[name].series!r}",
                    self.signals[name].series,
                )

    def known_signals(self) -> list[str]:
        """Give the signals that the protocol declares, its items included."""
        return [*self.table("signals"), *self.items]

    def signals_known(self, names: Iterable[str], path: KeyPath) -> bool:
        """Check that each signal is declared by the protocol or is an item of it."""
        known = self.known_signals()
        for name in names:
            if name not in known:
                legal = f"[signals.{name}] in this file" if name in self.signals else close_names(name, known)
                self.add(path, f"signal {name!r} is not declared", legal)
        return all(name in known for name in names)

    def features(self) -> dict[str, Feature]:
        """Read and check all features."""
        out: dict[str, Feature] = {}
        given = self.raw.get("features", {})
        if not isinstance(given, dict) or not all(isinstance(body, dict) for body in given.values()):
            self.add(("features",), "is not a table of tables", "[features.name]")
            return {}
        for name, body in given.items():
            path = ("features", name)
            self.check_name(path)
            fields = {key: value for key, value in body.items() if key in _KEYS and key != "signal"}
            if ("signal" in body) == ("signals" in body):
                self.add(path, "needs a signal", 'signal = "weight", or signals = [...] for several')
                fields["signals"] = ["undeclared"]
            elif "signal" in body:
                fields["signals"] = [body["signal"]]
            feature = self.model(Feature, {"name": name, **fields}, path)
            parameters = {key: value for key, value in body.items() if key not in _KEYS}
            if feature is not None and len({"signal", "signals"} & body.keys()) == 1:
                checked = self._check_feature(feature, parameters, path, decimals="decimals" in body)
                if checked is not None:
                    out[name] = checked
        return out

    def _check_feature(
        self, feature: Feature, parameters: dict[str, Any], path: KeyPath, *, decimals: bool
    ) -> Feature | None:
        if feature.stat not in self.statistics:
            self.add(
                (*path, "stat"),
                f"unknown statistic {feature.stat!r}",
                close_names(feature.stat, self.statistics),
            )
            return None
        before = len(self.mistakes)
        statistic = self.statistics[feature.stat]
        key = "signals" if len(feature.signals) > 1 else "signal"
        at: KeyPath = (*path, key)
        declared = self.signals_known(feature.signals, at)
        if not statistic.min_series <= len(feature.signals) <= statistic.max_series:
            self.add(
                at, f"{feature.stat} is given {len(feature.signals)} signals", ", ".join(statistic.roles)
            )
        self._check_window(feature, statistic, path)
        if statistic.limit == "none" and feature.limit:
            self.add((*path, "limit"), f"{feature.stat} refers to no limit", "no limit key")
        elif statistic.limit == "required" and not feature.limit:
            self.add((*path, "limit"), "is missing", statistic.limit_doc)
        elif feature.limit and feature.limit not in self.table("limits"):
            self.add(
                (*path, "limit"),
                f"unknown limit {feature.limit!r}",
                close_names(feature.limit, self.table("limits")),
            )
        self._check_parameters(feature, statistic, parameters, path)
        if len(self.mistakes) > before or not declared:
            return None
        numbers = {
            name: value if isinstance(value, str) else float(value) for name, value in parameters.items()
        }
        return feature.model_copy(
            update={"parameters": numbers, **self._shown(feature, statistic, given=decimals)}
        )

    def _check_window(self, feature: Feature, statistic: StatisticLike, path: KeyPath) -> None:
        at = (*path, "window")
        window: Duration | None = feature.window
        if window is None:
            if statistic.window == "required":
                self.add(
                    at, "is missing", "a window such as '3d'" + ("" if statistic.days_only else " or '72h'")
                )
            return
        if statistic.window == "none":
            self.add(at, f"{feature.stat} has no window", "no window key")
        elif statistic.days_only and not window.in_days:
            self.add(at, f"{feature.stat} counts local days, {window} does not", "a window such as '3d'")
        elif statistic.days_only and window.count < statistic.min_days:
            self.add(at, f"{window} is too short for {feature.stat}", f"at least {statistic.min_days}d")
        elif statistic.max_days and window.ms > statistic.max_days * Duration(1, "d").ms:
            self.add(at, f"{window} is too long for {feature.stat}", f"at most {statistic.max_days}d")

    def _check_parameters(
        self, feature: Feature, statistic: StatisticLike, parameters: Mapping[str, Any], path: KeyPath
    ) -> None:
        legal = {parameter.name: parameter for parameter in statistic.parameters}
        for name, value in parameters.items():
            if name not in legal:
                what = close_names(name, [*legal, *_KEYS])
                self.add(
                    (*path, name), f"unknown key {name!r} for a feature with stat = {feature.stat!r}", what
                )
                continue
            try:
                legal[name].encode(value)
            except ValueError as error:
                self.add((*path, name), str(error))
        for name, parameter in legal.items():
            if parameter.required and name not in parameters:
                self.add((*path, name), f"is missing for stat = {feature.stat!r}", parameter.doc)

    def _shown(self, feature: Feature, statistic: StatisticLike, *, given: bool) -> dict[str, Any]:
        """Find unit, decimals and choices of a feature, from its signal and its statistic."""
        signal = feature.signals[0]
        item = self.items.get(signal)
        unit, decimals = ("", 0) if item else (self.signals[signal].unit_fr, self.signals[signal].decimals)
        match statistic.unit:
            case "per_day":
                unit, decimals = f"{unit}/jour", min(decimals + 1, 3)
            case "hours":
                unit, decimals = "h", 0
            case "count":
                unit, decimals = "", 0
            case "z":
                unit, decimals = "écarts", 1
            case "1":
                unit, decimals = "", 0
            case _ if unit == "%" and feature.stat in DIFFERENCES:
                unit = "points"  # 4 % less of 95 % would be another thing
            case _:
                pass
        answers = item is not None and statistic.unit == "same" and feature.stat in {"last", "min", "max"}
        shown: dict[str, Any] = {"unit": unit, "choices": item.choices if item and answers else ()}
        return shown if given else {**shown, "decimals": decimals}
