"""Invented people: numbers with the OID of tests, names of nobody, telephone numbers kept for fiction."""

from datetime import date

import pytest

from triage.identity import register as registers
from triage.identity.ins import OIDS
from triage.identity.person import Care, Person

# Of 06 39 98 00 00 to 99 the regulator (Arcep) gives none to anybody.
FICTION = "06399800"


def number_of(count, year=55, department="14"):
    """INS of the `count`-th invented woman born in August of that year; the key by the other way of saying the rule."""
    body = f"2{year:02}08{department}168{count:03}"
    less = {"2A": 1_000_000, "2B": 2_000_000}.get(department, 0)
    value = int(body.replace("A", "0").replace("B", "0")) - less
    return f"{body}{97 - value % 97:02}"


def make_person(count=1, **over):
    values = {
        "ins": number_of(count),
        "ins_oid": OIDS["TEST"],
        "birth_name": "QUIMERC'H",
        "used_name": "Vraignon-Taulé",
        "given_name": f"Odile {chr(65 + count // 26)}{chr(65 + count % 26)}",
        "birth_date": date(1955, 8, 3),
        "sex": "F",
        "birth_place": "14168",
        "telephones": (f"{FICTION}{count % 100:02}",),
    }
    return Person(**values | over)


def make_care(**over):
    return Care(**{"cell": "Cellule Nord", "protocols": ("insuffisance_cardiaque",)} | over)


def make_row(count=1, **over):
    """Texts of a line of a list, by field."""
    person = make_person(count)
    row = {
        "ins": person.ins,
        "ins_oid": "TEST",
        "birth_name": person.birth_name,
        "used_name": person.used_name,
        "given_name": person.given_name,
        "birth_date": "1955-08-03",
        "sex": "F",
        "birth_place": "14168",
        "telephones": person.telephones[0],
        "cell": "Cellule Nord",
        "protocols": "insuffisance_cardiaque",
        "language": "",
        "zone": "",
    }
    return row | over


@pytest.fixture(scope="session")
def number():
    return number_of


@pytest.fixture(scope="session")
def person():
    return make_person


@pytest.fixture(scope="session")
def care():
    return make_care


@pytest.fixture(scope="session")
def texts():
    return make_row


@pytest.fixture
def listed(tmp_path):
    """Write a list of patients; gives its path."""

    def listed(*rows, name="patients.csv", delimiter=","):
        fields = list(rows[0])
        lines = [delimiter.join(fields)]
        lines += [delimiter.join(row[field] for field in fields) for row in rows]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return listed


@pytest.fixture
def url(empty):
    """Address of an empty database: a register is no queue."""
    return empty


@pytest.fixture
def register(url):
    """An empty register, in each database."""
    with registers.open(url) as register:
        yield register
