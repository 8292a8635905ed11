"""The spark line of a row: fourteen days of one signal in a stamp, with its sentence; SVG without any style."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rules.explain import typeset
from triage.web.words import answered

__all__ = ["Spark", "spark"]

WIDTH, HEIGHT, MARGIN = 116.0, 30.0, 3.0
_DAYS_MS: Final = 14 * 86_400_000
_GAP_MS: Final = 3 * 86_400_000
"""Readings further apart than this are not joined: days without are seen."""


@dataclass(frozen=True, slots=True)
class Spark:
    """What the template draws, in px of a box of 116 by 30."""

    lines: tuple[str, ...]
    """Points of each piece between gaps."""
    last: tuple[float, float]
    limit: float | None
    label: str


def spark(
    points: Sequence[Mapping[str, Any]],
    limits: Sequence[Mapping[str, Any]],
    labels: Mapping[str, tuple[str, str]],
    answers: Mapping[str, Sequence[str]] | None = None,
) -> Spark | None:
    """Draw the first signal of an alert's evidence.

    Parameters
    ----------
    points, limits
        Of a `triage.tables.Transition`.
    labels : mapping
        French label and unit of each signal.
    answers : mapping, optional
        What the values 0, 1, 2 ... of an item of a questionnaire stand for.

    Returns
    -------
    Spark or None
        None where there is no reading.
    """
    if not points:
        return None
    signal = points[0]["signal"]
    readings: list[tuple[int, float]] = sorted(
        (p["t_ms"], p["value"]) for p in points if p["signal"] == signal and p["value"] is not None
    )
    if not readings:
        return None
    newest = readings[-1][0]
    readings = [(t, value) for t, value in readings if t >= newest - _DAYS_MS]
    low, high = min(value for _, value in readings), max(value for _, value in readings)
    label, unit = labels.get(signal, (signal, ""))
    limit = _limit(limits, unit, low, high)
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
    room = (high - low) or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / room, 1)

    def x(t: int) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (1 - (newest - t) / _DAYS_MS), 1)

    pieces: list[list[str]] = []
    before = None
    for t, value in readings:
        if before is None or t - before > _GAP_MS:
            pieces.append([])
        pieces[-1].append(f"{x(t)},{y(value)}")
        before = t
    values = [value for _, value in readings]
    choices = (answers or {}).get(signal, ())
    newly = answered(values[-1], unit, choices)
    low_said, high_said = (answered(each, "", choices) for each in (min(values), max(values)))
    # A question ends with its own sign.
    mark = "" if label.endswith("?") else " :"
    said = typeset(f"{label}{mark} {newly}, de {low_said} à {high_said} en 14 jours")
    return Spark(
        tuple(" ".join(piece) for piece in pieces),
        (x(newest), y(values[-1])),
        None if limit is None else y(limit),
        said,
    )


def _limit(limits: Sequence[Mapping[str, Any]], unit: str, low: float, high: float) -> float | None:
    """Give the first limit that is on the scale of the readings: one of a change over days is not."""
    reach = max(high - low, 0.1 * abs(high))
    for limit in limits:
        value = limit["value"]
        if value is not None and limit["unit"] == unit and low - reach <= value <= high + reach:
            return float(value)
    return None
