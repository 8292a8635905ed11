"""Figures of a cell: what came, what waits, how fast it was answered, by rule and by nurse. All of stored columns."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, or_, select

from rules.levels import Level
from triage.policy import Policy
from triage.tables import Episode
from triage.work.cells import NO_CELL
from triage.work.states import Reason
from triage.work.tables import FOLLOWED

__all__ = ["DAYS", "Day", "Figures", "Rule", "figures"]

DAYS: Final = 30
DAY_MS: Final = 86_400_000
_CELL = func.coalesce(FOLLOWED.c.cell, NO_CELL)
_COLUMNS = (
    Episode.level, Episode.rule, Episode.protocol, Episode.silent, Episode.opened_clock_ms, Episode.raised_clock_ms,
    Episode.answered_ms, Episode.ended_clock_ms, Episode.outcome, Episode.policy, Episode.work,
)  # fmt: skip


@dataclass(slots=True)
class Day:
    """One local day. Times are seconds; NaN-free: None where nothing was."""

    day: date
    arrived: Counter[Level] = field(default_factory=Counter)
    ended: int = 0
    answered: int = 0
    in_time: int = 0
    """Answered before their limit, of those that have one."""
    limited: int = 0
    """Those that have a limit."""
    to_answer_s: list[float] = field(default_factory=list)
    to_end_s: list[float] = field(default_factory=list)

    def percentile(self, name: str, share: float) -> float | None:
        """Give a percentile of ``to_answer_s`` or ``to_end_s``, by the nearest rank."""
        values = sorted(getattr(self, name))
        return values[min(len(values) - 1, int(share * len(values)))] if values else None


@dataclass(slots=True)
class Rule:
    """One rule over the days looked at."""

    rule: str
    protocol: str
    alerts: int = 0
    closed: int = 0
    not_relevant: int = 0


@dataclass(slots=True)
class Figures:
    """What `figures` gives."""

    patients: int
    waiting: dict[Level, int]
    silent_patients: int
    days: list[Day]
    """Newest first; the first is today."""
    rules: list[Rule]
    """Most alerts first."""
    nurses: dict[str, int]
    """Lines that each closed over the days looked at."""

    def per_100_a_day(self, alerts: int) -> float | None:
        """Give alerts per 100 patients and day."""
        return 100 * alerts / (self.patients * len(self.days)) if self.patients else None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give the days as rows of a table, for an export."""
        for day in self.days:
            yield {
                "day": day.day.isoformat(),
                **{
                    f"arrived_{level.name.lower()}": day.arrived[level]
                    for level in sorted(Level, reverse=True)
                },
                "ended": day.ended,
                "answered": day.answered,
                "answered_in_time": day.in_time,
                "with_limit": day.limited,
                "median_to_answer_s": median(day.to_answer_s) if day.to_answer_s else "",
                "p95_to_answer_s": _or_empty(day.percentile("to_answer_s", 0.95)),
                "median_to_end_s": median(day.to_end_s) if day.to_end_s else "",
                "p95_to_end_s": _or_empty(day.percentile("to_end_s", 0.95)),
            }


def figures(engine: Engine, cells: Sequence[str], now_ms: int, zone: ZoneInfo, days: int = DAYS) -> Figures:
    """Count what happened in some cells over the last `days` local days, today among them."""
    today = _day(now_ms, zone)
    first = datetime.combine(today - timedelta(days=days - 1), datetime.min.time(), zone)
    since = round(first.timestamp() * 1000)
    seen = {today - timedelta(days=i): Day(today - timedelta(days=i)) for i in range(days)}
    rules: dict[tuple[str, str], Rule] = {}
    nurses: Counter[str] = Counter()
    waiting = dict.fromkeys(sorted(Level, reverse=True), 0)
    policies: dict[str, Policy] = {}
    query = (
        select(*_COLUMNS)
        .outerjoin(FOLLOWED, FOLLOWED.c.patient == Episode.patient)
        .where(_CELL.in_(cells), or_(Episode.ended_ms.is_(None), Episode.ended_clock_ms >= since))
    )
    silent = (
        select(func.count(func.distinct(Episode.patient)))
        .outerjoin(FOLLOWED, FOLLOWED.c.patient == Episode.patient)
        .where(_CELL.in_(cells), Episode.ended_ms.is_(None), Episode.silent)
    )
    with engine.connect() as connection:
        patients = connection.scalar(select(func.count()).where(FOLLOWED.c.cell.in_(cells))) or 0
        silent_patients = connection.scalar(silent) or 0
        for line in connection.execute(query).mappings():
            level = Level(line["level"])
            waiting[level] += line["ended_clock_ms"] is None
            opened = seen.get(_day(line["opened_clock_ms"], zone))
            if opened is not None:
                opened.arrived[level] += 1
                rule = rules.setdefault(
                    (line["protocol"], line["rule"]), Rule(line["rule"], line["protocol"])
                )
                rule.alerts += 1
                closed = line["work"].get("closed")
                rule.closed += closed is not None
                rule.not_relevant += closed is not None and closed["reason"] == Reason.NOT_RELEVANT
                _time(opened, line, level, policies)
            ended = (
                seen.get(_day(line["ended_clock_ms"], zone)) if line["ended_clock_ms"] is not None else None
            )
            if ended is not None:
                ended.ended += 1
                if "closed" in line["work"]:
                    nurses[line["work"]["closed"]["by"]] += 1
    return Figures(
        patients,
        waiting,
        silent_patients,
        list(seen.values()),
        sorted(rules.values(), key=lambda rule: -rule.alerts),
        dict(nurses.most_common()),
    )


def _time(day: Day, line: Any, level: Level, policies: dict[str, Policy]) -> None:  # noqa: ANN401 - a row
    since = line["raised_clock_ms"]
    key = repr(line["policy"])
    policy = policies.get(key) or policies.setdefault(key, Policy.from_dict(line["policy"]))
    promised = policy.due_ms(level, since)
    if line["answered_ms"] is not None:
        day.answered += 1
        day.to_answer_s.append(max(0, line["answered_ms"] - since) / 1000)
    if promised is not None:
        day.limited += 1
        day.in_time += line["answered_ms"] is not None and line["answered_ms"] <= promised
    if line["outcome"] == "closed":
        day.to_end_s.append(max(0, line["ended_clock_ms"] - since) / 1000)


def _day(t_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(t_ms / 1000, zone).date()


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value
