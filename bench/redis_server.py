"""A redis-server in a folder and on a port of its own, that can be killed, stopped, started again and set otherwise."""

import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import redis

__all__ = ["PROGRAM", "Server", "free_port"]

PROGRAM = shutil.which("redis-server")
"""None where there is none: ``make servers``."""

_UP_S = 30.0


def free_port() -> int:
    """Give a port for a server that is ended and started again on it.

    Below those that the system gives out by itself (from 32,768): one of these could be another's meanwhile.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


class Server:
    """Durable as Vigie wants it (append-only file, an fsync before each answer), unless told otherwise.

    Parameters
    ----------
    folder : Path
        Made if it is not there; what the server keeps.
    options : str
        More of its command line, as ``--appendfsync no``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it, and wait until it answers; what it had is there again."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            [
                PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning", *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + _UP_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    break
            except redis.exceptions.RedisError as error:
                if time.monotonic() > until or self._process.poll() is not None:
                    msg = f"redis-server in {self.folder} does not answer"
                    raise RuntimeError(msg) from error
                time.sleep(0.02)
        return self

    def client(self) -> redis.Redis:
        """Connect to it."""
        return redis.Redis(port=self.port, socket_timeout=10)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal, and wait."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(_UP_S)
            self._process = None

    def pause(self) -> None:
        """Let it stand still."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()
