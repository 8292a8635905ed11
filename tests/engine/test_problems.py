"""What an operator is told, and for how long."""

import logging

import pytest

from engine.problems import EVENT_S, Problems


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_a_condition_is_told_until_it_ends(clock):
    noted = Problems(clock)
    noted.stands("disk", "the disk is full")
    noted.stands("disk", "the disk cannot be written")
    noted.stands("queue", "the queue is away")
    clock.now_s += 10 * EVENT_S
    assert noted.told() == ["the disk cannot be written", "the queue is away"]
    noted.ended("disk")
    noted.ended("another")
    assert noted.told() == ["the queue is away"]


def test_an_event_is_told_for_a_day_after_it_was_met_last(clock):
    noted = Problems(clock)
    noted.event("offset 3 is damaged")
    clock.now_s += EVENT_S / 2
    noted.event("offset 9 is damaged")
    noted.event("offset 3 is damaged")
    assert noted.told() == ["offset 9 is damaged", "offset 3 is damaged"]
    clock.now_s += EVENT_S
    assert noted.told() == ["offset 9 is damaged", "offset 3 is damaged"]
    clock.now_s += 1
    assert noted.told() == []


def test_of_very_many_events_the_newest_are_told(clock):
    noted = Problems(clock)
    for number in range(1000):
        noted.event(f"offset {number} is damaged")
    assert 20 < len(noted.told()) <= 100
    assert noted.told()[-1] == "offset 999 is damaged"


def test_each_is_put_into_the_messages_once_and_its_end_too(clock, caplog):
    noted, logger = Problems(clock), logging.getLogger("vigie")
    with caplog.at_level("INFO", "vigie"):
        for _ in range(3):
            noted.stands("disk", "the disk is full")
            noted.event("offset 3 is damaged")
            noted.say(logger)
        noted.ended("disk")
        noted.say(logger)
        noted.stands("disk", "the disk is full")
        noted.say(logger, logging.WARNING)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the disk is full"),
        ("ERROR", "offset 3 is damaged"),
        ("INFO", "over: the disk is full"),
        ("WARNING", "the disk is full"),
    ]
