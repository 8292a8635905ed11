"""Synthetic ECG: its beats are where the truth says, and a detector finds them."""

import numpy as np
import pytest

from ingest.simulator.ecg import GAIN, Rhythm, neurokit, synthesize

BEATING = [r for r in Rhythm if r not in {Rhythm.VENTRICULAR_FIBRILLATION, Rhythm.ASYSTOLE}]


@pytest.mark.parametrize("rhythm", BEATING)
@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 500.0])
def test_r_peaks_are_at_the_beats(rhythm, rate_hz):
    ecg = synthesize(rhythm, 20.0, 3, rate_hz=rate_hz, noise_mv=0.0)
    lead = np.abs(ecg.samples / GAIN)
    reach = int(0.06 * rate_hz)
    for beat in ecg.beats[1:-1]:
        window = lead[beat - reach : beat + reach + 1]
        assert abs(int(np.argmax(window)) - reach) <= max(2, 0.02 * rate_hz)
        assert window.max() > 0.7


@pytest.mark.parametrize(
    ("rhythm", "low", "high"),
    [
        (Rhythm.SINUS, 55, 92),
        (Rhythm.BRADYCARDIA, 26, 48),
        (Rhythm.TACHYCARDIA, 120, 170),
        (Rhythm.ATRIAL_FIBRILLATION, 60, 150),
        (Rhythm.VENTRICULAR_TACHYCARDIA, 140, 210),
    ],
)
def test_rates(rhythm, low, high):
    for seed in range(5):
        ecg = synthesize(rhythm, 60.0, seed)
        assert low < 60.0 / np.mean(np.diff(ecg.beats) / ecg.rate_hz) < high


def test_atrial_fibrillation_is_irregular_and_sinus_is_not():
    for seed in range(5):
        irregular = np.diff(synthesize(Rhythm.ATRIAL_FIBRILLATION, 60.0, seed).beats)
        regular = np.diff(synthesize(Rhythm.SINUS, 60.0, seed).beats)
        assert np.std(irregular) / np.mean(irregular) > 0.15
        assert np.std(regular) / np.mean(regular) < 0.1


def test_pauses_are_pauses():
    for seed in range(5):
        gaps = np.diff(synthesize(Rhythm.PAUSES, 60.0, seed).beats) / 250.0
        assert 3.0 < gaps.max() < 6.0


def test_ventricular_beats_come_early_and_are_paid_back():
    ecg = synthesize(Rhythm.ECTOPY, 60.0, 1)
    gaps = np.diff(ecg.beats) / 250.0
    early = [k for k in range(1, len(gaps)) if ecg.classes[k] == "V"]
    assert early
    for k in early:
        assert gaps[k - 1] < 0.8 * np.median(gaps)
        assert gaps[k] > gaps[k - 1]


@pytest.mark.parametrize("rhythm", [Rhythm.VENTRICULAR_FIBRILLATION, Rhythm.ASYSTOLE])
def test_no_beats_where_there_are_none(rhythm):
    ecg = synthesize(rhythm, 10.0, 1)
    assert len(ecg.beats) == len(ecg.classes) == 0
    swing = np.std(ecg.samples / GAIN)
    assert swing > 0.2 if rhythm is Rhythm.VENTRICULAR_FIBRILLATION else swing < 0.1


def test_same_seed_same_samples():
    one, two, other = (synthesize(Rhythm.SINUS, 5.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.samples, two.samples)
    assert not np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize(("wrong", "named"), [({"seconds": 0.0}, "0.0 s"), ({"rate_hz": 50.0}, "50.0 Hz")])
def test_out_of_range_is_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        synthesize(**{"rhythm": Rhythm.SINUS, "seconds": 5.0, "seed": 1} | wrong)


@pytest.mark.filterwarnings("ignore")  # of the libraries that NeuroKit2 imports
def test_neurokit_gives_a_lead_of_the_same_form():
    pytest.importorskip("neurokit2")
    ecg = neurokit(10.0, 1)
    assert ecg.samples.dtype == np.int16
    assert len(ecg.samples) == 2500
    assert np.ptp(ecg.samples) / GAIN > 0.5
