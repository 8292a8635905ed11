"""A service in a process of its own, on a temporary folder: for what is measured from outside."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from ingest.sources import Limits, Source, Sources

__all__ = ["GENEROUS", "Running", "key_of", "running", "temporary"]

GENEROUS = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12)
_UP_S = 300.0


class Running:
    """The process."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.output = (folder / "output.txt").open("ab")
        begin = self.output.tell()
        began = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            [sys.executable, "-m", "vigie", "serve", "--data", str(folder / "data"), "--port", "0"],
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "VIGIE_WEB": "false", **environment},
        )
        self.seen = psutil.Process(self.process.pid)
        while True:
            said = self.said()[begin:]
            if found := re.search(r"listening at (\S+)", said):
                self.url = found[1]
                break
            if self.process.poll() is not None or time.monotonic() - began > _UP_S:
                msg = f"the service did not start:\n{said}"
                raise RuntimeError(msg)
            time.sleep(0.01)
        self.listening_s = time.monotonic() - began

    def said(self) -> str:
        """What it has printed."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """Give all samples by name with labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310 - ours
            lines = answer.read().decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))
        }

    def resident(self) -> int:
        """Bytes of memory."""
        return int(self.seen.memory_info().rss)

    def wait_caught_up(self, within_s: float = 300.0) -> float:
        """Wait until nothing waits; give how long that took."""
        began = time.monotonic()
        while self.metrics()["vigie_lag_entries"] > 0:
            if time.monotonic() - began > within_s:
                msg = f"not caught up after {within_s:g} s"
                raise RuntimeError(msg)
            time.sleep(0.05)
        return time.monotonic() - began

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it, and give its status."""
        self.process.send_signal(number)
        status = self.process.wait(120)
        self.output.close()
        return status


@contextmanager
def running(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run a service until the end of the block."""
    service = Running(folder, environment or {})
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.end()


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder for services, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="vigie-bench-") as name:
        (Path(name) / "data").mkdir()
        yield Path(name)


def key_of(folder: Path, name: str = "load", limits: Limits = GENEROUS, cell: str = "") -> str:
    """Make a source of a service, before or while it runs."""
    sources = Sources(folder / "data" / "sources")
    source = Source(name, (cell,), limits=limits) if cell else Source(name, everyone=True, limits=limits)
    key = sources.create(source, "bench")
    sources.close()
    return key
