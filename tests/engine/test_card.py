"""What a card says of a command and of what is read."""

import pytest

from engine.card import input_hash, plain_command
from engine.load import load
from engine.replay_input import LogInput
from ingest.log import Log

COMMANDS = {
    "vigie replay /data/year --protocol covidom --out /tmp/x": "vigie replay year --protocol covidom",
    "vigie replay a/ b.csv --out=x --shards 4 --resume --zone Europe/Paris": "vigie replay a b.csv --zone Europe/Paris",
    "vigie backtest c --limit x=1 --kept k --keep 3 --mapping=/m.toml": "vigie backtest c --limit x=1 --mapping=m.toml",
    "vigie replay . --out": "vigie replay .",
}


@pytest.mark.parametrize(("given", "said"), COMMANDS.items())
def test_a_command_without_its_machine(given, said):
    assert plain_command(given.split()) == said


def test_input_is_what_files_hold_in_the_order_in_which_they_are_read(tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text("patient\n1\n")
        (tmp_path / folder / "b.csv").write_text("patient\n2\n")
    one, other = (input_hash([tmp_path / name]) for name in ("one", "other"))
    assert one == other
    assert input_hash([tmp_path / "one" / "b.csv", tmp_path / "one" / "a.csv"]) != one
    (tmp_path / "other" / "b.csv").write_text("patient\n3\n")
    assert input_hash([tmp_path / "other"]) != one


def filled(path, count=3):
    log = Log.open(path)
    for k in range(count):
        log.append("gateway", b"body%d" % k, 1_767_600_000_000 + k).result()
    return log


def content(path, start=None):
    """The hash of a log's input after a replay went through it, or through what is from `start` on."""
    source = LogInput(path, load(["insuffisance_cardiaque"]))
    for _ in source.batches(source.first if start is None else start):
        pass
    said = source.content()
    source.close(remove=False)
    return said


def test_of_a_log_its_entries_wherever_sqlite_has_them(tmp_path):
    filled(tmp_path / "one").close()
    with filled(tmp_path / "other"):
        assert (tmp_path / "other-wal").stat().st_size > 0
        assert content(tmp_path / "other") == content(tmp_path / "one")
    filled(tmp_path / "more", 4).close()
    assert content(tmp_path / "more") != content(tmp_path / "one")


def test_of_a_log_what_was_read_however_much_came_since_and_where_one_began(tmp_path):
    filled(tmp_path / "one").close()
    with filled(tmp_path / "other") as log:
        source = LogInput(tmp_path / "other", load(["insuffisance_cardiaque"]))
        log.append("gateway", b"later", 1_767_700_000_000).result()
        assert sum(len(taken.heard_ms) for taken in source.batches(source.first)) == 3
        assert source.content() == content(tmp_path / "one")
        source.close(remove=False)
    assert content(tmp_path / "one", start=2) == content(tmp_path / "one")
