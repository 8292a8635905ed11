"""Band-pass, rectified, averaged over the width of a QRS, a block at once; and the maxima of that *feature*.

A band around the energy of the QRS (8 to 20 Hz, Elgendi 2010), its absolute value, and the mean of 0.1 s of it
(Hamilton 2002, Open Source ECG Analysis). What is kept and compared is the sum, in whole 1/256 µV: it is exact, and
cannot drift over months.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I64, Flag
from kernels.fma import fma
from kernels.qrs_state import C_SOS, C_WIDTH, S_AT, S_M_RING, S_SUM, S_Z

__all__ = ["climb", "feature", "highest", "moving_sums"]


@jit
def moving_sums(state: F64, coeffs: F64, signal: F64, sums: I64) -> None:
    """Filter averaged samples, rectify, and give the moving sum at each, in 1/256 µV; `sums` has room for a width more.

    Each section is written as one step of its two states (z0, z1): from z0 to the next z0 is one multiplication and
    addition, where by way of the section's output it would be two, and nothing else here waits for the step before.
    """
    b00, b10 = coeffs[C_SOS], coeffs[C_SOS + 5]
    a01, a02, a11, a12 = -coeffs[C_SOS + 3], -coeffs[C_SOS + 4], -coeffs[C_SOS + 8], -coeffs[C_SOS + 9]
    b01, b02 = fma(a01, b00, coeffs[C_SOS + 1]), fma(a02, b00, coeffs[C_SOS + 2])
    b11, b12 = fma(a11, b10, coeffs[C_SOS + 6]), fma(a12, b10, coeffs[C_SOS + 7])
    z00, z01, z10, z11 = state[S_Z], state[S_Z + 1], state[S_Z + 2], state[S_Z + 3]
    width = int(coeffs[C_WIDTH])
    total = int(state[S_SUM])
    slot = int(state[S_AT])
    m = signal.size
    # The sum takes in one and leaves one out: those of before the block come first, the oldest in front.
    for i in range(width):
        k = slot + i
        sums[i] = int(state[S_M_RING + (k if k < width else k - width)])
    newest = sums[width:]
    for i in range(m):
        x = signal[i]
        y = fma(b00, x, z00)
        z00, z01 = fma(a01, z00, fma(b01, x, z01)), fma(a02, z00, b02 * x)
        v = fma(b10, y, z10)
        z10, z11 = fma(a11, z10, fma(b11, y, z11)), fma(a12, z10, b12 * y)
        whole = int(abs(v) * 256.0)
        newest[i] = whole
        total += whole - sums[i]
        sums[i] = total
    state[S_Z], state[S_Z + 1], state[S_Z + 2], state[S_Z + 3] = z00, z01, z10, z11
    state[S_SUM] = total
    state[S_AT] = 0.0
    for i in range(width):
        state[S_M_RING + i] = sums[m + i]


@jit
def feature(total: float, coeffs: F64) -> float:
    """Give the feature, microvolts, of a moving sum in 1/256 µV: a division that only what is judged needs."""
    return total / (256.0 * coeffs[C_WIDTH])


@jit
def highest(sums: I64) -> float:
    """Give the highest of moving sums, at least one."""
    highest = sums[0]
    for i in range(sums.size):
        highest = max(highest, sums[i])
    return float(highest)


@jit
def climb(
    sums: I64, i: int, until: int, falling: Flag, bar: int, peak: int, confirm: int
) -> tuple[int, bool, int, int]:
    """Follow moving sums from `i` to their next maximum that stays the highest for `confirm` steps.

    `bar` is the height of `peak`, or, where the sum falls after a confirmed one, what it has fallen to. Gives how far
    it came, `until` at most, and the others as they are then. Without a branch on what no predictor knows.
    """
    while i < until:
        total = sums[np.uint64(i)]
        higher = total > bar
        falling &= not higher
        bar = total if higher | falling else bar
        peak = i if higher | falling else peak
        i += 1
        if i - 1 - peak >= confirm:
            break
    return i, falling, bar, peak
