"""The pages of the demonstration: two cells, accounts for who tries them, and the clock of its patients.

Who is signed in stays so by the machine's clock, however fast that of the patients runs.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.config import load
from engine.enrolment import Enrolled
from engine.protocols import load_all, shipped
from engine.workshop import Source, Workshop
from triage.people import seal
from triage.people.accounts import People
from triage.people.administration import NewAccount
from triage.people.person import PeopleError, Refused, Role
from triage.store import Store
from triage.web.serving import served
from triage.web.site import Site
from triage.work import cells

__all__ = ["ACCOUNTS", "Shown", "pages"]

NORD, SUD = "Cellule Nord", "Cellule Sud"

ACCOUNTS: Final = (
    NewAccount("marie", Role.NURSE, (NORD,), "Marie Dupont"),
    NewAccount("paul", Role.NURSE, (NORD,), "Paul Leroy"),
    NewAccount("luc", Role.NURSE, (SUD,), "Luc Garnier"),
    NewAccount("dr.petit", Role.CARDIOLOGIST, (NORD, SUD), "Dr Anne Petit"),
    NewAccount("dr.roy", Role.CARDIOLOGIST, (NORD,), "Dr Jean Roy"),
    NewAccount("admin", Role.ADMINISTRATOR, (), "Administration"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """Where the pages are, and how to come in."""

    address: str
    password: str

    def __str__(self) -> str:
        """Say it to who runs the demonstration."""
        names = ", ".join(account.name for account in ACCOUNTS)
        return f"Pages: {self.address}   accounts: {names}   password of each: {self.password}"


@contextmanager
def pages(store: Store, folder: Path, patients: Sequence[str], now_ms: Callable[[], int]) -> Iterator[Shown]:
    """Serve the pages until the end of the block, at the configured port or, where that is taken, at any.

    Parameters
    ----------
    store : Store
        The queue of the demonstration.
    folder : Path
        Holds ``history``.
    patients : sequence of str
        Of whom every third is in the second cell.
    now_ms : callable
        The clock of the patients, ms UTC, which may run faster than ours.
    """
    enrolled = {
        patient: Enrolled(tuple(shipped()), SUD if i % 3 == 2 else NORD) for i, patient in enumerate(patients)
    }
    cells.take(store.engine, enrolled)
    people = People(store.engine, seal.load(folder / "web.key"), second_required=False)
    password = f"demo-{secrets.token_hex(4)}"
    for account in ACCOUNTS:
        _enter(people, account, password)
    settings, _ = load()
    with ExitStack() as stack:
        source = Source(folder / "log", folder / "workshop", tuple(shipped()))
        site = Site(
            store,
            people,
            tuple(load_all(list(shipped()))),
            history=folder / "history",
            now_ms=now_ms,
            workshop=stack.enter_context(closing(Workshop(source))),
        )
        try:
            at = stack.enter_context(served(site, settings))
        except OSError:
            at = stack.enter_context(served(site, settings.model_copy(update={"web_port": 0})))
        yield Shown(at.address, password)


def _enter(people: People, account: NewAccount, password: str) -> None:
    """Make an account with a password of its own, as its person would at the first sign-in."""
    now_ms = time.time_ns() // 1_000_000
    try:
        once = people.create(account, "shell:demo", now_ms)
    except PeopleError:
        return  # the folder was used before
    came = people.sign_in(account.name, once, "", now_ms)
    if isinstance(came, Refused):
        raise TypeError(came.plain)
    people.set_password(came.person, once, password, now_ms)
