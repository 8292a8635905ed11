"""A list of patients: French and English, every mistake named, all or nothing, and twice the same is once."""

import io

import pytest

from engine.progress import Lines
from rules.errors import Mistake
from triage.identity.errors import ImportRefusedError
from triage.identity.importing import import_list

KNOWN = ("insuffisance_cardiaque", "covidom")


def whats(done):
    return [each.what for each in done.taken]


def test_a_list_is_taken_and_once_more_changes_nothing(register, url, listed, texts, person):
    path = listed(texts(1), texts(2), texts(3))
    done = import_list(url, path, KNOWN, "Mme Martin")
    assert whats(done) == ["enrolled"] * 3
    assert register.persons([done.taken[1].id])[done.taken[1].id][0] == person(2)
    acts = [len(register.changes(each.id)) for each in done.taken]
    again = import_list(url, path, KNOWN, "Mme Martin")
    assert whats(again) == ["unchanged"] * 3
    assert str(again) == f"{path}: 0 enrolled, 0 updated, 3 unchanged"
    assert [len(register.changes(each.id)) for each in done.taken] == acts


def test_what_changed_is_updated_and_named(register, url, listed, texts):
    first = import_list(url, listed(texts(1), texts(2)), KNOWN)
    path = listed(texts(1), texts(2, telephones="0639980077", protocols="covidom"))
    done = import_list(url, path, KNOWN, "Mme Martin")
    assert whats(done) == ["unchanged", "updated"]
    assert f"line 3: updated {first.taken[1].id} (telephones, protocols)" in str(done)
    (_, change) = register.changes(first.taken[1].id)
    assert change.fields[0] == {"field": "telephones", "before": ["0639980002"], "after": ["0639980077"]}


def test_a_column_that_is_not_there_changes_nothing(register, url, listed, texts):
    import_list(url, listed(texts(1, zone="Indian/Reunion", language="ar")), KNOWN)
    less = {name: text for name, text in texts(1).items() if name not in {"zone", "language", "used_name"}}
    assert whats(import_list(url, listed(less), KNOWN)) == ["unchanged"]
    assert register.patients()[0].zone == "Indian/Reunion"


FRENCH = {
    "ins": "Matricule INS",
    "ins_oid": "Type INS",
    "birth_name": "Nom de naissance",
    "used_name": "Nom utilisé",
    "given_name": "Prénom",
    "birth_date": "Date de naissance",
    "sex": "Sexe",
    "birth_place": "Code lieu de naissance",
    "telephones": "Téléphone",
    "cell": "Cellule",
    "protocols": "Protocole",
    "language": "Langue",
    "zone": "Fuseau horaire",
}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_french_headers_from_a_spreadsheet(register, url, listed, texts, delimiter, person):
    french = {FRENCH[name]: text for name, text in texts(1, birth_date="03/08/1955").items()}
    path = listed(dict(reversed(french.items())), delimiter=delimiter)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    done = import_list(url, path, KNOWN)
    assert whats(done) == ["enrolled"]
    assert register.persons([done.taken[0].id])[done.taken[0].id][0] == person(1)


def test_every_mistake_is_named_with_line_and_column_and_nothing_is_taken(
    register, url, listed, texts, number
):
    path = listed(
        texts(1),
        texts(2, ins=number(2)[:-1] + str((int(number(2)[-1]) + 1) % 10), birth_date="1955"),
        texts(3, protocols="covidon", telephones="639980003"),
        texts(1, given_name="Ordile"),
        texts(4),
    )
    with pytest.raises(ImportRefusedError) as error:
        import_list(url, path, KNOWN)
    assert [(each.line, each.key) for each in error.value.mistakes] == [
        (3, "ins"),
        (3, "birth_date"),
        (4, "telephones"),
        (4, "protocols"),
        (5, "ins"),
    ]
    last = error.value.mistakes[-1]
    assert last == Mistake(
        str(path), 5, "ins", f"…{number(1)[-3:]} is on line 2 already", "one line a patient"
    )
    assert str(error.value).endswith("\nnothing was imported")
    assert "Ordile" not in str(error.value)
    assert register.patients() == []


def test_what_is_good_is_kept_where_that_was_asked(register, url, listed, texts):
    path = listed(texts(1), texts(2, sex="?"), texts(3))
    done = import_list(url, path, KNOWN, keep_good=True)
    assert whats(done) == ["enrolled", "enrolled"]
    assert [each.line for each in done.mistakes] == [3]
    assert str(done).endswith("2 enrolled, 0 updated, 0 unchanged, 1 left out")
    assert len(register.patients()) == 2


def test_a_dry_run_says_all_and_changes_nothing(register, url, listed, texts):
    import_list(url, listed(texts(1)), KNOWN)
    path = listed(texts(1, sex="I"), texts(2))
    done = import_list(url, path, KNOWN, dry_run=True)
    assert whats(done) == ["updated", "enrolled"]
    assert "line 3: enrolled\n" in str(done)
    assert "dry run, nothing was changed: 1 enrolled, 1 updated, 0 unchanged" in str(done)
    (patient,) = register.patients()
    assert [each.action for each in register.changes(patient.id)] == ["enrolled"]


def test_a_transfer_is_no_update_and_an_end_is_not_undone(register, url, listed, texts):
    done = import_list(url, listed(texts(1), texts(2)), KNOWN)
    register.end(done.taken[1].id, "fin")
    path = listed(texts(1, cell="Sud"), texts(2), texts(3))
    with pytest.raises(ImportRefusedError) as error:
        import_list(url, path, KNOWN)
    cell, over = error.value.mistakes
    assert (cell.line, cell.key) == (2, "cell")
    assert "vigie patient transfer" in cell.legal
    assert (over.line, over.key) == (3, "ins")
    assert f"the follow-up as {done.taken[1].id} is over" in over.wrong
    assert register.in_cell("Cellule Nord") == [done.taken[0].id]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"csv:1: ins: the column is missing; legal: a column ins or matricule_ins"),
        ("Odile;QUIMERCH\n", r"csv:1: column 1: has an unknown name; legal: ins, ins_oid, birth_name"),
        ("ins,NIR\n", r"csv:1: column 2: has an unknown name"),
        ("sexe,sex\n", r"csv:1: sex: two columns are called so"),
    ],
)
def test_a_header_that_is_none(register, url, tmp_path, text, said):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ImportRefusedError, match=said) as error:
        import_list(url, tmp_path / "p.csv", KNOWN)
    assert "QUIMERCH" not in str(error.value)


def test_lines_that_are_no_csv_or_no_text(register, url, tmp_path, listed, texts):
    path = listed(texts(1))
    good = path.read_text()
    for text, said in [
        (good + "1,2,3\n", r"csv:3: 3 fields; legal: 13, as in the first line"),
        (good + '"x', r"is no CSV \(unexpected end of data\)"),
        (good + '\n,,,,,,,,,,,,\n"multi\nline",,,,,,,,,,,,\n', r"csv:5: ins: 9 characters are no INS"),
    ]:
        path.write_text(text)
        with pytest.raises(ImportRefusedError, match=said):
            import_list(url, path, KNOWN)
    path.write_bytes(good.replace("é", "\xe9").encode("latin-1"))
    with pytest.raises(ImportRefusedError, match="the text is not UTF-8; legal: UTF-8; a spreadsheet saves"):
        import_list(url, path, KNOWN)


def test_a_long_list_in_pieces_says_where_it_is(register, url, listed, texts):
    said = io.StringIO()
    rows = [texts(count) for count in range(1, 600)]
    with Lines(said) as progress:
        done = import_list(url, listed(*rows), KNOWN, progress=progress)
    assert whats(done) == ["enrolled"] * 599
    assert [each.id for each in done.taken] == [
        next(iter(register.persons([each.id]))) for each in done.taken
    ]
    assert "read: done, 599 of 599 lines (100 %)" in said.getvalue()
    assert "write: done, 599 of 599 patients (100 %)" in said.getvalue()
    assert len(register.in_cell("Cellule Nord")) == 599
