"""The strips that a file of alerts asks for: the same however much of it is in memory, which is little."""

import polars as pl
import pyarrow.parquet
import pytest

from engine import replay_strips, strips
from engine.replay_strips import Asked
from rules.alerts import SCHEMA

T0 = 1_767_225_600_000
HOUR_MS = 3_600_000
KINDS = ("opened", "raised", "evidence", "recovered")


@pytest.fixture(scope="module")
def alerts(tmp_path_factory):
    """Two thousand rows, one every 20 minutes and sometimes two at once; three of four rest on ECG."""
    rows = []
    for k in range(2000):
        clock = T0 + (k - k % 7 // 6) * HOUR_MS // 3
        at = clock - (k % 5) * 400_000
        signal = "weight" if k % 4 == 3 else "ecg_vt"
        rows.append(
            {"alert_id": f"{k:016x}", "patient": f"p{k % 11}", "protocol": "rhythmologie", "version": "1",
             "protocol_hash": "0", "signed": False, "problem": "rythme", "opened_by": "tv", "rule": "tv",
             "level": "ROUGE", "kind": KINDS[k % 3 if k % 13 else 3], "onset_ms": at, "t_ms": at,
             "clock_ms": clock, "offset": k, "sentence": f"Tachycardie {k}", "features": [], "limits": [],
             "points": [{"signal": signal, "t_ms": at, "value": 4.0}], "kernels": "0",
             "time_basis": "arrival"}
        )  # fmt: skip
    path = tmp_path_factory.mktemp("alerts") / "alerts.parquet"
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(path, row_group_size=64)
    return path


@pytest.mark.parametrize("rows", [1, 50, 4096])
def test_what_is_asked_for_does_not_depend_on_how_much_is_read_at_once(alerts, monkeypatch, rows):
    monkeypatch.setattr(replay_strips, "_ROWS", rows)
    expected = strips.wanted(pl.read_parquet(alerts))
    assert len(expected) > 500
    given = []
    most = 0
    with pyarrow.parquet.ParquetFile(alerts) as file:
        asked = Asked(file)
        for clock_ms in range(T0 - HOUR_MS, T0 + 700 * HOUR_MS, HOUR_MS // 2):
            for each in asked.until(clock_ms):
                assert each.first_ms <= clock_ms
                given.append((clock_ms, each))
            most = max(most, len(asked))
    assert sorted(each.alert_id for _, each in given) == sorted(each.alert_id for each in expected)
    assert {each.alert_id: each for _, each in given} == {each.alert_id: each for each in expected}
    # Each as soon as the clock has come to it, as with all of them in memory.
    assert all(each.first_ms > clock_ms - HOUR_MS // 2 for clock_ms, each in given)
    assert most < rows + 10
