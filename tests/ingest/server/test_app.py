"""The interface, by HTTP and WebSocket against a running service."""

import gzip
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import pyarrow as pa
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from ingest import packet
from ingest.reasons import Reason
from ingest.sources import Limits, Sources

NOW = time.time_ns() // 1_000_000
_seq = iter(range(10**9))


def weights(count=1, patient="N1", kg=80.0):
    return b"".join(packet.spot(patient, "scale", next(_seq), NOW, {1: kg}) for _ in range(count))


@pytest.fixture
def client(service):
    with service.client() as client:
        yield client


def post(client, data, **headers):
    return client.post(
        "/v1/packets", content=data, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_packets_are_answered_when_they_are_in_the_log(client, service):
    data = weights(3) + weights(kg=900.0) + b"\xc1"
    before = service.service.line.log.next_offset
    answer = post(client, data)
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 3,
        "duplicate": 0,
        "quarantined": {"IMPLAUSIBLE": 1, "BAD_MSGPACK": 1},
    }
    assert data in [entry.body for entry in service.service.line.log.read(before)]
    again = post(client, data).json()
    assert (again["accepted"], again["duplicate"]) == (0, 3)
    service.caught_up()
    account = service.service.line.accounts().by_source["gw"]
    assert account.balanced
    assert account.applied >= 3


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("zstd", zstd)])
def test_a_compressed_body(client, service, name, compress):
    for count in (2, 3000):
        data = weights(count)
        assert post(client, compress(data), Content_Encoding=name).json()["accepted"] == count
    wrong = {"bomb": (compress(bytes(64 << 20)), 413), "other": (b"no such thing", 400)}
    wrong["cut"] = (compress(data)[:-2], 400)
    for what, (body, status) in wrong.items():
        with service.client(f"{name}-{what}") as other:
            answer = post(other, body, Content_Encoding=name)
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "request"}


def test_an_unknown_encoding(client):
    answer = post(client, b"", Content_Encoding="br")
    assert answer.status_code == 415
    assert "legal are identity, gzip, zstd" in answer.json()["error"]


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer vigie_0123456789ab_" + "A" * 43, "Basic dTpw", "é"]
)
def test_without_a_good_key_nothing_is_taken(service, given):
    before = service.service.line.log.next_offset
    headers = {} if given is None else {"Authorization": given.encode()}
    answer = httpx.post(service.url + "/v1/packets", content=weights(), headers=headers, timeout=60)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"] == answer.json()["request"]
    assert all(entry.source == "heartbeat" for entry in service.service.line.log.read(before))


def test_a_revoked_key_is_refused_within_a_second(service):
    with service.client("short-lived") as client:
        assert post(client, weights()).status_code == 202
        other = Sources(service.folder / "sources")
        other.revoke("short-lived", "marie")
        time.sleep(1.1)
        answer = post(client, weights())
        assert (answer.status_code, answer.json()["error"]) == (401, "this key is no longer good")
        service.service.sources.flush()
        recorded = {(each.source, each.what) for each in other.record()}
        assert ("short-lived", "revoked") in recorded
        other.close()


def test_a_source_sends_for_its_cell_only(service):
    with service.client("north", everyone=False, cells=("Nord",)) as client:
        answer = post(client, weights(2) + weights(3, "S1") + weights(1, "nobody")).json()
    assert answer == {"accepted": 2, "duplicate": 0, "quarantined": {"NOT_ENROLLED": 4}}
    service.caught_up()
    account = service.service.line.accounts().by_source["north"]
    assert (account.received, account.applied) == (6, 2)
    assert account.quarantined == {"NOT_ENROLLED": 4}
    patients = service.service.line.line.shards[0].state
    known = patients.patient_ids(range(patients.used))
    assert "S1" not in known
    assert "nobody" not in known


def test_a_retry_with_its_key_is_answered_once(client, service):
    data = weights(5)
    first = post(client, data, Idempotency_Key="k1")
    before = service.service.line.log.next_offset
    second = post(client, data, Idempotency_Key="k1")
    assert first.json() == second.json()
    assert first.json()["accepted"] == 5
    assert data not in [entry.body for entry in service.service.line.log.read(before)]
    other = post(client, weights(), Idempotency_Key="k1")
    assert (other.status_code, other.json()["error"]) == (
        422,
        "this Idempotency-Key was used for another body",
    )
    assert post(client, weights(), Idempotency_Key="x" * 201).status_code == 422
    with service.client("other") as another:
        assert post(another, weights(), Idempotency_Key="k1").status_code == 202


def test_retries_at_the_same_time_are_one(client, service):
    data = weights(5)
    with ThreadPoolExecutor(8) as pool, service.client() as shared:
        answers = list(pool.map(lambda _: post(shared, data, Idempotency_Key="k2").json(), range(8)))
    assert answers == [{"accepted": 5, "duplicate": 0, "quarantined": {}}] * 8


def test_a_body_that_is_too_large_is_not_read(service):
    limits = Limits(body_bytes=1000)
    with service.client("small", limits=limits) as client:
        answer = post(client, bytes(1001))
        assert answer.status_code == 413
        assert "legal are 0 to 1000" in answer.json()["error"]

        def endless():
            for _ in range(10_000):
                yield bytes(1000)

        try:
            status = client.post("/v1/packets", content=endless()).status_code
        except httpx.TransportError:
            status = 413  # the connection was ended while we sent
        assert status == 413
        assert post(client, weights()).status_code == 202


def test_a_source_over_its_limit_waits_and_others_do_not(service):
    limits = Limits(requests_per_s=2.0)
    with service.client("hasty", limits=limits) as hasty, service.client() as other:
        answers = [post(hasty, weights()) for _ in range(14)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) >= 2
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert post(other, weights()).status_code == 202


def test_quarantine_is_read_page_by_page_by_the_one_who_sent_it(service):
    with service.client("careless") as client, service.client("other") as other:
        for _ in range(3):
            post(client, weights(kg=900.0) * 2 + weights() + b"\x01\x02")
        service.caught_up()
        rows, after = [], None
        while True:
            params = {"limit": 4} | ({"after": after} if after else {})
            page = client.get("/v1/quarantine", params=params).json()
            rows += page["packets"]
            after = page["next"]
            if after is None:
                break
        assert [row["reason"] for row in rows] == ["IMPLAUSIBLE", "IMPLAUSIBLE", "NOT_A_PACKET"] * 3
        assert rows == sorted(rows, key=lambda row: (row["offset"], row["at"]))
        assert bytes.fromhex(rows[2]["raw"]) == b"\x01\x02"
        assert rows[0]["reason"] in Reason.__members__
        assert other.get("/v1/quarantine").json()["packets"] == []
        for wrong in ({"limit": 0}, {"limit": "x"}, {"after": "x"}, {"after": "1.2.3"}):
            answer = client.get("/v1/quarantine", params=wrong)
            assert answer.status_code == 422
            assert next(iter(wrong)) in answer.json()["error"]


def test_the_state_of_the_service(service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        assert client.get("/healthz").json() == {"alive": True}
        standing = service.caught_up()
        assert standing["ready"]
        assert standing["lag_packets"] == standing["lag_s"] == 0
        text = client.get("/metrics").text
        assert "vigie_accounts_balanced 1.0" in text
        nothing = client.get("/nothing")
        assert (nothing.status_code, nothing.json()["error"]) == (404, "not found")
        assert client.get("/v1/packets").status_code == 405


def test_who_does_not_wait_is_made_to(run_service):
    with (
        run_service(hold_s=0.4) as held,
        held.client() as good,
        httpx.Client(base_url=held.url, timeout=60) as stranger,
    ):
        for _ in range(2):
            began = time.monotonic()
            assert stranger.post("/v1/packets", content=b"").status_code == 401
            assert time.monotonic() - began >= 0.4
        # Others are answered meanwhile: each time, but a slow machine may need longer for one answer than it holds.
        with ThreadPoolExecutor(1) as pool:
            for _ in range(20):
                waiting = pool.submit(stranger.post, "/v1/packets", content=b"")
                time.sleep(0.05)
                assert post(good, weights()).status_code == 202
                meanwhile = not waiting.done()
                assert waiting.result().status_code == 401
                if meanwhile:
                    break
            assert meanwhile
        large = stranger.post("/v1/packets", content=bytes(100_000))
        assert (large.status_code, large.headers["connection"]) == (401, "close")


def test_who_sends_what_cannot_be_read_waits(service):
    with service.client("bomber") as client:
        bomb = zstd(bytes(64 << 20))
        assert post(client, bomb, Content_Encoding="zstd").status_code == 413
        answer = post(client, weights())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")


# ---- a connection that stays


def stream(service, name="gw", **options):
    url = service.url.replace("http", "ws") + "/v1/stream"
    return connect(url, additional_headers={"Authorization": f"Bearer {service.key(name)}"}, **options)


def test_bodies_over_a_connection_that_stays(service):
    with stream(service) as socket_:
        for count in (1, 50):
            socket_.send(weights(count))
            assert json.loads(socket_.recv()) == {
                "status": 202,
                "accepted": count,
                "duplicate": 0,
                "quarantined": {},
            }
        socket_.send("text")
        assert json.loads(socket_.recv())["status"] == 415
        socket_.send(weights() + b"\xc1")
        assert json.loads(socket_.recv())["quarantined"] == {"BAD_MSGPACK": 1}


def test_a_connection_without_a_key_is_not_taken(service):
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus), connect(service.url.replace("http", "ws") + "/v1/stream"):
        pass


def let_in(service, name, seconds=60):
    """The status of a body, once a place is free or what others sent is done: that one has gone is not seen at once."""
    from websockets.exceptions import InvalidStatus

    until = time.monotonic() + seconds
    status = None
    while status != 202 and time.monotonic() < until:
        with suppress(InvalidStatus), stream(service, name) as again:
            again.send(weights())
            status = json.loads(again.recv())["status"]
    return status


def test_a_source_holds_a_few_connections(service):
    from websockets.exceptions import InvalidStatus

    with ExitStack() as held:
        for _ in range(7):
            held.enter_context(stream(service, "greedy"))
        with stream(service, "greedy"):
            with pytest.raises(InvalidStatus), stream(service, "greedy"):
                pass
            with stream(service) as other:
                other.send(weights())
                assert json.loads(other.recv())["status"] == 202
        assert let_in(service, "greedy") == 202


def test_a_sender_that_goes_before_its_answer_is_no_fault(service, caplog):
    """Reset while the service answers: nothing is printed, what was taken stays taken, the place is free again."""
    from websockets.exceptions import InvalidStatus

    at = urlsplit(service.url)
    for _ in range(12):
        raw = socket.create_connection((at.hostname, at.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # As many as one source may hold are not over yet, on a slow machine: then this one is not let in.
        with suppress(InvalidStatus), stream(service, "hasty", sock=raw) as hasty:
            for _ in range(3):
                hasty.send(weights())
            # Past the library, which would say goodbye.
            raw.shutdown(socket.SHUT_RDWR)
        raw.close()
    service.caught_up()
    # The service's: the client's library has its own to say of a socket that was closed under it.
    said = [record for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not [record for record in said if record.exc_info]
    assert let_in(service, "hasty") == 202


def test_bodies_on_their_way_are_bounded(service):
    """More of one source than may be in memory: some are told to come again, none is lost, others go on."""
    body = weights(1000) * 300  # some 14 MB
    with ThreadPoolExecutor(8) as pool, service.client("heavy") as heavy, service.client() as other:
        heavy_answers = [pool.submit(post, heavy, body) for _ in range(8)]
        assert post(other, weights()).status_code == 202
        statuses = [answer.result().status_code for answer in heavy_answers]
    # Behind other work on a slow machine a body may take too long to arrive.
    assert set(statuses) <= {202, 408, 503}
    assert statuses.count(202) >= 1


def test_a_connection_ends_when_its_key_does(service):
    with stream(service, "doomed") as socket_:
        socket_.send(weights())
        assert json.loads(socket_.recv())["status"] == 202
        other = Sources(service.folder / "sources")
        other.revoke("doomed", "marie")
        other.close()
        time.sleep(1.1)
        socket_.send(weights())
        assert json.loads(socket_.recv())["status"] == 401
        with pytest.raises(ConnectionClosedError) as closed:
            socket_.recv()
        assert closed.value.rcvd.code == 4401


def test_many_at_once_are_all_there_once(service):
    def send(thread):
        with service.client() as client:
            return sum(post(client, weights(7, f"T{thread}")).json()["accepted"] for _ in range(20))

    before = service.service.line.log.next_offset
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(send, range(16))) == 16 * 20 * 7
    entries = service.service.line.log.read(before)
    assert len({entry.body for entry in entries if entry.source == "gw"}) == 320
    assert threading.active_count() < 100
