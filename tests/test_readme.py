"""The README's Python and command lines run as printed, on a tiny model."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from undrift.cli.parser import parse
from undrift.recipe.read import load_recipe, parse_overrides

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs" / "command_line.md").read_text()


def blocks(language, text=README):
    """The fenced blocks of one language: every second piece between fences is a block."""
    pieces = re.split(r"^```(\w*)\n", text, flags=re.MULTILINE)
    fences = zip(pieces[1::4], pieces[2::4], strict=False)  # opening fence, block, closing fence, prose, ...
    return [block for name, block in fences if name == language]


def test_python_blocks_run(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run, tmp_path / "runs" / "digits")
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["sevens"].shape == (16, 1, 8, 8)
    assert names["points"].shape == names["score"].shape == (1000, 2) and (tmp_path / "sevens.png").is_file()


def test_the_order_of_the_readme():
    places = [
        README.index(word)
        for word in ("undrift is a", "![", "make demo", "```python", "undrift train digits", "Where to go next")
    ]
    assert places == sorted(places)


SHOWN = [*blocks(""), *blocks("", COMMANDS)]
LINES = [shlex.split(line.split("#")[0]) for block in SHOWN for line in block.splitlines() if line.startswith("undrift ")]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_command_lines_are_understood(words):
    arguments = parse(words[1:])
    if arguments.command == "train":
        load_recipe(arguments.recipe, parse_overrides(arguments.overrides))


def test_every_command_is_shown():
    from undrift.cli.command import commands

    assert {words[1] for words in LINES} == set(commands()) - {"demo"}  # which `make demo` is


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), link


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_no_placeholders_are_left():
    assert not re.search(r"\| *[A-Z_]{4,} *\|", README)
