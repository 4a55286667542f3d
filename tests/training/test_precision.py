"""Sixteen bits: what stays in thirty-two, steps that are skipped, and a scale that is part of the state."""

import math
import time

import numpy as np
import pytest
import torch
from rich.console import Console

from several import assert_well, command, ended
from undrift.error import RecipeError
from undrift.recipe.read import load_recipe, parse_overrides
from undrift.run.groups import read_groups
from undrift.run.log import read_log
from undrift.training.checkpoint import path_of
from undrift.training.divergence import Diverged
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare

TOY = "data.name=mixture data.n=400 network.width=16 network.depth=2 batch_size=40 steps=20 sample_every=0 quality_every=0 device=cpu"
FEW = f"{TOY} batch_size=2 warmup=0 decay_from=1 precision=float16 seed=7"  # so few examples that the first scale, 2^16, overflows: at steps 1 and 10


def trainer_of(folder, words):
    return prepare(plan("toy", parse_overrides(words.split()), folder, False)[0], folder)[0]


def trained(folder, words):
    train_run("toy", parse_overrides(words.split()), folder, False, Console(quiet=True), time.perf_counter())
    return read_log(folder)


def weights(trainer):
    return [p.detach().clone() for p in trainer.denoiser.parameters()]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "objective",
    ["objective.weight=sigma2", "process.kind=ddpm objective.kind=hybrid network.kind=mlp network.learned_variance=true",
     "process.kind=ddpm objective.kind=bound"],
)  # fmt: skip
def test_layers_are_in_sixteen_bits_and_nothing_else(tmp_path, precision, objective):
    trainer = trainer_of(tmp_path / "run", f"{TOY} {objective} precision={precision}")
    seen = set()
    for module in trainer.denoiser.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, given, out: seen.add(out.dtype))
    loss = trainer.losses(0)
    assert seen == {getattr(torch, precision)} and loss.dtype in (torch.float32, torch.float64)
    while not math.isfinite(trainer.step(0, 1e-3)[1]):  # a scale that is too large at first
        assert trainer.precision.skipped
    slots = [v for state in trainer.optimizer.state.values() for v in state.values()]
    grads = [p.grad for p in trainer.denoiser.parameters()]
    averaged = [v for average in trainer.averages.values() for v in average.weights.values()]
    assert {t.dtype for t in [*trainer.denoiser.parameters(), *grads, *slots, *averaged]} == {torch.float32}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_gradient_is_that_of_float32_to_a_hundredth(tmp_path, precision):
    """Also its norm, which is clipped: a scale left in it would be 1,024 times too much."""
    found = {}
    for kind in ("float32", precision):
        trainer = trainer_of(tmp_path / kind, f"{TOY} precision={kind} clip=1e9")
        with torch.no_grad():  # a network that begins at zero has no gradient below its last layer
            trainer.denoiser.net.last.weight.normal_(generator=torch.Generator().manual_seed(0))
        trainer.precision.scaler = trainer.precision.scaler and torch.amp.GradScaler("cpu", init_scale=1024.0)
        found[kind] = trainer.step(0, 1e-3), torch.cat([p.grad.flatten() for p in trainer.denoiser.parameters()])
    (loss, norm), grad = found["float32"]
    (half_loss, half_norm), half_grad = found[precision]
    assert half_loss == pytest.approx(loss, rel=0.01) and half_norm == pytest.approx(norm, rel=0.02)
    assert (half_grad - grad).norm() < 0.02 * grad.norm()


def test_a_step_that_overflows_is_skipped(tmp_path):
    trainer = trainer_of(tmp_path / "run", FEW)
    before, skips = weights(trainer), 0
    for step, report in enumerate(trainer.run()):
        now = weights(trainer)
        if trainer.precision.skipped:
            skips += 1
            assert all(map(torch.equal, before, now))
            assert not math.isfinite(report.grad_norm) and math.isfinite(report.loss)
        else:
            assert not all(map(torch.equal, before, now))
        assert trainer.precision.scaler.get_scale() == 2.0 ** (16 - skips)
        assert trainer.progress.step == step + 1 and trainer.progress.skipped == skips
        before = now
    assert skips == 2


def test_an_average_counts_the_steps_at_which_the_weights_stood_still(tmp_path):
    trainer = trainer_of(tmp_path / "run", FEW)
    average, state = trainer.averages["power-100"], trainer.denoiser.state_dict()
    for _ in trainer.run():
        if trainer.progress.step == 10:
            break
    mark = {k: v.clone() for k, v in average.weights.items()}
    trainer.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    trainer.step(10, 1e-3)
    assert trainer.precision.skipped
    for k, v in mark.items():
        torch.testing.assert_close(average.weights[k], torch.lerp(v, state[k], 1 - average.decay(10, 2)))
    assert not torch.equal(mark["net.last.weight"], average.weights["net.last.weight"])


@pytest.mark.parametrize("stop", [1, 9])
def test_taken_up_again_it_is_the_same_bit_for_bit(tmp_path, stop):
    """After the first step there is nothing but a lower scale: no weight has moved, and the optimiser has no moments yet."""
    whole = tmp_path / "whole"
    trained(whole, FEW)
    trainer = trainer_of(tmp_path / "run", FEW)
    for report in trainer.run():
        if report.step == stop:
            break
    assert trainer.progress.skipped > 0 and (stop > 1 or not trainer.optimizer.state)
    trainer.save()
    trainer.lock.close()
    trained(tmp_path / "run", FEW)
    (ours, about), (theirs, also) = (read_groups(path_of(folder, 20)) for folder in (tmp_path / "run", whole))
    assert about["skipped"] == also["skipped"] == 2 and about["loss"] == also["loss"]
    assert set(ours) == set(theirs) >= {"raw", "ema", "optimizer", "scaler"}
    assert all(torch.equal(ours[group][name], tensor) for group in theirs for name, tensor in theirs[group].items())


def test_the_log_tells_the_scale_and_what_was_skipped(tmp_path):
    records = [r for r in trained(tmp_path / "run", f"{FEW} log_every=1") if "loss_scale" in r]
    assert [r["step"] for r in records] == list(range(1, 21))
    assert all(r["loss_scale"] == 2.0 ** (16 - r["skipped"]) for r in records)
    assert [r["step"] for r in records if r["grad_norm"] is None] == [1, 10] and records[-1]["skipped"] == 2


def test_a_gradient_that_is_infinite_at_any_scale_is_said(tmp_path):
    trainer = trainer_of(tmp_path / "run", f"{TOY} precision=float16")
    trainer.precision.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    trainer.denoiser.net.first.weight.register_hook(lambda slope: slope * math.inf)
    steps = trainer.run()
    assert [next(steps).step, next(steps).step] == [1, 2]  # at 4 and at 2 it may be the scale
    with pytest.raises(Diverged, match=r"step 3: the loss is .* and the gradient norm"):
        next(steps)


def test_a_loss_that_is_not_finite_is_no_matter_of_scale(tmp_path):
    trainer = trainer_of(tmp_path / "run", f"{TOY} precision=float16")
    with torch.no_grad():
        trainer.denoiser.net.last.bias.fill_(1e30)  # beyond the range of float16
    with pytest.raises(Diverged, match="step 1: the loss is"):
        next(trainer.run())


def test_precision_may_change_between_sessions(tmp_path):
    words = TOY.replace("steps=20", "")
    for steps, precision in enumerate(("float32", "float16", "bfloat16", "float16", "float32"), 1):
        records = trained(tmp_path / "run", f"{words} steps={2 * steps} precision={precision} log_every=1")
        assert ("loss_scale" in [r for r in records if "loss" in r][-1]) == (precision == "float16")
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 11))


def test_two_processes_with_a_part_each_skip_the_same_steps(tmp_path):
    """An overflow in one part is known to the process that has the other. (Alone in two parts as well: sums over a part are in float16.)"""
    alone = [r for r in trained(tmp_path / "alone", f"{FEW} log_every=1 accumulate=2") if "loss_scale" in r]
    assert_well(ended(command(2, "train", "toy", *FEW.split(), "log_every=1", "shard=true", "--out", tmp_path / "run")))
    both = [r for r in read_log(tmp_path / "run") if "loss_scale" in r]
    assert alone[-1]["skipped"] > 0
    assert [(r["loss_scale"], r["skipped"]) for r in both] == [(r["loss_scale"], r["skipped"]) for r in alone]
    np.testing.assert_allclose([r["batch_loss"] for r in both], [r["batch_loss"] for r in alone], rtol=0.02)


@pytest.mark.parametrize("twice", ["objective.kind=implicit", "objective.kind=sliced", "network.kind=mlp network.energy=true"])
def test_objectives_that_differentiate_twice_need_the_range_of_float32(tmp_path, twice):
    words = parse_overrides(f"{TOY} {twice} precision=float16".split())
    with pytest.raises(RecipeError, match=r"precision=float16 does not go with .* use bfloat16 or float32"):
        load_recipe("toy", words)
    trainer = trainer_of(tmp_path / "run", f"{TOY} {twice} precision=bfloat16")
    assert all(math.isfinite(report.grad_norm) for report in trainer.run())
