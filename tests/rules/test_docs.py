"""What docs/protocols.md shows is true."""

import re
from pathlib import Path

import pytest

from rules.limits import LimitBook

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")


def test_the_example_loads(world):
    (example,) = re.findall(r"```toml\n(id = .*?)```", PAGE, re.DOTALL)
    protocol = world.loads(example)
    assert protocol.rule("weight_gain").level.name == "ORANGE"


def test_the_example_of_a_mistake_is_what_is_said(world):
    (example,) = re.findall(r"```toml\n(id = .*?)```", PAGE, re.DOTALL)
    with pytest.raises(ValueError, match="gian_3d") as caught:
        world.loads(example.replace("gain_3d >= gain_3d_kg", "gian_3d >= gain_3d_kg"), "poids.toml")
    assert str(caught.value) in PAGE


def test_the_example_of_a_limit_is_legal(shipped):
    (example,) = re.findall(r"```toml\n(\[\[patient\]\].*?)\n\[\[cell", PAGE, re.DOTALL)
    if shipped.id == "insuffisance_cardiaque":
        book = LimitBook.loads(example, "limites.toml", [shipped])
        assert book.resolve(shipped.id, "dry_weight_kg", None, "P0001")[0] == 74.5


def test_every_statistic_and_parameter_is_in_the_table(world):
    rows = {}
    for row in PAGE[PAGE.index("## Statistics") :].split("\n## ")[0].splitlines():
        if row.startswith("| `"):
            cells = row.strip("|").split(" | ")
            for name in re.findall(r"`(\w+)`", cells[0]):
                rows[name] = set(re.findall(r"`(\w+)`", cells[-1]))
    assert set(rows) == set(world.statistics)
    for name, statistic in world.statistics.items():
        assert rows[name] - {"limit"} == {parameter.name for parameter in statistic.parameters}, name
