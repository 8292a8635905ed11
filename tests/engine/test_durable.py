import threading
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from line_cases import (
    DAY,
    HOUR,
    MINUTE,
    OPTIONS,
    START,
    WEIGHT,
    Sender,
    content,
    lives,
    numbered,
    program,
    roster,
    run,
    streams,
)

from engine import durable, history, saved
from engine.checkpoint import CheckpointError
from engine.durable import DurableLine, Upkeep, decoder
from engine.history_merge import Merger
from engine.kept import readings
from engine.line import Line
from engine.program import Options, Program
from engine.roster import Member, Roster
from ingest.appender import HEARTBEAT
from ingest.log import Log
from rules.alerts import SCHEMA

NEVER = Upkeep(checkpoint_s=1e9, checkpoint_entries=10**9)


class Sink:
    """Takes alerts as the queue does: a row that comes again is one row."""

    def __init__(self):
        self.rows = {}
        self.calls = 0
        self.broken = False

    def __call__(self, alerts):
        if self.broken:
            msg = "the queue is away"
            raise OSError(msg)
        self.calls += 1
        for row in alerts.iter_rows(named=True):
            key = (row["alert_id"], row["rule"], row["kind"], row["t_ms"], row["offset"])
            assert str(self.rows.setdefault(key, row)) == str(row), "the same row, otherwise"

    def frame(self):
        rows = pl.DataFrame(list(self.rows.values()), schema=SCHEMA)
        return rows.sort(["clock_ms", "patient"], maintain_order=True)


def opened(folder, sink, of=None, upkeep=NEVER, **options):
    of = of or program(own=True)
    return DurableLine(folder, of, sink=sink, roster=roster(of), upkeep=upkeep, **options)


def put(line, entries):
    for ticket in line.log.append_many([(source, body, t) for t, source, body in entries]):
        ticket.result(10)


def crash(line):
    """End as a killed process does, nothing more is committed; but the log's lock is given back."""
    line._open.close()


def week(patients=3, days=7):
    """Weights that rise, a little every day, with heartbeats in between."""
    sender = Sender()
    entries = []
    for day in range(days):
        at = START + day * DAY
        for p in range(patients):
            values = {WEIGHT: 80 + 0.4 * p * day}
            entries.append((at + p, "gateway", sender.packet(f"p{p}", "scale", at, values)))
        entries += [(at + k * 2 * HOUR, "heartbeat", b"") for k in range(1, 12)]
    return entries


def undisturbed(entries):
    """What a line in memory makes of it all at once: alerts, the line, history's rows."""
    of = program(own=True)
    line = Line(of, roster=roster(of))
    batch, quarantine = decoder(of).decode(numbered(entries))
    done = line.process(batch, quarantine, np.array([entry[0] for entry in entries], np.int64))
    return done.alerts, line, readings(batch, done.outcomes[0])


def same(folder, sink, entries, line):
    """What went through is as if nothing had disturbed it; give history's rows."""
    alerts, whole, kept = undisturbed(entries)
    assert sink.frame().equals(alerts)
    assert content(line.line) == content(whole)
    assert lives(line.line) == lives(whole)
    assert line.line.accounts.by_source == whole.accounts.by_source
    line.close()
    rows = history.read(folder / "history").collect()
    assert sorted(rows.rows()) == sorted(kept.rows())
    return rows


def test_what_goes_through_the_log_is_what_the_line_says(tmp_path):
    sink = Sink()
    entries = week()
    line = opened(tmp_path, sink)
    put(line, entries)
    assert line.catch_up() == len(entries)
    assert sink.rows
    rows = same(tmp_path, sink, entries, line)
    assert rows.height == 21
    assert rows.filter(patient="p2")["milli"].sort().to_list() == [80_000 + 800 * day for day in range(7)]
    assert rows["offset"].to_list() == [
        next(k for k, entry in enumerate(entries) if entry[0] == t) for t in rows["receipt_ms"]
    ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    streams(patients=4, most=20),
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=5),
    st.data(),
)
def test_crashes_anywhere_change_nothing(tmp_path_factory, entries, stops, data):
    """After so many entries a checkpoint or none, then a crash; at the end all is as without."""
    folder = tmp_path_factory.mktemp("data")
    sink = Sink()
    shards = data.draw(st.sampled_from((1, 3)))
    line = opened(folder, sink, shards=shards)
    put(line, entries)
    for size, save in stops:
        line.step(max_entries=size)
        if save:
            line.checkpoint()
            line.step(max_entries=max(1, size // 2))
        crash(line)
        line = opened(folder, sink, shards=shards)
        assert not line.problems
    line.catch_up()
    same(folder, sink, entries, line)


def test_a_clean_end_leaves_nothing_to_do_again(tmp_path):
    sink = Sink()
    entries = week()
    with opened(tmp_path, sink, shards=2) as line:
        put(line, entries)
        line.catch_up()
        offset = line.next_offset
    calls = sink.calls
    with opened(tmp_path, sink, shards=2) as line:
        assert line.committed_offset == line.next_offset == offset
        assert line.step() == 0
        # The alerts since the checkpoint before are in this one, and given again: to a sink that has lost them.
        assert sink.calls == calls + 1
        assert line.committed_offset == offset
        assert not line.problems


def test_alerts_are_in_the_checkpoint_and_given_again(tmp_path):
    entries = week()
    line = opened(tmp_path, Sink())
    put(line, entries)
    line.catch_up()
    line.close()
    lost = Sink()
    line = opened(tmp_path, lost)
    line.step()
    assert lost.frame().equals(run(program(own=True), entries)[0])
    line.close()


def test_no_checkpoint_passes_what_the_sink_has_not_taken(tmp_path):
    entries = week()
    sink = Sink()
    line = opened(tmp_path, sink)
    put(line, entries)
    sink.broken = True
    with pytest.raises(OSError, match="the queue is away"):
        line.catch_up()
    with pytest.raises(OSError, match="the queue is away"):
        line.checkpoint()
    assert line.committed_offset is None
    sink.broken = False
    line.catch_up()
    assert line.checkpoint() == len(entries)
    same(tmp_path, sink, entries, line)


def newest(folder, shard=0):
    return max(saved.folder_of(folder / "checkpoints", shard).glob("*.checkpoint"))


def damage(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, shards):
    entries = week()
    sink = Sink()
    line = opened(tmp_path, sink, shards=shards)
    put(line, entries)
    line.step(max_entries=40)
    line.checkpoint()
    line.step(max_entries=40)
    line.checkpoint()
    crash(line)
    hurt = newest(tmp_path, shards - 1)
    damage(hurt)
    line = opened(tmp_path, sink, shards=shards)
    assert line.next_offset == 40
    assert any(str(hurt) in problem and "damaged" in problem for problem in line.problems)
    line.catch_up()
    same(tmp_path, sink, entries, line)


def test_a_set_that_was_begun_and_not_ended_is_no_checkpoint(tmp_path):
    """Killed after the first shard's file had its name: the other has none at that offset."""
    entries = week()
    sink = Sink()
    line = opened(tmp_path, sink, shards=2)
    put(line, entries)
    for _ in range(2):
        line.step(max_entries=40)
        line.checkpoint()
    crash(line)
    newest(tmp_path, 1).unlink()
    line = opened(tmp_path, sink, shards=2)
    assert line.next_offset == 40
    line.catch_up()
    for _ in range(2):
        line.checkpoint()
        put(line, [(START + 8 * DAY, "heartbeat", b"")])
        line.catch_up()
    line.checkpoint()
    kept = [
        [path.name for path in sorted(saved.folder_of(tmp_path / "checkpoints", k).glob("*"))]
        for k in range(2)
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 2
    line.close()


def test_without_any_good_checkpoint_the_state_is_rebuilt(tmp_path):
    entries = week()
    sink = Sink()
    line = opened(tmp_path, sink)
    put(line, entries)
    line.catch_up()
    line.close()
    for path in saved.folder_of(tmp_path / "checkpoints", 0).glob("*.checkpoint"):
        damage(path)
    line = opened(tmp_path, sink)
    assert line.next_offset == 0
    assert "rebuilt from the log" in line.rebuilt
    line.catch_up()
    same(tmp_path, sink, entries, line)


@pytest.mark.parametrize("change", ["protocol", "options", "shards"])
def test_a_state_of_another_program_is_not_used_and_that_is_said(tmp_path, change):
    entries = week()
    sink = Sink()
    with opened(tmp_path, sink) as line:
        put(line, entries)
        line.catch_up()
    other, shards = program(own=True), 1
    if change == "protocol":
        other = program("covidom", own=False)
    elif change == "options":
        other = Program(other.protocols, Options(deaf_after_ms=OPTIONS.deaf_after_ms, lateness_ms=DAY))
    else:
        shards = 4
    with DurableLine(tmp_path, other, sink=Sink(), upkeep=NEVER, shards=shards) as line:
        assert line.next_offset == 0
        assert "rebuilt" in line.rebuilt
        assert len(line.problems) == 2
        assert {"protocol": "protocols", "options": "options", "shards": "shard 0 of 4"}[
            change
        ] in line.problems[0]
        line.catch_up()
        assert line.line.accounts.total.received == 21
    with DurableLine(tmp_path, other, sink=Sink(), upkeep=NEVER, shards=shards) as line:
        assert line.next_offset == len(entries)
        assert not line.rebuilt


def test_a_changed_roster_holds_from_the_restart_on(tmp_path):
    """Limits and programmes are the roster's, not the checkpoint's; readings stay."""
    entries = week(days=3)
    with opened(tmp_path, Sink()) as line:
        put(line, entries)
        line.catch_up()
    of = program()  # nobody has a dry weight any more: the state has one column less
    with DurableLine(tmp_path, of, sink=Sink(), roster=Roster(of, {"p1": Member(())}), upkeep=NEVER) as line:
        assert line.next_offset == len(entries)
        assert not line.problems
        arrays = line.line.shards[0].state.arrays
        assert arrays["limits"].shape[1] == 0
        assert arrays["programmes"][:3].tolist() == [1, 0, 1]
        assert len(content(line.line)["p1"][1]["weight"]) == 3


def test_a_log_that_ends_before_its_checkpoint_is_refused(tmp_path):
    with opened(tmp_path, Sink()) as line:
        put(line, week(days=1))
        line.catch_up()
    for path in tmp_path.glob("log*"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"ends at offset 0, but the checkpoint is at 14"):
        opened(tmp_path, Sink())
    for path in tmp_path.glob("log*"):
        path.unlink()
    Log(tmp_path / "log", first_offset=14).close()
    with opened(tmp_path, Sink()) as line:
        assert line.next_offset == 14


def test_a_log_that_was_trimmed_too_far_is_said(tmp_path):
    line = opened(tmp_path, Sink())
    put(line, week(days=2))
    line.step(max_entries=10)
    line.checkpoint()
    crash(line)
    with Log.open(tmp_path / "log") as log:
        log.trim(20)
    with opened(tmp_path, Sink()) as line:
        assert line.next_offset == 20
        assert "offsets 10 to 19 were trimmed" in line.problems[0]
        assert "not in history" in line.problems[1]
        line.catch_up()


def test_what_may_be_trimmed(tmp_path):
    line = opened(tmp_path, Sink())
    put(line, week(days=3))
    assert line.trimmable == 0
    for _ in range(3):
        line.step(max_entries=10)
        before = line.committed_offset
        line.checkpoint()
    assert (line.trimmable, line.committed_offset) == (before, 30) == (20, 30)
    line.log.trim(line.trimmable)
    damage(newest(tmp_path))
    crash(line)
    with opened(tmp_path, Sink()) as line:
        assert line.next_offset == 20
        line.catch_up()


def test_checkpoints_are_made_beside_the_running_line(tmp_path):
    sink = Sink()
    entries = week(patients=5)
    line = opened(tmp_path, sink, upkeep=Upkeep(checkpoint_s=1e9, checkpoint_entries=20), shards=2)
    put(line, entries)
    offsets = set()
    while line.step(max_entries=7):
        line._commits.wait()  # they are made as quickly as the disk is
        offsets.add(line.committed_offset)
    assert len(offsets) > 2
    files = [path.name for path in saved.folder_of(tmp_path / "checkpoints", 1).glob("*.checkpoint")]
    assert len(files) <= 3
    same(tmp_path, sink, entries, line)


def test_a_checkpoint_that_fails_is_said_and_tried_again(tmp_path):
    entries = week()
    sink = Sink()
    line = opened(tmp_path, sink)
    put(line, entries)
    line.step(max_entries=30)
    folder = saved.folder_of(tmp_path / "checkpoints", 0)
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    assert line.checkpoint() is None
    assert str(folder) in line.problems[0]
    folder.unlink()
    line.catch_up()
    assert line.checkpoint() == len(entries)
    assert not line.problems
    crash(line)
    lost = Sink()
    line = opened(tmp_path, lost)
    line.step()
    assert lost.frame().equals(run(program(own=True), entries)[0])  # also those of the failed one
    line.close()


def test_damage_in_the_log_is_said_and_passed_over(tmp_path):
    import sqlite3

    entries = week(days=2)
    with Log.open(tmp_path / "log") as log:
        for ticket in log.append_many([(source, body, t) for t, source, body in entries]):
            ticket.result()
    with sqlite3.connect(tmp_path / "log") as database:
        database.execute('UPDATE entry SET body = ? WHERE "offset" IN (1, 27)', (b"other",))
    database.close()
    line = opened(tmp_path, Sink())
    line.catch_up()
    assert line.next_offset == len(entries) == 28
    assert [("entr" in problem or "offset" in problem) for problem in line.problems] == [True, True]
    assert line.line.accounts.total.received == 5
    assert line.checkpoint() == 28
    line.close()


def test_live_it_beats_and_takes_what_comes(tmp_path):
    sink = Sink()
    now = START

    def wall():
        nonlocal now
        now += MINUTE
        return now

    line = opened(tmp_path, sink, upkeep=Upkeep(heartbeat_s=0.05), wall_ms=wall)
    stop = threading.Event()
    running = threading.Thread(target=line.run, args=(stop,))
    running.start()
    sender = Sender()
    for day, weight in enumerate((80, 83.5)):
        body = sender.packet("p0", "scale", START + day * DAY, {WEIGHT: weight})
        line.log.append("gateway", body, START + day * DAY).result(10)
    end = time.monotonic() + 60
    while not sink.rows and time.monotonic() < end:
        time.sleep(0.02)
    stop.set()
    running.join(60)
    assert {row["rule"] for row in sink.rows.values()} >= {"gain"}
    beats = [entry for entry in line.log.read(0) if entry.source == HEARTBEAT]
    assert beats
    assert all(entry.body == b"" for entry in beats)
    line.close()


def test_a_heartbeat_slower_than_deafness_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"heartbeat_s 20000: legal is .* less than deaf_after, 10800 s"):
        opened(tmp_path, Sink(), upkeep=Upkeep(heartbeat_s=20_000))


def test_one_process_has_the_folder(tmp_path):
    with opened(tmp_path, Sink()), pytest.raises(Exception, match="writes this log"):
        opened(tmp_path, Sink())


def test_ecg_goes_on_after_a_restart(tmp_path):
    """The detector's state is in the checkpoint too: a chunk is not taken twice, none is missed."""
    from ingest import packet

    rng = np.random.default_rng(1)
    rate, seconds = 250, 60
    signal = rng.normal(0, 10, rate * seconds)
    for beat in np.arange(0.5, seconds, 0.4):
        at = int(beat * rate)
        signal[at - 3 : at + 4] += 900
    chunks = np.round(signal).astype(np.int16).reshape(12, -1)
    entries = [
        (
            START + 5000 * (k + 1),
            "patch",
            packet.ecg_chunk("p0", "patch", k, START + 5000 * k, 33, rate, 1000, chunk),
        )
        for k, chunk in enumerate(chunks)
    ]
    expected, whole = run(program(own=True), entries)
    assert expected.filter(rule="fast").height
    sink = Sink()
    line = opened(tmp_path, sink)
    put(line, entries)
    for save in (True, False, True):
        line.step(max_entries=3)
        if save:
            line.checkpoint()
        crash(line)
        line = opened(tmp_path, sink)
    line.catch_up()
    assert sink.frame().equals(expected)
    assert content(line.line) == content(whole)
    line.close()
    rows = history.read(tmp_path / "history").collect()
    assert set(rows["signal"]) <= {8, *range(40, 51)}
    assert rows.height == rows.unique().height > 3


def test_a_step_that_failed_half_way_is_not_gone_on_with(tmp_path, monkeypatch):
    """What is on the disk is as before, and the next start goes on from there."""
    sink = Sink()
    entries = week()
    line = opened(tmp_path, sink)
    put(line, entries)
    line.step(max_entries=30)
    line.checkpoint()

    def full(*_):
        msg = "no room"
        raise history.HistoryError(msg)

    monkeypatch.setattr(line.history, "append", full)
    with pytest.raises(history.HistoryError, match="no room"):
        line.step()
    for again in (line.step, line.checkpoint):
        with pytest.raises(RuntimeError, match="failed half way"):
            again()
    line.close()
    line = opened(tmp_path, sink)
    assert line.next_offset == 30
    line.catch_up()
    same(tmp_path, sink, entries, line)


def test_what_is_old_and_not_needed_is_removed_from_the_log(tmp_path, monkeypatch):
    entries = week()
    now = [entries[-1][0]]
    keep = Upkeep(checkpoint_s=1e9, checkpoint_entries=10**9, keep_days=3)
    with opened(tmp_path, Sink(), upkeep=keep, wall_ms=lambda: now[0]) as line:
        put(line, entries)
        line.catch_up()
        line._trim()
        assert line.log.first_offset == 0  # no checkpoint yet: all is needed
        line.checkpoint()
        put(line, [(entries[-1][0], "heartbeat", b"")])
        line.catch_up()
        line.checkpoint()
        monkeypatch.setattr(line, "_trim_due", 0.0)
        line._trim()
        kept = line.log.read(line.log.first_offset)
        assert kept[0].receipt_ms >= now[0] - 3 * DAY
        assert line.log.first_offset == sum(entry[0] < now[0] - 3 * DAY for entry in entries) > 0
        # Not looked at again at once.
        now[0] += 30 * DAY
        line._trim()
        assert len(line.log.read(line.log.first_offset)) == len(kept)


def test_under_a_load_that_never_ends_the_log_is_trimmed_and_history_merged(tmp_path, monkeypatch):
    entries = week()
    now = [entries[-1][0]]
    keep = Upkeep(checkpoint_s=1e9, checkpoint_entries=10**9, keep_days=3)
    monkeypatch.setattr(durable, "_TRIM_ENTRIES", 3)
    looked = threading.Event()
    monkeypatch.setattr(Merger, "look", lambda _: looked.set())
    pieces = []
    with opened(tmp_path, Sink(), upkeep=keep, wall_ms=lambda: now[0]) as line:
        put(line, entries)
        for last in ((now[0], "heartbeat", b""),) * 2:
            line.catch_up()
            line.checkpoint()
            put(line, [last])
        trim = line.log.trim

        def piece(until):
            pieces.append(until - line.log.first_offset)
            return trim(until)

        monkeypatch.setattr(line.log, "trim", piece)
        monkeypatch.setattr(line, "step", lambda: 1)
        stop = threading.Event()
        running = threading.Thread(target=line.run, args=(stop,))
        running.start()
        want = sum(entry[0] < now[0] - 3 * DAY for entry in entries)
        end = time.monotonic() + 60
        while line.log.first_offset < want and time.monotonic() < end:
            time.sleep(0.01)
        stop.set()
        running.join()
        monkeypatch.undo()
        assert line.log.first_offset == want > 3
        assert max(pieces) <= 3
        assert looked.is_set()


def test_steps_are_told_and_accounts_are_those_between_batches(tmp_path):
    steps = []
    with opened(tmp_path, Sink(), watch=steps.append) as line:
        put(line, week())
        line.catch_up()
        assert sum(step.entries for step in steps) == len(week())
        assert all(min(step.decode_s, step.process_s, step.commit_s) >= 0 for step in steps)
        accounts = line.accounts()
        assert accounts.by_source == line.line.accounts.by_source
        assert accounts.by_source is not line.line.accounts.by_source
        assert line.lag_s() == 0
        line.line.accounts.of("gateway").received += 1
        put(line, [(week()[-1][0], "gateway", b"")])
        line.step()
        assert line.unbalanced == ["gateway"]
        assert "accounts of source gateway do not balance" in line.problems[-1]
