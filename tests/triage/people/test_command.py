"""``vigie user`` and ``vigie audit``, on a queue that is there and on a trail that somebody has touched."""

import hashlib
import json
import sys

import pytest
from sqlalchemy import text

import vigie
from triage import audit, database

PASSWORD = "bleu comme une orange"  # noqa: S105


@pytest.fixture
def run(monkeypatch, capfd, url):
    """Run the command line in this process on the queue at `url`; gives status, standard output and error."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["vigie", *map(str, args), "--queue", url])
        with pytest.raises(SystemExit) as end:
            vigie.main()
        out, err = capfd.readouterr()
        return end.value.code, out.rstrip("\n"), err

    monkeypatch.delenv("VIGIE_DEBUG", raising=False)
    monkeypatch.setenv("LOGNAME", "root")
    return run


@pytest.fixture
def made(run):
    """A queue with two accounts; gives the password of one."""
    status, given, err = run("user", "create", "marie", "--role", "nurse", "--cell", "Nord", "--cell", "Sud")
    assert (status, err) == (0, "")
    status, _, _ = run("user", "create", "psc", "--role", "cardiologist", "--cell", "Nord", "--openid", "81")
    assert status == 0
    return given


def test_an_account_from_its_making_to_its_end(run, made, world):
    come = world.people.sign_in("marie", made, "", 1 + _now())
    assert come.person.cells == ("Nord", "Sud")
    assert run("user", "list")[1].splitlines() == [
        "marie: nurse; cell Nord; cell Sud; password given out, to be changed",
        "psc: cardiologist; cell Nord; password given out, to be changed; by OpenID Connect",
    ]
    for _ in range(5):
        world.people.sign_in("marie", "wrong", "", _now())
    assert "; locked until 20" in run("user", "list")[1]
    assert run("user", "unlock", "marie") == (0, "marie: unlocked", "")
    assert "locked" not in run("user", "list")[1]
    status, again, _ = run("user", "reset", "marie", "--second-factor")
    assert status == 0
    assert again != made
    assert world.people.who(come.token, _now()) is None
    assert world.people.sign_in("marie", again, "", _now()).person.name == "marie"
    assert run("user", "disable", "marie") == (0, "marie: disabled", "")
    assert "; disabled 20" in run("user", "list")[1]
    assert {actor for actor, action in world.trail() if action.startswith("account ")} == {
        "shell:root",
        "vigie",
    }


def _now():
    import time

    return time.time_ns() // 1_000_000


def test_a_token_is_made_listed_and_ended(run, made, world):
    status, token, err = run("user", "token", "marie", "--name", "report", "--scope", "work", "--days", "7")
    assert (status, err, token[:3]) == (0, "", "vg_")
    assert world.people.by_token(token, _now()).scope == "work"
    (marie, psc) = json.loads(run("user", "list", "--json")[1])
    assert (marie["name"], marie["tokens"][0]["name"], psc["tokens"]) == ("marie", "report", [])
    assert token not in run("user", "list", "--json")[1]
    assert run("user", "token", "marie", "--name", "report", "--revoke") == (
        0,
        "marie: token report revoked",
        "",
    )
    assert world.people.by_token(token, _now()) is None


def test_what_cannot_be_is_said_in_one_line(run, made):
    for args, said in [
        (["create", "marie", "--role", "operator"], "account marie: there is one of this name"),
        (["disable", "nobody"], "account 'nobody': there is none of this name"),
        (
            ["token", "marie", "--name", "report", "--days", "500"],
            "token report: 500 days; legal are 1 to 366",
        ),
        (["token", "marie", "--name", "none", "--revoke"], "account marie: there is no token 'none'"),
    ]:
        status, out, err = run("user", *args)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_who_comes_by_openid_only_gets_no_password(run):
    args = ["user", "create", "psc", "--role", "operator", "--openid", "81", "--no-password"]
    assert run(*args) == (0, "psc: comes in by OpenID Connect", "")
    assert run("user", "list")[1] == "psc: operator; by OpenID Connect only"


def test_a_trail_that_is_whole(run, made):
    status, out, _ = run("audit", "verify")
    assert (status, out[:27]) == (0, "2 entries, whole; head " + out[23:27])
    head = out.rpartition(" ")[2]
    run("user", "unlock", "marie")
    status, out, _ = run("audit", "verify", "--expect", head.upper())
    assert (status, out.startswith("3 entries, whole")) == (0, True)


def test_a_trail_that_is_broken_or_cut_off(run, made, url):
    engine = database.connect(database.address(url))
    with database.writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER audit_stays"))
        else:
            connection.execute(text("DROP TRIGGER audit_stays_update"))
        connection.execute(text("UPDATE audit SET actor = 'paul' WHERE id = 1"))
    engine.dispose()
    assert run("audit", "verify") == (
        1,
        "",
        "vigie: audit trail: entry 1 is not what was written, or not in its place\n",
    )
    run("user", "unlock", "marie")
    status, _, err = run("audit", "verify", "--expect", "0" * 64)
    assert status == 1
    assert err.startswith("vigie: audit trail: ")


def test_the_file_of_a_trail_says_the_same_without_vigie(run, made, tmp_path):
    """As docs/administrator.md tells an auditor to compute it."""
    file = tmp_path / "audit.jsonl"
    status, out, _ = run("audit", "export", "--out", file)
    head = audit.START
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        digest = hashlib.sha256(head.encode())
        for name in ("id", "t_ms", "actor", "action", "subject", "cell", "details"):
            value = str(line[name]).encode()
            digest.update(str(len(value)).encode() + b":" + value)
        assert line["hash"] == digest.hexdigest()
        head = line["hash"]
    assert (status, out) == (0, f"{file}: 2 entries; head {head}")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir() if "audit" in each.name] == ["audit.jsonl"]


def test_a_file_that_cannot_be_written(run, made, tmp_path):
    status, _, err = run("audit", "export", "--out", tmp_path / "none" / "audit.jsonl")
    assert (status, err.count("\n")) == (2, 1)
    assert "No such file" in err
