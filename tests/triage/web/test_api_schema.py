"""Schemathesis over the whole interface, by the programs of two cells: it is as described, and nothing crosses."""

import itertools
from collections import Counter
from typing import NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from triage.people.administration import NewAccount
from triage.people.person import Role, Scope
from triage.work.proposals import Change

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HEART = "insuffisance_cardiaque"
MARKS = {"Nord": "NORDS-SENTENCE-4711", "Sud": "SUDS-SENTENCE-4712"}
QUIET = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


FIGURES = {
    "alerts": 3, "rouge": 1, "orange": 2, "load": 0.5, "outcomes": 2, "caught": 1, "sensitivity": 0.5,
    "ppv": None, "minutes": 12.0, "nurses": 1, "never": 0.5,
}  # fmt: skip
STUDY = {
    "figures": {"base": FIGURES, "changed": FIGURES}, "since_ms": 0, "until_ms": 86_400_000, "patients": 2,
    "enrolled": 3, "gained": 0, "lost": 0, "card": {},
}  # fmt: skip


class Cell(NamedTuple):
    """What a cell has."""

    token: str
    ids: list
    patients: tuple
    numbers: list
    mark: str


@pytest.fixture(scope="module")
def cells(site):
    """Lines and proposals of both cells, and a token of a cardiologist of each: by the name of the cell."""
    now = site.site.now_ms()
    site.site.people.create(
        NewAccount("dr.blanc", Role.CARDIOLOGIST, ("Sud",), "Dr Léa Blanc"), "shell:test", now
    )
    out = {}
    for cell, name, patients in (("Nord", "dr.roy", ("P7", "P9")), ("Sud", "dr.blanc", ("P8", "P11"))):
        token = site.site.people.make_token(name, "schema", Scope.WORK, 1, "shell:test", now)
        ids = [site.opened(each, sentence=MARKS[cell]) for each in patients]
        numbers = [
            site.site.proposals.propose(
                cell, HEART, [Change("gain_3d_kg", 2.0, value)], MARKS[cell], "dr.petit", STUDY, MARKS[cell]
            )
            for value in (1.5, 1.25)
        ]
        out[cell] = Cell(token, ids, patients, numbers, MARKS[cell])
    return out


@pytest.fixture(scope="module")
def schema(site):
    return schemathesis.openapi.from_url(f"{site.address}/api/v1/openapi.json")


def nothing_of(other, answer, asked=()):
    assert other.mark not in answer.text
    # An id that was sent may be said back, as any text would.
    assert not any(episode in answer.text for episode in other.ids if episode not in str(asked))


def test_it_says_what_may_go_wrong_everywhere_and_has_examples(schema):
    """Every operation: its errors, each with an example; a body has one; names are of one operation."""
    names = Counter()
    for path, operations in schema.raw_schema["paths"].items():
        for method, operation in operations.items():
            names[operation["operationId"]] += 1
            assert operation["summary"], path
            wanted = {"401", "403", "422", "429", "500"} | ({"404"} if "{" in path else set())
            wanted |= {"409"} if method == "post" else set()
            assert wanted <= set(operation["responses"]), (method, path)
            for status, answer in operation["responses"].items():
                if status >= "400":
                    assert answer["content"]["application/json"]["example"]["message"], (path, status)
            if method == "post":
                assert operation["requestBody"]["content"]["application/json"]["example"], path
    assert set(names.values()) == {1}
    assert len(names) > 35


@pytest.mark.parametrize(("mine", "others"), [("Nord", "Sud"), ("Sud", "Nord")])
def test_anything_that_is_described_is_answered_as_it_says_and_shows_nothing_of_others(
    site, schema, cells, mine, others
):
    theirs, ours = cells[others], cells[mine]
    ids = itertools.cycle([*theirs.ids, ours.ids[0], None])
    persons = itertools.cycle([*theirs.patients, ours.patients[0], None])
    numbers = itertools.cycle([*theirs.numbers, *ours.numbers, None])
    seen, reached = Counter(), Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=8, phases=[Phase.generate], **QUIET)
        @given(case=operation.as_strategy())
        def conforms(case):
            case.query = {k: v for k, v in (case.query or {}).items() if k != "wait"}
            # What it draws is never there: mostly it is something that is, of this cell or the other.
            for name, there in (
                ("episode", next(ids)),
                ("patient", next(persons)),
                ("number", next(numbers)),
                ("protocol", HEART),
            ):
                if name in (case.path_parameters or {}) and there is not None:
                    case.path_parameters[name] = there
            answer = case.call(
                base_url=f"{site.address}/api/v1", headers={"Authorization": f"Bearer {ours.token}"}
            )
            seen[answer.status_code] += 1
            reached[case.operation.path, answer.status_code] += 1
            nothing_of(cells[others], answer, (case.body, case.query))
            case.validate_response(answer, checks=CHECKS)

        conforms()
    assert seen[404] > 30
    assert seen[200] > 30
    assert seen[500] == 0
    # Else a wall could be a path that leads nowhere.
    assert reached["/proposals/{number}", 200] > 0
    assert reached["/proposals/{number}", 404] > 0
    assert reached["/proposals/{number}/trial", 200] > 0


@pytest.mark.parametrize(("mine", "others"), [("Nord", "Sud"), ("Sud", "Nord")])
def test_from_a_list_to_its_lines_and_back_again(site, schema, cells, mine, others):
    """Answers lead to requests: a line of the list, its log, its moves with the version that was seen."""
    token = cells[mine].token
    happened = Counter()

    class Machine(schema.as_state_machine()):
        def get_call_kwargs(self, case):
            case.query = {k: v for k, v in (case.query or {}).items() if k != "wait"}
            return {"headers": {"Authorization": f"Bearer {token}"}}

        def validate_response(self, response, case, additional_checks=(), **_kwargs):
            happened[case.operation.path, response.status_code] += 1
            nothing_of(cells[others], response, (case.body, case.query, case.path_parameters))
            case.validate_response(response, checks=CHECKS)

    Machine.run(settings=settings(max_examples=15, stateful_step_count=8, phases=[Phase.generate], **QUIET))
    lines = sum(count for (path, status), count in happened.items() if "{episode}" in path and status == 200)
    assert lines > 0
