"""What a reading must be, whatever brought it: the checks that packets and file formats share."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels._types import Int
from kernels.refusals import (
    IMPLAUSIBLE,
    INCONSISTENT,
    INFINITE,
    NAN,
    OK,
    TIME_BEFORE_2000,
    TIME_IN_FUTURE,
    UNKNOWN_SIGNAL,
)

__all__ = [
    "FUTURE_MS",
    "MAX_MAGNITUDE",
    "MIN_PULSE_PRESSURE_MILLI",
    "YEAR_2000_MS",
    "check_columns",
    "check_pressures",
    "check_time",
    "check_value",
    "to_milli",
]

YEAR_2000_MS = 946_684_800_000
"""2000-01-01T00:00:00Z. A clock that was never set shows 1970, or 2000-01-01 counted from its own start."""

FUTURE_MS = 300_000
"""How far an event may lie after its receipt: five minutes, for clocks that are a little fast."""

MAX_MAGNITUDE = 2_147_483.0
"""Readings are int32 thousandths: nothing larger in magnitude can be kept."""

MIN_PULSE_PRESSURE_MILLI = 10_000
"""Systolic less than 10 mmHg above diastolic is a fault of measurement."""


@jit
def to_milli(value: float) -> Int:
    """Round `value` to thousandths, half away from zero.

    Parameters
    ----------
    value : float64
        In the signal's unit, magnitude at most MAX_MAGNITUDE.

    Returns
    -------
    int
        The double ``value * 1000``, rounded. Beyond MAX_MAGNITUDE, and for NaN, -2**31, which is no reading.

    Notes
    -----
    Twice the product is cut to an integer and halved. The plainer ``product - floor(product)`` may be contracted
    into a fused multiply-add, which rounds another number than the double product.
    """
    if not (-MAX_MAGNITUDE <= value <= MAX_MAGNITUDE):
        return -(1 << 31)
    twice = np.int64(value * 2000.0)
    if twice >= 0:
        return (twice + 1) >> 1
    return -((1 - twice) >> 1)


@jit
def check_value(code: Int, value: float, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Int:
    """Judge one reading.

    Parameters
    ----------
    code : int
        Of the signal; any integer.
    value : float64
        In the signal's unit.
    low, high : float64[codes]
        Plausible range by code; NaN where the code is not that of a spot signal.

    Returns
    -------
    int
        OK, UNKNOWN_SIGNAL, NAN, INFINITE or IMPLAUSIBLE, the first that applies. What is compared is the reading as
        it is kept, in thousandths, so that a limit reads the same for a float32 and a float64.
    """
    if code < 0 or code >= len(low) or low[np.uint64(code)] != low[np.uint64(code)]:
        return UNKNOWN_SIGNAL
    if value != value:  # noqa: PLR0124 -- NaN
        return NAN
    if value == np.inf or value == -np.inf:
        return INFINITE
    if not (-MAX_MAGNITUDE <= value <= MAX_MAGNITUDE):
        return IMPLAUSIBLE
    kept = np.float64(to_milli(value)) / 1000.0
    if not (low[np.uint64(code)] <= kept <= high[np.uint64(code)]):
        return IMPLAUSIBLE
    return OK


@jit
def check_time(t_ms: Int, receipt_ms: Int) -> Int:
    """Judge the time of an event.

    Parameters
    ----------
    t_ms, receipt_ms : int
        Milliseconds UTC.

    Returns
    -------
    int
        OK, TIME_BEFORE_2000, or TIME_IN_FUTURE when the event is more than five minutes after its receipt.
    """
    if t_ms < YEAR_2000_MS:
        return TIME_BEFORE_2000
    if t_ms > receipt_ms + FUTURE_MS:
        return TIME_IN_FUTURE
    return OK


@jit
def check_pressures(systolic: Int, diastolic: Int, mean: Int) -> Int:
    """Judge the pressures of one measurement together.

    Parameters
    ----------
    systolic, diastolic, mean : int
        Thousandths of mmHg; negative where there is none.

    Returns
    -------
    int
        OK, or INCONSISTENT when systolic is less than 10 mmHg above diastolic, or mean is not between them.
    """
    if systolic >= 0 and diastolic >= 0 and systolic - diastolic < MIN_PULSE_PRESSURE_MILLI:
        return INCONSISTENT
    if mean >= 0 and ((diastolic >= 0 and mean < diastolic) or (systolic >= 0 and mean > systolic)):
        return INCONSISTENT
    return OK


@jit
def check_columns(
    code: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    t_ms: npt.NDArray[np.int64],
    receipt_ms: npt.NDArray[np.int64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    reason: npt.NDArray[np.uint8],
    milli: npt.NDArray[np.int32],
) -> None:
    """Judge a column of readings, each as `check_time`, then `check_value`, would.

    Parameters
    ----------
    code : int64[n]
    value : float64[n]
        In the signal's unit.
    t_ms, receipt_ms : int64[n]
        Milliseconds UTC.
    low, high : float64[codes]
        Plausible range by code.
    reason : uint8[n]
        Written: 0 where the reading is kept.
    milli : int32[n]
        Written: thousandths of the unit; -2**31 where the reading is refused.
    """
    for i in range(len(code)):
        verdict = check_time(t_ms[i], receipt_ms[i])
        if verdict == OK:
            verdict = check_value(code[i], value[i], low, high)
        reason[i] = verdict
        milli[i] = to_milli(value[i]) if verdict == OK else -(1 << 31)
