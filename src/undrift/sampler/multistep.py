"""Multistep solvers: they remember earlier predictions instead of paying for new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State


@dataclass(frozen=True)
class DPM2M(Sampler):
    """DPM-Solver++(2M): the flow solved exactly for a data prediction linear in log-SNR (Lu et al. 2022b, Algorithm 2).

    `x_s = sigma_s/sigma_t x_t + alpha_s (1 - e^-h) [D + h/(2 h') (D - D')]`, h the step in half log-SNR, D the data
    prediction, primes the step before. Order 2. One evaluation per step.
    """

    order: ClassVar[int] = 2

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t = denoiser.process, state.t
        sigma_t, (alpha_s, sigma_s) = process.sigma(t), process(s)
        data = denoiser(state.x, t).data
        h = (process.log_snr(s) - process.log_snr(t)) / 2  # infinite from pure noise: then the step is first order, exactly
        blend = data
        if state.memory is not None:
            last_data, last_h = state.memory
            blend = data + h / (2 * last_h) * (data - last_data)
        x = sigma_s / sigma_t * state.x - alpha_s * torch.expm1(-h) * blend
        return state.next(x, s, data, memory=(data, h))
