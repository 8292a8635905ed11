"""The log on a real Redis: what is appended is read, by partition, in order, whatever happens to the server."""

import itertools
import time
import zlib

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import redis_server
from ingest import packet
from ingest.logfile import (
    LogAwayError,
    LogClosedError,
    LogDamagedError,
    LogDiskFullError,
    LogError,
    LogTrimmedError,
)
from ingest.streams.lease import LeaseLostError, take
from ingest.streams.log import StreamLog, stream_of
from ingest.streams.partition import PartitionLog
from ingest.streams.server import connect, shown
from ingest.streams.verify import verify

pytestmark = pytest.mark.skipif(redis_server.PROGRAM is None, reason="redis-server is missing: make servers")

T0 = 1_790_000_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with redis_server.Server(tmp_path_factory.mktemp("redis") / "data", "--appendfsync", "no") as server:
        yield server


@pytest.fixture
def server(tmp_path):
    with redis_server.Server(tmp_path / "redis") as one:
        yield one


@pytest.fixture
def url(running):
    with running.client() as client:
        client.flushall()
    return running.url


def spot(patient, seq, t_ms=T0):
    return packet.spot(patient, "scale", seq, t_ms, {1: 70.5})


def send(log, *batches):
    for ticket in log.append_many(batches):
        ticket.result(20)


def packets_of(entries):
    out = []
    for entry in entries:
        unpacker = msgpack.Unpacker()
        unpacker.feed(entry.body)
        out += [(entry.source, each[1], each[3]) for each in unpacker]
    return out


def everything(url, partition, chunk=65536, most=8 << 20):
    with PartitionLog(url, partition) as log:
        at, out = log.first_offset, []
        while some := log.read(at, most, chunk):
            out += some
            at = some[-1].offset + 1
        return out


bodies = st.lists(
    st.tuples(
        st.sampled_from(["gw1", "gw2"]),
        st.lists(st.integers(0, 30), max_size=12),
        st.sampled_from([0, 0, 10, 900, 5_000, 3_600_000]),
    ),
    min_size=1,
    max_size=8,
)


@given(st.lists(bodies, max_size=4), st.integers(1, 5), st.integers(1, 400))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_packet_is_in_its_partition_in_order_and_all_hear_the_same(running, groups, chunk, most):
    with running.client() as client:
        client.flushall()
    sent, seq, now = {}, itertools.count(), T0
    with StreamLog(running.url, 4) as log:
        for group in groups:
            batches = []
            for source, patients, later in group:
                now += later
                body = b""
                for patient in patients:
                    number = next(seq)
                    sent.setdefault(f"P{patient}", []).append((source, number))
                    body += spot(f"P{patient}", number)
                batches.append((source, body, now))
            send(log, *batches)
        next_offset = log.next_offset
    read, heard, offsets = {}, [], []
    for partition in range(4):
        whole = everything(running.url, partition)
        assert [e for e in everything(running.url, partition, chunk, most) if e.body] == [
            e for e in whole if e.body
        ]
        times = [entry.receipt_ms for entry in whole]
        assert times == sorted(times)
        assert [entry.offset for entry in whole if entry.body] == sorted({e.offset for e in whole if e.body})
        heard.append([(a, b) for a, b in itertools.pairwise(times) if b - a > 2_500])
        offsets += [entry.offset for entry in whole if entry.body]
        for source, patient, number in packets_of(whole):
            read.setdefault(patient, []).append((source, number))
        assert not whole or whole[-1].offset == next_offset - 1
    assert sorted(offsets) == list(range(next_offset))
    for patient, numbers in sent.items():
        # Of one source in the order sent; sources of one group one after the other.
        for name in ("gw1", "gw2"):
            mine = [n for source, n in numbers if source == name]
            assert [n for source, n in read[patient] if source == name] == mine
        assert sorted(read[patient]) == sorted(numbers)
    # Times of a second and more apart are marked, so that a longer silence is the same for all.
    assert all(other == heard[0] for other in heard)


def test_silences_are_heard_alike_in_every_partition(url):
    with StreamLog(url, 4) as log:
        for k, ms in enumerate([0, 100, 200, 3_600_000, 3_600_050, 3_660_000, 9_000_000]):
            send(log, ("gw", spot(f"P{k % 2}", k), T0 + ms))
        send(log, ("heartbeat", b"", T0 + 9_070_000))

    def silences(entries):
        times = [entry.receipt_ms - T0 for entry in entries]
        return [(a, b) for a, b in itertools.pairwise(times) if b - a > 10_000]

    expected = [(200, 3_600_000), (3_600_050, 3_660_000), (3_660_000, 9_000_000), (9_000_000, 9_070_000)]
    for partition in range(4):
        assert silences(everything(url, partition)) == expected


def test_reading_goes_on_from_any_offset_with_the_silences_behind_it(url):
    with StreamLog(url, 2) as log:
        for k in range(40):
            send(log, ("gw", spot(f"P{k}", k), T0 + 20_000 * k))
    whole = everything(url, 0)
    for start in range(0, 40, 7):
        with PartitionLog(url, 0) as log:
            some = log.read(start)
        assert [e for e in some if e.body] == [e for e in whole if e.body and e.offset >= start]
        late = [e.receipt_ms for e in some if e.receipt_ms >= T0 + 20_000 * start]
        assert sorted(set(late)) == [T0 + 20_000 * k for k in range(start, 40)]


def test_what_is_ill_formed_is_kept_apart_and_spoils_no_other_body(url):
    good = spot("P1", 1)
    with StreamLog(url, 2) as log:
        send(log, ("gw", good + b"\xc1\x00", T0), ("gw", spot("P1", 2), T0), ("gw", msgpack.packb([9]), T0))
    found = [entry.body for k in range(2) for entry in everything(url, k) if entry.body]
    assert b"\xc1\x00" in found
    assert sum(body.count(good[:5]) for body in found) == 2
    assert sum(map(len, found)) == 2 * len(good) + 2 + 2


def test_receipt_times_never_go_back(url):
    with StreamLog(url, 1) as log:
        for ms in (5_000, 3_000, 6_000, 0):
            send(log, ("gw", spot("P1", ms), T0 + ms))
    assert [e.receipt_ms - T0 for e in everything(url, 0) if e.body] == [5_000, 5_000, 6_000, 6_000]


def test_several_processes_may_append(url):
    with StreamLog(url, 2) as one, StreamLog(url) as other:
        for k in range(20):
            send(one if k % 2 else other, ("gw", spot(f"P{k}", k), T0 + k))
        assert one.next_offset == other.next_offset == 20
    found = packets_of(everything(url, 0) + everything(url, 1))
    assert sorted(number for _, _, number in found) == list(range(20))


def test_partitions_are_for_good(url):
    StreamLog(url, 2).close()
    assert StreamLog(url).partitions == 2
    with pytest.raises(ValueError, match="3 partitions: the log has 2, for good"):
        StreamLog(url, 3)
    with pytest.raises(ValueError, match="legal are 1 to 64"):
        StreamLog(url, 65)
    with pytest.raises(LogError, match="the log has partitions 0 to 1"):
        PartitionLog(url, 2)


def test_trimming_and_what_is_before(url):
    with StreamLog(url, 2) as log:
        for k in range(30):
            send(log, ("gw", spot(f"P{k}", k), T0 + 5_000 * k))
    with PartitionLog(url, 0) as log:
        assert log.offset_at(T0 + 52_000) == 10
        gone = log.trim(10)
        assert log.first_offset == 10
        assert gone == 30 - len([e for k in range(2) for e in everything(url, k) if e.body])
        assert log.trim(5) == 0
        with pytest.raises(LogTrimmedError, match="the oldest is 10"):
            log.read(9)
        kept = log.read(10)
    assert min(e.offset for e in kept if e.body) >= 10
    with PartitionLog(url, 1) as log:
        assert log.first_offset == 0  # only its own worker knows what it still needs
        log.trim(20)
        assert len([e for e in log.read(20) if not e.body]) >= 10
    with connect(url) as client:
        assert 20 <= client.xlen("{vigie}:marks") < 30


def test_a_changed_entry_is_damage(url):
    with StreamLog(url, 1) as log:
        for k in range(3):
            send(log, ("gw", spot("P1", k), T0 + k))
    with connect(url) as client:
        stream = stream_of(0)
        client.delete(stream)
        for k, source in enumerate([b"gw", b"gX", b"gw"]):
            body = spot("P1", k)
            crc = zlib.crc32(body, zlib.crc32(b"gw"))
            client.xadd(stream, {"r": T0 + k, "s": source, "b": body, "c": crc}, f"{k}-1")
    with PartitionLog(url, 0) as log:
        assert [e.offset for e in log.read(0) if e.body] == [0]
        with pytest.raises(LogDamagedError, match="offset 1: checksum"):
            log.read(1)
        damaged = []
        assert [e.offset for e in log.read(0, damaged=damaged) if e.body] == [0, 2]
        assert [(each.first_offset, each.last_offset) for each in damaged] == [(1, 1)]


def test_verifying(url):
    with pytest.raises(LogError, match="there is no log"):
        verify(url)
    with StreamLog(url, 3) as log:
        for k in range(30):
            send(log, ("gw", spot(f"P{k}", k), T0 + 5_000 * k))
    report = verify(url)
    assert report.ok
    assert (report.intact, report.next_offset, report.missing) == (30, 30, 0)
    assert "30 intact entries in 3 partitions, next offset 30" in str(report)
    assert "appendfsync is no" in str(report)
    with PartitionLog(url, 1) as part:
        part.trim(12)
    assert verify(url).ok
    with connect(url) as client:
        gone = [k for k in range(12, 30) if client.xdel(stream_of(0), f"{k}-1")][:1]
        assert gone or client.xlen(stream_of(0)) == 0
    report = verify(url)
    assert not report.ok
    assert report.missing > 0
    assert "offsets from 12 on are missing" in str(report)


def test_a_log_that_was_replaced_is_not_written_to_or_read(url):
    with StreamLog(url, 1) as log, PartitionLog(url, 0) as reader:
        send(log, ("gw", spot("P1", 1), T0))
        with connect(url) as client:
            client.flushall()
        StreamLog(url, 1).close()
        with pytest.raises(LogError, match="another log is at this address"):
            send(log, ("gw", spot("P1", 2), T0))
        with pytest.raises(LogError, match="another log is at this address"):
            reader.read(0)


def test_a_log_that_lost_its_end_is_not_gone_on_with(url):
    with StreamLog(url, 1) as log, PartitionLog(url, 0) as reader:
        for k in range(3):
            send(log, ("gw", spot("P1", k), T0))
        with connect(url) as client:
            client.hset("{vigie}:log", "next", 2)
        with pytest.raises(LogDamagedError, match="lost what it had acknowledged"):
            reader.read(3)


# Faults of the server ----------------------------------------------------------------------------------------


def test_killed_and_back_nothing_acknowledged_is_lost(server):
    with StreamLog(server.url, 2) as log, PartitionLog(server.url, 0) as reader:
        done = []
        for k in range(50):
            send(log, ("gw", spot(f"P{k}", k), T0 + k))
            done.append(k)
        server.end()
        with pytest.raises(LogAwayError, match="does not answer"):
            send(log, ("gw", spot("P1", 99), T0))
        with pytest.raises(LogAwayError):
            reader.read(0)
        server.start()
        send(log, ("gw", spot("P50", 50), T0 + 50))
        assert reader.read(0)
    found = {number for k in range(2) for _, _, number in packets_of(everything(server.url, k))}
    assert found >= {*done, 50}


def test_a_server_that_stands_still_is_said_and_comes_back(server):
    with StreamLog(server.url, 1) as log:
        send(log, ("gw", spot("P1", 1), T0))
        server.pause()
        begun = time.monotonic()
        with pytest.raises(LogAwayError, match="does not answer"):
            send(log, ("gw", spot("P1", 2), T0))
        assert time.monotonic() - begun < 15
        server.resume()
        send(log, ("gw", spot("P1", 3), T0))
    assert 3 in {number for _, _, number in packets_of(everything(server.url, 0))}


def test_a_replica_takes_nothing_until_it_is_promoted(server, tmp_path):
    with StreamLog(server.url, 1) as log, server.client() as client:
        send(log, ("gw", spot("P1", 1), T0))
        with redis_server.Server(tmp_path / "other") as other:
            client.replicaof("127.0.0.1", other.port)
            with pytest.raises((LogAwayError, LogError)):
                send(log, ("gw", spot("P1", 2), T0))
            client.replicaof("NO", "ONE")


def test_read_only_and_full_memory_pass(server):
    with StreamLog(server.url, 1) as log, server.client() as client:
        send(log, ("gw", spot("P1", 1), T0))
        client.config_set("maxmemory", "1mb")
        with pytest.raises(LogDiskFullError, match="memory"):
            send(log, ("gw", spot("P1", 2), T0))
        client.config_set("maxmemory", "0")
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(LogError, match="NOREPLICAS"):
            send(log, ("gw", spot("P1", 3), T0))
        client.config_set("min-replicas-to-write", 0)
    with StreamLog(server.url, 1) as log:
        send(log, ("gw", spot("P1", 4), T0))
    assert [number for _, _, number in packets_of(everything(server.url, 0))] == [1, 4]


def test_what_may_lose_acknowledged_packets_is_said(server):
    assert StreamLog(server.url, 1).problems == []
    with server.client() as client:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")
    said = "\n".join(StreamLog(server.url, 1).problems)
    assert "set appendfsync always" in said
    assert "set noeviction" in said
    with server.client() as client:
        client.config_set("appendonly", "no")
    assert "set appendonly yes" in "\n".join(StreamLog(server.url, 1).problems)


def test_a_server_that_is_not_there_and_addresses_that_are_none(tmp_path):
    with pytest.raises(LogAwayError, match="opening: the server does not answer"):
        StreamLog("redis://127.0.0.1:1/0")
    with pytest.raises(ValueError, match=r"http://x: not the address of a Redis server; legal are redis://"):
        StreamLog("http://x")
    assert shown("redis://me:secret@h:1/0") == "redis://me:***@h:1/0"


def test_a_password_is_in_no_message(server):
    with server.client() as client:
        client.config_set("requirepass", "s3cret")
    wrong = server.url.replace("redis://", "redis://:wr0ng@")
    with pytest.raises(LogError, match="refuses this user") as caught:
        StreamLog(wrong)
    assert "wr0ng" not in str(caught.value)
    StreamLog(server.url.replace("redis://", "redis://:s3cret@")).close()


def test_closed(url):
    log = StreamLog(url, 1)
    log.close()
    log.close()
    with pytest.raises(LogClosedError):
        log.append("gw", b"", T0)


# Leases ------------------------------------------------------------------------------------------------------


def test_one_at_a_time_has_a_lease_and_each_has_a_greater_token(url):
    log = StreamLog(url, 2)
    with connect(url) as client:
        first = take(client, "log", log.id, 0, "worker a", 60)
        assert take(client, "log", log.id, 0, "worker b", 60) == "worker a"
        other = take(client, "log", log.id, 1, "worker b", 60)
        assert other.token == 1
        first.keep(7)
        first.check()
        first.ttl_s = 0.3
        first.keep(7)
        time.sleep(0.4)
        with pytest.raises(LeaseLostError, match="not renewed in time"):
            first.check()
        second = take(client, "log", log.id, 0, "worker b", 60)
        assert second.token == first.token + 1
        with pytest.raises(LeaseLostError, match="another worker took it"):
            first.keep(8)
        first.leave()  # not its own any more
        second.keep(9)
        send(log, ("gw", spot("P1", 1), T0))
        second.commit(1)
        send(log, ("gw", spot("P1", 2), T0))
        first.commit(2)
        assert client.xinfo_groups(stream_of(0))[0]["last-delivered-id"] == b"0-1"
        assert client.hget("{vigie}:log", "at:0") == b"9"
        second.leave()
        assert take(client, "log", log.id, 0, "worker c", 5).token == second.token + 1
    log.close()


def test_waiting_ends_when_something_comes(url):
    with StreamLog(url, 1) as log, PartitionLog(url, 0) as reader:
        assert not reader.wait_for(0, 0.05)
        send(log, ("gw", spot("P1", 1), T0))
        assert reader.wait_for(0, 60)
        assert not reader.wait_for(1, 0.05)
