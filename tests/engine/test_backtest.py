"""A back-test gives what the line gives: alert by alert, whatever the limits, the shards and the way it was cut."""

import re

import numpy as np
import polars as pl
import pytest

from engine.acts import SOURCE, setting
from engine.backtest import History, changed_limits, features_key
from engine.backtest_evidence import seen
from engine.backtest_judge import TRANSITIONS, Holding, only
from engine.backtest_measures import episodes
from engine.backtest_study import with_limits
from engine.enrolment import Enrolled
from engine.found import FoundError
from engine.load import load
from engine.program import Options
from engine.protocols import find
from engine.replay import replay
from engine.replay_input import Asked
from ingest import simulator
from ingest.formats import Mappings
from ingest.log import Log, LogReader

HEART = "insuffisance_cardiaque"
FAR_MS = 4_000_000_000_000
FILE = Options(close_at_recovery=True, deaf_after_ms=0)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Thirty patients over thirty days: a file in event time, and the log of the same."""
    folder = tmp_path_factory.mktemp("cohort")
    simulator.simulate(30, 30, 3, folder / "cohort.parquet")
    simulator.simulate(30, 30, 3, folder / "cohort.log", format="log", slot_s=600)
    return folder


def asked(path):
    return Asked((path,), Mappings(), "Europe/Paris", FAR_MS)


def replayed(path, protocol, out):
    replay([path], [protocol], out)
    alerts = pl.read_parquet(out / "alerts.parquet")
    return alerts.filter(pl.col("kind") != "evidence").select(list(TRANSITIONS))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(("name", "options"), [("cohort.parquet", FILE), ("cohort.log", Options())])
def test_it_gives_the_alerts_of_a_replay(cohort, tmp_path, name, options, shards):
    history = History(asked(cohort / name), tmp_path / "kept", shards=shards)
    judged = history.judge(load([HEART], options=options))
    theirs = replayed(cohort / name, HEART, tmp_path / "out")
    assert len(theirs) > 50
    assert judged.transitions.equals(theirs)
    assert judged.kept.patients == len(judged.follow_up) == 30
    says_what_the_line_says(judged, load([HEART], options=options), tmp_path / "out")


def test_over_a_log_it_gives_what_was_live(cohort, tmp_path):
    """The live line in batches of a few entries, as they come."""
    loaded = load([HEART])
    rows = []
    reader = LogReader(cohort / "cohort.log")
    at, rng = reader.first_offset, np.random.default_rng(1)
    with loaded.line(shards=2) as line:
        decoder = loaded.decoder()
        while at < reader.next_offset:
            entries = reader.read(at, 1 << 20, int(rng.integers(1, 9)))
            heard = np.array([entry.receipt_ms for entry in entries], np.int64)
            batch, refused = decoder.decode([(e.offset, e.receipt_ms, e.source, e.body) for e in entries])
            rows.append(line.process(batch, refused, heard).alerts)
            at = entries[-1].offset + 1
    reader.close()
    live = pl.concat(rows).filter(pl.col("kind") != "evidence").select(list(TRANSITIONS))
    judged = History(asked(cohort / "cohort.log"), tmp_path / "kept").judge(loaded)
    order = ["clock_ms", "patient", "alert_id", "kind"]
    assert len(live) > 20
    assert judged.transitions.sort(order).equals(live.sort(order))


def test_limits_that_were_set_in_the_log_are_judged_from_their_place_on(cohort, tmp_path):
    reader = LogReader(cohort / "cohort.log")
    entries = reader.read(reader.first_offset, 1 << 30, 1 << 20)
    reader.close()
    patients = sorted(set(patients_of(entries)))
    rng = np.random.default_rng(2)
    with Log.open(tmp_path / "acts.log") as log:
        for k, entry in enumerate(entries):
            log.append(entry.source, entry.body, entry.receipt_ms).result(10)
            if k % 40 == 0:
                value = [0.5, 1.0, 4.0, None][int(rng.integers(0, 4))]
                patient = patients[int(rng.integers(0, len(patients)))]
                name = ("gain_3d_kg", "systolic_low")[k // 40 % 2]
                value = value if name == "gain_3d_kg" else [95.0, 110.0, None][int(rng.integers(0, 3))]
                act = setting(
                    patient,
                    HEART,
                    name,
                    value,
                    "claire.morel",
                    "motif",
                    workplace="desk",
                    seq=k,
                    t_ms=entry.receipt_ms,
                )
                log.append(SOURCE, act, entry.receipt_ms).result(10)
            if k in {300, 900}:  # the cell's limit is said to each of its patients, and taken back
                value = 1.25 if k == 300 else None
                acts = [
                    setting(
                        each, HEART, "gain_3d_kg", value, "jean.roy", "pour tous",
                        of_cell=True, workplace="desk", seq=100_000 * k + n, t_ms=entry.receipt_ms,
                    )
                    for n, each in enumerate(patients)
                ]  # fmt: skip
                log.append(SOURCE, b"".join(acts), entry.receipt_ms).result(10)
    judged = History(asked(tmp_path / "acts.log"), tmp_path / "kept", shards=2).judge(load([HEART]))
    theirs = replayed(tmp_path / "acts.log", HEART, tmp_path / "out")
    assert judged.transitions.equals(theirs)
    says_what_the_line_says(judged, load([HEART]), tmp_path / "out")
    without = replayed(cohort / "cohort.log", HEART, tmp_path / "without")
    assert not theirs["alert_id"].equals(without["alert_id"])


def test_limits_of_a_cell_that_hold_throughout_are_as_if_acts_had_said_so_first(cohort, tmp_path):
    reader = LogReader(cohort / "cohort.log")
    entries = reader.read(reader.first_offset, 1 << 30, 1 << 20)
    reader.close()
    patients = sorted(set(patients_of(entries)))
    own, begun = patients[0], entries[0].receipt_ms

    def act(patient, value, seq, *, of_cell):
        said = HEART, "gain_3d_kg", value, "jean.roy", "essai"
        return setting(patient, *said, of_cell=of_cell, workplace="desk", seq=seq, t_ms=begun)

    def logged(name, before, then):
        with Log.open(tmp_path / name) as log:
            for body in before:
                log.append(SOURCE, body, begun).result(10)
            for k, entry in enumerate(entries):
                log.append(entry.source, entry.body, entry.receipt_ms).result(10)
                if k == 400:
                    for body in then:
                        log.append(SOURCE, body, entry.receipt_ms).result(10)
        return tmp_path / name

    mine = act(own, 4.0, 1, of_cell=False)
    throughout = logged("all.log", [mine, *(act(p, 1.25, 2, of_cell=True) for p in patients)], [])
    # Both know every patient from the first entry on: from then on silence is counted.
    known = [mine, *(act(p, 2.5, 2, of_cell=True) for p in patients)]
    later = logged("later.log", known, [act(p, 3.0, 3, of_cell=True) for p in patients])
    history = History(asked(later), tmp_path / "kept", shards=2)
    judged = history.judge(load([HEART]), Holding({(HEART, "gain_3d_kg"): 1.25}))
    theirs = replayed(throughout, HEART, tmp_path / "out")
    assert judged.transitions.equals(theirs)
    says_what_the_line_says(judged, load([HEART]), tmp_path / "out")
    live = history.judge(load([HEART]))
    assert live.transitions.equals(replayed(later, HEART, tmp_path / "live"))
    assert not live.transitions.equals(judged.transitions)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({(HEART, "gain_3d_kg"): 50.0}, "gain_3d_kg = 50 of a cell: legal are 0.5 to 5 kg"),
        ({(HEART, "dry_weight_kg"): 70.0}, "where no feature uses it"),
        ({(HEART, "gain"): 1.0}, "limits of the protocols"),
        ({("covidom", "gain_3d_kg"): 1.0}, "limits of the protocols"),
    ],
)
def test_limits_of_a_cell_that_cannot_be_judged_are_refused(cohort, tmp_path, limits, said):
    with pytest.raises(ValueError, match=said):
        History(asked(cohort / "cohort.log"), tmp_path).judge(load([HEART]), Holding(limits))


def test_some_patients_from_some_time_on(cohort, tmp_path):
    history = History(asked(cohort / "cohort.log"), tmp_path)
    whole = history.judge(load([HEART]))
    alerts = episodes(whole)
    patients = frozenset(alerts["patient"].unique().sort().to_list()[:5])
    since = int(alerts["opened_ms"].median())
    judged = history.judge(load([HEART]), Holding(patients=patients))
    mine = pl.col("patient").is_in(list(patients))
    assert judged.transitions.equals(whole.transitions.filter(mine))
    assert judged.follow_up.equals(whole.follow_up.filter(mine))
    assert judged.undetermined != whole.undetermined
    some = episodes(only(judged, since))
    assert some.equals(alerts.filter(mine, pl.col("opened_ms") >= since))
    assert len(some)
    assert only(judged, since).follow_up["first_ms"].min() == since


def test_limits_of_a_cell_that_hold_from_some_time_on_are_as_if_acts_had_said_so_then(cohort, tmp_path):
    """Whatever stands open goes on; what the new limit finds is raised from then on."""
    reader = LogReader(cohort / "cohort.log")
    entries = reader.read(reader.first_offset, 1 << 30, 1 << 20)
    reader.close()
    patients = sorted(set(patients_of(entries)))
    begun, at = entries[0].receipt_ms, entries[len(entries) // 2]
    own, back = entries[len(entries) * 5 // 8], entries[len(entries) * 3 // 4]

    def acts(value, seq, t_ms, *, of_cell=True):
        said = HEART, "gain_3d_kg", value, "jean.roy", "essai"
        return b"".join(
            setting(each, *said, of_cell=of_cell, workplace="desk", seq=seq, t_ms=t_ms) for each in patients
        )

    logs = {}
    for name in ("base", "acts"):
        logs[name] = tmp_path / f"{name}.log"
        with Log.open(logs[name]) as log:
            log.append(SOURCE, acts(2.5, 1, begun), begun).result(10)
            for entry in entries:
                if name == "acts" and entry.offset == at.offset:
                    log.append(SOURCE, acts(1.25, 2, at.receipt_ms), at.receipt_ms).result(10)
                # What patients have of their own meanwhile ends in what then holds.
                for each, value in ((own, 4.0), (back, None)):
                    if entry.offset == each.offset:
                        said = acts(value, 3, each.receipt_ms, of_cell=False)
                        log.append(SOURCE, said, each.receipt_ms).result(10)
                log.append(entry.source, entry.body, entry.receipt_ms).result(10)
    history = History(asked(logs["base"]), tmp_path / "kept")
    judged = history.judge(load([HEART]), Holding({(HEART, "gain_3d_kg"): 1.25}, at.receipt_ms))
    assert judged.transitions.equals(replayed(logs["acts"], HEART, tmp_path / "out"))
    assert not judged.transitions.equals(history.judge(load([HEART])).transitions)


BOOK = """
[[patient]]
patient = "{patient}"
protocol = "insuffisance_cardiaque"
limit = "gain_3d_kg"
value = 0.8
author = "Dr A. Petit"
date = 2026-01-01
reason = "décompensation récente"
"""


def test_the_limit_shown_is_the_patients_own(cohort, tmp_path):
    (tmp_path / "book.toml").write_text(BOOK.format(patient="P0000003"), encoding="utf-8")
    loaded = load([HEART], options=FILE, limits=tmp_path / "book.toml")
    judged = History(asked(cohort / "cohort.parquet"), tmp_path / "kept").judge(loaded)
    replay([cohort / "cohort.parquet"], [HEART], tmp_path / "out", limits=tmp_path / "book.toml")
    says_what_the_line_says(judged, loaded, tmp_path / "out")
    own = [each for each in seen(judged, loaded, episodes(judged)) if each.alert["patient"] == "P0000003"]
    assert 0.8 in {each.limit for each in own if each.alert["rule"] == "weight_gain_3d"}


def says_what_the_line_says(judged, loaded, out):
    """Sentence and limit of each alert that a reading opened are those of the line."""
    lines = pl.read_parquet(out / "alerts.parquet").filter(
        (pl.col("kind") == "opened") & pl.col("offset").is_not_null()
    )
    theirs = {row["alert_id"]: row for row in lines.iter_rows(named=True)}
    shown = {each.alert["alert_id"]: each for each in seen(judged, loaded, episodes(judged))}
    assert len(theirs) > 10
    for alert, row in theirs.items():
        assert shown[alert].text == row["sentence"]
        if shown[alert].limit is not None:
            assert shown[alert].limit in [each["value"] for each in row["limits"]]


def patients_of(entries):
    batch, _ = load([HEART]).decoder().decode([(e.offset, e.receipt_ms, e.source, e.body) for e in entries])
    return [batch.patient_id(row) for row in range(0, len(batch), 50)]


def test_a_changed_limit_is_judged_as_a_protocol_with_that_limit_is_replayed(cohort, tmp_path):
    text = find(HEART).read_text(encoding="utf-8")
    changed, count = re.subn(r"(\[limits\.gain_3d_kg\][^\[]*?default = )2\.0", r"\g<1>1.25", text)
    assert count == 1
    (tmp_path / "changed.toml").write_text(changed, encoding="utf-8")
    loaded = load([HEART], options=FILE)
    history = History(asked(cohort / "cohort.parquet"), tmp_path / "kept")
    before = history.judge(loaded)
    after = history.judge(with_limits(loaded, {"gain_3d_kg": 1.25}))
    assert after.folder == before.folder  # no second first pass
    theirs = replayed(cohort / "cohort.parquet", tmp_path / "changed.toml", tmp_path / "out")
    assert after.transitions.equals(theirs)
    assert len(after.transitions) > len(before.transitions)


def test_a_condition_with_other_features_makes_the_first_pass_again_and_one_with_the_same_does_not(
    cohort, tmp_path
):
    text = find(HEART).read_text(encoding="utf-8")
    rules = re.findall(r"^when = .*gain_3d_kg.*$", text, re.MULTILINE)
    assert len(rules) == 1
    stricter = text.replace(rules[0], rules[0].replace(">=", ">"))
    (tmp_path / "stricter.toml").write_text(stricter, encoding="utf-8")
    window = text.replace('window = "3d"', 'window = "4d"')
    assert window != text != stricter
    (tmp_path / "window.toml").write_text(window, encoding="utf-8")
    history = History(asked(cohort / "cohort.parquet"), tmp_path / "kept")
    base = history.judge(load([HEART], options=FILE))
    same = history.judge(load([tmp_path / "stricter.toml"], options=FILE))
    other = history.judge(load([tmp_path / "window.toml"], options=FILE))
    assert same.folder == base.folder != other.folder
    for judged, name in ((same, "stricter"), (other, "window")):
        theirs = replayed(cohort / "cohort.parquet", tmp_path / f"{name}.toml", tmp_path / name)
        assert judged.transitions.equals(theirs)


def test_the_key_knows_what_features_are_made_of():
    base = load([HEART])
    assert features_key(with_limits(base, {"gain_3d_kg": 1.5})) == features_key(base)
    # The dry weight is what a feature is counted from.
    assert features_key(with_limits(base, {"dry_weight_kg": 70.0})) != features_key(base)
    assert features_key(load([HEART], options=Options(lateness_ms=1000))) != features_key(base)
    assert features_key(load([HEART], zone="Indian/Reunion")) != features_key(base)
    assert features_key(load(["covidom"])) != features_key(base)


def test_the_key_knows_of_a_book_what_features_are_made_of(tmp_path):
    base = load([HEART])
    for name, value, same in (("gain_3d_kg", "0.8", True), ("dry_weight_kg", "70", False)):
        text = BOOK.format(patient="P0000003").replace("gain_3d_kg", name).replace("0.8", value)
        (tmp_path / "book.toml").write_text(text, encoding="utf-8")
        assert (features_key(load([HEART], limits=tmp_path / "book.toml")) == features_key(base)) is same


def test_the_key_knows_who_has_the_limit_of_a_cell_that_a_feature_is_made_of(tmp_path):
    def key(name, value, cell):
        text = BOOK.replace("[[patient]]", "[[cell]]").replace('patient = "{patient}"', 'cell = "Nord"')
        text = text.replace("gain_3d_kg", name).replace("0.8", value)
        (tmp_path / "book.toml").write_text(text, encoding="utf-8")
        enrolled = {"P0000003": Enrolled((HEART,), cell)}
        return features_key(load([HEART], limits=tmp_path / "book.toml", enrolment=enrolled))

    assert key("dry_weight_kg", "70", "Nord") != key("dry_weight_kg", "70", "Sud")
    assert key("gain_3d_kg", "0.8", "Nord") == key("gain_3d_kg", "0.8", "Sud")


def test_a_changed_limit_has_another_hash_and_nothing_else_is_other():
    (protocol,) = load([HEART]).program.protocols
    (changed,) = changed_limits([protocol], {f"{HEART}.gain_3d_kg": 1.5})
    assert changed.limits["gain_3d_kg"].default == 1.5
    assert changed.hash != protocol.hash
    (back,) = changed_limits([changed], {"gain_3d_kg": 2.0})
    assert back.hash == protocol.hash
    assert not changed.signed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gain_3d": 1.5}, "no limit 'gain_3d'.*gain_3d_kg"),
        ({"gain_3d_kg": 9.0}, "legal are 0.5 to 5 kg"),
        ({"covidom.gain_3d_kg": 1.5}, "no limit 'covidom.gain_3d_kg'"),
    ],
)
def test_a_limit_that_cannot_be_changed_so_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        changed_limits(load([HEART]).program.protocols, changes)


def test_what_was_kept_serves_again_and_only_for_the_same_files(cohort, tmp_path):
    source = tmp_path / "cohort.parquet"
    source.write_bytes((cohort / "cohort.parquet").read_bytes())
    loaded = load([HEART], options=FILE)
    first = History(asked(source), tmp_path / "kept").judge(loaded)
    again = History(asked(source), tmp_path / "kept").judge(loaded)
    assert again.folder == first.folder
    assert again.transitions.equals(first.transitions)
    rows = pl.read_parquet(source)
    rows.filter(pl.col("patient") != "P0000003").write_parquet(source)
    other = History(asked(source), tmp_path / "kept").judge(loaded)
    assert other.folder != first.folder
    assert other.kept.input != first.kept.input
    assert other.kept.patients == 29


def test_what_was_not_kept_whole_is_made_again_and_damage_is_said(cohort, tmp_path):
    loaded = load([HEART], options=FILE)
    source = asked(cohort / "cohort.parquet")
    first = History(source, tmp_path / "kept").judge(loaded)
    (first.folder / "kept.json").unlink()  # as after a kill in the middle
    (first.folder / "shard00" / "00000.events.arrow").write_bytes(b"half")
    again = History(source, tmp_path / "kept").judge(loaded)
    assert again.transitions.equals(first.transitions)
    (first.folder / "shard00" / "00000.events.arrow").write_bytes(b"half")
    with pytest.raises(FoundError, match=r"events\.arrow"):
        History(source, tmp_path / "kept").judge(loaded)
    (first.folder / "kept.json").write_text("{", encoding="utf-8")
    with pytest.raises(FoundError, match=r"kept\.json"):
        History(source, tmp_path / "kept").judge(loaded)


def test_of_what_was_kept_the_last_used_stay_and_what_is_not_ours(cohort, tmp_path):
    cache = tmp_path / "kept"
    rows = pl.read_parquet(cohort / "cohort.parquet")
    loaded = load([HEART], options=FILE)
    others = cache / "notes"
    others.mkdir(parents=True)
    (others / "letter.txt").write_text("not Vigie's")
    (cache / "theirs").mkdir()
    (cache / "theirs" / "kept.json").write_text("[1, 2]")

    def judged(patients, **options):
        path = tmp_path / f"{patients}.parquet"
        if not path.exists():
            named = [f"P{k:07d}" for k in range(patients)]
            rows.filter(pl.col("patient").is_in(named)).write_parquet(path)
        history = History(asked(path), cache, **options)
        return history, history.judge(loaded).folder

    def ours():
        return {path.parent for path in cache.glob("*/shard00")}

    first, second = judged(2)[1], judged(3)[1]
    assert ours() == {first, second}
    assert judged(2)[1] == first  # and is the one used last, from now on
    third = judged(4, keep=2)[1]
    assert ours() == {first, third}
    using, fourth = judged(5, keep=2)
    assert ours() == {third, fourth}
    for patients in (6, 7):
        judged(patients, keep=1)
    assert fourth in ours()
    assert len(ours()) == 2
    del using
    judged(7, keep=1)
    assert len(ours()) == 1
    assert (others / "letter.txt").exists()
    assert (cache / "theirs" / "kept.json").exists()


def test_segments_do_not_show(cohort, tmp_path, monkeypatch):
    """A few events a segment, or all in one: the same alerts."""
    loaded = load([HEART])
    whole = History(asked(cohort / "cohort.log"), tmp_path / "whole").judge(loaded)
    monkeypatch.setattr("engine.found._EVENTS", 97)
    monkeypatch.setattr("engine.replay_input._LOG_ENTRIES", 16)
    parts = History(asked(cohort / "cohort.log"), tmp_path / "parts").judge(loaded)
    count = [len(list(each.folder.glob("shard00/*.events.arrow"))) for each in (whole, parts)]
    assert count[1] > count[0]
    assert parts.transitions.equals(whole.transitions)


def test_undetermined_shares_are_those_of_the_features(cohort, tmp_path):
    loaded = load([HEART], options=FILE)
    judged = History(asked(cohort / "cohort.parquet"), tmp_path / "kept").judge(loaded)
    replay([cohort / "cohort.parquet"], [HEART], tmp_path / "out", features=True)
    features = pl.read_parquet(tmp_path / "out" / "features.parquet")
    # This rule compares one feature with a limit that has a default: it lacks data where the feature is not there.
    (rule,) = (r for r in loaded.program.protocols[0].rules if r.id == "weight_gain_3d")
    (name,) = (n for n in rule.names if n in loaded.program.protocols[0].features)
    values = features.filter(pl.col("feature") == name)["value"]
    assert judged.undetermined[HEART, "weight_gain_3d"] == pytest.approx(values.null_count() / len(values))
    assert 0 < judged.undetermined[HEART, "weight_gain_3d"] < 1
