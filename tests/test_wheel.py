"""The wheel, installed away from the source tree, is whole: commands run and packaged files are there.

By default the wheel's environment borrows the dependencies of this one, which takes seconds. With
``VIGIE_TEST_WHEEL=full``, as in .ci/run, it installs them from requirements.lock, as a hospital would.
"""

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

# Installing waits for a disk, and with `full` for a network; the first run of a verb compiles kernels.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("kernels", "ingest", "rules", "engine", "triage", "bench")

FULL = os.environ.get("VIGIE_TEST_WHEEL") == "full"


def checked(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # No isolation: hatchling is in the lock file, and a test must not depend on what was released today.
    checked(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


class Installed:
    """An environment that holds the wheel and knows nothing of the source tree."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        venv = folder / "venv"
        checked(sys.executable, "-m", "venv", "--without-pip", venv, cwd=folder)
        self.bin = venv / "bin"
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "--quiet"]
        if FULL:
            checked(*pip, "--require-hashes", "-r", ROOT / "requirements.lock", cwd=folder)
        else:
            # A line in a .pth file lends our site-packages, but not what its own .pth files lend: the
            # editable install, and with it the source tree, stays out.
            (site,) = venv.glob("lib/python*/site-packages")
            (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        checked(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
        self.env = kept | {"XDG_CACHE_HOME": str(folder / "cache")}

    def run(self, command: str, *arguments: str | Path) -> str:
        return checked(self.bin / command, *arguments, cwd=self.elsewhere, env=self.env)

    def python(self, code: str) -> str:
        return self.run("python", "-c", code).strip()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    left_out = {".pyc", ".nbi", ".nbc"}
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix not in left_out
    }
    expected.add("vigie.py")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == expected


def test_wheel_carries_the_browsers_libraries_as_locked(wheel: Path) -> None:
    """They are in no repository: a wheel built without them would serve pages that do nothing."""
    folder = "triage/web/static/vendor"
    lock = json.loads((ROOT / "triage/web/package-lock.json").read_text())["packages"]
    with zipfile.ZipFile(wheel) as shipped:
        files = json.loads(shipped.read(f"{folder}/manifest.json"))["files"]
        assert {"htmx.min.js", "uPlot.iife.min.js", "uPlot.min.css", "htmx.LICENSE.txt"} <= set(files)
        for name, entry in files.items():
            assert hashlib.sha256(shipped.read(f"{folder}/{name}")).hexdigest() == entry["sha256"]
            assert entry["integrity"] == lock[f"node_modules/{entry['package']}"]["integrity"]


def test_wheel_carries_the_licence(wheel: Path) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_modules_are_the_wheels(installed: Installed) -> None:
    for name in (*PACKAGES, "vigie"):
        file = installed.python(f"import {name}; print({name}.__file__)")
        assert Path(file).is_relative_to(installed.folder), f"{name} is {file}"


def test_version(installed: Installed) -> None:
    assert PROJECT["version"] in installed.run("vigie", "--version")


def test_help(installed: Installed) -> None:
    shown = installed.run("vigie", "--help")
    for verb in ("protocol", "queue", "replay", "simulate", "warmup", "demo"):
        assert verb in shown


def test_shipped_protocols_are_read_from_it(installed: Installed) -> None:
    """Their own tests run in the tree: here they would compile every kernel anew, a minute for the same code."""
    folder = Path(
        installed.python("import pathlib, rules; print(pathlib.Path(rules.__file__).parent / 'protocols')")
    )
    names = {path.name for path in folder.glob("*.toml")}
    assert {"insuffisance_cardiaque.toml", "covidom.toml"} <= names
    for name in sorted(names):
        assert folder.joinpath(name).stem in installed.run("vigie", "protocol", "explain", folder / name)


def test_migrations_are_there(installed: Installed) -> None:
    folder = Path(
        installed.python("import pathlib, triage; print(pathlib.Path(triage.__file__).parent / 'migrations')")
    )
    assert (folder / "env.py").is_file()
    assert list((folder / "versions").glob("*.py"))
