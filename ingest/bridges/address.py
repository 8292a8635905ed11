"""Where a bridge connects to, whom it trusts there, and what it says to be let in."""

import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ingest.bridges.errors import BridgeError

__all__ = ["address", "is_near", "secret", "trust"]


def address(url: str, named: str, ports: dict[str, int], *, path: bool = False) -> SplitResult:
    """Read an address, its port filled in.

    Raises
    ------
    BridgeError
        It is none, or holds a password. The message then does not hold the address.
    """
    legal = " or ".join(f"{scheme}://host:port" for scheme in ports)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        msg = f"{named}: this is no address; legal is {legal}"
        raise BridgeError(msg) from None
    if "@" in parts.netloc:
        msg = (
            f"{named}: a user or password in an address is refused, since lists of processes and the shell's history "
            "show it; give --username and --password-file for a broker, --key-file for the service"
        )
        raise BridgeError(msg)
    extra = parts.query or parts.fragment or (parts.path.strip("/") if not path else "")
    if parts.scheme not in ports or not parts.hostname or extra:
        msg = f"{named} {url}: legal is {legal}"
        raise BridgeError(msg)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts._replace(netloc=f"{host}:{port or ports[parts.scheme]}")


def is_near(where: SplitResult) -> bool:
    """Say whether an address is this machine itself, so that nobody on the way can read what is not encrypted."""
    host = str(where.hostname)
    return host in {"localhost", "::1"} or host.startswith("127.")


def secret(path: Path, what: str) -> str:
    """Read a key or password, one line, from a file.

    Raises
    ------
    BridgeError
        It is empty or more than a line. The message does not hold it.
    OSError
        It cannot be read.
    """
    text = path.read_text("utf-8").strip("\r\n")
    if not text or not text.isprintable():
        msg = f"{path}: this holds no {what}; legal is one line"
        raise BridgeError(msg)
    return text


def trust(ca: Path | None) -> ssl.SSLContext:
    """Make what checks certificates: with the system's authorities, or those of a file instead.

    Raises
    ------
    BridgeError
        The file holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        msg = f"{ca}: this holds no certificates in PEM"
        raise BridgeError(msg) from error
