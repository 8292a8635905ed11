"""Rate by minute, variability and burdens of a record: from the kernels to the JSON and the page."""

import json

import numpy as np
import pytest

from engine.ecg_analysis import analyse, as_json, follow
from engine.ecg_holter import Measures, measures
from engine.ecg_report import page, section
from ingest.formats.lead import Lead
from ingest.formats.marked_beats import Marked
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import rhythms
from rules.explain import typeset


def marked(classes, minutes=6, rr=200):
    """Beats 0.8 s apart at 250 Hz; intervals alternate by 40 ms about it."""
    length = minutes * 60 * 250
    beats = np.arange(rr, length, rr, dtype=np.int64)
    beats[::2] += 5
    named = None if classes is None else [classes[k % len(classes)] for k in range(len(beats))]
    return follow(Marked(250.0, length, beats, named, []))


@pytest.fixture(scope="module")
def sinus():
    ecg = synthesize(Rhythm.SINUS, 330.0, 3)
    lead = Lead("II", ecg.rate_hz, ecg.gain, ecg.samples)
    return lead, analyse(lead)


def test_measures_of_marked_beats():
    found = marked("N" * 19 + "V").measures
    assert list(found.of("rate_minute").values()) == pytest.approx([75.0] * 6, abs=0.5)
    assert found.weighted("pvc_burden_percent", "beats") == pytest.approx(5.0, abs=0.2)
    assert found.weighted("af_burden_percent", "watched_min") == 0.0
    assert found.of("sdnn_ms") != {}
    found = marked("N" * 4 + "V").measures  # two intervals of five are none of N to N
    assert found.of("sdnn_ms") == {}
    found = marked("N").measures
    (rmssd,) = found.of("rmssd_ms").values()
    assert rmssd == pytest.approx(40.0, abs=0.01)
    assert found.of("rmssd_ms").keys() == {(0, 300 * 250)}


def test_without_classes_nothing_is_said_that_rests_on_one():
    found = marked(None).measures
    assert set(found.name) == {"rate_minute", "rate_hour", "watched_min", "af_burden_percent", "beats"}


def test_they_are_in_the_json(sinus):
    _, analysis = sinus
    out = json.loads(as_json(analysis, "one", "II"))["measures"]
    names = {name for _, _, name, _ in out}
    assert names >= {
        "rate_minute",
        "sdnn_ms",
        "rmssd_ms",
        "pnn50_percent",
        "pvc_burden_percent",
        "af_burden_percent",
    }
    assert out == sorted(out, key=lambda each: each[:2])
    assert all(0 <= start < end <= analysis.length for start, end, _, _ in out)


def test_they_are_on_the_page(sinus):
    text = page([section("one", *sinus)], [])
    assert "<h3>Par heure</h3>" in text
    assert "Fréquence moyenne par minute" in text
    assert "SDNN" in text
    assert "Charge en extrasystoles ventriculaires" in text
    short = synthesize(Rhythm.SINUS, 20.0, 3)
    lead = Lead("II", short.rate_hz, short.gain, short.samples)
    text = page([section("short", lead, analyse(lead))], [])
    assert typeset("non déterminée : pas de période de 5 minutes") in text
    assert "<td>–</td>" in text


def test_each_strip_has_measures_of_its_own(sinus):
    lead, _ = sinus
    strips = analyse(lead, 60.0).measures
    starts = {start for start, _ in strips.of("beats")}
    assert starts == {int(60 * lead.rate_hz) * k for k in range(6)}
    assert strips.of("sdnn_ms") == {}


def test_a_weighted_mean_and_a_part():
    rows = np.array(
        [
            [rhythms.PVC_BURDEN, 0, 10, 10, 10_000],
            [rhythms.BEATS, 0, 10, 10, 300_000],
            [rhythms.PVC_BURDEN, 20, 30, 30, 40_000],
            [rhythms.BEATS, 20, 30, 30, 100_000],
            [rhythms.PAUSE, 0, 10, 10, 1000],
        ]
    )
    found = measures(rows, classes=True)
    assert found.weighted("pvc_burden_percent", "beats") == 17.5
    assert found.within(10, 40).weighted("pvc_burden_percent", "beats") == 40.0
    assert found.mean("beats") == 200.0
    assert np.isnan(Measures().weighted("pvc_burden_percent", "beats"))
