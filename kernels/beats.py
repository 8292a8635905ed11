"""Classes of heart beats in one ECG lead as they come: N, S, V or Q, a beat later.

Every beat is compared with the patient's own (`kernels.beat_shapes`): the *dominant* shape, the one with most
beats that are not premature, is what is normal for this patient. In bundle branch block it is wide, and N all the
same. Eleven inputs tell V from the rest and three tell S from N, each by a fixed linear model. The inputs are those
of the literature (de Chazal 2004, IEEE TBME 51:1196; Llamedo 2011, IEEE TBME 58:616): prematurity, compensation,
width, resemblance. Deviations, with their reasons:

- prematurity is divided by the *irregularity* of the last 16 intervals, the least median difference of intervals
  one, two or three apart: low in sinus rhythm, in bigeminy and in trigeminy, high in atrial fibrillation, where an
  early beat says nothing;
- for S it is measured from a *slow* interval that follows by 0.4 % a beat, as a sinus node does: a run of
  supraventricular tachycardia begins at once, and must not be the usual rhythm after eight beats;
- a shape's mean prematurity counts with the beat's own: ectopic foci repeat themselves;
- fusion beats (F) are not told apart: any rule tried on the measures named more V and N than F. They come out as
  V or N, as in Llamedo's second labelling of AAMI classes, where F is V.

Weights and limits are those of `bench.accuracy.fit_beats`, which cross-validates them by record. A class is known at
the next beat, or at the first tick 1.5 s after the beat.
"""

import numpy as np
import numpy.typing as npt

from kernels import beat_shapes as shapes
from kernels._jit import jit
from kernels._types import F64, I64, Flag
from kernels.beat_shapes import SHAPES_STATE, measure

__all__ = [
    "BEATS_STATE",
    "EARLY",
    "INPUTS",
    "LEAST_EARLY",
    "SCRATCH",
    "SUPRAVENTRICULAR",
    "VENTRICULAR",
    "X_INPUTS",
    "N",
    "Q",
    "S",
    "V",
    "close",
    "next_beat",
    "tick",
]

I16 = npt.NDArray[np.int16]

# ---- Codes of classes, in the order of EC57. 3 is F, which is not given.
N, S, V, Q = 0, 1, 2, 4

# ---- Parameters.
_WAIT_S = 1.5
_RR_KNOWN_S = 3.0  # a longer interval is a pause, or a beat was missed: not a rhythm
_IRREGULAR = 0.08  # irregularity at which prematurity counts half
LEAST_EARLY = 0.08  # an S beat is at least so much early, logarithm; 0.06 to 0.10 give the same
_ARTEFACT = 1.8  # logarithm of a ratio of amplitudes: six times, or a sixth of, the usual one

VENTRICULAR = 11
SUPRAVENTRICULAR = 3
EARLY = VENTRICULAR + SUPRAVENTRICULAR  # no weight: an S beat needs at least LEAST_EARLY
INPUTS = EARLY + 1
# Weight of each input, then the constant; V or S when the sum is positive.
_WEIGHTS_V = (0.617, 0.915, 1.076, 2.311, 1.471, 2.631, 0.556, 4.160, 1.946, -0.356, -0.534, -2.920)
_WEIGHTS_S = (20.936, 5.606, 3.295, -3.862)

# ---- State, after that of the shapes. All zero is a new stream.
S_WAITING = SHAPES_STATE  # 1: a beat waits for its class, at
S_POSITION = SHAPES_STATE + 1
S_RR_S = SHAPES_STATE + 2  # the interval before it, 0 when not known
S_LAST = SHAPES_STATE + 3  # 1: S_POSITION is the last beat, its class given or not
BEATS_STATE = SHAPES_STATE + 4
"""Length of the state of one stream, float64: 1.3 KB."""

X_INPUTS = shapes.SCRATCH  # after the scratch of the shapes: what the models weighed of the newest beat
SCRATCH = X_INPUTS + INPUTS
"""Length of the scratch of one thread, float64."""


@jit
def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@jit
def _inputs(scratch: F64) -> None:
    """Write what the linear models weigh, from the measures of the beat."""
    x = X_INPUTS
    irregular = scratch[shapes.M_IRREGULAR]
    early = -scratch[shapes.M_SHAPE_EARLY]
    other = scratch[shapes.M_OTHER]
    slow = _clip(-scratch[shapes.M_SLOW], -0.1, 0.7)
    lost = _clip(scratch[shapes.M_P_LOST], 0.0, 1.0)
    scratch[x] = np.log(_clip(1.0 - scratch[shapes.M_CORR], 0.01, 0.98) + 0.02)
    scratch[x + 1] = _clip(np.log(scratch[shapes.M_REST] + 0.05), -1.5, 0.7)
    scratch[x + 2] = _clip(scratch[shapes.M_SPREAD], -0.3, 1.0)
    scratch[x + 3] = _clip(scratch[shapes.M_AREA], -0.3, 1.0)
    scratch[x + 4] = _clip(scratch[shapes.M_AMPLITUDE], -1.0, 1.0)
    scratch[x + 5] = _clip(scratch[shapes.M_NEXT], -0.2, 0.5)
    scratch[x + 6] = other * _clip(early / (irregular + 0.05), -2.0, 4.0)
    scratch[x + 7] = other * _clip(early, -0.1, 0.4)
    scratch[x + 8] = lost
    scratch[x + 9] = _clip(np.log(scratch[shapes.M_SHARE] + 0.001), -5.0, 0.0)
    scratch[x + 10] = scratch[shapes.M_NEW]
    ratio = irregular / _IRREGULAR
    scratch[x + 11] = slow / (1.0 + ratio * ratio)
    scratch[x + 12] = slow
    scratch[x + 13] = lost
    scratch[x + EARLY] = max(-scratch[shapes.M_SLOW], -scratch[shapes.M_EARLY])


@jit
def _class(scratch: F64) -> int:
    """Give the class of the beat just measured."""
    _inputs(scratch)
    if abs(scratch[shapes.M_AMPLITUDE]) > _ARTEFACT:
        return Q
    total = _WEIGHTS_V[VENTRICULAR]
    for i in range(VENTRICULAR):
        total += _WEIGHTS_V[i] * scratch[X_INPUTS + i]
    if total > 0.0:
        return V
    if scratch[X_INPUTS + EARLY] <= LEAST_EARLY:
        return N
    total = _WEIGHTS_S[SUPRAVENTRICULAR]
    for i in range(SUPRAVENTRICULAR):
        total += _WEIGHTS_S[i] * scratch[X_INPUTS + VENTRICULAR + i]
    return S if total > 0.0 else N


@jit
def _decide(
    state: F64,
    ring: I16,
    j: int,
    rate: float,
    group: float,
    next_s: float,
    now: float,
    scratch: F64,
    out: I64,
) -> bool:
    """Classify the beat that waits; False when there is none."""
    if state[S_WAITING] == 0.0:
        return False
    position = state[S_POSITION]
    measure(state, ring, j, position, group, rate / group, state[S_RR_S], next_s, scratch)
    out[0] = int(position)
    out[1] = _class(scratch)
    out[2] = int(now)
    state[S_WAITING] = 0.0
    return True


@jit
def next_beat(
    state: F64,
    ring: I16,
    j: int,
    rate: float,
    group: float,
    position: float,
    now: float,
    unbroken: Flag,
    scratch: F64,
    out: I64,
) -> bool:
    """Take a beat that the detector has decided, and give the class of the one before if it still waits.

    Parameters
    ----------
    state : float64[BEATS_STATE]
        Changed in place; zeros for a new stream.
    ring : int16[power of two]
        Averaged signal in microvolts, step ``i`` at ``i & (size - 1)``; it must reach back 3 s.
    j : int
        The newest step in the ring.
    rate, group : float
        Samples a second; samples averaged into a step.
    position, now : float
        The R peak, and the samples taken so far, from the start of the segment. Beats come in their order.
    unbroken : bool
        The signal was there since the beat before: otherwise no interval is measured.
    scratch : float64[SCRATCH]
        Written on; zeros at first.
    out : int64[3]
        Receives position, class and the samples taken when it was decided.

    Returns
    -------
    bool
        `out` has been filled.
    """
    gap = (position - state[S_POSITION]) / rate
    known = state[S_LAST] > 0.0 and unbroken
    done = _decide(state, ring, j, rate, group, min(gap, _WAIT_S) if known else 0.0, now, scratch, out)
    state[S_RR_S] = gap if known and gap < _RR_KNOWN_S else 0.0
    state[S_POSITION] = position
    state[S_WAITING] = 1.0
    state[S_LAST] = 1.0
    return done


@jit
def tick(
    state: F64, ring: I16, j: int, rate: float, group: float, now: float, scratch: F64, out: I64
) -> bool:
    """Give the class of a beat that has waited for 1.5 s; to be called at fixed counts of samples, as `next_beat`."""
    if state[S_WAITING] == 0.0 or now - state[S_POSITION] < _WAIT_S * rate:
        return False
    return _decide(state, ring, j, rate, group, _WAIT_S, now, scratch, out)


@jit
def close(
    state: F64, ring: I16, j: int, rate: float, group: float, now: float, scratch: F64, out: I64
) -> bool:
    """End the segment: give the class of the beat that waits; shapes and intervals stay, positions begin anew."""
    done = _decide(state, ring, j, rate, group, 0.0, now, scratch, out)
    state[S_LAST] = 0.0
    state[S_POSITION] = 0.0
    state[S_RR_S] = 0.0
    return done
