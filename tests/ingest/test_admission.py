"""Admission: what is told is what the log will give, and what a source may not send is refused there too."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import packet
from ingest.admission import Admission, Body, hashes
from ingest.decode import TURNED_AWAY, Decoder
from ingest.reasons import Reason
from ingest.signals import plausible_ranges
from ingest.sources import Source

T = 1_760_000_000_000
NORTH = Source("north", cells=("Nord",))
SOUTH = Source("south", patients=("S1",))
ALL = Source("all", everyone=True)
ENROLLED = {"north": ["N1", "N2"], "south": ["S1"]}
PATIENTS = ["N1", "N2", "S1", "X1"]


def enrolment(source):
    return None if source.everyone else hashes(ENROLLED[source.name])


@pytest.fixture(scope="module")
def admission():
    admission = Admission(Decoder(*plausible_ranges(), raw=False), enrolment)

    def fresh():
        admission.forget()
        return admission

    return fresh


def weight(patient, seq=0, kg=80.0, device="scale"):
    return packet.spot(patient, device, seq, T, {1: kg})


def whole(entries):
    """What the engine's decoder makes of entries of the log: patients accepted, and reasons."""
    numbered = [(k, T, source, data) for k, (source, data) in enumerate(entries)]
    batch, quarantine = Decoder(*plausible_ranges()).decode(numbered)
    reasons = {}
    for reason in quarantine.reason.tolist():
        reasons[Reason(reason).name] = reasons.get(Reason(reason).name, 0) + 1
    return [batch.patient_id(row) for row in range(len(batch))], reasons


pieces = st.one_of(
    st.builds(weight, st.sampled_from(PATIENTS), st.integers(0, 6)),
    st.builds(weight, st.sampled_from(PATIENTS), kg=st.just(900.0)),
    st.just(packet.act("N1", "x", 1, T, 1, 2)),
    st.lists(st.integers(0, 9), max_size=9).map(msgpack.packb),
)
bodies = st.tuples(
    st.sampled_from([NORTH, SOUTH, ALL]),
    st.lists(pieces, max_size=8).map(b"".join),
    st.sampled_from([b"", b"", b"\xc1rest", b"\x99\x01"]),
)


@given(st.lists(bodies, max_size=6))
def test_the_answer_is_what_the_log_gives(admission, sent):
    judged = admission().judge([Body(source, data + rest, T) for source, data, rest in sent])
    assert len(judged) == len(sent)
    for (source, data, rest), (answer, entries) in zip(sent, judged, strict=True):
        accepted, reasons = whole(entries)
        assert answer.accepted + answer.duplicate == len(accepted)
        assert answer.quarantined == reasons
        assert all({source.name, TURNED_AWAY + source.name} >= {name} for name, _ in entries)
        # Nothing is lost: the same bytes, parted.
        assert sum(len(part) for _, part in entries) == len(data + rest)
        legal = PATIENTS if source.everyone else ENROLLED[source.name]
        assert set(accepted) <= set(legal)
        alone = whole([(source.name, data + rest)])[0]
        assert accepted == [patient for patient in alone if patient in legal]


@given(st.lists(bodies, max_size=6))
def test_together_or_one_by_one_is_the_same(admission, sent):
    given_ = [Body(source, data + rest, T) for source, data, rest in sent]
    together = admission().judge(given_)
    one = admission()
    assert together == [one.judge([body])[0] for body in given_]


def test_a_body_that_may_all_be_sent_is_logged_as_it_came(admission):
    data = weight("N1") + weight("N2", kg=900.0) + b"\xc1"
    ((answer, entries),) = admission().judge([Body(NORTH, data, T)])
    assert entries == [("north", data)]
    assert (answer.accepted, answer.quarantined) == (1, {"IMPLAUSIBLE": 1, "BAD_MSGPACK": 1})
    assert (answer.packets, answer.refused) == (3, 2)


def test_what_may_not_be_sent_is_taken_out(admission):
    data = [weight("N1"), weight("S1"), weight("N2"), weight("X1", kg=900.0), b"\xc1"]
    ((answer, entries),) = admission().judge([Body(NORTH, b"".join(data), T)])
    assert entries == [("north", data[0] + data[2] + data[3] + data[4]), (TURNED_AWAY + "north", data[1])]
    # An implausible weight is refused as such, whoever's it is: no reading of it would be kept.
    assert answer.quarantined == {"NOT_ENROLLED": 1, "IMPLAUSIBLE": 1, "BAD_MSGPACK": 1}


def test_repeats_are_told_and_logged(admission):
    judge = admission().judge
    first = [Body(ALL, weight("N1", 1) + weight("N1", 2), T)]
    assert judge(first)[0][0].duplicate == 0
    ((answer, entries),) = judge(first)
    assert (answer.accepted, answer.duplicate) == (0, 2)
    assert entries == [("all", first[0].data)]
    others = weight("N2", 1) + weight("N1", 3) + weight("N1", 1, device="other")
    assert judge([Body(ALL, others, T)])[0][0].accepted == 3


def test_what_a_source_may_not_send_is_no_repeat_for_another(admission):
    judge = admission().judge
    assert judge([Body(SOUTH, weight("N1", 1), T)])[0][0].quarantined == {"NOT_ENROLLED": 1}
    assert judge([Body(NORTH, weight("N1", 1), T)])[0][0].accepted == 1


def test_an_empty_body_and_a_source_without_patients(admission):
    assert admission().judge([]) == []
    nobody = Admission(Decoder(*plausible_ranges()), lambda _: hashes([]))
    (first, second) = nobody.judge([Body(NORTH, b"", T), Body(NORTH, weight("N1"), T)])
    assert first[0].packets == 0
    assert second[0].quarantined == {"NOT_ENROLLED": 1}


def test_hashes_are_those_of_packets():
    batch, _ = Decoder(*plausible_ranges()).decode([(0, T, "x", weight("N1") + weight("N2"))])
    assert hashes(["N2", "N1", "N2"]).tolist() == np.sort(batch.patient).tolist()
