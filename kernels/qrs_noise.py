"""Beats in noise: what resembles the patient's own beats of quiet minutes, and the likeliest path through it.

Height and steepness do not tell a beat from the motion of an electrode, which is as high and as steep. What tells
them apart is the fine form of the QRS. So in quiet minutes up to three *shapes* are learnt, a tenth of a second of
the second difference of the signal each; in noise every position is compared with them.

- **Second difference**: the power of electrode motion falls with about the fourth power of frequency, and the second
  difference makes it flat, which is what a comparison by squares assumes (matched filter for coloured noise: North
  1943; for QRS complexes, Hamilton and Tompkins 1988). First differences rank 0.74 of the beats above all else at
  0 dB, second 0.81, third 0.77.
- **Likeness** is the energy at a position over what is left of it when the shape is taken away, both with a twentieth
  of the shape's energy added: over 1 where the shape explains something. It has two sides: what is of the right form
  and three times as large leaves more than it explains.
- **The path**: positions that stand out for 0.1 s are candidates. Of those of the last 0.8 s, the subset is chosen
  with the highest sum of logarithms of likeness, less a cost for each interval that differs from the usual one
  (Viterbi's algorithm, read backwards). The cost of an interval has a bound. Whatever the usual interval is taken to
  be, a beat left out would save two such bounds at most, and a likeness of 7 outweighs them: clear beats cannot be
  left out every second time. Where no beat is clear, the usual interval is that of quiet when noise began.

All of it works on the ring of `kernels.qrs_signal`, once for each candidate in quiet, and for each averaged
sample only while there is noise.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I16

__all__ = [
    "CLEAR",
    "LEAST",
    "SHAPES",
    "candidate_0_is_a_beat",
    "known",
    "learn",
    "likeness",
    "reach",
    "spacing",
]

_TAPS = 11
_HALF = _TAPS // 2
_EACH = _TAPS + 1  # of a shape: taps in µV, weight
_COUNT = 3
SHAPES = _EACH * _COUNT
"""Length of the shapes, int16: of each its taps, then its weight. All zero is none known."""

_SPACING_HZ = 120.0  # taps are about that dense
_BEAT = 128  # weight of one beat
_FADE = 7  # of its weight a shape loses 1/2**_FADE at each beat: the last two minutes or so
_FOLLOW = 3  # a shape follows its beats by 1/2**_FOLLOW
_ALIKE = 0.5  # energy of what differs, of the larger of the two: over it a beat begins a shape
_SHARE = 16  # a shape with less than that part of all weight is not looked for
_KNOWN = 80 * _BEAT  # so many of the last two minutes' beats must be alike before anything is looked for
_SOFT = 0.05
LEAST = 0.6
"""Likeness under which a position is no candidate."""
CLEAR = 2.7
"""Likeness of a beat beyond doubt: half the beats at 0 dB have it; in fibrillation, one position in several seconds."""

# ---- The path. Logarithms.
_OFFSET = 0.15  # a candidate is worth the logarithm of its likeness less that
_BOUND = 0.9  # the cost of an interval is at most that
_COST = 0.15  # of an interval that differs by the usual spread
_SPREAD_MIN, _SPREAD_MAX = 0.12, 0.4
_OUTLIER = 0.7


@jit
def spacing(work: float) -> int:
    """Averaged samples between taps, at so many averaged samples a second."""
    return max(1, int(work / _SPACING_HZ + 0.5))


@jit
def reach(step: int) -> int:
    """Averaged samples that must have come after a position to compare it."""
    return (_HALF + 1) * step


@jit
def known(shapes: I16) -> bool:
    """Say whether enough beats were like each other to look for their like."""
    total = 0
    for q in range(_COUNT):
        total += int(shapes[q * _EACH + _TAPS])
    return total >= _KNOWN


@jit
def _bend(ring: I16, j: int, step: int) -> int:
    """Second difference of the ring at `j`."""
    mask = ring.size - 1
    return int(ring[(j + step) & mask]) - 2 * int(ring[j & mask]) + int(ring[(j - step) & mask])


@jit
def likeness(ring: I16, shapes: I16, j: int, step: int) -> float:
    """Compare position `j` with the shapes.

    Parameters
    ----------
    ring : int16[a power of two]
        Averaged signal, microvolts; sample ``j`` at ``j & (size - 1)``.
    shapes : int16[SHAPES]
    j : int
        Position of the R peak that is asked about; the ring has `reach` more on both sides.
    step : int
        From `spacing`.

    Returns
    -------
    float
        The highest likeness to a shape, 0 when none is known.
    """
    total = 0
    for q in range(_COUNT):
        total += int(shapes[q * _EACH + _TAPS])
    best = 0.0
    for q in range(_COUNT):
        weight = int(shapes[q * _EACH + _TAPS])
        if weight == 0 or weight * _SHARE < total:
            continue
        here = rest = own = 0.0
        for k in range(_TAPS):
            x = float(_bend(ring, j + (k - _HALF) * step, step))
            t = float(shapes[q * _EACH + k])
            here += x * x
            rest += (x - t) * (x - t)
            own += t * t
        best = max(best, (here + _SOFT * own) / (rest + _SOFT * own + 1e-9))
    return best


@jit
def learn(ring: I16, shapes: I16, j: int, step: int) -> bool:
    """Let the shape that the beat at `j` is like follow it; without one, the beat takes the place of the rarest.

    False when there was none, though shapes are known.
    """
    novel = known(shapes)
    # Three shapes side by side: what is a beat's is computed once.
    here = rest0 = rest1 = rest2 = own0 = own1 = own2 = 0.0
    for k in range(_TAPS):
        x = float(_bend(ring, j + (k - _HALF) * step, step))
        a, b, c = float(shapes[k]), float(shapes[_EACH + k]), float(shapes[2 * _EACH + k])
        here += x * x
        rest0 += (x - a) * (x - a)
        rest1 += (x - b) * (x - b)
        rest2 += (x - c) * (x - c)
        own0 += a * a
        own1 += b * b
        own2 += c * c
    closest = -1
    rarest = 0
    least = _ALIKE
    for q in range(_COUNT):
        weight = int(shapes[q * _EACH + _TAPS])
        if weight < int(shapes[rarest * _EACH + _TAPS]):
            rarest = q
        if weight > 0:
            rest = rest0 if q == 0 else rest1 if q == 1 else rest2
            own = own0 if q == 0 else own1 if q == 1 else own2
            different = rest / (max(here, own) + 1e-9)
            if different < least:
                least = different
                closest = q
            shapes[q * _EACH + _TAPS] = weight - (weight >> _FADE)
    at = (closest if closest >= 0 else rarest) * _EACH
    for k in range(_TAPS):
        x = min(max(_bend(ring, j + (k - _HALF) * step, step), -32767), 32767)
        if closest >= 0:
            before = int(shapes[at + k])
            # Half of the divisor added: rounded, not always down.
            x = before + ((x - before + (1 << _FOLLOW >> 1)) >> _FOLLOW)
        shapes[at + k] = x
    shapes[at + _TAPS] = _BEAT + (int(shapes[at + _TAPS]) if closest >= 0 else 0)
    return closest >= 0 or not novel


@jit
def _cost(interval: float, usual: float, steepness: float) -> float:
    """Cost of an interval; x + 1/x - 2 is the square of a logarithm, nearly, for less work."""
    ratio = interval / usual
    return min(_BOUND, steepness * (ratio + 1.0 / ratio - 2.0))


@jit
def candidate_0_is_a_beat(
    at: F64, worth: F64, path: F64, count: int, last: float, now: float, intervals: I16, apart: float
) -> bool:
    """Say whether the best path from the last beat through the candidates begins with the first of them.

    Parameters
    ----------
    at : float64[]
        Positions of candidates, ascending, averaged samples.
    worth : float64[]
        Logarithms of their likeness.
    path : float64[]
        Scratch, as long.
    count : int
        Of candidates, at least 1.
    last : float
        The beat before, or where the signal began.
    now : float
        Up to where candidates are known.
    intervals : int16[8]
        The last intervals between beats, averaged samples.
    apart : float
        Two beats are farther apart.
    """
    # Median of eight without sorting them: each by its rank.
    low = high = 0.0
    for i in range(8):
        rank = 0
        for k in range(8):
            rank += intervals[k] < intervals[i] or (intervals[k] == intervals[i] and k < i)
        if rank == 3:
            low = float(intervals[i])
        elif rank == 4:
            high = float(intervals[i])
    usual = max(0.5 * (low + high), 1.0)
    spread = 0.0
    for i in range(8):
        spread += min(abs(np.log(max(float(intervals[i]), 1.0) / usual)), _OUTLIER)
    spread = min(max(0.125 * spread, _SPREAD_MIN), _SPREAD_MAX)
    steepness = _COST / (spread * spread)
    # What the best path is worth from each candidate on, the last first. An interval that is still open costs what it
    # would if it ended now, once it is longer than usual.
    for i in range(count - 1, -1, -1):
        best = -_cost(max(now - at[i], usual), usual, steepness)
        for k in range(i + 1, count):
            if at[k] - at[i] > apart:
                best = max(best, path[k] - _cost(at[k] - at[i], usual, steepness))
        path[i] = best + worth[i] - _OFFSET
    if at[0] - last <= apart:
        return False
    first = path[0] - _cost(at[0] - last, usual, steepness)
    other = -_cost(max(now - last, usual), usual, steepness)
    for k in range(1, count):
        if at[k] - last > apart:
            other = max(other, path[k] - _cost(at[k] - last, usual, steepness))
    return first > other
