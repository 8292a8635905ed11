"""The whole of it: cuts, resuming, several files, what is found in folders."""

import json

import numpy as np
import pytest

from ingest import simulator
from ingest.columns import Batch
from ingest.formats import FormatError, Item, PathKind, find_paths, kind_of_path, open_paths
from ingest.log import Log

HEAD = "patient,time,signal,value,unit\n"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    simulator.simulate(40, 20, 3, folder / "a.parquet")
    simulator.simulate(30, 10, 4, folder / "b.csv", format="csv")
    return folder


def test_batches_do_not_depend_on_cuts(cohort, packets_of):
    with open_paths([cohort]) as source:
        whole = packets_of(source)
        assert source.sources == ("a.parquet", "b.csv")
        assert source.progress.rows_read == source.progress.rows > 5000
    assert len(whole[0]) > 1000
    times = [packet[3] for packet in whole[0]]
    assert times == sorted(times)
    for options in (
        {"batch_rows": 97},
        {"run_rows": 501},
        {"span_ms": 3_600_000},
        {"batch_rows": 13, "run_rows": 64},
    ):
        with open_paths([cohort], **options) as source:
            assert packets_of(source) == whole


def test_readings_are_all_there(cohort):
    with open_paths([cohort / "a.parquet"]) as source:
        n = sum(len(batch.code) + len(quarantine) for batch, quarantine in source.batches())
        assert n == source.progress.rows == source.progress.rows_expected


def same(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in Batch.__slots__
    )  # fmt: skip


def test_resume_cuts_as_from_the_beginning(cohort, tmp_path):
    options = {"batch_rows": 512, "run_rows": 2048, "spill": tmp_path / "s", "latest_ms": 1 << 42}
    with open_paths([cohort], **options) as source:
        whole = list(source.batches())
    assert (tmp_path / "s" / "spill.json").is_file()
    assert len(whole) > 10
    for k in (1, 5, len(whole) - 1, len(whole)):
        with open_paths([cohort], **options) as source:
            source.prepare()
            assert source.progress.rows_read == source.progress.rows
            rest = list(source.batches(whole[k - 1][0].next_offset))
        assert len(rest) == len(whole) - k
        for (batch, quarantine), (first, refused) in zip(rest, whole[k:], strict=True):
            assert same(batch, first)
            assert quarantine.raw == refused.raw


def test_another_input_is_sorted_anew(cohort, tmp_path, packets_of):
    spill = tmp_path / "s"
    with open_paths([cohort / "a.parquet"], spill=spill) as source:
        first = packets_of(source)
    with open_paths([cohort / "b.csv"], spill=spill) as source:
        assert packets_of(source) != first
    with open_paths([cohort / "b.csv"], items={"q": Item(300, 0, 1)}, spill=spill) as source:
        assert not source._spill.complete
    (spill / "spill.json").write_text(json.dumps({"fingerprint": 1}))
    with open_paths([cohort / "a.parquet"], spill=spill) as source:
        assert packets_of(source) == first


def test_the_clock_goes_on(cohort):
    with open_paths([cohort], batch_rows=500) as source:
        clocks = [(batch.clock_ms, int(batch.t_ms[-1])) for batch, _ in source.batches() if len(batch)]
    assert all(clock == last for clock, last in clocks)
    with open_paths([cohort], span_ms=3_600_000) as source:
        assert all(np.ptp(batch.t_ms) < 3_600_000 for batch, _ in source.batches() if len(batch))


def test_nothing_is_left_behind(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_paths([cohort]) as source:
        next(source.batches())
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_paths(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in (
        "b.csv",
        "a.parquet",
        "sub/c.csv.gz",
        "d.hea",
        "d.dat",
        "x.truth.parquet",
        "notes.pdf",
        "e.TSV",
    ):
        (tmp_path / name).write_bytes(b"x")
    Log.open(tmp_path / "vigie.log").close()
    found = find_paths([tmp_path])
    assert [path.name for path in found.tables] == ["a.parquet", "b.csv", "e.TSV", "c.csv.gz"]
    assert [path.name for path in found.records] == ["d.hea"]
    assert [path.name for path in found.logs] == ["vigie.log"]
    assert {path.name for path in found.skipped} >= {"notes.pdf", "x.truth.parquet", "d.dat"}
    assert kind_of_path(tmp_path / "vigie.log") is PathKind.LOG
    assert find_paths([tmp_path / "d"]).records == [tmp_path / "d.hea"]
    assert find_paths([tmp_path / "b.csv", tmp_path]).tables.count(tmp_path / "b.csv") == 1


def test_tables_of_something_else(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "ann,2026-01-05T08:00:00Z,weight,70,kg\n")
    (tmp_path / "labels.csv").write_text("A00001,N\nA00002,A\n")
    with open_paths([tmp_path]) as source:
        assert source.sources == ("a.csv",)
        assert "labels.csv: passed over" in source.notes[0]
    # Named itself, or with some of the columns, it is a mistake that must be seen.
    with (
        pytest.raises(FormatError, match="no column 'patient'"),
        open_paths([tmp_path / "labels.csv"]) as source,
    ):
        source.prepare()
    (tmp_path / "labels.csv").write_text("patient,when,signal,value,unit\n")
    with pytest.raises(FormatError, match="no column 'time'"), open_paths([tmp_path]) as source:
        source.prepare()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.csv", "no such file"),
        ("notes.pdf", "legal are .csv"),
        ("empty", "nothing to replay"),
        ("vigie.log", "alone"),
    ],
)
def test_paths_that_cannot_be_used(tmp_path, name, words):
    (tmp_path / "notes.pdf").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    Log.open(tmp_path / "vigie.log").close()
    with pytest.raises(FormatError, match=words):
        open_paths([tmp_path / name])


def test_places_are_folders_and_know_no_machine(tmp_path):
    row = "patient,time,signal,value,unit\np1,2026-03-01T08:00:00Z,weight,80,kg\n"
    for name in ("year/nord/a.csv", "year/nord/deep/b.csv", "year/sud/a.csv", "year/c.csv", "d.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(row)
    with open_paths([tmp_path / "year"]) as source:
        assert dict(zip(source.sources, source.places, strict=True)) == {
            "c.csv": "c.csv", "nord/a.csv": "nord", "b.csv": "nord", "sud/a.csv": "sud",
        }  # fmt: skip
    with open_paths([tmp_path / "year" / "nord", tmp_path / "d.csv"]) as source:
        assert source.places == ("a.csv", "deep", "d.csv")
    with open_paths([tmp_path / "d.csv", tmp_path / "year" / "c.csv"]) as source:
        assert source.places == ("d.csv", "c.csv")
