"""Limits that are levels of a signal, and none that are differences, ages or margins."""

import pytest

from engine.protocols import load_all
from rules.drawn import levels


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ("weight", ("dry_weight_kg",)),
        ("systolic", ("systolic_low", "systolic_very_low", "systolic_high", "systolic_very_high")),
        ("heart_rate", ("rate_low", "rate_very_low", "rate_high", "rate_very_high")),
        ("spo2", ("spo2_low", "spo2_very_low")),
        ("diastolic", ()),
    ],
)
def test_of_the_heart_failure_line(series, expected):
    (protocol,) = load_all(["insuffisance_cardiaque"])
    assert levels(protocol, series) == expected
