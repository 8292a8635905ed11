"""Fields of a person: what is read, what is refused, and that a refusal does not repeat what was there."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.identity.person import FIELDS, Care, Person, column, read_fields
from triage.identity.pseudonym import draw, is_one

KNOWN = ("insuffisance_cardiaque", "covidom")


def read(texts):
    values, wrong = read_fields(texts, KNOWN)
    return values, {each.field: str(each) for each in wrong}


def test_a_patient_is_read(texts, person, care):
    values, wrong = read(texts())
    assert wrong == {}
    assert Person.of(values) == person()
    assert Care.of(values) == care()


@pytest.mark.parametrize(
    ("field", "text", "is_read_as"),
    [
        ("birth_date", "03/08/1955", date(1955, 8, 3)),
        ("sex", "Féminin", "F"),
        ("sex", "H", "M"),
        ("sex", "indéterminé", "I"),
        ("birth_name", "  D’ANGELO   PONS ", "D’ANGELO PONS"),
        ("given_name", "Zoe\u0308", "Zoë"),
        ("used_name", "", None),
        ("birth_place", "2a004", "2A004"),
        ("telephones", "06 39 98 00 01 / 0033 6 39 98 00 02; 06.39.98.00.01", ("0639980001", "+33639980002")),
        ("protocols", "insuffisance_cardiaque + covidom", ("covidom", "insuffisance_cardiaque")),
        ("language", "", "fr"),
        ("language", "pt-BR", "pt-BR"),
        ("zone", "America/Martinique", "America/Martinique"),
        ("zone", "", None),
    ],
)
def test_as_people_write(texts, field, text, is_read_as):
    values, wrong = read(texts(**{field: text}))
    assert wrong == {}
    assert values[field] == is_read_as


WRONG = [
    ("birth_name", "", "is empty; legal: 1 to 100 printable characters"),
    ("birth_name", "Taulé2", "holds what is in no name; legal: letters, with"),
    ("birth_name", "Ta\x07ulé", "cannot be printed"),
    ("given_name", "- -", "holds no letter"),
    ("birth_date", "3 août 1955", "is no date; legal: 1890-01-01 to"),
    ("birth_date", "1955-02-30", "is no date"),
    ("birth_date", "2999-01-01", "is no day on which a patient may be born"),
    ("sex", "Taulé", "is none of these; legal: F, M, I"),
    ("birth_place", "Caen", "is no INSEE code; legal: 5 characters, such as 75056, 2A004"),
    ("telephones", "", "nobody could be called"),
    ("telephones", "639980001", "has a spreadsheet taken its first 0 away?"),
    ("telephones", "15-Taulé", "characters are no number"),
    ("cell", "", "is empty"),
    ("protocols", "", "is empty"),
    ("protocols", "insuffisance_cardiac", "did you mean 'insuffisance_cardiaque'?"),
    ("protocols", "Vraignon", "legal: covidom, insuffisance_cardiaque"),
    ("language", "français", "legal: a code such as fr"),
    ("zone", "Taulé/Ville", "legal: names such as Europe/Paris"),
    ("ins_oid", "Taulé", "no kind of INS"),
]


@pytest.mark.parametrize(("field", "text", "said"), WRONG, ids=[f"{f}-{t}" for f, t, _ in WRONG])
def test_what_is_wrong_is_said_and_not_repeated(texts, field, text, said):
    _, wrong = read(texts(**{field: text}))
    assert list(wrong) == [field]
    assert said in wrong[field]
    assert "Taulé" not in wrong[field]
    assert "Vraignon" not in wrong[field]


@given(st.sampled_from([each.name for each in FIELDS]), st.text("ÀÉXYZ0123456789'", min_size=4, max_size=120))
def test_a_refusal_never_repeats(field, text):
    _, wrong = read_fields({field: text}, KNOWN, {field})
    assert not [each for each in wrong if text in str(each)]


def test_a_person_in_a_log_is_three_characters(person):
    assert repr(person()) == f"Person(…{person().ins[-3:]})"


def test_names_are_compared_without_what_two_clerks_write_differently(person):
    one = person(birth_name="D'ANGELO-PONS", given_name="Zoë")
    other = person(birth_name="d’angelo pons", given_name="ZOE")
    assert one.alike == other.alike


def test_no_two_columns_are_called_alike():
    names = [name for field in FIELDS for name in (field.name, *field.also)]
    assert len(names) == len(set(names))
    assert all(column(name) == name for name in names)


@pytest.mark.parametrize("name", ["Prénom", " PRENOM ", "prénom:"])
def test_names_of_columns_are_compared_without_accents(name):
    assert column(name) == "prenom"


def test_a_pseudonym_is_a_legal_id_of_a_packet_and_never_the_same():
    from ingest import packet
    from kernels.directory import ID_BYTES

    drawn = {draw() for _ in range(10_000)}
    assert len(drawn) == 10_000
    assert all(is_one(each) and len(each.encode()) <= ID_BYTES for each in drawn)
    assert packet.spot(drawn.pop(), "scale", 1, 1_790_000_000_000, {1: 80.0})
    assert not is_one("QUIMERCH")
