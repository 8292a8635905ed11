"""The desk on real databases: each move once, with its entry, its act for the log, and its notices."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.enrolment import Enrolled
from rules.levels import Level
from triage import audit, database, store
from triage.work import cells, moves, notices, outgoing
from triage.work.clockwork import Kind
from triage.work.desk import VIGIE, Desk
from triage.work.states import ChangedError, MoveError, Outcome, Reason, State, TakenError, Whom

T0 = 1_790_000_000_000
MINUTE = 60_000
CONTENDER = Path(__file__).with_name("contender.py")


class Clock:
    def __init__(self):
        self.now_ms = T0

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(url):
    with store.open(url) as queue:
        cells.take(queue.engine, {"p1": Enrolled(("ic",), "Nord"), "p2": Enrolled(("ic",), "Sud")})
        yield queue


@pytest.fixture
def desk(queue, clock):
    return Desk(queue.engine, clock)


@pytest.fixture
def opened(queue, row, frame):
    def opened(patient="p1", level="ORANGE", **over):
        made = row(patient=patient, level=level, clock_ms=T0, **over)
        queue.apply(frame(made))
        return made["alert_id"]

    return opened


def trail(queue):
    return [(entry.actor, entry.action, entry.subject, entry.cell) for entry in audit.entries(queue.engine)][
        ::-1
    ]


def test_a_move_is_in_the_queue_and_in_the_trail(queue, desk, opened, clock):
    episode = opened(level="ROUGE")
    line = desk.claim(episode, "marie", version=1)
    assert (line["state"], line["owner"], line["version"]) == (State.CLAIMED, "marie", 2)
    kept = queue.episode(episode)
    assert (kept.state, kept.owner, kept.version) == ("claimed", "marie", 2)
    clock.now_ms += MINUTE
    desk.call(episode, "marie", Outcome.REACHED)
    clock.now_ms += MINUTE
    desk.close(episode, "marie", Reason.TREATED, "diurétique augmenté")
    assert queue.queue() == []
    kept = queue.episode(episode)
    assert (kept.state, kept.outcome, kept.answered_ms) == ("closed", "closed", T0 + MINUTE)
    assert trail(queue) == [("marie", action, "p1", "Nord") for action in ("claimed", "called", "closed")]
    details = json.loads(audit.entries(queue.engine)[0].details)
    assert details == {
        "episode": episode, "from": "called", "to": "closed", "reason": "treated", "text": "diurétique augmenté",
    }  # fmt: skip
    assert audit.verify(queue.engine).problem == ""


def test_what_is_refused_leaves_nothing(queue, desk, opened):
    episode = opened()
    desk.claim(episode, "marie")
    with pytest.raises(TakenError, match="marie"):
        desk.claim(episode, "paul")
    with pytest.raises(ChangedError):
        desk.call(episode, "marie", Outcome.REACHED, version=1)
    with pytest.raises(MoveError, match="n'existe pas"):
        desk.claim("0" * 16, "paul")
    assert queue.episode(episode).version == 2
    assert len(trail(queue)) == 1


def test_two_acts_are_two_numbers(queue, desk, opened):
    first, second = opened("p1"), opened("p2")
    for episode in (first, second):
        desk.close(episode, "marie", Reason.ADVICE)
    waiting = outgoing.waiting(queue.engine)
    assert [each.source for each in waiting] == ["cell", "cell"]
    assert waiting[0].body != waiting[1].body
    outgoing.sent(queue.engine, [waiting[0].id], T0)
    assert [each.id for each in outgoing.waiting(queue.engine)] == [waiting[1].id]


def test_a_line_that_the_engine_ends_meanwhile_is_over_for_who_had_it(queue, desk, opened, row, frame):
    episode = opened()
    desk.claim(episode, "marie")
    queue.apply(frame(row(kind="recovered", t=1)))
    assert queue.episode(episode).state == "closed"
    with pytest.raises(MoveError, match="d'elle-même"):
        desk.call(episode, "marie", Outcome.REACHED)
    told = notices.since(queue.engine, 0, account="marie", role="nurse", cells=["Nord"])
    assert [each["kind"] for each in told] == ["ended"]


def test_a_line_that_rises_is_another_version_and_who_has_it_hears(queue, desk, opened, row, frame):
    episode = opened()
    line = desk.claim(episode, "marie")
    queue.apply(frame(row(kind="raised", level="ROUGE", rule="gain_rouge", t=1)))
    with pytest.raises(ChangedError):
        desk.close(episode, "marie", Reason.ADVICE, version=line["version"])
    assert queue.episode(episode).owner == "marie"
    told = notices.since(queue.engine, 0, account="marie", role="nurse", cells=["Nord"])
    assert [each["kind"] for each in told] == ["worse"]


def test_an_act_that_comes_back_through_the_log_changes_nothing(queue, desk, opened, row, frame):
    episode = opened(level="ROUGE")
    desk.close(episode, "marie", Reason.TREATED)
    before = queue.episode(episode)
    queue.apply(frame(row(level="ROUGE", kind="closed", t=1)))
    after = queue.episode(episode)
    for name in ("state", "outcome", "ended_ms", "version", "work"):
        assert getattr(after, name) == getattr(before, name)


def test_reopened_and_another_line_is_open(queue, desk, opened, row, frame):
    episode = opened()
    desk.close(episode, "marie", Reason.ADVICE)
    queue.apply(frame(row(kind="opened", onset=5)))
    with pytest.raises(MoveError, match="une autre alerte est ouverte"):
        desk.reopen(episode, "marie", "trop vite")
    other = queue.queue()[0].id
    desk.close(other, "marie", Reason.ADVICE)
    assert desk.reopen(episode, "marie", "trop vite")["state"] == State.REOPENED
    assert queue.queue()[0].id == episode


def test_time_goes_on_by_itself_and_both_hear_of_an_expired_claim(queue, desk, opened, clock):
    episode = opened(level="ROUGE")
    desk.claim(episode, "marie")
    assert desk.tick() == []
    clock.now_ms += 10 * MINUTE
    assert [each.kind for each in desk.tick()] == [Kind.EXPIRED]
    assert [each.kind for each in desk.tick()] == [Kind.REMINDED]
    assert desk.tick() == []
    clock.now_ms += MINUTE
    assert [each.kind for each in desk.tick()] == [Kind.NEXT_ROLE]

    def kinds(account, role):
        return [
            each["kind"]
            for each in notices.since(queue.engine, 0, account=account, role=role, cells=["Nord"])
        ]

    assert kinds("marie", "nurse") == ["expired", "expired", "reminded"]
    assert kinds("paul", "nurse") == ["expired", "reminded"]
    assert kinds("dr.petit", "cardiologist") == ["next_role"]
    assert notices.since(queue.engine, 0, account="luc", role="nurse", cells=["Sud"]) == []
    assert [each[:2] for each in trail(queue)][1:] == [
        (VIGIE, kind) for kind in ("expired", "reminded", "next_role")
    ]


def test_the_auditor_finds_what_was_forgotten_and_puts_it_before_the_nurses(queue, desk, opened, clock):
    episode = opened()
    assert desk.look_over() == []
    with database.writing(queue.engine) as connection:
        connection.execute(text("UPDATE episode SET state = 'claimed', owner = 'marie'"))
    assert desk.look_over() == [(episode, "claimed, without an end")]
    assert desk.look_over() == []
    assert (queue.episode(episode).state, queue.episode(episode).owner) == ("new", None)
    for role in ("nurse", "administrator"):
        told = notices.since(queue.engine, 0, account="x", role=role, cells=["Nord"])
        assert [each["kind"] for each in told] == ["forgotten"]


def test_the_messages_say_how_many_were_forgotten_and_never_which(queue, desk, opened, caplog):
    lines = {f"patient{i}": opened(f"patient{i}") for i in range(3)}
    assert desk.look_over() == []
    assert not caplog.records
    with database.writing(queue.engine) as connection:
        connection.execute(text("UPDATE episode SET state = 'claimed' WHERE patient <> 'patient0'"))
        connection.execute(text("UPDATE episode SET owner = 'marie' WHERE patient = 'patient1'"))
    desk.look_over()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.endswith(
        "put before the nurses: 2: claimed, without an end (1); claimed, without an end; claimed, by nobody (1)"
    )
    assert not [name for name in (*lines, *lines.values(), "marie") if name in record.message]
    desk.look_over()
    assert len(caplog.records) == 1


def test_a_bulk_move_says_how_many_and_why_not(queue, desk, opened):
    episodes = [opened(f"p{i}") for i in range(5)]
    desk.claim(episodes[2], "paul")
    done = desk.bulk(
        episodes, lambda episode: desk.close(episode, "marie", Reason.EQUIPMENT, "balances changées")
    )
    assert (done.done, done.of) == (4, 5)
    [(place, why)] = done.refused
    assert (place, why.owner) == (2, "paul")
    assert [line["id"] for line in done.moved] == [*episodes[:2], *episodes[3:]]


def test_handed_over_is_told(queue, desk, opened):
    episode = opened()
    desk.claim(episode, "marie")
    assert desk.hand_over(episode, "marie", "paul")["owner"] == "paul"
    told = notices.since(queue.engine, 0, account="paul", role="nurse", cells=["Nord"])
    assert [(each["kind"], each["details"]["by"]) for each in told] == [("handed over", "marie")]


def test_a_note_is_kept_whoever_has_the_line_and_asks_nobody_anew(queue, desk, opened):
    episode = opened()
    desk.escalate(episode, "marie", Whom.CARDIOLOGIST, "avis")
    before = queue.episode(episode)
    line = desk.note(episode, "paul", " rappelle à 18 h ")
    assert [(each["by"], each["text"]) for each in line["work"]["notes"]] == [("paul", "rappelle à 18 h")]
    now = queue.episode(episode)
    assert now.version == before.version + 1
    assert (now.state, now.owner, now.next_ms) == (before.state, before.owner, before.next_ms)
    with pytest.raises(ChangedError):
        desk.close(episode, "marie", Reason.ADVICE, version=before.version)
    told = notices.since(queue.engine, 0, account="x", role="cardiologist", cells=["Nord"])
    assert [each["kind"] for each in told] == ["escalated"]
    desk.escalate(episode, "marie", Whom.CARDIOLOGIST, "et encore")
    told = notices.since(queue.engine, 0, account="x", role="cardiologist", cells=["Nord"])
    assert [each["kind"] for each in told] == ["escalated"] * 2
    for i in range(12):
        desk.close(episode, "marie", Reason.ADVICE) if i == 6 else desk.note(episode, "paul", f"n{i}")
    assert [each["text"] for each in queue.episode(episode).work["notes"]][-1] == "n11"
    assert len(queue.episode(episode).work["notes"]) == moves.MOST_NOTES
    with pytest.raises(MoveError, match="motif"):
        desk.note(episode, "paul", " ")


def test_cells_follow_the_enrolment(queue):
    assert cells.cells(queue.engine) == ["Nord", "Sud"]
    both = {"p1": Enrolled(("ic",), "Sud"), "p2": Enrolled(("ic",), "Sud"), "p3": Enrolled(("ic",))}
    assert cells.take(queue.engine, both) == 2
    assert cells.take(queue.engine, both) == 0
    with queue.engine.connect() as connection:
        assert [cells.cell_of(connection, patient) for patient in ("p1", "p3", "p9")] == [
            "Sud",
            cells.NO_CELL,
            cells.NO_CELL,
        ]


def start(*command):
    return subprocess.Popen(
        [sys.executable, CONTENDER, *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_four_processes_on_the_same_lines_give_each_one_winner(queue, row, frame, url):
    """The figure of 3,000 is in tests/triage/work/contention.py; here each is as real and fewer."""
    count = 80
    queue.apply(frame(*(row(patient=f"p{i}", problem=f"x{i}") for i in range(count))))
    names = ["marie", "paul", "luc", "anne"]
    running = [start("claim", url, name) for name in names]
    for each in running:
        assert each.stdout.readline() == "ready\n"
    for each in running:
        each.stdin.write("\n")
        each.stdin.flush()
    won = []
    for each in running:
        said = each.communicate(timeout=120)[0].split()
        assert each.returncode == 0
        won.append(int(said[0]))
        assert won[-1] + int(said[1]) == count
    assert sum(won) == count
    owners = [line.owner for line in queue.queue()]
    assert [owners.count(name) for name in names] == won
    found = audit.verify(queue.engine)
    assert (found.entries, found.problem) == (count, "")


def test_a_clockwork_killed_at_any_moment_does_each_step_once(queue, row, frame, url, clock):
    """Kill -9 in the middle of expiry, reminder and escalation; each begun again until all is done."""
    chance = random.Random(1)
    desk = Desk(queue.engine, clock)
    rows = [row(patient=f"p{i}", problem=f"x{i}", level="ROUGE", clock_ms=T0) for i in range(24)]
    queue.apply(frame(*rows))
    episodes = [line.id for line in queue.queue()]
    for episode in episodes[:8]:
        desk.claim(episode, "marie")
    for episode in episodes[8:16]:
        desk.escalate(episode, "marie", Whom.CARDIOLOGIST, "à voir")
    later = T0 + 31 * MINUTE
    entries = audit.verify(queue.engine).entries
    for _ in range(4):
        ticking = start("tick", url, later)
        assert ticking.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.005, 0.15))
        os.kill(ticking.pid, signal.SIGKILL)
        ticking.communicate()
    clock.now_ms = later
    while desk.tick():
        pass
    assert audit.verify(queue.engine).problem == ""
    done = [entry for entry in audit.entries(queue.engine, at_most=10_000) if entry.id > entries]
    kinds = {}
    for entry in done:
        kinds.setdefault(json.loads(entry.details)["episode"], []).append(entry.action)
    for episode in episodes[:8]:
        assert kinds[episode][::-1] == ["expired", "reminded"]
    for episode in episodes[8:16]:
        assert kinds[episode] == ["unanswered"]
    for episode in episodes[16:]:
        assert kinds[episode] == ["reminded"]
    assert desk.look_over() == []
    with queue.engine.connect() as connection:
        told = connection.execute(text("SELECT kind, count(*) FROM notice GROUP BY kind")).all()
    # Whom it is: expired says it to the owner and to all, unanswered to the cardiologist alone, escalated when it was.
    assert dict(map(tuple, told)) == {"expired": 16, "reminded": 16, "unanswered": 8, "escalated": 8}
    assert queue.queue()[0].level == Level.ROUGE
