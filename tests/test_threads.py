"""Threads of the CPU: the command line lets them spin only briefly, and how many there are belongs to a run."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml

import undrift as ud
from undrift import threads
from undrift.cli import main

PLAIN = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}


def policy_seen_by_torch(**given):
    """What OpenMP says that it goes by, when a command has loaded torch."""
    words = [sys.executable, "-c", "from undrift.cli import main; main(['train', 'toy', 'steps=0.5'])"]
    done = subprocess.run(words, capture_output=True, text=True, env={**PLAIN, **given, "OMP_DISPLAY_ENV": "VERBOSE"})
    lines = [line.strip().removeprefix("[host] ") for line in done.stderr.splitlines()]
    return [line for line in lines if line.startswith(("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))]


def test_the_command_line_spins_briefly_unless_the_user_says_otherwise():
    assert "GOMP_SPINCOUNT = '4000'" in policy_seen_by_torch()
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in policy_seen_by_torch(OMP_WAIT_POLICY="ACTIVE")
    assert "GOMP_SPINCOUNT = '4000'" not in policy_seen_by_torch(OMP_WAIT_POLICY="PASSIVE")


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_whoever_has_chosen_how_to_wait_is_left_alone(name, monkeypatch):
    for other in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "200")
    assert not threads.spin_briefly()
    assert {k: v for k, v in os.environ.items() if k.endswith(("_POLICY", "SPINCOUNT", "BLOCKTIME"))} == {name: "200"}


@pytest.fixture
def two(monkeypatch):
    """Two threads, on a machine of two cores that nobody else wants."""
    monkeypatch.setattr(threads, "_others", lambda: 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_advice_only_where_torch_would_spin_others_away(two, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(threads, "_others", lambda: 1)
    assert "set GOMP_SPINCOUNT=4000 before Python is started" in threads.advice()
    monkeypatch.setattr(threads, "_others", lambda: 0)
    assert threads.advice() == ""
    monkeypatch.setattr(threads, "_others", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert threads.advice() == ""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert threads.advice() == ""


def test_a_run_begins_with_the_cores_that_nobody_else_wants(two, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for others, count in ((0, 2), (1, 1), (5, 1)):
        monkeypatch.setattr(threads, "_others", lambda others=others: others)
        assert threads.as_begun(None, None) == count
        assert threads.as_begun(2, None) == 2 and threads.as_begun(None, 2) == 2  # as asked, and as it began
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.as_begun(None, None) == 2


def test_others_are_those_that_want_a_core_now():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        assert threads._others() >= 2
    finally:
        for one in busy:
            one.kill()
            one.wait()


def test_the_number_of_threads_belongs_to_the_run(two, tmp_path, monkeypatch, capsys):
    run, seen = tmp_path / "run", []
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = ["train", "toy", "--out", str(run), "monitor_every=0", "quality_every=0", "sample_every=0", "log_every=1"]
    assert main([*words, "steps=2"]) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["threads"] == 2
    torch.set_num_threads(1)
    step = ud.training.trainer.Trainer.step
    monkeypatch.setattr(ud.training.trainer.Trainer, "step", lambda *given: seen.append(torch.get_num_threads()) or step(*given))
    capsys.readouterr()
    assert main([*words, "steps=3"]) == 0
    assert "threads is now" not in capsys.readouterr().out and seen == [2], "as it began"
    assert torch.get_num_threads() == 1, "afterwards as before"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main([*words, "steps=4"]) == 0
    assert "threads is now 1 (was 2): sums are rounded otherwise" in capsys.readouterr().out and seen == [2, 1], (
        "the environment goes first"
    )
    assert main([*words, "steps=5", "threads=2"]) == 0
    assert "threads is now 2 (was 1)" in capsys.readouterr().out and seen == [2, 1, 2], "and what is asked before that"


def test_a_training_from_python_goes_on_with_the_threads_that_it_began_with(two, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    data, keys = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)), {"folder": tmp_path / "run", "progress": False}
    ud.fit(ud.nn.MLP((2,), width=8), data, steps=2, **keys)
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["threads"] == 2
    torch.set_num_threads(1)
    seen = []
    ud.fit(ud.nn.MLP((2,), width=8), data, steps=4, callback=lambda report: seen.append(torch.get_num_threads()), **keys)
    assert seen == [2, 2] and torch.get_num_threads() == 1


def test_a_number_of_threads_that_makes_no_sense(tmp_path, capsys):
    assert main(["train", "toy", "--out", str(tmp_path / "run"), "threads=0"]) == 2
    assert "threads" in capsys.readouterr().err
    with pytest.raises(ValueError, match="threads"):
        ud.Settings(steps=1, threads=0)
