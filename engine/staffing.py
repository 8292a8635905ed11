"""How many nurses a load of alerts asks for: a stated model, not a measurement.

Alerts of a day are taken to come at random over the cell's working hours, each to take the minutes of its level, and
the nurses to take them as they come: the M/M/c queue (Erlang C; Cooper, Introduction to Queueing Theory, 1981, ch. 3).
"""

import math
from dataclasses import dataclass, field

__all__ = ["Workload", "nurses_for", "waits"]

_MOST_NURSES = 1000


@dataclass(frozen=True, slots=True)
class Workload:
    """Assumptions, all to be replaced by the cell's own: minutes an alert, hours a day, the limit and how often."""

    minutes: dict[str, float] = field(
        default_factory=lambda: {"ROUGE": 10.0, "ORANGE": 6.0, "TECHNIQUE": 3.0}
    )
    hours_a_day: float = 10.0
    limit_min: float = 4.0
    within: float = 0.95


def waits(nurses: int, per_h: float, minutes: float, limit_min: float) -> float:
    """Probability that an alert waits longer than `limit_min`, by Erlang C; 1 where the nurses cannot keep up."""
    offered = per_h * minutes / 60
    if offered >= nurses:
        return 1.0
    # The inverse of Erlang B by its recursion, which does not overflow.
    inverse = 1.0
    for k in range(1, nurses + 1):
        inverse = 1.0 + inverse * k / offered if offered else math.inf
    blocked = 1.0 / inverse
    queued = blocked / (1 - (offered / nurses) * (1 - blocked))
    return queued * math.exp(-(nurses - offered) * limit_min / minutes)


def nurses_for(alerts: dict[str, float], work: Workload) -> tuple[float, int]:
    """Give the minutes that a day's alerts (count by level) take, and the least nurses who answer them in time."""
    minutes = sum(count * work.minutes.get(level, 0.0) for level, count in alerts.items())
    total = sum(alerts.values())
    if total == 0 or minutes == 0:
        return 0.0, 0
    per_h, mean = total / work.hours_a_day, minutes / total
    for nurses in range(1, _MOST_NURSES):
        if 1 - waits(nurses, per_h, mean, work.limit_min) >= work.within:
            return minutes, nurses
    return minutes, _MOST_NURSES
