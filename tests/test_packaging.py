"""What is installed is ours, what it imports is declared, and the declarations agree with one another."""

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

PACKAGES = ("kernels", "ingest", "rules", "engine", "triage", "bench")
MODULES = (*PACKAGES, "vigie")

# Whom the command line may import: everything but bench, which needs what only developers install.
COMPOSED = {"kernels", "ingest", "rules", "engine", "triage"}

# The distribution is known by another name than the module.
DISTRIBUTION = {"argon2": "argon2-cffi", "sqlalchemy": "SQLAlchemy", "paho": "paho-mqtt"}

RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = [Requirement(text) for texts in PROJECT["optional-dependencies"].values() for text in texts]
DEVELOPMENT = [Requirement(text) for text in PYPROJECT["dependency-groups"]["dev"]]
BUILD = [Requirement(text) for text in PYPROJECT["build-system"]["requires"]]

LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)", re.MULTILINE)


class Import(NamedTuple):
    """One import statement: `module`, and `name` when it is ``from module import name``."""

    file: str
    line: int
    module: str
    name: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}{'.' + self.name if self.name else ''}"


def sources(*names: str) -> Iterator[Path]:
    """Python files of these packages and modules, in the working tree."""
    for name in names:
        if (ROOT / name).is_dir():
            yield from sorted(path for path in (ROOT / name).rglob("*.py"))
        elif (ROOT / f"{name}.py").exists():
            yield ROOT / f"{name}.py"


def imports(*names: str) -> Iterator[Import]:
    """Every import in these packages and modules, wherever it stands in a file."""
    for path in sources(*names):
        file = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_bytes(), filename=file)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(file, node.lineno, alias.name, "")
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
                for alias in node.names:
                    yield Import(file, node.lineno, node.module or "", alias.name)


def declared(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


# ------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", MODULES)
def test_import_name_is_ours(name: str) -> None:
    """Flat names are common words: another distribution that brings one of them would be imported instead."""
    file = importlib.import_module(name).__file__
    assert file is not None, f"{name} is a folder without __init__.py"
    expected = ROOT / f"{name}.py" if name == "vigie" else ROOT / name / "__init__.py"
    assert Path(file).resolve() == expected.resolve()


def test_no_other_distribution_brings_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for name in MODULES:
        assert set(owners.get(name, ["vigie"])) == {"vigie"}, f"{name} is brought by {owners[name]}"


def test_every_top_level_package_is_shipped() -> None:
    """A folder with __init__.py that the wheel leaves out works in the tree and nowhere else."""
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found <= set(PACKAGES)
    shipped = set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    assert shipped == {*PACKAGES, "vigie.py"}


def test_every_package_folder_with_python_has_an_init() -> None:
    """A folder without one is passed over by mypy and import-linter."""
    folders = {path.parent for path in sources(*PACKAGES)}
    # Alembic runs its scripts as files and wants no package.
    folders = {folder for folder in folders if "migrations" not in folder.parts}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_no_init_under_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


# ------------------------------------------------------------------------------------------- who imports what


def test_numba_is_imported_by_kernels_only() -> None:
    strangers = (name for name in MODULES if name != "kernels")
    assert not [str(found) for found in imports(*strangers) if found.top == "numba"]


def test_one_file_spells_the_options_of_numba() -> None:
    """`numba` itself (types, config, typed lists) may be imported by a kernel; its compilers may not."""
    compilers = {"cfunc", "guvectorize", "jit", "jit_module", "njit", "prange", "stencil", "vectorize"}
    wrong = []
    for path in sources(*MODULES):
        file = str(path.relative_to(ROOT))
        if file == "kernels/_jit.py":
            continue
        for node in ast.walk(ast.parse(path.read_bytes(), filename=file)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "numba":
                named = {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                named = {node.attr} if node.value.id in {"numba", "nb"} else set()
            else:
                continue
            wrong += [f"{file}:{node.lineno}: numba.{name}" for name in sorted(named & compilers)]
    assert not wrong, "take jit from kernels._jit"


def test_kernels_import_arrays_only() -> None:
    """The other direction of import-linter's contract: not a list of what is wrong, but of what is right."""
    # llvmlite is what Numba is made of: one intrinsic speaks it.
    legal = {"kernels", "numpy", "numba", "llvmlite", *sys.stdlib_module_names}
    assert not [str(found) for found in imports("kernels") if found.top not in legal]


def test_command_line_composes_packages() -> None:
    """import-linter reads packages and vigie.py is a module, so its layer is held here."""
    assert not [str(found) for found in imports("vigie") if found.top in {*MODULES} - COMPOSED]
    assert not [str(found) for found in imports(*PACKAGES) if found.top == "vigie"]


def test_what_is_imported_is_declared() -> None:
    """The wheel is tested with what developers have at hand, where a missing dependency would not show."""
    runtime = declared(RUNTIME)
    extras = declared(EXTRAS)
    development = declared(DEVELOPMENT) | {"packaging"}
    wrong = []
    for found in imports(*MODULES):
        if found.top in sys.stdlib_module_names or found.top in MODULES:
            continue
        name = canonicalize_name(DISTRIBUTION.get(found.top, found.top))
        legal = runtime | extras
        if found.file.startswith("bench/"):
            legal |= development
        if name not in legal:
            wrong.append(str(found))
    assert not wrong, "declare it in [project] dependencies"


def test_what_is_optional_is_imported_late() -> None:
    """A module that imports an extra at its top cannot be imported where the extra is not installed."""
    optional = declared(EXTRAS)
    wrong = []
    for path in sources(*(name for name in MODULES if name != "bench")):
        for node in ast.parse(path.read_bytes()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [
                f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
                for name in names
                if canonicalize_name(name.partition(".")[0]) in optional
            ]
    assert not wrong, "import it inside the function that needs it, and say which extra is missing"


# -------------------------------------------------------------------------------------- bounds and lock files


@pytest.mark.parametrize("requirement", [*RUNTIME, *EXTRAS, *DEVELOPMENT, *BUILD], ids=lambda r: r.name)
def test_dependency_has_both_bounds(requirement: Requirement) -> None:
    operators = {clause.operator for clause in requirement.specifier}
    assert operators & {">=", ">", "=="}, "no lower bound: what we test is not said"
    assert operators & {"<", "<=", "=="}, "no upper bound: a release that is not written yet may break us"


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [("requirements.lock", RUNTIME), ("requirements-dev.lock", [*RUNTIME, *EXTRAS, *DEVELOPMENT])],
    ids=["runtime", "development"],
)
def test_lock_satisfies_the_bounds(lock: str, requirements: list[Requirement]) -> None:
    pinned: dict[str, list[Version]] = {}
    for name, version in LOCKED.findall((ROOT / lock).read_text()):
        pinned.setdefault(canonicalize_name(name), []).append(Version(version))
    for requirement in requirements:
        versions = pinned.get(canonicalize_name(requirement.name), [])
        assert versions, f"{lock} lacks {requirement.name}: run make lock"
        for version in versions:
            assert version in requirement.specifier, f"{lock} has {requirement.name} {version}: run make lock"


def test_browsers_libraries_are_exact_and_locked() -> None:
    folder = ROOT / "triage" / "web"
    package = json.loads((folder / "package.json").read_text())
    text = (folder / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    wanted = package["dependencies"] | package["devDependencies"]
    assert {name.removeprefix("node_modules/") for name in locked if name} == set(wanted)
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} {version}: not one version"
        entry = locked[f"node_modules/{name}"]
        assert entry["version"] == version, f"{name}: run make lock"
        assert entry["integrity"].startswith("sha512-")
    # Where a package comes from is the client's setting: a hospital has its own mirror.
    assert "://" not in text


def test_no_librarys_code_is_in_the_repository() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--", "triage/web/static/vendor", "build", "*.min.js", "*.min.css"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git work tree")
    assert not tracked.stdout.split()


def test_locks_agree() -> None:
    """What is deployed is what was tested."""
    deployed = set(LOCKED.findall((ROOT / "requirements.lock").read_text()))
    tested = set(LOCKED.findall((ROOT / "requirements-dev.lock").read_text()))
    assert deployed <= tested


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_names_no_place(lock: str) -> None:
    """Where packages come from is the installer's choice; what they must be is the hash's."""
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.findall(
        r"^\s*(--index|--extra-index|--find-links|--trusted-host|-i |-f )", text, re.MULTILINE
    )
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if LOCKED.match(entry))


# ------------------------------------------------------------------------------------------------ the command


def test_version_is_the_same_everywhere() -> None:
    assert importlib.metadata.version("vigie") == PROJECT["version"], "run make setup"
    command = Path(sys.executable).with_name("vigie")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert re.search(rf"(?<![\d.]){re.escape(PROJECT['version'])}(?![\d.])", shown), shown


def test_version_names_the_kernels() -> None:
    kernels = importlib.import_module("kernels")
    command = Path(sys.executable).with_name("vigie")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert kernels.SOURCE_HASH in shown
