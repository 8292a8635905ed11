"""Physiology: the published figures, and independence of the cohort's size."""

import numpy as np
import pytest

from ingest.simulator import Cohort, Item, Scenario, SimulationError
from ingest.simulator.cohort import draw
from ingest.simulator.scenario import BLOCK, DAY_MS


@pytest.fixture(scope="module")
def half_year():
    cohort = Cohort(2500, 180, seed=11)
    return cohort, [draw(cohort, number) for number in range(cohort.blocks)]


def gains(cohort, blocks, kind):
    """Change of a weight on the scale over the 14 days before an admission, kg."""
    found = []
    for block in blocks:
        noise = np.random.default_rng(block.number).standard_normal(block.weight.shape)
        shown = block.weight + cohort.scenario.weight_noise_kg * noise
        for truth in block.truth:
            if truth.kind == kind:
                day = (truth.time_ms - cohort.start_ms) // DAY_MS
                seen = (day >= 14) & (day < cohort.days)
                who = truth.patient[seen] - block.first
                found.append(shown[who, day[seen]] - shown[who, day[seen] - 14])
    return np.concatenate(found)


def test_gain_before_worsening_is_the_published_one(half_year):
    # +0.9 ± 2.1 kg in the 14 days before an admission for worsening heart failure (Zhang 2009).
    found = gains(*half_year, "decompensation")
    assert len(found) > 500
    assert np.mean(found) == pytest.approx(0.9, abs=0.3)
    assert np.std(found) == pytest.approx(2.1, abs=0.2)
    assert np.mean(found <= 0.0) > 0.25  # many without any gain


def test_gain_before_other_admissions_is_the_published_one(half_year):
    # -0.2 ± 1.1 kg (Zhang 2009).
    found = gains(*half_year, "other_admission")
    assert np.mean(found) == pytest.approx(-0.2, abs=0.2)
    assert np.std(found) == pytest.approx(1.1, abs=0.15)


def test_stable_weights_move_as_published(half_year):
    # The seven-day mean of three quarters of stable patients moves by more than 2 kg (Ledwidge 2013).
    cohort, blocks = half_year
    moved = []
    for block in blocks:
        noise = np.random.default_rng(block.number).standard_normal(block.weight.shape)
        shown = block.weight + cohort.scenario.weight_noise_kg * noise
        ill = {int(patient) - block.first for truth in block.truth for patient in truth.patient}
        well = [row for row in range(block.patients) if row not in ill]
        week = np.lib.stride_tricks.sliding_window_view(shown[well], 7, axis=1).mean(axis=2)
        moved.append(np.ptp(week, axis=1) > 2.0)
    assert np.mean(np.concatenate(moved)) == pytest.approx(0.75, abs=0.07)


def test_pulse_rises_before_weight(half_year):
    cohort, blocks = half_year
    pulse, weight = [], []
    for block in blocks:
        for truth in block.truth:
            if truth.kind == "decompensation":
                day = (truth.time_ms - cohort.start_ms) // DAY_MS
                seen = (day >= 40) & (day < cohort.days)
                who, day = truth.patient[seen] - block.first, day[seen]
                # A week before admission, as shares of the whole change.
                before = np.stack([block.pulse[who, day - k] for k in (25, 7, 0)])
                pulse.append(before)
                weight.append(np.stack([block.weight[who, day - k] for k in (25, 7, 0)]))
    pulse, weight = np.concatenate(pulse, axis=1).mean(axis=1), np.concatenate(weight, axis=1).mean(axis=1)
    assert (pulse[1] - pulse[0]) / (pulse[2] - pulse[0]) > (weight[1] - weight[0]) / (weight[2] - weight[0])
    assert pulse[2] - pulse[0] > 5.0


def test_nobody_is_at_home_and_in_hospital(half_year):
    cohort, blocks = half_year
    for block in blocks:
        for truth in block.truth:
            if "admission" in truth.kind or truth.kind == "decompensation":
                day = (truth.time_ms - cohort.start_ms) // DAY_MS + 1
                seen = day < cohort.days
                assert not block.home[truth.patient[seen] - block.first, day[seen]].any()


def test_a_patient_is_the_same_in_a_larger_cohort():
    small, large = draw(Cohort(10, 40, seed=5), 0), draw(Cohort(3 * BLOCK, 40, seed=5), 0)
    np.testing.assert_array_equal(small.weight, large.weight)
    assert small.patients == 10
    assert large.patients == BLOCK


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"patients": 0}, "patients = 0"),
        ({"patients": 10_000_000}, "patients = 10000000"),
        ({"days": 0}, "days = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"items": {str(k): Item(300 + k) for k in range(17)}}, "17 questionnaire items"),
    ],
)
def test_parameters_out_of_range_are_named(wrong, named):
    with pytest.raises(SimulationError, match=named):
        Cohort(**{"patients": 5, "days": 5} | wrong)


@pytest.mark.parametrize(("wrong", "named"), [({"late": 1.5}, "late"), ({"gain_sd_kg": 0.1}, "gain_sd_kg")])
def test_scenarios_that_cannot_be_are_named(wrong, named):
    with pytest.raises(SimulationError, match=named):
        Scenario(**wrong)
