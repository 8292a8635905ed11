"""What closings say became of patients, for trials of limits."""

import pytest

from engine.enrolment import Enrolled
from triage import store
from triage.work import cells
from triage.work.desk import Desk
from triage.work.outcomes import TELLING, closings
from triage.work.states import Reason

NOW = 1_790_000_100_000


@pytest.fixture
def queue(url):
    with store.open(url) as made:
        cells.take(made.engine, {"p1": Enrolled((), "Nord"), "p2": Enrolled((), "Sud")})
        yield made


def test_those_with_a_telling_reason_of_that_cell_from_then_on(queue, row, frame):
    at = {"ms": NOW}
    desk = Desk(queue.engine, lambda: at["ms"])
    wanted = []
    for k, reason in enumerate(Reason):
        for patient in ("p1", "p2"):
            made = row(patient=patient, problem=f"x{k}")
            queue.apply(frame(made))
            at["ms"] += 1000
            desk.close(made["alert_id"], "marie", reason, "texte")
            if patient == "p1" and reason in TELLING:
                wanted.append((patient, at["ms"], reason.value))
    queue.apply(frame(row(patient="p1", problem="open")))
    assert len(wanted) == 2
    assert closings(queue.engine, "Nord", NOW) == tuple(wanted)
    assert closings(queue.engine, "Nord", wanted[0][1] + 1) == tuple(wanted[1:])
    assert closings(queue.engine, "Est", NOW) == ()


def test_a_line_that_ended_by_itself_says_nothing(queue, row, frame):
    queue.apply(frame(row(patient="p1"), row(patient="p1", kind="recovered", t=1)))
    assert closings(queue.engine, "Nord", 0) == ()
