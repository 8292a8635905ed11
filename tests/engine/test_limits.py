"""Limits that are put without their acts, for judging what was kept: they hold, and no words are made up for them."""

import numpy as np
import pytest

from engine.limits import Limits
from engine.load import load
from engine.plan import make_plan
from engine.program import limit_key
from engine.state import State

HEART = "insuffisance_cardiaque"


@pytest.fixture
def limits():
    loaded = load([HEART])
    program = loaded.program
    sizes = {"width": 0, "series": 0, "contacts": len(program.contacts), "limits": len(program.own)}
    state = State(rules=len(program.rule_rows), problems=len(program.problems), **sizes)
    state.reserve(1)
    state.used = 1
    return Limits(program, make_plan(program), state, loaded.roster)


def test_what_was_put_for_all_holds_and_does_not_say_where_it_comes_from(limits):
    program = limits._program
    rule = next(
        r for r, row in enumerate(program.rule_rows)
        if row.rule is not None and row.protocol.limits_of(row.rule)[:1] == ("gain_3d_kg",)
    )  # fmt: skip
    here = np.array([rule], np.int16), np.array([0], np.int32)
    values, origins = limits.in_force(*here)
    assert values[0, 0] == 2.0
    assert "défaut" in limits.origins[origins[0, 0]]
    limits.put_for_all(limit_key(HEART, "gain_3d_kg"), 1500, np.array([0], np.int32))
    assert 1.5 in limits._state.arrays["limits"][0]
    with pytest.raises(AssertionError, match="gain_3d_kg was put in force without an act"):
        limits.in_force(*here)
