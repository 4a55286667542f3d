"""Discretisations of the reverse-time SDE `dx = [f x - g^2 score] dt + g dw` (Anderson 1982; Song et al. 2021, eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.ancestral import bridge
from undrift.sampler.base import PURE_NOISE, Sampler, State


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """Euler-Maruyama: drift and diffusion frozen over each step in t.

    The family `dx = [velocity + (eta^2/2) g^2 noise/sigma] dt + eta g dw` shares its marginals for every eta: 1 is Anderson's
    reverse SDE, 0 the probability-flow ODE (Song et al. 2021, eq. 6 and 13; Karras et al. 2022, eq. 6). A step that starts
    from pure noise (alpha = 0), where f and g are infinite, is the exact bridge instead. Order 1 in t, so it wants a grid
    that is fine where the schedule is steep. One evaluation per step.
    """

    stochastic: ClassVar[bool] = True
    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.eta < 0:
            raise ValueError(f"`eta` scales the noise of the reverse SDE and must not be negative, got {self.eta}.")

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t, x = denoiser.process, state.t, state.x
        prediction = denoiser(x, t)
        alpha, sigma = process(t)
        if alpha < PURE_NOISE * sigma:
            return state.next(bridge(process, prediction, t, s, min(self.eta, 1.0), noise), s, prediction.data)
        (dalpha, dsigma), g, dt = process.rates(t), self.eta * process.diffusion(t), t - s
        x = x - dt * dalpha * prediction.data - dt * (dsigma + g**2 / (2 * sigma)) * prediction.noise
        if self.eta:
            x = x + g * dt.sqrt() * noise.normal(x)
        return state.next(x, s, prediction.data)


@dataclass(frozen=True)
class ReverseDiffusion(Sampler):
    """The reverse SDE discretised as the forward chain is: `x_s = (2 - r) x_t + q^2 score + q z`.

    r and q are ratio and standard deviation of the exact transition from s to t, so no derivative is needed
    (Song et al. 2021, eq. 46; 001 eq. 5.7). A step from pure noise is the exact bridge. Order 1. One evaluation per step.
    """

    stochastic: ClassVar[bool] = True

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t, x = denoiser.process, state.t, state.x
        prediction = denoiser(x, t)
        alpha, sigma = process(t)
        if alpha < PURE_NOISE * sigma:
            return state.next(bridge(process, prediction, t, s, 1.0, noise), s, prediction.data)
        ratio, std = process.step(s, t)
        x = (2 - ratio) * x - std**2 / sigma * prediction.noise + std * noise.normal(x)
        return state.next(x, s, prediction.data)
