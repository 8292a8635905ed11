"""Writing a checkpoint, in line or beside it: a forked child holds the state as it was, and writes it.

The line pauses for the fork only (page tables are copied, memory is not); the kernel copies a page when the
line first writes to it. Why, and what it costs against copying the arrays:
docs/decisions/0003-checkpoint-by-fork.md.
"""

import contextlib
import gc
import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from engine.checkpointfile import Arrays, CheckpointError, Header, Plan
from engine.fence import Fence, FencedError

__all__ = ["Writing", "write", "write_beside"]

_POLL_S = 0.005
_forking = threading.Lock()  # one fork at a time: it switches the collector off for the whole process


def write(folder: Path, header: Header, arrays: Arrays, blobs: Mapping[str, bytes] | None = None) -> Path:
    """Write a checkpoint in line; it is on the disk on return.

    See `engine.checkpointfile.Plan` for the parameters.

    Raises
    ------
    CheckpointError
        It could not be written; nothing is left of it, and the checkpoints before it are untouched.
    ValueError
        An array is not one that can be written.
    """
    plan = Plan(folder, header, arrays, blobs or {})
    written = False
    try:
        plan.fill()
        plan.publish()
        written = True
    except OSError as error:
        msg = f"{plan.path}: {error.strerror}"
        raise CheckpointError(msg) from error
    finally:
        plan.close(written=written)
    return plan.path


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    pipe: int
    temporary: Path


class Writing:
    """A checkpoint that a child process is writing.

    `path` is where it will be; `pause_s` is how long the line stood still. `inline` says why the child could
    not be started and the checkpoint was written in line; empty where it was not.
    """

    def __init__(self, path: Path, pause_s: float, child: "_Child | None", inline: str = "") -> None:
        self.path = path
        self.pause_s = pause_s
        self.inline = inline
        self._child = child
        self._error = ""

    def poll(self) -> bool:
        """Return whether the checkpoint is written.

        Raises
        ------
        CheckpointError
            The child failed or was killed: nothing was written, the checkpoints before are untouched.
        """
        if self._child is not None:
            pid, status = os.waitpid(self._child.pid, os.WNOHANG)
            if not pid:
                return False
            said = os.read(self._child.pipe, 65536).decode(errors="replace")
            os.close(self._child.pipe)
            code = os.waitstatus_to_exitcode(status)
            if code:
                self._error = said or (f"killed by signal {-code}" if code < 0 else f"exit status {code}")
                self._child.temporary.unlink(missing_ok=True)
            self._child = None
        if self._error:
            msg = f"{self.path}: written beside the line: {self._error}"
            raise CheckpointError(msg)
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; return and raise as `poll`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.poll():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True


def write_beside(
    folder: Path,
    header: Header,
    arrays: Arrays,
    blobs: Mapping[str, bytes] | None = None,
    fence: Fence | None = None,
) -> Writing:
    """Write a checkpoint in a child process. See `engine.checkpointfile.Plan` for the parameters.

    With a `fence`, the checkpoint gets its name only while that is still ours.

    The arrays may be changed as soon as this returns. Nothing is committed until `Writing.poll` or `wait`
    says so.

    Raises
    ------
    CheckpointError
        The file cannot be made.
    ValueError
        An array is not one that can be written.
    """
    started = time.perf_counter()
    plan = Plan(folder, header, arrays, blobs or {})
    reading, writing = os.pipe()
    parent = os.getpid()
    try:
        pid = _fork()
    except OSError as error:
        # No memory for the page tables, or too many processes: a line that waits beats no checkpoint.
        os.close(reading)
        os.close(writing)
        plan.close(written=False)
        _check(fence)
        path = write(folder, header, arrays, blobs)
        return Writing(path, time.perf_counter() - started, None, inline=f"fork: {error.strerror}")
    if pid == 0:
        _run_child(plan, writing, parent, fence)
    os.close(writing)
    plan.close(written=True)  # by the child, which removes the file itself if it fails
    return Writing(plan.path, time.perf_counter() - started, _Child(pid, reading, plan.temporary))


def _check(fence: Fence | None) -> None:
    if fence is not None:
        try:
            fence.check()
        except FencedError as error:
            raise CheckpointError(str(error)) from error


def _fork() -> int:
    with _forking, warnings.catch_warnings():
        # Python 3.12 and later warn that a child of a process with threads may wait for ever for a lock that
        # a thread held. Ours takes none: it makes system calls and sums bytes, touches no Polars, no Numba,
        # no logging and no SQLite, and ends by _exit. CPython and glibc repair their own locks in a child.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        # A collection in the child could run the finaliser of anything at all.
        collecting = gc.isenabled()
        gc.disable()
        pid = -1
        try:
            pid = os.fork()
        finally:
            if collecting and pid != 0:  # in the child it stays off
                gc.enable()
        return pid


def _said(error: BaseException) -> str:
    if isinstance(error, CheckpointError):
        return str(error)
    return str(getattr(error, "strerror", None) or repr(error))


def _run_child(plan: Plan, pipe: int, parent: int, fence: Fence | None) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)  # an event loop of the parent must not hear of our signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both: the parent decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Let go of what the parent holds (its log's lock, its sockets), should it end before us.
        kept = sorted((plan.fd, plan.folder_fd, pipe))
        for low, high in itertools.pairwise((-1, *kept, 1 << 20)):
            os.closerange(low + 1, high)
        plan.fill()
        _check(fence)
        if os.getppid() == parent:
            plan.publish()
            status = 0
        else:
            # The line was started again meanwhile, and is master of the folder.
            plan.close(written=False)
    except BaseException as error:  # noqa: BLE001 - nothing may leave a child but its exit status
        with contextlib.suppress(OSError):
            os.write(pipe, _said(error).encode())
        plan.close(written=False)
    finally:
        os._exit(status)
