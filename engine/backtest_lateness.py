"""What lateness changes: the same protocols and readings, in the order of arrival and in that of measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.backtest_compare import Comparison, compare
from engine.backtest_judge import Judged
from engine.backtest_measures import Measures
from engine.reorder import MEASURED, Delays, Measured, parse_delays

__all__ = ["LEFT_OUT", "UNKNOWN", "Lateness", "lateness", "lateness_lines", "lateness_table", "order_of"]

LATER_MS = 15 * 60_000
"""From which an alert counts as opened later: what comes over a network in order takes some seconds."""

UNKNOWN = (
    "lateness: the history has no receipt times, so what it changed cannot be told; "
    "--lateness SHARE:HOURS shows what delays would change"
)
LEFT_OUT = "lateness: left out"


@dataclass(frozen=True, slots=True)
class Lateness:
    """The other order, judged, and how the two differ.

    `judged`, `alerts` and `whole` are of the other order: of measurement where the history has receipt times, else of
    arrival with the delays of `order`. `comparison` is always from measurement to arrival: what is gained is raised
    only because something came late.
    """

    order: Measured | Delays
    judged: Judged
    alerts: pl.DataFrame
    whole: Measures
    comparison: Comparison

    @property
    def arrival_differs(self) -> bool:
        """Whether the other order is that of arrival."""
        return isinstance(self.order, Delays)

    @property
    def later(self) -> pl.DataFrame:
        """Alerts of both orders that opened later in that of arrival, with `later_ms`."""
        shift = pl.col("opened_ms") - pl.col("opened_before_ms")
        return self.comparison.both.with_columns(later_ms=shift).filter(pl.col("later_ms") > LATER_MS)

    @property
    def later_h(self) -> tuple[float, float] | None:
        """By how many hours: half of these alerts by less, 95 % by less; None where there are none."""
        hours = self.later["later_ms"].to_numpy() / 3_600_000
        if not len(hours):
            return None
        half, most = np.quantile(hours, [0.5, 0.95]).tolist()
        return half, most


def order_of(said: str | None, *, has_receipts: bool) -> Measured | Delays | None:
    """Give the other order that a person asked for; None: it is left out.

    Parameters
    ----------
    said : str or None
        ``none``, ``SHARE:HOURS``, or nothing.
    has_receipts : bool
        Whether the history says when each reading came.

    Raises
    ------
    ValueError
        Saying what is legal.
    """
    if said is not None and said != "none":
        if has_receipts:
            msg = f"lateness {said!r}: a log says itself when readings came; legal is none, to leave it out"
            raise ValueError(msg)
        return parse_delays(said)
    return MEASURED if has_receipts and said is None else None


def lateness(
    order: Measured | Delays, mine: pl.DataFrame, judged: Judged, alerts: pl.DataFrame, whole: Measures
) -> Lateness:
    """Compare `mine`, alerts in the history's own order, with `alerts` of the other order."""
    measured, arrived = (mine, alerts) if isinstance(order, Delays) else (alerts, mine)
    return Lateness(order, judged, alerts, whole, compare(measured, arrived))


def lateness_lines(found: Lateness, whole: Measures) -> list[str]:
    """What a person reads in the terminal; `whole` is of the history's own order."""
    told = found.comparison
    if isinstance(found.order, Delays):
        what = f"had {100 * found.order.share:g} % come late, by {found.order.median_h:g} h in the median"
        measured, arrived = whole, found.whole
    else:
        what = "beside the order of measurement, as if nothing had been late"
        measured, arrived = found.whole, whole
    said = (
        f"lateness: {what}: {len(told.gained):,} alerts more, {len(told.lost):,} fewer, {len(told.moved):,} at another "
        f"level; of {told.same:,} in both {len(found.later):,} opened later"
    )
    if found.later_h:
        said += f", half of these by more than {found.later_h[0]:.1f} h, 95 % by less than {found.later_h[1]:.1f} h"
    out = [said]
    if whole.outcomes:
        out.append(f"  outcomes caught: {arrived.caught:,}, of {measured.caught:,} without lateness")
    return out


def lateness_table(found: Lateness) -> pl.DataFrame:
    """Give all that differs, a row an alert: gained, lost, moved to another level, or later."""
    told = found.comparison
    parts: Sequence[tuple[str, pl.DataFrame]] = (
        ("gained", told.gained),
        ("lost", told.lost),
        ("moved", told.moved),
        ("later", found.later),
    )
    return pl.concat(
        [rows.select(pl.lit(name).alias("difference"), pl.all()) for name, rows in parts], how="diagonal"
    )
