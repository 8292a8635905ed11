"""Who may send, and how much, at this moment; and how a request is turned down."""

import math
from dataclasses import dataclass, field
from time import monotonic

from ingest.quota import Quota
from ingest.sources import Refusal, Source, Sources

__all__ = ["Door", "TurnedDownError"]

_SAID = {
    Refusal.NO_KEY: "no key; send the header Authorization: Bearer KEY",
    Refusal.WRONG_KEY: "there is no such key",
    Refusal.REVOKED: "this key is no longer good",
}


class TurnedDownError(Exception):
    """A request is turned down: the status, why (for metrics and the record), and how long to wait, if that helps."""

    def __init__(self, status: int, why: Refusal, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.why = why
        self.wait_s = wait_s

    @property
    def retry_after(self) -> int:
        """Whole seconds to wait; 0 where waiting does not help."""
        return math.ceil(self.wait_s)


@dataclass(slots=True)
class Door:
    """Tells sources by their keys, and holds each to its limits."""

    sources: Sources
    quotas: dict[str, Quota] = field(default_factory=dict)

    def tell(self, authorization: str) -> Source:
        """Give the source that a header ``Authorization`` belongs to.

        Raises
        ------
        TurnedDownError
            It belongs to none.
        """
        scheme, _, key = authorization.partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        found = self.sources.find(key)
        if isinstance(found, Refusal):
            self.sources.refused(self.sources.name_of(key), found)
            raise TurnedDownError(401, found, _SAID[found])
        return found

    def enter(self, authorization: str) -> Source:
        """Do as `tell`, and count the request.

        Raises
        ------
        TurnedDownError
            The source is unknown, or over its limits.
        """
        source = self.tell(authorization)
        wait = self.quota(source).wait_s(monotonic())
        if wait > 0:
            self.sources.refused(source.name, Refusal.TOO_MANY)
            message = "over a limit of this source; wait, then send again"
            raise TurnedDownError(429, Refusal.TOO_MANY, message, wait)
        return source

    def quota(self, source: Source) -> Quota:
        """Give the quota of a source; a changed limit holds from the next request on."""
        quota = self.quotas.get(source.name)
        if quota is None:
            quota = self.quotas[source.name] = Quota(source.limits, monotonic())
        quota.limits = source.limits
        return quota
