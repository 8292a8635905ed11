"""Connections that never become a request, against a running service."""

import socket
import time

import httpx
import pytest
from running_service import running

from ingest.server.guard import MAX_HEAD


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    with running(tmp_path_factory.mktemp("narrow"), header_s=1.0, body_s=1.5, connections=30) as service:
        yield service


def opened(service):
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(60)
    return connection


def ended(connection):
    try:
        return connection.recv(10) == b""
    except ConnectionError:
        return True


def count(service, why, client=httpx):
    text = client.get(service.url + "/metrics", timeout=60).text
    lines = [
        line for line in text.splitlines() if line.startswith(f'vigie_connections_ended_total{{why="{why}"}}')
    ]
    return float(lines[0].split()[-1]) if lines else 0.0


def counted(service, why, least, client=httpx, seconds=60):
    """How many were ended, once there are so many: the connection is closed a moment before it is counted."""
    until = time.monotonic() + seconds
    while (found := count(service, why, client)) < least and time.monotonic() < until:
        time.sleep(0.02)
    return found


def test_a_head_that_comes_byte_by_byte_is_ended(narrow):
    before = count(narrow, "slow")
    began = time.monotonic()
    with opened(narrow) as slow:
        for byte in b"GET /healthz HTTP/1.1\r\n" * 4:
            try:
                slow.send(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the service listened to the end")
    assert time.monotonic() - began > 0.9
    assert counted(narrow, "slow", before + 1) == before + 1


def test_a_body_that_comes_too_slowly_is_given_up(narrow):
    with opened(narrow) as slow:
        head = f"POST /v1/packets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {narrow.key()}\r\nContent-Length: 100"
        slow.sendall(f"{head}\r\n\r\nx".encode())
        got = slow.recv(4096)
    assert b"408" in got.split(b"\r\n", 1)[0]
    assert b"took more than 1.5 s" in got


def test_a_connection_that_says_nothing_is_ended(narrow):
    with opened(narrow) as silent:
        assert ended(silent)


def test_a_head_without_end_is_ended(narrow):
    before = count(narrow, "head")
    with opened(narrow) as long:
        try:
            long.sendall(b"GET /healthz HTTP/1.1\r\n")
            for _ in range(100):
                long.sendall(b"X: " + bytes(b"a" * 1000) + b"\r\n")
        except ConnectionError:
            pass
        assert ended(long)
    assert counted(narrow, "head", before + 1) == before + 1


def test_a_head_within_the_bound_is_heard(narrow):
    answer = httpx.get(narrow.url + "/healthz", headers={"X-Long": "a" * (MAX_HEAD // 2)}, timeout=60)
    assert answer.status_code == 200


def test_too_many_connections_are_ended_and_the_others_go_on(narrow):
    before = count(narrow, "many")
    with httpx.Client(base_url=narrow.url, timeout=60) as client:
        assert client.get("/healthz").status_code == 200
        many = [opened(narrow) for _ in range(40)]
        try:
            assert counted(narrow, "many", before + 10, client) >= before + 10
            assert client.get("/healthz").status_code == 200
        finally:
            for each in many:
                each.close()


def test_requests_one_after_the_other_are_watched_one_by_one(narrow):
    """A connection that was used may rest, but not begin a head and leave it."""
    before = count(narrow, "slow")
    with opened(narrow) as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"alive" in connection.recv(4096)
            time.sleep(0.6)
        time.sleep(1.0)
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()
        assert ended(connection)
        assert time.monotonic() - began > 0.5
    # By the watch on heads, not because it rested.
    assert counted(narrow, "slow", before + 1) == before + 1


def test_two_requests_in_one_piece(narrow):
    with opened(narrow) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        got = b""
        while got.count(b"alive") < 2:
            got += connection.recv(4096)
