"""A patient's limit: what is in force, its changes, and the cardiologist's form to change it."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from starlette.responses import Response

from rules.protocol import Protocol
from rules.table import source_text
from triage.people.person import Person
from triage.people.rights import Act, may
from triage.web.site import Site
from triage.work.limits import Standing, number
from triage.work.states import MoveError

__all__ = ["NOT_YOURS", "routes"]

NOT_YOURS = "Seul un cardiologue change une limite."

Text = Annotated[str, Form(max_length=2000)]
Version = Annotated[int, Form(ge=0)]


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter(prefix="/patients/{patient}/limites/{protocol}/{name}")

    def found(person: Person, patient: str, protocol: str, name: str) -> tuple[Protocol, Standing]:
        """Give a limit of a patient that somebody may change; else there is none, or they are told who may."""
        cell = site.cell_of(patient)
        if not site.may_read(person, cell, patient) or not site.knows(patient):
            raise HTTPException(404)
        if not may(person, Act.LIMITS):
            raise HTTPException(403, NOT_YOURS)
        for each, standings in site.limits(patient, cell):
            for standing in standings:
                if (each.id, standing.limit.name) == (protocol, name):
                    return each, standing
        raise HTTPException(404)

    def page(
        person: Person,
        patient: str,
        protocol: Protocol,
        standing: Standing,
        given: dict[str, str],
        wrong: str,
    ) -> Response:
        changes = [
            each
            for each in site.limit_desk.history(patient)
            if (each.protocol, each.name) == (protocol.id, standing.limit.name)
        ]
        return site.page(
            "limit.html",
            person,
            422 if wrong else 200,
            patient=patient,
            protocol=protocol,
            standing=standing,
            sources=[source_text(protocol, mark) for mark in standing.limit.mark.split()],
            changes=changes,
            given=given,
            wrong=wrong,
            counts=site.counts(person),
        )

    @router.get("")
    def ask(request: Request, patient: str, protocol: str, name: str) -> Response:
        person = site.allowed(request, Act.SEE)
        return page(person, patient, *found(person, patient, protocol, name), {}, "")

    @router.post("")
    def change(
        request: Request,
        patient: str,
        protocol: str,
        name: str,
        csrf: Text,
        value: Text = "",
        reason: Text = "",
        version: Version = 0,
        back: Text = "",
    ) -> Response:
        person = site.checked(request, Act.SEE, csrf)
        of, standing = found(person, patient, protocol, name)
        try:
            new = None if back else number(value, standing.limit)
            site.limit_desk.change(patient, of.id, name, new, reason, person.name, version=version)
        except MoveError as error:
            given = {"value": value, "reason": reason}
            of, standing = found(person, patient, protocol, name)
            return page(person, patient, of, standing, given, str(error))
        return site.back(request, f"/patients/{patient}")

    return router
