"""Plots of a back-test as SVG in the page itself, which opens without a network; each has a sentence beside it."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from engine.backtest_evidence import Seen
from engine.backtest_sweep import Point
from engine.program import DAY_MS
from rules.explain import dates_text, number_text, typeset

__all__ = ["curve", "days", "evidence", "heat", "readings"]

_WIDTH, _HEIGHT = 720, 180
_LEFT, _BOTTOM, _TOP = 44, 22, 10

F64 = npt.NDArray[np.float64]


class _Frame:
    """A plot's axes: values to pixels."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], width: int = _WIDTH, height: int = _HEIGHT
    ) -> None:
        self.width, self.height = width, height
        self.x0, self.x1 = x if x[1] > x[0] else (x[0] - 0.5, x[0] + 0.5)
        self.y0, self.y1 = y if y[1] > y[0] else (y[0] - 0.5, y[0] + 0.5)

    def px(self, x: float) -> float:
        return _LEFT + (x - self.x0) / (self.x1 - self.x0) * (self.width - _LEFT - 10)

    def py(self, y: float) -> float:
        return self.height - _BOTTOM - (y - self.y0) / (self.y1 - self.y0) * (self.height - _BOTTOM - _TOP)

    def line(self, x: F64, y: F64, kind: str) -> str:
        points = " ".join(
            f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)
        )
        return f'<polyline class="{kind}" points="{points}"/>'

    def level(self, y: float, kind: str) -> str:
        at = self.py(y)
        return f'<line class="{kind}" x1="{_LEFT}" x2="{self.width - 10}" y1="{at:.1f}" y2="{at:.1f}"/>'

    def text(self, x: float, y: float, said: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'

    def ticks_y(self, decimals: int) -> str:
        out = []
        for y in np.linspace(self.y0, self.y1, 3).tolist():
            out += [
                self.level(y, "axis"),
                self.text(_LEFT - 4, self.py(y) + 4, number_text(y, decimals), "end"),
            ]
        return "".join(out)

    def page(self, parts: Sequence[str], title: str) -> str:
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
        )


def _day_text(t_ms: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(t_ms / 1000, zone):%d/%m/%Y}"


def days(day: Sequence[str], base: F64, changed: F64 | None, title: str, decimals: int = 1) -> str:
    """A figure of each day, such as alerts per 100 patients: as it is, and changed."""
    n = len(day)
    shown = [base] if changed is None else [base, changed]
    top = max((float(each.max()) for each in shown if n), default=1.0)
    frame = _Frame((0, max(n - 1, 1)), (0, 1.1 * top or 1.0))
    x = np.arange(n, dtype=np.float64)
    parts = [frame.ticks_y(decimals), frame.line(x, np.minimum(base, frame.y1), "base")]
    if changed is not None:
        parts.append(frame.line(x, np.minimum(changed, frame.y1), "changed"))
    for k in sorted({0, n // 2, n - 1}) if n else ():
        anchor = "start" if k == 0 else "end" if k == n - 1 else "middle"
        parts.append(frame.text(frame.px(k), frame.height - 6, dates_text(day[k]), anchor))
    return frame.page(parts, title)


def evidence(each: Seen, zone: ZoneInfo) -> str:
    """Draw the figure that a rule compares, its limit, and where the alert opened; empty where there is nothing.

    Dates are those of `zone`.
    """
    if not len(each.t_ms):
        return ""
    opened = float(str(each.alert["opened_ms"]))
    span = (opened - 30 * DAY_MS, opened + 7 * DAY_MS)
    values = each.value if each.limit is None else np.append(each.value, each.limit)
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or 1.0
    frame = _Frame(span, (low - margin, high + margin), 460, 120)
    x = each.t_ms.astype(np.float64)
    parts = [frame.ticks_y(1), frame.line(x, each.value, "base")]
    parts += [
        f'<circle class="base" cx="{frame.px(a):.1f}" cy="{frame.py(b):.1f}" r="1.8"/>'
        for a, b in zip(x, each.value, strict=True)
    ]
    if each.limit is not None:
        parts.append(frame.level(each.limit, "limit"))
    at = frame.px(opened)
    parts.append(
        f'<line class="opened" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{frame.height - _BOTTOM}"/>'
    )
    for t, anchor in ((span[0], "start"), (opened, "middle")):
        parts.append(frame.text(frame.px(t), frame.height - 6, _day_text(t, zone), anchor))
    return frame.page(parts, typeset(f"{each.figure} : {each.text}"))


def readings(
    t_ms: npt.NDArray[np.int64],
    value: F64,
    limits: tuple[float | None, float],
    learnt_ms: tuple[float, float],
    cut_ms: float,
    title: str,
    zone: ZoneInfo,
) -> str:
    """Draw a patient's readings, the limit in force and the proposed one, where it was learnt, and what judges it.

    Dates are those of `zone`.
    """
    span = (learnt_ms[0] - 2 * DAY_MS, float(t_ms[-1]))
    shown = t_ms >= span[0]
    x, y = t_ms[shown].astype(np.float64), value[shown]
    every = np.concatenate([y, [each for each in limits if each is not None]])
    low, high = float(every.min()), float(every.max())
    margin = 0.08 * (high - low) or 1.0
    frame = _Frame(span, (low - margin, high + margin), 460, 120)
    left, right = frame.px(learnt_ms[0]), frame.px(learnt_ms[1])
    dots = "".join(f"M{frame.px(a):.1f} {frame.py(b):.1f}h0" for a, b in zip(x, y, strict=True))
    at, tall = frame.px(cut_ms), frame.height - _BOTTOM - _TOP
    parts = [
        f'<rect class="learnt" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{tall}"/>',
        frame.ticks_y(1),
        f'<path class="dots" d="{dots}"/>',
        *([frame.level(limits[0], "limit")] if limits[0] is not None else []),
        frame.level(limits[1], "proposed"),
        f'<line class="opened" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{frame.height - _BOTTOM}"/>',
    ]
    for t, anchor in ((span[0], "start"), (cut_ms, "middle"), (span[1], "end")):
        parts.append(frame.text(frame.px(t), frame.height - 6, _day_text(t, zone), anchor))
    return frame.page(parts, title)


def curve(
    points: Sequence[Point], base: tuple[float, float | None], title: str, names: Mapping[str, str]
) -> str:
    """Sensitivity against load, a point a setting; `names` says what each limit is."""
    known = [p for p in points if p.sensitivity is not None]
    if not known:
        return ""
    loads = [p.load for p in known] + [base[0]]
    caught = [100 * (p.sensitivity or 0.0) for p in known] + ([100 * base[1]] if base[1] is not None else [])
    pad = 0.05 * (max(loads) - min(loads)) or 0.5
    low, high = math.floor(min(caught)), math.ceil(max(caught))
    frame = _Frame((min(loads) - pad, max(loads) + pad), (low, max(high, low + 1)), _WIDTH, 300)
    parts = [frame.ticks_y(0)]
    for p in known:
        kind = "best" if p.pareto else "point"
        said = ", ".join(f"{names[name]} = {number_text(value, 2)}" for name, value in p.limits.items())
        parts.append(
            f'<circle class="{kind}" cx="{frame.px(p.load):.1f}" cy="{frame.py(100 * (p.sensitivity or 0)):.1f}" r="4">'
            f"<title>{escape(said)}</title></circle>"
        )
    if base[1] is not None:
        at = frame.px(base[0]), frame.py(100 * base[1])
        parts.append(
            f'<path class="now" d="M{at[0] - 6:.1f} {at[1]:.1f}h12M{at[0]:.1f} {at[1] - 6:.1f}v12"/>'
        )
    ticks = np.linspace(frame.x0, frame.x1, 5).tolist()
    parts += [frame.text(frame.px(x), frame.height - 6, number_text(x, 2)) for x in ticks]
    return frame.page(parts, title)


def heat(points: Sequence[Point], title: str) -> str:
    """Load of each setting of two limits, a cell a setting, the sensitivity written in it."""
    first, second = points[0].limits
    xs = sorted({p.limits[first] for p in points})
    ys = sorted({p.limits[second] for p in points})
    low, high = min(p.load for p in points), max(p.load for p in points)
    wide, tall = min(90, (_WIDTH - 60) // len(xs)), 26
    width, height = 60 + wide * len(xs), tall * len(ys) + 30
    parts = []
    for p in points:
        share = (p.load - low) / (high - low) if high > low else 0.0
        x = 56 + wide * xs.index(p.limits[first])
        y = tall * (len(ys) - 1 - ys.index(p.limits[second])) + 4
        said = "–" if p.sensitivity is None else f"{number_text(100 * p.sensitivity, 0)}\N{NO-BREAK SPACE}%"
        colour = f"hsl(210 60% {92 - 40 * share:.0f}%)"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{wide - 1}" height="{tall - 1}" style="fill:{colour}">'
            f"<title>{number_text(p.load, 2)} alertes pour 100 patients et par jour</title></rect>"
            f'<text x="{x + wide / 2:.0f}" y="{y + 17}" text-anchor="middle">{said}</text>'
        )
    parts += [
        f'<text x="{56 + wide * (k + 0.5):.0f}" y="{height - 8}" text-anchor="middle">{number_text(x, 2)}</text>'
        for k, x in enumerate(xs)
    ]
    parts += [
        f'<text x="50" y="{tall * (len(ys) - 1 - k) + 21}" text-anchor="end">{number_text(y, 2)}</text>'
        for k, y in enumerate(ys)
    ]
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )
