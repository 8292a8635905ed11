"""A limit that a person sets in an act: in force from its place in the log on, told with each alert, and never lost.

That chunks, shards and crashes change nothing is in the tests of these, whose streams hold such acts.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import (
    DAY,
    HOUR,
    MINUTE,
    OPTIONS,
    RATE,
    SMALL,
    START,
    WEIGHT,
    Sender,
    a_reading,
    a_setting,
    assert_same,
    content,
    feed,
    limits,
    lives,
    numbered,
    program,
    roster,
    run,
    streams,
)

import engine.shard as shard_module
from engine.acts import SOURCE, closing, setting
from engine.line import Line
from engine.program import Program
from engine.protocols import load_all
from ingest import packet


def act(
    limit="gain_kg",
    value=1.0,
    *,
    patient="p0",
    seq=1,
    t_ms=START,
    author="claire.morel",
    text="poids sec revu",
    of_cell=False,
):
    said = patient, "essai", limit, value, author, text
    return setting(*said, of_cell=of_cell, workplace="desk", seq=seq, t_ms=t_ms)


def weights(*pairs, patient="p0"):
    """Entries of weights at days after the start."""
    sender = Sender()
    return [
        (
            START + round(day * DAY),
            "gateway",
            sender.packet(patient, "scale", START + round(day * DAY), {WEIGHT: kg}),
        )
        for day, kg in pairs
    ]


def shown(alerts, rule="gain", name="gain_kg"):
    """Of each row of a rule: what happened, the limit and where it came from."""
    return [
        (row["kind"], limit["value"], limit["origin"])
        for row in alerts.filter(rule=rule).iter_rows(named=True)
        for limit in row["limits"]
        if limit["name"] == name
    ]


def test_the_next_reading_is_judged_by_it_and_names_who_set_it():
    first, second, third = weights((0, 80.0), (1, 81.2), (2, 81.3))
    when = second[0] + HOUR
    entries = [first, second, (when, SOURCE, act(t_ms=when)), third]
    without, _ = run(program(), [first, second, third])
    alerts, _ = run(program(), entries)
    assert without.filter(rule="gain").is_empty()
    assert shown(alerts) == [("opened", 1.0, "patient, claire.morel, 28/03/2026 : poids sec revu")]
    (row,) = alerts.filter(rule="gain").to_dicts()
    assert row["offset"] == 3
    assert "(limite 1\N{NO-BREAK SPACE}kg)" in row["sentence"]


@settings(max_examples=40)
@given(st.data())
def test_the_outbox_may_bring_patients_in_any_order(data):
    """Letters of one moment: as long as each patient's stay in their order, nothing but offsets differs."""
    before = data.draw(streams(most=12, faults=False))
    now = max(entry[0] for entry in before) + MINUTE
    letters = {}
    for seq in range(1 << 20, (1 << 20) + data.draw(st.integers(1, 12))):
        patient = data.draw(st.sampled_from(("p0", "p1", "p2")))
        made = data.draw(st.sampled_from(("setting", "closing", "reading")))
        t_ms = now - data.draw(st.sampled_from((0, 1, HOUR)))
        if made == "setting":
            body = a_setting(data.draw, patient, seq, t_ms)
        elif made == "closing":
            body = closing(patient, "essai", "congestion", 1, workplace="desk", seq=seq, t_ms=t_ms)
        else:
            body = packet.spot(
                patient, "desk", seq, t_ms, {WEIGHT: data.draw(st.sampled_from((79.0, 81.2, 84.0)))}
            )
        letters.setdefault(patient, []).append((now, SOURCE, body))
    after = [(now + HOUR * k, "heartbeat", b"") for k in range(1, 40)]
    whose = [patient for patient, of in letters.items() for _ in of]
    outcomes = []
    for order in (whose, data.draw(st.permutations(whose))):
        turn = {patient: iter(of) for patient, of in letters.items()}
        alerts, line = run(program(own=True), before + [next(turn[patient]) for patient in order] + after)
        outcomes.append((alerts.drop("offset"), content(line), limits(line), lives(line)))
    assert_same(outcomes[1][0], outcomes[0][0])
    assert outcomes[1][1:] == outcomes[0][1:]


def test_an_alert_from_before_keeps_the_limit_that_it_was_raised_by():
    """All in one batch: what was judged before the act tells the limit of before."""
    entries = weights((0, 80.0), (1, 82.2), (2, 82.3), (3, 82.9))
    when = entries[2][0] + HOUR
    entries.insert(3, (when, SOURCE, act(value=2.5, t_ms=when)))
    alerts, _ = run(program(), entries)
    values = [value for _, value, _ in shown(alerts)]
    assert values[:2] == [2.0, 2.0]
    assert set(values[2:]) == {2.5}


def test_a_delay_that_ends_before_the_act_tells_the_limit_of_before():
    """The rule fires on a tick; the act comes in the next entry, in the same batch or another."""
    sender = Sender()
    low = sender.packet("p0", "cuff", START, {2: 85, 3: 50})
    when = START + 3 * HOUR
    entries = [(START, "gateway", low), (when, SOURCE, act("systolic_low", 70.0, t_ms=when))]
    one, _ = run(program(), entries)
    other, _ = run(program(), entries, cuts=[1])
    assert_same(other, one)
    assert shown(one, "low", "systolic_low")[0] == ("opened", 90.0, "défaut du protocole [D]")


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2]])
@pytest.mark.parametrize("of_cell", [False, True])
def test_a_delay_that_ends_after_the_act_tells_the_limit_that_it_was_judged_by(cuts, of_cell):
    """No reading since the act: what the delay brings is the verdict of before, and is told as such."""
    sender = Sender()
    low = sender.packet("p0", "cuff", START, {2: 85, 3: 50})
    when = START + MINUTE
    entries = [
        (START, "gateway", low),
        (when, SOURCE, act("systolic_low", 70.0, t_ms=when, of_cell=of_cell)),
        (START + 3 * HOUR, "heartbeat", b""),
    ]
    alerts, line = run(program(), entries, cuts=cuts)
    assert shown(alerts, "low", "systolic_low") == [("opened", 90.0, "défaut du protocole [D]")]
    assert limits(line)["p0"]["low", "systolic_low"][0] == "70.0"


def test_a_feature_of_a_delay_is_told_by_the_limit_that_it_was_judged_by(tmp_path):
    text = SMALL.read_text(encoding="utf-8")
    own = tmp_path / "delayed.toml"
    own.write_text(
        text.replace('when = "drift >= 2"', 'when = "drift >= 2"\nraise_delay = "2h"'), encoding="utf-8"
    )
    of = Program(load_all([own]), OPTIONS, own=[(0, "dry_kg")])  # p0 has a dry weight of 79.5
    first, later = weights((0, 83.0)), (START + DAY, "heartbeat", b"")
    when = START + MINUTE
    before, _ = run(of, [*first, later])
    after, line = run(of, [*first, (when, SOURCE, act("dry_kg", 70.0, t_ms=when)), later])
    told = ("kind", "sentence", "features", "limits", "points")
    assert before.filter(rule="dry")["offset"].to_list() == [None]
    assert after.select(told).to_dicts() == before.select(told).to_dicts()
    assert limits(line)["p0"]["dry", "dry_kg"][0] == "70.0"


def test_a_limit_without_default_can_be_set_and_a_feature_goes_by_it():
    entries = weights((0, 80.0), (1, 80.4))
    entries.insert(1, (START + HOUR, SOURCE, act("dry_kg", 78.0, t_ms=START + HOUR)))
    alerts, _ = run(program(), entries)
    (row,) = alerts.filter(rule="dry").to_dicts()
    assert {each["name"]: each["value"] for each in row["features"]}["drift"] == pytest.approx(2.4)


def test_taken_back_it_is_again_what_it_was():
    of = program(own=True)  # p0 has a dry weight of 79.5 in the roster
    set_, back = act("dry_kg", 70.0, t_ms=START), act("dry_kg", None, seq=2, t_ms=START + HOUR)
    _, line = run(of, [(START, SOURCE, set_)])
    assert limits(line)["p0"]["dry", "dry_kg"] == (
        "70.0",
        "patient, claire.morel, 27/03/2026 : poids sec revu",
    )
    _, line = run(of, [(START, SOURCE, set_), (START + HOUR, SOURCE, back)])
    assert limits(line)["p0"]["dry", "dry_kg"] == ("79.5", "patient")
    _, line = run(
        program(), [(START, SOURCE, act()), (START + HOUR, SOURCE, act(value=None, seq=2, t_ms=START + HOUR))]
    )
    assert limits(line)["p0"]["gain", "gain_kg"] == ("2.0", "défaut du protocole [D]")


@pytest.mark.parametrize(
    "body",
    [
        act(value=0.4),
        act(value=5.1),
        act("no_such_limit"),
        setting("p0", "autre", "gain_kg", 1.0, "a", "b", workplace="desk", seq=1, t_ms=START),
    ],
)
def test_outside_the_range_or_of_no_limit_it_changes_nothing(body):
    _, line = run(program(), [*weights((0, 80.0)), (START, SOURCE, body)])
    assert limits(line)["p0"]["gain", "gain_kg"] == ("2.0", "défaut du protocole [D]")
    assert line.accounts.of(SOURCE).applied == 1


def test_of_another_source_it_is_quarantined():
    _, line = run(program(), [(START, "gateway", act())])
    assert line.accounts.of("gateway").quarantined == {"ACT_NOT_ALLOWED": 1}


def test_other_patients_and_new_ones_keep_theirs():
    entries = [*weights((0, 80.0), patient="p1"), (START, SOURCE, act()), *weights((1, 80.0), patient="p2")]
    _, line = run(program(), entries)
    assert {patient: each["gain", "gain_kg"][0] for patient, each in limits(line).items()} == {
        "p0": "1.0",
        "p1": "2.0",
        "p2": "2.0",
    }


def test_an_older_act_that_comes_later_changes_nothing():
    newer, older = act(value=1.0, seq=2, t_ms=START + MINUTE), act(value=4.0, seq=1, t_ms=START)
    _, line = run(program(), [(START + HOUR, SOURCE, newer), (START + HOUR, SOURCE, older)])
    assert limits(line)["p0"]["gain", "gain_kg"][0] == "1.0"


def of_cell(value, seq, hours, **more):
    when = START + hours * HOUR
    return when, SOURCE, act(value=value, seq=seq, t_ms=when, of_cell=True, text="cellule revue", **more)


def test_a_limit_of_the_cell_holds_where_the_patient_has_none():
    mine = (START + 2 * HOUR, SOURCE, act(value=3.0, seq=2, t_ms=START + 2 * HOUR))
    back = (START + 3 * HOUR, SOURCE, act(value=None, seq=3, t_ms=START + 3 * HOUR))
    entries = [of_cell(1.0, 1, 1), mine, back, of_cell(None, 4, 4)]
    said = []
    for end in range(1, 5):
        _, line = run(program(), entries[:end])
        said.append(limits(line)["p0"]["gain", "gain_kg"])
    assert said == [
        ("1.0", "cellule, claire.morel, 27/03/2026 : cellule revue"),
        ("3.0", "patient, claire.morel, 27/03/2026 : poids sec revu"),
        ("1.0", "cellule, claire.morel, 27/03/2026 : cellule revue"),
        ("2.0", "défaut du protocole [D]"),
    ]


def test_a_limit_of_the_cell_does_not_win_over_that_of_the_book():
    of = program(own=True)  # p0 has a dry weight of 79.5 in the roster
    entries = [of_cell(70.0, 1, 0, limit="dry_kg"), of_cell(70.0, 2, 0, limit="dry_kg", patient="p1")]
    _, line = run(of, entries)
    assert limits(line)["p0"]["dry", "dry_kg"] == ("79.5", "patient")
    assert limits(line)["p1"]["dry", "dry_kg"][0] == "70.0"


def test_said_to_a_thousand_patients_it_cuts_the_batch_once(monkeypatch):
    passes = []
    run_pass = shard_module._Pass.run

    def counted(self, out, first):
        passes.append(len(self.rows))
        run_pass(self, out, first)

    monkeypatch.setattr(shard_module._Pass, "run", counted)
    sender = Sender()
    names = [f"q{k}" for k in range(1000)]
    readings = b"".join(sender.packet(name, "scale", START, {WEIGHT: 80.0}) for name in names)
    acts = b"".join(act(value=1.0, patient=name, of_cell=True) for name in names)
    later = b"".join(sender.packet(name, "scale", START + DAY, {WEIGHT: 81.2}) for name in names)
    line = Line(program())
    entries = [(START, "gateway", readings), (START + HOUR, SOURCE, acts), (START + DAY, "gateway", later)]
    alerts = feed(line, [numbered(entries)])
    assert passes == [1000, 2000]
    assert alerts.filter(rule="gain")["patient"].n_unique() == 1000


class Plain:
    """Layers of limits as one would write them down: of each patient and limit the newest act, by its own time."""

    def __init__(self):
        self.newest = {}

    def hear(self, patient, limit, value, of_cell, t_ms, seq):
        place = patient, limit, of_cell
        if place not in self.newest or self.newest[place][:2] < (t_ms, seq):
            self.newest[place] = t_ms, seq, value

    def value(self, patient, limit, usual):
        for whose in (False, True):
            value = self.newest.get((patient, limit, whose), (0, 0, None))[2]
            if value is not None:
                return value
        return usual


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("p0", "p1")),
            st.sampled_from((("gain_kg", (1.0, 3.0)), ("systolic_low", (75.0, 95.0)))),
            st.integers(0, 2),
            st.booleans(),
            st.integers(0, 3),
        ),
        max_size=25,
    )
)
def test_layers_are_those_that_one_would_write_down(acts):
    plain = Plain()
    entries = []
    for seq, (patient, (limit, values), which, whose, hours) in enumerate(acts, 1):
        value = (*values, None)[which]
        t_ms = START + hours * HOUR
        plain.hear(patient, limit, value, whose, t_ms, seq)
        said = act(limit, value, patient=patient, seq=seq, t_ms=t_ms, of_cell=whose)
        entries.append((START + 3 * HOUR, SOURCE, said))
    _, line = run(program(), entries)
    for patient, found in limits(line).items():
        assert found["gain", "gain_kg"][0] == str(plain.value(patient, "gain_kg", 2.0))
        assert found["low", "systolic_low"][0] == str(plain.value(patient, "systolic_low", 90.0))


@st.composite
def mixed(draw):
    """Readings and acts about limits of two patients, within the bound of lateness."""
    sender = Sender()
    out = []
    for turn in range(draw(st.integers(1, 20))):
        patient = f"p{draw(st.integers(0, 1))}"
        t_ms = START + draw(st.integers(0, OPTIONS.lateness_ms // HOUR)) * HOUR
        if draw(st.integers(0, 2)) == 0:
            out.append((SOURCE, a_setting(draw, patient, turn, t_ms)))
            continue
        kind, values = a_reading(draw)
        if kind != "gateway":  # of its repeats nothing is known: see test_order
            out.append(("gateway", sender.packet(patient, kind, t_ms, values)))
    return out or [(SOURCE, act())]


def after_all(entries):
    """What a line says once all is in: limits, content, and what a last reading finds with all rules at normal."""
    receipt = START + 8 * DAY
    line = Line(program())
    feed(line, [numbered([(receipt, source, body)]) for source, body in entries])
    for shard in line.shards:
        for name in ("phase", "level", "latched", "onset"):
            shard.state.arrays[name][:] = 0
    state = content(line), limits(line)
    sender = Sender()
    last = b"".join(
        sender.packet(f"p{p}", f"last-{kind}", receipt, values)
        for p in range(2)
        for kind, values in (("scale", {WEIGHT: 83.0}), ("belt", {RATE: 100}), ("cuff", {2: 74, 3: 50}))
    )
    alerts = feed(line, [[(0, receipt, "gateway", last)]])
    return state, alerts.drop("alert_id", "onset_ms")


@settings(max_examples=40)
@given(mixed(), st.randoms(use_true_random=False), st.data())
def test_order_and_duplicates(entries, rng, data):
    other = entries + data.draw(st.lists(st.sampled_from(entries), max_size=8))
    rng.shuffle(other)
    state, alerts = after_all(entries)
    shuffled, other_alerts = after_all(other)
    assert shuffled == state
    assert_same(other_alerts, alerts)


def test_told_again_under_another_number_nothing_changes():
    entries = [*weights((0, 80.0), (1, 81.2)), (START + 2 * DAY, SOURCE, act(seq=9, t_ms=START))]
    entries.insert(1, (START, SOURCE, act(t_ms=START)))
    _, line = run(program(), entries)
    assert limits(line)["p0"]["gain", "gain_kg"][0] == "1.0"


@settings(max_examples=30)
@given(streams(), st.integers(0, 60), st.sampled_from((1, 3)))
def test_what_a_checkpoint_holds_goes_on_as_if_nothing_had_been(entries, at, shards):
    of = program(own=True)
    entries = numbered(entries)
    at = min(at, len(entries))
    with Line(of, shards=shards, roster=roster(of)) as line:
        feed(line, [entries[:at]])
        kept = [({k: np.array(v) for k, v in s.snapshot().items()}, s.judge.ticked_ms) for s in line.shards]
        clock = line.clock_ms, line.outages.tolist(), line.next_offset
        alerts = feed(line, [entries[at:]])
        with Line(of, shards=shards, roster=roster(of)) as other:
            for shard, each in zip(other.shards, kept, strict=True):
                shard.restore(*each)
            other.restore(*clock)
            assert_same(feed(other, [entries[at:]]), alerts)
            assert (content(other), lives(other), limits(other)) == (content(line), lives(line), limits(line))
