"""Warming up compiles all that a line needs: what runs afterwards compiles nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

AFTER = """
import numba.core.event as events
from engine import warmup
from engine.load import load
from engine.protocols import shipped
from kernels.compilation import heard
brought = []
with heard(brought.append):
    warmup._whole(load(sorted(shipped())))
print(len(brought))
"""


@pytest.mark.timeout(900)
def test_after_it_nothing_is_compiled_and_an_alert_comes():
    from engine.warmup import warm

    warm()
    done = subprocess.run(
        [sys.executable, "-c", AFTER], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0"
