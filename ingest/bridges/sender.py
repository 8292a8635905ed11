"""Posts bodies to a service until they are durable, whatever happens to it meanwhile.

A body is sent again until there is a 202, which is harmless: packets are known by patient, device and number, and the
Idempotency-Key, made from the body, gives a retry the first answer. Between tries nobody holds a connection.

http.client in threads, and not httpx: measured 0.19 to 0.41 ms of our time a body, httpx took 2.1 to 5.0 ms.
"""

import asyncio
import json
import logging
import random
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from time import monotonic

from ingest.bridges.address import address, trust
from ingest.bridges.errors import KeyRefusedError, RefusedError

__all__ = ["Sender", "Taken"]

_LOGGER = logging.getLogger("vigie.bridge")
_CONNECT_S = 5.0
_FIRST_S, _LONGEST_S, _ASKED_S = 0.2, 10.0, 300.0
"""Waiting between tries: the first, the longest of ours, the longest that a service may ask for."""
_QUIET_S, _REMIND_S = 5.0, 60.0
_ANSWER_BYTES = 1 << 16
_NEVER = frozenset({400, 413, 415, 422})
_BUSY = frozenset({429, 503, 507})
_FAULTS = 20
"""Tries of a body that the service fails on (some minutes) before it is asked whether it takes another."""
_STALE = (BrokenPipeError, ConnectionResetError)
"""How a connection ends that the service has closed; http.client's RemoteDisconnected is one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What the service said of a body that it has: packets, by what became of them."""

    accepted: int
    duplicate: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    said: bytes
    retry_after: str


class Sender:
    """Sends from one event loop, over several connections.

    Parameters
    ----------
    url : str
        Of the service, ``http://host:port`` or ``https://...``.
    key : str
        Of the source that the bridge is.
    connections : int
        Bodies on their way at once; the service takes bodies that come together in one write.
    ca : Path, optional
        Certificates of authorities in place of the system's, for https.
    answer_s : float
        Seconds after which an answer is no longer waited for, and the body is sent again.

    Raises
    ------
    BridgeError
        The address or the file of certificates is not one.
    """

    def __init__(
        self, url: str, key: str, *, connections: int = 16, ca: Path | None = None, answer_s: float = 30.0
    ) -> None:
        where = address(url, "--to", {"http": 80, "https": 443}, path=True)
        self.url = f"{where.scheme}://{where.netloc}"
        self._host, self._port = str(where.hostname), int(where.port or 0)
        self._path = where.path.rstrip("/") + "/v1/packets"
        self._tls = trust(ca) if where.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {key}", "User-Agent": "vigie-bridge"}
        self._answer_s = answer_s
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="sender")
        self._idle: deque[HTTPConnection] = deque()
        self._open: set[HTTPConnection] = set()
        self._back = asyncio.Event()
        self._since: float | None = None
        self._said = float("-inf")
        self.taken = 0
        self.waits = 0
        """Times that the service has asked to wait."""

    async def send(self, body: bytes) -> Taken:
        """Send a body until it is durable, however long that takes.

        Raises
        ------
        RefusedError
            It can never be taken.
        KeyRefusedError
            The key is wrong or was revoked; nothing of this bridge is taken any more.
        """
        loop = asyncio.get_running_loop()
        pause_s, faults = _FIRST_S, 0
        while True:
            asked_s, status = 0.0, 0
            try:
                answer = await loop.run_in_executor(self._threads, self._post, body)
                status = answer.status
                if status == 202 and (taken := _counts(answer.said)) is not None:
                    self._is_back()
                    return taken
                trouble = f"answers {status}" + (", as Vigie would not" if status < 400 else _reason(answer))
                asked_s = _seconds(answer.retry_after)
            except (OSError, HTTPException) as error:
                trouble = str(getattr(error, "strerror", "") or error) or type(error).__name__
            if status == 401:
                msg = f"{self.url}: the key is wrong or was revoked ({trouble}); give the key of a source that is good"
                raise KeyRefusedError(msg)
            if status in _NEVER:
                raise RefusedError(trouble)
            if status and status not in _BUSY:
                faults += 1
                if faults % _FAULTS == 0 and await self._takes_another():
                    msg = f"{trouble}, {faults} times, and takes other bodies"
                    raise RefusedError(msg)
            self._is_troubled(trouble, busy=status in _BUSY)
            await self._wait(pause_s, asked_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    def close(self) -> None:
        """End what is under way and all connections."""
        for connection in list(self._open):
            if (sock := connection.sock) is not None:
                with suppress(OSError):
                    sock.shutdown(2)  # wakes the thread that waits for an answer
        self._threads.shutdown(cancel_futures=True)
        for connection in list(self._open):
            connection.close()

    async def _takes_another(self) -> bool:
        """Ask whether a body without packets is taken: one that the service fails on must not stop the others."""
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._post, b"")
        except (OSError, HTTPException):
            return False
        return answer.status == 202 and _counts(answer.said) is not None

    # Between tries -------------------------------------------------------------------------------------------

    async def _wait(self, pause_s: float, asked_s: float) -> None:
        """Wait as long as the service asks; where it does not, a while, or until it takes a body of another's."""
        if asked_s:
            await asyncio.sleep(asked_s * random.uniform(1, 1.25))  # noqa: S311 - apart from one another
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s * random.uniform(0.5, 1)):  # noqa: S311 - likewise
                await self._back.wait()

    def _is_troubled(self, trouble: str, *, busy: bool) -> None:
        """Say that the service is away; of one that asks to wait, only when it takes nothing for a while."""
        now = monotonic()
        self.waits += busy
        if self._since is None:
            self._since = now
            self._back = asyncio.Event()
        lasting_s = now - self._since
        if now - self._said >= _REMIND_S and (not busy or lasting_s >= _QUIET_S):
            self._said = now
            _LOGGER.warning(
                "service %s: %s; for %.0f s now, what is not taken is not acknowledged and is sent again",
                self.url, trouble, lasting_s,
            )  # fmt: skip

    def _is_back(self) -> None:
        self.taken += 1
        if self._since is None:
            return
        if self._said >= self._since:
            _LOGGER.info("service %s: takes bodies again, after %.1f s", self.url, monotonic() - self._since)
        self._since, self._said = None, float("-inf")
        self._back.set()

    # One try, in a thread ------------------------------------------------------------------------------------

    def _post(self, body: bytes) -> _Answer:
        headers = {**self._headers, "Idempotency-Key": blake2b(body, digest_size=20).hexdigest()}
        while True:
            try:
                connection, used = self._idle.pop(), True
            except IndexError:
                connection, used = self._connect(), False
            try:
                answer = self._exchange(connection, body, headers)
            except BaseException as error:
                self._open.discard(connection)
                connection.close()
                # One that was used before may have been closed meanwhile: that says nothing of the service.
                if not (used and isinstance(error, _STALE)):
                    raise
            else:
                self._idle.append(connection)
                return answer

    def _exchange(self, connection: HTTPConnection, body: bytes, headers: dict[str, str]) -> _Answer:
        with suppress(*_STALE):
            # A body may be refused before all of it was sent; then the answer is there and can be read.
            connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        said = response.read(_ANSWER_BYTES)
        if not response.isclosed():
            connection.close()  # longer than any answer of ours; connects again when it is next used
        return _Answer(response.status, said, response.getheader("Retry-After", ""))

    def _connect(self) -> HTTPConnection:
        if self._tls is None:
            connection = HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
        else:
            connection = HTTPSConnection(self._host, self._port, timeout=_CONNECT_S, context=self._tls)
        connection.connect()
        connection.sock.settimeout(self._answer_s)
        connection.timeout = self._answer_s
        self._open.add(connection)
        return connection


def _counts(said: bytes) -> Taken | None:
    """Read the answer to a body that was taken; None where it is not an answer of Vigie's."""
    try:
        counts = json.loads(said)
        return Taken(int(counts["accepted"]), int(counts["duplicate"]), sum(counts["quarantined"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _reason(answer: _Answer) -> str:
    """Give what the service says of an error, as far as it can stand in a line."""
    try:
        error = json.loads(answer.said)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return ": " + "".join(each for each in str(error) if each.isprintable())[:200]


def _seconds(retry_after: str) -> float:
    """Read Retry-After; a date, which Vigie never gives, is passed over."""
    return min(float(retry_after), _ASKED_S) if retry_after.isdecimal() and len(retry_after) < 10 else 0.0
