"""The pages beside a real service: they come with it, come back, and end with it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import httpx
import psutil


class Service:
    """``vigie serve`` with its pages, in processes of their own."""

    def __init__(self, folder):
        env = os.environ | {"VIGIE_WEB": "true", "VIGIE_WEB_PORT": "0", "VIGIE_SECOND_FACTOR": "false"}
        env.pop("VIGIE_CONFIG", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vigie", "serve", "--data", str(folder), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
        )  # fmt: skip
        self.lines = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def pages(self, times=1, seconds=120):
        """Address of the pages, once they have begun so often."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = re.findall(r"pages at (\S+)", "".join(self.lines))
            if len(found) >= times:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError("".join(self.lines))

    def child(self):
        (one,) = [
            each for each in psutil.Process(self.process.pid).children() if "web" in " ".join(each.cmdline())
        ]
        return one

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reading.join(30)
        self.process.stdout.close()


def gone(address, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            httpx.get(f"{address}/connexion", timeout=60)
        except httpx.HTTPError:
            return True
        time.sleep(0.1)
    return False


def test_they_come_with_the_service_come_back_when_killed_and_end_with_it(tmp_path):
    service = Service(tmp_path / "data")
    try:
        address = service.pages()
        assert httpx.get(f"{address}/connexion", timeout=60).status_code == 200
        os.kill(service.child().pid, signal.SIGKILL)
        again = service.pages(times=2)
        assert httpx.get(f"{again}/connexion", timeout=60).status_code == 200
        assert "begun again" in "".join(service.lines)
        # A service that is killed takes its pages with it: the next one will have its own.
        service.process.send_signal(signal.SIGKILL)
        assert gone(again)
    finally:
        service.close()


def test_a_stop_stops_both(tmp_path):
    service = Service(tmp_path / "data")
    try:
        address = service.pages()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert gone(address, 1)
        assert "Traceback" not in "".join(service.lines)
    finally:
        service.close()
