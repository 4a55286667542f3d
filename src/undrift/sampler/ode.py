"""One-step solvers of the probability-flow ODE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State


@dataclass(frozen=True)
class Heun(Sampler):
    """Heun's method in coordinates where every process is a straight line.

    With `y = x / (alpha + sigma)` and `u = sigma / (alpha + sigma)` the flow of any process reads `dy/du = noise - data`,
    finite at both ends; for `Rectified` y = x and u = t, and under `Karras` one step differs from EDM's Algorithm 1 only by
    the coordinate. Order 2. Two evaluations per step, one in the last.
    """

    order: ClassVar[int] = 2

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = denoiser.process(state.t), denoiser.process(s)
        scale_t, scale_s = alpha_t + sigma_t, alpha_s + sigma_s
        y, du = state.x / scale_t, sigma_s / scale_s - sigma_t / scale_t
        data, eps = denoiser(state.x, state.t)
        slope = eps - data
        ahead = denoiser(scale_s * (y + du * slope), s)
        slope = (slope + ahead.noise - ahead.data) / 2
        return state.next(scale_s * (y + du * slope), s, data)

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1
