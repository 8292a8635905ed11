"""The Redis server of a log: its address, what it must be set to, and what its errors mean."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - of Redis; Python's is not used here
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - likewise
)
from redis.retry import Retry

from ingest.logfile import LogAwayError, LogDiskFullError, LogError
from ingest.streams.address import SCHEMES, is_address, shown

__all__ = ["Client", "checks", "connect", "explain"]

Client = Any
"""A `redis.Redis`. Its own types say of each answer that it may be anything, and awaitable too."""

_MEANING: list[tuple[str | type[RedisError], type[LogError], str]] = [
    (AuthenticationError, LogError, "the server refuses this user (the password, or an access rule)"),
    (NoPermissionError, LogError, "the server refuses this user (the password, or an access rule)"),
    (BusyLoadingError, LogAwayError, "the server is starting and reads its file"),
    (ReadOnlyError, LogAwayError, "the server is a replica and takes no write"),
    ("READONLY", LogAwayError, "the server is a replica and takes no write"),
    (OutOfMemoryError, LogDiskFullError, "the server's memory (maxmemory) is full"),
    ("OOM", LogDiskFullError, "the server's memory (maxmemory) is full"),
    ("MISCONF", LogDiskFullError, "the server cannot write its disk"),
    (ConnectionError, LogAwayError, "the server does not answer (cut, or too late)"),
    (TimeoutError, LogAwayError, "the server does not answer (cut, or too late)"),
]


def connect(url: str, timeout_s: float = 5.0) -> Client:
    """Make a client; it connects when it is first asked for something.

    Parameters
    ----------
    url : str
        ``redis://[user:password@]host:port/database``, ``rediss://...`` or ``unix:///path?db=0``.
    timeout_s : float
        Seconds that a connection or an answer may take.

    Raises
    ------
    ValueError
        It is no such address.
    """
    if not is_address(url):
        legal = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        msg = f"{shown(url)}: not the address of a Redis server; legal are {legal}"
        raise ValueError(msg)
    # No repetition by the library: whether an append that was cut came into the log is not known, and the sender
    # who sends it again is the one who must be told.
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def explain(name: str, doing: str, error: RedisError) -> LogError:
    """Turn an error of Redis into ours, which names the log, what was being done and what happened."""
    said = str(error)
    for sign, kind, meaning in _MEANING:
        if said.startswith(sign) if isinstance(sign, str) else isinstance(error, sign):
            return kind(f"{name}: {doing}: {meaning}" + (f": {said}" if meaning.endswith(")") else ""))
    if said.startswith("VIGIE "):  # of our own scripts; the server adds where in the script it was
        return LogError(f"{name}: {doing}: {said[6:].partition(' script:')[0]}")
    return LogError(f"{name}: {doing}: {said}")


def checks(client: Client) -> list[str]:
    """Say what of the server's settings lets it lose what it has acknowledged; nothing where they are right."""
    try:
        said = {name: str(client.config_get(name).get(name, "")) for name in _WANTED}
    except ResponseError:
        return ["the server does not show its settings (CONFIG): whether it is durable is not known"]
    problems = []
    if said["appendonly"] != "yes":
        problems.append(
            "appendonly is off: what was acknowledged is lost when the server ends; set appendonly yes"
        )
    elif said["appendfsync"] != "always":
        problems.append(
            f"appendfsync is {said['appendfsync']}: up to some seconds of what was acknowledged are lost when the "
            "machine ends; set appendfsync always"
        )
    if said["maxmemory-policy"] != "noeviction":
        problems.append(
            f"maxmemory-policy is {said['maxmemory-policy']}: the server may remove the log; set noeviction"
        )
    return problems


_WANTED = ("appendonly", "appendfsync", "maxmemory-policy")
