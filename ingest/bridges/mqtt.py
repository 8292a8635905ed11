"""From an MQTT broker to the service: a message is a body, acknowledged when the service has it on its disk.

MQTT 5, QoS 1, a session that the broker keeps without end: what comes while the bridge is away waits at the broker, and
what was not acknowledged is delivered again. One thread: paho's client is driven by the event loop, so that a message
is acknowledged on the connection that brought it and on no other. Numbers of messages begin anew when a broker has
lost the session; an acknowledgement that came late would be for another message.
"""

import asyncio
import logging
import random
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.bridges.address import address, is_near, secret, trust
from ingest.bridges.delivery import Delivery
from ingest.bridges.errors import BridgeError
from ingest.bridges.sender import Sender
from ingest.bridges.settings import Settings

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

__all__ = ["MESSAGE_BYTES", "Bridge", "run"]

_LOGGER = logging.getLogger("vigie.bridge")
MESSAGE_BYTES = (16 << 20) + (1 << 17)
"""What the broker may send as one MQTT packet: the largest body that a service takes, a topic, and properties."""
_FOREVER = 0xFFFFFFFF
_KEEPALIVE_S = 30
_CONNECT_S = 10.0
_FIRST_S, _LONGEST_S = 0.5, 15.0
_SAY_S = 60.0
_CONNECTIONS = 32
_LEAVE_S = 2.0
_TAKEN_OVER = 0x8E
_FATAL = {
    0x84: "the broker does not speak MQTT 5",
    0x85: "the broker does not take this client id; give another with --client-id",
    0x86: "the broker does not know this user and password",
    0x87: "the broker does not let this user in",
    0x8A: "the broker has banned this client",
    0x8C: "the broker wants another way to say who one is than user and password",
    _TAKEN_OVER: "another client came with the same client id; each bridge needs one of its own, --client-id",
}
"""Reason codes for which trying again is of no use."""


@dataclass(slots=True)
class _Held:
    mid: int
    done: bool = False


@dataclass(slots=True)
class _Session:
    """One connection: what is to be acknowledged on it, oldest first, and how it ends."""

    ready: "asyncio.Future[Any]"
    lost: "asyncio.Future[Any]"
    held: deque[_Held] = field(default_factory=deque)


class Bridge:
    """Made and run in one event loop.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        where = address(settings.broker, "the broker", {"mqtt": 1883, "mqtts": 8883})
        self._broker = f"{where.scheme}://{where.netloc}"
        key = secret(settings.key_file, "key")
        connections = min(settings.in_flight, _CONNECTIONS)
        sender = Sender(settings.service, key, connections=connections, ca=settings.ca)
        self._sender = sender
        self._delivery = Delivery(sender, settings.quarantine)
        service = address(settings.service, "--to", {"http": 80, "https": 443}, path=True)
        for each, plain in ((where, "mqtt"), (service, "http")):
            if each.scheme == plain and not is_near(each):
                _LOGGER.warning(
                    "%s: without TLS keys and readings can be read on the way; legal, and %ss:// is better",
                    f"{each.scheme}://{each.netloc}", plain,
                )  # fmt: skip
        self._end: asyncio.Future[Any] = self._loop.create_future()
        self._session: _Session | None = None
        self._under_way: dict[bytes, asyncio.Task[None]] = {}
        self._unasked = 0
        self._client_id = settings.client_id or "vigie-bridge"
        self._known = False  # whether it has a session of ours
        self._met = False  # whether the broker took us, the last time we tried
        self._client = self._make(str(where.hostname), int(where.port or 0), tls=where.scheme == "mqtts")

    def _make(self, host: str, port: int, *, tls: bool) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        if settings.username is not None and settings.password_file is not None:
            client.username_pw_set(settings.username, secret(settings.password_file, "password"))
        if tls:
            client.tls_set_context(trust(settings.ca))
        client.connect_timeout = _CONNECT_S / 2
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_socket_close = lambda _client, _data, sock: self._detach(sock)
        client.on_socket_register_write = lambda _client, _data, sock: self._want_write(sock)
        client.on_socket_unregister_write = lambda _client, _data, sock: self._rest(sock)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types the rest
        properties.SessionExpiryInterval = _FOREVER
        properties.ReceiveMaximum = settings.in_flight
        properties.MaximumPacketSize = MESSAGE_BYTES
        client.connect_async(host, port, _KEEPALIVE_S, clean_start=False, properties=properties)
        return client

    async def run(self) -> None:
        """Carry messages until `stop`; then finish what is in hand and leave, the session kept.

        Raises
        ------
        BridgeError
            The broker or the service will not have us.
        """
        saying = asyncio.create_task(self._tick())
        try:
            pause_s, short = _FIRST_S, 0
            while not self._end.done():
                began = self._loop.time()
                trouble = await self._connected()
                if self._end.done():
                    break
                short = short + 1 if self._loop.time() - began < 2 * _LONGEST_S else 0
                if not short:
                    pause_s = _FIRST_S
                hint = f" (does another client use the client id {self._client_id}?)" if short > 2 else ""
                _LOGGER.warning("broker %s: %s%s; trying again", self._broker, trouble, hint * self._met)
                await asyncio.wait({self._end}, timeout=pause_s * random.uniform(0.5, 1))  # noqa: S311 - apart
                pause_s = min(2 * pause_s, _LONGEST_S)
            await self._finish()
            self._end.result()
        finally:
            saying.cancel()
            self._sender.close()
            _LOGGER.info("stopped: %s", self._delivery.counts)

    def stop(self) -> None:
        """Ask it to stop; from the event loop."""
        if not self._end.done():
            self._end.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    # A connection --------------------------------------------------------------------------------------------

    async def _connected(self) -> str:
        """Connect and carry messages until the connection is lost; say how it was. Or until the end of the bridge."""
        self._met = False
        session = _Session(self._loop.create_future(), self._loop.create_future())
        try:
            # In a thread, since it waits for names, the network and TLS. No callback is heard meanwhile.
            await asyncio.to_thread(self._client.reconnect)
        except (OSError, ValueError) as error:
            return str(getattr(error, "strerror", "") or error) or type(error).__name__
        self._session = session
        sock = self._client.socket()
        if sock is None:
            return "closed at once"
        self._loop.add_reader(sock, self._read, sock)
        self._want_write(sock)
        ends = session.lost, self._end
        try:
            await asyncio.wait(
                {session.ready, *ends}, timeout=_CONNECT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not (session.ready.done() or session.lost.done() or self._end.done()):
                return f"no answer within {_CONNECT_S:g} s"
            await asyncio.wait({*ends}, return_when=asyncio.FIRST_COMPLETED)
            if self._end.done():
                await self._leave(session)
                return "left"
            return str(session.lost.result())
        finally:
            self._session = None
            self._detach(sock)
            sock.close()  # so that paho has nothing to close from the thread in which it connects again
            # What is in hand goes on, for a broker may have lost it; what it delivers again joins what is under way.
            for task in list(self._under_way.values())[: -2 * self._settings.in_flight]:
                task.cancel()

    async def _leave(self, session: _Session) -> None:
        """Finish what is in hand, unless we fail, and tell the broker that we go and will be back."""
        if session.lost.done():
            return
        await self._finish()
        self._client.disconnect()
        await asyncio.wait({session.lost}, timeout=_LEAVE_S)

    async def _finish(self) -> None:
        if self._end.exception() is not None or not self._under_way:
            return
        tasks = [*self._under_way.values()]
        _LOGGER.info("stopping: %d in hand, at most %g s for them", len(tasks), self._settings.stop_s)
        _, left = await asyncio.wait(tasks, timeout=self._settings.stop_s)
        for task in left:
            task.cancel()
        if left:
            _LOGGER.warning("%d in hand are not finished; the broker delivers them again", len(left))
            await asyncio.wait(left)

    def _read(self, sock: "SocketLike") -> None:
        try:
            self._client.loop_read()
            # What TLS has decrypted already makes the socket readable no more.
            while self._client.socket() is sock and getattr(sock, "pending", int)():
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - paho lets out whatever nonsense of a broker leads it to
            self._lose(f"what it sent makes no sense ({type(error).__name__}: {error})")

    def _want_write(self, sock: "SocketLike") -> None:
        if self._session is not None and sock.fileno() >= 0:
            self._loop.add_writer(sock, self._write)

    def _rest(self, sock: "SocketLike") -> None:
        self._loop.remove_writer(sock)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except OSError as error:
            self._lose(str(error))

    def _detach(self, sock: "SocketLike") -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)

    def _lose(self, why: str) -> None:
        if self._session is not None and not self._session.lost.done():
            self._session.lost.set_result(why)

    async def _tick(self) -> None:
        """Keep the connection alive, and say now and then what was done."""
        said, due = str(self._delivery.counts), self._loop.time() + _SAY_S
        while True:
            await asyncio.sleep(1)
            if self._session is not None:
                self._client.loop_misc()
            if self._loop.time() >= due:
                due += _SAY_S
                now = str(self._delivery.counts)
                if now != said:
                    waits = f", asked to wait {self._sender.waits:,} times" if self._sender.waits else ""
                    _LOGGER.info("%s; %d in hand%s", now, len(self._under_way), waits)
                    said = now

    # What paho tells -----------------------------------------------------------------------------------------

    def _on_connect(
        self, client: Client, _data: object, flags: ConnectFlags, code: ReasonCode, said: Properties | None
    ) -> None:
        if code.is_failure:
            if code.value in _FATAL:
                self._fail(BridgeError(f"{self._broker}: {_FATAL[code.value]}"))
            self._lose(f"it refuses the connection ({code.getName().lower()})")
            return
        if flags.session_present or not self._known:
            kept = "the session was kept" if flags.session_present else "a new session"
            _LOGGER.info("broker %s: connected, %s", self._broker, kept)
        else:
            _LOGGER.warning(
                "broker %s: connected, a new session, although there was one: what it held for us is lost",
                self._broker,
            )
        self._known = True
        expiry = getattr(said, "SessionExpiryInterval", _FOREVER)
        if expiry != _FOREVER:
            _LOGGER.warning(
                "broker %s: keeps the session for %d s only; what comes later while the bridge is away is lost",
                self._broker, expiry,
            )  # fmt: skip
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe(self._settings.subscription, options=options)

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, codes: list[ReasonCode], _said: Properties | None
    ) -> None:
        for code in codes:
            if code.value != 1:
                granted = "grants QoS 0 only" if code.value == 0 else f"answers {code.getName().lower()}"
                self._fail(
                    BridgeError(
                        f"{self._broker}: subscribing to {self._settings.topic}: the broker {granted}"
                    )
                )
                return
        if self._session is not None and not self._session.ready.done():
            self._met = True
            self._session.ready.set_result(None)

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        code: ReasonCode,
        _said: Properties | None,
    ) -> None:
        if code.value in _FATAL:
            self._fail(BridgeError(f"{self._broker}: {_FATAL[code.value]}"))
        self._lose(f"the connection was lost ({code.getName().lower()})")

    def _on_message(self, client: Client, _data: object, message: MQTTMessage) -> None:
        session = self._session
        if session is None or self._end.done():
            return  # neither sent nor acknowledged: it is delivered again
        if message.qos == 0:
            self._no_promise()
            if len(self._under_way) >= 2 * self._settings.in_flight:
                return
        body = bytes(message.payload)
        name = blake2b(body, digest_size=20).digest()
        task = self._under_way.get(name)
        if task is None:
            try:
                topic = message.topic
            except UnicodeDecodeError:
                topic = ""
            task = self._under_way[name] = self._loop.create_task(self._delivery.deliver(body, topic))
            task.add_done_callback(partial(self._delivered, name))
        if message.qos == 1:
            held = _Held(message.mid)
            session.held.append(held)
            task.add_done_callback(partial(self._acknowledge, client, session, held))

    def _delivered(self, name: bytes, task: "asyncio.Task[None]") -> None:
        del self._under_way[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _acknowledge(
        self, client: Client, session: _Session, held: _Held, task: "asyncio.Task[None]"
    ) -> None:
        """Acknowledge what is done, in the order in which it came, as MQTT 5 demands (4.6)."""
        held.done = not task.cancelled() and task.exception() is None
        while session.held and session.held[0].done and not session.lost.done():
            client.ack(session.held.popleft().mid, 1)

    def _no_promise(self) -> None:
        """Say that a message came that nobody keeps, now and then."""
        self._unasked += 1
        if self._unasked & (self._unasked - 1) == 0:
            _LOGGER.warning(
                "%d messages came with QoS 0, which the broker does not keep and drops when there are many: "
                "gateways must publish with QoS 1",
                self._unasked,
            )


async def _run(settings: Settings) -> None:
    bridge = Bridge(settings)
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)  # a second one ends us at once, which is as safe as kill -9
        bridge.stop()

    # The loop calls it between two steps of its own, so it may do what a handler may not.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    await bridge.run()


def run(settings: Settings) -> None:
    """Run a bridge until SIGTERM or Ctrl-C.

    Raises
    ------
    BridgeError
        The broker or the service will not have us; what was not acknowledged stays at the broker.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    asyncio.run(_run(settings))
