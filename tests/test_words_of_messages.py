"""A message names what can be typed where it is read: arguments in Python, options at the command line."""

import pytest

import undrift as ud
from conftest import undrift

SHORT = {"steps": 2, "monitor_every": 0, "quality_every": 0, "sample_every": 0}


def test_the_same_fault_in_python_and_at_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    ud.train("toy", SHORT, out=out)
    with pytest.raises(ud.UndriftError, match="choose another out, or fresh=True to put") as found:
        ud.train("digits", SHORT, out=out)
    assert "--" not in str(found.value)
    code, _, said = undrift("train", "digits", "steps=2", "--out", str(out), capsys=capsys)
    assert code == 2 and "choose another --out, or --fresh to put" in said


@pytest.mark.parametrize(
    ("at_the_command_line", "in_python"),
    {
        "give its own --data-dir": "give its own data_dir",
        "train one with `undrift train digits --out a`": "train one with `undrift train digits --out a`",
        "well--known": "well--known",
        "-n 5: 5 examples are too few": "n=5: 5 examples are too few",
    }.items(),
)
def test_options_become_arguments_outside_commands(at_the_command_line, in_python):
    assert ud.synonyms.python_words(at_the_command_line) == in_python
