"""ROUGE latches: once reached, an alert ends by an act of the cell and by nothing else."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from line_cases import DAY, MINUTE, PROBLEMS, RATE, START, WEIGHT, Sender, program, run, streams

from engine.acts import SOURCE, closing
from engine.program import Options, Program

LEVELS = {"TECHNIQUE": 1, "ORANGE": 2, "ROUGE": 3}


@settings(max_examples=50)
@given(streams(most=30))
def test_the_life_of_every_alert_is_legal(entries):
    of = program(own=True)
    alerts, _ = run(of, entries)
    acts = {offset for offset, entry in enumerate(entries) if entry[1] == SOURCE}
    open_at = {}
    for row in alerts.iter_rows(named=True):
        place = (row["patient"], row["problem"])
        level = LEVELS[row["level"]]
        kind = row["kind"]
        if kind == "opened":
            assert place not in open_at, "one open alert for a patient and a problem"
            open_at[place] = (row["alert_id"], level)
            continue
        alert, before = open_at[place]
        assert alert == row["alert_id"]
        assert level >= before, "a level is never lowered while the alert is open"
        assert (kind == "raised") == (level > before)
        open_at[place] = (alert, level)
        if kind == "recovered":
            assert level < 3
            del open_at[place]
        elif kind == "latched":
            assert level == 3
        elif kind == "closed":
            assert row["offset"] in acts
            del open_at[place]


@settings(max_examples=30)
@given(streams(most=25, acts=False))
def test_nothing_but_an_act_ends_rouge(entries):
    alerts, line = run(program(own=True), entries)
    assert "closed" not in set(alerts["kind"])
    reached = alerts.filter(level="ROUGE").select("patient", "problem").unique()
    names = [problem for _, problem in line.program.problems]
    for shard in line.shards:
        level = shard.state.arrays["level"]
        for slot, patient in enumerate(shard.state.patient_ids(np.arange(shard.state.used))):
            for problem in reached.filter(pl.col("patient") == patient)["problem"]:
                assert level[slot, names.index(problem)] == 3


def gaining(sender, days):
    return [
        (
            START + day * DAY,
            "gateway",
            sender.packet("p0", "scale", START + day * DAY, {WEIGHT: 80 + 1.6 * day}),
        )
        for day in days
    ]


def test_an_act_closes_the_problem_that_it_names_and_no_other():
    entries = gaining(Sender(), range(4))
    when = entries[-1][0]
    for problem in PROBLEMS:
        act = closing("p0", "essai", problem, 3, workplace="desk", seq=1, t_ms=when)
        alerts, _ = run(program(), [*entries, (when, SOURCE, act)])
        closed = alerts.filter(kind="closed")
        assert closed["problem"].to_list() == (["congestion"] if problem == "congestion" else [])
        assert closed["offset"].to_list() == ([4] if problem == "congestion" else [])


def test_an_act_of_another_source_closes_nothing():
    entries = gaining(Sender(), range(4))
    when = entries[-1][0]
    act = closing("p0", "essai", "congestion", 3, workplace="desk", seq=1, t_ms=when)
    alerts, line = run(program(), [*entries, (when, "gateway", act)])
    assert "closed" not in set(alerts["kind"])
    assert line.accounts.of("gateway").quarantined == {"ACT_NOT_ALLOWED": 1}


def test_an_act_of_another_protocol_or_patient_closes_nothing():
    entries = gaining(Sender(), range(4))
    when = entries[-1][0]
    for patient, protocol in (("p1", "essai"), ("p0", "autre")):
        act = closing(patient, protocol, "congestion", 3, workplace="desk", seq=1, t_ms=when)
        alerts, _ = run(program(), [*entries, (when, SOURCE, act)])
        assert "closed" not in set(alerts["kind"])


def test_after_it_was_closed_a_new_alert_has_an_id_of_its_own():
    sender = Sender()
    entries = gaining(sender, range(4))
    when = entries[-1][0]
    act = closing("p0", "essai", "congestion", 3, workplace="desk", seq=1, t_ms=when)
    more = sender.packet("p0", "scale", when + DAY, {WEIGHT: 88})
    alerts, _ = run(program(), [*entries, (when, SOURCE, act), (when + DAY, "gateway", more)])
    opened = alerts.filter(kind="opened", problem="congestion")
    assert opened.height == 2
    assert opened["alert_id"].n_unique() == 2


def test_a_replay_without_persons_closes_at_recovery():
    of = program()
    alone = Program(of.protocols, Options(deaf_after_ms=0, close_at_recovery=True))
    sender = Sender()
    sender.seq["scale-p0"] = 99
    last = sender.packet("p0", "scale", START + 4 * DAY, {WEIGHT: 80})
    entries = [*gaining(Sender(), range(4)), (START + 4 * DAY, "g", last)]
    alerts, _ = run(alone, entries)
    kinds = alerts.filter(problem="congestion")["kind"].to_list()
    assert kinds[0] == "opened"
    assert kinds[-1] == "closed"


def test_an_alert_of_a_device_whose_clock_is_fast_can_be_closed():
    """Readings may be dated up to five minutes after their receipt: a person may be quicker than that."""
    sender = Sender()
    fast = sender.packet("p0", "belt", START + 4 * MINUTE, {RATE: 130})
    act = closing("p0", "essai", "rythme", 1, workplace="desk", seq=1, t_ms=START + 2 * MINUTE)
    alerts, _ = run(program(), [(START, "gateway", fast), (START + 2 * MINUTE, SOURCE, act)])
    assert alerts["kind"].to_list() == ["opened", "closed"]
