import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.limits import Change, LimitBook
from rules.model import LimitEntry
from rules.protocol import ProtocolError

ENTRY = """
protocol = "essai"
limit = "gain_kg"
value = {value}
author = "Dr A. Martin"
date = {date}
reason = "essai"
"""


def entry(scope, value, date="2026-11-02", subject=""):
    head = f'[[{scope}]]\n{scope} = "{subject}"' if subject else f"[[{scope}]]"
    return head + ENTRY.format(value=value, date=date)


ALL = entry("programme", 1.8) + entry("cell", 1.7, subject="Rennes") + entry("patient", 1.5, subject="P1")


def book(protocol, text=ALL):
    return LimitBook.loads(text, "limites.toml", [protocol])


def test_patient_over_cell_over_programme_over_default(protocol):
    limits = book(protocol)
    assert limits.resolve("essai", "gain_kg", "Rennes", "P1")[0] == 1.5
    assert limits.resolve("essai", "gain_kg", "Rennes", "P2")[0] == 1.7
    assert limits.resolve("essai", "gain_kg", "Brest", "P2")[0] == 1.8
    assert limits.resolve("essai", "gain_kg")[0] == 1.8
    assert book(protocol, "").resolve("essai", "gain_kg", "Rennes", "P1")[0] == 2.0


def test_origin_is_told_in_french(protocol):
    limits = book(protocol)
    assert (
        limits.resolve("essai", "gain_kg", "Rennes", "P1")[1] == "patient, Dr A. Martin, 02/11/2026 : essai"
    )
    assert (
        limits.resolve("essai", "gain_kg", "Rennes")[1] == "cellule Rennes, Dr A. Martin, 02/11/2026 : essai"
    )
    assert limits.resolve("essai", "gain_kg")[1].startswith("programme, Dr A. Martin")
    assert book(protocol, "").resolve("essai", "gain_kg")[1] == "défaut du protocole [S17]"


def test_a_limit_that_nobody_set_is_undetermined(protocol):
    value, origin = book(protocol, "").resolve("essai", "dry_kg", "Rennes", "P1")
    assert math.isnan(value)
    assert origin == "non fixée"


def test_the_newest_date_is_in_force_wherever_it_is_in_the_file(protocol):
    new, old = entry("programme", 1.6, "2026-11-03"), entry("programme", 1.8, "2026-11-02")
    for text in (new + old, old + new):
        assert book(protocol, text).resolve("essai", "gain_kg")[0] == 1.6


def test_who_has_limits_of_their_own(protocol):
    limits = book(protocol)
    assert limits.own() == {("essai", "gain_kg")}
    assert (limits.subjects("patient"), limits.subjects("cell")) == (("P1",), ("Rennes",))


def test_digest_is_of_what_is_in_force(protocol):
    other_order = (
        entry("patient", 1.5, subject="P1") + entry("programme", 1.8) + entry("cell", 1.7, subject="Rennes")
    )
    assert book(protocol).digest == book(protocol, other_order).digest
    assert book(protocol).digest != book(protocol, ALL.replace("1.7", "1.9")).digest
    assert book(protocol).digest != book(protocol, ALL.replace("Martin", "Durand")).digest


@pytest.mark.parametrize(
    ("old", "new", "key", "wrong", "legal"),
    [
        ("1.8", "9", "programme[0].value", "9 kg is outside the range of gain_kg", "0.5 to 5 kg"),
        ("1.8", "nan", "programme[0].value", "nan", ""),
        ("1.8", '"1.8"', "programme[0].value", "1.8", "a number"),
        ('"gain_kg"', '"gian_kg"', "programme[0].limit", "unknown limit 'gian_kg'", "'gain_kg'"),
        ('"essai"\nlimit', '"essay"\nlimit', "programme[0].protocol", "unknown protocol 'essay'", "'essai'"),
        ('author = "Dr A. Martin"\n', "", "programme[0].author", "is missing", ""),
        ('reason = "essai"\n', "", "programme[0].reason", "is missing", ""),
        ('reason = "essai"', 'reason = ""', "programme[0].reason", "''", ""),
        ("date = 2026-11-02\n", "", "programme[0].date", "is missing", ""),
        ("date = 2026-11-02", 'date = "2026-11-02"', "programme[0].date", "2026-11-02", "a date"),
        ("author =", "autor =", "programme[0].autor", "unknown key 'autor'", "'author'"),
        ("[[programme]]", "[[program]]", "program", "unknown key 'program'", "'programme'"),
        ('cell = "Rennes"\n', "", "cell[0].cell", "is missing", "text between quotes"),
        ('patient = "P1"', "patient = 1", "patient[0].patient", "1 is not a name", "text between quotes"),
        (
            "[[programme]]",
            entry("programme", 1.9) + "[[programme]]",
            "programme[1]",
            "twice on one date",
            "one entry a date",
        ),
    ],
)
def test_mistakes(protocol, old, new, key, wrong, legal):
    with pytest.raises(ProtocolError) as caught:
        book(protocol, ALL.replace(old, new, 1))
    mistake = next(m for m in caught.value.mistakes if m.key == key)
    assert wrong in mistake.wrong
    assert legal in mistake.legal
    assert mistake.line > 0


def test_all_mistakes_are_told(protocol):
    with pytest.raises(ProtocolError) as caught:
        book(protocol, ALL.replace("1.8", "9").replace("1.7", "0.1").replace("1.5", "-1"))
    assert [m.key for m in caught.value.mistakes] == [
        "programme[0].value",
        "cell[0].value",
        "patient[0].value",
    ]


@given(value=st.floats(-10, 10))
def test_no_value_outside_the_range_is_ever_in_force(protocol, value):
    text = entry("patient", repr(value), subject="P1")
    try:
        resolved, _ = book(protocol, text).resolve("essai", "gain_kg", None, "P1")
    except ProtocolError:
        assert not 0.5 <= value <= 5
    else:
        assert resolved == value
        assert 0.5 <= value <= 5


def test_a_book_that_cannot_be_read(protocol, tmp_path):
    with pytest.raises(ProtocolError, match="cannot be read"):
        LimitBook.load(tmp_path / "absent.toml", [protocol])
    path = tmp_path / "limites.toml"
    path.write_text(ALL, encoding="utf-8")
    assert LimitBook.load(path, [protocol]).digest == book(protocol).digest
    with pytest.raises(KeyError):
        book(protocol).resolve("essai", "absent")


@pytest.mark.parametrize(
    ("key", "written"), [("author", '"Dr A. Martin"'), ("date", "2026-11-02"), ("reason", '"essai"')]
)
def test_a_proposal_that_nobody_completed_is_refused(protocol, key, written):
    text = entry("patient", 1.5, subject="P1").replace(f"{key} = {written}", f'{key} = "À compléter "')
    with pytest.raises(ProtocolError) as caught:
        book(protocol, text)
    (mistake,) = caught.value.mistakes
    assert mistake.key == f"patient[0].{key}"
    assert f"{key} left 'à compléter'" in mistake.wrong
    assert "who decided it" in mistake.legal


def test_entries_put_in_place_of_others_hold_whatever_the_dates(protocol):
    before = book(protocol, ALL.replace("2026-11-02", "2030-01-01"))
    said = LimitEntry(
        protocol="essai", limit="gain_kg", value=1.2, author="A", date=dt.date(2026, 1, 1), reason="essai"
    )
    after = before.replaced([Change("patient", "P1", said)])
    assert after.resolve("essai", "gain_kg", None, "P1")[0] == 1.2
    assert (
        after.resolve("essai", "gain_kg", "Rennes", "P2")[0]
        == before.resolve("essai", "gain_kg", "Rennes", "P2")[0]
    )
    assert before.resolve("essai", "gain_kg", None, "P1")[0] == 1.5


def test_the_digest_of_some_limits_knows_these_alone(protocol):
    empty, full = book(protocol, ""), book(protocol)
    assert full.digest_of({("essai", "gain_kg")}) == full.digest != empty.digest
    assert full.digest_of({("essai", "other_kg")}) == full.digest_of(set()) == empty.digest
