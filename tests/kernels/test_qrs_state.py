"""The levels of a detector."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels import qrs_state

EIGHT = st.lists(st.floats(0.0, 1e5), min_size=8, max_size=8)


@given(EIGHT, st.integers(0, 20))
def test_the_median_of_eight_is_that_of_the_statistics_module(values, at):
    row = np.full(qrs_state.STATE, -1.0)
    row[at : at + 8] = values
    assert qrs_state.median8(row, at) == statistics.median(values)


@given(EIGHT, st.floats(0.0, 1e5))
def test_what_is_pushed_is_the_newest_of_eight(values, value):
    row = np.full(qrs_state.STATE, -1.0)
    row[5:13] = values
    qrs_state.push8(row, 5, value)
    assert row[5:13].tolist() == [*values[1:], value]
    assert (row[:5] == -1.0).all()
    assert (row[13:] == -1.0).all()


def test_positions_do_not_overlap():
    """Each begins where the one before ends, whatever their order in the source."""
    starts = sorted(value for name, value in vars(qrs_state).items() if name.startswith("S_"))
    assert len(set(starts)) == len(starts)
    assert starts[-1] + qrs_state.RING // 4 == qrs_state.STATE
