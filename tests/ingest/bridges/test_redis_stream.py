"""A bridge as a process between a real Redis and a real service: an entry is acknowledged when the log has it."""

import json
import os
import signal
import threading

import pytest
from bridge_process import body, logged, until_logged
from mosquitto import until

from bench import redis_server
from ingest.bridges.errors import BridgeError
from ingest.bridges.redis_stream import Settings

pytestmark = pytest.mark.skipif(redis_server.PROGRAM is None, reason="redis-server is missing: make servers")

STREAM = "vigie:packets"


@pytest.fixture
def server(tmp_path):
    with redis_server.Server(tmp_path / "redis") as one:
        yield one


def add(server, *bodies, field="body"):
    with server.client() as client:
        for each in bodies:
            client.xadd(STREAM, {field: each})


def waiting(server):
    """How many entries were given to a bridge and are not acknowledged, and how many were not given."""
    with server.client() as client:
        group = client.xinfo_groups(STREAM)[0]
        return group["pending"], group["lag"]


def test_what_comes_while_the_bridge_is_away_waits(tmp_path, server, service, bridges):
    with service() as running:
        key = running.key("bridge")
        first = [body() for _ in range(5)]
        add(server, *first)
        bridge = bridges.start(server.url, running.url, key=key)
        until_logged(tmp_path, first)
        until(lambda: waiting(server) == (0, 0), "acknowledged")
        assert bridge.end(signal.SIGTERM) == 0
        assert "5 " in bridge.said.splitlines()[-1]
        away = [body(3) for _ in range(300)]
        add(server, *away)
        again = bridges.start(server.url, running.url, key=key)
        until_logged(tmp_path, away)
        until(lambda: waiting(server) == (0, 0), "acknowledged")
        assert again.end(signal.SIGINT) == 0
        assert sorted(logged(tmp_path)) == sorted(first + away)
    for secret in (key, "N1"):
        assert secret not in bridge.said + again.said


def test_two_share_and_one_that_is_killed_loses_nothing(tmp_path, server, service, bridges):
    published = []
    with service() as running:
        key = running.key("bridge")
        options = ("--in-flight", "8", "--client-id")
        one = bridges.start(server.url, running.url, *options, "one", key=key)
        two = bridges.start(server.url, running.url, *options, "two", key=key)

        def publish():
            for _ in range(40):
                published.extend(bodies := [body() for _ in range(20)])
                add(server, *bodies)

        load = threading.Thread(target=publish)
        load.start()
        until(lambda: len(logged(tmp_path)) > 100, "a load")
        assert one.end(signal.SIGKILL) == -signal.SIGKILL
        load.join(60)
        one = bridges.start(server.url, running.url, *options, "one", key=key)
        until_logged(tmp_path, published)
        until(lambda: waiting(server) == (0, 0), "acknowledged")
        assert [one.end(), two.end()] == [0, 0]
    assert len(set(published)) == 800


def test_the_service_away_and_back(tmp_path, server, service, bridges):
    bodies = [body() for _ in range(30)]
    with service() as running:
        key = running.key("bridge")
        url = running.url
        bridge = bridges.start(server.url, url, "--in-flight", "4", key=key)
        add(server, bodies[0])
        until_logged(tmp_path, bodies[:1])
    add(server, *bodies[1:])
    until(lambda: waiting(server)[0] == 4, "in hand")
    assert logged(tmp_path) == bodies[:1]
    with service():
        until_logged(tmp_path, bodies)
        until(lambda: waiting(server) == (0, 0), "acknowledged")
        assert bridge.end() == 0


def test_the_server_killed_and_back(tmp_path, server, service, bridges):
    bodies = [body() for _ in range(20)]
    with service() as running:
        bridge = bridges.start(server.url, running.url, key=running.key("bridge"))
        add(server, *bodies[:10])
        until_logged(tmp_path, bodies[:10])
        server.end()
        bridge.until_said("trying again")
        server.start()
        add(server, *bodies[10:])
        until_logged(tmp_path, bodies)
        until(lambda: waiting(server) == (0, 0), "acknowledged")
        assert bridge.end() == 0


def test_what_can_never_be_taken_is_kept_and_the_next_goes_on(tmp_path, server, service, bridges):
    with service() as running:
        bridge = bridges.start(server.url, running.url, key=running.key("bridge"))
        good = body()
        add(server, os.urandom((16 << 20) + 1))
        add(server, b"weight=80", field="other")
        add(server, good)
        until_logged(tmp_path, [good])
        until(lambda: waiting(server) == (0, 0), "acknowledged")
        assert bridge.end() == 0
    kept = sorted((tmp_path / "refused").glob("*.json"))
    reasons = [json.loads(each.read_text())["reason"] for each in kept]
    assert len(reasons) == 2
    assert any("413" in reason for reason in reasons)
    assert "an entry without the field 'body'" in reasons
    assert b"other=weight=80" in {each.with_suffix(".body").read_bytes() for each in kept}


def test_a_key_that_is_wrong_ends_it(tmp_path, server, service, bridges):
    with service() as running:
        add(server, body())
        bridge = bridges.start(server.url, running.url, key="wrong", wait=False)
        assert bridge.ended() == 2
        assert "the key is wrong or was revoked" in bridge.said
        assert waiting(server)[0] == 1


def test_a_password_that_is_wrong_ends_it(tmp_path, server, service, bridges):
    with server.client() as client:
        client.config_set("requirepass", "s3cret")
    (tmp_path / "password").write_text("wr0ng\n")
    options = ("--username", "default", "--password-file", tmp_path / "password")
    bridge = bridges.start(server.url, "http://127.0.0.1:1", *options, key="k", wait=False)
    assert bridge.ended() == 2
    assert "does not let this user in" in bridge.said
    assert "wr0ng" not in bridge.said


def test_settings_that_make_no_sense(tmp_path):
    with pytest.raises(BridgeError, match="both or neither"):
        Settings("redis://x", "http://y", tmp_path, username="me")
    with pytest.raises(BridgeError, match="at least one character"):
        Settings("redis://x", "http://y", tmp_path, stream="")
