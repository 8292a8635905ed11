"""Vigie's own history is read as any file of readings: the same alerts as from the file that it came from."""

import json

import polars as pl
import pytest

from engine.durable import DurableLine, Upkeep
from engine.history import History
from engine.load import load
from engine.program import Options
from engine.replay import replay
from ingest import simulator
from ingest.formats import FormatError, find_paths
from ingest.formats.own_history import is_own
from ingest.historyfile import COLUMNS
from ingest.log import LogReader

HEART = "insuffisance_cardiaque"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Readings of twenty patients as a file, and as the history of a service that received them."""
    folder = tmp_path_factory.mktemp("cohort")
    simulator.simulate(20, 30, 3, folder / "cohort.parquet")
    simulator.simulate(20, 30, 3, folder / "sent.log", format="log", slot_s=600)
    loaded = load([HEART], options=Options())
    with DurableLine(
        folder / "service", loaded.program, sink=lambda _: None, shards=2, roster=loaded.roster,
        upkeep=Upkeep(history_rows=5000, checkpoint_entries=1000),
    ) as line:  # fmt: skip
        reader = LogReader(folder / "sent.log")
        entries = reader.read(reader.first_offset, 1 << 30, 1 << 20)
        reader.close()
        for at in range(0, len(entries), 200):
            sent = [(entry.source, entry.body, entry.receipt_ms) for entry in entries[at : at + 200]]
            for ticket in line.log.append_many(sent):
                ticket.result(30)
            line.catch_up()
            line.checkpoint()
    return folder


def alerts(paths, out):
    replay(paths, [HEART], out, zone="Europe/Paris")
    # What names the input: the file, and where in it.
    return (
        pl.read_parquet(out / "alerts.parquet")
        .drop("offset", "clock_ms")
        .sort("alert_id", "kind", "t_ms", "rule")
    )


def test_it_gives_the_alerts_of_the_file_that_it_came_from(cohort, tmp_path):
    mine = alerts([cohort / "service" / "history"], tmp_path / "mine")
    theirs = alerts([cohort / "cohort.parquet"], tmp_path / "theirs")
    assert len(mine) > 20
    assert mine.equals(theirs)
    said = json.loads((tmp_path / "mine" / "summary.json").read_text())
    assert said["time_basis"] == "event"


def test_merged_files_are_not_read_twice(cohort, tmp_path):
    history = cohort / "service" / "history"
    before = find_paths([history]).tables
    kept = History(history, shards=2)
    for day, _, _ in kept.days():
        for run in kept.runs(day):
            kept.merge(run, linger=True)
    merged = find_paths([history]).tables
    assert len(merged) < len(before)
    assert set(before) & set(merged) == {path for path in before if path in merged}
    assert alerts([history], tmp_path / "a").equals(alerts([cohort / "cohort.parquet"], tmp_path / "b"))


def test_what_is_not_committed_is_not_read(cohort, tmp_path):
    day = tmp_path / "history" / "day=2026-01-01" / "shard=00"
    day.mkdir(parents=True)
    frame = pl.DataFrame(
        {
            "patient": ["p1"], "signal": [1], "t_ms": [1_767_252_672_445], "receipt_ms": [1_767_252_720_000],
            "milli": [80_000], "status": [0], "offset": [3], "outcome": [0],
        }
    )  # fmt: skip
    frame.write_parquet(day / f"{0:020d}-{5:020d}.parquet")
    frame.write_parquet(day / f"{5:020d}-{9:020d}.parquet")
    mark = tmp_path / "history" / "committed.json"
    mark.write_text('{"format": 1, "start": 0, "committed": 5, "gaps": []}')
    assert [path.name[-13:-8] for path in find_paths([tmp_path]).tables] == ["00005"]
    mark.write_text("{}")
    with pytest.raises(FormatError, match=r"committed\.json: not the mark of a history"):
        find_paths([tmp_path])


def test_only_a_table_with_all_of_its_columns_and_no_other_is_one():
    assert is_own(list(COLUMNS))
    assert not is_own([*COLUMNS, "site"])
    assert not is_own(["patient", "time", "signal", "value", "unit"])
