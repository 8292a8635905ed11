"""A study: protocols on a history, and where asked a change of them beside, with outcomes and sweeps; and its files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from engine.backtest import History, changed_limits
from engine.backtest_compare import Comparison, compare
from engine.backtest_judge import Judged, only
from engine.backtest_lateness import (
    LEFT_OUT,
    UNKNOWN,
    Lateness,
    lateness,
    lateness_lines,
    lateness_table,
)
from engine.backtest_measures import Measures, PerPatient, episodes, known_outcomes, measure, per_patient
from engine.backtest_outcomes import OUTCOMES
from engine.backtest_sweep import Sweep, settings, sweep
from engine.card import made_with, plain_command, protocols_of, write_card
from engine.load import Loaded, compose
from engine.program import DAY_MS
from engine.progress import SILENT, Progress
from engine.staffing import Workload
from rules.levels import Level
from rules.protocol import Protocol

__all__ = ["Side", "Study", "Terms", "beside", "side", "study", "with_limits", "write"]

Spans = Sequence[tuple[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What alerts are judged by: outcomes, the window before them, the zone of days, and what an answer takes.

    `since_ms` and `until_ms` (ms UTC of the line's clock) say from when on alerts are counted, and before when they and
    what became of them; None: all are.
    """

    outcomes: pl.DataFrame = field(default_factory=OUTCOMES.to_frame)
    window_days: float = 30.0
    zone: str = "Europe/Paris"
    work: Workload = field(default_factory=Workload)
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def window_ms(self) -> int:
        """The window in milliseconds."""
        return round(self.window_days * DAY_MS)


@dataclass(slots=True)
class Side:
    """Some protocols on the history: what they raised and what it is worth, as a whole and rule by rule."""

    loaded: Loaded
    judged: Judged
    alerts: pl.DataFrame
    whole: Measures
    by_rule: dict[tuple[str, str], Measures]


@dataclass(slots=True)
class Study:
    """All that a report says."""

    base: Side
    changed: Side | None
    comparison: Comparison | None
    changes: Mapping[str, float]
    sweep: Sweep | None
    spans: Spans
    terms: Terms
    outcomes_unknown: int
    """Outcomes of patients that are not in the history, or not followed in the window before."""
    lateness: Lateness | None = None
    """The history in another order; None where that was not asked for or cannot be told."""


def with_limits(loaded: Loaded, changes: Mapping[str, float]) -> Loaded:
    """Give the same line with other defaults of limits; limits of cells and patients stay as they are."""
    protocols = changed_limits(loaded.program.protocols, changes)
    return with_protocols(loaded, protocols)


def with_protocols(loaded: Loaded, protocols: Sequence[Protocol]) -> Loaded:
    """Give the same line with protocols of the same ids in their places."""
    return compose(
        protocols, loaded.roster.book.over(protocols), loaded.roster.members, loaded.program.options
    )


def study(
    history: History,
    base: Loaded,
    *,
    against: Loaded | None = None,
    changes: Mapping[str, float] | None = None,
    spans: Spans = (),
    terms: Terms | None = None,
    other_order: History | None = None,
    progress: Progress = SILENT,
) -> Study:
    """Put the question to the history.

    Parameters
    ----------
    history : History
    base : Loaded
        The protocols as they are.
    against : Loaded, optional
        Other protocols to compare with.
    changes : mapping of str to float, optional
        Limits to change, in `against` or else in `base`.
    spans : sequence of (limit, values)
        Limits to sweep, of `base`.
    terms : Terms, optional
    other_order : History, optional
        The same history in another order, where what lateness changes is asked.
    progress : Progress

    Raises
    ------
    ValueError
        A limit is not there or out of its range.
    """
    terms = terms or Terms()
    changes = dict(changes or {})
    # All that can be wrong with the question is found before the first pass, which takes long.
    other = with_limits(against or base, changes) if against or changes else None
    for each in settings(spans) if spans else ():
        with_limits(base, each)
    mine = side(history.judge(base), base, terms)
    found = beside(mine, side(history.judge(other), other, terms) if other else None, terms, changes)
    if spans:
        known = known_outcomes(terms.outcomes, mine.judged.follow_up, terms.window_ms)
        found.sweep = _swept(history, mine, spans, known, terms, progress)
        found.spans = spans
    if other_order is not None and other_order.order is not None:
        other_way = side(other_order.judge(base), base, terms)
        found.lateness = lateness(
            other_order.order, mine.alerts, other_way.judged, other_way.alerts, other_way.whole
        )
    return found


def beside(mine: Side, theirs: Side | None, terms: Terms, changes: Mapping[str, float]) -> Study:
    """Put two sides of one history beside each other, or one alone; without a sweep."""
    known = known_outcomes(terms.outcomes, mine.judged.follow_up, terms.window_ms)
    comparison = compare(mine.alerts, theirs.alerts) if theirs else None
    return Study(mine, theirs, comparison, changes, None, (), terms, len(terms.outcomes) - len(known))


def side(judged: Judged, loaded: Loaded, terms: Terms) -> Side:
    """Say what was judged is worth, for the time that the terms count."""
    judged = only(judged, terms.since_ms, terms.until_ms)
    alerts = episodes(judged)

    def worth(some: pl.DataFrame) -> Measures:
        return measure(
            some,
            judged.follow_up,
            terms.outcomes,
            window_ms=terms.window_ms,
            zone=terms.zone,
            work=terms.work,
        )

    by_rule = {
        key: worth(rows)
        for key, rows in sorted(alerts.partition_by("protocol", "rule", as_dict=True).items())
    }
    return Side(loaded, judged, alerts, worth(alerts), by_rule)


def _swept(
    history: History,
    mine: Side,
    spans: Spans,
    known: pl.DataFrame,
    terms: Terms,
    progress: Progress,
) -> Sweep:
    follow_up = mine.judged.follow_up
    progress.step("sweep", sum(1 for _ in settings(spans)), "settings")

    def judged(limits: Mapping[str, float]) -> PerPatient:
        alerts = episodes(history.judge(with_limits(mine.loaded, limits)))
        counts = per_patient(alerts, follow_up, known, terms.window_ms)
        progress.advance()
        return counts

    return sweep(spans, per_patient(mine.alerts, follow_up, known, terms.window_ms), judged)


# Files -------------------------------------------------------------------------------------------------------


def write(found: Study, out: Path, command: Sequence[str] = ()) -> None:
    """Write alerts.parquet, measures.csv, differences.csv, sweep.csv, summary.txt, card.json; report apart.

    `command` is what was asked, for the card.
    """
    out.mkdir(parents=True, exist_ok=True)
    sides = {"base": found.base} | ({"changed": found.changed} if found.changed else {})
    alerts = [side.alerts.with_columns(pl.lit(name).alias("side")) for name, side in sides.items()]
    pl.concat(alerts).write_parquet(out / "alerts.parquet")
    rows = [
        _row(name, protocol, rule, each, side)
        for name, side in sides.items()
        for (protocol, rule), each in {("", ""): side.whole, **side.by_rule}.items()
    ]
    pl.DataFrame(rows, infer_schema_length=None).write_csv(out / "measures.csv")
    for name in (
        "differences.csv",
        "sweep.csv",
        "lateness.csv",
    ):  # those of a study before would be taken for this one's
        (out / name).unlink(missing_ok=True)
    if found.comparison:
        parts = {
            "gained": found.comparison.gained,
            "lost": found.comparison.lost,
            "moved": found.comparison.moved,
        }
        pl.concat(
            [rows.select(pl.lit(name).alias("difference"), pl.all()) for name, rows in parts.items()],
            how="diagonal",
        ).write_csv(out / "differences.csv")
    if found.lateness:
        lateness_table(found.lateness).write_csv(out / "lateness.csv")
    if found.sweep:
        points = [
            dict(p.limits) | {k: v for k, v in asdict(p).items() if k != "limits"} for p in found.sweep.points
        ]
        pl.DataFrame(points, infer_schema_length=None).write_csv(out / "sweep.csv")
    (out / "summary.txt").write_text(f"{summary(found)}\n", encoding="utf-8")
    write_card(card(found, command), out / "card.json")


def _row(name: str, protocol: str, rule: str, each: Measures, side: Side) -> dict[str, object]:
    load = each.load
    out: dict[str, object] = {"side": name, "protocol": protocol, "rule": rule, "alerts": each.alerts}
    out |= {level.name.lower(): each.by_level[level.name] for level in sorted(Level, reverse=True)}
    out |= {
        "load_mean": load.mean.value,
        "load_low": load.mean.low,
        "load_high": load.mean.high,
        "load_p95_day": load.p95_day,
        "load_worst": load.worst,
        "worst_day": load.worst_day,
        "open_at_end": each.open_at_end,
        "outcomes": each.outcomes,
        "caught": each.caught,
    }
    rates = {"sensitivity": each.sensitivity, "ppv": each.ppv, "false_per_year": each.false_per_year}
    for key, interval in rates.items():
        out |= {key: interval.value, f"{key}_low": interval.low, f"{key}_high": interval.high}
    for key, quartiles in (("lead_h", each.lead_h), ("length_h", each.length_h)):
        names = (f"{key}_q1", f"{key}_median", f"{key}_q3")
        out |= dict(zip(names, quartiles or (None, None, None), strict=True))
    out |= {
        "never_share": each.never,
        "censored": each.censored,
        "minutes_mean": each.minutes_mean,
        "minutes_p95": each.minutes_p95,
        "nurses_p95": each.nurses_p95,
        "undetermined": side.judged.undetermined.get((protocol, rule)),
    }
    return out


def card(found: Study, command: Sequence[str] = ()) -> dict[str, object]:
    """Say what the study rests on: whoever has it gets the same figures again."""
    sides = {"base": found.base} | ({"changed": found.changed} if found.changed else {})
    return {
        "input": found.base.judged.kept.input,
        "time_basis": found.base.judged.kept.time_basis,
        "accounts": found.base.judged.kept.accounts,
        "readings": found.base.judged.kept.readings,
        "patients": found.base.judged.kept.patients,
        **made_with(),
        "protocols": {name: protocols_of(side.loaded) for name, side in sides.items()},
        "limits_book": found.base.loaded.roster.book.digest,
        "changed_limits": dict(found.changes),
        "cell_limits": {
            name: {f"{owner}.{limit}": value for (owner, limit), value in sorted(side.judged.of_cell.items())}
            for name, side in sides.items()
            if side.judged.of_cell is not None
        },
        "window_days": found.terms.window_days,
        "zone": found.terms.zone,
        "outcomes": len(found.terms.outcomes),
        "workload": asdict(found.terms.work),
        "lateness": found.lateness.order.words if found.lateness else None,
        "notes": [
            *found.base.judged.kept.notes,
            *(found.lateness.judged.kept.notes if found.lateness else ()),
        ],
        "command": plain_command(command),
    }


def _notes(found: Study) -> list[str]:
    both = [found.base.judged] + ([found.lateness.judged] if found.lateness else [])
    return list(dict.fromkeys(note for judged in both for note in judged.kept.notes))


def summary(found: Study) -> str:
    """What a person reads in the terminal."""
    kept = found.base.judged.kept
    basis = "order of arrival" if kept.time_basis == "arrival" else "event time, as if nothing had been late"
    lines = [
        f"{kept.readings:,} readings of {kept.patients:,} patients; {kept.accounts}",
        f"time: {basis}",
    ]
    sides = [("as it is", found.base)] + ([("changed", found.changed)] if found.changed else [])
    lines.append(f"{'':28}" + "".join(f"{name:>30}" for name, _ in sides))
    for label, text in _LINES:
        lines.append(f"{label:28}" + "".join(f"{text(side.whole):>30}" for _, side in sides))
    if found.lateness:
        lines += lateness_lines(found.lateness, found.base.whole)
    else:
        lines.append(UNKNOWN if kept.time_basis == "event" else LEFT_OUT)
    if found.outcomes_unknown:
        lines.append(
            f"{found.outcomes_unknown:,} outcomes are of patients that the history does not have then"
        )
    if found.comparison:
        told = found.comparison
        lines.append(
            f"difference: {len(told.gained):,} alerts gained, {len(told.lost):,} lost, {len(told.moved):,} at another "
            f"level, {told.same:,} in both"
        )
    if found.sweep:
        lines += _sweep_lines(found.sweep)
    return "\n".join(lines)


def _interval(each: object, scale: float = 1.0, decimals: int = 2) -> str:
    value, low, high = (getattr(each, name) for name in ("value", "low", "high"))
    if value is None:
        return "cannot be told"
    said = f"{scale * value:.{decimals}f}"
    return said if low is None else f"{said} ({scale * low:.{decimals}f} to {scale * high:.{decimals}f})"


def _three(each: tuple[float, float, float] | None) -> str:
    return "-" if each is None else f"{each[1]:.0f} ({each[0]:.0f} to {each[2]:.0f})"


_LINES: tuple[tuple[str, Callable[[Measures], str]], ...] = (
    ("alerts", lambda m: f"{m.alerts:,}"),
    ("  ROUGE", lambda m: f"{m.by_level['ROUGE']:,}"),
    ("  ORANGE", lambda m: f"{m.by_level['ORANGE']:,}"),
    ("per 100 patients a day", lambda m: _interval(m.load.mean)),
    ("  95th percentile day", lambda m: f"{m.load.p95_day:.2f}"),
    ("  worst day", lambda m: f"{m.load.worst:.2f} ({m.load.worst_day})"),
    ("length, h: median (quartiles)", lambda m: _three(m.length_h)),
    ("outcomes caught", lambda m: f"{m.caught:,} of {m.outcomes:,}"),
    ("sensitivity, %", lambda m: _interval(m.sensitivity, 100, 1)),
    ("predictive value, %", lambda m: _interval(m.ppv, 100, 1)),
    ("lead, h: median (quartiles)", lambda m: _three(m.lead_h)),
    ("false per patient-year", lambda m: _interval(m.false_per_year)),
    ("patients never alerted, %", lambda m: f"{100 * m.never:.1f}"),
    ("nurse minutes a day", lambda m: f"{m.minutes_mean:.0f}"),
    ("nurses, 95th percentile day", lambda m: f"{m.nurses_p95}"),
)


def _sweep_lines(found: Sweep) -> list[str]:
    names = list(found.points[0].limits)
    lines = [
        "  ".join(
            [*(f"{name:>16}" for name in names), "per 100 a day", "sensitivity, %", "best for its load"]
        )
    ]
    for each in found.points:
        caught = "-" if each.sensitivity is None else f"{100 * each.sensitivity:.1f}"
        cells = [*(f"{value:16g}" for value in each.limits.values()), f"{each.load:13.2f}", f"{caught:>14}"]
        lines.append("  ".join([*cells, f"{'yes' if each.pareto else '':>17}"]))
    if found.choice:
        said = ", ".join(f"{name} = {value:g}" for name, value in found.choice.on_all.items())
        lines.append(
            f"most caught for no more load: {said}; {100 * found.choice.sensitivity:.1f} % on the patients that "
            f"chose it, {100 * found.choice.held_out_sensitivity:.1f} % on patients that did not (cross-validated)"
        )
    if found.warning:
        lines.append(f"warning: {found.warning}")
    return lines
