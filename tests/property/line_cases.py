"""What the property tests of the line share: protocols, streams of entries drawn by hypothesis, and what is compared.

A stream is a list of entries as the log holds them (receipt time, source, body), receipt times rising. Everything
goes through the real packet encoder, decoder and line.
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import strategies as st

from engine.acts import SOURCE, closing, setting
from engine.durable import decoder
from engine.line import Line, Taken
from engine.program import Options, Program
from engine.protocols import load_all
from engine.roster import Member, Roster
from ingest import packet

SMALL = Path(__file__).parent / "small.toml"
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# A Friday evening in Paris, two days before clocks go forward: local days of 23 hours are among those passed.
START = 1_774_634_400_000
# Heartbeats are rare here, so that a drawn week is a hundred entries and not ten thousand.
OPTIONS = Options(deaf_after_ms=3 * HOUR, tick_ms=15 * MINUTE)
BEAT = 150 * MINUTE

WEIGHT, SYSTOLIC, DIASTOLIC, RATE, BATTERY, ITEM = 1, 2, 3, 5, 20, 300
PROBLEMS = ("congestion", "poids_a_verifier", "pression", "rythme", "transmission", "silence")


@cache
def program(name="small", *, own=False):
    """The program of a protocol; with `own`, patients have a dry weight of their own."""
    protocols = load_all([SMALL if name == "small" else name])
    limit = {"small": "dry_kg"}.get(name, "dry_weight_kg")
    return Program(protocols, OPTIONS, own=[(0, limit)] if own else ())


def roster(of):
    """A roster in which patient p0 has a dry weight."""
    if not of.own:
        return None
    key = of.limit_names[of.own[0]]
    return Roster(of, {"p0": Member(protocols=(0,), limits={key: 79.5})})


@dataclass(slots=True)
class Sender:
    """Makes the packets of a stream: numbers for each device of each patient."""

    made: list = field(default_factory=list)
    seq: dict = field(default_factory=dict)

    def packet(self, patient, kind, t_ms, values):
        device = f"{kind}-{patient}"
        number = self.seq[device] = self.seq.get(device, 0) + 1
        make = packet.questionnaire if kind == "phone" else packet.spot
        if kind == "gateway":
            make = packet.device_status
        body = make(patient, device, number, t_ms, values)
        self.made.append(body)
        return body


def a_reading(draw):
    """Draw device and values so that rules fire, clear and go out of pattern often."""
    kind = draw(st.sampled_from(("scale", "scale", "scale", "cuff", "cuff", "phone", "belt", "gateway")))
    if kind == "scale":
        return kind, {WEIGHT: draw(st.sampled_from((79.0, 80.0, 80.4, 81.2, 82.0, 82.5, 83.1, 84.0, 90.0)))}
    if kind == "cuff":
        systolic = draw(st.sampled_from((70, 74, 85, 89, 92, 96, 120)))
        return kind, {SYSTOLIC: systolic, DIASTOLIC: 50}
    if kind == "phone":
        return kind, {ITEM: draw(st.integers(0, 2))}
    if kind == "belt":
        return kind, {RATE: draw(st.sampled_from((60, 100, 111, 130)))}
    return kind, {BATTERY: draw(st.integers(1, 100))}


SETTINGS = (
    ("gain_kg", (0.5, 1.0, 2.0, 4.5, None)),
    ("dry_kg", (78.0, 81.5, None)),
    ("systolic_low", (75.0, 95.0, 119.5, None)),
    ("rate_high", (80.0, 120.0, 900.0)),  # the last is outside the range of the protocol
)


def a_setting(draw, patient, seq, t_ms):
    """Draw an act that sets a limit of a patient or of the patient's cell, or takes it back."""
    limit, values = draw(st.sampled_from(SETTINGS))
    author = draw(st.sampled_from(("claire.morel", "jean.roy")))
    value = draw(st.sampled_from(values))
    said = patient, "essai", limit, value, author, f"motif {seq % 7}"
    return setting(*said, of_cell=draw(st.booleans()), workplace="desk", seq=seq, t_ms=t_ms)


GAPS = (0, MINUTE, 7 * MINUTE, 40 * MINUTE, HOUR, 5 * HOUR, 11 * HOUR, 24 * HOUR, 40 * HOUR, 60 * HOUR)
DELAYS = (0, 0, 0, MINUTE, HOUR, 9 * HOUR, 3 * DAY, -2 * MINUTE)


@st.composite
def streams(draw, patients=3, most=25, delays=DELAYS, gaps=GAPS, faults=True, acts=True, outages=True):
    """Draw a stream: readings on time and late, duplicates, faulty bytes, acts of the cell, heartbeats, outages."""
    sender = Sender()
    entries = []
    now = START
    for turn in range(draw(st.integers(1, most))):
        gap = draw(st.sampled_from(gaps))
        deaf = outages and gap > OPTIONS.deaf_after_ms and draw(st.integers(0, 5)) == 0
        for _ in range(0 if deaf else gap // BEAT):
            now += BEAT
            entries.append((now, "heartbeat", b""))
        now += gap if deaf else gap % BEAT
        body = b""
        for _ in range(draw(st.integers(0, 3))):
            if faults and sender.made and draw(st.integers(0, 7)) == 0:
                body += draw(st.sampled_from(sender.made))  # a duplicate
                continue
            patient = f"p{draw(st.integers(0, patients - 1))}"
            kind, values = a_reading(draw)
            t_ms = now - draw(st.sampled_from(delays))
            body += sender.packet(patient, kind, t_ms, values)
        if faults and draw(st.integers(0, 9)) == 0:
            body += draw(st.sampled_from((b"\xc1", b"\x99\x01", b"\x01\x02\x03", b"\x99" + b"\xc0" * 9)))
        entries.append((now, f"gateway{turn % 2}", body))
        if acts and draw(st.integers(0, 5)) == 0:
            patient = f"p{draw(st.integers(0, patients - 1))}"
            problem = draw(st.sampled_from(PROBLEMS))
            act = closing(patient, "essai", problem, 1, workplace="desk", seq=turn, t_ms=now)
            entries.append((now, SOURCE, act))
        if acts and draw(st.integers(0, 4)) == 0:
            patient = f"p{draw(st.integers(0, patients - 1))}"
            at = now - draw(st.sampled_from((0, 0, 0, HOUR, 3 * DAY)))
            act = a_setting(draw, patient, 10_000 + turn, at)
            entries.append((now, SOURCE, act))
            if draw(st.integers(0, 3)) == 0:  # a limit of the cell is said to each of its patients
                limit, values = draw(st.sampled_from(SETTINGS))
                said = "essai", limit, draw(st.sampled_from(values)), "jean.roy", "pour tous"
                for p in range(patients):
                    number = {"workplace": "desk", "seq": 20_000 + turn * patients + p, "t_ms": at}
                    entries.append((now, SOURCE, setting(f"p{p}", *said, of_cell=True, **number)))
            if draw(st.booleans()):  # with a reading of the same moment behind it
                entries.append((now, "gateway0", sender.packet(patient, "belt", now, {RATE: 112})))
    return entries


def numbered(entries):
    """Give entries as the decoder takes them, offsets from 0."""
    return [(offset, *entry) for offset, entry in enumerate(entries)]


def cut(entries, places):
    """Cut a stream into batches at some places."""
    at = sorted({min(place, len(entries)) for place in places} | {0, len(entries)})
    return [entries[a:b] for a, b in pairwise(at)]


def feed(line, batches, using=None):
    """Send batches (lists of numbered entries) through a line; return the alerts of all."""
    using = using or decoder(line.program)
    frames = []
    for batch in batches:
        columns, quarantine = using.decode(batch, clock_ms=line.clock_ms or 0, next_offset=line.next_offset)
        heard = np.array([entry[1] for entry in batch], np.int64)
        frames.append(line.process(columns, quarantine, heard).alerts)
    return in_order(frames)


def stream(line, batches):
    """Send batches through a line as a replay does, shards ahead of each other; return the alerts of all."""

    def taken():
        for batch in batches:
            heard = np.array([entry[1] for entry in batch], np.int64)
            yield Taken(*decoder(line.program).decode(batch), heard)

    done = list(line.stream(taken()))
    assert [each.batch.next_offset for each in done] == [batch[-1][0] + 1 for batch in batches]
    assert not done or done[-1].clock_ms == line.clock_ms
    return in_order([each.alerts for each in done])


def in_order(frames):
    """Put alerts together: rows of a patient stay as they came, patients of one instant are in order of id."""
    return pl.concat(frames).sort(["clock_ms", "patient"], maintain_order=True) if frames else None


def run(of, entries, *, shards=1, cuts=(), through=feed):
    """Give the alerts of a stream and the line after it."""
    line = Line(of, shards=shards, roster=roster(of))
    with line:
        alerts = through(line, cut(numbered(entries), cuts))
    return alerts, line


def content(line):
    """Give what rules can see of each patient: newest time, and the newest readings of each series.

    Places beyond the visible ones, slots, and what is remembered of devices' numbers depend on the order of arrival;
    nothing that a rule says depends on them.
    """
    out = {}
    for shard in line.shards:
        state, plan = shard.state, shard.plan
        t, v = state.arrays["t"], state.arrays["v"]
        ids = state.patient_ids(np.arange(state.used))
        for slot, patient in enumerate(ids):
            series = {}
            for s, name in enumerate(line.program.series):
                count = int(state.arrays["length"][slot, s])
                begin = int(plan.start[s]) + max(0, count - int(plan.visible[s]))
                end = int(plan.start[s]) + count
                series[name] = list(
                    zip(t[slot, begin:end].tolist(), v[slot, begin:end].tolist(), strict=True)
                )
            out[patient] = (int(state.arrays["newest_ms"][slot]), series)
    return out


def limits(line):
    """Give the limits in force of each patient by name: value, and where it comes from."""
    out = {}
    for shard in line.shards:
        rules = np.arange(len(line.program.rule_rows), dtype=np.int16)
        for slot, patient in enumerate(shard.state.patient_ids(np.arange(shard.state.used))):
            values, origins = shard.limits.in_force(rules, np.full(len(rules), slot, np.int32))
            out[patient] = {
                (row.id, name): (str(values[r, k]), shard.limits.origins[origins[r, k]])
                for r, row in enumerate(line.program.rule_rows)
                if row.rule is not None
                for k, name in enumerate(row.protocol.limits_of(row.rule))
            }
    return out


def lives(line):
    """Give the state of every rule and problem of each patient."""
    names = ("phase", "since", "level", "latched", "onset", "opener", "contact")
    out = {}
    for shard in line.shards:
        arrays = shard.state.arrays
        for slot, patient in enumerate(shard.state.patient_ids(np.arange(shard.state.used))):
            out[patient] = {name: arrays[name][slot].tolist() for name in names}
    return out


def difference(one, other):
    """Rows that only one of two tables of alerts has: what a failure shows."""
    shown = [
        "patient",
        "rule",
        "kind",
        "level",
        "onset_ms",
        "t_ms",
        "clock_ms",
        "offset",
        "sentence",
        "alert_id",
    ]
    a = {str(row) for row in one.select(shown).rows()}
    b = {str(row) for row in other.select(shown).rows()}
    return sorted(a - b), sorted(b - a)


def assert_same(one, other):
    """Two tables of alerts are the same, in every column and in order."""
    if not one.equals(other):
        only_one, only_other = difference(one, other)
        assert only_one == only_other
        for name in one.columns:
            assert one[name].equals(other[name]), (name, one[name].to_list(), other[name].to_list())
