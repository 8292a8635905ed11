"""The fuzzers in short: that they run, find nothing, and see both acceptance and every reason of the decoder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.reasons import Reason

FOLDER = Path(__file__).parent


def run(script, *arguments, **environment):
    command = [sys.executable, str(FOLDER / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=280
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_mutated_bodies():
    report = run("run.py", "--bodies", "200000")
    refused = dict(re.findall(r"([A-Z_0-9]+) ([\d,]+)", report.split("refused")[1]))
    assert set(refused) == {r.name for r in Reason if Reason.OK < r < Reason.UNKNOWN_UNIT}
    accepted = int(re.search(r"accepted ([\d,]+)", report)[1].replace(",", ""))
    assert accepted > 100_000


def test_mutated_bodies_with_bounds_checks():
    assert "with bounds checks" in run("run.py", "--bodies", "20000", "--boundscheck")


def test_guided_by_coverage():
    pytest.importorskip("atheris", reason="atheris is not made for this platform")
    report = run("atheris_decode.py", "--runs", "300")
    assert re.search(r"Done 3\d\d runs", report)


def test_every_endpoint_of_the_service():
    report = run("endpoints.py", "--requests", "400")
    for status in (200, 202, 401, 404, 405, 413, 415, 422):
        assert f" {status}: " in report
    assert "accounts balanced" in report
