"""A signature beside a protocol: read, written, and void as soon as the content is another."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import signature
from rules.errors import ProtocolError
from rules.explain import notice
from rules.protocol import load
from rules.signature import Standing, file_of, made, problem, standing, statement, write

DAY = dt.date(2026, 11, 27)


@pytest.fixture
def path(tmp_path, good):
    path = tmp_path / "essai.toml"
    path.write_text(good, encoding="utf-8")
    return path


@pytest.fixture
def reload(path, world):
    return lambda: load(path, world.signals, world.statistics)


def signed(path, protocol, **more):
    return write(path, made(protocol, "Dr A. Martin", "cardiologue", DAY, **more))


def test_what_is_signed_says_who_and_keeps_its_hash(path, reload):
    before = reload()
    assert standing(before, DAY) is Standing.UNSIGNED
    assert signed(path, before) == file_of(path) == path.with_name("essai.toml.signature")
    after = reload()
    assert after.signed
    assert after.hash == before.hash
    assert standing(after, DAY) is Standing.SIGNED
    assert statement(after) == "Signé par Dr A. Martin, cardiologue, le 27/11/2026."
    assert (problem(after, DAY), notice(after)) == ("", "")
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


def test_a_figure_that_is_changed_leaves_it_unsigned_and_both_hashes_are_said(path, reload, good):
    before = reload()
    signed(path, before)
    path.write_text(good.replace("default = 2.0", "default = 2.1"), encoding="utf-8")
    after = reload()
    assert not after.signed
    assert standing(after, DAY) is Standing.ALTERED
    for said in (statement(after, DAY), problem(after, DAY)):
        assert before.hash in said
        assert after.hash in said
        assert "Dr A. Martin" in said
    assert "non signé" in notice(after)
    path.write_text(f"# a comment\n{good}", encoding="utf-8")
    assert reload().signed


def test_a_content_that_was_made_to_have_the_short_hash_is_told_by_the_long_one(path, reload):
    protocol = reload()
    beside = signed(path, protocol)
    beside.write_text(beside.read_text().replace(protocol.digest, "0" * 64))
    after = reload()
    assert standing(after, DAY) is Standing.ALTERED
    assert protocol.digest in statement(after)
    assert "0" * 64 in problem(after, DAY)


@pytest.mark.parametrize(
    ("on", "stands", "said"),
    [
        (dt.date(2026, 11, 30), Standing.EARLY, "pas encore valable"),
        (dt.date(2026, 12, 1), Standing.SIGNED, "au 31/12/2026."),
        (dt.date(2026, 12, 31), Standing.SIGNED, "au 31/12/2026."),
        (dt.date(2027, 1, 1), Standing.EXPIRED, "périmé"),
    ],
)
def test_both_days_of_the_validity_are_in_it(path, reload, on, stands, said):
    signed(path, reload(), valid_from=dt.date(2026, 12, 1), valid_until=dt.date(2026, 12, 31))
    protocol = reload()
    assert standing(protocol, on) is stands
    assert said in statement(protocol, on)
    assert bool(problem(protocol, on)) is (stands is not Standing.SIGNED)
    # Who answers for the content is not a matter of the date: alerts of a replay say what they said.
    assert protocol.signed


def test_one_bound_of_the_validity_alone(path, reload):
    signed(path, reload(), valid_from=DAY)
    assert statement(reload()).endswith("valable à partir du 27/11/2026.")
    write(path, made(reload(), "Dr B", "cardiologue", DAY, valid_until=DAY), replace=True)
    assert statement(reload()).endswith("valable jusqu'au 27/11/2026.")


def test_what_is_there_is_not_replaced_unasked(path, reload):
    beside = signed(path, reload())
    text = beside.read_text()
    with pytest.raises(FileExistsError, match="--replace"):
        write(path, made(reload(), "Dr B", "cardiologue", DAY))
    assert beside.read_text() == text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "name: "),
        ({"role": "x" * 401}, "role: "),
        ({"valid_until": dt.date(2026, 11, 26)}, "legal: 2026-11-27 or later"),
        ({"valid_from": dt.date(2027, 2, 1), "valid_until": dt.date(2027, 1, 1)}, "is before valid_from 2027-02-01"),
    ],
)  # fmt: skip
def test_what_cannot_be_signed_is_named(protocol, given, said):
    with pytest.raises(ValueError, match=said):
        made(**{"protocol": protocol, "name": "Dr A", "role": "cardiologue", "date": DAY} | given)


def test_a_signature_in_the_file_is_not_signed_once_more(world, good, path, reload):
    protocol = reload()
    inside = f'{{ name = "Dr B", role = "cardiologue", date = 2026-11-02, hash = "{protocol.hash}" }}'
    text = good.replace('signature = "to be signed by a clinician"', f"signature = {inside}")
    with pytest.raises(ValueError, match="in the protocol's file"):
        made(world.loads(text), "Dr A", "cardiologue", DAY)
    signed(path, protocol)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError, match="signs it too"):
        reload()


def test_a_signature_that_is_none_is_refused_with_its_line(path, reload):
    beside = signed(path, reload())
    beside.write_text(beside.read_text().replace("role =", "rule ="))
    with pytest.raises(ProtocolError, match=r"essai.toml.signature:3: rule: unknown key 'rule'; .*'role'"):
        reload()
    beside.write_text("name = ")
    with pytest.raises(ProtocolError, match="is not TOML"):
        reload()


@given(name=st.text(min_size=1, max_size=40).filter(str.strip), days=st.tuples(st.dates(), st.dates()))
def test_whatever_a_name_is_it_is_read_as_it_was_given(tmp_path_factory, protocol, name, days):
    path = tmp_path_factory.mktemp("signed") / "essai.toml"
    first, last = sorted(days)
    given = made(protocol, name, "cardiologue", dt.date.min, first, last)
    assert signature.read(write(path, given)) == given
