"""Tables: what is written in a file comes out as packets, and what cannot be read comes out as refused."""

import csv
import datetime as dt
import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.columns import NO_TIME, PacketKind
from ingest.formats import FormatError, Item, Mappings, load_mapping, open_paths
from ingest.formats.units import conversion
from ingest.reasons import Reason
from ingest.signals import by_name
from kernels.decode import hash_bytes

HEAD = "patient,time,signal,value,unit\n"
EIGHT = 1_767_600_000_000  # 2026-01-05T08:00:00Z


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_one_moment_is_one_packet(tmp_path, packets_of):
    path = write(
        tmp_path,
        "a.csv",
        HEAD
        + "bob,2026-01-05T09:00:00+01:00,systolic,132,mmHg\n"
        + "bob,2026-01-05T08:00:00Z,diastolic,81,mm[Hg]\n"
        + "ann,2026-01-05T08:00:00Z,29463-7,180,lb\n"
        + "bob,1767600000,8867-4,60,bpm\n"
        + "bob,2026-01-05T08:00:00Z,cough,2,\n"
        + "bob,2026-01-05T08:00:00Z,battery,50,%\n"
        + "bob,2026-01-05T07:00:00Z,weight,70.5,kg\n",
    )
    with open_paths([path], items={"cough": Item(256, 0, 3)}) as source:
        packets, refused = packets_of(source)
        assert source.progress.packets == 5
        assert source.progress.stage == "done"
    assert not refused
    assert packets == [
        (0, "bob", 6, EIGHT - 3_600_000, PacketKind.SPOT, {1: 70_500}),
        (1, "bob", 0, EIGHT, PacketKind.SPOT, {2: 132_000, 3: 81_000, 5: 60_000}),
        (4, "bob", 4, EIGHT, PacketKind.QUESTIONNAIRE, {256: 2_000}),
        (5, "bob", 5, EIGHT, PacketKind.DEVICE, {20: 50_000}),
        (6, "ann", 2, EIGHT, PacketKind.SPOT, {1: 81_647}),
    ]


def test_columns_of_a_batch(tmp_path):
    path = write(tmp_path, "a.csv", HEAD + "ann,2026-01-05T08:00:00Z,weight,70,kg\n")
    with open_paths([path]) as source:
        ((batch, quarantine),) = source.batches()
    name = np.frombuffer(b"a.csv", np.uint8)
    assert batch.sources == ("a.csv",)
    assert batch.device[0] == hash_bytes(name, 0, 5)
    assert batch.patient[0] == hash_bytes(np.frombuffer(b"ann", np.uint8), 0, 3)
    assert (batch.device_ms[0], batch.gateway_ms[0], batch.status[0]) == (NO_TIME, NO_TIME, 0)
    assert (batch.clock_ms, batch.next_offset) == (EIGHT, 1)
    assert len(quarantine) == 0
    for column, kind in {
        "offset": np.int64, "source": np.uint16, "kind": np.uint8, "id_at": np.int64, "id_len": np.uint8,
        "seq": np.int64, "value_at": np.int64, "code": np.uint16, "milli": np.int32, "chunk_packet": np.int64,
        "chunk_code": np.uint16, "chunk_rate": np.float64, "chunk_gain": np.float64, "sample_at": np.int64,
        "samples": np.int16, "ids": np.uint8, "status": np.uint32, "t_ms": np.int64,
    }.items():  # fmt: skip
        assert getattr(batch, column).dtype == kind, column


ROWS = {
    "ann,2026-01-05T08:00:00Z,weight,seventy,kg": (Reason.BAD_ROW, b"value=seventy"),
    "ann,2026-01-05T08:00:00Z,weight,,kg": (Reason.BAD_ROW, b"value="),
    'ann,2026-01-05T08:00:00Z,weight,"70,5",kg': (Reason.BAD_ROW, b"70,5"),
    "ann,2026-01-05T08:00:00Z,weight,70,5,kg": (Reason.BAD_ROW, b"too many or too few"),
    "ann,2026-01-05T08:00:00Z,weight": (Reason.BAD_ROW, b"too many or too few"),
    "ann,yesterday,weight,70,kg": (Reason.BAD_ROW, b"time=yesterday"),
    "ann,2026-01-05T08:00:00,weight,70,kg": (Reason.NAIVE_TIME, b"give a zone"),
    "ann,2026-01-05T08:00:00Z,weight,70,stoned": (
        Reason.UNKNOWN_UNIT,
        b"legal units of weight: kg, g, [lb_av]",
    ),
    "ann,2026-01-05T08:00:00Z,weight,70,": (Reason.UNKNOWN_UNIT, b"legal units of weight"),
    "ann,2026-01-05T08:00:00Z,wieght,70,kg": (Reason.UNKNOWN_SIGNAL, b"near: weight"),
    "ann,2026-01-05T08:00:00Z,ecg_single,70,mV": (Reason.UNKNOWN_SIGNAL, b"ecg_single"),
    "ann,2026-01-05T08:00:00Z,ecg_pause,7,s": (Reason.UNKNOWN_SIGNAL, b"ecg_pause"),
    "an n,2026-01-05T08:00:00Z,weight,70,kg": (Reason.BAD_PATIENT, b"patient=an n"),
    ",2026-01-05T08:00:00Z,weight,70,kg": (Reason.BAD_PATIENT, b"printable"),
    f"{'a' * 41},2026-01-05T08:00:00Z,weight,70,kg": (Reason.BAD_PATIENT, b"1 to 40"),
    "ann,2026-01-05T08:00:00Z,weight,700,kg": (
        Reason.IMPLAUSIBLE,
        b"patient=ann; time=2026-01-05T08:00:00.000+00:00",
    ),
    "ann,2026-01-05T08:00:00Z,weight,70,lb_": (Reason.UNKNOWN_UNIT, b"legal"),
    "ann,2026-01-05T08:00:00Z,weight,nan,kg": (Reason.NAN, b"nan"),
    "ann,2026-01-05T08:00:00Z,weight,1e400,kg": (Reason.INFINITE, b"inf"),
    "ann,1999-12-31T23:59:59Z,weight,70,kg": (Reason.TIME_BEFORE_2000, b"time_before_2000"),
    "ann,2126-01-05T08:00:00Z,weight,70,kg": (Reason.TIME_IN_FUTURE, b"time_in_future"),
}


@pytest.mark.parametrize("row", ROWS)
def test_refused_rows(tmp_path, packets_of, row):
    good = "bob,2026-01-05T08:00:00Z,weight,70,kg\n"
    path = write(tmp_path, "a.csv", HEAD + good + row + "\n" + good)
    with open_paths([path], latest_ms=EIGHT + 10**9) as source:
        packets, refused = packets_of(source)
        assert source.progress.refused == {ROWS[row][0]: 1}
    ((_, at, reason, raw),) = refused
    assert (at, reason) == (1, ROWS[row][0])
    assert ROWS[row][1] in raw
    assert [seq for _, _, seq, *_ in packets] == [0, 2]


def test_refused_rows_count_in_the_order(tmp_path, packets_of):
    text = "".join(f"{row}\n" for row in ROWS)
    with open_paths([write(tmp_path, "a.csv", HEAD + text)], latest_ms=EIGHT + 10**9) as source:
        packets, refused = packets_of(source)
        assert source.progress.rows == source.progress.rows_done == source.progress.rows_read == len(ROWS)
    assert not packets
    assert sorted(at for _, at, _, _ in refused) == list(range(len(ROWS)))
    assert sorted(offset for offset, _, _, _ in refused) == list(range(len(ROWS)))
    # A row without a time has none as receipt either; the clock never stands at a time that was refused.
    with open_paths([tmp_path / "a.csv"], latest_ms=EIGHT + 10**9) as source:
        *_, (batch, quarantine) = source.batches()
    assert batch.clock_ms == EIGHT
    assert (quarantine.receipt_ms[quarantine.reason == Reason.NAIVE_TIME] == NO_TIME).all()


def test_french_csv(tmp_path, packets_of):
    path = write(
        tmp_path,
        "a.csv",
        "sujet;date;mesure;valeur\nann;05/01/2026 09:00;Poids;70,5\nann;05/01/2026 09:01;Poids;1.070,5\n",
    )
    mapping = Mappings.model_validate(
        {
            "columns": {"patient": "sujet", "time": "date", "signal": "mesure", "value": "valeur"},
            "time": {"format": "%d/%m/%Y %H:%M", "zone": "Europe/Paris"},
            "signals": {"Poids": "weight"},
            "units": {"weight": "kg"},
            "decimal": ",",
        }
    )
    with open_paths([path], mapping=mapping) as source:
        packets, refused = packets_of(source)
        assert source.progress.naive_times == 2
    assert packets[0][3:] == (EIGHT, PacketKind.SPOT, {1: 70_500})
    assert refused[0][2] == Reason.BAD_ROW


@pytest.mark.parametrize("end", [".csv.gz", ".csv.zst", ".tsv", ".parquet"])
def test_other_containers(tmp_path, packets_of, end):
    frame = pl.DataFrame(
        {"patient": [12, 13], "time": [EIGHT, EIGHT], "signal": "weight", "value": [70, 71], "unit": "kg"}
    )
    path = tmp_path / f"a{end}"
    if end == ".parquet":
        frame.with_columns(pl.col("signal").cast(pl.Categorical)).write_parquet(path)
    elif end == ".tsv":
        frame.write_csv(path, separator="\t")
    elif end == ".csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    else:
        import pyarrow as pa

        with pa.CompressedOutputStream(path, "zstd") as file:
            file.write(frame.write_csv().encode())
    with open_paths([path]) as source:
        packets, refused = packets_of(source)
    assert not refused
    assert [(who, values) for _, who, _, _, _, values in packets] == [
        ("12", {1: 70_000}),
        ("13", {1: 71_000}),
    ]


def test_wide(tmp_path, packets_of):
    path = write(
        tmp_path,
        "a.csv",
        "when,sys,dia,pulse\n2026-01-05T08:00:00Z,132,81,60\n2026-01-05T08:00:00Z,,80,x\nnever,120,80,60\n",
    )
    mapping = Mappings.model_validate(
        {
            "patient": "one",
            "columns": {"time": "when"},
            "values": [
                {"column": "sys", "signal": "systolic", "unit": "mmHg"},
                {"column": "dia", "signal": "diastolic", "unit": "mmHg"},
                {"column": "pulse", "signal": "heart_rate_cuff", "unit": "bpm"},
            ],
        }
    )
    with open_paths([path], mapping=mapping) as source:
        packets, refused = packets_of(source)
    # An empty cell is no reading, a cell that is no number is refused, and rows are never put together.
    assert [packet[2:] for packet in packets] == [
        (0, EIGHT, 1, {2: 132_000, 3: 81_000, 6: 60_000}),
        (4, EIGHT, 1, {3: 80_000}),
    ]
    assert [(at, reason) for _, at, reason, _ in refused] == [(2, Reason.BAD_ROW), (1, Reason.BAD_ROW)]
    assert b"column pulse" in refused[1][3]


@pytest.mark.parametrize(
    ("text", "mapping", "words"),
    [
        ("patient,tim,signal,value,unit\n", {}, ("'time'", "near: 'tim'")),
        ("", {}, ("first line is empty",)),
        (HEAD[:-1] + ',note\nann,1,weight,1,kg,"not\nbob,1,weight,1,kg,x\n', {}, ("quote", "'not'")),
        (
            "patient,time,w\n",
            {"values": [{"column": "w", "signal": "wight", "unit": "kg"}]},
            ("'w'", "near: weight"),
        ),
        (
            "patient,time,w\n",
            {"values": [{"column": "w", "signal": "weight", "unit": "cm"}]},
            ("'cm'", "[lb_av]"),
        ),
        ("time,time,signal,value,unit\n", {"patient": "x"}, ("two columns",)),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, mapping, words):
    path = write(tmp_path, "a.csv", text)
    with (
        pytest.raises(FormatError) as caught,
        open_paths([path], mapping=Mappings.model_validate(mapping)) as source,
    ):
        list(source.batches())
    for word in ("a.csv", *words):
        assert word in str(caught.value)


def test_texts_of_several_lines(tmp_path, packets_of):
    note = '"two\nlines, ""quoted"""'
    path = write(
        tmp_path,
        "a.csv",
        HEAD[:-1] + f",note\nann,{EIGHT},weight,70,kg,{note}\nbob,{EIGHT},weight,70,kg,{note}\n",
    )
    with open_paths([path]) as source:
        packets, refused = packets_of(source)
    assert (len(packets), refused) == (2, [])


def test_not_utf8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        (HEAD + "ann,2026-01-05T08:00:00Z,weight,70,kg\n" * 9000 + "é,1,weight,70,kg\n").encode("latin-1")
    )
    with pytest.raises(FormatError, match="UTF-8"), open_paths([path]) as source:
        list(source.batches())


NAMES = ["weight", "systolic", "diastolic", "spo2", "temperature"]
readings = st.lists(
    st.tuples(
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40),
        st.integers(946_684_800_000, EIGHT),
        st.sampled_from(NAMES),
        st.integers(-1_000_000, 1_000_000),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(readings, st.booleans())
def test_what_is_written_comes_back(tmp_path_factory, packets_of, drawn, parquet):
    """CSV and Parquet to columns and back: each row is there once, as a value or as refused."""
    folder = tmp_path_factory.mktemp("t")
    times = [dt.datetime.fromtimestamp(t / 1000, dt.UTC) for _, t, _, _ in drawn]
    values = [milli / 1000 for *_, milli in drawn]
    units = [by_name(name).ucum for _, _, name, _ in drawn]
    who, names = [row[0] for row in drawn], [row[2] for row in drawn]
    if parquet:
        path = folder / "a.parquet"
        kinds = {
            "patient": pl.String,
            "time": pl.Datetime("ms", "UTC"),
            "signal": pl.String,
            "value": pl.Float64,
            "unit": pl.String,
        }
        pl.DataFrame(
            {"patient": who, "time": times, "signal": names, "value": values, "unit": units}, schema=kinds
        ).write_parquet(path)
    else:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["patient", "time", "signal", "value", "unit"])
        writer.writerows(zip(who, [t.isoformat() for t in times], names, values, units, strict=True))
        path = write(folder, "a.csv", text.getvalue())
    with open_paths([path], batch_rows=7, run_rows=5) as source:
        packets, refused = packets_of(source)
    codes = {name: by_name(name).code for name in NAMES}
    good = {
        k: (patient, t, codes[name], milli)
        for k, (patient, t, name, milli) in enumerate(drawn)
        if by_name(name).low <= milli / 1000 <= by_name(name).high
    }
    bad = {at for _, at, reason, _ in refused if reason == Reason.IMPLAUSIBLE}
    assert bad == set(range(len(drawn))) - set(good)
    odd = {at for _, at, reason, _ in refused if reason == Reason.INCONSISTENT}
    assert len(refused) == len(bad) + len(odd)
    found = sorted(
        (patient, t, code, milli) for _, patient, _, t, _, values in packets for code, milli in values.items()
    )
    assert found == sorted(row for k, row in good.items() if k not in odd)
    assert [t for *_, t, _, _ in packets] == sorted(t for *_, t, _, _ in packets)


def test_real_home_readings(home_folder, packets_of):
    mapping = load_mapping(Path(__file__).resolve().parents[2] / "data" / "home_mapping.toml")
    with open_paths([home_folder], mapping=mapping) as source:
        packets, refused = packets_of(source)
        assert source.progress.naive_times == 67
    assert not refused
    assert [packet[3] for packet in packets] == sorted(packet[3] for packet in packets)
    pressures = [values for _, who, _, _, _, values in packets if who == "home-1"]
    assert len(pressures) == 222
    assert packets[-1][1:] == ("home-1", 0, 1_564_650_954_000, 1, {2: 132_000, 3: 80_000, 6: 79_000})
    log = pl.read_csv(home_folder / "weight_log.csv")
    kept = sorted(v[1] / 1000 for *_, v in packets if 1 in v)
    assert kept == pytest.approx(log["WeightKg"].sort().to_list(), abs=5.1e-4)
    # The export gives pounds too: our conversion agrees with its own.
    to = conversion("lb", "kg")
    assert (log["WeightPounds"] * to.factor).to_list() == pytest.approx(log["WeightKg"].to_list(), rel=1e-6)
