"""Candidates for a beat: the complex at a maximum of the feature, measured; kept until it is one or never will be.

No complex under 150 µV peak to peak is a beat, however low the thresholds have adapted: noise during
asystole must not be counted (clinical reference, section 4.2).

Where beats are judged by shape (`kernels.qrs_noise_mode`), the same places hold what resembles a beat instead.
"""

import numpy as np

from kernels import qrs_filter
from kernels._jit import jit
from kernels._types import F64
from kernels.qrs_state import (
    C_DELAY,
    C_GROUP,
    C_WORK,
    CANDIDATES,
    RING,
    S_CAND_H,
    S_CAND_J,
    S_CAND_S,
    S_CAND_X,
    S_HAS_LAST,
    S_J,
    S_LAST,
    S_PEAK,
    S_PEAK_J,
    S_PENDING,
    S_RING,
    S_RR,
    S_SHAPES,
)

__all__ = ["CONFIRM_S", "HALF_S", "REFRACTORY_S", "RR_MAX_S", "drop", "mark", "measure"]

CONFIRM_S = 0.2
"""A candidate has been the highest for so long."""
HALF_S = 0.08
"""Half width in which a complex is measured."""
REFRACTORY_S = 0.2
"""Two beats are farther apart."""
RR_MAX_S = 3.0
"""A longer interval is a pause: it does not teach the usual interval."""
_FLOOR_UV = 150.0  # peak to peak


@jit
def measure(state: F64, coeffs: F64) -> bool:
    """Measure the complex of the maximum just confirmed; add it to the candidates, or say that it is too small."""
    ring = state[S_RING : S_RING + RING // 4].view(np.int16)
    work = coeffs[C_WORK]
    group = coeffs[C_GROUP]
    j = int(state[S_J])
    half = int(HALF_S * work)
    centre = int(state[S_PEAK_J]) - int(coeffs[C_DELAY])
    first = max(centre - half, j - RING + 1, 0)
    last = min(centre + half, j)
    if last - first < 2:
        return False
    left = float(ring[first & (RING - 1)])
    right = float(ring[last & (RING - 1)])
    tilt = (right - left) / (last - first)
    # The R peak is the farthest from the line through the ends: baseline wander is such a line.
    farthest = -1.0
    at = first
    slope = 0.0
    low = high = before = left
    for i in range(first, last + 1):
        x = float(ring[i & (RING - 1)])
        away = abs(x - left - tilt * (i - first))
        if away > farthest:
            farthest = away
            at = i
        slope = max(slope, abs(x - before))
        low = min(low, x)
        high = max(high, x)
        before = x
    if high - low < _FLOOR_UV:
        return False
    shift = 0.0
    if first < at < last:
        # Vertex of the parabola through the peak and its neighbours.
        a = float(ring[(at - 1) & (RING - 1)])
        b = float(ring[at & (RING - 1)])
        c = float(ring[(at + 1) & (RING - 1)])
        bend = a - 2.0 * b + c
        if bend != 0.0:
            shift = min(max(0.5 * (a - c) / bend, -0.5), 0.5)
    if int(state[S_PENDING]) == CANDIDATES:
        drop(state, 1)
    k = int(state[S_PENDING])
    state[S_CAND_J + k] = at
    state[S_CAND_H + k] = qrs_filter.feature(state[S_PEAK], coeffs)
    state[S_CAND_S + k] = slope
    state[S_CAND_X + k] = np.floor((at + shift) * group + 0.5 * (group - 1.0) + 0.5)
    state[S_PENDING] = k + 1
    return True


@jit
def drop(state: F64, first: int) -> None:
    """Forget the candidates before `first`."""
    count = int(state[S_PENDING])
    for i in range(first, count):
        k = i - first
        state[S_CAND_J + k] = state[S_CAND_J + i]
        state[S_CAND_H + k] = state[S_CAND_H + i]
        state[S_CAND_S + k] = state[S_CAND_S + i]
        state[S_CAND_X + k] = state[S_CAND_X + i]
    state[S_PENDING] = max(count - first, 0)


@jit
def mark(state: F64, i: int, work: float) -> int:
    """Make candidate `i` a beat, forget it and those before it; give its R peak."""
    j = state[S_CAND_J + i]
    if state[S_HAS_LAST] > 0.0:
        rr = j - state[S_LAST]
        if rr < RR_MAX_S * work:
            intervals = state[S_RR:S_SHAPES].view(np.int16)
            for k in range(7):
                intervals[k] = intervals[k + 1]
            intervals[7] = int(rr)
    state[S_LAST] = j
    state[S_HAS_LAST] = 1.0
    position = int(state[S_CAND_X + i])
    drop(state, i + 1)
    return position
