"""Coverage-guided fuzzing of the decoder: ``python tests/fuzz/atheris_decode.py --runs 100000``.

The kernels run as plain Python here (NUMBA_DISABLE_JIT=1), so that the fuzzer sees their branches and NumPy tests
each index; what comes out is checked by the same `invariants` as in the long run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris
import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["kernels", "ingest"]):
    import ingest.decode  # noqa: F401 instrumented where it is imported first
    import kernels.decode  # noqa: F401 likewise

import corpus
import invariants

LEGAL = 200
LONGEST = 600


def one(checker: invariants.Checker, octets: bytes) -> None:
    """Decode one input as two bodies, one of a gateway and one of the cell."""
    data = np.frombuffer(octets, np.uint8)
    # Scalars of uint64 wrap in hashes, on purpose; compiled code says nothing.
    with np.errstate(over="ignore"):
        checker.run(np.concatenate([data, data]), np.array([0, len(data), 2 * len(data)]), samples=2)


def seeds(folder: Path) -> None:
    """Write legal bodies where the fuzzer begins."""
    legal = corpus.make(LEGAL, seed=0)
    for k, (begin, length) in enumerate(zip(legal.begin.tolist(), legal.length.tolist(), strict=True)):
        if length <= LONGEST:
            (folder / f"{k:04}").write_bytes(legal.data[begin : begin + length].tobytes())


def main() -> int:
    """Run the fuzzer in a child: the library ends its process."""
    parser = argparse.ArgumentParser(description="Fuzz the decoder, guided by its branches.")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs to try (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer (default %(default)s)")
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.corpus is None or not numba.config.DISABLE_JIT:
        with tempfile.TemporaryDirectory(prefix="vigie-fuzz-") as folder:
            seeds(Path(folder))
            command = [sys.executable, *sys.argv, "--corpus", folder]
            return subprocess.run(
                command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, check=False
            ).returncode
    checker = invariants.Checker(corpus.RECEIPT_MS)
    arguments = [
        f"-runs={chosen.runs}",
        f"-seed={chosen.seed}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={chosen.corpus}/",
    ]
    atheris.Setup([sys.argv[0], *arguments, str(chosen.corpus)], lambda octets: one(checker, octets))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
