"""Which protocols are in use: files, or names of those that are shipped, read with all that a protocol may name."""

from collections.abc import Sequence
from pathlib import Path

import rules
from engine.program import protocol_signals
from kernels.catalogue import STATISTICS
from rules.errors import Mistake, ProtocolError, close_names
from rules.protocol import Protocol, check_together, load

__all__ = ["find", "load_all", "shipped"]

_SHIPPED = Path(rules.__file__).parent / "protocols"


def shipped() -> dict[str, Path]:
    """Give the protocols that come with Vigie, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}


def find(given: str | Path) -> Path:
    """Give the file that `given` names: a path, or the name of a shipped protocol.

    Raises
    ------
    ProtocolError
        Where it is neither; the message lists the names that are.
    """
    path = Path(given)
    known = shipped()
    if path.exists() or path.suffix:
        return path
    if str(given) not in known:
        legal = f"a file, or a shipped protocol: {close_names(str(given), known)}"
        raise ProtocolError([Mistake(str(given), 0, "", "there is no such protocol", legal)])
    return known[str(given)]


def load_all(given: Sequence[str | Path]) -> list[Protocol]:
    """Read protocols and check that they go together.

    Raises
    ------
    ProtocolError
        With every mistake of the first file that has any, or what keeps the files from being used together.
    """
    loaded = [load(find(each), protocol_signals(), STATISTICS) for each in given]
    check_together(loaded)
    return loaded
