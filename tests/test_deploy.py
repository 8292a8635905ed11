"""What deploy/ names exists: verbs, settings, files."""

import configparser
import re
from pathlib import Path

import pytest
import typer.main

import vigie
from engine.config import PREFIX, Settings, load

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())


def unit(path):
    found = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    found.optionxform = str
    found.read_string(path.read_text(encoding="utf-8"))
    return found


def verbs_of(text):
    return re.findall(
        r"(?:/opt/vigie/bin/vigie|^RUN vigie|exec vigie vigie) ([a-z]+(?: [a-z]+)?)", text, re.MULTILINE
    )


@pytest.mark.parametrize(
    "path", [*UNITS, DEPLOY / "README.md", DEPLOY / "Containerfile"], ids=lambda p: p.name
)
def test_verbs_and_settings_exist(path):
    text = path.read_text(encoding="utf-8")
    commands = typer.main.get_command(vigie.app).commands
    for words in verbs_of(text):
        verb, _, sub = words.partition(" ")
        assert verb in commands
        if hasattr(commands[verb], "commands"):
            assert sub in commands[verb].commands
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"VIGIE_CONFIG"}
    assert set(re.findall(r"VIGIE_[A-Z_]+", text)) <= known


def test_the_units_are_whole():
    assert [path.name for path in UNITS] == [
        "vigie-backup.service",
        "vigie-backup.timer",
        "vigie-bridge.service",
        "vigie-work@.service",
        "vigie.service",
    ]
    worker = unit(DEPLOY / "systemd" / "vigie-work@.service")
    assert worker["Service"]["ExecStart"].endswith("vigie work --shards %i")
    assert float(worker["Service"]["TimeoutStopSec"]) > 1.5 * Settings().stop_s
    service = unit(DEPLOY / "systemd" / "vigie.service")
    assert service["Service"]["ExecStart"].endswith("vigie serve")
    assert float(service["Service"]["TimeoutStopSec"]) > 1.5 * Settings().stop_s
    assert int(service["Service"]["LimitNOFILE"]) > Settings().connections
    assert unit(DEPLOY / "systemd" / "vigie-backup.timer")["Timer"]["OnCalendar"]


def test_the_bridge_is_told_what_it_knows():
    service = unit(DEPLOY / "systemd" / "vigie-bridge.service")["Service"]
    words = service["ExecStart"].replace("\\", "").split()
    assert words[:2] == ["/opt/vigie/bin/vigie", "bridge"]
    options = {word for word in words if word.startswith("--")}
    bridge = typer.main.get_command(vigie.app).commands["bridge"]
    assert options <= {name for parameter in bridge.params for name in parameter.opts}
    assert float(service["TimeoutStopSec"]) > 1.5 * float(words[words.index("--stop-s") + 1])
    assert words[words.index("--quarantine") + 1] == f"/var/lib/{service['StateDirectory']}"


def test_the_example_of_a_configuration_is_accepted():
    settings, origins = load(DEPLOY / "vigie.toml", environment={})
    assert str(settings.data) == "/var/lib/vigie"
    assert origins["protocols"].endswith("vigie.toml")


def test_the_container_copies_files_that_exist():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for name in re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE):
        assert (ROOT / name).exists()
    assert "USER vigie" in text
