"""The figure of the page on rules: sensitivity against load, a curve for each limit moved, a point for each rule."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Dot", "Line", "draw"]

_WIDTH, _HEIGHT = 900, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 650, 16, 470
_LOADS = (0.01, 20.0)
_TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)
_NAMED = 0.3  # sensitivity from which a point has its name beside it: below, they are too close
_COLOURS = (
    "#1f77b4", "#d62728", "#17becf", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#ff7f0e",
    "#393b79",
)  # fmt: skip
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.axis{stroke:#ddd}.curve{fill:none;stroke-width:2}"
    ".chance{fill:none;stroke:#999;stroke-dasharray:4 4}.other{fill:#555}.small{font-size:10px;fill:#555}"
)


@dataclass(frozen=True, slots=True)
class Dot:
    """A rule at its shipped limit: load, and sensitivity from 0 to 1."""

    load: float
    sensitivity: float


@dataclass(frozen=True, slots=True)
class Line:
    """A rule whose limit is moved: pairs of load and sensitivity; `dashed` for one that is not of weight."""

    points: Sequence[tuple[float, float]]
    dashed: bool


def _x(load: float) -> float:
    low, high = (math.log(each) for each in _LOADS)
    at = (math.log(min(max(load, _LOADS[0]), _LOADS[1])) - low) / (high - low)
    return _LEFT + at * (_RIGHT - _LEFT)


def _y(sensitivity: float) -> float:
    return _BOTTOM - sensitivity * (_BOTTOM - _TOP)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_x(a):.1f} {_y(b):.1f}" for a, b in points)


def _text(x: float, y: float, said: str, anchor: str = "start", kind: str = "") -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of}>{escape(said)}</text>'


def _axes(window_days: float) -> list[str]:
    out = []
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        out.append(f'<path class="axis" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        out.append(_text(_LEFT - 6, y + 4, f"{percent} %", "end"))
    for load in _TICKS:
        x = _x(load)
        out.append(f'<path class="axis" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>')
        out.append(_text(x, _BOTTOM + 16, f"{load:g}", "middle"))
    out.append(_text(_LEFT + 6, _TOP + 12, "sensitivity"))
    middle = (_LEFT + _RIGHT) / 2
    out.append(_text(middle, _BOTTOM + 36, "alerts per 100 patients a day", "middle"))
    steps = [_LOADS[0] * (_LOADS[1] / _LOADS[0]) ** (k / 60) for k in range(61)]
    chance = [(load, 1 - math.exp(-load / 100 * window_days)) for load in steps]
    out.append(f'<path class="chance" d="{_path(chance)}"/>')
    return out


def draw(
    lines: Mapping[str, Line],
    dots: Mapping[str, Dot],
    names: Mapping[str, str],
    *,
    window_days: float,
    title: str,
) -> str:
    """Draw it.

    Parameters
    ----------
    lines : mapping of str to Line
        By rule.
    dots : mapping of str to Dot
        By rule: those of `lines` in their colour, others grey with their name.
    names : mapping of str to str
        What the legend calls a rule; else its id.
    window_days : float
        In which an alert counts: alerts at random catch ``1 - exp(-load / 100 * window_days)``.
    title : str
        For who does not see it.

    Returns
    -------
    str
        SVG, UTF-8, with an end of line.
    """
    parts = _axes(window_days)
    others = sorted((-dot.sensitivity, rule) for rule, dot in dots.items() if rule not in lines)
    free = 0.0  # names one below the other, where points are beside each other
    for _, rule in others:
        x, y = _x(dots[rule].load), _y(dots[rule].sensitivity)
        said = escape(rule)
        parts.append(
            f'<circle class="other" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{said}</title></circle>'
        )
        if dots[rule].sensitivity >= _NAMED:
            free = max(free + 11, y + 3)
            parts.append(_text(x + 6, free, rule, kind="small"))
    for k, (rule, line) in enumerate(lines.items()):
        colour = _COLOURS[k % len(_COLOURS)]
        dash = ' stroke-dasharray="7 3"' if line.dashed else ""
        parts.append(f'<path class="curve" stroke="{colour}"{dash} d="{_path(line.points)}"/>')
        y = _TOP + 14 + 22 * k
        parts.append(f'<path class="curve" stroke="{colour}"{dash} d="M{_RIGHT + 14} {y - 4}h28"/>')
        parts.append(_text(_RIGHT + 50, y, names.get(rule, rule)))
        if rule in dots:
            x, at = _x(dots[rule].load), _y(dots[rule].sensitivity)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{at:.1f}" r="5" fill="#fff" stroke="{colour}" stroke-width="2"/>'
            )
    y = _TOP + 14 + 22 * len(lines)
    parts.append(f'<path class="chance" d="M{_RIGHT + 14} {y - 4}h28"/>')
    parts.append(_text(_RIGHT + 50, y, "alerts at random"))
    parts.append(_text(_RIGHT + 14, y + 26, "○ ● a rule at its shipped limit"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{escape(title, quote=True)}"><style>{_STYLE}</style>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
