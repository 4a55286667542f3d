"""The exact bridge: DDPM, DDIM and SMLD's ancestral sampler in one formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from undrift.argument import real, said
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.noise import Noise
from undrift.process import Process
from undrift.reverse import AnalyticVariance, reverse_step
from undrift.sampler.base import Sampler, State


def bridge(
    process: Process, prediction: Prediction, t: Tensor, s: Tensor, eta: float, noise: Noise, std: Tensor | None = None
) -> Tensor:
    """A draw of x_s, were the prediction the truth: `alpha_s data + sqrt(sigma_s^2 - w^2) noise + w z`.

    `w = eta sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)`, so that at eta = 1 it is the posterior
    `q(x_s | x_t, x_0 = data)` and at eta = 0 it is deterministic (Song et al. 2020, DDIM, eq. 12 and 16). `std` takes the
    place of the factor of z, not of w: another variance around the same mean.
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process(t), process(s)
    fresh = eta * sigma_s * (1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).clamp(min=0).sqrt()
    x = alpha_s * prediction.data + (sigma_s**2 - fresh**2).clamp(min=0).sqrt() * prediction.noise
    if std is None:
        return x + fresh * noise.normal(x) if eta else x
    return x + std * noise.normal(x)


@dataclass(frozen=True)
class Ancestral(Sampler):
    """DDPM's ancestral sampler (`eta = 1`), DDIM (`eta = 0`), and what lies between.

    On the `levels` of a `DDPM` chain, eta = 1 is DDPM's Algorithm 2 with variance beta-tilde (Ho et al. 2020, eq. 7; 001
    eq. 4.5-4.6); on `SMLD` it is SMLD's ancestral sampler (Song et al. 2021, app. F); eta = 0 is the exponential Euler
    step. Order 1. One evaluation per step.

    Args:
        eta: Share of fresh noise.
        variance: Of the fresh noise: "tilde" (eta^2 beta-tilde), "beta" (Ho et al. 2020, sec. 3.2), "learned" (the network's
            variance head, Nichol & Dhariwal 2021, eq. 15), or an `AnalyticVariance` (Bao et al. 2022), which goes with any eta.

    Raises:
        ValueError: eta outside [0, 1]; an unknown variance, or "beta" or "learned" with eta < 1.
    """

    stochastic: ClassVar[bool] = True
    eta: float = 1.0
    variance: str | AnalyticVariance = "tilde"

    def __post_init__(self) -> None:
        if not 0 <= real(self.eta, "eta", finite=False) <= 1:
            raise ValueError(f"`eta` is a share of fresh noise between 0 (DDIM) and 1 (DDPM), got {self.eta}.")
        named = isinstance(self.variance, str) and self.variance in ("tilde", "beta", "learned")
        if not isinstance(self.variance, AnalyticVariance) and not named:
            raise ValueError(f"`variance` {said(self.variance)} is not one of tilde, beta, learned, or an AnalyticVariance.")
        if self.variance in ("beta", "learned") and self.eta != 1:
            raise ValueError(f'`variance="{self.variance}"` belongs to eta = 1, got eta = {self.eta}.')

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t, std = denoiser.process, state.t, None
        if self.variance == "learned":
            prediction, fraction = denoiser.with_fraction(state.x, t)
            bounds = reverse_step(process, t, s)
            std = (bounds.tilde * (bounds.beta / bounds.tilde) ** fraction).sqrt()
        else:
            prediction = denoiser(state.x, t)
            if isinstance(self.variance, AnalyticVariance):
                std = self.variance(process, t, s, self.eta).sqrt()
            elif self.variance == "beta":
                std = reverse_step(process, t, s).beta.sqrt()
        return state.next(bridge(process, prediction, t, s, self.eta, noise, std), s, prediction.data)
