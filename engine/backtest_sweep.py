"""A limit tried at many values: what it catches against what it costs, and whether a choice would hold for others.

A limit that is tuned on a history looks better on it than it is. So the choice is cross-validated by patient: made on
four fifths of the patients, judged on the fifth that it has not seen, five times.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.backtest_measures import PerPatient

__all__ = ["Choice", "Point", "Sweep", "parse_sweep", "sweep"]

FEW_OUTCOMES = 50
"""Below this many outcomes a tuned limit cannot be told from luck: the interval of a share is wider than ±14 points."""

_FOLDS = 5
_MOST_VALUES = 64
_MOST_POINTS = 400

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the limits swept; `pareto` where no other catches as much for less."""

    limits: Mapping[str, float]
    load: float
    sensitivity: float | None
    ppv: float | None
    false_per_year: float | None
    pareto: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What would be chosen for the most sensitivity at no more load than the base, and how it does on others.

    `on_all` is what was chosen on all patients; `held_out_*` are of patients that each choice had not seen.
    """

    on_all: Mapping[str, float]
    sensitivity: float
    load: float
    held_out_sensitivity: float
    held_out_load: float
    chosen: tuple[Mapping[str, float], ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """All points, in the order of the values; `warning` where outcomes are too few to tell, else empty."""

    points: tuple[Point, ...]
    choice: Choice | None
    warning: str


def parse_sweep(text: str) -> tuple[str, list[float]]:
    """Read ``limit=from:to:step``; both ends are tried.

    Raises
    ------
    ValueError
        Saying what is legal.
    """
    legal = "legal is LIMIT=FROM:TO:STEP, such as gain_3d_kg=1:3:0.25"
    name, _, span = text.partition("=")
    try:
        first, last, step = (float(each) for each in span.split(":"))
    except ValueError:
        msg = f"sweep {text!r}: {legal}"
        raise ValueError(msg) from None
    if not (name and step > 0 and first <= last and np.isfinite([first, last, step]).all()):
        msg = f"sweep {text!r}: {legal}, with FROM not above TO and STEP above 0"
        raise ValueError(msg)
    count = int(np.floor((last - first) / step + 1e-9)) + 1
    if count > _MOST_VALUES:
        msg = f"sweep {text!r}: {count} values; legal are at most {_MOST_VALUES}"
        raise ValueError(msg)
    # Decimal steps do not add up exactly: 0.1 three times is not 0.3.
    return name, [round(first + k * step, 9) for k in range(count)]


def settings(spans: Sequence[tuple[str, list[float]]]) -> Iterator[dict[str, float]]:
    """Give each setting of one or two limits.

    Raises
    ------
    ValueError
        More than two limits, one twice, or too many settings.
    """
    names = [name for name, _ in spans]
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        msg = f"sweeps over {', '.join(names) or 'nothing'}: legal are one or two different limits"
        raise ValueError(msg)
    points = int(np.prod([len(values) for _, values in spans]))
    if points > _MOST_POINTS:
        msg = f"{points} settings in all: legal are at most {_MOST_POINTS}"
        raise ValueError(msg)
    for values in itertools.product(*(values for _, values in spans)):
        yield dict(zip(names, values, strict=True))


def sweep(
    spans: Sequence[tuple[str, list[float]]],
    base: PerPatient,
    judged: Callable[[Mapping[str, float]], PerPatient],
) -> Sweep:
    """Try every setting.

    Parameters
    ----------
    spans : sequence of (limit, values)
        One or two.
    base : PerPatient
        Of the protocols as they are.
    judged : callable
        Gives the counts, by the same patients, under some limits.

    Returns
    -------
    Sweep
    """
    tried = [(limits, judged(limits)) for limits in settings(spans)]
    everyone = np.ones((1, len(base.days)))
    rates = [{name: float(v[0]) for name, v in counts.rates(everyone).items()} for _, counts in tried]
    load = np.array([each["load"] for each in rates])
    caught = np.array([each["sensitivity"] for each in rates])
    outcomes = int(base.outcomes.sum())
    points = tuple(
        Point(
            limits,
            each["load"],
            _known(each["sensitivity"]),
            _known(each["ppv"]) if outcomes else None,
            _known(each["false_per_year"]) if outcomes else None,
            pareto=_is_best(k, load, caught),
        )
        for k, ((limits, _), each) in enumerate(zip(tried, rates, strict=True))
    )
    warning = ""
    if outcomes == 0:
        warning = "no outcome is known: what a limit catches cannot be told, only what it costs"
    elif outcomes < FEW_OUTCOMES:
        warning = (
            f"{outcomes} outcomes are too few to tell a better limit from luck (at least {FEW_OUTCOMES})"
        )
    return Sweep(points, _choose(tried, base) if outcomes else None, warning)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _is_best(k: int, load: F64, caught: F64) -> bool:
    if not np.isfinite(caught[k]):
        return False
    better = (load <= load[k]) & (caught >= caught[k]) & ((load < load[k]) | (caught > caught[k]))
    return not better.any()


def _choose(tried: Sequence[tuple[Mapping[str, float], PerPatient]], base: PerPatient) -> Choice | None:
    n = len(base.days)
    fold = np.random.default_rng(_FOLDS).permutation(n) % _FOLDS
    sums = dict.fromkeys(("alerts", "days", "caught", "outcomes"), 0.0)
    chosen = []
    for each in range(min(_FOLDS, n)):
        best = _best(tried, base, fold != each)
        if best is None:
            return None
        chosen.append(tried[best][0])
        for name in sums:
            sums[name] += float(getattr(tried[best][1], name)[fold == each].sum())
    best = _best(tried, base, np.ones(n, np.bool_))
    if best is None or not sums["outcomes"]:
        return None
    counts = tried[best][1]
    return Choice(
        on_all=tried[best][0],
        sensitivity=float(counts.caught.sum() / counts.outcomes.sum()),
        load=float(100 * counts.alerts.sum() / counts.days.sum()),
        held_out_sensitivity=sums["caught"] / sums["outcomes"],
        held_out_load=100 * sums["alerts"] / sums["days"],
        chosen=tuple(chosen),
    )


def _best(
    tried: Sequence[tuple[Mapping[str, float], PerPatient]], base: PerPatient, among: npt.NDArray[np.bool_]
) -> int | None:
    """Most outcomes caught for no more alerts than the base; then the fewest alerts. None where all cost more."""
    most = base.alerts[among].sum()
    options = [
        (-counts.caught[among].sum(), counts.alerts[among].sum(), k)
        for k, (_, counts) in enumerate(tried)
        if counts.alerts[among].sum() <= most
    ]
    return min(options)[2] if options else None
