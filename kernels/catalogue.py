"""The statistics that a protocol may ask for: names, numbers, parameters; plain data, to validate and compile.

`kernels.features` computes them; a protocol's ``[features.x]`` names one in ``stat``. A parameter without
a default must be given by the protocol: no clinical figure is hidden in code.
"""

from collections.abc import Mapping
from types import MappingProxyType

from kernels import ops
from kernels.statistic import Parameter, Statistic

__all__ = ["DAILY", "MAX_DAYS", "MAX_LEARN", "NEWS2_ROLES", "SIDES", "STATISTICS"]


DAILY: Mapping[str, float] = MappingProxyType(
    {"first": 0.0, "last": 1.0, "min": 2.0, "max": 3.0, "mean": 4.0}
)
"""Which reading stands for a local date that has several: numbers of `kernels.daily`."""

SIDES: Mapping[str, float] = MappingProxyType({"up": 1.0, "down": -1.0})
"""Side of a CUSUM."""

NEWS2_ROLES = (
    "respiratory_rate",
    "spo2",
    "on_oxygen",
    "systolic",
    "heart_rate",
    "consciousness",
    "temperature",
)
"""Series of a NEWS2 feature, in this order."""


MAX_DAYS = 60
"""Longest window of a slope, local days: the slopes of all pairs fit the scratch."""

MAX_LEARN = 240
"""Longest window of the other statistics that take one value of each local date, learning windows included."""


def _daily(slot: int) -> Parameter:
    doc = "which reading stands for a local date that has several"
    return Parameter("daily", slot, "choice", doc, default="last", choices=DAILY)


def _min_points(slot: int, low: int = 1) -> Parameter:
    return Parameter(
        "min_points", slot, "integer", "fewest dates with a reading; below, undetermined", low, MAX_LEARN
    )


_SHORT = Parameter("short", 0, "integer", "length of the short average, local days", 1, MAX_LEARN)
_LONG = Parameter(
    "long", 1, "integer", "length of the long average, local days", 2, MAX_LEARN, adds_days=True
)
_MACD = (_SHORT, _LONG, _min_points(2), _daily(3))
_BASELINE = (
    Parameter(
        "exclude",
        0,
        "integer",
        "newest dates left out; 1: the newest reading's",
        1,
        MAX_LEARN,
        adds_days=True,
    ),
    _min_points(1),
    _daily(2),
)
_FLOOR = Parameter("floor", 3, "number", "least spread", 0.001, in_unit=True)
_CUSUM = (
    Parameter("k", 0, "number", "slack taken off each date's excess", 0, in_unit=True),
    Parameter(
        "learn",
        1,
        "integer",
        "local days before the window from which the centre is learnt",
        1,
        MAX_LEARN,
        adds_days=True,
    ),
    _min_points(2),
    _daily(3),
    Parameter("side", 4, "choice", "sum what is above or below the centre", default="up", choices=SIDES),
)
_HALVES = (
    Parameter("morning_from", 0, "minute", "start of the morning, local time"),
    Parameter("morning_to", 1, "minute", "end of the morning, not included"),
    Parameter("evening_from", 2, "minute", "start of the evening, local time"),
    Parameter("evening_to", 3, "minute", "end of the evening, not included"),
)
_STEP = Parameter("max_step", 0, "number", "largest step a day that is in pattern", 0.001, in_unit=True)
_WITHIN = Parameter(
    "within_min", 0, "number", "longest time from seated to standing reading, minutes", 0, 1440
)
_PER_DAY = Parameter("per_day", 0, "integer", "readings expected on each local date", 1, 96)
_PART_OF_DAY = (
    Parameter("from", 0, "minute", "only what ended after this local time", default="00:00"),
    Parameter("to", 1, "minute", "and not after this one; before `from`: over midnight", default="24:00"),
)
_PAIR = ("systolic", "diastolic")
_SEATED = ("seated", "standing")


def _common(name: str, op: int, doc: str, unit: str = "same", window: str = "optional") -> Statistic:
    return Statistic(name, op, doc, unit, window)


def _trend(name: str, op: int, doc: str, parameters: tuple[Parameter, ...], unit: str = "same") -> Statistic:
    return Statistic(name, op, doc, unit, days_only=True, max_days=MAX_LEARN, parameters=parameters)


def _home(name: str, op: int, dates: int, doc: str) -> Statistic:
    doc = f"home pressure by {doc}; the window says how old the run of dates may be"
    return Statistic(name, op, doc, days_only=True, min_days=dates, max_days=MAX_LEARN, parameters=_HALVES)


def _news2(name: str, op: int, doc: str) -> Statistic:
    doc = f"NEWS2: {doc}; readings older than the window are missing"
    scale = "SpO2 scale: 2 for scale 2, anything else for scale 1"
    return Statistic(name, op, doc, "1", roles=NEWS2_ROLES, limit="optional", limit_doc=scale)


_ALL = (
    _common("last", ops.LAST, "newest reading of the window"),
    _common("age_h", ops.AGE_H, "hours since the newest reading", "hours", "none"),
    _common("hour", ops.HOUR, "local time of the newest reading, hours since midnight", "hours", "none"),
    _common("count", ops.COUNT, "number of readings", "count"),
    _common("min", ops.MINIMUM, "least reading"),
    _common("max", ops.MAXIMUM, "greatest reading"),
    _common("mean", ops.MEAN, "mean of the readings"),
    _common("median", ops.MEDIAN, "median of the readings"),
    _common("sd", ops.SD, "standard deviation of the readings, n - 1"),
    Statistic(
        "sum",
        ops.SUM,
        "sum of the readings; those of one moment count once, by their mean",
        window="optional",
        parameters=_PART_OF_DAY,
    ),
    Statistic(
        "weighted_mean",
        ops.WEIGHTED_MEAN,
        "mean of the readings, each weighted by the reading of the other signal at the same moment",
        window="optional",
        roles=("value", "weight"),
        parameters=_PART_OF_DAY,
        limit="required",
        limit_doc="least sum of the weights; below, undetermined",
    ),
    _common("rise", ops.RISE, "newest reading minus the least of the window before it", window="required"),
    _trend(
        "change",
        ops.CHANGE,
        "newest reading minus the value of the local date so many days before",
        (_daily(0),),
    ),
    Statistic(
        "drift",
        ops.DRIFT,
        "newest reading minus a limit, e.g. the dry weight",
        window="none",
        limit="required",
        limit_doc="what the reading is compared with",
    ),
    _trend(
        "ema",
        ops.EMA,
        "exponential average of daily values",
        (
            Parameter("length", 0, "number", "alpha = 2 / (length + 1), days", 1, 365),
            _min_points(1),
            _daily(2),
        ),
    ),
    Statistic(
        "macd_simple",
        ops.MACD_SIMPLE,
        "mean of the short window minus mean of the long one",
        window="none",
        parameters=_MACD,
    ),
    _trend("macd_exponential", ops.MACD_EXPONENTIAL, "short exponential average minus long one", _MACD),
    _trend("cusum", ops.CUSUM, "one-sided cumulative sum about the centre learnt before the window", _CUSUM),
    Statistic(
        "slope",
        ops.SLOPE,
        "Theil-Sen slope of daily values",
        "per_day",
        days_only=True,
        min_days=2,
        max_days=MAX_DAYS,
        parameters=(_min_points(0, 2), _daily(1)),
    ),
    _trend("baseline", ops.BASELINE, "median of daily values over the learning window", _BASELINE),
    _trend(
        "baseline_spread",
        ops.BASELINE_SPREAD,
        "1.4826 MAD of daily values over the learning window",
        _BASELINE,
    ),
    _trend("deviation", ops.DEVIATION, "newest reading minus the baseline", _BASELINE),
    _trend(
        "deviation_z", ops.DEVIATION_Z, "deviation from the baseline, in spreads", (*_BASELINE, _FLOOR), "z"
    ),
    Statistic(
        "out_of_pattern",
        ops.OUT_OF_PATTERN,
        "1 when the newest reading is out of pattern, else 0",
        "1",
        "none",
        parameters=(_STEP,),
        raw=True,
    ),
    _home("home_bp_223", ops.HOME_BP_223, 3, "2-2-3 (2 morning, 2 evening, 3 dates)"),
    _home("home_bp_regle3", ops.HOME_BP_REGLE3, 3, "the règle des 3 (3 morning, 3 evening, 3 dates)"),
    _home(
        "home_bp_7days",
        ops.HOME_BP_7DAYS,
        7,
        "7 dates of 2 morning and 2 evening readings, the first not counted",
    ),
    Statistic(
        "pulse_pressure", ops.PULSE_PRESSURE, "systolic minus diastolic", window="optional", roles=_PAIR
    ),
    Statistic(
        "mean_arterial", ops.MEAN_ARTERIAL, "(systolic + 2 diastolic) / 3", window="optional", roles=_PAIR
    ),
    Statistic(
        "orthostatic_systolic",
        ops.ORTHOSTATIC_SYSTOLIC,
        "fall of systolic pressure on standing",
        window="optional",
        roles=_SEATED,
        parameters=(_WITHIN,),
    ),
    Statistic(
        "orthostatic_diastolic",
        ops.ORTHOSTATIC_DIASTOLIC,
        "fall of diastolic pressure on standing",
        window="optional",
        roles=_SEATED,
        parameters=(_WITHIN,),
    ),
    _news2("news2", ops.NEWS2, "total, undetermined while an item is missing"),
    _news2("news2_at_least", ops.NEWS2_AT_LEAST, "sum of the items that there are"),
    _news2("news2_missing", ops.NEWS2_MISSING, "number of missing items"),
    _news2("news2_single", ops.NEWS2_SINGLE, "highest score of one item"),
    _trend(
        "adherence",
        ops.ADHERENCE,
        "share of the expected readings on the dates before today's",
        (_PER_DAY,),
        "1",
    ),
    Statistic("score", ops.SCORE, "sum of the newest answers", "1", "optional", roles=("item...",)),
)

STATISTICS: Mapping[str, Statistic] = MappingProxyType({statistic.name: statistic for statistic in _ALL})
"""Every statistic by its name in protocols."""
