"""What a card says of a command and of what is read."""

import pytest

from engine.card import input_hash, plain_command
from ingest.log import Log

COMMANDS = {
    "vigie replay /data/year --protocol covidom --out /tmp/x": "vigie replay year --protocol covidom",
    "vigie replay a/ b.csv --out=x --shards 4 --resume --zone Europe/Paris": "vigie replay a b.csv --zone Europe/Paris",
    "vigie backtest c --limit x=1 --kept k --mapping=/m/m.toml": "vigie backtest c --limit x=1 --mapping=m.toml",
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


def test_of_a_log_its_entries_and_not_its_pages(tmp_path):
    for name in ("one", "other"):
        with Log.open(tmp_path / name) as log:
            for k in range(3):
                log.append("gateway", b"body%d" % k, 1_767_600_000_000 + k).result()
    assert input_hash([tmp_path / "one"]) == input_hash([tmp_path / "other"])
