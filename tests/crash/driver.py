"""What is killed: packets into the log, the durable line, a real queue; started again it goes on, and ends by itself.

    python driver.py FOLDER [SHARDS]

The input is the same at every start: entry k of `entries` gets offset k of the log, so that what is not there yet is
what the gateways would send again. Points where a crash matters are put around the functions that commit something.
About every third checkpoint's child dies while it writes, as when memory is short.
"""

import os
import random
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import harness

import triage.store
from engine import commits, saved
from engine.acts import SOURCE, closing, setting
from engine.beside import Plan
from engine.durable import DurableLine, Upkeep
from engine.history import History
from engine.line import Line
from engine.program import Options, Program
from engine.protocols import load_all
from ingest import packet
from ingest.log import Log

PROTOCOL = Path(__file__).parents[1] / "property" / "small.toml"
HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_774_634_400_000
PATIENTS, DAYS = 30, 9
DEAF = 3 * HOUR
AT_ONCE = 12
CHECKPOINT = Upkeep(checkpoint_s=1e9, checkpoint_entries=20, history_rows=200)

Entry = tuple[str, bytes, int]


def entries(seed: int = 1) -> list[Entry]:
    """Give the whole input: readings, repeats, faulty bytes, acts of the cell, hours of silence, one outage."""
    rng = random.Random(seed)
    out: list[Entry] = []
    made: list[bytes] = []
    weight = [80.0] * PATIENTS
    for hour in range(0, DAYS * 24, 2):
        now = START + hour * HOUR
        if 100 <= hour < 112:
            continue  # the line is deaf
        body = b"".join(_readings(rng, hour, now, weight, made))
        out.append((f"gateway{hour % 4 // 2}", body, now))
        if hour % 10 == 0:
            out.append(("gateway1", rng.choice(made) + b"\xc1", now))
        if hour % 6 == 0:
            patient = f"p{rng.randrange(PATIENTS)}"
            for seq, problem in enumerate(("congestion", "rythme", "pression")):
                act = closing(patient, "essai", problem, 1, workplace="desk", seq=hour * 10 + seq, t_ms=now)
                out.append((SOURCE, act, now))
            value = rng.choice((0.5, 1.0, 4.0, None))
            limit = setting(
                patient,
                "essai",
                "gain_kg",
                value,
                "claire.morel",
                "motif",
                workplace="desk",
                seq=hour * 10 + 9,
                t_ms=now,
                of_cell=hour % 12 == 0,
            )
            out.append((SOURCE, limit, now))
    out.append(("heartbeat", b"", START + DAYS * DAY))
    return out


def _readings(
    rng: random.Random, hour: int, now: int, weight: list[float], made: list[bytes]
) -> Iterator[bytes]:
    for p in range(PATIENTS):
        name = f"p{p}"
        if p % 5 == 4 and hour > 60:
            continue  # nothing more of these
        t_ms = now - rng.choice((0, 0, 60_000, 5 * HOUR, 2 * DAY))
        if rng.random() < 0.15:
            weight[p] += rng.choice((-0.4, 0.2, 0.9, 1.6))
            made.append(packet.spot(name, f"s-{name}", hour, t_ms, {1: round(weight[p], 1)}))
            yield made[-1]
        if rng.random() < 0.15:
            low = rng.choice((70, 84, 88, 96, 120, 130))
            made.append(packet.spot(name, f"c-{name}", hour, t_ms, {2: low, 3: 50, 5: rng.choice((60, 130))}))
            yield made[-1]
        if rng.random() < 0.05:
            made.append(packet.questionnaire(name, f"t-{name}", hour, t_ms, {300: rng.randrange(3)}))
            yield made[-1]
        if made and rng.random() < 0.05:
            yield rng.choice(made)


def _put_points() -> None:
    for owner, attribute, name in (
        (Log, "append_many", "append"),
        (Log, "_write", "write to the log"),
        (Line, "process", "process"),
        (triage.store.Store, "apply", "queue"),
        (triage.store.Store, "_chunk", "rows of the queue"),
        (History, "append", "history"),
        (History, "commit", "commit of history"),
        (History, "_write_mark", "mark of history"),
        (commits, "write_beside", "checkpoint"),
        (saved, "prune_sets", "prune"),
    ):
        harness.points_around(owner, attribute, name)


def _kill_children() -> None:
    """About every third child that writes a checkpoint dies in the middle of it."""
    parent = os.getpid()
    real = Plan.fill

    def fill(plan: Plan) -> None:
        if os.getpid() != parent and zlib.crc32(plan.path.name.encode()) % 3 == 0:
            os.write(plan.fd, bytes(plan._head)[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        real(plan)

    Plan.fill = fill  # type: ignore[method-assign]


def run(folder: Path, shards: int) -> None:
    """Take the whole input to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    program = Program(load_all([PROTOCOL]), Options(deaf_after_ms=DEAF))
    given = entries()
    with (
        triage.store.open(folder / "queue.sqlite") as queue,
        DurableLine(folder, program, sink=queue.apply, shards=shards, upkeep=CHECKPOINT) as line,
    ):
        print("ready", line.next_offset, *line.problems, flush=True)
        while line.log.next_offset < len(given) or line.next_offset < len(given):
            at = line.log.next_offset
            for ticket in line.log.append_many(given[at : at + AT_ONCE]):
                ticket.result()
            line.step(max_entries=AT_ONCE // 2)
            harness.point("step")
        if not line.line.accounts.balanced:
            sys.exit(f"accounts do not balance: {line.line.accounts.by_source}")
    print("done", line.next_offset, line.line.accounts.total, flush=True)


if __name__ == "__main__":
    _put_points()
    _kill_children()
    run(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2)
