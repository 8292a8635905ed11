"""The store: each row once, one open line, whatever the batches, the writers and the crashes."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from engine.fence import FencedError
from rules.alerts import Happening
from rules.levels import Level
from triage import database, store
from triage.policy import Policy
from triage.store import Applied


def contents(queue):
    """All of the queue that anybody may see, without row numbers."""
    with queue._engine.connect() as connection:
        episodes = connection.execute(
            text(
                "SELECT e.id, e.patient, e.problem, e.level, e.latched, e.onset_ms, e.opened_clock_ms,"
                " e.raised_clock_ms, e.due_ms, e.last_ms, e.evidence, e.ended_ms, e.outcome, e.rule,"
                " s.sentence FROM episode e JOIN transition s ON s.id = e.shown_id ORDER BY e.id"
            )
        )
        rows = connection.execute(
            text("SELECT alert_id, rule, kind, t_ms, log_offset FROM transition ORDER BY id")
        )
        alerts = connection.execute(
            text("SELECT id, patient, rule, onset_ms, episode_id FROM alert ORDER BY id")
        )
        return [list(map(tuple, each)) for each in (episodes, rows, alerts)]


@pytest.fixture(scope="module")
def emptied():
    """Give a queue that is emptied at each call: a new one for every example would take all the time."""
    with tempfile.TemporaryDirectory() as folder, store.open(Path(folder) / "q.sqlite") as queue:

        def again():
            with database.writing(queue._engine) as connection:
                for table in ("transition", "alert", "episode"):
                    connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608
            return queue

        yield again


def applied_in(queue, batches):
    for batch in batches:
        queue.apply(batch)
    return contents(queue), [line.id for line in queue.queue()]


def test_an_orange_that_recovers_leaves_the_queue_and_stays_in_the_log(url, row, frame):
    with store.open(url) as queue:
        done = queue.apply(frame(row(), row(kind="evidence", t=5), row(kind="recovered", t=9)))
        assert done == Applied(new=3, opened=1, ended=1)
        assert queue.queue() == []
        (episode_id,) = {row()["alert_id"]}
        episode = queue.episode(episode_id)
        assert (episode.outcome, episode.evidence) == ("resolved", 3)
        assert [each.kind for each in queue.log(episode_id)] == ["opened", "evidence", "recovered"]
        assert queue.log(episode_id)[1].points == row()["points"]


def test_a_rouge_stays_although_latched(url, row, frame):
    with store.open(url) as queue:
        queue.apply(frame(row(), row(kind="raised", level="ROUGE", rule="gain_7d", t=1)))
        queue.apply(frame(row(kind="latched", level="ROUGE", t=2)))
        (line,) = queue.queue()
        assert (line.level, line.latched, line.rule) == (Level.ROUGE, True, "gain_7d")
        assert "ROUGE" in line.shown.sentence
        queue.apply(frame(row(kind="closed", level="ROUGE", t=3)))
        assert queue.queue() == []
        assert queue.waiting() == {Level.ROUGE: 0, Level.ORANGE: 0, Level.TECHNIQUE: 0}


def test_a_new_episode_after_recovery_is_a_new_line(url, row, frame):
    rows = [row(), row(kind="recovered", t=2), row(onset=5), row(patient="p2", onset=5)]
    with store.open(url) as queue:
        queue.apply(frame(*rows))
        assert len(queue.queue()) == 2
        (line,) = queue.queue(patient="p1")
        assert line.id == rows[2]["alert_id"]


def test_a_problem_is_of_its_protocol(url, row, frame):
    other = {"protocol": "covidom", "alert_id": "c0"}
    with store.open(url) as queue:
        assert queue.apply(frame(row(), row(**other))).opened == 2
        queue.apply(frame(row(kind="recovered", t=3, **other)))
        assert [line.protocol for line in queue.queue()] == ["insuffisance_cardiaque"]


def test_evidence_after_the_end_opens_the_line_again(url, row, frame):
    with store.open(url) as queue:
        queue.apply(frame(row(level="ROUGE"), row(level="ROUGE", kind="closed", t=2)))
        queue.apply(frame(row(level="ROUGE", kind="opened", offset=7)))
        (line,) = queue.queue()
        assert line.outcome is None
        assert len(queue.log(line.id)) == 3


def test_what_is_undetermined_is_null(url, row, frame):
    nothing = row(features=[{"name": "slope", "value": float("nan"), "unit": "kg/j"}], points=[])
    with store.open(url) as queue:
        queue.apply(frame(nothing))
        (line,) = queue.queue()
        assert line.shown.features == [{"name": "slope", "value": None, "unit": "kg/j"}]
        assert line.shown.points == []
        assert line.shown.limits == nothing["limits"]


def test_text_comes_back_as_it_was(url, row, frame):
    sentence = 'Poids 82,4 kg : +2,3 kg en 3 jours « à "vérifier" » \\ é 😀'
    with store.open(url) as queue:
        queue.apply(
            frame(row(sentence=sentence, features=[{"name": 'é"\\', "value": 0.1 + 0.2, "unit": "µ"}]))
        )
        (line,) = queue.queue()
        assert line.shown.sentence == sentence
        assert line.shown.features == [{"name": 'é"\\', "value": 0.1 + 0.2, "unit": "µ"}]


def test_the_policy_in_force_is_frozen(url, row, frame):
    with store.open(url, Policy(orange_ms=1000)) as queue:
        queue.apply(frame(row()))
    with store.open(url, Policy(orange_ms=9999)) as queue:
        queue.apply(frame(row(patient="p2")))
        first, second = queue.queue()
        assert (first.due_ms - first.opened_clock_ms, second.due_ms - second.opened_clock_ms) == (1000, 9999)
        assert Policy.from_dict(first.policy) == Policy(orange_ms=1000)


def test_a_frame_larger_than_a_statement(url, row, frame):
    rows = [row(patient=f"p{i}", level=("ROUGE", "ORANGE")[i % 2]) for i in range(2500)]
    rows += [row(patient=f"p{i}", level="ORANGE", kind="recovered", t=3) for i in range(1, 2500, 2)]
    with store.open(url) as queue:
        assert queue.clock_ms() is None
        assert queue.apply(frame(*rows)) == Applied(new=3750, opened=2500, ended=1250)
        assert queue.waiting()[Level.ROUGE] == len(queue.queue()) == 1250
        assert queue.apply(frame(*rows)) == Applied(repeated=3750)
        assert queue.clock_ms() == max(each["clock_ms"] for each in rows)


def test_no_rows_change_nothing(url, frame):
    with store.open(url) as queue:
        assert queue.apply(frame()) == Applied()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop("kind", "t_ms"), "no column kind, t_ms"),
        (
            lambda rows: rows.with_columns(level=pl.lit("VERT")),
            "level 'VERT'; legal are TECHNIQUE, ORANGE, ROUGE",
        ),
        (lambda rows: rows.with_columns(kind=pl.lit("muted")), "kind 'muted'; legal are opened"),
        (lambda rows: rows.with_columns(patient=pl.lit(None, pl.String)), "null in column patient"),
        (lambda rows: rows.with_columns(alert_id=pl.lit("0")), "contradict the queue"),
        (
            lambda rows: rows.with_columns(opened_by=pl.lit("x")),
            "contradict the queue: .* rule 'weight' and 'x'",
        ),
    ],
)
def test_a_frame_that_is_not_the_engines_is_refused_and_nothing_written(tmp_path, row, frame, change, said):
    with store.open(tmp_path / "q.sqlite") as queue:
        queue.apply(frame(row(patient="p0"), row()))
        before = contents(queue)
        wrong = pl.concat([frame(row(patient="p3")), change(frame(row(t=2)))], how="diagonal")
        with pytest.raises(ValueError, match=said):
            queue.apply(change(wrong))
        assert contents(queue) == before


def stories():
    """Rows of a few patients in any order of kinds, also those that the engine would never write."""
    step = st.tuples(
        st.sampled_from(["p1", "p2"]),
        st.sampled_from(["weight", "breath"]),
        st.sampled_from(list(Happening)),
        st.sampled_from(["TECHNIQUE", "ORANGE", "ROUGE"]),
        st.integers(0, 2),  # onset
        st.sampled_from(["a", "b"]),  # rule
        st.integers(0, 3),  # time
    )
    return st.lists(step, max_size=25)


@settings(max_examples=60, deadline=None)
@given(story=stories(), data=st.data())
def test_any_prefix_twice_in_any_batches_gives_the_same_queue(emptied, row, frame, story, data):
    rows = [
        row(p, f"{problem}_{rule}", problem, level, kind, onset, onset + t)
        | {"alert_id": row(p, problem=problem, onset=onset)["alert_id"]}
        for p, problem, kind, level, onset, rule, t in story
    ]
    whole = frame(*rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4), label="cuts"))
    batches = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    again = data.draw(st.integers(0, len(batches)), label="batches applied before a crash")
    once = applied_in(emptied(), [whole])
    assert applied_in(emptied(), batches) == once
    assert applied_in(emptied(), batches[:again] + batches) == once
    prefix = data.draw(st.integers(0, len(rows)), label="prefix")
    assert applied_in(emptied(), [whole[:prefix], whole]) == once


def engine_story(seed, row, patients=40, steps=400):
    """Rows as the engine writes them, and the lines that must be open at the end."""
    chance = random.Random(seed)
    rows, lines = [], {}
    for t in range(steps):
        place = (f"p{chance.randrange(patients)}", chance.choice(["weight", "breath"]))
        level, onset, latched = lines.get(place, (None, t, False))
        kinds = ["opened"] if level is None else ["evidence", "over", "closed"]
        kind = chance.choice(kinds + ["raised"] * (level == "ORANGE"))
        if kind == "over":
            kind = "latched" if level == "ROUGE" else "recovered"
        if kind == "latched" and latched:
            kind = "evidence"
        level = {"opened": chance.choice(["ROUGE", "ORANGE"]), "raised": "ROUGE"}.get(kind, level)
        rows.append(row(place[0], f"{place[1]}_rule", place[1], level, kind, onset, t))
        lines[place] = (level, onset, kind == "latched")
        if kind in {"recovered", "closed"}:
            del lines[place]
    return rows, {(*place, Level[level], latched) for place, (level, _, latched) in lines.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_open_lines_are_those_of_the_engine(emptied, row, frame, seed):
    rows, expected = engine_story(seed, row)
    queue = emptied()
    queue.apply(frame(*rows))
    assert {(e.patient, e.problem, e.level, e.latched) for e in queue.queue()} == expected
    assert len(expected) > 20


WRITER = """
import sys, polars as pl
from triage import database, store
url, rows, size = sys.argv[1:]
frame = pl.read_parquet(rows)
with store.open(url) as queue:
    print("ready", flush=True)
    sys.stdin.readline()
    for at in range(0, len(frame), int(size)):
        queue.apply(frame[at : at + int(size)])
        print(at, flush=True)
"""


def writer(url, rows, size):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(rows), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_write_the_same_rows_write_them_once(url, tmp_path, row, frame):
    rows, expected = engine_story(11, row, steps=300)
    frame(*rows).write_parquet(tmp_path / "rows.parquet")
    # The empty database too: both come to make its tables.
    with writer(url, tmp_path / "rows.parquet", 7) as one, writer(url, tmp_path / "rows.parquet", 11) as two:
        for each in (one, two):
            assert each.stdout.readline() == "ready\n"
        for each in (one, two):
            each.stdin.write("\n")
            each.stdin.flush()
        for each in (one, two):
            each.communicate(timeout=120)
            assert each.returncode == 0
    with store.open(url) as queue:
        assert {(e.patient, e.problem, e.level, e.latched) for e in queue.queue()} == expected
        assert len(contents(queue)[1]) == len(rows)
        assert queue.apply(frame(*rows)) == Applied(repeated=len(rows))


def test_killed_in_the_middle_and_begun_again(url, tmp_path, row, frame):
    rows, _ = engine_story(5, row, steps=300)
    frame(*rows).write_parquet(tmp_path / "rows.parquet")
    chance = random.Random(3)
    for _ in range(2):
        with writer(url, tmp_path / "rows.parquet", 5) as process:
            process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
            for _ in range(chance.randrange(1, 40)):
                process.stdout.readline()
            process.kill()
    with store.open(url) as queue, store.open(tmp_path / "straight.sqlite") as straight:
        assert 0 < len(contents(queue)[1]) < len(rows)
        queue.apply(frame(*rows))
        straight.apply(frame(*rows))
        found, expected = contents(queue), contents(straight)
        assert found == [
            [tuple(bool(x) if isinstance(y, bool) else x for x, y in zip(a, b, strict=True)) for a, b in pair]
            for pair in (zip(e, f, strict=True) for e, f in zip(expected, found, strict=True))
        ]


def test_who_was_replaced_writes_nothing(url, row, frame):
    first = frame(row())
    later = frame(row(patient="p2"))
    with store.open(url) as queue:
        queue.apply(first, ("log:0", 2))
        queue.fence("log:0", 4)
        before = contents(queue)
        for token in (2, 3):
            with pytest.raises(FencedError, match="greater token"):
                queue.apply(later, ("log:0", token))
            with pytest.raises(FencedError, match="log:0"):
                queue.fence("log:0", token)
        assert contents(queue) == before
        queue.apply(later, ("log:1", 1))  # another partition has its own
        assert {line.patient for line in queue.queue()} == {"p1", "p2"}
        assert queue.apply(first, ("log:0", 4)).repeated == 1
        assert queue.apply(first, ("log:0", 9)).repeated == 1
