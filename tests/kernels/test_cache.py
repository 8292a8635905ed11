"""An edited kernel is compiled anew, an unedited one is not: the key of Numba's cache."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import kernels

HELPER = '''\
"""A kernel that another module calls."""

from kernels._jit import jit

OFFSET = {offset}


@jit
def helper(x: float) -> float:
    return {factor} * x + OFFSET
'''

PROBE = '''\
"""A kernel whose own file does not change."""

from kernels._jit import jit
from kernels.probe_helper import helper


@jit
def probe(x: float) -> float:
    return helper(x)
'''

# One line of JSON: what the probe gave, and whether its machine code came from the cache.
RUN = """\
import json, kernels, numba
from kernels.probe import probe
value = probe(1.0)
print(json.dumps({
    "file": kernels.__file__,
    "hash": kernels.SOURCE_HASH,
    "value": value,
    "hits": sum(probe.stats.cache_hits.values()),
    "misses": sum(probe.stats.cache_misses.values()),
    "folder": numba.config.CACHE_DIR,
}))
"""


@dataclass(frozen=True)
class Run:
    file: str
    hash: str
    value: float
    hits: int
    misses: int
    folder: str


class Copy:
    """A copy of kernels/ with two modules more, run in a process of its own with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "src" / "kernels"
        shutil.copytree(
            Path(kernels.__file__).parent, self.sources, ignore=shutil.ignore_patterns("__pycache__")
        )
        (self.sources / "probe.py").write_text(PROBE)
        self.edit(factor=2, offset=0)

    def edit(self, *, factor: int, offset: int) -> None:
        (self.sources / "probe_helper.py").write_text(HELPER.format(factor=factor, offset=offset))

    def python(self, code: str, **environment: str) -> str:
        """Run `code` on the copy; the variables of Numba that are set outside do not reach it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        own = {"PYTHONPATH": str(self.sources.parent), "XDG_CACHE_HOME": str(self.folder / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=inherited | own | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, **environment: str) -> Run:
        result = Run(**json.loads(self.python(RUN, **environment)))
        assert Path(result.file).parent == self.sources, "the copy was run, not the installed kernels"
        return result


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_edited_helper_in_another_module_changes_the_result(copy: Copy) -> None:
    first = copy.run()
    assert (first.value, first.hits, first.misses) == (2.0, 0, 1)

    # The control: nothing edited, so the machine code of the first run is loaded.
    again = copy.run()
    assert (again.value, again.hits, again.misses) == (2.0, 1, 0)
    assert again.hash == first.hash

    copy.edit(factor=3, offset=0)
    edited = copy.run()
    assert edited.value == 3.0
    assert edited.hash != first.hash

    # A constant is frozen into machine code just as a helper is.
    copy.edit(factor=3, offset=10)
    assert copy.run().value == 13.0

    # Back to the first sources: their folder is still there.
    copy.edit(factor=2, offset=0)
    back = copy.run()
    assert (back.value, back.hits, back.hash) == (2.0, 1, first.hash)


def test_without_the_key_numba_would_run_old_code(copy: Copy) -> None:
    """The reason for the key; when Numba mends this, the key can go."""
    fixed = str(copy.folder / "fixed")
    assert copy.run(NUMBA_CACHE_DIR=fixed).value == 2.0
    copy.edit(factor=3, offset=0)
    stale = copy.run(NUMBA_CACHE_DIR=fixed)
    assert stale.folder == fixed, "NUMBA_CACHE_DIR is the operator's choice and stays"
    assert (stale.value, stale.hits) == (2.0, 1)


def test_cache_is_under_the_users_cache_folder(copy: Copy) -> None:
    run = copy.run()
    folder = Path(run.folder)
    assert folder.is_relative_to(copy.folder / "cache" / "vigie")
    assert run.hash in folder.name
    assert list(folder.rglob("*.nbi"))
    assert not list(copy.sources.rglob("*.nb[ic]")), "nothing is written beside the sources"


BOUNDS = """\
import numpy as np, kernels
from kernels.probe_bounds import item
try:
    print(item(np.zeros(8)[:3], 5))  # inside the allocation, outside the view
except IndexError:
    print("IndexError")
"""

PROBE_BOUNDS = '''\
"""A kernel that reads where it is told."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit


@jit
def item(values: npt.NDArray[np.float64], at: int) -> float:
    return values[at]
'''


def test_bounds_checks_are_not_lost_in_the_cache(copy: Copy) -> None:
    """Numba's own key leaves NUMBA_BOUNDSCHECK out: a warm cache would hand the fuzzer unchecked code."""
    (copy.sources / "probe_bounds.py").write_text(PROBE_BOUNDS)
    assert copy.python(BOUNDS) != "IndexError"
    assert copy.python(BOUNDS, NUMBA_BOUNDSCHECK="1") == "IndexError"
    assert copy.python(BOUNDS) != "IndexError"


def test_every_kernel_source_counts_in_the_hash() -> None:
    """The hash is taken over the files of kernels/ itself, so there is no folder below it."""
    folder = Path(kernels.__file__).parent
    assert not [path for path in folder.rglob("*.py") if path.parent != folder]


def test_hash_is_hexadecimal() -> None:
    assert len(kernels.SOURCE_HASH) == 16
    int(kernels.SOURCE_HASH, 16)
