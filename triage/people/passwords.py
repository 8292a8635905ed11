"""Passwords: what is a good one, their hashes, and how much of the processor hashing may take.

Argon2id is slow on purpose. Whoever sends many sign-ins would take the processor from nurses who are at work, so few
hashes are computed at once, few wait for that, and attempts are counted by name and in all before anything is computed.
"""

import secrets
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from triage.people.person import PeopleError

__all__ = ["LEAST", "MOST", "Attempts", "BusyError", "Passwords", "check", "invent"]

LEAST: Final = 12
MOST: Final = 256
"""Characters of a password."""

DIFFERENT: Final = 5
"""Characters that differ in it, at least."""

LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of a password that is given out: none that is taken for another when it is read aloud."""


class BusyError(Exception):
    """As many hashes are computed, and waited for, as are allowed."""


class Passwords:
    """Hashes of passwords, a few at a time.

    Parameters
    ----------
    hasher : PasswordHasher
        Its parameters are those of new hashes. One lane: a sign-in takes one core, however many there are.
    at_once : int
        Hashes computed at the same time.
    waiting : int
        Callers that may wait for one, each holding a thread.
    patience_s : float
        How long each waits.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        at_once: int = 1,
        waiting: int = 8,
        patience_s: float = 5.0,
    ) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=32_768, parallelism=1)
        self._computing = threading.BoundedSemaphore(at_once)
        self._inside = threading.BoundedSemaphore(at_once + waiting)
        self._patience_s = patience_s
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(32))

    def hash(self, password: str) -> str:
        """Hash a password.

        Raises
        ------
        BusyError
        """
        with self._turn():
            return self._hasher.hash(_normal(password))

    def verify(self, hashed: str | None, password: str) -> bool:
        """Say whether `password` is the one of `hashed`; where there is none, no, after as much work.

        Raises
        ------
        BusyError
        """
        with self._turn():
            try:
                self._hasher.verify(hashed or self._nobodys, _normal(password))
            except (VerificationError, InvalidHashError):
                return False
            return hashed is not None

    def stale(self, hashed: str) -> bool:
        """Say whether a hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(hashed)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._inside.acquire(blocking=False):
            raise BusyError
        try:
            if not self._computing.acquire(timeout=self._patience_s):
                raise BusyError
            try:
                yield
            finally:
                self._computing.release()
        finally:
            self._inside.release()


class Attempts:
    """How often may be tried, in this process: for each name, and in all.

    Parameters
    ----------
    a_minute : int
        For one name, and as many at once.
    a_second : float
        For all names.
    burst : int
        For all names at once: a team that comes to work.
    names : int
        That are remembered; the ones not tried for longest are forgotten first.
    clock_s : callable
        Seconds, of a clock that never jumps.
    """

    def __init__(
        self,
        a_minute: int = 10,
        a_second: float = 5.0,
        burst: int = 100,
        names: int = 10_000,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each = (a_minute / 60, float(a_minute))
        self._all = (a_second, float(burst))
        self._clock_s = clock_s
        self._names = names
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._left_of_all: tuple[float, float] | None = None

    def take(self, name: str) -> bool:
        """Count an attempt; False where it is one too many, and then it does not count."""
        with self._lock:
            now_s = self._clock_s()
            each = _refilled(self._left.pop(name, None), *self._each, now_s)
            whole = _refilled(self._left_of_all, *self._all, now_s)
            allowed = each >= 1 and whole >= 1
            self._left[name] = (each - allowed, now_s)
            self._left_of_all = (whole - allowed, now_s)
            if len(self._left) > self._names:
                self._left.popitem(last=False)
        return allowed


def check(password: str, name: str) -> None:
    """Refuse a password that is too easy.

    Raises
    ------
    PeopleError
    """
    normal = _normal(password)
    if not LEAST <= len(normal) <= MOST:
        raise PeopleError(
            f"password: {len(normal)} characters; legal are {LEAST} to {MOST}",
            f"Le mot de passe doit avoir de {LEAST} à {MOST} caractères : une phrase convient.",
        )
    if name.casefold() in normal.casefold():
        raise PeopleError(
            f"password: it holds the account's name {name}",
            "Le mot de passe ne doit pas contenir le nom du compte.",
        )
    if len(set(normal)) < DIFFERENT:
        raise PeopleError(
            f"password: fewer than {DIFFERENT} different characters",
            f"Le mot de passe doit avoir au moins {DIFFERENT} caractères différents.",
        )


def invent() -> str:
    """Make a password to be given out: 20 letters in groups of 5, 99 random bits."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(4))


def _normal(password: str) -> str:
    """One letter typed in two ways (é, or e and its accent) is one letter; what is beyond any length is cut off."""
    whole = password[: 4 * MOST].encode(errors="replace").decode()  # half a character is none
    return unicodedata.normalize("NFKC", whole)


def _refilled(left: tuple[float, float] | None, per_s: float, most: float, now_s: float) -> float:
    if left is None:
        return most
    amount, at_s = left
    return min(most, amount + (now_s - at_s) * per_s)
