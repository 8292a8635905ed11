"""Rows of alerts beside a slow way to make them, one at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import heart_failure
from engine import report
from engine.line import Line
from ingest.decode import Decoder
from ingest.signals import plausible_ranges
from rules.alerts import SCHEMA
from rules.explain import sentence, silence_sentence

numbers = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def alerts():
    program = heart_failure.make_program()
    decoder = Decoder(*plausible_ranges(heart_failure.item_ranges(program)))
    with Line(program, shards=2) as line:
        frames = [
            line.process(*decoder.decode(each)).alerts
            for each in heart_failure.batches(program, 120, 40, per_batch=100_000)
        ]
    return program, [frame for frame in frames if len(frame)]


def test_each_row_has_the_sentence_of_its_own_figures(alerts):
    program, frames = alerts
    rules = {row.id: row for row in program.rule_rows}
    told = set()
    for row in (row for frame in frames for row in frame.iter_rows(named=True)):
        told.add(row["rule"])
        values = {each["name"]: each["value"] for each in row["features"]}
        limits = {each["name"]: each["value"] for each in row["limits"]}
        of = rules[row["rule"]]
        if of.rule is None:
            assert row["sentence"] == silence_sentence(of.text, values["silence_h"])
            continue
        assert list(values) == list(of.protocol.features_of(of.rule))
        assert list(limits) == list(of.protocol.limits_of(of.rule))
        assert row["sentence"] == sentence(of.protocol, of.rule, values, limits)
    assert len(told) > 10


def test_rows_say_of_their_rule_what_the_protocol_says(alerts):
    program, frames = alerts
    rules = {row.id: row for row in program.rule_rows}
    for frame in frames:
        assert frame.schema == SCHEMA
        for row in frame.iter_rows(named=True):
            of = rules[row["rule"]]
            assert (row["protocol"], row["version"], row["problem"]) == (
                of.protocol.id, of.protocol.version, of.problem,
            )  # fmt: skip
            assert row["protocol_hash"] == of.protocol.hash
            assert row["signed"] == of.protocol.signed
            assert rules[row["opened_by"]].problem == row["problem"]
            assert (row["offset"] is None) == (row["t_ms"] == row["clock_ms"] and not row["t_ms"] % 60_000)
            assert all(each["signal"] in program.series for each in row["points"])
            assert row["time_basis"] == "arrival"


@given(st.lists(numbers, max_size=9))
def test_ids_are_sixteen_hexadecimal_digits(each):
    assert report.id_texts(np.array(each, np.uint64)).to_list() == [f"{number:016x}" for number in each]


@given(st.lists(st.text("abc-9", max_size=5)))
def test_texts_are_cut_where_their_lengths_say(words):
    octets = np.frombuffer("".join(words).encode(), np.uint8)
    assert report._texts(octets, np.array([len(word) for word in words], np.uint8)).to_list() == words


FIGURES = st.sampled_from([0.0, -0.0, 1.5, 2.0, np.nan, np.inf])


@given(st.lists(st.tuples(st.integers(0, 2), FIGURES, FIGURES), min_size=1))
def test_alike_are_those_of_one_rule_with_the_same_figures_to_the_bit(rows):
    rule = np.array([row[0] for row in rows], np.int16)
    figures = np.array([row[1:] for row in rows])
    first, same = report._alike(rule, figures)
    kind = [(r, *map(str, values)) for r, *values in rows]
    assert [kind[first[k]] for k in same] == kind
    assert len(first) == len(set(kind))


def test_two_that_are_mixed_into_the_same_number_are_not_alike(monkeypatch):
    monkeypatch.setattr(report, "_mix", np.zeros_like)
    first, same = report._alike(np.array([1, 1, 2], np.int16), np.array([[1.0], [2.0], [1.0]]))
    assert first.tolist() == same.tolist() == [0, 1, 2]
