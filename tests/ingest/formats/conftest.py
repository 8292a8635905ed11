"""What the tests of formats share: real home readings where there are any, and packets put back into tuples."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def home_folder() -> Path:
    """Folder of real home readings, named by VIGIE_HOME or ../shared/home."""
    named = os.environ.get("VIGIE_HOME")
    folder = Path(named) if named else ROOT.parent / "shared" / "home"
    if not (folder / "home_blood_pressure.csv").is_file():
        pytest.skip("no real home readings here: set VIGIE_HOME to their folder")
    return folder


@pytest.fixture(scope="session")
def packets_of():
    """Give all packets of a source as (offset, patient, seq, t_ms, kind, {code: milli}), and its refused rows."""

    def give(source, offset=0):
        packets, refused = [], []
        for batch, quarantine in source.batches(offset):
            assert (batch.receipt_ms == batch.t_ms).all()
            assert len(batch.value_at) == len(batch) + 1
            for k in range(len(batch)):
                part = slice(batch.value_at[k], batch.value_at[k + 1])
                values = dict(zip(batch.code[part].tolist(), batch.milli[part].tolist(), strict=True))
                assert len(values) == part.stop - part.start
                packets.append(
                    (
                        int(batch.offset[k]), batch.patient_id(k), int(batch.seq[k]), int(batch.t_ms[k]),
                        int(batch.kind[k]), values,
                    )
                )  # fmt: skip
            refused += [
                (
                    int(quarantine.offset[k]),
                    int(quarantine.at[k]),
                    int(quarantine.reason[k]),
                    quarantine.raw[k],
                )
                for k in range(len(quarantine))
            ]
        return packets, refused

    return give
