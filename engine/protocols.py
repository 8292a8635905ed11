"""Which protocols are in use: files, or names of those that are shipped, read with all that a protocol may name."""

from collections.abc import Sequence
from pathlib import Path

import rules
from engine.program import protocol_signals
from kernels.catalogue import STATISTICS
from rules.errors import Mistake, ProtocolError, close_names
from rules.protocol import Protocol, check_together, load, loads
from rules.template import filled

__all__ = ["begin", "find", "load_all", "load_candidates", "load_own", "shipped"]

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


def load_own(path: Path) -> Protocol:
    """Read a protocol that is the cell's own, to sign it.

    Raises
    ------
    ProtocolError
        With every mistake, or where it comes with Vigie: the next version would take its place.
    """
    if not path.exists() or path.resolve().parent == _SHIPPED.resolve():
        legal = "a file of your own: copy the shipped one, then sign the copy"
        what = "comes with Vigie" if path.exists() or str(path) in shipped() else "there is no such file"
        raise ProtocolError([Mistake(str(path), 0, "", what, legal)])
    return load(path, protocol_signals(), STATISTICS)


def begin(name: str, path: Path, title: str, line: str, problem: str) -> Path:
    """Write a small protocol to begin with.

    Parameters
    ----------
    name : str
        Its id.
    path : Path
        Where; nothing is there yet.
    title, line, problem : str
        As of `rules.template.filled`.

    Raises
    ------
    ProtocolError, ValueError
        A name or a text is not legal; nothing is written.
    FileExistsError
        There is something at `path`.
    """
    text = filled(name, title, line, problem)
    loads(text, str(path), protocol_signals(), STATISTICS)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def load_candidates(given: Sequence[str | Path], in_force: Sequence[Protocol]) -> list[Protocol]:
    """Read other versions of protocols in force.

    Raises
    ------
    ProtocolError
        With every mistake of the first file that has any, or where one is no other version of a protocol in force, is
        the second of one, or does not go together with the others.
    """
    out: list[Protocol] = []
    for each in given:
        candidate = load(find(each), protocol_signals(), STATISTICS)
        same = next((protocol for protocol in in_force if protocol.id == candidate.id), None)
        what = ""
        if same is None:
            what = f"{candidate.id} is not among the protocols in force"
        elif same.hash == candidate.hash:
            what = f"is the version of {candidate.id} that is in force"
        elif any(other.id == candidate.id for other in out):
            what = f"is a second candidate for {candidate.id}"
        if what:
            legal = f"one other version each of {', '.join(protocol.id for protocol in in_force)}"
            raise ProtocolError([Mistake(str(each), 0, "", what, legal)])
        check_together([candidate if protocol.id == candidate.id else protocol for protocol in in_force])
        out.append(candidate)
    return out


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
