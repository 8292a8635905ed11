"""Accounts are looked after by administrators, and tokens of programs open what they may until they end."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from argon2 import PasswordHasher

from triage import audit
from triage.people.administration import NewAccount
from triage.people.passwords import Passwords
from triage.people.person import PeopleError, Refused, Role, Scope, SignedIn, Why
from triage.people.rights import Act, may

T0 = 1_790_000_000_000
DAY = 86_400_000
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "bleu comme une orange"  # noqa: S105


@pytest.mark.parametrize("name", ["", "a", "x" * 41, "Marie", "marie d", "é", "shell:root", "marie\n"])
def test_a_name_that_is_none(name):
    with pytest.raises(PeopleError, match=r"legal are 2 to 40 of a-z"):
        NewAccount(name, Role.NURSE, ["Nord"])


@pytest.mark.parametrize(
    ("role", "cells"),
    [(Role.NURSE, []), (Role.CARDIOLOGIST, []), (Role.OPERATOR, ["Nord"]), (Role.ADMINISTRATOR, ["Nord"])],
)
def test_carers_have_cells_and_others_none(role, cells):
    with pytest.raises(PeopleError, match="cells of a role"):
        NewAccount("marie", role, cells)


@pytest.mark.parametrize(
    "more",
    [
        {"cells": ["Nord", "Nord"]},
        {"cells": [""]},
        {"cells": [" Nord"]},
        {"cells": ["a\nb"]},
        {"cells": ["Nord"], "display": "a\x00"},
        {"cells": ["Nord"], "display": "x" * 81},
        {"cells": ["Nord"], "subject": ""},
        {"cells": ["Nord"], "subject": "é"},
    ],
)
def test_fields_that_are_none(more):
    with pytest.raises(PeopleError, match=r"^account marie: "):
        NewAccount("marie", Role.NURSE, **more)


def test_only_an_administrator_looks_after_accounts(world):
    people = world.people
    world.account("boss", Role.ADMINISTRATOR, ())
    world.account("ops", Role.OPERATOR, ())
    world.account("marie")
    new = NewAccount("paul", Role.NURSE, ["Nord"])
    acts = [
        lambda by: people.create(new, by, T0),
        lambda by: people.change(NewAccount("marie", Role.NURSE, ["Sud"]), by, T0),
        lambda by: people.unlock("marie", by, T0),
        lambda by: people.reset("marie", by, T0),
        lambda by: people.make_token("marie", "t", Scope.READ, 1, by, T0),
        lambda by: people.revoke_token("marie", "t", by, T0),
        lambda by: people.disable("marie", by, T0),
    ]
    before = audit.verify(world.engine).entries
    for by in ("ops", "nobody", "", "vigie"):
        for act in acts:
            with pytest.raises(PeopleError, match="only an administrator"):
                act(by)
    assert audit.verify(world.engine).entries == before
    for act in acts:
        act("boss")
    assert audit.verify(world.engine).entries == before + len(acts)
    people.disable("boss", "shell:root", T0)
    with pytest.raises(PeopleError, match="only an administrator"):
        people.unlock("marie", "boss", T0)


def test_one_name_and_one_subject_are_one_accounts(world):
    people = world.people
    people.create(NewAccount("marie", Role.NURSE, ["Nord"], subject="810001"), "shell:root", T0)
    for new in (
        NewAccount("marie", Role.OPERATOR),
        NewAccount("jean", Role.NURSE, ["Nord"], subject="810001"),
    ):
        with pytest.raises(PeopleError, match="there is one of this name, or another has this subject"):
            people.create(new, "shell:root", T0)
    people.create(NewAccount("jean", Role.NURSE, ["Nord"]), "shell:root", T0)
    with pytest.raises(PeopleError, match="another has this subject"):
        people.change(NewAccount("jean", Role.NURSE, ["Nord"], subject="810001"), "shell:root", T0)
    with pytest.raises(PeopleError, match="there is none of this name"):
        people.change(NewAccount("nobody", Role.NURSE, ["Nord"]), "shell:root", T0)
    assert [each.name for each in people.accounts()] == ["jean", "marie"]


def test_what_was_changed_is_in_the_trail_and_a_subject_is_not(world):
    world.account()
    new = NewAccount("marie", Role.CARDIOLOGIST, ["Sud"], "Dr M.", "810001")
    world.people.change(new, "shell:root", T0)
    world.people.change(new, "shell:root", T0)
    (entry,) = [each for each in audit.entries(world.engine) if each.action == "account changed"]
    assert json.loads(entry.details) == {
        "fields": ["cells", "display", "role", "subject"],
        "role": ["nurse", "cardiologist"],
        "cells": [["Nord"], ["Sud"]],
    }


def test_who_is_disabled_comes_in_by_nothing_until_given_a_new_password(world):
    people = world.people
    world.account(subject="810001")
    token = people.make_token("marie", "script", Scope.READ, 30, "marie", T0)
    people.disable("marie", "shell:root", T0)
    people.disable("marie", "shell:root", T0)
    assert people.sign_in("marie", PASSWORD, "", T0) == Refused(Why.WRONG)
    assert people.sign_in_subject("810001", T0, strong=True) == Refused(Why.NO_ACCOUNT)
    assert people.by_token(token, T0) is None
    with pytest.raises(PeopleError, match="it is disabled"):
        people.make_token("marie", "other", Scope.READ, 30, "shell:root", T0)
    assert people.accounts()[0].disabled_ms == T0
    given = people.reset("marie", "shell:root", T0)
    assert isinstance(people.sign_in("marie", given, "", T0), SignedIn)
    assert world.trail().count(("shell:root", "account disabled")) == 1


def test_the_list_says_how_each_account_stands(world):
    world.enrol(world.account("marie"))
    world.people.create(
        NewAccount("psc", Role.NURSE, ["Nord"], subject="8"), "shell:root", T0, password=False
    )
    world.people.create(NewAccount("ops", Role.OPERATOR), "shell:root", T0)
    assert [(each.name, each.second, each.password, each.once) for each in world.people.accounts()] == [
        ("marie", True, True, False),
        ("ops", False, True, True),
        ("psc", False, False, False),
    ]


# ------------------------------------------------------------------------------------------------------ by OpenID


def test_whom_the_provider_vouches_for_comes_in_by_the_account_of_the_subject(world):
    people = world.people
    people.create(NewAccount("psc", Role.NURSE, ["Nord"], subject="810001"), "shell:root", T0, password=False)
    come = people.sign_in_subject("810001", T0, strong=True)
    assert (come.person.name, come.person.second, come.person.must) == ("psc", True, None)
    assert people.who(come.token, T0) == come.person
    assert people.sign_in_subject("810002", T0, strong=True) == Refused(Why.NO_ACCOUNT)
    assert [each.name for each in people.accounts()] == ["psc"]
    assert "810002" not in str(list(audit.read(world.engine)))


def test_an_account_that_is_locked_lets_in_whom_the_provider_vouches_for(world):
    """Somebody who guesses passwords keeps nobody out who needs none."""
    world.account(subject="810001")
    for _ in range(5):
        world.people.sign_in("marie", "wrong", "", T0)
    assert isinstance(world.people.sign_in_subject("810001", T0, strong=True), SignedIn)


# --------------------------------------------------------------------------------------------------------- tokens


def test_a_token_acts_as_its_account_until_it_ends(world):
    people = world.people
    world.account()
    token = people.make_token("marie", "script", Scope.WORK, 30, "marie", T0)
    assert token.startswith("vg_")
    person = people.by_token(token, T0 + 1)
    assert (person.name, person.role, person.cells, person.scope) == (
        "marie",
        Role.NURSE,
        ("Nord",),
        Scope.WORK,
    )
    assert may(person, Act.WORK)
    assert people.by_token(token, T0 + 30 * DAY - 1)
    assert people.by_token(token, T0 + 30 * DAY) is None
    assert people.who(token, T0) is None
    people.change(NewAccount("marie", Role.NURSE, ["Sud"]), "shell:root", T0)
    assert people.by_token(token, T0).cells == ("Sud",)
    (listed,) = people.tokens("marie")
    assert (listed.name, listed.scope, listed.used_ms) == ("script", Scope.WORK, T0 + 30 * DAY - 1)
    assert token not in str(list(audit.read(world.engine)))


def test_a_token_that_is_revoked_opens_nothing(world):
    people = world.people
    world.account()
    token = people.make_token("marie", "script", Scope.READ, 30, "marie", T0)
    other = people.make_token("marie", "other", Scope.READ, 30, "marie", T0)
    people.revoke_token("marie", "script", "marie", T0)
    people.revoke_token("marie", "script", "marie", T0)
    assert people.by_token(token, T0) is None
    assert people.by_token(other, T0)
    assert world.trail().count(("marie", "token revoked")) == 1
    with pytest.raises(PeopleError, match="there is a token script already"):
        people.make_token("marie", "script", Scope.READ, 30, "marie", T0)
    with pytest.raises(PeopleError, match="there is no token"):
        people.revoke_token("marie", "none", "marie", T0)


@pytest.mark.parametrize("token", ["", "vg_", "vg_" + "x" * 43, "vg_" + "é" * 43, "x" * 10_000, "vg_\ud800"])
def test_what_was_never_a_token(world, token):
    assert world.people.by_token(token, T0) is None


@pytest.mark.parametrize(("label", "days"), [("", 1), ("A", 1), ("x" * 41, 1), ("x", 0), ("x", 367)])
def test_a_token_that_cannot_be(world, label, days):
    world.account()
    with pytest.raises(PeopleError, match=r"^token .*legal"):
        world.people.make_token("marie", label, Scope.READ, days, "marie", T0)


def test_that_a_token_was_used_is_written_once_a_minute(world):
    from sqlalchemy import event

    world.account()
    token = world.people.make_token("marie", "script", Scope.READ, 30, "marie", T0)
    sent = []
    event.listen(world.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    for t in range(T0, T0 + 61_000, 1000):
        assert world.people.by_token(token, t)
    assert len([each for each in sent if "UPDATE" in each]) == 2


def test_acts_at_once_never_wait_for_one_another_for_ever(world):
    """PostgreSQL would end one of two that do, and raise here."""
    people = world.people
    for name in ("marie", "jean"):
        world.account(name)
    stop = time.monotonic() + 3

    def work(seed):
        random_ = random.Random(seed)
        count = 0
        while time.monotonic() < stop:
            name = random_.choice(["marie", "jean"])
            come = people.sign_in(name, PASSWORD, "", T0)
            if not isinstance(come, SignedIn):
                people.unlock(name, "shell:root", T0)
                continue
            act = random_.randrange(7)
            if act <= 1:
                people.sign_out(come.token, T0)
            elif act == 4:
                given = people.reset(name, "shell:root", T0)
                again = people.sign_in(name, given, "", T0)
                if isinstance(again, SignedIn):
                    people.set_password(again.person, given, PASSWORD, T0)
            elif act == 6:
                people.who(come.token, T0 + 61_000)
                people.change(NewAccount(name, Role.NURSE, [random_.choice("NS")]), "shell:root", T0)
            elif act == 5:
                people.offer_second(come.person, T0)
                with suppress(PeopleError):
                    people.confirm_second(come.person, "123456", T0)
            elif act == 2:
                people.sign_in(name, "wrong", "", T0)
            else:
                people.set_password(come.person, PASSWORD, PASSWORD + " !", T0)
                again = people.sign_in(name, PASSWORD + " !", "", T0)
                if isinstance(again, SignedIn):
                    people.set_password(again.person, PASSWORD + " !", PASSWORD, T0)
            count += 1
        return count

    people._passwords = Passwords(CHEAP, at_once=4)
    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(work, range(4))) > 0
