"""What the beats of a lead say of an alarm, against the definitions written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels import alarm


def oracle(beats, rate_hz, begin, until):
    known = [b for b in beats if b <= until]
    ends = [*known, until]
    gaps = [end - start for start, end in zip([0.0, *known], ends, strict=True) if end >= begin]
    rates = {
        m: [60.0 * m * rate_hz / (known[i] - known[i - m]) for i in range(m, len(known)) if known[i] >= begin]
        for m in (4, 16)
    }
    return [
        max(gaps, default=0.0) / rate_hz,
        min(rates[4], default=np.nan),
        max(rates[4], default=np.nan),
        max(rates[16], default=np.nan),
        len(beats),
    ]


@given(
    intervals=st.lists(st.integers(50, 1500), max_size=60),
    begin=st.floats(0, 20000),
    more=st.floats(0, 3000),
)
def test_measures_are_the_definitions(intervals, begin, more):
    beats = np.cumsum(np.array(intervals, np.int64))
    out = np.zeros(alarm.MEASURES)
    alarm.measure(beats, 250.0, begin, begin + more, out)
    np.testing.assert_allclose(out, oracle(beats.tolist(), 250.0, begin, begin + more), rtol=1e-12)


def test_a_pause_at_the_end_counts_up_to_where_beats_are_known():
    out = np.zeros(alarm.MEASURES)
    alarm.measure(np.array([250, 500, 750]), 250.0, 500.0, 1750.0, out)
    assert out[alarm.A_GAP_S] == 4.0
    assert np.isnan(out[alarm.A_SLOW5])
