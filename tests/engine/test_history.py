import datetime as dt
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.history
from engine.history import SCHEMA, Gap, History, HistoryError, Outcome, read

DAY = 86_400_000
NOON = int(dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC).timestamp() * 1000)


def rows(offset, number=5, patients=3, days=3):
    """Readings that one log entry brings: a function of its offset, as the line is deterministic."""
    rng = np.random.default_rng(offset)
    t_ms = NOON - rng.integers(0, days, number) * DAY
    return pl.DataFrame(
        {
            "patient": [f"p{n}" for n in rng.integers(0, patients, number)],
            "signal": rng.integers(1, 4, number),
            "t_ms": t_ms,
            "receipt_ms": t_ms + 1000,
            "milli": rng.integers(-(2**31), 2**31, number),
            "status": rng.integers(0, 2**32, number),
            "offset": np.full(number, offset),
            "outcome": rng.integers(0, 2, number),
        },
    ).cast(dict(SCHEMA))


def batch(first, until, shard=0, shards=1, number=5):
    mine = (offset for offset in range(first, until) if offset % shards == shard)
    return pl.concat([SCHEMA.to_frame(), *(rows(offset, number) for offset in mine)])


def everything(frame):
    return sorted(frame.rows())


def collected(folder, **kwargs):
    return everything(read(folder, **kwargs).collect())


def test_what_is_committed_is_read_and_nothing_else(tmp_path):
    history = History(tmp_path)
    history.append(0, 0, 10, batch(0, 10))
    assert history.buffered == 50
    assert collected(tmp_path) == []
    files = history.commit(10)
    assert history.buffered == 0
    assert history.committed == 10
    assert {str(p.relative_to(tmp_path)) for p in files} == {
        f"day=2026-{day}/shard=00/{0:020d}-{10:020d}.parquet" for day in ("02-27", "02-28", "03-01")
    }
    history.append(0, 10, 12, batch(10, 12))
    assert collected(tmp_path) == everything(batch(0, 10))
    assert read(tmp_path).collect().schema == SCHEMA
    assert history.commit(12)
    assert everything(history.read().collect()) == everything(batch(0, 12))
    assert history.commit(12) == []


def test_a_commit_may_stop_before_what_was_appended(tmp_path):
    history = History(tmp_path)
    history.append(0, 0, 10, batch(0, 10))
    history.commit(4)
    assert collected(tmp_path) == everything(batch(0, 4))
    assert history.buffered == 30
    history.commit(10)
    assert collected(tmp_path) == everything(batch(0, 10))


def test_asking_for_some(tmp_path):
    history = History(tmp_path, shards=2)
    for shard in range(2):
        history.append(shard, 0, 40, batch(0, 40, shard, 2))
    history.commit(40)
    whole = batch(0, 40)
    assert collected(tmp_path, patient="p1") == everything(whole.filter(pl.col("patient") == "p1"))
    assert collected(tmp_path, patient=["p0", "p2"]) == everything(whole.filter(pl.col("patient") != "p1"))
    assert collected(tmp_path, signals=[1, 3]) == everything(whole.filter(pl.col("signal") != 2))
    midnight = NOON - DAY // 2
    for since, until in (
        (midnight, midnight + DAY),
        (NOON - DAY, NOON),
        (NOON, NOON + 1),
        (NOON + DAY, NOON + 2 * DAY),
    ):
        expected = whole.filter(pl.col("t_ms").is_between(since, until, closed="left"))
        assert collected(tmp_path, since=since, until=until) == everything(expected)
    late = (
        read(tmp_path, patient="p1", signals=[2], since=midnight)
        .filter(pl.col("outcome") == Outcome.LATE)
        .collect()
    )
    assert 0 < late.height < whole.height
    assert (late["outcome"] == 1).all()


def test_nothing_there_yet(tmp_path):
    assert read(tmp_path / "none").collect().schema == SCHEMA
    assert collected(tmp_path / "none", patient="p1") == []


def test_gone_through_again_after_a_crash_it_is_not_there_twice(tmp_path):
    history = History(tmp_path)
    history.append(0, 0, 10, batch(0, 10))
    history.commit(10)
    history.append(0, 10, 15, batch(10, 15))
    history.commit(15)
    history.append(0, 15, 18, batch(15, 18))  # never committed
    del history
    history = History(tmp_path)
    assert history.committed == 15
    assert history.resume(8) is None  # its checkpoint was older
    history.append(0, 8, 17, batch(8, 17))  # and batches are cut differently
    assert history.buffered == 10
    history.append(0, 17, 20, batch(17, 20))
    history.commit(12)
    history.commit(20)
    assert collected(tmp_path) == everything(batch(0, 20))
    assert history.gaps == ()


def test_another_number_of_shards(tmp_path):
    history = History(tmp_path, shards=4)
    for shard in range(4):
        history.append(shard, 0, 10, batch(0, 10, shard, 4))
    history.commit(10)
    history = History(tmp_path, shards=2)
    history.resume(5)
    for shard in range(2):
        history.append(shard, 5, 20, batch(5, 20, shard, 2))
    history.commit(20)
    assert collected(tmp_path) == everything(batch(0, 20))


def test_what_would_lose_rows_is_refused(tmp_path):
    history = History(tmp_path, shards=2)
    with pytest.raises(HistoryError, match="shard 0: offsets 3 to 5 do not follow 0"):
        history.append(0, 3, 5, batch(3, 5))
    with pytest.raises(HistoryError, match="shard 2: legal are 0 to 1"):
        history.append(2, 0, 5, batch(0, 5))
    with pytest.raises(HistoryError, match="a row of offset 4 in a batch of 0 to 4"):
        history.append(0, 0, 4, batch(0, 5))
    with pytest.raises(HistoryError, match="milli"):
        history.append(0, 0, 5, batch(0, 5).drop("milli"))
    with pytest.raises(HistoryError, match="conversion"):
        history.append(0, 0, 5, batch(0, 5).with_columns(milli=pl.lit(2**40)))
    history.append(0, 0, 5, batch(0, 5))
    with pytest.raises(HistoryError, match="commit of 5: shard 1 has appended up to 0 only"):
        history.commit(5)
    history.append(1, 0, 5, SCHEMA.to_frame())
    history.commit(5)
    assert collected(tmp_path) == everything(batch(0, 5))


def test_a_stretch_that_is_missing_is_noted_for_good(tmp_path):
    history = History(tmp_path)
    assert history.resume(100) is None  # a new history starts where the line does
    history.append(0, 100, 105, batch(100, 105))
    history.commit(105)
    assert history.resume(110) == Gap(105, 110)
    history.append(0, 110, 112, batch(110, 112))
    history.commit(112)
    history = History(tmp_path)
    assert history.gaps == (Gap(105, 110),)
    assert collected(tmp_path) == sorted(everything(batch(100, 105)) + everything(batch(110, 112)))


def test_shards_append_from_their_threads(tmp_path):
    history = History(tmp_path, shards=4)

    def work(shard):
        for first in range(0, 40, 2):
            history.append(shard, first, first + 2, batch(first, first + 2, shard, 4))

    threads = [threading.Thread(target=work, args=(shard,)) for shard in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.commit(40)
    assert collected(tmp_path) == everything(batch(0, 40))


def test_a_commit_that_fails_half_way_is_absent_and_can_be_tried_again(tmp_path, monkeypatch):
    history = History(tmp_path)
    history.append(0, 0, 5, batch(0, 5))
    history.commit(5)
    history.append(0, 5, 15, batch(5, 15))
    real = pl.DataFrame.write_parquet
    calls = iter(range(10))

    def failing(self, *args, **kwargs):
        if next(calls) == 1:
            raise OSError(28, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", failing)
    with pytest.raises(HistoryError, match=r"commit of 10: .*No space left on device"):
        history.commit(10)
    assert collected(tmp_path) == everything(batch(0, 5))
    assert history.committed == 5
    history.append(0, 15, 16, batch(15, 16))
    history.commit(16)
    assert collected(tmp_path) == everything(batch(0, 16))
    assert everything(History(tmp_path).read().collect()) == everything(batch(0, 16))


def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=96k", "vigie-test", str(disk)]
    if mount is None or subprocess.run([mount, *options], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        history = History(disk)
        history.append(0, 0, 5, batch(0, 5))
        history.commit(5)
        many = batch(5, 30, number=1000)
        history.append(0, 5, 30, many)
        with pytest.raises(HistoryError, match=f"{disk}: commit of 30"):
            history.commit(30)
        assert collected(disk) == everything(batch(0, 5))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        history.commit(30)
        assert collected(disk) == everything(pl.concat([batch(0, 5), many]))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def merge_day(history, day):
    runs = history.runs(day)
    for run in runs:
        history.merge(run)
    return sum(map(len, runs))


def test_merging_a_day(tmp_path):
    history = History(tmp_path, shards=2)
    for first in range(0, 20, 2):
        for shard in range(2):
            history.append(shard, first, first + 2, batch(first, first + 2, shard, 2))
        history.commit(first + 2)
    before = everything(read(tmp_path).collect())
    assert before == everything(batch(0, 20))
    day = tmp_path / "day=2026-03-01"
    parts = {path: path.read_bytes() for path in day.glob("shard=*/*.parquet")}
    assert len(parts) > 10
    assert merge_day(history, "2026-03-01") == len(parts)
    assert len(list(day.glob("shard=*/*"))) == 2
    assert collected(tmp_path) == before
    assert merge_day(history, "2026-03-01") == 0
    # Killed before the parts were removed: they are passed over, and removed at the next start.
    for path, content in parts.items():
        path.write_bytes(content)
    assert collected(tmp_path) == before
    history = History(tmp_path, shards=2)
    assert len(list(day.glob("shard=*/*"))) == 2
    assert collected(tmp_path) == before


def test_a_day_of_very_many_rows_is_several_files(tmp_path, monkeypatch):
    most = 200
    monkeypatch.setattr(engine.history, "MERGED_ROWS", most)
    history = History(tmp_path)
    position = 0
    sizes = [1, 2, 3, 60, 1, 1, 2, 40, 1, 1]  # some beyond the bound by themselves
    for size in sizes:
        history.append(0, position, position + size, batch(position, position + size, number=12))
        position += size
        history.commit(position)
    before = everything(read(tmp_path).collect())
    read_at_once = []
    reading = pl.read_parquet

    def watched(path, **options):
        rows = reading(path, **options)
        read_at_once[-1] += rows.height
        return rows

    monkeypatch.setattr(pl, "read_parquet", watched)
    for _ in range(3):
        for run in history.runs("2026-03-01"):
            read_at_once.append(0)
            history.merge(run)
    assert 2 <= len(read_at_once) < len(sizes)
    assert max(read_at_once) <= most
    assert collected(tmp_path) == before
    assert history.runs("2026-03-01") == [], "a day that is merged is not merged again"


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(st.integers(1, 4), st.floats(0, 1), st.sampled_from(["commit", "compact"])), max_size=12
    )
)
def test_any_order_of_batches_commits_crashes_and_merges(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("history")
    history = History(folder)
    position = 0
    for step in steps:
        if step == "commit":
            history.commit(position)
        elif step == "compact":
            merge_day(history, "2026-03-01")
        elif isinstance(step, float):  # killed; the checkpoint was somewhere before
            history = History(folder)
            position = int(step * history.committed)
            history.resume(position)
        else:
            history.append(0, position, position + step, batch(position, position + step))
            position += step
        assert collected(folder) == everything(batch(0, history.committed))
    history.commit(position)
    assert collected(folder) == everything(batch(0, history.committed))


def test_the_same_rows_make_the_same_bytes(tmp_path):
    for name, cuts in (("a", (0, 7, 20)), ("b", (0, 1, 2, 15, 20))):
        history = History(tmp_path / name)
        for first, until in itertools.pairwise(cuts):
            history.append(0, first, until, batch(first, until).reverse())
        history.commit(20)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    history = History(tmp_path)
    history.append(0, 0, 5, batch(0, 5))
    (made, *_) = history.commit(5)
    mark = tmp_path / "committed.json"
    content = mark.read_text()
    for bad in ("{", json.dumps({"format": 99}), "[]"):
        mark.write_text(bad)
        with pytest.raises(HistoryError, match=r"committed\.json"):
            History(tmp_path)
        with pytest.raises(HistoryError, match=r"committed\.json"):
            read(tmp_path)
    mark.unlink()
    with pytest.raises(
        HistoryError, match=r"committed\.json: missing, and there are files of history beside it"
    ):
        History(tmp_path)
    assert made.exists()
    mark.write_text(content)
    assert collected(tmp_path) == everything(batch(0, 5))


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_history import batch, merge_day
from engine.history import History
history = History(sys.argv[1], shards=2)
position = max(0, history.committed - 3)  # its checkpoint is a little behind
history.resume(position)
print("ready", flush=True)
while True:
    for shard in range(2):
        history.append(shard, position, position + 2, batch(position, position + 2, shard, 2))
    position += 2
    history.commit(position)
    if position % 12 == 0:
        merge_day(history, "2026-03-01")
    print(history.committed, flush=True)
"""


def test_kill_9_at_any_moment(tmp_path):
    rng = np.random.default_rng(3)
    command = [sys.executable, "-W", "error", "-c", CHILD, tmp_path / "h", str(__file__).rsplit("/", 1)[0]]
    said = 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as line:
            assert line.stdout.readline() == "ready\n"
            lines = [line.stdout.readline() for _ in range(rng.integers(0, 5))]
            time.sleep(rng.uniform(0, 0.05))
            line.kill()
            said = max([said, *(int(text) for text in [*lines, *line.stdout])])
        committed = History(tmp_path / "h", shards=2).committed
        assert committed >= said
        assert collected(tmp_path / "h") == everything(batch(0, committed))
    assert said > 3
