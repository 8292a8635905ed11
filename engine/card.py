"""The reproducibility card of a result: what it rests on, such that whoever has the same gets the same.

Nothing of the machine is in it: no path, no time of day, no number of threads. A file is known by what it holds.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from engine.load import Loaded
from ingest.formats import find_paths
from ingest.log import Entry, LogReader
from kernels import SOURCE_HASH

__all__ = ["LogHash", "file_hash", "input_hash", "made_with", "plain_command", "protocols_of", "write_card"]

_LIBRARIES = ("numpy", "numba", "scipy", "polars", "pyarrow", "tzdata")
"""Those whose version can change a figure or the bytes of a file."""

_DIGEST = 16
_LOG_BYTES = 8 << 20
_LOG_ENTRIES = 4096

_WITHOUT_VALUE = {"--resume", "--no-queue"}
_WITH_VALUE = {"--out", "--kept", "--keep", "--shards"}
"""Options that change no alert."""

_ZONE = "--zone"  # Europe/Paris is no path


def made_with() -> dict[str, object]:
    """Say which Vigie and which libraries make a result."""
    return {
        "vigie": version("vigie"),
        "kernels": SOURCE_HASH,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def protocols_of(loaded: Loaded) -> list[dict[str, str]]:
    """Name the protocols by what they are."""
    return [{"id": each.id, "version": each.version, "hash": each.hash} for each in loaded.program.protocols]


def input_hash(paths: Sequence[Path]) -> str:
    """Hash what files hold, in the order in which they are read, whatever they are called.

    Raises
    ------
    FormatError, OSError
        A path is missing or cannot be read.
    """
    found = find_paths(paths)
    digest = hashlib.blake2b(digest_size=_DIGEST)
    # A record's samples are beside its header, in files of the same name.
    for part in (*found.tables, *(part for path in found.records for part in _beside(path))):
        digest.update(file_hash(part).encode())
    return digest.hexdigest()


def _beside(path: Path) -> list[Path]:
    return sorted(each for each in path.parent.iterdir() if each.stem == path.stem and each.is_file())


def file_hash(path: Path) -> str:
    """Hash what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).hexdigest()


class LogHash:
    """Hash of a log's entries: of what came, and not of how SQLite keeps it, in its file or in the WAL."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=_DIGEST)

    def add(self, entries: Sequence[Entry]) -> None:
        """Take the next entries, in their order; their checksums were looked at when they were read."""
        for entry in entries:
            said = f"{entry.offset} {entry.receipt_ms} {entry.source} {len(entry.body)}\n"
            self._digest.update(said.encode() + entry.body)

    def add_from(self, log: LogReader, first: int, end: int) -> None:
        """Read and take the entries from `first` to before `end`."""
        while first < end and (entries := log.read(first, _LOG_BYTES, min(_LOG_ENTRIES, end - first))):
            self.add(entries)
            first = entries[-1].offset + 1

    def __str__(self) -> str:
        return self._digest.hexdigest()


def plain_command(command: Sequence[str]) -> str:
    """Write a command without what is of the machine: paths by their last part, and no options that change nothing."""
    out: list[str] = []
    words = iter(command)
    option = ""
    for word in words:
        name, sign, value = word.partition("=") if word.startswith("--") else (option, "", word)
        if name in _WITH_VALUE:
            if not sign:
                next(words, None)
        elif word not in _WITHOUT_VALUE:
            short = value if name == _ZONE else Path(value).name or value
            out.append(f"{name}{sign}{short}" if word.startswith("--") else short)
        option = name if word.startswith("--") and not sign else ""
    return shlex.join(out)


def write_card(card: dict[str, object], path: Path) -> None:
    """Write the card as JSON."""
    path.write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
