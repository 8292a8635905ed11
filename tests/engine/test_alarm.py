"""Alarms on made leads, one of each kind true and false, on made analyses, and on real records."""

import numpy as np
import pytest

from bench.accuracy import alarms
from engine import alarm
from engine.alarm import Alarm, until
from engine.ecg_analysis import Analysis, Spans
from ingest.formats.lead import Lead

RATE = 250.0


def lead(times_s, seconds=60.0, gain=200.0, noise_uv=5.0, amplitude_uv=1000.0, wide_s=()):
    t = np.arange(int(seconds * RATE)) / RATE
    x = noise_uv * np.random.default_rng(1).normal(size=len(t))
    for at in times_s:
        x += amplitude_uv * np.exp(-(((t - at) / 0.018) ** 2))
    for at in wide_s:
        x += 1800 * np.exp(-(((t - at) / 0.06) ** 2)) - 700 * np.exp(-(((t - at - 0.18) / 0.07) ** 2))
    return Lead("II", RATE, gain, np.rint(x * gain / 1000.0).astype(np.int16))


def every(interval_s, begin=0.5, end=60.0):
    return np.arange(begin, end, interval_s)


def oscillation(seconds=60.0, gain=200.0):
    t = np.arange(int(seconds * RATE)) / RATE
    x = 600 * np.sin(2 * np.pi * 5 * t + 3 * np.sin(1.3 * t)) * (1 + 0.4 * np.sin(0.9 * t))
    return Lead("II", RATE, gain, np.rint(x * gain / 1000.0).astype(np.int16))


def holds(kind, leads, at_s):
    return alarm.holds(kind, [until(one, at_s) for one in leads])


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
    (Alarm.VT, [lead(every(0.8, end=52.0), wide_s=every(0.38, 52.4, 57.0))] * 2, True),
    # Fast but narrow: not ventricular.
    (Alarm.VT, [lead(np.concatenate([every(0.8, end=52.0), every(0.38, 52.4, 57.0)]))] * 2, False),
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
            longer = [Lead("II", RATE, x.gain, np.concatenate([x.samples, STEADY.samples])) for x in leads]
            assert holds(kind, longer, 60.0) is holds(kind, leads, 60.0)


@pytest.mark.parametrize("kind", list(Alarm))
def test_without_any_lead_an_alarm_holds(kind):
    assert holds(kind, [], 60.0)


def test_a_flat_line_after_beats_is_asystole_and_a_line_always_flat_is_no_lead():
    beats = lead(every(0.8, end=50.0), noise_uv=0.0)
    flat = Lead("V", RATE, 200.0, np.zeros(len(beats.samples), np.int16))
    assert holds(Alarm.ASYSTOLE, [beats, flat], 60.0)
    assert not holds(Alarm.ASYSTOLE, [flat, flat], 60.0)


@pytest.mark.parametrize("at_s", [0.0, -1.0, 60.1])
def test_a_moment_outside_the_record_is_refused(at_s):
    with pytest.raises(ValueError, match="up to the end of the record, 60 s"):
        until(STEADY, at_s)


def spans(*rows):
    start, end, label = zip(*rows, strict=True) if rows else ((), (), ())
    return Spans(np.array(start, np.int64), np.array(end, np.int64), list(label), np.array(end, np.int64))


def analysis(beats_s, classes, rhythm=(), quality=()):
    beats = np.rint(np.array(beats_s) * RATE).astype(np.int64)
    rows = [[(round(a * RATE), round(b * RATE), label) for a, b, label in each] for each in (rhythm, quality)]
    return Analysis(RATE, round(60 * RATE), beats, beats, list(classes), spans(*rows[0]), spans(*rows[1]))


def run(count, rate, kind="V", end_s=58.0, **more):
    times = np.arange(1.0, end_s - count * 60 / rate, 0.9)
    last = end_s - np.arange(count)[::-1] * 60 / rate
    return analysis(np.concatenate([times, last]), "N" * len(times) + kind * count, **more)


@pytest.mark.parametrize(
    ("kind", "one", "expected"),
    [
        (Alarm.VT, run(5, 101), True),
        (Alarm.VT, run(5, 99), False),
        (Alarm.VT, run(4, 150), False),
        (Alarm.VT, run(5, 150, "S"), False),
        (Alarm.VT, run(5, 150, end_s=44.0), False),  # over for more than 15 s
        (Alarm.VT, run(1, 60, rhythm=[(50, 58, "VT")]), True),
        (Alarm.VT, run(1, 60, rhythm=[(30, 44, "VT")]), False),
        (Alarm.VF, run(5, 150), False),
        (Alarm.VF, run(5, 210), True),
        (Alarm.VF, run(1, 60, rhythm=[(50, 58, "VF")]), True),
        (Alarm.TACHYCARDIA, run(17, 115, "N"), True),
        (Alarm.TACHYCARDIA, run(17, 105, "N"), False),
        (Alarm.TACHYCARDIA, run(12, 150, "N"), False),
    ],
)
def test_limits(kind, one, expected):
    assert alarm.holds(kind, [one]) is expected
    # A second lead in which nothing is found takes nothing away, in whatever order.
    assert alarm.holds(kind, [run(1, 60), one]) is expected


@pytest.mark.parametrize(
    ("kind", "counted"), [(Alarm.VT, False), (Alarm.TACHYCARDIA, False), (Alarm.VF, True)]
)
def test_what_is_unusable_is_no_alarm_but_for_fibrillation(kind, counted):
    beats = {Alarm.VT: (5, 150), Alarm.TACHYCARDIA: (17, 150), Alarm.VF: (5, 210)}[kind]
    bad = [(40.0, 60.0, "unusable")]
    part = [(57.8, 60.0, "unusable")]
    assert alarm.holds(kind, [run(*beats, quality=bad)]) is counted
    assert alarm.holds(kind, [run(*beats, quality=part)])
    assert alarm.holds(kind, [run(*beats, quality=[(40.0, 60.0, "QRS only")])])
    assert alarm.holds(kind, [run(*beats, quality=bad), run(*beats)])


@pytest.mark.parametrize(("kind", "expected"), [(Alarm.ASYSTOLE, True), (Alarm.BRADYCARDIA, True)])
def test_quality_never_hides_a_pause(kind, expected):
    pause = analysis(
        np.concatenate([every(0.8, end=50.0), [55.0]]), "N" * 63, quality=[(40.0, 60.0, "unusable")]
    )
    assert alarm.holds(kind, [pause]) is expected


def test_a_lead_of_few_beats_does_not_speak_of_seventeen():
    few = analysis([10.0, 50.0, 55.0], "NNN")
    assert alarm.holds(Alarm.TACHYCARDIA, [few])
    assert not alarm.holds(Alarm.TACHYCARDIA, [few, run(1, 60)])


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
        assert alarm.holds(Alarm(kinds[name]), alarms.read(folder / name)) == bool(truth), name
