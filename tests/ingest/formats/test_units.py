"""Conversions against values worked by hand, or published."""

import pytest

from ingest.formats.units import conversion, legal_units
from ingest.signals import SIGNALS, Kind
from kernels.reading import to_milli


def convert(value, unit, ucum):
    to = conversion(unit, ucum)
    assert to is not None
    return value * to.factor / to.divisor + to.shift


@pytest.mark.parametrize(
    ("value", "unit", "ucum", "expected"),
    [
        (180, "lb", "kg", 81.647),  # 180 x 0.45359237 = 81.6466
        (180, "[lb_av]", "kg", 81.647),
        (115.9631465, "lbs", "kg", 52.600),  # a scale's export that gives both: 52.59999847 kg
        (12.5, "st", "kg", 79.379),  # 175 lb
        (2880, "oz", "kg", 81.647),  # 180 lb
        (82400, "g", "kg", 82.4),
        (16, "kPa", "mm[Hg]", 120.010),
        (10.6, "kPa", "mm[Hg]", 79.507),
        (14, "cmHg", "mm[Hg]", 140),
        (98.6, "°F", "Cel", 37.0),
        (212, "[degF]", "Cel", 100.0),
        (310.15, "K", "Cel", 37.0),
        (5.5, "mmol/L", "mg/dL", 99.086),
        (1.26, "g/L", "mg/dL", 126.0),
        (0.97, "1", "%", 97.0),
        (0.97, "fraction", "%", 97.0),
        (70, "in", "cm", 177.8),
        (5.75, "ft", "cm", 175.26),
        (1.75, "m", "cm", 175.0),
        (72, "bpm", "/min", 72),
        (16, "{breaths}/min", "/min", 16),
        (3, "", "1", 3),
    ],
)
def test_conversions(value, unit, ucum, expected):
    assert to_milli(convert(value, unit, ucum)) == round(expected * 1000)


def test_every_signal_keeps_its_own_unit_exactly():
    for signal in SIGNALS:
        if signal.kind is Kind.SPOT:
            assert convert(0.1 + 0.2, signal.ucum, signal.ucum) == 0.1 + 0.2
            assert legal_units(signal.ucum)[0] == signal.ucum


def test_case_and_spaces_do_not_matter():
    for spelling in ("KG", " kg", "Kg ", "Lbs", "MMHG", "Bpm"):
        assert any(conversion(spelling, ucum) for ucum in ("kg", "mm[Hg]", "/min"))


@pytest.mark.parametrize(
    ("unit", "ucum"),
    [("", "kg"), ("stoned", "kg"), ("mmHg", "kg"), ("kg", "%"), ("livre", "kg"), ("C", "kg"), ("kg", "?")],
)
def test_what_is_not_known_is_not_guessed(unit, ucum):
    assert conversion(unit, ucum) is None
