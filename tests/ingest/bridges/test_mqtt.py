"""A bridge as a process between a real broker and a real service: nothing is acknowledged before the log has it."""

import json
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from bridge_process import body, logged, until_logged
from mosquitto import Mosquitto, program, until

from bench.redis_server import free_port
from ingest.bridges.mqtt import MESSAGE_BYTES
from ingest.sources import Limits

DEPLOY = Path(__file__).parents[3] / "deploy" / "mosquitto"


def test_what_comes_while_the_bridge_is_away_waits_at_the_broker(tmp_path, broker, service, bridges):
    with service() as running, broker.gateway() as gateway:
        key = running.key("bridge")
        bridge = bridges.start(broker.url, running.url, key=key)
        bridge.until_said("a new session")
        first = [body() for _ in range(5)]
        gateway.publish(*first)
        until_logged(tmp_path, first)
        assert bridge.end(signal.SIGTERM) == 0
        assert "stopped: bodies: 5 taken, 0 refused and kept here; packets: 5 accepted" in bridge.said
        away = [body(3) for _ in range(1500)]
        gateway.publish(*away)
        again = bridges.start(broker.url, running.url, key=key).until_said("the session was kept")
        until_logged(tmp_path, away)
        until(lambda: broker.acknowledged() == 1505, "1,505 messages acknowledged")
        assert again.end(signal.SIGINT) == 0
        assert sorted(logged(tmp_path)) == sorted(first + away)
        assert running.caught_up()["ready"]
    for secret in (key, "N1"):
        assert secret not in bridge.said + again.said


def test_bridges_of_a_group_share_the_messages_and_lose_none(tmp_path, broker, service, bridges):
    with service() as running, broker.gateway() as gateway:
        key = running.key("bridge")
        pair = [
            bridges.start(broker.url, running.url, "--share", "vigie", "--client-id", name, key=key)
            for name in ("one", "two")
        ]
        bodies = [body() for _ in range(400)]
        gateway.publish(*bodies)
        until_logged(tmp_path, bodies)
        assert [bridge.end() for bridge in pair] == [0, 0]
        assert sorted(logged(tmp_path)) == sorted(bodies)
        for name in ("one", "two"):  # the broker writes of it a moment later
            until(lambda name=name: broker.acknowledged(name) >= 100, f"a share of {name}")


def test_kill_9_under_load_loses_nothing_that_was_published(tmp_path, broker, service, bridges):
    published = []
    with service() as running, broker.gateway() as gateway:
        key = running.key("bridge")
        bridge = bridges.start(broker.url, running.url, "--in-flight", "16", key=key)

        def publish():
            for _ in range(40):
                bodies = [body() for _ in range(25)]
                gateway.publish(*bodies)
                published.extend(bodies)

        load = threading.Thread(target=publish)
        load.start()
        for enough in (200, 500):
            until(lambda enough=enough: broker.acknowledged() >= enough, "a load")
            assert bridge.end(signal.SIGKILL) == -signal.SIGKILL
            bridge = bridges.start(broker.url, running.url, "--in-flight", "16", key=key)
            bridge.until_said("the session was kept")
        load.join(60)
        until_logged(tmp_path, published)
        assert bridge.end() == 0
    assert len(published) == 1000
    assert set(logged(tmp_path)) == set(published)


def test_while_the_service_is_away_nothing_is_acknowledged(tmp_path, broker, service, bridges):
    with broker.gateway() as gateway:
        with service() as running:
            key = running.key("bridge")
            bridge = bridges.start(broker.url, running.url, "--in-flight", "10", key=key)
            gateway.publish(early := body())
            until(lambda: broker.acknowledged() == 1, "the first acknowledged")
        bodies = [body() for _ in range(50)]
        gateway.publish(*bodies)
        bridge.until_said(r"service http://127.0.0.1:\d+: Connection refused; .* not acknowledged")
        # The broker gives ten and keeps the others: so much, and no more, is in the bridge's memory.
        until(lambda: broker.sent() == 11, "ten more at the bridge")
        assert broker.acknowledged() == 1
        with service():
            until_logged(tmp_path, bodies)
            bridge.until_said("takes bodies again, after ")
            until(lambda: broker.acknowledged() == 51, "all acknowledged")
            assert bridge.end() == 0
    assert sorted(logged(tmp_path)) == sorted([early, *bodies])


def test_a_stop_while_the_service_is_away_ends_in_time_and_loses_nothing(tmp_path, broker, service, bridges):
    with broker.gateway() as gateway:
        with service() as running:
            key = running.key("bridge")
            bridge = bridges.start(broker.url, running.url, "--stop-s", "0.5", key=key)
        gateway.publish(*(bodies := [body() for _ in range(20)]))
        bridge.until_said("Connection refused")
        until(lambda: broker.sent() == 20, "all at the bridge")
        assert bridge.end() == 0
        assert re.search(r"\d+ in hand are not finished; the broker delivers them again", bridge.said)
        assert broker.acknowledged() == 0
        with service() as running:
            bridges.start(broker.url, running.url, key=key)
            until_logged(tmp_path, bodies)


def test_what_can_never_be_taken_is_kept_and_stops_nobody(tmp_path, broker, service, bridges):
    small = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12, body_bytes=1000)
    large = [b"\xc1" * 5_000, b"\xc0" * 12_000_000]
    garbage = b"no packet at all"
    with service() as running, broker.gateway() as gateway:
        bridge = bridges.start(broker.url, running.url, key=running.key("bridge", limits=small))
        good = [body() for _ in range(10)]
        gateway.publish(*good[:5], *large, garbage, *good[5:])
        until(lambda: broker.acknowledged() == 13, "all acknowledged")
        assert bridge.end() == 0
        assert sorted(logged(tmp_path)) == sorted([*good, garbage])
    kept = list((tmp_path / "refused").glob("*.body"))
    assert sorted(path.read_bytes() for path in kept) == sorted(large)
    for path in kept:
        about = json.loads(path.with_suffix(".json").read_text())
        assert about["reason"] == f"answers 413: a body of {about['bytes']} bytes: legal are 0 to 1000"
        assert about["origin"] == gateway.topic
        assert path.stat().st_mode & 0o077 == 0
    assert "bodies: 11 taken, 2 refused and kept here" in bridge.said
    assert "packets: 10 accepted, 0 duplicate, 1 quarantined by the service" in bridge.said
    assert gateway.topic not in bridge.said


def test_a_wrong_key_ends_the_bridge_and_acknowledges_nothing(tmp_path, broker, service, bridges):
    with service() as running, broker.gateway() as gateway:
        key = running.key("bridge")
        wrong = key[:-4] + "AAAA"
        bridge = bridges.start(broker.url, running.url, key=wrong)
        gateway.publish(held := body())
        assert bridge.ended() == 2
        assert f"vigie: {running.url}: the key is wrong or was revoked" in bridge.said
        assert wrong[:20] not in bridge.said
        assert broker.acknowledged() == 0
        bridges.start(broker.url, running.url, key=key)
        until_logged(tmp_path, [held])


def test_a_broker_that_is_killed_is_found_again(tmp_path, broker, service, bridges):
    with service() as running:
        bridge = bridges.start(broker.url, running.url, key=running.key("bridge"))
        with broker.gateway() as gateway:
            gateway.publish(first := body())
            until_logged(tmp_path, [first])
        broker.end(signal.SIGKILL)
        bridge.until_said(f"broker {broker.url}: the connection was lost")
        bridge.until_said(f"broker {broker.url}: Connection refused; trying again")
        broker.start()
        bridge.until_said("connected, ", times=2)
        with broker.gateway() as gateway:
            gateway.publish(second := body())
            until_logged(tmp_path, [first, second])
        assert bridge.end() == 0


def test_an_acknowledgement_is_for_the_connection_that_brought_the_message(
    tmp_path, broker, service, bridges
):
    """The broker forgets its sessions; numbers of messages begin anew, and stand for other messages."""
    with service() as running:
        key = running.key("bridge")
        bridge = bridges.start(broker.url, running.url, key=key)
    with broker.gateway() as gateway:
        gateway.publish(*(forgotten := [body() for _ in range(3)]))
        until(lambda: broker.sent() == 3, "three at the bridge")
    broker.end(signal.SIGKILL)
    (broker.folder / "mosquitto.db").unlink(missing_ok=True)
    broker.start()
    bridge.until_said("connected, a new session, although there was one: what it held for us is lost")
    with broker.gateway() as gateway:
        gateway.publish(*(bodies := [body() for _ in range(3)]))
        until(lambda: broker.sent() == 6, "three more at the bridge")
        assert broker.acknowledged() == 0
        with service():
            # What only the bridge has left is delivered too.
            until_logged(tmp_path, [*forgotten, *bodies])
            until(lambda: broker.acknowledged() >= 3, "acknowledged")
            assert bridge.end() == 0
    assert broker.acknowledged() == 3


def test_what_is_in_hand_is_finished_though_the_broker_is_gone(tmp_path, broker, service, bridges):
    with service() as running:
        bridge = bridges.start(broker.url, running.url, key=running.key("bridge"))
    with broker.gateway() as gateway:
        gateway.publish(*(bodies := [body() for _ in range(10)]))
        until(lambda: broker.sent() == 10, "ten at the bridge")
    broker.end(signal.SIGKILL)
    bridge.until_said("the connection was lost")
    bridge.send(signal.SIGTERM)
    with service():
        assert bridge.ended() == 0
    assert sorted(logged(tmp_path)) == sorted(bodies)


def test_what_is_delivered_again_joins_what_is_under_way(tmp_path, broker, service, bridges):
    """However often the connection ends while the service is away, each body is in memory once."""
    with service() as running:
        bridge = bridges.start(broker.url, running.url, "--in-flight", "8", key=running.key("bridge"))
    with broker.gateway() as gateway:
        gateway.publish(*[body() for _ in range(8)])
        until(lambda: broker.sent() == 8, "eight at the bridge")
    for times in (2, 3):
        broker.end()
        broker.start()
        bridge.until_said("connected, ", times=times)
        until(lambda times=times: broker.sent() == 8 * times, "eight more")
    with service():
        until(lambda: broker.acknowledged() == 8, "all acknowledged")
        assert bridge.end() == 0
    assert "stopped: bodies: 8 taken" in bridge.said


def test_a_broker_that_is_stopped_keeps_what_is_not_acknowledged(tmp_path, broker, service, bridges):
    with service() as running:
        bridge = bridges.start(broker.url, running.url, "--in-flight", "5", key=running.key("bridge"))
    with broker.gateway() as gateway:
        gateway.publish(*(bodies := [body() for _ in range(30)]))
        bridge.until_said("Connection refused; for")
    broker.end()
    broker.start()
    bridge.until_said("connected, the session was kept")
    with service():
        until_logged(tmp_path, bodies)
        assert bridge.end() == 0


def test_what_is_no_broker_is_tried_again(tmp_path, service, bridges):
    with service() as running:
        url = running.url.replace("http", "mqtt")
        bridge = bridges.start(url, running.url, key=running.key("bridge"), wait=False)
        bridge.until_said(f"broker {url}: .*; trying again", times=2)
        assert bridge.end() == 0


def test_two_bridges_of_one_name_say_so_and_lose_nothing(tmp_path, broker, service, bridges):
    """Mosquitto ends the older connection without a reason, so that each takes the session from the other."""
    with service() as running, broker.gateway() as gateway:
        key = running.key("bridge")
        pair = [bridges.start(broker.url, running.url, key=key) for _ in range(2)]
        gateway.publish(*(bodies := [body() for _ in range(50)]))
        until(
            lambda: any("does another client use the client id vigie-bridge" in each.said for each in pair),
            "a hint",
        )
        until_logged(tmp_path, bodies)
        assert [each.end() for each in pair] == [0, 0]


def test_a_message_over_the_bound_stays_out_of_memory_and_stops_nobody(tmp_path, broker, service, bridges):
    with service() as running, broker.gateway() as gateway:
        bridge = bridges.start(broker.url, running.url, key=running.key("bridge"))
        gateway.publish(first := body(), b"\xc1" * MESSAGE_BYTES, second := body())
        until_logged(tmp_path, [first, second])
        until(lambda: broker.acknowledged() == 2, "the others acknowledged")
        assert "Dropping too large outgoing PUBLISH for vigie-bridge" in broker.said()
        assert bridge.end() == 0
        assert not list((tmp_path / "refused").iterdir())


def test_messages_with_qos_0_are_taken_and_said(tmp_path, broker, service, bridges):
    with service() as running, broker.gateway() as gateway:
        bridge = bridges.start(broker.url, running.url, key=running.key("bridge"))
        gateway.publish(sent := body(), qos=0)
        until_logged(tmp_path, [sent])
        bridge.until_said("gateways must publish with QoS 1")
        assert bridge.end() == 0


def test_two_bridges_are_two_sources(tmp_path, broker, service, bridges):
    with service() as running, broker.gateway() as gateway:
        north = running.key("north", everyone=False, cells=("Nord",))
        south = running.key("south", everyone=False, cells=("Sud",))
        for name, key in (("nord", north), ("sud", south)):
            bridges.start(
                broker.url, running.url, "--topic", f"vigie/{name}/+/packets", "--client-id", name, key=key
            )
        ours, theirs, strange = body(patient="N1"), body(patient="S1"), body(patient="S1")
        gateway.publish(ours, topic="vigie/nord/gw/packets")
        gateway.publish(theirs, topic="vigie/sud/gw/packets")
        # A patient of another cell is refused, whatever the broker lets through.
        gateway.publish(strange, topic="vigie/nord/gw/packets")
        until_logged(tmp_path, [ours], "north")
        until_logged(tmp_path, [theirs], "south")
        until(lambda: broker.acknowledged("nord") == 2, "both acknowledged")
        assert logged(tmp_path, "north") == [ours]


def test_the_example_of_a_broker_lets_each_do_its_own(tmp_path, service, bridges):
    """deploy/mosquitto as it is, but for the places of its files: TLS, passwords, rights."""
    if program() is None or not all(map(shutil.which, ("openssl", "mosquitto_passwd"))):
        pytest.skip("no Mosquitto or openssl here")
    etc = tmp_path / "etc"
    etc.mkdir()
    certificate(etc)
    for at, name in enumerate(("vigie-bridge", "home-1", "home-2")):
        run = ["mosquitto_passwd", "-b", *["-c"][at:], str(etc / "vigie.passwords"), name, f"of {name}"]
        subprocess.run(run, check=True, capture_output=True)
    text = (DEPLOY / "vigie.conf").read_text()
    for there, here in (
        ("/etc/mosquitto/certs", etc),
        ("/etc/mosquitto/vigie.passwords", etc / "vigie.passwords"),
        ("/etc/mosquitto/vigie.acl", DEPLOY / "vigie.acl"),
        ("/var/lib/mosquitto/", f"{tmp_path}/broker/"),
    ):
        assert there in text
        text = text.replace(there, str(here))
    tls = free_port()
    text = text.replace("listener 8883", f"listener {tls} 127.0.0.1")
    # Beside it a listener without TLS, for the gateways of this test.
    with (
        service() as running,
        Mosquitto(tmp_path / "broker", settings=text, usual="") as broker,
        broker.gateway("home-1", "home-1", "of home-1") as home,
    ):
        key = running.key("bridge")
        url = f"mqtts://localhost:{tls}"
        password = tmp_path / "password"
        options = ["--username", "vigie-bridge", "--password-file", password]

        password.write_text("of vigie-bridge\n")
        stranger = bridges.start(url, running.url, *options, key=key, wait=False)
        stranger.until_said("certificate verify failed")
        stranger.end(signal.SIGKILL)

        options += ["--ca", etc / "server.crt"]
        bridge = bridges.start(url, running.url, *options, key=key)
        home.publish(sent := body(200))
        until_logged(tmp_path, [sent])
        # To the other's topic it may not write.
        with broker.gateway("thief", "home-1", "of home-1") as thief:
            thief.client.publish("vigie/home-2/packets", strange := body(), 1)
            until(lambda: "Denied PUBLISH from thief" in broker.said(), "a denial")
        home.publish(more := body())
        until_logged(tmp_path, [sent, more])
        assert strange not in logged(tmp_path)
        assert bridge.end() == 0
        assert "of vigie-bridge" not in bridge.said

        password.write_text("of somebody else\n")
        unknown = bridges.start(url, running.url, *options, key=key, wait=False)
        assert unknown.ended() == 2
        assert re.search("the broker does not (know this user and password|let this user in)", unknown.said)
        assert "somebody else" not in unknown.said


def test_a_broker_that_grants_no_acknowledgement_is_refused(tmp_path, service, bridges):
    if program() is None:
        pytest.skip("no Mosquitto here: apt install mosquitto")
    with (
        service() as running,
        Mosquitto(tmp_path / "broker", settings="allow_anonymous true\nmax_qos 0") as broker,
    ):
        bridge = bridges.start(broker.url, running.url, key=running.key("bridge"), wait=False)
        assert bridge.ended() == 2
        assert f"{broker.url}: subscribing to vigie/+/packets: the broker grants QoS 0 only" in bridge.said


def certificate(folder):
    """Make a certificate of localhost that is its own authority."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {folder}/server.key -out {folder}/server.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
