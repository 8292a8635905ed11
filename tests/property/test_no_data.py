"""No data is not normal: undetermined is neither an alert nor a recovery, and silence is always said."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import (
    BEAT,
    DAY,
    HOUR,
    ITEM,
    OPTIONS,
    START,
    WEIGHT,
    Sender,
    feed,
    numbered,
    program,
    run,
    streams,
)

from engine.line import Line


def beats(first, until):
    return [(t, "heartbeat", b"") for t in range(first + BEAT, until, BEAT)]


def test_a_rule_without_its_readings_is_undetermined():
    """The gain is unknown with one weight, the dry weight was never set, nobody asked about breath."""
    sender = Sender()
    entries = [(START, "gateway", sender.packet("p0", "scale", START, {WEIGHT: 120}))]
    alerts, line = run(program(), entries)
    assert alerts.is_empty()
    assert not line.shards[0].state.arrays["phase"].any()


@settings(max_examples=40)
@given(st.integers(1, 30), st.sampled_from(("opened", "recovered")))
def test_undetermined_is_no_recovery(hours, kind):
    """A day-long window that has gone empty leaves the alert as it is; the next reading decides."""
    sender = Sender()
    later = START + DAY + hours * HOUR
    low = sender.packet("p0", "cuff", START, {2: 70, 3: 50})
    weight = sender.packet("p0", "scale", later, {WEIGHT: 80})
    entries = [(START, "g", low), *beats(START, later), (later, "g", weight)]
    alerts, _ = run(program(), entries)
    pressure = alerts.filter(problem="pression")
    assert pressure["kind"].to_list()[0] == "opened"
    assert not set(pressure["kind"]) & {"recovered", "latched", "closed"}
    normal = sender.packet("p0", "cuff", later, {2: 120, 3: 70})
    alerts, _ = run(program(), [*entries, (later, "g", normal), *beats(later, later + 6 * HOUR)])
    assert "latched" in set(alerts.filter(problem="pression")["kind"])


def test_missing_answers_are_not_zero():
    """Breathless yesterday, asked no more: the rule of gain with breathlessness does not hold, nor is it false."""
    sender = Sender()
    answered = sender.packet("p0", "phone", START, {ITEM: 1})
    weights = [sender.packet("p0", "scale", START + day * DAY, {WEIGHT: 80 + 0.6 * day}) for day in range(4)]
    entries = [(START, "g", answered)]
    for day, body in enumerate(weights):
        entries += [(START + day * DAY + 1, "g", body), *beats(START + day * DAY, START + (day + 1) * DAY)]
    alerts, _ = run(program(), entries)
    assert alerts.filter(rule="gain_breathless").is_empty()


@settings(max_examples=30)
@given(streams(acts=False, outages=False), st.sampled_from((0, HOUR, 30 * HOUR)))
def test_every_silence_is_said(entries, more):
    """Whoever was heard of is said to be silent in time, whatever else happened: nothing can switch it off."""
    first = {}
    end = entries[-1][0]
    entries = [*entries, *beats(end, end + 4 * DAY + HOUR + more)]
    alerts, line = run(program(), entries)
    for shard in line.shards:
        arrays = shard.state.arrays
        for slot, patient in enumerate(shard.state.patient_ids(np.arange(shard.state.used))):
            first[patient] = int(arrays["contact"][slot].max())
            contact = dict(zip(line.program.contacts, arrays["contact"][slot].tolist(), strict=True))
            weight = line.program.series.index("weight")
            silent = entries[-1][0] - contact[frozenset({weight})]
            said = alerts.filter(pl.col("patient") == patient, problem="transmission")
            assert silent > 2 * DAY
            assert "opened" in set(said["kind"])
            assert said["level"][-1] == ("ROUGE" if silent > 4 * DAY + OPTIONS.tick_ms else said["level"][-1])


def cohort(patients, days, sender, at=START):
    for day in range(days):
        body = b"".join(
            sender.packet(f"p{p}", "scale", at + day * DAY, {WEIGHT: 80}) for p in range(patients)
        )
        yield (at + day * DAY, "g", body)
        if day + 1 < days:
            yield from beats(at + day * DAY, at + (day + 1) * DAY)


@pytest.mark.parametrize("days", [1, 3, 9])
def test_an_outage_of_the_line_raises_no_storm(days):
    """Nobody could be heard while it was deaf; those who stay silent afterwards are said as late as the outage was."""
    sender = Sender()
    entries = list(cohort(20, 3, sender))
    heard = entries[-1][0]
    back = heard + days * DAY
    entries += [(back, "heartbeat", b""), *beats(back, back + 3 * HOUR)]
    body = b"".join(sender.packet(f"p{p}", "scale", back + 3 * HOUR, {WEIGHT: 80}) for p in range(19))
    entries += [(back + 3 * HOUR, "g", body), *beats(back + 3 * HOUR, back + 35 * HOUR)]
    alerts, line = run(program(), entries)
    assert alerts.is_empty()
    assert line.outages.tolist() == [[heard, back]]
    # 36 and 48 hours of listening without p19; the others sent something 3 hours later.
    for hours, problem in ((39, "silence"), (51, "transmission")):
        entries += [*beats(entries[-1][0], back + hours * HOUR)]
        alerts, _ = run(program(), entries)
        assert alerts.filter(problem=problem)["patient"].unique().to_list() == ["p19"]


def test_without_heartbeats_a_night_would_be_an_outage():
    """What heartbeats are for: with them, silence counts from the last reading."""
    sender = Sender()
    first = sender.packet("p0", "scale", START, {WEIGHT: 80})
    end = (START + 3 * DAY, "heartbeat", b"")
    with_beats, _ = run(program(), [(START, "g", first), *beats(START, START + 3 * DAY), end])
    without, _ = run(program(), [(START, "g", first), end])
    assert with_beats.filter(rule="no_weight_orange").height == 1
    assert without.filter(rule="no_weight_orange").is_empty()


@settings(max_examples=20)
@given(st.lists(st.integers(0, 60), max_size=5))
def test_an_outage_does_not_depend_on_cuts(cuts):
    sender = Sender()
    entries = list(cohort(3, 2, sender))
    back = entries[-1][0] + 2 * DAY
    entries += [(back, "heartbeat", b""), *beats(back, back + 3 * DAY)]
    whole, line = run(program(), entries)
    pieces, other = run(program(), entries, cuts=cuts)
    assert pieces.equals(whole)
    assert other.outages.tolist() == line.outages.tolist()


def test_a_restart_is_no_silence():
    """A line that goes on from its clock treats the time between as an outage."""
    sender = Sender()
    of = program()
    line = Line(of)
    feed(line, [numbered(list(cohort(5, 2, sender)))])
    clock, offset = line.clock_ms, line.next_offset
    again = Line(of)
    again.shards = line.shards
    again.restore(clock, line.outages.tolist(), offset)
    back = clock + 10 * DAY
    entries = [
        (offset + k, *entry) for k, entry in enumerate([(back, "heartbeat", b""), *beats(back, back + DAY)])
    ]
    assert feed(again, [entries]).is_empty()
    assert again.outages.tolist() == [[clock, back]]
