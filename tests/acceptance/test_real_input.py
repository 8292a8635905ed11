"""Real readings and real ECG, replayed: alerts with reasons that a clinician would recognise."""

import polars as pl
import pytest

from engine.replay import replay
from ingest.formats import Mappings

HEART = "insuffisance_cardiaque"
FILES = ("alerts.parquet", "quarantine.parquet", "summary.json")

HOME = Mappings.model_validate(
    {
        "time": {"zone": "Europe/Paris"},
        "files": [
            {
                "match": "home_blood_pressure.csv",
                "patient": "home-bp",
                "columns": {"time": "DateTime"},
                "values": [
                    {"column": "Sys.mmHg.", "signal": "systolic", "unit": "mm[Hg]"},
                    {"column": "Dias.mmHg.", "signal": "diastolic", "unit": "mm[Hg]"},
                    {"column": "Pulse.bpm.", "signal": "heart_rate_cuff", "unit": "/min"},
                ],
            },
            {
                "match": "weight_log.csv",
                "columns": {"patient": "Id", "time": "Date"},
                "time": {"format": "%m-%d-%Y", "time_of_day": "08:00"},
                "values": [{"column": "WeightKg", "signal": "weight", "unit": "kg"}],
            },
        ],
    }
)


def begun(out):
    alerts = pl.read_parquet(out / "alerts.parquet")
    return alerts.filter(pl.col("kind").is_in(["opened", "raised"]))


@pytest.mark.ecg
def test_arrhythmia_records(ecg_folder, tmp_path):
    folder = ecg_folder / "mitdb"
    records = sorted(path.stem for path in folder.glob("*.hea"))
    if not records:
        pytest.skip(f"no mitdb records in {ecg_folder}")
    for out in ("one", "two"):
        summary = replay([folder], [HEART], tmp_path / out, shards=2)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert summary.ok
    assert summary.patients == len(records)
    assert not summary.quarantined
    alerts = begun(tmp_path / "one")
    # What the annotations of these records say: 208 and 203 fast, 124 and 232 slow; paced 102 and 104 regular.
    fast = set(alerts.filter(pl.col("rule").is_in(["rate_high", "rate_very_high"]))["patient"])
    slow = set(alerts.filter(pl.col("rule").is_in(["rate_low", "rate_very_low"]))["patient"])
    expected = {"203", "207", "215"} & set(records)
    assert expected <= fast
    assert {"124"} & set(records) <= slow
    assert not {"102", "104"} & (fast | slow)
    assert alerts["sentence"].str.contains("/min").any()


def test_home_readings(ecg_folder, tmp_path):
    folder = ecg_folder.parent / "home"
    if not (folder / "home_blood_pressure.csv").exists():
        pytest.skip(f"no home readings beside {ecg_folder}")
    for out in ("one", "two"):
        summary = replay([folder], [HEART], tmp_path / out, mapping=HOME)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert summary.ok
    assert summary.readings == 3 * 222 + 67
    rules = set(begun(tmp_path / "one")["rule"])
    assert {"no_weight_orange", "no_weight_rouge"} <= rules
    assert rules & {
        "systolic_high",
        "systolic_low",
        "systolic_fall",
        "rate_low",
        "weight_gain_1d",
        "weight_gain_3d",
    }
