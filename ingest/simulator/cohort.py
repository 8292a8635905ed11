"""Physiology of a block of patients, day by day: what would be measured if nothing went wrong.

Each quantity is a personal level, a slow movement around it (an autoregressive process of order 1) and what a
worsening adds. Before an admission for worsening heart failure the pulse and the pressure drift first, two to
three weeks ahead; weight follows over 14 days, in many patients not at all; oxygen saturation and symptoms
follow in the last week. Sources and assumptions are in `ingest.simulator.scenario`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.simulator.scenario import BLOCK, DAY_MS, Cohort
from ingest.simulator.truth import Truth

__all__ = ["Block", "draw", "rng"]

Days = npt.NDArray[np.float64]
"""float64[patients, days]"""

_SPACING_DAYS = 30.0  # between two admissions of one person


def rng(cohort: Cohort, block: int, purpose: int) -> np.random.Generator:
    """Random stream of a block for one purpose: more of one kind of fault does not change the others."""
    return np.random.default_rng([cohort.seed, block, purpose])


@dataclass(slots=True)
class Block:
    """What is true of `patients` consecutive patients from number `first`."""

    number: int
    first: int
    patients: int
    weight: Days  # kg
    systolic: Days  # mmHg
    diastolic: Days
    pulse: Days  # /min
    spo2: Days  # %
    temperature: Days  # °C
    severity: Days  # 0 none to 1: symptoms
    home: npt.NDArray[np.bool_]  # at home that day
    truth: list[Truth]


def _slow(random: np.random.Generator, days: int, memory: float) -> Days:
    """Stationary autoregressive process of unit variance, correlation exp(-1 / memory) from day to day."""
    keep = np.exp(-1.0 / memory)
    steps = random.standard_normal((days, BLOCK))
    steps[1:] *= np.sqrt(1.0 - keep * keep)
    for day in range(1, days):
        steps[day] += keep * steps[day - 1]
    return np.ascontiguousarray(steps.T)


def _admission_days(random: np.random.Generator, per_year: float, days: int) -> Days:
    """Give days of admission, float64[BLOCK, most], NaN for none; up to 14 after the end: seen coming."""
    span = days + 14
    count = random.poisson(per_year * span / 365.25, BLOCK)
    most = max(int(count.max()), 1)
    at = np.floor(random.uniform(0.0, span, (BLOCK, most)))
    at[np.arange(most) >= count[:, None]] = np.nan
    return at


def _apart(first: Days, second: Days) -> tuple[Days, Days]:
    """Take away admissions that come within 30 days of an earlier one of the same person."""
    both = np.concatenate([first, second], axis=1)
    order = np.argsort(both, axis=1)  # NaN last
    last = np.full(len(both), -np.inf)
    for column in range(both.shape[1]):
        rows = np.arange(len(both))
        at = both[rows, order[:, column]]
        near = at - last < _SPACING_DAYS
        both[rows[near], order[near, column]] = np.nan
        last = np.where(np.isnan(at) | near, last, at)
    return both[:, : first.shape[1]], both[:, first.shape[1] :]


def _ramp(day: npt.NDArray[np.float64], at: npt.NDArray[np.float64], lead: npt.NDArray[np.float64]) -> Days:
    """Rise from 0, `lead` days before `at`, to 1 on that day; 0 after it (treated) and where `at` is NaN."""
    x = (day[None, :] - (at - lead)[:, None]) / lead[:, None]
    return np.where((x > 0) & (x <= 1.0 + 1e-9), x, 0.0)


def draw(cohort: Cohort, number: int) -> Block:
    """Draw block `number` of the cohort."""
    scenario = cohort.scenario
    days = cohort.days
    day = np.arange(days, dtype=np.float64)
    random = rng(cohort, number, 0)
    normal = random.standard_normal

    spread = scenario.weight_spread_kg * np.exp(scenario.weight_spread_log_sd * normal(BLOCK))
    weight = np.clip(78.0 + 15.0 * normal(BLOCK), 45.0, 140.0)[:, None] + spread[:, None] * _slow(
        random, days, scenario.weight_memory_days
    )
    systolic = (124.0 + 13.0 * normal(BLOCK))[:, None] + 4.0 * _slow(random, days, 10.0)
    diastolic = (73.0 + 7.0 * normal(BLOCK))[:, None] + 2.5 * _slow(random, days, 10.0)
    pulse = (70.0 + 8.0 * normal(BLOCK))[:, None] + 3.0 * _slow(random, days, 7.0)
    spo2 = np.clip(96.0 + 1.2 * normal(BLOCK), 91.0, 99.0)[:, None] + 0.5 * _slow(random, days, 5.0)
    temperature = (36.5 + 0.2 * normal(BLOCK))[:, None] + 0.08 * _slow(random, days, 3.0)
    severity = np.zeros((BLOCK, days))
    home = np.ones((BLOCK, days), bool)

    event = rng(cohort, number, 1)
    worse, other = _apart(
        _admission_days(event, scenario.decompensations_per_year, days),
        _admission_days(event, scenario.other_admissions_per_year, days),
    )
    patients = min(BLOCK, cohort.patients - number * BLOCK)
    truth: list[Truth] = []
    background = scenario.background_variance()
    for kind, columns, mean, sd in (
        ("decompensation", worse, scenario.gain_kg, scenario.gain_sd_kg),
        ("other_admission", other, scenario.other_gain_kg, scenario.other_gain_sd_kg),
    ):
        heart = kind == "decompensation"
        for at in columns.T:
            gain = mean + np.sqrt(sd * sd - background) * event.standard_normal(BLOCK)
            bend = event.uniform(1.0, 4.0, BLOCK)  # some gain steadily, others in the last four days
            first_drift = event.uniform(14.0, 21.0, BLOCK)
            stay = np.round(event.uniform(4.0, 12.0, BLOCK))
            weight += (
                gain[:, None] * _ramp(day, at, np.full(BLOCK, float(scenario.gain_days))) ** bend[:, None]
            )
            drift = _ramp(day, at, first_drift)
            if heart:
                pulse += np.maximum(9.0 + 4.0 * event.standard_normal(BLOCK), 0.0)[:, None] * drift
                systolic += (-8.0 + 8.0 * event.standard_normal(BLOCK))[:, None] * drift
                week = _ramp(day, at, np.full(BLOCK, 7.0))
                spo2 -= np.maximum(2.5 + 1.2 * event.standard_normal(BLOCK), 0.0)[:, None] * week**2
                severity += event.uniform(0.3, 1.0, BLOCK)[:, None] * week**1.5
            else:
                fever = event.random(BLOCK) < 0.4
                temperature += 1.8 * fever[:, None] * (_ramp(day, at, np.full(BLOCK, 3.0)) > 0)
            away = (day[None, :] > at[:, None]) & (day[None, :] <= (at + stay)[:, None])
            home &= ~away
            onset = at - (first_drift if heart else float(scenario.gain_days))
            seen = (onset < days) & (np.arange(BLOCK) < patients)  # False where NaN
            admitted = cohort.start_ms + at[seen] * DAY_MS + 18 * 3_600_000
            truth.append(
                Truth(
                    kind,
                    number * BLOCK + np.flatnonzero(seen),
                    (cohort.start_ms + onset[seen] * DAY_MS).astype(np.int64),
                    admitted.astype(np.int64),
                    (admitted + stay[seen] * DAY_MS).astype(np.int64),
                    gain[seen],
                )
            )
    return Block(
        number,
        number * BLOCK,
        patients,
        weight,
        systolic,
        diastolic,
        pulse,
        spo2,
        temperature,
        np.clip(severity, 0.0, 1.0),
        home,
        truth,
    )
