"""Accounts: received = applied + duplicate + late + quarantined, for each source, at every moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ingest.columns import Batch, Quarantine
from ingest.reasons import Reason
from kernels.advance import APPLIED, DUPLICATE, LATE

__all__ = ["Account", "Accounts"]


@dataclass(slots=True)
class Account:
    """Packets of one source."""

    received: int = 0
    applied: int = 0
    duplicate: int = 0
    late: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)  # by reason

    @property
    def balanced(self) -> bool:
        """Whether every packet received is accounted for."""
        return self.received == self.applied + self.duplicate + self.late + sum(self.quarantined.values())


class Accounts:
    """Accounts of all sources; the counts of what came in and of what became of it are taken apart."""

    def __init__(self, by_source: Mapping[str, Account] | None = None) -> None:
        self.by_source: dict[str, Account] = dict(by_source or {})

    @classmethod
    def together(cls, several: "Iterable[Accounts]") -> "Accounts":
        """Add up the accounts of several lines."""
        out = cls()
        for accounts in several:
            for source, each in accounts.by_source.items():
                account = out.of(source)
                account.received += each.received
                account.applied += each.applied
                account.duplicate += each.duplicate
                account.late += each.late
                for reason, count in each.quarantined.items():
                    account.quarantined[reason] = account.quarantined.get(reason, 0) + count
        return out

    def of(self, source: str) -> Account:
        """Account of a source."""
        return self.by_source.setdefault(source, Account())

    def receive(self, batch: Batch, quarantine: Quarantine | None) -> None:
        """Count what came in, before anything is done with it."""
        refused = quarantine.source if quarantine is not None else np.empty(0, np.uint16)
        arrived = np.bincount(batch.source, minlength=len(batch.sources))
        arrived = arrived + np.bincount(refused, minlength=len(batch.sources))
        for source, count in zip(batch.sources, arrived.tolist(), strict=True):
            if count:
                self.of(source).received += count
        if quarantine is not None and len(quarantine):
            pairs, counts = np.unique(
                quarantine.source.astype(np.int64) << 8 | quarantine.reason, return_counts=True
            )
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
                reasons = self.of(batch.sources[pair >> 8]).quarantined
                name = Reason(pair & 255).name
                reasons[name] = reasons.get(name, 0) + count

    def settle(self, batch: Batch, rows: npt.NDArray[np.int64], outcome: npt.NDArray[np.uint8]) -> None:
        """Count what became of the packets of one shard."""
        pairs = np.bincount(
            batch.source[rows].astype(np.int64) * 4 + outcome, minlength=4 * len(batch.sources)
        )
        for index, source in enumerate(batch.sources):
            counts = pairs[4 * index : 4 * index + 4].tolist()
            if not any(counts):
                continue
            account = self.of(source)
            account.applied += counts[APPLIED]
            account.duplicate += counts[DUPLICATE]
            account.late += counts[LATE]

    @property
    def total(self) -> Account:
        """All sources together."""
        out = Account()
        for each in self.by_source.values():
            out.received += each.received
            out.applied += each.applied
            out.duplicate += each.duplicate
            out.late += each.late
            for reason, count in each.quarantined.items():
                out.quarantined[reason] = out.quarantined.get(reason, 0) + count
        return out

    @property
    def balanced(self) -> bool:
        """Whether every source's account balances."""
        return all(each.balanced for each in self.by_source.values())
