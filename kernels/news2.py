"""NEWS2, the National Early Warning Score 2 of the Royal College of Physicians (2017): all of chart 1.

At home it is context, made for acute hospital care (clinical reference section 3). An item without a
reading is missing, shown as such and never scored 0. Readings are rounded to what the chart distinguishes,
as a device would show them: whole numbers, temperature to a tenth.
"""

import numpy as np

from kernels._jit import jit
from kernels._types import F64, Flag

__all__ = [
    "ITEMS",
    "news2",
    "score_consciousness",
    "score_oxygen",
    "score_pulse",
    "score_respiratory_rate",
    "score_spo2_scale1",
    "score_spo2_scale2",
    "score_systolic",
    "score_temperature",
]

ITEMS = 7
"""Respiratory rate, SpO2, on oxygen, systolic pressure, pulse, consciousness, temperature: in that order."""


@jit
def _round(value: float, per_unit: int) -> int:
    """Round to `per_unit` parts of the unit, halves up, on whole thousandths so that 35.05 is a half."""
    milli = int(np.floor(value * 1000.0 + 0.5))
    step = 1000 // per_unit
    return (milli + step // 2) // step


@jit
def score_respiratory_rate(rate: int) -> int:
    """Score breaths a minute: 3 up to 8, 1 up to 11, 0 up to 20, 2 up to 24, then 3."""
    if rate <= 8:
        return 3
    if rate <= 11:
        return 1
    if rate <= 20:
        return 0
    return 2 if rate <= 24 else 3


@jit
def score_spo2_scale1(spo2: int) -> int:
    """Score oxygen saturation in %, scale 1: 3 up to 91, 2 up to 93, 1 up to 95, then 0."""
    if spo2 <= 91:
        return 3
    if spo2 <= 93:
        return 2
    return 1 if spo2 <= 95 else 0


@jit
def score_spo2_scale2(spo2: int, on_oxygen: int) -> int:
    """Score oxygen saturation in %, scale 2 (hypercapnic failure, target 88 to 92).

    On oxygen, too much scores too.
    Without knowing of oxygen (`on_oxygen` negative), 93 and more is not scored: -1.
    """
    if spo2 <= 83:
        return 3
    if spo2 <= 85:
        return 2
    if spo2 <= 87:
        return 1
    if spo2 <= 92:
        return 0
    if on_oxygen <= 0:
        return on_oxygen  # 0 on air, -1 unknown
    if spo2 <= 94:
        return 1
    return 2 if spo2 <= 96 else 3


@jit
def score_oxygen(on_oxygen: int) -> int:
    """Score air (0) or oxygen (1): 2 on oxygen."""
    return 2 if on_oxygen != 0 else 0


@jit
def score_systolic(systolic: int) -> int:
    """Score systolic pressure in mmHg: 3 up to 90, 2 up to 100, 1 up to 110, 0 up to 219, then 3."""
    if systolic <= 90:
        return 3
    if systolic <= 100:
        return 2
    if systolic <= 110:
        return 1
    return 0 if systolic <= 219 else 3


@jit
def score_pulse(pulse: int) -> int:
    """Score beats a minute: 3 up to 40, 1 up to 50, 0 up to 90, 1 up to 110, 2 up to 130, then 3."""
    if pulse <= 40:
        return 3
    if pulse <= 50:
        return 1
    if pulse <= 90:
        return 0
    if pulse <= 110:
        return 1
    return 2 if pulse <= 130 else 3


@jit
def score_consciousness(altered: int) -> int:
    """Score consciousness: 0 alert, 3 for new confusion or response to voice, to pain or none (CVPU)."""
    return 3 if altered != 0 else 0


@jit
def score_temperature(tenths: int) -> int:
    """Score temperature in tenths of °C: 3 up to 35.0, 1 up to 36.0, 0 up to 38.0, 1 up to 39.0, then 2."""
    if tenths <= 350:
        return 3
    if tenths <= 360:
        return 1
    if tenths <= 380:
        return 0
    return 1 if tenths <= 390 else 2


@jit
def _score(item: int, value: float, oxygen: float, scale2: Flag) -> int:
    """Score one item of ITEMS; -1 where it cannot be scored."""
    if np.isnan(value):
        return -1
    if item == 6:
        return score_temperature(_round(value, 10))
    whole = _round(value, 1)
    if item == 0:
        return score_respiratory_rate(whole)
    if item == 1:
        if scale2:
            return score_spo2_scale2(whole, -1 if np.isnan(oxygen) else _round(oxygen, 1))
        return score_spo2_scale1(whole)
    if item == 2:
        return score_oxygen(whole)
    if item == 3:
        return score_systolic(whole)
    if item == 4:
        return score_pulse(whole)
    return score_consciousness(whole)


@jit
def news2(values: F64, scale: float) -> tuple[float, float, float, float]:
    """Score NEWS2.

    Parameters
    ----------
    values : float64[ITEMS]
        Respiratory rate (/min), SpO2 (%), on oxygen (0 or 1), systolic pressure (mmHg), pulse (/min), altered
        consciousness (0 alert, 1 C, V, P or U), temperature (°C). NaN: missing.
    scale : float64
        SpO2 scale: 2 for scale 2, which a clinician must have set; anything else, NaN included, for scale 1.

    Returns
    -------
    total : float64
        0 to 20. NaN: an item is missing.
    at_least : float64
        Sum of the items that there are. NaN: there is none.
    missing : float64
        Number of items without a reading.
    single : float64
        Highest score of one item. NaN: unknown, because an item is missing and no other scores 3.
    """
    total = 0
    missing = 0
    unscored = 0
    highest = 0
    for item in range(ITEMS):
        score = _score(item, values[item], values[2], scale == 2.0)
        if np.isnan(values[item]):
            missing += 1
        if score < 0:
            unscored += 1
        else:
            total += score
            highest = max(highest, score)
    at_least = float(total) if missing < ITEMS else np.nan
    single = float(highest) if unscored == 0 or highest == 3 else np.nan
    return (float(total) if unscored == 0 else np.nan), at_least, float(missing), single
