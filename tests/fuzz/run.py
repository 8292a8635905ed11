"""Mutated bodies against the decoder: ``make fuzz``, ``python tests/fuzz/run.py --bodies 10000000``.

Legal bodies of every kind and encoding are mutated and decoded, thousands a call, and what comes out is checked whole
(`invariants`). A broken invariant or an exception ends the run with the seed of its batch; ``--seed`` with that
number and ``--bodies 1`` repeats the batch.
"""

import argparse
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numba

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import corpus
import invariants
import mutate

from ingest.reasons import Reason

BATCH = 20_000
LEGAL = 3_000
REPORT_S = 15.0


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Decode mutated bodies and check what comes out.")
    parser.add_argument(
        "--bodies", type=int, default=10_000_000, help="how many, at least (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first batch; each batch has the next one")
    parser.add_argument("--seconds", type=float, help="stop after this time, whatever has been done")
    parser.add_argument("--boundscheck", action="store_true", help="compile with bounds checks (slower)")
    return parser.parse_args()


def checked() -> int:
    """Run this again with bounds checks: Numba reads the variable once, when it is imported."""
    command = [sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, "NUMBA_BOUNDSCHECK": "1"}, check=False).returncode


def main() -> int:
    """Fuzz, report, and give the exit status."""
    chosen = options()
    if chosen.boundscheck and not numba.config.BOUNDSCHECK:
        return checked()
    legal = corpus.make(LEGAL, seed=0)
    checker = invariants.Checker(corpus.RECEIPT_MS)
    # Without mutations all is accepted: else the fuzzer would look at refusals only.
    ends = [0, *(legal.begin + legal.length).tolist()]
    checker.run(legal.data, invariants.np.array(ends))
    by_source = int(checker.refused[Reason.ACT_NOT_ALLOWED] + checker.refused[Reason.NOT_ENROLLED])
    if checker.refused.sum() != by_source:
        msg = f"legal bodies were refused: {refusals(checker)}"
        raise invariants.BrokenInvariantError(msg)
    bounds = "with" if numba.config.BOUNDSCHECK else "without"
    print(
        f"fuzz: {LEGAL:,} legal bodies, {len(legal.packet) - LEGAL:,} packets, {bounds} bounds checks",
        flush=True,
    )

    begun = reported = time.monotonic()
    done = batches = octets = 0
    while done < chosen.bodies:
        seed = chosen.seed + batches
        data, body_at = mutate.Mutator(legal, seed).draw(BATCH)
        try:
            checker.run(data, body_at)
        except Exception:  # noqa: BLE001 whatever it is, it is a finding
            traceback.print_exc()
            print(f"fuzz: FAILED in the batch of seed {seed}; again: --seed {seed} --bodies 1", flush=True)
            return 1
        done += BATCH
        batches += 1
        octets += len(data)
        now = time.monotonic()
        if now - reported > REPORT_S:
            reported = now
            print(
                f"fuzz: {done:,} bodies in {now - begun:.0f} s, {checker.packets:,} packets accepted",
                flush=True,
            )
        if chosen.seconds is not None and now - begun > chosen.seconds:
            break
    seconds = time.monotonic() - begun
    print(f"bodies {done:,}, bytes {octets:,}, seconds {seconds:.1f} (CPU {time.process_time():.1f})")
    print(f"accepted {checker.packets:,}, of them encoded again {checker.sampled:,}")
    print(f"refused {int(checker.refused.sum()):,}: {refusals(checker)}")
    return 0


def refusals(checker: invariants.Checker) -> str:
    """Give the refused by reason."""
    return ", ".join(f"{Reason(r).name} {int(n):,}" for r, n in enumerate(checker.refused) if n)


if __name__ == "__main__":
    sys.exit(main())
