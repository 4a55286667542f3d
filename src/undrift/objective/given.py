"""Checks of what every objective is called with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from undrift.argument import batch, instance
from undrift.denoiser import AnyDenoiser, check_denoiser
from undrift.noise import Noise


def check_given(denoiser: AnyDenoiser, x0: Tensor, noise: Noise) -> None:
    """A denoiser, a batch `(B, *D)` of floats, one address per sample. Raises TypeError or ValueError; waits for no GPU."""
    if not hasattr(denoiser, "process"):  # whatever has one will do: the trainer's stand-in for a step keeps outputs
        check_denoiser(denoiser)
    if len(instance(noise, "noise", Noise, "give a Noise, one address per sample")) != len(batch(x0, "x0")):
        raise ValueError(f"`x0` has batch size {len(x0)} but `noise` carries {len(noise)} addresses; pass `noise[rows]`.")
    if x0.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        check_fresh(denoiser, x0, noise)


def check_fresh(denoiser: AnyDenoiser, x0: Tensor, noise: Noise) -> None:
    """Notice noise whose address was forgotten, in a training loop of one's own: a network would learn it by heart.

    Two signs of it: samples of one batch that share an address; and two batches of different data, one after the other with an
    optimiser step between them, that have the same addresses.

    Raises:
        ValueError: one of the two.
    """
    seeds = torch.as_tensor(noise.seeds)
    if len(seeds) > 1 and len(set(seeds.tolist())) < len(seeds):
        raise ValueError(
            "samples of this batch have the same noise: give each an address of its own, as in Noise(range(len(x0)))."
        )
    weights = next((p for p in denoiser.parameters() if p.requires_grad), None) if isinstance(denoiser, nn.Module) else None
    if weights is None:
        return
    address = (noise.path, tuple(seeds.tolist()))
    seen = (address, float(x0.detach().double().sum()), weights._version)
    last = denoiser.__dict__.get(_LAST)
    if last is not None and last[0] == seen[0] and last[1] != seen[1] and last[2] != seen[2]:
        raise ValueError(
            'this batch has the same noise as the one before it: fold the step into the address, as in noise.fold("train", step).'
        )
    denoiser.__dict__[_LAST] = seen


_LAST = "_last_batch"  # on the denoiser, where it is no part of its state
