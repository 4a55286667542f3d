"""What every objective is called with, checked before it is used."""

from __future__ import annotations

from torch import Tensor

from undrift.argument import batch, instance
from undrift.denoiser import AnyDenoiser, check_denoiser
from undrift.noise import Noise


def check_given(denoiser: AnyDenoiser, x0: Tensor, noise: Noise) -> None:
    """A denoiser, a batch `(B, *D)` of floats, one address per sample. Raises TypeError or ValueError; waits for no GPU."""
    if not hasattr(denoiser, "process"):  # whatever has one will do: the trainer's stand-in for a step keeps outputs
        check_denoiser(denoiser)
    if len(instance(noise, "noise", Noise, "give a Noise, one address per sample")) != len(batch(x0, "x0")):
        raise ValueError(f"`x0` has batch size {len(x0)} but `noise` carries {len(noise)} addresses; pass `noise[rows]`.")
