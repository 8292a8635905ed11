import dataclasses
import errno
import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine import beside, checkpointfile
from engine.checkpoint import (
    CheckpointError,
    Header,
    load,
    newest_good,
    prune,
    read_header,
    write,
    write_beside,
)
from engine.fence import Fence

HEADER = Header(
    shard=3, shards=8, offset=1234, kernels="k" * 16, program="p" * 16, meta={"clock_ms": 5, "é": [1]}
)


def state(rng=None):
    rng = rng or np.random.default_rng(1)
    return {
        "t": rng.integers(0, 1 << 40, 1000),
        "milli": rng.integers(0, 1 << 20, (50, 8)).astype(np.int32),
        "last": rng.normal(size=77),
        "empty": np.empty((0, 4), np.float32),
        "flags": rng.integers(0, 2, 13).astype(bool),
        "clock": np.array(9, np.int64),
    }


BLOBS = {"alerts": b"ARROW1" + bytes(range(256)), "none": b""}


def same(found, arrays, blobs):
    assert found.blobs == blobs
    assert list(found.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)
    return True


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=1m", "vigie-test", str(folder)]
    if mount is None or subprocess.run([mount, *options], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(params=["inline", "beside"])
def put(request):
    """Both ways of writing, as one function that returns when it is done."""

    def inline(folder, header, arrays, blobs=None):
        return write(folder, header, arrays, blobs)

    def forked(folder, header, arrays, blobs=None):
        writing = write_beside(folder, header, arrays, blobs)
        assert writing.wait(60)
        assert not writing.inline
        return writing.path

    return inline if request.param == "inline" else forked


def test_what_was_written_is_read_back(tmp_path, put):
    path = put(tmp_path / "shard", HEADER, state(), BLOBS)
    assert path.name == "00000000000000001234.checkpoint"
    found, problems = newest_good(tmp_path / "shard")
    assert problems == []
    assert same(found, state(), BLOBS)
    assert found.offset == 1234
    assert (found.header.shard, found.header.shards, found.header.meta) == (3, 8, HEADER.meta)
    assert (found.header.kernels, found.header.program) == ("k" * 16, "p" * 16)
    assert read_header(path) == found.header
    assert [p.name for p in (tmp_path / "shard").iterdir()] == [path.name]


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        hnp.arrays(
            st.one_of(
                hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(32, 64))
            ),
            hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9),
        ),
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=5), st.binary(max_size=300), max_size=3),
    st.sampled_from([64, 128, 1 << 20]),
)
def test_any_arrays_whatever_the_pieces(tmp_path_factory, arrays, blobs, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpointfile, "PIECE", piece)
        patch.setattr(checkpointfile, "_STEP", 64)
        path = write(tmp_path_factory.mktemp("any"), HEADER, arrays, blobs)
        found = load(path)
    # Arrays of the other byte order come back in the order of the machine.
    assert same(found, {n: a.astype(a.dtype.newbyteorder("<")) for n, a in arrays.items()}, blobs)


def test_reading_into_the_head_of_larger_arrays(tmp_path):
    arrays = state()
    path = write(tmp_path, HEADER, arrays)
    room = {name: np.zeros((2000, *array.shape[1:]), array.dtype) for name, array in arrays.items()}

    def into(name, dtype, shape):
        assert np.dtype(dtype) == arrays[name].dtype
        return room[name][: shape[0]] if shape else np.empty(shape, dtype)

    found = load(path, into)
    assert same(found, arrays, {})
    assert np.shares_memory(found.arrays["t"], room["t"])
    with pytest.raises(ValueError, match=r"array t: int64 \(3,\) given to read <i8 \(1000,\) into"):
        load(path, lambda _name, dtype, _shape: np.empty(3, dtype))


@pytest.mark.parametrize(
    "array",
    [np.array([{}]), np.zeros((4, 4))[:, ::2], np.zeros(3, [("a", "i4")])],
    ids=["object", "strided", "record"],
)
def test_an_array_that_cannot_be_written_is_named(tmp_path, array):
    with pytest.raises(ValueError, match="array odd"):
        write(tmp_path, HEADER, {"odd": array})
    assert list(tmp_path.iterdir()) == []


# ---- damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of a checkpoint of several pieces, and where each part of it lies."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpointfile, "PIECE", 1024)
        return write(folder, HEADER, state(), BLOBS).read_bytes()


PLACES = {
    "magic": lambda c: 0,
    "length of header": lambda c: 9,
    "checksum of header": lambda c: 13,
    "header": lambda c: c.index(b'"offset"') + 10,
    "padding of header": lambda c: c.index(b"}\0") + 1,
    "array": lambda c: c.index(state()["t"].tobytes()) + 4000,
    "last array": lambda c: c.index(state()["flags"].tobytes()) + 2,
    "padding of array": lambda c: c.index(state()["flags"].tobytes()) + 20,
    "blob": lambda c: c.index(b"ARROW1") + 100,
    "table of checksums": lambda c: len(c) - 40,
    "checksum of the table": lambda c: len(c) - 10,
    "magic at the end": lambda c: len(c) - 1,
}


def two(folder, content):
    """Put a good checkpoint of offset 1000 and `content` as that of 1234."""
    write(folder, Header(3, 8, 1000, "k", "p"), {"x": np.arange(5)}, {"alerts": b"before"})
    path = folder / "00000000000000001234.checkpoint"
    path.write_bytes(content)
    return path


def the_one_before(folder, path, word=""):
    found, problems = newest_good(folder)
    assert found is not None
    assert found.offset == 1000
    assert found.blobs == {"alerts": b"before"}
    assert [problem.path for problem in problems] == [path]
    assert problems[0].what
    assert word in problems[0].what
    assert str(path) in str(problems[0])
    return problems[0].what


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_byte_is_seen_wherever_it_is(tmp_path, whole, monkeypatch, place):
    monkeypatch.setattr(checkpointfile, "PIECE", 1024)
    at = PLACES[place](whole)
    content = bytearray(whole)
    content[at] ^= 0x10
    what = the_one_before(tmp_path, two(tmp_path, content))
    if "array" in place or place == "blob":
        name = {"array": "array t", "last array": "array flags", "blob": "blob alerts"}.get(
            place, "array flags"
        )
        assert f"damaged: {name}, within bytes" in what


@settings(max_examples=200)
@given(st.data())
def test_a_flipped_bit_is_seen_anywhere(tmp_path_factory, whole, data):
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "00000000000000001234.checkpoint"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpointfile, "PIECE", 1024)
        with pytest.raises(CheckpointError, match=r"1234\.checkpoint"):
            load(path)


@settings(max_examples=60)
@given(st.data())
def test_a_torn_file_is_seen_wherever_it_ends(tmp_path_factory, whole, data):
    folder = tmp_path_factory.mktemp("torn")
    length = data.draw(
        st.one_of(st.integers(0, len(whole) - 1), st.sampled_from([0, 1, 15, 16, len(whole) - 1]))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpointfile, "PIECE", 1024)
        path = two(folder, whole[:length])
        the_one_before(folder, path)
        # Torn as a file of the right length whose end never reached the disk.
        path.write_bytes(whole[:length] + bytes(len(whole) - length))
        the_one_before(folder, path)


def test_bytes_behind_the_end_are_seen(tmp_path, whole):
    the_one_before(tmp_path, two(tmp_path, whole + b"x"), "damaged")


def test_something_else_under_that_name_is_seen(tmp_path):
    path = two(tmp_path, b"PK\x03\x04" + bytes(100))
    the_one_before(tmp_path, path, "not a Vigie checkpoint")
    path.unlink()
    path.mkdir()
    the_one_before(tmp_path, path, "directory")


def test_no_good_one_at_all(tmp_path, whole):
    assert newest_good(tmp_path / "nowhere") == (None, [])
    for offset in (1, 2):
        (tmp_path / f"{offset:020d}.checkpoint").write_bytes(whole[:100])
    found, problems = newest_good(tmp_path)
    assert found is None
    assert [p.path.name for p in problems] == [
        "00000000000000000002.checkpoint",
        "00000000000000000001.checkpoint",
    ]


def test_one_that_the_caller_cannot_use_is_passed_over_with_its_reason(tmp_path):
    for offset, kernels in ((1, "old"), (2, "new")):
        write(tmp_path, Header(0, 1, offset, kernels, "p"), {})
    found, problems = newest_good(tmp_path, lambda header: "" if header.kernels == "old" else "other kernels")
    assert found.offset == 1
    assert [p.what for p in problems] == ["other kernels"]


# ---- disks that refuse


def test_a_full_disk_leaves_the_one_before(small_disk, put):
    put(small_disk / "s", Header(0, 1, 1, "k", "p"), {"x": np.arange(10_000)})
    with pytest.raises(CheckpointError, match=r"0002\.checkpoint: .*No space left on device"):
        put(small_disk / "s", Header(0, 1, 2, "k", "p"), {"x": np.zeros(200_000)})
    assert [p.name for p in (small_disk / "s").iterdir()] == ["00000000000000000001.checkpoint"]
    assert newest_good(small_disk / "s")[0].offset == 1


def test_a_read_only_disk(small_disk, put):
    put(small_disk / "s", HEADER, state())
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(CheckpointError, match="Read-only file system"):
        put(small_disk / "s", Header(0, 1, 9999, "k", "p"), state())
    assert same(newest_good(small_disk / "s")[0], state(), {})


def test_an_error_in_the_midst_of_writing(tmp_path, put, monkeypatch):
    put(tmp_path, Header(0, 1, 1, "k", "p"), {})
    calls = iter(range(100))
    real = os.write

    def failing(fd, data):
        if len(data) > 1000 and next(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, data)

    monkeypatch.setattr(os, "write", failing)
    arrays = {"x": np.arange(1000), "y": np.arange(1000)}
    with pytest.raises(CheckpointError, match="Input/output error"):
        put(tmp_path, HEADER, arrays)
    assert [p.name for p in tmp_path.iterdir()] == ["00000000000000000001.checkpoint"]


# ---- beside the line


@pytest.fixture
def standing(monkeypatch, tmp_path_factory):
    """Let the child stand before it writes, until it is told to go on."""
    folder = tmp_path_factory.mktemp("standing")
    reached, free = folder / "reached", folder / "free"
    real = os.posix_fallocate

    def stand(*args):
        reached.touch()
        while not free.exists():
            time.sleep(0.005)
        real(*args)

    monkeypatch.setattr(os, "posix_fallocate", stand)

    class Standing:
        def wait(self):
            end = time.monotonic() + 60
            while not reached.exists():
                assert time.monotonic() < end
                time.sleep(0.005)

        go_on = staticmethod(free.touch)

    yield Standing()
    free.touch()


def test_the_line_may_write_at_once(tmp_path, standing):
    arrays = {"x": np.zeros(1_000_000, np.int64)}
    writing = write_beside(tmp_path, HEADER, arrays)
    arrays["x"] += 1  # the line has changed everything before the child writes
    assert not writing.poll()
    assert newest_good(tmp_path) == (None, [])
    standing.go_on()
    assert writing.wait(60)
    assert writing.poll()
    assert not newest_good(tmp_path)[0].arrays["x"].any()
    assert 0 < writing.pause_s < 10


def test_a_child_that_is_killed_commits_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    writing = write_beside(tmp_path, HEADER, state())
    with pytest.raises(CheckpointError, match="killed by signal 9"):
        writing.wait(60)
    with pytest.raises(CheckpointError, match="killed by signal 9"):  # and says so again
        writing.poll()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inline", [False, True])
def test_who_was_replaced_commits_nothing(tmp_path, monkeypatch, inline):
    def refused():
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    fence = Fence.put(tmp_path, 7)
    write_beside(tmp_path, HEADER, state(), fence=fence).wait(60)
    assert len(list(tmp_path.glob("*.checkpoint"))) == 1
    Fence.put(tmp_path, 8)
    later = dataclasses.replace(HEADER, offset=HEADER.offset + 1)
    if inline:
        monkeypatch.setattr(os, "fork", refused)
    with pytest.raises(CheckpointError, match="token 8 has it, ours is 7"):
        write_beside(tmp_path, later, state(), fence=fence).wait(60)
    assert len(list(tmp_path.glob("*.checkpoint"))) == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_waiting_ends(tmp_path, standing):
    writing = write_beside(tmp_path, HEADER, state())
    assert not writing.wait(0.01)
    standing.go_on()
    assert writing.wait(60)


def test_no_memory_for_a_child_is_written_in_line(tmp_path, monkeypatch):
    def refused():
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", refused)
    writing = write_beside(tmp_path, HEADER, state(), BLOBS)
    assert writing.poll()
    assert writing.inline == "fork: Cannot allocate memory"
    assert same(newest_good(tmp_path)[0], state(), BLOBS)
    assert gc.isenabled()


def test_many_shards_at_once_among_busy_threads(tmp_path):
    # Threads that allocate, collect and hold locks are what makes a fork dangerous.
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            junk = [{str(i): bytearray(100)} for i in range(200)]
            junk.append(junk)
            gc.collect(0)

    errors = []

    def shard(number):
        try:
            for offset in range(6):
                arrays = {"x": np.full(20_000, number * 100 + offset)}
                write_beside(tmp_path / str(number), Header(number, 4, offset, "k", "p"), arrays).wait(60)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            errors.append(error)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    threads += [threading.Thread(target=shard, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads[2:]:
        thread.join()
    stop.set()
    for thread in threads[:2]:
        thread.join()
    assert errors == []
    for number in range(4):
        found, problems = newest_good(tmp_path / str(number))
        assert (found.offset, problems) == (5, [])
        assert (found.arrays["x"] == number * 100 + 5).all()
    assert gc.isenabled()


def test_the_child_lets_go_of_what_the_parent_holds(tmp_path, standing):
    # The log's lock above all: a child that outlives a killed line must not keep the next one from starting.
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    writing = write_beside(tmp_path, HEADER, state())
    standing.wait()
    os.close(lock)
    again = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)
    assert not writing.poll()
    standing.go_on()
    assert writing.wait(60)


def test_a_child_whose_line_was_killed_commits_nothing(tmp_path):
    code = """
import os, sys, time
from pathlib import Path
import numpy as np
from engine.checkpoint import Header, write, write_beside
folder = Path(sys.argv[1])
write(folder, Header(0, 1, 1, "k", "p"), {})
real, line = os.fsync, os.getpid()
def until_the_line_is_gone(fd):
    real(fd)
    Path(folder, "filled").touch()
    while os.getppid() == line:
        time.sleep(0.01)
os.fsync = until_the_line_is_gone
write_beside(folder, Header(0, 1, 2, "k", "p"), {"x": np.arange(10)})
while not Path(folder, "filled").exists():
    time.sleep(0.01)
print("now", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as line:
        assert line.stdout.readline() == "now\n"
        line.kill()
    deadline = time.monotonic() + 60
    while list(tmp_path.glob("*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert newest_good(tmp_path)[0].offset == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000000000000000001.checkpoint", "filled"]


def test_kill_9_while_writing_leaves_a_good_one(tmp_path):
    code = """
import sys
from pathlib import Path
import numpy as np
from engine.checkpoint import Header, newest_good, prune, write, write_beside
folder = Path(sys.argv[1])
found, problems = newest_good(folder)
assert not problems, problems
offset = found.offset if found else 0
if found:
    assert (found.arrays["x"] == offset).all()
    assert found.blobs == {"alerts": b"%d" % offset}
print("ready", flush=True)
while True:
    offset += 1
    arrays, blobs = {"x": np.full(300_000, offset)}, {"alerts": b"%d" % offset}
    if offset % 2:
        write(folder, Header(0, 1, offset, "k", "p"), arrays, blobs)
    else:
        write_beside(folder, Header(0, 1, offset, "k", "p"), arrays, blobs).wait()
    prune(folder)
    print(offset, flush=True)
"""
    rng = np.random.default_rng(5)
    said = 0
    # Six, and more where the disk is so slow that hardly any was written.
    for number in range(60):
        if number >= 6 and said > 5:
            break
        with subprocess.Popen(
            [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
        ) as line:
            assert line.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.25))
            line.kill()
            offsets = [int(text) for text in line.stdout]
        assert offsets[:1] in (
            [],
            [said + 1],
            [said + 2],
        )  # the last one may be there without having been said
        found, problems = newest_good(tmp_path)
        assert problems == []
        if offsets:
            assert found.offset in (offsets[-1], offsets[-1] + 1)
        said = found.offset if found else 0
    assert said > 5


# ---- pruning


def test_pruning_keeps_the_newest_and_takes_what_was_left_unfinished(tmp_path):
    for offset in (5, 10, 100, 20):
        write(tmp_path, Header(0, 1, offset, "k", "p"), {})
    unfinished = tmp_path / "00000000000000000007.checkpoint.0123abcd.tmp"
    ours = tmp_path / f"00000000000000000008.checkpoint.{checkpointfile.RUN}.tmp"
    other = tmp_path / "notes.txt"
    for path in (unfinished, ours, other):
        path.touch()
    removed = prune(tmp_path, keep=2)
    assert sorted(p.name[:20] for p in removed) == [f"{n:020d}" for n in (5, 7, 10)]
    assert sorted(p.name[17:20] for p in tmp_path.glob("*.checkpoint")) == ["020", "100"]
    assert ours.exists()
    assert other.exists()
    assert prune(tmp_path / "nowhere") == []
    with pytest.raises(ValueError, match="keep 0"):
        prune(tmp_path, keep=0)


def test_python_is_not_made_to_warn(tmp_path, recwarn):
    # 3.12 and later warn of a fork among threads; the reason why ours may is beside the filter.
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    beside.write_beside(Path(tmp_path), HEADER, state()).wait(60)
    stop.set()
    thread.join()
    assert list(recwarn) == []
