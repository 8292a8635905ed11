"""Posting until it is durable, against servers that answer what a service seldom does."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ingest.bridges import sender as module
from ingest.bridges.delivery import Delivery
from ingest.bridges.errors import BridgeError, KeyRefusedError, RefusedError
from ingest.bridges.sender import Sender, Taken

TAKEN = 202, {"accepted": 1, "duplicate": 2, "quarantined": {"IMPLAUSIBLE": 3}}


@contextmanager
def server(answers, *, close=False):
    """Run an HTTP server that gives these answers one after the other, then the last for ever; note what came."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, {**self.headers, "From": self.client_address}, body))
            status, said, *headers = answers(body) if callable(answers) else answers.pop(0)
            if not callable(answers) and not answers:
                answers.append((status, said, *headers))
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            # Without saying so: as a server that ends a connection because nothing comes.
            self.close_connection = self.close_connection or close

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        serving = threading.Thread(target=listening.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", got
        finally:
            listening.shutdown()
            serving.join()


def send(url, *bodies, **options):
    async def sending():
        sender = Sender(url, "key", **options)
        try:
            return [await sender.send(body) for body in bodies]
        finally:
            sender.close()

    return asyncio.run(sending())


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_S", 0.001)
    monkeypatch.setattr(module, "_LONGEST_S", 0.002)


def test_what_is_sent_and_what_it_says():
    with server([TAKEN]) as (url, got):
        assert send(url + "/behind/", b"one") == [Taken(1, 2, 3)]
    ((path, headers, body),) = got
    assert (path, body) == ("/behind/v1/packets", b"one")
    assert headers["Authorization"] == "Bearer key"


def test_a_body_is_sent_again_with_the_same_key_and_another_with_another(hurried):
    busy = (503, {"error": "busy"})
    with server([busy, (500, {}), (302, b""), (200, b"<html>"), (202, b"no json"), TAKEN]) as (url, got):
        send(url, b"one", b"two")
    assert [body for _, _, body in got] == [b"one"] * 6 + [b"two"]
    keys = [headers["Idempotency-Key"] for _, headers, _ in got]
    assert len(set(keys[:6])) == 1
    assert keys[6] != keys[0]


def test_it_waits_as_long_as_it_is_told(hurried):
    times = []

    def answer(_body):
        times.append(time.monotonic())
        return (429, {}, ("Retry-After", "1")) if len(times) == 1 else TAKEN

    with server(answer) as (url, _):
        send(url, b"one")
    assert times[1] - times[0] >= 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_can_never_be_taken(status):
    with (
        server([(status, {"error": "because\x1b[31m"})]) as (url, got),
        pytest.raises(RefusedError, match=rf"^answers {status}: because\[31m$"),
    ):
        send(url, b"one")
    assert len(got) == 1


def test_a_key_that_is_not_good():
    with (
        server([(401, {"error": "wrong key"})]) as (url, got),
        pytest.raises(KeyRefusedError, match="the key is wrong or was revoked"),
    ):
        send(url, b"one")
    assert len(got) == 1


def test_a_body_that_the_service_fails_on_stops_nobody(hurried, tmp_path):
    def answer(body):
        return (500, {"error": "a fault"}) if body == b"poison" else TAKEN

    async def deliver(url):
        sender = Sender(url, "key")
        try:
            await Delivery(sender, tmp_path / "refused").deliver(b"poison", "somewhere")
        finally:
            sender.close()

    with server(answer) as (url, got):
        asyncio.run(deliver(url))
    assert [body for _, _, body in got].count(b"poison") == module._FAULTS
    (about,) = (tmp_path / "refused").glob("*.json")
    reason = "answers 500: a fault, 20 times, and takes other bodies"
    assert json.loads(about.read_text())["reason"] == reason


def test_a_service_that_fails_on_everything_refuses_nothing(hurried):
    answers = [(500, {})] * (3 * module._FAULTS) + [TAKEN]
    with server(answers) as (url, got):
        assert send(url, b"one") == [Taken(1, 2, 3)]
    assert len(got) > 3 * module._FAULTS


def test_a_connection_that_was_closed_meanwhile_is_no_trouble(caplog):
    with server([TAKEN], close=True) as (url, got):
        send(url, b"one", b"two", b"three", connections=1)
    assert [body for _, _, body in got] == [b"one", b"two", b"three"]
    assert not caplog.records


def test_connections_are_used_again():
    with server([TAKEN]) as (url, got):
        send(url, *[b"%d" % k for k in range(20)], connections=1)
    assert len(got) == 20
    assert len({headers["From"] for _, headers, _ in got}) == 1


@pytest.mark.parametrize("url", ["mqtt://h", "http://", "h", "http://h:x"])
def test_no_address(url):
    async def make():
        Sender(url, "key")

    with pytest.raises(BridgeError, match=r"--to.*legal is http://host:port or https://host:port"):
        asyncio.run(make())


def test_quarantine_waits_for_a_disk(tmp_path, monkeypatch, caplog):
    from ingest.bridges import delivery as there

    monkeypatch.setattr(there, "_AGAIN_S", 0.01)
    folder = tmp_path / "refused"

    async def deliver(url):
        sender = Sender(url, "key")
        try:
            delivery = Delivery(sender, folder)
            folder.rmdir()
            under_way = asyncio.create_task(delivery.deliver(b"one", "somewhere"))
            while "No such file or directory" not in caplog.text:  # noqa: ASYNC110 - said in a message only
                await asyncio.sleep(0.01)
            assert not under_way.done()
            folder.mkdir()
            await under_way
        finally:
            sender.close()

    with server([(413, {"error": "large"})]) as (url, _):
        asyncio.run(deliver(url))
    (kept,) = folder.glob("*.body")
    assert kept.read_bytes() == b"one"
    assert not list(folder.glob(".*"))
