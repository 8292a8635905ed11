"""The commands about patients, from enrolment to the file that the engine reads."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vigie

ROOT = Path(__file__).parent.parent

ODILE = {
    "ins": "2 55 08 14 168 025 38",
    "ins_oid": "TEST",
    "birth_name": "QUIMERC'H",
    "used_name": "Vraignon",
    "given_name": "Odile",
    "birth_date": "03/08/1955",
    "sex": "F",
    "birth_place": "14168",
    "telephones": "06 39 98 00 01",
    "cell": "Cellule Nord",
    "protocols": "insuffisance_cardiaque",
}
SECRETS = ("255081416802538", "QUIMERC", "Vraignon", "Odile", "0639980001", "1955")


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Run a command about patients in this process; gives status, standard output and standard error."""

    def run(*args, given=""):
        monkeypatch.setattr(sys, "argv", ["vigie", "patient", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        with pytest.raises(SystemExit) as end:
            vigie.main()
        out, err = capfd.readouterr()
        return end.value.code, out, err

    monkeypatch.delenv("VIGIE_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("VIGIE_REGISTER", str(tmp_path / "register.sqlite"))
    return run


@pytest.fixture
def odile(run):
    """Enrol somebody; gives the id."""
    status, out, err = run("enrol", "--by", "Mme Martin", given=json.dumps(ODILE))
    assert (status, err) == (
        0,
        "to be looked at: the first patient of Cellule Nord: is the name of the cell right?\n",
    )
    return out.strip()


def test_a_patient_from_enrolment_to_the_end(run, odile, tmp_path):
    status, out, _ = run("list")
    assert status == 0
    assert all(each in out for each in (odile, "Cellule Nord", "insuffisance_cardiaque", "1 patient(s)"))
    status, out, err = run("correct", odile, given='{"telephones": "0639980002"}')
    assert (status, out, err) == (0, f"{odile}: updated telephones\n", "")
    assert run("transfer", odile, "--to", "Cellule Sud")[:2] == (0, f"{odile}: in Cellule Sud\n")
    assert run("list", "--cell", "Cellule Nord")[1].endswith("0 patient(s)\n")
    status, out, _ = run("close", odile, "--reason", "fin de programme", "--by", "Dr Le Goff")
    assert (status, out) == (0, f"{odile}: no longer followed\n")
    assert run("list")[1].endswith("0 patient(s)\n")
    assert run("list", "--all")[1].endswith("1 patient(s)\n")
    _, out, _ = run("show", odile, "--identity", "--by", "Mme Martin")
    for said in ("QUIMERC'H", "0639980001 → ", "fin de programme", "Cellule Nord → Cellule Sud"):
        assert said in out.replace("['", "").replace("']", "")
    assert run("close", odile, "--reason", "encore")[0] == 2


def test_who_somebody_is_is_shown_only_when_it_is_asked_for(run, odile):
    for command in (("list",), ("list", "--json"), ("show", odile), ("show", odile, "--json")):
        status, out, err = run(*command)
        assert status == 0
        assert odile in out
        assert not [secret for secret in SECRETS if secret in out + err]
        status, out, _ = run(*command, "--identity")
        assert status == 0
        assert "Vraignon" in out
        assert "identité consultée" not in out or command[0] == "show"
    # Each of the two lists and the two cards that showed the person, and no other, is among the acts.
    assert run("show", odile)[1].count("identité consultée") == 4


def test_json_for_programs(run, odile):
    (row,) = json.loads(run("list", "--json", "--identity")[1])
    assert (row["patient"], row["ins"], row["telephones"]) == (odile, "255081416802538", ["0639980001"])
    row = json.loads(run("show", odile, "--json")[1])
    assert (row["cell"], row["followed"], row["enrolled_by"]) == ("Cellule Nord", True, "Mme Martin")
    assert "ins" not in row


def test_the_engine_reads_the_enrolment(run, odile, tmp_path):
    from engine.load import load

    out = tmp_path / "enrolment.csv"
    assert run("enrolment", "--out", out)[:2] == (0, f"{out}: 1 patient\n")
    assert not [secret for secret in SECRETS if secret in out.read_text()]
    loaded = load(["insuffisance_cardiaque", "covidom"], enrolment=out)
    assert {patient: (m.protocols, m.cell) for patient, m in loaded.roster.members.items()} == {
        odile: ((0,), "Cellule Nord")
    }


def test_the_same_person_again(run, odile):
    status, out, err = run("enrol", given=json.dumps(ODILE))
    assert (status, out) == (2, "")
    assert err == f"vigie: …538: followed already, as {odile} in Cellule Nord\n"


def test_a_list_is_tried_then_imported(run, tmp_path):
    path = tmp_path / "patients.csv"
    line = {**ODILE, "protocols": "maison"}
    path.write_text("\n".join(";".join(each) for each in (line, line.values())) + "\n", encoding="utf-8")
    own = (ROOT / "rules/protocols/covidom.toml").read_text().replace('id = "covidom"', 'id = "maison"', 1)
    (tmp_path / "maison.toml").write_text(own)
    status, out, err = run("import", path, "--dry-run")
    assert (status, out) == (2, "")
    assert "patients.csv:2: protocols: an unknown protocol; legal: covidom, insuffisance_cardiaque" in err
    options = ("--protocol-file", tmp_path / "maison.toml")
    status, out, err = run("import", path, "--dry-run", *options)
    assert (status, out.splitlines()[-1]) == (
        0,
        f"{path}: dry run, nothing was changed: 1 enrolled, 0 updated, 0 unchanged",
    )
    assert "write: done, 1 of 1 patients (100 %)" in err
    assert not (tmp_path / "register.sqlite").exists()
    assert run("import", path, *options)[0] == 0
    assert run("import", path, *options)[1] == f"{path}: 0 enrolled, 0 updated, 1 unchanged\n"
    path.write_text(path.read_text() + ";".join(line.values()) + "\n")
    status, out, err = run("import", path, *options, "--keep-good")
    assert (status, out) == (1, f"{path}: 0 enrolled, 0 updated, 1 unchanged, 1 left out\n")
    assert err.splitlines()[-1].endswith("ins: …538 is on line 2 already; legal: one line a patient")


def test_on_a_terminal_each_field_is_asked_for(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vigie", "patient", "enrol", "--register", tmp_path / "r.sqlite"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    answers = ["2 55 08 14 168 025 39", *ODILE.values(), "", ""]
    os.write(ours, "".join(f"{each}\n" for each in answers).encode())
    out, err = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 0, err
    assert "…539: the control key does not fit the number; legal: the INS as INSi gave it\n" in err
    assert out.startswith("INS (15 caractères) : INS (15 caractères) : Nature de l'INS : Nom de naissance : ")


def test_an_error_does_not_repeat_a_person(run, odile):
    wrong = {**ODILE, "ins": "255081416802539", "sex": "Vraignon", "birth_date": "QUIMERC'H"}
    for args, given in (
        (("enrol",), json.dumps(wrong)),
        (("enrol",), json.dumps(ODILE)),
        (("enrol",), "QUIMERC'H"),
        (("correct", odile), '{"Vraignon": "QUIMERC"}'),
        (("show", "Vraignon"), ""),
        (("close", "Vraignon", "--reason", "Odile"), ""),
    ):
        status, out, err = run(*args, given=given)
        assert (status, out) == (2, "")
        assert all(line.startswith("vigie: ") for line in err.splitlines())
        assert not [secret for secret in (*SECRETS, "255081416802539") if secret in err], args


def test_the_list_of_the_documentation_is_legal_and_invented(run, tmp_path):
    text = (ROOT / "docs" / "patients.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```csv\n(.*?)```", text, re.DOTALL)
    (tmp_path / "patients.csv").write_text(example, encoding="utf-8")
    status, out, err = run("import", tmp_path / "patients.csv")
    assert status == 0, err
    assert out.endswith("3 enrolled, 0 updated, 0 unchanged\n")
    assert "another year" not in out
    oids = {row["ins_oid"] for row in json.loads(run("list", "--json", "--identity")[1])}
    assert oids == {"1.2.250.1.213.1.4.10"}


def test_the_fields_of_the_documentation_are_those_of_the_code():
    from triage.identity.person import FIELDS

    text = (ROOT / "docs" / "patients.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", text, re.MULTILINE)
    assert {(name, tuple(also.split(", "))) for name, also in rows} == {(f.name, f.also) for f in FIELDS}
