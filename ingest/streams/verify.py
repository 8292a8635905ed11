"""Reading a whole log on Redis, checking every checksum and that no offset is missing."""

from dataclasses import dataclass

from ingest.logfile import Damage
from ingest.streams.log import StreamLog
from ingest.streams.partition import PartitionLog

__all__ = ["StreamReport", "verify"]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What `verify` found."""

    name: str
    partitions: int
    first_offset: int
    """From here on no partition was trimmed."""
    next_offset: int
    intact: int
    damaged: tuple[Damage, ...]
    missing: int
    """Offsets from `first_offset` on that no partition has."""
    problems: tuple[str, ...]
    """Of the server's settings: what may be lost, not what is."""

    @property
    def ok(self) -> bool:
        """Whether every entry is there and is what was written."""
        return not self.damaged and not self.missing

    def __str__(self) -> str:
        head = f"{self.name}: {self.intact} intact entries in {self.partitions} partitions"
        lines = [f"{head}, next offset {self.next_offset}", *map(str, self.damaged), *self.problems]
        if self.missing:
            lines.append(f"{self.missing} offsets from {self.first_offset} on are missing")
        return "\n".join(lines)


def verify(url: str) -> StreamReport:
    """Read all that is there now; works beside intakes and workers.

    Raises
    ------
    LogError
        The server does not answer, or there is no log.
    """
    PartitionLog(url, 0).close()  # so that none is made where there is none
    with StreamLog(url) as log:
        until, partitions, problems = log.next_offset, log.partitions, tuple(log.problems)
        name = log.name
    damaged: list[Damage] = []
    intact = kept = first_offset = 0
    firsts = []
    for k in range(partitions):
        with PartitionLog(url, k) as part:
            firsts.append(part.first_offset)
    first_offset = max(firsts)
    for k in range(partitions):
        with PartitionLog(url, k) as part:
            at = part.first_offset
            while entries := part.read(at, damaged=damaged):
                mine = [entry.offset for entry in entries if entry.body and entry.offset < until]
                intact += len(mine)
                kept += sum(offset >= first_offset for offset in mine)
                at = entries[-1].offset + 1
                if at >= until:
                    break
    damaged = sorted(
        (each for each in damaged if each.first_offset < until), key=lambda each: each.first_offset
    )
    wrong = sum(each.first_offset >= first_offset for each in damaged)
    missing = until - first_offset - kept - wrong
    return StreamReport(name, partitions, first_offset, until, intact, tuple(damaged), missing, problems)
