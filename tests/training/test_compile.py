"""Compiled networks and activations computed twice: the same training, or a message."""

import pytest
import torch

from undrift.error import RecipeError
from undrift.recipe.read import parse_overrides
from undrift.training.setup import plan, prepare

DIGITS = (
    "batch_size=8 steps=5 sample_every=0 device=cpu network.kind=unet network.widths=[8,16] network.blocks=2 network.dropout=0.2"
)
TOY = "data.name=mixture data.n=500 network.width=16 batch_size=40 steps=5 sample_every=0 device=cpu"


def trainer_of(name, words, folder):
    trainer, *_ = prepare(plan(name, parse_overrides(words.split()), folder, False)[0], folder)
    return trainer


def held(trainer):
    """Bytes of activations that one step keeps for the gradient, the weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in trainer.denoiser.parameters()}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = trainer.losses(0).mean()
    loss.backward()
    return sum(seen.values())


def test_recomputed_activations_change_nothing_but_the_memory(tmp_path):
    """Also with dropout, whose masks are drawn again as they were."""
    usual, thrifty = (trainer_of("digits", f"{DIGITS} recompute={b}", tmp_path / b) for b in ("false", "true"))
    assert held(thrifty) < 0.5 * held(usual)
    for step in range(2):
        assert usual.step(step, 1e-3) == thrifty.step(step, 1e-3)
    for ours, theirs in zip(usual.denoiser.parameters(), thrifty.denoiser.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_only_a_unet_has_blocks_to_compute_twice(tmp_path):
    with pytest.raises(RecipeError, match="recompute=true is for the blocks of a unet"):
        trainer_of("toy", f"{TOY} recompute=true", tmp_path / "run")


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(tmp_path, monkeypatch):
    def fails(model, inputs):
        raise OSError("no compiler\nhere")

    usual = trainer_of("toy", TOY, tmp_path / "usual")
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend=fails))
    trainer = trainer_of("toy", f"{TOY} compile=true", tmp_path / "run")
    [note] = trainer.notes
    assert note.startswith("compile=true is not possible here (") and note.endswith("; going on without")
    assert "\n" not in note
    assert usual.step(0, 1e-3) == trainer.step(0, 1e-3)


def test_a_compiled_network_follows_the_same_curve(tmp_path, monkeypatch):
    """Traced and differentiated by torch's compiler; the machine code is left to the eager kernels, so that no compiler is needed."""
    calls = []

    def counted(model, inputs):
        calls.append(model)
        return model.forward

    usual = trainer_of("toy", TOY, tmp_path / "usual")
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend=counted))
    trainer = trainer_of("toy", f"{TOY} compile=true", tmp_path / "run")
    assert trainer.notes == [] and calls
    for step in range(3):
        assert trainer.step(step, 1e-3) == pytest.approx(usual.step(step, 1e-3), rel=1e-5)
    assert set(trainer.denoiser.state_dict()) == set(usual.denoiser.state_dict())


def test_a_compiler_that_is_wrong_is_found_out(tmp_path, monkeypatch):
    """One that loses the gradient of a part of the network, as torch's own did of `interpolate` in bfloat16."""

    class Losing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return 0 * grad

    def wrong(model, inputs):
        return lambda *given: [Losing.apply(out) if out.requires_grad else out for out in model.forward(*given)]

    usual = trainer_of("toy", TOY, tmp_path / "usual")
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend=wrong))
    trainer = trainer_of("toy", f"{TOY} compile=true", tmp_path / "run")
    assert trainer.notes == [
        "compile=true is not possible here (the compiled network's gradients are off by 100 %); going on without"
    ]
    assert usual.step(0, 1e-3) == trainer.step(0, 1e-3)


def test_dropout_is_compiled_with_other_masks(tmp_path, monkeypatch):
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend="aot_eager"))
    trainer = trainer_of("digits", f"{DIGITS} compile=true", tmp_path / "run")
    assert trainer.notes == []
    assert all(m.training for m in trainer.denoiser.modules())
