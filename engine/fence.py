"""Who may write a partition's folder: one process at a time, and of several in turn the one with the greatest number.

The lock keeps two processes of one machine, or of one file system, from writing at once, however long one of them
stands still: the next waits until it is gone. The number keeps what a worker began before that from being given its
name later.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.history import sync

__all__ = ["Fence", "FencedError", "locked"]

_NAME = "fence"


class FencedError(Exception):
    """Another worker, with a greater number, has the folder."""


@contextmanager
def locked(folder: Path, wait: Callable[[str], None]) -> Iterator[None]:
    """Have a folder, made if it is not there, for this process alone; the kernel gives it back however that ends.

    Parameters
    ----------
    folder : Path
    wait : callable
        Called again and again with the process that has it, until it is free; it takes a while, or raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait(os.pread(lock, 20, 0).decode(errors="replace") or "unknown")
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class Fence:
    """A number in a folder."""

    path: Path
    token: int

    @classmethod
    def put(cls, folder: Path, token: int) -> "Fence":
        """Put a number in a folder, made if it is not there; durable on return.

        Raises
        ------
        FencedError
            A greater one is there.
        OSError
            It cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        fence = cls(folder / _NAME, token)
        there = fence.there()
        if there > token:
            msg = f"{folder}: a worker with token {there} has it, ours is {token}"
            raise FencedError(msg)
        temporary = folder / f"{_NAME}.{token}.tmp"
        with temporary.open("w") as file:
            file.write(str(token))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(fence.path)
        sync(folder)
        return fence

    def there(self) -> int:
        """Give the number that is there; 0 where none is. Only system calls: a forked child asks too."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            return int(os.read(fd, 32) or b"0")
        finally:
            os.close(fd)

    def check(self) -> None:
        """Do nothing while the number that is there is ours.

        Raises
        ------
        FencedError
            It is another.
        """
        there = self.there()
        if there != self.token:
            msg = f"{self.path.parent}: a worker with token {there} has it, ours is {self.token}"
            raise FencedError(msg)
