"""The second factor: each code once, whatever the clocks; recovery codes once; nothing of it in the database."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree as ET

import pyotp
import pytest
from cryptography.fernet import Fernet
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from triage import database
from triage.people import seal, totp
from triage.people.lockout import FREE
from triage.people.person import Must, PeopleError, Refused, SignedIn, Why
from triage.people.rights import Act, may
from triage.people.seal import Seal

T0 = 1_790_000_000_000
STEP = totp.STEP_MS
PASSWORD = "bleu comme une orange"  # noqa: S105
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"  # noqa: S105


def test_who_must_have_a_second_factor_sets_it_up_first(world):
    world.people = world.another(second_required=True)
    come = world.account()
    assert come.person.must is Must.ENROL
    assert not may(come.person, Act.SEE)
    codes = world.enrol(come)
    person = world.people.who(come.token, T0)
    assert (person.must, person.second) == (None, True)
    assert may(person, Act.SEE)
    assert len(set(codes)) == totp.RECOVERY
    assert ("marie", "second factor set") in world.trail()


def test_who_has_one_comes_in_with_its_code_only(world):
    come = world.account()
    world.enrol(come)
    later = T0 + STEP
    for wrong in ("", "000000", "12345", "abcdef", world.code("marie", T0 + 10 * STEP)):
        world.people.unlock("marie", "shell:root", later)
        assert world.people.sign_in("marie", PASSWORD, wrong, later) == Refused(Why.WRONG)
    code = world.code("marie", later)
    assert world.people.sign_in("marie", "wrong", code, later) == Refused(Why.WRONG)
    # The wrong password has not used the code up.
    come = world.people.sign_in("marie", PASSWORD, f"{code[:3]} {code[3:]}", later)
    assert come.person.second
    assert world.people.sign_in("marie", PASSWORD, code, later) == Refused(Why.WRONG)


def test_the_code_that_set_it_up_is_used_too(world):
    come = world.account()
    world.enrol(come)
    assert world.people.sign_in("marie", PASSWORD, world.code("marie", T0), T0) == Refused(Why.WRONG)


def test_wrong_codes_lock_as_wrong_passwords_do(world):
    world.enrol(world.account())
    for _ in range(FREE):
        world.people.sign_in("marie", PASSWORD, "000000", T0)
    assert world.people.sign_in("marie", PASSWORD, world.code("marie", T0 + STEP), T0 + STEP) == Refused(
        Why.LOCKED
    )


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3 * STEP)), max_size=40),
    st.integers(0, 2**41),
)
@example([(1, 0), (0, 0), (-1, 0), (1, 0), (1, STEP)], T0)
def test_no_step_is_ever_taken_twice(tries, now):
    """A code is taken if its step is near, and later than every one that was taken before."""
    last, taken = -1, []
    generator = pyotp.TOTP(SECRET)
    for off, wait in tries:
        now += wait
        wanted = now // STEP + off
        if wanted < 0:
            continue
        code = generator.generate_otp(wanted)
        step = totp.step_of(SECRET, code, now, last)
        if step is None:
            assert abs(off) > totp.NEAR or wanted <= last
        else:
            assert abs(step - now // STEP) <= totp.NEAR
            assert generator.generate_otp(step) == code
            taken.append(step)
            last = step
    assert taken == sorted(set(taken))


def test_of_many_who_show_one_code_at_once_one_comes_in(world):
    world.enrol(world.account())
    code = world.code("marie", T0 + STEP)
    processes = [world.another() for _ in range(2)]
    barrier = threading.Barrier(4)

    def come(i):
        barrier.wait()
        return processes[i % 2].sign_in("marie", PASSWORD, code, T0 + STEP)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(come, range(4)))
    assert sum(isinstance(each, SignedIn) for each in found) == 1


def test_a_recovery_code_is_good_once_and_for_its_account(world):
    codes = world.enrol(world.account("marie"))
    others = world.enrol(world.account("jean"))
    assert world.people.sign_in("marie", PASSWORD, others[0], T0) == Refused(Why.WRONG)
    typed = codes[0].lower().replace("-", " ")
    assert isinstance(world.people.sign_in("marie", PASSWORD, typed, T0), SignedIn)
    assert world.people.sign_in("marie", PASSWORD, codes[0], T0) == Refused(Why.WRONG)
    assert world.people.recovery_left("marie") == totp.RECOVERY - 1
    assert isinstance(world.people.sign_in("jean", PASSWORD, others[0], T0), SignedIn)


def test_a_new_one_takes_the_place_of_the_old_one_once_it_is_confirmed(world):
    come = world.account()
    codes = world.enrol(come)
    old = world.secrets["marie"]
    person = world.people.who(come.token, T0)
    offer = world.people.offer_second(person, T0)
    # Until then the old one is good.
    assert isinstance(
        world.people.sign_in("marie", PASSWORD, pyotp.TOTP(old).at(T0 // 1000 + 30), T0 + STEP), SignedIn
    )
    world.secrets["marie"] = offer.secret
    fresh = world.people.confirm_second(person, world.code("marie", T0 + STEP), T0 + STEP)
    assert world.people.sign_in(
        "marie", PASSWORD, pyotp.TOTP(old).at(T0 // 1000 + 60), T0 + 2 * STEP
    ) == Refused(Why.WRONG)
    assert world.people.sign_in("marie", PASSWORD, codes[1], T0) == Refused(Why.WRONG)
    assert isinstance(world.people.sign_in("marie", PASSWORD, fresh[1], T0), SignedIn)


def test_other_sessions_end_when_it_is_set(world):
    other = world.account()
    come = world.people.sign_in("marie", PASSWORD, "", T0)
    world.enrol(come)
    assert world.people.who(other.token, T0) is None
    assert world.people.who(come.token, T0).second


def test_an_offer_is_confirmed_in_a_quarter_of_an_hour_by_its_own_code(world):
    come = world.account()
    with pytest.raises(PeopleError, match="none was offered"):
        world.people.confirm_second(come.person, "123456", T0)
    offer = world.people.offer_second(come.person, T0)
    with pytest.raises(PeopleError, match="not a code of the one that was offered"):
        world.people.confirm_second(come.person, "", T0)
    late = T0 + 15 * 60_000 + 1
    with pytest.raises(PeopleError, match="none was offered"):
        world.people.confirm_second(come.person, pyotp.TOTP(offer.secret).at(late // 1000), late)
    assert world.people.recovery_left("marie") == 0


def test_who_has_not_shown_the_present_one_sets_no_other(world):
    come = world.account()
    world.enrol(come)
    weak = world.people.sign_in_subject("x", T0, strong=False)
    assert weak == Refused(Why.NO_ACCOUNT)
    with database.writing(world.engine) as connection:
        connection.execute(text("UPDATE account SET subject = '810001'"))
    weak = world.people.sign_in_subject("810001", T0, strong=False)
    assert weak.person.must is Must.CODE
    with pytest.raises(PeopleError, match="was not shown in this session"):
        world.people.offer_second(weak.person, T0)
    assert world.people.show_second(weak.person, "000000", T0) == Refused(Why.WRONG)
    assert world.people.show_second(weak.person, world.code("marie", T0 + STEP), T0 + STEP) is None
    assert world.people.who(weak.token, T0).must is None
    for _ in range(FREE):
        world.people.show_second(weak.person, "000000", T0)
    assert world.people.show_second(weak.person, world.code("marie", T0 + STEP), T0) == Refused(Why.LOCKED)


def test_an_administrator_takes_a_lost_one_away(world):
    world.enrol(world.account())
    given = world.people.reset("marie", "shell:root", T0, second=True)
    come = world.people.sign_in("marie", given, "", T0)
    assert come.person.must is Must.PASSWORD
    given = world.people.reset("marie", "shell:root", T0)
    assert world.people.recovery_left("marie") == 0


def test_a_secret_is_its_accounts_and_of_one_key(world):
    for name in ("marie", "jean"):
        world.enrol(world.account(name))
    with world.engine.connect() as connection:
        sealed = dict(connection.execute(text("SELECT account, sealed FROM second_factor")).all())
    assert world.secrets["marie"] not in sealed["marie"]
    with database.writing(world.engine) as connection:
        connection.execute(
            text("UPDATE second_factor SET sealed = :s WHERE account = 'jean'"), {"s": sealed["marie"]}
        )
    # Somebody with the database in their hands has put a secret that they know in another's place.
    with pytest.raises(PeopleError, match="for another account; it must be set anew") as error:
        world.people.sign_in("jean", PASSWORD, world.code("marie", T0 + STEP), T0 + STEP)
    assert "Demandez à votre administrateur" in error.value.plain
    world.seal = Seal([Fernet.generate_key().decode()])
    with pytest.raises(PeopleError, match="sealed with another key"):
        world.another().sign_in("marie", PASSWORD, world.code("marie", T0 + STEP), T0 + STEP)


def test_what_an_application_reads():
    uri = totp.address(SECRET, "marie.d")
    assert pyotp.parse_uri(uri).secret == SECRET
    assert uri.startswith("otpauth://totp/Vigie:marie.d?")
    drawn = totp.picture(uri)
    assert ET.fromstring(drawn).tag.endswith("svg")  # noqa: S314 - our own
    assert not re.search(r"style=|<script|href", drawn)
    assert len({totp.new_secret() for _ in range(50)}) == 50


# ------------------------------------------------------------------------------------------------------------ keys


def test_keys_are_made_once_for_the_owner_alone(tmp_path):
    file = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        seals = list(pool.map(lambda _: seal.load(file), range(8)))
    assert {each.open(seals[0].close("é")) for each in seals} == {"é"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    file.chmod(0o640)
    with pytest.raises(PermissionError, match="mode 640 lets others in; legal is 600"):
        seal.load(file)


@pytest.mark.parametrize("content", ["", "short", "é"])
def test_a_file_that_holds_no_key(tmp_path, content):
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(ValueError, match="key: "):
        seal.load(file)


def test_a_key_is_changed_by_one_put_before_it():
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    sealed = Seal([old]).close("x")
    assert Seal([new, old]).open(sealed) == "x"
    with pytest.raises(PeopleError, match="not sealed with this key"):
        Seal([old]).open(Seal([new, old]).close("x"))


@pytest.mark.parametrize("bad", ["", "x", "é", "\ud800", "x" * 100_000])
def test_what_was_never_sealed(bad):
    with pytest.raises(PeopleError, match="not sealed with this key"):
        Seal([Fernet.generate_key().decode()]).open(bad)
