"""The newest of each kind that was sent for a patient."""

import polars as pl

from engine import history
from engine.contacts import contacts
from engine.history import History
from ingest.columns import Status
from ingest.signals import SIGNALS, by_name

HOUR = 3_600_000
T = 1_764_252_000_000


def code(name):
    return by_name(name).code


def test_newest_first_each_kind_once(tmp_path):
    derived = next(s.code for s in SIGNALS if s.kind.name == "DERIVED")
    rows = [  # patient, code, hours before T, milli, status
        ("P1", code("weight"), 50, 80_000, 0),
        ("P1", code("weight"), 20, 81_000, Status.LOW_BATTERY | Status.CLOCK_NOT_SET),
        ("P1", code("battery"), 20, 12_000, 0),
        ("P1", derived, 3, 60_000, 0),
        ("P1", 300, 5, 1000, Status.TYPED),
        ("P1", 301, 6, 1000, Status.TYPED),
        ("P2", code("spo2"), 1, 97_000, 0),
        ("P1", code("spo2"), 3000, 97_000, 0),  # long ago
    ]
    made = History(tmp_path / "history")
    columns = {
        "patient": [row[0] for row in rows],
        "signal": [row[1] for row in rows],
        "t_ms": [T - row[2] * HOUR for row in rows],
        "receipt_ms": [T - row[2] * HOUR + 5 for row in rows],
        "milli": [row[3] for row in rows],
        "status": [row[4] for row in rows],
        "offset": range(len(rows)),
        "outcome": [0] * len(rows),
    }
    made.append(0, 0, len(rows), pl.DataFrame(columns, schema=dict(history.SCHEMA)))
    made.commit(len(rows))
    found = contacts(tmp_path / "history", "P1", T - 1000 * HOUR, T)
    assert [(each.what, (T - each.t_ms) // HOUR, each.receipt_ms - each.t_ms) for each in found] == [
        ("ECG", 3, 5),
        ("réponses aux questions", 5, 5),
        ("batterie de l'appareil", 20, 5),
        ("poids", 20, 5),
    ]
    assert [each.value for each in found] == [None, None, 12.0, None]
    assert found[1].flags == ("saisie à la main",)
    assert found[3].flags == ("batterie faible", "horloge non réglée")
    assert contacts(tmp_path / "history", "P3", 0, T) == []
