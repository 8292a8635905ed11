from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import DAY, HOUR, MINUTE, OPTIONS, START, WEIGHT, Sender, feed, numbered, program, run

from engine.durable import decoder
from engine.line import Line, Taken
from engine.program import Options, Program
from rules.alerts import SCHEMA


def beat(t):
    return (t, "heartbeat", b"")


def test_the_clock_is_the_greatest_receipt_time():
    line = Line(program())
    feed(line, [[(0, START, "h", b"")], [(1, START + HOUR, "h", b"")]])
    assert line.clock_ms == START + HOUR
    feed(line, [[(2, START, "h", b"")]])
    assert line.clock_ms == START + HOUR
    assert line.next_offset == 3


def test_a_line_that_nothing_came_to_has_no_alerts():
    line = Line(program())
    alerts = feed(line, [[]])
    assert alerts.schema == SCHEMA
    assert alerts.is_empty()
    assert line.accounts.total.received == 0


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from((MINUTE, HOUR, OPTIONS.deaf_after_ms, OPTIONS.deaf_after_ms + 1, 5 * HOUR)),
        max_size=9,
    )
)
def test_an_outage_is_a_gap_longer_than_the_limit(gaps):
    times = START + np.concatenate(([0], np.cumsum(gaps, dtype=np.int64)))
    longest = OPTIONS.deaf_after_ms
    expected = [[a, b] for a, b in pairwise(times.tolist()) if b - a > longest]
    # The clock begins with the first packet: before it there is nobody who could be thought silent.
    first = Sender().packet("p0", "scale", START, {WEIGHT: 80})
    entries = numbered([(START, "g", first), *(beat(int(t)) for t in times[1:])])
    for batches in ([entries], [[entry] for entry in entries]):
        line = Line(program())
        feed(line, batches)
        assert line.outages.tolist() == expected


def test_many_outages_are_the_same_however_the_log_is_cut():
    """The line is deaf four hours of seven for 90 days: silences of the first days count the outages of those days."""
    gap = OPTIONS.deaf_after_ms + HOUR
    times = START + np.cumsum(np.tile([HOUR, HOUR, HOUR, gap], 310), dtype=np.int64)
    entries = numbered(
        [(START, "g", Sender().packet("p0", "scale", START, {WEIGHT: 80})), *map(beat, times.tolist())]
    )
    one = feed(Line(program()), [entries])
    assert sorted(one["kind"]) == ["opened", "opened", "raised", "raised"]
    assert feed(Line(program()), [[entry] for entry in entries]).equals(one)


def test_a_file_has_no_outages():
    of = Program(program().protocols, Options(deaf_after_ms=0))
    line = Line(of)
    feed(line, [numbered([beat(START), beat(START + 30 * DAY)])])
    assert not len(line.outages)


def test_rows_of_a_patient_stay_in_the_order_in_which_it_happened():
    """Opened, raised and latched at one instant: sorted by name, latched would come first and be undone.

    The readings come together, the newest first, so that event time stands still while verdicts change.
    """
    sender = Sender()
    now = START + 3 * DAY
    bodies = [sender.packet("p0", "scale", START + DAY, {WEIGHT: 80.0})]
    bodies += [sender.packet("p0", "scale", now - HOUR, {WEIGHT: 83.5})]
    bodies += [sender.packet("p0", "scale", now - HOUR + 1, {WEIGHT: 80.0})]
    alerts, _ = run(program(), [(now, "g", b"".join(bodies))])
    mine = alerts.filter(problem="congestion")["kind"].to_list()
    assert mine[0] == "opened"
    assert mine[-1] == "latched"
    assert "raised" in mine


@pytest.mark.parametrize("shards", [1, 5])
def test_alerts_are_in_order_of_the_clock_then_of_patients(shards):
    sender = Sender()
    entries = []
    for k in range(3):
        t = START + k * HOUR
        bodies = [sender.packet(f"p{p}", "cuff", t, {2: 70, 3: 50}) for p in (9, 3, 7, 1)]
        entries.append((t, "g", b"".join(bodies)))
    alerts, _ = run(program(), entries, shards=shards)
    order = alerts.select("clock_ms", "patient").rows()
    assert order == sorted(order)
    assert len(set(order)) == 12


def test_closed_it_has_no_threads():
    import threading

    before = threading.active_count()
    with Line(program(), shards=4) as line:
        feed(line, [numbered([beat(START)])])
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_it_goes_on_where_it_was():
    sender = Sender()
    one = sender.packet("p0", "scale", START, {WEIGHT: 80})
    line = Line(program())
    feed(line, [numbered([(START, "g", one)])])
    other = Line(program())
    other.restore(line.clock_ms, line.outages.tolist(), line.next_offset)
    assert (other.clock_ms, other.next_offset) == (START, 1)
    feed(other, [[(1, START + DAY, "h", b"")]])
    assert other.outages.tolist() == [[START, START + DAY]]


def test_what_quarantine_holds_is_received_too():
    of = program()
    batch, quarantine = decoder(of).decode([(0, START, "g", b"\xc1")])
    line = Line(of)
    done = line.process(batch, quarantine)
    assert done.alerts.is_empty()
    assert line.accounts.of("g").quarantined == {"BAD_MSGPACK": 1}
    assert line.accounts.balanced


def test_what_fails_in_a_shard_ends_the_stream(monkeypatch):
    of = program()
    entries = numbered([(START, "g", Sender().packet("p0", "scale", START, {WEIGHT: 80}))])
    line = Line(of, shards=2)
    monkeypatch.setattr(line.shards[1], "process", lambda *_: 1 / 0)
    with line, pytest.raises(ZeroDivisionError):
        list(line.stream([Taken(*decoder(of).decode(entries))]))
