"""What nurses look at, on real databases: views, filters, walls, counts, what is new, figures of the cell."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from engine.enrolment import Enrolled
from rules.levels import Level
from triage import store
from triage.work import cells, figures, lists
from triage.work.desk import Desk
from triage.work.lists import Filters, View
from triage.work.states import Outcome, Reason

T0 = 1_790_000_000_000
HOUR_MS = 3_600_000
NORD = ("Nord",)
SILENCE = [{"name": "silence_h", "value": 54.0, "unit": "h"}]


@pytest.fixture
def queue(url, row, frame):
    """Five lines of Nord, one of each kind, one of Sud, one of nobody's cell."""
    with store.open(url) as queue:
        cells.take(queue.engine, {f"p{i}": Enrolled(("ic",), "Sud" if i == 5 else "Nord") for i in range(6)})
        queue.apply(
            frame(
                row(patient="p0", level="ROUGE", sentence="Saturation très basse : 84 %"),
                row(patient="p1"),
                row(patient="p2", rule="no_weight", problem="no_weight", features=SILENCE),
                row(patient="p3", rule="no_weight", problem="no_weight", features=SILENCE, level="ROUGE"),
                row(patient="p4", protocol="covidom"),
                row(patient="p5", level="ROUGE"),
                row(patient="p9", level="TECHNIQUE"),
            )
        )
        desk = Desk(queue.engine, lambda: T0 + HOUR_MS)
        desk.mute(of(queue, "p1"), "marie", T0 + 5 * HOUR_MS, "x")
        desk.claim(of(queue, "p4"), "paul")
        yield queue


def of(queue, patient):
    return lists.of_patient(queue.engine, patient)[0].line.id


def patients(queue, view, cells_=NORD, **more):
    return [row.line.patient for row in lists.rows(queue.engine, Filters(view, cells_, **more))]


def test_each_view_has_its_lines_in_their_order(queue):
    found = patients(queue, View.WAITING)
    assert (sorted(found[:2]), found[2:]) == (["p0", "p3"], ["p4"])  # two ROUGE of one moment: by id
    assert patients(queue, View.SILENT) == ["p2"]
    assert patients(queue, View.MUTED) == ["p1"]
    assert patients(queue, View.MINE, who="paul") == ["p4"]
    assert patients(queue, View.CLOSED) == []
    Desk(queue.engine, lambda: T0 + HOUR_MS).close(of(queue, "p0"), "marie", Reason.TREATED)
    assert patients(queue, View.CLOSED) == ["p0"]
    assert patients(queue, View.CLOSED, before_ms=T0) == []


def test_cells_are_walls(queue):
    assert patients(queue, View.WAITING, ("Sud",)) == ["p5"]
    assert patients(queue, View.WAITING, (cells.NO_CELL,)) == ["p9"]
    assert patients(queue, View.WAITING, ()) == []
    other = of(queue, "p5")
    assert lists.row(queue.engine, other, NORD) is None
    assert lists.row(queue.engine, other, ("Sud",)).cell == "Sud"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("view", [View.WAITING, View.CLOSED])
def test_pages_are_the_list_in_pieces(url, row, frame, view, size):
    """Many of one level, one limit, one moment, and some without a limit: each once, in the order of the list."""
    with store.open(url) as queue:
        levels = ["ROUGE", "ORANGE", "TECHNIQUE", "ORANGE", "TECHNIQUE", "ROUGE", "ORANGE", "TECHNIQUE"]
        queue.apply(
            frame(*(row(patient=f"p{i}", level=level, problem=f"x{i}") for i, level in enumerate(levels)))
        )
        filters = Filters(view, (cells.NO_CELL,))
        whole = [each.line.id for each in lists.rows(queue.engine, Filters(View.WAITING, (cells.NO_CELL,)))]
        if view is View.CLOSED:
            for i, episode in enumerate(whole):  # two in each moment
                desk = Desk(queue.engine, lambda at=i // 2: T0 + HOUR_MS + at)
                desk.close(episode, "marie", Reason.TREATED)
            whole = [each.line.id for each in lists.rows(queue.engine, filters)]
        assert len(whole) == len(levels)
        got, after = [], ""
        while True:
            page = lists.page(queue.engine, filters, size, after)
            assert len(page.rows) <= size
            got += [each.line.id for each in page.rows]
            after = page.after
            if not after:
                break
        assert got == whole


def test_some_lines_are_those_of_ones_cells(queue):
    ids = [of(queue, patient) for patient in ("p5", "p4", "p0")]
    assert [each.line.patient for each in lists.some(queue.engine, ids, NORD)] == ["p0", "p4"]


def test_filters(queue):
    assert sorted(patients(queue, View.WAITING, level=Level.ROUGE)) == ["p0", "p3"]
    assert patients(queue, View.WAITING, protocol="covidom") == ["p4"]
    assert patients(queue, View.WAITING, text="saturation 84") == ["p0"]
    assert patients(queue, View.WAITING, text="P3") == ["p3"]
    assert patients(queue, View.WAITING, text="84 % p3") == []
    assert patients(queue, View.WAITING, text="%") == ["p0"]  # a sign like any other


def test_counts_are_those_of_the_views(queue):
    for who in ("paul", "marie"):
        found = lists.counts(queue.engine, Filters(View.WAITING, NORD, who))
        for view in (View.WAITING, View.SILENT, View.MUTED, View.MINE):
            assert found.views[view] == len(patients(queue, view, who=who)), view
    assert found.levels == {Level.ROUGE: 2, Level.ORANGE: 1, Level.TECHNIQUE: 0}
    assert found.protocols == {"insuffisance_cardiaque": 2, "covidom": 1}


def test_what_is_new_since_a_page_was_written(queue, row, frame):
    mark = lists.newest(queue.engine)
    waiting = Filters(View.WAITING, NORD)
    assert lists.news(queue.engine, waiting, mark) == {}
    queue.apply(
        frame(
            row(patient="p2", problem="weight", level="ROUGE", onset=2),
            row(patient="p5", problem="other", onset=2),
            row(patient="p0", level="ROUGE", kind="evidence", t=2),
        )
    )
    assert lists.news(queue.engine, waiting, mark) == {of_problem(queue, "p2", "weight"): Level.ROUGE}
    assert len(lists.changed_since(queue.engine, mark)) == 3


def of_problem(queue, patient, problem):
    return next(row.line.id for row in lists.of_patient(queue.engine, patient) if row.line.problem == problem)


def test_figures_of_the_cell(queue):
    now = T0 + 2 * HOUR_MS
    early = Desk(queue.engine, lambda: T0 + 120_000)
    early.call(of(queue, "p0"), "marie", Outcome.REACHED)
    early.close(of(queue, "p0"), "marie", Reason.NOT_RELEVANT)
    found = figures.figures(queue.engine, NORD, now, ZoneInfo("Europe/Paris"))
    assert found.patients == 5
    assert found.silent_patients == 2
    assert found.waiting == {Level.ROUGE: 1, Level.ORANGE: 3, Level.TECHNIQUE: 0}
    day = next(day for day in found.days if day.arrived.total())
    assert day.day == datetime.fromtimestamp(T0 / 1000, UTC).astimezone(ZoneInfo("Europe/Paris")).date()
    assert (day.arrived[Level.ROUGE], day.arrived[Level.ORANGE]) == (2, 3)
    # p0 was answered two minutes after it came, p1 (muted) an hour after: its limit is an hour too.
    assert (day.answered, day.in_time, day.limited) == (2, 2, 5)
    assert day.percentile("to_answer_s", 0.5) == pytest.approx(119, abs=3600)
    weight = next(rule for rule in found.rules if rule.rule == "gain_3d" and rule.protocol != "covidom")
    assert (weight.alerts, weight.closed, weight.not_relevant) == (2, 1, 1)
    assert found.nurses == {"marie": 1}
    rows = list(found.rows())
    assert len(rows) == figures.DAYS
    assert rows[0]["day"] > rows[-1]["day"]
    assert set(map(len, rows)) == {len(rows[0])}
    assert found.days[0].day - found.days[-1].day == timedelta(days=figures.DAYS - 1)
