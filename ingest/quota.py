"""Quotas: how much each source may send, so that one cannot slow the others down.

Rates are kept as debts: what a body brought is owed, and time pays it off at the source's rate. A source may be a
few seconds' worth in debt; beyond that it is told how long to wait. So a burst after an outage passes, and a flood
does not.

A source most of whose packets are refused waits after each further body that is as bad, and goes on at once when
what it sends is good again.
"""

import math
from dataclasses import dataclass

from ingest.admission import Answer
from ingest.sources import Limits

__all__ = ["Quota"]

_BURST_S = 5.0
"""Seconds' worth that a source may send at once."""
_HALF_LIFE_S = 60.0
_ENOUGH = 500
"""Packets of late below which the share of refused ones says nothing."""
_PAUSE_S = 10.0


@dataclass(slots=True)
class Quota:
    """What one source has used. For one thread; times are seconds of a monotonic clock.

    Parameters
    ----------
    limits : Limits
    now_s : float
    """

    limits: Limits
    now_s: float
    requests_owed: float = 0.0
    packets_owed: float = 0.0
    bytes_owed: float = 0.0
    packets_lately: float = 0.0
    refused_lately: float = 0.0
    paused_until_s: float = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Give how long the source is to wait before it sends again; 0 where it may send now, which is then counted."""
        self._pass(now_s)
        limits = self.limits
        wait = max(
            self.requests_owed / limits.requests_per_s - _BURST_S,
            self.packets_owed / limits.packets_per_s - _BURST_S,
            self.bytes_owed / limits.bytes_per_s - _BURST_S,
            self.paused_until_s - now_s,
            0.0,
        )
        if wait <= 0:
            self.requests_owed += 1
        return wait

    def charge(self, size: int, answer: Answer) -> None:
        """Count a body of `size` bytes after decompression."""
        self.bytes_owed += size
        self.packets_owed += answer.packets
        self.packets_lately += answer.packets
        self.refused_lately += answer.refused
        if answer.refused > self.limits.quarantine_share * answer.packets:
            self._pause()

    def spoil(self) -> None:
        """Count a body that could not even be read: as if it had held many packets, all of them refused."""
        self.packets_lately += _ENOUGH
        self.refused_lately += _ENOUGH
        self._pause()

    def _pause(self) -> None:
        enough = self.packets_lately >= _ENOUGH
        if enough and self.refused_lately > self.limits.quarantine_share * self.packets_lately:
            self.paused_until_s = self.now_s + _PAUSE_S

    def _pass(self, now_s: float) -> None:
        passed = max(0.0, now_s - self.now_s)
        self.now_s = now_s
        limits = self.limits
        self.requests_owed = max(0.0, self.requests_owed - passed * limits.requests_per_s)
        self.packets_owed = max(0.0, self.packets_owed - passed * limits.packets_per_s)
        self.bytes_owed = max(0.0, self.bytes_owed - passed * limits.bytes_per_s)
        kept = math.exp2(-passed / _HALF_LIFE_S)
        self.packets_lately *= kept
        self.refused_lately *= kept
