"""The nurses' pages beside a service: a process of their own, begun again when it ends by itself.

Apart from the intake, because each has its own readers and its own rights: a gateway reaches no page, a browser no
intake, and a page that takes long keeps no packet waiting.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from engine.config import PREFIX, Settings

__all__ = ["PARENT", "beside", "environment"]

_LOGGER = logging.getLogger("vigie")
PARENT: Final = "VIGIE_PARENT"
"""Process whose end is the pages' end too."""

_STOP_S: Final = 15.0
_SAID_S: Final = 0.5
_FIRST_AGAIN_S, _LAST_AGAIN_S = 1.0, 30.0


def environment(settings: Settings) -> dict[str, str]:
    """Give the settings as an environment, for a process that shall have the same."""
    out = {name: value for name, value in os.environ.items() if name != "VIGIE_CONFIG"}
    for name, value in settings.model_dump(mode="json", exclude_defaults=True).items():
        out[f"{PREFIX}{name.upper()}"] = ",".join(value) if isinstance(value, list) else str(value)
    return out


@contextmanager
def beside(settings: Settings) -> Iterator[None]:
    """Run the pages until the end of the block; nothing where the settings want none."""
    if not settings.web:
        yield
        return
    stop = threading.Event()
    running: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(
        target=_keep, args=(environment(settings), stop, running), name="web", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        for process in running:
            process.terminate()
        thread.join(_STOP_S)
        for process in running:
            with suppress(ProcessLookupError):
                process.kill()


def _keep(env: dict[str, str], stop: threading.Event, running: list[subprocess.Popen[bytes]]) -> None:
    again_s = _FIRST_AGAIN_S
    env = {**env, PARENT: str(os.getpid())}
    while not stop.is_set():
        process = subprocess.Popen([sys.executable, "-m", "vigie", "web"], env=env)
        running[:] = [process]
        if stop.is_set():
            process.terminate()
        status = process.wait()
        # A signal to both (Ctrl-C, systemd) may end it before the service says so.
        if stop.wait(_SAID_S):
            return
        _LOGGER.error("the nurses' pages ended with status %d; begun again in %.0f s", status, again_s)
        stop.wait(again_s)
        again_s = min(2 * again_s, _LAST_AGAIN_S)
