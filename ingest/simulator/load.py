"""Load: packets at a given rate against a running service, whatever it answers.

An open loop: each request has its moment, and its time counts from then, whether it could be sent then or not. So a
service that stands still for a second shows as many late answers, and not as one. Bodies are made by columns, because a
generator that is slower than the service measures itself.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import time_ns
from typing import cast
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import uvloop

__all__ = ["Load", "LoadError", "Measured", "run"]

_ID_DIGITS = 8
_WIDTH = 45
_BLOCK = 1000
_SPO2 = 9
_USUAL, _LOW = 97.0, 80.0
_DRAIN_S = 10.0
_TICK_S = 0.001


class LoadError(Exception):
    """The load could not be put on; the message says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    `packets_per_s` is in all, in bodies of `per_body`, over `connections`, for `seconds`; of `patients` in turn, every
    `one_low_in`-th reading so low that it raises an alert (0: none); a prime, so that it is another patient each time.
    """

    packets_per_s: float
    per_body: int = 1000
    seconds: float = 10.0
    connections: int = 16
    patients: int = 100_000
    one_low_in: int = 99_991

    def __post_init__(self) -> None:
        """Refuse what cannot be sent."""
        for name in ("packets_per_s", "per_body", "seconds", "connections", "patients"):
            if not getattr(self, name) > 0:
                msg = f"load: {name} {getattr(self, name)}: legal is more than 0"
                raise LoadError(msg)

    @property
    def requests(self) -> int:
        """How many requests it makes."""
        return max(1, round(self.seconds * self.packets_per_s / self.per_body))


@dataclass(slots=True)
class Measured:
    """What came of it; times are seconds from the moment at which a request should have been sent."""

    seconds: float = 0.0
    sent: int = 0
    packets: int = 0
    """Of bodies that were answered with 202."""
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Requests without an answer."""
    answer_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def quantile_s(self, share: float) -> float:
        """Give the time within which a share of the answers came; NaN where there was none."""
        return float(np.quantile(self.answer_s, share)) if len(self.answer_s) else float("nan")

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        times = ", ".join(
            f"{name} {1000 * self.quantile_s(share):.1f} ms"
            for name, share in (("half", 0.5), ("99 %", 0.99), ("all", 1.0))
        )
        return (
            f"{self.sent:,} requests in {self.seconds:.1f} s ({self.sent / self.seconds:,.0f} a second), "
            f"answers {statuses}"
            f"{f', {self.lost:,} without' if self.lost else ''}\n"
            f"{self.packets:,} packets durable ({self.packets / self.seconds:,.0f} a second)\nanswered within: {times}"
        )


class _Bodies:
    """Makes the bodies: each packet with a number of its own. Short ones are cut from one block, made at once."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._seq = time_ns() // 1_000_000  # another run sends other packets
        self._next = 0
        self._size = load.per_body * _WIDTH
        count = load.per_body * max(1, _BLOCK // load.per_body)
        rows = np.zeros((count, _WIDTH), np.uint8)
        rows[:, :3] = 0x99, 1, 0xA0 + _ID_DIGITS
        rows[:, 11:14] = 0xA1, ord("o"), 0xCF
        rows[:, 22] = 0xCF
        rows[:, 31:37] = 0xC0, 0xC0, 0, 0x92, _SPO2, 0xCB
        self._rows = rows
        self._index = np.arange(count, dtype=np.int64)
        self._block = b""
        self._at = 0

    def make(self) -> bytes:
        if self._at >= len(self._block):
            self._block, self._at = self._make(), 0
        self._at += self._size
        return self._block[self._at - self._size : self._at]

    def _make(self) -> bytes:
        load, rows = self._load, self._rows
        number = self._next + self._index
        self._next += len(rows)
        patient = number % load.patients
        for digit in range(_ID_DIGITS):
            rows[:, 10 - digit] = patient // 10**digit % 10 + ord("0")
        rows[:, 14:22] = _big_endian(self._seq + number // load.patients)
        rows[:, 23:31] = _big_endian(np.full(len(rows), time_ns() // 1_000_000, np.int64))
        low = (
            number % load.one_low_in == load.one_low_in - 1 if load.one_low_in else np.zeros(len(rows), bool)
        )
        rows[:, 37:45] = np.where(low, _LOW, _USUAL).astype(">f8").view(np.uint8).reshape(-1, 8)
        return rows.tobytes()


def _big_endian(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    return values.astype(">i8").view(np.uint8).reshape(-1, 8)


class _Connection(asyncio.Protocol):
    """One connection: a request at a time, over and over."""

    def __init__(self, idle: Callable[["_Connection"], None], done: Callable[[float, int], None]) -> None:
        self._idle = idle
        self._done = done
        self._got = b""
        self._due_s: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # as TCP's is
        self._idle(self)

    def send(self, request: bytes, due_s: float) -> None:
        assert self._transport is not None  # noqa: S101 - idle ones are connected
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        got = self._got = self._got + data
        head = got.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = got[:head].lower()
        at = lower.find(b"content-length:")
        size = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(got) < head + 4 + size:
            return
        self._got = got[head + 4 + size :]
        due, self._due_s = self._due_s, None
        if due is not None:
            self._done(due, int(got[9:12]))
        if b"connection: close" not in lower:
            self._idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    @property
    def awaits(self) -> bool:
        return self._due_s is not None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def run(url: str, key: str, load: Load, tell: Callable[[int], None] = lambda _sent: None) -> Measured:
    """Put a load on a service.

    Parameters
    ----------
    url : str
        For example ``http://127.0.0.1:8080``; without TLS.
    key : str
        Of a source that may send for everyone, with limits beyond the load.
    load : Load
    tell : callable
        Told of each request that is sent: 1.

    Raises
    ------
    LoadError
        The address is not one, or nobody answers there.
    """
    where = urlsplit(url)
    if where.scheme != "http" or not where.hostname:
        msg = f"{url}: legal is http://host:port, without TLS"
        raise LoadError(msg)
    return uvloop.run(_run(where.hostname, where.port or 80, key, load, tell))


async def _connect(
    host: str, port: int, idle: Callable[[_Connection], None], done: Callable[[float, int], None]
) -> _Connection:
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(lambda: _Connection(idle, done), host, port)
    except OSError as error:
        msg = f"http://{host}:{port}: {error.strerror or error}"
        raise LoadError(msg) from error
    return connection


def _moments(load: Load) -> Iterator[float]:
    """Give when each request is due, in seconds from the beginning."""
    every_s = load.per_body / load.packets_per_s
    return (k * every_s for k in range(load.requests))


async def _run(host: str, port: int, key: str, load: Load, tell: Callable[[int], None]) -> Measured:
    loop = asyncio.get_running_loop()
    idle: deque[_Connection] = deque()
    waiting: deque[float] = deque()
    measured = Measured()
    answers: list[float] = []
    bodies = _Bodies(load)
    head = (
        f"POST /v1/packets HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {load.per_body * _WIDTH}\r\n\r\n"
    ).encode()

    def done(due_s: float, status: int) -> None:
        answers.append(loop.time() - due_s)
        measured.statuses[status] += 1
        if status == 202:
            measured.packets += load.per_body

    def send(connection: _Connection, due_s: float) -> None:
        measured.sent += 1
        tell(1)
        connection.send(head + bodies.make(), due_s)

    def free(connection: _Connection) -> None:
        if waiting:
            send(connection, waiting.popleft())
        else:
            idle.append(connection)

    connections = [await _connect(host, port, free, done) for _ in range(load.connections)]
    began = loop.time()
    for due_s in _moments(load):
        if (left := began + due_s - loop.time()) > 0:
            await asyncio.sleep(left)
        if idle:
            send(idle.popleft(), began + due_s)
        else:
            waiting.append(began + due_s)
    until = loop.time() + _DRAIN_S
    # Not an event: it would be set once an answer, to end a millisecond earlier.
    while measured.sent + len(waiting) > len(answers) and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(_TICK_S)
    measured.seconds = loop.time() - began
    measured.lost = len(waiting) + sum(each.awaits for each in connections)
    measured.answer_s = np.array(answers)
    for connection in connections:
        connection.close()
    return measured
