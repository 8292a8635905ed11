"""kill -9 at random, many times, then compare: ``make crash``, ``python tests/crash/run.py --kills 100``.

The driver is killed and started again until it has come to its end; its queue, history and accounts must be those of a
run that nobody disturbed: no alert twice, none lost. A third of the kills each: at a named point (around what commits
something), at a random moment of its work, at a random moment of its start. Half of the kills take the children that
write checkpoints too.
"""

import argparse
import os
import random
import re
import selectors
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).parent))

import harness

from engine import history

DRIVER = Path(__file__).parent / "driver.py"
MAX_S = 300.0
MOST_KILLS_A_ROUND = 8


@dataclass
class Figures:
    """What was done, for the report."""

    rounds: int = 0
    starts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    children: int = 0
    at: Counter[str] = field(default_factory=Counter)
    resumed: list[int] = field(default_factory=list)
    start_s: float = MAX_S
    work_s: float = MAX_S
    """Shortest start, and shortest whole work after it, so far: kills fall within them."""
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Kills that took effect."""
        return sum(self.kills.values())


def command(folder: Path, shards: int) -> list[str]:
    """Give the driver's command line."""
    return [sys.executable, str(DRIVER), str(folder), str(shards)]


Outcome = dict[str, list[tuple[object, ...]]]


def outcome(folder: Path, accounts: str, readings: list[tuple[object, ...]] | None = None) -> Outcome:
    """Give all that a run left behind, in an order that does not depend on when what was written.

    `readings` are those of its history, where that is not in the folder itself.
    """
    with sqlite3.connect(folder / "queue.sqlite") as database:
        alerts = database.execute("SELECT * FROM alert ORDER BY id").fetchall()
        columns = [row[1] for row in database.execute("PRAGMA table_info(transition)") if row[1] != "id"]
        said = database.execute(f"SELECT {', '.join(columns)} FROM transition").fetchall()  # noqa: S608 - our own names
        columns = [row[1] for row in database.execute("PRAGMA table_info(episode)") if row[1] != "shown_id"]
        lines = database.execute(
            f"SELECT {', '.join('episode.' + name for name in columns)}, transition.sentence, transition.t_ms "  # noqa: S608 - our own names
            "FROM episode JOIN transition ON transition.id = episode.shown_id"
        ).fetchall()
    database.close()
    if readings is None:
        readings = history.read(folder / "history").collect().rows()
    return {
        "alerts": alerts,
        "transitions": sorted(said, key=str),
        "episodes": sorted(lines, key=str),
        "readings": sorted(readings),
        "offset and accounts": [(accounts,)],
    }


def _done(folder: Path) -> str:
    lines = (folder / "output.txt").read_text().splitlines()
    return next(line for line in reversed(lines) if line.startswith("done"))


def undisturbed(folder: Path, shards: int) -> harness.Measure:
    """Run the driver to its end, and count how often it passes each point."""
    folder.mkdir()
    return harness.measure(command(folder, shards), folder)


def tormented(
    folder: Path, shards: int, rng: random.Random, measured: harness.Measure, most: int, figures: Figures
) -> None:
    """Start the driver, kill it, start it again, until it has come to its end."""
    folder.mkdir()
    killed = 0
    while True:
        kind = rng.choice(("point", "work", "start")) if killed < most else ""
        armed = _point(rng, measured) if kind == "point" else ""
        everybody = rng.random() < 0.5
        environment = {**os.environ, **({harness._ARMED: armed} if armed else {})}
        environment.pop(harness._PASSED, None)
        with (folder / "output.txt").open("ab") as out:
            process = subprocess.Popen(
                command(folder, shards),
                stdout=subprocess.PIPE,
                stderr=out,
                env=environment,
                start_new_session=True,
            )
            figures.starts += 1
            status = _watch(process, kind, rng, out, everybody=everybody, figures=figures)
        if status == -signal.SIGKILL and kind:
            killed += 1
            figures.kills[kind] += 1
            figures.children += everybody
            if armed:
                figures.at[armed.rpartition(":")[0]] += 1
        elif status:
            end = (folder / "output.txt").read_text(errors="replace")[-4000:]
            sys.exit(f"the driver ended with status {status}:\n{end}")
        else:
            return


def _point(rng: random.Random, measured: harness.Measure) -> str:
    name = rng.choice(sorted(measured.passages))
    # Each start passes fewer points than the whole run: the early ones are those that are reached.
    return f"{name}:{1 + int(measured.passages[name] * rng.random() ** 3)}"


def _watch(
    process: "subprocess.Popen[bytes]",
    kind: str,
    rng: random.Random,
    out: BinaryIO,
    *,
    everybody: bool,
    figures: Figures,
) -> int:
    """Read what the driver prints, and kill it when its time has come; return its status."""
    began = time.monotonic()
    kill_at = began + (rng.uniform(0, figures.start_s) if kind == "start" else MAX_S)
    ready = began
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = kill_at - time.monotonic()
            if left <= 0:
                if not kind or kind == "point":
                    sys.exit(f"the driver took more than {MAX_S:g} s")
                (os.killpg if everybody else os.kill)(process.pid, signal.SIGKILL)
                break
            if not selector.select(left):
                continue
            line = process.stdout.readline()
            if not line:
                break
            out.write(line)
            now = time.monotonic()
            if line.startswith(b"ready"):
                ready = now
                figures.start_s = min(figures.start_s, now - began)
                figures.resumed.append(int(line.split()[1]))
                if kind == "work":
                    kill_at = now + rng.uniform(0, figures.work_s)
            elif line.startswith(b"done") and figures.resumed[-1] == 0:
                figures.work_s = min(figures.work_s, now - ready)
    process.stdout.close()
    return process.wait(MAX_S)


def compare(expected: Outcome, found: Outcome) -> list[str]:
    """Say what differs."""
    problems = []
    for name, rows in expected.items():
        lost = Counter(map(str, rows)) - Counter(map(str, found[name]))
        more = Counter(map(str, found[name])) - Counter(map(str, rows))
        problems += [f"{name}, lost: {row}" for row in lost.elements()]
        problems += [f"{name}, too many: {row}" for row in more.elements()]
    return problems


def main(kills: int, seed: int, shards: int, folder: Path) -> Figures:
    """Torment the driver until it was killed `kills` times; exit with what differs where anything does."""
    rng = random.Random(seed)
    figures = Figures()
    began = time.monotonic()
    # Compiles what is not compiled yet: how long it takes is measured in the next one.
    measured = undisturbed(folder / "whole", shards)
    expected = outcome(folder / "whole", _done(folder / "whole"))
    tormented(folder / "again", shards, rng, measured, 0, figures)  # how long starting and working take
    problems = compare(expected, outcome(folder / "again", _done(folder / "again")))
    if problems:
        sys.exit("\n".join(["two undisturbed runs differ:", *problems[:20]]))
    print(
        f"undisturbed: {figures.start_s:.1f} s to start, {figures.work_s:.1f} s of work; "
        f"{len(expected['alerts'])} alerts, "
        f"{len(expected['transitions'])} transitions, {len(expected['episodes'])} episodes, "
        f"{len(expected['readings'])} readings; {sum(measured.passages.values())} passages of "
        f"{len(measured.passages)} points",
        flush=True,
    )
    while figures.total < kills:
        figures.rounds += 1
        here = folder / f"round{figures.rounds}"
        most = min(MOST_KILLS_A_ROUND, kills - figures.total)
        before = figures.total
        tormented(here, shards, rng, measured, most, figures)
        problems = compare(expected, outcome(here, _done(here)))
        if problems:
            sys.exit("\n".join([f"round {figures.rounds} (seed {seed}, {here}):", *problems[:20]]))
        text = (here / "output.txt").read_text(errors="replace")
        passed_over = len(re.findall(r"^ready \d+ .+$", text, re.MULTILINE))
        print(
            f"round {figures.rounds}: {figures.total - before} kills, the same; {figures.total} so far"
            + (f"; {passed_over} starts told of problems" if passed_over else ""),
            flush=True,
        )
    figures.seconds = time.monotonic() - began
    return figures


def _report(figures: Figures) -> None:
    by_kind = ", ".join(f"{count} at a {kind}" for kind, count in sorted(figures.kills.items()))
    resumed = [offset for offset in figures.resumed if offset]
    print(
        f"{figures.total} kills in {figures.rounds} rounds and {figures.starts} starts: {by_kind}; "
        f"{figures.children} with the children that write; {len(resumed)} starts went on from a checkpoint "
        f"({len(set(resumed))} offsets). Alerts, queue, history and accounts are those of an undisturbed run. "
        f"{figures.seconds:.0f} s"
    )
    for name, count in figures.at.most_common():
        print(f"  {count:3d} {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--shards", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-crash-") as temporary:
        print(f"seed {given.seed}", flush=True)
        _report(main(given.kills, given.seed, given.shards, Path(temporary)))
