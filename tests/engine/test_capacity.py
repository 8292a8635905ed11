"""Capacity: what follows from what was measured, and that it can be measured."""

import pytest

from engine import capacity
from engine.capacity import Capacity, CapacityError, measure
from engine.config import load

GIB = 2**30


def made(**other):
    given = {
        "packets_per_s": 100_000.0,
        "stopped_by": "the disk, busy 90 % of the time",
        "ecg_samples_per_s": 50e6,
        "cores": 2,
        "memory_bytes": 16 * GIB,
        "patient_bytes": 8_000,
        "stream_bytes": 8_000,
    }
    return Capacity(**(given | other))


def test_the_least_of_rate_and_memory_counts():
    of = made()
    assert of.by_rate == 54_000_000  # 50,000 a second for three hours, ten each
    assert of.by_memory == 8 * GIB // 8_000
    assert of.ecg_by_rate == 100_000
    assert "spot readings: 1,073,741 patients, bounded by memory" in str(of)
    assert "100,000 patients, bounded by the kernels" in str(of)
    slow = str(made(packets_per_s=100.0))
    assert "54,000 patients, bounded by rate (the disk, busy 90 % of the time)" in slow


def test_what_stops_it_is_the_processor_where_that_is_busy():
    share = {"the disk": 0.9, "the line": 0.4}
    assert capacity._why(share, (0.0, 0.0), (50.0, 100.0)) == "the disk, busy 90 % of the time"
    assert capacity._why(share, (0.0, 0.0), (0.0, 0.0)) == "the disk, busy 90 % of the time"
    assert capacity._why(share, (100.0, 200.0), (290.0, 400.0)).startswith(
        "the processor, all cores busy 95 %"
    )
    busy, there = capacity._cores_busy()
    assert 0 < busy < there


@pytest.mark.timeout(600)
def test_it_is_measured_on_the_real_service(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "_RATES", (2_000, 4_000))
    monkeypatch.setattr(capacity, "_RUN_S", 0.5)
    monkeypatch.setattr(capacity, "_STREAMS", 20)
    monkeypatch.setattr(capacity, "_SECONDS", 3)
    settings, _ = load(given={"data": tmp_path / "new"}, environment={})
    found = measure(settings, lambda _: None)
    assert 1_500 < found.packets_per_s < 5_000
    assert found.ecg_samples_per_s > 100_000
    assert found.patient_bytes > 1_000
    assert found.stream_bytes <= 8_192
    with pytest.raises(CapacityError, match="holds something"):
        measure(settings, lambda _: None)
