"""Limits proposed for single patients: what a stable period of a patient's own readings says a limit could be.

A limit that a rule compares with the newest reading of a signal is proposed at so many robust spreads from the
patient's own centre; one that a figure is counted from, as a dry weight, at the centre itself. Centre and spread are
the median and the median absolute deviation (Hampel 1974), which a few odd readings do not move. What a stable period
is, how many spreads and which least step are choices of ours [D] (docs/backtest.md says which has a source). Nothing
here puts a limit in force.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.backtest import find_limit
from engine.program import Program
from rules import conditions
from rules.protocol import Protocol

__all__ = [
    "LEAST_STEP",
    "STATUSES",
    "Learning",
    "Quantity",
    "direction",
    "propose",
    "quantity",
]

LEAST_STEP = {"kg": 0.3, "mmHg": 5.0, "/min": 5.0, "%": 1.0}
"""By unit: the margins of return of the clinical reference, section 5 [D]; what is less is not worth a limit."""

STATUSES = {
    "proposed": "proposée",
    "no_change": "limite en vigueur gardée : écart plus petit que le pas",
    "too_few_readings": "trop peu de mesures",
    "unstable": "pas de période stable",
    "drifting": "mesures en dérive sur la période",
    "outside_range": "hors de la plage permise",
    "set_by_act": "limite déjà fixée sur la page du patient",
    "not_followed": "plus suivi ensuite",
}
"""What can be said of a patient, with its French words."""

_LEAST_LEFT = 0.5
"""Of the spreads asked for, the share that must be left where the legal range holds a limit back [D]."""


@dataclass(frozen=True, slots=True)
class Learning:
    """How a limit is learnt; choices of ours [D].

    A stable period is the newest `stable_days` local days in a row before the judged ones, with at least
    `min_readings` on at least `min_days` of them, without a clinical ROUGE open on any, without an outcome in the
    `apart_days` before or after any, and ended not more than `oldest_days` before; the medians of its halves differ by
    less than `drift` spreads. The limit is `spreads` from the centre, and proposed where it is at least `least_step`
    (in its unit; None: of `LEAST_STEP`) from the one in force. It is judged on the last `judge_days` of the history.
    """

    stable_days: int = 28
    min_readings: int = 20
    min_days: int = 14
    apart_days: int = 14
    oldest_days: int = 60
    drift: float = 1.5
    spreads: float = 3.0
    least_step: float | None = None
    judge_days: int = 60

    def __post_init__(self) -> None:
        least = {"stable_days": 2, "min_readings": 2, "min_days": 2}
        least |= {"apart_days": 0, "oldest_days": 0, "judge_days": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                msg = f"{name} = {getattr(self, name)}: legal is {low} or more"
                raise ValueError(msg)
        for name in ("drift", "spreads"):
            if not 0 < getattr(self, name) < math.inf:
                msg = f"{name} = {getattr(self, name):g}: legal is more than 0"
                raise ValueError(msg)
        if self.least_step is not None and not 0 <= self.least_step < math.inf:
            msg = f"least_step = {self.least_step:g}: legal is 0 or more"
            raise ValueError(msg)
        if self.min_days > self.stable_days:
            msg = f"min_days = {self.min_days}: legal are at most the {self.stable_days} days of the period"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A limit that can be proposed, and where the figure that it belongs to is found.

    `side` is where an alert lies: "below" or "above" the limit; "centre" where a figure is counted from the limit.
    `feature` is the newest reading of the signal, column `column` of the block of `group`; `series` its signal.
    `under` and `over` are limits of the same figure and side that this one must not cross, by their defaults.
    """

    protocol: int
    limit: str
    side: Literal["below", "above", "centre"]
    feature: str
    group: int
    column: int
    series: int
    decimals: int
    unit: str
    label: str
    low: float
    high: float
    under: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    def step(self, learning: Learning) -> float:
        """Give the least step, in the limit's unit."""
        if learning.least_step is not None:
            return learning.least_step
        return max(LEAST_STEP.get(self.unit, 0.0), self.least_spread)

    @property
    def least_spread(self) -> float:
        """The last digit that is shown: readings that are all the same do not make the next digit an alert."""
        return float(10.0**-self.decimals)


# Which limits ------------------------------------------------------------------------------------------------


def quantity(program: Program, said: str) -> Quantity:
    """Give the limit called `said`, ``limit`` or ``protocol.limit``.

    Raises
    ------
    ValueError
        There is none, or it is not compared with the newest reading of a signal; the message lists those that are.
    """
    p, name = find_limit(program.protocols, said)
    known = _quantities(program, p)
    if name not in known:
        msg = (
            f"limit {said!r} is not one that rules compare with a signal's newest reading, nor one that a figure is "
            f"counted from; legal are {', '.join(sorted(known)) or 'none of this protocol'}"
        )
        raise ValueError(msg)
    return known[name]


def _quantities(program: Program, p: int) -> dict[str, Quantity]:
    protocol = program.protocols[p]
    pairs: dict[str, set[tuple[str, Literal["below", "above"]]]] = {}
    for rule in protocol.rules:
        node = conditions.compile(rule.when, (*protocol.features, *protocol.limits)).node
        for feature, limit, below in _comparisons(node, protocol, told=True):
            pairs.setdefault(limit, set()).add((feature, "below" if below else "above"))
    sides: dict[str, tuple[str, Literal["below", "above", "centre"]]] = {}
    for limit, found in pairs.items():
        (feature, side), *others = sorted(found)
        if not others and _is_level(protocol, feature):
            sides[limit] = feature, side
    same = {
        limit: [each for each in sides if each != limit and sides[each] == sides[limit]] for limit in sides
    }
    for counted in protocol.features.values():
        level = next((name for name in protocol.features if _is_level(protocol, name, counted.signals)), None)
        if counted.stat == "drift" and counted.limit and level:
            sides[counted.limit] = level, "centre"
    out = {}
    for limit, (feature, where) in sides.items():
        series = program.series.index(protocol.features[feature].signals[0])
        places = [
            (g, group.features.index(feature))
            for g, group in enumerate(program.groups)
            if group.protocol == p and feature in group.features and series in group.triggers
        ]
        if places:
            declared = protocol.limits[limit]
            default = math.nan if declared.default is None else declared.default
            usual = {each: protocol.limits[each].default for each in same.get(limit, ())}
            out[limit] = Quantity(
                p, limit, where, feature, *places[0], series, protocol.figure(feature).decimals, declared.unit,
                declared.label, declared.min, declared.max,
                tuple(sorted(each for each, value in usual.items() if value is not None and value < default)),
                tuple(sorted(each for each, value in usual.items() if value is not None and value > default)),
            )  # fmt: skip
    return out


def _is_level(protocol: Protocol, feature: str, signals: tuple[str, ...] | None = None) -> bool:
    said = protocol.features[feature]
    return said.stat == "last" and not said.choices and (signals is None or said.signals == signals)


_BELOW = {"less": True, "less_equal": True, "greater": False, "greater_equal": False}


def _comparisons(node: conditions.Node, protocol: Protocol, *, told: bool) -> Iterator[tuple[str, str, bool]]:
    """Give each comparison of a feature with a limit: both, and whether an alert is below; `told` is not negated."""
    kind, *operands = node
    if kind == "not":
        yield from _comparisons(operands[0], protocol, told=not told)
    elif kind in ("and", "or"):
        for each in operands:
            yield from _comparisons(each, protocol, told=told)
    elif kind in _BELOW and all(each[0] == "name" for each in operands):
        left, right = operands[0][1], operands[1][1]
        if left in protocol.features and right in protocol.limits:
            yield left, right, _BELOW[kind] is told
        elif left in protocol.limits and right in protocol.features:
            yield right, left, _BELOW[kind] is not told


# Proposals ---------------------------------------------------------------------------------------------------


def propose(
    asked: Quantity, centre: float, spread: float, in_force: Mapping[str, float], learning: Learning
) -> tuple[str, float]:
    """Propose a limit from a stable period.

    Parameters
    ----------
    asked : Quantity
    centre, spread : float
        Of the patient, in the limit's unit.
    in_force : mapping of str to float
        The patient's limit, and those that it must not cross; NaN for one that nobody set.
    learning : Learning

    Returns
    -------
    status : str
        Of `STATUSES`.
    value : float
        Of a proposal or of what was not worth one, in the range and rounded as the figure is shown; NaN where none
        can be.
    """
    sign = {"below": -1.0, "above": 1.0, "centre": 0.0}[asked.side]
    low = max([asked.low, *(in_force[each] for each in asked.under if not math.isnan(in_force[each]))])
    high = min([asked.high, *(in_force[each] for each in asked.over if not math.isnan(in_force[each]))])
    wanted = round(centre + sign * learning.spreads * spread, asked.decimals)
    value = min(max(wanted, low), high)
    left = sign * (value - centre)
    if (
        low > high
        or (value != wanted and left < _LEAST_LEFT * learning.spreads * spread)
        or (asked.side == "centre" and value != wanted)
    ):
        return "outside_range", math.nan
    now = in_force[asked.limit]
    if not math.isnan(now) and abs(value - now) < asked.step(learning) - 1e-9:
        return "no_change", value
    return "proposed", value


def direction(asked: Quantity, now: float, value: float) -> str | None:
    """Say whether alerts begin "further" from the usual than now or "nearer"; None where neither can be said."""
    if asked.side == "centre" or math.isnan(now):
        return None
    return "further" if (value < now) is (asked.side == "below") else "nearer"
