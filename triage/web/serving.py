"""The process of the nurses' pages: its server, and what goes on whether or not anybody looks.

The clockwork does once a second what the time has come for; the auditor asserts once a minute that each open line has
a valid next step. Both may run in several processes at once, and go on from the database after a kill.
"""

import gc
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import uvicorn
from starlette.types import ASGIApp

import triage.store
from engine.config import Settings
from engine.enrolment import read as read_enrolment
from engine.program import DAY_MS
from engine.protocols import load_all, load_candidates
from engine.service import listen
from engine.workshop import Source, Workshop
from ingest.server.guard import guarded
from rules.limits import LimitBook
from rules.protocol import Protocol
from triage import policy
from triage.identity import register as registers
from triage.people import oidc, seal
from triage.people.accounts import People
from triage.web.app import build
from triage.web.child import PARENT
from triage.web.hub import Hub
from triage.web.shadows import Keeper
from triage.web.site import Site
from triage.work import cells
from triage.work.cell_limits import Teller
from triage.work.desk import Desk

__all__ = ["At", "Clockwork", "Pages", "served"]

_LOGGER = logging.getLogger("vigie")
TICK_S: Final = 1.0
LOOK_OVER_S: Final = 60.0
ENROLMENT_S: Final = 10.0
SWEEP_S: Final = 3600.0
HOUR_MS: Final = 3_600_000
SAY_AGAIN_S: Final = 60.0
"""How often it is looked whether the log needs to hear a limit again."""
_ALIVE_S = 0.5


class Clockwork:
    """The thread in which time passes for the lines.

    Parameters
    ----------
    desk : Desk
    others : sequence of (float, callable)
        What else is done every so many seconds.
    """

    def __init__(self, desk: Desk, *others: tuple[float, Callable[[], object]]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clockwork", daemon=True)
        self._tasks = ((TICK_S, desk.tick), (LOOK_OVER_S, desk.look_over), *others)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        due = [0.0] * len(self._tasks)
        said = ""
        while not self._stop.is_set():
            now = time.monotonic()
            for i, (every_s, task) in enumerate(self._tasks):
                if now < due[i]:
                    continue
                due[i] = now + every_s
                try:
                    task()
                except Exception as error:  # noqa: BLE001 - the database is away: time goes on when it is back
                    if str(error) != said:
                        said = str(error)
                        _LOGGER.error("clockwork: %s", said)  # noqa: TRY400 - the message says it all
            self._stop.wait(TICK_S / 4)


class Pages:
    """The nurses' pages.

    Parameters
    ----------
    settings : Settings
    register : str
        Address of the register of patients; "" where there is none.

    Raises
    ------
    ConfigError, ProtocolError, PolicyError, OutcomeError, PermissionError, ValueError, OSError
        They cannot start; the message says why.
    """

    def __init__(self, settings: Settings, register: str = "") -> None:
        self.settings = settings
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._open = ExitStack()
        try:
            self._build(settings, register)
        except BaseException:
            self._open.close()
            raise

    def _build(self, settings: Settings, register: str) -> None:
        protocols = tuple(load_all(settings.protocols))
        candidates = tuple(load_candidates(settings.candidates, protocols))
        rules = policy.read(settings.policy)
        settings.data.mkdir(parents=True, exist_ok=True)
        store = self._open.enter_context(
            triage.store.open(settings.database or settings.data / "queue.sqlite", rules)
        )
        key = seal.load(settings.data / "web.key")
        people = People(store.engine, key, second_required=settings.second_factor)
        provider = None
        if settings.openid is not None:
            provider = oidc.OpenId(oidc.read(settings.openid))
            self._open.callback(provider.close)
        known = self._open.enter_context(registers.open(register, create=False)) if register else None
        origin = urlsplit(settings.web_origin)
        self.site = Site(
            store,
            people,
            protocols,
            ZoneInfo(settings.zone),
            settings.data / "history",
            known,
            LimitBook.load(settings.limits, protocols) if settings.limits else None,
            settings.data / "sources",
            provider,
            key,
            https=origin.scheme == "https" or settings.tls_certificate is not None,
            workshop=self._workshop(settings, candidates),
            outcomes_file=settings.outcomes,
            candidates=candidates,
        )
        self.site.outcomes()  # a file that cannot be used is said now, not to who tries a limit
        self._names = [protocol.id for protocol in protocols]
        self._enrolled_at = (-1.0, -1)

    def _workshop(self, settings: Settings, candidates: Sequence[Protocol]) -> Workshop | None:
        """Make the workshop, where the log is a file of this machine."""
        if settings.log:
            return None
        return self._open.enter_context(closing(Workshop(_source(settings, candidates))))

    def _enrol(self) -> None:
        """Take the enrolment when it has changed, and each hour, as follow-ups end: who is in which cell."""
        path = self.settings.enrolment
        if path is None or not path.exists():
            return
        now_ms = self.site.now_ms()
        changed = (path.stat().st_mtime, now_ms // HOUR_MS)
        if changed != self._enrolled_at:
            cells.take(self.site.store.engine, read_enrolment(path, self._names), now_ms)
            self._enrolled_at = changed

    def stop(self) -> None:
        """Ask them to stop; safe from any thread and from a signal's handler."""
        self._asked.put(None)

    def run(self, ready: Callable[[str], None] = lambda _address: None) -> None:
        """Serve until `stop` is called, or the process whose child this is has ended.

        Raises
        ------
        OSError
            It cannot listen at that address.
        """
        parent = int(os.environ.get(PARENT, "0"))
        with self._open:
            self._enrol()
            with served(self.site, self.settings, (ENROLMENT_S, self._enrol)) as at:
                ready(at.address)
                gc.collect()
                gc.freeze()  # see engine.service
                while at.alive:
                    with suppress(queue.Empty):
                        self._asked.get(timeout=_ALIVE_S)
                        return
                    if parent and os.getppid() != parent:
                        _LOGGER.info("the service has ended, and the pages with it")
                        return


@dataclass(frozen=True, slots=True)
class At:
    """Where the pages are."""

    address: str
    _thread: threading.Thread

    @property
    def alive(self) -> bool:
        """Whether they are still served."""
        return self._thread.is_alive()


@contextmanager
def served(site: Site, settings: Settings, *others: tuple[float, Callable[[], object]]) -> Iterator[At]:
    """Serve a site, and let time pass for its lines, until the end of the block.

    Parameters
    ----------
    site : Site
    settings : Settings
        Where to listen, and the bounds of connections.
    others : (float, callable)
        What else is done every so many seconds.

    Raises
    ------
    OSError
        It cannot listen at that address.
    """
    origin = urlsplit(settings.web_origin)
    hub = Hub(site)
    app = build(site, hub, hosts=(origin.netloc,) if origin.netloc else ())
    again_ms = round(settings.keep_days * DAY_MS / 3)
    teller = Teller(site.store.engine, again_ms)
    clockwork = Clockwork(
        site.desk,
        (SWEEP_S, lambda: site.people.sweep(site.wall_ms())),
        (SAY_AGAIN_S, lambda: site.limit_desk.say_again(again_ms)),
        (TICK_S, site.proposals.begin),
        (TICK_S, lambda: teller.tell(site.now_ms())),
        (LOOK_OVER_S, Keeper(site).look),
        (LOOK_OVER_S, lambda: site.workshop.rest() if site.workshop else None),
        *others,
    )
    listening = listen(settings.web_host, settings.web_port)
    server = uvicorn.Server(_config(app, settings))
    serving = threading.Thread(target=server.run, args=([listening],), name="pages", daemon=True)
    hub.start()
    clockwork.start()
    serving.start()
    while not server.started and serving.is_alive():
        time.sleep(0.01)
    scheme = "https" if settings.tls_certificate else "http"
    host, port = listening.getsockname()[:2]
    try:
        yield At(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", serving)
    finally:
        hub.stop()
        server.should_exit = True
        serving.join(settings.stop_s)
        clockwork.stop()


def _source(settings: Settings, candidates: Sequence[Protocol]) -> Source:
    return Source(
        settings.data / "log",
        settings.data / "workshop",
        settings.protocols,
        settings.limits,
        settings.enrolment,
        settings.zone,
        tuple(zip((each.id for each in candidates), settings.candidates, strict=True)),
    )


def _config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=guarded(settings.header_s, settings.connections, lambda _why: None),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=3,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    config.load()
    return config
