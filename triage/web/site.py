"""The site: what all pages share. Who is asking, what they may do, how a page is written."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import HTTPException, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import select
from starlette.responses import HTMLResponse, RedirectResponse, Response

from engine import strips
from engine.backtest_outcomes import read_outcomes
from engine.contacts import Contact, contacts
from engine.curves import DAY_MS, Curve, curves
from engine.typography import French
from engine.workshop import Workshop
from ingest.signals import SIGNALS, Kind
from rules.explain import typeset
from rules.limits import LimitBook
from rules.protocol import Protocol
from triage import audit, database
from triage.audit import Deed
from triage.identity.register import Register
from triage.people.accounts import People
from triage.people.administration import Listed
from triage.people.oidc import OpenId
from triage.people.passwords import Attempts
from triage.people.person import Must, Person
from triage.people.rights import Act, may, reads
from triage.people.seal import Seal
from triage.store import Store
from triage.tables import Alert
from triage.web.words import Words, answered
from triage.work import lists
from triage.work.cells import cell_of
from triage.work.desk import Desk
from triage.work.limits import LimitDesk, Standing
from triage.work.lists import Counts, Filters, Row, View
from triage.work.proposals import Proposals
from triage.work.states import MoveError
from triage.work.tables import FOLLOWED

__all__ = ["COOKIE", "NotSignedInError", "Site", "home", "inside"]

COOKIE: Final = "vigie_session"

YEAR_MS: Final = 365 * DAY_MS
CONTACTS_MS: Final = 90 * DAY_MS
CURVES_MS: Final = 20_000
"""How long curves are kept for the plots of the page that has read them."""
CURVES: Final = 100
"""Patients whose curves are kept."""

SILENCE: Final = {"silence_h": "durée sans mesure", "after_h": "durée sans mesure, au plus"}
"""The figures of an alert for want of transmission (`engine.report`), which no protocol names."""

PLOTTED: Final = tuple(signal for signal in SIGNALS if signal.kind is Kind.SPOT)
"""Signals that a patient's page has a curve of, where there is a reading."""

_MUST = {
    Must.PASSWORD: "/compte/mot-de-passe",
    Must.ENROL: "/compte/second-facteur",
    Must.CODE: "/connexion/code",
}


class NotSignedInError(Exception):
    """Nobody is signed in, or something must be done first; `to` is where."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


@dataclass
class Site:
    """What the pages are made of.

    Parameters
    ----------
    store : Store
        The queue.
    people : People
    protocols : sequence of Protocol
        In force.
    zone : ZoneInfo
        Of times that are shown.
    history : Path, optional
        Folder of the readings.
    register : Register, optional
        Who the patients are; without it, pseudonyms only.
    book : LimitBook, optional
        Limits that persons set.
    sources : Path, optional
        File of the gateways that may send.
    openid : OpenId, optional
        The provider by which people may come in; then `seal` is needed too.
    seal : Seal, optional
        What is kept in a browser meanwhile is sealed with.
    https : bool
        Whether browsers reach it by HTTPS.
    now_ms : callable
        The clock of the cell, ms UTC: of its patients, of the work on lines, of what is shown.
    wall_ms : callable
        The clock of the machine, ms UTC: of sessions, lock-outs, second factors, tokens, links and openings. A
        demonstration runs its cell's time many times as fast, and nobody's session with it.
    programs : Attempts
        How often programs may ask: for each account, and in all.
    workshop : Workshop, optional
        Where limits are tried; there is none where the log is not a file of this machine.
    outcomes_file : Path, optional
        What became of patients, besides what closings say.
    candidates : sequence of Protocol
        Other versions of protocols in force, which run in the shadow.
    """

    store: Store
    people: People
    protocols: tuple[Protocol, ...] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Paris"))
    history: Path | None = None
    register: Register | None = None
    book: LimitBook | None = None
    sources: Path | None = None
    openid: OpenId | None = None
    seal: Seal | None = None
    https: bool = False
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    programs: Attempts = field(default_factory=lambda: Attempts(a_minute=1200, a_second=100, burst=2000))
    workshop: Workshop | None = None
    outcomes_file: Path | None = None
    candidates: tuple[Protocol, ...] = ()
    desk: Desk = field(init=False)
    proposals: Proposals = field(init=False)
    limit_desk: LimitDesk = field(init=False)
    words: Words = field(init=False)
    labels: dict[str, tuple[str, str]] = field(init=False)
    """French label and unit of each signal, and the question of each item of the questionnaires."""
    answers: dict[str, tuple[str, ...]] = field(init=False)
    """What the values 0, 1, 2 ... of an item stand for."""

    def __post_init__(self) -> None:
        """Make what follows from the rest."""
        self.desk = Desk(self.store.engine, self.now_ms)
        book = self.book or LimitBook(self.protocols)
        self.limit_desk = LimitDesk(self.store.engine, self.protocols, book, self.zone, self.now_ms)
        self.proposals = Proposals(self.store.engine, self.protocols, self.limit_desk, self.now_ms)
        self.words = Words(self.zone)
        self._curves: dict[str, tuple[int, list[Curve]]] = {}
        self._templates = Environment(
            loader=PackageLoader("triage.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            extensions=[French],
        )
        self._templates.filters.update(self.words.filters())
        self._titles = {protocol.id: protocol.title for protocol in self.protocols}
        self._templates.filters["protocol_title"] = lambda name: self._titles.get(name, name)
        self._templates.filters["rule_title"] = self.rule_title
        self._templates.filters["figure_label"] = self.figure_label
        items = [item for protocol in self.protocols for item in protocol.items.values()]
        self.labels = {signal.name: (signal.label_fr, signal.unit_fr) for signal in SIGNALS} | {
            item.name: (typeset(item.label), "") for item in items
        }
        self.answers = {item.name: item.choices for item in items}
        self._templates.filters["signal_label"] = lambda name: self.labels.get(name, (name, ""))[0]
        self._templates.filters["reading"] = self.reading

    # Who ---------------------------------------------------------------------------------------------------------

    def person(self, request: Request) -> Person:
        """Say who asks; for pages.

        Raises
        ------
        NotSignedInError
        """
        token = request.cookies.get(COOKIE, "")
        person = self.people.who(token, self.wall_ms()) if token else None
        if person is None:
            here = quote(_here(request))
            msg = f"/connexion?vers={here}"
            raise NotSignedInError(msg)
        if person.must is not None and request.url.path != _MUST[person.must]:
            raise NotSignedInError(_MUST[person.must])
        return person

    def allowed(self, request: Request, act: Act) -> Person:
        """Say who asks, where they may do this; else there is no such page."""
        person = self.person(request)
        if not may(person, act):
            raise HTTPException(404)
        return person

    def checked(self, request: Request, act: Act, csrf: str) -> Person:
        """Say who sends a form, where they may do this and the form is of their own session."""
        person = self.allowed(request, act)
        if not secrets.compare_digest(csrf.encode(errors="replace"), person.csrf.encode()):
            raise HTTPException(403, "Ce formulaire est d’une autre session : rechargez la page.")
        return person

    def line(self, person: Person, episode: str) -> Row:
        """Give a line that somebody may see; else there is none."""
        found = lists.row(self.store.engine, episode)
        # What is of another cell is looked for as long as what there is not: the time of the answer tells nothing.
        patient, cell = (found.line.patient, found.cell) if found is not None else ("", "")
        if not self.may_read(person, cell, patient) or found is None:
            raise HTTPException(404)
        return found

    def colleague(self, person: Person, episode: str, name: str) -> None:
        """Refuse who cannot be given a line: a colleague is of the patient's cell.

        Raises
        ------
        MoveError
        """
        cell = self.line(person, episode).cell
        if not any(
            each.name == name and cell in each.cells and each.disabled_ms is None
            for each in self.people.accounts()
        ):
            msg = "ce collègue ne voit pas ce patient"
            raise MoveError(msg)

    def colleagues(self, person: Person) -> list[Listed]:
        """Give who else works in one's cells."""
        return [
            each
            for each in self.people.accounts()
            if each.disabled_ms is None and each.name != person.name and set(each.cells) & set(person.cells)
        ]

    def may_read(self, person: Person, cell: str, patient: str) -> bool:
        """Say whether somebody may see a patient: one of their cells, or opened with a reason."""
        if reads(person, cell, patient):
            return True
        return reads(person, cell, patient, self.people.openings(person, self.wall_ms()))

    def cell_of(self, patient: str) -> str:
        """Give a patient's cell."""
        with self.store.engine.connect() as connection:
            return cell_of(connection, patient)

    def seen(self, person: Person, action: str, subject: str, cell: str, **details: Any) -> None:  # noqa: ANN401 - JSON
        """Note that somebody saw something."""
        with database.writing(self.store.engine) as connection:
            audit.append(connection, self.now_ms(), [Deed(person.name, action, subject, cell, details)])

    @property
    def openid_name(self) -> str:
        """What people call the provider; "" where there is none."""
        return self.openid.name if self.openid is not None else ""

    # Of patients -------------------------------------------------------------------------------------------------

    def knows(self, patient: str) -> bool:
        """Whether there is such a patient: enrolled, or with an alert."""
        followed = select(FOLLOWED.c.patient).where(FOLLOWED.c.patient == patient)
        alerted = select(Alert.id).where(Alert.patient == patient).limit(1)
        with self.store.engine.connect() as connection:
            return any(connection.execute(query).first() is not None for query in (followed, alerted))

    def ages(self, patients: Sequence[str]) -> dict[str, int]:
        """Give the ages of patients, in years, where the register knows them. An age says of nobody who it is."""
        if self.register is None:
            return {}
        today = datetime.fromtimestamp(self.now_ms() / 1000, self.zone).date()
        return self.register.ages(patients, today)

    def curves(self, patient: str) -> list[Curve]:
        """Read a year of the curves of a patient: those signals of which there is anything."""
        if self.history is None or not self.history.exists():
            return []
        now_ms = self.now_ms()
        kept = self._curves.get(patient)
        if kept is None or not 0 <= now_ms - kept[0] < CURVES_MS:
            # The page and each of its plots ask at once: history is read for all of them together.
            kept = now_ms, curves(self.history, patient, PLOTTED, now_ms - YEAR_MS, now_ms + DAY_MS)
            if len(self._curves) >= CURVES:
                self._curves.clear()
            self._curves[patient] = kept
        return kept[1]

    def contacts(self, patient: str) -> list[Contact]:
        """Give what was last sent for a patient, of each kind, in the last months."""
        if self.history is None or not self.history.exists():
            return []
        now_ms = self.now_ms()
        return contacts(self.history, patient, now_ms - CONTACTS_MS, now_ms + DAY_MS)

    def last(self, patient: str) -> dict[int, float]:
        """Give a patient's last value of each signal, by its code."""
        return {curve.signal.code: float(curve.value[-1]) for curve in self.curves(patient)}

    def rule_title(self, rule: str, protocol: str) -> str:
        """Say what people call a rule; of one that is no longer there its id."""
        found = self.protocol(protocol)
        return rule if found is None else found.title_of(rule)

    def figure_label(self, name: str, protocol: str) -> str:
        """Say what a feature or a limit of an alert is; of one that is no longer there its name."""
        found = self.protocol(protocol)
        if found is None or name not in {*found.features, *found.limits}:
            return SILENCE.get(name, name)
        return found.figure(name).label

    def reading(self, value: float | None, signal: str) -> str:
        """Write a reading of a signal, or the answer to an item of a questionnaire."""
        return answered(value, self.labels.get(signal, ("", ""))[1], self.answers.get(signal, ()))

    def protocol(self, name: str) -> Protocol | None:
        """Give a protocol in force."""
        return next((each for each in self.protocols if each.id == name), None)

    def limits(self, patient: str, cell: str) -> list[tuple[Protocol, list[Standing]]]:
        """Give, for each protocol of a patient, each limit in force."""
        with self.store.engine.connect() as connection:
            programmes = connection.scalar(select(FOLLOWED.c.programmes).where(FOLLOWED.c.patient == patient))
        followed = [each for each in self.protocols if programmes is None or each.id in programmes["ids"]]
        return [(each, self.limit_desk.in_force(patient, cell, each)) for each in followed]

    def strips(self, episode: str) -> list[dict[str, Any]]:
        """Give the strips of ECG that an alert has kept: rows of `engine.strips.SCHEMA`."""
        if self.history is None:
            return []
        return list(strips.read(self.history, alert_id=episode).iter_rows(named=True))

    def outcomes(self) -> tuple[tuple[str, int, str], ...]:
        """Give (patient, time in ms UTC, kind) of the file of outcomes. Raises OutcomeError, OSError."""
        if self.outcomes_file is None:
            return ()
        return tuple(read_outcomes(self.outcomes_file).iter_rows())

    # Pages -------------------------------------------------------------------------------------------------------

    def page(self, template: str, person: Person | None, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401 - for the template
        """Write a page."""
        return HTMLResponse(self.text(template, person, **values), status)

    def text(self, template: str, person: Person | None, **values: Any) -> str:  # noqa: ANN401 - for the template
        """Write a page, or a part of one, as text."""
        now_ms = self.now_ms()
        common: dict[str, Any] = {
            "person": person,
            "now_ms": now_ms,
            "zone": self.zone.key,
            "words": self.words,
            "View": View,
            "Act": Act,
            "may": may,
            "home": home,
            "to_sign": self.proposals.to_sign(person.cells, person.name)
            if person and may(person, Act.SIGN)
            else 0,
        }
        return self._templates.get_template(template).render(common | values)

    def counts(self, person: Person) -> Counts:
        """Count what waits for somebody."""
        return lists.counts(self.store.engine, Filters(View.WAITING, person.cells, person.name))

    def back(self, request: Request, to: str = "") -> Response:
        """Send somebody on after a form: to where they came from, within the site."""
        return RedirectResponse(inside(to or request.headers.get("referer", ""), request), 303)


def _here(request: Request) -> str:
    if request.method != "GET":
        # What a form was sent to is no page: the one that it was on is.
        return inside(request.headers.get("hx-current-url") or request.headers.get("referer", ""), request)
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def inside(given: str, request: Request) -> str:
    """Give a path of this site; the first page where `given` is of another."""
    base = str(request.base_url)
    path = "/" + given.removeprefix(base) if given.startswith(base) else given
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def home(person: Person) -> str:
    """Give the page on which somebody begins."""
    if may(person, Act.SEE):
        return "/file"
    return "/administration/comptes" if may(person, Act.ACCOUNTS) else "/administration/protocoles"
