"""What a nurse reads."""

import io
import json
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from triage import store, view

PARIS = ZoneInfo("Europe/Paris")
T0 = 1_790_000_000_000  # 21/09/2026 16:13:20 in Paris
MINUTE = 60_000


@pytest.fixture
def queue(tmp_path, row, frame):
    with store.open(tmp_path / "q.sqlite") as queue:
        queue.apply(
            frame(
                row("Dupont-12", level="ORANGE"),
                row("P[bold]7", level="ROUGE", signed=True),
                row("P8", level="TECHNIQUE", points=[], limits=[]),
                row("P9", level="ROUGE", onset=0),
                row("P9", level="ROUGE", kind="latched", t=0),
            )
        )
        yield queue


def drawn(queue, now, **options):
    console = Console(file=io.StringIO(), width=150)
    console.print(view.panel(queue.queue(**options), queue.waiting(), now, PARIS))
    return console.file.getvalue()


def test_a_row_says_level_shape_patient_why_since_and_time_left(queue):
    text = drawn(queue, T0 + 2 * MINUTE)
    lines = [line for line in text.splitlines() if line[1:2] in "▲◆○"]
    levels = [line[1:].split("│")[0].strip() for line in lines]
    assert levels == ["▲ ROUGE", "▲ ROUGE", "◆ ORANGE", "○ TECHNIQUE"]
    assert "P[bold]7" in text
    assert "▲ 2 ROUGE" in text
    orange = next(line for line in lines if "Dupont-12" in line)
    assert "16:13" in orange
    assert "58 min" in orange
    assert "▁█ limite 2 kg" in orange
    assert text.count("revenu à la normale") == 1


def test_an_unsigned_protocol_says_so_and_a_signed_one_does_not(tmp_path, row, frame):
    with store.open(tmp_path / "q2.sqlite") as queue:
        queue.apply(frame(row(signed=True)))
        assert view.UNSIGNED not in drawn(queue, T0)
        queue.apply(frame(row("p2", signed=False)))
        assert view.UNSIGNED in drawn(queue, T0)


def test_overdue_is_negative(queue):
    assert "-1 min" in drawn(queue, T0 + 1000 + 4 * MINUTE + 1)
    rows = view.as_rows(queue.queue(), T0 + 1000 + 5 * MINUTE)
    assert rows[0]["left_s"] == -60
    assert rows[-1]["left_s"] is None


def test_more_lines_than_are_shown_are_counted(queue):
    assert "1 premières lignes, 3 autres attendent" in drawn(queue, T0, at_most=1)


def test_an_empty_queue_says_so(tmp_path):
    with store.open(tmp_path / "e.sqlite") as queue:
        assert "aucune alerte ouverte" in drawn(queue, T0)
        assert view.as_rows(queue.queue(), T0) == []


def test_json_has_all_that_explains_an_alert(queue, row):
    rows = json.loads(json.dumps(view.as_rows(queue.queue(), T0), allow_nan=False))
    assert [each["level"] for each in rows] == ["ROUGE", "ROUGE", "ORANGE", "TECHNIQUE"]
    orange = rows[2]
    given = row("Dupont-12")
    for name in ("sentence", "features", "limits", "protocol", "protocol_hash", "kernels", "signed", "rule"):
        assert orange[name] == given[name]
    assert orange["since"] == "2026-09-21T14:13:20.000+00:00"
    assert orange["points"][1] == {"signal": "weight", "t": "2026-09-21T14:13:20.000+00:00", "value": 82.4}


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, "–"),
        (0, "0 min"),
        (59_999, "0 min"),
        (-1, "-1 min"),
        (-60_000, "-1 min"),
        (-60_001, "-2 min"),
        (61 * MINUTE, "1 h 01"),
        (-25 * 60 * MINUTE, "-1 j 1 h"),
    ],
)
def test_time_left(left, said):
    assert view.time_left(left) == said


def test_since_says_the_day_when_it_is_not_today():
    assert view.since(T0, T0 + MINUTE, PARIS) == "16:13"
    assert view.since(T0, T0 + 24 * 60 * MINUTE, PARIS) == "21/09 16:13"
    assert view.since(T0, T0 + 365 * 24 * 60 * MINUTE, PARIS) == "21/09/2026 16:13"


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([None, float("nan")], ""),
        ([5.0, 5.0], "▄▄"),
        ([0.0, None, 7.0], "▁ █"),
        ([float(i) for i in range(20)], "▁▂▂▃▃▄▄▅▅▆▆▇▇█"),
    ],
)
def test_spark(values, bars):
    assert view.spark(values) == bars
