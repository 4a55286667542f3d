"""Guess the data, add fresh noise, and again: 004's simple Algorithm 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State


@dataclass(frozen=True)
class Renoise(Sampler):
    """`x_s = alpha_s E[x_0 | x_t] + sigma_s z`: the data are guessed and noised anew, and x_t's own noise is forgotten (004, Algorithm 2).

    Not a sampler of the law: the guess is a mean, and of a Gaussian half of the variance is left in many steps. `Ancestral`, which keeps
    the noise that goes with x_t, is. With few steps its samples are typical, smooth and alike. One evaluation per step.
    """

    stochastic: ClassVar[bool] = True

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        data = denoiser(state.x, state.t).data
        return state.next(denoiser.process.perturb(data, s, noise.normal(data)), s, data)
