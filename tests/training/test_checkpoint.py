"""States: whole or not there, kept in turn, and the one before where the newest is not what was written."""

import errno
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file

import undrift as ud
from conftest import undrift
from undrift import tensorfile
from undrift.error import ModelError, OutputError
from undrift.run.groups import read_groups, write_groups
from undrift.run.log import Log, line, parse, read_log
from undrift.training.checkpoint import Damaged, Progress, path_of, rotate, steps_of
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare

SMALL = {
    "network": {"kind": "mlp", "width": 16, "depth": 1}, "steps": 30, "batch_size": 32, "sample_every": 0, "quality_every": 0,
    "monitor_every": 5, "monitor_examples": 32, "checkpoint_every": 7, "log_every": 5, "data.n": 500, "device": "cpu", "keep": 3,
}  # fmt: skip


def trained(folder, console=None, **overrides):
    train_run("toy", {**SMALL, **overrides}, folder, False, console or Console(quiet=True), time.perf_counter())
    return folder


def told(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_three_kills_and_the_same_bit_for_bit():
    script = Path(__file__).parents[2] / "bench" / "kill.py"
    words = [sys.executable, str(script), "--kills", "3", "--steps", "60", "--recipe", "toy"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills, 1 of them while a state was being written" in done.stdout
    assert "the same bit for bit" in done.stdout


def test_what_was_written_is_what_is_read(tmp_path):
    groups = {"raw": {"a.b": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}, "ema": {"a.b": torch.zeros(2).bfloat16()}}
    write_groups(tmp_path / "x.safetensors", groups, {"step": 4, "loss": math.inf})
    back, facts = read_groups(tmp_path / "x.safetensors")
    assert facts == {"step": 4, "loss": math.inf}
    assert all(torch.equal(back[g][k], groups[g][k]) for g in groups for k in groups[g])
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_any_flipped_bit_is_noticed(tmp_path):
    """Every 7th byte of the file in turn, weights and header alike: never other content without a word."""
    path = tmp_path / "x.safetensors"
    groups = {"raw": {"w": torch.linspace(-1, 1, 8)}, "ema": {"w": torch.linspace(0, 1, 8)}}
    write_groups(path, groups, {"step": 4})
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            back, facts = read_groups(path)
        except Damaged:
            noticed += 1
        else:  # a blank of the header's padding, say
            assert facts == {"step": 4} and all(torch.equal(back[g]["w"], groups[g]["w"]) for g in groups)
    assert noticed > 0.8 * len(whole) / 7


def test_a_write_that_does_not_read_back_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_groups(path, {"raw": {"w": torch.ones(3)}}, {})

    write = tensorfile.write_tensors

    def wrong(target, tensors, facts, whole):
        mark = write(target, tensors, facts, whole)
        raw = target.read_bytes()
        target.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        return mark

    monkeypatch.setattr(tensorfile, "write_tensors", wrong)
    with pytest.raises(OutputError, match="does not read back as it was written"):
        write_groups(path, {"raw": {"w": torch.zeros(3)}}, {})
    assert torch.equal(read_groups(path)[0]["raw"]["w"], torch.ones(3))


def test_states_are_kept_in_turn_and_the_best_as_well(tmp_path):
    for step in (5, 10, 15, 20):
        write_groups(path_of(tmp_path, step), {"raw": {}}, vars(Progress(step)))
    rotate(tmp_path, 2, best=5)
    assert steps_of(tmp_path) == [5, 15, 20]
    rotate(tmp_path, 1, best=None)
    assert steps_of(tmp_path) == [20]


def test_the_best_state_of_a_run_is_that_with_the_lowest_held_out_loss(tmp_path):
    folder = trained(tmp_path / "run", steps=84, learning_rate=0.05, keep=1)
    seen = {r["step"]: r["held_out"] for r in read_log(folder) if "held_out" in r and (r["step"] % 7 == 0 or r["step"] == 84)}
    best = min(seen, key=seen.get)
    assert best != 84, "the rate is to be so high that the end is not the best; choose another"
    assert steps_of(folder) == [best, 84]


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-50], lambda b: b"\x80\x04nonsense", lambda b: b"", lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]],
    ids=["truncated", "nonsense", "empty", "one bit"],
)
def test_a_damaged_state_is_passed_over_and_nothing_is_lost(tmp_path, damage, capsys):
    whole, folder = trained(tmp_path / "whole", steps=40), trained(tmp_path / "run")
    state = path_of(folder, 30)
    state.write_bytes(damage(state.read_bytes()))
    trained(folder, Console(width=500), steps=40)
    said = told(capsys)
    assert "step-00000030.safetensors is damaged" in said and "going on from the state of step 28" in said
    assert "going on at step 28" in said
    assert state.with_suffix(".damaged").is_file()
    a, b = read_groups(path_of(folder, 40))[0], read_groups(path_of(whole, 40))[0]
    # Not the same bit for bit: the rate of steps 0 to 28 was that of the shorter schedule.
    assert a.keys() == b.keys() and ud.load(folder).trained["steps"] == 40


def test_a_missing_state_is_said(tmp_path, capsys):
    folder = trained(tmp_path / "run")
    path_of(folder, 30).unlink()
    trained(folder, Console(width=500))
    assert "the newest state is gone: the model is of step 30; going on from the state of step 28" in told(capsys)
    whole = load_file(trained(tmp_path / "whole") / "model.safetensors")
    again = load_file(folder / "model.safetensors")
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_no_state_at_all_is_said_and_the_model_is_kept(tmp_path):
    folder = trained(tmp_path / "run")
    for step in steps_of(folder):
        path_of(folder, step).write_bytes(b"")
    with pytest.raises(ModelError, match=r"is damaged.*no other can be used; --fresh"):
        trained(folder)
    with pytest.raises(ModelError, match="holds a model of step 30, but no state to go on from"):
        trained(folder)
    assert ud.load(folder).trained["steps"] == 30


def test_a_state_with_tensors_of_other_types_is_refused(tmp_path):
    """Under a right hash: a state that somebody made. Of each group one tensor, in every type."""
    folder = trained(tmp_path / "run", keep=1, monitor_every=0)
    groups, facts = read_groups(path_of(folder, 30))
    for group, name in (
        ("optimizer", "0.step"),
        ("optimizer", "0.exp_avg"),
        *((g, next(iter(groups[g]))) for g in ("raw", "ema")),
    ):
        for dtype in (torch.int8, torch.int64, torch.bool, torch.bfloat16, torch.float16):
            other = {**groups, group: {**groups[group], name: groups[group][name].to(dtype)}}
            write_groups(path_of(folder, 30), other, facts)
            with pytest.raises(ModelError, match="lacks weights, averages or optimiser slots"):
                trained(folder, steps=31)
            path_of(folder, 30).with_suffix(".damaged").unlink(missing_ok=True)


def test_a_state_without_its_moments_is_refused(tmp_path):
    folder = trained(tmp_path / "run", keep=1, monitor_every=0)
    groups, facts = read_groups(path_of(folder, 30))
    for group, name in (("optimizer", "0.exp_avg"), ("ema", next(iter(groups["ema"])))):
        cut = {g: {k: v for k, v in w.items() if (g, k) != (group, name)} for g, w in groups.items()}
        write_groups(path_of(folder, 30), cut, facts)
        with pytest.raises(ModelError, match="lacks weights, averages or optimiser slots"):
            trained(folder, steps=60, keep=1, monitor_every=0)
    assert path_of(folder, 30).is_file()  # it is whole, only not of this model


def test_a_copy_by_another_name_is_not_gone_on_from(tmp_path, capsys):
    folder = trained(tmp_path / "run")
    raw = path_of(folder, 28).read_bytes()
    for name in ("step-00000030 (copy)", "step-00000099", "average-old"):
        (folder / "state" / f"{name}.safetensors").write_bytes(raw)
    trained(folder, Console(width=500), steps=31)
    assert "step-00000099.safetensors is not the state of step 99" in (said := told(capsys))
    assert "going on at step 30" in said and ud.load(folder).trained["steps"] == 31


def test_a_full_disk_is_said_and_the_last_good_state_is_gone_on_from(tmp_path, monkeypatch):
    folder, whole = tmp_path / "run", trained(tmp_path / "whole")
    write = tensorfile.write_tensors

    def full(target, tensors, facts, whole):
        if "step-00000021" in str(target):
            target.write_bytes(b"half a state")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(target, tensors, facts, whole)

    monkeypatch.setattr(tensorfile, "write_tensors", full)
    message = r"step-00000021.safetensors cannot be written: No space left on device; the state of step 14 is whole.*make room"
    with pytest.raises(OutputError, match=message):
        trained(folder)
    assert not list((folder / "state").glob(".*"))
    monkeypatch.undo()
    trained(folder)
    a, b = load_file(folder / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert [{k: v for k, v in r.items() if k != "clock"} for r in read_log(folder)] == [
        {k: v for k, v in r.items() if k != "clock"} for r in read_log(whole)
    ]


FULL = """
import resource, sys, time
from pathlib import Path
from rich.console import Console
from undrift.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
sys.exit(main(["train", "toy", "steps=30", "data.n=300", "network.width=64", "checkpoint_every=10", "--out", sys.argv[1]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
def test_a_disk_that_is_really_full_is_one_line(tmp_path):
    """The system itself refuses to write more than 9 kB to a file."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot be written" in done.stderr and "no state was written yet" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    folder = trained(tmp_path / "run")

    def denied(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        trained(folder, steps=40)
    monkeypatch.undo()
    assert steps_of(folder)[-1] == 30
    trained(folder, steps=40)
    assert ud.load(folder).trained["steps"] == 40


def test_what_a_killed_session_left_is_swept_up(tmp_path):
    folder = trained(tmp_path / "run")
    left = [folder / "state" / ".step-00000035.safetensors.77.tmp", folder / ".model.safetensors.77.tmp"]
    for path in left:
        path.write_bytes(b"half")
    recipe, _ = plan("toy", {**SMALL, "steps": 40}, folder, False)
    trainer, *_ = prepare(recipe, folder)
    trainer.lock.close()
    assert not any(path.exists() for path in left)


def test_the_log_is_cut_back_to_the_state(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(line({"step": s, "loss": s / 10}) for s in (5, 10, 15, 20)) + '{"step": 25, "lo')
    log = Log(tmp_path, 10)
    assert [r["step"] for r in log.records] == [5, 10] and path.read_text().count("\n") == 2
    log.add({"step": 15, "loss": 1.0})
    assert [r["step"] for r in read_log(tmp_path)] == [5, 10, 15]
    assert parse("nonsense\n[1]\n{}\n") == []


@pytest.mark.parametrize(
    "edited",
    [
        {"loss": "low"}, {"held_out": [1]}, {"levels": 1}, {"levels": [[1, 2]]}, {"levels": [["a", "b", 1, 1, 1, 1]]}, {"floor": 0.1},
        {"quality": 3}, {"quality": {"x": "y"}}, {"diverged": {}}, {"ended": 3}, {"clock": "noon"},
    ],
    ids=str,
)  # fmt: skip
def test_a_log_edited_by_hand_is_read_as_far_as_it_goes(edited, tmp_path, capsys):
    assert parse(line({"step": 3, **edited})) == []
    folder = trained(tmp_path / "run")
    with open(folder / "log.jsonl", "a") as log:
        log.write(line({"step": 30, **edited}))
    code, out, _ = undrift("status", folder, capsys=capsys)
    assert code == 0 and "verdict" in out


def test_the_smoothed_loss_goes_on(tmp_path):
    folder = trained(tmp_path / "run")
    with safe_open(path_of(folder, 30), framework="pt") as file:
        assert '"loss"' in file.metadata()["facts"]
    _, facts = read_groups(path_of(folder, 30))
    logged = [r["loss"] for r in read_log(folder) if r["step"] == 30 and "loss" in r]
    assert logged == [pytest.approx(facts["loss"], rel=1e-5)]
