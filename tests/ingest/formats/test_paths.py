"""What a path is: by its name, and a log by its first bytes or what stands beside them."""

import sqlite3

from ingest.formats import find_paths, kind_of_path
from ingest.formats.paths import PathKind
from ingest.log import Log


def test_a_log_that_is_young_and_in_use_is_known_by_what_stands_beside_it(tmp_path):
    """Its first page is in the WAL alone until that is copied back."""
    with Log.open(tmp_path / "log") as log:
        log.append("home", b"", 1).result(10)
        start = (tmp_path / "log").read_bytes()[:72]
        assert not any(start[68:72])
        assert kind_of_path(tmp_path / "log") is PathKind.LOG
        assert find_paths([tmp_path / "log"]).logs == [tmp_path / "log"]
    other = sqlite3.connect(tmp_path / "other")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE x (y)")
    assert kind_of_path(tmp_path / "other") is None
    other.close()
