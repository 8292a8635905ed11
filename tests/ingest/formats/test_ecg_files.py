"""Records as they lie in folders: what is found, what each kind gives, and what is said of what is wrong."""

import edfio
import numpy as np
import pytest
import wfdb

from ingest.formats import FormatError
from ingest.formats.ecg_files import How, find_records, read_record
from ingest.formats.lead import MISSING

MV = np.round(np.sin(np.arange(2500) / 7.0) * 1.2, 3)


def make_wfdb(folder, name, digital, names=("V5", "MLII"), units="mV", gain=200.0, fmt="16", fs=250):
    digital = np.asarray(digital, np.int64).reshape(-1, len(names))
    n = len(names)
    wfdb.wrsamp(
        name, fs=fs, units=[units] * n, sig_name=list(names), d_signal=digital, fmt=[fmt] * n,
        adc_gain=[gain] * n, baseline=[0] * n, write_dir=str(folder),
    )  # fmt: skip
    return folder / f"{name}.hea"


def two(n=2500):
    return np.column_stack([np.arange(n) % 100, -(np.arange(n) % 90)])


def make_edf(path, data=MV, rate=250.0, label="ECG II", dimension="mV", **more):
    signals = [
        edfio.EdfSignal(np.zeros(len(data)), rate, label="EEG Fpz", physical_dimension="uV"),
        edfio.EdfSignal(data, rate, label=label, physical_dimension=dimension, **more),
    ]
    edfio.Edf(signals).write(path)
    return path


def millivolt(lead):
    return np.where(lead.samples == MISSING, np.nan, lead.samples / lead.gain)


# ---- What is found.


def test_a_file_of_a_record_stands_for_it(tmp_path):
    header = make_wfdb(tmp_path, "one", two())
    (tmp_path / "one.atr").write_bytes(b"")
    for given in (header, tmp_path / "one", tmp_path / "one.dat", tmp_path / "one.atr", f"{tmp_path}/on*"):
        assert find_records([given]) == [header]
    assert find_records([header, tmp_path, f"{tmp_path}/*.dat"]) == [header]


def test_a_folder_gives_its_records_else_peaks_else_csv(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("1\n")
    assert find_records([tmp_path]) == [table]
    peaks = tmp_path / "rr.npz"
    np.savez(peaks, qrs=[1])
    assert find_records([tmp_path]) == [peaks]
    edf = make_edf(tmp_path / "b.edf")
    header = make_wfdb(tmp_path, "a", two())
    assert find_records([tmp_path]) == [header, edf]
    assert find_records([tmp_path, table]) == [header, edf, table]


def test_segments_are_no_records_of_their_own(tmp_path):
    for name in ("part1", "part2"):
        make_wfdb(tmp_path, name, two())
    whole = tmp_path / "whole.hea"
    whole.write_text("whole/3 2 250 6000\npart1 2500\n~ 1000\npart2 2500\n")
    assert find_records([tmp_path]) == [whole]
    lead = read_record(whole, How(channel="V5")).lead
    assert len(lead.samples) == 6000
    assert (lead.samples[2500:3500] == MISSING).all()
    assert (lead.samples[3500:] == two()[:, 0]).all()


def test_what_cannot_be_found(tmp_path):
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for given, said in (
        ("none", "none: no such file or folder"),
        ("no*", "no file of that pattern"),
        ("text.txt", "text.txt: of no known kind; legal are .hea (WFDB), .edf, .csv"),
        ("empty", "empty: no ECG record in this folder"),
    ):
        with pytest.raises(FormatError) as error:
            find_records([tmp_path / given])
        assert said in str(error.value)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make_wfdb(tmp_path / folder, "same", two())
    with pytest.raises(FormatError, match="two records of one name"):
        find_records([tmp_path])


# ---- WFDB.


def test_the_channel_of_a_record(tmp_path):
    path = make_wfdb(tmp_path, "one", two())
    for channel, name, sign in (("", "MLII", -1), ("v5", "V5", 1), ("0", "V5", 1), ("1", "MLII", -1)):
        lead = read_record(path, How(channel=channel)).lead
        assert (lead.channel, lead.rate_hz, lead.gain) == (name, 250.0, 200.0)
        assert np.sign(lead.samples[50]) == sign
    for channel in ("V9", "2", "-1"):
        with pytest.raises(FormatError, match=r"no channel .*; legal are V5, MLII, or 0 to 1"):
            read_record(path, How(channel=channel))
    same = make_wfdb(tmp_path, "two", two(), names=("ECG1", "ECG2"))
    same.write_text(same.read_text().replace("ECG1", "ECG").replace("ECG2", "ECG"))  # as in vfdb
    with pytest.raises(FormatError, match="2 channels are called ECG; tell them apart by number, 0 to 1"):
        read_record(same, How(channel="ECG"))
    other = make_wfdb(tmp_path, "three", two(), names=("II", "PLETH"), units="NU")
    with pytest.raises(FormatError, match="channel PLETH is in 'NU'; legal are units of voltage"):
        read_record(other, How(channel="PLETH"))


def test_invalid_samples_are_missing_ones(tmp_path):
    digital = two()
    digital[100:200] = -2048
    path = make_wfdb(tmp_path, "one", digital, fmt="212")
    lead = read_record(path, How(channel="V5")).lead
    assert np.flatnonzero(lead.samples == MISSING).tolist() == list(range(100, 200))
    assert (lead.samples[200:] == digital[200:, 0]).all()


# ---- EDF.


@pytest.mark.parametrize(
    ("dimension", "scale", "limits"),
    [("mV", 1.0, (-5, 5)), ("uV", 1000.0, (-5000, 3000)), ("mV", 1.0, (5, -5))],
)
def test_edf(tmp_path, dimension, scale, limits):
    low, high = sorted(limits)
    path = make_edf(tmp_path / "a.edf", MV * scale, dimension=dimension, physical_range=(low, high))
    if limits != (low, high):  # an inverted signal: as written, its limits the wrong way round
        raw = path.read_bytes()
        at = 256 + 2 * (16 + 80 + 8) + 8  # the second signal's physical minimum
        assert (raw[at : at + 8], raw[at + 16 : at + 24]) == (b"-5      ", b"5       ")
        path.write_bytes(raw[:at] + b"5       " + raw[at + 8 : at + 16] + b"-5      " + raw[at + 24 :])
        lead = read_record(path, How()).lead
        np.testing.assert_allclose(millivolt(lead), -MV, atol=3e-4)
        return
    lead = read_record(path, How()).lead
    assert (lead.channel, lead.rate_hz, len(lead.samples)) == ("ECG II", 250.0, 2500)
    np.testing.assert_allclose(millivolt(lead), MV, atol=3e-4)


def test_edf_that_cannot_be_used(tmp_path):
    good = make_edf(tmp_path / "a.edf")
    (tmp_path / "b.edf").write_bytes(b"no EDF" * 100)
    (tmp_path / "c.edf").write_bytes(good.read_bytes()[:300])
    slow = make_edf(tmp_path / "d.edf", rate=50.0)
    for path, how, said in (
        (good, How(channel="V2"), "a.edf: no channel V2; legal are EEG Fpz, ECG II, or 0 to 1"),
        (good, How(beats="atr"), "a.edf: --beats is of no use here; legal with WFDB, .npz and .mat"),
        (good, How(rate_hz=250.0), "a.edf: --rate is of no use here; legal with CSV"),
        (tmp_path / "b.edf", How(), "b.edf: not an EDF file"),
        (tmp_path / "c.edf", How(), "c.edf: not an EDF file"),
        (slow, How(), "d.edf: sampling rate 50 Hz; legal are 100 to 1000 Hz"),
    ):
        with pytest.raises(FormatError) as error:
            read_record(path, how)
        assert said in str(error.value)


# ---- CSV.


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("{}", How(rate_hz=250.0)),
        ("ECG\n{}", How(rate_hz=250.0)),
        ("t;ECG I\n{;}", How(rate_hz=250.0, channel="ecg i")),
        ("{;}", How(rate_hz=250.0, channel="1")),
        ("{counts}", How(rate_hz=250.0, gain=1000.0)),
    ],
)
def test_csv(tmp_path, text, how):
    path = tmp_path / "a.csv"
    rows = {
        "{}": "\n".join(map(str, MV)),
        "{;}": "\n".join(f"{k};{v}".replace(".", ",") for k, v in enumerate(MV.tolist())),
        "{counts}": "\n".join(str(round(v * 1000)) for v in MV.tolist()),
    }
    for name, body in rows.items():
        text = text.replace(name, body)
    path.write_text(text + "\n")
    lead = read_record(path, how).lead
    assert lead.rate_hz == 250.0
    np.testing.assert_allclose(millivolt(lead), MV, atol=1e-9)


def test_csv_with_missing_and_large_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("v,w\n1.5,0\n,1\nNaN,2\n-2.5,3\n")
    lead = read_record(path, How(rate_hz=250.0, channel="v")).lead
    np.testing.assert_array_equal(millivolt(lead), [1.5, np.nan, np.nan, -2.5])
    path.write_text("100.5\n-99.5\n")
    np.testing.assert_allclose(
        millivolt(read_record(path, How(rate_hz=250.0)).lead), [100.5, -99.5], atol=4e-3
    )


@pytest.mark.parametrize(
    ("text", "how", "said"),
    [
        ("1\n", How(), "a CSV does not say its sampling rate: give --rate, in Hz"),
        ("1\n", How(rate_hz=50.0), "sampling rate 50 Hz; legal are 100 to 1000 Hz"),
        ("1\n", How(rate_hz=250.0, gain=0.0), "--gain 0 per mV; legal are numbers over 0"),
        ("mV\n1\nabc\n", How(rate_hz=250.0), "line 3: 'abc'; legal are numbers, or nothing"),
        ("t,v\n1,2\n", How(rate_hz=250.0), "2 columns: say which with --channel; legal are t, v"),
        ("t,v\n1,2\n", How(rate_hz=250.0, channel="x"), "no channel x; legal are t, v, or 0 to 1"),
        ("1\n1,2\n", How(rate_hz=250.0), "not a CSV"),
        ("", How(rate_hz=250.0), "not a CSV"),
        ("mV\n", How(rate_hz=250.0), "there are no samples"),
        ("1e300\n", How(rate_hz=250.0), "a number of 1e+300"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path, text, how, said):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(FormatError) as error:
        read_record(path, how)
    assert said in str(error.value)
    assert str(path) in str(error.value)


# ---- Beats that were marked.


def test_beats_of_an_annotation(tmp_path):
    path = make_wfdb(tmp_path, "one", two())
    wfdb.wrann(
        "one", "atr", np.array([50, 300, 500, 700, 900, 1300, 1500, 2400]),
        list("+NA[/]V~"), aux_note=["(N", *[""] * 7], write_dir=str(tmp_path),
    )  # fmt: skip
    record = read_record(path, How(beats="atr"))
    assert record.lead.channel == "MLII"
    assert (record.marked.rate_hz, record.marked.length) == (250.0, 2500)
    assert record.marked.beats.tolist() == [300, 500, 1500]
    assert record.marked.classes == ["N", "S", "V"]
    assert record.marked.unmarked == [(700, 1300)]
    (tmp_path / "one.dat").unlink()
    assert read_record(path, How(beats="atr")).lead is None
    with pytest.raises(FormatError, match="no annotation 'qrs'; there are atr"):
        read_record(path, How(beats="qrs"))


@pytest.mark.parametrize(("ending", "base"), [("npz", 0), ("mat", 1)])
def test_beats_of_an_array(tmp_path, ending, base):
    from scipy.io import savemat

    path = tmp_path / f"rr.{ending}"
    content = {"Fs": 250, "qrs": np.array([100, 300, 500]) + base, "other": np.array([[1.0, 2.0]])}
    if ending == "npz":
        np.savez(path, **content)
    else:
        savemat(path, content)
    for how in (How(), How(beats="qrs"), How(beats="qrs", rate_hz=250.0)):
        marked = read_record(path, how).marked
        assert (marked.rate_hz, marked.length, marked.classes) == (250.0, 501, None)
        assert marked.beats.tolist() == [100, 300, 500]
    assert read_record(path, How(first_sample=1 - base)).marked.beats[0] == 99 + 2 * base
    assert read_record(path, How(rate_hz=100.0)).marked.rate_hz == 100.0
    with pytest.raises(FormatError, match=r"no array 'atr'; there are Fs, other, qrs"):
        read_record(path, How(beats="atr"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"Fs": 250}, "which array are the R peaks is not said (--beats); there are Fs"),
        ({"qrs": [1]}, "says no sampling rate under Fs, fs, rate_hz, sampling_rate: give --rate"),
        ({"qrs": [1], "fs": 0}, "sampling rate 0 Hz; legal are numbers over 0"),
        ({"qrs": [5, 3], "fs": 250}, "qrs is not ascending from 0"),
        ({"qrs": ["a"], "fs": 250}, "legal are positions of R peaks"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, content, said):
    path = tmp_path / "rr.npz"
    np.savez(path, **content)
    with pytest.raises(FormatError) as error:
        read_record(path, How())
    assert said in str(error.value)


@pytest.mark.parametrize("ending", ["npz", "mat"])
def test_a_damaged_file_of_arrays(tmp_path, ending):
    path = tmp_path / f"rr.{ending}"
    path.write_bytes(b"PK\x03\x04 nothing of that kind" * 20)
    with pytest.raises(FormatError, match="cannot be read"):
        read_record(path, How())
