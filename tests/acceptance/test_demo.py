"""The demonstration from the command line: it fills a queue with reasons, and ends by itself."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "vigie", "demo", "--patients", "40", "--days", "4"]


# Kernels are compiled where they were not.
@pytest.mark.timeout(900)
def test_for_some_seconds(tmp_path):
    done = subprocess.run(
        [*DEMO, "--for", "3", "--out", tmp_path / "kept"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"[\d,]+ packets: [\d,]+ applied", done.stdout)
    assert "ROUGE" in done.stdout
    assert "\x1b" not in done.stdout
    assert (tmp_path / "kept" / "log").exists()
    assert (tmp_path / "kept" / "queue.sqlite").exists()


@pytest.mark.timeout(900)
def test_an_interrupt_ends_it_cleanly():
    with subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert "ROUGE" in demo.stdout.readline()  # the live part has begun
        time.sleep(1)
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate()
    assert demo.returncode == 0, err
    assert "applied" in out
    assert "Traceback" not in err
