"""Replay: the same input gives the same bytes, whatever the threads, and whatever interrupts it."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import engine.replay_input
from engine import feature_rows
from engine.load import load
from engine.quality import inspect
from engine.replay import CLOSING, replay
from ingest import simulator
from ingest.formats import FormatError
from ingest.formats.longform import Table
from ingest.log import Log, LogReader
from rules.alerts import SCHEMA

ROOT = Path(__file__).resolve().parents[2]
HEART = "insuffisance_cardiaque"
BESIDE = ("card.json", "quality.html", "quality.json", "report.html")
FILES = ("alerts.parquet", "quarantine.parquet", "summary.json", "summary.txt")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Forty patients over twenty days: a file in event time, and the log of the same."""
    folder = tmp_path_factory.mktemp("cohort")
    simulator.simulate(40, 20, 3, folder / "cohort.parquet")
    simulator.simulate(40, 20, 3, folder / "cohort.log", format="log", slot_s=600)
    return folder


@pytest.fixture(scope="module")
def plain(cohort, tmp_path_factory):
    """An uninterrupted replay of the file."""
    out = tmp_path_factory.mktemp("plain")
    return out, replay([cohort / "cohort.parquet"], [HEART], out)


def content(out):
    return {name: (out / name).read_bytes() for name in FILES}


def test_features_on_demand(cohort, plain, tmp_path):
    for name, shards in (("one", 1), ("three", 3)):
        replay([cohort / "cohort.parquet"], [HEART], tmp_path / name, features=True, shards=shards)
    one, three = (pl.read_parquet(tmp_path / name / "features.parquet") for name in ("one", "three"))
    assert one.equals(three)
    assert dict(one.schema) == dict(feature_rows.SCHEMA)
    # They change nothing else.
    assert (tmp_path / "one" / "alerts.parquet").read_bytes() == (plain[0] / "alerts.parquet").read_bytes()
    # The oracle: the newest weight of the last days, from the file itself.
    readings = pl.read_parquet(cohort / "cohort.parquet").filter(pl.col("signal") == "systolic")
    patient = readings["patient"][0]
    seen = one.filter((pl.col("patient") == patient) & (pl.col("feature") == "systolic_now")).sort("t_ms")
    mine = readings.filter(pl.col("patient") == patient).sort("time")
    assert len(seen) > 0
    by_time = dict(zip(mine["time"].dt.epoch("ms").to_list(), mine["value"].to_list(), strict=True))
    exact = [(t, value) for t, value in zip(seen["t_ms"], seen["value"], strict=True) if t in by_time]
    assert exact
    assert all(value == by_time[t] for t, value in exact)
    replay([cohort / "cohort.parquet"], [HEART], tmp_path / "one")
    assert not (tmp_path / "one" / "features.parquet").exists()


def test_alerts_and_accounts(plain):
    out, summary = plain
    alerts = pl.read_parquet(out / "alerts.parquet")
    assert dict(alerts.schema) == dict(SCHEMA)
    assert summary.rows == len(alerts) > 0
    assert summary.alerts == (alerts["kind"] == "opened").sum()
    assert summary.balanced
    assert summary.ok
    assert summary.patients == 40
    assert 40 * 15 < summary.patient_days <= 40 * 20
    assert set(alerts["time_basis"]) == {summary.time_basis} == {"event"}
    kept = json.loads((out / "summary.json").read_text())
    assert kept["protocols"][0]["signed"] is False
    assert "non signé" in (out / "summary.txt").read_text()
    opened = sum(f["count"] for f in kept["firings"])
    assert opened == alerts["kind"].is_in(["opened", "raised"]).sum()
    assert sorted(path.name for path in out.iterdir()) == sorted((*FILES, *BESIDE))


def test_a_replay_ends_at_the_last_event(plain, cohort):
    alerts = pl.read_parquet(plain[0] / "alerts.parquet")
    last = pl.read_parquet(cohort / "cohort.parquet")["time"].max()
    assert alerts["clock_ms"].max() <= last.timestamp() * 1000


@pytest.mark.parametrize("shards", [1, 3])
def test_the_same_bytes_again_and_with_any_number_of_shards(plain, cohort, tmp_path, shards):
    replay([cohort / "cohort.parquet"], [HEART], tmp_path, shards=shards)
    assert content(tmp_path) == content(plain[0])


def test_the_same_bytes_however_batches_are_cut(plain, cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(engine.replay_input, "_FILE_ROWS", 777)
    replay([cohort / "cohort.parquet"], [HEART], tmp_path)
    assert content(tmp_path) == content(plain[0])


KILLED = """
import os, signal, sys
from pathlib import Path
import engine.replay_input, engine.replay_state
engine.replay_input._FILE_ROWS = 500
engine.replay_input._LOG_ENTRIES = 100
commit, left = engine.replay_state.commit, int(sys.argv[3])
def then_die(*given):
    global left
    commit(*given)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
engine.replay_state.commit = then_die
from engine.replay import replay
replay([Path(sys.argv[1])], ["insuffisance_cardiaque"], Path(sys.argv[2]), resume=True, commit_s=0, shards=2)
"""


@pytest.fixture(scope="module")
def year(cohort, tmp_path_factory):
    """The cohort as a programme keeps it: a folder a site, a file a week, CSV or Parquet; and all of it in one file."""
    folder = tmp_path_factory.mktemp("year")
    rows = pl.read_parquet(cohort / "cohort.parquet").with_columns(
        site=pl.concat_str(pl.lit("site-"), pl.col("patient").cast(pl.String).hash() % 3)
    )
    whole = []
    for (site, week), part in sorted(
        rows.group_by("site", pl.col("time").dt.strftime("%G-%V"), maintain_order=True),
        key=lambda each: each[0],
    ):
        (folder / "files" / site).mkdir(parents=True, exist_ok=True)
        path = folder / "files" / site / week
        whole.append(part)
        if site == "site-1":
            text = part.with_columns(pl.col("time").dt.to_string("iso:strict"))
            text.write_csv(path.with_suffix(".csv"))
        else:
            part.write_parquet(path.with_suffix(".parquet"))
    pl.concat(whole).write_parquet(folder / "whole.parquet")
    return folder


def test_a_folder_is_replayed_as_one_file_of_the_same_rows(year, tmp_path):
    folder = replay([year / "files"], [HEART], tmp_path / "folder")
    whole = replay([year / "whole.parquet"], [HEART], tmp_path / "whole")
    assert len(list((year / "files").rglob("*.*"))) > 6
    one, other = (pl.read_parquet(tmp_path / name / "alerts.parquet") for name in ("folder", "whole"))
    assert one.equals(other)
    assert len(one) > 0
    assert folder.quarantined == whole.quarantined
    assert (folder.readings, folder.applied, folder.patient_days) == (
        whole.readings,
        whole.applied,
        whole.patient_days,
    )


def test_the_card_knows_no_machine(year, tmp_path):
    """The same files elsewhere, under another name, at another time, with other threads: the same card."""
    shutil.copytree(year / "files", tmp_path / "elsewhere" / "files")
    cards = []
    for k, place in enumerate((year, tmp_path / "elsewhere")):
        out = tmp_path / f"out{k}"
        command = [
            "vigie",
            "replay",
            str(place / "files"),
            "--protocol",
            HEART,
            "--shards",
            str(k + 1),
            f"--out={out}",
        ]
        replay([place / "files"], [HEART], out, shards=k + 1, command=command)
        cards.append((out / "card.json").read_bytes())
    assert cards[0] == cards[1]
    card = json.loads(cards[0])
    assert card["command"] == f"vigie replay files --protocol {HEART}"
    assert (
        card["alerts"]
        == hashlib.blake2b((tmp_path / "out0" / "alerts.parquet").read_bytes(), digest_size=16).hexdigest()
    )
    assert card["libraries"]["polars"] == pl.__version__
    # Another reading is another input, and another limit another protocol.
    path = next((tmp_path / "elsewhere" / "files").rglob("*.csv"))
    path.write_text(path.read_text().replace(",kg", ",lb", 1))
    other = json.loads(replayed(tmp_path / "elsewhere" / "files", tmp_path / "out2"))
    assert {key for key in card if card[key] != other[key]} >= {"input", "alerts"}
    assert card["protocols"] == other["protocols"]


def replayed(folder, out):
    replay([folder], [HEART], out)
    return (out / "card.json").read_text()


def test_a_log_has_a_card_too(cohort, tmp_path):
    replay([cohort / "cohort.log"], [HEART], tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["time_basis"], len(card["input"])) == ("arrival", 32)
    assert not (tmp_path / "quality.json").exists()
    page = (tmp_path / "report.html").read_text()
    assert "Qualité des données" not in page
    assert "ordre d’arrivée, comme en direct" in page


def test_the_quality_of_what_is_replayed_is_beside_it(year, tmp_path):
    summary = replay([year / "files"], [HEART], tmp_path)
    kept = json.loads((tmp_path / "quality.json").read_text())
    assert [site["name"] for site in kept["sites"]] == ["site-0", "site-1", "site-2"]
    assert sum(site["implausible"] for site in kept["sites"]) == sum(
        summary.quarantined.get(reason, 0) for reason in ("IMPLAUSIBLE", "NAN", "INFINITE")
    )
    inspect([year / "files"]).write(tmp_path / "asked.json")
    assert (tmp_path / "asked.json").read_bytes() == (tmp_path / "quality.json").read_bytes()
    assert (tmp_path / "quality.html").read_text().count("<svg") == 3
    assert "see report.html" in str(summary)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 3
    assert json.loads((tmp_path / "card.json").read_text())["alerts"] in page
    assert all(firing.rule in page for firing in summary.firings)
    assert "Prise de poids en 3 jours <small" in page
    assert '<html lang="fr">' in page
    assert "Qualité des données" in page
    assert "une ROUGE est tenue pour close" in page
    assert "non signé" in page
    assert "http" not in page.replace("http://www.w3.org", "")


KILLED_READING = """
import os, signal, sys
from pathlib import Path
import ingest.formats.replay
from ingest.formats.spill import Spill
ingest.formats.replay._KEEP_S = 0
keep, left = Spill.keep, int(sys.argv[3])
def then_die(*given):
    global left
    keep(*given)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
Spill.keep = then_die
from engine.replay import replay
replay([Path(sys.argv[1])], ["insuffisance_cardiaque"], Path(sys.argv[2]), resume=True)
"""


def test_killed_while_it_reads_it_goes_on_with_the_next_file(year, tmp_path, monkeypatch):
    for keeps in (2, 3):
        done = subprocess.run(
            [sys.executable, "-c", KILLED_READING, year / "files", tmp_path / "killed", str(keeps)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
    # What a run left half done after that is not taken for a part.
    sorting = tmp_path / "killed" / ".replay" / "sorted"
    (sorting / "run-00099.bin").write_bytes(b"half")
    read = []
    original = Table.read
    monkeypatch.setattr(Table, "read", lambda self, spill: (read.append(self.path), original(self, spill))[1])
    replay([year / "files"], [HEART], tmp_path / "killed", resume=True)
    assert len(read) == len(list((year / "files").rglob("*.*"))) - 2 - 3
    monkeypatch.undo()
    replay([year / "files"], [HEART], tmp_path / "whole")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    for name in BESIDE:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_interrupted_when_all_is_through_it_need_not_go_through_again(cohort, tmp_path):
    def interrupted(_out, _progress):
        raise KeyboardInterrupt

    subprocess.run(
        [sys.executable, "-c", KILLED, cohort / "cohort.parquet", tmp_path, "1"], cwd=ROOT, check=False
    )
    # Resumed, it comes to its end before the next moment to keep something, and is interrupted then.
    with pytest.raises(KeyboardInterrupt):
        replay([cohort / "cohort.parquet"], [HEART], tmp_path, resume=True, shards=2, then=interrupted)
    notes, made = Notes(), []
    replay(
        [cohort / "cohort.parquet"],
        [HEART],
        tmp_path,
        resume=True,
        shards=2,
        progress=notes,
        then=lambda out, _: made.append(out),
    )
    rows = len(pl.read_parquet(cohort / "cohort.parquet"))
    assert f"going on at {rows:,} of {rows:,}" in notes
    assert made == [tmp_path]
    assert not (tmp_path / ".replay").exists()


@pytest.mark.parametrize("name", ["cohort.parquet", "cohort.log"])
def test_killed_and_resumed_gives_the_bytes_of_an_uninterrupted_run(cohort, tmp_path, name):
    for commits in (3, 2):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, cohort / name, tmp_path / "killed", str(commits)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (tmp_path / "killed" / "alerts.parquet").exists()
    notes = Notes()
    replay([cohort / name], [HEART], tmp_path / "killed", resume=True, shards=2, progress=notes)
    assert any(note.startswith("going on at") for note in notes)
    replay([cohort / name], [HEART], tmp_path / "whole")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_a_resume_with_other_limits_is_refused(cohort, tmp_path):
    subprocess.run(
        [sys.executable, "-c", KILLED, cohort / "cohort.parquet", tmp_path / "out", "1"],
        cwd=ROOT,
        check=False,
    )
    with pytest.raises(ValueError, match="begun with other files, protocols or options"):
        replay([cohort / "cohort.parquet"], ["covidom"], tmp_path / "out", resume=True, shards=2)
    # Without --resume it begins anew.
    assert replay([cohort / "cohort.parquet"], [HEART], tmp_path / "out").ok


def test_a_resume_of_nothing_begins_at_the_start(plain, cohort, tmp_path):
    replay([cohort / "cohort.parquet"], [HEART], tmp_path, resume=True)
    assert content(tmp_path) == content(plain[0])


def test_a_log_gives_what_was_live(cohort, tmp_path):
    """Entry by entry through a line, as it came: the same rows as the replay of the log."""
    loaded = load([HEART])
    decoder = loaded.decoder()
    frames = []
    with LogReader(cohort / "cohort.log") as log, loaded.line() as line:
        at = 0
        while entries := log.read(at, max_entries=100):
            batch, refused = decoder.decode([(e.offset, e.receipt_ms, e.source, e.body) for e in entries])
            heard = np.array([entry.receipt_ms for entry in entries], np.int64)
            frames.append(line.process(batch, refused, heard).alerts)
            at = batch.next_offset
    summary = replay([cohort / "cohort.log"], [HEART], tmp_path)
    assert summary.time_basis == "arrival"
    assert summary.duplicate > 0
    assert sum(summary.quarantined.values()) == len(pl.read_parquet(tmp_path / "quarantine.parquet")) > 0
    live = pl.concat(frames)
    replayed = pl.read_parquet(tmp_path / "alerts.parquet")
    order = ["alert_id", "rule", "kind", "t_ms", "offset"]
    assert replayed.sort(order).equals(live.sort(order))


def test_a_rouge_without_a_person_is_closed_or_stays(cohort, tmp_path):
    closed, never = (
        replay([cohort / "cohort.parquet"], [HEART], tmp_path / rouge, close_rouge=rouge) for rouge in CLOSING
    )
    kinds = [set(pl.read_parquet(tmp_path / rouge / "alerts.parquet")["kind"]) for rouge in CLOSING]
    assert "closed" in kinds[0]
    assert "latched" not in kinds[0]
    assert "latched" in kinds[1]
    assert "closed" not in kinds[1]
    assert closed.alerts_by_level["ROUGE"] >= never.alerts_by_level["ROUGE"] > 0
    assert closed.rouge != never.rouge


def test_what_cannot_be_replayed_is_said(cohort, tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        replay([tmp_path / "nowhere.csv"], [HEART], tmp_path / "out")
    with pytest.raises(FormatError, match="one log alone"):
        replay([cohort / "cohort.log", cohort / "cohort.parquet"], [HEART], tmp_path / "out")
    with pytest.raises(ValueError, match="close_rouge 'soon'; legal: at-recovery, never"):
        replay([cohort / "cohort.parquet"], [HEART], tmp_path / "out", close_rouge="soon")


def test_an_empty_log_is_an_empty_replay(tmp_path):
    Log.open(tmp_path / "empty.log").close()
    summary = replay([tmp_path / "empty.log"], [HEART], tmp_path / "out")
    assert (summary.packets, summary.patients, summary.rows, summary.ok) == (0, 0, 0, False)
    assert len(pl.read_parquet(tmp_path / "out" / "alerts.parquet")) == 0


class Notes(list):
    """Progress that keeps its notes."""

    def step(self, label, total=None, unit=""):
        pass

    def advance(self, amount=1):
        pass

    def note(self, text):
        self.append(text)
