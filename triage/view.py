"""The queue as a nurse reads it in a terminal, and as a program reads it (JSON)."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rules.levels import Level
from triage.tables import Episode

__all__ = ["SHAPES", "as_rows", "counts", "panel", "since", "spark", "time_left"]

SHAPES = {Level.ROUGE: "▲", Level.ORANGE: "◆", Level.TECHNIQUE: "○"}
"""A shape and a word before any colour: meaning is never in colour alone."""

_STYLES = {Level.ROUGE: "bold red", Level.ORANGE: "dark_orange", Level.TECHNIQUE: "cyan"}
_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 14
_MINUTE_MS = 60_000
UNSIGNED = "protocole non signé"


def panel(
    lines: Sequence[Episode],
    waiting: dict[Level, int],
    now_ms: int,
    zone: ZoneInfo,
) -> RenderableType:
    """Draw the queue.

    Parameters
    ----------
    lines : sequence of Episode
        In order; may be the first of many.
    waiting : dict
        Open lines of each level, all of them.
    now_ms : int
        Milliseconds UTC; time left is counted to it.
    zone : ZoneInfo
        For times of day.
    """
    table = Table(expand=True, pad_edge=False)
    table.add_column("Niveau", no_wrap=True)
    table.add_column("Patient", no_wrap=True)
    table.add_column("Pourquoi", ratio=1)
    table.add_column("Tendance", no_wrap=True)
    table.add_column("Depuis", no_wrap=True)
    table.add_column("Reste", justify="right", no_wrap=True)
    for line in lines:
        level = Level(line.level)
        left = None if line.due_ms is None else line.due_ms - now_ms
        late = left is not None and left < 0
        table.add_row(
            Text(f"{SHAPES[level]} {level.word}", style=_STYLES[level]),
            Text(line.patient),
            _why(line),
            _trend(line),
            Text(since(line.onset_ms, now_ms, zone)),
            Text(time_left(left), style="bold red" if late else ""),
        )
    return Group(_title(lines, waiting, now_ms, zone), table)


def as_rows(lines: Sequence[Episode], now_ms: int) -> list[dict[str, Any]]:
    """Give the queue for JSON, in order; times are ISO 8601 in UTC, durations are seconds.

    ``left_s`` is negative where the answer is overdue, and null where the level has no limit.
    """
    return [
        {
            "id": line.id,
            "level": Level(line.level).word,
            "patient": line.patient,
            "problem": line.problem,
            "rule": line.rule,
            "sentence": line.shown.sentence,
            "since": _iso(line.onset_ms),
            "opened": _iso(line.opened_clock_ms),
            "due": None if line.due_ms is None else _iso(line.due_ms),
            "left_s": None if line.due_ms is None else (line.due_ms - now_ms) / 1000,
            "latched": line.latched,
            "evidence": line.evidence,
            "features": line.shown.features,
            "limits": line.shown.limits,
            "points": [
                {"signal": point["signal"], "t": _iso(point["t_ms"]), "value": point["value"]}
                for point in line.shown.points
            ],
            "protocol": line.protocol,
            "version": line.shown.version,
            "protocol_hash": line.shown.protocol_hash,
            "signed": line.shown.signed,
            "kernels": line.shown.kernels,
            "time_basis": line.shown.time_basis,
        }
        for line in lines
    ]


def spark(values: Sequence[float | None], width: int = _SPARK_WIDTH) -> str:
    """Draw the last `width` values as bars between the least and the greatest; a gap is a space."""
    last = list(values)[-width:]
    known = [value for value in last if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    step = (high - low) / (len(_BARS) - 1)

    def bar(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        return _BARS[round((value - low) / step)] if step else _BARS[3]

    return "".join(bar(value) for value in last)


def since(onset_ms: int, now_ms: int, zone: ZoneInfo) -> str:
    """Say when something began: the hour if it was today, else the day too."""
    began = datetime.fromtimestamp(onset_ms / 1000, zone)
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    if began.date() == today:
        return f"{began:%H:%M}"
    return f"{began:%d/%m %H:%M}" if began.year == today.year else f"{began:%d/%m/%Y %H:%M}"


def time_left(left_ms: int | None) -> str:
    """Say how long is left to answer; negative is overdue, nothing where there is no limit."""
    if left_ms is None:
        return "–"
    # Away from zero is wrong for what is left: 59 s is not a minute. Overdue by 1 s is overdue.
    minutes = left_ms // _MINUTE_MS
    sign, minutes = ("-", -minutes) if minutes < 0 else ("", minutes)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{sign}{days} j {hours} h"
    return f"{sign}{hours} h {minutes:02d}" if hours else f"{sign}{minutes} min"


def counts(waiting: dict[Level, int], now_ms: int, zone: ZoneInfo) -> Text:
    """Say how many lines of each level are open, and the time."""
    said = Text()
    for level, count in sorted(waiting.items(), reverse=True):
        said.append(f"{SHAPES[level]} {count} {level.word}   ", style=_STYLES[level])
    return said.append(f"{datetime.fromtimestamp(now_ms / 1000, zone):%d/%m/%Y %H:%M:%S}")


def _title(lines: Sequence[Episode], waiting: dict[Level, int], now_ms: int, zone: ZoneInfo) -> Text:
    title = counts(waiting, now_ms, zone)
    hidden = sum(waiting.values()) - len(lines)
    if not lines:
        title.append("   aucune alerte ouverte")
    elif hidden > 0:
        title.append(f"   {len(lines)} premières lignes, {hidden} autres attendent")
    return title


def _why(line: Episode) -> Text:
    why = Text(line.shown.sentence)
    if line.latched:
        why.append(" [revenu à la normale, à clôturer]", style="dim")
    if not line.shown.signed:
        why.append(f" [{UNSIGNED}]", style="italic")
    return why


def _trend(line: Episode) -> Text:
    """Draw the points of the first signal that is spoken of, and write the first limit beside them."""
    points = line.shown.points
    trend = Text()
    if points:
        signal = points[0]["signal"]
        trend.append(spark([point["value"] for point in points if point["signal"] == signal]))
    for limit in line.shown.limits[:1]:
        if limit["value"] is not None:
            trend.append(f" limite {_number(limit['value'])} {limit['unit']}".rstrip(), style="dim")
    return trend


def _number(value: float) -> str:
    return f"{value:g}".replace(".", ",")


def _iso(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds")
