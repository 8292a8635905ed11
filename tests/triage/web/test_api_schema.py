"""Schemathesis over the whole interface, by the programs of two cells: it is as described, and nothing crosses."""

import itertools
from collections import Counter

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

from triage.people.person import Scope

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MARKS = {"Nord": "NORDS-SENTENCE-4711", "Sud": "SUDS-SENTENCE-4712"}
QUIET = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def cells(site):
    """Lines of both cells, and a token of a nurse of each: name of the cell to (token, ids)."""
    now = site.site.now_ms()
    out = {}
    for cell, name, patients in (("Nord", "marie", ("P7", "P9")), ("Sud", "luc", ("P8", "P11"))):
        token = site.site.people.make_token(name, "schema", Scope.WORK, 1, "shell:test", now)
        out[cell] = token, [site.opened(each, sentence=MARKS[cell]) for each in patients], patients
    return out


@pytest.fixture(scope="module")
def schema(site):
    return schemathesis.openapi.from_url(f"{site.address}/api/v1/openapi.json")


def nothing_of(other, answer, asked=()):
    _, ids, patients = other
    mark = MARKS["Sud" if patients[0] == "P8" else "Nord"]
    assert mark not in answer.text
    # An id that was sent may be said back, as any text would.
    assert not any(episode in answer.text for episode in ids if episode not in str(asked))


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
    token, own, patients = cells[mine]
    ids = itertools.cycle([*cells[others][1], own[0], None])
    persons = itertools.cycle([*cells[others][2], patients[0], None])
    seen = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=8, phases=[Phase.generate], **QUIET)
        @given(case=operation.as_strategy())
        def conforms(case):
            case.query = {k: v for k, v in (case.query or {}).items() if k != "wait"}
            # What it draws is never there: mostly it is something that is, of this cell or the other.
            for name, there in (("episode", next(ids)), ("patient", next(persons))):
                if name in (case.path_parameters or {}) and there is not None:
                    case.path_parameters[name] = there
            answer = case.call(
                base_url=f"{site.address}/api/v1", headers={"Authorization": f"Bearer {token}"}
            )
            seen[answer.status_code] += 1
            nothing_of(cells[others], answer, (case.body, case.query))
            case.validate_response(answer, checks=CHECKS)

        conforms()
    assert seen[404] > 30
    assert seen[200] > 30
    assert seen[500] == 0


@pytest.mark.parametrize(("mine", "others"), [("Nord", "Sud"), ("Sud", "Nord")])
def test_from_a_list_to_its_lines_and_back_again(site, schema, cells, mine, others):
    """Answers lead to requests: a line of the list, its log, its moves with the version that was seen."""
    token = cells[mine][0]
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
