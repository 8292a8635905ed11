"""What the interface says of itself is so: generated requests, legal and not, against a running service."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
PATHS = ["/v1/packets", "/v1/quarantine", "/healthz", "/readyz", "/metrics"]


@pytest.mark.parametrize(
    ("path", "mode"),
    # Where there is no parameter nothing can be wrong.
    [(path, mode) for path in PATHS for mode in MODES if path.startswith("/v1/") or mode is MODES[0]],
)
@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without"])
def test_every_operation_does_as_it_says(service, path, key, mode):
    schema = schemathesis.openapi.from_url(service.url + "/openapi.json")
    operation = schema[path]["POST" if path == "/v1/packets" else "GET"]
    headers = {"Authorization": f"Bearer {service.key()}"} if key else {}
    seen = set()

    @settings(max_examples=25, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case):
        response = case.call(headers=headers)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    conforms()
    assert seen
    if path.startswith("/v1/") and not key:
        assert seen <= {401, 422}


def test_it_is_the_interface_of_the_documentation(service):
    said = httpx.get(service.url + "/openapi.json", timeout=60).json()
    assert set(said["paths"]) == set(PATHS)
    assert said["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
