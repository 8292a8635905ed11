"""What a simulated cohort is like: every rate and spread that the simulator uses, in one place.

Figures with a published source say so. The others are assumptions: they make plausible series to try software
with, and are no clinical statement.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BLOCK", "DAY_MS", "PARIS_MIDNIGHT_2026", "Cohort", "Item", "Scenario", "SimulationError"]

DAY_MS = 86_400_000
BLOCK = 250
"""Patients drawn together. Blocks have their own random streams: a patient is the same in a larger cohort."""

PARIS_MIDNIGHT_2026 = 1_767_222_000_000
"""1 January 2026, 00:00 in Paris, ms UTC: the start when none is given; the same seed gives the same file."""

MAX_PATIENTS = 9_999_999  # ids have seven digits
MAX_DAYS = 3660


class SimulationError(ValueError):
    """A simulation that cannot be made: the message names the parameter and what is legal."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a daily questionnaire: whole answers from `low` (none) to `high` (worst)."""

    code: int
    low: int = 0
    high: int = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rates and spreads. Rates are per patient unless said otherwise."""

    # ---- Worsening. Gain in 14 days, mean and standard deviation: Zhang 2009 (TEN-HMS), before an admission
    # for worsening heart failure and before other admissions.
    decompensations_per_year: float = 0.8
    other_admissions_per_year: float = 0.5
    gain_kg: float = 0.9
    gain_sd_kg: float = 2.1
    other_gain_kg: float = -0.2
    other_gain_sd_kg: float = 1.1
    gain_days: int = 14
    # ---- Weight of a stable person. With these the seven-day mean of three quarters of stable patients moves
    # by more than 2 kg in half a year (Ledwidge 2013 reports three quarters).
    weight_spread_kg: float = 0.83  # standard deviation of the slow movement, median over patients
    weight_spread_log_sd: float = 0.25
    weight_memory_days: float = 30.0
    weight_noise_kg: float = 0.3  # from one morning to the next: clothes, meals, the scale
    # ---- Use.
    adherence: float = 0.88  # mean share of days on which a device is used
    gaps_per_year: float = 6.0  # several days without anything
    gap_mean_days: float = 4.0
    # ---- Faults, per packet of the device unless said otherwise.
    other_person: float = 0.003  # another member of the household on the scale, per day
    implausible: float = 0.001
    invalid: float = 0.003  # the device says so: INVALID status
    test: float = 0.0005  # demonstration data: TEST status
    nan: float = 0.0003
    inconsistent: float = 0.0005  # a cuff's systolic next to its diastolic
    clock_slow: float = 0.02  # share of devices: 1 to 90 minutes behind
    clock_fast: float = 0.003  # share of devices: 6 minutes to 3 hours ahead
    clock_dead: float = 0.005  # share of devices: the clock says 2000, the gateway's time is used
    late: float = 0.02  # stored, and sent hours to two days later
    outages_per_year: float = 9.0  # everything of a patient waits for the end of it
    outage_median_h: float = 8.0
    duplicate: float = 0.01  # sent again, same device and sequence number
    irregular_pulse: float = 0.15  # share of patients whose cuff says so, half of the time
    # ---- ECG strips.
    ecg_share: float = 0.05  # of patients

    def __post_init__(self) -> None:
        """Check what would otherwise end in a NaN."""
        for name in (
            "adherence",
            "other_person",
            "implausible",
            "invalid",
            "test",
            "nan",
            "inconsistent",
            "clock_slow",
            "clock_fast",
            "clock_dead",
            "late",
            "duplicate",
            "irregular_pulse",
            "ecg_share",
        ):
            if not 0.0 <= getattr(self, name) <= 1.0:
                msg = f"scenario {name} = {getattr(self, name)}: legal are 0 to 1"
                raise SimulationError(msg)
        if min(self.gain_sd_kg, self.other_gain_sd_kg) ** 2 < self.background_variance():
            msg = (
                f"scenario gain_sd_kg = {self.gain_sd_kg}, other_gain_sd_kg = {self.other_gain_sd_kg}: legal "
                f"are {self.background_variance() ** 0.5:.2f} kg, what a stable weight does by itself, or more"
            )
            raise SimulationError(msg)

    def background_variance(self) -> float:
        """Variance, kg², of the change of a stable weight over `gain_days`: part of any published gain."""
        mean_square = self.weight_spread_kg**2 * math.exp(2 * self.weight_spread_log_sd**2)
        slow = 2 * mean_square * (1 - math.exp(-self.gain_days / self.weight_memory_days))
        return slow + 2 * self.weight_noise_kg**2


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who is simulated, and for how long.

    `start_ms` is ms UTC and the start of a local day. `items` are the questions asked each day, by name, as
    the protocols in use declare them; none: no questionnaire.
    """

    patients: int
    days: int
    seed: int = 1
    start_ms: int = PARIS_MIDNIGHT_2026
    zone: str = "Europe/Paris"
    items: Mapping[str, Item] = field(default_factory=dict)
    scenario: Scenario = field(default_factory=Scenario)
    ecg: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (("patients", 1, MAX_PATIENTS), ("days", 1, MAX_DAYS), ("seed", 0, 2**63 - 1)):
            if not low <= getattr(self, name) <= high:
                msg = f"{name} = {getattr(self, name)}: legal are {low} to {high}"
                raise SimulationError(msg)
        if len(self.items) > 16:
            msg = f"{len(self.items)} questionnaire items: a packet carries at most 16"
            raise SimulationError(msg)

    @property
    def blocks(self) -> int:
        """Number of blocks of patients."""
        return -(-self.patients // BLOCK)

    @property
    def end_ms(self) -> int:
        """First moment after the last day."""
        return self.start_ms + self.days * DAY_MS
