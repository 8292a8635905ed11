"""The INS: its key by another way of saying the rule, what it finds, and what is said of a wrong one."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from triage.identity import ins
from triage.identity.errors import FieldError

DEPARTMENTS = st.one_of(st.sampled_from(["2A", "2B"]), st.integers(1, 99).map("{:02}".format))
NUMBERS = st.builds(
    "{}{:04}{}{:06}".format,
    st.integers(1, 8),
    st.integers(0, 9999),
    DEPARTMENTS,
    st.integers(0, 999_999),
)


def oracle(number):
    """Long division, digit by digit; of Corsica the letter is 0 and 1 or 2 million are taken off."""
    value = int(number.replace("A", "0").replace("B", "0"))
    value -= {"A": 1_000_000, "B": 2_000_000}.get(number[6], 0)
    rest = 0
    for digit in str(value):
        rest = (10 * rest + int(digit)) % 97
    return next(key for key in range(1, 98) if (rest + key) % 97 == 0)


@pytest.mark.parametrize(("number", "key"), [("2550814168025", 38), ("2061275111005", 64)])
def test_keys_that_were_published(number, key):
    assert ins.key(number) == key


@given(NUMBERS)
def test_the_key_is_that_of_the_oracle(number):
    assert ins.key(number) == oracle(number)
    assert ins.read(f"{number}{oracle(number):02}") == f"{number}{oracle(number):02}"


@given(NUMBERS, st.integers(0, 98))
def test_any_other_key_is_refused(number, key):
    assume(key != oracle(number))
    with pytest.raises(FieldError):
        ins.read(f"{number}{key:02}")


@given(NUMBERS, st.integers(0, 12), st.integers(1, 9))
def test_a_wrong_digit_is_found(number, at, more):
    assume(number[at].isdigit() and not (at in (5, 6) and not number[6].isdigit()))
    wrong = number[:at] + str((int(number[at]) + more) % 10) + number[at + 1 :]
    with pytest.raises(FieldError):
        ins.read(f"{wrong}{oracle(number):02}")


@given(NUMBERS, st.integers(0, 11))
def test_two_neighbours_exchanged_are_found(number, at):
    wrong = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
    assume(wrong != number)
    with pytest.raises(FieldError):
        ins.read(f"{wrong}{oracle(number):02}")


@given(st.one_of(NUMBERS, st.text("0123456789ABÉ", min_size=4, max_size=14)))
def test_what_is_refused_is_not_repeated(text):
    with pytest.raises(FieldError) as error:
        ins.read(text)
    assert text not in error.value.wrong


@pytest.mark.parametrize(
    "typed", ["2 55 08 14 168 025 38", "2.55.08.14.168.025-38", "\u00a0255081416802538 "]
)
def test_as_it_is_typed(typed):
    assert ins.read(typed) == "255081416802538"


def test_a_corsican_number_in_small_letters():
    number = f"255082a168025{oracle('255082A168025'):02}"
    assert ins.read(number) == number.upper()


@pytest.mark.parametrize(
    "typed", ["", "25508141680253", "2550814168025388", "055081416802538", "25508C4168025386", "2,55081E+14"]
)
def test_what_is_none_is_refused(typed):
    with pytest.raises(FieldError, match=r"ins: .* are no INS; legal: 15 characters"):
        ins.read(typed)


def test_of_a_wrong_number_three_characters_are_said():
    with pytest.raises(FieldError) as error:
        ins.read("255081416802539")
    assert str(error.value) == (
        "ins: …539: the control key does not fit the number; legal: the INS as INSi gave it"
    )


@pytest.mark.parametrize("given", ["NIR", "nir ", "1.2.250.1.213.1.4.8", "urn:oid:1.2.250.1.213.1.4.8"])
def test_the_kind_of_a_number(given):
    assert ins.read_oid(given) == "1.2.250.1.213.1.4.8"


def test_a_kind_that_is_none():
    with pytest.raises(
        FieldError, match=r"legal: NIR .*, NIA .*1\.4\.9.*, TEST .*1\.4\.10.*, DEMO .*1\.4\.11"
    ):
        ins.read_oid("1.2.250.1.213.1.4.7")
