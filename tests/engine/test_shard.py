import numpy as np
from line_cases import (
    DAY,
    HOUR,
    MINUTE,
    OPTIONS,
    START,
    SYSTOLIC,
    WEIGHT,
    Sender,
    assert_same,
    content,
    feed,
    numbered,
    program,
    roster,
    run,
)

from engine.acts import closed_problems, closing, keys
from engine.durable import decoder
from engine.line import Line
from engine.program import Program, problem_key
from engine.roster import Member, Roster
from engine.shard import Clock, Shard
from ingest.packet import act
from kernels.advance import APPLIED, DUPLICATE, LATE


def decoded(of, entries):
    return decoder(of).decode(numbered(entries))[0]


def clock_of(batch):
    return Clock(batch.receipt_ms.copy(), int(batch.receipt_ms.max()), np.empty((0, 2), np.int64))


def test_outcomes_are_in_the_order_of_the_rows():
    sender = Sender()
    a = [sender.packet("p0", "scale", START + day * DAY, {WEIGHT: 80}) for day in (9, 0, 8)]
    b = [sender.packet("p1", "scale", START + day * DAY, {WEIGHT: 80}) for day in (1, 2)]
    bodies = [a[0], b[0], a[1], b[1], a[0], a[2], b[0]]
    batch = decoded(program(), [(START + 10 * DAY, "g", body) for body in bodies])
    shard = Shard(program())
    outcome = shard.process(batch, clock_of(batch))
    assert outcome.rows.tolist() == list(range(7))
    assert outcome.applied.tolist() == [APPLIED, APPLIED, LATE, APPLIED, DUPLICATE, APPLIED, DUPLICATE]
    assert shard.state.used == 2
    assert shard.state.patient_ids(np.array([0, 1])) == ["p0", "p1"]


def test_only_the_rows_that_are_given_are_touched():
    sender = Sender()
    bodies = [sender.packet(f"p{k % 3}", "scale", START + k * HOUR, {WEIGHT: 80 + k}) for k in range(9)]
    batch = decoded(program(), [(START + DAY, "g", body) for body in bodies])
    shard = Shard(program())
    outcome = shard.process(batch, clock_of(batch), np.array([1, 4, 7]))
    assert outcome.applied.tolist() == [APPLIED] * 3
    assert shard.state.patient_ids(np.arange(shard.state.used)) == ["p1"]


def test_a_patient_is_counted_from_when_the_line_first_knew_of_it():
    """Not from the event: what an old device brings out of its memory is no silence."""
    sender = Sender()
    old = sender.packet("p0", "scale", START - 30 * DAY, {WEIGHT: 80})
    alerts, line = run(program(), [(START, "g", old), (START + HOUR, "heartbeat", b"")])
    assert alerts.is_empty()
    arrays = line.shards[0].state.arrays
    assert arrays["first_ms"][0] == START
    assert (arrays["contact"][0] == START).all()


def test_a_packet_is_one_moment():
    """All its values are in before any rule looks: 85 mmHg with its pulse is one event."""
    sender = Sender()
    body = sender.packet("p0", "cuff", START, {SYSTOLIC: 74, 3: 50, 5: 130})
    alerts, _ = run(program(), [(START, "g", body)])
    assert sorted(alerts["rule"].to_list()) == ["fast", "very_low"]
    assert alerts["t_ms"].unique().to_list() == [START]


def test_a_series_that_overflows_shows_what_the_rule_saw():
    """Hundreds of readings of a patient in one batch pass through a ring of a few: cut or not, the same evidence."""
    rng = np.random.default_rng(7)
    sender = Sender()
    entries = []
    for k in range(400):
        t = START + k * 3 * HOUR
        kind, values = ("scale", {WEIGHT: 80 + rng.integers(0, 30) / 10})
        if k % 3 == 0:
            kind, values = "cuff", {SYSTOLIC: int(rng.choice((70, 85, 100, 120))), 3: 50}
        late = int(rng.integers(0, 30)) * HOUR * (k % 2)
        entries.append((t, "g", sender.packet("p0", kind, t - late, values)))
    whole, line = run(program(), entries)
    pieces, other = run(program(), entries, cuts=range(len(entries)))
    assert whole.height > 50
    visible = int(line.shards[0].plan.visible.max())
    assert visible < 260
    assert_same(pieces, whole)
    assert content(other) == content(line)
    for row in whole.iter_rows(named=True):
        assert all(point["t_ms"] <= row["clock_ms"] for point in row["points"])


def test_a_batch_of_more_transitions_than_there_is_room_for():
    sender = Sender()
    entries = []
    for k in range(60):
        for p in range(40):
            t = START + k * 2 * HOUR + p
            low = {SYSTOLIC: 70 if k % 2 else 120, 3: 50, 5: 130 if k % 2 else 60}
            entries.append((t, "g", sender.packet(f"p{p}", "cuff", t, low)))
    whole, _ = run(program(), entries)

    def narrow(room):
        line = Line(program())
        shard = line.shards[0]
        judge = shard.judge
        judge.transitions = type(judge.transitions)(*(np.empty(room, c.dtype) for c in judge.transitions))
        return feed(line, [numbered(entries)])

    assert whole.height > 1000
    assert_same(narrow(2 * len(program().rule_rows) + 2), whole)


def test_who_is_not_followed_has_no_alerts():
    of = program()
    sender = Sender()
    entries = [
        (START + day * DAY, "g", sender.packet(p, "scale", START + day * DAY, {WEIGHT: 80 + 3 * day}))
        for day in range(3)
        for p in ("p0", "p1")
    ]
    line = Line(of, roster=Roster(of, {"p0": Member(())}))
    alerts = feed(line, [numbered(entries), [(9, START + 20 * DAY, "g", b"")]])
    assert alerts["patient"].unique().to_list() == ["p1"]
    assert len(content(line)["p0"][1]["weight"]) == 3  # but readings are kept


def test_own_limits_are_those_of_the_patient():
    of = program(own=True)
    sender = Sender()
    bodies = b"".join(sender.packet(f"p{p}", "scale", START, {WEIGHT: 90}) for p in range(3))
    line = Line(of, roster=roster(of))
    alerts = feed(line, [numbered([(START, "g", bodies)])])
    assert alerts.filter(rule="dry")["patient"].to_list() == ["p0"]
    values = line.shards[0].judge.limit(0, "dry_kg", np.array([0, 1, 2], np.int32))
    np.testing.assert_array_equal(values, [79.5, np.nan, np.nan])
    assert line.shards[0].judge.limit(0, "gain_kg", np.array([0, 1], np.int32)) == 2.0


def test_ids_are_told_apart_whatever_their_hash(monkeypatch):
    """Two patients of one hash are two patients: the ids are compared."""
    sender = Sender()
    entries = [(START, "g", sender.packet(p, "scale", START, {WEIGHT: 80})) for p in ("a", "b", "ab", "a")]
    batch = decoded(program(), entries)
    batch.patient[:] = 77
    shard = Shard(program())
    shard.process(batch, clock_of(batch))
    assert shard.state.patient_ids(np.arange(shard.state.used)) == ["a", "b", "ab"]
    assert shard.state.arrays["length"].sum() == 3  # the fourth is a's again, at the same time


# Acts ------------------------------------------------------------------------------------------------------------


def test_keys_are_of_31_bits_and_those_of_the_program():
    of = program()
    found = keys(of)
    assert found[problem_key("essai", "congestion")] == ("essai", "congestion")
    assert len(found) == len(of.problems)
    assert all(0 <= key < 2**31 for key in found)


def test_two_problems_of_one_key_are_refused(monkeypatch):
    import pytest

    from engine import acts

    monkeypatch.setattr(acts, "problem_key", lambda protocol, problem: 5)
    with pytest.raises(ValueError, match="have the same key"):
        keys(program())


def test_what_an_act_closes_is_read_from_its_packet():
    of = program()
    order = np.array(list(keys(of)), np.int64)
    key = problem_key("essai", "pression")
    sender = Sender()
    bodies = [
        closing("p0", "essai", "pression", 1, workplace="w", seq=1, t_ms=START),
        sender.packet("p0", "scale", START, {WEIGHT: 80}),
        closing("p0", "essai", "congestion", 63, workplace="w", seq=2, t_ms=START),
        closing("p0", "essai", "unknown", 1, workplace="w", seq=3, t_ms=START),
        act("p0", "w", 4, START, key | 1 << 32, 1),
        act("p0", "w", 5, START, key | 1 << 63, 1),
        act("p0", "w", 6, START, 1, 1),  # its key is that of the verb
    ]
    batch = decoded(of, [(START, "cell", body) for body in bodies])
    assert len(batch) == 7
    problems = [of.problems.index((0, name)) for name in ("pression", "congestion")]
    assert closed_problems(batch, np.arange(7), order).tolist() == [
        problems[0],
        -1,
        problems[1],
        -1,
        -1,
        -1,
        -1,
    ]
    assert closed_problems(batch, np.array([2, 1]), order).tolist() == [problems[1], -1]
    assert closed_problems(batch, np.array([], np.int64), order).tolist() == []


def test_ticks_are_those_of_the_clock_and_not_of_batches():
    """A delayed rule fires at the first tick after its delay, 15 minutes apart, whenever the batch ends."""
    sender = Sender()
    low = sender.packet("p0", "cuff", START + 7 * MINUTE, {SYSTOLIC: 80, 3: 50})
    for end in (3 * HOUR, 2 * HOUR + 15 * MINUTE, 26 * HOUR):
        alerts, _ = run(program(), [(START + 8 * MINUTE, "g", low), (START + end, "heartbeat", b"")])
        opened = alerts.filter(rule="low", kind="opened")
        assert opened["clock_ms"].to_list() == [START + 2 * HOUR + OPTIONS.tick_ms]
        assert opened["onset_ms"].to_list() == [START + 7 * MINUTE]
    alerts, _ = run(
        program(), [(START + 8 * MINUTE, "g", low), (START + 2 * HOUR + 14 * MINUTE, "heartbeat", b"")]
    )
    assert alerts.is_empty()


def test_a_program_of_two_protocols_keeps_them_apart():
    from engine.protocols import load_all

    of = Program([*program().protocols, *load_all(["insuffisance_cardiaque"])], OPTIONS)
    sender = Sender()
    entries = [
        (START + day * DAY, "g", sender.packet("p0", "scale", START + day * DAY, {WEIGHT: 80 + 1.5 * day}))
        for day in range(4)
    ]
    both, _ = run(of, entries)
    for name in ("small", "insuffisance_cardiaque"):
        alone, _ = run(program(name), entries)
        theirs = both.filter(protocol=program(name).protocols[0].id)
        assert_same(theirs, alone)
