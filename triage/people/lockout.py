"""How long an account is locked after wrong attempts."""

from typing import Final

__all__ = ["FIRST_MS", "FREE", "MOST_MS", "locked_until_ms"]

FREE: Final = 5
"""Wrong attempts from one lock to the next."""

FIRST_MS: Final = 15 * 60_000
MOST_MS: Final = 4 * 3_600_000
"""A longer lock would stop no guesser more and would keep a nurse out for her shift."""


def locked_until_ms(failures: int, now_ms: int) -> int:
    """Give until when an account is locked that has failed `failures` times since the last success, just now.

    Every fifth failure locks: for 15 minutes, then for twice as long each time, at most 4 hours.

    Returns
    -------
    int
        ms UTC; 0 where this failure locks nothing.
    """
    locks, rest = divmod(failures, FREE)
    if rest or not locks:
        return 0
    # Doubled at most ten times: failures may be any count.
    return now_ms + min(FIRST_MS << min(locks - 1, 10), MOST_MS)
