"""From the samples of a lead to its averaged signal, a block at once: groups, loss of signal, and what is kept.

The samples are first averaged in groups so that the filters run at 100 to 240 Hz whatever the rate.

When the signal is lost the filters start anew and levels are kept: at the rails of the 16-bit range for
100 ms or more (lead-off, saturation, the -32768 of WFDB's invalid samples), or after 1 s or more of one and
the same value. A loss at the rails is also a *break*: no RR interval is measured across it.

The newest 1024 averaged samples are kept in a ring (`kernels.qrs_state.RING`), from which complexes, shapes and
quality are measured.
"""

import numpy as np

from kernels._jit import jit, jit_inline
from kernels._types import F64, I16, Flag
from kernels.qrs_state import (
    C_GROUP,
    C_RATE,
    RING,
    S_ACC,
    S_BAD,
    S_BASE,
    S_BREAK,
    S_FALLING,
    S_GAIN,
    S_HAS_LAST,
    S_HELD,
    S_J,
    S_LAST,
    S_M_RING,
    S_N,
    S_OFFSET,
    S_PEAK,
    S_PHASE,
    S_SAME,
    S_SUM,
    S_Z,
    STATE,
)

__all__ = ["BAD_S", "BLOCK", "CENTRE_STEPS", "CENTRE_UV", "FLAT_S", "at_rail", "average", "remember"]

BAD_S = 0.1
"""At the rails for so long: the signal is lost."""
FLAT_S = 1.0
"""Equal samples for so long: likewise."""
_RAIL = 32767

BLOCK = 64
"""Averaged samples at once: half a second, mostly."""
CENTRE_UV = 8192
"""The ring is centred again when the signal has gone farther from its middle."""
CENTRE_STEPS = 128
"""That is looked at every so many averaged samples, so that no signal makes it costly."""


@jit_inline
def at_rail(raw: int) -> bool:
    """Whether a sample is at an end of the 16-bit range, or WFDB's invalid sample: no signal."""
    return raw >= _RAIL or raw <= -_RAIL


@jit
def _meets_rail(samples: I16) -> bool:
    """Whether a sample is at a rail."""
    low = high = samples[0]
    for i in range(samples.size):
        low = min(low, samples[i])
        high = max(high, samples[i])
    return high >= _RAIL or low <= -_RAIL


@jit
def _run(samples: I16, same: int, held: int) -> int:
    """Give the length of the run of equal samples at the end, which goes on from a run of `same` of `held`."""
    i = samples.size - 1
    newest = samples[i]
    while i > 0 and samples[i - 1] == newest:
        i -= 1
    run = samples.size - 1 - i
    return run + same + 1 if i == 0 and newest == held else run


@jit
def _average_groups(samples: I16, group: int, base: int, scale: float, out: F64) -> None:
    """Fill `out` with averages of whole groups, less `base`, microvolts."""
    off = np.int32(group * base)
    if group == 2:  # known to the compiler, it is done with vectors: 240 to 360 Hz
        for i in range(samples.size // 2):
            out[i] = (np.int32(samples[2 * i]) + np.int32(samples[2 * i + 1]) - off) * scale
        return
    for i in range(samples.size // group):
        acc = -off
        for k in range(group):
            acc += np.int32(samples[i * group + k])
        out[i] = acc * scale


@jit
def _begin_again(state: F64, raw: int, position: float, is_break: Flag) -> None:
    """Begin the filters and the ring anew with sample `raw` at `position`; levels, beats and candidates stay."""
    for i in range(S_M_RING, STATE):
        state[i] = 0.0
    for i in range(S_Z, S_Z + 4):
        state[i] = 0.0
    state[S_SUM] = state[S_PEAK] = 0.0
    state[S_FALLING] = 1.0
    state[S_BASE] = raw
    if is_break:
        state[S_BREAK] = position
        state[S_LAST] = state[S_J]
        state[S_HAS_LAST] = 0.0


@jit
def average(state: F64, samples: I16, at: int, careful: int, coeffs: F64, out: F64) -> tuple[int, int, int]:
    """Average samples from `at` on, until a block is full or they end; before a signal that comes back, a block ends.

    Parameters
    ----------
    state : float64[STATE]
        Changed in place.
    samples : int16[n]
    at : int
    careful : int
        Samples before it are looked at one by one; 0 at first, then what was returned.
    coeffs : float64[COEFFS]
    out : float64[BLOCK]
        Receives the averages, microvolts from where the signal began.

    Returns
    -------
    tuple of int
        How far it came, how many averages there are, and `careful`.
    """
    n = samples.size
    group = int(coeffs[C_GROUP])
    scale = 1000.0 / (state[S_GAIN] * group)  # to microvolts
    bad_n = int(BAD_S * coeffs[C_RATE])
    flat_n = int(FLAT_S * coeffs[C_RATE])
    phase = int(state[S_PHASE])
    acc = int(state[S_ACC])
    base = int(state[S_BASE])
    held = int(state[S_HELD])
    bad = int(state[S_BAD])
    same = int(state[S_SAME])
    m = 0
    while at < n and m < BLOCK:
        if at >= careful and phase == 0 and bad == 0 and at + group <= n:
            part = samples[at : at + min(BLOCK - m, (n - at) // group) * group]
            if same + part.size < flat_n and not _meets_rail(part):
                # Without a look at each sample for what is rare.
                _average_groups(part, group, base, scale, out[m:])
                same, held = _run(part, same, held), int(part[part.size - 1])
                at += part.size
                m += part.size // group
                continue
            careful = at + part.size
        raw = int(samples[at])
        if at_rail(raw):
            bad += 1
            raw = held
        elif raw == held and bad == 0:
            same += 1
        else:
            lost = bad >= bad_n
            if lost or (same >= flat_n and raw != held):
                if m > 0:
                    break  # what came before is worked on first
                _begin_again(state, raw, state[S_N] + at, lost)
                base = raw
                acc = 0
            bad = 0
            same = same + 1 if raw == held else 0
            held = raw
        acc += raw - base
        phase += 1
        at += 1
        if phase == group:
            out[m] = acc * scale
            m += 1
            acc = 0
            phase = 0
    state[S_PHASE] = phase
    state[S_ACC] = acc
    state[S_BASE] = base
    state[S_HELD] = held
    state[S_BAD] = bad
    state[S_SAME] = same
    return at, m, careful


@jit
def _whole(micro: float) -> int:
    """Round away from zero, the same for both polarities; saturating."""
    return int(min(max(micro, -32767.0), 32767.0) + (0.5 if micro >= 0.0 else -0.5))


@jit
def _centre(state: F64, ring: I16, by: int) -> None:
    """Take `by` microvolts from all of the ring: electrode offsets drift by more than 16 bits hold."""
    for i in range(RING):
        ring[i] = min(max(int(ring[i]) - by, -_RAIL), _RAIL)
    state[S_OFFSET] += by


@jit
def remember(state: F64, ring: I16, signal: F64, first: int, m: int) -> int:
    """Put averaged samples `first` to `m` of a block into the ring; give how many of the block are there.

    It stops before one at which the ring is centred: what was confirmed before is measured before.
    """
    j = int(state[S_J])  # of the first
    i = first
    while i < m:
        at = (j + i - first) & (RING - 1)
        end = min(m, i + CENTRE_STEPS - (at & (CENTRE_STEPS - 1)))
        offset = state[S_OFFSET]
        to = ring[at : at + end - i]
        part = signal[i:end]
        if at & (CENTRE_STEPS - 1) == 0 and abs(part[0] - offset) >= CENTRE_UV:
            if i > first:
                return i
            to[0] = _whole(part[0] - offset)
            if abs(int(to[0])) > CENTRE_UV:
                _centre(state, ring, int(to[0]))
                offset = state[S_OFFSET]
            to, part = to[1:], part[1:]
        for k in range(to.size):
            to[k] = _whole(part[k] - offset)
        i = end
    return m
