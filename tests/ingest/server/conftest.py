"""Lets these tests use the running service beside them: with importlib mode no test folder is on the path."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    from running_service import running

    with running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def run_service(tmp_path):
    """Give a way to run a service with settings of one's own."""
    from running_service import running

    return lambda **settings: running(tmp_path, **settings)
