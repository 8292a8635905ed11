"""Asking who somebody is: on a terminal until each answer is legal, else as JSON."""

import json

import pytest

from triage.identity.ask import from_json, from_person
from triage.identity.errors import RegisterError
from triage.identity.person import FIELDS, Care, Person

KNOWN = ("insuffisance_cardiaque",)


def talk(answers, **options):
    """Give the answers, in order; returns what came of it, the questions and the objections."""
    left = list(answers)
    asked, said = [], []

    def ask(question):
        asked.append(question)
        return left.pop(0)

    values = from_person(ask, said.append, KNOWN, **options)
    assert left == []
    return values, asked, said


def test_each_field_is_asked_for_until_it_is_legal(texts, person, care):
    answers = list(texts().values())
    values, asked, said = talk([answers[0][:-1], *answers])
    assert (Person.of(values), Care.of(values)) == (person(), care())
    assert len(asked) == len(FIELDS) + 1
    assert asked[:3] == ["INS (15 caractères)", "INS (15 caractères)", "Nature de l'INS"]
    assert [each[:13] for each in said] == ["14 characters"]


def test_an_empty_answer_leaves_what_is_there(texts):
    names = [field.name for field in FIELDS if field.name != "cell"]
    answers = ["06 39 98 00 12" if name == "telephones" else "" for name in names]
    assert talk(answers, changes=True)[0] == {"telephones": ("0639980012",)}


def test_json_gives_the_same(texts, person):
    assert Person.of(from_json(json.dumps(texts()), KNOWN)) == person()
    assert from_json('{"used_name": "", "sex": "I"}', KNOWN, changes=True) == {"used_name": None, "sex": "I"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("QUIMERCH", "no JSON object of texts; legal names are ins, ins_oid"),
        ('["QUIMERCH"]', "no JSON object of texts"),
        ('{"birth_name": 3}', "no JSON object of texts"),
        ('{"QUIMERCH": "x"}', "1 of the names on standard input cannot be used; legal are ins"),
        (
            '{"birth_name": "QUIMERCH3"}',
            "(?s)ins: 0 characters are no INS.*birth_name: holds what is in no name",
        ),
    ],
)
def test_json_that_is_wrong(text, said):
    with pytest.raises(RegisterError, match=said) as error:
        from_json(text, KNOWN)
    assert "QUIMERCH" not in str(error.value)


def test_the_cell_is_not_corrected_but_transferred():
    with pytest.raises(RegisterError, match="cannot be used"):
        from_json('{"cell": "Sud"}', KNOWN, changes=True)
