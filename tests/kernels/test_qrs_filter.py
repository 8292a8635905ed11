"""The filter of a detector beside SciPy's, and its maxima beside a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qrs_runs import maxima
from scipy import signal

from engine.ecg_design import design
from kernels import qrs_filter, qrs_state


def sums_of(x, rate, cuts):
    state, coeffs = np.zeros(qrs_state.STATE), design(rate)
    out, room = [], np.zeros(64 + qrs_state.M_RING, np.int64)
    for part in np.split(x, cuts):
        for low in range(0, len(part), 64):
            block = np.ascontiguousarray(part[low : low + 64])
            qrs_filter.moving_sums(state, coeffs, block, room)
            out += room[: len(block)].tolist()
    return out, coeffs


@given(
    st.integers(0, 1000),
    st.sampled_from([100.0, 250.0, 360.0, 999.0]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_sums_are_those_of_scipy_wherever_the_signal_is_cut(seed, rate, cuts):
    x = np.random.default_rng(seed).normal(0.0, 300.0, 400)
    found, coeffs = sums_of(x, rate, sorted(cuts))
    assert found == sums_of(x, rate, [])[0]
    sections = coeffs[qrs_state.C_SOS :].reshape(-1, 5)
    sos = np.column_stack([sections[:, :3], np.ones(len(sections)), sections[:, 3:]])
    width = int(coeffs[qrs_state.C_WIDTH])
    plain = np.convolve(np.abs(signal.sosfilt(sos, x)) * 256.0, np.ones(width))[: len(x)]
    assert found == pytest.approx(plain, abs=width)  # each is rounded down
    assert qrs_filter.highest(np.array(found)) == max(found)
    assert qrs_filter.feature(float(found[-1]), coeffs) == found[-1] / (256.0 * width)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200), st.integers(2, 20))
def test_maxima_are_those_of_a_plain_loop(values, hold):
    x = np.array(values, np.int64)
    falling, bar, peak, i, found = True, 0, 0, 0, []
    while i < len(x):
        i, falling, bar, peak = qrs_filter.climb(x, i, len(x), falling, bar, peak, hold)
        if i - 1 - peak >= hold:
            found.append((peak, i - 1))
            falling, bar, peak = True, int(x[i - 1]), i - 1
    assert found == list(maxima(x, hold))
