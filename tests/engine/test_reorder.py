"""Another order of the same readings: a log in that of measurement is a file, and delays take a file back and forth."""

import numpy as np
import pytest

from engine.backtest import History
from engine.card import input_hash
from engine.load import load
from engine.program import DAY_MS, Options
from engine.progress import SILENT
from engine.reorder import MEASURED, Delays, Measured, Reordered, parse_delays
from engine.replay_input import Asked, open_input
from ingest import packet, simulator
from ingest.formats import Mappings
from ingest.log import Log

HEART = "insuffisance_cardiaque"
FILE = Options(close_at_recovery=True, deaf_after_ms=0)
T = 1_774_634_400_000
HOUR = 3_600_000


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Forty patients over forty days, some of whose packets come days late: a file, and the log of the same."""
    folder = tmp_path_factory.mktemp("cohort")
    scenario = simulator.Scenario(late=0.05, outages_per_year=30.0)
    simulator.simulate(40, 40, 5, folder / "cohort.parquet", scenario=scenario)
    simulator.simulate(40, 40, 5, folder / "cohort.log", format="log", slot_s=600, scenario=scenario)
    return folder


def asked(path):
    return Asked((path,), Mappings(), "Europe/Paris", 4_000_000_000_000)


def judged(path, kept, order=None):
    return History(asked(path), kept, order=order).judge(load([HEART], options=FILE))


def test_a_log_in_the_order_of_measurement_is_judged_as_the_file_of_its_readings(cohort, tmp_path):
    file = judged(cohort / "cohort.parquet", tmp_path)
    measured = judged(cohort / "cohort.log", tmp_path, MEASURED)
    arrived = judged(cohort / "cohort.log", tmp_path)
    assert len(file.transitions) > 100
    assert measured.transitions.equals(file.transitions)
    assert not arrived.transitions.equals(file.transitions)
    assert (measured.kept.time_basis, arrived.kept.time_basis) == ("event", "arrival")
    assert measured.kept.readings == arrived.kept.readings


def test_without_delay_a_file_is_as_it_was_and_with_delays_it_is_not(cohort, tmp_path):
    file = judged(cohort / "cohort.parquet", tmp_path)
    at_once = judged(cohort / "cohort.parquet", tmp_path, Delays(0.0, 6.0))
    late = judged(cohort / "cohort.parquet", tmp_path, Delays(0.2, 12.0))
    again = judged(cohort / "cohort.parquet", tmp_path / "again", Delays(0.2, 12.0))
    assert at_once.transitions.equals(file.transitions)
    assert not late.transitions.equals(file.transitions)
    assert again.transitions.equals(late.transitions)
    assert late.kept.readings == file.kept.readings


def test_the_share_and_the_hours_are_those_asked_for(cohort, tmp_path):
    source = Reordered(
        open_input(asked(cohort / "cohort.parquet"), load([HEART]), tmp_path), Delays(0.25, 8.0)
    )
    source.prepare(SILENT)
    batches = [taken.batch for taken in source.batches(source.first)]
    receipt, t = (np.concatenate([getattr(b, name) for b in batches]) for name in ("receipt_ms", "t_ms"))
    source.close(remove=True)
    assert (np.diff(receipt) >= 0).all()
    wait = (receipt - t)[receipt > t] / HOUR
    assert len(wait) / len(t) == pytest.approx(0.25, abs=0.02)
    assert np.median(wait) == pytest.approx(8.0, rel=0.1)


def logged(path, entries):
    with Log.open(path) as log:
        for receipt, body in entries:
            log.append("gateway", body, receipt).result(10)
    return Reordered(open_input(asked(path), load([HEART]), path.parent), Measured(slack_ms=2 * DAY_MS))


@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_what_is_later_than_the_slack_is_taken_as_just_so_late(tmp_path, monkeypatch, at_once):
    """However the log is cut: heartbeats every day, a weight every third, one ten days late and one within two."""
    monkeypatch.setattr("engine.replay_input._LOG_ENTRIES", at_once)

    def weight(k, t):
        return packet.spot("p", "scale", k, t, {1: 80})

    entries = [
        (T + k * DAY_MS, weight(k, T + k * DAY_MS - HOUR) if k % 3 == 0 else b"") for k in range(1, 13)
    ]
    entries.append((T + 13 * DAY_MS, weight(100, T + 3 * DAY_MS)))
    entries.append((T + 14 * DAY_MS, weight(101, T + 12 * DAY_MS - 2 * HOUR)))
    source = logged(tmp_path / "late.log", entries)
    taken = [(each.batch, each.heard_ms) for each in source.batches(source.first)]
    source.close(remove=False)
    assert np.concatenate([batch.seq for batch, _ in taken]).tolist() == [3, 6, 9, 100, 101, 12]
    assert source.beyond == 1
    assert source.notes() == ["1 packets were more than 2 days late and are taken as 2 days late"]
    assert np.concatenate([heard for _, heard in taken]).tolist() == [receipt for receipt, _ in entries]
    assert taken[-1][0].clock_ms == T + 14 * DAY_MS


def test_what_would_come_after_the_end_comes_with_it(cohort, tmp_path):
    """Else nobody would be heard in the weeks in which the last are waited for, and all would be silent."""
    delays = Delays(1.0, 168.0)
    source = Reordered(open_input(asked(cohort / "cohort.parquet"), load([HEART]), tmp_path), delays)
    source.prepare(SILENT)
    batches = [taken.batch for taken in source.batches(source.first)]
    assert source.content() == input_hash([cohort / "cohort.parquet"])
    source.close(remove=True)
    newest = max(int(batch.t_ms.max()) for batch in batches if len(batch))
    assert (
        batches[-1].clock_ms == max(int(batch.receipt_ms.max()) for batch in batches if len(batch)) == newest
    )


def test_batches_end_where_something_was_heard_so_that_outages_are_those_of_the_log(cohort, tmp_path):
    loaded = load([HEART], options=Options(deaf_after_ms=200_000))  # less than the simulated heartbeats take
    outages = []
    for order in (None, MEASURED):
        source = open_input(asked(cohort / "cohort.log"), loaded, tmp_path)
        source = Reordered(source, order) if order else source
        with loaded.line(time_basis=source.time_basis) as line:
            source.prepare(SILENT)
            for taken in source.batches(source.first):
                line.process(taken.batch, None, taken.heard_ms)
            outages.append(line.outages)
        source.close(remove=False)
    live, measured = outages
    assert len(live) > 20
    # Before the first receipt the order of measurement has a clock already.
    assert measured[measured[:, 1] > live[0, 1]].tolist() == live[1:].tolist()


@pytest.mark.parametrize(
    "text", ["", "0.1", "0.1:", "2:6", "-0.1:6", "0.1:0", "0.1:nan", "0.1:200", "0.1:6:2", "late"]
)
def test_delays_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=r"legal is SHARE:HOURS, such as 0\.02:6"):
        parse_delays(text)


def test_delays_as_written():
    assert parse_delays("0.02:6") == Delays(0.02, 6.0)
