"""The nurses' pages under load: ``python -m bench.pages``: 100,000 patients, 5,000 open lines, a year of closed ones.

Makes a queue by the store itself and a year of history, serves them by ``vigie web`` in a process of its own, and
measures from outside: each page one after the other, with 200 connected browsers and without, and how long a new alert
takes from its commit to the browsers.
"""

import argparse
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import polars as pl

from engine import history
from engine.enrolment import Enrolled
from engine.history import History, write_parquet
from ingest.signals import by_name
from rules.alerts import SCHEMA
from triage import store
from triage.people import seal
from triage.people.accounts import People
from triage.people.administration import NewAccount
from triage.people.person import Role, SignedIn
from triage.store import Store
from triage.work import cells, lists

DAY_MS = 86_400_000
PASSWORD = "speed of the pages"  # noqa: S105 - of a queue that is thrown away
CELLS = ("Nord", "Sud")
SIGNALS = ("weight", "systolic", "diastolic")


def frame(
    patients: list[str], onset: "np.ndarray[tuple[int], np.dtype[np.int64]]", kind: str, level: str
) -> pl.DataFrame:
    """Make rows as the engine writes them, one a patient."""
    n = len(patients)
    t = onset if kind == "opened" else onset + 3_600_000
    ids = [
        hashlib.blake2b(f"{p} {o}".encode(), digest_size=8).hexdigest()
        for p, o in zip(patients, onset.tolist(), strict=True)
    ]
    points = [
        [
            {"signal": "weight", "t_ms": int(o) - k * DAY_MS, "value": 80.0 + (k * 7 % 5) / 3}
            for k in range(14)
        ]
        for o in onset.tolist()
    ]
    return pl.DataFrame(
        {
            "alert_id": ids,
            "patient": patients,
            "protocol": ["insuffisance_cardiaque"] * n,
            "version": ["1.0"] * n,
            "protocol_hash": ["0" * 16] * n,
            "signed": [False] * n,
            "problem": ["weight"] * n,
            "rule": ["gain_3d"] * n,
            "opened_by": ["gain_3d"] * n,
            "level": [level] * n,
            "kind": [kind] * n,
            "onset_ms": onset,
            "t_ms": t,
            "clock_ms": t,
            "offset": t,
            "sentence": ["Prise de 2,3 kg en 3 jours (limite 2 kg)."] * n,
            "features": [[{"name": "gain_3d", "value": 2.3, "unit": "kg"}]] * n,
            "limits": [[{"name": "gain_3d_kg", "value": 2.0, "unit": "kg", "origin": "défaut du protocole"}]]
            * n,
            "points": points,
            "kernels": ["0" * 16] * n,
            "time_basis": ["arrival"] * n,
        },
        schema=SCHEMA,
    )


def fill(queue: Store, patients: int, open_: int, closed: int, now_ms: int) -> None:
    """Put a year of closed lines and the open ones into a queue, by the store's own way."""
    chance = np.random.default_rng(1)
    names = [f"P{i:07d}" for i in range(patients)]
    cells.take(
        queue.engine,
        {name: Enrolled(("insuffisance_cardiaque",), CELLS[i % 2]) for i, name in enumerate(names)},
    )
    begun = time.monotonic()
    for at in range(0, closed, 10_000):
        # Of a patient, one after the other: the next opens when the one before has ended.
        ended = [names[(at + k) % patients] for k in range(min(10_000, closed - at))]
        onset = now_ms - 365 * DAY_MS + (np.arange(at, at + len(ended)) * 364 * DAY_MS) // closed
        for kind in ("opened", "recovered"):
            queue.apply(frame(ended, onset.astype(np.int64), kind, "ORANGE"))
    print(f"closed lines: {closed:,} in {time.monotonic() - begun:.0f} s", flush=True)
    for level, share in (("ROUGE", 0.1), ("ORANGE", 0.8), ("TECHNIQUE", 0.1)):
        some = chance.choice(patients, round(open_ * share), replace=False)
        onset = now_ms - chance.integers(0, 3 * DAY_MS, len(some))
        rows = frame([names[i] for i in some], onset.astype(np.int64), "opened", level)
        queue.apply(
            rows.with_columns(pl.lit(f"open {level}").alias("problem"), pl.lit(f"open {level}").alias("rule"))
        )


def year(folder: Path, patients: int, now_ms: int) -> None:
    """Write a year of history: three readings a patient and day, in the files that a compaction leaves."""
    History(folder).resume(0)
    names = pl.Series("patient", [f"P{i:07d}" for i in range(patients)])
    one = pl.concat(
        [
            pl.DataFrame(
                {"patient": names, "signal": [by_name(signal).code] * patients, "milli": [80_000] * patients}
            )
            for signal in SIGNALS
        ]
    ).with_columns(receipt_ms=pl.lit(now_ms), status=0, offset=0, outcome=0)
    one = one.with_columns(milli=pl.col("milli") + pl.int_range(pl.len()) % 5000).sort("patient", "signal")
    for back in range(365):
        day = now_ms - back * DAY_MS
        rows = one.with_columns(t_ms=pl.lit(day)).select(
            pl.col(name).cast(kind) for name, kind in history.SCHEMA.items()
        )
        path = folder / f"day={history.day_of(day)}" / "shard=00"
        path.mkdir(parents=True, exist_ok=True)
        write_parquet(rows, path / f"{0:020d}-{1:020d}.parquet")
    mark = folder / "committed.json"
    mark.write_text(mark.read_text().replace('"committed": 0', '"committed": 1'))


@contextlib.contextmanager
def web(folder: Path) -> Iterator[str]:
    """Run ``vigie web`` until the end of the block; give its address."""
    env = {**os.environ, "VIGIE_SECOND_FACTOR": "false"}
    command = [sys.executable, "-m", "vigie", "web", "--data", str(folder), "--port", "0"]
    process = subprocess.Popen(  # noqa: S603 - ours
        command, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"pages at (\S+)", said)
        assert found is not None, said
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def signed_in(folder: Path, queue: Store, address: str) -> dict[str, str]:
    """Make an account and come in; give the cookie."""
    people = People(queue.engine, seal.load(folder / "web.key"), second_required=False)
    now_ms = time.time_ns() // 1_000_000
    name = f"nurse{now_ms}"
    once = people.create(NewAccount(name, Role.NURSE, CELLS), "shell:bench", now_ms)
    came = people.sign_in(name, once, "", now_ms)
    assert isinstance(came, SignedIn)
    people.set_password(came.person, once, PASSWORD, now_ms)
    answer = httpx.post(f"{address}/connexion", data={"login": name, "password": PASSWORD})
    return dict(answer.cookies)


def measure(client: httpx.Client, path: str, times: int, first: int) -> tuple[float, float, int]:
    """Ask for a page `times` times; give median and 95th percentile in ms, and its size in bytes.

    Each time of another patient, from number `first` on, where ``{patient}`` is in the path.
    """
    took = []
    size = 0
    for i in range(times):
        asked = path.format(patient=f"P{first + i:07d}")
        begun = time.perf_counter()
        answer = client.get(asked)
        took.append(1000 * (time.perf_counter() - begun))
        assert answer.status_code == 200, (asked, answer.status_code)
        size = len(answer.content)
    took.sort()
    return median(took), took[int(0.95 * len(took))], size


class Browsers:
    """Connected browsers: each holds the live events and notes when it hears of a new line."""

    def __init__(self, address: str, cookies: dict[str, str], count: int, mark: int) -> None:
        self.heard: list[float] = []
        self._stop = threading.Event()
        self._up = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._listen, args=(address, cookies, mark), daemon=True)
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()
        for _ in range(count):
            self._up.acquire(timeout=60)

    def _listen(self, address: str, cookies: dict[str, str], mark: int) -> None:
        with (
            httpx.Client(base_url=address, cookies=cookies, timeout=60) as client,
            client.stream("GET", f"/live?vue=a-traiter&depuis={mark}") as stream,
        ):
            first = True
            for line in stream.iter_lines():
                if first:
                    first = False
                    self._up.release()
                if line.startswith("data: ") and '"new": 1,' in line:
                    self.heard.append(time.monotonic())
                if self._stop.is_set():
                    return

    def stop(self) -> None:
        """Let them go at their next event."""
        self._stop.set()


def report(client: httpx.Client, say: Callable[[str], None], first: int, times: int) -> None:
    """Measure the pages."""
    for name, path, count in (
        ("queue page", "/file", times),
        ("queue page, searched", "/file?q=P00012", times),
        ("closed lines", "/file/cloturees", times),
        ("patient page", "/patients/{patient}", times),
        ("one curve of a year", "/patients/P0000010/courbes/weight.json", times),
        ("counts", "/live/counts", times),
        ("load of the cell", "/cellule", max(3, times // 10)),
    ):
        middle, p95, size = measure(client, path, count, first)
        say(f"{name:24} median {middle:7.1f} ms   p95 {p95:7.1f} ms   {size / 1024:7.1f} KB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--open", type=int, default=5_000)
    parser.add_argument("--closed", type=int, default=260_000)
    parser.add_argument("--browsers", type=int, default=200)
    parser.add_argument("--times", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="keep what was made, or use it again")
    given = parser.parse_args()
    now_ms = time.time_ns() // 1_000_000
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vigie-pages-")))
        made = (folder / "queue.sqlite").exists()
        folder.mkdir(parents=True, exist_ok=True)
        queue = stack.enter_context(store.open(folder / "queue.sqlite"))
        if not made:
            fill(queue, given.patients, given.open, given.closed, now_ms)
            year(folder / "history", given.patients, now_ms)
        print("queue:", {level.name: count for level, count in queue.waiting().items()})
        address = stack.enter_context(web(folder))
        cookies = signed_in(folder, queue, address)
        client = stack.enter_context(httpx.Client(base_url=address, cookies=cookies, timeout=60))
        report(client, print, 1000, given.times)
        browsers = Browsers(address, cookies, given.browsers, lists.newest(queue.engine))
        print(f"with {given.browsers} connected browsers:")
        report(client, print, 5000, given.times)
        onset = np.array([time.time_ns() // 1_000_000], np.int64)
        rows = frame(["P0000011"], onset, "opened", "ROUGE").with_columns(pl.lit("fresh").alias("problem"))
        queue.apply(rows)
        committed = time.monotonic()
        time.sleep(6)
        late = sorted(heard - committed for heard in browsers.heard)
        print(
            f"a new ROUGE: {len(late)} of {given.browsers} browsers heard, median {median(late):.2f} s, "
            f"last {late[-1]:.2f} s after its commit"
        )
        browsers.stop()


if __name__ == "__main__":
    main()
