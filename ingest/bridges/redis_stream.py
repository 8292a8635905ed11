"""From a Redis Stream to the service: an entry's field `body` is a body, acknowledged when the service has it on disk.

For gateways that write to a Redis of their own (``XADD vigie:packets * body ...``). The bridges of a group share the
entries; what one had in hand when it ended is taken over by another, or by itself when it is back. The stream is its
owner's: entries that were acknowledged stay until the owner trims them, unless `remove` is set.
"""

import asyncio
import logging
import random
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from ingest.bridges.address import address, is_near, secret, trust
from ingest.bridges.delivery import Delivery
from ingest.bridges.errors import BridgeError
from ingest.bridges.sender import Sender

__all__ = ["Bridge", "Settings", "run"]

_LOGGER = logging.getLogger("vigie.bridge")
_BLOCK_MS = 500
_ANSWER_S = 10.0
_FIRST_S, _LONGEST_S = 0.5, 15.0
_SAY_S = 60.0
_CONNECTIONS = 32
_FIELD = b"body"

Entries = list[tuple[bytes, dict[bytes, bytes] | None]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a bridge is told; see ``vigie bridge --help``.

    Raises
    ------
    BridgeError
        Something in it is not legal.
    """

    server: str
    service: str
    key_file: Path
    stream: str = "vigie:packets"
    group: str = "vigie"
    name: str | None = None
    """Of this bridge in its group; the host's where none is given."""
    quarantine: Path = Path("vigie-bridge-quarantine")
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    in_flight: int = 64
    stop_s: float = 20.0
    claim_s: float = 120.0
    """What a bridge of the group has had in hand for so long, another takes over."""
    remove: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not self.stream or not self.group:
            msg = "--stream, --share: legal are names of at least one character"
            raise BridgeError(msg)
        if (self.username is None) != (self.password_file is None):
            msg = "--username, --password-file: legal are both or neither; a password alone is that of 'default'"
            raise BridgeError(msg)


class Bridge:
    """Made and run in one event loop.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        where = address(settings.server, "the server", {"redis": 6379, "rediss": 6379}, path=True)
        number = where.path.strip("/") or "0"
        if not number.isdecimal():
            msg = f"the server {settings.server}: legal is redis://host:port/number"
            raise BridgeError(msg)
        self._server = f"{where.scheme}://{where.netloc}/{number}"
        key = secret(settings.key_file, "key")
        connections = min(settings.in_flight, _CONNECTIONS)
        self._sender = Sender(settings.service, key, connections=connections, ca=settings.ca)
        self._delivery = Delivery(self._sender, settings.quarantine)
        if where.scheme == "redis" and not is_near(where):
            _LOGGER.warning(
                "%s: without TLS readings can be read on the way; legal, and rediss:// is better",
                self._server,
            )
        tls: dict[str, Any] = {}
        if where.scheme == "rediss":
            trust(settings.ca)  # says what is wrong with the file
            tls = {"ssl": True, "ssl_ca_certs": str(settings.ca) if settings.ca else None}
        password = secret(settings.password_file, "password") if settings.password_file else None
        self._redis: Any = Redis(
            host=str(where.hostname), port=int(where.port or 0), db=int(number), username=settings.username,
            password=password, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S, protocol=2,
            retry=Retry(NoBackoff(), 0), **tls,
        )  # fmt: skip
        self._name = settings.name or socket.gethostname()
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._claim_due = 0.0

    async def run(self) -> None:
        """Carry entries until `stop`; then finish what is in hand.

        Raises
        ------
        BridgeError
            The server or the service will not have us.
        """
        saying = asyncio.create_task(self._say())
        pause_s = _FIRST_S
        try:
            while not self._end.done():
                try:
                    await self._open()
                    pause_s = _FIRST_S
                    await self._carry()
                except (AuthenticationError, NoPermissionError) as error:
                    msg = f"{self._server}: the server does not let this user in: {error}"
                    raise BridgeError(msg) from error
                except RedisError as error:
                    _LOGGER.warning("server %s: %s; trying again", self._server, error)
                    wait_s = pause_s * random.uniform(0.5, 1)  # noqa: S311 - apart from others
                    await asyncio.wait({self._end}, timeout=wait_s)
                    pause_s = min(2 * pause_s, _LONGEST_S)
            self._end.result()
            await self._finish()
        finally:
            saying.cancel()
            for task in self._tasks.values():
                task.cancel()
            self._sender.close()
            await self._redis.aclose()
            _LOGGER.info("stopped: %s", self._delivery.counts)

    def stop(self) -> None:
        """Ask it to stop; from the event loop."""
        if not self._end.done():
            self._end.set_result(None)

    async def _open(self) -> None:
        settings = self._settings
        try:
            await self._redis.xgroup_create(settings.stream, settings.group, "0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        _LOGGER.info(
            "server %s: connected, stream %s, group %s, as %s",
            self._server, settings.stream, settings.group, self._name,
        )  # fmt: skip
        # What was in hand when this bridge ended, or when the server went away.
        at = b"0"
        while some := await self._read(at, self._settings.in_flight):
            self._take(some)
            at = some[-1][0]
            await self._room()
        self._claim_due = self._loop.time()

    async def _carry(self) -> None:
        settings = self._settings
        claim_at = b"0-0"
        while not self._end.done():
            room = await self._room()
            if self._end.done():
                return
            if self._loop.time() >= self._claim_due:
                idle_ms = round(1000 * settings.claim_s)
                claim_at, some, *_ = await self._redis.xautoclaim(
                    settings.stream, settings.group, self._name, idle_ms, claim_at, count=room
                )
                self._take(some)
                if claim_at == b"0-0":
                    self._claim_due = self._loop.time() + settings.claim_s / 4
                continue
            self._take(await self._read(b">", room))

    async def _read(self, at: bytes, count: int) -> Entries:
        settings = self._settings
        block = _BLOCK_MS if at == b">" else None
        found = await self._redis.xreadgroup(
            settings.group, self._name, {settings.stream: at}, count=count, block=block
        )
        some: Entries = found[0][1] if found else []
        return some

    async def _room(self) -> int:
        """Wait until fewer than `in_flight` are in hand, or the end; give how many more may be."""
        while len(self._tasks) >= self._settings.in_flight and not self._end.done():
            await asyncio.wait({self._end, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
        return max(1, self._settings.in_flight - len(self._tasks))

    def _take(self, entries: Entries) -> None:
        for name, fields in entries:
            if name not in self._tasks:
                task = self._loop.create_task(self._deliver(name, fields))
                self._tasks[name] = task
                task.add_done_callback(partial(self._let_go, name))

    def _let_go(self, name: bytes, _task: "asyncio.Task[None]") -> None:
        self._tasks.pop(name, None)

    async def _deliver(self, name: bytes, fields: Mapping[bytes, bytes] | None) -> None:
        settings = self._settings
        origin = f"{settings.stream} {name.decode()}"
        try:
            if fields is None:
                _LOGGER.warning("entry %s: was removed from the stream before it was taken", origin)
            elif _FIELD in fields:
                await self._delivery.deliver(fields[_FIELD], origin)
            else:
                whole = b"\n".join(key + b"=" + value for key, value in fields.items())
                await self._delivery.refuse(whole, origin, "an entry without the field 'body'")
            await self._redis.xack(settings.stream, settings.group, name)
            if settings.remove:
                await self._redis.xdel(settings.stream, name)
        except RedisError as error:
            # It is still ours: read again when the server is back, and what the service has already is a duplicate.
            _LOGGER.debug("entry %s: not acknowledged: %s", origin, error)
        except BridgeError as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    async def _finish(self) -> None:
        if not self._tasks:
            return
        _LOGGER.info("stopping: %d in hand, at most %g s for them", len(self._tasks), self._settings.stop_s)
        await asyncio.wait(list(self._tasks.values()), timeout=self._settings.stop_s)
        if self._tasks:
            _LOGGER.warning("%d in hand are not finished; they are taken up again", len(self._tasks))

    async def _say(self) -> None:
        said = str(self._delivery.counts)
        while True:
            await asyncio.sleep(_SAY_S)
            now = str(self._delivery.counts)
            if now != said:
                _LOGGER.info("%s; %d in hand", now, len(self._tasks))
                said = now


async def _run(settings: Settings) -> None:
    bridge = Bridge(settings)
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)  # a second one ends us at once, which is as safe as kill -9
        bridge.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    await bridge.run()


def run(settings: Settings) -> None:
    """Run a bridge until SIGTERM or Ctrl-C.

    Raises
    ------
    BridgeError
        The server or the service will not have us; what was not acknowledged stays in the stream.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    asyncio.run(_run(settings))
