"""Somebody has ECG records and wants to know what is in them: the command, judged by a count of its own."""

import json
import os
import subprocess
import sys
from bisect import bisect_left
from pathlib import Path

import numpy as np
import pytest
import wfdb

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("101", "119")
BEATS = set("NLRBaAJSVrFejnE/fQ?")
RATE = 360


def f1(found, reference, window):
    """Count simply, independent of bench/: each reference beat takes the first free beat within the window."""
    used = set()
    for beat in reference:
        k = bisect_left(found, beat - window)
        while k < len(found) and found[k] <= beat + window and k in used:
            k += 1
        if k < len(found) and found[k] <= beat + window:
            used.add(k)
    return 2 * len(used) / (len(reference) + len(found))


@pytest.mark.ecg
@pytest.mark.parametrize(
    ("options", "floor"), [((), 0.998), (("--strips", "10"), 0.995)], ids=["whole", "strips"]
)
def test_two_real_records(ecg_folder, tmp_path, options, floor):
    records = [str(ecg_folder / "mitdb" / name) for name in NAMES]
    out, page = tmp_path / "out", tmp_path / "page.html"
    done = subprocess.run(
        [sys.executable, "-m", "vigie", "analyse", *records, "--out", out, "--report", page, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: 2 records, ")
    text = page.read_text()
    assert all(f"<h2>{name}, dérivation MLII</h2>" in text for name in NAMES)
    for name in NAMES:
        found = json.loads((out / f"{name}.json").read_text())
        assert (found["channel"], found["rate_hz"], found["samples"]) == ("MLII", RATE, 650_000)
        marks = wfdb.rdann(str(ecg_folder / "mitdb" / name), "atr")
        true = [int(at) for at, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in BEATS]
        assert f1(found["beats"], true, round(0.15 * RATE)) >= floor
        beats = np.array(found["beats"])
        waits = np.array(found["beats_decided"]) - beats
        # The beats of the first three seconds wait for the levels to be learnt, in each strip again.
        assert waits[beats > 10 * RATE].max() <= (3 if options else 1) * RATE
