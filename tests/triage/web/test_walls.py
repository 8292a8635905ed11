"""Walls: what is another cell's is answered, on every route there is, as what there is not; and costs as much."""

import re
import threading
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy.event import listen, remove
from starlette.routing import Mount

from triage.people.person import Scope

THERE, NOWHERE = "P2", "P999"
NO_LINE = "0" * 16
OTHERS = {"live", "clockwork"}
"""Threads that ask of themselves."""

# What forms of the pages send besides; the interface for programs has an example of each body in its description.
FORMS = {
    "appel": {"outcome": "reached"},
    "avis": {"to": "samu", "note": "x"},
    "sourdine": {"until": "2099-01-01T10:00", "reason": "x"},
    "cloture": {"reason": "advice"},
    "rouvrir": {"reason": "x"},
    "confier": {"to": "paul"},
    "note": {"text": "x"},
    "prendre": {},
    "rendre": {},
    "identite": {},
    "saisie": {"weight": "82"},
    "{name}": {"value": "1,5", "reason": "poids sec", "version": "0"},
}
OF_NO_PATIENT = {
    "/q/{token}": "sealed: names nobody",
    "/file/{view}": "a list",
    "/administration/comptes/{name}/{act}": "an administrator's",
    "/static": "files",
    "/atelier/{protocol}": "of a cell: see test_workshop",
    "/atelier/{protocol}/essai": "of a cell",
    "/atelier/versions/{protocol}": "of a cell",
    "/atelier/{protocol}/proposer": "of a cell",
    "/atelier/propositions/{number}": "of a cell",
    "/atelier/propositions/{number}/essai.html": "of a cell",
    "/atelier/propositions/{number}/signer": "of a cell",
    "/atelier/propositions/{number}/{act}": "of a cell",
    "/api/v1/workshop/{protocol}": "of a cell: see test_api_workshop",
    "/api/v1/workshop/{protocol}/trial": "of a cell",
    "/api/v1/workshop/{protocol}/proposals": "of a cell",
    "/api/v1/proposals/{number}": "of a cell",
    "/api/v1/proposals/{number}/trial": "of a cell",
    "/api/v1/proposals/{number}/shadow": "of a cell",
    "/api/v1/proposals/{number}/sign": "of a cell",
    "/api/v1/proposals/{number}/refuse": "of a cell",
    "/api/v1/proposals/{number}/withdraw": "of a cell",
    "/api/v1/proposals/{number}/take-back": "of a cell",
}


def all_routes(routes, prefix=""):
    for found in iter_route_contexts(routes):
        route = found.original_route
        if isinstance(route, Mount):
            if isinstance(route.app, FastAPI):
                yield from all_routes(route.app.routes, prefix + route.path)
            continue
        for method in sorted(set(found.methods) - {"HEAD"}):
            yield method, prefix + found.path


def named(application):
    """Give (method, path) of each route that names something, but for those of no patient."""
    found = {pair for pair in all_routes(application.routes) if "{" in pair[1]}
    return sorted((m, p) for m, p in found if p not in OF_NO_PATIENT)


@pytest.fixture(scope="module")
def walked(site):
    return named(site.application)


@pytest.fixture(scope="module")
def tokens(site):
    now = site.site.now_ms()
    return {
        name: site.site.people.make_token(name, "walls", Scope.WORK, 1, "shell:test", now)
        for name in ("marie", "luc")
    }


@contextmanager
def asked(site):
    """Collect what is asked of the database meanwhile, but for what goes on without anybody."""
    said = []

    def note(_connection, _cursor, statement, *_):
        if threading.current_thread().name not in OTHERS:
            said.append(statement)

    listen(site.queue.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        remove(site.queue.engine, "before_cursor_execute", note)


@pytest.fixture
def still(site):
    """Let no minute pass meanwhile: once a minute the time of the last request is written."""
    at, before = site.site.now_ms(), (site.site.now_ms, site.site.wall_ms)
    site.site.now_ms = site.site.wall_ms = lambda: at
    yield
    site.site.now_ms, site.site.wall_ms = before


def filled(path, patient, line):
    values = {
        "patient": patient,
        "episode": line,
        "signal": "weight",
        "lead": "32",
        "protocol": "insuffisance_cardiaque",
    }
    last = path.rpartition("/")[2]
    values["name"] = "gain_3d_kg" if "limi" in path else "cloture"
    assert set(re.findall(r"{(\w+)}", path)) <= set(values), f"{path}: say here what it names"
    return re.sub(r"{(\w+)}", lambda found: values[found[1]], path), last


def examples(site):
    with httpx.Client(base_url=site.address, timeout=60) as client:
        paths = client.get("/api/v1/openapi.json").json()["paths"]
    return {
        (method.upper(), f"/api/v1{path}"): operation["requestBody"]["content"]["application/json"]["example"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }


def test_every_route_answers_what_is_anothers_as_what_there_is_not(site, walked, tokens, still):
    other = site.opened(THERE, problem="walls-all")
    bodies = examples(site)
    with site.client("marie") as pages, site.client() as program:
        program.headers["Authorization"] = f"Bearer {tokens['marie']}"
        csrf = site.csrf(pages)
        program.get("/api/v1/me")
        seen = 0
        for method, path in walked:
            answers = {}
            for name, patient, line in (("there", THERE, other), ("not", NOWHERE, NO_LINE)):
                url, last = filled(path, patient, line)
                if path.startswith("/api/"):
                    client = program
                    body = {"json": bodies[method, path]} if method == "POST" else {}
                else:
                    client = pages
                    body = {"data": {"csrf": csrf, **FORMS[last]}} if method == "POST" else {}
                with asked(site) as said:
                    answer = client.request(method, url, **body)
                answers[name] = (answer.status_code, answer.content, len(said))
                headers = {k: v for k, v in answer.headers.items() if k != "date"}
                answers[name] += (headers,)
            assert answers["there"] == answers["not"], (method, path)
            # What needs another role is refused before anything is looked for.
            assert answers["there"][0] == (
                403 if "/api/" in path and method == "POST" and "limits" in path else 404
            )
            assert answers["there"][2] > 0
            seen += 1
    assert seen > 35
    assert site.queue.episode(other).state == "new"


def test_the_same_requests_of_those_whose_patient_it_is_are_answered(site, walked, tokens):
    """Else the walls above could be of paths that lead nowhere."""
    other = site.opened(THERE, problem="walls-own")
    with site.client() as program:
        program.headers["Authorization"] = f"Bearer {tokens['luc']}"
        for method, path in walked:
            if method == "GET" and path.startswith("/api/") and "identity" not in path:
                url, _ = filled(path, THERE, other)
                assert program.get(url).status_code == 200, path


@pytest.mark.parametrize("path", ["/cell/figures", "/cell/hand-over"])
def test_another_cell_by_name_is_none(site, tokens, path):
    with site.client() as program:
        program.headers["Authorization"] = f"Bearer {tokens['marie']}"
        answers = [program.get(f"/api/v1{path}", params={"cell": cell}) for cell in ("Sud", "Nulle part")]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
        assert program.get(f"/api/v1{path}", params={"cell": "Nord"}).status_code == 200


def test_several_moves_say_of_anothers_line_what_they_say_of_none(site, tokens, still):
    other = site.opened(THERE, problem="walls-bulk")
    with site.client() as program:
        program.headers["Authorization"] = f"Bearer {tokens['marie']}"
        program.get("/api/v1/me")
        answers = []
        for line in (other, NO_LINE):
            moves = [{"do": "claim", "line": line, "version": 1}]
            with asked(site) as said:
                answer = program.post("/api/v1/moves", json={"moves": moves})
            answers.append((answer.status_code, answer.text.replace(line, "?"), len(said)))
    assert answers[0] == answers[1]
    assert '"kind":"unknown"' in answers[0][1]
    assert site.queue.episode(other).state == "new"
