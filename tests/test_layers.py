"""CONTRIBUTING's picture of the rooms is the contract that `make lint` checks: nine layers, every room in one of them."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def contract():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = config["contracts"][0]["layers"]
    return [[name.strip().removeprefix("undrift.") for name in re.split("[:|]", layer)] for layer in layers]


def picture():
    """The names of each line; a line that goes on has no sentence behind it."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = text[text.index("    cli  ") : text.index("A line may import those below it")]
    found = []
    for line in block.splitlines():
        if not line.strip():
            continue
        names, _, said = line.strip().partition("  ")
        row = [name for name in names.strip().split(", ") if name]
        if said or not found:
            found.append(row)
        else:
            found[-1] += row
    return [[name.strip(",") for name in row] for row in found]


def test_there_are_nine_layers_and_the_picture_shows_them():
    assert len(contract()) == 9
    assert picture() == contract()


def test_every_room_is_in_a_layer():
    source = ROOT / "src" / "undrift"
    rooms = {
        p.stem for p in source.iterdir() if (p.suffix == ".py" or (p / "__init__.py").is_file()) and not p.stem.startswith("__")
    }
    assert rooms == {name for layer in contract() for name in layer}
