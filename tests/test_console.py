"""Text for people: no name forges a line or steers the terminal, and a reader that goes away is no error."""

import io
import json
import os
import subprocess
import sys

import pytest

from conftest import undrift
from undrift.console import Bare, Guarded, Terminal

EVIL = "cat\x1b]0;owned\x07\nundrift: forged"


def test_control_characters_are_written_out():
    stream = io.StringIO()
    guarded = Guarded(stream)
    assert guarded.write("a\tb\n\x1b[2J\x07") == 9
    assert stream.getvalue() == "a\tb\n\\x1b[2J\\x07"
    guarded.bare.write("\x1b[1m")
    assert stream.getvalue().endswith("\x1b[1m")


def test_a_console_writes_them_out_too():
    stream = io.StringIO()
    Terminal(stderr=False, force_terminal=True, width=80).file = None  # may be set, as rich does
    console = Terminal()
    console.file = stream
    console.print("a\x1b[31mb [bold]c")
    assert stream.getvalue() == "a\\x1b[31mb [bold]c\n"


def test_an_alphabet_that_the_terminal_does_not_have():
    raw = io.BytesIO()
    stream = Bare(io.TextIOWrapper(raw, "ascii"))
    stream.write("é")
    stream.flush()
    assert raw.getvalue() == b"\\xe9"


@pytest.mark.parametrize("change", [
    lambda told: told["spec"]["classes"].__setitem__(3, EVIL), lambda told: told["trained"].update(data=EVIL),
    lambda told: told["trained"].update(recipe=EVIL), lambda told: told.update(target=EVIL),
])  # fmt: skip
def test_a_model_whose_words_steer_the_terminal_is_refused(copied_run, change, capsys):
    path = copied_run / "model.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    code, out, err = undrift("info", copied_run, capsys=capsys)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "control characters" in err and "\x1b" not in err


def test_words_of_a_log_and_of_the_command_line_are_harmless(copied_run, tmp_path, capsys):
    with open(copied_run / "log.jsonl", "a") as log:
        log.write(json.dumps({"step": 26, "ended": EVIL}) + "\n")
    code, out, _ = undrift("status", copied_run, capsys=capsys)
    assert code == 0 and "owned" not in out
    code, _, err = undrift("sample", copied_run, "--class", "x\x1b[2J", capsys=capsys)
    assert code == 2 and "\x1b" not in err and err.count("\n") == 1
    odd = copied_run.rename(tmp_path / "run\x1b[2J")
    code, out, err = undrift("info", odd, capsys=capsys)
    assert (code, err) == (0, "") and "\x1b" not in out and "run\\x1b[2J" in out


def run(command, **options):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=env, **options)


def test_a_reader_that_goes_away_is_no_error(tiny_run, tmp_path):
    me = f"{sys.executable} -m undrift"
    done = run(f"{me} status {tiny_run} | head -1")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1
    few = "steps=6 data.n=100 network.width=8 network.depth=1 sample_every=0 monitor_every=0 quality_every=0 device=cpu"
    done = run(f"{me} train toy {few} --out {tmp_path / 'run'} | true")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "model.json").is_file()  # it was trained to its end


CLOSED = [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("how", CLOSED)
def test_a_command_works_without_standard_streams(how, tiny_run, tmp_path):
    """As a daemon starts it; and nothing of what is printed gets into a file that was opened in the place of one."""
    me = f"{sys.executable} -m undrift"
    done = run(f"{me} sample {tiny_run} -n 4 --steps 2 --out {tmp_path / 'e.png'} --npz {tmp_path / 'e.npz'} {how}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "e.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / "e.npz").read_bytes()[:2] == b"PK"
    for words, code in (("--help", 0), (f"info {tmp_path}", 2)):
        done = run(f"{me} {words} {how}")
        assert done.returncode == code and "Error" not in done.stderr, done.stderr


@pytest.mark.parametrize("how", [">&-", "<&- >&- 2>&-"])
def test_a_training_without_standard_streams(how, tmp_path):
    few = "steps=6 data.n=100 network.width=8 network.depth=1 sample_every=0 monitor_every=0 quality_every=0 device=cpu"
    done = run(f"{sys.executable} -m undrift train toy {few} --out {tmp_path / 'run'} {how}")
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert records and (tmp_path / "run" / "model.json").is_file()


@pytest.mark.parametrize("words", ["--help", "--version", "train --help", "sample --help", "train list"])
def test_a_full_disk_behind_standard_output_is_one_line(words):
    done = run(f"{sys.executable} -m undrift {words} > /dev/full")
    assert (done.returncode, done.stderr) == (2, "undrift: standard output: No space left on device\n")
    assert run(f"{sys.executable} -m undrift nonsense 2> /dev/full").returncode == 2
