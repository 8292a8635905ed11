"""A person and the care that they are in: fields, how each is read from text, and by which names files call it.

A field is read by one function, for the terminal, JSON and CSV alike. What is wrong is said without what was there:
a name in the wrong column is still a name.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Self

from engine.enrolment import is_zone
from rules.errors import close_names
from triage.identity import ins
from triage.identity.errors import FieldError

__all__ = ["FIELDS", "Care", "Field", "Person", "column", "one_line", "read_fields"]

_FIRST_DAY = date(1890, 1, 1)
_LONGEST = 100
_PLACE = re.compile(r"(?:[0-9]{2}|2[AB])[0-9]{3}")
_TELEPHONE = re.compile(r"0[1-9][0-9]{8}|\+[1-9][0-9]{7,14}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z]{2})?")
_LIST = re.compile(r"[;,/|]")
_SEXES = {
    "F": ("f", "feminin", "femme", "female", "2"),
    "M": ("m", "masculin", "homme", "h", "male", "1"),
    "I": ("i", "indetermine", "inconnu", "unknown", "u"),
}


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """Who somebody is: the INS with its strict traits, the name in use, and where to call.

    `birth_place` is the INSEE code of the commune, or of the country for who was born abroad.
    """

    ins: str
    ins_oid: str
    birth_name: str
    used_name: str | None
    given_name: str
    birth_date: date
    sex: str
    birth_place: str
    telephones: tuple[str, ...]

    def __repr__(self) -> str:
        """Give what may stand in a log."""
        return f"Person({ins.mask(self.ins)})"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take the fields of a person from among others."""
        return cls(**{each.name: values[each.name] for each in fields(cls)})

    @property
    def alike(self) -> tuple[str, str]:
        """Birth name and given name as they are compared: without case, accents and what joins words."""
        return _bare(self.birth_name), _bare(self.given_name)


@dataclass(frozen=True, slots=True)
class Care:
    """By whom and how somebody is followed; nothing of it says who."""

    cell: str
    protocols: tuple[str, ...]
    language: str = "fr"
    zone: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take the fields of the care from among others."""
        return cls(**{each.name: values[each.name] for each in fields(cls)})


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, what else files call it, what a person is asked, how it is read.

    `usual` is what an empty text stands for; a field without it is needed.
    """

    name: str
    also: tuple[str, ...]
    question: str
    read: Callable[[str], Any]
    needed: bool = True
    usual: Any = None


def column(name: str) -> str:
    """Give the name of a column as it is compared: ``Prénom d'usage`` is ``prenom_d_usage``."""
    return re.sub(r"[^a-z0-9]+", "_", _plain(name)).strip("_")


def one_line(field: str, text: str, *, longest: int = _LONGEST) -> str:
    """Read a text of one line.

    Raises
    ------
    FieldError
        Where it is empty, too long, or holds what cannot be printed.
    """
    clean = " ".join(unicodedata.normalize("NFC", text).split())
    legal = f"1 to {longest} printable characters"
    if not clean:
        raise FieldError(field, "is empty", legal)
    if len(clean) > longest or not clean.isprintable():
        raise FieldError(field, f"{len(clean)} characters, or one that cannot be printed", legal)
    return clean


def read_fields(
    texts: Mapping[str, str], known: Sequence[str], only: Collection[str] | None = None
) -> tuple[dict[str, Any], list[FieldError]]:
    """Read the fields of a patient.

    Parameters
    ----------
    texts : mapping of str to str
        By name of the field. What is missing is empty.
    known : sequence of str
        Ids of the protocols that there are.
    only : collection of str, optional
        Names of the fields to read, else all.

    Returns
    -------
    values : dict
        Of the fields that are legal.
    wrong : list of FieldError
        Of the others.
    """
    values: dict[str, Any] = {}
    wrong: list[FieldError] = []
    for field in FIELDS:
        if only is not None and field.name not in only:
            continue
        text = texts.get(field.name, "").strip()
        try:
            if text or field.needed:
                values[field.name] = field.read(text)
                if field.name == "protocols":
                    _check_protocols(values[field.name], known)
            else:
                values[field.name] = field.usual
        except FieldError as error:
            wrong.append(error)
    return values, wrong


def _check_protocols(given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise FieldError("protocols", "an unknown protocol", close_names(name, known))


def _name(field: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        name = one_line(field, text)
        legal = "letters, with spaces, hyphens, apostrophes and full stops between them"
        if not all(each.isalpha() or unicodedata.combining(each) or each in " -'’." for each in name):
            raise FieldError(field, "holds what is in no name", legal)
        if not any(map(str.isalpha, name)):
            raise FieldError(field, "holds no letter", legal)
        return name

    return read


def _birth_date(text: str) -> date:
    today = datetime.now(UTC).date()
    legal = f"{_FIRST_DAY} to {today}, as 1958-03-31 or 31/03/1958"
    for form in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            read = datetime.strptime(text, form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
        if _FIRST_DAY <= read <= today:
            return read
        raise FieldError("birth_date", "is no day on which a patient may be born", legal)
    raise FieldError("birth_date", "is no date", legal)


def _sex(text: str) -> str:
    for sex, words in _SEXES.items():
        if _plain(text) in words:
            return sex
    raise FieldError("sex", "is none of these", "F, M, I (indéterminé)")


def _birth_place(text: str) -> str:
    place = text.upper()
    if not _PLACE.fullmatch(place):
        raise FieldError("birth_place", "is no INSEE code", "5 characters, such as 75056, 2A004, 99109")
    return place


def _telephones(text: str) -> tuple[str, ...]:
    numbers = [re.sub(r"[\s.()\-]+", "", each) for each in _LIST.split(text)]
    numbers = ["+" + each[2:] if each.startswith("00") else each for each in numbers if each]
    legal = "0612345678 or +33612345678, several with ; between them"
    if not numbers:
        raise FieldError("telephones", "is empty: nobody could be called", legal)
    for number in numbers:
        if not _TELEPHONE.fullmatch(number):
            lost = (
                ": has a spreadsheet taken its first 0 away?" if re.fullmatch("[1-9][0-9]{8}", number) else ""
            )
            raise FieldError("telephones", f"{len(number)} characters are no number{lost}", legal)
    return tuple(dict.fromkeys(numbers))


def _protocols(text: str) -> tuple[str, ...]:
    names = [each.strip() for each in re.split(r"[+;,/|]", text)]
    found = tuple(sorted({each for each in names if each}))
    if not found:
        raise FieldError("protocols", "is empty", "ids of protocols with + between them")
    return found


def _language(text: str) -> str:
    if not _LANGUAGE.fullmatch(text):
        raise FieldError("language", "is no language", "a code such as fr, ar, pt-BR")
    return text


def _zone(text: str) -> str:
    if not is_zone(text):
        raise FieldError("zone", "is no time zone", "names such as Europe/Paris, America/Martinique")
    return text


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in apart if not unicodedata.combining(each)).strip()


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, _plain(text)))


FIELDS = (
    Field("ins", ("matricule_ins", "matricule", "ins_matricule"), "INS (15 caractères)", ins.read),
    Field("ins_oid", ("oid", "oid_ins", "type_ins", "nature_ins"), "Nature de l'INS", ins.read_oid),
    Field(
        "birth_name",
        ("nom_de_naissance", "nom_naissance", "family_name"),
        "Nom de naissance",
        _name("birth_name"),
    ),
    Field(
        "used_name",
        ("nom_utilise", "nom_d_usage", "nom_usage"),
        "Nom utilisé (vide : le même)",
        _name("used_name"),
        needed=False,
    ),
    Field("given_name", ("prenom", "premier_prenom", "prenom_de_naissance"), "Prénom", _name("given_name")),
    Field("birth_date", ("date_de_naissance", "date_naissance"), "Date de naissance", _birth_date),
    Field("sex", ("sexe",), "Sexe (F, M, I)", _sex),
    Field(
        "birth_place",
        ("code_lieu_de_naissance", "lieu_de_naissance", "code_insee_de_naissance", "code_insee"),
        "Code INSEE du lieu de naissance",
        _birth_place,
    ),
    Field("telephones", ("telephone", "tel", "phone", "phones"), "Téléphone(s)", _telephones),
    Field("cell", ("cellule",), "Cellule", lambda text: one_line("cell", text, longest=80)),
    Field(
        "protocols",
        ("protocol", "protocole", "protocoles", "programme", "programmes"),
        "Protocole(s)",
        _protocols,
    ),
    Field("language", ("langue",), "Langue (vide : fr)", _language, needed=False, usual="fr"),
    Field(
        "zone",
        ("fuseau", "fuseau_horaire", "time_zone", "timezone"),
        "Fuseau horaire (vide : celui de la cellule)",
        _zone,
        needed=False,
    ),
)
"""In the order in which a person is asked."""
