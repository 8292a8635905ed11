"""The workshop answers what a back-test of the same log finds, from a process that may be killed and comes again."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from engine import workshop as module
from engine.backtest import History
from engine.backtest_judge import Holding, only
from engine.backtest_measures import episodes
from engine.load import load
from engine.program import DAY_MS, Options
from engine.protocols import find
from engine.replay_input import Asked
from engine.workshop import SEATS, Question, Source, Workshop, WorkshopError
from ingest import simulator
from ingest.formats import Mappings

HEART, COVID = "insuffisance_cardiaque", "covidom"
LIMIT = (HEART, "gain_3d_kg")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workshop")
    simulator.simulate(60, 30, 8, folder / "log", format="log", slot_s=600)
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
def history(source, tmp_path_factory):
    asked = Asked((source.log,), Mappings(), source.zone, 4_000_000_000_000)
    return History(asked, tmp_path_factory.mktemp("history"))


@pytest.fixture(scope="module")
def patients(history):
    everyone = history.judge(load([HEART, COVID])).follow_up
    return frozenset(everyone["patient"].to_list()[::2])


@pytest.fixture(scope="module")
def judged(history, patients):
    """Alerts of a back-test of the same log: as it was live, with the limits of now, with one that is tried."""

    def alerts(value=None, since_ms=None, *, live=False):
        options = Options() if live else Options(close_at_recovery=True)
        limits = None if value is None else {LIMIT: value}
        found = history.judge(load([HEART, COVID], options=options), Holding(limits, since_ms, patients))
        found = found if since_ms is None else only(found, since_ms)
        return episodes(found).filter(protocol=HEART)

    return alerts


@pytest.fixture(scope="module")
def last_ms(history):
    return history.judge(load([HEART, COVID])).kept.last_ms


def asking(patients, tried=1.25, **more):
    return Question(patients, HEART, {LIMIT: 2.0}, {} if tried is None else {LIMIT: tried}, **more)


def test_it_says_what_a_back_test_says_of_those_patients_alone(workshop, judged, patients):
    answer = workshop.ask(asking(patients))
    base, changed = judged(2.0), judged(1.25)
    assert (answer.figures["base"]["alerts"], answer.figures["changed"]["alerts"]) == (
        len(base),
        len(changed),
    )
    assert len(changed) > len(base)
    assert answer.patients == len(patients)
    assert answer.pieces["changes"] == [
        "prise de poids en 3 jours\N{NO-BREAK SPACE}: 2 → 1,25\N{NO-BREAK SPACE}kg"
    ]
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
    assert answer.figures["base"]["alerts"] == len(judged(2.0))
    assert answer.pieces["counts"] is None


def test_a_shadow_is_what_was_live_and_what_the_limit_would_have_raised_from_then_on(
    workshop, judged, patients, last_ms
):
    since = last_ms - 20 * DAY_MS
    answer = workshop.ask(asking(patients, since_ms=since, live=True))
    assert answer.since_ms == since
    live, shadow = judged(since_ms=since, live=True), judged(1.25, since)
    assert answer.figures["base"]["alerts"] == len(live)
    assert answer.figures["changed"]["alerts"] == len(shadow)
    # A ROUGE that nobody closed is open still, and opens no other: with its condition it would have ended.
    assert len(live) < len(judged(2.0, since))
    # The first readings by the new limit find who has long been above it.
    assert answer.pieces["counts"][0] > 0
    assert len(answer.days) in {20, 21}


def test_what_is_counted_until_a_time_does_not_hang_on_how_far_the_log_goes(
    source, workshop, judged, patients, last_ms, tmp_path
):
    """In the middle of a day on which more came afterwards; the log as it was then, and hours and days later."""
    since = last_ms - 20 * DAY_MS
    opened = judged(1.25, since)["opened_ms"]
    # Just before an alert, so that its day has one more when the log has gone on.
    until = opened.filter(opened < last_ms - 2 * DAY_MS).max()
    before = opened.filter(opened < until)
    found = []
    for late_h in (0, 5, 20):
        log = tmp_path / f"log{late_h}"
        shutil.copy(source.log, log)
        with sqlite3.connect(log) as connection:
            connection.execute("DELETE FROM entry WHERE receipt_ms > ?", (until + late_h * 3_600_000,))
        connection.close()
        then = Workshop(Source(log, tmp_path / f"kept{late_h}", source.protocols))
        found.append(then.ask(asking(patients, since_ms=since, until_ms=until, live=True)))
        then.close()
    found.append(workshop.ask(asking(patients, since_ms=since, until_ms=until, live=True)))
    assert [each.reach.last_ms >= until for each in found] == [True] * 4
    assert {each.figures["changed"]["alerts"] for each in found} == {len(before)}
    assert len({each.pieces["counts"] for each in found}) == 1
    assert len({tuple(day for day in each.days if day.base or day.changed) for each in found}) == 1
    assert workshop.ask(asking(patients, since_ms=since, live=True)).figures["changed"]["alerts"] > len(
        before
    )


def test_another_version_in_the_shadow_beside_what_was_live(workshop, judged, patients):
    """Its limit is the one that was tried above: the same alerts."""
    answer = workshop.ask(Question(patients, HEART, {}, {}, live=True, candidate=True))
    assert answer.figures["base"]["alerts"] == len(judged(live=True))
    assert answer.figures["changed"]["alerts"] == len(judged(1.25))
    mine = workshop.ask(Question(patients, HEART, {LIMIT: 5.0}, {}, candidate=True))
    assert mine.figures["changed"]["alerts"] < answer.figures["changed"]["alerts"]


def test_limits_that_the_protocols_do_not_have_hold_for_nobody(workshop, judged, patients):
    now = {LIMIT: 2.0, (HEART, "gone_kg"): 1.0, ("gone", "gain_3d_kg"): 1.0, (HEART, "spo2_low"): 400.0}
    assert workshop.ask(Question(patients, HEART, now, {})).figures["base"]["alerts"] == len(judged(2.0))


def test_outcomes_are_held_against_both_sides(workshop, judged, patients):
    seen = judged(2.0).filter(pl.col("clinical")).row(0, named=True)
    known = ((seen["patient"], seen["opened_ms"] + 1000, "in_hospital"),)
    assert workshop.ask(asking(patients, 5.0)).figures["base"]["outcomes"] == 0
    answer = workshop.ask(asking(patients, 5.0, outcomes=known))
    assert (answer.figures["base"]["outcomes"], answer.figures["base"]["caught"]) == (1, 1)


@pytest.mark.parametrize(
    ("tried", "detail"),
    [
        ({LIMIT: 50.0}, "legal are 0.5 to 5 kg"),
        ({(HEART, "dry_weight_kg"): 70.0}, "where no feature uses it"),
    ],
)
def test_what_cannot_be_asked_is_said_and_why_is_logged(workshop, patients, caplog, tried, detail):
    with pytest.raises(WorkshopError, match="n’a pas pu être calculé"):
        workshop.ask(Question(patients, HEART, {}, tried))
    assert detail in caplog.text
    assert workshop.ask(asking(patients)).patients == len(patients)


def test_who_comes_when_all_seats_are_taken_is_told_so(workshop, patients):
    taken = [workshop._seats.acquire(blocking=False) for _ in range(SEATS)]
    try:
        assert all(taken)
        with pytest.raises(WorkshopError, match="occupé par d’autres essais"):
            workshop.ask(asking(patients))
    finally:
        for _ in taken:
            workshop._seats.release()
    assert workshop.ask(asking(patients)).patients == len(patients)


def test_what_takes_too_long_gives_the_seat_back(workshop, patients, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    for _ in range(SEATS + 2):
        with pytest.raises(WorkshopError, match="encore en cours de lecture"):
            workshop.ask(asking(patients, 1.0 + _ / 8))
    monkeypatch.undo()
    assert workshop.ask(asking(patients)).patients == len(patients)


def test_closed_in_the_middle_it_ends_at_once(source, patients):
    made = Workshop(source)
    made.ask(asking(patients))
    (pid,) = made._pool._processes
    made._submit(time.sleep, 60)
    made.close()
    until = time.monotonic() + 60
    while running(pid):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (source.kept / str(pid)).exists()


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
    (source.kept / "4194305").mkdir()  # a process that is none
    workshop.rest()
    assert workshop._pool is not None
    monkeypatch.setattr(module, "IDLE_S", -1.0)
    workshop.rest()
    assert workshop._pool is None
    workshop.prepare()
    assert workshop.ask(asking(patients)).patients == len(patients)
    (mine,) = source.kept.iterdir()
    (kept,) = mine.iterdir()
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
    until = time.monotonic() + 60
    while running(pid):
        assert time.monotonic() < until
        time.sleep(0.05)
    asker.stdin.close()
    asker.stdout.close()
