import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.log import (
    Damage,
    Entry,
    Log,
    LogBusyError,
    LogClosedError,
    LogDamagedError,
    LogDiskFullError,
    LogError,
    LogLockedError,
    LogReader,
    LogTrimmedError,
    NotALogError,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.sqlite"


@pytest.fixture
def small_disk(tmp_path):
    # A disk of 2 MB of its own; for root only, and not in every container.
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=2m", "vigie-test", str(folder)]
    if mount is None or subprocess.run([mount, *options], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(log, bodies, source="gateway", start_ms=1_000):
    tickets = log.append_many([(source, body, start_ms + i) for i, body in enumerate(bodies)])
    return [ticket.result(timeout=60) for ticket in tickets]


def taken(log):
    """Wait until the writer has in hand what was appended."""
    deadline = time.monotonic() + 60
    while log._queue and time.monotonic() < deadline:
        time.sleep(0.001)


def test_what_was_appended_is_read_back(path):
    with Log(path) as log:
        assert log.last_offset == -1
        assert log.read(0) == []
        assert fill(log, [b"one", b"", b"three"]) == [0, 1, 2]
        assert log.append("fhir:hôpital", b"four", 5_000).result(60) == 3
        expected = [
            Entry(0, 1_000, "gateway", b"one"),
            Entry(1, 1_001, "gateway", b""),
            Entry(2, 1_002, "gateway", b"three"),
            Entry(3, 5_000, "fhir:hôpital", b"four"),
        ]
        assert log.read(0) == expected
        assert log.read(2) == expected[2:]
        assert log.read(4) == log.read(9) == []
        assert log.last_offset == 3
    with LogReader(path) as reader:
        assert reader.read(0) == expected
        assert (reader.first_offset, reader.next_offset) == (0, 4)
        assert reader.verify().ok


def test_a_read_is_bounded_but_gives_at_least_one_entry(path):
    with Log(path) as log:
        fill(log, [bytes(1000)] * 10)
        assert [e.offset for e in log.read(3, max_bytes=2500)] == [3, 4]
        assert [e.offset for e in log.read(3, max_bytes=1)] == [3]
        assert [e.offset for e in log.read(3, max_entries=4)] == [3, 4, 5, 6]


def test_receipt_times_never_go_back(path):
    with Log(path) as log:
        for ms in (10_000, 9_000, 12_000, 1):
            log.append("s", b"", ms).result(60)
        assert [e.receipt_ms for e in log.read(0)] == [10_000, 10_000, 12_000, 12_000]
        log.trim(4)
    with Log(path) as log:  # nor over a restart, though nothing is left to read it from
        log.append("s", b"", 5).result(60)
        assert log.read(4)[0].receipt_ms == 12_000


def test_many_threads_one_offset_each_and_one_transaction_for_many(path):
    with Log(path) as log:
        got = []

        def work(number):
            for i in range(50):
                body = f"{number}:{i}".encode()
                got.append((log.append("s", body, i).result(60), body))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(offset for offset, _ in got) == list(range(400))
        assert {(e.offset, e.body) for e in log.read(0)} == set(got)
        assert log._groups < 400

        groups = log._groups
        with log._writing:  # the disk is slow: what comes meanwhile is one group
            first = log.append("s", b"first", 0)
            taken(log)
            tickets = [log.append("s", b"x", 0) for _ in range(100)]
            assert not first.done()
        assert tickets[-1].result(60) == 500
        assert log._groups == groups + 2


def test_the_disk_is_asked_before_a_ticket_is_given(path):
    with Log(path) as log:
        (synchronous,) = log._writer_connection.execute("PRAGMA synchronous").fetchone()
        (journal,) = log._writer_connection.execute("PRAGMA journal_mode").fetchone()
    assert (synchronous, journal) == (2, b"wal")  # FULL: fsync at each commit


def test_an_offset_is_found_by_its_receipt_time(path):
    with Log(path) as log:
        assert log.offset_at(0) == 0
        assert log.receipt_ms(0) is None
        times = [10, 10, 20, 20, 20, 35]
        for ticket in log.append_many([("s", b"x", ms) for ms in times]):
            ticket.result(60)
        log.trim(1)
        for ms, offset in ((0, 1), (10, 1), (11, 2), (20, 2), (21, 5), (35, 5), (36, 6), (10**9, 6)):
            assert log.offset_at(ms) == offset
        assert [log.receipt_ms(k) for k in (0, 1, 2, 5, 6)] == [10, 10, 20, 35, None]


def test_a_full_queue_says_so(path):
    with Log(path, queue_bytes=16 << 20) as log:
        with log._writing:
            log.append("s", bytes(1), 0)
            taken(log)
            tickets = [log.append("s", bytes(8 << 20), 0) for _ in range(2)]
            with pytest.raises(LogBusyError, match="16777216 bytes wait for the disk, 5 more do not fit"):
                log.append("s", bytes(5), 0, timeout=0)
            with pytest.raises(LogBusyError):
                log.append("s", bytes(5), 0, timeout=0.05)
        assert [ticket.result(60) for ticket in tickets] == [1, 2]
        assert log.append("s", bytes(5), 0, timeout=60).result(60) == 3


def test_a_cancelled_ticket_is_not_written(path):
    with Log(path) as log:
        with log._writing:
            log.append("s", b"first", 0)
            taken(log)
            cancelled = log.append("s", b"no", 0)
            kept = log.append("s", b"yes", 0)
            assert cancelled.cancel()
        assert kept.result(60) == 1
        assert [e.body for e in log.read(0)] == [b"first", b"yes"]


@pytest.mark.parametrize(
    ("source", "body", "receipt_ms", "words"),
    [
        ("", b"", 0, "name of 0 bytes: legal are 1 to 200"),
        ("é" * 101, b"", 0, "name of 202 bytes"),
        ("s", b"", -1, "receipt time -1"),
        ("s", bytes((16 << 20) + 1), 0, "legal are 0 to 16777216"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_once(path, source, body, receipt_ms, words):
    with Log(path) as log, pytest.raises(ValueError, match=words):
        log.append(source, body, receipt_ms)


def test_a_closed_log_says_so_and_closing_writes_what_waits(path):
    log = Log(path)
    with log._writing:
        tickets = [log.append("s", b"x", 0) for _ in range(20)]
        closing = threading.Thread(target=log.close)
        closing.start()
        time.sleep(0.05)
    closing.join()
    assert [ticket.result(0) for ticket in tickets] == list(range(20))
    log.close()
    with pytest.raises(LogClosedError, match=r"log\.sqlite"):
        log.append("s", b"", 0)
    with pytest.raises(LogClosedError):
        LogReader.next_offset.fget(log)
    assert not Path(f"{path}-wal").exists()  # a log that was closed is one file


def test_waiting_for_what_comes(path):
    with Log(path) as log, LogReader(path) as reader:
        assert not log.wait_for(0, 0.02)
        assert not reader.wait_for(0, 0.02)
        timer = threading.Timer(0.1, lambda: log.append("s", b"x", 0))
        timer.start()
        assert log.wait_for(0, 10)
        assert reader.wait_for(0, 10)
        assert reader.read(0)[0].body == b"x"
        timer.join()


def test_trimmed_offsets_are_never_given_again(path):
    with Log(path) as log:
        fill(log, [bytes(100)] * 1000)
        assert log.trim(300) == 300
        assert (log.first_offset, log.next_offset) == (300, 1000)
        with pytest.raises(LogTrimmedError, match="offset 299 was removed by retention; the oldest is 300"):
            log.read(299)
        assert log.read(300)[0].offset == 300
        with pytest.raises(ValueError, match="trim before 1001: the next offset is 1000"):
            log.trim(1001)
        assert log.trim(100) == 0
        assert log.trim(1000) == 700
        assert log.read(1000) == []
        assert log.verify().ok
    with Log(path) as log:
        assert (log.first_offset, log.next_offset) == (1000, 1000)
        assert log.append("s", b"x", 0).result(60) == 1000


def test_the_room_of_trimmed_entries_is_used_again_and_overwritten(path):
    secret = os.urandom(16).hex().encode()
    with Log(path) as log:
        fill(log, [secret * 100] * 200)
    size = path.stat().st_size
    for _ in range(5):
        with Log(path) as log:
            log.trim(log.next_offset)
            fill(log, [bytes(3200)] * 200)
    assert path.stat().st_size <= size * 1.2
    assert secret not in path.read_bytes()


def test_a_log_can_follow_another(path):
    with Log(path, first_offset=500) as log:
        assert log.append("s", b"x", 0).result(60) == 500
    with Log(path, first_offset=900) as log:  # of a new log only
        assert log.append("s", b"x", 0).result(60) == 501


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.lists(st.binary(max_size=40), min_size=1, max_size=5),
            st.floats(0, 1),
            st.just("reopen"),
        ),
        max_size=12,
    ),
    st.integers(0, 3000),
)
def test_the_log_is_a_list_that_grows_and_is_cut(tmp_path_factory, steps, start_ms):
    path = tmp_path_factory.mktemp("log") / "log.sqlite"
    model: list[bytes] = []
    first = 0
    log = Log(path)
    try:
        for step in steps:
            if step == "reopen":
                log.close()
                log = Log(path)
            elif isinstance(step, float):
                first = max(first, int(step * len(model)))
                log.trim(first)
            else:
                assert fill(log, step, start_ms=start_ms) == list(range(len(model), len(model) + len(step)))
                model += step
            assert [(e.offset, e.body) for e in log.read(first)] == list(enumerate(model))[first:]
            assert (log.first_offset, log.next_offset) == (first, len(model))
        assert log.verify().ok
    finally:
        log.close()


# ---- one writer


def test_a_second_writer_is_refused(path):
    with Log(path) as log:
        with pytest.raises(LogLockedError, match=f"process {os.getpid()} writes this log"):
            Log(path)
        code = f"from ingest.log import Log\nLog({str(path)!r})"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"LogLockedError: {path}: process {os.getpid()} writes this log" in other.stderr
        assert log.append("s", b"x", 0).result(60) == 0
    Log(path).close()


def test_another_process_reads_beside_the_writer(path):
    with Log(path) as log:
        fill(log, [b"x"])
        code = (
            "from ingest.log import LogReader\n"
            f"with LogReader({str(path)!r}) as reader:\n"
            "    print('open', flush=True)\n"
            "    assert reader.wait_for(2, 20)\n"
            "    print(*(entry.body.decode() for entry in reader.read(0)), reader.verify().ok)\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "open\n"
            fill(log, [b"y", b"z"])
            assert other.stdout.read() == "x y z True\n"


# ---- crashes

WRITER = """
import random, sys, threading, zlib
from ingest.log import Log
log = Log(sys.argv[1])
seed = int(sys.argv[2])
said = threading.Lock()
def work(number):
    rng = random.Random(seed * 10 + number)
    while True:
        body = rng.randbytes(rng.choice((0, 10, 300, 5000, 60000)))
        ticket = log.append("s%d" % number, body, rng.randrange(10**6))
        offset = ticket.result()
        with said:
            print(offset, zlib.crc32(body), flush=True)
print("ready", flush=True)  # before the threads: print writes a line in two parts
for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
while True:
    # Retention runs as well: it may be killed in the midst too.
    threading.Event().wait(0.05)
    log.trim(max(log.first_offset, log.next_offset - 400))
"""


def test_kill_9_loses_nothing_that_was_acknowledged(path):
    rng = random.Random(20261122)
    acknowledged: dict[int, int] = {}
    following = 0
    # Eight, and as many more as a slow disk needs to have something to lose.
    for round_number in range(60):
        if round_number >= 8 and len(acknowledged) > 100:
            break
        command = [sys.executable, "-c", WRITER, str(path), str(round_number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            lines: list[str] = []
            reading = threading.Thread(target=lambda: lines.extend(writer.stdout))  # noqa: B023 - joined below
            reading.start()
            deadline = time.monotonic() + 120
            while "ready\n" not in lines and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.3))
            writer.send_signal(signal.SIGKILL)
            reading.join()
        assert "ready\n" in lines
        for line in lines:
            if line != "ready\n" and line.endswith("\n"):
                offset, crc = map(int, line.split())
                assert offset >= following  # given after what was there, never again
                assert acknowledged.setdefault(offset, crc) == crc
        with LogReader(path) as reader:
            report = reader.verify()
            assert report.ok, str(report)
            entries = reader.read(reader.first_offset, max_bytes=1 << 40)
            there = {entry.offset: zlib.crc32(entry.body) for entry in entries}
            for offset, crc in acknowledged.items():
                if offset >= report.first_offset:
                    assert there[offset] == crc
            following = reader.next_offset
            assert following > max(acknowledged, default=-1)
            times = [entry.receipt_ms for entry in entries]
            assert times == sorted(times)
    assert len(acknowledged) > 100


# ---- disks that refuse


def test_a_full_file_refuses_and_goes_on_when_there_is_room(path):
    with Log(path) as log:
        fill(log, [bytes(1000)] * 10)
        log._copy_wal(whole=True)
        (pages,) = log._writer_connection.execute("PRAGMA page_count").fetchone()
        log._writer_connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        tickets = log.append_many([("s", bytes(60_000), 0)] * 3)
        for ticket in tickets:
            error = ticket.exception(60)
            assert isinstance(error, LogDiskFullError)
            assert f"{path}: appending: the disk is full" in str(error)
        assert log.next_offset == 10
        log._writer_connection.execute("PRAGMA max_page_count = 100000")
        assert fill(log, [b"again"]) == [10]
        assert log.verify().ok


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk):
    path = small_disk / "log.sqlite"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    acknowledged = []
    with Log(path) as log:
        while True:
            ticket = log.append("s", len(acknowledged).to_bytes(4, "little") * 2500, 0)
            error = ticket.exception(10)
            if error is not None:
                break
            acknowledged.append(ticket.result())
        assert isinstance(error, LogDiskFullError)
        assert str(path) in str(error)
        assert len(acknowledged) > 20
        assert [e.offset for e in log.read(0)] == acknowledged
        ballast.unlink()
        assert fill(log, [b"room again"]) == [len(acknowledged)]
        assert log.verify().ok
    with LogReader(path) as reader:
        entries = reader.read(0)
    assert all(e.body[:4] == e.offset.to_bytes(4, "little") for e in entries[:-1])
    assert entries[-1].body == b"room again"


def test_a_log_cannot_be_made_on_a_full_disk(small_disk):
    with contextlib.suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(4 << 20))
    with pytest.raises(LogDiskFullError, match=r"log\.sqlite"):
        Log(small_disk / "log.sqlite")


def test_a_file_too_large_for_the_process_is_an_error_of_the_disk(path):
    code = (
        "import resource, sys\n"
        "from ingest.log import Log, LogError\n"
        "log = Log(sys.argv[1])\n"
        "good = log.append('s', b'good', 0).result()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "error = log.append('s', bytes(1_000_000), 0).exception()\n"
        "assert isinstance(error, LogError), error\n"
        "print(error)\n"
        "try:\n"
        "    log.append('s', b'', 0)\n"
        "except LogError as again:\n"
        "    print(again)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    first, second = ran.stdout.splitlines()
    assert "appending: the disk reports an error" in first
    assert "nothing more is taken until the log is opened again" in second
    with Log(path) as log:
        assert [e.body for e in log.read(0)] == [b"good"]
        assert log.append("s", b"after", 0).result(60) == 1


def test_a_read_only_disk_is_read_and_not_written(small_disk):
    path = small_disk / "log.sqlite"
    with Log(path) as log:
        fill(log, [b"one", b"two"])
        # A second log as a crash leaves it, its last entries in the -wal only.
        crashed = small_disk / "crashed.sqlite"
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with LogReader(path) as reader:
        assert [e.body for e in reader.read(0)] == [b"one", b"two"]
        assert reader.verify().ok
    with pytest.raises(LogError, match=r"log\.sqlite: the log cannot be written here: Read-only file system"):
        Log(path)
    # All of it or an error: never the part without the -wal.
    with pytest.raises(LogError, match=r"crashed\.sqlite: opening"):
        LogReader(crashed)


def test_a_moved_file_is_noticed(path, tmp_path):
    with Log(path) as log:
        fill(log, [b"x"])
        path.rename(tmp_path / "elsewhere.sqlite")
        with pytest.raises(LogError, match=r"log\.sqlite: the file was moved, deleted or replaced"):
            log.append("s", b"y", 0).result(60)
        with pytest.raises(LogError, match="nothing more is taken until the log is opened again"):
            log.append("s", b"z", 0)


def test_another_program_that_holds_the_file_is_named(path, monkeypatch):
    with Log(path) as log:
        fill(log, [b"x"])
        log._writer_connection.execute("PRAGMA busy_timeout = 20")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogError, match="another program holds the file"):
                log.append("s", b"y", 0).result(60)
            shell.execute("ROLLBACK")
        assert fill(log, [b"y"]) == [1]


# ---- files that are not what they should be


def test_what_is_not_a_log_is_left_alone(path, tmp_path):
    path.write_bytes(b"weight,82.4\n" * 1000)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE entry (x)")
        other.commit()
    for file in (path, tmp_path / "other.sqlite"):
        before = file.read_bytes()
        for opening in (Log, LogReader):
            with pytest.raises(NotALogError, match=f"{file.name}.*not a Vigie log"):
                opening(file)
        assert file.read_bytes() == before
    with pytest.raises(LogError, match="there is no log here"):
        LogReader(tmp_path / "none.sqlite")
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(NotALogError, match="the file is empty"):
        LogReader(tmp_path / "empty.sqlite")
    with pytest.raises(LogError, match="cannot be written here: No such file or directory"):
        Log(tmp_path / "nowhere" / "log.sqlite")


def test_a_log_of_another_format_is_named(path):
    Log(path).close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 7")
    with pytest.raises(NotALogError, match="log format 7; this version of Vigie reads format 1"):
        Log(path)


def test_a_changed_entry_is_named_and_passed_over_only_when_asked(path):
    with Log(path) as log:
        fill(log, [b"entry %d" % i for i in range(10)])
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE entry SET body = CAST('entri 4' AS BLOB) WHERE \"offset\" = 4")
        other.execute('UPDATE entry SET receipt_ms = receipt_ms + 1 WHERE "offset" = 6')
        other.execute('DELETE FROM entry WHERE "offset" IN (7, 8)')
        other.commit()
    with LogReader(path) as reader:
        assert [e.offset for e in reader.read(0)] == [0, 1, 2, 3]
        with pytest.raises(LogDamagedError, match=r"log\.sqlite: offset 4: checksum [0-9a-f]{8} is not"):
            reader.read(4)
        damaged: list[Damage] = []
        assert [e.offset for e in reader.read(0, damaged=damaged)] == [0, 1, 2, 3, 5, 9]
        report = reader.verify()
    assert not report.ok
    assert report.intact == 6
    assert list(report.damaged) == damaged
    assert [(d.first_offset, d.last_offset) for d in damaged] == [(4, 4), (6, 6), (7, 8)]
    assert "offsets 7 to 8: missing" in str(report)


def test_a_damaged_mark_hides_nothing(path):
    with Log(path) as log:
        fill(log, [b"x"] * 10)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE mark SET first_offset = 5")
        other.commit()
    with LogReader(path) as reader:
        with pytest.raises(LogDamagedError, match="the mark of the first and next offset"):
            reader.read(7)
        assert not reader.verify().ok
    with pytest.raises(LogDamagedError):
        Log(path)


@pytest.fixture(scope="module")
def good_log(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "log.sqlite"
    rng = random.Random(7)
    bodies = [rng.randbytes(rng.choice((20, 400, 3000, 40_000))) for _ in range(60)]
    with Log(path) as log:
        fill(log, bodies)
    return path.read_bytes(), bodies


def read_all(path):
    """Entries, damage and report of a log that may be damaged; None where it says that it cannot be opened."""
    try:
        with LogReader(path) as reader:
            damaged: list[Damage] = []
            return reader.read(0, max_bytes=1 << 40, damaged=damaged), damaged, reader.verify()
    except LogError as error:
        if path.name not in str(error):
            raise
        return None


# Heads of pages hold the tree, the rest holds what was received. All is drawn before the file is looked at.
@settings(max_examples=150)
@given(st.integers(0, 1 << 16), st.one_of(st.integers(0, 120), st.integers(0, 16383)), st.integers(0, 7))
def test_a_flipped_bit_never_gives_a_wrong_entry_and_is_seen(tmp_path_factory, good_log, page, at, bit):
    content, bodies = good_log
    changed = bytearray(content)
    changed[page % (len(content) // 16384) * 16384 + at] ^= 1 << bit
    path = tmp_path_factory.mktemp("bad") / "log.sqlite"
    path.write_bytes(changed)
    found = read_all(path)
    if found is None:
        return
    entries, damaged, report = found
    for entry in entries:
        assert (entry.body, entry.source, entry.receipt_ms) == (
            bodies[entry.offset],
            "gateway",
            1_000 + entry.offset,
        )
    offsets = {entry.offset for entry in entries}
    if len(offsets) < len(bodies):
        assert not report.ok
        lost = {o for d in damaged for o in range(d.first_offset, d.last_offset + 1)}
        assert lost == set(range(len(bodies))) - offsets


def test_a_torn_file_is_seen(path, good_log):
    content, bodies = good_log
    for pages in (1, 2, 10, len(content) // 16384 - 1):
        path.write_bytes(content[: pages * 16384 - 100])
        if found := read_all(path):
            entries, _, report = found
            assert not report.ok
            assert len(entries) < len(bodies)
            assert all(e.body == bodies[e.offset] for e in entries)
