"""A network in parts, held by two real processes: the training of one that has all of it, in files that belong to no number of processes."""

import signal
import time

import numpy as np
import pytest
import torch

from conftest import undrift
from several import TRAIN, assert_well, command, ended, log, losses
from undrift.error import RecipeError
from undrift.recipe.read import load_recipe
from undrift.run.groups import read_groups
from undrift.run.power_averages import snapshot_paths
from undrift.training.checkpoint import path_of, steps_of

DIGITS = [
    "train", "digits", "network.kind=unet", "network.widths=[8,16]", "network.blocks=1", "network.attention=[1]",
    "network.embedding=32", "batch_size=24", "monitor_every=6", "monitor_examples=48", "quality_every=18", "sample_every=18",
    "checkpoint_every=6", "keep=9", "warmup=5", "decay_from=1", "log_every=1", "device=cpu",
]  # fmt: skip


def digits(n, out, *options):
    """So many processes that train one run."""
    return command(n, *DIGITS, "--out", out, *options)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Eighteen steps by one process that has all of the network."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert_well(ended(digits(1, out, "steps=18")))
    return out


def assert_same_run(out, alone):
    """Loss, norms, looks and the figure of quality; weights, moments and averages; snapshots: to rounding."""
    np.testing.assert_allclose(losses(out), losses(alone), rtol=2e-4)  # a batch of the wrong noise is off by tenths
    for key in ("grad_norm", "weight_norm", "held_out", "held_out_raw", "class_gain"):
        ours, theirs = ([r[key] for r in log(o) if key in r] for o in (out, alone))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    [[ours], [theirs]] = [[r["quality"]["energy_distance"] for r in log(o) if "quality" in r] for o in (out, alone)]
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert steps_of(out) == steps_of(alone) == [6, 12, 18]
    assert snapshot_paths(out).keys() == snapshot_paths(alone).keys() == {16}
    pairs = [(path_of(o, 18) for o in (out, alone)), (snapshot_paths(o)[16] for o in (out, alone))]
    for pair in pairs:
        (ours, about), (theirs, also) = map(read_groups, pair)
        assert about["step"] == also["step"] and ours.keys() == theirs.keys()
        for group in theirs:
            assert ours[group].keys() == theirs[group].keys()
            for name, tensor in theirs[group].items():
                torch.testing.assert_close(ours[group][name], tensor, rtol=5e-3, atol=2e-4)
    assert (out / "model.safetensors").stat().st_size == (alone / "model.safetensors").stat().st_size
    assert len(list((out / "samples").glob("step-*.png"))) == 1


def test_a_network_in_parts_follows_the_curve_of_a_whole_one(alone, tmp_path, capsys):
    out = tmp_path / "run"
    first, second = ended(digits(2, out, "steps=18", "shard=true", "accumulate=2", "recompute=true"))
    assert (first[0], first[2], second) == (0, "", (0, "", ""))  # one of them speaks
    assert "2 processes" in first[1]
    assert_same_run(out, alone)
    code, _, error = undrift("sample", out, "-n", 4, "--steps", 2, "--npz", tmp_path / "x.npz", capsys=capsys)
    assert (code, error) == (0, "")


def test_parts_are_taken_up_by_any_number_of_processes(alone, tmp_path):
    """Two, one and three: of some tensors the third has no row."""
    out = tmp_path / "run"
    for n, steps in ((2, 6), (1, 12), (3, 18)):
        assert_well(ended(digits(n, out, f"steps={steps}", "shard=true")))
    log_of_ends = [r for r in log(out) if "quality" in r]
    assert len(log_of_ends) == 1
    (out / "samples" / "step-0000006.png").unlink()
    (out / "samples" / "step-0000012.png").unlink()
    assert_same_run(out, alone)


HELD = """
import sys
from pathlib import Path
from undrift.recipe.read import parse_overrides
from undrift.distributed.processes import joined
from undrift.training.setup import plan, prepare
with joined() as processes:
    recipe = plan("digits", parse_overrides(sys.argv[2:]), Path("nowhere"), False)[0]
    trainer, *_ = prepare(recipe, Path(sys.argv[1]) / str(processes.rank), processes=processes)
    trainer.step(0, 1e-3)
    part = lambda t: getattr(t, "to_local", lambda: t)().numel()
    lists = [list(trainer.denoiser.parameters()), [p.grad for p in trainer.denoiser.parameters()]]
    lists += [[s[k] for s in trainer.optimizer.state.values()] for k in ("exp_avg", "exp_avg_sq")]
    lists += [list(a.weights.values()) for a in trainer.averages.values()]
    found = [trainer.model.parameters, *(sum(map(part, tensors)) for tensors in lists)]
print(*found)
"""


def test_each_process_holds_its_part_and_no_more(tmp_path):
    words = [word for word in DIGITS[2:] if "kind" not in word]
    ends = ended(command(2, tmp_path, *words, "network.kind=unet", "steps=5", "shard=true", program=("-c", HELD)))
    assert_well(ends)
    (all_of_it, *one), (also, *other) = [list(map(int, said.split())) for _, said, _ in ends]
    assert all_of_it == also and len(one) == 7  # weights, gradients, two moments, three averages
    for a, b in zip(one, other, strict=True):
        assert a + b == all_of_it
        assert max(a, b) < 0.55 * all_of_it


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_and_it_goes_on(victim, tmp_path, capsys):
    out = tmp_path / "run"
    words = [*TRAIN, "--out", out, "checkpoint_every=10", "shard=true"]
    started = command(2, *words, "steps=1000000")
    try:
        until = time.monotonic() + 200
        while len(steps_of(out)) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        started[victim].send_signal(signal.SIGKILL)
        code, _, error = ended(started)[1 - victim]
    finally:
        for process in started:
            process.kill()
    assert code == 2
    assert error.startswith("undrift: another process of this run is gone") and error.count("\n") == 1
    reached = steps_of(out)[-1]
    if victim == 1:
        assert f"saved at step {reached}" in error  # its parts went with it, so this is the last state
    code, said, error = undrift(*words, f"steps={reached + 5}", capsys=capsys)
    assert (code, error) == (0, "")
    assert f"going on at step {reached}" in said


def test_what_goes_wrong_is_traced_and_said_once(tmp_path):
    words = [*TRAIN, "--out", tmp_path / "run", "shard=true", "learning_rate=1e12", "steps=50", "clip=1e30", "warmup=0"]
    first, second = ended(command(2, *words))
    assert first[0] == second[0] == 2 and second[1:] == ("", "")
    assert "worst at log-SNR" in first[2] and first[2].count("\n") == 1


FULL = """
import resource
from undrift.cli import run
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
run()
"""


def test_a_full_disk_is_one_line(tmp_path):
    words = [*TRAIN, "--out", tmp_path / "run", "shard=true", "steps=20", "checkpoint_every=10", "snapshots=0"]
    first, second = ended(command(2, *words, program=("-c", FULL)))
    assert first[0] == second[0] == 2 and second[1:] == ("", "")
    assert "no state was written yet" in first[2] and first[2].count("\n") == 1
    assert not list((tmp_path / "run" / "state").iterdir())


@pytest.mark.parametrize(("words", "message"), [
    ({"objective.kind": "implicit"}, "shard=true does not go with objective.kind=implicit"),
    ({"network.kind": "mlp", "network.energy": True}, "shard=true does not go with network.energy"),
    ({"compile": True}, "exclude each other"),
])  # fmt: skip
def test_what_parts_cannot_do_is_refused(words, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("toy", {"shard": True, **words})
