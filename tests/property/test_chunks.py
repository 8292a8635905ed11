"""Alerts do not depend on how the stream was cut into batches, or an ECG into chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import (
    DAY,
    HOUR,
    START,
    WEIGHT,
    Sender,
    assert_same,
    content,
    cut,
    feed,
    limits,
    lives,
    numbered,
    program,
    run,
    streams,
)

from engine.line import Line
from ingest import packet

CUTS = st.lists(st.integers(0, 400), max_size=12)


@settings(max_examples=50)
@given(streams(), CUTS)
def test_cut_into_batches(entries, cuts):
    of = program(own=True)
    whole, line = run(of, entries)
    pieces, other = run(of, entries, cuts=cuts)
    assert_same(pieces, whole)
    assert content(other) == content(line)
    assert lives(other) == lives(line)
    assert limits(other) == limits(line)
    assert other.accounts.by_source == line.accounts.by_source


@settings(max_examples=15)
@given(streams(most=15))
def test_one_entry_at_a_time_with_the_shipped_protocol(entries):
    of = program("insuffisance_cardiaque", own=True)
    whole, line = run(of, entries)
    pieces, other = run(of, entries, cuts=range(len(entries)))
    assert_same(pieces, whole)
    assert content(other) == content(line)
    assert lives(other) == lives(line)


def test_the_same_packets_in_other_bodies():
    """One body of many packets, or a body for each: offsets differ, nothing else does."""
    sender = Sender()
    packets = [
        sender.packet(f"p{p}", "scale", START + day * DAY // 2 + p, {WEIGHT: 80 + 0.4 * day})
        for day in range(12)
        for p in range(2)
    ]
    receipt = START + 6 * DAY
    one, _ = run(program(), [(receipt, "gateway", b"".join(packets))])
    many, _ = run(program(), [(receipt, "gateway", body) for body in packets])
    assert len(one) > 4
    assert_same(many.drop("offset"), one.drop("offset"))


def test_what_a_silence_says_does_not_depend_on_what_came_after():
    """A weight after the silence, in the same batch, must not change how long the alert says it was."""
    sender = Sender()
    first = sender.packet("p0", "scale", START, {WEIGHT: 80})
    again = sender.packet("p0", "scale", START + 3 * DAY, {WEIGHT: 80})
    beats = [(START + k * 2 * HOUR, "heartbeat", b"") for k in range(1, 36)]
    entries = [(START, "gateway", first), *beats, (START + 3 * DAY, "gateway", again)]
    whole, _ = run(program(), entries)
    pieces, _ = run(program(), entries, cuts=range(len(entries)))
    opened = whole.filter(kind="opened", rule="no_weight_orange")
    assert opened["features"][0].to_list() == [{"name": "silence_h", "value": 48.0, "unit": "h"}]
    assert_same(pieces, whole)


def test_a_delayed_rule_shows_what_it_saw():
    """It fires on a tick: features are of that moment, not of the readings that the batch brings afterwards."""
    sender = Sender()
    low = sender.packet("p0", "cuff", START, {2: 80, 3: 50})
    later = sender.packet("p0", "cuff", START + 2 * DAY, {2: 120, 3: 60})
    beats = [(START + k * 2 * HOUR, "heartbeat", b"") for k in range(1, 24)]
    entries = [(START, "gateway", low), *beats, (START + 2 * DAY, "gateway", later)]
    whole, _ = run(program(), entries)
    pieces, _ = run(program(), entries, cuts=range(len(entries)))
    opened = whole.filter(kind="opened", rule="low")
    shown = {figure["name"]: figure["value"] for figure in opened["features"][0]}
    assert shown["systolic_now"] == 80.0
    assert_same(pieces, whole)


def test_a_tick_does_not_see_packets_that_no_rule_uses():
    """The battery of a gateway is newer than the tick; cut between them or not, the tick shows the same."""
    sender = Sender()
    low = sender.packet("p0", "cuff", START, {2: 80, 3: 50})
    battery = sender.packet("p0", "gateway", START + 26 * HOUR, {20: 50})
    beats = [(START + k * 2 * HOUR, "heartbeat", b"") for k in range(1, 13)]
    entries = [(START, "gateway", low), *beats, (START + 26 * HOUR, "gateway", battery)]
    again = [
        (START + 26 * HOUR + 1, "gateway", sender.packet("p0", "cuff", START + 26 * HOUR, {2: 120, 3: 60}))
    ]
    whole, _ = run(program(), entries + again)
    pieces, _ = run(program(), entries + again, cuts=range(len(entries)))
    assert_same(pieces, whole)


def _ecg(seconds, rate, rng):
    """A plain ECG: narrow beats at 75 a minute, then 4 s of silence, then 150 a minute; noise on all of it."""
    n = int(seconds * rate)
    signal = rng.normal(0, 0.01, n)
    at = 0.5
    while at < seconds:
        if not 30 <= at < 34:
            centre = int(at * rate)
            span = np.arange(max(0, centre - rate // 10), min(n, centre + rate // 10))
            signal[span] += np.exp(-0.5 * ((span - centre) / (0.012 * rate)) ** 2)
        at += 0.8 if at < 60 else 0.4
    return np.round(signal * 1000).astype(np.int16)


@settings(max_examples=6)
@given(st.lists(st.integers(50, 5000), min_size=1, max_size=12), st.integers(0, 3))
def test_cut_into_ecg_chunks(lengths, seed):
    rate = 250
    samples = _ecg(120, rate, np.random.default_rng(seed))
    of = program()

    def alerts(chunks):
        entries = []
        at = 0
        for seq, length in enumerate(chunks):
            part = samples[at : at + length]
            if len(part):
                body = packet.ecg_chunk("p0", "patch", seq, START + at * 1000 // rate, 33, rate, 1000, part)
                entries.append((START + 3 * 60_000, "patch", body))
            at += length
        line = Line(of)
        return feed(line, cut(numbered(entries), ())), content(line)

    whole, state = alerts([len(samples)])
    pieces, other = alerts([*lengths, len(samples)])
    assert whole.filter(rule="fast", kind="opened").height == 1
    assert_same(pieces.drop("offset"), whole.drop("offset"))
    assert other == state


@pytest.mark.parametrize("size", [1, 7])
def test_an_empty_batch_changes_nothing(size):
    sender = Sender()
    entries = [(START, "gateway", sender.packet("p0", "scale", START, {WEIGHT: 80}))]
    whole, line = run(program(), entries)
    other = Line(program())
    pieces = feed(other, [numbered(entries), *([[]] * size)])
    assert_same(pieces, whole)
    assert content(other) == content(line)
    assert other.next_offset == line.next_offset == 1
