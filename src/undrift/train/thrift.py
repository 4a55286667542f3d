"""Speed and memory bought with something else: compiled networks, activations computed twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from undrift.error import RecipeError
from undrift.nn.unet import Stage

if TYPE_CHECKING:
    from undrift.train.trainer import Trainer


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
    nor can anything where there is no compiler: then the network stays as it was.
    """
    net = trainer.denoiser.net
    for name in ("torch._dynamo", "torch._inductor"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # pages of hints on graphs; what counts is said in one line
    [part, *_] = trainer.processes.share(trainer.recipe.batch_size, trainer.recipe.accumulate)
    try:
        net.compile()
        trainer.losses(0, part).sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a compiler may raise
        net._compiled_call_impl = None
        torch.compiler.reset()
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        return f"compile=true is not possible here ({type(error).__name__}: {lines[0].strip()[:120]}); going on without"
    finally:
        trainer.denoiser.zero_grad(set_to_none=True)
    return ""
