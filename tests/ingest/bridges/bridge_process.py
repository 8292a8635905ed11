"""Bridges as processes, and what came of them: their messages, their status, the log of the service."""

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from mosquitto import until

from ingest import packet
from ingest.log import LogReader

_seq = itertools.count(1)


def body(packets=1, patient="N1"):
    """Give a body like no other."""
    now = time.time_ns() // 1_000_000
    return b"".join(packet.spot(patient, "scale", next(_seq), now, {1: 80.0}) for _ in range(packets))


def logged(folder, source="bridge"):
    """Give the bodies that the log has of a source, in its order."""
    found = []
    with LogReader(folder / "data" / "log") as log:
        at = log.first_offset
        while entries := log.read(at):
            found += [entry.body for entry in entries if entry.source == source]
            at = entries[-1].offset + 1
    return found


def until_logged(folder, bodies, source="bridge", seconds=60):
    """Wait until the log has all these bodies."""
    until(lambda: set(bodies) <= set(logged(folder, source)), f"{len(bodies)} bodies in the log", seconds)


class BridgeProcess:
    def __init__(self, command):
        self.lines = []
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        self.lines.extend(self._process.stdout)

    def __iter__(self):
        return iter(self.lines)

    @property
    def said(self):
        return "".join(list(self.lines))

    def until_said(self, pattern, times=1):
        def found():
            if len(re.findall(pattern, self.said)) >= times:
                return True
            assert self._process.poll() is None, self.said
            return False

        until(found, lambda: f"{pattern!r} in:\n{self.said}")
        return self

    def end(self, number=signal.SIGTERM):
        """Send a signal; give the status."""
        self.send(number)
        return self.ended()

    def send(self, number):
        self._process.send_signal(number)

    def ended(self):
        status = self._process.wait(60)
        self._reader.join(60)
        self._process.stdout.close()
        return status

    @property
    def runs(self):
        return self._process.poll() is None


class Bridges:
    def __init__(self, folder):
        self.folder = Path(folder)
        self._all = []

    def start(self, broker, service, *options, key, wait=True):
        """Start a bridge and wait until it is connected."""
        key_file = self.folder / "bridge.key"
        key_file.write_text(key + "\n")
        process = BridgeProcess([
            sys.executable, "-m", "vigie", "bridge", broker, "--to", service, "--key-file", str(key_file),
            "--quarantine", str(self.folder / "refused"), *map(str, options),
        ])  # fmt: skip
        self._all.append(process)
        return process.until_said("connected, ") if wait else process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self._all:
            if each.runs:
                each.end(signal.SIGKILL)
