"""Coming in by a password: what it takes, what it tells, and what too many attempts do."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from triage import audit
from triage.people.accounts import People
from triage.people.administration import ONCE_MS, NewAccount
from triage.people.lockout import FIRST_MS, FREE, MOST_MS, locked_until_ms
from triage.people.passwords import Attempts, BusyError, Passwords, check, invent
from triage.people.person import Must, PeopleError, Refused, Role, Scope, SignedIn, Why

T0 = 1_790_000_000_000
MINUTE = 60_000
PASSWORD = "bleu comme une orange"  # noqa: S105
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def test_the_first_sign_in_is_with_a_password_that_was_given_out_and_must_be_changed(world):
    people = world.people
    given = people.create(NewAccount("marie", Role.NURSE, ["Nord", "Sud"], "Marie D."), "shell:root", T0)
    come = people.sign_in(" Marie ", given, "", T0 + 1)
    assert come.person.must is Must.PASSWORD
    assert (come.person.name, come.person.display, come.person.cells) == (
        "marie",
        "Marie D.",
        ("Nord", "Sud"),
    )
    done = people.set_password(come.person, given, PASSWORD, T0 + 2)
    assert done.person.must is None
    assert people.who(come.token, T0 + 3) is None  # all sessions end
    assert people.who(done.token, T0 + 3) == done.person
    assert people.sign_in("marie", given, "", T0 + 4) == Refused(Why.WRONG)
    assert isinstance(people.sign_in("marie", PASSWORD, "", T0 + 5), SignedIn)
    assert world.trail("marie") == [
        ("shell:root", "account created"),
        ("marie", "signed in"),
        ("marie", "password set"),
        ("vigie", "sign-in refused"),
        ("marie", "signed in"),
    ]


def test_a_password_that_was_given_out_is_good_for_three_days(world):
    given = world.people.create(NewAccount("marie", Role.NURSE, ["Nord"]), "shell:root", T0)
    assert isinstance(world.people.sign_in("marie", given, "", T0 + ONCE_MS - 1), SignedIn)
    assert world.people.sign_in("marie", given, "", T0 + ONCE_MS) == Refused(Why.WRONG)


def test_whoever_is_refused_does_not_learn_why(world):
    world.account("marie")
    world.account("jean")
    world.people.disable("jean", "shell:root", T0)
    world.people.create(NewAccount("psc", Role.NURSE, ["Nord"]), "shell:root", T0, password=False)
    said = {
        world.people.sign_in(*attempt, "", T0).plain
        for attempt in [
            ("marie", "x"),
            ("jean", PASSWORD),
            ("nobody", "x"),
            ("psc", "x"),
            ("", ""),
            ("é" * 999, "x"),
        ]
    }
    assert len(said) == 1


class Counted(PasswordHasher):
    """A real hasher that counts what it computes."""

    computed = 0

    def verify(self, hashed, password):
        self.computed += 1
        return super().verify(hashed, password)


def test_as_much_is_computed_and_written_for_a_name_that_there_is_not(world):
    hasher = Counted(time_cost=1, memory_cost=8, parallelism=1)
    people = People(world.engine, world.seal, passwords=Passwords(hasher), second_required=False)
    world.account("marie")
    world.account("jean")
    people.disable("jean", "shell:root", T0)
    for _ in range(FREE):
        world.people.sign_in("marie", "wrong", "", T0)
    world.account("paul")
    for name in ("marie", "jean", "paul", "nobody"):
        computed, written = hasher.computed, audit.verify(world.engine).entries
        assert isinstance(people.sign_in(name, "wrong", "", T0), Refused)
        assert (hasher.computed - computed, audit.verify(world.engine).entries - written) == (1, 1)


def test_what_was_typed_as_a_name_is_not_written_down(world):
    world.people.sign_in("my password in the wrong field", "", "", T0)
    assert world.trail() == [("vigie", "sign-in refused")]
    (entry,) = audit.entries(world.engine)
    assert "my password" not in entry.details + entry.subject


def test_five_wrong_attempts_lock_for_fifteen_minutes_and_then_for_longer(world):
    people, t = world.people, T0
    world.account("marie")
    for minutes in (15, 30, 60, 120, 240, 240):
        for _ in range(FREE):
            assert people.sign_in("marie", "wrong", "", t) == Refused(Why.WRONG)
        # The right one too, and attempts meanwhile make it no longer.
        assert people.sign_in("marie", PASSWORD, "", t + 1) == Refused(Why.LOCKED)
        assert people.sign_in("marie", PASSWORD, "", t + minutes * MINUTE - 1) == Refused(Why.LOCKED)
        t += minutes * MINUTE
    assert isinstance(people.sign_in("marie", PASSWORD, "", t), SignedIn)
    for _ in range(FREE - 1):
        people.sign_in("marie", "wrong", "", t)
    assert isinstance(people.sign_in("marie", PASSWORD, "", t), SignedIn)  # it begins anew
    assert world.trail("marie").count(("vigie", "account locked")) == 6


def test_of_attempts_made_at_once_no_more_count_than_of_attempts_in_turn(world):
    """The right password among guesses made at the same time comes too late, once five were wrong."""
    world.account("marie")
    processes = [world.another() for _ in range(2)]
    barrier = threading.Barrier(12)

    def guess(i):
        barrier.wait()
        return processes[i % 2].sign_in("marie", f"guess {i}", "", T0)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(guess, range(12)))
    assert found.count(Refused(Why.WRONG)) == FREE
    assert {each for each in found if each != Refused(Why.WRONG)} <= {Refused(Why.LOCKED), Refused(Why.BUSY)}
    assert world.people.sign_in("marie", PASSWORD, "", T0) == Refused(Why.LOCKED)


def test_an_administrator_unlocks(world):
    world.account("marie")
    for _ in range(FREE):
        world.people.sign_in("marie", "wrong", "", T0)
    world.people.unlock("marie", "shell:root", T0)
    assert isinstance(world.people.sign_in("marie", PASSWORD, "", T0), SignedIn)


NASTY = ["\x00", "marie\x00", "\ud800", "é" * 5000, "' OR 1=1 --", "%", "marie\n", "ＭＡＲＩＥ", "123456\x00"]


@pytest.mark.parametrize("typed", NASTY)
def test_whatever_is_typed_is_refused_and_breaks_nothing(world, typed):
    come = world.account("marie")
    world.enrol(come)
    people = world.people
    for attempt in [(typed, PASSWORD, "000000"), ("marie", typed, ""), ("marie", PASSWORD, typed)]:
        assert people.sign_in(*attempt, T0) == Refused(Why.WRONG)
    assert people.sign_in_subject(typed, T0, strong=True) == Refused(Why.NO_ACCOUNT)
    person = people.who(come.token, T0)
    assert people.set_password(person, typed, "une autre phrase", T0) == Refused(Why.WRONG)
    assert people.show_second(person, typed, T0) == Refused(Why.WRONG)
    for act in (people.disable, people.reset, people.unlock):
        with pytest.raises(PeopleError, match="there is none of this name"):
            act(typed, "shell:root", T0)
        with pytest.raises(PeopleError, match="only an administrator"):
            act("marie", typed, T0)


def test_no_password_is_changed_by_a_program(world):
    world.account("marie")
    token = world.people.make_token("marie", "script", Scope.WORK, 1, "marie", T0)
    with pytest.raises(PeopleError, match="a program sets none"):
        world.people.set_password(world.people.by_token(token, T0), PASSWORD, "une autre phrase", T0)


@given(failures=st.integers(0, 10**18), now=st.integers(0, 2**50))
def test_how_long_a_lock_lasts(failures, now):
    until = locked_until_ms(failures, now)
    if failures == 0 or failures % FREE:
        assert until == 0
    else:
        # Said in another way: doubled until it is too long.
        lasts = FIRST_MS
        for _ in range(min(failures // FREE, 100) - 1):
            lasts = min(2 * lasts, MOST_MS)
        assert until - now == lasts
        assert locked_until_ms(failures + FREE, now) >= until


def test_a_hash_with_other_parameters_is_made_anew_when_its_person_comes(world):
    world.account("marie")
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    people = People(world.engine, world.seal, passwords=stronger, second_required=False)
    assert isinstance(people.sign_in("marie", "wrong", "", T0), Refused)
    assert "m=8,t=1" in _hash(world)
    assert isinstance(people.sign_in("marie", PASSWORD, "", T0), SignedIn)
    assert "m=16,t=2" in _hash(world)
    assert isinstance(people.sign_in("marie", PASSWORD, "", T0), SignedIn)


def _hash(world):
    from sqlalchemy import text

    with world.engine.connect() as connection:
        return connection.scalar(text("SELECT password FROM account"))


@pytest.mark.parametrize(
    "bad", ["short", "x" * 257, "xmarie-1234567", "MARIE et sa phrase", "abababababab", ""]
)
def test_a_password_that_is_too_easy(world, bad):
    come = world.account("marie")
    with pytest.raises(PeopleError, match=r"^password: ") as error:
        world.people.set_password(come.person, PASSWORD, bad, T0)
    assert error.value.plain.startswith("Le mot de passe")
    assert bad == "" or bad not in str(error.value)


def test_one_password_may_be_typed_in_two_ways(world):
    come = world.account("marie")
    come = world.people.set_password(come.person, PASSWORD, "caf\u00e9 noir sans sucre", T0)
    assert isinstance(world.people.sign_in("marie", "cafe\u0301 noir sans sucre", "", T0), SignedIn)


def test_a_wrong_present_password_counts_as_an_attempt(world):
    come = world.account("marie")
    for _ in range(FREE):
        assert world.people.set_password(come.person, "wrong", "une autre phrase", T0) == Refused(Why.WRONG)
    assert world.people.set_password(come.person, PASSWORD, "une autre phrase", T0) == Refused(Why.LOCKED)
    assert world.people.sign_in("marie", PASSWORD, "", T0) == Refused(Why.LOCKED)


def test_what_is_given_out_is_a_good_password():
    many = {invent() for _ in range(100)}
    assert len(many) == 100
    for each in many:
        check(each, "marie")


# ------------------------------------------------------------------------------------------------------- how much


def test_hashes_are_computed_one_at_a_time_and_few_wait():
    """A flood of sign-ins holds one core and a few threads; the others are told at once."""
    together, most, lock = 0, 0, threading.Lock()

    class Slow(PasswordHasher):
        def verify(self, hashed, password):
            nonlocal together, most
            with lock:
                together += 1
                most = max(most, together)
            release.wait(60)
            with lock:
                together -= 1
            return super().verify(hashed, password)

    release = threading.Event()
    passwords = Passwords(
        Slow(time_cost=1, memory_cost=8, parallelism=1), at_once=1, waiting=3, patience_s=60
    )

    def one(_):
        try:
            return passwords.verify(None, "x")
        except BusyError:
            return "busy"

    with ThreadPoolExecutor(20) as pool:
        coming = [pool.submit(one, i) for i in range(20)]
        told = [each.result(60) for each in itertools.islice(as_completed(coming, 60), 16)]
        release.set()
        found = [each.result(60) for each in coming]
    assert told == ["busy"] * 16
    assert (found.count("busy"), found.count(False), most) == (16, 4, 1)


def test_one_who_waits_too_long_is_told():
    passwords = Passwords(CHEAP, at_once=1, patience_s=0.05)
    with passwords._computing, pytest.raises(BusyError):
        passwords.hash("x")
    assert passwords.verify(passwords.hash("x"), "x")


def test_nobody_waits_for_a_hash_of_a_flood(world):
    people = world.another()
    world.account("marie")
    people._passwords = Passwords(CHEAP, at_once=1, waiting=0)
    with people._passwords._computing, people._passwords._inside:
        assert people.sign_in("marie", PASSWORD, "", T0) == Refused(Why.BUSY)
    assert isinstance(people.sign_in("marie", PASSWORD, "", T0), SignedIn)


def test_one_name_is_tried_ten_times_a_minute(world):
    clock = [0.0]
    people = world.another(attempts=Attempts(clock_s=lambda: clock[0]))
    world.account("marie")
    found = [people.sign_in("nobody", "x", "", T0).why for _ in range(12)]
    assert found == [Why.WRONG] * 10 + [Why.TOO_MANY] * 2
    assert isinstance(people.sign_in("marie", PASSWORD, "", T0), SignedIn)
    clock[0] = 6.0
    assert [people.sign_in("nobody", "x", "", T0).why for _ in range(2)] == [Why.WRONG, Why.TOO_MANY]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=80))
def test_attempts_are_bounded_over_any_time(steps):
    """In any span: what may be at once, and what grows again in it."""
    now, taken = 0, []
    attempts = Attempts(3, 0.2, 5, names=2, clock_s=lambda: now)
    for name, wait in steps:
        now += wait
        if attempts.take(str(name)):
            taken.append((str(name), now))
    for i, (_, begin) in enumerate(taken):
        for j, (_, end) in enumerate(taken[i:]):
            assert j + 1 <= 5 + (end - begin) * 0.2 + 1e-6
    assert len(attempts._left) <= 2


@given(st.lists(st.integers(0, 30), max_size=60))
def test_attempts_with_one_name_are_bounded_over_any_time(waits):
    now, taken = 0, []
    attempts = Attempts(3, 1000, 1000, clock_s=lambda: now)
    for wait in waits:
        now += wait
        if attempts.take("marie"):
            taken.append(now)
    for i, begin in enumerate(taken):
        assert all(j + 1 <= 3 + (end - begin) * 3 / 60 + 1e-6 for j, end in enumerate(taken[i:]))
