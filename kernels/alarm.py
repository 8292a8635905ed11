"""What the beats of a lead say of an alarm: longest gap, slowest and fastest runs near the moment of the alarm.

Definitions of PhysioNet/CinC Challenge 2015, table 1: asystole is no QRS for 4 s, extreme bradycardia a rate under
40 a minute over five beats, extreme tachycardia one over 140 over seventeen, ventricular tachycardia five
ventricular beats at over 100. The rate of m + 1 beats is 60 m / (t[i+m] - t[i]).
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I64

__all__ = ["A_BEATS", "A_FAST5", "A_FAST17", "A_GAP_S", "A_SLOW5", "MEASURES", "measure"]

A_GAP_S = 0  # longest time without a beat that ends in the window, seconds
A_SLOW5 = 1  # slowest rate over five beats of which the last is in the window, a minute; NaN: none
A_FAST5 = 2
A_FAST17 = 3
A_BEATS = 4  # beats seen at all
MEASURES = 5


@jit
def measure(beats: I64, rate_hz: float, begin: float, until: float, out: F64) -> None:
    """Measure the beats near an alarm.

    Parameters
    ----------
    beats : int64[n]
        R peaks, ascending, in samples.
    rate_hz : float
        Samples a second.
    begin : float
        Where the window begins, in samples: what ends before it is not counted.
    until : float
        Position up to which all beats are known (`kernels.qrs.settled`), in samples.
    out : float64[MEASURES]
        Receives the measures.
    """
    n = beats.size
    gap = 0.0
    before = 0.0
    slow5 = fast5 = fast17 = np.nan
    for i in range(n):
        at = float(beats[i])
        if at > until:
            break
        if at >= begin:
            gap = max(gap, at - before)
            if i >= 4:
                rate = 240.0 * rate_hz / (at - beats[i - 4])
                slow5 = rate if not slow5 <= rate else slow5
                fast5 = rate if not fast5 >= rate else fast5
            if i >= 16:
                rate = 960.0 * rate_hz / (at - beats[i - 16])
                fast17 = rate if not fast17 >= rate else fast17
        before = at
    if until >= begin:
        gap = max(gap, until - before)
    out[A_GAP_S] = gap / rate_hz
    out[A_SLOW5] = slow5
    out[A_FAST5] = fast5
    out[A_FAST17] = fast17
    out[A_BEATS] = n
