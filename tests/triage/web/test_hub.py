"""What wakes the open pages: what is of a line, and nothing else."""

import time

import pytest

from triage.web.hub import Hub
from triage.work.desk import Desk


@pytest.fixture
def hub(site):
    hub = Hub(site.site, every_s=0.02)
    hub.start()
    yield hub
    hub.stop()


def moves_on(hub, before, seconds=60.0):
    until = time.monotonic() + seconds
    while hub.marks == before and time.monotonic() < until:
        time.sleep(0.01)
    return hub.marks != before


def test_a_row_of_the_engine_and_a_move_do(site, hub):
    before = hub.marks
    episode = site.opened("P0")
    assert moves_on(hub, before)
    before = hub.marks
    Desk(site.queue.engine).claim(episode, "marie")
    assert moves_on(hub, before)
    assert hub.marks.entry > before.entry


def test_that_somebody_looked_at_a_patient_does_not_and_hides_nothing_after_it(site, hub):
    before = hub.marks
    episode = site.opened("P1")
    assert moves_on(hub, before)
    before = hub.marks
    with site.client("marie") as client:
        assert client.get("/patients/P1").status_code == 200
    assert not moves_on(hub, before, 0.5)
    Desk(site.queue.engine).claim(episode, "marie")
    assert moves_on(hub, before)


def test_what_is_shared_is_asked_once_until_something_comes(site, hub):
    asked = []
    marks = hub.marks
    for _ in range(3):
        assert hub.shared("key", marks, lambda: asked.append(1) or len(asked)) == 1
    site.opened("P3")
    assert moves_on(hub, marks)
    assert hub.shared("key", hub.marks, lambda: asked.append(1) or len(asked)) == 2
