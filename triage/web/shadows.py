"""Shadows that have ended are kept by themselves: what is kept does not hang on whether, or when, somebody looks."""

import logging
import threading
from typing import Final

from engine.program import DAY_MS
from engine.workshop import DAYS, WorkshopError
from triage.web import proposed
from triage.web.site import Site
from triage.work.proposals import Proposal

__all__ = ["Keeper"]

_FIRST_MS: Final = 60_000
"""So long after its end a shadow is looked at first: the log has come as far by then."""
_AGAIN_MS: Final = 3_600_000

_LOGGER = logging.getLogger("vigie")


class Keeper:
    """Keeps what shadows found that have ended.

    A question to the workshop may take a minute or two, so it is put by a thread of its own: the clockwork, which
    looks, has lines to see to each second. Where it could not be answered or the log has not come as far, the next is
    put after as long again as the end is past, an hour at most: each reads the log anew.

    Parameters
    ----------
    site : Site
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._next_ms: dict[tuple[int, int], int] = {}
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Begin to keep the first that is due, where there is one and none is under way; returns at once."""
        if self._site.workshop is None or (self._thread is not None and self._thread.is_alive()):
            return
        each = self._due()
        if each is not None:
            self._thread = threading.Thread(target=self._keep, args=(each,), name="keeper", daemon=True)
            self._thread.start()

    def _due(self) -> Proposal | None:
        now_ms = self._site.now_ms()
        hashes = {protocol.id: protocol.hash for protocol in self._site.protocols}
        # The log has no more than these days; and by another version of the protocol nothing is told.
        for each in self._site.proposals.unkept(now_ms - DAYS * DAY_MS):
            until_ms = each.shadow_until_ms or 0
            place = each.id, until_ms
            if hashes.get(each.protocol) != each.protocol_hash:
                continue
            if now_ms >= self._next_ms.get(place, until_ms + _FIRST_MS):
                self._next_ms[place] = now_ms + min(now_ms - until_ms, _AGAIN_MS)
                return each
        return None

    def _keep(self, each: Proposal) -> None:
        try:
            proposed.keep_ended(self._site, each)
        except WorkshopError as error:
            _LOGGER.info("shadow of proposal %d not kept yet: %s", each.id, error)
        except Exception as error:  # noqa: BLE001 - the database is away: it is tried again
            _LOGGER.error("shadow of proposal %d not kept: %s", each.id, error)  # noqa: TRY400 - the message says it all
