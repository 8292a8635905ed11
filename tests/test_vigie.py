"""The command line: each verb explains itself, each error is one clear line, nothing heavy loads for the help."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import vigie

ROOT = Path(__file__).parent.parent


def verbs(command=None, path=()):
    """List every verb, from the command line itself, so that none is forgotten here."""
    command = command or typer.main.get_command(vigie.app)
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from verbs(each, (*path, name))
        else:
            yield (*path, name)


VERBS = list(verbs())


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command line in this process; gives status, standard output and standard error."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["vigie", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            vigie.main()
        out, err = capfd.readouterr()
        return end.value.code, out, err

    monkeypatch.delenv("VIGIE_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # A service sends messages to the standard error that it finds, which is gone after the test.
    root = logging.getLogger()
    level = root.level
    yield run
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:  # pytest's own are of other types
            root.removeHandler(handler)
    root.setLevel(level)


def test_the_verbs_are_those_of_the_documentation():
    assert {" ".join(verb) for verb in VERBS} == {
        "demo",
        "simulate",
        "replay",
        "quality",
        "backtest",
        "analyse",
        "queue",
        "strips",
        "warmup",
        "protocol check",
        "protocol explain",
        "protocol new",
        "protocol diff",
        "protocol sign",
        "protocol verify",
        "protocol patients",
        "serve",
        "web",
        "link",
        "work",
        "bridge",
        "load",
        "config show",
        "monitoring",
        "backup",
        "capacity",
        "restore",
        "source create",
        "source list",
        "source rotate",
        "source revoke",
        "source record",
        "user create",
        "user list",
        "user disable",
        "user reset",
        "user unlock",
        "user token",
        "audit verify",
        "audit export",
        "patient enrol",
        "patient import",
        "patient list",
        "patient show",
        "patient correct",
        "patient transfer",
        "patient close",
        "patient enrolment",
        "limits propose",
        "log verify",
        "log trim",
        "packet show",
    }


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_the_help_of_each_verb_ends_with_an_example(run, verb):
    status, out, err = run(*verb, "--help")
    assert (status, err) == (0, "")
    last = [line.strip() for line in out.splitlines() if line.strip()][-1]
    assert last.startswith(f"Example: vigie {' '.join(verb)}")
    every_option = [line for line in out.splitlines() if re.match(r"\W*--", line)]
    assert every_option


def test_the_version_names_the_kernels(run):
    from kernels import SOURCE_HASH

    status, out, _ = run("--version")
    assert status == 0
    assert re.fullmatch(rf"vigie \d+\.\d+\.\d+\S* \(kernels {SOURCE_HASH}\)\n", out)


def test_help_loads_nothing_heavy():
    """Start-up is what a person waits for: the machine's speed is not tested, what is loaded is."""
    code = f"""
import sys, vigie
heavy = {{"numba", "numpy", "polars", "pyarrow", "scipy", "sqlalchemy"}}
for verb in {[(), *VERBS]!r}:
    sys.argv = ["vigie", *verb, "--help"]
    try:
        vigie.main()
    except SystemExit as end:
        assert end.code == 0, verb
    assert not heavy & set(sys.modules), (verb, heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: vigie") == len(VERBS) + 1


@pytest.fixture
def files(tmp_path):
    """Files that are wrong, each in its way."""
    (tmp_path / "bad.toml").write_text('id = "x"\nversion = 3\n')
    (tmp_path / "one.csv").write_text("0.1\n0.2\n")
    (tmp_path / "text.log").write_text("this is no log\n" * 100)
    (tmp_path / "queue.sqlite").write_text("this is no database\n" * 100)
    return tmp_path


WRONG = [
    (["nothing"], "No such command 'nothing'"),
    (["replay"], "Missing argument"),
    (
        ["simulate", "--patients", "many", "--days", "1", "--out", "x"],
        "'--patients': Input should be a valid integer",
    ),
    (["simulate", "--patients", "0", "--days", "1", "--out", "{}/x.parquet"], "patients = 0: legal are 1 to"),
    (["simulate", "--patients", "1", "--days", "1", "--out", "{}/x", "--format", "xls"], "legal are parquet"),
    (["simulate", "--patients", "1", "--days", "1", "--out", "{}/bad.toml/x.parquet"], "File exists"),
    (
        ["demo", "--for", "1", "--out", "{}"],
        "holds something; a demonstration takes a new or an empty folder",
    ),
    (
        ["replay", "x.csv", "--protocol", "covidom", "--out", "{}"],
        "queue.sqlite: a queue that no replay has made; legal",
    ),
    (["quality", "{}/none"], "none: no such file or folder"),
    (["quality", "{}/one.csv"], "vigie quality"),
    (["analyse", "{}/none", "--out", "{}/o"], "none: no such file or folder"),
    (["analyse", "{}/text.log", "--out", "{}/o"], "text.log: of no known kind; legal are .hea (WFDB), .edf"),
    (["analyse", "{}/one.csv", "--out", "{}/o", "--strips", "10", "--beats", "atr"], "one or the other"),
    (
        ["analyse", "{}/one.csv", "--out", "{}/o", "--alarm", "VT"],
        "legal are Asystole, Bradycardia, Tachycardia",
    ),
    (["analyse", "{}/one.csv", "--out", "{}/o", "--at", "9"], "say which with --alarm"),
    (
        ["analyse", "{}/one.csv", "--out", "{}/o", "--alarm", "Asystole", "--at", "0"],
        "legal are seconds over 0",
    ),
    (["analyse", "{}/one.csv", "--out", "{}/o", "--alarm", "Asystole", "--beats", "atr"], "one or the other"),
    (["queue", "--queue", "{}/none.sqlite"], "none.sqlite: there is no queue here"),
    (["queue", "--queue", "{}/queue.sqlite"], "queue.sqlite: not a queue: file is not a database"),
    (["queue", "--queue", "mysql://x/y"], "legal databases are sqlite and postgresql"),
    (["queue", "--at", "yesterday"], "'yesterday'; legal are now, last, or ISO 8601"),
    (["queue", "--at", "2026-03-01T08:00"], "has no zone"),
    (["queue", "--zone", "Europe/Pariss"], "'Europe/Pariss'; legal are names of the IANA table"),
    (["queue", "--live", "--json"], "one or the other"),
    (["protocol", "check", "{}/none.toml"], "none.toml: cannot be read: No such file"),
    (["protocol", "check", "insuffisance_cardiac"], "did you mean 'insuffisance_cardiaque'"),
    (["protocol", "check", "{}/bad.toml"], "bad.toml:2: version: "),
    (["protocol", "explain", "{}/bad.toml"], "bad.toml:2: version: "),
    (["protocol", "diff", "covidom", "{}/bad.toml"], "bad.toml:2: version: "),
    (
        ["protocol", "new", "Poids", "--out", "{}/p.toml"],
        "p.toml:5: id: 'Poids' has another form; legal: a name",
    ),
    (["protocol", "new", "poids", "--out", "{}/bad.toml"], "bad.toml: File exists"),
    (["protocol", "verify", "covidon"], "did you mean 'covidom'"),
    (
        ["protocol", "sign", "covidom", "--name", "A", "--role", "b"],
        "comes with Vigie; legal: a file of your own",
    ),
    (["protocol", "sign", "{}/none.toml", "--name", "A", "--role", "b"], "none.toml: there is no such file"),
    (["protocol", "patients", "--data", "{}/nowhere"], "there is no folder"),
    (["patient", "list", "--register", "{}/none.sqlite"], "none.sqlite: there is no register here"),
    (["patient", "list", "--register", "{}/queue.sqlite"], "lets others in; legal is 600: chmod 600"),
    (
        ["patient", "import", "{}/one.csv", "--register", "{}/r.sqlite"],
        "one.csv:1: ins: the column is missing",
    ),
    (["patient", "import", "{}/none.csv", "--register", "{}/r.sqlite"], "none.csv: No such file"),
    (["patient", "show", "x", "--register", "mysql://x/y"], "legal databases are sqlite and postgresql"),
    (["user", "create", "Marie", "--role", "nurse", "--queue", "{}/q.sqlite"], "legal are 2 to 40 of a-z"),
    (["user", "create", "marie", "--role", "nurse", "--queue", "{}/q.sqlite"], "legal is at least one cell"),
    (["user", "create", "marie", "--role", "doctor", "--queue", "{}/q.sqlite"], "'nurse', 'cardiologist'"),
    (["user", "create", "marie", "--queue", "{}/q.sqlite"], "Missing option '--role'"),
    (
        ["user", "create", "ops", "--role", "operator", "--no-password", "--queue", "{}/q.sqlite"],
        "say with --openid how the person comes in",
    ),
    (["user", "list", "--queue", "{}/none.sqlite"], "none.sqlite: there is no queue here"),
    (["user", "disable", "marie", "--queue", "{}/queue.sqlite"], "not a queue: file is not a database"),
    (["audit", "verify", "--queue", "{}/none.sqlite"], "none.sqlite: there is no queue here"),
    (
        ["audit", "export", "--out", "{}/o", "--queue", "{}/none.sqlite"],
        "none.sqlite: there is no queue here",
    ),
    (["log", "verify", "{}/none.log"], "none.log"),
    (["log", "verify", "{}/text.log"], "not a Vigie log"),
    (["log", "trim", "{}/none.log", "--before", "3"], "none.log"),
    (
        ["replay", "x.csv", "--protocol", "x", "--out", "{}/o", "--column", "when=date"],
        "--column when=date: legal",
    ),
    (["packet", "show", "0g"], "0g: neither a file nor hexadecimal digits"),
    (["packet", "show", "f" * 1001], "neither a file nor hexadecimal digits"),
]


@pytest.mark.parametrize(("args", "said"), WRONG, ids=[" ".join(args)[:60] for args, _ in WRONG])
def test_what_is_wrong_is_said_in_lines_and_by_status_2(run, files, args, said):
    status, out, err = run(*(each.format(files) for each in args))
    assert status == 2, err
    assert out == ""
    assert all(line.startswith("vigie: ") for line in err.splitlines())
    assert said in err
    assert "Traceback" not in err


def test_nothing_is_made_where_nothing_was_asked(run, files):
    before = sorted(files.iterdir())
    for args, _ in WRONG:
        run(*(each.format(files) for each in args))
    assert sorted(files.iterdir()) == before


def test_a_fault_of_ours_is_told_from_a_mistake_of_the_users(run, monkeypatch, tmp_path):
    import triage.store

    def broken(*_args, **_options):
        return {}["no such key"]

    monkeypatch.setattr(triage.store, "open", broken)
    status, _, err = run("queue")
    assert (status, err.count("\n")) == (70, 1)
    assert "a fault of Vigie itself: KeyError: 'no such key'" in err
    monkeypatch.setenv("VIGIE_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["vigie", "queue"])
    with pytest.raises(KeyError):
        vigie.main()


@pytest.fixture
def filled(tmp_path):
    """A queue with two lines, as a replay leaves it."""
    import polars as pl

    import triage.store
    from rules.alerts import SCHEMA

    row = {
        "alert_id": "00000000000000aa",
        "patient": "P-1",
        "protocol": "ic",
        "version": "1.0.0",
        "protocol_hash": "0" * 16,
        "signed": False,
        "problem": "weight",
        "rule": "gain",
        "opened_by": "gain",
        "level": "ORANGE",
        "kind": "opened",
        "onset_ms": 1_790_000_000_000,
        "t_ms": 1_790_000_000_000,
        "clock_ms": 1_790_000_000_000,
        "offset": 1,
        "sentence": "Prise de 2,3 kg",
        "features": [],
        "limits": [],
        "points": [],
        "kernels": "0" * 16,
        "time_basis": "arrival",
    }
    rouge = row | {"alert_id": "00000000000000bb", "patient": "P-2", "level": "ROUGE"}
    path = tmp_path / "queue.sqlite"
    with triage.store.open(path) as queue:
        queue.apply(pl.DataFrame([row, rouge], schema=SCHEMA))
    return path


def test_queue_prints_once(run, filled):
    status, out, _ = run("queue", "--queue", filled, "--at", "last")
    assert status == 0
    assert out.index("▲ ROUGE") < out.index("◆ ORANGE")
    assert "Prise de 2,3 kg [protocole non signé]" in out
    assert "4 min" in out


def test_queue_as_json(run, filled):
    status, out, _ = run("queue", "--queue", filled, "--json", "--at", "2026-09-21T16:18:20+02:00")
    assert status == 0
    assert [(each["patient"], each["left_s"]) for each in json.loads(out)] == [
        ("P-2", -60.0),
        ("P-1", 3300.0),
    ]


def test_queue_live_ends_cleanly_when_interrupted(filled):
    process = subprocess.Popen(
        [sys.executable, "-m", "vigie", "queue", "--queue", filled, "--live"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "FORCE_COLOR": "1", "COLUMNS": "120"},
    )
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")


def test_an_interrupted_replay_tells_of_resume(run, monkeypatch, tmp_path):
    import engine.replay

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.replay, "replay", interrupted)
    status, out, err = run("replay", "x.csv", "--protocol", "covidom", "--out", tmp_path)
    assert (status, out) == (130, "")
    assert "--resume" in err


def test_a_reader_that_goes_away_is_no_error(filled):
    process = subprocess.Popen(
        [sys.executable, "-m", "vigie", "queue", "--queue", filled, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
    assert process.returncode in (0, 1)


def test_a_log_is_verified_and_trimmed(run, tmp_path):
    from ingest.log import Log

    path = tmp_path / "log"
    with Log.open(path) as log:
        for each in range(5):
            log.append("gateway", b"body %d" % each, 1_790_000_000_000 + each).result()
    status, out, _ = run("log", "verify", path)
    assert status == 0
    assert "5 intact entries, offsets 0 to 4" in out
    status, out, _ = run("log", "trim", path, "--before", 3)
    assert (status, out) == (0, f"{path}: 3 entries removed, the first offset is now 3\n")
    assert run("log", "trim", path, "--before", 9)[0] == 2


def test_a_damaged_log_fails_the_check(run, tmp_path):
    import sqlite3

    from ingest.log import Log

    path = tmp_path / "log"
    with Log.open(path) as log:
        log.append("gateway", b"body", 1_790_000_000_000).result()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE entry SET body = x'00'")
    connection.close()
    status, out, err = run("log", "verify", path)
    assert (status, err) == (1, "")
    assert "offset 0: checksum" in out


def test_a_simulation_is_written_and_counted(run, tmp_path):
    status, out, err = run("simulate", "--patients", 5, "--days", 3, "--out", tmp_path / "c.parquet")
    assert status == 0
    assert "readings" in out
    assert "simulate: done" in err
    assert (tmp_path / "c.truth.parquet").exists()


def test_records_are_analysed_and_what_fails_is_named(run, tmp_path):
    import numpy as np

    from ingest.simulator.ecg import Rhythm, synthesize

    ecg = synthesize(Rhythm.PAUSES, 40.0, 2)
    (tmp_path / "in").mkdir()
    np.savetxt(tmp_path / "in" / "good.csv", ecg.samples, "%d")
    (tmp_path / "in" / "bad.csv").write_text("mV\n1\nx\n")
    options = ("--rate", ecg.rate_hz, "--gain", ecg.gain, "--report", tmp_path / "page.html")
    status, out, err = run("analyse", tmp_path / "in", "--out", tmp_path / "out", *options)
    assert status == 2
    assert out.startswith(f"{tmp_path / 'out'}: 1 record, ")
    assert "analyse: done, 2 of 2 records" in err
    assert err.splitlines()[-1] == f"vigie: {tmp_path}/in/bad.csv: line 3: 'x'; legal are numbers, or nothing"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.json"]
    found = json.loads((tmp_path / "out" / "good.json").read_text())
    assert "PAUSE" in [label for _, _, label, _ in found["rhythm"]]
    assert "bad.csv" in (tmp_path / "page.html").read_text()


def test_a_body_is_shown_with_what_is_refused(run, tmp_path):
    from ingest import packet

    t_ms = 1_750_000_000_000
    good = packet.spot("P-1", "scale", 7, t_ms, {1: 82.4}, status=1 << 6)
    refused = packet.spot("P-1", "scale", 8, t_ms, {1: 900.0})
    status, out, err = run("packet", "show", good.hex())
    assert (status, err) == (0, "")
    assert "2025-06-15T15:06:40.000+00:00 readings of P-1, number 7 of device" in out
    assert "[typed]" in out
    assert "  weight: 82.4 kg\n1 accepted, 0 refused\n" in out
    (tmp_path / "body").write_bytes(good + refused + b"\xc1")
    status, out, _ = run("packet", "show", tmp_path / "body")
    assert status == 1
    assert f"refused at byte {len(good)}: IMPLAUSIBLE (30): 99" in out
    assert "BAD_MSGPACK (2): c1" in out
    assert out.endswith("1 accepted, 2 refused\n")


def test_the_example_of_packet_show_is_a_packet(run):
    status, out, _ = run("packet", "show", vigie.PACKET)
    assert status == 0
    assert "1 accepted, 0 refused" in out


def test_a_folder_used_again_holds_the_last_replay_alone(run, tmp_path):
    days = "".join(f"2026-03-{day:02}T08:00:00Z,weight,{{w}},kg\n" for day in range(1, 8))
    for patient, last in (("first", 85), ("second", 86)):
        rows = [f"{patient},{line.format(w=80)}" for line in days.splitlines(keepends=True)]
        rows.append(f"{patient},2026-03-08T08:00:00Z,weight,{last},kg\n")
        (tmp_path / f"{patient}.csv").write_text("patient,time,signal,value,unit\n" + "".join(rows))
        status, _, err = run(
            "replay",
            tmp_path / f"{patient}.csv",
            "--protocol",
            "insuffisance_cardiaque",
            "--out",
            tmp_path / "out",
        )
        assert status == 0, err
    status, out, _ = run("queue", "--queue", tmp_path / "out" / "queue.sqlite", "--json")
    assert status == 0
    assert {row["patient"] for row in json.loads(out)} == {"second"}
    assert not list((tmp_path / "out").glob("queue.sqlite.new*"))
    asked = (
        tmp_path / "first.csv",
        "--protocol",
        "insuffisance_cardiaque",
        "--out",
        tmp_path / "out",
        "--no-queue",
    )
    status, _, err = run("replay", *asked)
    assert status == 0, err
    assert not list((tmp_path / "out").glob("queue.sqlite*"))


def test_quality_proposes_a_mapping_then_says_what_the_files_are_like(run, tmp_path):
    rows = "".join(
        f"p1,2026-03-{day:02}T08:00:00Z,{weight}\n" for day, weight in ((1, 81), (2, 82), (3, 8200))
    )
    (tmp_path / "export.csv").write_text(f"sujet,date,poids_kg\n{rows}")
    status, out, err = run("quality", tmp_path / "export.csv")
    assert status == vigie.FAILED
    assert "--mapping FILE" in err
    (tmp_path / "map.toml").write_text(out)
    given = (tmp_path / "export.csv", "--mapping", tmp_path / "map.toml")
    status, out, err = run("quality", *given, "--json", tmp_path / "q.json", "--report", tmp_path / "q.html")
    assert status == vigie.FAILED, err
    assert "weight: 1 of 3 readings (33 %) are outside of 25 to 350 kg" in out
    assert json.loads((tmp_path / "q.json").read_text())["sites"][0]["by_day"] == [1, 1, 1]
    assert "<svg" in (tmp_path / "q.html").read_text()
    status, _, err = run("replay", *given, "--protocol", "insuffisance_cardiaque", "--out", tmp_path / "out")
    assert status == 0, err


def test_the_first_hour_of_the_readme(run, monkeypatch, tmp_path):
    """Every command of the README that is not a make target, in its order, in a folder that holds nothing else."""
    (tmp_path / "rules").symlink_to(ROOT / "rules")
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    # What is of the reader's own is called path/to; what serves until it is stopped has tests of its own.
    commands = [line.split() for line in lines if line.startswith("vigie ") and "path/to" not in line]
    commands.remove(["vigie", "serve"])
    assert len(commands) >= 5
    for command in commands:
        status, _, err = run(*command[1:])
        assert status == 0, (command, err)
    assert (tmp_path / "out" / "replay" / "summary.txt").exists()


def test_a_protocol_is_explained(run):
    status, out, err = run("protocol", "explain", "insuffisance_cardiaque")
    assert (status, err) == (0, "")
    assert out.startswith("Insuffisance cardiaque chronique (insuffisance_cardiaque ")
    for said in (
        "à signer par un clinicien",
        "Alertes",
        "Sans nouvelles",
        "ROUGE",
        "gain_7d >= gain_7d_large_kg",
    ):
        assert said in out


def test_a_protocol_from_its_template_to_its_signature(run, tmp_path, monkeypatch):
    """New, check, change, compare, sign, verify, alter: as docs/cardiologist.md goes through it."""
    monkeypatch.chdir(tmp_path)
    status, out, err = run("protocol", "new", "poids_nord", "--title", "Poids", "--problem", "congestion")
    assert (status, out, err) == (
        0,
        "poids_nord.toml: change it, then vigie protocol check poids_nord.toml\n",
        "",
    )
    assert run("protocol", "check", "poids_nord.toml")[0] == 0
    text = Path("poids_nord.toml").read_text(encoding="utf-8")
    Path("mine.toml").write_text(text.replace("default = 2.0", "default = 1.5"), encoding="utf-8")
    assert run("protocol", "diff", "poids_nord.toml", "poids_nord.toml")[0] == 0
    status, out, err = run("protocol", "diff", "poids_nord.toml", "mine.toml")
    assert (status, err) == (1, "")
    assert "prise de poids en 3 jours (gain_3d_kg) : 2,0 → 1,5 kg" in out
    status, out, _ = run("protocol", "diff", "poids_nord.toml", "mine.toml", "--format", "json")
    said = json.loads(out)
    assert (status, said["same"]) == (1, False)
    assert [(each["key"], each["before"], each["after"], each["unit"]) for each in said["differences"]] == [
        ("gain_3d_kg", 2.0, 1.5, "kg")
    ]

    assert run("protocol", "verify", "poids_nord.toml")[0] == 1
    who = ("--name", "Dr A. Martin", "--role", "cardiologue")
    status, _, err = run("protocol", "sign", "mine.toml", *who)  # its own test says 2 kg
    assert status == 1
    assert "FAILED 1.9 kg: does not" in err
    assert not Path("mine.toml.signature").exists()
    queue = tmp_path / "queue.sqlite"
    import triage.store

    triage.store.open(queue).close()
    until = ("--valid-until", "2999-12-31", "--queue", queue)
    status, out, err = run("protocol", "sign", "poids_nord.toml", *who, *until)
    assert (status, err) == (0, "")
    assert "Signé par Dr A. Martin, cardiologue, le " in out
    assert "valable jusqu'au 31/12/2999." in out
    status, out, _ = run("protocol", "verify", "poids_nord.toml", "--queue", queue)
    assert status == 0
    assert re.search(r"audit trail: entry 1, .* by shell:.*; the trail is whole", out)
    assert run("audit", "verify", "--queue", queue)[0] == 0
    status, _, err = run("protocol", "sign", "poids_nord.toml", *who)
    assert (status, "--replace" in err) == (2, True)

    Path("poids_nord.toml").write_text(text.replace("min = 0.5", "min = 0.4"), encoding="utf-8")
    status, out, _ = run("protocol", "verify", "poids_nord.toml")
    assert status == 1
    assert len(set(re.findall(r"[0-9a-f]{16}", out))) == 2
    assert "Modifié depuis la signature de Dr A. Martin" in out


def test_patients_by_version_of_their_protocol(run, filled, tmp_path):
    (tmp_path / "enrolment.csv").write_text("patient,programmes\nP-1,covidom\nP-9,covidom\n")
    (tmp_path / "vigie.toml").write_text('enrolment = "enrolment.csv"\ndata = "."\nprotocols = ["covidom"]\n')
    at = ("--config", tmp_path / "vigie.toml")
    status, out, err = run("protocol", "patients", *at)
    assert (status, err) == (0, "")
    assert re.search(r"covidom \S+ \S+: in force, unsigned\n  enrolled: 2: P-1, P-9\n", out)
    assert re.search(
        r"ic 1.0.0 0{16}: no longer in force, unsigned\n  enrolled: 0\n  open line: 2: P-1, P-2", out
    )
    found = json.loads(run("protocol", "patients", *at, "--json")[1])
    assert [(each["protocol"], each["followed"], each["alerted"]) for each in found] == [
        ("covidom", ["P-1", "P-9"], []),
        ("ic", [], ["P-1", "P-2"]),
    ]


def test_a_source_is_made_listed_rotated_and_revoked(run, tmp_path):
    at = ("--data", tmp_path)
    status, key, _ = run("source", "create", "gw", "--cell", "Nord", "--requests", "5", *at)
    assert status == 0
    assert key.startswith("vigie_")
    status, out, _ = run("source", "list", *at)
    assert out == "gw: 1 key; cell Nord\n"
    status, other, _ = run("source", "rotate", "gw", "--overlap", "1", *at)
    assert other != key
    found = json.loads(run("source", "list", "--json", *at)[1])
    assert (found[0]["keys"], found[0]["limits"]["requests_per_s"]) == (2, 5.0)
    assert run("source", "revoke", "gw", *at)[0] == 0
    assert run("source", "list", *at)[1] == "gw: revoked; cell Nord\n"
    status, _, err = run("source", "rotate", "gw", *at)
    assert (status, err) == (2, "vigie: source gw: was revoked, for good; create another\n")
    record = run("source", "record", *at)[1]
    assert [line.split(": ", 1)[1].split()[0] for line in record.splitlines()] == [
        "created",
        "rotated",
        "revoked",
    ]
    assert key.strip() not in record


def test_the_configuration_is_shown_with_its_origin(run, tmp_path, monkeypatch):
    file = tmp_path / "vigie.toml"
    file.write_text("port = 1234\n")
    monkeypatch.setenv("VIGIE_DATABASE", "postgresql+psycopg://u:s3cret@h/q")
    status, out, _ = run("config", "show", "--config", file, "--json")
    shown = {each["name"]: each for each in json.loads(out)}
    assert (shown["port"]["value"], shown["port"]["origin"]) == ("1234", str(file))
    assert "s3cret" not in out
    assert run("config", "show", "--config", file)[1].count("default") > 10
    file.write_text("prot = 1\n")
    status, _, err = run("config", "show", "--config", file)
    assert status == 2
    assert "prot: there is no such setting; did you mean 'port'" in err


def test_load_needs_a_service_and_a_key(run, tmp_path):
    (tmp_path / "key").write_text("vigie_x\n")
    at = ("--key-file", tmp_path / "key")
    assert "legal is http://host:port" in run("load", "ftp://x", *at)[2]
    assert "http://127.0.0.1:9: Connection refused" in run("load", "http://127.0.0.1:9", *at)[2]
    assert (
        "packets_per_s 0.0: legal is more than 0" in run("load", "http://127.0.0.1:9", "--packets", 0, *at)[2]
    )


def test_a_log_on_redis_that_cannot_be_had(run, monkeypatch, tmp_path):
    monkeypatch.setenv("VIGIE_LOG", "redis://me:secret@127.0.0.1:1/0")
    for words in (
        ("serve", "--data", tmp_path / "data"),
        ("work", "--shards", "0-3", "--data", tmp_path / "data"),
        ("log", "verify", "redis://me:secret@127.0.0.1:1/0"),
    ):
        status, _, said = run(*words)
        assert status == 2
        assert "redis://me:***@127.0.0.1:1/0" in said
        assert "the server does not answer" in said
        assert "secret" not in said
    assert "backed up by its own means" in run("backup", tmp_path / "out", "--data", tmp_path)[2]
    assert "legal are numbers and ranges" in run("work", "--shards", "0-x")[2]
    monkeypatch.delenv("VIGIE_LOG")
    assert "work needs a log on Redis" in run("work", "--shards", "0-3")[2]


def test_limits_of_single_patients_are_proposed_and_not_in_force(run, tmp_path):
    cohort, out = tmp_path / "cohort.parquet", tmp_path / "out"
    assert run("simulate", "--patients", "12", "--days", "40", "--out", str(cohort))[0] == 0
    verb = ["limits", "propose", str(cohort), "--protocol", "insuffisance_cardiaque", "--out", str(out)]
    verb += ["--stable-days", "14", "--min-readings", "12", "--min-days", "7", "--judge-days", "14"]
    status, said, err = run(*verb, "--limit", "systolic_low")
    assert status == 0, err
    assert "nothing is in force" in said
    assert "no outcomes were given" in said
    assert (out / "report.html").is_file()
    status, _, err = run(
        "backtest",
        str(cohort),
        "--protocol",
        "insuffisance_cardiaque",
        "--limits",
        str(out / "proposed.toml"),
        "--out",
        str(out),
    )
    assert status == 2
    assert "left 'à compléter': a proposal that nobody has taken over" in err
    for more, words in (
        (["--limit", "gain_3d_kg"], "legal are dry_weight_kg, rate_high"),
        (["--limit", "systolic"], "there is no limit 'systolic'"),
        (["--limit", "systolic_low", "--spreads", "0"], "spreads = 0: legal is more than 0"),
        (["--limit", "systolic_low", "--outcome", "death"], "without --outcomes there are none"),
        (["--limit", "systolic_low", "--judge-days", "60"], "legal are at least 14 for a stable period"),
    ):
        status, said, err = run(*verb, *more)
        assert (status, said) == (2, "")
        assert words in err


def test_a_backtest_says_what_a_change_would_do(run, tmp_path):
    cohort = tmp_path / "cohort.parquet"
    assert run("simulate", "--patients", "20", "--days", "20", "--out", str(cohort))[0] == 0
    verb = ["backtest", str(cohort), "--protocol", "insuffisance_cardiaque", "--out", str(tmp_path / "out")]
    status, out, err = run(*verb, "--limit", "gain_3d_kg=1")
    assert status == 0, err
    assert "alerts gained" in out
    assert "cannot be told" in out
    assert (tmp_path / "out" / "report.html").is_file()
    status, _, err = run(*verb, "--limit", "gain_3d_kg=1.25")
    assert "kept already" in err
    for more, said in (
        (["--limit", "gain_3d_kg=much"], "legal is LIMIT=NUMBER"),
        (["--limit", "gain_3d=1"], "there is no limit 'gain_3d'"),
        (["--sweep", "gain_3d_kg=1"], "LIMIT=FROM:TO:STEP"),
        (["--outcome", "death"], "without --outcomes there are none"),
        (["--against", "covidom_2"], "there is no such protocol"),
        (["--lateness", "2"], "legal is SHARE:HOURS"),
    ):
        status, out, err = run(*verb, *more)
        assert (status, out) == (2, "")
        assert said in err
    assert "lateness: had 5 % come late" in run(*verb, "--lateness", "0.05:6")[1]
