"""The right to work on a partition: one worker at a time has it, for as long as it says that it is alive.

Each time it is taken it has a greater token. A worker that stood still for longer than the lease lasts comes back with
an old token: the log, the checkpoints and the queue do not take what it writes.
"""

import time
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from ingest.streams import scripts
from ingest.streams.log import LOG, lease_of, stream_of
from ingest.streams.server import Client, explain

__all__ = ["Lease", "LeaseLostError", "release", "take"]


class LeaseLostError(Exception):
    """Another worker has, or may have, the partition: nothing more may be written for it."""


@dataclass(slots=True)
class Lease:
    """A lease that was taken; times are of the monotonic clock."""

    partition: int
    token: int
    ttl_s: float
    name: str
    client: Client
    until_s: float = field(default=0.0)

    @property
    def key(self) -> str:
        """Name of its key."""
        return lease_of(self.partition)

    def check(self) -> None:
        """Do nothing while the lease certainly holds.

        Raises
        ------
        LeaseLostError
            It was lost, or was not renewed in time.
        """
        if time.monotonic() >= self.until_s:
            msg = f"{self.name} partition {self.partition}: the lease with token {self.token} was not renewed in time"
            raise LeaseLostError(msg)

    def keep(self, at: int | None) -> None:
        """Renew it, and say where the line is, if that is known.

        Raises
        ------
        LeaseLostError
            Another has it.
        LogError
            The server does not answer; it still holds until its time is over.
        """
        asked = time.monotonic()
        keep = self.client.register_script(scripts.KEEP)
        try:
            mine = keep(
                [LOG, self.key],
                [self.partition, self.token, round(1000 * self.ttl_s), "" if at is None else at],
            )
        except RedisError as error:
            raise explain(self.name, "renewing a lease", error) from error
        if not mine:
            self.until_s = 0.0
            msg = f"{self.name} partition {self.partition}: another worker took it from token {self.token}"
            raise LeaseLostError(msg)
        self.until_s = asked + self.ttl_s

    def commit(self, offset: int) -> None:
        """Acknowledge what is before `offset` in the partition: a checkpoint has it.

        Raises
        ------
        LogError
            The server does not answer.
        """
        commit = self.client.register_script(scripts.COMMIT)
        try:
            commit([self.key, stream_of(self.partition)], [self.token, offset])
        except RedisError as error:
            raise explain(self.name, "acknowledging", error) from error

    def leave(self) -> None:
        """Give it back, so that the next need not wait; if the server is away it ends by itself."""
        self.until_s = 0.0
        try:
            self.client.register_script(scripts.LEAVE)([self.key], [self.token])
        except RedisError:
            return


def take(client: Client, name: str, log_id: str, partition: int, who: str, ttl_s: float) -> Lease | str:
    """Take the lease of a partition.

    Parameters
    ----------
    client : Client
    name : str
        Of the log, for messages.
    log_id : str
        The log that is meant.
    partition : int
    who : str
        Shown to others who want it.
    ttl_s : float
        Seconds that it lasts without being renewed.

    Returns
    -------
    Lease or str
        The lease; or who has it.

    Raises
    ------
    LogError
        The server does not answer, or holds another log.
    """
    asked = time.monotonic()
    script = client.register_script(scripts.TAKE)
    try:
        held = script([LOG, lease_of(partition)], [log_id, partition, who, round(1000 * ttl_s)])
    except RedisError as error:
        raise explain(name, "taking a lease", error) from error
    if isinstance(held, bytes):
        return held.partition(b" ")[2].decode(errors="replace")
    return Lease(partition, int(held), ttl_s, name, client, asked + ttl_s)


def release(client: Client, name: str, partition: int, who: str) -> None:
    """Remove the lease of somebody who is known to be gone, if that is still who has it.

    Raises
    ------
    LogError
        The server does not answer.
    """
    try:
        client.register_script(scripts.RELEASE)([lease_of(partition)], [who])
    except RedisError as error:
        raise explain(name, "releasing a lease", error) from error
