"""A key that is not in the database, and what is sealed with it: secrets of second factors, cookies of a sign-in.

Who holds a copy of the database alone cannot compute anybody's codes. Fernet (AES-128-CBC with HMAC-SHA256) is used
as the cryptography package makes it.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from triage.people.person import PeopleError

__all__ = ["Seal", "load"]

MOST: Final = 8192
"""Characters of what is opened."""


class Seal:
    """Seals texts with the first of some keys, opens what any of them sealed.

    Parameters
    ----------
    keys : list of str
        Each 32 bytes in URL-safe base64. To change the key, put a new one before the others.
    """

    def __init__(self, keys: list[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            msg = "key: not 32 bytes in URL-safe base64, one a line, at least one line"
            raise ValueError(msg) from error

    def close(self, text: str) -> str:
        """Seal a text."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str, within_s: int | None = None) -> str:
        """Give the text back.

        Parameters
        ----------
        sealed : str
        within_s : int, optional
            How old it may be.

        Raises
        ------
        PeopleError
            Where it was not sealed with one of the keys, was changed, or is too old.
        """
        try:
            return self._fernet.decrypt(sealed[: MOST + 1].encode(errors="replace"), ttl=within_s).decode()
        except InvalidToken as error:
            raise PeopleError(
                "sealed text: not sealed with this key, changed, or too old",
                "Cette demande n’est plus valable. Recommencez.",
            ) from error


def load(file: Path) -> Seal:
    """Read the keys of a file; make the file, with a key, where there is none.

    Raises
    ------
    PermissionError
        Where others than the owner may read or write it.
    ValueError
        Where it holds no keys.
    """
    if not file.exists():
        # Written whole before it has its name: of several processes that begin at once, one key is everybody's.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as made:
            made.write(Fernet.generate_key() + b"\n")
            made.flush()
            os.fsync(made.fileno())
        with suppress(FileExistsError):
            file.hardlink_to(name)
        Path(name).unlink()
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        msg = f"{file}: mode {mode:o} lets others in; legal is 600: chmod 600 {file}"
        raise PermissionError(msg)
    try:
        return Seal(file.read_text(encoding="ascii").split())
    except ValueError as error:
        msg = f"{file}: {error}"
        raise ValueError(msg) from error
