"""Discretisations of the reverse-time SDE `dx = [f x - g^2 score] dt + g dw` (Anderson 1982; Song et al. 2021, eq. 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from undrift.argument import instance, real
from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.ancestral import bridge
from undrift.sampler.base import PURE_NOISE, Sampler, State
from undrift.sampler.ode import Heun


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
        if not 0 <= real(self.eta, "eta", finite=False) < math.inf:
            raise ValueError(f"`eta` scales the noise of the reverse SDE: finite, and must not be negative; got {self.eta}.")

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t, x = denoiser.process, state.t, state.x
        prediction = denoiser(x, t)
        alpha, sigma = process(t)
        if alpha * denoiser.unit < PURE_NOISE * sigma:
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
        if alpha * denoiser.unit < PURE_NOISE * sigma:
            return state.next(bridge(process, prediction, t, s, 1.0, noise), s, prediction.data)
        ratio, std = process.step(s, t)
        x = (2 - ratio) * x - std**2 / sigma * prediction.noise + std * noise.normal(x)
        return state.next(x, s, prediction.data)


@dataclass(frozen=True)
class Churn(Sampler):
    """EDM's stochastic sampler: raise the noise a little, then take a step of the flow down from there.

    From noise level `sigma/alpha` the state is first moved up to `(1 + gamma) sigma/alpha` by the forward process, for levels in
    [low, high] (Karras et al. 2022, Algorithm 2, where gamma = S_churn / steps, at most sqrt(2) - 1). It never rises above the
    process's t_max. Order: 1, weakly, in the noise; that of the inner sampler in what remains of the error as gamma goes to 0.
    Evaluations: the inner sampler's.

    Args:
        gamma: Relative rise of the noise level at each step, 0 to sqrt(2) - 1.
        low, high: Noise levels sigma/alpha between which noise is added (S_tmin, S_tmax).
        inflate: Standard deviation of the added noise, as a factor (S_noise); above 1 it makes up for detail that the network
            blurs, and the law is no longer exact.
        inner: The sampler for the way down; a multistep one starts afresh from every raised state.

    Raises:
        ValueError: gamma, levels or factor out of range.
    """

    stochastic: ClassVar[bool] = True
    gamma: float = 0.2
    low: float = 0.0
    high: float = math.inf
    inflate: float = 1.0
    inner: Sampler = field(default_factory=Heun)

    def __post_init__(self) -> None:
        instance(self.inner, "inner", Sampler, "give a sampler, such as undrift.Heun()")
        for name in ("low", "high", "inflate"):
            real(getattr(self, name), name, finite=name != "high")
        if not 0 <= real(self.gamma, "gamma", finite=False) <= math.sqrt(2) - 1:
            raise ValueError(f"`gamma` must be in [0, sqrt(2) - 1], got {self.gamma}.")
        if not 0 <= self.low < self.high or not self.inflate > 0:
            raise ValueError(f"`Churn` needs 0 <= low < high and inflate > 0, got {self.low}, {self.high}, {self.inflate}.")

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t = denoiser.process, state.t
        alpha, sigma = process(t)
        if self.gamma and self.low * alpha <= sigma <= self.high * alpha:
            up = process.time(process.log_snr(t) - 2 * math.log1p(self.gamma))
            if up > t:
                ratio, std = process.step(t, up)
                x = ratio * state.x + self.inflate * std * noise.fold("churn").normal(state.x)
                state = replace(state, x=x, t=up, memory=None)
        return self.inner.step(denoiser, state, s, noise.fold("inner"))

    def evaluations(self, steps: int) -> int | None:
        return self.inner.evaluations(steps)
