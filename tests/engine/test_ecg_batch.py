"""Many records at once: a file each, the same bytes whatever the threads, and failures that stop nobody."""

import json

import numpy as np
import pytest

import engine.ecg_batch
from engine.alarm import Alarm
from engine.ecg_batch import Question, analyse_files
from ingest.formats.ecg_files import How
from ingest.simulator.ecg import Rhythm, synthesize

HOW = How(rate_hz=250.0, gain=500.0)


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for k, rhythm in enumerate(Rhythm):
        np.savetxt(folder / f"{rhythm}.csv", synthesize(rhythm, 20.0, k).samples, "%d")
    return folder


def test_the_same_bytes_with_one_thread_and_with_many(records, tmp_path, monkeypatch):
    outs = []
    for threads in (1, 4):
        monkeypatch.setattr(engine.ecg_batch, "_threads", lambda threads=threads: threads)
        out, page = tmp_path / f"out{threads}", tmp_path / f"{threads}.html"
        summary = analyse_files([records], out, HOW, report=page)
        assert (summary.records, summary.failed) == (len(Rhythm), [])
        outs.append(
            {path.name: path.read_bytes() for path in sorted(out.iterdir())} | {"": page.read_bytes()}
        )
    assert outs[0] == outs[1]
    assert set(outs[0]) == {"", *(f"{rhythm}.json" for rhythm in Rhythm)}


def test_a_record_that_fails_does_not_stop_the_others(records, tmp_path):
    (records / "a_bad.csv").write_text("1\nx\n")
    (records / "locked.csv").mkdir()
    (records / "z_bad.csv").write_text("1,2\n")
    summary = analyse_files([f"{records}/*.csv", records / "sinus.csv"], tmp_path / "out", HOW)
    assert summary.records == len(Rhythm)
    assert [line.split(": ")[0] for line in summary.failed] == [
        str(records / "a_bad.csv"),
        str(records / "z_bad.csv"),
    ]


def test_nothing_is_made_when_nothing_can_be_analysed(tmp_path):
    (tmp_path / "bad.csv").write_text("x\ny\n")
    summary = analyse_files([tmp_path / "bad.csv"], tmp_path / "out", HOW, report=tmp_path / "page.html")
    assert len(summary.failed) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_fault_of_ours_is_not_taken_for_a_wrong_file(records, tmp_path, monkeypatch):
    def broken(*_args):
        raise KeyError

    monkeypatch.setattr(engine.ecg_batch, "analyse", broken)
    with pytest.raises(KeyError):
        analyse_files([records], tmp_path / "out", HOW)


def test_progress_is_said(records, tmp_path):
    said = []

    class Heard:
        def step(self, label, total=None, unit=""):
            said.append((label, total, unit))

        def advance(self, amount=1):
            said.append(amount)

    analyse_files([records], tmp_path / "out", HOW, progress=Heard())
    assert said == [("analyse", len(Rhythm), "records"), *[1] * len(Rhythm)]


# ---- Real ECG.


@pytest.mark.ecg
def test_real_marked_beats(ecg_folder, tmp_path):
    from scipy.io import loadmat

    path = ecg_folder / "afdb_derived" / "04015_rr.mat"
    analyse_files([path], tmp_path / "rr", How(beats="qrs"))
    found = json.loads((tmp_path / "rr" / "04015_rr.json").read_text())
    assert found["beats"] == (loadmat(path)["qrs"].ravel().astype(int) - 1).tolist()
    assert "classes" not in found
    analyse_files([ecg_folder / "mitdb" / "119"], tmp_path / "atr", How(beats="atr"))
    found = json.loads((tmp_path / "atr" / "119.json").read_text())
    assert found["classes"].count("V") == 444
    assert len(found["classes"]) == len(found["beats"]) == 1987


def test_an_alarm_is_judged_up_to_its_moment_and_a_short_record_gets_a_label(records, tmp_path):
    question = Question.of("Tachycardia", 20.0)
    assert question == Question(Alarm.TACHYCARDIA, 20.0)
    summary = analyse_files([records / "sinus.csv"], tmp_path / "out", HOW, alarm=question)
    assert summary.failed == []
    found = json.loads((tmp_path / "out" / "sinus.json").read_text())
    assert (found["alarm"], found["label"]) == (0, "N")
    late = analyse_files([records / "sinus.csv"], tmp_path / "late", HOW, alarm=Question.of("Tachycardia"))
    assert "an alarm at 300 s; legal are moments up to the end of the record, 20 s" in late.failed[0]
    analyse_files([records / "sinus.csv"], tmp_path / "strips", HOW, strip_s=10.0)
    assert not {"alarm", "label"} & json.loads((tmp_path / "strips" / "sinus.json").read_text()).keys()


@pytest.mark.ecg
def test_an_alarm_hears_every_ecg_lead(ecg_folder, tmp_path):
    # Lead V is off and flat for the last 10 s of lead II's steady beats: alone it would be asystole.
    record = ecg_folder / "challenge2015" / "a311l"
    for channel, holds in (("", 0), ("V", 1)):
        out = tmp_path / f"out{channel}"
        analyse_files([record], out, How(channel=channel), alarm=Question.of("Asystole"))
        assert json.loads((out / "a311l.json").read_text())["alarm"] == holds
