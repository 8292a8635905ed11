"""ECG records: what wfdb reads is what chunks carry, in order, gaps left out."""

import datetime as dt

import numpy as np
import pytest
import wfdb

from ingest.columns import PacketKind
from ingest.formats import FormatError, Mappings, open_paths
from ingest.formats.wfdb_record import UNDATED_START, _chunks
from ingest.reasons import Reason
from ingest.signals import by_name

START_MS = int(UNDATED_START.timestamp() * 1000)


def make(
    folder, name, digital, *, fs=250, names=("II",), fmt="16", gain=200.0, baseline=0, units="mV", **more
):
    folder.mkdir(exist_ok=True)
    digital = np.asarray(digital, np.int64).reshape(-1, len(names))
    n = len(names)
    units = [units] * n if isinstance(units, str) else list(units)
    wfdb.wrsamp(
        name, fs=fs, units=units, sig_name=list(names), d_signal=digital, fmt=[fmt] * n,
        adc_gain=[gain] * n, baseline=[baseline] * n, write_dir=str(folder), **more,
    )  # fmt: skip
    return folder / f"{name}.hea"


def signal(batches, patient):
    """Give (sample time in ms, millivolt) of a patient, chunk after chunk."""
    t, mv = [], []
    for batch, _ in batches:
        for j, k in enumerate(batch.chunk_packet):
            assert batch.kind[k] == PacketKind.ECG
            assert batch.value_at[k] == batch.value_at[k + 1]
            if batch.patient_id(int(k)) == patient:
                part = batch.samples[batch.sample_at[j] : batch.sample_at[j + 1]]
                t.append(batch.t_ms[k] + np.arange(len(part)) * 1000 / batch.chunk_rate[j])
                mv.append(part / batch.chunk_gain[j])
    return np.concatenate(t), np.concatenate(mv)


@pytest.mark.parametrize(
    ("fmt", "gain", "baseline", "units", "per_mv"),
    [
        ("16", 200.0, 0, "mV", 200.0),
        ("212", 200.0, 1024, "mV", 200.0),
        ("16", 0.5, -30000, "uV", 500.0),
        ("24", 1e4, 0, "mV", 1e4),
    ],
)
def test_samples(tmp_path, fmt, gain, baseline, units, per_mv):
    rng = np.random.default_rng(1)
    limit = {"16": 30_000, "212": 2000, "24": 1 << 20}[fmt]
    digital = rng.integers(-limit, limit, 250 * 33)
    path = make(tmp_path / "r", "one", digital, fmt=fmt, gain=gain, baseline=baseline, units=units)
    with open_paths([path]) as source:
        batches = list(source.batches())
    ((batch, _),) = batches
    assert np.diff(batch.sample_at).tolist() == [2500, 2500, 2500, 750]
    assert (batch.chunk_code == by_name("ecg_lead_ii").code).all()
    assert batch.seq.tolist() == [0, 2500, 5000, 7500]
    assert batch.offset.tolist() == [0, 1, 2, 3]
    t, mv = signal(batches, "one")
    assert t[0] == START_MS
    np.testing.assert_allclose(t, START_MS + np.arange(len(digital)) * 4)
    # One step of 16 bits where more were stored.
    np.testing.assert_allclose(mv, (digital - baseline) / per_mv, atol=1 / batch.chunk_gain[0])
    if fmt != "24" and abs(baseline) < 2000:
        np.testing.assert_allclose(mv * per_mv, digital - baseline, rtol=1e-12)


def test_invalid_samples_are_gaps(tmp_path):
    digital = np.arange(1, 7501) % 100
    digital[1000:1010] = -2048
    digital[2500:5000] = -2048
    digital[-1] = -2048
    path = make(tmp_path / "r", "one", digital, fmt="212")
    with open_paths([path]) as source:
        batches = list(source.batches())
        assert source.progress.ecg_gap_samples == 10 + 2500 + 1
    ((batch, _),) = batches
    assert batch.seq.tolist() == [0, 1010, 5000]
    assert np.diff(batch.sample_at).tolist() == [1000, 1490, 2499]
    assert (batch.t_ms - START_MS).tolist() == [0, 4040, 20_000]
    t, mv = signal(batches, "one")
    valid = np.flatnonzero(digital != -2048)
    np.testing.assert_allclose(t, START_MS + valid * 4)
    np.testing.assert_allclose(mv * 200, digital[valid], rtol=1e-12)


def test_chunks_of_nothing():
    first, length = _chunks(np.zeros(10, np.bool_), 0, 3)
    assert (len(first), len(length)) == (0, 0)


@pytest.mark.parametrize(
    ("names", "units", "channel", "lead"),
    [
        (["V5", "MLII"], "mV", 1, "ecg_lead_ii"),
        (["V", "I"], "mV", 1, "ecg_lead_i"),
        (["PLETH", "ABP", "V"], ["NU", "mmHg", "mV"], 2, "ecg_single"),
        (["RESP", "ECG1", "ECG2"], "mV", 1, "ecg_single"),
        (["noise1", "noise2"], "mV", 0, "ecg_single"),
    ],
)
def test_choice_of_lead(tmp_path, names, units, channel, lead):
    digital = np.tile(np.arange(len(names)) + 1, (1000, 1))
    path = make(tmp_path / "r", "one", digital, names=names, units=units)
    with open_paths([path]) as source:
        ((batch, _),) = source.batches()
    assert batch.samples[0] == channel + 1
    assert batch.chunk_code[0] == by_name(lead).code


def test_where_a_record_begins(tmp_path):
    zeros = np.zeros(1000)
    folder = tmp_path / "r"
    make(folder, "undated", zeros)
    make(folder, "timed", zeros, base_time=dt.time(8, 30))
    make(folder, "dated", zeros, base_time=dt.time(8, 30), base_date=dt.date(2026, 7, 5))

    def starts(**options):
        with open_paths([folder], **options) as source:
            found = {b.patient_id(k): int(b.t_ms[k]) for b, _ in source.batches() for k in range(len(b))}
            return found, source.notes

    found, notes = starts()
    assert found["undated"] == START_MS
    assert found["timed"] == START_MS + 8.5 * 3_600_000
    assert found["dated"] == int(dt.datetime(2026, 7, 5, 8, 30, tzinfo=dt.UTC).timestamp() * 1000)
    assert "2 ECG records have no date" in notes[0]
    found, _ = starts(zone="Europe/Paris")
    assert found["dated"] == int(dt.datetime(2026, 7, 5, 6, 30, tzinfo=dt.UTC).timestamp() * 1000)
    found, notes = starts(mapping=Mappings.model_validate({"wfdb": {"start": "2026-01-05T09:00:00+01:00"}}))
    assert found["undated"] == int(dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC).timestamp() * 1000)
    assert notes == []


def test_records_run_side_by_side_with_readings(tmp_path, packets_of):
    folder = tmp_path / "r"
    make(folder, "a", np.zeros(250 * 25))
    make(folder, "b", np.zeros(250 * 25))
    (folder / "x.csv").write_text("patient,time,signal,value,unit\na,2000-01-03T00:00:05Z,weight,70,kg\n")
    with open_paths([folder], batch_rows=2) as source:
        packets, _ = packets_of(source)
        assert source.sources == ("x.csv", "a.hea", "b.hea")
    assert [(who, (t - START_MS) // 1000, kind) for _, who, _, t, kind, _ in packets] == [
        ("a", 0, 2), ("b", 0, 2), ("a", 5, 1), ("a", 10, 2), ("b", 10, 2), ("a", 20, 2), ("b", 20, 2),
    ]  # fmt: skip
    assert [offset for offset, *_ in packets] == list(range(7))


def test_two_records_of_one_name_are_two_patients(tmp_path):
    make(tmp_path / "x", "100", np.zeros(1000))
    make(tmp_path / "y", "100", np.zeros(1000))
    with open_paths([tmp_path]) as source:
        ((batch, _),) = source.batches()
        assert source.sources == ("x/100.hea", "y/100.hea")
    assert [batch.patient_id(k) for k in range(2)] == ["x/100", "y/100"]


def test_a_rate_that_is_not_legal_is_refused(tmp_path, packets_of):
    path = make(tmp_path / "r", "slow", np.zeros(1000), fs=50)
    with open_paths([path]) as source:
        packets, refused = packets_of(source)
    assert not packets
    assert refused[0][2] == Reason.BAD_ECG_RATE
    assert b"50 Hz; legal are 100 to 1000" in refused[0][3]


def test_multi_segment_record(tmp_path):
    folder = tmp_path / "r"
    make(folder, "s1", np.arange(2500) % 50, gain=200.0)
    make(folder, "s2", np.arange(2500) % 50, gain=100.0)
    (folder / "all.hea").write_text("all/3 1 250 7500\ns1 2500\n~ 2500\ns2 2500\n")
    with open_paths([folder / "all"]) as source:
        batches = list(source.batches())
        assert source.progress.ecg_gap_samples == 2500
    t, mv = signal(batches, "all")
    np.testing.assert_allclose(t[[0, 2500, -1]], START_MS + np.array([0, 20_000, 29_996]))
    np.testing.assert_allclose(mv[:2500] * 2, mv[2500:])


def test_what_is_no_ecg(tmp_path):
    folder = tmp_path / "r"
    (path := folder / "ann.hea").parent.mkdir()
    path.write_text("ann 1 128 1000\nann.dat 16 200/mV 16 0 0 0 0 ECG\n")
    with pytest.raises(FormatError, match="no file of samples"):
        open_paths([path])
    make(folder, "ok", np.zeros(1000))
    with open_paths([folder]) as source:
        assert any("ann.hea" in note for note in source.notes)
        assert source.sources == ("ok.hea",)
    (folder / "bad.hea").write_text("\x00\x01 nonsense")
    with pytest.raises(FormatError, match=r"bad\.hea"):
        open_paths([folder / "bad.hea"])
    (folder / "ok.dat").write_bytes(b"")
    with pytest.raises(FormatError, match=r"ok\.hea"), open_paths([folder / "ok.hea"]) as source:
        list(source.batches())


@pytest.mark.ecg
@pytest.mark.parametrize(
    "name",
    ["mitdb/101", "vfdb/418", "cudb/cu01", "challenge2015/a142s", "challenge2017/A00032", "nsrdb/16265"],
)
def test_real_records(ecg_folder, name):
    path = ecg_folder / f"{name}.hea"
    if not path.is_file():
        pytest.skip(f"{name} is not among the records here")
    with open_paths([path]) as source:
        batches = list(source.batches())
    header = wfdb.rdheader(str(path.with_suffix("")))
    channel = next((k for k, lead in enumerate(header.sig_name) if lead in ("II", "MLII")), 0)
    stop = min(header.sig_len, 100_000)
    expected = wfdb.rdrecord(str(path.with_suffix("")), sampto=stop, channels=[channel]).p_signal[:, 0]
    t, mv = signal(batches, path.stem)
    index = np.rint((t - t[0]) * header.fs / 1000).astype(int)
    assert (np.diff(index) > 0).all()
    index = index[index < stop]
    np.testing.assert_allclose(mv[: len(index)], expected[index], atol=1e-9)
    assert np.isnan(np.delete(expected, index)).all()
