"""Sessions end when they must, and nothing brings them back."""

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from triage.people.administration import NewAccount
from triage.people.person import Role, SignedIn
from triage.people.sessions import ABSOLUTE_MS, IDLE_MS

T0 = 1_790_000_000_000
MINUTE = 60_000
PASSWORD = "bleu comme une orange"  # noqa: S105


def statements(engine):
    """What is sent to the database from now on, with its values."""
    sent = []

    def send(_connection, _cursor, statement, values, *_):
        if statement != "BEGIN":
            sent.append((statement, values))

    event.listen(engine, "before_cursor_execute", send)
    return sent


def test_a_session_ends_when_nothing_is_asked_for_half_an_hour(world):
    come = world.account()
    assert world.people.who(come.token, T0 + IDLE_MS - 1, touch=False)
    assert world.people.who(come.token, T0 + IDLE_MS) is None


def test_a_session_goes_on_while_it_is_used_and_not_beyond_twelve_hours(world):
    come = world.account()
    for t in range(T0, T0 + ABSOLUTE_MS, 20 * MINUTE):
        assert world.people.who(come.token, t).name == "marie"
    assert world.people.who(come.token, T0 + ABSOLUTE_MS - 1)
    assert world.people.who(come.token, T0 + ABSOLUTE_MS) is None
    assert world.people.who(come.token, T0 + ABSOLUTE_MS + IDLE_MS) is None


def test_what_a_page_asks_by_itself_keeps_no_session(world):
    come = world.account()
    for t in range(T0, T0 + IDLE_MS, MINUTE):
        assert world.people.who(come.token, t, touch=False)
    assert world.people.who(come.token, T0 + IDLE_MS) is None


def test_that_somebody_was_seen_is_written_once_a_minute_and_read_in_one_query(world):
    come = world.account()
    sent = statements(world.engine)
    for t in range(T0, T0 + MINUTE, 1000):
        assert world.people.who(come.token, t)
    assert len(sent) == 60
    assert not [each for each, _ in sent if "UPDATE" in each]
    world.people.who(come.token, T0 + MINUTE)
    world.people.who(come.token, T0 + MINUTE + 1)
    assert len([each for each, _ in sent if "UPDATE" in each]) == 1


def test_the_query_goes_by_a_primary_key(world):
    come = world.account()
    sent = statements(world.engine)
    world.people.who(come.token, T0)
    if world.engine.dialect.name != "sqlite":
        return  # a plan for three rows says nothing there
    ((query, values),) = sent
    with world.engine.connect() as connection:
        plan = " / ".join(
            row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)
        )
    assert "SCAN" not in plan
    assert plan.count("SEARCH") == 3


@pytest.mark.parametrize("token", ["", "x", "é", "\ud800", "x" * 100_000])
def test_what_was_never_a_token(world, token):
    world.account()
    assert world.people.who(token, T0) is None
    world.people.sign_out(token, T0)
    assert ("marie", "signed out") not in world.trail()


def test_who_signs_out_is_out(world):
    come = world.account()
    other = world.people.sign_in("marie", PASSWORD, "", T0)
    world.people.sign_out(come.token, T0 + 1)
    world.people.sign_out(come.token, T0 + 1)
    assert world.people.who(come.token, T0 + 1) is None
    assert world.people.who(other.token, T0 + 1)
    assert world.trail().count(("marie", "signed out")) == 1


@pytest.mark.parametrize("act", ["disable", "reset"])
def test_who_is_disabled_or_given_a_new_password_is_out_everywhere(world, act):
    come = world.account()
    getattr(world.people, act)("marie", "shell:root", T0)
    assert world.people.who(come.token, T0 + 1) is None


def test_an_account_that_is_changed_is_another_person_with_the_next_request(world):
    come = world.account()
    world.people.change(NewAccount("marie", Role.CARDIOLOGIST, ["Sud"], "Dr M."), "shell:root", T0)
    person = world.people.who(come.token, T0)
    assert (person.role, person.cells, person.display) == (Role.CARDIOLOGIST, ("Sud",), "Dr M.")


def test_the_database_holds_nothing_that_opens_a_door(world):
    come = world.account()
    world.enrol(come)
    rows = []
    with world.engine.connect() as connection:
        for table in ("account", "session", "second_factor", "recovery"):
            rows += connection.execute(text(f"SELECT * FROM {table}")).all()  # noqa: S608
    kept = repr(rows)
    for secret in (come.token, PASSWORD, world.secrets["marie"]):
        assert secret not in kept


def test_what_is_left_of_sessions_is_swept(world):
    world.account()
    kept = world.people.sign_in("marie", PASSWORD, "", T0 + IDLE_MS)
    assert world.people.sweep(T0 + IDLE_MS) == 1
    assert world.people.who(kept.token, T0 + IDLE_MS)
    assert world.people.sweep(T0 + IDLE_MS) == 0


def test_a_session_is_shown_by_nothing_that_is_printed(world):
    come = world.account()
    shown = repr(come) + repr(come.person)
    assert come.token not in shown
    assert come.person.csrf not in shown
    assert len(come.person.csrf) == 43


def test_how_long_a_session_may_last(world):
    for options in ({"idle_ms": MINUTE}, {"idle_ms": 2 * ABSOLUTE_MS}):
        with pytest.raises(ValueError, match="legal: 60000 < idle"):
            world.another(**options)


steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "ask", "look", "out", "disable", "reset", "password", "sweep"]),
        st.integers(0, 3),
        st.sampled_from([0, 1, MINUTE - 1, MINUTE, 10 * MINUTE, IDLE_MS - 1, IDLE_MS, 4 * IDLE_MS]),
    ),
    max_size=25,
)


@given(steps)
@example([("come", 0, 0), ("disable", 0, 0), ("reset", 0, 0), ("ask", 0, 0)])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_session_survives_its_end(tmp_path_factory, make_world, steps):
    """Whatever is done in whatever order: who is let in has a session that nothing has ended."""
    world = make_world(tmp_path_factory.mktemp("w") / "q.sqlite")
    people, now, password = world.people, T0, PASSWORD
    begun = world.account().token
    # Token, when it began, when it was last used: at the latest, when it was not ended.
    alive = {begun: (T0, T0)}
    known = [begun]
    for step, which, wait in steps:
        now += wait
        token = known[which % len(known)]
        if step == "come":
            come = people.sign_in("marie", password, "", now)
            if isinstance(come, SignedIn):
                known.append(come.token)
                alive[come.token] = (now, now)
        elif step in {"ask", "look"}:
            person = people.who(token, now, touch=step == "ask")
            if person is None:
                alive.pop(token, None)
                continue
            assert token in alive
            begin, used = alive[token]
            assert now < begin + ABSOLUTE_MS
            assert now < used + IDLE_MS
            if step == "ask":
                alive[token] = (begin, now)
        elif step == "out":
            people.sign_out(token, now)
            alive.pop(token, None)
        elif step in {"disable", "reset"}:
            password = getattr(people, step)("marie", "shell:root", now) or password
            alive.clear()
        elif step == "password":
            person = people.who(token, now, touch=False)
            done = person and people.set_password(person, password, password + " !", now)
            if isinstance(done, SignedIn):
                password += " !"
                alive = {done.token: (now, now)}
                known.append(done.token)
        else:
            people.sweep(now)
    world.engine.dispose()


def test_who_is_quick(world):
    """Every request asks it: a few hundred microseconds here, far from the 100 ms of a page.

    Of this thread's own work: what others do at the same time is not counted.
    """
    come = world.account()
    world.people.who(come.token, T0)
    began = time.thread_time()
    for _ in range(200):
        world.people.who(come.token, T0)
    assert (time.thread_time() - began) / 200 < 0.02
