"""Answers by idempotency key: a retry gets the answer of the first try, and is not logged again.

The newest are kept in memory. A retry that comes after they are forgotten (a restart, a hundred thousand requests)
is logged again and is harmless all the same: its packets are duplicates to the engine.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import blake2b

from ingest.admission import Answer
from ingest.server.door import TurnedDownError
from ingest.sources import Refusal

__all__ = ["MAX_KEY", "Once"]

MAX_KEY = 200
"""Characters of a key."""

_KEPT = 100_000


class Once:
    """For one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[bytes, asyncio.Future[Answer]]] = OrderedDict()

    async def do(self, source: str, key: str, data: bytes, take: Callable[[], Awaitable[Answer]]) -> Answer:
        """Take a body once; a request that comes while the first is under way waits for its answer.

        Raises
        ------
        TurnedDownError
            The key is not legal, or was used for another body. Whatever `take` raises comes out too, and then the key
            is free again.
        """
        if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
            message = f"Idempotency-Key: legal are 1 to {MAX_KEY} printable characters"
            raise TurnedDownError(422, Refusal.BAD_BODY, message)
        name = source, key
        digest = blake2b(data, digest_size=16).digest()
        known = self._kept.get(name)
        if known is not None:
            if known[0] != digest:
                message = "this Idempotency-Key was used for another body"
                raise TurnedDownError(422, Refusal.BAD_BODY, message)
            return await asyncio.shield(known[1])
        promise: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._kept[name] = digest, promise
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        try:
            answer = await take()
        except BaseException as error:
            self._kept.pop(name, None)
            if isinstance(error, Exception):
                promise.set_exception(error)
                promise.exception()  # looked at, should nobody else wait for it
            else:
                promise.cancel()
            raise
        promise.set_result(answer)
        return answer
