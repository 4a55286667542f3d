"""A new command is one new file, and nothing else."""

import subprocess
import sys

import pytest

from conftest import refused, undrift
from undrift.cli import command
from undrift.cli.command import commands

HELLO = '''"""Greet a person.

As often as is asked for.
"""

from undrift.cli.types import name, whole
from undrift.error import UndriftError


def grammar(parser):
    parser.add_argument("person", type=name, help="who")
    parser.add_argument("-n", type=whole, default=1, help="how often")


def run(arguments, started):
    if arguments.n < 1:
        raise UndriftError(f"-n {arguments.n}: greet at least once")
    print(*["hello", arguments.person] * arguments.n)
'''


@pytest.fixture
def hello(tmp_path, monkeypatch):
    (tmp_path / "hello_you.py").write_text(HELLO)
    monkeypatch.setattr(command, "__path__", [*command.__path__, str(tmp_path)])
    yield
    sys.modules.pop("undrift.cli.command.hello_you", None)


def test_a_command_is_one_file(hello, tmp_path, capsys):
    assert undrift("hello-you", "Ada", "-n", 2, capsys=capsys) == (0, "hello Ada hello Ada\n", "")
    assert "Greet a person." in undrift("--help", capsys=capsys)[1]
    help_of_it = undrift("hello-you", "--help", capsys=capsys)[1]
    assert all(
        words in help_of_it for words in ("Greet a person. As often as is asked for.", "how often", "usage: undrift hello-you")
    )
    refused(("hello-you", "Ada", "-n", 0), "-n 0: greet at least once", tmp_path, capsys)
    refused(("hello-you", "Ada", "--num-samples", 3), 'did you mean "-n 3"?', tmp_path, capsys)
    refused(("helo-you",), 'did you mean "hello-you"?', tmp_path, capsys)


def test_every_command_says_in_one_sentence_what_it_is_for():
    for name, module in commands().items():
        first, *rest = module.__doc__.strip().split("\n")
        assert first.endswith(".") and first[0].isupper() and len(first) < 80, name
        assert not rest or rest[0] == "", name
        assert callable(module.grammar) and callable(module.run)


@pytest.mark.parametrize("name", commands())
def test_the_help_of_a_command_loads_neither_torch_nor_numpy(name):
    code = (
        f"import sys; from undrift.cli import main\ntry: main([{name!r}, '--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "pydantic", "rich", "PIL"} & set(out.splitlines()[-1].split())
    assert f"usage: undrift {name}" in out
