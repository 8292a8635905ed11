"""The workshop answers what a back-test of the same log finds, from a process that may be killed and comes again."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from engine import workshop as module
from engine.backtest import History
from engine.backtest_judge import only
from engine.backtest_measures import episodes
from engine.load import load
from engine.program import DAY_MS, Options
from engine.protocols import find
from engine.replay_input import Asked
from engine.workshop import Question, Source, Workshop, WorkshopError
from ingest import simulator
from ingest.formats import Mappings

HEART, COVID = "insuffisance_cardiaque", "covidom"
LIMIT = (HEART, "gain_3d_kg")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workshop")
    simulator.simulate(30, 30, 3, folder / "log", format="log", slot_s=600)
    text = find(HEART).read_text(encoding="utf-8")
    other, count = re.subn(r"(\[limits\.gain_3d_kg\][^\[]*?default = )2\.0", r"\g<1>1.25", text)
    assert count == 1
    (folder / "other.toml").write_text(
        other.replace('version = "0.1.0"', 'version = "0.2.0"', 1), encoding="utf-8"
    )
    candidates = ((HEART, str(folder / "other.toml")),)
    return Source(folder / "log", folder / "kept", (HEART, COVID), candidates=candidates)


@pytest.fixture(scope="module")
def workshop(source):
    made = Workshop(source)
    yield made
    made.close()


@pytest.fixture(scope="module")
def judged(source, tmp_path_factory):
    """What a back-test of the same log gives: with the limits of now, and with one that is tried."""
    loaded = load([HEART, COVID], options=Options(close_at_recovery=True))
    asked = Asked((source.log,), Mappings(), source.zone, 4_000_000_000_000)
    history = History(asked, tmp_path_factory.mktemp("kept"))
    return [history.judge(loaded, of_cell=each) for each in ({LIMIT: 2.0}, {LIMIT: 1.25}, None)]


@pytest.fixture(scope="module")
def patients(judged):
    return frozenset(judged[0].follow_up["patient"].to_list()[::2])


def heart(judged, patients, since_ms=None):
    return episodes(only(judged, patients, since_ms)).filter(protocol=HEART)


def asking(patients, tried=1.25, **more):
    return Question(patients, HEART, {LIMIT: 2.0}, {} if tried is None else {LIMIT: tried}, **more)


def test_it_says_what_a_back_test_says_of_those_patients_alone(workshop, judged, patients):
    answer = workshop.ask(asking(patients))
    base, changed = (heart(each, patients) for each in judged[:2])
    assert (answer.figures["base"]["alerts"], answer.figures["changed"]["alerts"]) == (
        len(base),
        len(changed),
    )
    assert len(changed) > len(base)
    assert answer.patients == len(patients)
    assert answer.pieces["changes"] == ["prise de poids en 3 jours : 2,00 → 1,25 kg"]
    gained, lost = answer.pieces["counts"]
    assert (gained > 0, gained - lost) == (True, len(changed) - len(base))
    shown = answer.pieces["gained"]
    assert {each.patient for each in shown} <= patients
    assert "limite 1,2" in shown[0].text
    assert "<svg" in shown[0].plot
    assert answer.report.startswith("<!DOCTYPE html>")
    assert sum(day.base for day in answer.days) == len(base)
    assert sum(day.changed for day in answer.days) == len(changed)
    assert sum(day.gained for day in answer.days) == gained


def test_nothing_tried_is_what_there_is(workshop, judged, patients):
    answer = workshop.ask(asking(patients, None))
    assert set(answer.figures) == {"base"}
    assert answer.figures["base"]["alerts"] == len(heart(judged[0], patients))
    assert answer.pieces["counts"] is None


def test_from_some_time_on_beside_what_was_live(workshop, judged, patients):
    since = judged[0].kept.last_ms - 7 * DAY_MS
    answer = workshop.ask(asking(patients, since_ms=since, live=True))
    assert answer.since_ms == since
    assert answer.figures["base"]["alerts"] == len(heart(judged[2], patients, since))
    assert answer.figures["changed"]["alerts"] == len(heart(judged[1], patients, since))
    assert len(answer.days) in {7, 8}


def test_another_version_in_the_shadow_beside_what_was_live(workshop, judged, patients):
    """Its limit is the one that was tried above: the same alerts."""
    answer = workshop.ask(Question(patients, HEART, {}, {}, live=True, candidate=True))
    assert answer.figures["base"]["alerts"] == len(heart(judged[2], patients))
    assert answer.figures["changed"]["alerts"] == len(heart(judged[1], patients))
    mine = workshop.ask(Question(patients, HEART, {(HEART, "gain_3d_kg"): 5.0}, {}, candidate=True))
    assert mine.figures["changed"]["alerts"] < answer.figures["changed"]["alerts"]


def test_outcomes_are_held_against_both_sides(workshop, judged, patients):
    base = heart(judged[0], patients)
    seen = base.filter(pl.col("clinical")).row(0, named=True)
    known = ((seen["patient"], seen["opened_ms"] + 1000, "in_hospital"),)
    assert workshop.ask(asking(patients, 5.0)).figures["base"]["outcomes"] == 0
    answer = workshop.ask(asking(patients, 5.0, outcomes=known))
    assert (answer.figures["base"]["outcomes"], answer.figures["base"]["caught"]) == (1, 1)


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        ({LIMIT: 50.0}, "legal are 0.5 to 5 kg"),
        ({(HEART, "dry_weight_kg"): 70.0}, "where no feature uses it"),
    ],
)
def test_what_cannot_be_asked_is_said(workshop, patients, tried, said):
    with pytest.raises(WorkshopError, match=said):
        workshop.ask(Question(patients, HEART, {}, tried))


def test_killed_it_says_so_and_the_next_question_is_answered(workshop, patients):
    before = workshop.ask(asking(patients))
    (process,) = workshop._pool._processes.values()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with suppress(WorkshopError):  # the first may meet the one that was killed
        workshop.ask(asking(patients))
    after = workshop.ask(asking(patients))
    assert (after.figures, after.report) == (before.figures, before.report)


def test_at_rest_it_ends_and_comes_again_and_keeps_one_first_pass(source, workshop, patients, monkeypatch):
    workshop.ask(asking(patients))
    (source.kept / "old").mkdir()
    workshop.rest()
    assert workshop._pool is not None
    monkeypatch.setattr(module, "IDLE_S", -1.0)
    workshop.rest()
    assert workshop._pool is None
    workshop.prepare()
    assert workshop.ask(asking(patients)).patients == len(patients)
    (kept,) = source.kept.iterdir()
    assert (kept / "kept.json").exists()


def test_without_a_log_it_says_so(tmp_path):
    made = Workshop(Source(tmp_path / "log", tmp_path / "kept", (HEART,)))
    made.prepare()
    with pytest.raises(WorkshopError, match="pas encore d’historique"):
        made.ask(asking(frozenset()))
    made.close()


ASKER = """
import os, sys
from pathlib import Path
from engine.workshop import Source, Workshop
if __name__ == "__main__":
    made = Workshop(Source(Path(sys.argv[1]), Path(sys.argv[2]), ("insuffisance_cardiaque",)))
    made._submit(os.getpid).result()
    print(*made._pool._processes, flush=True)
    sys.stdin.read()
"""


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_killed_who_asks_the_process_ends_too(source, tmp_path):
    script = tmp_path / "asker.py"
    script.write_text(ASKER)
    asker = subprocess.Popen(
        [sys.executable, str(script), str(source.log), str(tmp_path / "kept")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    pid = int(asker.stdout.readline())
    asker.kill()
    asker.wait()
    until = time.monotonic() + 30
    while running(pid):
        assert time.monotonic() < until
        time.sleep(0.05)
    asker.stdin.close()
    asker.stdout.close()
