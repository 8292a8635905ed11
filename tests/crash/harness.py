"""Killing a command at random moments until it finishes: what `run.py` compares with an uninterrupted run.

The command must go on where it was when it is started again, and end by itself with status 0. It is killed in two
ways. At a random moment: uniform over the time that an uninterrupted run takes. At a named point: the command calls
`point("name")` at the moments that matter (before a rename, after a commit), or has `points_around` make a function
such a moment, and the harness has it kill itself at the n-th passage of one. Nothing of this is in the project's
code: a driver under tests/ puts the points there.
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Command", "CrashRun", "kill_at_random", "measure", "point", "points_around"]

_ARMED = "VIGIE_TEST_KILL_AT"  # "name:n": the n-th passage of that point
_PASSED = "VIGIE_TEST_POINTS"  # a file where passages are counted, by the uninterrupted run

Command = Sequence[str | os.PathLike[str]]


# ---- in the command

_passages: Counter[str] = Counter()


def point(name: str) -> None:
    """Mark a moment at which a crash matters. Without the harness it does nothing."""
    _passages[name] += 1
    if os.environ.get(_ARMED) == f"{name}:{_passages[name]}":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # a signal to oneself may take an instant
    if passed := os.environ.get(_PASSED):
        # One write in append mode: a forked child counts into the same file.
        fd = os.open(passed, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{name}\n".encode())
        os.close(fd)


def points_around(owner: Any, attribute: str, name: str = "") -> None:
    """Make `owner.attribute`, a function, a point before it runs and a point after it ran."""
    name = name or f"{getattr(owner, '__name__', type(owner).__name__)}.{attribute}"
    real: Callable[..., Any] = getattr(owner, attribute)

    def around(*args: Any, **kwargs: Any) -> Any:
        point(f"before {name}")
        result = real(*args, **kwargs)
        point(f"after {name}")
        return result

    setattr(owner, attribute, around)


# ---- in the test


@dataclass(frozen=True, slots=True)
class Measure:
    """An uninterrupted run: how long it takes, and how often it passes each point."""

    seconds: float
    passages: Mapping[str, int]


@dataclass(slots=True)
class CrashRun:
    """What was done to a command until it finished."""

    starts: int = 0
    kills: int = 0
    """Effective ones: the command was running when it was killed."""
    at: list[str] = field(default_factory=list)
    """Of each kill: the point, or the seconds after the start."""
    seconds: float = 0.0


def measure(cmd: Command, folder: Path, *, env: Mapping[str, str] | None = None) -> Measure:
    """Run `cmd` to its end, with a place in `folder` to count passages.

    Raises
    ------
    RuntimeError
        It ended with another status than 0; what it printed is in the message.
    """
    counted = folder / "passages.txt"
    counted.unlink(missing_ok=True)
    started = time.monotonic()
    output = folder / "output.txt"
    with output.open("wb") as out:
        environment = {**os.environ, **(env or {}), _PASSED: str(counted)}
        status = subprocess.run(cmd, check=False, stdout=out, stderr=out, env=environment).returncode
    seconds = time.monotonic() - started
    _check(cmd, status, output)
    lines = counted.read_text().splitlines() if counted.exists() else []
    return Measure(seconds, Counter(lines))


def kill_at_random(
    cmd: Command,
    rng: random.Random,
    max_s: float,
    *,
    folder: Path,
    measured: Measure,
    kills: int = 3,
    share_at_points: float = 0.5,
    env: Mapping[str, str] | None = None,
) -> CrashRun:
    """Run `cmd`, kill it at random moments, start it again until it finishes by itself.

    Parameters
    ----------
    cmd : sequence of str
        The command; it must go on from where it was killed.
    rng : random.Random
        Seeded, so that a failure can be had again (moments within a run vary with the machine; points do not).
    max_s : float
        Seconds that one start may take; more is taken for a hang.
    folder : Path
        For what the command prints.
    measured : Measure
        Of an uninterrupted run.
    kills : int
        How many kills are tried. One that comes after the end has no effect and is not counted; the run is over.
    share_at_points : float
        Of the kills, those at named points, where the command has any.
    env : mapping
        Added to the environment.

    Returns
    -------
    CrashRun
        With the number of effective kills.

    Raises
    ------
    RuntimeError
        A start that was not killed ended with another status than 0, or took longer than `max_s`.
    """
    done = CrashRun()
    began = time.monotonic()
    output = folder / "output.txt"
    names = sorted(measured.passages)
    finished = False
    while not finished:
        wanted = done.starts < kills
        armed, moment = "", max_s
        if wanted and names and rng.random() < share_at_points:
            name = rng.choice(names)
            armed = f"{name}:{rng.randint(1, measured.passages[name])}"
        elif wanted:
            moment = rng.uniform(0, measured.seconds)
        # Half of the time only the process itself, as the kernel does when memory is short; else its children too.
        everybody = rng.random() < 0.5
        done.starts += 1
        environment = {**os.environ, **(env or {}), **({_ARMED: armed} if armed else {})}
        with output.open("ab") as out:
            process = subprocess.Popen(cmd, stdout=out, stderr=out, env=environment, start_new_session=True)
        try:
            status = process.wait(moment)
        except subprocess.TimeoutExpired:
            if everybody:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            status = process.wait()
            if not wanted or armed:
                msg = f"{cmd}: start {done.starts} took more than {max_s} s; it printed:\n{_end(output)}"
                raise RuntimeError(msg) from None
        if wanted and status == -signal.SIGKILL:
            done.kills += 1
            done.at.append(armed or f"{moment:.3f} s")
        else:
            _check(cmd, status, output)
            finished = True
    done.seconds = time.monotonic() - began
    return done


def _check(cmd: Command, status: int, output: Path) -> None:
    if status:
        msg = f"{cmd}: ended with status {status}; it printed:\n{_end(output)}"
        raise RuntimeError(msg)


def _end(output: Path) -> str:
    return output.read_text(errors="replace")[-4000:]
