"""What tells ventricular fibrillation, flutter and tachycardia from other waveforms: 13 figures of eight seconds.

A supraventricular beat is a short, steep complex on a line that hardly moves; in a ventricular rhythm the line
itself moves all the time. The figures say so in several ways, after the features that the literature compares
(Figuera and others 2016, PLOS ONE 11:e0159654, Table 1, and clinical reference 4.5), each in a form that takes
one pass over about 500 samples:

- amplitude (median of the peak-to-peak values of half seconds), its spread, and crest;
- kurtosis; Hjorth mobility (mean frequency) and complexity (bandwidth);
- share of steep samples: the idea of TCSC (Arafat 2011, threshold crossing) applied to slopes, because a T wave
  or wander crosses a threshold of amplitude;
- leakage of a notch at the mean frequency (Kuo and Dillman 1978);
- share of slow variance: what a moving average over 0.16 s leaves;
- share of a 40 x 40 phase space that (x(t), x(t - 0.5 s)) visits (Amann 2007);
- autocorrelation at 0.10, 0.15 and 0.35 s.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, I16

__all__ = ["BLOCKS", "FEATURES", "WINDOW_S", "amplitude_uv", "features", "steep_share"]

FEATURES = 13
WINDOW_S = 8.0
BLOCKS = 16  # half seconds of a window
F_AMPLITUDE = 0
F_KURTOSIS = 1
F_MOBILITY = 2
F_COMPLEXITY = 3
F_STEEP = 4
F_SLOW = 5
F_LEAKAGE = 6
F_PHASE_SPACE = 7
F_SPREAD = 8
F_CREST = 9
F_LAGS = 10

_STEEP_SHARE = 0.15  # of the steepest slope of its two seconds
_SLOW_S = 0.16
_PHASE_DELAY_S = 0.5
_GRID = 40
_GRID_WORDS = _GRID  # one word of 40 bits for each row
SCRATCH = BLOCKS + _GRID_WORDS
"""Length of the scratch that `features` takes, float64."""
_TINY = 1e-9


@jit
def amplitude_uv(x: I16, scratch: F64) -> float:
    """Median (the upper one) of the peak-to-peak values of 16 equal parts of `x`; leaves them sorted in scratch."""
    part = x.size // BLOCKS
    for b in range(BLOCKS):
        low = high = x[b * part]
        for i in range(b * part, (b + 1) * part):
            low = min(low, x[i])
            high = max(high, x[i])
        value = float(high) - float(low)
        k = b
        while k > 0 and scratch[k - 1] > value:
            scratch[k] = scratch[k - 1]
            k -= 1
        scratch[k] = value
    return scratch[BLOCKS // 2]


@jit
def steep_share(x: I16) -> float:
    """Share of the samples whose slope is over 0.15 of the steepest of their quarter of the window."""
    part = x.size // 4
    total = 0
    for b in range(4):
        first = b * part + 1
        last = (b + 1) * part
        steepest = 0
        for i in range(first, last):
            steepest = max(steepest, abs(np.int32(x[i]) - np.int32(x[i - 1])))
        least = np.int32(_STEEP_SHARE * steepest)
        count = 0
        for i in range(first, last):
            count += abs(np.int32(x[i]) - np.int32(x[i - 1])) > least
        total += count
    return total / (4.0 * (part - 1))


@jit
def _lag(x: I16, lag: int) -> float:
    total = np.int64(0)
    for i in range(lag, x.size):
        total += np.int64(x[i]) * np.int64(x[i - lag])
    return float(total)


@jit
def _autocorrelation(x: I16, mean: float, power: float, samples: float) -> float:
    """Autocorrelation at a lag that need not be whole: linear between the two next to it."""
    n = x.size
    low = int(samples)
    share = samples - low
    a = _lag(x, low) - mean * mean * (n - low)
    b = _lag(x, low + 1) - mean * mean * (n - low - 1)
    return ((1.0 - share) * a / (n - low) + share * b / (n - low - 1)) / power


@jit
def _leakage(x: I16, mean: float, half: int) -> float:
    through = 0.0
    whole = _TINY
    for i in range(half, x.size):
        a = x[i] - mean
        b = x[i - half] - mean
        through += abs(a + b)
        whole += abs(a) + abs(b)
    return through / whole


@jit
def _slow_power(x: I16, mean: float, width: int) -> float:
    total = 0.0
    power = 0.0
    for i in range(width - 1):
        total += x[i] - mean
    for i in range(width - 1, x.size):
        total += x[i] - mean
        power += total * total
        total -= x[i - width + 1] - mean
    return power / (width * width)


@jit
def _visited(x: I16, low: int, high: int, delay: int, scratch: F64) -> float:
    """Share of the cells of the phase space that are visited."""
    rows = scratch[BLOCKS : BLOCKS + _GRID_WORDS].view(np.int64)
    for i in range(_GRID_WORDS):
        rows[i] = 0
    scale = (_GRID - 0.001) / (high - low + _TINY)
    for i in range(delay, x.size):
        row = int((x[i] - low) * scale)
        rows[row] |= np.int64(1) << int((x[i - delay] - low) * scale)
    count = 0
    for i in range(_GRID_WORDS):
        word = rows[i]
        while word != 0:
            word &= word - 1
            count += 1
        rows[i] = 0
    return count / float(_GRID * _GRID)


@jit
def features(x: I16, rate_hz: float, amplitude: float, steep: float, scratch: F64, out: F64) -> None:
    """Compute the figures of one window.

    Parameters
    ----------
    x : int16[n]
        Eight seconds of one lead, microvolts, oldest first, without baseline.
    rate_hz : float
        About 43 to 64.
    amplitude, steep : float
        What `amplitude_uv` and `steep_share` gave for it.
    scratch : float64[SCRATCH]
        As `amplitude_uv` left it.
    out : float64[FEATURES]
        Receives the figures; ratios and powers as natural logarithms.
    """
    n = x.size
    total = 0.0
    low = high = int(x[0])
    for i in range(n):
        total += x[i]
        low = min(low, int(x[i]))
        high = max(high, int(x[i]))
    mean = total / n
    away = second = fourth = 0.0
    for i in range(n):
        v = x[i] - mean
        away += abs(v)
        v *= v
        second += v
        fourth += v * v
    away /= n
    second = second / n + _TINY
    fourth /= n
    slopes = slope_power = bend_power = _TINY
    for i in range(2, n):
        slope = float(x[i]) - float(x[i - 1])
        bend = slope - (float(x[i - 1]) - float(x[i - 2]))
        slopes += abs(slope)
        slope_power += slope * slope
        bend_power += bend * bend
    slopes /= n
    slope_power /= n
    bend_power /= n
    turn = rate_hz / (2.0 * np.pi)
    out[F_AMPLITUDE] = np.log(amplitude + 1.0)
    out[F_KURTOSIS] = np.log(fourth / (second * second))
    out[F_MOBILITY] = np.log(np.sqrt(slope_power / second) * turn)
    out[F_COMPLEXITY] = np.log(np.sqrt(bend_power / slope_power) * turn)
    out[F_STEEP] = steep
    width = max(int(_SLOW_S * rate_hz), 2)
    out[F_SLOW] = np.log((_slow_power(x, mean, width) / n + _TINY) / second)
    half = min(max(int(np.pi * away / slopes + 0.5), 1), n // 4)
    out[F_LEAKAGE] = _leakage(x, mean, half)
    out[F_PHASE_SPACE] = _visited(x, low, high, int(_PHASE_DELAY_S * rate_hz), scratch)
    out[F_SPREAD] = np.log((scratch[BLOCKS - 3] + 1.0) / (scratch[2] + 1.0))
    out[F_CREST] = np.log((high - low + 1.0) / (away + 1.0))
    out[F_LAGS] = _autocorrelation(x, mean, second, 0.10 * rate_hz)
    out[F_LAGS + 1] = _autocorrelation(x, mean, second, 0.15 * rate_hz)
    out[F_LAGS + 2] = _autocorrelation(x, mean, second, 0.35 * rate_hz)
