import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ingest.formats.merge as merge_module
from ingest.formats.merge import merged
from ingest.formats.rows import ROW_BYTES, Rows
from ingest.formats.spill import Spill

ROOT = Path(__file__).resolve().parents[3]


def rows_of(keys):
    rows = Rows.empty(len(keys))
    for k, (t, person, src, cell) in enumerate(keys):
        rows.t[k], rows.person[k], rows.src[k], rows.cell[k] = t, person, src, cell
    rows.value[:] = np.arange(len(keys))
    rows.code[:] = 1
    rows.reason[:] = 0
    return rows


def keys_of(rows):
    return list(
        zip(rows.t.tolist(), rows.person.tolist(), rows.src.tolist(), rows.cell.tolist(), strict=True)
    )


keys = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(-1, 2), st.integers(0, 2), st.integers(0, 100)), max_size=80
)


@given(keys, st.integers(1, 20), st.integers(1, 30), st.integers(1, 8))
def test_equals_sorting(tmp_path_factory, drawn, run_rows, out_rows, block):
    drawn = sorted(set(drawn), key=drawn.index)
    spill = Spill(tmp_path_factory.mktemp("spill"), "x", run_rows=run_rows)
    for start in range(0, len(drawn), 7):
        spill.add(rows_of(drawn[start : start + 7]))
    spill.finish({})
    assert len(spill.runs) == -(-len(drawn) // run_rows)
    kept = merge_module._LEAST, merge_module.BLOCK_ROWS
    merge_module._LEAST, merge_module.BLOCK_ROWS = block, 1
    try:
        blocks = list(merged(spill.runs, out_rows))
    finally:
        merge_module._LEAST, merge_module.BLOCK_ROWS = kept
    assert [key for rows in blocks for key in keys_of(rows)] == sorted(drawn)
    assert all(len(rows) == out_rows for rows in blocks[:-1])
    spill.close(remove=True)
    assert not spill.folder.exists()


def test_values_travel_with_their_keys(tmp_path):
    rng = np.random.default_rng(1)
    t = rng.permutation(5000)
    rows = rows_of([(int(x), 0, 0, int(x)) for x in t])
    rows.value[:] = t * 2.0
    rows.code[:] = t
    spill = Spill(tmp_path / "s", "x", run_rows=700)
    spill.add(rows)
    spill.finish({})
    out = Rows.joined(list(merged(spill.runs, 512)))
    assert (out.value == out.t * 2.0).all()
    assert (out.code == out.t).all()


def test_a_complete_spill_is_found_again_and_others_are_not(tmp_path):
    spill = Spill(tmp_path, "one", run_rows=4)
    spill.add(rows_of([(k, 0, 0, k) for k in range(10)]))
    at = spill.refuse(pl.Series(["a line\nin two", "é"]))
    spill.finish({"rows": 10})
    again = Spill(tmp_path, "one")
    assert again.complete
    assert (again.facts, len(again.runs)) == ({"rows": 10}, 3)
    assert [again.refused(int(k)) for k in at] == [rb"a line\nin two", "é".encode()]
    again.close(remove=False)
    run = tmp_path / "run-00001.bin"
    run.write_bytes(run.read_bytes()[:-ROW_BYTES])
    assert not Spill(tmp_path, "one").complete
    assert not Spill(tmp_path, "two").complete
    assert not list(tmp_path.glob("run-*"))


MEASURE = """
import sys
from ingest.formats import open_paths
with open_paths([sys.argv[1]], batch_rows=1 << 14, run_rows=1 << 16) as source:
    n = sum(len(b.code) + len(q) for b, q in source.batches())
    last = source.progress
assert n == last.rows == last.rows_done, last
# Not ru_maxrss, which a new process has from the one that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(n, int(peak.split()[1]) // 1024)
"""


def peak_mb(path):
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows, peak = map(int, out.stdout.split())
    return rows, peak


@pytest.mark.timeout(240)
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Four times the rows, in random order. Kept in memory, 3 M more rows would take 99 MB at the least.

    The smaller file is already large enough for every buffer to have its full size.
    """
    rng = np.random.default_rng(2)
    peaks = []
    for n in (1_000_000, 4_000_000):
        path = tmp_path / f"{n}.parquet"
        pl.DataFrame(
            {
                "patient": rng.integers(1000, 3000, n).astype(str),
                "time": pl.Series(1_767_600_000_000 + rng.integers(0, 10**9, n)).cast(
                    pl.Datetime("ms", "UTC")
                ),
                "signal": "weight",
                "value": rng.integers(50, 100, n).astype(float),
                "unit": "kg",
            }
        ).write_parquet(path, row_group_size=1 << 17)
        rows, peak = peak_mb(path)
        assert rows == n
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 60, peaks
