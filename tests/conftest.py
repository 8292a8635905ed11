"""What every test shares: how hypothesis draws, and where real ECG is."""

import os
from pathlib import Path

import hypothesis
import pytest

# A service that a test starts has no pages beside it unless the test asks for them.
os.environ.setdefault("VIGIE_WEB", "false")

ROOT = Path(__file__).resolve().parent.parent

# No deadline: the first example of a kernel pays for its compilation, the following ones do not.
hypothesis.settings.register_profile("default", deadline=None)
# On a server a failure must come back as it was, so how to reproduce it is printed.
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=5000)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)


# Files that take longest, longest first: two workers that take one file after the other then end at the same time,
# instead of one waiting for a long file that the other began last.
LONGEST = (
    "test_crash_quick.py",
    "test_wheel.py",
    "test_service.py",
    "test_static.py",
    "test_day.py",
    "test_mqtt.py",
    "test_fuzz_quick.py",
    "test_analyse.py",
    "test_child.py",
    "test_desk.py",
    "test_store.py",
    "test_clock_jumps.py",
    "test_demo_pages.py",
    "test_checkpoint.py",
    "test_redis_stream.py",
    "test_replay.py",
    "test_worker.py",
    "test_workshop.py",
    "test_cell_limits.py",
    "test_proposals.py",
)


def _ecg_folder() -> Path | None:
    named = os.environ.get("VIGIE_ECG")
    folder = Path(named) if named else ROOT.parent / "shared" / "ecg"
    return folder if folder.is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    if _ecg_folder() is not None:
        return
    skip = pytest.mark.skip(reason="no real ECG here: set VIGIE_ECG to its folder")
    for item in items:
        if "ecg" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def ecg_folder() -> Path:
    """Folder of real annotated ECG; a test that asks for it is marked `ecg`."""
    folder = _ecg_folder()
    if folder is None:
        pytest.skip("no real ECG here: set VIGIE_ECG to its folder")
    return folder
