"""Curves of a patient for a plot: readings of history in order, gaps and extremes kept, and a sentence of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from engine import history
from engine.history import Outcome
from ingest.signals import MILLI, Signal
from rules.explain import moment_text, typeset

__all__ = ["Curve", "curves", "reduce", "sentence"]

DAY_MS = 86_400_000
MOST = 2000
"""Points of a curve, about: more than a plot has pixels."""

GAP_DAYS = 3
"""Days without a reading that are shown as a gap."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Readings of one signal.

    Parameters
    ----------
    signal : Signal
    t_ms : int64[n]
        Event time, ascending.
    value : float64[n]
        In the signal's unit.
    late : bool[n]
        Came beyond the bound of lateness: kept, without effect on any alert.
    """

    signal: Signal
    t_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    late: npt.NDArray[np.bool_]

    def gaps(self, days: int = GAP_DAYS) -> list[tuple[int, int]]:
        """Give the times (from, to) in which nothing came for more than `days` days."""
        at = np.flatnonzero(np.diff(self.t_ms) > days * DAY_MS)
        return [(int(self.t_ms[i]), int(self.t_ms[i + 1])) for i in at]


def curves(
    folder: Path, patient: str, signals: Sequence[Signal], since_ms: int, until_ms: int
) -> list[Curve]:
    """Read the curves of a patient; signals without a reading are left out.

    Parameters
    ----------
    folder : Path
        Of history.
    patient : str
    signals : sequence of Signal
    since_ms, until_ms : int
        Event time, `until_ms` excluded.

    A folder that is not there yet has no curves: a line that has just begun has written nothing.

    Raises
    ------
    HistoryError
        The folder holds files without the mark of what is committed, or a history of another format.
    """
    rows = (
        history.read(folder, patient, [signal.code for signal in signals], since_ms, until_ms)
        .select("signal", "t_ms", "milli", "outcome")
        .sort("signal", "t_ms", "outcome")
        .unique(subset=["signal", "t_ms", "milli"], keep="first", maintain_order=True)
        .collect()
    )
    out = []
    for signal in signals:
        mine = rows.filter(pl.col("signal") == signal.code)
        if mine.height:
            out.append(
                reduce(
                    Curve(
                        signal,
                        mine["t_ms"].to_numpy(),
                        mine["milli"].to_numpy() / MILLI,
                        mine["outcome"].to_numpy() == Outcome.LATE,
                    )
                )
            )
    return out


def reduce(curve: Curve, most: int = MOST) -> Curve:
    """Leave out what a plot cannot show: of each of `most` / 4 equal times, the first, last, least and greatest stay.

    No extreme is ever hidden, and where each time begins and ends is as it was.
    """
    n = len(curve.t_ms)
    if n <= most:
        return curve
    first, last = int(curve.t_ms[0]), int(curve.t_ms[-1])
    bucket = ((curve.t_ms - first) * (most // 4)) // (last - first + 1)
    starts = np.flatnonzero(np.r_[True, np.diff(bucket) > 0])
    ends = np.r_[starts[1:], n] - 1
    which = np.searchsorted(starts, np.arange(n), side="right") - 1
    order = np.lexsort((curve.value, which))
    keep = np.unique(np.r_[starts, ends, order[starts], order[ends]])
    return Curve(curve.signal, curve.t_ms[keep], curve.value[keep], curve.late[keep])


def sentence(curve: Curve, now_ms: int, zone: ZoneInfo) -> str:
    """Say in French what a curve shows: the newest value and when, the range, the days without a reading."""
    unit = f"\N{NO-BREAK SPACE}{curve.signal.unit_fr}" if curve.signal.unit_fr else ""

    def said(value: float) -> str:
        return f"{value:.{curve.signal.decimals}f}".replace(".", ",")

    text = f"{said(curve.value[-1])}{unit} le {moment_text(int(curve.t_ms[-1]), zone)}"
    low, high = float(curve.value.min()), float(curve.value.max())
    days = {datetime.fromtimestamp(t / 1000, zone).date() for t in curve.t_ms.tolist()}
    first = min(days)
    span = (datetime.fromtimestamp(now_ms / 1000, zone).date() - first).days + 1
    if len(curve.t_ms) > 1:
        text += (
            f" ; de {said(low)} à {said(high)}{unit} en {span}\N{NO-BREAK SPACE}jour{'s' if span > 1 else ''}"
        )
    without = span - len(days)
    if without > 0:
        text += f" ; {without}\N{NO-BREAK SPACE}jour{'s' if without > 1 else ''} sans mesure"
    return typeset(f"{text}.")
