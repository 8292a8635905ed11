"""Moves and time on one line: what is refused, what becomes of it, and what holds after any of them."""

import copy
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.levels import Level
from triage.episode import follow
from triage.policy import Policy
from triage.work import clockwork, moves
from triage.work.clockwork import Kind
from triage.work.states import MoveError, Outcome, Reason, State, TakenError, Whom

MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = 1_790_000_000_000
POLICY = Policy()


def row(kind="opened", level=Level.ORANGE, at=0, **over):
    base = {
        "id": at + 1, "alert_id": "a", "patient": "p", "protocol": "ic", "problem": "weight", "rule": "gain",
        "level": level, "kind": kind, "onset_ms": NOW, "t_ms": NOW + at, "clock_ms": NOW + at, "features": "[]",
    }  # fmt: skip
    return base | over


def new(level=Level.ORANGE, **over):
    return follow(None, row(level=level, **over), POLICY)


def test_a_claim_is_one_nurses_and_the_other_is_told_whose():
    line = new()
    moves.claim(line, "marie", NOW + 1)
    assert (line["state"], line["owner"], line["next_ms"]) == (
        State.CLAIMED,
        "marie",
        NOW + 1 + POLICY.claim_ms,
    )
    with pytest.raises(TakenError, match="marie") as told:
        moves.claim(line, "paul", NOW + 2)
    assert (told.value.owner, told.value.since_ms) == ("marie", NOW + 1)
    for move in (
        lambda: moves.call(line, "paul", NOW + 2, Outcome.REACHED),
        lambda: moves.close(line, "paul", NOW + 2, Reason.ADVICE),
        lambda: moves.escalate(line, "paul", NOW + 2, Whom.SAMU, "x"),
        lambda: moves.mute(line, "paul", NOW + 2, NOW + HOUR, "x"),
    ):
        with pytest.raises(TakenError):
            move()
    with pytest.raises(MoveError, match="que vous avez prise"):
        moves.release(line, "paul", NOW + 2)
    moves.claim(line, "paul", NOW + 3, over=True)
    assert line["owner"] == "paul"


def test_a_claim_on_which_nothing_happens_goes_back_and_its_limit_went_on():
    line = new(Level.ROUGE)
    due = line["due_ms"]
    moves.claim(line, "marie", NOW + MINUTE)
    at = line["next_ms"]
    assert clockwork.elapse(line, at - 1) is None
    elapsed = clockwork.elapse(line, at)
    assert (elapsed.kind, elapsed.owner) == (Kind.EXPIRED, "marie")
    assert (line["state"], line["owner"], line["due_ms"]) == (State.NEW, None, due)
    # It is overdue, so the nurses hear of it at once.
    assert clockwork.elapse(line, at).kind is Kind.REMINDED


def test_rouge_that_nobody_takes_reminds_at_4_minutes_and_calls_the_next_role_at_9_and_again():
    line = new(Level.ROUGE)
    heard = []
    for minute in range(30):
        while elapsed := clockwork.elapse(line, NOW + minute * MINUTE):
            heard.append((minute, elapsed.kind, elapsed.role))
    assert heard == [
        (4, Kind.REMINDED, "nurse"),
        (9, Kind.NEXT_ROLE, "cardiologist"),
        (18, Kind.NEXT_ROLE, "cardiologist"),
        (27, Kind.NEXT_ROLE, "cardiologist"),
    ]


def test_a_call_without_answer_comes_back_when_it_said():
    line = new()
    moves.call(line, "marie", NOW + 1, Outcome.NO_ANSWER, NOW + HOUR)
    assert (line["state"], line["due_ms"], line["answered_ms"]) == (State.CALLED, NOW + HOUR, NOW + 1)
    with pytest.raises(TakenError):
        moves.claim(line, "paul", NOW + 2)
    assert clockwork.elapse(line, NOW + HOUR).kind is Kind.CALL_DUE
    assert line["state"] == State.NEW
    assert line["due_ms"] == NOW + HOUR + POLICY.orange_ms
    assert [each["outcome"] for each in line["work"]["calls"]] == ["no_answer"]


@pytest.mark.parametrize("back", [NOW, NOW - 1, NOW + 8 * 24 * HOUR])
def test_a_call_back_is_to_come(back):
    with pytest.raises(MoveError, match="heure à venir"):
        moves.call(new(), "marie", NOW, Outcome.CALL_BACK, back)


def test_a_call_back_says_when():
    with pytest.raises(MoveError, match="quelle heure"):
        moves.call(new(), "marie", NOW, Outcome.CALL_BACK)


def test_escalated_and_not_answered_is_before_the_nurses_again_and_the_cardiologist_hears_of_it():
    line = new(Level.ROUGE)
    moves.escalate(line, "marie", NOW, Whom.CARDIOLOGIST, "prise de 4 kg")
    assert line["owner"] is None
    elapsed = clockwork.elapse(line, NOW + POLICY.cardiologist_ms)
    assert (elapsed.kind, elapsed.role, line["state"]) == (Kind.UNANSWERED, "cardiologist", State.NEW)
    moves.escalate(line, "marie", NOW, Whom.SAMU, "détresse")
    assert line["owner"] == "marie"
    moves.claim(line, "dr.petit", NOW + 1)
    assert line["owner"] == "dr.petit"


def test_a_mute_has_an_end_an_owner_and_a_reason():
    line = new()
    moves.mute(line, "marie", NOW, NOW + HOUR, "voit son médecin à 11 h")
    assert (line["state"], line["owner"], line["until_ms"]) == (State.MUTED, "marie", NOW + HOUR)
    assert line["work"]["muted"]["reason"] == "voit son médecin à 11 h"
    assert clockwork.elapse(line, NOW + HOUR).kind is Kind.MUTE_ENDED
    assert line["state"] == State.NEW
    for level, longest in ((Level.ROUGE, POLICY.mute_rouge_ms), (Level.ORANGE, POLICY.mute_ms)):
        with pytest.raises(MoveError, match=f"dans les {longest // HOUR} heures"):
            moves.mute(new(level), "marie", NOW, NOW + longest + 1, "x")
        moves.mute(new(level), "marie", NOW, NOW + longest, "x")
    with pytest.raises(MoveError, match="un motif est nécessaire"):
        moves.mute(new(), "marie", NOW, NOW + HOUR, "  ")


def test_no_data_cannot_be_muted():
    silence = '[{"name":"silence_h","value":54.0,"unit":"h"}]'
    with pytest.raises(MoveError, match="absence de données"):
        moves.mute(new(features=silence), "marie", NOW, NOW + HOUR, "x")
    # Nor what it joined later.
    line = follow(new(), row("evidence", at=5, rule="no_weight_orange", features=silence), POLICY)
    with pytest.raises(MoveError, match="absence de données"):
        moves.mute(line, "marie", NOW, NOW + HOUR, "x")


@pytest.mark.parametrize(
    ("worse", "back"),
    [
        (row("raised", Level.ROUGE, 5, rule="gain_rouge"), True),
        (row("evidence", Level.ORANGE, 5, rule="breathless"), True),
        (row("evidence", Level.ORANGE, 5), False),
        (row("recovered", Level.ORANGE, 5), None),
    ],
)
def test_a_mute_ends_when_the_patient_gets_worse(worse, back):
    line = new()
    moves.mute(line, "marie", NOW, NOW + 24 * HOUR, "x")
    line = follow(line, worse, POLICY)
    states = {True: State.NEW, False: State.MUTED, None: State.CLOSED}
    assert line["state"] == states[back]
    if worse["level"] == Level.ROUGE:
        assert line["due_ms"] == NOW + 5 + POLICY.rouge_ms


def test_what_was_over_and_is_back_is_no_longer_muted():
    line = follow(new(Level.ROUGE), row("latched", Level.ROUGE, 5), POLICY)
    moves.mute(line, "marie", NOW + 6, NOW + HOUR, "x")
    line = follow(line, row("evidence", Level.ROUGE, 7), POLICY)
    assert line["state"] == State.NEW


def test_a_line_that_rises_stays_with_who_has_it_and_comes_back_from_who_waits():
    for move, state in (
        (lambda line: moves.claim(line, "marie", NOW), State.CLAIMED),
        (lambda line: moves.call(line, "marie", NOW, Outcome.MESSAGE_LEFT), State.NEW),
        (lambda line: moves.escalate(line, "marie", NOW, Whom.CARDIOLOGIST, "x"), State.NEW),
    ):
        line = new()
        move(line)
        version = line["version"]
        line = follow(line, row("raised", Level.ROUGE, 5, rule="gain_rouge"), POLICY)
        assert line["state"] == state
        assert line["version"] > version
        assert line["due_ms"] == NOW + 5 + POLICY.rouge_ms


def test_closing_has_a_reason_and_is_told_to_who_comes_late():
    line = new(Level.ROUGE)
    with pytest.raises(MoveError, match="motif"):
        moves.close(line, "marie", NOW, Reason.OTHER)
    moves.close(line, "marie", NOW + 7, Reason.NOT_RELEVANT, "balance déplacée")
    assert (line["state"], line["outcome"], line["ended_ms"], line["next_ms"]) == (
        "closed",
        "closed",
        NOW + 7,
        None,
    )
    with pytest.raises(MoveError, match=r"marie a déjà clôturé cette alerte \(non pertinente\)"):
        moves.claim(line, "paul", NOW + 8)
    with pytest.raises(MoveError, match="motif"):
        moves.reopen(line, "paul", NOW + 9, "")
    moves.reopen(line, "paul", NOW + 9, "fermée par erreur")
    assert (line["state"], line["outcome"], line["due_ms"]) == ("reopened", None, NOW + 9 + POLICY.rouge_ms)


def test_what_came_to_an_end_by_itself_says_so():
    line = follow(new(), row("recovered", at=5), POLICY)
    with pytest.raises(MoveError, match="terminée d'elle-même"):
        moves.claim(line, "marie", NOW)


def test_numbers_of_reasons_never_change():
    """They are in the log of years ago."""
    names = ["treated", "advice", "wrong_measurement", "equipment", "in_hospital", "not_relevant", "other"]
    assert [(reason.value, reason.number) for reason in Reason] == [
        (name, i + 1) for i, name in enumerate(names)
    ]


WHO = st.sampled_from(["marie", "paul"])
STEP = st.one_of(
    st.tuples(st.just("claim"), WHO, st.booleans()),
    st.tuples(st.just("release"), WHO),
    st.tuples(st.just("call"), WHO, st.sampled_from(Outcome), st.sampled_from([None, 5 * MINUTE, HOUR])),
    st.tuples(st.just("escalate"), WHO, st.sampled_from(Whom), st.just("note")),
    st.tuples(st.just("mute"), WHO, st.sampled_from([MINUTE, 3 * HOUR, 100 * HOUR]), st.just("reason")),
    st.tuples(st.just("close"), WHO, st.sampled_from(Reason), st.sampled_from(["", "text"])),
    st.tuples(st.just("reopen"), WHO, st.just("reason")),
    st.tuples(st.just("hand_over"), WHO, WHO),
    st.tuples(st.just("note"), WHO, st.just("text")),
    st.tuples(
        st.just("engine"),
        st.sampled_from(["opened", "raised", "evidence", "recovered", "latched", "closed"]),
        st.sampled_from(Level),
        st.sampled_from(["gain", "breathless"]),
        st.booleans(),
    ),
    st.tuples(st.just("time")),
)  # fmt: skip


def act(line, step, now):
    name, *given_ = step
    match name:
        case "claim":
            moves.claim(line, given_[0], now, over=given_[1])
        case "call":
            moves.call(line, given_[0], now, given_[1], None if given_[2] is None else now + given_[2])
        case "mute":
            moves.mute(line, given_[0], now, now + given_[1], given_[2])
        case "release":
            moves.release(line, given_[0], now)
        case "hand_over":
            moves.hand_over(line, given_[0], given_[1], now)
        case "engine":
            kind, level, rule, silent = given_
            figures = '[{"name":"silence_h"}]' if silent else "[]"
            return follow(line, row(kind, level, now - NOW, rule=rule, features=figures), POLICY)
        case "time":
            clockwork.elapse(line, now)
        case _:
            getattr(moves, name)(line, given_[0], now, *given_[1:])
    return line


@given(
    st.sampled_from(Level),
    st.lists(st.tuples(STEP, st.sampled_from([1, MINUTE, 20 * MINUTE, 30 * HOUR])), max_size=12),
)
@settings(max_examples=400, deadline=None)
def test_after_any_moves_an_open_line_has_a_valid_next_step(level, steps):
    line, now = new(level), NOW
    for step, passed in steps:
        now += passed
        if line["ended_ms"] is None:
            while clockwork.elapse(line, now):  # the clockwork comes every second
                pass
        before = copy.deepcopy(line)
        try:
            line = act(line, step, now)
        except MoveError:
            # What is refused leaves the line as it was.
            assert line == before
            continue
        assert line["version"] >= before["version"]
        if line["state"] != before["state"]:
            assert line["version"] > before["version"]
        if line["ended_ms"] is not None:
            assert line["state"] == State.CLOSED
            assert line["next_ms"] is None
            # ROUGE ends by a person's hand only: here, or by the act that comes back through the log.
            if before["ended_ms"] is None and line["level"] == Level.ROUGE:
                assert step[0] == "close" or step[1] == "closed"
            continue
        assert clockwork.flaw(line, now) == ""
        assert before["ended_ms"] is not None or line["level"] >= before["level"]
        if line["state"] == State.MUTED:
            assert not (line["silent"] and step[0] == "mute")
            assert line["owner"]
            assert line["work"]["muted"]["reason"]
            assert line["until_ms"] > now or step[0] != "mute"


def test_flaws_are_found():
    def flawed(**over):
        line = new()
        moves.claim(line, "marie", NOW)
        return clockwork.flaw(line | over, NOW)

    assert flawed() == ""
    assert flawed(next_ms=None) == "no next step; claimed, without an end"
    assert flawed(next_ms=NOW - clockwork.GRACE_MS - 1, until_ms=NOW - clockwork.GRACE_MS - 1)
    assert flawed(until_ms=None) == "claimed, without an end"
    assert flawed(owner=None) == "claimed, by nobody"
    assert flawed(state="new") == "new, and of an owner"
    assert Counter(flawed(state="closed").split("; "))["closed, and not ended"] == 1
