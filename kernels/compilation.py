"""Hear of each kernel that Numba compiles, for whoever shows progress; and remember that all are."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
import numba.core.event as numba_event
from llvmlite.binding import get_host_cpu_name

__all__ = ["complete", "heard", "was_complete"]


class _Listener(numba_event.Listener):  # type: ignore[misc]  # Numba is not followed, see pyproject.toml
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: Any) -> None:  # noqa: ANN401 - numba ships no types
        """Say nothing yet."""

    def on_end(self, event: Any) -> None:  # noqa: ANN401 - likewise
        """Tell."""
        self._tell(event.data["dispatcher"].py_func.__qualname__)


@contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with the name of each kernel compiled meanwhile, those that others call included."""
    with numba_event.install_listener("numba:compile", _Listener(tell)):
        yield


def _mark() -> Path:
    # Numba's cache knows each file by folder, time and size: another clone of the same sources has a cache of its own.
    folder = Path(__file__).parent
    digest = hashlib.blake2b(str(folder).encode(), digest_size=8)
    for source in sorted(folder.glob("*.py")):
        known = source.stat()
        digest.update(f"{source.name} {known.st_mtime_ns} {known.st_size}\n".encode())
    return Path(numba.config.CACHE_DIR) / f"complete-{digest.hexdigest()}-{get_host_cpu_name()}"


def complete() -> None:
    """Note beside the cache that it has every kernel of this version for this machine."""
    with suppress(OSError):  # then it is gone through again next time
        _mark().touch()


def was_complete() -> bool:
    """Whether that was noted. What was lost since is compiled where it is used, as ever, only by one process."""
    return _mark().exists()
