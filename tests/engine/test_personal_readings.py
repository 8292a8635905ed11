"""Readings that a rule saw, from what a back-test keeps: each once, with its own value, whichever rule kept it."""

from dataclasses import replace

import numpy as np

from engine.backtest import History
from engine.load import load
from engine.personal import quantity
from engine.personal_readings import readings
from engine.replay_input import Asked
from ingest import simulator
from ingest.columns import PacketKind
from ingest.formats import Mappings
from ingest.log import LogReader
from ingest.signals import MILLI, SIGNALS

HEART = "insuffisance_cardiaque"


def test_readings_are_those_that_were_sent_and_not_the_newest_told_again_for_a_late_one(tmp_path):
    simulator.simulate(12, 30, 5, tmp_path / "cohort.log", format="log", slot_s=600)
    loaded = load([HEART])
    asked = Asked((tmp_path / "cohort.log",), Mappings(), "Europe/Paris", 4_000_000_000_000)
    judged = History(asked, tmp_path / "kept").judge(loaded)
    systolic = quantity(loaded.program, "systolic_low")
    patients = judged.follow_up["patient"].to_list()
    rows, acts = readings(judged, loaded, systolic, patients, ["systolic_low"])
    assert acts == {}
    found = {(patients[p], t): value for p, t, _, value in rows.iter_rows()}
    assert len(found) == len(rows) > 400
    sent: dict[tuple[str, int], set[float]] = {}
    for patient, t_ms, value in _sent(tmp_path / "cohort.log", loaded):
        sent.setdefault((patient, t_ms), set()).add(value)
    assert all(value in sent[key] for key, value in found.items())
    # Some come after a newer one, and no rule saw these as the newest.
    assert len(found) < len(sent)


TABLE = """patient,time,signal,value,unit
P1,2026-01-05T08:00:00Z,systolic,120,mmHg
P1,2026-01-05T09:00:00Z,dizziness,1,
P1,2026-01-05T10:00:00Z,systolic,118,mmHg
P1,2026-01-05T11:00:00Z,swelling,0,
P2,2026-01-05T08:00:00Z,systolic,131,mmHg
"""


def test_a_rule_that_answers_set_off_too_tells_each_reading_once(tmp_path):
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    loaded = load([HEART])
    asked = Asked((tmp_path / "table.csv",), Mappings(), "Europe/Paris", 4_000_000_000_000)
    judged = History(asked, tmp_path / "kept").judge(loaded)
    usual = quantity(loaded.program, "systolic_low")
    mixed = [
        replace(usual, group=g, column=group.features.index(usual.feature))
        for g, group in enumerate(loaded.program.groups)
        if usual.feature in group.features and usual.series in group.triggers and len(group.triggers) > 1
    ]
    assert mixed
    for each in (usual, *mixed):
        rows, _ = readings(judged, loaded, each, ["P1", "P2"], [])
        assert rows.select("patient", "value").rows() == [(0, 120.0), (0, 118.0), (1, 131.0)]


def _sent(path, loaded):
    reader = LogReader(path)
    entries = reader.read(reader.first_offset, 1 << 30, 1 << 20)
    reader.close()
    batch, _ = loaded.decoder().decode([(e.offset, e.receipt_ms, e.source, e.body) for e in entries])
    code = next(each.code for each in SIGNALS if each.name == "systolic")
    spots = np.flatnonzero(batch.kind == PacketKind.SPOT)
    for row in spots.tolist():
        for at in range(int(batch.value_at[row]), int(batch.value_at[row + 1])):
            if batch.code[at] == code:
                yield batch.patient_id(row), int(batch.t_ms[row]), batch.milli[at] / MILLI
