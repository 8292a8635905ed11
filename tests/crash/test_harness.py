import random
import sys
from pathlib import Path

import pytest

# Counts to 30, keeping the count in a file; started again it goes on. A point at each step.
COUNTER = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
from harness import point, points_around
points_around(os, "replace", "rename")
path = sys.argv[1]
count = int(open(path).read()) if os.path.exists(path) else 0
while count < 30:
    count += 1
    with open(path + ".tmp", "w") as file:
        file.write(str(count))
    point("written")
    os.replace(path + ".tmp", path)
    time.sleep(0.005)
print("done")
"""


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import harness

    return harness


@pytest.fixture
def command(tmp_path):
    return lambda name: [sys.executable, "-c", COUNTER, str(tmp_path / name), str(Path(__file__).parent)]


def test_a_command_is_killed_and_finishes(harness, command, tmp_path):
    measured = harness.measure(command("whole"), tmp_path)
    assert measured.passages == {"written": 30, "before rename": 30, "after rename": 30}
    assert measured.seconds > 0.15
    kills = seed = 0
    # A machine that was busy while it was measured is quicker later: some runs end before they are killed.
    while kills < 4:
        seed += 1
        assert seed < 60
        run = harness.kill_at_random(
            command(f"run{seed}"), random.Random(seed), 30, folder=tmp_path, measured=measured, kills=3
        )
        assert (tmp_path / f"run{seed}").read_text() == "30"
        assert run.kills <= 3
        assert run.starts == run.kills + 1
        assert len(run.at) == run.kills
        kills += run.kills


def test_a_point_is_where_it_is_killed(harness, command, tmp_path):
    measured = harness.Measure(10.0, {"before rename": 1})
    run = harness.kill_at_random(
        command("x"), random.Random(1), 30, folder=tmp_path, measured=measured, kills=1, share_at_points=1
    )
    assert run.at == ["before rename:1"]
    assert run.starts == 2


def test_a_command_that_fails_or_hangs_is_not_taken_for_a_crash(harness, tmp_path):
    measured = harness.Measure(0.1, {})
    failing = [sys.executable, "-c", "import sys; print('what it said'); sys.exit(3)"]
    with pytest.raises(RuntimeError, match=r"(?s)status 3.*what it said"):
        harness.measure(failing, tmp_path)
    with pytest.raises(RuntimeError, match="status 3"):
        harness.kill_at_random(failing, random.Random(1), 30, folder=tmp_path, measured=measured, kills=0)
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(RuntimeError, match=r"took more than 0\.3 s"):
        harness.kill_at_random(hanging, random.Random(1), 0.3, folder=tmp_path, measured=measured, kills=0)
