"""Signal kernels: Numba on arrays, with no I/O, no clock and no object.

Importing this package fixes where Numba keeps compiled kernels, before any kernel is compiled. Numba's own
cache looks only at the file of the function that is called, so an edited helper or constant in another module
would leave the old machine code running. The cache folder is therefore named after Numba's version and a hash
of every kernel source: any edit is a new folder. ``NUMBA_CACHE_DIR``, when set, is left alone.
"""

import hashlib
import os
from pathlib import Path

import numba

__all__ = ["SOURCE_HASH"]


def _source_hash(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_FOLDER = Path(__file__).parent

SOURCE_HASH = _source_hash(_FOLDER)
"""Hash of all kernel sources, 16 hexadecimal digits: in ``--version``, in metrics and in each alert."""

if "NUMBA_CACHE_DIR" not in os.environ:
    _base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # Numba's own key leaves bounds checking out: code compiled without it would be run where it was asked for.
    _checked = "-boundscheck" if numba.config.BOUNDSCHECK else ""
    numba.config.CACHE_DIR = str(_base / "vigie" / f"numba-{numba.__version__}-{SOURCE_HASH}{_checked}")
