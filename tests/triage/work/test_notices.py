"""Notices, and the engine's rows, are read by rising number: none is missed, whichever writer commits first."""

import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import DATABASES, make_frame, make_row
from sqlalchemy import event, text

from triage import database, store
from triage.work import lists, notices
from triage.work.desk import Desk

servers = pytest.mark.parametrize("url", [each for each in DATABASES if each == "postgresql"], indirect=True)


class Held:
    """A writer of its own connection that stands still right before it commits."""

    def __init__(self, engine, work):
        self.reached, self.free = threading.Event(), threading.Event()
        self.failed = None
        event.listen(engine, "commit", self._commit)

        def run():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - raised again by `end`
                self.failed = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert self.reached.wait(30)

    def _commit(self, _connection):
        self.reached.set()
        assert self.free.wait(60)

    def end(self):
        self.free.set()
        self.thread.join()
        if self.failed is not None:
            raise self.failed


@contextmanager
def overtaken(url, work, other):
    """Let `work(queue)` stand before its commit while `other(queue)`, of another process's pool, wants to commit.

    Within the block `other` has committed, or it waits for the first; after it both are done.
    """
    with store.open(url) as first, store.open(url) as second, store.open(url) as looking:
        held = Held(first.engine, lambda: work(first))
        quick = threading.Thread(target=other, args=(second,))
        quick.start()
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while quick.is_alive():
            with looking.engine.connect() as connection:
                if connection.scalar(waiting):
                    break
            time.sleep(0.01)
        yield
        held.end()
        quick.join()


@servers
def test_rows_of_two_writers_are_all_read(url):
    with store.open(url) as queue:
        mark, read = 0, []

        def look():
            nonlocal mark
            newest = lists.newest(queue.engine)
            read.extend(lists.changed_since(queue.engine, mark))
            mark = newest

        rows = [make_row(patient=f"p{i}", problem=f"x{i}", alert_id=f"{i:016x}") for i in range(2)]
        with overtaken(
            url, lambda it: it.apply(make_frame(rows[0])), lambda it: it.apply(make_frame(rows[1]))
        ):
            look()
        look()
        assert sorted(set(read)) == [row["alert_id"] for row in rows]


@servers
def test_notices_of_two_writers_are_all_read_once(url):
    with store.open(url) as queue:
        rows = [make_row(patient=f"p{i}", problem=f"x{i}", alert_id=f"{i:016x}") for i in range(2)]
        queue.apply(make_frame(*rows))
        for row in rows:
            Desk(queue.engine).claim(row["alert_id"], "marie")
        mark, read = 0, []

        def look():
            nonlocal mark
            newest = notices.newest(queue.engine)
            found = notices.since(queue.engine, mark, account="marie", role="nurse", cells=None, until=newest)
            read.extend((each["episode_id"], each["kind"]) for each in found)
            mark = newest

        worse = make_frame(rows[0] | {"level": "ROUGE", "kind": "raised", "t_ms": rows[0]["t_ms"] + 1})
        with overtaken(
            url,
            lambda it: it.apply(worse),
            lambda it: Desk(it.engine).claim(rows[1]["alert_id"], "paul", over=True),
        ):
            look()
        look()
        assert sorted(read) == [(rows[0]["alert_id"], "worse"), (rows[1]["alert_id"], "taken over")]


@servers
def test_a_writer_that_stands_still_is_cut_off_in_the_end(url):
    asked = text("SHOW idle_in_transaction_session_timeout")
    with store.open(url) as queue:
        with database.writing(queue.engine) as connection:
            assert connection.scalar(asked) == f"{database.STALLED_S}s"
        with queue.engine.connect() as connection:
            assert connection.scalar(asked) == "0"
