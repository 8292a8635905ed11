"""Hear of each kernel that Numba compiles, for whoever shows progress."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba.core.event as numba_event

__all__ = ["heard"]


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
