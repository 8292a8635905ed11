"""What a bridge is told: errors name what was wrong and what is legal, and repeat no password."""

import subprocess
import sys

import pytest

from ingest.bridges.address import address, secret
from ingest.bridges.errors import BridgeError
from ingest.bridges.settings import Settings

PORTS = {"mqtt": 1883, "mqtts": 8883}


def settings(tmp_path, **given):
    return Settings(broker="mqtt://h", service="http://h", key_file=tmp_path / "key", **given)


@pytest.mark.parametrize("topic", ["vigie/+/packets", "+", "#", "vigie/#", "/vigie", "vigie//packets"])
def test_legal_topics(tmp_path, topic):
    assert settings(tmp_path, topic=topic).subscription == topic


@pytest.mark.parametrize("topic", ["", "vigie/#/packets", "vigie/a+/packets", "vigie/x#", "$share/g/vigie/#"])
def test_illegal_topics(tmp_path, topic):
    with pytest.raises(BridgeError, match=r"--topic .*: legal"):
        settings(tmp_path, topic=topic)


def test_a_group_shares(tmp_path):
    assert settings(tmp_path, share="g", client_id="one").subscription == "$share/g/vigie/+/packets"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"share": "a/b", "client_id": "one"}, "--share 'a/b': legal is a name without"),
        ({"share": "g"}, "--share: legal with --client-id only"),
        ({"username": "u"}, "--username, --password-file: legal are both or neither"),
        ({"in_flight": 0}, "--in-flight 0: legal are 1 to 65535"),
    ],
)
def test_illegal_options(tmp_path, given, said):
    with pytest.raises(BridgeError, match=said):
        settings(tmp_path, **given)


@pytest.mark.parametrize(
    ("url", "netloc"),
    [("mqtt://h", "h:1883"), ("mqtts://h/", "h:8883"), ("mqtt://[::1]:99", "[::1]:99")],
)
def test_addresses(url, netloc):
    assert address(url, "the broker", PORTS).netloc == netloc


@pytest.mark.parametrize(
    "url", ["http://h", "h:1883", "mqtt://", "mqtt://h/path", "mqtt://h:99999", "mqtt://h?a=b"]
)
def test_no_addresses(url):
    with pytest.raises(BridgeError, match=r"the broker.*legal is mqtt://host:port or mqtts://host:port"):
        address(url, "the broker", PORTS)


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path):
    (tmp_path / "key").write_text("k")
    command = ["bridge", "mqtt://user:hunter2@h", "--to", "http://h", "--key-file", str(tmp_path / "key")]
    done = subprocess.run(
        [sys.executable, "-m", "vigie", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "give --username and --password-file" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_secrets(tmp_path):
    path = tmp_path / "key"
    path.write_text("vigie_1_x y\n")
    assert secret(path, "key") == "vigie_1_x y"
    for text in ("", "\n", "two\nlines\n"):
        path.write_text(text)
        with pytest.raises(BridgeError, match="this holds no key; legal is one line"):
            secret(path, "key")


def test_a_file_without_certificates(tmp_path):
    from ingest.bridges.address import trust

    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(BridgeError, match=r"ca\.pem: this holds no certificates in PEM"):
        trust(path)
