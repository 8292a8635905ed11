"""Workers on a real Redis: however they share the partitions, the alerts are those of one line a partition."""

import os
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import triage.store
from bench import redis_server
from engine import history
from engine.accounts import Account, Accounts
from engine.config import ConfigError, load
from engine.fence import Fence, FencedError, locked
from engine.intake_service import IntakeService
from engine.worker import Worker, _processes, folder_of, partitions_of
from ingest import packet
from ingest.sources import Limits, Source, Sources
from ingest.streams.lease import take
from ingest.streams.log import StreamLog, stream_of
from ingest.streams.server import connect

needs_redis = pytest.mark.skipif(redis_server.PROGRAM is None, reason="redis-server is missing: make servers")

DAY = 86_400_000
T0 = 1_790_000_000_000
GENEROUS = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12)


@pytest.fixture
def server(tmp_path):
    with redis_server.Server(tmp_path / "redis") as one:
        yield one


def settings_of(folder, url, **more):
    folder.mkdir(exist_ok=True)
    given = {
        "data": folder,
        "log": url,
        "port": 0,
        "partitions": 4,
        "lease_s": 1,
        "checkpoint_s": 0.3,
        **more,
    }
    return load(given=given, environment={})[0]


@contextmanager
def working(settings, partitions, store):
    """Run a worker until the end of the block."""
    worker = Worker(settings, partitions, store)
    told = []
    failed = []

    def run():
        try:
            worker.run(told.append)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: told)
        worker.url = told[0]
        worker.failed = failed
        yield worker
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


def until(condition, within_s=60.0):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def fill(url, patients=40, days=12):
    """A log of several days: weights that rise for some, silences for others, a night in which nothing was heard."""
    seq = 0
    with StreamLog(url, 4) as log:
        for day in range(days):
            for hour in range(0, 24, 2):
                now = T0 + day * DAY + hour * 3_600_000
                body = b""
                for p in range(patients):
                    if (p + hour) % 12 or (p % 9 == 0 and day > 6):
                        continue
                    seq += 1
                    body += packet.spot(
                        f"P{p}", "scale", seq, now - 60_000, {1: 70.0 + p + (p % 5 == 0) * 0.6 * day}
                    )
                    if p % 7 == 0:
                        body += packet.spot(
                            f"P{p}", "cuff", seq, now, {2: 85, 3: 50, 9: 84 if day == 4 else 96}
                        )
                beats = [("heartbeat", b"", now + minute * 60_000) for minute in range(1, 120)]
                if day == 8 and hour < 12:
                    beats = []
                for ticket in log.append_many([(f"gw{hour % 3}", body or b"", now), *beats]):
                    ticket.result(20)
        return log.next_offset


def outcome(folder):
    with triage.store.open(folder / "queue.sqlite") as store:
        lines = sorted(
            (e.id, e.patient, e.protocol, e.problem, e.level, e.latched, e.onset_ms, e.last_ms, e.rule)
            for e in store.queue()
        )
    rows = pl.concat([history.read(folder_of(folder, k) / "history").collect() for k in range(4)]).rows()
    return lines, sorted(rows)


@needs_redis
def test_one_two_and_four_workers_give_the_same_alerts(server, tmp_path):
    end = fill(server.url)
    found = []
    for sharing in ([[0, 1, 2, 3]], [[0, 3], [1, 2]], [[0], [1], [2], [3]]):
        folder = tmp_path / str(len(sharing))
        settings = settings_of(folder, server.url)
        with triage.store.open(folder / "queue.sqlite") as store, ExitStack() as stack:
            workers = [stack.enter_context(working(settings, each, store)) for each in sharing]
            until(lambda: all(len(w.lines()) == len(w.partitions) for w in workers))  # noqa: B023 - at once
            until(lambda: all(line.next_offset == end for w in workers for line in w.lines()))  # noqa: B023
            total = Accounts.together(line.accounts() for w in workers for line in w.lines()).total
            assert total.balanced
            assert total.applied == total.received > 400
            assert all(w.standing().ready for w in workers)
            assert httpx.get(workers[0].url + "/readyz", timeout=60).json()["lag_entries"] == 0
            said = httpx.get(workers[0].url + "/metrics", timeout=60).text
            assert "vigie_accounts_balanced 1.0" in said
        assert not any(w.failed for w in workers)
        found.append(outcome(folder))
    assert len(found[0][0]) > 5
    assert {line[2] for line in found[0][0]} == {"insuffisance_cardiaque"}
    assert found[1] == found[0]
    assert found[2] == found[0]
    with connect(server.url) as client:
        for k in range(4):
            group = client.xinfo_groups(stream_of(k))[0]
            assert (
                int(group["last-delivered-id"].partition(b"-")[0]) == end - 1
            )  # acknowledged by the last checkpoint


@needs_redis
def test_a_partition_that_another_holds_is_waited_for_and_taken_when_it_is_left(server, tmp_path):
    fill(server.url, patients=6, days=2)
    settings = settings_of(tmp_path / "data", server.url)
    with (
        triage.store.open(tmp_path / "queue.sqlite") as store,
        StreamLog(server.url) as log,
        connect(server.url) as client,
    ):
        other = take(client, "log", log.id, 2, "somebody", 60)
        with working(settings, [1, 2], store) as worker:
            until(lambda: len(worker.lines()) == 1)
            standing = worker.standing()
            assert not standing.ready
            assert "1 of 2 partitions are not held" in standing.problems[-1]
            other.leave()
            until(lambda: worker.standing().ready)


@needs_redis
def test_the_lease_of_a_process_that_is_gone_is_not_waited_for(server, tmp_path):
    fill(server.url, patients=6, days=2)
    settings = settings_of(tmp_path / "data", server.url)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with (
        triage.store.open(tmp_path / "queue.sqlite") as store,
        StreamLog(server.url) as log,
        connect(server.url) as client,
    ):
        take(client, "log", log.id, 1, f"host process {gone.pid} of {_processes()}", 3600)
        other = take(client, "log", log.id, 2, f"host process {gone.pid} of another machine", 3600)
        mine = take(client, "log", log.id, 3, f"host process {os.getpid()} of {_processes()}", 3600)
        with working(settings, [1, 2, 3], store) as worker:
            until(lambda: len(worker.lines()) == 1)
            time.sleep(1.2)
            assert len(worker.lines()) == 1  # the two others may be alive
            other.leave()
            mine.leave()
            until(lambda: worker.standing().ready)


@needs_redis
def test_a_worker_that_was_replaced_writes_nothing_more(server, tmp_path):
    fill(server.url, patients=6, days=2)
    settings = settings_of(tmp_path / "data", server.url)
    with triage.store.open(tmp_path / "queue.sqlite") as store, connect(server.url) as client:
        with working(settings, [0], store) as worker:
            until(lambda: worker.standing().ready)
            (line,) = worker.lines()
            # As if it had stood still for longer than its lease, and another had come and gone.
            client.delete("{vigie}:lease:0")
            token = client.hincrby("{vigie}:log", "token:0", 1)
            store.fence(f"{worker.log_id}:0", token)
            with pytest.raises(FencedError):
                store.fence(f"{worker.log_id}:0", token - 1)
            until(lambda: worker.lines() and worker.lines()[0] is not line)
            until(lambda: worker.standing().ready)
            assert any("another worker took it" in problem for problem in worker.noted.told())
            assert int(client.get("{vigie}:lease:0").split()[0]) == token + 1
        assert not worker.failed


@needs_redis
def test_the_server_of_the_log_away_and_back(server, tmp_path):
    fill(server.url, patients=6, days=2)
    settings = settings_of(tmp_path / "data", server.url)
    with (
        triage.store.open(tmp_path / "queue.sqlite") as store,
        working(settings, [0, 1, 2, 3], store) as worker,
    ):
        until(lambda: worker.standing().ready)
        server.end()
        time.sleep(2.5)  # longer than the lease
        server.start()
        end = fill_one(server.url)
        until(lambda: len(worker.lines()) == 4 and all(line.next_offset == end for line in worker.lines()))
        until(lambda: worker.standing().ready)
    assert not worker.failed


def fill_one(url):
    with StreamLog(url) as log:
        log.append("gw0", packet.spot("P1", "scale", 1 << 40, T0 + 3 * DAY, {1: 70.5}), T0 + 3 * DAY).result(
            20
        )
        return log.next_offset


@needs_redis
def test_a_log_that_is_another_ends_the_worker_with_the_reason(server, tmp_path):
    settings = settings_of(tmp_path / "data", server.url)
    with triage.store.open(tmp_path / "queue.sqlite") as store, working(settings, [0], store) as worker:
        until(lambda: worker.standing().ready)
        with connect(server.url) as client:
            client.flushall()
            StreamLog(server.url, 4).close()
        until(lambda: worker.failed)
        assert "another log is at this address" in str(worker.failed[0])


@needs_redis
def test_from_a_body_over_http_to_the_queue(server, tmp_path):
    settings = settings_of(tmp_path / "data", server.url)
    sources = Sources(settings.data / "sources")
    key = sources.create(Source("gw", everyone=True, limits=GENEROUS), "test")
    sources.close()
    now = time.time_ns() // 1_000_000
    body = packet.spot("P1", "scale", 1, now - 2 * DAY, {1: 70.0}) + packet.spot(
        "P1", "scale", 2, now, {1: 74.0}
    )
    with triage.store.open(tmp_path / "queue.sqlite") as store, working(settings, [0, 1, 2, 3], store):
        service = IntakeService(settings)
        told = []
        thread = threading.Thread(target=service.run, args=(told.append,))
        thread.start()
        until(lambda: told)
        with httpx.Client(base_url=told[0], headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            answer = client.post("/v1/packets", content=body)
            assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
            until(store.queue)
            assert store.queue()[0].patient == "P1"
            assert client.post("/v1/packets", content=body + b"\xc1").json()["duplicate"] == 2
            until(lambda: len(client.get("/v1/quarantine").json()["packets"]) == 1)
            until(lambda: not client.get("/readyz").json()["lag_entries"])
            server.end()
            away = client.post("/v1/packets", content=body)
            assert away.status_code == 503
            assert "redis" not in away.text
            assert client.get("/readyz").status_code == 503
            server.start()
            assert client.post("/v1/packets", content=body).status_code == 202
            until(lambda: client.get("/readyz").status_code == 200)
        service.stop()
        thread.join(30)
        assert not thread.is_alive()


@needs_redis
def test_partitions_that_the_log_has_not(server, tmp_path):
    StreamLog(server.url, 2).close()
    settings = settings_of(tmp_path / "data", server.url, partitions=None)
    with pytest.raises(ValueError, match=r"partitions \[2, 3\]: the log has 0 to 1"):
        Worker(settings, [1, 2, 3], None)


def test_shards_as_they_are_written():
    assert partitions_of("0-3") == [0, 1, 2, 3]
    assert partitions_of("0, 3,8-9") == [0, 3, 8, 9]
    for wrong in ("", "a", "3-", "-3", "1,1", "0-64", "2-1", "0-99999999999"):
        with pytest.raises(ValueError, match="legal"):
            partitions_of(wrong)


def test_an_address_that_is_none_is_refused_and_its_password_not_shown():
    with pytest.raises(ConfigError, match=r"log .*legal are redis://") as caught:
        load(given={"log": "http://me:secret@x"}, environment={})
    assert "secret" not in str(caught.value)


def test_the_greatest_token_has_the_folder(tmp_path):
    first = Fence.put(tmp_path / "shard", 3)
    first.check()
    second = Fence.put(tmp_path / "shard", 5)
    with pytest.raises(FencedError, match="token 5 has it, ours is 3"):
        first.check()
    second.check()
    with pytest.raises(FencedError):
        Fence.put(tmp_path / "shard", 4)
    assert second.there() == 5


def test_a_folder_is_for_one_process_at_a_time(tmp_path):
    waited = []

    def wait(process):
        waited.append(process)
        if len(waited) == 3:
            raise TimeoutError

    with locked(tmp_path / "shard", wait):
        with pytest.raises(TimeoutError), locked(tmp_path / "shard", wait):
            pass
        assert waited == [str(os.getpid())] * 3
    with locked(tmp_path / "shard", wait):
        assert len(waited) == 3


accounts = st.dictionaries(
    st.sampled_from("abc"),
    st.builds(
        Account, *[st.integers(0, 9)] * 4, st.dictionaries(st.sampled_from(["X", "Y"]), st.integers(0, 9))
    ),
).map(Accounts)


@given(st.lists(accounts, max_size=4))
def test_accounts_of_several_lines_add_up(several):
    together = Accounts.together(several)
    total = together.total
    for name in ("received", "applied", "duplicate", "late"):
        assert getattr(total, name) == sum(getattr(each.total, name) for each in several)
    for reason in ("X", "Y"):
        assert total.quarantined.get(reason, 0) == sum(
            each.total.quarantined.get(reason, 0) for each in several
        )
