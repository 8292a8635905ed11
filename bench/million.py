"""A million patients on the shipped heart-failure protocol: memory, checkpoint and restart, measured once and printed.

``python -m bench.million [--patients N] [--signals] [--folder DIR]``: needs about 10 GiB of memory and 8 of disk for a
million; with `--signals`, without the questionnaire, six and five.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from bench import heart_failure as job
from engine import checkpoint
from engine.line import Line
from ingest.decode import decode
from ingest.signals import plausible_ranges
from kernels import SOURCE_HASH

__all__ = ["main"]

_GIB = 2**30


def _rss() -> float:
    return float(psutil.Process().memory_info().rss / _GIB)


def main() -> None:
    """Fill a line with patients, checkpoint it, load it again; print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1_000_000)
    parser.add_argument("--signals", action="store_true", help="eight signals, without the questionnaire")
    parser.add_argument("--folder", type=Path, help="where the checkpoint goes (default: a temporary folder)")
    given = parser.parse_args()
    program = job.make_program(answers=not given.signals)
    low, high = plausible_ranges(job.item_ranges(program))
    job.run(program, job.make_batches(program, 50, 1))  # compiles
    with Line(program) as line:
        empty = _rss()
        start = time.perf_counter()
        readings = 0
        packets = 0
        for entries in job.batches(program, given.patients, 1):
            batch, quarantine = decode(entries, low, high)
            line.process(batch, quarantine)
            readings += len(batch.code)
            packets += len(batch)
        shard = line.shards[0]
        per_patient = shard.state.bytes_per_patient()
        print(
            f"{shard.state.used} patients, {len(program.series)} series each, {packets} packets, {readings} readings"
        )
        print(f"filled in {time.perf_counter() - start:.1f} s (simulation included)")
        print(f"memory {_rss():.2f} GiB, before {empty:.2f} GiB, {per_patient} bytes a patient by the arrays")
        folder = given.folder or Path(tempfile.mkdtemp(prefix="vigie-million-"))
        header = checkpoint.Header(
            shard=0, shards=1, offset=line.next_offset, kernels=SOURCE_HASH, program=program.hash
        )
        arrays = dict(shard.state.snapshot()) | shard.streams.snapshot()
        try:
            start = time.perf_counter()
            writing = checkpoint.write_beside(folder, header, arrays)
            pause = writing.pause_s
            path = writing.wait()
            print(
                f"checkpoint beside the line: pause {pause:.3f} s, written in {time.perf_counter() - start:.1f} s"
            )
            size = sum(f.stat().st_size for f in folder.iterdir()) / _GIB
            start = time.perf_counter()
            found, problems = checkpoint.newest_good(folder)
            if found is None or problems:
                message = f"{path}: {problems}"
                raise SystemExit(message)
            shard.state.restore(found.arrays)
            print(
                f"restart: {size:.2f} GiB read, checked and in place in {time.perf_counter() - start:.1f} s"
            )
        finally:
            if given.folder is None:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
