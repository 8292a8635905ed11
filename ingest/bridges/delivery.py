"""Sees to it that a body may be acknowledged: the service has it on its disk, or it lies in the bridge's quarantine."""

import asyncio
import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from ingest.bridges.errors import RefusedError
from ingest.bridges.sender import Sender

__all__ = ["Counts", "Delivery"]

_LOGGER = logging.getLogger("vigie.bridge")
_AGAIN_S = 5.0


@dataclass(slots=True)
class Counts:
    """Since the start."""

    taken: int = 0
    packets: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: int = 0

    def __str__(self) -> str:
        return (
            f"bodies: {self.taken:,} taken, {self.refused:,} refused and kept here; "
            f"packets: {self.packets:,} accepted, {self.duplicate:,} duplicate, "
            f"{self.quarantined:,} quarantined by the service"
        )


class Delivery:
    """Sends bodies, and keeps those that the service will never take.

    Parameters
    ----------
    sender : Sender
    quarantine : Path
        Folder of what was refused, made if it is not there, readable by its owner only.

    Raises
    ------
    OSError
        The folder cannot be made.
    """

    def __init__(self, sender: Sender, quarantine: Path) -> None:
        self._sender = sender
        self._quarantine = quarantine
        self.counts = Counts()
        quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def deliver(self, body: bytes, origin: str) -> None:
        """Return when a body may be acknowledged.

        Parameters
        ----------
        body : bytes
        origin : str
            Where it came from; stands in the quarantine and in no message.

        Raises
        ------
        KeyRefusedError
            The service does not take our key.
        """
        try:
            taken = await self._sender.send(body)
        except RefusedError as error:
            await self.refuse(body, origin, str(error))
            return
        self.counts.taken += 1
        self.counts.packets += taken.accepted
        self.counts.duplicate += taken.duplicate
        self.counts.quarantined += taken.quarantined

    async def refuse(self, body: bytes, origin: str, reason: str) -> None:
        """Keep a body in quarantine with its reason; it may be acknowledged when this returns."""
        path: Path | None = None
        while path is None:
            try:
                path = await asyncio.to_thread(keep, self._quarantine, body, origin, reason)
            except OSError as error:
                _LOGGER.error(  # noqa: TRY400 - the message says it all
                    "quarantine %s: %s; what the service refuses is not acknowledged", self._quarantine, error.strerror
                )  # fmt: skip
                await asyncio.sleep(_AGAIN_S)
        self.counts.refused += 1
        _LOGGER.warning("a body of %d bytes was refused: service %s; kept as %s", len(body), reason, path)


def keep(folder: Path, body: bytes, origin: str, reason: str) -> Path:
    """Write a body and beside it why it was refused; on the disk when this returns. The same body has the same name."""
    name = blake2b(body, digest_size=12).hexdigest()
    about = {
        "refused": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason,
        "origin": origin,
        "bytes": len(body),
    }
    path = folder / f"{name}.body"
    for each, data in (
        (path, body),
        (folder / f"{name}.json", json.dumps(about, ensure_ascii=False).encode()),
    ):
        draft = each.with_name(f".{each.name}.{os.getpid()}")
        with open(draft, "wb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(each)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return path
