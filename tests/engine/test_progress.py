"""Progress: lines that a log can hold, a bar where somebody looks."""

import io
import re

import pytest

from engine import progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_lines_come_at_the_beginning_every_few_seconds_and_at_the_end():
    out, clock = io.StringIO(), Clock()
    with progress.Lines(out, every_s=5, clock=clock) as told:
        told.step("read", 4000, "rows")
        for _ in range(4):
            clock.now += 2.5
            told.advance(1000)
        told.note("one file was empty")
        told.step("count")
        told.advance()
    assert out.getvalue().splitlines() == [
        "read ...",
        "read: 2,000 of 4,000 rows (50 %)",
        "read: 4,000 of 4,000 rows (100 %)",
        "one file was empty",
        "read: done, 4,000 of 4,000 rows (100 %) in 10.0 s",
        "count ...",
        "count: done, 1 in 0.0 s",
    ]


def test_what_fails_does_not_say_that_it_is_done():
    out = io.StringIO()
    told = progress.Lines(out)
    told.step("read", 10)
    with pytest.raises(ZeroDivisionError), told:
        1 / 0  # noqa: B018
    assert "done" not in out.getvalue()


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    with progress.watched(terminal) as told:
        told.step("read", 10, "rows")
        told.advance(10)
        told.note("[that] was all")
        told.step("unknown length")
        told.advance()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "10/10 rows" in shown
    assert "[that] was all" in shown


def test_what_is_no_terminal_gets_lines():
    out = io.StringIO()
    with progress.watched(out) as told:
        told.step("read")
    assert "read: done" in out.getvalue()


def test_silence():
    progress.SILENT.step("read")
    progress.SILENT.advance()
    progress.SILENT.note("nothing")
