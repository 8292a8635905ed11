import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import Answer
from ingest.quota import Quota
from ingest.sources import Limits


def quota(**limits):
    return Quota(Limits(**{"requests_per_s": 1e9, "packets_per_s": 1e9, "bytes_per_s": 1e12, **limits}), 0.0)


def test_a_burst_passes_and_a_flood_does_not():
    of = quota(requests_per_s=10.0)
    assert [of.wait_s(0.0) for _ in range(51)] == [0.0] * 51
    assert of.wait_s(0.0) == pytest.approx(0.1)
    assert of.wait_s(0.05) > 0
    assert of.wait_s(0.11) == 0


@pytest.mark.parametrize(("limit", "rate"), [("packets_per_s", 100.0), ("bytes_per_s", 1000.0)])
def test_what_a_body_brought_is_owed(limit, rate):
    of = quota(**{limit: rate})
    assert of.wait_s(0.0) == 0
    of.charge(size=10_000, answer=Answer(accepted=1000))
    assert of.wait_s(0.0) == pytest.approx(5.0)  # ten seconds' worth, five of which are given
    assert of.wait_s(4.9) > 0
    assert of.wait_s(5.1) == 0


def test_a_source_that_sends_garbage_waits_after_each_body_of_it():
    of = quota()
    bad = Answer(quarantined={"NAN": 400})
    for _ in range(2):
        assert of.wait_s(1.0) == 0
        of.charge(1, bad)
    assert of.wait_s(1.0) == pytest.approx(10.0)
    assert of.wait_s(10.9) > 0
    assert of.wait_s(11.1) == 0
    of.charge(1, bad)
    assert of.wait_s(11.1) == pytest.approx(10.0)
    assert of.wait_s(21.2) == 0
    of.charge(1, Answer(accepted=400))  # good again: no more waiting
    assert of.wait_s(21.2) == 0


def test_what_cannot_be_read_counts_as_much_that_is_bad():
    of = quota()
    assert of.wait_s(0.0) == 0
    of.spoil()
    assert of.wait_s(0.0) == pytest.approx(10.0)


def test_a_few_bad_packets_say_nothing():
    of = quota()
    assert of.wait_s(0.0) == 0
    of.charge(1, Answer(quarantined={"NAN": 499}))
    assert of.wait_s(0.0) == 0


def test_half_refused_is_still_legal():
    of = quota()
    of.charge(1, Answer(accepted=1000, quarantined={"NAN": 1000}))
    assert of.wait_s(0.0) == 0
    of.charge(1, Answer(accepted=1000, quarantined={"NAN": 1001}))
    assert of.wait_s(0.0) > 0


@given(st.lists(st.floats(0, 0.2), max_size=400), st.floats(0.5, 50))
def test_never_more_than_the_rate_and_a_burst(pauses, rate):
    of = quota(requests_per_s=rate)
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        passed += of.wait_s(now) == 0
    assert passed <= rate * (now + 5.0) + 1 + 1e-6
