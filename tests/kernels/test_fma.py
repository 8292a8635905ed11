"""A product and a sum, rounded once."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels._jit import jit
from kernels.fma import fma

FINITE = st.floats(-1e100, 1e100, allow_subnormal=False)


@jit
def joined(a: float, b: float, c: float) -> float:
    return fma(a, b, c)


def test_it_is_rounded_once():
    tiny = 2.0**-52
    assert joined(1.0 + tiny, 1.0 + tiny, -1.0 - 2 * tiny) == tiny * tiny


@given(FINITE, FINITE, FINITE)
def test_it_is_the_nearest_to_the_exact_value(a, b, c):
    assert joined(a, b, c) == float(Fraction(a) * Fraction(b) + Fraction(c))


def test_what_is_not_a_number_stays_so():
    assert np.isnan(joined(np.nan, 1.0, 1.0))
    assert np.isnan(joined(1.0, 1.0, np.nan))
