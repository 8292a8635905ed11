"""What most readings of adults are, in the signal's unit: used to suspect a unit, never to judge or change a reading.

The ranges are this project's judgement, wide enough for a programme of chronic patients.
"""

from ingest.formats.units import units_of

__all__ = ["MEDIANS", "READINGS", "fitting_units"]

MEDIANS = {
    "weight": (50.0, 115.0),
    "height": (145.0, 190.0),
    "systolic": (95.0, 165.0),
    "diastolic": (50.0, 100.0),
    "spo2": (85.0, 100.0),
    "temperature": (35.0, 38.5),
    "glucose": (70.0, 250.0),
}
"""Where the median of many readings is, unless their unit is another one."""

READINGS = {
    "weight": (40.0, 200.0),
    "systolic": (80.0, 220.0),
    "diastolic": (40.0, 130.0),
    "mean_pressure": (50.0, 160.0),
    "systolic_standing": (80.0, 220.0),
    "diastolic_standing": (40.0, 130.0),
    "spo2": (80.0, 100.0),
    "temperature": (35.0, 41.0),
    "glucose": (50.0, 500.0),
    "height": (130.0, 210.0),
}
"""Where a single reading is: one that is implausible as it stands and falls in here in another unit was probably
measured in that one."""


def fitting_units(signal: str, ucum: str, median: float) -> list[str]:
    """Name the units in which the median of readings as they are written would be usual."""
    low, high = MEDIANS.get(signal, (0.0, -1.0))
    return [
        unit.name
        for unit in units_of(ucum)
        if low <= median * unit.to.factor / unit.to.divisor + unit.to.shift <= high
    ]
