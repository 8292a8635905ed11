"""Real servers for the tests of bridges: the service, and Mosquitto where it is installed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "server"))

from mosquitto import Mosquitto, program

from bench.redis_server import free_port


@pytest.fixture
def broker(tmp_path):
    """A broker that keeps what it has over its own end; `make test` installs one where it can."""
    if program() is None:
        pytest.skip("no Mosquitto here: apt install mosquitto")
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def service(tmp_path):
    """A way to run the service, always on the same port and folder."""
    from running_service import running

    port = free_port()
    return lambda **settings: running(tmp_path, port=port, **settings)


@pytest.fixture
def bridges(tmp_path):
    """A way to start bridges; what still runs at the end is killed."""
    from bridge_process import Bridges

    with Bridges(tmp_path) as bridges:
        yield bridges
