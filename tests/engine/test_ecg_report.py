"""The page of a report: complete in itself, in French, and true to what was found."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from engine.ecg_analysis import LABELS, Analysis, Spans, analyse, follow
from engine.ecg_report import CLASSES, RHYTHMS, page, section
from engine.ecg_strips import rates, strip, trend
from ingest.formats.lead import MISSING, Lead
from ingest.formats.marked_beats import Marked
from ingest.simulator.ecg import Rhythm, synthesize


@pytest.fixture(scope="module")
def paused():
    ecg = synthesize(Rhythm.PAUSES, 60.0, 2)
    lead = Lead("II", ecg.rate_hz, ecg.gain, ecg.samples)
    return lead, analyse(lead)


def spans(rows):
    start, end, label, decided = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Spans(np.array(start, np.int64), np.array(end, np.int64), list(label), np.array(decided, np.int64))


def analysis(beats, rows=(), classes=None, length=15_000, rate=250.0):
    beats = np.array(beats, np.int64)
    return Analysis(rate, length, beats, beats, classes, spans(rows), spans([]))


class Links(HTMLParser):
    """What a page would load, and whether its tags are closed."""

    def __init__(self):
        super().__init__()
        self.loads = []

    def handle_starttag(self, tag, attrs):
        self.loads += [
            value for name, value in attrs if name in ("href", "src") and not value.startswith("#")
        ]
        self.loads += [tag] if tag in ("script", "link", "img", "iframe") else []


def test_the_page_loads_nothing(paused):
    text = page([section("one", *paused), section("two", *paused)], ["x.csv: <wrong>"])
    links = Links()
    links.feed(text)
    assert links.loads == []
    assert "url(" not in re.sub(r"url\(#\w+\)", "", text)
    assert "@import" not in text
    assert '<html lang="fr">' in text
    assert "x.csv: &lt;wrong&gt;" in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)  # noqa: S314 - our own


def test_what_was_found_is_said_in_french(paused):
    lead, found = paused
    text = page([section("one", lead, found)], [])
    number = found.rhythm.label.count("PAUSE")
    assert number > 1
    assert f"<dt>Pause</dt><dd>{number} épisodes" in text or "<dt>Asystolie</dt>" in text
    assert f"Classes des battements</dt><dd>{len(found.beats)} " in text
    unknown = page([section("one", None, analysis([500, 1000]))], [])
    assert "Classes des battements</dt><dd>non déterminées" in unknown
    assert "<dt>Durée</dt><dd>0:01:00,0</dd>" in text
    start = found.rhythm.start[0] / lead.rate_hz
    assert f"<td>0:00:{start:04.1f}</td>".replace(".", ",") in text
    assert text.count("<figure>") >= 3


def test_every_label_has_a_french_name():
    assert set(LABELS.values()) <= set(RHYTHMS)
    assert set(CLASSES) == set("NSVFQ")


def test_a_pause_that_is_an_asystole_is_said_once():
    rows = [(1000, 2500, "PAUSE", 1750), (1000, 2500, "ASYS", 2000), (5000, 5800, "PAUSE", 5750)]
    drawn = section("one", None, analysis([500, 1000, 2500], rows))
    assert [(row.name, row.onset, row.duration) for row in drawn.episodes] == [
        ("Asystolie", "0:00:04,0", "6,0 s"),
        ("Pause", "0:00:20,0", "3,2 s"),
    ]
    assert drawn.episodes[0].decided == "0:00:08,0 (+ 4,0 s)"
    assert drawn.strips == []


def test_an_unknown_label_stays_what_it_is():
    rows = [(1000, 2500, "<NEW>", 1750)]
    text = page([section("one", None, analysis([], rows))], [])
    assert "&lt;NEW&gt;" in text
    assert "<NEW>" not in text


def test_the_gravest_episodes_are_drawn_when_there_are_many():
    lead = Lead("II", 250.0, 200.0, np.zeros(100_000, np.int16))
    rows = [(k * 1000, k * 1000 + 800, "PAUSE", k * 1000 + 750) for k in range(90)]
    rows.append((95_000, 95_100, "VF", 95_050))
    drawn = section("one", lead, analysis([], rows, length=100_000))
    assert len(drawn.episodes) == 91
    assert len(drawn.strips) == 13
    assert "Fibrillation ventriculaire" in drawn.strips[-1].caption


def test_a_strip_has_the_scale_of_paper(paused):
    lead, found = paused
    mv = np.zeros(2500)
    mv[1250] = 1.0
    one = Lead("II", 250.0, 1000.0, np.rint(mv * 1000).astype(np.int16))
    svg = ET.fromstring(strip(one, analysis([1250], classes=["V"]), 0, 2500, RHYTHMS))  # noqa: S314
    assert svg.get("width") == "250mm"
    (line,) = [each.get("d") for each in svg.iter("path") if each.get("class") == "ecg"]
    points = np.array([each.split() for each in re.split("[ML]", line)[1:]], float)
    assert points[1250, 0] == pytest.approx(125.0)  # 25 mm/s
    assert points[0, 1] - points[1250, 1] == pytest.approx(10.0)  # 10 mm/mV
    assert [each.text for each in svg.iter("text")] == ["V"]
    text = strip(lead, found, 0, 2500, RHYTHMS)
    # A tick and the letter of its class for each beat.
    assert text.count('class="beat"') == 2 * (found.beats < 2500).sum()


def test_missing_samples_break_the_line():
    samples = np.zeros(2500, np.int16)
    samples[1000:1500] = MISSING
    text = strip(Lead("II", 250.0, 200.0, samples), analysis([]), 0, 2500, RHYTHMS)
    (line,) = re.findall(r'd="([^"]*)" class="ecg"', text)
    assert line.count("M") == 2
    assert line.count("L") == 2000 - 2


def test_rates_leave_out_pauses():
    beats = [*range(250, 5000, 250), *range(6000, 15_000, 250)]
    bin_s, rate = rates(analysis(beats))
    assert bin_s == 10.0
    assert rate == pytest.approx([60.0, 60.0, 60.0, 60.0, 60.0, 60.0])
    assert np.isnan(rates(analysis([]))[1]).all()
    assert len(rates(analysis([], length=250 * 3600))[1]) == 60
    ET.fromstring(trend(analysis([])))  # noqa: S314


def test_beats_without_a_signal():
    found = follow(Marked(250.0, 5000, np.arange(20, dtype=np.int64) * 240, ["N"] * 19 + ["V"]))
    text = page([section("rr", None, found)], [])
    assert "19 normaux, 1 ventriculaires" in text
    assert "pas de signal" in text
    assert "<figure>" not in text
