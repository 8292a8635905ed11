"""A record through the kernels: columns, strips put back together, and JSON that is the same each time."""

import json

import numpy as np
import pytest

from engine.ecg_analysis import UNUSABLE, analyse, as_json, follow
from ingest.formats.lead import Lead
from ingest.formats.marked_beats import Marked
from ingest.simulator.ecg import Rhythm, synthesize


def lead(rhythm=Rhythm.SINUS, seconds=60.0, seed=1):
    ecg = synthesize(rhythm, seconds, seed)
    return Lead("II", ecg.rate_hz, ecg.gain, ecg.samples), ecg


def near(found, true, window):
    return [int(np.abs(found - beat).min(initial=10**9)) <= window for beat in true.tolist()]


def test_beats_of_the_whole_and_of_strips():
    one, ecg = lead(seconds=65.0)
    for strip_s in (None, 10.0, 7.3):
        found = analyse(one, strip_s)
        assert (found.length, found.rate_hz) == (len(ecg.samples), ecg.rate_hz)
        assert len(found.classes) == len(found.beats)
        assert np.mean(near(found.beats, ecg.beats, 8)) > (0.98 if strip_s is None else 0.93)
        assert np.mean(near(ecg.beats, found.beats, 8)) > 0.95
        assert (np.diff(found.beats) > 0).all()
        assert (found.decided >= found.beats).all()
        assert found.decided.max() <= found.length


def test_a_strip_knows_nothing_of_the_one_before():
    one, _ = lead(Rhythm.ECTOPY)
    size = round(10 * one.rate_hz)
    together = analyse(one, 10.0)
    parts = [
        analyse(Lead("II", one.rate_hz, one.gain, one.samples[at : at + size]))
        for at in range(0, len(one.samples), size)
    ]
    alone = np.concatenate([part.beats + k * size for k, part in enumerate(parts)])
    assert together.beats.tolist() == alone.tolist()


def test_an_episode_that_goes_on_at_a_cut_is_one():
    flat = Lead("II", 250.0, 200.0, np.zeros(10_000, np.int16))
    for strip_s in (None, 10.0):
        rhythm = analyse(flat, strip_s).rhythm
        assert list(zip(rhythm.start, rhythm.end, rhythm.label, strict=True)) == [
            (0, 10_000, "PAUSE"),
            (0, 10_000, "ASYS"),
        ]
        # The detector must first have seen that there is nothing.
        assert (rhythm.decided <= 7 * 250).all()


def test_what_was_not_sent_is_unusable_and_no_pause():
    one, _ = lead()
    samples = one.samples.copy()
    samples[2500:5000] = -32768
    samples[6000:6010] = 32767  # too short to be lost
    found = analyse(Lead("II", one.rate_hz, one.gain, samples))
    assert (2500, 5000, UNUSABLE) in list(
        zip(found.quality.start.tolist(), found.quality.end.tolist(), found.quality.label, strict=True)
    )
    # The ten seconds that have three lost ones in them are graded so, too, and what follows is not.
    assert set(found.quality.label) == {UNUSABLE}
    assert found.quality.end.max() < 5000 + 11 * 250
    assert found.rhythm.label == []


def test_marked_beats_have_classes_and_rhythm():
    beats = np.arange(1, 21, dtype=np.int64) * 500  # 30 a minute
    found = follow(Marked(250.0, 12_000, beats, ["N"] * 20))
    assert found.beats.tolist() == found.decided.tolist() == beats.tolist()
    assert found.classes == ["N"] * 20
    assert list(zip(found.rhythm.label, found.rhythm.start, found.rhythm.end, strict=True)) == [
        ("BRADY", 500, 10_000),
        ("PAUSE", 10_000, 12_000),
        ("ASYS", 10_000, 12_000),
    ]
    assert found.quality is None
    assert follow(Marked(250.0, 2000, beats[:3], None, [(1600, 2000)])).rhythm.label == []


def test_json():
    one, _ = lead(Rhythm.PAUSES, 40.0)
    text = as_json(analyse(one), "one", "II")
    assert text == as_json(analyse(one), "one", "II")
    assert text.count("\n") == 1
    found = json.loads(text)
    assert (found["record"], found["channel"], found["rate_hz"], found["samples"]) == (
        "one",
        "II",
        250.0,
        10_000,
    )
    assert len(found["beats"]) == len(found["beats_decided"]) > 20
    assert len(found["classes"]) == len(found["beats"])
    assert set(found["classes"]) <= set("NSVFQ")
    assert found["quality"] == []
    assert {label for _, _, label, _ in found["rhythm"]} >= {"PAUSE"}
    for start, end, _, decided in found["rhythm"]:
        assert 0 <= start < decided <= end + 750 <= 10_750
    marked = json.loads(as_json(follow(Marked(250.0, 2000, np.array([10, 300]), ["N", "V"])), "two", ""))
    assert marked["classes"] == ["N", "V"]
    assert "quality" not in marked
    unknown = json.loads(as_json(follow(Marked(250.0, 2000, np.array([10, 300]))), "three", ""))
    assert "classes" not in unknown  # unknown is not N


def test_a_rate_that_no_kernel_takes():
    with pytest.raises(ValueError, match="legal are 100 to 1000 Hz"):
        analyse(Lead("II", 50.0, 200.0, np.zeros(100, np.int16)))
