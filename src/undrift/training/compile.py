"""Compiled networks, which are faster, and activations computed twice, which take less memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from undrift.error import RecipeError
from undrift.nn.compiled import compile_in_place, why
from undrift.nn.unet import Stage
from undrift.noise import Noise

if TYPE_CHECKING:
    from undrift.training.trainer import Trainer

APART = 0.1  # of a gradient: far above what bfloat16 rounds away, far below a gradient that is lost


def recompute(trainer: Trainer) -> None:
    """Forget what the blocks of a U-Net computed on the way there, and compute it again on the way back (Chen et al. 2016).

    Gradients are the same; a training step costs about a third more time and holds the activations of one block instead of all.

    Raises:
        RecipeError: a network without such blocks.
    """
    stages = [m for m in trainer.denoiser.modules() if isinstance(m, Stage)]
    if not stages:
        raise RecipeError("recompute=true is for the blocks of a unet, and this network has none; leave it out")
    for stage in stages:
        stage.recompute = True


def compile_network(trainer: Trainer) -> str:
    """Compile the network with `torch.compile`, trying it on the batch of the first step; what failed, or "".

    An objective that differentiates the network twice (implicit and sliced score matching, energies) cannot be compiled by torch,
    nor can anything where there is no compiler. And compilers have been wrong: the gradients must be those of the network as it
    is, to rounding. In each of these cases it stays as it was.
    """
    net = trainer.denoiser.net
    drops = any(isinstance(m, nn.Dropout) and m.p > 0 for m in net.modules())  # by other masks when compiled: compare without
    wanted = _gradients(trainer, not drops)
    try:
        compile_in_place(net, trainer.settings.compile)
        if (off := _apart(_gradients(trainer, not drops), wanted)) <= APART:
            if drops:
                _gradients(trainer, True)
            return ""
        reason = f"the compiled network's gradients are off by {100 * off:.0f} %"
    except Exception as error:  # whatever a compiler may raise
        reason = why(error)
    net._compiled_call_impl = None
    torch.compiler.reset()
    return f"compile={str(trainer.settings.compile).lower()} is not possible here ({reason}); going on without"


def _gradients(trainer: Trainer, training: bool) -> dict[str, Tensor]:
    """The gradients of the first step's loss, in training mode or not.

    The weights are moved a little first, since layers that begin at zero would hide those behind them; they are put back.
    """
    denoiser = trainer.denoiser.train(training)
    before = {name: p.detach().clone() for name, p in denoiser.named_parameters()}
    [part, *_] = trainer.processes.share(trainer.settings.batch_size, trainer.settings.accumulate)
    try:
        with torch.no_grad():
            for i, p in enumerate(denoiser.parameters()):  # output layers start at zero, and would hide what is behind them
                p.add_(Noise([i]).fold("compile").normal((1, *p.shape))[0].to(p), alpha=0.02)
        trainer.losses(0, part).mean().backward()  # type: ignore[no-untyped-call]
        return {name: p.grad.detach().clone() for name, p in denoiser.named_parameters() if p.grad is not None}
    finally:
        trainer.to_train()
        denoiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, p in denoiser.named_parameters():
                p.copy_(before[name])


def _apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest difference of a layer's gradient, as a share of its size; gradients that are next to nothing do not count."""
    least = 1e-3 * max(float(g.norm()) for g in wanted.values())
    return max(float((found[k] - g).norm()) / max(float(g.norm()), least) for k, g in wanted.items())
