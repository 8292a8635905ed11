"""The patient: alerts and why, what was done, curves, and who it is behind one click."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request
from starlette.responses import JSONResponse, Response

from engine.curves import Curve, sentence
from ingest.signals import by_code
from rules.drawn import levels
from rules.protocol import Protocol
from triage.people.person import PeopleError, Person
from triage.people.rights import Act
from triage.web.pages.queue import shown
from triage.web.site import Site
from triage.web.strip import strip
from triage.web.words import ACTIONS
from triage.work import lists, timeline
from triage.work.limits import Standing

__all__ = ["opening", "routes"]

Text = Annotated[str, Form(max_length=2000)]


def routes(site: Site) -> APIRouter:
    """Make the pages of a patient."""
    router = APIRouter(prefix="/patients/{patient}")

    def seen(request: Request, patient: str, act: Act = Act.SEE) -> tuple[Person, str]:
        person = site.allowed(request, act)
        cell = site.cell_of(patient)
        if not site.may_read(person, cell, patient):
            raise HTTPException(404)
        return person, cell

    @router.get("")
    def page(request: Request, patient: str) -> Response:
        person, cell = seen(request, patient)
        rows = lists.of_patient(site.store.engine, patient)
        if not rows and not site.knows(patient):
            raise HTTPException(404)
        site.seen(person, "patient seen", patient, cell)
        limits = site.limits(patient, cell)
        happened = [
            {
                "t_ms": each.t_ms,
                "actor": each.actor,
                "word": ACTIONS.get(each.action, ""),
                "kind": {"called": "call", "opened": "alert"}.get(each.action, ""),
                "details": each.details,
                "line": each.line,
            }
            for each in timeline.of_patient(site.store.engine, patient, rows)
        ]
        return site.page(
            "patient.html",
            person,
            patient=patient,
            cell=cell,
            rows=[shown(site, row, person) for row in rows],
            timeline=happened,
            counts=site.counts(person),
            identity=None,
            age=site.ages([patient]).get(patient),
            limits=limits,
            contacts=site.contacts(patient),
            changes=[
                (each, _limit(site, each.protocol, each.name)) for each in site.limit_desk.history(patient)
            ],
            limit_of=lambda protocol, name: _limit(site, protocol, name),
            ecg={
                row.line.id: [
                    (each["lead"], by_code(each["lead"]).label_fr, each["start_ms"]) for each in kept
                ]
                for row in rows
                if row.line.ended_ms is None and (kept := site.strips(row.line.id))
            },
            has_register=site.register is not None,
            curves=[
                (each.signal, sentence(each, site.now_ms(), site.zone), _levels(limits, each))
                for each in site.curves(patient)
            ],
        )

    @router.post("/identite")
    def identity(request: Request, patient: str, csrf: Text) -> Response:
        person, cell = seen(request, patient)
        site.checked(request, Act.SEE, csrf)
        if site.register is None:
            raise HTTPException(404)
        found = site.register.persons([patient], by=person.name)
        if patient not in found:
            raise HTTPException(404)
        site.seen(person, "identity seen", patient, cell)
        return site.page(
            "identity.html", person, patient=patient, who=found[patient][0], counts=site.counts(person)
        )

    @router.get("/courbes/{signal}.json")
    def curve(request: Request, patient: str, signal: str) -> Response:
        _, cell = seen(request, patient)
        found = [each for each in site.curves(patient) if each.signal.name == signal]
        if not found:
            raise HTTPException(404)
        curve = found[0]
        lines = [
            {
                "label": standing.limit.label,
                "unit": standing.limit.unit,
                "steps": [
                    [t_ms, value if math.isfinite(value) else None]
                    for t_ms, value in site.limit_desk.steps(patient, cell, protocol, standing.limit.name)
                ],
            }
            for protocol, standing in _levels(site.limits(patient, cell), curve)
        ]
        return JSONResponse(_plotted(curve) | {"limits": lines})

    @router.get("/ecg/{episode}/{lead}.json")
    def ecg(request: Request, patient: str, episode: str, lead: int) -> Response:
        person, _ = seen(request, patient)
        if site.line(person, episode).line.patient != patient:
            raise HTTPException(404)
        kept = [each for each in site.strips(episode) if each["lead"] == lead]
        if not kept:
            raise HTTPException(404)
        return JSONResponse(strip(kept[0]))

    return router


def opening(site: Site) -> APIRouter:
    """Make the page on which a patient of another cell is opened with a reason: break-glass."""
    router = APIRouter()

    @router.get("/ouvrir")
    def ask(request: Request) -> Response:
        person = site.allowed(request, Act.OPEN)
        return site.page("open.html", person, patient="", wrong="", counts=site.counts(person))

    @router.post("/ouvrir")
    def open_(request: Request, csrf: Text, patient: Text, reason: Text) -> Response:
        person = site.checked(request, Act.OPEN, csrf)
        patient = patient.strip().replace("\0", "")
        wrong = "" if site.knows(patient) else "Ce dossier n’existe pas."
        if not wrong:
            try:
                site.people.open_patient(person, patient, site.cell_of(patient), reason, site.wall_ms())
            except PeopleError as error:
                wrong = error.plain
        if wrong:
            return site.page(
                "open.html", person, 422, patient=patient, wrong=wrong, counts=site.counts(person)
            )
        return site.back(request, f"/patients/{patient}")

    return router


def _levels(limits: list[tuple[Protocol, list[Standing]]], curve: Curve) -> list[tuple[Protocol, Standing]]:
    """Give the limits that are levels of a curve's signal."""
    return [
        (protocol, standing)
        for protocol, standings in limits
        for standing in standings
        if standing.limit.name in levels(protocol, curve.signal.series)
        and (math.isfinite(standing.value) or standing.version)
    ]


def _limit(site: Site, protocol: str, name: str) -> tuple[str, str]:
    """Give label and unit of a limit; of one that is no longer there its name."""
    for each in site.protocols:
        if each.id == protocol and name in each.limits:
            return each.limits[name].label, each.limits[name].unit
    return name, ""


def _plotted(curve: Curve) -> dict[str, Any]:
    """Give what static/js/plots.js draws."""
    series = {
        "label": curve.signal.label_fr,
        "unit": curve.signal.unit_fr,
        "values": curve.value.tolist(),
        "late": curve.late.tolist(),
    }
    return {"t": curve.t_ms.tolist(), "series": [series], "gaps": [list(gap) for gap in curve.gaps()]}
