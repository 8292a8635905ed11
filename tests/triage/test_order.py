"""Who is called next."""

import random
from dataclasses import dataclass
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.levels import Level
from triage import store
from triage.order import urgency
from triage.policy import Policy


@dataclass(frozen=True)
class Line:
    level: int
    due_ms: int | None
    onset_ms: int
    id: str


# Few values, so that ties are many.
lines = st.builds(
    Line,
    level=st.sampled_from(Level).map(int),
    due_ms=st.none() | st.integers(-2, 2),
    onset_ms=st.integers(-2, 2),
    id=st.integers(0, 2**64 - 1).map("{:016x}".format),
)
queues = st.lists(lines, unique_by=attrgetter("id"), max_size=30)


def test_rouge_before_orange_before_technique_then_least_time_left_then_oldest_then_id():
    expected = [
        Line(3, 50, 9, "b"),
        Line(3, 60, 1, "f"),
        Line(3, 60, 2, "a"),
        Line(3, None, 0, "c"),
        Line(2, -100, 0, "a0"),
        Line(2, 10, 5, "a1"),
        Line(2, 10, 5, "a2"),
        Line(1, None, 0, "0"),
    ]
    queue = expected[::-1]
    assert sorted(queue, key=urgency) == expected


@given(queues, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_lines_came(queue, chance):
    shuffled = list(queue)
    chance.shuffle(shuffled)
    assert sorted(shuffled, key=urgency) == sorted(queue, key=urgency)


@given(lines, lines, lines)
def test_the_order_is_total(a, b, c):
    assert (urgency(a) == urgency(b)) == (a == b)
    if urgency(a) <= urgency(b) <= urgency(c):
        assert urgency(a) <= urgency(c)


@given(queues, st.integers(-3, 3))
def test_time_left_gives_the_same_order_at_any_moment(queue, now):
    def by_time_left(line):
        left = float("inf") if line.due_ms is None else line.due_ms - now
        return (-line.level, left, line.onset_ms, line.id)

    assert sorted(queue, key=by_time_left) == sorted(queue, key=urgency)


def test_the_database_gives_the_same_order(url, row, frame):
    chance = random.Random(7)
    rows = [
        row(
            patient=f"p{i}",
            level=chance.choice(["ROUGE", "ORANGE", "TECHNIQUE"]),
            onset=chance.randrange(4),
            clock_ms=1_790_000_000_000 + 60_000 * chance.randrange(4),
        )
        for i in range(200)
    ]
    with store.open(url) as queue:
        queue.apply(frame(*rows))
        found = queue.queue()
        assert found == sorted(found, key=urgency)
        assert len(found) == 200
        assert [line.id for line in queue.queue(at_most=5)] == [line.id for line in found[:5]]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_policy_without_time_is_refused(limit):
    with pytest.raises(ValueError, match="orange_ms"):
        Policy(orange_ms=limit)


def test_a_policy_is_read_back_as_it_was_frozen():
    policy = Policy(rouge_ms=1, orange_ms=None, technique_ms=5)
    assert Policy.from_dict(policy.as_dict()) == policy
