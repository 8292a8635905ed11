"""A Mosquitto of the tests' own, on a free port, that can be stopped, killed and started again; and a gateway."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.redis_server import free_port

# More than the defaults: Mosquitto keeps 1,000 messages for a client that is away, and drops the others.
USUAL = """
max_queued_messages 0
max_inflight_messages 0
persistence true
autosave_interval 1
"""


def program():
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def until(holds, what, seconds=60):
    """Wait until something holds; a test that waits in vain says for what."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"waited in vain: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


class Mosquitto:
    def __init__(self, folder, settings="allow_anonymous true", usual=USUAL):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.port = free_port()
        self.log = self.folder / "log"
        # It gives up being root unless told not to, and would not read its folder.
        self.configuration = self.folder / "mosquitto.conf"
        self.configuration.write_text(
            f"user {'root' if os.geteuid() == 0 else 'mosquitto'}\nlog_dest file {self.log}\nlog_type all\n"
            f"{usual and usual + f'persistence_location {self.folder}/'}\n"
            f"listener {self.port} 127.0.0.1\n{settings}\n"
        )
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [program(), "-c", str(self.configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(self._listens, "the broker's port")
        return self

    def _listens(self):
        if self._process.poll() is not None:
            raise AssertionError(self._process.stderr.read() + self.said())
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self, number=signal.SIGTERM):
        """Stop it; SIGTERM: it writes what it has."""
        self._process.send_signal(number)
        self._process.wait(30)
        self._process.stderr.close()
        self._process = None

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def acknowledged(self, client="vigie-bridge"):
        """How many messages a client has acknowledged."""
        return len(re.findall(rf"Received PUBACK from {re.escape(client)} ", self.said()))

    def sent(self, client="vigie-bridge"):
        return len(re.findall(rf"Sending PUBLISH to {re.escape(client)} ", self.said()))

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self._process is not None:
            self.end(signal.SIGKILL)

    @contextmanager
    def gateway(self, name="gateway", username=None, password=None):
        """Connect a gateway."""
        client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        if username:
            client.username_pw_set(username, password)
        up = threading.Event()
        client.on_connect = lambda *_: up.set()
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            assert up.wait(30)
            yield Gateway(client, name)
        finally:
            client.disconnect()
            client.loop_stop()


class Gateway:
    def __init__(self, client, name):
        self.client = client
        self.topic = f"vigie/{name}/packets"

    def publish(self, *bodies, topic=None, qos=1):
        """Publish bodies and wait until the broker has them."""
        under_way = [self.client.publish(topic or self.topic, body, qos) for body in bodies]
        for each in under_way:
            each.wait_for_publish(60)
            assert each.is_published()
