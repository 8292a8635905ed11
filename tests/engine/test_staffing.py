"""Erlang C against its sum, and against a queue that is played."""

import math

import numpy as np
import pytest

from engine.staffing import Workload, nurses_for, waits


@pytest.mark.parametrize(("nurses", "per_h", "minutes"), [(2, 6, 10), (3, 12, 9), (10, 50, 10), (1, 3, 6)])
def test_probability_to_wait_is_erlangs(nurses, per_h, minutes):
    offered = per_h * minutes / 60
    top = offered**nurses / math.factorial(nurses) * nurses / (nurses - offered)
    whole = sum(offered**k / math.factorial(k) for k in range(nurses)) + top
    assert waits(nurses, per_h, minutes, 0.0) == pytest.approx(top / whole)


def test_waits_of_a_queue_that_is_played():
    rng = np.random.default_rng(5)
    nurses, per_h, minutes = 3, 14.0, 10.0
    free = np.zeros(nurses)
    now, late, n = 0.0, 0, 60_000
    for gap, need in zip(rng.exponential(60 / per_h, n), rng.exponential(minutes, n), strict=True):
        now += gap
        first = int(free.argmin())
        begun = max(now, free[first])
        late += begun - now > 4
        free[first] = begun + need
    assert waits(nurses, per_h, minutes, 4.0) == pytest.approx(late / n, abs=0.02)


def test_who_cannot_keep_up_always_waits():
    assert waits(2, 12, 10, 4) == 1.0
    assert waits(5, 0, 10, 4) == 0.0


def test_nurses_for_a_day():
    work = Workload()
    assert nurses_for({}, work) == (0.0, 0)
    minutes, few = nurses_for({"ROUGE": 5, "ORANGE": 20}, work)
    assert minutes == 5 * 10 + 20 * 6
    _, many = nurses_for({"ROUGE": 50, "ORANGE": 200}, work)
    assert 1 <= few < many
    per_h, mean = 25 / 10, minutes / 25
    assert 1 - waits(few, per_h, mean, 4) >= 0.95 > (1 - waits(few - 1, per_h, mean, 4) if few > 1 else 0)
