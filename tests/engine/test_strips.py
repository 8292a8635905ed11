"""Strips of alerts on real ECG: what is on them, and that no crash, cut or restart changes it."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from engine import strip_page, strips
from engine.durable import DurableLine, Upkeep, decoder
from engine.load import load
from engine.replay import replay
from ingest import packet
from ingest.formats.ecg_files import How, find_records, read_record
from ingest.formats.lead import MISSING
from ingest.log import Log

pytestmark = pytest.mark.ecg

T0 = 1_767_225_600_000
LEAD = 33
SECONDS = 100
NEVER = Upkeep(checkpoint_s=1e9, checkpoint_entries=10**9)
PROTOCOL = load(["rhythmologie"]).program


@pytest.fixture(scope="module")
def lead(ecg_folder):
    """Record 207: ventricular tachycardia and flutter from its 43rd second."""
    record = find_records([ecg_folder / "mitdb" / "207.hea"])[0]
    return read_record(record, How()).lead


@pytest.fixture(scope="module")
def entries(lead):
    """Give the log's entries: a packet a second, received 2 s later, of one patient among others, then a quiet hour."""
    out = []
    rate = lead.rate_hz
    for second in range(SECONDS):
        part = lead.samples[round(second * rate) : round((second + 1) * rate)]
        at = T0 + 1000 * second
        body = packet.ecg_chunk("p1", "patch", second, at, LEAD, rate, lead.gain, part)
        other = packet.ecg_chunk("p2", "patch2", second, at, LEAD, rate, lead.gain, np.zeros_like(part))
        out.append(("gateway", other + body, at + 2000))
    out += [("heartbeat", b"", T0 + 1000 * SECONDS + 60_000 * minute) for minute in range(1, 30)]
    return out


def opened(folder, upkeep=NEVER):
    return DurableLine(folder, PROTOCOL, sink=lambda _: None, upkeep=upkeep)


def put(line, entries):
    for ticket in line.log.append_many([(source, body, t) for source, body, t in entries]):
        ticket.result(10)


def kept(folder):
    root = folder / "history" / strips.FOLDER
    return {path.name: path.read_bytes() for path in root.glob("day=*/*")}


@pytest.fixture(scope="module")
def plain(entries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    with opened(folder) as line:
        put(line, entries)
        line.catch_up()
        assert line._strips.waiting == ()
    return folder


def test_a_strip_has_the_ecg_around_the_onset(plain, lead):
    rows = strips.read(plain / "history", patient="p1").to_dicts()
    assert {"vt", "vf", "rate_very_high"} <= {row["rule"] for row in rows}
    for row in rows:
        rate = row["rate_hz"]
        seconds = len(row["samples"]) / rate
        assert row["start_ms"] == row["onset_ms"] - 10_000
        assert seconds >= 30.0 - 1.0 / rate
        assert row["start_ms"] + 1000 * seconds >= row["found_ms"] + 4990
        at = round((row["start_ms"] - T0) * rate / 1000.0)
        assert row["samples"] == lead.samples[at : at + len(row["samples"])].tolist()
    vt = next(row for row in rows if row["rule"] == "vt")
    # The record's annotations: the first run of ventricular tachycardia begins at 0:40.9.
    assert vt["onset_ms"] == pytest.approx(T0 + 41_000, abs=1000)
    assert "VT" in {span["label"] for span in vt["rhythm"]}


def test_beats_on_a_strip_are_those_of_the_line(plain, ecg_folder, lead):
    from engine.ecg_analysis import analyse

    whole = analyse(lead)
    for row in strips.read(plain / "history", patient="p1").to_dicts():
        first = round((row["start_ms"] - T0) * row["rate_hz"] / 1000.0)
        inside = (whole.beats >= first) & (whole.beats < first + len(row["samples"]) - lead.rate_hz)
        mine = np.array(row["beats"])
        near = [np.abs(mine - beat).min() <= 0.05 * lead.rate_hz for beat in whole.beats[inside] - first]
        assert np.mean(near) >= 0.95
        assert len(row["classes"]) == len(row["beats"])
        assert "V" in row["classes"]


def test_a_flat_line_keeps_its_strip_too(plain):
    rows = strips.read(plain / "history", patient="p2").to_dicts()
    assert "asystole" in {row["rule"] for row in rows}
    assert all(row["beats"] == [] for row in rows)
    # It was flat from the first sample: there is nothing before the onset.
    assert set(rows[0]["samples"][:3000]) == {MISSING}


@pytest.mark.parametrize("at", [46, 53, 60, 75, 90, 110, 125])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_crash_between_alert_and_strip_loses_none(plain, entries, tmp_path, at, checkpoint):
    line = opened(tmp_path)
    put(line, entries[:at])
    line.catch_up()
    if checkpoint:
        line.checkpoint()
    line._open.close()  # as a killed process: nothing more is committed, the lock is given back
    line = opened(tmp_path)
    put(line, entries[at:])
    line.catch_up()
    line.close()
    assert kept(tmp_path) == kept(plain)


@pytest.mark.parametrize("cuts", [[1], [40, 41, 42, 43, 44, 45, 46, 47], list(range(0, 130, 7))])
def test_cuts_change_nothing(plain, entries, tmp_path, cuts):
    with opened(tmp_path) as line:
        for low, high in pairwise([0, *cuts, len(entries)]):
            put(line, entries[low:high])
            line.catch_up()
    assert kept(tmp_path) == kept(plain)


def test_a_strip_is_there_before_the_wait_for_late_chunks_is_over(plain, entries, tmp_path):
    with opened(tmp_path) as line:
        put(line, entries[:SECONDS])
        line.catch_up()
        assert line._strips.waiting
        needed = min(each.first_ms for each in line._strips.waiting)
        assert needed < T0  # so that all of this log is needed
        line.checkpoint()
        assert line.trimmable == 0
        whole = {row["rule"] for row in strips.read(tmp_path / "history", patient="p1").to_dicts()}
        assert whole == {row["rule"] for row in strips.read(plain / "history", patient="p1").to_dicts()}


def test_what_is_forgotten_in_memory_is_read_back_from_the_log(plain, entries, tmp_path):
    with opened(tmp_path) as line:
        line._strips._most = 10
        for low, high in pairwise([*range(0, 120, 5), len(entries)]):
            put(line, entries[low:high])
            line.catch_up()
    assert kept(tmp_path) == kept(plain)


@pytest.mark.parametrize("rows", [1, 16384])
def test_replay_writes_the_same_strips(plain, entries, tmp_path, monkeypatch, rows):
    monkeypatch.setattr("engine.replay_strips._ROWS", rows)
    with Log.open(tmp_path / "log") as log:
        for ticket in log.append_many([(source, body, t) for source, body, t in entries]):
            ticket.result(10)
    replay([tmp_path / "log"], ["rhythmologie"], tmp_path / "out")
    mine = strips.read(tmp_path / "out")
    assert mine.equals(strips.read(plain / "history"))
    page = tmp_path / "page.html"
    assert strip_page.write(tmp_path / "out", page, patient="p1") == len(mine.filter(patient="p1"))
    drawn = page.read_text()
    assert drawn.count('<svg class="strip"') >= 3 * len(mine.filter(patient="p1"))
    assert "Tachycardie ventriculaire" in drawn
    onset = datetime.fromtimestamp(
        mine.filter(patient="p1")["onset_ms"][0] / 1000, ZoneInfo("Indian/Reunion")
    )
    assert f"Début du rythme {onset:%d/%m/%Y %H:%M:%S}" not in drawn
    strip_page.write(tmp_path / "out", page, patient="p1", zone=ZoneInfo("Indian/Reunion"))
    assert f"Début du rythme {onset:%d/%m/%Y %H:%M:%S}" in page.read_text()
    assert "Heures locales (Europe/Paris)." in drawn
    assert "Heures locales (Indian/Reunion)." in page.read_text()
    assert "http" not in drawn
    assert strip_page.write(tmp_path / "out", page, patient="p1", alert_id=mine["alert_id"][0]) >= 0
    assert strip_page.write(tmp_path / "out", tmp_path / "none.html", patient="nobody") == 0
    assert not (tmp_path / "none.html").exists()


def test_a_replay_of_a_record_has_strips(ecg_folder, tmp_path):
    replay([ecg_folder / "mitdb" / "207.hea"], ["rhythmologie"], tmp_path)
    rows = strips.read(tmp_path)
    alerts = pl.read_parquet(tmp_path / "alerts.parquet")
    begun = alerts.filter(pl.col("kind").is_in(["opened", "raised"]))
    assert set(zip(rows["alert_id"], rows["rule"], strict=True)) == set(
        zip(begun["alert_id"], begun["rule"], strict=True)
    )


def test_a_late_chunk_of_a_gap_is_not_on_the_strip_but_a_new_one_is(entries, tmp_path):
    """Chunks that the line refuses, because it has gone on, are not on the strip either."""
    late = [*entries[:44], *entries[45:60], (*entries[44][:2], entries[59][2]), *entries[60:]]
    with opened(tmp_path) as line:
        put(line, late)
        line.catch_up()
    rows = list(strips.read(tmp_path / "history", patient="p1").to_dicts())
    assert rows
    for row in rows:
        gap = np.array(row["samples"]) == MISSING
        at = round((T0 + 44_000 - row["start_ms"]) * row["rate_hz"] / 1000.0)
        if 0 <= at < len(gap) - 360:
            assert gap[at + 3 : at + 357].all()


def test_decoder_of_the_keeper_leaves_the_batch_alone(entries):
    """The line's batch is valid while strips are read back: they have a decoder of their own."""
    one, two = decoder(PROTOCOL), decoder(PROTOCOL)
    batch, _ = one.decode([(0, entries[0][2], *entries[0][:2])])
    before = batch.samples.copy()
    two.decode([(1, entries[50][2], *entries[50][:2])])
    assert np.array_equal(batch.samples, before)
