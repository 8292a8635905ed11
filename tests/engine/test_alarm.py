"""Alarms on made leads, one of each kind true and false, and on real ones."""

import numpy as np
import pytest

from bench.accuracy import alarms
from engine.alarm import Alarm, Lead, holds

RATE = 250.0


def lead(times_s, seconds=60.0, gain=200.0, noise_uv=5.0, amplitude_uv=1000.0):
    t = np.arange(int(seconds * RATE)) / RATE
    x = noise_uv * np.random.default_rng(1).normal(size=len(t))
    for at in times_s:
        x += amplitude_uv * np.exp(-(((t - at) / 0.018) ** 2))
    return Lead(np.rint(x * gain / 1000.0).astype(np.int16), RATE, gain)


def every(interval_s, begin=0.5, end=60.0):
    return np.arange(begin, end, interval_s)


def oscillation(seconds=60.0, gain=200.0):
    t = np.arange(int(seconds * RATE)) / RATE
    x = 600 * np.sin(2 * np.pi * 5 * t + 3 * np.sin(1.3 * t)) * (1 + 0.4 * np.sin(0.9 * t))
    return Lead(np.rint(x * gain / 1000.0).astype(np.int16), RATE, gain)


STEADY = lead(every(0.8))
CASES = [
    (Alarm.ASYSTOLE, [lead(every(0.8, end=54.0))] * 2, True),
    (Alarm.ASYSTOLE, [STEADY, STEADY], False),
    # An electrode comes off one lead: the other shows that the heart beats.
    (Alarm.ASYSTOLE, [lead(every(0.8, end=50.0)), STEADY], False),
    (Alarm.BRADYCARDIA, [lead(every(1.7))] * 2, True),
    (Alarm.BRADYCARDIA, [STEADY], False),
    (Alarm.TACHYCARDIA, [lead(every(0.4))], True),
    (Alarm.TACHYCARDIA, [STEADY], False),
    (Alarm.VT, [lead(np.concatenate([every(0.8, end=52.0), every(0.38, 52.4, 57.0)]))] * 2, True),
    (Alarm.VT, [STEADY, STEADY], False),
    (Alarm.VF, [oscillation()], True),
    (Alarm.VF, [STEADY], False),
]


@pytest.mark.parametrize(("kind", "leads", "expected"), CASES)
def test_an_alarm_holds_or_not(kind, leads, expected):
    assert holds(kind, leads, 60.0) is expected


@pytest.mark.parametrize("kind", list(Alarm))
def test_what_comes_after_the_alarm_is_not_looked_at(kind):
    for other, leads, _ in CASES:
        if other is kind:
            longer = [Lead(np.concatenate([x.samples, STEADY.samples]), RATE, x.gain) for x in leads]
            assert holds(kind, longer, 60.0) is holds(kind, leads, 60.0)


@pytest.mark.parametrize("kind", list(Alarm))
def test_without_any_lead_an_alarm_holds(kind):
    assert holds(kind, [], 60.0)


def test_a_flat_line_after_beats_is_asystole_and_a_line_always_flat_is_no_lead():
    beats = lead(every(0.8, end=50.0), noise_uv=0.0)
    flat = Lead(np.zeros(len(beats.samples), np.int16), RATE, 200.0)
    assert holds(Alarm.ASYSTOLE, [beats, flat], 60.0)
    assert not holds(Alarm.ASYSTOLE, [flat, flat], 60.0)


def test_an_illegal_gain_is_refused():
    with pytest.raises(ValueError, match="units per millivolt"):
        holds(Alarm.BRADYCARDIA, [Lead(STEADY.samples, RATE, 0.0)], 60.0)


@pytest.mark.ecg
def test_real_alarms(ecg_folder):
    folder = ecg_folder / "challenge2015"
    expected = {
        "a142s": 1,
        "a582s": 0,
        "b455l": 1,
        "b285l": 0,
        "f450s": 1,
        "f493l": 0,
        "t816s": 1,
        "v318s": 1,
        "v557l": 0,
    }
    kinds = dict(line.split(",")[:2] for line in (folder / "ALARMS").read_text(encoding="ascii").split())
    for name, truth in expected.items():
        assert holds(Alarm(kinds[name]), alarms.read(folder / name), alarms.ALARM_S) == bool(truth), name
